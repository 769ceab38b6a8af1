//! Everything the brain knows of one namespace, in memory.
//!
//! All durable fields equal what [`State::load`] makes of the stored rows, after every commit. What
//! may be lost lives in [`Volatile`] alone and is derived from the rest.

use crate::{
    AttemptId, CommitSeq, Fence, RunId, Seq, TaskId, TaskIndex, Timestamp,
    alert::Alert,
    continuation::Continuation,
    deadline::heartbeat_deadline,
    ready::Next,
    row::{Key, Loaded, Meta, Pause, Row},
    run::{Child, Lease, Run, Task},
    settings::{Bounds, DEFAULT_QUEUE, Monitor, Pool, Queue, QueueSettings},
    volatile::{Party, Shared, Volatile},
    wait::{Analysis, Snapshot, among, analyze_dead},
    worker::{WorkKind, Workers},
    workflow::{Definition, DefinitionHash},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The state of one namespace: its unfinished runs and what they share.
#[derive(Debug, Default)]
pub struct State {
    /// Counters.
    pub meta: Meta,
    /// Definitions that unfinished runs pin.
    pub definitions: BTreeMap<DefinitionHash, Arc<Definition>>,
    /// Unfinished runs.
    /// Boxed: the map's nodes stay small, and half-empty ones waste little.
    pub runs: BTreeMap<RunId, Box<Run>>,
    /// Counted resources.
    pub pools: BTreeMap<String, Pool>,
    /// Queues that were configured or used.
    pub queues: BTreeMap<String, Queue>,
    /// Workflows that an operator holds.
    pub paused_workflows: BTreeMap<String, Pause>,
    /// Runs that unfinished tasks have spawned, by task and key.
    pub children: BTreeMap<TaskId, BTreeMap<String, Child>>,
    /// Work that was too large for one step.
    pub continuations: BTreeMap<Seq, Continuation>,
    /// Incidents that are open, or that somebody is still to be told of.
    pub alerts: BTreeMap<Seq, Alert>,
    /// What is derived from the above, or may be lost.
    pub volatile: Volatile,
}

/// Stored rows that contradict each other. The store is damaged or was edited by hand.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A row stands under the wrong key.
    #[error("row {0:?} holds another kind of content than its key says")]
    Mismatched(Key),
    /// A run names a definition that is not there.
    #[error("run `{run}` names the definition `{}`, which is not stored", hash.0)]
    NoDefinition {
        /// The run.
        run: RunId,
        /// The hash.
        hash: DefinitionHash,
    },
    /// A task row has no place in its run.
    #[error("task `{0}` is stored but its run has no such task")]
    StrayTask(TaskId),
    /// A run has a wrong number of tasks.
    #[error("run `{run}` holds {found} tasks, its definition has {expected}")]
    TaskCount {
        /// The run.
        run: RunId,
        /// Tasks found.
        found: usize,
        /// Tasks of the definition.
        expected: usize,
    },
    /// The state that the rows describe breaks a rule of [`crate::check`].
    #[error("the stored rows break a rule: {0}")]
    Broken(String),
}

