//! Rules that one moment of a brain shows, or breaks: time, leases, the wait graph.

use super::Checked;
use crate::workload::SHORTEST_TERM;
use unknot_core::{
    Millis, State, Timestamp,
    row::{HistoryEntry, HistoryKind},
    settings::QueueSettings,
};

/// No remote lease runs out within a term of a load: renewals are lost with the memory, so each worker must
/// have had the time to renew again.
///
/// # Errors
/// The attempt that was lost too early.
pub fn leases_had_a_term(history: &[HistoryEntry], loaded_at: Timestamp) -> Checked {
    let early = |line: &&HistoryEntry| line.at >= loaded_at && line.at < loaded_at.plus(SHORTEST_TERM);
    match history.iter().filter(|line| lease_ran_out(line)).find(early) {
        Some(line) => Err(format!("a lease ran out at {} although all was loaded at {loaded_at}: {line:?}", line.at)),
        None => Ok(()),
    }
}

/// Whether a line of the history says that a remote worker was silent for too long.
pub fn lease_ran_out(line: &HistoryEntry) -> bool {
    let message = line.detail.text("message");
    line.event == HistoryKind::TaskLost && message.is_some_and(|text| text.starts_with("its lease ran out"))
}

/// Every run ends within its own bound and a grace, counted from when faults stopped if they made it late.
/// A frozen one waits for an operator instead.
///
/// # Errors
/// The run that is late.
pub fn runs_are_in_time(state: &State, now: Timestamp, quiet: Timestamp, grace: Millis) -> Checked {
    // What passed while nobody could be heard is put off by a lease's term at the most.
    let put_off = quiet.plus(QueueSettings::default().visibility_timeout);
    for run in state.runs.values().filter(|run| run.poisoned.is_none()) {
        if now > run.deadline.max(put_off).plus(grace) {
            let open: Vec<_> = run.tasks.iter().filter(|task| task.end().is_none()).take(2).collect();
            return Err(format!(
                "{} should have ended by {} and is {} at {now}: {open:?}",
                run.id,
                run.deadline,
                run.status()
            ));
        }
    }
    for (at, deadline) in state.volatile.deadlines.iter().take(1) {
        if now > at.max(&quiet).plus(grace) {
            return Err(format!("{deadline:?} passed at {at} and nothing came of it by {now}"));
        }
    }
    Ok(())
}
