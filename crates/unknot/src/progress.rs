//! How far a run is: counted from its history as it becomes durable, shown in one of three ways.
//!
//! [`Progress`] knows; `note.rs` says what a line of history means to a person; `bars.rs` draws on a
//! terminal, `lines.rs` prints where there is none. JSON needs neither: it is the history itself.

mod bars;
mod lines;
mod note;
mod remarks;
mod view;

pub(crate) use note::{Note, Rank};
pub(crate) use view::View;

use bars::Bars;
use lines::Lines;

use std::{collections::BTreeMap, sync::Arc};
use unknot_engine::core::{
    RunId, TaskIndex, Timestamp,
    row::{HistoryEntry, HistoryKind},
    run::{Phase, RunStatus, Task, TaskStatus, WaitOn},
    workflow::Definition,
};

/// What is known of one run while it goes on.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The run.
    pub(crate) run: RunId,
    /// What it executes.
    pub(crate) definition: Arc<Definition>,
    /// When this process began to serve it.
    pub(crate) since: Timestamp,
    /// Where it stands.
    pub(crate) status: RunStatus,
    /// Why nothing moves it any more, if one of its events failed.
    pub(crate) frozen: Option<String>,
    tasks: Vec<TaskStatus>,
    counts: BTreeMap<TaskStatus, u64>,
    active: BTreeMap<TaskIndex, Active>,
}

/// A task that a person would look at now.
#[derive(Clone, Debug)]
pub(crate) struct Active {
    /// Which attempt.
    pub(crate) attempt: u32,
    /// Since when that goes on, with what it waits for on the way.
    pub(crate) begun: Timestamp,
    /// Since when it is so.
    pub(crate) since: Timestamp,
    /// What it does.
    pub(crate) doing: Doing,
}

/// What an active task does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Its process runs.
    Running,
    /// Its process is asked to stop.
    Stopping(String),
    /// It is tried again at this moment.
    Retrying(Timestamp),
    /// It sleeps until this moment.
    Sleeping(Timestamp),
    /// It waits for this signal.
    Awaiting(String),
    /// Its attempt waits, as the sentence says.
    Parked(String),
    /// A person must decide about it.
    Deciding,
}

impl Progress {
    /// A run of which nothing is known to have happened.
    pub(crate) fn new(run: RunId, definition: Arc<Definition>, since: Timestamp) -> Self {
        let total = definition.body.tasks.len();
        Self {
            run,
            definition,
            since,
            status: RunStatus::Pending,
            frozen: None,
            tasks: vec![TaskStatus::Pending; total],
            counts: [(TaskStatus::Pending, total as u64)].into(),
            active: BTreeMap::new(),
        }
    }

    /// Takes over what the store knows of a task.
    pub(crate) fn take_over(&mut self, index: TaskIndex, task: &Task) {
        self.set(index, task.status());
        let doing = match &task.phase {
            Phase::Leased(lease) => match lease.parked.as_ref().filter(|_| lease.waits()) {
                // The history says for what.
                Some(parked) => Some((parked.since, Doing::Parked(format!("waits: {}", parked.name)))),
                None => lease.started_at.map(|at| (at, Doing::Running)),
            },
            Phase::Waiting(wait) => match wait.on {
                WaitOn::Backoff | WaitOn::Confirmation => Some((wait.since, Doing::Retrying(wait.deadline))),
                WaitOn::Sleep => Some((wait.since, Doing::Sleeping(wait.deadline))),
                WaitOn::Signal => Some((wait.since, Doing::Awaiting(self.signal(index)))),
                WaitOn::Decision => Some((wait.since, Doing::Deciding)),
                WaitOn::Needs | WaitOn::Grant => None,
            },
            Phase::Ended(_) => None,
        };
        let begun = task.lease().and_then(|lease| lease.started_at);
        let active = doing.map(|(since, doing)| {
            let begun = begun.unwrap_or(since);
            Active { attempt: task.attempts, begun, since, doing }
        });
        match active {
            Some(active) => drop(self.active.insert(index, active)),
            None => drop(self.active.remove(&index)),
        }
    }

    /// The signal that a task waits for, if it waits for one.
    fn signal(&self, index: TaskIndex) -> String {
        self.definition.task(index).kind.awaits().map_or_else(String::new, |(name, _)| name.to_string())
    }

