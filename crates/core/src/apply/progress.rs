//! How a run moves: which tasks become ready, what the end of one means for the others, and when the
//! run itself is at its end.

use crate::{
    RunId, TaskId, TaskIndex, Timestamp,
    continuation::Work,
    row::{DeadLetter, Detail, FinishedRun, HistoryKind, Key, Row},
    run::{End, EndCause, Ending, JsonText, OnExpiry, Phase, Place, Run, RunStatus, TaskEnd, TaskError, Wait, WaitOn},
    step::Step,
    volatile::{RecentEnd, is_unhandled},
    workflow::{OnFailure, TaskKind, Until, When},
};
use serde_json::json;

/// Ends of runs remembered for commands whose facts were read before; older ones are in the store.
const RECENT_ENDS_MAX: usize = 10_000;

impl Step<'_> {
    /// Meets one piece of work; puts the rest of it back if there is more.
    pub(crate) fn meet(&mut self, run: RunId, work: Work) {
        // A frozen run drops what it would have done; only its forced end looks at every task.
        let is_forced = |run: &Run| run.ending.as_ref().is_some_and(|ending| ending.force);
        if self.run(run).is_none_or(|run| run.poisoned.is_some() && !is_forced(run)) {
            return;
        }
        self.state.volatile.at_work = Some(run);
        match work {
            Work::Launch { from } => self.launch(run, from),
            Work::Settle { task, from } => self.settle(run, task, from),
            Work::Signal { first, from } => self.deliver(run, first, from),
            Work::Spawn { task } => self.spawn_next(run.task(task)),
            Work::EndRuns { task, from } => self.end_next(run.task(task), from),
            Work::Leave { task } => self.leave_next(run.task(task)),
            Work::Close { from } => self.close(run, from),
        }
    }

    /// Looks at the tasks from `from` on, one a call.
    fn launch(&mut self, run: RunId, from: TaskIndex) {
        if from.0 as usize >= self.state.runs[&run].tasks.len() {
            return;
        }
        self.push_work(run, Work::Launch { from: TaskIndex(from.0 + 1) });
        if self.state.runs[&run].task(from).taken_over {
            // Its dependents do not know yet.
            return self.push_work(run, Work::Settle { task: from, from: 0 });
        }
        let definition = self.definition(run);
        let task = definition.task(from);
        // Tasks with needs are looked at when one of these ends.
        if task.needs.is_empty() && task.when != When::Fallback {
            self.consider(run.task(from));
        } else {
            self.look();
        }
    }

    /// Tells the next dependent of an ended task, one a call.
    fn settle(&mut self, run: RunId, task: TaskIndex, from: u32) {
        if self.state.runs[&run].ending.is_some() {
            return;
        }
        let Some(end) = self.end_of(run.task(task)) else { return };
        let definition = self.definition(run);
        if from == 0
            && let OnFailure::Fallback(fallback) = definition.task(task).on_failure
        {
            self.update_task(run.task(fallback), |fallback| match end {
                TaskEnd::Failed => fallback.called = true,
                TaskEnd::Completed | TaskEnd::Cancelled | TaskEnd::Skipped => fallback.spared += 1,
            });
            self.consider(run.task(fallback));
        }
        let Some(&(dependent, until)) = definition.dependents[task.0 as usize].get(from as usize) else { return };
        self.push_work(run, Work::Settle { task, from: from + 1 });
        let met = until == Until::Finished || end == TaskEnd::Completed;
        self.update_task(run.task(dependent), |dependent| {
            if met {
                dependent.met += 1;
            } else {
                dependent.impossible += 1;
            }
        });
        self.consider(run.task(dependent));
    }

    /// Decides whether a pending task is ready, not to be run, or still waits.
    pub(crate) fn consider(&mut self, id: TaskId) {
        self.look();
        let Some(run) = self.run(id.run) else { return };
        let task = run.task(id.index);
        if run.ending.is_some()
            || !run.started
            || !matches!(&task.phase, Phase::Waiting(wait) if wait.on == WaitOn::Needs)
        {
            return;
        }
        let definition = self.definition(id.run);
        let def = definition.task(id.index);
        let needs = &def.needs;
        let possible = u32::try_from(needs.of.len()).unwrap_or(u32::MAX).saturating_sub(task.impossible);
        let callers = definition.primaries.get(&id.index).map_or(0, Vec::len);
        if def.when == When::Fallback && !task.called && task.spared as usize == callers {
            return self.skip(id, "no task needed this fallback");
        }
        if possible < needs.at_least {
            let reason = self.impossible_reason(id);
            return self.skip(id, &reason);
        }
        if task.met < needs.at_least || (def.when == When::Fallback && !task.called) {
            return;
        }
        match self.condition(id) {
            Ok(true) => self.make_ready(id),
            Ok(false) => self.skip(id, "its `when` is false"),
            Err(error) => self.fail(id, error, Detail::NONE),
        }
    }

    /// Why the needs of a task can never be met, naming the first task that ended otherwise.
    fn impossible_reason(&self, id: TaskId) -> String {
        let definition = self.definition(id.run);
        let needs = &definition.task(id.index).needs;
        let culprit = needs.of.iter().find_map(|need| {
            let end = self.end_of(id.run.task(need.task))?;
            let unmet = need.until == Until::Succeeded && end != TaskEnd::Completed;
            let status = crate::run::TaskStatus::from(end);
            unmet.then(|| format!("`{}` ended as {status}", definition.task(need.task).name))
        });
        culprit.unwrap_or_else(|| "its needs can not be met any more".to_owned())
    }

    /// A ready task goes to its queue, or into its own wait.
    pub(crate) fn make_ready(&mut self, id: TaskId) {
        let definition = self.definition(id.run);
        let def = definition.task(id.index);
        match &def.kind {
            TaskKind::Sleep(length) => {
                self.wait(id, WaitOn::Sleep, Some(self.now.plus(*length)), OnExpiry::Complete);
                self.record_task(id, HistoryKind::TaskWaiting, Detail::of("sleep_ms", length.0));
            }
            TaskKind::Signal(signal) => self.await_signal(id, &signal.name, def.timeout),
            TaskKind::Exec(_) | TaskKind::Http(_) | TaskKind::Worker(_) | TaskKind::Workflow(_) | TaskKind::Noop => {
                self.queue_at(id, None)
            }
        }
    }

    /// A task stands in its queue: at a place that it had before, or behind all others.
    pub(crate) fn queue_at(&mut self, id: TaskId, place: Option<Place>) {
        let definition = self.definition(id.run);
        let def = definition.task(id.index);
        let bound = def.queue_timeout.map(|bound| self.now.plus(bound));
        let on_expiry = if bound.is_some() { OnExpiry::FailTask } else { OnExpiry::RunTimesOut };
        let place = place.unwrap_or_else(|| self.next_place());
        self.wait_at(id, WaitOn::Grant, place, bound, on_expiry);
        self.record_task(id, HistoryKind::TaskQueued, Detail::of("queue", def.queue_name()));
    }

    /// A place behind all others.
    fn next_place(&mut self) -> Place {
        Place { seq: self.next_seq(), since: self.now }
    }

    /// Puts a task into a named wait, bounded by its run.
    pub(crate) fn wait(&mut self, id: TaskId, on: WaitOn, until: Option<Timestamp>, on_expiry: OnExpiry) {
        let place = self.next_place();
        self.wait_at(id, on, place, until, on_expiry);
    }

    fn wait_at(&mut self, id: TaskId, on: WaitOn, place: Place, until: Option<Timestamp>, on_expiry: OnExpiry) {
        let Some(outer) = self.run(id.run).map(|run| run.deadline) else { return };
        // A wait that is not over before its run ends with it.
        let (deadline, on_expiry) = match until.filter(|until| *until < outer) {
            Some(until) => (until, on_expiry),
            None => (outer, OnExpiry::RunTimesOut),
        };
        let wait = Wait { on, seq: place.seq, since: place.since, deadline, on_expiry };
        self.leave_lease(id);
        self.update_task(id, |task| task.phase = Phase::Waiting(wait));
    }

    /// A task is done.
    pub(crate) fn complete(&mut self, id: TaskId, output: JsonText, detail: Detail) {
        let bytes = output.0.len() as u64;
        self.update_run(id.run, |run| run.output_bytes += bytes);
        self.update_task(id, |task| {
            task.output = Some(output);
            task.error = None;
        });
        self.end_task(id, TaskEnd::Completed, None, detail);
    }

    /// A task is not to be run.
    pub(crate) fn skip(&mut self, id: TaskId, reason: &str) {
        self.end_task(id, TaskEnd::Skipped, Some(reason.to_owned()), Detail::NONE);
    }

    /// A task is out of tries.
    pub(crate) fn fail(&mut self, id: TaskId, error: TaskError, detail: Detail) {
        let reason = error.reason.clone();
        let detail = Detail::of("message", &*error.message).and(detail);
        self.update_task(id, |task| task.error = Some(Box::new(error)));
        self.end_task(id, TaskEnd::Failed, Some(reason), detail);
        self.bury(id);
    }

    /// Ends a task for good and sees to what follows from that.
    pub(crate) fn end_task(&mut self, id: TaskId, status: TaskEnd, reason: Option<String>, detail: Detail) {
        let told = match &reason {
            Some(reason) => detail.with("reason", &**reason),
            None => detail,
        };
        let end = End { status, at: self.now, reason: reason.map(Into::into) };
        self.leave_lease(id);
        self.leave_children(id);
        self.update_task(id, |task| {
            task.phase = Phase::Ended(end);
            task.suspect = None;
        });
        let kind = match status {
            TaskEnd::Completed => HistoryKind::TaskCompleted,
            TaskEnd::Failed => HistoryKind::TaskFailed,
            TaskEnd::Cancelled => HistoryKind::TaskCancelled,
            TaskEnd::Skipped => HistoryKind::TaskSkipped,
        };
        self.record_task(id, kind, told);
        let definition = self.definition(id.run);
        let def = self.task_def(&definition, id);
        if self.task(id).is_some_and(|task| is_unhandled(task, def)) {
            let why = format!("task `{}` failed", def.name);
            self.begin_ending(id.run, EndCause::Failed, why, "system", false);
        } else {
            self.push_work(id.run, Work::Settle { task: id.index, from: 0 });
        }
    }

    /// A task's attempt, if it has one, is over: nobody asks for its wait any more, and what it lends is theirs who
    /// have it.
    fn leave_lease(&mut self, id: TaskId) {
        if self.task(id).is_some_and(|task| task.lease().is_some()) {
            self.stop_waiting(id);
            self.pass_on_loans(id);
        }
    }

    /// Keeps a failed task, to inspect and to start again: also one whose run goes on without it.
    fn bury(&mut self, id: TaskId) {
        let definition = self.definition(id.run);
        let def = definition.task(id.index);
        let Some(task) = self.task(id) else { return };
        let Some(error) = task.error.clone() else { return };
        let letter = DeadLetter {
            task: id,
            task_name: def.name.to_string(),
            workflow: definition.body.name.to_string(),
            queue: def.queue_name().to_owned(),
            attempts: task.attempts,
            error: *error,
            at: self.now,
            handled: def.on_failure != OnFailure::Fail,
        };
        self.decision.written.push((Key::DeadLetter(id), Some(Row::DeadLetter(letter))));
    }

    /// Brings a run to its end: from now on nothing new starts. The first cause stays; a later one can
    /// only add force. A frozen run that was forced before is forced again: its closing was what failed.
    pub(crate) fn begin_ending(&mut self, run: RunId, cause: EndCause, reason: String, by: &str, force: bool) {
        let Some(before) = self.run(run) else { return };
        let again = force && before.poisoned.is_some();
        if before.ending.as_ref().is_some_and(|ending| ending.force || !force) && !again {
            return;
        }
        let since = self.now;
        let by = by.to_owned();
        let detail = Detail::of("cause", json!(cause)).with("reason", &*reason).with("by", &*by);
        self.record(run, HistoryKind::RunCancelling, detail);
        self.update_run(run, |run| match &mut run.ending {
            Some(ending) => ending.force = true,
            None => run.ending = Some(Ending { cause, reason, by, since, force }),
        });
        self.push_work(run, Work::Close { from: TaskIndex(0) });
    }

    /// Whether nothing of a run is left to be done.
    pub(crate) fn is_done(&self, id: RunId) -> bool {
        let has_begun = |run: &Run| run.started || run.ending.is_some();
        self.run(id).is_some_and(has_begun) && self.state.volatile.tally(id).open == 0 && !self.state.has_children(id)
    }

    /// Moves a run whose tasks have all ended among the finished ones.
    pub(crate) fn end_run(&mut self, id: RunId) {
        let Some(run) = self.run(id) else { return };
        let status = final_status(run);
        let kind = match status {
            RunStatus::Failed => HistoryKind::RunFailed,
            RunStatus::Cancelled => HistoryKind::RunCancelled,
            RunStatus::TimedOut => HistoryKind::RunTimedOut,
            _ => HistoryKind::RunCompleted,
        };
        let detail = run.ending.as_ref().map(|ending| Detail::of("reason", &*ending.reason)).unwrap_or_default();
        self.record(id, kind, detail);
        self.drop_continuations(id);
        let (parent, output) = (self.run(id).and_then(|run| run.parent.clone()), self.run_output(id, status));
        self.retire(id, status);
        if let Some(parent) = parent {
            self.child_ended(&parent, id, status, output);
        }
    }

    /// Costs the same for a run of any size: its tasks are moved, not copied. They are dropped with the batch.
    fn retire(&mut self, id: RunId, status: RunStatus) {
        let Some(mut run) = self.state.runs.remove(&id) else { return };
        let volatile = &mut self.state.volatile;
        run.counts = Some(volatile.tally(id).counts()).filter(|_| !run.is_inline());
        // Of tasks that have ended, the indices hold nothing but the run's own tally.
        volatile.unindex_run(&run, status);
        let commit = volatile.commit;
        volatile.recent.push_back(RecentEnd { commit, run: id, status, idempotency: run.idempotency.clone() });
        if volatile.recent.len() > RECENT_ENDS_MAX
            && let Some(forgotten) = volatile.recent.pop_front()
        {
            volatile.recent_floor = forgotten.commit;
        }
        for hash in run.definitions() {
            // The row stays for the finished run; only memory lets go.
            if !volatile.pins.contains_key(hash)
                && let Some(definition) = self.state.definitions.remove(hash)
            {
                volatile.unindex_definition(&definition);
            }
        }
        let task_count = u32::try_from(run.tasks.len()).unwrap_or(u32::MAX);
        if !run.is_inline() {
            // Their rows outlive the run, and the newest are written with this batch.
            let tasks = std::mem::take(&mut run.tasks);
            self.state.volatile.retired.insert(id, tasks);
        }
        let finished = FinishedRun { status, ended_at: self.now, last_commit: commit, task_count, run: *run };
        self.touch(Key::Run(id));
        self.decision.written.push((Key::Finished(id), Some(Row::Finished(Box::new(finished)))));
    }
}

/// How a run whose tasks have all ended has ended.
fn final_status(run: &Run) -> RunStatus {
    match run.ending.as_ref().map(|ending| ending.cause) {
        None => RunStatus::Completed,
        Some(EndCause::Cancelled) => RunStatus::Cancelled,
        Some(EndCause::Failed) => RunStatus::Failed,
        Some(EndCause::TimedOut) => RunStatus::TimedOut,
    }
}