impl State {
    /// Builds the state that the rows of a store describe.
    ///
    /// # Errors
    /// If the rows contradict each other.
    pub fn load(loaded: Loaded, bounds: Bounds) -> Result<Self, LoadError> {
        let mut state = Self { meta: loaded.meta, ..Self::default() };
        state.volatile.bounds = bounds;
        state.volatile.commit = loaded.commit;
        // Which runs ended before is in the store alone now.
        state.volatile.recent_floor = loaded.commit;
        state.volatile.just_loaded = true;
        let mut loose = Vec::new();
        for (key, row) in loaded.rows {
            match (key, row) {
                (Key::Definition(hash), Row::Definition(definition)) => {
                    state.definitions.insert(hash, definition);
                }
                (Key::Run(id), Row::Run(run)) => {
                    state.runs.insert(id, run);
                }
                (Key::Task(id), Row::Task(task)) => loose.push((id, *task)),
                (Key::Pool(name), Row::Pool(pool)) => {
                    state.pools.insert(name, pool);
                }
                (Key::Queue(name), Row::Queue(queue)) => {
                    state.queues.insert(name, queue);
                }
                (Key::PausedWorkflow(name), Row::PausedWorkflow(pause)) => {
                    state.paused_workflows.insert(name, pause);
                }
                (Key::Continuation(seq), Row::Continuation(continuation)) => {
                    state.continuations.insert(seq, continuation);
                }
                (Key::Child(task, key), Row::Child(child)) => {
                    state.children.entry(task).or_default().insert(key, child);
                }
                (Key::Alert(seq), Row::Alert(alert)) => {
                    state.alerts.insert(seq, *alert);
                }
                (key, _) => return Err(LoadError::Mismatched(key)),
            }
        }
        state.complete_runs(loose)?;
        state.rebuild_volatile();
        Ok(state)
    }

    /// Takes over what only this process knows from the state that this one replaces: who works, which runs are served,
    /// and what is done about deadlocks.
    pub fn carry_on(&mut self, before: &mut Self) {
        let (before, own) = (&mut before.volatile, &mut self.volatile);
        own.workers = std::mem::take(&mut before.workers);
        own.replaced = std::mem::take(&mut before.replaced);
        own.focus = before.focus.take();
        own.monitor = before.monitor;
        own.alerting.carry_over(&mut before.alerting);
        let with_leases = own.leases.values().flatten().map(|task| task.run);
        own.graph.workers_changed(&own.workers, with_leases);
        // No event of before the load comes again to give out what was ready then.
        own.grants_due = true;
        self.refresh_graph();
    }

    /// Makes a loaded state one to look at, and not to go on with: with what only the brain knows, everybody stands where
    /// the brain has them stand. Nobody is granted anything.
    pub fn look_with(&mut self, workers: Workers, focus: Option<BTreeSet<RunId>>, monitor: Monitor) {
        let own = &mut self.volatile;
        (own.workers, own.focus, own.monitor) = (workers, focus, monitor);
        let with_leases = own.leases.values().flatten().map(|task| task.run);
        own.graph.workers_changed(&own.workers, with_leases);
        self.refresh_graph();
        self.line_up();
    }

    /// Has every head of the ready lines stand at what it is short of. Those that lack nothing stay at the head.
    fn line_up(&mut self) {
        let mut ready = std::mem::take(&mut self.volatile.ready);
        let (mut looks, mut next) = (usize::MAX, Vec::new());
        while let Some(head) = ready.next(self.meta.high_water, self, &mut looks) {
            match head {
                Next::Grant(request, seq, id, _) => {
                    ready.remove(&request, seq, id);
                    next.push((request, seq, id));
                }
                Next::Held(request, seq, id) => ready.set_aside(&request, seq, id),
            }
        }
        for (request, seq, id) in next {
            if let Some(wait) = self.task(id).and_then(Task::wait) {
                ready.add(request, seq, wait.since, id);
            }
        }
        self.volatile.ready = ready;
    }

    /// Fills large runs with their task rows, and with untouched tasks where there is no row.
    fn complete_runs(&mut self, loose: Vec<(TaskId, Task)>) -> Result<(), LoadError> {
        for run in self.runs.values_mut() {
            let Some(definition) = self.definitions.get(&run.definition) else {
                return Err(LoadError::NoDefinition { run: run.id, hash: run.definition.clone() });
            };
            let expected = definition.body.tasks.len();
            run.counts = None;
            if run.tasks.is_empty() {
                run.tasks = vec![run.untouched_task(); expected];
            } else if run.tasks.len() != expected {
                return Err(LoadError::TaskCount { run: run.id, found: run.tasks.len(), expected });
            }
        }
        for (id, task) in loose {
            let place = self.runs.get_mut(&id.run).and_then(|run| run.tasks.get_mut(id.index.0 as usize));
            *place.ok_or(LoadError::StrayTask(id))? = task;
        }
        Ok(())
    }

