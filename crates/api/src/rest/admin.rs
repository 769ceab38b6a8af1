//! What operators look at and decide: queues, pools, workers, dead letters, registered workflows, health.

use super::TaskError;
use crate::{Moment, workflow::OnDeadlock};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Who holds something back, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Paused {
    /// Who asked.
    pub by: String,
    /// Since when.
    pub since: Moment,
}

/// A queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Tasks that stand in it.
    pub size: u64,
    /// Since when the oldest of them stands there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_since: Option<Moment>,
    /// Set while an operator holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// Its configuration.
    pub settings: QueueSettings,
}

/// A queue's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QueueSettings {
    /// Most tasks that may stand in it.
    pub max_queue_size: u32,
    /// Term of a remote worker's lease, in milliseconds.
    pub visibility_timeout_ms: u64,
    /// Retries of tasks that say nothing and whose kind retries.
    pub max_retries: u32,
    /// After so long a task counts as high, in milliseconds.
    pub low_counts_as_high_after_ms: u64,
}

/// A pool or lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Units there are. Fewer than are held: it was made smaller, and nothing more is granted until enough is given back.
    pub size: u32,
    /// Units that attempts hold.
    pub held: u32,
    /// Whether an attempt that waits for runs that it spawned lends them what it holds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lend: bool,
    /// What is done about a deadlock whose victim holds units of it; none: as is usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_deadlock: Option<OnDeadlock>,
    /// Whether it is a lock that was made by its first use. Of more than 1,000 such, those go that are nobody's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_first_use: bool,
    /// Why it is closed: a holder could not be confirmed dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poisoned: Option<String>,
    /// How many tasks and attempts wait for some.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waiting: u64,
    /// Who holds some, the longest first: at most 100. What is lent is held by its lender alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<PoolShare>,
    /// Who waits for some, the first first: at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiters: Vec<PoolShare>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What a task holds of a pool, or waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolShare {
    /// Which task.
    pub task_id: String,
    /// Of which run.
    pub run_id: String,
    /// The task's name.
    pub task: String,
    /// The name of its workflow.
    pub workflow_name: String,
    /// How many units.
    pub units: u32,
    /// Since when: of a holder, since its attempt was granted.
    pub since: Moment,
}

/// What a pool is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolRequest {
    /// Units, at least 1. Fewer than are held now takes nothing away: nothing more is granted until enough is given back.
    #[schemars(range(min = 1))]
    pub size: u32,
    /// Whether an attempt that waits for runs that it spawned lends them what it holds; without it that stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lend: Option<bool>,
    /// What is done about a deadlock whose victim holds units of it, unless its workflow says; without it that stays as
    /// it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_deadlock: Option<OnDeadlock>,
}

/// A pool that is no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolRemoved {
    /// Its name.
    pub name: String,
    /// Whether the configuration names it: then it comes back at the next start or reload.
    pub is_configured: bool,
}

/// A worker that is connected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Worker {
    /// Its name.
    pub name: String,
    /// Drawn when it started, in hexadecimal: a name that is used again is another worker.
    pub boot: String,
    /// Attempts that it performs at once.
    pub slots: u32,
    /// Leases that it has.
    pub leases: u32,
    /// Tasks of these queues are given to it; absent: of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queues: Option<Vec<String>>,
    /// The kinds of work that it knows: `exec`, `http`, `noop`.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// Handlers that it has, for `worker` tasks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handlers: Vec<String>,
    /// What people should know of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A task out of tries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetter {
    /// Which task.
    pub task_id: String,
    /// Of which run.
    pub run_id: String,
    /// The task's name.
    pub task: String,
    /// The workflow's name.
    pub workflow_name: String,
    /// The task's queue.
    pub queue: String,
    /// Attempts made.
    pub attempts: u32,
    /// Why the newest did not succeed.
    pub error: TaskError,
    /// When it was given up.
    pub at: Moment,
    /// Whether its workflow says what follows its failure (`on_failure`): its run may complete all the same.
    #[serde(default)]
    pub handled: bool,
    /// The status of its run now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = super::RUN_STATUSES))]
    pub run_status: Option<String>,
}

