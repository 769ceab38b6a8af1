//! Which of the dead were told of: each cause once, however many come to wait behind it.

use super::{Graph, Party};
use crate::{
    RunId, TaskId,
    wait::detector::{Need, NodeKey},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The dead, by what was said of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// Who has died since the last look.
    fresh: BTreeSet<Party>,
    /// Those that are part of a cause that was told of, and dead since then; with its number.
    causes: BTreeMap<Party, u64>,
    /// Who is part of which.
    parts: BTreeMap<u64, Vec<Party>>,
    last: u64,
    /// Those of them that may have moved.
    moved: Vec<Party>,
    /// Who is dead unless the brain, which is not done with this run, moves somebody in it.
    put_off: BTreeMap<RunId, BTreeSet<Party>>,
}

impl Told {
    pub(super) fn moved(&mut self, condemned: impl Iterator<Item = Party>, revived: impl Iterator<Item = Party>) {
        self.fresh.extend(condemned);
        if !self.causes.is_empty() {
            self.moved.extend(revived.filter(|party| self.causes.contains_key(party)));
        }
    }
}

/// The dead that some of the dead wait for.
#[derive(Debug, Default)]
pub(crate) struct Behind {
    /// With those themselves; without causes that were told of.
    pub(crate) parties: BTreeSet<Party>,
    /// A run among those that they wait for with which the brain is not done.
    pub(crate) busy: Option<RunId>,
}

impl Graph {
    /// At the end of a change: a cause of which somebody moved is none any more, and whoever of it is dead all the same is
    /// looked at again. One that only seemed to move, while the change was made, is what it was.
    pub(super) fn settle_told(&mut self) {
        let mut is_one_gone = false;
        for party in std::mem::take(&mut self.told.moved) {
            if self.is_deadlocked(party) {
                continue;
            }
            let parts = self.told.causes.get(&party).and_then(|cause| self.told.parts.remove(cause));
            is_one_gone |= parts.is_some();
            for party in parts.into_iter().flatten() {
                self.told.causes.remove(&party);
            }
        }
        if is_one_gone {
            // Those who waited behind it as well.
            let dead: Vec<Party> = self.deadlocked().filter(|party| !self.told.causes.contains_key(party)).collect();
            self.told.fresh.extend(dead);
        }
    }

    /// A task ends. Who is dead already, and waits for that end or for what only it and others send, may have a cause of
    /// its own by that: nobody dies anew, and so nothing else would have it looked at.
    pub(super) fn bereave(&mut self, id: TaskId, key: NodeKey) {
        let of_run = (id.run, Arc::from(""))..;
        let sent = self.signals.range(of_run).take_while(|((run, _), _)| *run == id.run);
        let names: Vec<&Arc<str>> =
            sent.filter(|(_, sent)| sent.senders.contains_key(&id.index)).map(|((_, name), _)| name).collect();
        let of_run = self.tasks.range(id.run.all_tasks()).take(if names.is_empty() { 0 } else { usize::MAX });
        let named = of_run
            .filter(|(_, node)| names.iter().any(|name| node.stands.senders.contains(&((*name).clone(), id.index))));
        let waiters = self.detector.waiters(key).filter_map(|waiter| self.parties.get(&waiter).copied());
        let bereft = named.map(|(task, _)| Party::Task(*task)).chain(waiters);
        let dead: Vec<Party> = bereft.filter(|party| self.is_deadlocked(*party)).collect();
        self.told.fresh.extend(dead);
    }

    /// Whether somebody died since the last look, or was put off then.
    pub(crate) fn has_news(&self) -> bool {
        !self.told.fresh.is_empty() || !self.told.put_off.is_empty()
    }

    /// Who is dead and was not looked at; those of busy runs are put off.
    pub(crate) fn take_news(&mut self, busy: &BTreeSet<RunId>) -> BTreeSet<Party> {
        let mut news = std::mem::take(&mut self.told.fresh);
        let due: Vec<RunId> = self.told.put_off.keys().copied().filter(|run| !busy.contains(run)).collect();
        due.iter().for_each(|run| news.extend(self.told.put_off.remove(run).unwrap_or_default()));
        news.retain(|party| !self.told.causes.contains_key(party) && self.is_deadlocked(*party));
        let (of_busy, news): (BTreeSet<Party>, BTreeSet<Party>) =
            news.into_iter().partition(|party| busy.contains(&party.run()));
        for party in of_busy {
            self.put_off(party.run(), [party]);
        }
        news
    }

    /// They are looked at again once the brain is done with a run.
    pub(crate) fn put_off(&mut self, run: RunId, parties: impl IntoIterator<Item = Party>) {
        self.told.put_off.entry(run).or_default().extend(parties);
    }

    /// They are looked at again.
    pub(crate) fn look_again(&mut self, parties: impl IntoIterator<Item = Party>) {
        self.told.fresh.extend(parties);
    }

    /// These are a cause that is told of.
    pub(crate) fn tell(&mut self, parties: impl IntoIterator<Item = Party>) {
        self.told.last += 1;
        let (cause, parts) = (self.told.last, Vec::from_iter(parties));
        self.told.causes.extend(parts.iter().map(|party| (*party, cause)));
        self.told.parts.insert(cause, parts);
    }

    /// Follows some of the dead to all that they wait for and that is dead too. Causes that were told of are no more
    /// followed than the living, and neither are runs that the brain is not done with.
    pub(crate) fn behind(&self, some: &BTreeSet<Party>, busy: &BTreeSet<RunId>) -> Behind {
        let mut behind = Behind { parties: some.clone(), busy: None };
        let mut open: Vec<Party> = some.iter().copied().collect();
        let mut next = Vec::new();
        while let Some(party) = open.pop() {
            self.blockers(party, &mut next);
            for blocker in next.drain(..) {
                if !self.is_deadlocked(blocker) || self.told.causes.contains_key(&blocker) {
                    continue;
                }
                if busy.contains(&blocker.run()) {
                    behind.busy = Some(blocker.run());
                } else if behind.parties.insert(blocker) {
                    open.push(blocker);
                }
            }
        }
        behind
    }

    /// Whom somebody waits for, dead or not.
    fn blockers(&self, party: Party, found: &mut Vec<Party>) {
        match party {
            Party::Run(run) => {
                found.extend(self.tasks.range(run.all_tasks()).map(|(task, _)| Party::Task(*task)));
            }
            Party::Task(task) => {
                let Some(node) = self.tasks.get(&task) else { return };
                if let Some((need, _)) = &node.stands.need {
                    self.needed(need, found);
                }
                for (name, _) in &node.stands.senders {
                    let sent = self.signals.get(&(task.run, name.clone()));
                    found.extend(
                        sent.into_iter()
                            .flat_map(|sent| sent.senders.keys())
                            .map(|sender| Party::Task(task.run.task(*sender))),
                    );
                }
            }
        }
    }

    fn needed(&self, need: &Need, found: &mut Vec<Party>) {
        match need {
            Need::AtLeast(_, parts) => parts.iter().for_each(|part| self.needed(part, found)),
            Need::Node(node, _) => found.extend(self.parties.get(node)),
            Need::Units(resource, _) => found.extend(self.keepers.get(resource).into_iter().flatten()),
            // Told by name, beside the need.
            Need::Sent(_) | Need::Holds | Need::Never => {}
        }
    }
}
