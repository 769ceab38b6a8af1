//! What a task waits for, in a sentence: on what, and until when at the latest.

use super::{Definitions, View};
use crate::time;
use unknot_engine::core::{
    TaskIndex, Timestamp,
    run::{Lease, StopReason, Task, TaskStatus, Wait, WaitOn},
    settings::DEFAULT_QUEUE,
    workflow::{Need, When},
};

/// Needs that a sentence names.
const NEEDS_NAMED_MAX: usize = 3;

impl View<'_> {
    /// Why a task is as it is, where its status does not say it all.
    pub(super) fn explain(&self, index: TaskIndex, task: &Task) -> String {
        if let Some(wait) = task.wait() {
            return self.explain_wait(index, task, wait);
        }
        if let Some(lease) = task.lease() {
            return self.explain_lease(lease);
        }
        let end = task.end().and_then(|end| end.reason.as_deref()).unwrap_or_default();
        match (&task.error, task.status()) {
            (Some(error), TaskStatus::Failed) => error.message.clone(),
            _ => end.to_owned(),
        }
    }

    fn explain_wait(&self, index: TaskIndex, task: &Task, wait: &Wait) -> String {
        let left = self.left(wait.deadline);
        match wait.on {
            WaitOn::Needs => format!("{}; {left}", self.explain_needs(index, task)),
            WaitOn::Grant => {
                let def = self.task_def(index);
                let queue = def.queue.as_deref().unwrap_or(DEFAULT_QUEUE);
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
            WaitOn::Confirmation => {
                format!("try {} may still be alive: waits for word that it is gone; {left}", task.attempts)
            }
            WaitOn::Decision => format!("its attempt was lost, a person must decide; {left}"),
        }
    }

    fn until(&self, moment: Timestamp) -> String {
        time::length(moment.since(self.now))
    }

    /// How long something may still take; nobody counts where no process serves the run.
    fn left(&self, deadline: Timestamp) -> String {
        if self.is_served { format!("{} left", self.until(deadline)) } else { "nobody serves it now".to_owned() }
    }

    fn explain_needs(&self, index: TaskIndex, task: &Task) -> String {
        // Tasks that wait for others are not among the few that are shown of a large run.
        let Definitions::All(definition) = &self.definitions else { return "waits for others".to_owned() };
        let def = definition.task(index);
        if def.when == When::Fallback && task.met >= def.needs.at_least {
            let primaries = definition.primaries.get(&index).into_iter().flatten();
            let names: Vec<&str> = primaries.map(|primary| definition.task(*primary).name.as_ref()).collect();
            return format!("runs if {} fails", names.join(" or "));
        }
        let open: Vec<&Need> = def.needs.of.iter().filter(|need| !self.is_settled(need)).collect();
        let count = match (def.needs.at_least as usize, def.needs.of.len()) {
            (least, total) if least == total => String::new(),
            (least, total) => format!("{least} of {total}: "),
        };
        let name = |need: &&Need| definition.task(need.task).name.to_string();
        let mut names: Vec<String> = open.iter().take(NEEDS_NAMED_MAX).map(name).collect();
        if open.len() > NEEDS_NAMED_MAX {
            names.push(format!("{} more", open.len() - NEEDS_NAMED_MAX));
        }
        if names.is_empty() { "is about to start".to_owned() } else { format!("waits for {count}{}", names.join(", ")) }
    }

    /// Whether a need is met or never will be; of a task that is not shown nothing is known.
    fn is_settled(&self, need: &Need) -> bool {
        self.tasks.get(&need.task).is_some_and(|task| task.end().is_some())
    }

    fn explain_lease(&self, lease: &Lease) -> String {
        match (&lease.stopping, lease.started_at) {
            _ if !self.is_served => {
                format!("was on {}, whose process is gone; the next one ends what is left of it", lease.worker.name)
            }
            (Some(stopping), _) => {
                let why = match stopping.reason {
                    StopReason::Cancelled => "cancelled",
                    StopReason::RunEnding => "its run ends",
                    StopReason::TimedOut => "out of time",
                    StopReason::Heartbeat => "silent for too long",
                };
                format!("is being stopped ({why}); given up in {}", self.until(stopping.fenced_at))
            }
            (None, Some(_)) => format!("on {}; {}", lease.worker.name, self.left(lease.deadline)),
            (None, None) => format!("given to {}, not started yet", lease.worker.name),
        }
    }
}
