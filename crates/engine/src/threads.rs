//! The two threads that the driver runs on: one decides, one writes.

use crate::{
    callers::Callers,
    clock::Clock,
    driver::{Driver, Inputs, StoreReport, StoreRequest, Turn},
    inbox::{Arrival, Inbox, Ready},
    local::LocalDesk,
    overview::Overview,
    progress::{Health, Progress},
    stream::Stream,
};
use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender},
    },
    thread,
    time::Duration,
};
use unknot_core::{
    CommitSeq, Millis, Timestamp,
    effect::Effect,
    row::{HistoryEntry, HistoryKind},
};
use unknot_store::{CommitError, Epoch, Namespace, Store, StoreError};

/// The brain's thread never sleeps longer than this, so that its proof of progress stays young.
const TURN_AT_LEAST_EVERY: Duration = Duration::from_millis(500);
/// A commit that takes longer is worth a word in the log.
const COMMIT_LATE_AFTER: Millis = Millis(2_000);
/// How often a look at the whole is left behind for those who must not ask.
const LOOK_EVERY: Millis = Millis(1_000);

/// How long the brain's thread stays, once told to stop, to see the last reports become durable.
const FAREWELL: Millis = Millis(2_000);

/// What the brain's thread shares with everybody else.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) inbox: Inbox,
    pub(crate) callers: Callers,
    pub(crate) stream: Stream,
    pub(crate) progress: Progress,
    pub(crate) local: LocalDesk,
}

/// Runs the driver until it is told to stop or can not go on.
pub(crate) fn think(shared: &Arc<Shared>, mut driver: Driver, store: &SyncSender<StoreRequest>) {
    let _told = ToldOnPanic { shared, part: "brain" };
    let mut inputs = Inputs::default();
    let mut look_at = Timestamp::default();
    let mut farewell = Farewell::default();
    let mut told = Told::default();
    loop {
        shared.clock.follow_wall();
        if inputs.store.is_some() {
            shared.progress.store_owes_since(None);
        }
        let turn = driver.turn(shared.clock.now(), chance(), inputs);
        let wake = turn.next_wake;
        let fatal = turn.fatal.clone();
        let now = shared.clock.now();
        // Before the answers: whoever has one must not find the store blocked that has just gone on.
        shared.progress.turned(now, driver.durable().0, driver.backlog(), driver.blocked());
        perform(shared, &driver, store, turn);
        for question in shared.inbox.take_questions() {
            question(&driver);
        }
        if now >= look_at {
            shared.progress.seen(Overview::of(&driver, now));
            look_at = now.plus(LOOK_EVERY);
        }
        told.tell(&shared.progress.health(), now);
        if let Some(fatal) = fatal {
            log::error!(cause:% = fatal; "the brain cannot go on");
            return shared.progress.stopped(fatal.to_string());
        }
        let nap = wake.map_or(TURN_AT_LEAST_EVERY, |at| shared.clock.until(at).min(TURN_AT_LEAST_EVERY));
        farewell.begin(shared, &driver);
        let to_stop = farewell.is_over(now, &driver);
        match shared.inbox.take(Ready { at_most: nap, commands: driver.room(), to_stop }) {
            Arrival::Inputs(arrived) => inputs = arrived,
            Arrival::Stop => {
                #[cfg(debug_assertions)]
                driver.check_at_the_end();
                return;
            }
        }
    }
}

/// Says that nothing goes on any more if a thread panics, so that nobody waits for it in vain.
struct ToldOnPanic<'s> {
    shared: &'s Shared,
    part: &'static str,
}

impl Drop for ToldOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.shared.progress.stopped(format!("the {}'s thread failed, by a defect of this program", self.part));
        }
    }
}

/// The end of the brain's thread: what had arrived when it was told to stop becomes durable, within a bound.
#[derive(Debug, Default)]
struct Farewell(Option<(Timestamp, CommitSeq)>);

impl Farewell {
    fn begin(&mut self, shared: &Shared, driver: &Driver) {
        if self.0.is_none() && shared.inbox.is_stopping() {
            // Without a store, nothing becomes durable any more.
            let stays = if shared.progress.has_stopped() { Millis(0) } else { FAREWELL };
            // One commit may be in flight, and the next one be open.
            let last = CommitSeq(driver.durable().0 + 2);
            self.0 = Some((shared.clock.now().plus(stays), last));
        }
    }

    fn is_over(&self, now: Timestamp, driver: &Driver) -> bool {
        let is_late = |(until, last)| now >= until || (driver.backlog() == 0 && driver.durable() >= last);
        driver.is_settled() || self.0.is_some_and(is_late)
    }
}

/// What the log was told of commits that are held up.
#[derive(Debug, Default)]
struct Told {
    held_up_since: Option<Timestamp>,
}