    /// Derives everything volatile anew. Workers, focus and bounds stay as they are told again.
    fn rebuild_volatile(&mut self) {
        let mut volatile = std::mem::take(&mut self.volatile);
        for (name, queue) in &self.queues {
            volatile.ready.set_patience(name, queue.settings.low_counts_as_high_after);
        }
        self.index_all(&mut volatile);
        volatile.watch_ageing();
        // What needs no worker that has yet to come.
        volatile.grants_due = volatile.waiters.is_due() || volatile.ready.asks_for(&WorkKind::Workflow);
        self.volatile = volatile;
        self.refresh_graph();
    }

    /// Has those stand in the wait graph anew whose waits were made from what is so no more.
    pub(crate) fn refresh_graph(&mut self) {
        let shared = Shared { pools: &self.pools, children: &self.children };
        loop {
            let (runs, tasks) = self.volatile.graph.take_stale();
            if runs.is_empty() && tasks.is_empty() {
                return;
            }
            for run in runs.iter().filter_map(|run| self.runs.get(run)) {
                let definition = &self.definitions[&run.definition];
                for (index, _) in run.indexed_tasks().filter(|(_, task)| task.end().is_none()) {
                    self.volatile.graph_again(run, definition, index, shared);
                }
            }
            for task in tasks {
                if let Some(run) = self.runs.get(&task.run) {
                    self.volatile.graph_again(run, &self.definitions[&run.definition], task.index, shared);
                }
            }
        }
    }

