//! Runs, their tasks and their history.

use crate::Moment;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A wish to execute a workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// The name of a registered workflow, or a definition with the keys of a workflow file.
    pub workflow: WorkflowChoice,
    /// Inputs by name; those that are absent take their defaults.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub input: Map<String, Value>,
    /// Labels to find the run by, beside those of the workflow.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// On whose behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Its tasks do not start before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<Moment>,
    /// The workflow file that the definition was read from, an absolute path: tasks work in its folder. Over the
    /// local socket only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Definitions of workflows that it calls, directly or not, or that its tasks say they may spawn, by name. Others are those that are registered now: the
    /// run is pinned to them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub calls: BTreeMap<String, Map<String, Value>>,
}

impl RunRequest {
    /// A wish to execute that workflow, with its defaults.
    pub fn of(workflow: WorkflowChoice) -> Self {
        Self {
            workflow,
            input: Map::new(),
            labels: BTreeMap::new(),
            client_id: None,
            start_at: None,
            source: None,
            calls: BTreeMap::new(),
        }
    }
}

/// Which workflow a run is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum WorkflowChoice {
    /// A registered one, by name; `name@HASH` is one version of it.
    Name(String),
    /// A definition.
    Inline(Map<String, Value>),
}

/// A run that exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunCreated {
    /// Its id.
    pub run_id: String,
    /// Its status; after `?wait=` as it is then.
    #[schemars(extend("enum" = super::RUN_STATUSES))]
    pub status: String,
    /// Whether it existed before, under the same `Idempotency-Key`.
    pub existing: bool,
}

/// A wish to take a run that ended further.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryRequest {
    /// Whether every task is run again; otherwise those that COMPLETED are taken over.
    pub from_scratch: bool,
}

/// One line of a list of runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunSummary {
    /// Its id.
    pub run_id: String,
    /// The workflow's name.
    pub workflow_name: String,
    /// `PENDING RUNNING CANCELLING COMPLETED FAILED CANCELLED TIMED_OUT`.
    #[schemars(extend("enum" = super::RUN_STATUSES))]
    pub status: String,
    /// Whether an operator holds it.
    pub paused: bool,
    /// When it was accepted.
    pub submitted_at: Moment,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Moment>,
    /// On whose behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The workflow file that it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The run that it takes further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<String>,
    /// The task that has spawned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spawned_by: Option<String>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// What lists show of it.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// The hash of the workflow's content, pinned for its life.
    pub workflow_hash: String,
    /// Its inputs, defaults filled in.
    pub input: Value,
    /// When its tasks may start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<Moment>,
    /// When it is TIMED_OUT at the latest.
    pub deadline: Moment,
    /// When anything of it or of its tasks last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Moment>,
    /// Why it is frozen: one of its events failed. Only `DELETE …/cancel` ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poisoned: Option<String>,
    /// What brings it to its end before its tasks ended by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// The signals that were sent to it, the latest of each name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub signals: BTreeMap<String, Signal>,
    /// How many tasks it has.
    pub task_count: u64,
    /// How many there are by status.
    pub tasks: BTreeMap<String, u64>,
    /// The newest commit that this was read from.
    pub as_of: u64,
    /// Whether that is durable. False: the store does not answer, this is what the brain knows.
    pub durable: bool,
}

/// A signal that a run has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Signal {
    /// What it says: the output of the tasks that wait for it.
    #[serde(default)]
    pub payload: Value,
    /// Who sent it.
    pub by: String,
    /// When.
    pub at: Moment,
}

/// What a signal says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignalRequest {
    /// The output of the tasks that wait for it; null if nothing is said.
    #[serde(default)]
    pub payload: Value,
}

/// A signal is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignalSent {
    /// The run.
    pub run_id: String,
    /// The signal's name.
    pub signal: String,
    /// Whether a task of its workflow waits for a signal of that name, sooner or later.
    pub is_named: bool,
}

