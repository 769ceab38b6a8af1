//! The only place in Unknot that reads the wall clock.
//!
//! Time is the wall clock at the start plus what has passed since on the monotonic clock, never below
//! the store's high-water mark: a wall clock that is set back or forward while the program runs moves
//! no deadline.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use unknot_core::Timestamp;

/// Tells the time of one engine. Cheap to copy; all copies agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base: Timestamp,
    started: Instant,
}

impl Clock {
    /// A clock that starts at the wall clock, or at `floor` if that is later.
    #[expect(clippy::disallowed_methods, reason = "this file is the place where clocks are read")]
    pub fn starting_at_least(floor: Timestamp) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { base: Timestamp(millis(wall)).max(floor), started: Instant::now() }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.base.0.saturating_add(millis(self.started.elapsed())))
    }

    /// How long it is until `moment`; zero if it has passed.
    pub fn until(&self, moment: Timestamp) -> Duration {
        Duration::from_millis(moment.since(self.now()).0)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
