//! What the brain derives from its durable state, or may lose: indices, workers, the ready lines.
//!
//! Everything derived is kept by pairs of `index_*` and `unindex_*` around each change, and `load`
//! runs only the first of each pair, so the two cannot disagree.

pub mod alerting;
mod children;
mod graph;
mod supply;
mod waiters;

pub use children::Children;
pub(crate) use graph::Around;
pub use graph::{Graph, Lent, Party};
pub use waiters::Waiters;

use crate::{
    AttemptId, CommitSeq, Millis, RunId, TaskId, TaskIndex, Timestamp,
    deadline::{Deadline, heartbeat_deadline},
    event::Caller,
    ready::{Ready, Request, Resource},
    run::{Child, Lease, Parked, Phase, Run, Task, TaskCounts, TaskStatus, WaitOn, WorkerId},
    settings::{Bounds, Pool},
    worker::{Serves, Workers},
    workflow::{Definition, TaskDef, TaskKind},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The part of the state that is never stored.
#[derive(Debug, Default)]
pub struct Volatile {
    /// Bounds of the namespace, told with the settings.
    pub bounds: Bounds,
    /// The newest commit whose changes are in the state.
    pub commit: CommitSeq,
    /// Every moment the brain waits for, soonest first.
    pub deadlines: BTreeSet<(Timestamp, Deadline)>,
    /// Queued tasks, in the order in which they are granted.
    pub ready: Ready,
    /// The one of the deadlines at which a queued task counts as high: the next of those in the ready lines.
    pub ageing: Option<(Timestamp, Deadline)>,
    /// Workers that offer slots, and what each takes.
    pub workers: Workers,
    /// Leases by worker, also of workers that are not here.
    pub leases: BTreeMap<WorkerId, BTreeSet<TaskId>>,
    /// Workers that another boot of the same name has replaced, the latest last: their offers are out of date.
    pub replaced: std::collections::VecDeque<WorkerId>,
    /// Units held, by pool or lock. What an ancestor lends is held by that alone.
    pub held: BTreeMap<String, u32>,
    /// By whom.
    pub holders: BTreeMap<String, BTreeSet<TaskId>>,
    /// How many known definitions name a pool or lock.
    pub named: BTreeMap<String, u32>,
    /// Pools of which units were given back, or not waited for any more: a lock of first use among them may be nobody's.
    pub given_back: BTreeSet<String>,
    /// Units and slots that are lent now, by who lends them.
    pub lent: BTreeMap<(TaskId, Lent), u32>,
    /// Who has something of whom.
    pub borrowers: BTreeMap<TaskId, BTreeSet<TaskId>>,
    /// Attempts of a worker that are performed in a lent slot, beside its own.
    pub beside: BTreeMap<WorkerId, u32>,
    /// Runs that tasks spawned, counted.
    pub children: Children,
    /// Running attempts that wait.
    pub waiters: Waiters,
    /// Who asked last how the wait of an attempt goes.
    pub asking: BTreeMap<TaskId, Caller>,
    /// The wait graph.
    pub graph: Graph,
    /// What is done about those who can never move; told with the settings.
    pub monitor: crate::settings::Monitor,
    /// Who is told of incidents, told with the settings; and who was told when.
    pub alerting: alerting::Alerting,
    /// Per unfinished run: what would be counted over its tasks.
    pub tallies: BTreeMap<RunId, Tally>,
    /// Unfinished tasks of all runs.
    pub open_total: u32,
    /// Unfinished tasks that stand in a queue, or may come to stand there, by queue.
    pub by_queue: BTreeMap<String, u32>,
    /// Unfinished runs by idempotency key.
    pub idempotency: BTreeMap<String, RunId>,
    /// How many unfinished runs pin a definition.
    pub pins: BTreeMap<crate::workflow::DefinitionHash, u32>,
    /// Runs that ended lately, for commands whose facts were read before: (commit, run, status, key).
    pub recent: std::collections::VecDeque<RecentEnd>,
    /// Facts read before this commit may miss an end that is not in `recent` any more.
    pub recent_floor: CommitSeq,
    /// Tasks of large runs that ended in the batch that is being built: their last rows are still to be read.
    pub retired: BTreeMap<RunId, Vec<Task>>,
    /// Only these runs are served, with those that they spawn; none: all.
    pub focus: Option<BTreeSet<RunId>>,
    /// Deadlines that come later than the rows say: of renewed leases, and of what would have passed while
    /// nobody could be heard.
    pub moved: BTreeMap<Deadline, Timestamp>,
    /// Whether nothing was applied since the load.
    pub just_loaded: bool,
    /// Whether the last step left grants undone.
    pub grants_due: bool,
    /// Whether grants are a step of their own, because an event is applied alone to see whether it is the one
    /// that fails.
    pub grants_apart: bool,
    /// The run that the step under way works on: whose fault it is, should the brain fail.
    pub at_work: Option<RunId>,
    /// Reports refused because their lease was not theirs any more.
    pub refused_reports: u64,
}

/// A run that ended lately.
#[derive(Clone, Debug, PartialEq)]
pub struct RecentEnd {
    /// The commit that ended it.
    pub commit: CommitSeq,
    /// The run.
    pub run: RunId,
    /// How it ended.
    pub status: crate::run::RunStatus,
    /// Its idempotency key and body hash.
    pub idempotency: Option<crate::run::Idempotency>,
}

/// Counts over the tasks of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tasks not at their end.
    pub open: u32,
    /// Tasks under a lease.
    pub leased: u32,
    /// Tasks that failed for good with nothing to handle it.
    pub unhandled: u32,
    /// All tasks, by [`TaskStatus`].
    by_status: [u32; 9],
}

