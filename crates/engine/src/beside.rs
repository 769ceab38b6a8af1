//! Judging the state off the brain's thread: the rows as the store has them, and what only the brain knows.

use crate::{driver::Driver, engine::Engine};
use std::{collections::BTreeSet, time::Duration};
use unknot_core::{
    RunId, State,
    row::Loaded,
    settings::{Bounds, Monitor},
    state::LoadError,
    worker::Workers,
};

/// What the brain knows and no row says, as far as a judgement needs it.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// Workers that are here.
    pub workers: Workers,
    /// Only these runs are served; none: all.
    pub focus: Option<BTreeSet<RunId>>,
    /// When somebody is told of those that stand still.
    pub monitor: Monitor,
    /// Bounds of the namespace.
    pub bounds: Bounds,
    /// Unfinished tasks.
    pub tasks: u32,
}

impl Beside {
    /// Looks; short for any state.
    pub(crate) fn of(driver: &Driver) -> Self {
        let state = driver.state();
        let volatile = &state.volatile;
        Self {
            workers: volatile.workers.clone(),
            focus: volatile.focus.clone(),
            monitor: volatile.monitor,
            bounds: volatile.bounds,
            tasks: state.live_tasks(),
        }
    }

    /// The state that rows of the store describe, as one to look at: it is not gone on with.
    ///
    /// # Errors
    /// If the rows contradict each other.
    pub fn state(self, loaded: Loaded) -> Result<State, LoadError> {
        let mut state = State::load(loaded, self.bounds)?;
        state.look_with(self.workers, self.focus, self.monitor);
        Ok(state)
    }
}

impl Engine {
    /// What the brain knows beside the store; `None` if it did not come to the question within `at_most`.
    pub async fn beside(&self, at_most: Duration) -> Option<Beside> {
        self.peek(at_most, Beside::of).await
    }
}
