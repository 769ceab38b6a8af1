//! What reaches the brain's thread: two bounded lanes and the store's word.
//!
//! Senders never wait for the brain. A full control lane refuses the sender, who tells its caller; the
//! work lane is bounded by what workers hold, since each lease has at most a few reports.

use crate::driver::{Driver, Inputs, StoreReport};
use std::{
    fmt,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use unknot_core::event::Event;

/// Commands that may wait for the brain at once.
pub(crate) const CONTROL_LANE_MAX: usize = 10_000;

/// Questions that may wait for the brain at once.
const QUESTIONS_MAX: usize = 1_000;

/// A look at the brain between two of its turns.
pub(crate) type Question = Box<dyn FnOnce(&Driver) + Send>;

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

#[derive(Default)]
struct Lanes {
    inputs: Inputs,
    questions: Vec<Question>,
    stopping: bool,
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").field("inputs", &self.inputs).field("stopping", &self.stopping).finish_non_exhaustive()
    }
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

    /// Asks for a look at the brain.
    ///
    /// # Errors
    /// If too many wait for one.
    pub(crate) fn question(&self, question: Question) -> Result<(), LaneFull> {
        let mut lanes = self.lock();
        if lanes.questions.len() >= QUESTIONS_MAX {
            return Err(LaneFull);
        }
        lanes.questions.push(question);
        self.arrived.notify_one();
        Ok(())
    }

    /// The questions that arrived.
    pub(crate) fn take_questions(&self) -> Vec<Question> {
        std::mem::take(&mut self.lock().questions)
    }

    /// Sends workers' reports.
    pub(crate) fn work(&self, events: impl IntoIterator<Item = Event>) {
        self.lock().inputs.work.extend(events);
        self.arrived.notify_one();
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

    /// Takes all that arrived; waits at most so long if there is nothing. `None` waits until something does.
    pub(crate) fn take(&self, at_most: Option<Duration>) -> Arrival {
        let mut lanes = self.lock();
        let idle = |lanes: &mut Lanes| lanes.inputs.is_empty() && lanes.questions.is_empty() && !lanes.stopping;
        lanes = match at_most {
            Some(limit) => {
                let waited = self.arrived.wait_timeout_while(lanes, limit, idle);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.arrived.wait_while(lanes, idle).unwrap_or_else(PoisonError::into_inner),
        };
        if lanes.stopping && lanes.inputs.is_empty() {
            return Arrival::Stop;
        }
        Arrival::Inputs(std::mem::take(&mut lanes.inputs))
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        // Senders only push: a lane that a panicking sender left is whole.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
