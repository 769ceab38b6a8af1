//! Planted defects, for the simulator alone: what the driver does about a brain that fails can only be
//! seen when one does.

use unknot_core::{Decision, State};

/// The label of runs that make the brain fail. Its value is a kind of history line, as Rust prints it.
pub const LABEL: &str = "sim-plant";

/// Fails if the decision wrote a line of the kind that its run's label names.
///
/// # Panics
/// That is what it is for. The state has changed by then, as after a real defect.
pub(super) fn strike(state: &mut State, decision: &Decision) {
    let is_planted = |run, event: String| {
        let label = state.runs.get(&run).and_then(|run| run.labels.get(LABEL));
        label.is_some_and(|kind| *kind == event)
    };
    if let Some(line) = decision.history.iter().find(|line| is_planted(line.run, format!("{:?}", line.event))) {
        state.volatile.at_work = Some(line.run);
        panic!("planted: {:?} of {}", line.event, line.run);
    }
}
