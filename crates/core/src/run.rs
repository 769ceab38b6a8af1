//! Runs, tasks, attempts and their waits: the durable part of what the brain knows of one run.
//!
//! A task's status is never stored: it follows from its [`Phase`], so the two cannot disagree.

mod lease;
mod parked;
mod status;

pub use lease::{Lease, Place, StopReason, Stopping};
pub use parked::{Answered, AtDeadline, Awaited, Child, NAME_MAX, NESTING_MAX, Over, Parked, TERMS_MAX, WaitOutcome};
pub use status::{RunStatus, TaskEnd, TaskStatus};

use crate::{
    CommitSeq, RunId, Seq, TaskId, TaskIndex, row::Pause, settings::Suspect, time::Timestamp, workflow::DefinitionHash,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// Runs of up to so many tasks are one row; larger ones are a row per task beside the run's.
pub const INLINE_TASKS_MAX: usize = 16;

/// JSON kept as its text: parsed only when a template touches it, small while it waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonText(pub Box<str>);

impl JsonText {
    /// The text of a value.
    pub fn of(value: &serde_json::Value) -> Self {
        Self(value.to_string().into())
    }

    /// JSON's `null`.
    pub fn null() -> Self {
        Self("null".into())
    }

    /// The value; text that is not JSON (never stored by the core) reads as `null`.
    pub fn value(&self) -> serde_json::Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

/// One execution of a workflow that has not ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The definition pinned for its life.
    pub definition: DefinitionHash,
    /// The workflow's name.
    pub workflow: Arc<str>,
    /// The input with defaults filled in: a JSON object.
    pub input: JsonText,
    /// Labels given at submission.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Who submitted it, if they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The key under which a repeated submission finds this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
    /// The workflow file's path, for a run made from one: its folder is where tasks work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Whose child it is, if a task spawned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Box<Parent>>,
    /// Definitions of the workflows that its tasks and those of its children call, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub calls: BTreeMap<Arc<str>, DefinitionHash>,
    /// The run whose recorded completions this one took over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<RunId>,
    /// Its age among all runs.
    pub seq: Seq,
    /// The commit that first held it: where its history begins.
    pub first_commit: CommitSeq,
    /// When it was accepted.
    pub submitted_at: Timestamp,
    /// When its tasks may start; none: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<Timestamp>,
    /// Whether its tasks have been let go.
    pub started: bool,
    /// When it is TIMED_OUT at the latest: the outermost bound of every wait in it.
    pub deadline: Timestamp,
    /// Who holds it and since when, if an operator does; held runs start nothing new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
    /// Why it is frozen, if one of its events failed: only a forced cancel releases it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poisoned: Option<String>,
    /// What is bringing it to its end; nothing new starts once this is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// The signals that were sent to it, the latest of each name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub signals: BTreeMap<String, Signal>,
    /// Bytes of its tasks' outputs together.
    #[serde(default)]
    pub output_bytes: u64,
    /// When anything of it or of its tasks last changed. Zero in rows of before, until something does.
    #[serde(default)]
    pub updated_at: Timestamp,
    /// In the row of a run whose tasks are rows of their own: how many there are by status, for whoever
    /// looks at the run without reading them. None in memory, where the tasks themselves are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<TaskCounts>,
    /// Its tasks, by their place in the definition. Stored apart for runs above [`INLINE_TASKS_MAX`].
    pub tasks: Vec<Task>,
}

/// The task that spawned a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The task.
    pub task: TaskId,
    /// The key under which it knows the run.
    pub key: String,
    /// Whether the run goes on when the task ends.
    #[serde(default, skip_serializing_if = "is_false")]
    pub detached: bool,
    /// The tasks above that one that were waiting for it in turn, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub above: Vec<TaskId>,
    /// Whether somebody above holds units or a slot: what the run asks for is not held up by the order of queues.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_owed: bool,
}

impl Parent {
    /// All tasks above the run, the nearest first.
    pub fn ancestors(&self) -> impl Iterator<Item = TaskId> {
        std::iter::once(self.task).chain(self.above.iter().copied())
    }
}

/// How many of a run's tasks there are, by status.
pub type TaskCounts = BTreeMap<TaskStatus, u32>;

/// The key of a submission that must not happen twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// Chosen by the caller, up to 200 characters.
    pub key: String,
    /// Hash of what was submitted: the same key with another body is refused.
    pub body_hash: String,
}

