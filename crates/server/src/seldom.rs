//! What somebody outside can cause as often as they like is said seldom.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Pause between two lines of one sort.
const PAUSE: Duration = Duration::from_secs(1);

/// Lets one line through now and then, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    /// Says a line, unless one was said a moment ago. It is told how many were not said since.
    pub(crate) fn say(&self, line: impl FnOnce(u64)) {
        if let Some(unsaid) = self.take(Instant::now()) {
            line(unsaid);
        }
    }

    fn take(&self, now: Instant) -> Option<u64> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, unsaid) = &mut *inner;
        if last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            *unsaid += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_and_a_count() {
        let (seldom, now) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.take(now), Some(0));
        assert!((0..500).all(|_| seldom.take(now).is_none()));
        assert_eq!(seldom.take(now + PAUSE), Some(500));
        assert_eq!(seldom.take(now + 3 * PAUSE), Some(0));
    }
}