impl Told {
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

/// Says which runs begin and end.
fn tell_of_runs(history: &[HistoryEntry]) {
    if !log::log_enabled!(log::Level::Debug) {
        return;
    }
    for entry in history {
        let what = match entry.event {
            HistoryKind::RunSubmitted => "a run is accepted",
            HistoryKind::RunCompleted => "a run is COMPLETED",
            HistoryKind::RunFailed => "a run is FAILED",
            HistoryKind::RunCancelled => "a run is CANCELLED",
            HistoryKind::RunTimedOut => "a run is TIMED_OUT",
            _ => continue,
        };
        log::debug!(run:% = entry.run; "{what}");
    }
}

/// Does what a turn asks for. Nothing here waits: the store has one request at most, and every
/// other receiver is a queue with room for what it can be sent.
fn perform(shared: &Shared, driver: &Driver, store: &SyncSender<StoreRequest>, turn: Turn) {
    if let Some(request) = turn.store {
        shared.progress.store_owes_since(Some(shared.clock.now()));
        if store.try_send(request).is_err() {
            shared.progress.stopped("the store's thread is gone".to_owned());
        }
    }
    for effect in turn.effects {
        match effect {
            Effect::Start(assignment) => shared.inbox.work(shared.local.give(*assignment)),
            Effect::Stop { worker, attempt, fence, reason } => shared.local.stop(&worker, attempt, fence, reason),
            Effect::Acknowledge { attempt, fence, .. } => shared.local.settled(attempt, fence),
            Effect::Reply { caller, answer } => shared.callers.answer(caller, answer),
        }
    }
    shared.local.wake();
    tell_of_runs(&turn.history);
    shared.stream.publish(driver.durable(), turn.history);
}

/// Sixty-four bits of chance from the system's own source, by way of the hasher's keys.
pub(crate) fn chance() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Carries requests to the store, one at a time, and brings its word back.
pub(crate) fn write(
    shared: &Arc<Shared>,
    mut store: Box<dyn Store>,
    namespace: &Namespace,
    epoch: Epoch,
    requests: &Receiver<StoreRequest>,
) {
    let _told = ToldOnPanic { shared, part: "store" };
    while let Ok(request) = requests.recv() {
        let report = match request {
            StoreRequest::Commit(batch) => committed(store.commit(namespace, epoch, &batch)),
            StoreRequest::Resolve => store.committed(namespace).map_or_else(unresolved, StoreReport::Resolved),
            StoreRequest::Load => {
                store.load(namespace).map_or_else(unloaded, |loaded| StoreReport::Loaded(Box::new(loaded)))
            }
        };
        shared.inbox.store(report);
    }
}

fn committed(outcome: Result<(), CommitError>) -> StoreReport {
    match outcome {
        Ok(()) => StoreReport::Committed,
        Err(error) => {
            let text = with_causes(&error);
            match error {
                CommitError::Refused { .. } => StoreReport::Refused(text),
                CommitError::Unknown { .. } => StoreReport::Unknown(text),
                CommitError::Fenced { .. } => StoreReport::Fenced(text),
                CommitError::Corrupt { .. } => StoreReport::Corrupt(text),
                CommitError::Violated { .. } => StoreReport::Violated(text),
            }
        }
    }
}

/// Whether a commit took effect can not be found out yet: it stays unknown.
fn unresolved(error: StoreError) -> StoreReport {
    let text = with_causes(&error);
    if error.is_retryable() { StoreReport::Unknown(text) } else { StoreReport::Corrupt(text) }
}

/// Rows that can not be read for now are no damage.
fn unloaded(error: StoreError) -> StoreReport {
    let text = with_causes(&error);
    if error.is_retryable() { StoreReport::Unloaded(text) } else { StoreReport::Corrupt(text) }
}

/// An error with its causes, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Blocked;
    use std::sync::Mutex;

    /// What was said in this process.
    struct Said(Mutex<Vec<String>>);

    static SAID: Said = Said(Mutex::new(Vec::new()));

    impl log::Log for Said {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &log::Record<'_>) {
            self.0.lock().expect("whole").push(format!("{} {}", record.level(), record.args()));
        }

        fn flush(&self) {}
    }

    #[test]
    fn commits_that_are_held_up_are_said_once_and_so_is_their_end() {
        log::set_logger(&SAID).expect("the only one");
        log::set_max_level(log::LevelFilter::Info);
        let progress = Progress::default();
        let mut told = Told::default();
        let mut told_at = |now: u64| {
            told.tell(&progress.health(), Timestamp(now));
            std::mem::take(&mut *SAID.0.lock().expect("whole"))
        };
        let blocked = Blocked { since: Timestamp(1_000), cause: "the disk is full".to_owned() };
        progress.turned(Timestamp(1_000), 1, 0, Some(&blocked));
        assert_eq!(told_at(1_000), ["WARN commits are held up"]);
        assert!(told_at(1_500).is_empty());
        progress.turned(Timestamp(2_000), 2, 0, None);
        assert_eq!(told_at(2_000), ["INFO commits go on"]);
        progress.store_owes_since(Some(Timestamp(3_000)));
        assert!(told_at(4_000).is_empty(), "a slow disk is no news");
        assert_eq!(told_at(5_001), ["WARN commits are held up"]);
        progress.store_owes_since(None);
        assert_eq!(told_at(5_002), ["INFO commits go on"]);
    }
}