/// A named message to a run. It stays: a task that comes to wait for it later finds it there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// What it says: the output of the tasks that wait for it.
    pub payload: JsonText,
    /// Who sent it.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Why a run is coming to its end before all its tasks ended by themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    /// The cause, which decides the final status.
    pub cause: EndCause,
    /// A sentence for people.
    pub reason: String,
    /// Who asked; `system` for failures and time-outs.
    pub by: String,
    /// When it began.
    pub since: Timestamp,
    /// Whether its attempts are fenced at once instead of walking the ladder.
    #[serde(default, skip_serializing_if = "is_false")]
    pub force: bool,
}

/// What ends a run early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// Somebody cancelled it.
    Cancelled,
    /// A task failed for good and nothing handles that.
    Failed,
    /// Its own time ran out.
    TimedOut,
}

/// One node of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Where it stands.
    pub phase: Phase,
    /// Attempts made so far; the number of the newest.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// Attempts that did not succeed, by kind.
    #[serde(default, skip_serializing_if = "Failures::is_none")]
    pub failures: Failures,
    /// Needs that are met.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub met: u32,
    /// Needs that can never be met.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub impossible: u32,
    /// Whether it stood as completed from the start, because the run takes another one further.
    #[serde(default, skip_serializing_if = "is_false")]
    pub taken_over: bool,
    /// For a fallback: whether a task that names it has failed for good.
    #[serde(default, skip_serializing_if = "is_false")]
    pub called: bool,
    /// For a fallback: how many that name it ended otherwise.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub spared: u32,
    /// Bumped by every change of its waits and holds.
    pub wait_version: u32,
    /// The last verdict that named it and left it as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Box<Told>>,
    /// What it produced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<JsonText>,
    /// Why its newest attempt did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<TaskError>>,
    /// Its newest attempt, if that lost its lease, may still be alive, and no other was granted since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspect: Option<Box<Suspect>>,
    /// When anything here last changed.
    pub updated_at: Timestamp,
}

/// That a verdict has named a task and left it as it was: as long as all whom it named stand as they did, it is not told
/// again, whoever loads the state and whichever worker comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Which verdict.
    pub verdict: Seq,
    /// How many tasks it named.
    pub of: u32,
    /// The task's `wait_version` since then.
    pub version: u32,
}

/// Attempts that did not succeed. Only `handler` counts against the user's retries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failures {
    /// The work ran and failed or timed out.
    #[serde(skip_serializing_if = "is_zero")]
    pub handler: u32,
    /// The work could not be started.
    #[serde(skip_serializing_if = "is_zero")]
    pub launch: u32,
    /// Its worker was short of something. No number of these fails a task; the pauses grow by it.
    #[serde(skip_serializing_if = "is_zero")]
    pub shortage: u32,
    /// Nobody knows how it ended.
    #[serde(skip_serializing_if = "is_zero")]
    pub lost: u32,
    /// It was stopped to resolve a deadlock.
    #[serde(skip_serializing_if = "is_zero")]
    pub victim: u32,
    /// Its worker gave it back. No failure: each time only makes the next pause longer.
    #[serde(skip_serializing_if = "is_zero")]
    pub released: u32,
}

/// Where a task stands: in a named wait, under a lease, or at its end. There is no fourth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// In a named, bounded wait.
    Waiting(Wait),
    /// A worker performs an attempt, or is about to.
    Leased(Box<Lease>),
    /// At its end, for good.
    Ended(End),
}

/// A named, bounded wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// What is waited for.
    pub on: WaitOn,
    /// Its place among all waits of the namespace; decides every order.
    pub seq: Seq,
    /// Since when.
    pub since: Timestamp,
    /// Until when at the latest.
    pub deadline: Timestamp,
    /// What happens then.
    pub on_expiry: OnExpiry,
}

/// What a task can wait for. [`crate::wait`] turns it into the nested expression of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitOn {
    /// The ends of the tasks in its `needs` (or of those that name it as fallback). Status PENDING.
    Needs,
    /// A worker's slot with its pools and locks, all at once. Status QUEUED.
    Grant,
    /// The pause before its next try. Status RETRYING.
    Backoff,
    /// Its own `sleep`. Status WAITING.
    Sleep,
    /// Its `signal`. Status WAITING.
    Signal,
    /// A person: its attempt was lost and `on_lost` is `hold`. Status WAITING.
    Decision,
    /// Word that its last attempt is gone, which may still be alive, before its next try. Status WAITING.
    Confirmation,
}

/// What happens when a wait's deadline passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExpiry {
    /// The run times out, and this wait with it.
    RunTimesOut,
    /// The task fails with this reason.
    FailTask,
    /// The task goes back to its queue.
    Requeue,
    /// The task completes.
    Complete,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The final status.
    pub status: TaskEnd,
    /// When.
    pub at: Timestamp,
    /// Why, where the status does not say it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Box<str>>,
}

