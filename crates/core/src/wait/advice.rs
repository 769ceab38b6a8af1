//! What a person can do about a deadlock that is left as it is: which runs to cancel, and whether others go on then.

use super::{Analysis, NodeState, Snapshot, reduce};
use crate::{RunId, State, volatile::Party};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Runs that are tried one by one.
const TRIED_MAX: usize = 64;
/// Nodes that are looked at in all these tries: it is done in the step that closes a deadlock.
const LOOKED_AT_MAX: usize = 20_000;

/// Runs whose cancellation ends a deadlock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// Which: together.
    pub runs: Vec<RunId>,
    /// Whether nobody of those that are deadlocked is left then: all of them are of these runs, or of runs that these
    /// started.
    pub ends_all: bool,
}

impl Cancel {
    /// Those of the victims, if that spares somebody; else one run whose end lets the rest go on, if there is one.
    /// `picture` is the graph that was analysed; nothing if nobody in it has a victim's part.
    pub(crate) fn of(state: &State, picture: &Snapshot, analysis: &Analysis) -> Option<Self> {
        let runs = |ids: &[String]| ids.iter().filter_map(|id| Some(Party::of(id)?.run())).collect::<BTreeSet<RunId>>();
        let (members, victims) = (runs(&analysis.verdict.core), runs(&analysis.victims));
        let spares = |chosen: &BTreeSet<RunId>| members.iter().any(|run| !ends_with(state, *run, chosen));
        if victims.is_empty() {
            return None;
        }
        if spares(&victims) {
            return Some(Self { runs: victims.into_iter().collect(), ends_all: false });
        }
        let tried = TRIED_MAX.min(LOOKED_AT_MAX / picture.nodes.len().max(1));
        // The youngest first: it has done the least.
        let single = members.iter().rev().take(tried).map(|run| BTreeSet::from([*run]));
        let helps = |chosen: &BTreeSet<RunId>| spares(chosen) && lets_go(state, picture, chosen);
        let (found, ends_all) = match single.into_iter().find(helps) {
            Some(found) => (found, false),
            None => (victims, true),
        };
        Some(Self { runs: found.into_iter().collect(), ends_all })
    }
}

/// Whether a run ends with these: it is one of them, or was started below one and is not on its own.
fn ends_with(state: &State, run: RunId, chosen: &BTreeSet<RunId>) -> bool {
    let parent = |run: &RunId| {
        let parent = state.runs.get(run)?.parent.as_ref().filter(|parent| !parent.detached)?;
        Some(parent.task.run)
    };
    std::iter::successors(Some(run), parent).any(|run| chosen.contains(&run))
}

/// Whether everybody else goes on once these runs are cancelled.
fn lets_go(state: &State, picture: &Snapshot, chosen: &BTreeSet<RunId>) -> bool {
    let mut left = picture.clone();
    for node in &mut left.nodes {
        if Party::of(&node.id).is_some_and(|party| ends_with(state, party.run(), chosen)) {
            node.state = NodeState::Cancelled;
        }
    }
    reduce(&left).deadlocked.is_empty()
}
