//! The two threads that the driver runs on: one decides, one writes.

use crate::{
    alerts,
    callers::Callers,
    clock::Clock,
    driver::{Driver, Inputs, Pace, StoreReport, StoreRequest, Turn},
    inbox::{Arrival, Inbox, Ready},
    monitor::Figures,
    progress::{Doing, Part, Progress},
    remote::Desks,
    stream::Stream,
    witness::{Witness, tell_of_history},
};
use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender},
    },
    thread,
    time::Duration,
};
use unknot_api::with_causes;
use unknot_core::{CommitSeq, Millis, Timestamp, effect::Effect};
use unknot_store::{CommitError, Epoch, Namespace, Store, StoreError};

/// The brain's thread never sleeps longer than this, so that its proof of progress stays young.
const TURN_AT_LEAST_EVERY: Duration = Duration::from_millis(500);

/// How long a turn should take.
const TURN_MICROS: usize = 5_000;
/// The slowest pace, and the least work that tells something about the pace.
const PACE_LEAST: usize = 256;
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
    pub(crate) desks: Desks,
    pub(crate) monitor: Figures,
    /// Whoever changes a verdict, from reading it until that is durable.
    pub(crate) verdicts: Mutex<()>,
    pub(crate) alerts: alerts::Desk,
}

/// Runs the driver until it is told to stop or can not go on.
pub(crate) fn think(shared: &Arc<Shared>, mut driver: Driver, store: &SyncSender<StoreRequest>) {
    let _told = ToldOnPanic { shared, part: "brain" };
    let mut inputs = Inputs::default();
    let mut farewell = Farewell::default();
    let mut witness = Witness::default();
    let mut metronome = Metronome::default();
    loop {
        shared.clock.follow_wall();
        let (begin, now) = (shared.clock.elapsed(), shared.clock.now());
        shared.progress.does(Part::Brain, Doing::Deciding, now);
        let turn = driver.turn(now, chance(), inputs);
        metronome.beat(turn.done, shared.clock.elapsed().saturating_sub(begin));
        let wake = turn.next_wake;
        let fatal = turn.fatal.clone();
        let now = shared.clock.now();
        // Before the answers: whoever has one must not find the store blocked that has just gone on.
        shared.progress.turned(now, driver.durable().0, driver.backlog(), driver.blocked());
        shared.progress.does(Part::Brain, Doing::Telling, now);
        perform(shared, &driver, store, turn);
        for question in shared.inbox.take_questions() {
            question(&driver);
        }
        witness.look(&shared.progress, &driver, now);
        shared.progress.does(Part::Brain, Doing::Waiting, now);
        if let Some(fatal) = fatal {
            log::error!(cause:% = fatal; "the brain cannot go on");
            return shared.progress.stopped(fatal.to_string());
        }
        let nap = wake.map_or(TURN_AT_LEAST_EVERY, |at| shared.clock.until(at).min(TURN_AT_LEAST_EVERY));
        farewell.begin(shared, &driver);
        let to_stop = farewell.is_over(now, &driver);
        match shared.inbox.take(Ready { at_most: nap, commands: driver.room(), pace: metronome.pace, to_stop }) {
            Arrival::Inputs(arrived) => inputs = arrived,
            Arrival::Stop => {
                #[cfg(debug_assertions)]
                driver.check_at_the_end();
                return;
            }
        }
    }
}

/// Finds the pace at which a turn takes as long as it should, on this machine and with this work.
#[derive(Debug, Default)]
struct Metronome {
    pace: Pace,
}

impl Metronome {
    /// A turn did so much in so long. The pace is halved or doubled at most: one turn that was held up from
    /// outside says little.
    fn beat(&mut self, done: usize, took: Duration) {
        if done < PACE_LEAST {
            return;
        }
        let micros = usize::try_from(took.as_micros()).unwrap_or(usize::MAX).max(1);
        let fitting = done.saturating_mul(TURN_MICROS) / micros;
        let next = fitting.clamp(self.pace.0 / 2, self.pace.0 * 2);
        self.pace = Pace(next.clamp(PACE_LEAST, Pace::default().0));
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

/// Does what a turn asks for. Nothing here waits: the store has one request at most, and every
/// other receiver is a queue with room for what it can be sent.
fn perform(shared: &Shared, driver: &Driver, store: &SyncSender<StoreRequest>, turn: Turn) {
    if let Some(request) = turn.store
        && store.try_send(request).is_err()
    {
        shared.progress.stopped("the store's thread is gone".to_owned());
    }
    for effect in turn.effects {
        match effect {
            Effect::Start(assignment) => shared.inbox.work(shared.desks.give(*assignment)),
            Effect::Stop { worker, attempt, fence, reason } => shared.desks.stop(&worker, attempt, fence, reason),
            Effect::Kill { worker, attempt, fence } => shared.desks.kill(&worker, attempt, fence),
            Effect::Acknowledge { worker, attempt, fence, accepted } => {
                shared.desks.settled(worker.as_ref(), attempt, fence, accepted);
            }
            Effect::Notify(notice) => shared.alerts.notify(*notice),
            Effect::GiveUpAlert { key, target, why } => shared.alerts.given_up(&key, target.as_deref(), &why),
            Effect::Reply { caller, answer } => shared.callers.answer(caller, answer),
        }
    }
    shared.desks.wake();
    shared.inbox.work(shared.desks.expire(shared.clock.elapsed()));
    tell_of_history(&turn.history);
    shared.monitor.hear(&turn.history, shared.clock.now());
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
    let does = |doing| shared.progress.does(Part::Store, doing, shared.clock.now());
    while let Ok(request) = requests.recv() {
        does(match &request {
            StoreRequest::Commit(_) => Doing::Committing,
            StoreRequest::Resolve => Doing::Resolving,
            StoreRequest::Load => Doing::Loading,
        });
        let report = match request {
            StoreRequest::Commit(batch) => committed(store.commit(namespace, epoch, &batch)),
            StoreRequest::Resolve => store.committed(namespace).map_or_else(unresolved, StoreReport::Resolved),
            StoreRequest::Load => {
                store.load(namespace).map_or_else(unloaded, |loaded| StoreReport::Loaded(Box::new(loaded)))
            }
        };
        does(Doing::Waiting);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_follows_what_turns_take() {
        let mut metronome = Metronome::default();
        let whole = metronome.pace.0;
        metronome.beat(whole, Duration::from_millis(8));
        assert_eq!(metronome.pace, Pace(whole * 5 / 8), "it took eight instead of five");
        metronome.beat(whole, Duration::from_secs(60));
        assert_eq!(metronome.pace, Pace(whole * 5 / 16), "half at most");
        metronome.beat(10, Duration::from_secs(1));
        assert_eq!(metronome.pace, Pace(whole * 5 / 16), "so little says nothing");
        metronome.beat(1_000, Duration::from_micros(1));
        assert_eq!(metronome.pace, Pace(whole * 5 / 8), "twice as much at most");
        (0..9).for_each(|_| metronome.beat(1_000, Duration::from_secs(60)));
        assert_eq!(metronome.pace, Pace(PACE_LEAST));
    }
}
