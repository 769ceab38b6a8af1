//! What the driver does when a commit does not simply succeed, or the brain panics.

use super::{Blocked, Driver, Lane, Open, Phase, RETRY_FIRST, RETRY_MAX, Retry, StoreReport, StoreRequest, Turn};
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};
use unknot_core::{
    RunId, State, Timestamp, check,
    due::effects_due,
    effect::{Effect, Refusal},
    event::{Caller, Event},
    row::{Loaded, Quarantined},
    run::WorkerId,
    settings::Bounds,
    state::LoadError,
};

/// Characters of an event's text that are kept in quarantine.
const EVENT_TEXT_MAX: usize = 16 * 1024;
/// When the store is asked again whose answer is awaited.
const NEVER: Timestamp = Timestamp(u64::MAX);

/// Why the brain can not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// Another process took the namespace over.
    #[error("another process owns this namespace now: {0}")]
    Fenced(String),
    /// The store is damaged.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// Not even putting an event aside succeeds.
    #[error("the brain fails on its own repair: {0}")]
    Beyond(String),
}

impl Driver {
    /// Takes the store's word.
    pub(super) fn take_report(&mut self, now: Timestamp, report: StoreReport, turn: &mut Turn) {
        match report {
            StoreReport::Committed => self.commit_succeeded(turn),
            StoreReport::Refused(cause) => self.refused(now, cause),
            StoreReport::Unknown(cause) => self.unknown(now, cause, turn),
            StoreReport::Resolved(durable) => {
                if self.in_flight.as_ref().is_some_and(|flight| flight.batch.commit == durable) {
                    self.commit_succeeded(turn);
                } else {
                    self.refused(now, "the connection was lost before the commit was durable".to_owned());
                }
            }
            StoreReport::Violated(cause) => self.violated(cause),
            StoreReport::Fenced(cause) => self.stop(Fatal::Fenced(cause)),
            StoreReport::Corrupt(cause) => self.stop(Fatal::Corrupt(cause)),
            StoreReport::Loaded(loaded) => self.reload(*loaded, turn),
            StoreReport::Unloaded(cause) => self.phase = Phase::Loading(Some(self.retry(now, cause))),
        }
    }

    fn stop(&mut self, fatal: Fatal) {
        self.phase = Phase::Stopped(fatal);
    }

    fn commit_succeeded(&mut self, turn: &mut Turn) {
        self.note_unheard();
        if let Some(flight) = &self.in_flight {
            self.recovery.succeeded(&flight.events);
        }
        self.committed(turn);
    }

    /// Nothing could be committed until now, so nobody could be heard.
    fn note_unheard(&mut self) {
        if let Some(blocked) = self.blocked() {
            self.unheard_since = Some(self.unheard_since.map_or(blocked.since, |since| since.min(blocked.since)));
        }
    }

    /// The same is asked again after a pause, the longer the more often it was in vain.
    fn retry(&self, now: Timestamp, cause: String) -> Retry {
        let pause = match &self.phase {
            Phase::Retrying(retry) | Phase::Resolving(retry) | Phase::Loading(Some(retry)) => {
                retry.pause.plus(retry.pause).min(RETRY_MAX)
            }
            Phase::Going | Phase::Loading(None) | Phase::Stopped(_) => RETRY_FIRST,
        };
        let asked = self.in_flight.as_ref().map_or(now, |flight| flight.since);
        let since = self.blocked().map_or(asked, |blocked| blocked.since);
        Retry { blocked: Blocked { since, cause }, at: now.plus(pause), pause }
    }

    /// The same changes are tried again after a pause; nothing new is applied meanwhile.
    fn refused(&mut self, now: Timestamp, cause: String) {
        self.phase = Phase::Retrying(self.retry(now, cause));
    }

    /// The fate of the commit in flight is asked for: at once, then after pauses.
    fn unknown(&mut self, now: Timestamp, cause: String, turn: &mut Turn) {
        let mut retry = self.retry(now, cause);
        if !matches!(self.phase, Phase::Resolving(_)) {
            retry.at = NEVER;
            turn.store = Some(StoreRequest::Resolve);
        }
        self.phase = Phase::Resolving(retry);
    }

    /// Asks the store again once a pause is over.
    pub(super) fn retry_if_due(&mut self, now: Timestamp, turn: &mut Turn) {
        let (retry, request) = match &mut self.phase {
            Phase::Retrying(retry) => {
                let Some(flight) = &self.in_flight else { return };
                (retry, StoreRequest::Commit(Arc::clone(&flight.batch)))
            }
            Phase::Resolving(retry) => (retry, StoreRequest::Resolve),
            Phase::Loading(Some(retry)) => (retry, StoreRequest::Load),
            Phase::Going | Phase::Loading(None) | Phase::Stopped(_) => return,
        };
        if retry.at <= now {
            retry.at = NEVER;
            turn.store = Some(request);
        }
    }

    /// Asks for the load that a failure made necessary, once no commit is in flight any more.
    pub(super) fn load_if_wanted(&mut self, turn: &mut Turn) {
        if self.recovery.load_wanted && self.in_flight.is_none() && matches!(self.phase, Phase::Going) {
            self.recovery.load_wanted = false;
            self.phase = Phase::Loading(None);
            turn.store = Some(StoreRequest::Load);
        }
    }

    /// The batch in flight contradicts the store: what it was made from is applied again, one by one.
    fn violated(&mut self, cause: String) {
        if let Some(flight) = self.in_flight.take() {
            let starts = flight.effects.iter().filter(|effect| matches!(effect, Effect::Start(_))).count();
            let mut events = flight.events;
            if self.recovery.is_alone() && !events.is_empty() {
                let (_, event) = events.remove(0);
                let run = run_of(&event).or(self.recovery.worked_on);
                self.recovery.failed_alone(event, cause, run);
            }
            self.drop_state(events, starts);
        }
        self.phase = Phase::Going;
    }