/// Why an attempt did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskError {
    /// A short word: `exit`, `signal`, `timed_out`, `launch`, `lost`, `template`, `output`, `limit` …
    pub reason: String,
    /// A sentence for people, up to 2,000 characters.
    pub message: String,
    /// The exit status, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
}

/// A worker: its name and a nonce of this boot, so that a name used again is not taken for the one before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WorkerId {
    /// Chosen by its operator; `local` is the server's own.
    pub name: Arc<str>,
    /// Drawn when the worker started.
    pub boot: u64,
}

impl Run {
    /// The status people see.
    pub fn status(&self) -> RunStatus {
        match (&self.ending, self.started) {
            (Some(_), _) => RunStatus::Cancelling,
            (None, true) => RunStatus::Running,
            (None, false) => RunStatus::Pending,
        }
    }

    /// The task at `index`.
    ///
    /// # Panics
    /// If the index is not of this run's definition.
    pub fn task(&self, index: TaskIndex) -> &Task {
        &self.tasks[index.0 as usize]
    }

    /// The definitions that it needs, each once: its own, and those of the workflows that its tasks call.
    pub fn definitions(&self) -> impl Iterator<Item = &DefinitionHash> {
        let called = self.calls.values().filter(|hash| **hash != self.definition);
        std::iter::once(&self.definition).chain(called)
    }

    /// Whether its tasks are stored in its own row.
    pub fn is_inline(&self) -> bool {
        self.tasks.len() <= INLINE_TASKS_MAX
    }

    /// A task nothing has happened to yet. Large runs store no row for it, and `load` makes it again.
    pub fn untouched_task(&self) -> Task {
        Task {
            phase: Phase::Waiting(Wait {
                on: WaitOn::Needs,
                seq: self.seq,
                since: self.submitted_at,
                deadline: self.deadline,
                on_expiry: OnExpiry::RunTimesOut,
            }),
            attempts: 0,
            failures: Failures::default(),
            met: 0,
            impossible: 0,
            taken_over: false,
            called: false,
            spared: 0,
            wait_version: 0,
            told: None,
            output: None,
            error: None,
            suspect: None,
            updated_at: self.submitted_at,
        }
    }

    /// The tasks with their places.
    pub fn indexed_tasks(&self) -> impl Iterator<Item = (TaskIndex, &Task)> {
        (0u32..).map(TaskIndex).zip(&self.tasks)
    }
}

impl Task {
    /// The status people see.
    pub fn status(&self) -> TaskStatus {
        match &self.phase {
            Phase::Waiting(wait) => match wait.on {
                WaitOn::Needs => TaskStatus::Pending,
                WaitOn::Grant => TaskStatus::Queued,
                WaitOn::Backoff => TaskStatus::Retrying,
                WaitOn::Sleep | WaitOn::Signal | WaitOn::Decision | WaitOn::Confirmation => TaskStatus::Waiting,
            },
            Phase::Leased(lease) if lease.prefetched && lease.started_at.is_none() => TaskStatus::Queued,
            Phase::Leased(lease) if lease.waits() => TaskStatus::Waiting,
            Phase::Leased(_) => TaskStatus::Running,
            Phase::Ended(end) => end.status.into(),
        }
    }

    /// Its end, if it has come.
    pub fn end(&self) -> Option<&End> {
        match &self.phase {
            Phase::Ended(end) => Some(end),
            Phase::Waiting(_) | Phase::Leased(_) => None,
        }
    }

    /// Its lease, while a worker has it.
    pub fn lease(&self) -> Option<&Lease> {
        match &self.phase {
            Phase::Leased(lease) => Some(lease),
            Phase::Waiting(_) | Phase::Ended(_) => None,
        }
    }

    /// Its wait, while it is in one.
    pub fn wait(&self) -> Option<&Wait> {
        match &self.phase {
            Phase::Waiting(wait) => Some(wait),
            Phase::Leased(_) | Phase::Ended(_) => None,
        }
    }
}

impl Failures {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl WorkerId {
    /// The name of the server's own worker.
    pub const LOCAL: &'static str = "local";
    /// The name under which the brain performs tasks that are runs of other workflows. No worker has such a name.
    pub const BRAIN: &'static str = "(brain)";

    /// The brain itself.
    pub fn brain() -> Self {
        Self { name: Self::BRAIN.into(), boot: 0 }
    }

    /// Whether it is the brain itself, which has no process that could outlive it.
    pub fn is_brain(&self) -> bool {
        *self.name == *Self::BRAIN
    }

    /// Whether it is the server's own, whose attempts end with it and are reconciled at the next start.
    pub fn is_local(&self) -> bool {
        *self.name == *Self::LOCAL
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{:x}", self.name, self.boot)
    }
}

fn is_false(value: &bool) -> bool {
    !*value
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}
