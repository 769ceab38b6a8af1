//! The live wait graph: what can hold something and wait, or be waited for, judged after every change.
//!
//! Not everybody is in it. Nobody waits for a task of a run that nobody spawned, so such a task is in it only while its
//! attempt waits. A run that a task spawned is in it with all its unfinished tasks (it is *tracked*), and so is one in
//! which a signal has declared senders. What only time, a person or a worker that comes can end counts as live.
//!
//! Queue order is no part of it: whoever holds something is not held up by it (`docs/decisions/0011`).

use crate::{
    RunId, Seq, TaskId, TaskIndex,
    ready::Request,
    run::{Awaited, Child, Lease, Phase, Run, RunStatus, TaskEnd, Wait, WaitOn},
    settings::Pool,
    wait::{
        Queue, Until,
        detector::{Change, ConsumableKey, Detector, End, Need, NodeKey, Place, ResourceKey},
    },
    worker::{Serves, Workers},
    workflow::{self, Definition, When},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Units of the resource that stands for "all tasks of a run have ended": each unfinished one holds one.
const ALL_ENDED: u64 = 1 << 30;

/// Somebody in the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// A task, or its attempt that waits.
    Task(TaskId),
    /// A run that a task spawned.
    Run(RunId),
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
    signals: BTreeMap<(RunId, Arc<str>), ConsumableKey>,
    /// The runs that tasks spawned and that have not ended, by task.
    spawned: BTreeMap<TaskId, BTreeMap<String, RunId>>,
    /// Tracked runs whose waits were made from what is so no more.
    stale: BTreeSet<RunId>,
    change: Change,
}

#[derive(Clone, Debug)]
struct Node {
    key: NodeKey,
    holds: Vec<(ResourceKey, u64)>,
}

#[derive(Clone, Debug, Default)]
struct Tracked {
    /// For one that a task spawned: its node, and what its tasks hold of its end.
    end: Option<(NodeKey, ResourceKey)>,
    /// How many of its tasks may hold a lease at once, if that is bounded.
    parallel: Option<ResourceKey>,
    ancestors: Vec<TaskId>,
}

/// A task with runs below it.
#[derive(Clone, Debug, Default)]
struct Lender {
    /// Tracked runs below it that have not ended.
    runs: BTreeSet<RunId>,
    lent: BTreeMap<Lent, (ResourceKey, u64)>,
    /// What the worker of its attempt takes, if it has a slot of one.
    serves: Option<Arc<Serves>>,
    /// Whether its own run has ended.
    is_gone: bool,
}

impl Graph {
    /// Whether all tasks of a run are in it.
    pub(crate) fn is_tracked(&self, run: RunId) -> bool {
        self.runs.contains_key(&run)
    }

    /// Whether a task or a run is in it.
    pub(crate) fn has(&self, party: Party) -> bool {
        match party {
            Party::Task(task) => self.tasks.contains_key(&task),
            Party::Run(run) => self.runs.get(&run).is_some_and(|tracked| tracked.end.is_some()),
        }
    }