impl Tally {
    /// All tasks, by status.
    pub fn counts(&self) -> TaskCounts {
        let counts = TaskStatus::ALL.map(|status| (status, self.by_status[status as usize]));
        counts.into_iter().filter(|(_, tasks)| *tasks > 0).collect()
    }
}

/// What of the state beside a run the indices are made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shared<'s> {
    pub(crate) pools: &'s BTreeMap<String, Pool>,
    pub(crate) children: &'s BTreeMap<TaskId, BTreeMap<String, Child>>,
}

/// The moments that a run or a task waits for: five at most.
pub(crate) type Deadlines = [Option<(Timestamp, Deadline)>; 5];

/// A deadline that comes later than its row says.
pub(crate) struct Moved {
    stored: Timestamp,
    deadline: Deadline,
    to: Timestamp,
}

impl Volatile {
    /// Takes a run into the indices. Its tasks are indexed one by one.
    pub(crate) fn index_run(&mut self, run: &Run, definition: &Definition) {
        self.expect(run_deadlines(run));
        self.tallies.entry(run.id).or_default();
        self.graph.add_run(run, definition);
        for hash in run.definitions() {
            *self.pins.entry(hash.clone()).or_default() += 1;
        }
        if let Some(idempotency) = &run.idempotency {
            self.idempotency.insert(idempotency.key.clone(), run.id);
        }
    }

    /// Takes a run out of the indices, after its tasks.
    pub(crate) fn unindex_run(&mut self, run: &Run, status: crate::run::RunStatus) {
        self.forget(run_deadlines(run));
        self.tallies.remove(&run.id);
        self.graph.remove_run(run, status);
        for hash in run.definitions() {
            decrement(&mut self.pins, hash, 1);
        }
        if let Some(idempotency) = &run.idempotency {
            self.idempotency.remove(&idempotency.key);
        }
    }

    /// A definition is known from now on.
    pub(crate) fn index_definition(&mut self, definition: &Definition) {
        for pool in definition.pools() {
            increment(&mut self.named, pool, 1);
        }
    }

    /// A definition is let go of: so may locks be that it named.
    pub(crate) fn unindex_definition(&mut self, definition: &Definition) {
        for pool in definition.pools() {
            decrement(&mut self.named, pool, 1);
            self.given_back.insert(pool.to_owned());
        }
    }

