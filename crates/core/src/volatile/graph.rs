//! The live wait graph: what can hold something and wait, or be waited for, judged after every change.
//!
//! Not everybody is in it. Nobody waits for a task of a run that nobody spawned, so such a task is in it only while its
//! attempt waits. A run that a task spawned is in it with all its unfinished tasks (it is *tracked*), and so is one in
//! which a signal has declared senders. What only time, a person or a worker that comes can end counts as live.
//!
//! Queue order is no part of it: whoever holds something is not held up by it (`docs/decisions/0011`).

mod lenders;
mod needs;
mod told;

use crate::{
    RunId, Seq, TaskId, TaskIndex,
    run::{Awaited, Child, Phase, Run, RunStatus, TaskEnd},
    settings::Pool,
    volatile::Children,
    wait::{
        Queue,
        detector::{Change, ConsumableKey, Detector, End, Need, NodeKey, Place, ResourceKey},
    },
    worker::{Serves, Workers},
    workflow::Definition,
};
use lenders::Lender;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use told::Told;

/// Units of a resource that stands for "all of these have ended": each unfinished one holds one.
const ALL_ENDED: u64 = 1 << 30;

/// Somebody in the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// A task, or its attempt that waits.
    Task(TaskId),
    /// A run that a task spawned.
    Run(RunId),
}

impl Party {
    /// Whom an id in a snapshot names.
    pub(crate) fn of(id: &str) -> Option<Self> {
        id.parse().map(Self::Task).ok().or_else(|| id.parse().map(Self::Run).ok())
    }

    /// The run that it is, or is part of.
    pub(crate) const fn run(self) -> RunId {
        match self {
            Self::Task(task) => task.run,
            Self::Run(run) => run,
        }
    }
}

/// What an ancestor that waits for its children can lend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lent {
    /// Its slot of its worker.
    Slot,
    /// Its units of this pool.
    Pool(String),
}

/// What of the state beside a run the graph is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around<'s> {
    pub(crate) pools: &'s BTreeMap<String, Pool>,
    pub(crate) children: &'s BTreeMap<TaskId, BTreeMap<String, Child>>,
    pub(crate) workers: &'s Workers,
    pub(crate) counts: &'s Children,
    /// Units and slots that are lent now, by who lends them.
    pub(crate) lent: &'s BTreeMap<(TaskId, Lent), u32>,
}

/// The graph. Derived from the state; built anew by a load.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    detector: Detector,
    tasks: BTreeMap<TaskId, Node>,
    runs: BTreeMap<RunId, Tracked>,
    parties: BTreeMap<NodeKey, Party>,
    pools: BTreeMap<String, ResourceKey>,
    crews: BTreeMap<Arc<Serves>, ResourceKey>,
    lenders: BTreeMap<TaskId, Lender>,
    signals: BTreeMap<(RunId, Arc<str>), Sent>,
    /// The runs that tasks spawned and that have not ended, by task.
    spawned: BTreeMap<TaskId, BTreeMap<String, RunId>>,
    /// Who keeps units of a resource, as far as the detector was told.
    keepers: BTreeMap<ResourceKey, BTreeSet<Party>>,
    /// Runs, and single tasks, whose waits were made from what is so no more.
    stale: BTreeSet<RunId>,
    stale_tasks: BTreeSet<TaskId>,
    told: Told,
}

#[derive(Clone, Debug)]
struct Node {
    key: NodeKey,
    stands: Stands,
    /// Whether a node has ended since that stands in its need.
    is_outdated: bool,
}

/// What a node keeps and what it waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stands {
    /// None: it works.
    need: Option<(Need, Place)>,
    /// In the order of their keys.
    holds: BTreeMap<ResourceKey, u64>,
    /// The signals in its wait that only some tasks of its run send.
    senders: BTreeSet<(Arc<str>, TaskIndex)>,
}

/// A signal that only some tasks of its run send.
#[derive(Clone, Debug)]
struct Sent {
    key: ConsumableKey,
    /// How many of those who wait for it name each of these.
    senders: BTreeMap<TaskIndex, u32>,
}

#[derive(Clone, Debug, Default)]
struct Tracked {
    /// For one that a task spawned: its node, and what its tasks hold of its end.
    end: Option<(NodeKey, ResourceKey)>,
    /// Whether that node waits for its tasks.
    waits: bool,
    /// How many of its tasks may hold a lease at once, if that is bounded.
    parallel: Option<ResourceKey>,
    ancestors: Vec<TaskId>,
}

