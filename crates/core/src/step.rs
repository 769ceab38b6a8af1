//! One step of the brain: the only place where the state changes.
//!
//! A [`Step`] holds the state while one event is applied. Every change of a run or task goes through
//! [`Step::update_run`] and [`Step::update_task`], which keep the indices and remember the rows to
//! write. Work that fans out (settling dependents, closing a run) is pushed on a stack and met within
//! the step's bound; what is left becomes a stored continuation.

use crate::{
    RunId, Seq, State, TaskId, TaskIndex, Timestamp,
    continuation::{Continuation, Work},
    decision::{Decision, LOOKS_PER_CHANGE},
    effect::{Answer, Effect, Refusal},
    event::{Caller, Envelope},
    row::{Detail, HistoryEntry, HistoryKind, Key},
    run::{Phase, Run, Task, TaskEnd},
    state::task_key,
    volatile::{Shared, run_deadlines},
    workflow::{Definition, TaskDef},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The application of one event.
pub(crate) struct Step<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) now: Timestamp,
    pub(crate) entropy: u64,
    pub(crate) decision: Decision,
    /// Work of this step, the next on top.
    stack: Vec<(RunId, Work)>,
    /// Runs that may have come to their end.
    visited: BTreeSet<RunId>,
    changes: usize,
    looks: usize,
}

impl<'a> Step<'a> {
    pub(crate) fn new(state: &'a mut State, envelope: &Envelope) -> Self {
        state.meta.high_water = state.meta.high_water.max(envelope.at);
        state.volatile.commit = state.volatile.commit.max(envelope.commit);
        state.volatile.at_work = None;
        let now = state.meta.high_water;
        state.renew_after_load(now);
        Self {
            now,
            entropy: envelope.entropy,
            state,
            decision: Decision::default(),
            stack: Vec::new(),
            visited: BTreeSet::new(),
            changes: 0,
            looks: 0,
        }
    }

    /// What the event led to, and what that cost.
    pub(crate) fn finish(self) -> Decision {
        Decision { looks: self.looks, ..self.decision }
    }

    /// The next place in the namespace's order.
    pub(crate) fn next_seq(&mut self) -> Seq {
        let seq = self.state.meta.next_seq;
        self.state.meta.next_seq = Seq(seq.0 + 1);
        seq
    }

    pub(crate) fn run(&self, run: RunId) -> Option<&Run> {
        self.state.runs.get(&run).map(|run| &**run)
    }

    pub(crate) fn definition(&self, run: RunId) -> Arc<Definition> {
        self.state.definition(run)
    }

    /// The task, if its run is unfinished.
    pub(crate) fn task(&self, id: TaskId) -> Option<&Task> {
        self.state.task(id)
    }

