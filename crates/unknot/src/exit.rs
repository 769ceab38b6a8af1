//! How the command ends, as scripts see it.

use std::process::ExitCode;
use unknot_engine::core::run::RunStatus;

/// The exit statuses. `args.rs` lists them in the help of `run`, `args/analyze.rs` in that of `analyze`, `args/attempt.rs`
/// in that of `lock`, `wait` and `spawn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; the run is COMPLETED.
    Success,
    /// The run FAILED, or a check found something.
    Failed,
    /// What was typed, or the workflow file, cannot be used.
    Usage,
    /// The run was CANCELLED.
    Cancelled,
    /// The run TIMED_OUT.
    TimedOut,
    /// The store, the disk or the system stands in the way.
    Environment,
    /// What an attempt waited for did not come in time: `EX_TEMPFAIL`.
    NotInTime,
    /// Cut short: a second Ctrl-C or TERM killed everything, nobody reads what is printed, or the run was left to its
    /// server. What became of the run is told beside it.
    Killed,
    /// As a command ended that was run by this one, or that could not be.
    As(u8),
}

impl Exit {
    /// A wait graph that only the outside can move.
    pub(crate) const STALLED: Self = Self::Cancelled;

    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Cancelled => 3,
            Self::TimedOut => 4,
            Self::Environment => 5,
            Self::NotInTime => 75,
            Self::Killed => 130,
            Self::As(code) => code,
        }
    }

    /// By a signal, as shells tell it.
    pub(crate) fn by_signal(signal: i32) -> Self {
        Self::As(u8::try_from(128 + signal).unwrap_or(u8::MAX))
    }

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
        Self::from(exit.code())
    }
}