    /// Renews what is known of a run around a change of its own fields. A deadline that stays keeps where it was moved to.
    pub(crate) fn replace_run(&mut self, before: Deadlines, run: &Run) {
        let after = run_deadlines(run);
        self.forget(before.map(|deadline| deadline.filter(|_| !after.contains(&deadline))));
        self.expect(after.map(|deadline| deadline.filter(|_| !before.contains(&deadline))));
        self.graph.run_changed(run);
    }

    fn expect(&mut self, deadlines: Deadlines) {
        for (stored, deadline) in deadlines.into_iter().flatten() {
            self.deadlines.insert((self.moment_of(deadline, stored), deadline));
        }
    }

    /// Takes deadlines out of the index; what moved them is forgotten with them.
    fn forget(&mut self, deadlines: Deadlines) {
        for (stored, deadline) in deadlines.into_iter().flatten() {
            let at = self.moved.remove(&deadline).unwrap_or(stored);
            self.deadlines.remove(&(at, deadline));
        }
    }

    /// Takes out what the tasks of a run wait for, which is to be frozen: their deadlines, and their attempts' waits.
    pub(crate) fn forget_waits(&mut self, run: &Run, definition: &Definition) {
        for (index, task) in run.indexed_tasks() {
            self.forget(self.task_deadlines(run, definition.task(index), index));
            if let Some(parked) = task.lease().and_then(|lease| waiting(run, lease)) {
                self.forget_waiter(run.id.task(index), parked);
            }
        }
    }

    fn forget_waiter(&mut self, id: TaskId, parked: &Parked) {
        self.waiters.remove(id, parked);
        for (pool, _) in parked.on.units() {
            // New grants stood back for it.
            self.ready.freed(Resource::Pool(pool.to_owned()));
            self.given_back.insert(pool.to_owned());
        }
    }

    /// When a deadline that is stored as `stored` really comes.
    pub(crate) fn moment_of(&self, deadline: Deadline, stored: Timestamp) -> Timestamp {
        self.moved.get(&deadline).copied().unwrap_or(stored)
    }

    /// Moves a deadline from where it comes now.
    fn move_to(&mut self, deadline: Deadline, from: Timestamp, to: Timestamp) {
        self.deadlines.remove(&(from, deadline));
        self.deadlines.insert((to, deadline));
        self.moved.insert(deadline, to);
    }

    /// Waits for the next moment at which a queued task counts as high; to be called when the ready lines changed.
    pub(crate) fn watch_ageing(&mut self) {
        let next = self.ready.next_ageing().map(|(at, task)| (at, Deadline::CountsAsHigh(task)));
        if next != self.ageing {
            if let Some(before) = &self.ageing {
                self.deadlines.remove(before);
            }
            self.deadlines.extend(next);
            self.ageing = next;
        }
    }

    /// Takes a task into the indices.
    pub(crate) fn index_task(&mut self, run: &Run, definition: &Definition, index: TaskIndex, shared: Shared<'_>) {
        let (task, def) = (run.task(index), definition.task(index));
        self.expect(self.task_deadlines(run, definition.task(index), index));
        let tally = self.tallies.entry(run.id).or_default();
        tally.by_status[task.status() as usize] += 1;
        match &task.phase {
            Phase::Waiting(wait) => {
                tally.open += 1;
                self.open_total += 1;
                if let Some(queue) = queue_of(def) {
                    increment(&mut self.by_queue, queue, 1);
                }
                if wait.on == WaitOn::Grant {
                    self.ready.add(request(run, definition, index), wait.seq, wait.since, run.id.task(index));
                }
            }
            Phase::Leased(lease) => {
                tally.open += 1;
                tally.leased += 1;
                self.open_total += 1;
                if let Some(queue) = queue_of(def) {
                    increment(&mut self.by_queue, queue, 1);
                }
                match self.leases.get_mut(&lease.worker) {
                    Some(leases) => {
                        leases.insert(run.id.task(index));
                    }
                    None => {
                        self.leases.insert(lease.worker.clone(), BTreeSet::from([run.id.task(index)]));
                    }
                }
                for (pool, units) in &lease.holds {
                    let own = units - lease.borrowed_of(pool);
                    if own > 0 {
                        increment(&mut self.held, pool, own);
                        self.holders.entry(pool.clone()).or_default().insert(run.id.task(index));
                    }
                }
                self.index_loans(run.id.task(index), lease);
                if let Some(parked) = waiting(run, lease) {
                    self.waiters.add(run.id.task(index), parked);
                }
            }
            Phase::Ended(_) => tally.unhandled += u32::from(is_unhandled(task, def)),
        }
        self.graph_again(run, definition, index, shared);
    }