    /// The definition of a task of an unfinished run.
    pub(crate) fn task_def<'d>(&self, definition: &'d Definition, id: TaskId) -> &'d TaskDef {
        definition.task(id.index)
    }

    /// Says that a row changed.
    pub(crate) fn touch(&mut self, key: Key) {
        self.changes += 1;
        self.decision.touched.push(key);
    }

    /// Changes a run's own fields.
    pub(crate) fn update_run(&mut self, id: RunId, change: impl FnOnce(&mut Run)) {
        let now = self.now;
        let Some(run) = self.state.runs.get_mut(&id) else { return };
        let before = run_deadlines(run);
        change(run);
        run.updated_at = now;
        self.state.volatile.replace_run(before, run);
        self.visited.insert(id);
        self.touch(Key::Run(id));
    }

    /// Changes a task, its wait version and its moment of change.
    pub(crate) fn update_task(&mut self, id: TaskId, change: impl FnOnce(&mut Task)) {
        let now = self.now;
        let shared = Shared { pools: &self.state.pools, children: &self.state.children };
        let Some(run) = self.state.runs.get_mut(&id.run) else { return };
        let definition = &self.state.definitions[&run.definition];
        let renewed = self.state.volatile.renewed_until(run, id.index);
        let moved = self.state.volatile.moved_of(run, definition, id.index);
        let had = self.state.volatile.had(run, id.index);
        self.state.volatile.unindex_task(run, definition, id.index);
        let task = &mut run.tasks[id.index.0 as usize];
        if let (Some(until), Phase::Leased(lease)) = (renewed, &mut task.phase) {
            // The row is written anyway, so it may as well hold the renewal.
            lease.expires_at = Some(until);
        }
        change(task);
        task.wait_version += 1;
        task.updated_at = now;
        run.updated_at = now;
        self.state.volatile.index_task(run, definition, id.index, shared);
        self.state.volatile.let_go(had, run, id.index);
        self.state.volatile.move_again(moved, run, definition, id.index);
        let key = task_key(run, id.index);
        self.visited.insert(id.run);
        self.touch(key);
    }

    /// Adds a line to a run's history.
    pub(crate) fn record(&mut self, run: RunId, event: HistoryKind, detail: Detail) {
        self.push_history(run, event, None, detail);
    }

    /// Adds a line to a run's history that is about one of its tasks.
    pub(crate) fn record_task(&mut self, id: TaskId, event: HistoryKind, detail: Detail) {
        self.push_history(id.run, event, Some(id.index), detail);
    }

    fn push_history(&mut self, id: RunId, event: HistoryKind, task: Option<TaskIndex>, detail: Detail) {
        let Some(run) = self.state.runs.get(&id) else { return };
        let definition = &self.state.definitions[&run.definition];
        let attempts = task.map(|index| run.task(index).attempts).filter(|&attempts| attempts > 0);
        self.decision.history.push(HistoryEntry {
            at: self.now,
            run: id,
            event,
            task,
            name: task.map(|index| Arc::clone(&definition.task(index).name)),
            attempt: attempts,
            detail,
            first_commit: run.first_commit,
        });
    }

    /// Answers a caller once the batch is durable.
    pub(crate) fn reply(&mut self, caller: Caller, answer: Result<Answer, Refusal>) {
        self.decision.effects.push(Effect::Reply { caller, answer });
    }

    /// Puts work on the step's stack.
    pub(crate) fn push_work(&mut self, run: RunId, work: Work) {
        self.stack.push((run, work));
    }

    /// Counts a look at a task that may lead to nothing.
    pub(crate) fn look(&mut self) {
        self.look_often(1);
    }

    /// Counts so many looks.
    pub(crate) fn look_often(&mut self, times: usize) {
        self.looks = self.looks.saturating_add(times);
    }

    /// The looks that the step may still have.
    pub(crate) fn looks_left(&self) -> usize {
        let most = self.state.volatile.bounds.step_changes_max.saturating_mul(LOOKS_PER_CHANGE);
        most.saturating_sub(self.looks)
    }

    /// Whether the step has done as much as one step may.
    pub(crate) fn is_full(&self) -> bool {
        self.changes >= self.state.volatile.bounds.step_changes_max || self.looks_left() == 0
    }

    /// Meets the work on the stack, and ends the runs that came to their end by it.
    ///
    /// At least one piece is met, or one run ended, so that every step gets further.
    pub(crate) fn drain(&mut self) {
        loop {
            let before = self.stack.len();
            while let Some((run, work)) = self.stack.pop() {
                self.meet(run, work);
                if self.is_full() {
                    break;
                }
            }
            self.finish_visited(before > 0);
            if self.stack.is_empty() || self.is_full() {
                return;
            }
        }
    }

    /// Ends the runs that came to their end. Each brings rows of its own, and the last piece of a step may have ended
    /// many: those that there is no room for stay visited, for a later step.
    fn finish_visited(&mut self, mut has_met: bool) {
        let mut left = BTreeSet::new();
        // The end of a run may be that of the task which spawned it, and so of another run.
        while !self.visited.is_empty() {
            for run in std::mem::take(&mut self.visited) {
                if self.run(run).is_some_and(|run| !run.is_inline()) {
                    // Its row counts the tasks that have changed.
                    self.touch(Key::Run(run));
                }
                match self.is_done(run) {
                    true if has_met && self.is_full() => drop(left.insert(run)),
                    true => {
                        self.end_run(run);
                        has_met = true;
                    }
                    false => {}
                }
            }
        }
        self.visited = left;
    }

    /// A run may have come to its end.
    pub(crate) fn visit(&mut self, run: RunId) {
        self.visited.insert(run);
    }

    /// The runs that the step has still work to do for.
    pub(crate) fn at_work(&self) -> impl Iterator<Item = RunId> + '_ {
        self.stack.iter().map(|(run, _)| *run).chain(self.visited.iter().copied())
    }

    /// Stores what the step had no room for, as one continuation a run.
    pub(crate) fn save_rest(&mut self) {
        let mut rest: BTreeMap<RunId, Vec<Work>> = BTreeMap::new();
        for (run, work) in std::mem::take(&mut self.stack) {
            if self.state.runs.contains_key(&run) {
                rest.entry(run).or_default().push(work);
            }
        }
        for run in std::mem::take(&mut self.visited) {
            if self.is_done(run) {
                // Nothing is left of it but its end.
                rest.entry(run).or_default();
            }
        }
        for (run, stack) in rest {
            let seq = self.next_seq();
            self.state.continuations.insert(seq, Continuation { run, stack });
            self.touch(Key::Continuation(seq));
        }
    }

    /// Takes a continuation up again.
    pub(crate) fn resume(&mut self, seq: Seq) {
        if let Some(continuation) = self.state.continuations.remove(&seq) {
            self.touch(Key::Continuation(seq));
            self.stack.extend(continuation.stack.into_iter().map(|work| (continuation.run, work)));
            self.visited.insert(continuation.run);
        }
    }

    /// Forgets work of a run that ended.
    pub(crate) fn drop_continuations(&mut self, run: RunId) {
        let of_run = |(seq, continuation): (&Seq, &Continuation)| (continuation.run == run).then_some(*seq);
        let gone: Vec<Seq> = self.state.continuations.iter().filter_map(of_run).collect();
        for seq in gone {
            self.state.continuations.remove(&seq);
            self.touch(Key::Continuation(seq));
        }
    }

    /// The status of an ended task, if it has ended.
    pub(crate) fn end_of(&self, id: TaskId) -> Option<TaskEnd> {
        self.task(id).and_then(Task::end).map(|end| end.status)
    }
}