    /// The runs in which the brain will still move somebody by itself: those with a continuation, and those where a wait
    /// ends at the next look because it can not hold any more. A look alone is no reason: nobody who is dead moves by it,
    /// and a verdict that were put off for it could be lost with the process, or with the commit that would tell of it.
    ///
    /// It follows from what is stored, so that a state that was just loaded knows whose verdicts were put off.
    pub(crate) fn unfinished_work(&self) -> impl Iterator<Item = RunId> + '_ {
        let given_up = self.volatile.waiters.due().filter(|task| self.gives_up_next(*task)).map(|task| task.run);
        self.continuations.values().map(|continuation| continuation.run).chain(given_up)
    }

    /// A cause of a deadlock that was not told of, with the graph of all who are dead by it; told of from now on. What
    /// the brain has still to do about its busy runs may yet move somebody: that is looked at again once it is done.
    pub(crate) fn next_cause(&mut self, now: Timestamp, busy: &BTreeSet<RunId>) -> Option<(Snapshot, Analysis)> {
        let news = self.volatile.graph.take_news(busy);
        if news.is_empty() {
            return None;
        }
        let behind = self.volatile.graph.behind(&news, busy);
        let picture = among(self, now, &behind.parties);
        let analysis = analyze_dead(&picture);
        let graph = &mut self.volatile.graph;
        let cause: BTreeSet<Party> = analysis.verdict.core.iter().filter_map(|id| Party::of(id)).collect();
        if cause.is_empty() {
            behind.busy.into_iter().for_each(|run| graph.put_off(run, news.iter().copied()));
            return None;
        }
        graph.look_again(news.difference(&cause).copied());
        graph.tell(cause);
        Some((picture, analysis))
    }

    /// Takes every run, every task and every alert into the indices: the runs first, since tasks wait for them.
    pub(crate) fn index_all(&self, volatile: &mut Volatile) {
        for (task, children) in &self.children {
            children.iter().for_each(|(key, child)| volatile.children.add(*task, key, child));
        }
        self.definitions.values().for_each(|definition| volatile.index_definition(definition));
        volatile.given_back.extend(self.pools.keys().cloned());
        let shared = Shared { pools: &self.pools, children: &self.children };
        for run in self.runs.values() {
            volatile.index_run(run, &self.definitions[&run.definition]);
        }
        for run in self.runs.values() {
            for (index, _) in run.indexed_tasks() {
                volatile.index_task(run, &self.definitions[&run.definition], index, shared);
            }
        }
        for (seq, alert) in &self.alerts {
            volatile.index_alert(*seq, alert);
        }
    }

    /// Gives each outstanding remote lease one full new term at the first event after a load: renewals
    /// were lost with the memory, and nobody could renew while there was no brain. As long as the load itself,
    /// and part of it.
    pub(crate) fn renew_after_load(&mut self, now: Timestamp) {
        if !std::mem::take(&mut self.volatile.just_loaded) {
            return;
        }
        for run in self.runs.values().filter(|run| run.poisoned.is_none()) {
            let definition = &self.definitions[&run.definition];
            for (index, task) in run.indexed_tasks() {
                let Some(stored) = task.lease().and_then(|lease| lease.expires_at) else { continue };
                let term = self.queue_settings(definition.task(index).queue_name()).visibility_timeout;
                let attempt = run.id.task(index).attempt(task.attempts);
                self.volatile.renew(attempt, stored, now.plus(term));
                let silence = task.lease().and_then(|lease| heartbeat_deadline(lease, definition.task(index)));
                if let Some(stored) = silence {
                    // Workers have yet to find the brain that is there now: as long as for the lease itself.
                    self.volatile.heard(attempt, stored, now.plus(term));
                }
            }
        }
    }

    /// The content of a row as it stands now; `None` if it is to be deleted.
    ///
    /// Called once per key at the end of a batch, so that many changes of a row cost one put.
    pub fn row(&self, key: &Key) -> Option<Row> {
        match key {
            Key::Definition(hash) => self.definitions.get(hash).cloned().map(Row::Definition),
            Key::Run(id) => self.runs.get(id).map(|run| Row::Run(Box::new(stored_run(run, &self.volatile)))),
            Key::Task(id) => {
                let retired = || self.volatile.retired.get(&id.run)?.get(id.index.0 as usize);
                self.task(*id).or_else(retired).map(|task| Row::Task(Box::new(task.clone())))
            }
            Key::Pool(name) => self.pools.get(name).cloned().map(Row::Pool),
            Key::Queue(name) => self.queues.get(name).cloned().map(Row::Queue),
            Key::PausedWorkflow(name) => self.paused_workflows.get(name).cloned().map(Row::PausedWorkflow),
            Key::Continuation(seq) => self.continuations.get(seq).cloned().map(Row::Continuation),
            Key::Child(task, key) => self.children.get(task)?.get(key).cloned().map(Row::Child),
            Key::Alert(seq) => self.alerts.get(seq).map(|alert| Row::Alert(Box::new(alert.clone()))),
            Key::Finished(_) | Key::DeadLetter(_) | Key::Workflow(..) | Key::Quarantine(_) | Key::Deadlock(_) => None,
        }
    }

    /// Forgets the tasks of runs that ended in this batch. To be called once their rows have been read. Of a run of
    /// 100,000 tasks that takes some 10 ms, once.
    pub fn close_batch(&mut self) {
        self.volatile.retired.clear();
    }

    /// Every live row, in key order: what [`State::load`] needs to build this state again.
    pub fn rows(&self) -> Vec<(Key, Row)> {
        let mut keys: Vec<Key> = self.definitions.keys().cloned().map(Key::Definition).collect();
        keys.extend(self.runs.keys().copied().map(Key::Run));
        for run in self.runs.values().filter(|run| !run.is_inline()) {
            let untouched = run.untouched_task();
            let touched = run.indexed_tasks().filter(|(_, task)| **task != untouched);
            keys.extend(touched.map(|(index, _)| Key::Task(run.id.task(index))));
        }
        keys.extend(self.pools.keys().cloned().map(Key::Pool));
        keys.extend(self.queues.keys().cloned().map(Key::Queue));
        keys.extend(self.paused_workflows.keys().cloned().map(Key::PausedWorkflow));
        keys.extend(self.continuations.keys().copied().map(Key::Continuation));
        let children = self.children.iter().flat_map(|(task, of)| of.keys().map(|key| Key::Child(*task, key.clone())));
        keys.extend(children);
        keys.extend(self.alerts.keys().copied().map(Key::Alert));
        keys.into_iter().filter_map(|key| self.row(&key).map(|row| (key, row))).collect()
    }

    /// Whether all durable fields equal those of `other`.
    pub fn same_durable(&self, other: &Self) -> bool {
        self.meta == other.meta
            && self.definitions == other.definitions
            && self.runs == other.runs
            && self.pools == other.pools
            && self.queues == other.queues
            && self.paused_workflows == other.paused_workflows
            && self.children == other.children
            && self.continuations == other.continuations
            && self.alerts == other.alerts
    }

    /// An unfinished run's task.
    pub fn task(&self, id: TaskId) -> Option<&Task> {
        self.runs.get(&id.run).and_then(|run| run.tasks.get(id.index.0 as usize))
    }

    /// The lease of an attempt, if the fence is the one it was granted under.
    pub fn lease_of(&self, attempt: AttemptId, fence: Fence) -> Option<&Lease> {
        let task = self.task(attempt.task).filter(|task| task.attempts == attempt.number)?;
        task.lease().filter(|lease| lease.fence == fence)
    }

    /// An unfinished run's definition.
    ///
    /// # Panics
    /// If the run is not in the state: callers hold one that is.
    pub fn definition(&self, run: RunId) -> Arc<Definition> {
        Arc::clone(&self.definitions[&self.runs[&run].definition])
    }

    /// Whether tasks of a run know of runs that they have spawned.
    pub(crate) fn has_children(&self, run: RunId) -> bool {
        let of_run = run.all_tasks();
        self.children.range(of_run).next().is_some()
    }

    /// The settings of a queue, configured or default.
    pub fn queue_settings(&self, name: &str) -> QueueSettings {
        self.queues.get(name).map(|queue| queue.settings).unwrap_or_default()
    }

    /// The queues that there are: those that were configured or held, those of unfinished tasks, and the one of tasks
    /// that name none.
    pub fn queue_names(&self) -> BTreeSet<&str> {
        let known = self.queues.keys().chain(self.volatile.by_queue.keys()).map(String::as_str);
        known.chain([DEFAULT_QUEUE]).collect()
    }

    /// The newest commit whose changes are in the state.
    pub fn commit(&self) -> CommitSeq {
        self.volatile.commit
    }

    /// Live tasks: those not yet at their end, over all unfinished runs.
    pub fn live_tasks(&self) -> u32 {
        self.volatile.open_total
    }
}

