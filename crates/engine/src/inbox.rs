//! What reaches the brain's thread: two bounded lanes and the store's word.
//!
//! Senders never wait for the brain. A full control lane refuses the sender, who tells its caller; the
//! work lane is bounded by what workers hold, since each lease has at most a few reports.

use crate::driver::{Driver, Inputs, Pace, StoreReport};
use std::{
    collections::VecDeque,
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
    control: VecDeque<Event>,
    work: Vec<Event>,
    store: Option<StoreReport>,
    questions: Vec<Question>,
    stopping: bool,
}

/// What the brain's thread is ready for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    /// It waits no longer than this.
    pub(crate) at_most: Duration,
    /// So many commands; the rest stays in its lane, where it counts.
    pub(crate) commands: usize,
    /// How much its next turn may do.
    pub(crate) pace: Pace,
    /// Whether it may stop.
    pub(crate) to_stop: bool,
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = (self.control.len(), self.work.len(), self.questions.len());
        f.debug_struct("Lanes").field("waiting", &counts).field("stopping", &self.stopping).finish_non_exhaustive()
    }
}

impl Lanes {
    fn has_inputs(&self, commands: usize) -> bool {
        self.store.is_some() || !self.work.is_empty() || (commands > 0 && !self.control.is_empty())
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
        if lanes.control.len() >= CONTROL_LANE_MAX {
            return Err(LaneFull);
        }
        lanes.control.push_back(event);
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
        let mut events = events.into_iter().peekable();
        if events.peek().is_some() {
            self.lock().work.extend(events);
            self.arrived.notify_one();
        }
    }

    /// Sends the store's word. One request is out at a time, so there is one word at most.
    pub(crate) fn store(&self, report: StoreReport) {
        self.lock().store = Some(report);
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

    /// Takes what has arrived and the brain's thread is ready for; waits a while if there is nothing.
    pub(crate) fn take(&self, ready: Ready) -> Arrival {
        let stops = |lanes: &Lanes| lanes.stopping && ready.to_stop;
        let is_idle =
            |lanes: &mut Lanes| !(lanes.has_inputs(ready.commands) || !lanes.questions.is_empty() || stops(lanes));
        let waited = self.arrived.wait_timeout_while(self.lock(), ready.at_most, is_idle);
        let mut lanes = waited.unwrap_or_else(PoisonError::into_inner).0;
        if stops(&lanes) && !lanes.has_inputs(ready.commands) {
            return Arrival::Stop;
        }
        let many = lanes.control.len().min(ready.commands);
        Arrival::Inputs(Inputs {
            control: lanes.control.drain(..many).collect(),
            work: std::mem::take(&mut lanes.work),
            store: lanes.store.take(),
            pace: ready.pace,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        // Senders only push: a lane that a panicking sender left is whole.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(inbox: &Inbox, commands: usize) -> usize {
        match inbox.take(Ready { at_most: Duration::ZERO, commands, pace: Pace::default(), to_stop: true }) {
            Arrival::Inputs(inputs) => inputs.control.len(),
            Arrival::Stop => panic!("nobody said so"),
        }
    }

    #[test]
    fn commands_count_against_the_bound_until_the_brain_is_ready_for_them() {
        let inbox = Inbox::default();
        for _ in 0..CONTROL_LANE_MAX {
            inbox.control(Event::GrantsDue).expect("there is room");
        }
        assert_eq!(inbox.control(Event::GrantsDue), Err(LaneFull));
        assert_eq!(taken(&inbox, 0), 0, "a brain that can do nothing takes nothing");
        assert_eq!(inbox.control(Event::GrantsDue), Err(LaneFull));
        assert_eq!(taken(&inbox, 64), 64);
        inbox.control(Event::GrantsDue).expect("there is room again");
    }
}