impl Graph {
    /// Whether all tasks of a run are in it.
    pub(crate) fn is_tracked(&self, run: RunId) -> bool {
        self.runs.contains_key(&run)
    }

    /// Whether a task or a run is in it.
    pub(crate) fn has(&self, party: Party) -> bool {
        self.key(party).is_some()
    }

    /// Who is deadlocked.
    pub fn deadlocked(&self) -> impl Iterator<Item = Party> + '_ {
        self.detector.deadlocked().filter_map(|key| self.parties.get(&key).copied())
    }

    /// Whether somebody is.
    pub fn is_deadlocked(&self, party: Party) -> bool {
        self.key(party).is_some_and(|key| self.detector.is_deadlocked(key))
    }

    fn key(&self, party: Party) -> Option<NodeKey> {
        match party {
            Party::Task(task) => self.tasks.get(&task).map(|node| node.key),
            Party::Run(run) => self.runs.get(&run)?.end.map(|(key, _)| key),
        }
    }

    /// Runs, and single tasks, whose waits are to be made anew.
    pub(crate) fn take_stale(&mut self) -> (BTreeSet<RunId>, BTreeSet<TaskId>) {
        (std::mem::take(&mut self.stale), std::mem::take(&mut self.stale_tasks))
    }

    /// Asserts what must be true after every change.
    pub(crate) fn check(&self) {
        self.detector.check();
    }

    /// Takes a run in, before its tasks, if somebody may wait for one of them.
    pub(crate) fn add_run(&mut self, run: &Run, definition: &Definition) {
        let asks_senders = run.tasks.iter().filter_map(|task| task.lease()?.parked.as_ref()).any(|parked| {
            let declared = |term: &&Awaited| matches!(term, Awaited::Signal { from, .. } if !from.is_empty());
            parked.on.terms().iter().any(declared)
        });
        if run.parent.is_some() || has_senders(definition) || asks_senders {
            self.track(run, definition);
        }
    }

    /// Takes a run in, whoever waits for its tasks; these are to be indexed anew.
    pub(crate) fn track(&mut self, run: &Run, definition: &Definition) {
        let ancestors: Vec<TaskId> = run.parent.iter().flat_map(|parent| parent.ancestors()).collect();
        let most = definition.body.max_parallel;
        let parallel = most.map(|most| self.detector.add_resource(most.into(), Queue::Any));
        let mut tracked = Tracked { parallel, ancestors, ..Tracked::default() };
        if let Some(parent) = &run.parent {
            let key = self.detector.add_node();
            let open = self.detector.add_resource(ALL_ENDED, Queue::Any);
            self.parties.insert(key, Party::Run(run.id));
            tracked.end = Some((key, open));
            self.spawned.entry(parent.task).or_default().insert(parent.key.clone(), run.id);
            for ancestor in &tracked.ancestors {
                self.lenders.entry(*ancestor).or_default().runs.insert(run.id);
            }
            if !parent.detached {
                let siblings = self.siblings(parent.task);
                self.keep(Party::Run(run.id), key, siblings, 1);
            }
        }
        self.runs.insert(run.id, tracked);
        self.run_changed(run);
    }

    /// A run's own fields changed: while it comes to its end, or is frozen, it is not its tasks that it waits for.
    pub(crate) fn run_changed(&mut self, run: &Run) {
        let waits = run.ending.is_none() && run.poisoned.is_none();
        let Some(tracked) = self.runs.get_mut(&run.id).filter(|tracked| tracked.waits != waits) else { return };
        let Some((key, open)) = tracked.end else { return };
        tracked.waits = waits;
        match waits {
            true => {
                let change = self.detector.wait(key, &Need::Units(open, ALL_ENDED), Place(run.seq.0));
                self.changed(change);
            }
            false => self.resume(key),
        }
        self.settle_told();
    }

    /// Takes a run out, after its tasks.
    pub(crate) fn remove_run(&mut self, run: &Run, status: RunStatus) {
        if let Some(tracked) = self.runs.remove(&run.id) {
            self.untrack(run, status, tracked);
        }
        let of_run = run.id.all_tasks();
        let lenders: Vec<TaskId> = self.lenders.range(of_run).map(|(task, _)| *task).collect();
        for task in lenders {
            if let Some(lender) = self.lenders.get_mut(&task) {
                lender.is_gone = true;
            }
            self.forget_lender(task);
        }
        self.settle_told();
    }

    fn untrack(&mut self, run: &Run, status: RunStatus, tracked: Tracked) {
        let of_run = self.signals.range((run.id, Arc::from(""))..).take_while(|((of, _), _)| *of == run.id);
        for (name, key) in of_run.map(|(name, sent)| (name.clone(), sent.key)).collect::<Vec<_>>() {
            self.detector.remove_consumable(key);
            self.signals.remove(&name);
        }
        if let Some(parallel) = tracked.parallel {
            self.detector.remove_resource(parallel);
        }
        let (Some((key, open)), Some(parent)) = (tracked.end, &run.parent) else { return };
        if !parent.detached {
            let siblings = self.siblings(parent.task);
            self.drop_keeper(Party::Run(run.id), siblings);
        }
        let end = if status == RunStatus::Completed { End::Good } else { End::Bad };
        self.end(key, end);
        self.detector.remove_resource(open);
        if let Some(children) = self.spawned.get_mut(&parent.task) {
            children.remove(&parent.key);
            if children.is_empty() {
                self.spawned.remove(&parent.task);
            }
        }
        for ancestor in tracked.ancestors {
            if let Some(lender) = self.lenders.get_mut(&ancestor) {
                lender.runs.remove(&run.id);
            }
            self.forget_lender(ancestor);
        }
    }

    /// A pool has another size.
    pub(crate) fn resize(&mut self, pool: &str, size: u32) {
        if let Some(key) = self.pools.get(pool) {
            let change = self.detector.resize(*key, size.into());
            self.changed(change);
            self.settle_told();
        }
    }

    /// A pool is no more, of which nobody holds or wants anything.
    pub(crate) fn forget_pool(&mut self, pool: &str) {
        if let Some(key) = self.pools.remove(pool) {
            self.detector.remove_resource(key);
        }
    }

    /// Other workers are here, or offer something else. With other crews, whoever asks for a slot asks for others; and
    /// these `runs` have attempts at a worker that came or went.
    pub(crate) fn workers_changed(&mut self, workers: &Workers, runs: impl Iterator<Item = RunId>) {
        self.stale.extend(runs);
        let mut others = false;
        for (crew, key) in self.crews.clone() {
            let slots = workers.slots_of(&crew);
            others |= (slots == 0) != (self.detector.units(key) == 0);
            let change = self.detector.resize(key, slots);
            self.changed(change);
        }
        others |= workers.crews().any(|crew| !self.crews.contains_key(crew));
        if others {
            for crew in workers.crews() {
                self.crew(crew, workers);
            }
            self.stale.extend(self.runs.keys());
        }
        self.settle_told();
    }

    /// A run was sent a signal.
    pub(crate) fn signalled(&mut self, run: RunId, name: &str) {
        if let Some(signal) = self.signals.get(&(run, name.into())) {
            let change = self.detector.set_open(signal.key, true);
            self.changed(change);
            self.settle_told();
        }
    }

    /// Has a task stand in it as it is now, if it belongs there.
    pub(crate) fn set_task(&mut self, run: &Run, definition: &Definition, index: TaskIndex, around: Around<'_>) {
        let (id, task) = (run.id.task(index), run.task(index));
        self.set_lender(id, task.lease(), around);
        if let Some(end) = task.end() {
            return self.end_task(id, if end.status == TaskEnd::Completed { End::Good } else { End::Bad });
        }
        let is_frozen = run.poisoned.is_some();
        // Whose worker has left is not known to be stuck: its lease runs out, or the worker comes again with its slots.
        let waits = task.lease().is_some_and(|lease| lease.waits() && !around.workers.is_cut_off(lease)) && !is_frozen;
        if !waits && !self.is_tracked(run.id) {
            return self.end_task(id, End::Bad);
        }
        let mut stands = Stands::default();
        let need = match &task.phase {
            _ if is_frozen || (run.ending.is_some() && !waits) => None,
            Phase::Leased(lease) if waits => {
                let place = lease.parked.as_ref().map_or(lease.seq, |parked| parked.seq);
                Some((self.parked_need(run, definition, id, lease, around, &mut stands), place))
            }
            Phase::Waiting(wait) => {
                let need = self.waiting_need(run, definition, index, wait, around, &mut stands);
                need.map(|need| (need, wait.seq))
            }
            Phase::Leased(_) | Phase::Ended(_) => None,
        };
        stands.need = need.map(|(need, Seq(seq))| (need, Place(seq)));
        let tracked = self.runs.get(&run.id);
        stands.holds.extend(tracked.and_then(|tracked| tracked.end).map(|(_, open)| (open, 1)));
        let parallel = tracked.and_then(|tracked| tracked.parallel).filter(|_| task.lease().is_some());
        stands.holds.extend(parallel.map(|parallel| (parallel, 1)));
        if let Some(lease) = task.lease().filter(|_| stands.need.is_some()) {
            self.add_holds(id, lease, around, &mut stands.holds);
        }
        self.place(id, stands);
        self.settle_told();
    }

    /// Moves a task's node from how it stood to how it stands now.
    fn place(&mut self, id: TaskId, stands: Stands) {
        self.node(id);
        let Some(node) = self.tasks.get_mut(&id).filter(|node| node.is_outdated || node.stands != stands) else {
            return;
        };
        let key = node.key;
        node.is_outdated = false;
        let before = std::mem::replace(&mut node.stands, stands.clone());
        self.resume(key);
        for (resource, units) in &before.holds {
            if stands.holds.get(resource) != Some(units) {
                let change = self.detector.release(key, *resource, *units);
                self.changed(change);
                self.drop_keeper(Party::Task(id), *resource);
            }
        }
        for (resource, units) in &stands.holds {
            if before.holds.get(resource) != Some(units) {
                self.keep(Party::Task(id), key, *resource, *units);
            }
        }
        for (name, sender) in stands.senders.difference(&before.senders) {
            self.add_sender(id.run, name, *sender);
        }
        if let Some((need, place)) = &stands.need {
            let change = self.detector.wait(key, need, *place);
            self.changed(change);
        }
        for (name, sender) in before.senders.difference(&stands.senders) {
            self.remove_sender(id.run, name, *sender);
        }
    }

    fn keep(&mut self, party: Party, key: NodeKey, resource: ResourceKey, units: u64) {
        let change = self.detector.hold(key, resource, units);
        self.changed(change);
        self.keepers.entry(resource).or_default().insert(party);
    }

    fn drop_keeper(&mut self, party: Party, resource: ResourceKey) {
        if let Some(keepers) = self.keepers.get_mut(&resource) {
            keepers.remove(&party);
            if keepers.is_empty() {
                self.keepers.remove(&resource);
            }
        }
    }

    /// A task is in it no more: it has ended, or nobody can wait for it.
    fn end_task(&mut self, id: TaskId, end: End) {
        let Some(node) = self.tasks.remove(&id) else { return };
        self.bereave(id, node.key);
        for resource in node.stands.holds.keys() {
            self.drop_keeper(Party::Task(id), *resource);
        }
        self.end(node.key, end);
        for (name, sender) in &node.stands.senders {
            self.remove_sender(id.run, name, *sender);
        }
        self.settle_told();
    }

    /// Takes in what a step of the detector changed.
    fn changed(&mut self, change: Change) {
        let party = |key: &NodeKey| self.parties.get(key).copied();
        self.told.moved(change.condemned.iter().filter_map(party), change.revived.iter().filter_map(party));
    }

    /// A node works from now on.
    fn resume(&mut self, key: NodeKey) {
        self.told.moved([].into_iter(), self.parties.get(&key).copied().into_iter());
        let change = self.detector.resume(key);
        self.changed(change);
    }

    fn end(&mut self, key: NodeKey, end: End) {
        self.resume(key);
        for waiter in self.detector.waiters(key).collect::<Vec<_>>() {
            if let Some(Party::Task(task)) = self.parties.get(&waiter)
                && let Some(node) = self.tasks.get_mut(task)
            {
                node.is_outdated = true;
            }
        }
        let change = self.detector.end(key, end);
        self.changed(change);
        self.parties.remove(&key);
    }

    fn node(&mut self, id: TaskId) -> NodeKey {
        let detector = &mut self.detector;
        let new = || Node { key: detector.add_node(), stands: Stands::default(), is_outdated: false };
        let key = self.tasks.entry(id).or_insert_with(new).key;
        self.parties.insert(key, Party::Task(id));
        key
    }

    fn pool(&mut self, name: &str, around: Around<'_>) -> Option<ResourceKey> {
        if let Some(key) = self.pools.get(name) {
            return Some(*key);
        }
        let key = self.detector.add_resource(around.pools.get(name)?.size.into(), Queue::Any);
        self.pools.insert(name.to_owned(), key);
        Some(key)
    }

    fn crew(&mut self, crew: &Arc<Serves>, workers: &Workers) -> ResourceKey {
        let detector = &mut self.detector;
        let slots = || workers.slots_of(crew);
        *self.crews.entry(Arc::clone(crew)).or_insert_with(|| detector.add_resource(slots(), Queue::Any))
    }
}

fn has_senders(definition: &Definition) -> bool {
    definition.body.tasks.iter().any(|task| task.kind.awaits().is_some_and(|(_, from)| !from.is_empty()))
}