/// A workflow to be kept under its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// A definition with the keys of a workflow file; its `name` is the name.
    pub workflow: Map<String, Value>,
}

/// A registered workflow with its newest versions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Registered {
    /// Its name.
    pub name: String,
    /// The hash of the version that runs are made of.
    pub hash: String,
    /// Its versions, the newest first.
    pub versions: Vec<RegisteredVersion>,
    /// What may still surprise its author.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<super::Finding>,
    /// Whether runs can wait for each other for ever, in the answer to a registration; none: it was not judged in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
}

/// Whether runs of a workflow, beside those of all others that are registered, can wait for each other for ever.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Proof {
    /// What was found out.
    pub verdict: ProofVerdict,
    /// The same in words, a line each: the rule, or the smallest scenario and what to change, or what is not known.
    pub said: Vec<String>,
}

/// What is proved of a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProofVerdict {
    /// Nothing that is declared can wait for ever.
    Safe,
    /// Runs can wait for each other for ever.
    Unsafe,
    /// It cannot be told; the live detector watches.
    Unknown,
}

/// One version of a registered workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RegisteredVersion {
    /// The hash of its content.
    pub hash: String,
    /// When it was registered.
    pub registered_at: Moment,
    /// Who did that.
    pub by: String,
}

/// Whether work makes progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// It does.
    Ok,
    /// It does not, or not durably; `reasons` say why.
    Failing,
}

/// The deadlock monitor, as its operators know it from `/health`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadlockMonitor {
    /// Whether it looks at all.
    pub running: bool,
    /// Seconds between two looks.
    pub check_interval_s: u64,
    /// Seconds after which a task that only the outside can move, or that is not served, is reported.
    pub pending_stale_s: u64,
    /// Whether a deadlock is resolved without asking.
    pub cancel_on_deadlock: bool,
    /// Whether findings are sent anywhere.
    pub alert_webhook_configured: bool,
    /// When it last looked; null: never since the start.
    pub last_scan: Option<Moment>,
}

/// What the deadlock monitor has done since the start, as its operators know it from `/stats`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadlockCounts {
    /// Deadlocks that it found.
    pub deadlocks_detected: u64,
    /// Runs that it cancelled.
    pub workflows_cancelled: u64,
    /// Findings that were sent.
    pub alerts_sent: u64,
    /// From a deadlock to its finding, in seconds; 0 while none was found.
    pub avg_detection_time_s: f64,
    /// Looks that failed.
    pub scan_errors: u64,
}

/// How the brain gets on, as the watcher sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// Its turns since the start.
    pub turns: u64,
    /// Milliseconds since the last one.
    pub last_turn_ms_ago: u64,
    /// Since when it is late: it takes two turns a second when nothing happens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_since: Option<Moment>,
    /// The newest durable commit.
    pub durable_commit: u64,
    /// Events that wait for it.
    pub backlog: u64,
    /// Since when the store owes it an answer; there is none most of the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_asked_at: Option<Moment>,
    /// Since when nothing can be committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cannot_commit_since: Option<Moment>,
}

/// What `/health` says; out of memory that nobody locks, so that it answers whatever hangs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// The verdict; the HTTP status is 200 or 503 with it.
    pub status: HealthState,
    /// What is wrong, one sentence each.
    pub reasons: Vec<String>,
    /// The program's version.
    pub version: String,
    /// Milliseconds since the brain's last turn.
    pub last_turn_ms_ago: u64,
    /// Since when the brain is late, as the watcher sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_since: Option<Moment>,
    /// The newest durable commit.
    pub durable_commit: u64,
    /// Events that wait for the brain.
    pub backlog: u64,
    /// Since when nothing can be committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cannot_commit_since: Option<Moment>,
    /// The deadlock monitor.
    #[serde(default)]
    pub deadlock_monitor: DeadlockMonitor,
}