/// Why a run comes to its end early.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ending {
    /// `cancelled failed timed_out`.
    #[schemars(extend("enum" = ["cancelled", "failed", "timed_out"]))]
    pub cause: String,
    /// For people.
    pub reason: String,
    /// Who asked; `system` for failures and time-outs.
    pub by: String,
    /// Since when.
    pub since: Moment,
    /// Whether its attempts are given up at once.
    pub force: bool,
}

/// A task of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// Its id.
    pub task_id: String,
    /// Its name in the workflow.
    pub name: String,
    /// `PENDING QUEUED RUNNING WAITING RETRYING COMPLETED FAILED CANCELLED SKIPPED`.
    #[schemars(extend("enum" = super::TASK_STATUSES))]
    pub status: String,
    /// Attempts made so far.
    pub attempts: u32,
    /// Attempts that did not succeed, by kind.
    pub failures: Failures,
    /// What it waits for, unless a worker has it or it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Wait>,
    /// Who performs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// What it produced. A `null` that is there is an output as well.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Why its newest attempt did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TaskError>,
    /// Why it ended as it did, where the status does not say it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Moment>,
    /// When anything here last changed.
    pub updated_at: Moment,
}

/// A value that is there, `null` as well: read as usual, that would be none.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// A file that a task left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    /// Its path below `artifacts/`.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Attempts that did not succeed; only `handler` counts against the task's own retries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failures {
    /// The work ran and failed.
    pub handler: u32,
    /// It could not be started.
    pub launch: u32,
    /// Nobody knows how it ended.
    pub lost: u32,
    /// It was stopped to resolve a deadlock.
    pub victim: u32,
    /// Its worker's machine was short of something, such as room on its disk.
    pub shortage: u32,
    /// Its worker gave it back.
    pub released: u32,
}

/// A named, bounded wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Wait {
    /// `needs grant backoff sleep decision …`.
    pub on: String,
    /// Since when.
    pub since: Moment,
    /// Until when at the latest.
    pub deadline: Moment,
    /// What happens then: `run_times_out fail_task requeue complete …`.
    pub then: String,
    /// Which other tasks it waits for, if its wait is on `needs`; absent where the server cannot tell now, and in
    /// answers about very many tasks with very many needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Needs>,
    /// Which signal it waits for, if its wait is on `signal`; absent where the server cannot tell now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// What it waits for, to be read behind the task's name, as lists of waits say it: `waits for a worker's slot (4 of 4
    /// taken)`. Absent for waits on `needs`, whose `needs` say it, and where the server cannot tell now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentence: Option<String>,
}

/// Why an unfinished run or task does not go on, followed down to whoever can move it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Why {
    /// The run's or the task's id.
    pub id: String,
    /// The workflow's name, or the task's.
    pub name: String,
    /// What it waits for, to be read behind its name.
    pub sentence: String,
    /// Since when.
    pub since: Moment,
    /// Until when at the latest; absent for a frozen run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
    /// What happens then, to be read behind `then`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<String>,
    /// Who can move it: `causes` (those below), `nobody` (it is deadlocked), `deadlock` (nobody, while those can never
    /// move that it waits for), `time`, `worker` (performs it), `signal`,
    /// `decision`, `confirmation`, `resume_run`, `resume_workflow`, `resume_queue`, `new_worker`, `resize` (a pool),
    /// `server`, `force`, `brain`.
    pub mover: String,
    /// The name that belongs to that: of a worker, a signal, a queue, a pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mover_name: Option<String>,
    /// What stands in its way, each with its own reasons: the oldest first, up to five.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Why>,
    /// How many more there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u64,
    /// Whether what stands in its way is told elsewhere in this answer, or left out because that is long already.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_cut: bool,
    /// The deadlocks and orphaned waits among those that are told; only of what was asked about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dead_ends: Vec<DeadEnd>,
    /// The newest verdicts that its run was part of, or one that this started; only of what was asked about. Absent while the
    /// store does not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<VerdictRef>,
}

