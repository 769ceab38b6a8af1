//! Verdicts of the wait graph, as they are kept for people: what stood still, why, and what was done about it.

use crate::{
    RunId, Seq, TaskId,
    time::Timestamp,
    wait::{Repair, Snapshot},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Nodes of a stored graph beside the core; the rest is counted.
pub const GRAPH_NODES_MAX: usize = 1_000;

/// A verdict with its reasons, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deadlock {
    /// Its place in the namespace's order; printed `dl_7`.
    pub seq: Seq,
    /// What was found.
    pub kind: Finding,
    /// When.
    pub at: Timestamp,
    /// The moment of the wait that closed it: what it took to find it is counted from there.
    pub closed_at: Timestamp,
    /// Who is part of its cause, in the order of the cycle where there is one.
    pub members: Vec<Member>,
    /// Tasks and runs that wait behind them, and are not among them.
    pub behind: usize,
    /// Sentences for people, the shortest cycle first.
    pub explanation: Vec<String>,
    /// The graph that was judged, cut to the cause and up to [`GRAPH_NODES_MAX`] others.
    pub graph: Snapshot,
    /// Whose end would let all others go on.
    pub victims: Vec<TaskId>,
    /// Whether no smaller or cheaper set of victims would do.
    pub exact: bool,
    /// What would let those go on whom nobody can, without a victim.
    pub repairs: Vec<Repair>,
    /// What the configuration says is to be done.
    pub policy: Policy,
    /// What was done.
    pub outcome: Outcome,
    /// Somebody's word that the verdict was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_positive: Option<Mark>,
}

/// What a verdict says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// They can never move, whatever running work and the outside do: proved.
    Deadlocked,
    /// Nobody can end their wait any more: a repair helps, no victim.
    Orphaned,
    /// Only the outside can move them, or a holder is silent past its bound.
    Stalled,
    /// They could move, but others overtake them or no worker serves their queue.
    Starved,
}

/// Somebody who is part of a verdict's cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The task; its id in the graph.
    pub task: TaskId,
    /// Its name.
    pub name: Arc<str>,
    /// Its workflow's name.
    pub workflow: Arc<str>,
    /// Its current try; 0: none was made.
    pub attempt: u32,
    /// Its `wait_version` when it was judged: what has another one has moved since.
    pub version: u32,
    /// What it waits for, to be read after its name.
    pub sentence: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when at the latest.
    pub deadline: Timestamp,
    /// What it holds, for people: `lock gpu`, `2 of 4 units of pool render`.
    pub holds: Vec<String>,
}

/// What is done about a proved deadlock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The victim's attempt is stopped and made again; its run is cancelled where that may not be, or was in vain.
    #[default]
    Retry,
    /// The victim's run is cancelled.
    Cancel,
    /// Nothing: somebody is told.
    Alert,
}

/// What was done about a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Somebody was told, nothing else.
    Reported,
    /// These attempts were stopped, to be made again.
    Retried(Vec<TaskId>),
    /// These runs were cancelled.
    Cancelled(Vec<RunId>),
}

/// Somebody's word that a verdict was wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