    /// Has a task stand in the wait graph as it is now.
    pub(crate) fn graph_again(&mut self, run: &Run, definition: &Definition, index: TaskIndex, shared: Shared<'_>) {
        let Shared { pools, children } = shared;
        let around = Around { pools, children, workers: &self.workers, counts: &self.children, lent: &self.lent };
        self.graph.set_task(run, definition, index, around);
    }

    /// Takes a task out of the indices, before it changes. It leaves the wait graph, or stands there otherwise, when it is
    /// taken in again.
    pub(crate) fn unindex_task(&mut self, run: &Run, definition: &Definition, index: TaskIndex) {
        let (task, def) = (run.task(index), definition.task(index));
        self.forget(self.task_deadlines(run, definition.task(index), index));
        let tally = self.tallies.entry(run.id).or_default();
        tally.by_status[task.status() as usize] -= 1;
        match &task.phase {
            Phase::Waiting(wait) => {
                tally.open -= 1;
                self.open_total -= 1;
                if let Some(queue) = queue_of(def) {
                    decrement(&mut self.by_queue, queue, 1);
                }
                if wait.on == WaitOn::Grant {
                    self.ready.remove(&request(run, definition, index), wait.seq, run.id.task(index));
                }
            }
            Phase::Leased(lease) => {
                tally.open -= 1;
                tally.leased -= 1;
                self.open_total -= 1;
                if let Some(queue) = queue_of(def) {
                    decrement(&mut self.by_queue, queue, 1);
                }
                if let Some(leases) = self.leases.get_mut(&lease.worker) {
                    leases.remove(&run.id.task(index));
                    if leases.is_empty() {
                        self.leases.remove(&lease.worker);
                    }
                }
                for (pool, units) in &lease.holds {
                    let own = units - lease.borrowed_of(pool);
                    if own > 0 {
                        decrement(&mut self.held, pool, own);
                        self.holds_no_more(pool, run.id.task(index));
                    }
                }
                self.unindex_loans(run.id.task(index), lease);
                if let Some(parked) = waiting(run, lease) {
                    self.forget_waiter(run.id.task(index), parked);
                }
            }
            Phase::Ended(_) => tally.unhandled -= u32::from(is_unhandled(task, def)),
        }
    }

    fn holds_no_more(&mut self, pool: &str, id: TaskId) {
        if let Some(holders) = self.holders.get_mut(pool) {
            holders.remove(&id);
            if holders.is_empty() {
                self.holders.remove(pool);
            }
        }
    }

    /// The moments that a task waits for and that come before its run's own end.
    fn task_deadlines(&self, run: &Run, def: &TaskDef, index: TaskIndex) -> Deadlines {
        let (id, task) = (run.id.task(index), run.task(index));
        if run.poisoned.is_some() {
            return [None; 5];
        }
        match &task.phase {
            Phase::Waiting(wait) if wait.deadline < run.deadline => {
                [Some((wait.deadline, Deadline::TaskWait(id))), None, None, None, None]
            }
            Phase::Waiting(_) | Phase::Ended(_) => [None; 5],
            Phase::Leased(lease) => {
                let attempt = id.attempt(task.attempts);
                let first = match &lease.stopping {
                    Some(stopping) => (stopping.fenced_at, Deadline::StopExpiry(attempt)),
                    None => (lease.deadline, Deadline::AttemptTimeout(attempt)),
                };
                let expiry = lease.expires_at.map(|stored| (stored, Deadline::LeaseExpiry(attempt)));
                let silence = heartbeat_deadline(lease, def).map(|stored| (stored, Deadline::Heartbeat(attempt)));
                let parked = lease.parked.as_ref().filter(|_| lease.stopping.is_none());
                // A time-out may be put off, a timer comes when it comes.
                let until = parked.map(|parked| parked.deadline).filter(|at| *at < lease.deadline);
                let until = until.map(|at| (at, Deadline::AttemptWait(attempt)));
                let timer = parked.and_then(|parked| Some((parked.timer?, Deadline::AttemptTimer(attempt))));
                [Some(first), expiry, silence, until, timer]
            }
        }
    }

