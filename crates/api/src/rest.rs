//! The wire types of the HTTP API: what callers send, and what they are told.
//!
//! Names that operators of the older systems type (`run_id`, `cancelled_at`, `cancelled_by` …) are kept. Moments are RFC 3339
//! in UTC; lengths and sizes carry their unit in the key. New keys may be added to what is told; what is sent is
//! refused if a key is unknown.

mod admin;
mod alert;
mod attempt;
mod cancel;
mod run;
mod verdict;
mod wait_for;

pub use admin::{
    BulkAction, BulkFilter, BulkRequest, BulkResult, DeadLetter, DeadlockCounts, DeadlockMonitor, Decision,
    DecisionRequest, Graph, Health, HealthState, Paused, Pool, PoolRemoved, PoolRequest, PoolShare, Progress, Proof,
    ProofVerdict, Queue, QueueSettings, Registered, RegisteredVersion, Registration, Stats, WaitGraph, Worker,
};
pub use alert::{Alert, AlertState, AlertTarget, AlertTestRequest, AlertTested};
pub use attempt::{
    AtDeadline, ChildRun, EndedChild, ReleaseRequest, SpawnRequest, Spawned, WaitOutcome, WaitRequest, WaitResult,
};
pub use cancel::{CancelRequest, CancelStatus, Cancelled, Cancelling};
pub use run::{
    Artifact, AttemptWait, CancelAdvice, DeadEnd, Ending, Event, Failures, Lease, Needs, RetryRequest, Run, RunCreated,
    RunRequest, RunSummary, Signal, SignalRequest, SignalSent, Stopping, Task, TaskError, VerdictRef, Wait, Why,
    WorkflowChoice,
};
pub use verdict::{
    LiveWait, LiveWaits, MarkRequest, MarkWord, ScanReport, Suspected, VERDICT_KINDS, VERDICT_OUTCOMES, Verdict,
    VerdictMark, VerdictMember, VerdictSummary,
};
pub use wait_for::{ChildEnd, WaitFor};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The words for the status of a run.
pub const RUN_STATUSES: [&str; 7] =
    ["PENDING", "RUNNING", "CANCELLING", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"];

/// The words for the status of a task.
pub const TASK_STATUSES: [&str; 9] =
    ["PENDING", "QUEUED", "RUNNING", "WAITING", "RETRYING", "COMPLETED", "FAILED", "CANCELLED", "SKIPPED"];

/// A part of a list, and where it goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Give this as `after` for the next part. Absent: that was all. A part may be empty and still go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Why a request was not carried out (RFC 9457, `application/problem+json`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The page that explains the code.
    #[serde(rename = "type")]
    pub type_: String,
    /// What kind of problem it is.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The code, for programs: `UK0404`.
    pub code: String,
    /// What happened this time, and what to do.
    pub detail: String,
    /// What is wrong with a workflow or an input, place by place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Finding>,
}

impl Problem {
    /// The code by which an attempt is told that it gets nothing any more: it is being stopped, or has its lease no more.
    pub const ATTEMPT_OVER: &str = "UK0431";
    /// The code by which it is told that it waits already for something else: one wait at a time.
    pub const WAITS_ALREADY: &str = "UK0432";
}

/// One thing wrong in a document that was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The rule's code.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// Where: `tasks.b.needs[1]`.
    pub path: String,
    /// Line from 1; 0 where there are no lines.
    pub line: u32,
    /// Column from 1.
    pub column: u32,
    /// What was expected instead, or what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}