/// Tasks that can never move, behind which others wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadEnd {
    /// What they are: `deadlocked` or `orphaned`.
    #[schemars(extend("enum" = super::VERDICT_KINDS))]
    pub kind: String,
    /// Who they are, for people.
    pub name: String,
    /// Their ids.
    pub tasks: Vec<String>,
    /// The verdict that told of them, if it left them as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// What ends it, if they hold up one another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<CancelAdvice>,
}

/// Runs whose cancellation ends a deadlock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CancelAdvice {
    /// Which: together.
    pub runs: Vec<String>,
    /// Whether that ends all who are deadlocked: they are all of these runs, or of runs that these started. Else the
    /// others go on.
    pub ends_all: bool,
}

/// A verdict that a run was part of, or one that it started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerdictRef {
    /// Its id: `dl_7`.
    pub id: String,
    /// What it says: see verdicts.
    #[schemars(extend("enum" = super::VERDICT_KINDS))]
    pub kind: String,
    /// When it was made.
    pub at: Moment,
    /// When those that stood still had moved, as the monitor saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Moment>,
    /// What was done.
    #[schemars(extend("enum" = super::VERDICT_OUTCOMES))]
    pub outcome: String,
    /// Whether it is about a run that this one started, at some depth, and not about this one itself.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_below: bool,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// The other tasks of its run that a task waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Needs {
    /// The names of those that have not ended, in the order of the task's `needs`: the first eight.
    pub names: Vec<String>,
    /// How many have not ended.
    pub open: u64,
    /// How many of these have still to end as the task needs them to.
    pub missing: u64,
    /// Which end is waited for: `success end failure`.
    #[schemars(extend("enum" = ["success", "end", "failure"]))]
    pub until: String,
}

/// A worker's right to an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lease {
    /// The worker's name.
    pub worker: String,
    /// Reports under an older one are refused.
    pub fence: u64,
    /// Units that it holds, by pool or lock.
    pub holds: BTreeMap<String, u32>,
    /// When it was granted.
    pub granted_at: Moment,
    /// When the worker started the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Moment>,
    /// When the attempt is out of time.
    pub deadline: Moment,
    /// What it asked for and waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<AttemptWait>,
    /// Set once it is being stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping: Option<Stopping>,
}

/// A wait of a running attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptWait {
    /// Its name.
    pub name: String,
    /// Since when.
    pub since: Moment,
    /// Until when at the latest.
    pub deadline: Moment,
    /// For what, to be read behind the task's name: ``waits for lock `gpu` ``. Absent where the server cannot tell now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentence: Option<String>,
}

/// An attempt on its way down the ladder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stopping {
    /// `cancelled run_ending timed_out heartbeat`.
    pub reason: String,
    /// Since when.
    pub since: Moment,
    /// When it is given up, whatever the worker says.
    pub fenced_at: Moment,
}

/// Why an attempt did not succeed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskError {
    /// A short word: `exit signal timed_out launch lost …`.
    pub reason: String,
    /// For people.
    pub message: String,
    /// The exit status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
}

/// A line of a run's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Its place; give it as `after` or `Last-Event-ID` to go on behind it.
    pub id: String,
    /// When.
    pub at: Moment,
    /// What: `RUN_SUBMITTED TASK_STARTED TASK_CANCELLED …`.
    pub event: String,
    /// To which task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// The task's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// In which attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// What else is to be known.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_output_that_is_null_is_an_output() {
        let mut told = json!({
            "task_id": "task_0.1", "name": "a", "status": "COMPLETED", "attempts": 1, "output": null,
            "failures": {"handler": 0, "launch": 0, "lost": 0, "victim": 0, "shortage": 0, "released": 0},
            "updated_at": "2026-11-03T14:02:11Z",
        });
        let read = |told: &Value| serde_json::from_value::<Task>(told.clone()).expect("the form of the API");
        assert_eq!(read(&told).output, Some(Value::Null));
        assert!(json!(read(&told)).as_object().is_some_and(|told| told.contains_key("output")));
        told.as_object_mut().expect("an object").remove("output");
        assert_eq!(read(&told).output, None);
    }
}