    /// A line of its history became durable. Lines are told in order; one told twice does no harm.
    pub(crate) fn apply(&mut self, entry: &HistoryEntry) {
        let detail_ms = |key: &str| entry.detail.number(key).unwrap_or_default();
        let after = |ms: u64| Timestamp(entry.at.0.saturating_add(ms));
        let word = |key: &str| entry.detail.text(key).unwrap_or_default().to_owned();
        let (status, doing) = match entry.event {
            HistoryKind::RunSubmitted
            | HistoryKind::RunPaused
            | HistoryKind::RunResumed
            | HistoryKind::SignalReceived
            | HistoryKind::UnitsReleased
            | HistoryKind::ChildSpawned
            | HistoryKind::ChildEnded
            | HistoryKind::DeadlockDetected
            | HistoryKind::StallDetected
            | HistoryKind::StallEnded => return,
            HistoryKind::RunStarted => return self.status = RunStatus::Running,
            HistoryKind::RunCancelling => return self.status = RunStatus::Cancelling,
            HistoryKind::RunPoisoned => return self.frozen = Some(word("error")),
            HistoryKind::RunCompleted => return self.status = RunStatus::Completed,
            HistoryKind::RunFailed => return self.status = RunStatus::Failed,
            HistoryKind::RunCancelled => return self.status = RunStatus::Cancelled,
            HistoryKind::RunTimedOut => return self.status = RunStatus::TimedOut,
            HistoryKind::TaskQueued | HistoryKind::TaskGranted => (TaskStatus::Queued, None),
            HistoryKind::TaskStarted | HistoryKind::WaitGranted | HistoryKind::WaitEnded => {
                (TaskStatus::Running, Some(Doing::Running))
            }
            HistoryKind::WaitBegan => (TaskStatus::Waiting, Some(Doing::Parked(word("what")))),
            HistoryKind::TaskStopping => (TaskStatus::Running, Some(Doing::Stopping(word("reason")))),
            HistoryKind::TaskWaiting if entry.detail.get("sleep_ms").is_some() => {
                (TaskStatus::Waiting, Some(Doing::Sleeping(after(detail_ms("sleep_ms")))))
            }
            HistoryKind::TaskWaiting if entry.detail.text("on") == Some("confirmation") => {
                (TaskStatus::Waiting, Some(Doing::Retrying(after(detail_ms("at_most_ms")))))
            }
            HistoryKind::TaskWaiting if entry.detail.text("on") == Some("signal") => {
                (TaskStatus::Waiting, Some(Doing::Awaiting(word("signal"))))
            }
            HistoryKind::TaskWaiting => (TaskStatus::Waiting, Some(Doing::Deciding)),
            HistoryKind::TaskRetrying => (TaskStatus::Retrying, Some(Doing::Retrying(after(detail_ms("pause_ms"))))),
            HistoryKind::TaskCompleted => (TaskStatus::Completed, None),
            HistoryKind::TaskFailed => (TaskStatus::Failed, None),
            HistoryKind::TaskCancelled => (TaskStatus::Cancelled, None),
            HistoryKind::TaskSkipped => (TaskStatus::Skipped, None),
            HistoryKind::TaskLost | HistoryKind::ReportRefused => return,
        };
        let Some(index) = entry.task.filter(|index| (index.0 as usize) < self.tasks.len()) else { return };
        self.set(index, status);
        match doing {
            Some(doing) => self.activate(index, entry, doing),
            None => drop(self.active.remove(&index)),
        }
    }

    /// How many tasks it has.
    pub(crate) fn total(&self) -> u64 {
        self.tasks.len() as u64
    }

    /// How many tasks stand so.
    pub(crate) fn count(&self, status: TaskStatus) -> u64 {
        self.counts.get(&status).copied().unwrap_or_default()
    }

    /// How many tasks have ended.
    pub(crate) fn done(&self) -> u64 {
        self.counts.iter().filter(|(status, _)| status.is_terminal()).map(|(_, count)| count).sum()
    }

    /// The tasks that a person would look at now, in the order of the workflow.
    pub(crate) fn active(&self) -> impl ExactSizeIterator<Item = (TaskIndex, &Active)> {
        self.active.iter().map(|(index, active)| (*index, active))
    }