    /// The brain panicked on an event: its state is not trusted any more.
    pub(super) fn failed(&mut self, event: (Lane, Event), cause: String) {
        if self.recovery.is_alone() {
            let (_, event) = event;
            let run = self.state.volatile.at_work.or_else(|| run_of(&event));
            self.recovery.failed_alone(event, cause, run);
        } else {
            self.open.events.push(event);
        }
        self.drop_state(Vec::new(), 0);
    }

    /// Gives the state up. `older` came before the events of the open batch and led to so many starts.
    fn drop_state(&mut self, older: Vec<(Lane, Event)>, starts: usize) {
        let open = std::mem::take(&mut self.open);
        self.again(older.into_iter().chain(open.events), starts);
        self.recovery.load_wanted = true;
    }

    /// Starts again from the rows; what followed them is applied again.
    fn reload(&mut self, loaded: Loaded, turn: &mut Turn) {
        self.durable = loaded.commit;
        self.note_unheard();
        match examined(loaded, self.state.volatile.bounds) {
            Ok(mut state) => {
                state.carry_on(&mut self.state);
                self.state = state;
                self.open = Open::default();
                self.phase = Phase::Going;
                // What an earlier boot of the local worker had is reported lost, and not started by this one.
                let workers = &self.state.volatile.workers;
                let is_here = |worker: &WorkerId| !worker.is_local() || workers.contains_key(worker);
                turn.effects.extend(effects_due(&self.state, is_here));
                self.put_aside(turn);
            }
            Err(error) => self.stop(Fatal::Corrupt(error.to_string())),
        }
    }

    /// An event that failed alone is kept in quarantine, the run that is to blame is frozen, its caller is told. If that is
    /// not the run that the event names (a child's end fails at its parent, a free unit at who waits for it), the event
    /// is applied again once that run is frozen: a worker's word or an attempt's end is not lost for what others did.
    fn put_aside(&mut self, turn: &mut Turn) {
        let Some((event, cause, run)) = self.recovery.take_failed() else { return };
        if matches!(event, Event::EventQuarantined(_) | Event::RunPoisoned { .. }) {
            return self.stop(Fatal::Beyond(cause));
        }
        let continued = match &event {
            Event::ContinuationDue(seq) => self.state.continuations.get(seq).map(|continuation| continuation.run),
            _ => None,
        };
        let run = run.or(continued).filter(|run| self.state.runs.contains_key(run));
        if run.is_none() && is_born_of_state(&event) && !self.recovery.may_fail_again(&event) {
            // It comes again and again, and nobody can be frozen to stop it.
            return self.stop(Fatal::Beyond(cause));
        }
        let quarantined = Quarantined {
            event: format!("{event:?}").chars().take(EVENT_TEXT_MAX).collect(),
            error: cause.clone(),
            run,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: self.state.meta.high_water,
        };
        let whose = run.map_or_else(|| "none".to_owned(), |run| run.to_string());
        log::error!(run = whose.as_str(), cause = cause.as_str(); "an event fails alone: it is put aside, and its run is frozen");
        let is_anothers =
            run.is_some_and(|run| run_of(&event) != Some(run) && self.state.runs[&run].poisoned.is_none());
        match caller_of(&event) {
            _ if is_anothers && !is_born_of_state(&event) => self.recovery.own_first(Some(event)),
            Some(caller) => {
                turn.effects.push(Effect::Reply { caller, answer: Err(Refusal::Quarantined(cause.clone())) });
            }
            None => {}
        }
        self.recovery.own_first(run.map(|run| Event::RunPoisoned { run, error: cause }));
        self.recovery.own_first(Some(Event::EventQuarantined(Box::new(quarantined))));
    }
}

/// Builds the state that stored rows describe, and asserts every rule over it.
///
/// # Errors
/// If the rows contradict each other or the rules: the store is damaged, or was edited by hand.
pub fn examined(loaded: Loaded, bounds: Bounds) -> Result<State, LoadError> {
    let examine = || {
        let state = State::load(loaded, bounds)?;
        check::whole(&state);
        Ok(state)
    };
    catch_unwind(AssertUnwindSafe(examine)).unwrap_or_else(|panic| Err(LoadError::Broken(panic_text(panic.as_ref()))))
}

/// The run that an event names.
fn run_of(event: &Event) -> Option<RunId> {
    match event {
        Event::DeadlinePassed(deadline) => deadline.run(),
        Event::AttemptStarted { attempt, .. } | Event::AttemptRenewed { attempt, .. } => Some(attempt.task.run),
        Event::AttemptEnded(end) => Some(end.attempt.task.run),
        Event::RunCancelRequested { run, .. } | Event::SignalSent { run, .. } | Event::RunPoisoned { run, .. } => {
            Some(*run)
        }
        _ => None,
    }
}

/// Whether the state asks for the event by itself, so that it comes again after a load.
fn is_born_of_state(event: &Event) -> bool {
    matches!(event, Event::DeadlinePassed(_) | Event::ContinuationDue(_) | Event::GrantsDue)
}

fn caller_of(event: &Event) -> Option<Caller> {
    match event {
        Event::RunSubmitted(submission) => Some(submission.caller),
        Event::RunCancelRequested { caller, .. }
        | Event::SignalSent { caller, .. }
        | Event::Paused { caller, .. }
        | Event::Resumed { caller, .. }
        | Event::TaskDecided { caller, .. }
        | Event::WorkflowRegistered { caller, .. }
        | Event::WorkflowForgotten { caller, .. }
        | Event::DeadLetterDropped { caller, .. } => Some(*caller),
        _ => None,
    }
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}
