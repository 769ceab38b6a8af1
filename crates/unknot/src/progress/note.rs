//! What a line of history means to somebody who watches.

use super::{Progress, remarks::remarks};
use crate::{output::Tone, time};
use serde_json::Value;
use unknot_engine::core::{
    Millis, TaskIndex, Timestamp,
    row::{HistoryEntry, HistoryKind},
    run::RunStatus,
    workflow::OnFailure,
};

/// Whether a line is worth its place when there are very many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// The ordinary course of things.
    Routine,
    /// Somebody should see it, however many tasks there are.
    Notable,
}

/// A sentence about a task, or about the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// When.
    pub(crate) at: Timestamp,
    /// How good the news is.
    pub(crate) tone: Tone,
    /// How much it matters.
    pub(crate) rank: Rank,
    /// The task's name; none: the run.
    pub(crate) task: Option<String>,
    /// What happened.
    pub(crate) text: String,
}

impl Note {
    /// What `entry` says, before `progress` takes it in; none if it says nothing to a person.
    pub(crate) fn of(entry: &HistoryEntry, progress: &Progress) -> Option<Self> {
        use HistoryKind as Kind;
        use Rank::{Notable, Routine};
        let said = |key: &str| entry.detail.text(key).unwrap_or_default();
        let (tone, rank, text) = match entry.event {
            Kind::RunSubmitted
            | Kind::RunStarted
            | Kind::RunCompleted
            | Kind::RunFailed
            | Kind::RunCancelled
            | Kind::RunTimedOut
            | Kind::TaskQueued
            | Kind::TaskGranted
            // What follows it says so: another try, a person's decision, or the failure.
            | Kind::TaskLost => return None,
            Kind::RunCancelling => (Tone::Warn, Notable, format!("nothing new starts: {}", said("reason"))),
            Kind::RunPaused => (Tone::Warn, Notable, format!("held by {}", said("by"))),
            Kind::RunResumed => (Tone::Plain, Notable, format!("goes on, by {}", said("by"))),
            Kind::SignalReceived => (Tone::Plain, Notable, format!("signal `{}`, by {}", said("signal"), said("by"))),
            Kind::RunPoisoned => (Tone::Bad, Notable, format!("frozen: {}", said("error"))),
            Kind::TaskStarted if entry.attempt.is_some_and(|attempt| attempt > 1) => {
                (Tone::Plain, Routine, format!("started, attempt {}", entry.attempt.unwrap_or_default()))
            }
            Kind::TaskStarted => (Tone::Plain, Routine, "started".to_owned()),
            Kind::TaskWaiting => waiting(entry),
            Kind::WaitBegan => (Tone::Plain, Routine, waits(entry)),
            Kind::WaitGranted => (Tone::Plain, Routine, waited(entry)),
            Kind::WaitEnded => (Tone::Warn, Notable, format!("waits no more: {}", said("why"))),
            Kind::UnitsReleased => (Tone::Faint, Routine, "gave back what it held".to_owned()),
            Kind::ChildSpawned => {
                (Tone::Plain, Routine, format!("spawned {} of workflow {}", said("run"), said("workflow")))
            }
            Kind::ChildEnded => (Tone::Plain, Routine, format!("its run {} ended as {}", said("run"), said("status"))),
            Kind::DeadlockDetected => {
                let text = format!("is part of a deadlock: `unknot deadlocks show {}`", said("verdict"));
                (Tone::Bad, Notable, text)
            }
            Kind::StallDetected => {
                (Tone::Warn, Notable, format!("is {}: `unknot deadlocks show {}`", said("kind"), said("verdict")))
            }
            Kind::StallEnded => (Tone::Plain, Notable, format!("is no longer {}", said("kind"))),
            Kind::TaskStopping => {
                let (tone, rank) = match progress.status {
                    RunStatus::Cancelling => (Tone::Plain, Routine),
                    _ => (Tone::Warn, Notable),
                };
                (tone, rank, stopping(said("reason")))
            }
            Kind::TaskRetrying => (Tone::Warn, Notable, retrying(entry)),
            Kind::TaskCompleted => (Tone::Good, Routine, completed(entry, progress)),
            Kind::TaskFailed => (Tone::Bad, Notable, failed(entry, progress)),
            // Why, the run has said.
            Kind::TaskCancelled => (Tone::Warn, Routine, "cancelled".to_owned()),
            Kind::TaskSkipped => (Tone::Faint, Notable, reasoned("skipped", said("reason"))),
            Kind::ReportRefused => (Tone::Faint, Routine, "a report came too late and was refused".to_owned()),
        };
        let (remarks, their_rank) = remarks(entry);
        let (rank, text) = (rank.max(their_rank), text + &remarks);
        Some(Self { at: entry.at, tone, rank, task: entry.name.as_deref().map(str::to_owned), text })
    }
}

