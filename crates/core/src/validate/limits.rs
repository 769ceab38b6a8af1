//! Limits in time and number: each within its bounds, and no two that cannot both hold.
//!
//! Only what a person set is refused, naming both keys and values; whatever nobody set is derived
//! from its outer limit.

use super::{
    LONGEST, Problem,
    draft::{DraftCancel, DraftRetry, DraftTask},
    problem::{Code, Problems, join_key},
};
use crate::{
    time::Millis,
    workflow::{Backoff, Ladder, Retry, TaskKind},
};

/// Longest stay on one rung of the cancellation ladder.
const RUNG_MAX: Millis = Millis::from_hours(1);
/// Most tries of one task.
const ATTEMPTS_MAX: u32 = 1_000;

/// The run that a task's limits must fit in.
pub(super) struct Run {
    pub(super) timeout: Millis,
    /// Whether nobody set it.
    pub(super) is_default: bool,
}

/// Whether a length may be zero.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Zero {
    Allowed,
    Refused,
}

pub(super) fn check(task: &DraftTask, run: &Run, problems: &mut Problems) {
    let at = At { task };
    at.length("timeout", task.timeout, Zero::Refused, problems);
    at.length("queue_timeout", task.queue_timeout, Zero::Refused, problems);
    at.length("heartbeat_timeout", task.heartbeat_timeout, Zero::Refused, problems);
    at.length("retry.backoff.first", task.retry.first, Zero::Allowed, problems);
    at.length("retry.backoff.max", task.retry.max, Zero::Allowed, problems);
    at.length("limits.cpu_time", task.limits.cpu_time, Zero::Refused, problems);
    at.length("sleep", at.sleep(), Zero::Allowed, problems);
    at.counts(problems);
    at.conflicts_with_run(run, problems);
    at.conflicts_within(problems);
}

/// Refuses a length that is zero where that means nothing, or beyond the longest allowed.
pub(super) fn check_length(path: &str, length: Millis, zero: Zero, problems: &mut Problems) {
    let key = path.rsplit('.').next().unwrap_or(path);
    if length > LONGEST {
        problems.add(|| {
            Problem::new(Code::Range, path, format!("`{key}` is longer than anything may last"))
                .expected(format!("at most {LONGEST}"))
        });
    } else if length == Millis(0) && zero == Zero::Refused {
        problems.add(|| {
            Problem::new(Code::Range, path, format!("`{key}` 0s leaves no time at all")).expected("more than zero")
        });
    }
}

struct At<'d> {
    task: &'d DraftTask,
}

