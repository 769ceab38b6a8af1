//! What concerns many heads at once, done bit by bit: nobody is looked at before all of it is done.

use super::{Aside, Group, Place, Ready, Request, Resource, Supply, slots};
use crate::{Millis, RunId, Seq, TaskId, Timestamp, settings::QueueSettings};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

/// What is still to be done.
#[derive(Debug, Default)]
pub(super) struct Chores {
    /// Who stands apart at these comes back.
    pub(super) reopened: BTreeSet<Resource>,
    /// These tasks come back into line, each to its place.
    pub(super) recalled: Aside,
    review: Review,
}

/// How far the look at every group has come.
#[derive(Debug, Default)]
enum Review {
    /// Nobody asked for it, or it is done.
    #[default]
    Done,
    /// From the first group on.
    Begin,
    /// From the one after this on.
    After(Request),
}

impl Chores {
    #[cfg(test)]
    pub(super) fn is_clear(&self) -> bool {
        self.reopened.is_empty() && self.recalled.is_empty()
    }
}

impl Ready {
    /// Looks again at heads that came to stand where they stand and are held since, or need what is
    /// closed since: they must not hold up others. Also at those whose queue has another patience now, and at those
    /// that stand at slots of other crews than there are now.
    pub(crate) fn review(&mut self) {
        self.chores.review = Review::Begin;
    }

    /// Puts the tasks of a run that were set aside in line again.
    pub(crate) fn recall(&mut self, run: RunId) {
        if let Some(tasks) = self.aside.remove(&run) {
            recall_more(&mut self.chores.recalled, run, tasks);
        }
    }

    /// Puts everything in line again that was set aside; what is still held will be set aside anew.
    pub(crate) fn recall_all(&mut self) {
        let mut aside = std::mem::take(&mut self.aside);
        if self.chores.recalled.is_empty() {
            self.chores.recalled = aside;
            return;
        }
        while let Some((run, tasks)) = aside.pop_first() {
            recall_more(&mut self.chores.recalled, run, tasks);
        }
    }

    /// How long tasks of a queue wait from now on before they count as high. A review makes it so for those
    /// that wait already.
    pub(crate) fn set_patience(&mut self, queue: &str, patience: Millis) {
        if self.patience_of(queue) != patience {
            self.patience.insert(queue.into(), patience);
        }
    }

    pub(super) fn patience_of(&self, queue: &str) -> Millis {
        let usual = || QueueSettings::default().low_counts_as_high_after;
        self.patience.get(queue).copied().unwrap_or_else(usual)
    }

    /// Does as much as there are looks for.
    pub(super) fn do_chores(&mut self, supply: &impl Supply, looks: &mut usize) {
        self.review_groups(supply, looks);
        while *looks > 0
            && let Some(resource) = self.chores.reopened.first().cloned()
        {
            *looks -= 1;
            let first = self.apart.get(&resource).and_then(|heads| heads.first());
            let Some((rank, request)) = first.map(|(rank, request)| (rank, request.clone())) else {
                self.chores.reopened.remove(&resource);
                continue;
            };
            self.take_from_place(&request);
            self.active.insert(rank, request);
        }
        while *looks > 0
            && let Some(mut run) = self.chores.recalled.first_entry()
        {
            *looks -= 1;
            let task = run.get_mut().pop_first();
            if run.get().is_empty() {
                run.remove();
            }
            if let Some(((seq, task), (request, since))) = task {
                self.add(request, seq, since, task);
            }
        }
    }

    fn review_groups(&mut self, supply: &impl Supply, looks: &mut usize) {
        let after = match std::mem::take(&mut self.chores.review) {
            Review::Done => return,
            Review::Begin => Bound::Unbounded,
            Review::After(request) => Bound::Excluded(request),
        };
        let is_wrong = |request: &Request, group: &Group| {
            let Some((_, (task, since))) = group.line.first_key_value() else { return false };
            let stands = matches!(group.place, Place::At(_));
            let stands_elsewhere = match &group.place {
                Place::At(at) => stands_at_old_crews(at, request, supply),
                Place::Active | Place::Apart(_) => false,
            };
            let ages_at = since.plus(self.patience_of(&request.demand.queue));
            let has_other_patience = group.ages_at.is_some_and(|at| at != ages_at);
            has_other_patience
                || stands_elsewhere
                || (stands && (supply.is_held(*task) || supply.closed(request).is_some()))
        };
        let some = self.groups.range::<Request, _>((after.as_ref(), Bound::Unbounded)).take(*looks);
        let mut seen = 0;
        let (mut last, mut wrong) = (None, Vec::new());
        for (request, group) in some {
            seen += 1;
            last = Some(request);
            if is_wrong(request, group) {
                wrong.push(request.clone());
            }
        }
        if seen == *looks
            && let Some(last) = last
        {
            self.chores.review = Review::After(last.clone());
        }
        *looks -= seen;
        for request in wrong {
            self.take_head(&request);
            self.welcome_head(&request);
            self.free_all(&request);
        }
    }
}

/// Whether a head stands at slots of other crews than those that take it now: it would not hear of theirs.
fn stands_at_old_crews(at: &[Resource], request: &Request, supply: &impl Supply) -> bool {
    let is_slot = |resource: &&Resource| matches!(resource, Resource::Slot(_) | Resource::NoSlot(..));
    let mut stands = at.iter().filter(is_slot).peekable();
    stands.peek().is_some() && !stands.eq(slots(request, &supply.crews(request)).iter())
}

/// Adds tasks of a run to those that come back; the usual case moves them as they are.
fn recall_more(recalled: &mut Aside, run: RunId, tasks: BTreeMap<(Seq, TaskId), (Request, Timestamp)>) {
    match recalled.get_mut(&run) {
        Some(before) => before.extend(tasks),
        None => {
            recalled.insert(run, tasks);
        }
    }
}
