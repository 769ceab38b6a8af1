//! Verdicts of the wait graph, as they are kept for people: what stood still, why, and what was done about it.

use crate::{
    RunId, Seq, State, TaskId,
    run::Task,
    time::Timestamp,
    wait::{Analysis, Cancel, Repair, Snapshot, describe},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, str::FromStr, sync::Arc};

/// Nodes of a stored graph beside the core; the rest is counted.
pub const GRAPH_NODES_MAX: usize = 1_000;
/// Members of a verdict that are listed.
pub(crate) const MEMBERS_MAX: usize = 100;

/// How far up from a run that a verdict is about those are told of it that started it.
pub const ABOVE_MAX: usize = 50;

/// The reason of a run that is cancelled to end a deadlock.
pub const AUTO_CANCEL: &str = "auto-cancel: deadlock detected";

/// A verdict's number, printed `dl_7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VerdictId(pub Seq);

impl fmt::Display for VerdictId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dl_{}", self.0.0)
    }
}

impl FromStr for VerdictId {
    type Err = crate::id::ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("dl_").filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
        let number = digits.and_then(|digits| digits.parse().ok());
        number.map(|number| Self(Seq(number))).ok_or_else(|| Self::Err::new(text, "a verdict's id (`dl_7`)"))
    }
}

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
    /// The runs above theirs: those whose tasks started these, and so on up; the nearest [`ABOVE_MAX`] of each. None of
    /// them need wait.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub above: BTreeSet<RunId>,
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
    /// What a person can do about it who finds it as it was left; nothing where something was done, or for what is not
    /// deadlocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<Cancel>,
    /// What the configuration says is to be done.
    pub policy: Policy,
    /// What was done.
    pub outcome: Outcome,
    /// Somebody's word that the verdict was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_positive: Option<Mark>,
    /// When those that stood still had moved again, as the monitor saw it; none: it has not seen that yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
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

impl Deadlock {
    /// Whether it is about this run, or about one that it started, at some depth.
    pub fn concerns(&self, run: RunId) -> bool {
        self.above.contains(&run) || self.members.iter().any(|member| member.task.run == run)
    }

    /// The runs that it is about, each once.
    pub fn runs(&self) -> BTreeSet<RunId> {
        self.members.iter().map(|member| member.task.run).collect()
    }
}

impl Finding {
    /// All of them, the worst first.
    pub const ALL: [Self; 4] = [Self::Deadlocked, Self::Orphaned, Self::Stalled, Self::Starved];

    /// What a graph in which somebody is dead was found to be: orphaned, if nobody in the cause waits for anything that
    /// those who are there could still give.
    pub(crate) fn of(analysis: &Analysis) -> Self {
        let orphans = analysis.orphans();
        let is_orphaned = analysis.verdict.core.iter().all(|id| orphans.contains(id.as_str()));
        if is_orphaned { Self::Orphaned } else { Self::Deadlocked }
    }

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Deadlocked => "deadlocked",
            Self::Orphaned => "orphaned",
            Self::Stalled => "stalled",
            Self::Starved => "starved",
        }
    }

    /// Whether it is proved on the graph: time plays no part in it.
    pub const fn is_proved(self) -> bool {
        matches!(self, Self::Deadlocked | Self::Orphaned)
    }
}

impl Outcome {
    /// The words of all of them.
    pub const WORDS: [&'static str; 3] = ["reported", "retried", "cancelled"];

    /// Its word.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Retried(_) => "retried",
            Self::Cancelled(_) => "cancelled",
        }
    }
}

impl Member {
    /// A task as it stands; nothing if its run has ended.
    pub(crate) fn of(state: &State, id: TaskId) -> Option<Self> {
        let described = describe(state, id)?;
        let run = state.runs.get(&id.run)?;
        let task = run.task(id.index);
        let holds = task.lease().into_iter().flat_map(|lease| &lease.holds);
        Some(Self {
            task: id,
            name: state.definitions[&run.definition].task(id.index).name.clone(),
            workflow: run.workflow.clone(),
            attempt: task.attempts,
            version: task.wait_version,
            sentence: described.sentence,
            since: described.since,
            deadline: described.bound.map_or(run.deadline, |bound| bound.at),
            holds: holds.map(|(pool, units)| units_of(state, pool, *units)).collect(),
        })
    }

    /// Whether it stands as it did: nothing of its waits and holds has changed since.
    pub fn stands(&self, state: &State) -> bool {
        let same = |task: &Task| task.end().is_none() && task.wait_version == self.version;
        state.task(self.task).is_some_and(same)
    }
}

/// The runs above those of some members: whoever looks at one of these is told of what it has started.
pub(crate) fn above(state: &State, members: &[Member]) -> BTreeSet<RunId> {
    let parent = |run: &RunId| Some(state.runs.get(run)?.parent.as_ref()?.task.run);
    let own: BTreeSet<RunId> = members.iter().map(|member| member.task.run).collect();
    let chain = |run: &RunId| std::iter::successors(parent(run), parent).take(ABOVE_MAX).collect::<Vec<_>>();
    own.iter().flat_map(chain).filter(|run| !own.contains(run)).collect()
}

/// Units of a pool, for people.
fn units_of(state: &State, pool: &str, units: u32) -> String {
    match state.pools.get(pool).map(|pool| pool.size) {
        Some(1) => format!("lock `{pool}`"),
        Some(size) => format!("{units} of {size} units of pool `{pool}`"),
        None => format!("{units} units of pool `{pool}`"),
    }
}

/// A graph cut to its cause and a number of others.
pub(crate) fn cut(mut graph: Snapshot, core: &BTreeSet<String>) -> Snapshot {
    if graph.nodes.len() <= core.len() + GRAPH_NODES_MAX {
        return graph;
    }
    let others = graph.nodes.iter().map(|node| &node.id).filter(|id| !core.contains(*id)).take(GRAPH_NODES_MAX);
    let kept: BTreeSet<String> = core.iter().chain(others).cloned().collect();
    graph.nodes.retain(|node| kept.contains(&node.id));
    graph.waits.retain(|wait| kept.contains(&wait.node));
    graph.holds.retain(|hold| kept.contains(&hold.node));
    graph
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