impl At<'_> {
    fn path(&self, rest: &str) -> String {
        format!("{}.{rest}", join_key("tasks", &self.task.name))
    }

    fn length(&self, key: &str, length: Option<Millis>, zero: Zero, problems: &mut Problems) {
        match length {
            Some(length) if length > LONGEST || length == Millis(0) => {
                check_length(&self.path(key), length, zero, problems);
            }
            _ => {}
        }
    }

    fn range<T: PartialOrd + std::fmt::Display + Copy>(
        &self,
        key: &str,
        value: Option<T>,
        (least, most): (T, Option<T>),
        problems: &mut Problems,
    ) {
        if let Some(value) = value.filter(|&value| !(value >= least && most.is_none_or(|most| value <= most))) {
            problems.add(|| {
                let word = key.rsplit('.').next().unwrap_or(key);
                Problem::new(Code::Range, self.path(key), format!("`{word}` {value} is out of range"))
                    .expected(most.map_or_else(|| format!("{least} or more"), |most| format!("{least} to {most}")))
            });
        }
    }

    fn counts(&self, problems: &mut Problems) {
        let (retry, limits, cancel) = (&self.task.retry, &self.task.limits, &self.task.cancel);
        self.range("retry.attempts", retry.attempts, (1, Some(ATTEMPTS_MAX)), problems);
        self.range("retry.backoff.factor", retry.factor, (1.0, Some(100.0)), problems);
        self.range("retry.backoff.jitter", retry.jitter, (0.0, Some(1.0)), problems);
        self.range("limits.memory", limits.memory_bytes, (1, None), problems);
        self.range("limits.processes", limits.processes, (1, None), problems);
        self.range("limits.open_files", limits.open_files, (1, None), problems);
        self.range("limits.file_size", limits.file_size_bytes, (1, None), problems);
        self.range("limits.cpu", limits.cpu_cores, (0.01, Some(4096.0)), problems);
        for (key, rung) in [("told", cancel.told), ("term", cancel.term), ("kill", cancel.kill)] {
            self.range(&format!("cancel.{key}"), rung, (Millis(0), Some(RUNG_MAX)), problems);
        }
        for (place, status) in retry.on_exits.iter().flatten().enumerate() {
            self.range(&format!("retry.on_exits[{place}]"), Some(*status), (1, Some(255)), problems);
        }
    }

    fn conflict(&self, key: &str, message: String, problems: &mut Problems) {
        problems.add(|| Problem::new(Code::Limits, self.path(key), message));
    }

    /// What must fit in the run: waits, attempts, and the ladder where a person set one.
    fn conflicts_with_run(&self, run: &Run, problems: &mut Problems) {
        let task = self.task;
        let origin = if run.is_default { " (the default)" } else { "" };
        let outer = format!("the run's `timeout` {}{origin}", run.timeout);
        let too_long = |length: &Millis| *length > run.timeout && *length <= LONGEST;
        let inner = [("timeout", task.timeout), ("queue_timeout", task.queue_timeout), ("sleep", self.sleep())];
        for (key, length) in inner.into_iter().filter_map(|(key, length)| Some((key, length.filter(too_long)?))) {
            self.conflict(key, format!("`{key}` {length} does not fit in {outer}"), problems);
        }
        let Some(timeout) = task.timeout.filter(|&timeout| timeout <= run.timeout && task.cancel.is_set()) else {
            return;
        };
        let ladder = ladder(&task.cancel).total();
        if timeout.plus(ladder) > run.timeout {
            let message =
                format!("`timeout` {timeout} with the {ladder} of its `cancel` ladder does not fit in {outer}");
            self.conflict("timeout", message, problems);
        }
    }

    /// What must fit in the task's own limits.
    fn conflicts_within(&self, problems: &mut Problems) {
        let task = self.task;
        match (task.heartbeat_timeout, task.timeout) {
            (Some(heartbeat), Some(timeout)) if heartbeat >= timeout => {
                let message =
                    format!("`heartbeat_timeout` {heartbeat} can never be reached within `timeout` {timeout}");
                self.conflict("heartbeat_timeout", message, problems);
            }
            _ => {}
        }
        match (self.sleep(), task.timeout) {
            (Some(length), Some(timeout)) if length > timeout => {
                self.conflict("sleep", format!("`sleep` {length} is longer than `timeout` {timeout}"), problems);
            }
            _ => {}
        }
        match (task.retry.first, task.retry.max) {
            (Some(first), Some(max)) if first > max => {
                let message = format!("`first` {first} of the backoff is longer than its `max` {max}");
                self.conflict("retry.backoff.first", message, problems);
            }
            _ => {}
        }
    }

    const fn sleep(&self) -> Option<Millis> {
        match self.task.kind {
            TaskKind::Sleep(length) => Some(length),
            _ => None,
        }
    }
}

/// Retries with everything that nobody set filled in; a bound set alone moves the other one.
pub(super) fn retry(draft: &DraftRetry) -> Retry {
    let usual = Backoff::default();
    let first = draft.first.unwrap_or_else(|| usual.first.min(draft.max.unwrap_or(usual.first)));
    let backoff = Backoff {
        first,
        factor: draft.factor.unwrap_or(usual.factor),
        max: draft.max.unwrap_or(usual.max.max(first)),
        jitter: draft.jitter.unwrap_or(usual.jitter),
    };
    Retry { attempts: draft.attempts, backoff, on_exits: draft.on_exits.clone() }
}

/// The ladder with everything that nobody set filled in.
pub(super) fn ladder(draft: &DraftCancel) -> Ladder {
    let usual = Ladder::default();
    Ladder {
        told: draft.told.or(usual.told),
        term: draft.term.unwrap_or(usual.term),
        kill: draft.kill.unwrap_or(usual.kill),
    }
}
