//! How the command ends, as scripts see it.

use std::process::ExitCode;
use unknot_engine::core::run::RunStatus;

/// The exit statuses. `args.rs` lists them in the help of `run`, `args/analyze.rs` in that of `analyze`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0. Done; the run is COMPLETED.
    Success,
    /// 1. The run FAILED, or a check found something.
    Failed,
    /// 2. What was typed, or the workflow file, cannot be used.
    Usage,
    /// 3. The run was CANCELLED.
    Cancelled,
    /// 4. The run TIMED_OUT.
    TimedOut,
    /// 5. The store, the disk or the system stands in the way.
    Environment,
    /// 75, as `EX_TEMPFAIL` of sysexits.h: what was waited for was not there in time.
    NotInTime,
    /// What the command that was run ended with.
    Command(u8),
    /// Cut short, 130: a second Ctrl-C or TERM killed everything, nobody reads what is printed, or the run was left to its
    /// server. What became of the run is told beside it.
    Killed,
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

impl Exit {
    /// The number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Cancelled => 3,
            Self::TimedOut => 4,
            Self::Environment => 5,
            Self::NotInTime => 75,
            Self::Command(code) => code,
            Self::Killed => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
