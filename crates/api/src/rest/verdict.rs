//! Verdicts about work that stands still: what lists show of them, all of one, and what is said of them.

use super::{CancelAdvice, Graph};
use crate::Moment;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The words for what a verdict says.
pub const VERDICT_KINDS: [&str; 4] = ["deadlocked", "orphaned", "stalled", "starved"];

/// The words for what was done about a verdict.
pub const VERDICT_OUTCOMES: [&str; 3] = ["reported", "retried", "cancelled"];

/// A verdict, as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VerdictSummary {
    /// Its id: `dl_7`.
    pub id: String,
    /// `deadlocked`: proved, they can never move. `orphaned`: proved, nobody can end their wait any more. `stalled`: only
    /// the outside moves them, or nothing has happened for long. `starved`: others are served before them, or nobody
    /// serves them.
    #[schemars(extend("enum" = VERDICT_KINDS))]
    pub kind: String,
    /// When it was made.
    pub at: Moment,
    /// When those that stood still had moved, as the monitor saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Moment>,
    /// The runs that it is about.
    pub runs: Vec<String>,
    /// The runs above these, which started them or those that did, up to 50 levels up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub above: Vec<String>,
    /// The workflows of the runs that it is about, each name once.
    pub workflows: Vec<String>,
    /// Tasks that are its cause, as far as they are listed.
    pub tasks: u64,
    /// Tasks and runs that wait behind these, or with them.
    pub behind: u64,
    /// Its first sentence.
    pub summary: String,
    /// What the configuration says is done: `retry`, `cancel`, `alert`.
    pub policy: String,
    /// What was done.
    #[schemars(extend("enum" = VERDICT_OUTCOMES))]
    pub outcome: String,
    /// Somebody's word that it was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_positive: Option<VerdictMark>,
}

/// All that is kept of a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// What lists show of it.
    #[serde(flatten)]
    pub summary: VerdictSummary,
    /// The moment of the wait that closed it, or at which its bound had passed.
    pub closed_at: Moment,
    /// Who is its cause, in the order of the cycle where there is one.
    pub members: Vec<VerdictMember>,
    /// What it says, for people.
    pub explanation: Vec<String>,
    /// The graph that was judged, in the exchange format, cut to the cause and up to 1,000 others.
    pub graph: Graph,
    /// Tasks whose end would let all others go on.
    pub victims: Vec<String>,
    /// Whether no smaller or cheaper set of victims would do.
    pub exact: bool,
    /// What would let those go on whom nobody can: `node`, `remedy`, `sentence` and what belongs to the remedy.
    pub repairs: Vec<Map<String, Value>>,
    /// What a person can do about a deadlock that was left as it is; absent for other kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<CancelAdvice>,
    /// Tasks whose attempts were stopped, to be made again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retried: Vec<String>,
    /// Runs that were cancelled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cancelled: Vec<String>,
}

/// A task that is part of a verdict's cause, as it stood then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VerdictMember {
    /// Which.
    pub task_id: String,
    /// Of which run.
    pub run_id: String,
    /// The task's name.
    pub name: String,
    /// Its workflow's name.
    pub workflow_name: String,
    /// The attempt; 0: none was made.
    pub attempt: u32,
    /// Bumped by any change of its waits and holds: what has another one has moved since.
    pub version: u32,
    /// What it waited for, to be read after its name.
    pub sentence: String,
    /// Since when.
    pub since: Moment,
    /// Until when at the latest.
    pub deadline: Moment,
    /// What it held, for people.
    pub holds: Vec<String>,
}

/// Somebody's word that a verdict was wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerdictMark {
    /// Who.
    pub by: String,
    /// When.
    pub at: Moment,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What somebody says about a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkRequest {
    /// What.
    pub mark: MarkWord,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1_000))]
    pub note: Option<String>,
}

/// What can be said about a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MarkWord {
    /// That it was wrong: they moved, or would have.
    FalsePositive,
    /// Nothing; what was said before is taken back.
    None,
}

/// What a manual scan found. Nothing was done about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScanReport {
    /// What the whole graph is: `moving`, `stalled`, `soft`, `deadlocked`.
    pub verdict: String,
    /// As of when.
    pub at: Moment,
    /// The newest commit that it was read from.
    pub as_of: u64,
    /// Runs that stand still: those proved dead first, each cause by itself; then those that wait behind these;
    /// then those that have stood still longest.
    pub found: Vec<Suspected>,
}

/// A run that stands still.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Suspected {
    /// Which.
    pub run_id: String,
    /// Its workflow's name.
    pub workflow_name: String,
    /// As of verdicts.
    #[schemars(extend("enum" = VERDICT_KINDS))]
    pub kind: String,
    /// How many of its tasks stand still.
    pub tasks: u64,
    /// When anything last changed in it.
    pub last_update: Moment,
    /// Sentences for people.
    pub explanation: Vec<String>,
    /// The number, in this answer, of the deadlock or orphaned wait that it is part of: runs with the same one hold up one
    /// another. Absent for those that only stand still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<u64>,
    /// The numbers of those that it waits behind, and is no part of; it is `stalled` by them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub behind: Vec<u64>,
}

/// A task that waits now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LiveWait {
    /// Which.
    pub task_id: String,
    /// Its name.
    pub name: String,
    /// Its run.
    pub run_id: String,
    /// The run's workflow.
    pub workflow_name: String,
    /// What it waits for, to be read after its name.
    pub sentence: String,
    /// Since when.
    pub since: Moment,
    /// The end of this that nothing else brings; absent for a frozen run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
    /// What happens then, to be read after `then`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<String>,
    /// Who can move it: `causes` (those that it waits for), `nobody` (it is deadlocked), `deadlock` (nobody, while those
    /// can never move that it waits for), `time`, `worker`,
    /// `signal`, `decision`, `confirmation`, `resume_run`, `resume_workflow`, `resume_queue`, `new_worker`, `resize`, `server`, `force`, `brain`.
    pub mover: String,
    /// The name that belongs to that, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mover_name: Option<String>,
}

/// Tasks that wait now, the longest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LiveWaits {
    /// How many wait in all.
    pub total: u64,
    /// The first of them.
    pub waits: Vec<LiveWait>,
    /// The newest commit that it was read from.
    pub as_of: u64,
}
