//! Planted defects, for the simulator alone: what the driver does about a brain that fails can only be
//! seen when one does.

use unknot_core::{Decision, RunId, State};

/// The label of runs that make the brain fail. Its value is a kind of history line, as Rust prints it; with a
/// question mark behind it, nothing tells which run was worked on.
pub const LABEL: &str = "sim-plant";

/// Fails if the decision wrote a line of the kind that its run's label names.
///
/// # Panics
/// That is what it is for. The state has changed by then, as after a real defect.
pub(super) fn strike(state: &mut State, decision: &Decision) {
    let planted = |run: &RunId| state.runs.get(run).and_then(|run| run.labels.get(LABEL)).map(String::as_str);
    let struck = decision.history.iter().find_map(|line| {
        let kind = planted(&line.run)?;
        let is_known = !kind.ends_with('?');
        (kind.trim_end_matches('?') == format!("{:?}", line.event)).then_some((line, is_known))
    });
    if let Some((line, is_known)) = struck {
        state.volatile.at_work = Some(line.run).filter(|_| is_known);
        panic!("planted: {:?} of {}", line.event, line.run);
    }
}
