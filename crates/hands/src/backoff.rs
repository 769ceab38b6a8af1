//! How long to wait before something is tried again.

use std::time::Duration;

const PAUSES_MS: [u64; 6] = [0, 50, 200, 1_000, 2_000, 5_000];

/// The pause after so many failures in a row: none at first, 5 s in the end.
pub(crate) fn pause(failures: usize) -> Duration {
    Duration::from_millis(PAUSES_MS[failures.min(PAUSES_MS.len() - 1)])
}
