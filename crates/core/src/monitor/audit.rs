//! The audit: what the live graph says is dead is held against a full reduction of everything that the store has.
//!
//! The two are of different moments. What is dead by one of them and has not moved since is dead by the other as well,
//! unless a pool or a worker has changed meanwhile: so only what differs twice in a row is a defect.

use crate::{State, volatile::Party, wait::Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// Who is dead, each with the version of its waits and holds.
pub type Dead = BTreeMap<Party, u64>;

/// Who is dead by a full reduction; nothing while the brain is not done with something itself.
pub fn dead(state: &State, verdict: &Verdict) -> Option<Dead> {
    let parties = verdict.deadlocked.iter().filter_map(|id| party(id));
    let dead = parties.filter_map(|party| Some((party, version(state, party)?))).collect();
    state.continuations.is_empty().then_some(dead)
}

/// Who is dead by the live graph, and whom it lacks of those that were dead by a reduction and have not moved since;
/// nothing while the brain is not done with something itself.
pub fn hold_against(live: &State, dead: &Dead) -> Option<(BTreeSet<Party>, Dead)> {
    if !live.continuations.is_empty() {
        return None;
    }
    let graph = &live.volatile.graph;
    let stands = dead.iter().all(|(party, before)| version(live, *party) == Some(*before));
    let lacks = |party: &Party| stands && graph.has(*party) && !graph.is_deadlocked(*party);
    let claimed = graph.deadlocked().filter_map(|party| Some((party, version(live, party)?)));
    Some((dead.keys().copied().filter(lacks).collect(), claimed.collect()))
}

/// Whom the live graph calls dead who was not by the reduction, although nobody of them has moved since.
pub fn unproved(state: &State, dead: &Dead, claimed: &Dead) -> BTreeSet<Party> {
    let stands = claimed.iter().all(|(party, now)| version(state, *party) == Some(*now));
    claimed.keys().copied().filter(|party| stands && !dead.contains_key(party)).collect()
}

fn party(id: &str) -> Option<Party> {
    id.parse().map(Party::Task).or_else(|_| id.parse().map(Party::Run)).ok()
}

/// The version of a party's waits and holds, as snapshots have it.
fn version(state: &State, party: Party) -> Option<u64> {
    match party {
        Party::Task(task) => state.task(task).map(|task| task.wait_version.into()),
        Party::Run(run) => {
            state.runs.get(&run).map(|run| run.tasks.iter().map(|task| u64::from(task.wait_version)).sum())
        }
    }
}
