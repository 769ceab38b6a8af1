//! Bringing a run to its end: cancellation, failure, time-out.

use super::attempt::FENCED;
use crate::{
    RunId, TaskId, TaskIndex,
    continuation::Work,
    effect::{Answer, Effect, Refusal},
    event::{Caller, CancelRequest, Facts},
    row::{Detail, HistoryKind},
    run::{EndCause, Lease, Phase, StopReason, Stopping, TaskEnd},
    step::Step,
};
use serde_json::json;

impl Step<'_> {
    /// Somebody wants a run to end. Asking twice is the same as asking once; force can be added later.
    pub(crate) fn cancel_run(&mut self, run: RunId, request: &CancelRequest, caller: Caller) {
        let answer = match self.run(run) {
            None => Err(self.why_not_here(run, &request.facts)),
            Some(_) => {
                let cancelled_tasks = self.state.volatile.tally(run).open;
                self.begin_ending(run, EndCause::Cancelled, request.reason.clone(), &request.by, request.force);
                Ok(self.cancelling(run, cancelled_tasks))
            }
        };
        self.reply(caller, answer);
    }

    fn cancelling(&self, id: RunId, cancelled_tasks: u32) -> Answer {
        let run = &self.state.runs[&id];
        let (since, reason) = match &run.ending {
            Some(ending) => (ending.since, ending.reason.clone()),
            None => (self.now, String::new()),
        };
        Answer::Cancelling { run: id, status: run.status(), cancelled_tasks, since, reason }
    }

    /// Why a run that a command names is not among the unfinished ones.
    pub(crate) fn why_not_here(&self, run: RunId, facts: &Facts) -> Refusal {
        let mut ends = self.state.volatile.ended_since(facts.as_of);
        let lately = ends.find(|end| end.run == run).map(|end| end.status);
        match lately.or(facts.ended) {
            Some(status) => Refusal::RunEnded { run, status },
            None if facts.as_of < self.state.volatile.recent_floor => Refusal::FactsTooOld,
            None => Refusal::UnknownRun(run),
        }
    }

    /// Ends the next task of a run that comes to its end, one a call.
    pub(crate) fn close(&mut self, run: RunId, from: TaskIndex) {
        let Some(task) = self.state.runs[&run].tasks.get(from.0 as usize) else { return };
        let leased = match &task.phase {
            Phase::Waiting(_) => Some(false),
            Phase::Leased(_) => Some(true),
            Phase::Ended(_) => None,
        };
        let Some(ending) = self.state.runs[&run].ending.clone() else { return };
        self.push_work(run, Work::Close { from: TaskIndex(from.0 + 1) });
        let id = run.task(from);
        match leased {
            None => {
                self.look();
                self.leave_children(id);
            }
            Some(false) => self.end_task(id, TaskEnd::Cancelled, Some(ending.reason), Detail::NONE),
            Some(true) => {
                let reason = match ending.cause {
                    EndCause::Cancelled => StopReason::Cancelled,
                    EndCause::Failed | EndCause::TimedOut => StopReason::RunEnding,
                };
                self.stop_attempt(id, reason);
                self.stop_runs(id);
                if ending.force {
                    self.fence(id, "the run was forced to its end while this attempt was alive");
                }
            }
        }
    }

    /// Asks the worker to walk the ladder with a task's attempt.
    pub(crate) fn stop_attempt(&mut self, id: TaskId, reason: StopReason) {
        let definition = self.definition(id.run);
        let ladder = definition.task(id.index).cancel;
        let Some(task) = self.task(id) else { return };
        let (Some(lease), attempt) = (task.lease(), id.attempt(task.attempts)) else { return };
        if lease.stopping.is_some() {
            return;
        }
        let (worker, fence) = (lease.worker.clone(), lease.fence);
        self.stop_waiting(id);
        let fenced_at = self.now.plus(ladder.total()).plus(Lease::REPORT_MARGIN);
        let stopping = Stopping { reason, since: self.now, fenced_at };
        self.update_task(id, |task| {
            if let Phase::Leased(lease) = &mut task.phase {
                lease.stopping = Some(stopping);
            }
        });
        let detail = Detail::of("reason", json!(reason)).with("fenced_at", fenced_at.0);
        self.record_task(id, HistoryKind::TaskStopping, detail);
        if worker.is_brain() {
            return match reason {
                // It only gives back what it holds: its runs go on, and are found when it is made again.
                StopReason::Deadlock => self.settle_stopped(id, "stopped", "it was stopped", Detail::NONE),
                _ => self.stop_children(id),
            };
        }
        self.decision.effects.push(Effect::Stop { worker, attempt, fence, reason });
    }

    /// Takes an attempt's right away, whatever its worker says or does not say, and has it killed. Units that it held
    /// stay closed until somebody confirms that it is gone.
    pub(crate) fn fence(&mut self, id: TaskId, message: &str) {
        let Some(task) = self.task(id) else { return };
        let (Some(lease), attempt) = (task.lease(), id.attempt(task.attempts)) else { return };
        let (worker, fence) = (lease.worker.clone(), lease.fence);
        if worker.is_brain() {
            return self.settle_stopped(id, FENCED, message, Detail::NONE);
        }
        self.suspect(id, message);
        self.settle_stopped(id, FENCED, message, Detail::NONE);
        self.decision.effects.push(Effect::Kill { worker, attempt, fence });
    }
}
