//! Everybody who waits.

use crate::{
    State, TaskId, Timestamp,
    run::{Lease, Phase},
};

/// The tasks that wait, and the attempts that do, those that have waited longest first. Linear in the unfinished tasks.
pub fn waiting(state: &State) -> Vec<(Timestamp, TaskId)> {
    let mut waiting: Vec<(Timestamp, TaskId)> = Vec::new();
    for run in state.runs.values() {
        waiting.extend(run.indexed_tasks().filter_map(|(index, task)| {
            let since = match &task.phase {
                Phase::Waiting(wait) => wait.since,
                Phase::Leased(lease) => waits_since(lease)?,
                Phase::Ended(_) => return None,
            };
            Some((since, run.id.task(index)))
        }));
    }
    waiting.sort_unstable();
    waiting
}

fn waits_since(lease: &Lease) -> Option<Timestamp> {
    lease.parked.as_ref().filter(|_| lease.waits()).map(|parked| parked.since)
}
