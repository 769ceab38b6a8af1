//! What is applied again after the state had to be dropped: one event a commit, so that the one that fails is
//! known.
//!
//! Events go back to the front of the lane that they came from. Until as many have been applied as went back,
//! everything is applied alone, also what has arrived since: the lanes take turns, so that no one waits behind
//! all that is to be done again.

use super::{Chance, Driver, Lane};
use std::collections::VecDeque;
use unknot_core::{RunId, Timestamp, event::Event};

/// Grants that the failing event may have made beside those that are known.
const GRANTS_UNSEEN_MAX: usize = 256;

/// What is left to do again.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// The driver's own events: they come before all others.
    own: VecDeque<Event>,
    /// How many events are left to be applied alone.
    left: Left,
    /// Which lane is next.
    turn: usize,
    /// Whether an event was applied alone and its commit is not durable yet.
    alone: bool,
    /// The run that the event applied alone worked on last.
    pub(super) worked_on: Option<RunId>,
    /// An event that failed alone, with what it said and the run that is to blame.
    failed: Option<(Event, String, Option<RunId>)>,
    /// An event that the state asks for again and again, as it is written, and that failed alone with nobody to
    /// blame.
    blameless: Option<String>,
    /// Whether the state is to be loaded anew as soon as no commit is in flight.
    pub(super) load_wanted: bool,
}

/// Events that are to be applied alone, by lane.
#[derive(Debug, Default)]
struct Left {
    control: usize,
    work: usize,
    state: usize,
}

impl Left {
    fn of(&mut self, lane: Lane) -> Option<&mut usize> {
        match lane {
            Lane::Own => None,
            Lane::Control => Some(&mut self.control),
            Lane::Work => Some(&mut self.work),
            Lane::State => Some(&mut self.state),
        }
    }
}

impl Recovery {
    /// Whether events are applied one a commit.
    pub(super) fn is_replaying(&self) -> bool {
        let Left { control, work, state } = self.left;
        self.alone || !self.own.is_empty() || control + work + state > 0
    }

    /// Whether the state is not to be trusted until it is loaded anew.
    pub(super) fn is_dropped(&self) -> bool {
        self.load_wanted
    }

    /// Whether an event was applied alone and is not durable yet.
    pub(super) fn is_alone(&self) -> bool {
        self.alone
    }

    /// How many of the driver's own events wait.
    pub(super) fn own_len(&self) -> usize {
        self.own.len()
    }

    /// Puts one of the driver's own events before all others.
    pub(super) fn own_first(&mut self, event: Option<Event>) {
        if let Some(event) = event {
            self.own.push_front(event);
        }
    }

    pub(super) fn next_own(&mut self) -> Option<Event> {
        self.own.pop_front()
    }

    /// An event failed although it was applied alone.
    pub(super) fn failed_alone(&mut self, event: Event, cause: String, run: Option<RunId>) {
        self.alone = false;
        self.failed = Some((event, cause, run));
    }

    pub(super) fn take_failed(&mut self) -> Option<(Event, String, Option<RunId>)> {
        self.failed.take()
    }

    /// Whether an event with nobody to blame is met another time: once, in case something else has changed.
    pub(super) fn may_fail_again(&mut self, event: &Event) -> bool {
        let text = format!("{event:?}");
        let is_first = self.blameless.as_ref() != Some(&text);
        self.blameless = Some(text);
        is_first
    }

    /// These are durable.
    pub(super) fn succeeded(&mut self, events: &[(Lane, Event)]) {
        self.alone = false;
        let is_other = |text: &str, (lane, event): &(Lane, Event)| *lane != Lane::State || format!("{event:?}") != text;
        self.blameless = self.blameless.take().filter(|text| events.iter().all(|event| is_other(text, event)));
    }
}

impl Driver {
    /// Puts events back where they came from, in their order. `starts` is how many attempts they gave out.
    pub(super) fn again(&mut self, events: impl DoubleEndedIterator<Item = (Lane, Event)>, starts: usize) {
        for (lane, event) in events.rev() {
            if let Some(left) = self.recovery.left.of(lane) {
                *left += 1;
            }
            match lane {
                Lane::Own => self.recovery.own.push_front(event),
                Lane::Control => self.control.push_front(event),
                Lane::Work => self.work.push_front(event),
                // It asks for it by itself.
                Lane::State => {}
            }
        }
        // What was granted after them is a step of its own now, one grant a commit.
        self.recovery.left.state += starts + GRANTS_UNSEEN_MAX;
    }

    /// Applies the next event alone in its commit.
    pub(super) fn replay_one(&mut self, now: Timestamp, chance: &mut Chance) {
        if self.recovery.alone || self.in_flight.is_some() {
            return;
        }
        let Some((lane, event)) = self.next_alone(now) else { return };
        self.recovery.alone = true;
        // Nobody is to be blamed for what is granted after it.
        self.state.volatile.grants_apart = true;
        self.apply_event(now, chance, lane, event);
        self.state.volatile.grants_apart = false;
        self.recovery.worked_on = self.state.volatile.at_work;
        // Nothing to commit: nothing to wait for.
        if self.open.touched.is_empty() && self.open.history.is_empty() {
            let events = std::mem::take(&mut self.open.events);
            self.recovery.succeeded(&events);
        }
    }

    /// The driver's own events, then the lanes in turn. What the state asks for comes after what went back into
    /// the lanes: it was applied after it before.
    fn next_alone(&mut self, now: Timestamp) -> Option<(Lane, Event)> {
        if let Some(event) = self.recovery.next_own() {
            return Some((Lane::Own, event));
        }
        for _ in 0..3 {
            let lane = [Lane::Control, Lane::Work, Lane::State][self.recovery.turn % 3];
            self.recovery.turn += 1;
            let Left { control, work, .. } = self.recovery.left;
            if lane == Lane::State && control + work > 0 {
                continue;
            }
            let event = self.next_of(lane, now);
            if let Some(left) = self.recovery.left.of(lane) {
                *left = if event.is_some() { left.saturating_sub(1) } else { 0 };
            }
            if let Some(event) = event {
                return Some((lane, event));
            }
        }
        None
    }
}