    /// Who is deadlocked.
    pub fn deadlocked(&self) -> impl Iterator<Item = Party> + '_ {
        self.detector.deadlocked().filter_map(|key| self.parties.get(&key).copied())
    }

    /// Whether somebody is.
    pub fn is_deadlocked(&self, party: Party) -> bool {
        let key = match party {
            Party::Task(task) => self.tasks.get(&task).map(|node| node.key),
            Party::Run(run) => self.runs.get(&run).and_then(|tracked| tracked.end).map(|(key, _)| key),
        };
        key.is_some_and(|key| self.detector.is_deadlocked(key))
    }

    /// Who has become deadlocked since the last call, and still is.
    pub(crate) fn take_condemned(&mut self) -> Vec<Party> {
        let condemned = std::mem::take(&mut self.change).condemned;
        condemned.into_iter().filter_map(|key| self.parties.get(&key).copied()).collect()
    }

    /// Tracked runs whose waits are to be made anew.
    pub(crate) fn take_stale(&mut self) -> BTreeSet<RunId> {
        std::mem::take(&mut self.stale)
    }

    /// Asserts what must be true after every change.
    pub(crate) fn check(&self) {
        self.detector.check();
    }

    fn changed(&mut self, change: Change) {
        if !change.condemned.is_empty() || !change.revived.is_empty() {
            self.change = std::mem::take(&mut self.change).then(change);
        }
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
        let mut tracked = Tracked { end: None, parallel, ancestors };
        if let Some(parent) = &run.parent {
            let key = self.detector.add_node();
            let open = self.detector.add_resource(ALL_ENDED, Queue::Any);
            self.parties.insert(key, Party::Run(run.id));
            tracked.end = Some((key, open));
            self.spawned.entry(parent.task).or_default().insert(parent.key.clone(), run.id);
            for ancestor in &tracked.ancestors {
                self.lenders.entry(*ancestor).or_default().runs.insert(run.id);
            }
        }
        self.runs.insert(run.id, tracked);
        self.run_changed(run);
    }

    /// A run's own fields changed: while it comes to its end, or is frozen, it is not its tasks that it waits for.
    pub(crate) fn run_changed(&mut self, run: &Run) {
        let Some((key, open)) = self.runs.get(&run.id).and_then(|tracked| tracked.end) else { return };
        let waits = run.ending.is_none() && run.poisoned.is_none();
        let change = match waits {
            true => self.detector.wait(key, &Need::Units(open, ALL_ENDED), Place(run.seq.0)),
            false => self.detector.resume(key),
        };
        self.changed(change);
    }

    /// Takes a run out, after its tasks.
    pub(crate) fn remove_run(&mut self, run: &Run, status: RunStatus) {
        if let Some(tracked) = self.runs.remove(&run.id) {
            self.untrack(run, status, tracked);
        }
        let of_run = run.id.task(TaskIndex(0))..=run.id.task(TaskIndex(u32::MAX));
        let lenders: Vec<TaskId> = self.lenders.range(of_run).map(|(task, _)| *task).collect();
        for task in lenders {
            if let Some(lender) = self.lenders.get_mut(&task) {
                lender.is_gone = true;
            }
            self.forget_lender(task);
        }
    }

    fn untrack(&mut self, run: &Run, status: RunStatus, tracked: Tracked) {
        let of_run = self.signals.range((run.id, Arc::from(""))..).take_while(|((of, _), _)| *of == run.id);
        for (key, signal) in of_run.map(|(key, signal)| (key.clone(), *signal)).collect::<Vec<_>>() {
            self.detector.remove_consumable(signal);
            self.signals.remove(&key);
        }
        if let Some(parallel) = tracked.parallel {
            self.detector.remove_resource(parallel);
        }
        let (Some((key, open)), Some(parent)) = (tracked.end, &run.parent) else { return };
        let end = if status == RunStatus::Completed { End::Good } else { End::Bad };
        let change = self.detector.end(key, end);
        self.changed(change);
        self.parties.remove(&key);
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

    /// A lender whose run has ended is forgotten with the last run below it: until then they name what it lent.
    fn forget_lender(&mut self, task: TaskId) {
        if self.lenders.get(&task).is_some_and(|lender| lender.is_gone && lender.runs.is_empty())
            && let Some(lender) = self.lenders.remove(&task)
        {
            lender.lent.into_values().for_each(|(key, _)| self.detector.remove_resource(key));
        }
    }

    /// A pool has another size.
    pub(crate) fn resize(&mut self, pool: &str, size: u32) {
        if let Some(key) = self.pools.get(pool) {
            let change = self.detector.resize(*key, size.into());
            self.changed(change);
        }
    }

    /// A pool is no more, of which nobody holds or wants anything.
    pub(crate) fn forget_pool(&mut self, pool: &str) {
        if let Some(key) = self.pools.remove(pool) {
            self.detector.remove_resource(key);
        }
    }

    /// Other workers are here, or offer something else.
    pub(crate) fn workers_changed(&mut self, workers: &Workers) {
        for (crew, key) in &self.crews {
            let change = self.detector.resize(*key, workers.slots_of(crew));
            if !change.condemned.is_empty() || !change.revived.is_empty() {
                self.change = std::mem::take(&mut self.change).then(change);
            }
        }
        self.stale.extend(self.runs.keys());
    }

    /// A run was sent a signal.
    pub(crate) fn signalled(&mut self, run: RunId, name: &str) {
        if let Some(signal) = self.signals.get(&(run, name.into())) {
            let change = self.detector.set_open(*signal, true);
            self.changed(change);
        }
    }

    /// Takes a task in as it is now, if it belongs there.
    pub(crate) fn add_task(
        &mut self,
        run: &Run,
        definition: &Definition,
        index: TaskIndex,
        workers: &Workers,
        around: Around<'_>,
    ) {
        let (id, task) = (run.id.task(index), run.task(index));
        self.set_lender(id, task.lease(), workers, around);
        let waits = task.lease().is_some_and(Lease::waits) && run.poisoned.is_none();
        let is_tracked = self.is_tracked(run.id);
        if task.end().is_some() || !(waits || is_tracked) {
            return;
        }
        let key = self.node(id);
        let is_frozen = run.poisoned.is_some() || run.ending.is_some();
        let need = match &task.phase {
            _ if is_frozen && !waits => None,
            Phase::Leased(lease) if waits => Some((
                self.parked_need(run, id, lease, around),
                lease.parked.as_ref().map_or(lease.seq, |parked| parked.seq),
            )),
            Phase::Waiting(wait) => {
                self.waiting_need(run, definition, index, wait, workers, around).map(|need| (need, wait.seq))
            }
            Phase::Leased(_) | Phase::Ended(_) => None,
        };
        let tracked = self.runs.get(&run.id);
        let open = tracked.and_then(|tracked| tracked.end).map(|(_, open)| open);
        let parallel = tracked.and_then(|tracked| tracked.parallel).filter(|_| task.lease().is_some());
        let mut holds: Vec<(ResourceKey, u64)> = open.into_iter().chain(parallel).map(|key| (key, 1)).collect();
        if let Some(lease) = task.lease().filter(|_| need.is_some()) {
            holds.extend(self.holds(id, lease, workers, around));
        }
        for (resource, units) in &holds {
            let change = self.detector.hold(key, *resource, *units);
            self.changed(change);
        }
        if let Some(node) = self.tasks.get_mut(&id) {
            node.holds = holds;
        }
        if let Some((need, Seq(seq))) = need {
            let change = self.detector.wait(key, &need, Place(seq));
            self.changed(change);
        }
    }

    /// Takes a task out, before it changes. In a tracked run its node stays until it has ended.
    pub(crate) fn remove_task(&mut self, id: TaskId) {
        let Some(node) = self.tasks.get_mut(&id) else { return };
        let (key, holds) = (node.key, std::mem::take(&mut node.holds));
        let change = self.detector.resume(key);
        self.changed(change);
        for (resource, units) in holds {
            let change = self.detector.release(key, resource, units);
            self.changed(change);
        }
        if !self.is_tracked(id.run) {
            self.end_task(id, End::Bad);
        }
    }

    /// A task has ended.
    pub(crate) fn task_ended(&mut self, id: TaskId, end: TaskEnd) {
        if self.tasks.contains_key(&id) {
            self.end_task(id, if end == TaskEnd::Completed { End::Good } else { End::Bad });
        }
    }

    fn end_task(&mut self, id: TaskId, end: End) {
        let Some(node) = self.tasks.remove(&id) else { return };
        let change = self.detector.end(node.key, end);
        self.changed(change);
        self.parties.remove(&node.key);
    }

    fn node(&mut self, id: TaskId) -> NodeKey {
        let detector = &mut self.detector;
        let node = self.tasks.entry(id).or_insert_with(|| Node { key: detector.add_node(), holds: Vec::new() });
        self.parties.insert(node.key, Party::Task(id));
        node.key
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

    fn lent(&mut self, lender: TaskId, lent: &Lent) -> ResourceKey {
        let known = self.lenders.entry(lender).or_default();
        if let Some((key, _)) = known.lent.get(lent) {
            return *key;
        }
        let key = self.detector.add_resource(0, Queue::Any);
        known.lent.insert(lent.clone(), (key, 0));
        self.stale.extend(&known.runs);
        key
    }

    /// What a task can lend from now on to those below it.
    fn set_lender(&mut self, id: TaskId, lease: Option<&Lease>, workers: &Workers, around: Around<'_>) {
        let Some(known) = self.lenders.get_mut(&id) else { return };
        let offer = lease.and_then(|lease| workers.get(&lease.worker));
        let serves = offer.map(|offer| Arc::clone(&offer.serves));
        if known.serves != serves {
            known.serves = serves;
            self.stale.extend(&known.runs);
        }
        let mut wanted: BTreeMap<Lent, u64> = known.lent.keys().map(|lent| (lent.clone(), 0)).collect();
        if offer.is_some() {
            wanted.insert(Lent::Slot, 1);
        }
        for (pool, units) in lease.iter().flat_map(|lease| &lease.holds) {
            if around.pools.get(pool).is_some_and(|pool| pool.lend) {
                wanted.insert(Lent::Pool(pool.clone()), (*units).into());
            }
        }
        for (lent, units) in wanted {
            let key = self.lent(id, &lent);
            let before = self.lenders.get_mut(&id).and_then(|known| known.lent.insert(lent, (key, units)));
            if before.is_none_or(|(_, before)| before != units) {
                let change = self.detector.resize(key, units);
                self.changed(change);
            }
        }
    }

    /// What an attempt that waits keeps meanwhile.
    fn holds(&mut self, id: TaskId, lease: &Lease, workers: &Workers, around: Around<'_>) -> Vec<(ResourceKey, u64)> {
        let mut holds = Vec::new();
        for (pool, units) in &lease.holds {
            let borrowed = lease.borrowed.get(pool);
            let of_others: u32 = borrowed.map_or(0, |lenders| lenders.values().sum());
            for (lender, units) in borrowed.into_iter().flatten() {
                holds.push((self.lent(*lender, &Lent::Pool(pool.clone())), (*units).into()));
            }
            if let Some(key) = self.pool(pool, around).filter(|_| *units > of_others) {
                holds.push((key, (units - of_others).into()));
            }
        }
        match (lease.slot_of, workers.get(&lease.worker)) {
            (Some(lender), _) => holds.push((self.lent(lender, &Lent::Slot), 1)),
            (None, Some(offer)) => holds.push((self.crew(&offer.serves, workers), 1)),
            (None, None) => {}
        }
        if !lease.lends() {
            let own = self.lenders.get(&id).into_iter().flat_map(|known| known.lent.values().copied());
            holds.extend(own.filter(|(_, units)| *units > 0));
        }
        holds
    }

    /// What an attempt waits for; one that lends, also for all of that to be back.
    fn parked_need(&mut self, run: &Run, id: TaskId, lease: &Lease, around: Around<'_>) -> Need {
        let Some(parked) = &lease.parked else { return Need::Holds };
        let own = self.term(run, id, &parked.on, around);
        if !lease.lends() {
            return own;
        }
        let lent = self.lenders.get(&id).into_iter().flat_map(|known| known.lent.values());
        let back = lent.filter(|(_, units)| *units > 0).map(|(key, units)| Need::Units(*key, *units));
        Need::all(std::iter::once(own).chain(back).collect())
    }

    fn term(&mut self, run: &Run, id: TaskId, term: &Awaited, around: Around<'_>) -> Need {
        match term {
            Awaited::Units { pool, units } => self.units(run, pool, *units, around),
            Awaited::Child { key, until } => {
                let child = around.children.get(&id).and_then(|children| children.get(key));
                let wants_success = *until == workflow::Until::Succeeded;
                match child.map(|child| child.ended) {
                    Some(Some(status)) if wants_success && status != RunStatus::Completed => Need::Never,
                    Some(None) => self.run(id, key, wants_success),
                    _ => Need::Holds,
                }
            }
            Awaited::Children => {
                let children = around.children.get(&id).into_iter().flatten();
                let open: Vec<&String> = children.filter(|(_, child)| child.is_awaited()).map(|(key, _)| key).collect();
                Need::all(open.into_iter().map(|key| self.run(id, key, false)).collect())
            }
            Awaited::Signal { name, from } => self.signal(run, name, from),
            Awaited::Timer { .. } => Need::Holds,
            Awaited::AtLeast { k, of } => {
                Need::AtLeast(*k as usize, of.iter().map(|part| self.term(run, id, part, around)).collect())
            }
        }
    }

    /// The end of a run that a task spawned. One that has not begun does so as soon as there is room.
    fn run(&self, id: TaskId, key: &str, wants_success: bool) -> Need {
        let run = self.spawned.get(&id).and_then(|children| children.get(key));
        let node = run.and_then(|run| self.runs.get(run)).and_then(|tracked| tracked.end);
        let until = if wants_success { Until::Success } else { Until::Terminal };
        node.map_or(Need::Holds, |(node, _)| Need::Node(node, until))
    }

    /// Units of a pool: of the pool itself, or of an ancestor that lends them; wholly of one of these.
    fn units(&mut self, run: &Run, pool: &str, units: u32, around: Around<'_>) -> Need {
        let Some(key) = self.pool(pool, around) else { return Need::Holds };
        let own = Need::Units(key, units.into());
        let mut sources = self.of_ancestors(run, &Lent::Pool(pool.to_owned()), |_| true, units.into());
        if sources.is_empty() {
            return own;
        }
        sources.push(own);
        Need::any(sources)
    }

    fn of_ancestors(&self, run: &Run, lent: &Lent, may: impl Fn(&Lender) -> bool, units: u64) -> Vec<Need> {
        let ancestors = self.runs.get(&run.id).into_iter().flat_map(|tracked| &tracked.ancestors);
        let lenders = ancestors.filter_map(|ancestor| self.lenders.get(ancestor)).filter(|lender| may(lender));
        lenders.filter_map(|lender| lender.lent.get(lent)).map(|(key, _)| Need::Units(*key, units)).collect()
    }

    fn signal(&mut self, run: &Run, name: &str, from: &[TaskIndex]) -> Need {
        if from.is_empty() || run.signals.contains_key(name) {
            return Need::Holds;
        }
        let key = match self.signals.get(&(run.id, name.into())) {
            Some(key) => *key,
            None => {
                let key = self.detector.add_consumable(false);
                self.signals.insert((run.id, name.into()), key);
                key
            }
        };
        for sender in from.iter().filter(|sender| run.task(**sender).end().is_none()) {
            let node = self.node(run.id.task(*sender));
            let change = self.detector.add_producer(key, node);
            self.changed(change);
        }
        Need::Sent(key)
    }

    /// What a task that waits does wait for; nothing: for what only time or the outside brings.
    fn waiting_need(
        &mut self,
        run: &Run,
        definition: &Definition,
        index: TaskIndex,
        wait: &Wait,
        workers: &Workers,
        around: Around<'_>,
    ) -> Option<Need> {
        match (wait.on, &definition.task(index).kind) {
            (WaitOn::Needs, _) => Some(self.needs(run, definition, index)),
            (WaitOn::Grant, _) => {
                let request = super::request(run, definition, index);
                Some(self.grant(run, &request, workers, around))
            }
            (WaitOn::Signal, kind) => kind.awaits().map(|(name, from)| self.signal(run, name, from)),
            (WaitOn::Backoff | WaitOn::Sleep | WaitOn::Decision | WaitOn::Confirmation, _) => None,
        }
    }

    fn needs(&mut self, run: &Run, definition: &Definition, index: TaskIndex) -> Need {
        let (task, def) = (run.task(index), definition.task(index));
        let entry = |graph: &mut Self, need: &workflow::Need| {
            let until = if need.until == workflow::Until::Succeeded { Until::Success } else { Until::Terminal };
            match run.task(need.task).end() {
                Some(end) if until == Until::Success && end.status != TaskEnd::Completed => Need::Never,
                Some(_) => Need::Holds,
                None => Need::Node(graph.node(run.id.task(need.task)), until),
            }
        };
        let of = def.needs.of.iter().map(|need| entry(self, need)).collect();
        let entries = Need::AtLeast(def.needs.at_least as usize, of);
        if def.when != When::Fallback || task.called {
            return entries;
        }
        let primaries = definition.primaries.get(&index).into_iter().flatten();
        let open: Vec<TaskIndex> = primaries.copied().filter(|primary| run.task(*primary).end().is_none()).collect();
        let ends = open.into_iter().map(|primary| Need::Node(self.node(run.id.task(primary)), Until::Terminal));
        let called = Need::any(ends.collect());
        Need::all(vec![entries, called])
    }

    /// A slot, pools and locks, all at once. Where no worker takes it, one may come.
    fn grant(&mut self, run: &Run, asked: &Request, workers: &Workers, around: Around<'_>) -> Need {
        let (queue, kind) = (&*asked.demand.queue, &asked.demand.kind);
        let crews: Vec<Arc<Serves>> =
            workers.serving(queue, kind).filter(|crew| workers.slots_of(crew) > 0).cloned().collect();
        let mut parts = Vec::new();
        if !crews.is_empty() {
            let takes = |lender: &Lender| lender.serves.as_ref().is_some_and(|serves| serves.takes(queue, kind));
            let mut slots = self.of_ancestors(run, &Lent::Slot, takes, 1);
            slots.extend(crews.iter().map(|crew| Need::Units(self.crew(crew, workers), 1)));
            parts.push(Need::any(slots));
        }
        for (pool, units) in &asked.demand.resources {
            parts.push(self.units(run, pool, *units, around));
        }
        let parallel = self.runs.get(&run.id).and_then(|tracked| tracked.parallel);
        parts.extend(parallel.map(|key| Need::Units(key, 1)));
        Need::all(parts)
    }
}

fn has_senders(definition: &Definition) -> bool {
    definition.body.tasks.iter().any(|task| task.kind.awaits().is_some_and(|(_, from)| !from.is_empty()))
}
