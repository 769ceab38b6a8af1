//! The brain itself: one event in, one decision out.
//!
//! This file says which event is dealt with where; the files under `apply/` compute. Nothing here
//! can fail: a wish that cannot be met is refused in its answer, a report that is too late is
//! counted, and what the types cannot exclude is an assertion.

mod alert;
mod ask;
mod attempt;
mod child;
mod close;
mod grant;
mod judge;
mod loan;
mod lock;
mod operate;
mod progress;
mod render;
mod report;
mod signal;
mod submit;
mod suspect;
mod wake;

use crate::{
    State,
    alert::Incident,
    decision::Decision,
    event::{Envelope, Event},
    step::Step,
};

pub use child::{ANCESTORS_MAX, CHILDREN_MAX};
pub(crate) use grant::assignment;
pub(crate) use render::{Rendered, render};

/// Applies one event.
///
/// Deterministic: the same state and envelope always give the same state and decision. Changes at
/// most about `step_changes_max` rows; what is left becomes a stored continuation of each run that it concerns.
///
/// # Panics
/// If the state contradicts itself. The driver catches it, drops the state, loads it anew and puts
/// an event that fails alone into quarantine.
pub fn apply(state: &mut State, envelope: &Envelope) -> Decision {
    let grants_apart = state.volatile.grants_apart;
    let mut step = Step::new(state, envelope);
    match &envelope.event {
        Event::RunSubmitted(submission) => step.submit(submission),
        Event::RunCancelRequested { run, request, caller } => step.cancel_run(*run, request, *caller),
        Event::SignalSent { run, signal, caller } => step.signal(*run, signal, *caller),
        Event::Paused { target, by, caller } => step.pause(target, by, *caller),
        Event::Resumed { target, by, caller } => step.unpause(target, by, *caller),
        Event::TaskDecided { task, decision, caller } => step.decide(*task, *decision, *caller),
        Event::WorkflowRegistered { workflow, caller } => step.register_workflow(workflow, *caller),
        Event::WorkflowForgotten { name, versions, caller } => step.forget_workflow(name, versions, *caller),
        Event::DeadLetterDropped { task, caller } => step.drop_dead_letter(*task, *caller),
        Event::SettingsApplied(settings) => step.apply_settings(settings),
        Event::DeadlockMarked { deadlock, caller } => step.mark_deadlock(deadlock, *caller),
        Event::FindingsReported { findings, caller } => step.report(findings, *caller),
        Event::PoolSet { name, pool, caller } => step.set_pool(name, *pool, *caller),
        Event::RunsFocused(focus) => step.focus(focus.clone()),
        Event::WorkerJoined { worker, slots, serves } => step.join(worker, *slots, serves),
        Event::WorkerLeft { worker } => step.leave(worker),
        Event::AttemptStarted { attempt, fence } => step.attempt_started(*attempt, *fence),
        Event::AttemptRenewed { attempt, fence } => step.attempt_renewed(*attempt, *fence),
        Event::AttemptAsked { attempt, fence, ask, caller } => step.attempt_asked(*attempt, *fence, ask, *caller),
        Event::AttemptEnded(end) => step.attempt_ended(end),
        Event::DeadlinePassed(deadline) => step.deadline_passed(*deadline),
        Event::TimeSkipped { since } => step.time_skipped(*since),
        Event::ContinuationDue(seq) => step.resume(*seq),
        Event::GrantsDue => {}
        Event::RunPoisoned { run, error } => step.poison(*run, error),
        Event::EventQuarantined(quarantined) => step.quarantine(quarantined),
        Event::AlertRaised(incident) => step.raise(Incident::clone(incident)),
        Event::AlertResolved { key } => step.end_incident(key),
        Event::AlertDelivered { alert, target, news } => step.alert_delivered(*alert, target, *news),
        Event::AlertFailed(failed) => step.alert_failed(failed),
    }
    match &envelope.event {
        // What puts a failure aside must not fail on the next one: the grants follow by themselves.
        Event::RunPoisoned { .. } | Event::EventQuarantined(_) => step.settle_aside(),
        event if grants_apart && !matches!(event, Event::GrantsDue) => step.settle_apart(),
        _ => step.settle_all(),
    }
    step.finish()
}
