//! How many alerts were sent, how many tries failed, how long it took.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use unknot_core::Millis;

/// Upper bounds of the buckets of [`Figures::delivery`], in seconds.
pub const DELIVERY_BOUNDS: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0, 3_600.0];

/// Counts since the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Alerts that were sent, by target; their ends are not counted.
    pub sent: BTreeMap<String, u64>,
    /// Of all these, those that told of a deadlock.
    pub deadlocks_sent: u64,
    /// Tries that failed, by target.
    pub failed: BTreeMap<String, u64>,
    /// Alerts that were given up.
    pub given_up: u64,
    /// Alerts that were sent within each of [`DELIVERY_BOUNDS`] after what they tell of was found, each counted once.
    pub delivery: [u64; DELIVERY_BOUNDS.len()],
    /// How long that took, in seconds, all together.
    pub delivery_sum: f64,
    /// How many that are.
    pub delivery_count: u64,
}

/// Figures that several threads count.
#[derive(Debug, Default)]
pub(super) struct Counting(Mutex<Figures>);

impl Counting {
    /// An alert was sent, so long after what it tells of was found.
    pub(super) fn sent(&self, target: &str, is_deadlock: bool, after: Millis) {
        let seconds = after.0 as f64 / 1_000.0;
        let mut figures = self.lock();
        *figures.sent.entry(target.to_owned()).or_default() += 1;
        figures.deadlocks_sent += u64::from(is_deadlock);
        if let Some(place) = DELIVERY_BOUNDS.iter().position(|bound| seconds <= *bound) {
            figures.delivery[place] += 1;
        }
        figures.delivery_sum += seconds;
        figures.delivery_count += 1;
    }

    /// A try failed.
    pub(super) fn failed(&self, target: &str) {
        *self.lock().failed.entry(target.to_owned()).or_default() += 1;
    }

    /// An alert was given up.
    pub(super) fn given_up(&self) {
        self.lock().given_up += 1;
    }

    /// The figures now.
    pub(super) fn now(&self) -> Figures {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_delivery_is_in_the_first_bucket_that_holds_it() {
        let counting = Counting::default();
        for ms in [0, 50, 51, 3_600_000, 9_999_999] {
            counting.sent("ops", ms == 0, Millis(ms));
        }
        counting.failed("ops");
        let figures = counting.now();
        assert_eq!((figures.delivery[0], figures.delivery[1], figures.delivery[9]), (2, 1, 1));
        assert_eq!((figures.sent["ops"], figures.deadlocks_sent, figures.failed["ops"]), (5, 1, 1));
        assert_eq!(figures.delivery_count, 5);
    }
}