    /// Which of a task's deadlines were moved, and where to.
    pub(crate) fn moved_of(&self, run: &Run, definition: &Definition, index: TaskIndex) -> [Option<Moved>; 5] {
        let moved = |(stored, deadline)| Some(Moved { stored, deadline, to: *self.moved.get(&deadline)? });
        self.task_deadlines(run, definition.task(index), index).map(|of_task| of_task.and_then(moved))
    }

    /// Moves those of a task's deadlines again that were moved before it changed, and are stored as they were.
    pub(crate) fn move_again(
        &mut self,
        before: [Option<Moved>; 5],
        run: &Run,
        definition: &Definition,
        index: TaskIndex,
    ) {
        let after = self.task_deadlines(run, definition.task(index), index);
        for Moved { stored, deadline, to } in before.into_iter().flatten() {
            if after.contains(&Some((stored, deadline))) {
                self.move_to(deadline, stored, to);
            }
        }
    }

    /// Until when a task's lease was renewed, if it was.
    pub(crate) fn renewed_until(&self, run: &Run, index: TaskIndex) -> Option<Timestamp> {
        let attempt = run.id.task(index).attempt(run.task(index).attempts);
        self.moved.get(&Deadline::LeaseExpiry(attempt)).copied()
    }

    /// Something was heard of a remote attempt: its silence is counted from now on.
    pub(crate) fn heard(&mut self, attempt: AttemptId, stored: Timestamp, until: Timestamp) {
        let deadline = Deadline::Heartbeat(attempt);
        self.move_to(deadline, self.moment_of(deadline, stored), until);
    }

    /// Moves the expiry of a remote lease.
    pub(crate) fn renew(&mut self, attempt: AttemptId, stored: Timestamp, until: Timestamp) {
        let deadline = Deadline::LeaseExpiry(attempt);
        self.move_to(deadline, self.moment_of(deadline, stored), until);
    }

    /// Gives every deadline that expires something and passed after `since` the time that it had left then,
    /// `most` at the most, counted from `now`.
    pub(crate) fn spare(&mut self, since: Timestamp, now: Timestamp, most: Millis, expires: impl Fn(Deadline) -> bool) {
        let passed = self.deadlines.iter().take_while(|(at, _)| *at <= now);
        let spared = passed.filter(|(at, deadline)| *at > since && expires(*deadline)).copied();
        for (at, deadline) in spared.collect::<Vec<_>>() {
            self.move_to(deadline, at, now.plus(at.since(since).min(most)));
        }
    }

    /// The worker with the most room for a task, among those of some crews that may take it now.
    ///
    /// Work that may be fetched ahead goes to a worker with up to `prefetch_factor` leases a slot, other
    /// work only where a slot is free.
    pub(crate) fn worker_for(&self, prefetchable: bool, crews: &[Arc<Serves>]) -> Option<&WorkerId> {
        let factor = if prefetchable { self.bounds.prefetch_factor } else { 1 };
        let room = |(worker, slots): &(&WorkerId, u32)| {
            slots.saturating_mul(factor).saturating_sub(self.own_leases_of(worker))
        };
        let workers = crews.iter().flat_map(|crew| self.workers.of_crew(crew).rev());
        let roomiest = workers.max_by_key(room)?;
        (room(&roomiest) > 0).then_some(roomiest.0)
    }

