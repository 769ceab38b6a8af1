//! Attempts: started, renewed, ended, lost, out of time.
//!
//! Every report is a compare-and-set on (attempt, fence). One that is too late changes nothing, is
//! counted, and is acknowledged as refused so that its worker stops sending it.

use crate::{
    AttemptId, Fence, Millis, RunId, TaskId,
    deadline::{Deadline, HEARTBEAT_TIMEOUT_DEFAULT, attempt_deadline, heartbeat_deadline},
    effect::{Answer, Effect, Refusal},
    event::{AttemptEnd, Caller, Decision, LaunchFault, NextTry, Outcome},
    retry,
    row::{Detail, HistoryKind},
    run::{AtDeadline, EndCause, JsonText, Lease, OnExpiry, Phase, StopReason, TaskEnd, TaskError, WaitOn, WorkerId},
    step::Step,
    workflow::OnLost,
};

/// Characters of a message that are kept, whoever sent it.
pub(crate) const MESSAGE_MAX: usize = 2_000;
/// The word for an attempt whose end nobody knows.
const LOST: &str = "lost";
/// The word for one that lost its lease before its end was known.
pub(crate) const FENCED: &str = "fenced";
/// Characters of the short word that says what kind of error it is.
const REASON_MAX: usize = 100;

impl Step<'_> {
    /// A worker began the work: from here its time runs.
    pub(crate) fn attempt_started(&mut self, attempt: AttemptId, fence: Fence) {
        let Some(lease) = self.state.lease_of(attempt, fence) else {
            self.refuse_report(attempt);
            return self.acknowledge(attempt, fence, None);
        };
        if lease.started_at.is_some() || self.is_frozen(attempt.task.run) {
            return;
        }
        let definition = self.definition(attempt.task.run);
        let def = definition.task(attempt.task.index);
        let deadline = attempt_deadline(self.now, &self.state.runs[&attempt.task.run], def);
        let now = self.now;
        self.update_task(attempt.task, |task| {
            if let Phase::Leased(lease) = &mut task.phase {
                lease.started_at = Some(now);
                lease.deadline = deadline;
            }
        });
        self.record_task(attempt.task, HistoryKind::TaskStarted, Detail::NONE);
    }

    /// A worker still has it: its lease runs for another term. Nothing is written.
    pub(crate) fn attempt_renewed(&mut self, attempt: AttemptId, fence: Fence) {
        let Some(lease) = self.state.lease_of(attempt, fence) else {
            // No line of history: it comes again and again until its worker has understood.
            self.state.volatile.refused_reports += 1;
            return self.acknowledge(attempt, fence, None);
        };
        let Some(stored) = lease.expires_at.filter(|_| !self.is_frozen(attempt.task.run)) else { return };
        let definition = self.definition(attempt.task.run);
        let def = definition.task(attempt.task.index);
        let settings = self.state.queue_settings(def.queue_name());
        let silence = heartbeat_deadline(lease, def);
        if self.state.volatile.replaced.contains(&lease.worker) {
            // It was on its way when its worker went.
            return;
        }
        let until = self.now.plus(settings.visibility_timeout);
        self.state.volatile.renew(attempt, stored, until);
        if let Some(stored) = silence {
            let bound = def.heartbeat_timeout.unwrap_or(HEARTBEAT_TIMEOUT_DEFAULT);
            self.state.volatile.heard(attempt, stored, self.now.plus(bound));
        }
    }

    /// A report came too late.
    fn refuse_report(&mut self, attempt: AttemptId) {
        self.state.volatile.refused_reports += 1;
        if self.task(attempt.task).is_some() {
            self.record_task(
                attempt.task,
                HistoryKind::ReportRefused,
                Detail::of("of_attempt", u64::from(attempt.number)),
            );
        }
    }

    /// Tells the worker that had the lease that its report was dealt with; without one, whoever sent it: the attempt
    /// is not its any more.
    fn acknowledge(&mut self, attempt: AttemptId, fence: Fence, worker: Option<WorkerId>) {
        let accepted = worker.is_some();
        self.decision.effects.push(Effect::Acknowledge { worker, attempt, fence, accepted });
    }

    /// An attempt came to its end, of any kind. For a frozen run nothing is said: the worker keeps its
    /// report and sends it again, until the run moves.
    pub(crate) fn attempt_ended(&mut self, end: &AttemptEnd) {
        let id = end.attempt.task;
        let worker = self.state.lease_of(end.attempt, end.fence).map(|lease| lease.worker.clone());
        let accepted = worker.is_some();
        if accepted && self.is_frozen(id.run) {
            return;
        }
        if accepted {
            self.take_outcome(id, &end.outcome, end);
        } else {
            self.refuse_report(end.attempt);
            self.clear_suspect(end);
        }
        self.acknowledge(end.attempt, end.fence, worker);
    }

    pub(crate) fn is_frozen(&self, run: RunId) -> bool {
        self.run(run).is_some_and(|run| run.poisoned.is_some())
    }

    fn take_outcome(&mut self, id: TaskId, outcome: &Outcome, end: &AttemptEnd) {
        let detail = end.detail.clone();
        match outcome {
            Outcome::Succeeded { output } => self.succeed(id, output, detail),
            Outcome::Failed { reason, message, exit, next_try } => {
                if self.is_being_stopped(id) {
                    // It ran, even if the report of its start was lost.
                    self.mark_started(id);
                    self.settle_stopped(id, reason, message, detail);
                } else {
                    self.handler_failure(id, error(reason, message, *exit), *next_try, detail);
                }
            }
            Outcome::Stopped => self.settle_stopped(id, "stopped", "it was stopped", detail),
            Outcome::Released if self.is_being_stopped(id) => {
                self.settle_stopped(id, "released", "it was given back", detail)
            }
            Outcome::Released => self.released(id),
            Outcome::LaunchFailed { message, .. } if self.is_being_stopped(id) => {
                self.settle_stopped(id, "launch", message, detail);
            }
            Outcome::LaunchFailed { message, fault: LaunchFault::Shortage } => self.shortage(id, message, detail),
            Outcome::LaunchFailed { message, fault } => {
                self.launch_failure(id, message, *fault == LaunchFault::Passing, detail);
            }
            Outcome::Lost { message, confirmed_dead } => {
                if !confirmed_dead {
                    self.suspect(id, message);
                }
                self.lose(id, message, detail);
            }
            Outcome::Unkillable { message } => {
                self.suspect(id, message);
                self.lose(id, message, detail);
            }
        }
    }

    fn is_being_stopped(&self, id: TaskId) -> bool {
        self.task(id).and_then(|task| task.lease()).is_some_and(|lease| lease.stopping.is_some())
    }

    /// The work is done, even if it was being stopped meanwhile: a completion is a completion.
    pub(crate) fn succeed(&mut self, id: TaskId, output: &JsonText, detail: Detail) {
        let bounds = self.state.volatile.bounds;
        let before = self.run(id.run).map_or(0, |run| run.output_bytes);
        let bytes = output.0.len();
        if bytes > bounds.output_bytes_max || before.saturating_add(bytes as u64) > bounds.run_output_bytes_max {
            let message = format!(
                "its output has {bytes} bytes; a task may have {} and all tasks of a run {}: write a file into its artifacts instead",
                bounds.output_bytes_max, bounds.run_output_bytes_max
            );
            return self.fail(id, error("output", &message, None), detail);
        }
        self.complete(id, output.clone(), detail);
    }

    /// The work ran and failed, or was out of time: the user's retries count.
    pub(crate) fn handler_failure(&mut self, id: TaskId, error: TaskError, next_try: NextTry, detail: Detail) {
        let definition = self.definition(id.run);
        let def = definition.task(id.index);
        let failures = self.task(id).map_or(0, |task| task.failures.handler) + 1;
        self.update_task(id, |task| task.failures.handler = failures);
        let worth = match (&def.retry.on_exits, error.exit) {
            (Some(exits), Some(exit)) => exits.contains(&exit),
            (Some(_), None) => error.reason == "timed_out",
            (None, _) => true,
        };
        let worth = worth && next_try != NextTry::Useless;
        let most = retry::attempts_max(def, &self.state.queue_settings(def.queue_name()));
        if worth && failures < most && self.may_try_again(id) {
            let own = self.pause_after(id, &error.reason);
            let pause = match next_try {
                NextTry::NotBefore(asked) => own.max(asked.min(retry::ASKED_PAUSE_MAX)),
                NextTry::AsUsual | NextTry::Useless => own,
            };
            self.retry_after(id, error, pause, detail);
        } else {
            self.fail(id, error, detail);
        }
    }

    fn mark_started(&mut self, id: TaskId) {
        self.update_task(id, |task| {
            if let Phase::Leased(lease) = &mut task.phase {
                lease.started_at.get_or_insert(lease.granted_at);
            }
        });
    }

    /// The work could not be started; the user's retries do not count.
    fn launch_failure(&mut self, id: TaskId, message: &str, transient: bool, detail: Detail) {
        let failures = self.task(id).map_or(0, |task| task.failures.launch) + 1;
        self.update_task(id, |task| task.failures.launch = failures);
        let error = error("launch", message, None);
        if transient && failures < self.state.volatile.bounds.launch_failures_max && self.may_try_again(id) {
            let pause = self.pause_after(id, &error.reason);
            self.retry_after(id, error, pause, detail);
        } else {
            self.fail(id, error, detail);
        }
    }

    /// Its worker's machine was short of something. That is no failure of the task, so none is counted against it.
    fn shortage(&mut self, id: TaskId, message: &str, detail: Detail) {
        if !self.may_try_again(id) {
            return self.give_back(id);
        }
        let times = self.task(id).map_or(0, |task| task.failures.shortage).saturating_add(1);
        self.update_task(id, |task| task.failures.shortage = times);
        let pause = retry::infrastructure_pause(times, self.entropy);
        self.retry_after(id, error("shortage", message, None), pause, detail);
    }

    /// Nobody knows how it ended.
    pub(crate) fn lose(&mut self, id: TaskId, message: &str, detail: Detail) {
        match self.is_being_stopped(id) {
            true => self.settle_stopped(id, LOST, message, detail),
            false => self.count_loss(id, message, detail),
        }
    }

    fn count_loss(&mut self, id: TaskId, message: &str, detail: Detail) {
        let message = cut(message, MESSAGE_MAX);
        let losses = self.task(id).map_or(0, |task| task.failures.lost) + 1;
        self.update_task(id, |task| task.failures.lost = losses);
        self.record_task(id, HistoryKind::TaskLost, Detail::of("message", message).and(detail));
        let error = error("lost", message, None);
        let definition = self.definition(id.run);
        match definition.task(id.index).on_lost {
            OnLost::Retry if losses < self.state.volatile.bounds.lost_max && self.may_try_again(id) => {
                let pause = self.pause_after(id, &error.reason);
                self.retry_after(id, error, pause, Detail::NONE);
            }
            OnLost::Hold if self.may_try_again(id) => {
                self.update_task(id, |task| task.error = Some(Box::new(error)));
                self.wait(id, WaitOn::Decision, None, OnExpiry::RunTimesOut);
                self.record_task(id, HistoryKind::TaskWaiting, Detail::of("on", "decision"));
            }
            OnLost::Retry | OnLost::Fail | OnLost::Hold => self.fail(id, error, Detail::NONE),
        }
    }

    /// An attempt is over because it was asked to stop. What follows depends on why it was asked.
    pub(crate) fn settle_stopped(&mut self, id: TaskId, reason: &str, message: &str, detail: Detail) {
        let Some(lease) = self.task(id).and_then(|task| task.lease()) else { return };
        let (was_started, was_prefetched) = (lease.started_at.is_some(), lease.prefetched);
        let stop = lease.stopping.as_ref().map(|stopping| stopping.reason);
        let ending = self.run(id.run).and_then(|run| run.ending.as_ref()).map(|ending| ending.reason.clone());
        match (stop, ending) {
            (_, Some(why)) => self.end_task(id, TaskEnd::Cancelled, Some(why), Detail::of("end", reason).and(detail)),
            (Some(StopReason::TimedOut), None) if !was_started && was_prefetched => self.give_back(id),
            (Some(StopReason::TimedOut), None) if !was_started => {
                let limit = self.attempt_limit(id);
                self.launch_failure(id, &format!("its worker did not start it within {limit}"), true, detail);
            }
            (Some(StopReason::TimedOut), None) => {
                let message = self.what_took_too_long(id);
                self.handler_failure(id, error("timed_out", &message, None), NextTry::AsUsual, detail);
            }
            // Its worker was as silent as the attempt: the work is not known to have failed.
            (Some(StopReason::Heartbeat), None) if [LOST, FENCED].contains(&reason) => {
                self.count_loss(id, message, detail);
            }
            (Some(StopReason::Heartbeat), None) => {
                self.handler_failure(
                    id,
                    error("heartbeat", "it was silent for longer than its heartbeat_timeout", None),
                    NextTry::AsUsual,
                    detail,
                );
            }
            // Stopped by its worker alone, which shuts down: as if it had never been given.
            (None, None) => self.released(id),
            (Some(StopReason::Deadlock), None) => self.retry_victim(id, detail),
            (Some(StopReason::Cancelled | StopReason::RunEnding), None) => self.count_loss(id, message, detail),
        }
    }

    /// What an attempt was stopped for that was out of time: its own, or that of a wait in it.
    fn what_took_too_long(&self, id: TaskId) -> String {
        let lease = self.task(id).and_then(|task| task.lease());
        let parked = lease.and_then(|lease| lease.parked.as_ref().filter(|parked| parked.deadline < lease.deadline));
        match parked.filter(|parked| parked.then == AtDeadline::Stop) {
            Some(parked) => {
                format!("its wait `{}` took longer than {}", parked.name, parked.deadline.since(parked.since))
            }
            None => format!("it took longer than {}", self.attempt_limit(id)),
        }
    }

    fn attempt_limit(&self, id: TaskId) -> Millis {
        let lease = self.task(id).and_then(|task| task.lease());
        lease.map_or(Millis(0), |lease| lease.deadline.since(lease.started_at.unwrap_or(lease.granted_at)))
    }

    /// Its worker gave it back: the first time at once into the queue, then ever more slowly, or a worker that
    /// gives everything back would keep the brain busy for ever.
    fn released(&mut self, id: TaskId) {
        let times = self.task(id).map_or(0, |task| task.failures.released) + 1;
        self.update_task(id, |task| task.failures.released = times);
        if times == 1 || !self.may_try_again(id) {
            return self.give_back(id);
        }
        let pause = retry::infrastructure_pause(times - 1, self.entropy);
        let told = Detail::of("reason", "released").with("times", u64::from(times)).with("pause_ms", pause.0);
        self.record_task(id, HistoryKind::TaskRetrying, told);
        self.wait(id, WaitOn::Backoff, Some(self.now.plus(pause)), OnExpiry::Requeue);
    }

    /// Back into the queue, to the place that it had there; nothing is counted. Its `queue_timeout` begins anew.
    fn give_back(&mut self, id: TaskId) {
        let ending = self.run(id.run).and_then(|run| run.ending.as_ref()).map(|ending| ending.reason.clone());
        let place = self.task(id).and_then(|task| task.lease()).map(|lease| lease.place);
        match ending {
            Some(why) => self.end_task(id, TaskEnd::Cancelled, Some(why), Detail::NONE),
            None => self.queue_at(id, place),
        }
    }

    /// The pause before the next try, after an attempt that ended for this reason.
    pub(crate) fn pause_after(&self, id: TaskId, reason: &str) -> Millis {
        let failures = self.task(id).map(|task| task.failures).unwrap_or_default();
        match reason {
            // The first time is nobody's pattern: at once. Then ever more slowly.
            "lost" if failures.lost <= 1 => Millis(0),
            "lost" => retry::infrastructure_pause(failures.lost - 1, self.entropy),
            "launch" => retry::infrastructure_pause(failures.launch, self.entropy),
            _ => {
                let definition = self.definition(id.run);
                retry::pause(&definition.task(id.index).retry.backoff, failures.handler, self.entropy)
            }
        }
    }

    /// Whether the run lets another attempt start at all.
    pub(crate) fn may_try_again(&self, id: TaskId) -> bool {
        self.run(id.run).is_some_and(|run| run.ending.is_none())
    }

    /// Another try follows after a pause; while the last one may be alive, after word that it is gone.
    pub(crate) fn retry_after(&mut self, id: TaskId, error: TaskError, pause: Millis, detail: Detail) {
        let may_be_alive = self.task(id).is_some_and(|task| task.suspect.is_some());
        let told = Detail::of("reason", &*error.reason).with("message", &*error.message);
        let (on, pause) = match may_be_alive {
            true => (WaitOn::Confirmation, pause.max(retry::CONFIRMATION_MAX)),
            false => (WaitOn::Backoff, pause),
        };
        let (kind, told) = match may_be_alive {
            true => (HistoryKind::TaskWaiting, Detail::of("on", "confirmation").with("at_most_ms", pause.0).and(told)),
            false => (HistoryKind::TaskRetrying, told.with("pause_ms", pause.0)),
        };
        self.record_task(id, kind, told.and(detail));
        self.update_task(id, |task| task.error = Some(Box::new(error)));
        self.wait(id, on, Some(self.now.plus(pause)), OnExpiry::Requeue);
    }

    /// A moment has come. One that the state has moved past means nothing.
    pub(crate) fn deadline_passed(&mut self, deadline: Deadline) {
        match deadline {
            Deadline::RunStart(run) => {
                if self.run(run).is_some_and(|run| !run.started && run.ending.is_none()) {
                    self.start_run(run);
                }
            }
            Deadline::RunTimeout(run) => {
                let Some(due) = self.run(run).filter(|run| run.deadline <= self.now) else { return };
                let limit = due.deadline.since(due.start_at.unwrap_or(due.submitted_at));
                self.begin_ending(
                    run,
                    EndCause::TimedOut,
                    format!("the run took longer than {limit}"),
                    "system",
                    false,
                );
            }
            Deadline::TaskWait(id) => self.wait_expired(id),
            Deadline::CountsAsHigh(_) => self.come_of_age(),
            Deadline::AttemptTimeout(attempt) => {
                if self.due_lease(attempt, |lease| lease.deadline) {
                    self.stop_attempt(attempt.task, StopReason::TimedOut);
                }
            }
            Deadline::AlertDelivery(alert) => self.alert_due(alert),
            Deadline::LeaseExpiry(attempt) => self.lease_expired(attempt),
            Deadline::Heartbeat(attempt) => self.silent(attempt),
            Deadline::AttemptWait(attempt) => self.attempt_wait_due(attempt),
            Deadline::AttemptTimer(attempt) => self.attempt_timer(attempt),
            Deadline::StopExpiry(attempt) => {
                let fenced_at =
                    |lease: &Lease| lease.stopping.as_ref().map_or(crate::Timestamp(u64::MAX), |s| s.fenced_at);
                if self.due_lease(attempt, fenced_at) {
                    self.fence(attempt.task, "its worker did not say that it is gone within the ladder's time");
                }
            }
        }
    }

    fn due_lease(&self, attempt: AttemptId, at: impl Fn(&Lease) -> crate::Timestamp) -> bool {
        let task = self.task(attempt.task).filter(|task| task.attempts == attempt.number);
        task.and_then(|task| task.lease()).is_some_and(|lease| at(lease) <= self.now)
    }

    fn lease_expired(&mut self, attempt: AttemptId) {
        let moved = self.state.volatile.moved.get(&Deadline::LeaseExpiry(attempt)).copied();
        let until = |lease: &Lease| moved.or(lease.expires_at).unwrap_or(crate::Timestamp(u64::MAX));
        if self.due_lease(attempt, until) {
            let lease = self.task(attempt.task).and_then(|task| task.lease());
            let is_replaced = lease.is_some_and(|lease| self.state.volatile.replaced.contains(&lease.worker));
            let message = match is_replaced {
                true => "its worker was gone: another one joined under its name",
                false => "its lease ran out without a word from its worker",
            };
            self.lose(attempt.task, message, Detail::NONE);
        }
    }

    /// Nothing was heard of an attempt for too long.
    fn silent(&mut self, attempt: AttemptId) {
        let definition = self.state.runs.get(&attempt.task.run).map(|run| &self.state.definitions[&run.definition]);
        let Some(definition) = definition else { return };
        let volatile = &self.state.volatile;
        let until = |lease: &Lease| {
            let stored = heartbeat_deadline(lease, definition.task(attempt.task.index));
            stored.map_or(crate::Timestamp(u64::MAX), |stored| volatile.moment_of(Deadline::Heartbeat(attempt), stored))
        };
        if self.due_lease(attempt, until) {
            self.stop_attempt(attempt.task, StopReason::Heartbeat);
        }
    }

    fn wait_expired(&mut self, id: TaskId) {
        let wait = self.task(id).and_then(|task| task.wait()).filter(|wait| wait.deadline <= self.now);
        let Some(wait) = wait.cloned() else { return };
        match wait.on_expiry {
            OnExpiry::RunTimesOut => {}
            OnExpiry::Requeue => self.make_ready(id),
            OnExpiry::Complete => self.complete(id, JsonText::null(), Detail::NONE),
            OnExpiry::FailTask => {
                let waited = wait.deadline.since(wait.since);
                let (reason, message) = match wait.on {
                    WaitOn::Signal => ("timed_out", format!("its signal did not come within {waited}")),
                    _ => ("queue_timeout", format!("it stood in its queue for {waited}")),
                };
                self.fail(id, error(reason, &message, None), Detail::NONE);
            }
        }
    }

    /// A person decided about a task whose attempt was lost, or waits for word that it is gone.
    pub(crate) fn decide(&mut self, id: TaskId, decision: Decision, caller: Caller) {
        let waits = self
            .task(id)
            .and_then(|task| task.wait())
            .is_some_and(|wait| matches!(wait.on, WaitOn::Decision | WaitOn::Confirmation));
        let waits = waits && !self.is_frozen(id.run);
        let answer = match (waits, decision) {
            (false, _) => Err(Refusal::NothingToDecide(id)),
            (true, Decision::Retry) => {
                self.make_ready(id);
                Ok(Answer::Done)
            }
            (true, Decision::Fail) => {
                let lost = self.task(id).and_then(|task| task.error.as_deref().cloned());
                self.fail(id, lost.unwrap_or_else(|| error("lost", "its end is unknown", None)), Detail::NONE);
                Ok(Answer::Done)
            }
        };
        self.reply(caller, answer);
    }
}

/// An error whose texts are short enough to keep.
pub(crate) fn error(reason: &str, message: &str, exit: Option<i32>) -> TaskError {
    TaskError { reason: cut(reason, REASON_MAX).to_owned(), message: cut(message, MESSAGE_MAX).to_owned(), exit }
}

/// The first `most` characters of a text.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}
