//! What the stories took: every (state, event) pair, and every step of a run, task and attempt.

use std::collections::{BTreeMap, BTreeSet};
use unknot_core::{
    AttemptId, Decision, RunId, State, TaskId,
    deadline::Deadline,
    event::{Ask, Decision as Verdict, Event, Outcome, PauseTarget},
    row::HistoryKind,
    run::{Phase, Run, Task, TaskEnd, WaitOn},
};

/// Unfinished tasks up to which attempts are followed.
const FOLLOW_MAX: u32 = 100;

/// What was seen so far.
#[derive(Default)]
pub(crate) struct Coverage {
    /// A state and an event that met it.
    pub(crate) pairs: BTreeSet<(&'static str, &'static str)>,
    /// Status before, status after, and the line of history that says so.
    pub(crate) run_steps: BTreeMap<(String, String), BTreeSet<String>>,
    pub(crate) task_steps: BTreeMap<(String, String), BTreeSet<String>>,
    /// State of an attempt before and after, and the event that led there.
    pub(crate) attempt_steps: BTreeMap<(String, String), BTreeSet<String>>,
    runs: BTreeMap<RunId, String>,
    tasks: BTreeMap<TaskId, String>,
}

/// What was there before an event.
pub(crate) struct Before {
    event: &'static str,
    attempts: BTreeMap<AttemptId, &'static str>,
}

/// The states in which an event that belongs to a task can find it.
pub(crate) const TASK_STATES: [&str; 15] = [
    "needs",
    "queued",
    "backoff",
    "sleeping",
    "awaiting",
    "held",
    "suspected",
    "granted",
    "started",
    "parked",
    "stopping",
    "succeeded",
    "ended otherwise",
    "frozen",
    "gone",
];
/// The states in which an event that belongs to a run can find it.
pub(crate) const RUN_STATES: [&str; 6] = ["pending", "running", "paused", "ending", "poisoned", "gone"];
/// The events that belong to a task.
pub(crate) const TASK_EVENTS: [&str; 23] = [
    "AttemptStarted",
    "AttemptRenewed",
    "AttemptEnded Succeeded",
    "AttemptEnded Failed",
    "AttemptEnded Stopped",
    "AttemptEnded LaunchFailed",
    "AttemptEnded Released",
    "AttemptEnded Lost",
    "AttemptEnded Unkillable",
    "AttemptAsked Wait",
    "AttemptAsked Withdraw",
    "AttemptAsked Release",
    "AttemptAsked Spawn",
    "TaskDecided Retry",
    "TaskDecided Fail",
    "DeadlinePassed TaskWait",
    "DeadlinePassed CountsAsHigh",
    "DeadlinePassed AttemptTimeout",
    "DeadlinePassed LeaseExpiry",
    "DeadlinePassed Heartbeat",
    "DeadlinePassed AttemptWait",
    "DeadlinePassed AttemptTimer",
    "DeadlinePassed StopExpiry",
];
/// The events that belong to a run.
pub(crate) const RUN_EVENTS: [&str; 9] = [
    "SignalSent",
    "RunCancelRequested",
    "RunCancelRequested force",
    "Paused Run",
    "Resumed Run",
    "RunPoisoned",
    "DeadlinePassed RunStart",
    "DeadlinePassed RunTimeout",
    "ContinuationDue",
];

impl Coverage {
    /// Notes what state the event finds.
    pub(crate) fn before(&mut self, state: &State, event: &Event) -> Before {
        let name = event_name(event);
        if let Some(found) = found_state(state, event) {
            self.pairs.insert((found, name));
        }
        Before { event: name, attempts: attempts(state) }
    }

    /// Notes which steps followed.
    pub(crate) fn after(&mut self, before: Before, state: &State, decision: &Decision) {
        for entry in &decision.history {
            if let Some(index) = entry.task {
                self.task_step(entry.run.task(index), entry.event);
            } else {
                self.run_step(entry.run, entry.event);
            }
        }
        let after = attempts(state);
        let all: BTreeSet<&AttemptId> = before.attempts.keys().chain(after.keys()).collect();
        for attempt in all {
            let from = before.attempts.get(attempt).copied().unwrap_or("[*]");
            let to = after.get(attempt).copied().unwrap_or("over");
            if from == "[*]" {
                self.attempt_step(from, "granted", "a grant");
            }
            let from = if from == "[*]" { "granted" } else { from };
            if from != to {
                self.attempt_step(from, to, before.event);
            }
        }
    }

    fn attempt_step(&mut self, from: &str, to: &str, cause: &str) {
        self.attempt_steps.entry((from.to_owned(), to.to_owned())).or_default().insert(cause.to_owned());
    }

