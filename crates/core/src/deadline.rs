//! The closed set of moments that the brain waits for.

use crate::{
    AttemptId, Millis, RunId, Seq, TaskId, Timestamp,
    run::{Lease, Run},
    workflow::{TaskDef, TaskKind},
};

/// What a moment in the index of deadlines is for.
///
/// The index holds only deadlines that come before their run's own: when a run times out, every
/// wait in it ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// A pending run's start time. Set at submission, ended by the start or a cancellation.
    RunStart(RunId),
    /// A run's own bound. Set at submission, ended by its end.
    RunTimeout(RunId),
    /// A task's wait: its queue time-out, its pause before the next try, its sleep. Ended with the wait.
    TaskWait(TaskId),
    /// A queued task has waited so long that it counts as high. Only the next one to do so is in the index.
    CountsAsHigh(TaskId),
    /// An attempt is out of time: the ladder starts. Set at the grant, moved at the start.
    AttemptTimeout(AttemptId),
    /// A remote lease was not renewed. Moved by each renewal.
    LeaseExpiry(AttemptId),
    /// A remote attempt that was reported started was silent for too long: the ladder starts. Moved by each renewal.
    Heartbeat(AttemptId),
    /// A running attempt's own wait is out of time. Set when it begins to wait.
    AttemptWait(AttemptId),
    /// A timer in a running attempt's wait. Set when it begins to wait, moved to the next one by each.
    AttemptTimer(AttemptId),
    /// The ladder is at its end: the attempt is fenced. Set when it is asked to stop.
    StopExpiry(AttemptId),
    /// A target is to be told of an alert again, or now that there is room for it. Ended when nobody is to be told.
    AlertDelivery(Seq),
}

impl Deadline {
    /// The run that the deadline belongs to, if it belongs to one.
    pub const fn run(self) -> Option<RunId> {
        match self {
            Self::RunStart(run) | Self::RunTimeout(run) => Some(run),
            Self::TaskWait(task) | Self::CountsAsHigh(task) => Some(task.run),
            Self::AttemptTimeout(attempt)
            | Self::LeaseExpiry(attempt)
            | Self::Heartbeat(attempt)
            | Self::AttemptWait(attempt)
            | Self::AttemptTimer(attempt)
            | Self::StopExpiry(attempt) => Some(attempt.task.run),
            Self::AlertDelivery(_) => None,
        }
    }
}

/// The longest silence of a remote attempt whose task sets none: its worker renews its lease more often than that. A
/// local one is watched by its hand, and only if its task says so.
pub const HEARTBEAT_TIMEOUT_DEFAULT: Millis = Millis::from_secs(30);

/// When an attempt has been silent for too long, if nothing is heard of it from its start on; none: nobody minds.
pub fn heartbeat_deadline(lease: &Lease, task: &TaskDef) -> Option<Timestamp> {
    let started = lease.started_at.filter(|_| lease.expires_at.is_some() && lease.stopping.is_none())?;
    Some(started.plus(task.heartbeat_timeout.unwrap_or(HEARTBEAT_TIMEOUT_DEFAULT)))
}

/// The bound of an attempt whose task sets none.
pub const ATTEMPT_TIMEOUT_DEFAULT: Millis = Millis::from_hours(1);

/// What a parent keeps back so that a child's ladder fits inside it: the ladder, at least 1 s or 5 % of
/// what remains, at most half of it.
pub fn reserve(remaining: Millis, ladder_total: Millis) -> Millis {
    let least = ladder_total.max(Millis::from_secs(1)).max(Millis(remaining.0 / 20));
    least.min(Millis(remaining.0 / 2))
}

/// When an attempt that starts at `start` is out of time: its own limit, inside what its run has left.
pub fn attempt_deadline(start: Timestamp, run: &Run, task: &TaskDef) -> Timestamp {
    let remaining = run.deadline.since(start);
    let room = Millis(remaining.0 - reserve(remaining, task.cancel.total()).0);
    // Runs of other workflows take as long as they take.
    let usual = if matches!(task.kind, TaskKind::Workflow(_)) { room } else { ATTEMPT_TIMEOUT_DEFAULT };
    // A start that is reported after the run's own end, by a brain that was late, has no time at all.
    start.plus(task.timeout.unwrap_or(usual).min(room)).min(run.deadline)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_keeps_back_the_ladder_but_never_more_than_half() {
        assert_eq!(reserve(Millis::from_hours(1), Millis::from_secs(15)), Millis::from_mins(3));
        assert_eq!(reserve(Millis::from_secs(60), Millis::from_secs(15)), Millis::from_secs(15));
        assert_eq!(reserve(Millis::from_secs(10), Millis::from_secs(15)), Millis::from_secs(5));
        assert_eq!(reserve(Millis(0), Millis::from_secs(15)), Millis(0));
    }
}