    /// Whether a run is served by this process: itself, or one above it, is in focus.
    pub(crate) fn is_in_focus(&self, run: &Run) -> bool {
        let Some(focus) = &self.focus else { return true };
        let mut above = run.parent.iter().flat_map(|parent| parent.ancestors());
        focus.contains(&run.id) || above.any(|task| focus.contains(&task.run))
    }

    /// Attempts that a worker has in slots of its own.
    pub(crate) fn own_leases_of(&self, worker: &WorkerId) -> u32 {
        self.leases_of(worker).saturating_sub(self.beside.get(worker).copied().unwrap_or_default())
    }

    /// Attempts that a worker has.
    pub(crate) fn leases_of(&self, worker: &WorkerId) -> u32 {
        self.leases.get(worker).map_or(0, |tasks| u32::try_from(tasks.len()).unwrap_or(u32::MAX))
    }

    /// Slots of all workers that take a task. One that offers none is as good as nobody.
    pub(crate) fn slots_for(&self, request: &Request) -> u64 {
        let demand = &request.demand;
        self.workers.serving(&demand.queue, &demand.kind).map(|crew| self.workers.slots_of(crew)).sum()
    }

    /// Runs that ended after a commit, the latest first: what facts read at that commit do not know.
    pub(crate) fn ended_since(&self, commit: CommitSeq) -> impl Iterator<Item = &RecentEnd> {
        self.recent.iter().rev().take_while(move |end| end.commit > commit)
    }

    /// The counts of an unfinished run.
    pub fn tally(&self, run: RunId) -> Tally {
        self.tallies.get(&run).copied().unwrap_or_default()
    }
}

/// The wait of an attempt that goes on as soon as it may. Those of frozen runs do not, and stand before nobody.
fn waiting<'l>(run: &Run, lease: &'l Lease) -> Option<&'l Parked> {
    lease.parked.as_deref().filter(|_| lease.waits() && run.poisoned.is_none())
}

/// What a queued task must be granted, all at once.
pub(crate) fn request(run: &Run, definition: &Definition, index: TaskIndex) -> Request {
    Request {
        demand: Arc::clone(&definition.demands[index.0 as usize]),
        parallel: definition.body.max_parallel.map(|_| run.id),
        owed: run.parent.as_ref().filter(|parent| parent.is_owed).map(|_| run.id),
    }
}

/// The queue of a task that ever stands in one.
pub(crate) fn queue_of(def: &TaskDef) -> Option<&str> {
    match def.kind {
        TaskKind::Sleep(_) | TaskKind::Signal(_) | TaskKind::Workflow(_) => None,
        TaskKind::Exec(_) | TaskKind::Http(_) | TaskKind::Worker(_) | TaskKind::Noop => Some(def.queue_name()),
    }
}

/// Whether a task's end fails its run.
pub(crate) fn is_unhandled(task: &Task, def: &TaskDef) -> bool {
    let failed = task.end().is_some_and(|end| end.status == crate::run::TaskEnd::Failed);
    failed && def.on_failure == crate::workflow::OnFailure::Fail
}

/// The moments that a run itself waits for.
pub(crate) fn run_deadlines(run: &Run) -> Deadlines {
    if run.ending.is_some() || run.poisoned.is_some() {
        return [None; 5];
    }
    let start = run.start_at.filter(|_| !run.started);
    [
        Some((run.deadline, Deadline::RunTimeout(run.id))),
        start.map(|at| (at, Deadline::RunStart(run.id))),
        None,
        None,
        None,
    ]
}

/// Counts one more, without a new key where there is one.
fn increment<K, Q>(counts: &mut BTreeMap<K, u32>, key: &Q, by: u32)
where
    K: Ord + std::borrow::Borrow<Q>,
    Q: Ord + ?Sized + ToOwned<Owned = K>,
{
    match counts.get_mut(key) {
        Some(count) => *count += by,
        None => {
            counts.insert(key.to_owned(), by);
        }
    }
}

fn decrement<K, Q>(counts: &mut BTreeMap<K, u32>, key: &Q, by: u32)
where
    K: Ord + std::borrow::Borrow<Q>,
    Q: Ord + ?Sized,
{
    if let Some(count) = counts.get_mut(key) {
        *count -= by;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