/// What is waited for, and who had it when the wait began.
fn waits(entry: &HistoryEntry) -> String {
    let what = entry.detail.text("what").unwrap_or_default();
    let held_by = entry.detail.get("held_by").map(Value::from).unwrap_or_default();
    let name = |holder: &Value| Some(format!("`{}/{}`", holder["workflow"].as_str()?, holder["name"].as_str()?));
    let names: Vec<String> = held_by.as_array().into_iter().flatten().filter_map(name).collect();
    if names.is_empty() { what.to_owned() } else { format!("{what}, held by {}", names.join(", ")) }
}

fn waited(entry: &HistoryEntry) -> String {
    match entry.detail.number("waited_ms").unwrap_or_default() {
        0 => "has it".to_owned(),
        ms => format!("has it, after {}", time::length(Millis(ms))),
    }
}

fn reasoned(word: &str, reason: &str) -> String {
    if reason.is_empty() { word.to_owned() } else { format!("{word}: {reason}") }
}

fn waiting(entry: &HistoryEntry) -> (Tone, Rank, String) {
    if let Some(signal) = entry.detail.text("signal") {
        let text = format!("waits for signal `{signal}`: `unknot signal send {} {signal}`", entry.run);
        return (Tone::Plain, Rank::Notable, text);
    }
    match (entry.detail.number("sleep_ms"), entry.detail.number("at_most_ms")) {
        (Some(ms), _) => (Tone::Plain, Rank::Routine, format!("sleeps for {}", Millis(ms))),
        (None, Some(ms)) => {
            let most = Millis(ms);
            let text = format!("its attempt may still be alive; it waits at most {most} for word that it is gone");
            (Tone::Warn, Rank::Notable, text)
        }
        (None, None) => {
            (Tone::Warn, Rank::Notable, "its attempt was lost; it waits for a person's decision".to_owned())
        }
    }
}

fn stopping(reason: &str) -> String {
    match reason {
        "timed_out" => "is out of time and asked to stop".to_owned(),
        "heartbeat" => "is silent for too long and asked to stop".to_owned(),
        "deadlock" => "is stopped to end a deadlock, and is made again".to_owned(),
        _ => "is asked to stop".to_owned(),
    }
}

fn retrying(entry: &HistoryEntry) -> String {
    let said = |key: &str| entry.detail.text(key).unwrap_or_default();
    let pause = entry.detail.number("pause_ms").unwrap_or_default();
    let when = if pause == 0 { "now".to_owned() } else { format!("in {}", time::length(Millis(pause))) };
    format!("attempt {}: {}; tries again {when}", entry.attempt.unwrap_or(1), said("message"))
}

fn completed(entry: &HistoryEntry, progress: &Progress) -> String {
    match entry.task.and_then(|index| progress.begun(index)) {
        Some(begun) => format!("completed in {}", time::length(entry.at.since(begun))),
        None => "completed".to_owned(),
    }
}

fn failed(entry: &HistoryEntry, progress: &Progress) -> String {
    let message = entry.detail.text("message").unwrap_or_default();
    let task = |index: TaskIndex| progress.definition.body.tasks.get(index.0 as usize);
    let fallback = |index: TaskIndex| match task(index).map(|task| task.on_failure) {
        Some(OnFailure::Fallback(fallback)) => {
            format!("; `{}` takes over", progress.definition.task(fallback).name)
        }
        Some(OnFailure::Continue) => "; the run goes on".to_owned(),
        Some(OnFailure::Fail) | None => String::new(),
    };
    format!("{}{}", reasoned("failed", message), entry.task.map(fallback).unwrap_or_default())
}
