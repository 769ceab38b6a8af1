//! How the command ends, as scripts see it.

use std::process::ExitCode;
use unknot_engine::core::run::RunStatus;

/// The exit statuses. `args.rs` lists them in the help of `run`, `args/analyze.rs` in that of `analyze`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; the run is COMPLETED.
    Success = 0,
    /// The run FAILED, or a check found something.
    Failed = 1,
    /// What was typed, or the workflow file, cannot be used.
    Usage = 2,
    /// The run was CANCELLED.
    Cancelled = 3,
    /// The run TIMED_OUT.
    TimedOut = 4,
    /// The store, the disk or the system stands in the way.
    Environment = 5,
    /// Cut short: a second Ctrl-C or TERM killed everything, nobody reads what is printed, or the run was left to its
    /// server. What became of the run is told beside it.
    Killed = 130,
}

impl Exit {
    /// A wait graph that only the outside can move.
    pub(crate) const STALLED: Self = Self::Cancelled;

    /// How a run's final status ends the command. A run that has not ended is nobody's success.
    pub(crate) fn of(status: RunStatus) -> Self {
        match status {
            RunStatus::Completed => Self::Success,
            RunStatus::Failed => Self::Failed,
            RunStatus::Cancelled => Self::Cancelled,
            RunStatus::TimedOut => Self::TimedOut,
            RunStatus::Pending | RunStatus::Running | RunStatus::Cancelling => Self::Killed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