/// Counts since the start of the store and of the process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    /// Runs that have not ended.
    pub unfinished_runs: u64,
    /// Their tasks that have not ended.
    pub unfinished_tasks: u64,
    /// Runs that ended and are kept, by status. Absent while the store does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_runs: Option<BTreeMap<String, u64>>,
    /// Tasks out of tries that are kept. Absent while the store does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<u64>,
    /// Those of them whose workflow says what follows their failure; of more than 10,000, not all are looked at for that.
    /// Absent while the store does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handled_dead_letters: Option<u64>,
    /// Events that failed alone and are kept. Absent while the store does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<u64>,
    /// Queues by name.
    pub queues: BTreeMap<String, Queue>,
    /// Workflows that an operator holds, also such as have no run yet.
    #[serde(default)]
    pub paused_workflows: BTreeMap<String, Paused>,
    /// Pools and locks by name.
    pub pools: BTreeMap<String, Pool>,
    /// Workers that are connected.
    pub workers: Vec<Worker>,
    /// Reports that came too late and were refused, since the process started.
    pub refused_reports: u64,
    /// How the brain gets on.
    #[serde(default)]
    pub progress: Progress,
    /// What the deadlock monitor has done.
    #[serde(default)]
    pub deadlock_monitor: DeadlockCounts,
}

/// What is to be done with every run that a filter finds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkRequest {
    /// What.
    pub action: BulkAction,
    /// With which runs; all conditions must hold, and one at least must be given.
    #[serde(deserialize_with = "object")]
    pub filter: BulkFilter,
    /// Whether only to say which.
    #[serde(default)]
    pub dry_run: bool,
    /// Why, for cancellations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1_000))]
    pub reason: Option<String>,
    /// The `next` of the answer before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// A structure that is written as an object, not as a list of its fields.
fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<T, D::Error> {
    let fields = Map::<String, Value>::deserialize(from)?;
    T::deserialize(Value::Object(fields)).map_err(serde::de::Error::custom)
}

/// What can be done with many runs at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BulkAction {
    /// End those that have not ended.
    Cancel,
    /// Take those further that ended otherwise than COMPLETED.
    Retry,
    /// Take those further that left dead letters.
    Redrive,
}

/// Which runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BulkFilter {
    /// With this status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Of this workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// Of this client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// With this label: `name=value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Submitted at this moment or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
    /// Submitted before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
}

/// What became of many runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BulkResult {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// The runs that were found.
    pub matched: Vec<String>,
    /// New runs, by the run that each takes further.
    pub created: BTreeMap<String, String>,
    /// Why it was not done, by run.
    pub failed: BTreeMap<String, String>,
    /// Give this as `after` to go on: more runs may match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a person says about a task whose attempt was lost, or may still be alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionRequest {
    /// What becomes of it.
    pub decision: Decision,
}

/// What can become of a task that waits for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It is tried again.
    Retry,
    /// It counts as failed.
    Fail,
}

/// Who waits for what, and who holds it, as of a commit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WaitGraph {
    /// The graph.
    #[serde(flatten)]
    pub graph: Graph,
    /// The newest commit that it was read from.
    pub as_of: u64,
}

/// Who waits for what, and who holds it: the exchange format of wait graphs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Graph {
    /// Runs and tasks: `id`, `state`, and perhaps `gen`, `version`.
    pub nodes: Vec<Map<String, Value>>,
    /// Pools, locks, slots of workers, places within `max_parallel`: `id`, `units`, `queue`.
    pub resources: Vec<Map<String, Value>>,
    /// Signals and what else only the outside brings: `id`, `available`, `producers`, `external`.
    pub consumables: Vec<Map<String, Value>>,
    /// `node`, `resource`, `units`.
    pub holds: Vec<Map<String, Value>>,
    /// `node`, `expr`, `since` (Unix milliseconds), `deadline_s`; in the order of queues.
    pub waits: Vec<Map<String, Value>>,
}