    /// The name of a task.
    pub(crate) fn name(&self, index: TaskIndex) -> &str {
        &self.definition.task(index).name
    }

    /// Since when a task's attempt goes on, if it does.
    fn begun(&self, index: TaskIndex) -> Option<Timestamp> {
        self.active.get(&index).map(|active| active.begun)
    }

    fn set(&mut self, index: TaskIndex, status: TaskStatus) {
        let Some(task) = self.tasks.get_mut(index.0 as usize) else { return };
        let before = std::mem::replace(task, status);
        if let Some(count) = self.counts.get_mut(&before) {
            *count = count.saturating_sub(1);
        }
        *self.counts.entry(status).or_default() += 1;
    }

    fn activate(&mut self, index: TaskIndex, entry: &HistoryEntry, doing: Doing) {
        let is_stop = matches!(doing, Doing::Stopping(_));
        let comes_back = matches!(entry.event, HistoryKind::WaitGranted | HistoryKind::WaitEnded);
        let goes_on = is_stop || comes_back || matches!(doing, Doing::Parked(_));
        let before = self.active.get(&index);
        let since = before.filter(|_| is_stop).map_or(entry.at, |before| before.since);
        let begun = before.filter(|_| goes_on).map_or(entry.at, |before| before.begun);
        let attempt = entry.attempt.unwrap_or(1);
        self.active.insert(index, Active { attempt, begun, since, doing });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use unknot_engine::{
        convert,
        core::{CommitSeq, row::Detail, validate::Rules},
    };

    /// A run of three tasks of which the first retries and the others are at work.
    pub(super) fn half_way() -> Progress {
        let flow = "name: half-way\ntasks:\n  a-task-with-quite-a-long-name: {exec: 'true'}\n  b: {sleep: 5s}\n  c: {exec: 'true'}\n";
        let checked = convert::read_workflow(Path::new("flow.yaml"), flow.as_bytes(), &Rules::default());
        let run = RunId::from_parts(0, 0);
        let mut progress = Progress::new(run, checked.expect("sound").definition, Timestamp(0));
        for (task, event, detail) in [
            (0, HistoryKind::TaskStarted, ("", 0)),
            (0, HistoryKind::TaskRetrying, ("pause_ms", 700)),
            (1, HistoryKind::TaskWaiting, ("sleep_ms", 5_000)),
            (2, HistoryKind::TaskStarted, ("", 0)),
        ] {
            progress.apply(&HistoryEntry {
                at: Timestamp(1_000),
                run,
                event,
                task: Some(TaskIndex(task)),
                name: None,
                attempt: Some(2),
                detail: Detail::of(detail.0, detail.1),
                first_commit: CommitSeq(0),
            });
        }
        progress
    }

    fn entry(run: RunId, task: Option<u32>, event: HistoryKind, detail: Detail) -> HistoryEntry {
        HistoryEntry {
            at: Timestamp(2_000),
            run,
            event,
            task: task.map(TaskIndex),
            name: None,
            attempt: None,
            detail,
            first_commit: CommitSeq(0),
        }
    }

    #[test]
    fn a_frozen_run_is_known_as_such() {
        let mut progress = half_way();
        let poisoned = entry(progress.run, None, HistoryKind::RunPoisoned, Detail::of("error", "a bug"));
        progress.apply(&poisoned);
        assert_eq!(progress.frozen.as_deref(), Some("a bug"));
    }

    #[test]
    fn each_task_counts_once() {
        let mut progress = half_way();
        assert_eq!((progress.total(), progress.done(), progress.active().len()), (3, 0, 3));
        let run = progress.run;
        let ended = |task: u32, event: HistoryKind| entry(run, Some(task), event, Detail::NONE);
        let told = [
            ended(0, HistoryKind::TaskFailed),
            ended(2, HistoryKind::TaskCompleted),
            ended(9, HistoryKind::TaskFailed),
        ];
        // Twice, as it happens after the store was asked for what was missed.
        told.iter().chain(&told).for_each(|entry| progress.apply(entry));
        assert_eq!((progress.done(), progress.count(TaskStatus::Failed), progress.active().len()), (2, 1, 1));
    }
}