/// A run as its row holds it: without tasks if they are rows of their own.
fn stored_run(run: &Run, volatile: &Volatile) -> Run {
    if run.is_inline() {
        return run.clone();
    }
    // Field by field, so that a hundred thousand tasks are not copied only to be dropped.
    Run {
        id: run.id,
        definition: run.definition.clone(),
        workflow: run.workflow.clone(),
        input: run.input.clone(),
        labels: run.labels.clone(),
        client_id: run.client_id.clone(),
        idempotency: run.idempotency.clone(),
        source: run.source.clone(),
        parent: run.parent.clone(),
        calls: run.calls.clone(),
        retry_of: run.retry_of,
        seq: run.seq,
        first_commit: run.first_commit,
        submitted_at: run.submitted_at,
        start_at: run.start_at,
        started: run.started,
        deadline: run.deadline,
        paused: run.paused.clone(),
        poisoned: run.poisoned.clone(),
        ending: run.ending.clone(),
        signals: run.signals.clone(),
        output_bytes: run.output_bytes,
        updated_at: run.updated_at,
        counts: Some(volatile.tally(run.id).counts()),
        tasks: Vec::new(),
    }
}

/// The key of the row that holds a task: its own, or its run's.
pub(crate) fn task_key(run: &Run, index: TaskIndex) -> Key {
    if run.is_inline() { Key::Run(run.id) } else { Key::Task(run.id.task(index)) }
}
