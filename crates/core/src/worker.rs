//! Workers as the brain sees them: what each offers, and which tasks each may be given.

use crate::{
    run::{Lease, WorkerId},
    workflow::TaskKind,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

/// A kind of work. A worker is given only kinds that it says it knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkKind {
    /// Processes.
    Exec,
    /// Requests over HTTP.
    Http,
    /// Nothing, at once.
    Noop,
    /// Runs of other workflows: the brain's own work.
    Workflow,
    /// Calls of this handler.
    Handler(Arc<str>),
}

impl WorkKind {
    /// Every kind that workers know by themselves.
    pub const BUILT_IN: [Self; 3] = [Self::Exec, Self::Http, Self::Noop];

    /// Its word on the wire and in files; a handler's is its name.
    pub fn word(&self) -> &str {
        match self {
            Self::Exec => "exec",
            Self::Http => "http",
            Self::Noop => "noop",
            Self::Workflow => "workflow",
            Self::Handler(name) => name,
        }
    }

    /// The kind of a task's work. A task that no worker performs is never granted: any kind will do for it.
    pub(crate) fn of(kind: &TaskKind) -> Self {
        match kind {
            TaskKind::Exec(_) => Self::Exec,
            TaskKind::Http(_) => Self::Http,
            TaskKind::Worker(call) => Self::Handler(Arc::clone(&call.handler)),
            TaskKind::Workflow(_) => Self::Workflow,
            TaskKind::Sleep(_) | TaskKind::Signal(_) | TaskKind::Noop => Self::Noop,
        }
    }
}

/// What a worker takes: its *crew* is all workers that take the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Serves {
    /// Tasks of these queues; none: of all.
    pub queues: Option<BTreeSet<Arc<str>>>,
    /// Work of these kinds; none: of all that are built in.
    pub kinds: Option<BTreeSet<WorkKind>>,
}

impl Serves {
    /// Whether a task of that queue and kind may go there.
    pub fn takes(&self, queue: &str, kind: &WorkKind) -> bool {
        let knows = match &self.kinds {
            Some(kinds) => kinds.contains(kind),
            None => WorkKind::BUILT_IN.contains(kind),
        };
        knows && self.queues.as_ref().is_none_or(|queues| queues.contains(queue))
    }
}

impl fmt::Display for Serves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = || self.kinds.iter().flatten();
        let is_handler = |kind: &&WorkKind| matches!(kind, WorkKind::Handler(_));
        let lists = [
            ("queues", self.queues.iter().flatten().map(AsRef::as_ref).collect::<Vec<&str>>()),
            ("kinds", kinds().filter(|kind| !is_handler(kind)).map(WorkKind::word).collect()),
            ("handlers", kinds().filter(is_handler).map(WorkKind::word).collect()),
        ];
        let named = lists.iter().filter(|(_, names)| !names.is_empty());
        let named: Vec<String> = named.map(|(what, names)| format!("{what} {}", names.join(","))).collect();
        f.write_str(if named.is_empty() { "everything" } else { "" })?;
        f.write_str(&named.join(", "))
    }
}

/// What one worker offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Attempts that it performs at once.
    pub slots: u32,
    /// What it takes; shared with its crew.
    pub serves: Arc<Serves>,
}

/// The workers that are here, by what they take.
#[derive(Clone, Debug, Default)]
pub struct Workers {
    here: BTreeMap<WorkerId, Offer>,
    crews: BTreeMap<Arc<Serves>, BTreeSet<WorkerId>>,
}

impl Workers {
    /// A worker is here from now on, or offers something else. Says whether the crews are others now.
    pub fn insert(&mut self, worker: &WorkerId, slots: u32, serves: &Serves) -> bool {
        let parted = self.here.get(worker).is_some_and(|offer| *offer.serves != *serves) && self.remove(worker);
        let serves = match self.crews.get_key_value(serves) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::new(serves.clone()),
        };
        let crew = self.crews.entry(Arc::clone(&serves)).or_default();
        let is_new = crew.is_empty();
        crew.insert(worker.clone());
        self.here.insert(worker.clone(), Offer { slots, serves });
        is_new || parted
    }

    /// Whether the worker of an attempt is not here, so that its lease runs out unless the worker comes again: either way
    /// it moves.
    pub(crate) fn is_cut_off(&self, lease: &Lease) -> bool {
        lease.expires_at.is_some() && !self.here.contains_key(&lease.worker)
    }

    /// A worker is here no more. Says whether the crews are others now.
    pub(crate) fn remove(&mut self, worker: &WorkerId) -> bool {
        let Some(offer) = self.here.remove(worker) else { return false };
        let Some(crew) = self.crews.get_mut(&offer.serves) else { return false };
        crew.remove(worker);
        let is_over = crew.is_empty();
        if is_over {
            self.crews.remove(&offer.serves);
        }
        is_over
    }

    /// What a worker offers, if it is here.
    pub fn get(&self, worker: &WorkerId) -> Option<&Offer> {
        self.here.get(worker)
    }

    /// Whether a worker is here.
    pub fn contains_key(&self, worker: &WorkerId) -> bool {
        self.here.contains_key(worker)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.here.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.here.is_empty()
    }

    /// All of them, with what they offer.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&WorkerId, &Offer)> {
        self.here.iter()
    }

    /// Every boot of a name that is here.
    pub(crate) fn of_name(&self, name: &WorkerId) -> impl Iterator<Item = &WorkerId> {
        let all = WorkerId { boot: 0, ..name.clone() }..=WorkerId { boot: u64::MAX, ..name.clone() };
        self.here.range(all).map(|(worker, _)| worker)
    }

    /// All crews.
    pub(crate) fn crews(&self) -> impl Iterator<Item = &Arc<Serves>> {
        self.crews.keys()
    }

    /// The crews that take tasks of a queue and kind.
    pub(crate) fn serving<'w>(&'w self, queue: &'w str, kind: &'w WorkKind) -> impl Iterator<Item = &'w Arc<Serves>> {
        self.crews.keys().filter(move |crew| crew.takes(queue, kind))
    }

    /// The workers of a crew, with the slots of each.
    pub(crate) fn of_crew(&self, crew: &Serves) -> impl DoubleEndedIterator<Item = (&WorkerId, u32)> {
        let members = self.crews.get(crew).into_iter().flatten();
        members.map(|worker| (worker, self.here.get(worker).map_or(0, |offer| offer.slots)))
    }

    /// Slots of a crew. One that offers none is as good as nobody.
    pub(crate) fn slots_of(&self, crew: &Serves) -> u64 {
        self.of_crew(crew).map(|(_, slots)| u64::from(slots)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crews_come_and_go_with_their_workers() {
        let [one, other] = ["a", "b"].map(|name| WorkerId { name: name.into(), boot: 1 });
        let some = Serves { queues: Some(BTreeSet::from(["slow".into()])), kinds: None };
        let mut workers = Workers::default();
        assert!(workers.insert(&one, 2, &some));
        assert!(!workers.insert(&other, 1, &some), "the crew is there");
        assert!(!workers.insert(&other, 4, &some), "only its slots are others");
        assert_eq!(workers.slots_of(&some), 6);
        assert!(workers.insert(&other, 4, &Serves::default()), "it takes everything now");
        assert_eq!(workers.serving("slow", &WorkKind::Exec).count(), 2);
        assert_eq!(workers.serving("quick", &WorkKind::Exec).count(), 1);
        assert!(workers.remove(&one) && !workers.remove(&one));
        assert_eq!(workers.crews().count(), 1);
    }
}
