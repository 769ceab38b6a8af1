//! Waiting in tests for what no event tells of.
#![expect(clippy::disallowed_methods, reason = "tests are free of the bans")]

use std::{
    thread,
    time::{Duration, Instant},
};

/// For how long something is waited for in the tests: far longer than it takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until something holds; looks every few milliseconds, for a bounded time.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