    /// Takes over what another story saw.
    pub(crate) fn merge(&mut self, other: Self) {
        self.pairs.extend(other.pairs);
        for (mine, theirs) in [
            (&mut self.run_steps, other.run_steps),
            (&mut self.task_steps, other.task_steps),
            (&mut self.attempt_steps, other.attempt_steps),
        ] {
            for (step, words) in theirs {
                mine.entry(step).or_default().extend(words);
            }
        }
    }

    fn run_step(&mut self, run: RunId, event: HistoryKind) {
        let to = match event {
            HistoryKind::RunSubmitted => "PENDING",
            HistoryKind::RunStarted => "RUNNING",
            HistoryKind::RunCancelling => "CANCELLING",
            HistoryKind::RunCompleted => "COMPLETED",
            HistoryKind::RunFailed => "FAILED",
            HistoryKind::RunCancelled => "CANCELLED",
            HistoryKind::RunTimedOut => "TIMED_OUT",
            _ => return,
        };
        let from = self.runs.insert(run, to.to_owned()).unwrap_or_else(|| "[*]".to_owned());
        if from != to {
            self.run_steps.entry((from, to.to_owned())).or_default().insert(crate::print::word(event));
        }
    }

    fn task_step(&mut self, task: TaskId, event: HistoryKind) {
        let to = match event {
            HistoryKind::TaskQueued => "QUEUED",
            HistoryKind::TaskGranted => "RUNNING",
            HistoryKind::TaskWaiting => "WAITING",
            HistoryKind::TaskRetrying => "RETRYING",
            HistoryKind::TaskCompleted => "COMPLETED",
            HistoryKind::TaskFailed => "FAILED",
            HistoryKind::TaskCancelled => "CANCELLED",
            HistoryKind::TaskSkipped => "SKIPPED",
            _ => return,
        };
        let from = self.tasks.insert(task, to.to_owned()).unwrap_or_else(|| "PENDING".to_owned());
        if from != to {
            self.task_steps.entry((from, to.to_owned())).or_default().insert(crate::print::word(event));
        }
    }
}

/// The attempts that are under a lease, where few enough.
fn attempts(state: &State) -> BTreeMap<AttemptId, &'static str> {
    if state.live_tasks() > FOLLOW_MAX {
        return BTreeMap::new();
    }
    let leased = |run: &Run| {
        let tasks = run.indexed_tasks().filter(|(_, task)| task.lease().is_some());
        let attempts = tasks.map(|(index, task)| (run.id.task(index).attempt(task.attempts), lease_state(task)));
        attempts.collect::<Vec<_>>()
    };
    state.runs.values().map(|run| &**run).flat_map(leased).collect()
}

fn lease_state(task: &Task) -> &'static str {
    match task.lease() {
        Some(lease) if lease.stopping.is_some() => "stopping",
        Some(lease) if lease.parked.is_some() => "parked",
        Some(lease) if lease.started_at.is_some() => "started",
        Some(_) | None => "granted",
    }
}

/// The state that an event finds, if it belongs to a run or a task.
fn found_state(state: &State, event: &Event) -> Option<&'static str> {
    Some(match event {
        Event::AttemptStarted { attempt, .. }
        | Event::AttemptRenewed { attempt, .. }
        | Event::AttemptAsked { attempt, .. } => task_state(state, attempt.task),
        Event::AttemptEnded(end) => task_state(state, end.attempt.task),
        Event::TaskDecided { task, .. } => task_state(state, *task),
        Event::DeadlinePassed(deadline) => match deadline {
            Deadline::AlertDelivery(_) => return None,
            Deadline::RunStart(run) | Deadline::RunTimeout(run) => run_state(state, *run),
            Deadline::TaskWait(task) | Deadline::CountsAsHigh(task) => task_state(state, *task),
            Deadline::AttemptTimeout(attempt)
            | Deadline::LeaseExpiry(attempt)
            | Deadline::Heartbeat(attempt)
            | Deadline::AttemptWait(attempt)
            | Deadline::AttemptTimer(attempt)
            | Deadline::StopExpiry(attempt) => task_state(state, attempt.task),
        },
        Event::RunCancelRequested { run, .. } | Event::RunPoisoned { run, .. } | Event::SignalSent { run, .. } => {
            run_state(state, *run)
        }
        Event::Paused { target: PauseTarget::Run(run), .. } | Event::Resumed { target: PauseTarget::Run(run), .. } => {
            run_state(state, *run)
        }
        Event::ContinuationDue(seq) => run_state(state, state.continuations.get(seq)?.run),
        _ => return None,
    })
}

pub(crate) fn run_state(state: &State, run: RunId) -> &'static str {
    match state.runs.get(&run) {
        None => "gone",
        Some(run) if run.poisoned.is_some() => "poisoned",
        Some(run) if run.ending.is_some() => "ending",
        Some(run) if run.paused.is_some() => "paused",
        Some(run) if run.started => "running",
        Some(_) => "pending",
    }
}

