//! What the stories took: every (state, event) pair, and every step of a run, task and attempt.

use unknot_core::{Decision, State, event::Event};

/// What was seen so far.
#[derive(Default)]
pub(crate) struct Coverage;

impl Coverage {
    pub(crate) fn before(&self, _state: &State, _event: &Event) {}
    pub(crate) fn after(&mut self, _before: (), _state: &State, _decision: &Decision) {}
}
