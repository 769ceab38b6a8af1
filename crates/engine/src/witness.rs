//! What the brain's thread leaves behind of itself: a look at the whole, and words in the log.

use crate::{
    driver::Driver,
    overview::Overview,
    progress::{Health, Progress},
};
use unknot_core::{
    Millis, Timestamp,
    row::{HistoryEntry, HistoryKind},
};

/// A commit that takes longer is worth a word in the log.
const COMMIT_LATE_AFTER: Millis = Millis(2_000);
/// How often a look at the whole is left behind for those who must not ask.
const LOOK_EVERY: Millis = Millis(1_000);

/// Sees the brain from its own thread, for everybody else.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    look_at: Timestamp,
    held_up_since: Option<Timestamp>,
}

impl Witness {
    /// Leaves a look at the whole behind, and a word in the log, once a second.
    pub(crate) fn look(&mut self, progress: &Progress, driver: &Driver, now: Timestamp) {
        if now >= self.look_at {
            self.look_at = now.plus(LOOK_EVERY);
            progress.seen(Overview::of(driver, now));
            self.tell(&progress.health(), now);
        }
    }

    /// Says when commits begin to be held up, refused or without an answer, and when they go on.
    fn tell(&mut self, health: &Health, now: Timestamp) {
        let blocked = health.blocked.as_ref().map(|blocked| (blocked.since, blocked.cause.as_str()));
        let asked_at = health.store_asked_at.filter(|at| now.since(*at) > COMMIT_LATE_AFTER);
        let held_up = blocked.or(asked_at.map(|at| (at, "the store does not answer")));
        match (self.held_up_since, held_up) {
            (None, Some((since, cause))) => {
                self.held_up_since = Some(since);
                log::warn!(cause; "commits are held up");
            }
            (Some(since), None) => {
                self.held_up_since = None;
                log::info!(held_up_ms = now.since(since).0; "commits go on");
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
    }
}

/// Says which runs begin and end, and who waits, is granted something and gives it back.
pub(crate) fn tell_of_history(history: &[HistoryEntry]) {
    if !log::log_enabled!(log::Level::Debug) {
        return;
    }
    for HistoryEntry { run, event, task, name, attempt, detail, .. } in history {
        let what = match event {
            HistoryKind::RunSubmitted => "a run is accepted",
            HistoryKind::RunCompleted => "a run is COMPLETED",
            HistoryKind::RunFailed => "a run is FAILED",
            HistoryKind::RunCancelled => "a run is CANCELLED",
            HistoryKind::RunTimedOut => "a run is TIMED_OUT",
            HistoryKind::TaskGranted => "a task is granted what it needs",
            HistoryKind::WaitBegan => "a wait begins",
            HistoryKind::WaitGranted => "a wait is granted",
            HistoryKind::WaitEnded => "a wait ends",
            HistoryKind::UnitsReleased => "units are given back",
            _ => continue,
        };
        match (task, name) {
            (Some(index), Some(name)) => {
                let detail = serde_json::to_string(detail).unwrap_or_default();
                log::debug!(task:% = run.task(*index), name:%, attempt = attempt.unwrap_or(0), detail:%; "{what}");
            }
            _ => log::debug!(run:%; "{what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        driver::Blocked,
        progress::{Doing, Part},
        said::said,
    };

    #[test]
    fn commits_that_are_held_up_are_said_once_and_so_is_their_end() {
        said();
        let progress = Progress::default();
        let mut told = Witness::default();
        let mut told_at = |now: u64| {
            told.tell(&progress.health(), Timestamp(now));
            said()
        };
        let blocked = Blocked { since: Timestamp(1_000), cause: "the disk is full".to_owned() };
        progress.turned(Timestamp(1_000), 1, 0, Some(&blocked));
        assert_eq!(told_at(1_000), ["WARN commits are held up"]);
        assert!(told_at(1_500).is_empty());
        progress.turned(Timestamp(2_000), 2, 0, None);
        assert_eq!(told_at(2_000), ["INFO commits go on"]);
        progress.does(Part::Store, Doing::Committing, Timestamp(3_000));
        assert!(told_at(4_000).is_empty(), "a slow disk is no news");
        assert_eq!(told_at(5_001), ["WARN commits are held up"]);
        progress.does(Part::Store, Doing::Waiting, Timestamp(5_002));
        assert_eq!(told_at(5_002), ["INFO commits go on"]);
    }
}