pub(crate) fn task_state(state: &State, id: TaskId) -> &'static str {
    let Some(task) = state.task(id) else { return "gone" };
    if state.runs[&id.run].poisoned.is_some() {
        return "frozen";
    }
    match &task.phase {
        Phase::Waiting(wait) => match wait.on {
            WaitOn::Needs => "needs",
            WaitOn::Grant => "queued",
            WaitOn::Backoff => "backoff",
            WaitOn::Sleep => "sleeping",
            WaitOn::Signal => "awaiting",
            WaitOn::Decision => "held",
            WaitOn::Confirmation => "suspected",
        },
        Phase::Leased(_) => lease_state(task),
        Phase::Ended(end) if end.status == TaskEnd::Completed => "succeeded",
        Phase::Ended(_) => "ended otherwise",
    }
}

fn event_name(event: &Event) -> &'static str {
    match event {
        Event::RunSubmitted(_) => "RunSubmitted",
        Event::RunCancelRequested { request, .. } if request.force => "RunCancelRequested force",
        Event::RunCancelRequested { .. } => "RunCancelRequested",
        Event::SignalSent { .. } => "SignalSent",
        Event::Paused { target: PauseTarget::Run(_), .. } => "Paused Run",
        Event::Resumed { target: PauseTarget::Run(_), .. } => "Resumed Run",
        Event::Paused { .. } => "Paused",
        Event::Resumed { .. } => "Resumed",
        Event::TaskDecided { decision: Verdict::Retry, .. } => "TaskDecided Retry",
        Event::TaskDecided { decision: Verdict::Fail, .. } => "TaskDecided Fail",
        Event::DeadLetterDropped { .. } => "DeadLetterDropped",
        Event::WorkflowRegistered { .. } => "WorkflowRegistered",
        Event::WorkflowForgotten { .. } => "WorkflowForgotten",
        Event::SettingsApplied(_) => "SettingsApplied",
        Event::RunsFocused(_) => "RunsFocused",
        Event::WorkerJoined { .. } => "WorkerJoined",
        Event::WorkerLeft { .. } => "WorkerLeft",
        Event::AttemptStarted { .. } => "AttemptStarted",
        Event::AttemptRenewed { .. } => "AttemptRenewed",
        Event::AttemptAsked { ask, .. } => match **ask {
            Ask::Wait { .. } => "AttemptAsked Wait",
            Ask::Withdraw { .. } => "AttemptAsked Withdraw",
            Ask::Release { .. } => "AttemptAsked Release",
            Ask::Spawn { .. } => "AttemptAsked Spawn",
        },
        Event::DeadlockMarked { .. } => "DeadlockMarked",
        Event::FindingsReported { .. } => "FindingsReported",
        Event::PoolSet { .. } => "PoolSet",
        Event::AttemptEnded(end) => match end.outcome {
            Outcome::Succeeded { .. } => "AttemptEnded Succeeded",
            Outcome::Failed { .. } => "AttemptEnded Failed",
            Outcome::Stopped => "AttemptEnded Stopped",
            Outcome::LaunchFailed { .. } => "AttemptEnded LaunchFailed",
            Outcome::Released => "AttemptEnded Released",
            Outcome::Lost { .. } => "AttemptEnded Lost",
            Outcome::Unkillable { .. } => "AttemptEnded Unkillable",
        },
        Event::DeadlinePassed(deadline) => match deadline {
            Deadline::RunStart(_) => "DeadlinePassed RunStart",
            Deadline::RunTimeout(_) => "DeadlinePassed RunTimeout",
            Deadline::TaskWait(_) => "DeadlinePassed TaskWait",
            Deadline::CountsAsHigh(_) => "DeadlinePassed CountsAsHigh",
            Deadline::AttemptTimeout(_) => "DeadlinePassed AttemptTimeout",
            Deadline::LeaseExpiry(_) => "DeadlinePassed LeaseExpiry",
            Deadline::Heartbeat(_) => "DeadlinePassed Heartbeat",
            Deadline::AttemptWait(_) => "DeadlinePassed AttemptWait",
            Deadline::AttemptTimer(_) => "DeadlinePassed AttemptTimer",
            Deadline::StopExpiry(_) => "DeadlinePassed StopExpiry",
            Deadline::AlertDelivery(_) => "DeadlinePassed AlertDelivery",
        },
        Event::AlertRaised(_) => "AlertRaised",
        Event::AlertResolved { .. } => "AlertResolved",
        Event::AlertDelivered { .. } => "AlertDelivered",
        Event::AlertFailed(_) => "AlertFailed",
        Event::TimeSkipped { .. } => "TimeSkipped",
        Event::ContinuationDue(_) => "ContinuationDue",
        Event::GrantsDue => "GrantsDue",
        Event::RunPoisoned { .. } => "RunPoisoned",
        Event::EventQuarantined(_) => "EventQuarantined",
    }
}
