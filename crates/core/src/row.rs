//! What a store keeps: keyed rows, batches of changes, and history for people.
//!
//! Recovery rests on one equality: after every commit, the state loaded from the rows equals the
//! state in memory (`Volatile` apart). A change is a put or a delete of a whole row; within a
//! batch the last one for a key wins.

mod detail;

use crate::{
    CommitSeq, Fence, RunId, Seq, TaskId, TaskIndex,
    alert::Alert,
    continuation::Continuation,
    deadlock::Deadlock,
    run::{Child, JsonText, Run, RunStatus, Task, TaskError},
    settings::{Pool, Queue},
    time::Timestamp,
    workflow::{Definition, DefinitionHash},
};
pub use detail::{Detail, Fact};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The key of a row, within a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// A workflow's validated form, shared by its runs. Pruned when no run names it.
    Definition(DefinitionHash),
    /// A run that has not ended; with its tasks if there are few.
    Run(RunId),
    /// A task of a run too large for one row. It stays when its run ends.
    Task(TaskId),
    /// A run that ended.
    Finished(RunId),
    /// A counted resource.
    Pool(String),
    /// A queue.
    Queue(String),
    /// A workflow that an operator holds: no new task of its runs starts.
    PausedWorkflow(String),
    /// Work too large for one step, with its cursor.
    Continuation(Seq),
    /// A task out of tries, whether or not its run went on without it.
    DeadLetter(TaskId),
    /// A version of a registered workflow: its name, and its place among all that were registered.
    Workflow(String, Seq),
    /// An event that failed alone.
    Quarantine(Seq),
    /// A child run of an unfinished task, by its key: live, so that the parent finds its end.
    Child(TaskId, String),
    /// A verdict of the wait graph: kept for people.
    Deadlock(Seq),
    /// An incident that is open, or that somebody is still to be told of.
    Alert(Seq),
}

/// The content of a row. Each variant belongs to the key of the same name.
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    /// See [`Key::Definition`].
    Definition(Arc<Definition>),
    /// See [`Key::Run`]. `tasks` is empty for runs too large for one row.
    Run(Box<Run>),
    /// See [`Key::Task`].
    Task(Box<Task>),
    /// See [`Key::Finished`].
    Finished(Box<FinishedRun>),
    /// See [`Key::Pool`].
    Pool(Pool),
    /// See [`Key::Queue`].
    Queue(Queue),
    /// See [`Key::PausedWorkflow`].
    PausedWorkflow(Pause),
    /// See [`Key::Continuation`].
    Continuation(Continuation),
    /// See [`Key::DeadLetter`].
    DeadLetter(DeadLetter),
    /// See [`Key::Workflow`].
    Workflow(Box<RegisteredWorkflow>),
    /// See [`Key::Quarantine`].
    Quarantine(Quarantined),
    /// See [`Key::Child`].
    Child(Child),
    /// See [`Key::Deadlock`].
    Deadlock(Box<Deadlock>),
    /// See [`Key::Alert`].
    Alert(Box<Alert>),
}

/// Who holds something back, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Who asked.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
}

/// A run that ended: its last state and a summary that lists are made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinishedRun {
    /// The final status.
    pub status: RunStatus,
    /// When it ended.
    pub ended_at: Timestamp,
    /// The commit that ended it: where its history stops.
    pub last_commit: CommitSeq,
    /// How many tasks it had.
    pub task_count: u32,
    /// The run as it was. `tasks` is empty for runs too large for one row: theirs are [`Key::Task`] rows.
    pub run: Run,
}

/// A task out of tries, kept to inspect and to start again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The task.
    pub task: TaskId,
    /// Its name in the workflow.
    pub task_name: String,
    /// The workflow's name.
    pub workflow: String,
    /// Its queue.
    pub queue: String,
    /// Attempts made.
    pub attempts: u32,
    /// Why the newest did not succeed.
    pub error: TaskError,
    /// When it was given up.
    pub at: Timestamp,
    /// Whether its workflow says what follows its failure (`on_failure`): its run may complete all the same. False in
    /// rows of before.
    #[serde(default)]
    pub handled: bool,
}

/// One version of a workflow that runs can be made of by its name.
///
/// The brain never reads it: whoever submits a run reads the document and checks it anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegisteredWorkflow {
    /// Its name.
    pub name: String,
    /// The hash of what it means.
    pub hash: DefinitionHash,
    /// The definition as it was sent: a JSON object with the keys of a workflow file.
    pub document: JsonText,
    /// When it was registered.
    pub at: Timestamp,
    /// Who did that.
    pub by: String,
}

