//! What a task waits for, in a sentence: on what, and until when at the latest.

use super::{Definitions, View};
use crate::{
    output::thousands,
    source::{read_word, stamp},
    time,
};
use unknot_api::{Moment, rest};
use unknot_engine::core::{
    Millis, TaskIndex,
    run::{Lease, RunStatus, StopReason, TaskStatus, WaitOn},
    wait::Awaited,
    workflow::TaskDef,
};

/// Needs that a sentence names.
const NEEDS_NAMED_MAX: usize = 3;

impl View {
    /// Why a task is as it is, where its status does not say it all.
    pub(super) fn explain(&self, index: TaskIndex, task: &rest::Task) -> String {
        if let Some(wait) = &task.wait {
            return self.explain_wait(index, task, wait);
        }
        if let Some(lease) = &task.lease {
            return self.explain_lease(lease);
        }
        match (&task.error, read_word(&task.status)) {
            (Some(error), Some(TaskStatus::Failed)) => error.message.clone(),
            _ => task.reason.clone().unwrap_or_default(),
        }
    }

    /// What holds back tasks of this run, and how that is ended.
    pub(super) fn held(&self) -> impl Iterator<Item = String> {
        let (summary, holds) = (&self.run.summary, &self.holds);
        let resume = |kind: &str, name: &str| format!("`unknot resume {kind} {name}{}` lets it go on", self.option);
        let told = move |kind: &str, name: &str, paused: &rest::Paused| {
            let (by, since) = (&paused.by, time::ago(self.now, stamp(paused.since)));
            format!("{kind} `{name}` is held by {by} ({since}): {}", resume(kind, name))
        };
        let run = summary
            .paused
            .then(|| format!("an operator holds it, nothing new starts: {}", resume("run", &summary.run_id)));
        let workflow = holds.workflows.get(&summary.workflow_name);
        let workflow = workflow.map(|paused| told("workflow", &summary.workflow_name, paused));
        let queues = holds.queues.iter().filter(|(name, _)| self.uses(name));
        let queues: Vec<String> = queues.map(|(name, paused)| told("queue", name, paused)).collect();
        run.into_iter().chain(workflow).chain(queues)
    }

    /// Whether tasks of this run stand in a queue, as far as that is known.
    fn uses(&self, queue: &str) -> bool {
        let stands = |def: &TaskDef| def.queue_name() == queue;
        match &self.definitions {
            Definitions::All(definition) => definition.body.tasks.iter().any(stands),
            Definitions::Some(tasks) => tasks.values().any(stands),
            Definitions::Unknown => true,
        }
    }

    fn explain_wait(&self, index: TaskIndex, task: &rest::Task, wait: &rest::Wait) -> String {
        let left = self.left(wait.deadline);
        let Some(on) = read_word(&wait.on) else { return format!("waits: {}; {left}", wait.on) };
        match on {
            WaitOn::Needs => format!("{}; {left}", self.explain_needs(wait)),
            WaitOn::Grant => {
                if self.run.summary.paused || self.holds.workflows.contains_key(&self.run.summary.workflow_name) {
                    return format!("held, see above; {left}");
                }
                if let Some(sentence) = &wait.sentence {
                    return format!("{sentence}; {left}");
                }
                let Some(def) = self.task_def(index) else { return format!("stands in its queue for a slot; {left}") };
                let queue = def.queue_name();
                if self.holds.queues.contains_key(queue) {
                    return format!("held with its queue `{queue}`; {left}");
                }
                let beside = match def.resources.len() {
                    0 => String::new(),
                    _ => format!(" with {}", def.resources.keys().cloned().collect::<Vec<_>>().join(", ")),
                };
                format!("stands in `{queue}` for a slot{beside}; {left}")
            }
            WaitOn::Backoff => {
                let error = task.error.as_ref().map(|error| error.message.as_str()).unwrap_or_default();
                let when = if self.is_served { format!("tries again in {}", self.until(wait.deadline)) } else { left };
                format!("{when}: {error}")
            }
            WaitOn::Sleep => format!("sleeps; {left}"),
            WaitOn::Signal => format!("waits for signal `{}`; {left}", self.signal(index, wait)),
            WaitOn::Confirmation => {
                format!("try {} may still be alive: waits for word that it is gone; {left}", task.attempts)
            }
            WaitOn::Decision => format!("its attempt was lost, a person must decide; {left}"),
        }
    }

    /// The signal that a task waits for, as far as that is known.
    fn signal(&self, index: TaskIndex, wait: &rest::Wait) -> String {
        let defined = self.task_def(index).and_then(|def| Some(def.kind.awaits()?.0.to_string()));
        wait.signal.clone().or(defined).unwrap_or_else(|| "NAME".to_owned())
    }

    fn until(&self, moment: Moment) -> String {
        time::length(stamp(moment).since(self.now))
    }

    /// How long something may still take; nobody counts where no process serves the run.
    fn left(&self, deadline: Moment) -> String {
        if self.is_served { format!("{} left", self.until(deadline)) } else { "nobody serves it now".to_owned() }
    }

    fn explain_needs(&self, wait: &rest::Wait) -> String {
        if read_word(&self.run.summary.status) == Some(RunStatus::Pending) {
            return "waits for the start of its run".to_owned();
        }
        let Some(rest::Needs { names, open, missing, until }) = &wait.needs else {
            return "waits for others".to_owned();
        };
        if names.is_empty() || *missing == 0 {
            return "is about to start".to_owned();
        }
        let mut told: Vec<String> = names.iter().take(NEEDS_NAMED_MAX).cloned().collect();
        let left_out = open.saturating_sub(told.len() as u64);
        if until == Awaited::Failure.word() {
            return format!("runs if {} fails", told.join(" or "));
        }
        if left_out > 0 {
            told.push(format!("{} more", thousands(left_out)));
        }
        let some = if missing < open { format!("{} of ", thousands(*missing)) } else { String::new() };
        format!("waits for {some}{}", told.join(", "))
    }

    fn explain_lease(&self, lease: &rest::Lease) -> String {
        match (&lease.stopping, lease.started_at) {
            _ if !self.is_served => {
                format!("was on {}, whose process is gone; the next one ends what is left of it", lease.worker)
            }
            (Some(stopping), _) => {
                let why = match read_word(&stopping.reason) {
                    Some(StopReason::Cancelled) => "cancelled",
                    Some(StopReason::RunEnding) => "its run ends",
                    Some(StopReason::TimedOut) => "out of time",
                    Some(StopReason::Heartbeat) => "silent for too long",
                    Some(StopReason::Deadlock) => "it ends a deadlock",
                    None => stopping.reason.as_str(),
                };
                let gone = time::length(self.now.since(stamp(stopping.since)));
                let whole = Millis(stopping.fenced_at.ms.saturating_sub(stopping.since.ms));
                let ladder = Millis(whole.0.saturating_sub(Lease::REPORT_MARGIN.0));
                // The parts of the bound, so that it can be told from the workflow's.
                format!(
                    "is being stopped ({why}); given up in {}: {ladder} of its ladder + {} to hear of it, {gone} gone",
                    self.until(stopping.fenced_at),
                    Lease::REPORT_MARGIN
                )
            }
            (None, Some(_)) => match &lease.waits {
                None => format!("on {}; {}", lease.worker, self.left(lease.deadline)),
                Some(wait) => {
                    let what = wait.sentence.clone().unwrap_or_else(|| format!("waits: {}", wait.name));
                    format!("{what}; {}", self.left(wait.deadline))
                }
            },
            (None, None) => format!("given to {}, not started yet", lease.worker),
        }
    }
}
