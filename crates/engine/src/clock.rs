//! The only place in Unknot that reads the wall clock.
//!
//! Time is the wall clock at the start plus what has passed since on the monotonic clock, never below
//! the store's high-water mark. A wall clock that gets ahead (it was set forward, or the machine slept) is
//! followed; the driver then sees a turn that is far too late, and lets nothing expire that nobody could
//! have kept alive. One that is set back is not followed: time that runs twice would hold up every wait.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use unknot_core::Timestamp;

/// A wall clock that is ahead by less is not followed: such steps come with every correction of the time.
const AHEAD_LEAST_MS: u64 = 5_000;

/// Tells the time of one engine. All clones agree.
#[derive(Clone, Debug)]
pub struct Clock {
    base: Arc<AtomicU64>,
    started: Instant,
}

impl Clock {
    /// A clock that starts at the wall clock, or at `floor` if that is later.
    #[expect(clippy::disallowed_methods, reason = "this file is the place where clocks are read")]
    pub fn starting_at_least(floor: Timestamp) -> Self {
        Self { base: Arc::new(wall().max(floor).0.into()), started: Instant::now() }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.base.load(Ordering::Relaxed).saturating_add(millis(self.started.elapsed())))
    }

    /// What has passed since this clock was started, for measuring.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Catches up with the wall clock if that is ahead by more than five seconds. To be called now and then.
    pub fn follow_wall(&self) {
        self.follow(wall());
    }

    fn follow(&self, wall: Timestamp) {
        let ahead = wall.since(self.now()).0;
        if ahead > AHEAD_LEAST_MS {
            self.base.fetch_add(ahead, Ordering::Relaxed);
        }
    }

    /// How long it is until `moment`; zero if it has passed.
    pub fn until(&self, moment: Timestamp) -> Duration {
        Duration::from_millis(moment.since(self.now()).0)
    }
}

#[expect(clippy::disallowed_methods, reason = "this file is the place where clocks are read")]
fn wall() -> Timestamp {
    Timestamp(millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use unknot_core::Millis;

    #[test]
    fn it_follows_a_wall_clock_that_gets_ahead_and_never_one_that_is_set_back() {
        let clock = Clock::starting_at_least(Timestamp(0));
        let (begin, other) = (clock.now(), clock.clone());
        clock.follow(begin.plus(Millis(4_000)));
        assert!(clock.now() < begin.plus(Millis(4_000)), "a small correction");
        clock.follow(begin.plus(Millis::from_hours(1)));
        assert!(other.now() >= begin.plus(Millis::from_hours(1)), "all clones follow");
        clock.follow(begin);
        assert!(clock.now() >= begin.plus(Millis::from_hours(1)), "set back");
    }
}
