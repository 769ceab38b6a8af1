//! When another try follows, and after which pause.

use crate::{
    Millis,
    settings::QueueSettings,
    workflow::{Backoff, TaskDef},
};

/// The pause before try `failures + 1`, given how many failures there were (from 1) and 64 random bits.
///
/// `first × factor^(failures-1)`, at most `max`, moved by up to ±`jitter` of itself, still at most `max`.
pub fn pause(backoff: &Backoff, failures: u32, entropy: u64) -> Millis {
    let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
    let longest = backoff.max.0 as f64;
    let grown = (backoff.first.0 as f64 * backoff.factor.powi(exponent)).min(longest);
    // The top 53 bits as a number in 0..1, exactly representable.
    let chance = (entropy >> 11) as f64 / (1u64 << 53) as f64;
    let moved = grown * (1.0 + backoff.jitter * (2.0 * chance - 1.0));
    Millis(moved.clamp(0.0, longest) as u64)
}

/// The pause after a lost attempt or a failed launch: 1 s, doubling, at most a minute.
pub fn infrastructure_pause(times: u32, entropy: u64) -> Millis {
    pause(&Backoff::default(), times, entropy)
}

/// The longest pause that another side may ask for; what is longer counts as this.
pub const ASKED_PAUSE_MAX: Millis = Millis::from_mins(5);

/// How long the next try waits for word that the attempt before it is gone, which may still be alive. Then it is
/// made beside it: nobody who could tell has been heard for as long as a lease lasts.
pub const CONFIRMATION_MAX: Millis = Millis::from_mins(5);

/// All tries of a task: its own word, else its kind's, where the kind retries at all its queue's.
pub fn attempts_max(task: &TaskDef, queue: &QueueSettings) -> u32 {
    match (task.retry.attempts, task.kind.default_attempts()) {
        (Some(attempts), _) => attempts,
        (None, 1) => 1,
        (None, _) => queue.max_retries.saturating_add(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Backoff = Backoff { first: Millis(1_000), factor: 2.0, max: Millis(30_000), jitter: 0.0 };

    #[test]
    fn pauses_double_up_to_the_cap() {
        let pauses: Vec<u64> = (1..=7).map(|failures| pause(&PLAIN, failures, u64::MAX).0).collect();
        assert_eq!(pauses, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    }

    #[test]
    fn jitter_stays_within_its_share_and_the_cap() {
        let backoff = Backoff { jitter: 0.2, ..PLAIN };
        assert_eq!(pause(&backoff, 1, 0).0, 800);
        assert!(pause(&backoff, 1, u64::MAX).0 <= 1_200);
        assert_eq!(pause(&backoff, 20, u64::MAX).0, 30_000);
        assert!(pause(&Backoff { factor: 100.0, ..PLAIN }, u32::MAX, 1).0 <= 30_000);
    }
}