/// An event that failed alone, kept for whoever mends the cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The event, as Rust prints it, up to 16 KiB.
    pub event: String,
    /// What went wrong.
    pub error: String,
    /// The run that it belonged to, if it came from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The program's version.
    pub version: String,
    /// When.
    pub at: Timestamp,
}

/// The counters of a namespace: one row, written with every batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The next place in any order.
    pub next_seq: Seq,
    /// The next lease's fence.
    pub next_fence: Fence,
    /// The latest moment any committed event was stamped with; the clock never reads below it.
    pub high_water: Timestamp,
}

/// One commit: everything a turn decided, all or nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Its number: one more than that of the commit before.
    pub commit: CommitSeq,
    /// The counters after it.
    pub meta: Meta,
    /// Puts (`Some`) and deletes (`None`), one per key.
    pub changes: Vec<(Key, Option<Row>)>,
    /// What happened, for people; never read back by the brain.
    pub history: Vec<HistoryEntry>,
}

/// Everything `load` returns: the live rows of a namespace.
///
/// Holds `Definition` (those that live runs name), `Run`, `Task` (of live runs), `Pool`, `Queue`,
/// `PausedWorkflow`, `Continuation`, `Child` and `Alert` rows, in key order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// The newest commit; zero in a new store.
    pub commit: CommitSeq,
    /// The counters.
    pub meta: Meta,
    /// The rows.
    pub rows: Vec<(Key, Row)>,
}

/// One line of a run's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When it happened.
    pub at: Timestamp,
    /// Whose history it belongs to.
    pub run: RunId,
    /// What happened: `RUN_SUBMITTED`, `TASK_STARTED`, `TASK_CANCELLED` …
    pub event: HistoryKind,
    /// To which task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskIndex>,
    /// The task's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    /// In which attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// What else is to be known, short.
    #[serde(default, skip_serializing_if = "Detail::is_empty")]
    pub detail: Detail,
    /// The run's first commit; tells the store how to find this line again.
    #[serde(skip)]
    pub first_commit: CommitSeq,
}

impl HistoryKind {
    /// Whether it is the last line of its run.
    pub const fn ends_run(self) -> bool {
        matches!(self, Self::RunCompleted | Self::RunFailed | Self::RunCancelled | Self::RunTimedOut)
    }
}

/// The kinds of history lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HistoryKind {
    /// A run was accepted.
    RunSubmitted,
    /// Its start time came.
    RunStarted,
    /// It was asked to end.
    RunCancelling,
    /// It ended well.
    RunCompleted,
    /// It ended because a task failed.
    RunFailed,
    /// It ended because somebody cancelled it.
    RunCancelled,
    /// It ended because its time ran out.
    RunTimedOut,
    /// An operator holds it.
    RunPaused,
    /// It goes on.
    RunResumed,
    /// Somebody sent it a signal.
    SignalReceived,
    /// One of its events failed; it is frozen.
    RunPoisoned,
    /// A task became ready.
    TaskQueued,
    /// A worker got it, with its slot, pools and locks.
    TaskGranted,
    /// The worker started it.
    TaskStarted,
    /// A task began a named wait.
    TaskWaiting,
    /// An attempt is asked to stop.
    TaskStopping,
    /// An attempt did not succeed, another follows.
    TaskRetrying,
    /// An attempt's end is unknown, or its lease ran out.
    TaskLost,
    /// It did what it should.
    TaskCompleted,
    /// It is out of tries.
    TaskFailed,
    /// It ended, or never started, because of a cancellation.
    TaskCancelled,
    /// It is not to be run.
    TaskSkipped,
    /// A report came under an old fence and was refused.
    ReportRefused,
    /// A running attempt began to wait.
    WaitBegan,
    /// An attempt's wait is over: it got what it waited for.
    WaitGranted,
    /// An attempt's wait ended otherwise.
    WaitEnded,
    /// An attempt gave units back.
    UnitsReleased,
    /// A task spawned a child run.
    ChildSpawned,
    /// A child run came to its end.
    ChildEnded,
    /// A deadlock was proved that the run is part of.
    DeadlockDetected,
    /// It stands still for too long, and is not proved dead.
    StallDetected,
    /// It moved again.
    StallEnded,
}
