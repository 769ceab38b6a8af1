//! What reaches the brain's thread: two bounded lanes and the store's word.
//!
//! Senders never wait for the brain. A full control lane refuses the sender, who tells its caller; the
//! work lane is bounded by what workers hold, since each lease has at most a few reports.

use crate::driver::{Inputs, StoreReport};
use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use unknot_core::event::Event;

/// Commands that may wait for the brain at once.
pub(crate) const CONTROL_LANE_MAX: usize = 10_000;

/// The brain has more commands before it than it may have. Try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the brain has {CONTROL_LANE_MAX} commands before it")]
pub struct LaneFull;

/// The lanes to the brain, shared by all senders.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    lanes: Mutex<Lanes>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Lanes {
    inputs: Inputs,
    stopping: bool,
}

/// What the brain's thread found.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// Something arrived, or the time was over.
    Inputs(Inputs),
    /// The engine stops.
    Stop,
}

impl Inbox {
    /// Sends a command.
    ///
    /// # Errors
    /// If the lane is full.
    pub(crate) fn control(&self, event: Event) -> Result<(), LaneFull> {
        let mut lanes = self.lock();
        if lanes.inputs.control.len() >= CONTROL_LANE_MAX {
            return Err(LaneFull);
        }
        lanes.inputs.control.push(event);
        self.arrived.notify_one();
        Ok(())
    }

    /// Sends workers' reports.
    pub(crate) fn work(&self, events: impl IntoIterator<Item = Event>) {
        let mut events = events.into_iter().peekable();
        if events.peek().is_some() {
            self.lock().inputs.work.extend(events);
            self.arrived.notify_one();
        }
    }

    /// Sends the store's word. One request is out at a time, so there is one word at most.
    pub(crate) fn store(&self, report: StoreReport) {
        self.lock().inputs.store = Some(report);
        self.arrived.notify_one();
    }

    /// Tells the brain's thread to end after its next turn.
    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
        self.arrived.notify_one();
    }

    /// Whether the brain's thread is to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// Takes all that arrived; waits at most so long if there is nothing. The wish to stop is heard only by
    /// who `may_stop`.
    pub(crate) fn take(&self, at_most: Duration, may_stop: bool) -> Arrival {
        let idle = |lanes: &mut Lanes| lanes.inputs.is_empty() && !(lanes.stopping && may_stop);
        let waited = self.arrived.wait_timeout_while(self.lock(), at_most, idle);
        let mut lanes = waited.unwrap_or_else(PoisonError::into_inner).0;
        if lanes.stopping && may_stop && lanes.inputs.is_empty() {
            return Arrival::Stop;
        }
        Arrival::Inputs(std::mem::take(&mut lanes.inputs))
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        // Senders only push: a lane that a panicking sender left is whole.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
