//! What runs and tasks are called, in the words of the API.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A run's status, in the API's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RunStatus {
    /// Waits for its start time.
    Pending,
    /// Its tasks are let go.
    Running,
    /// Nothing new starts; running attempts walk the ladder.
    Cancelling,
    /// Every task ended and no failure was left unhandled.
    Completed,
    /// A task failed for good.
    Failed,
    /// Cancelled by somebody.
    Cancelled,
    /// Its own bound was reached.
    TimedOut,
}

/// The final statuses of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskEnd {
    /// It did what it should.
    Completed,
    /// It is out of tries.
    Failed,
    /// It was stopped, or never started, because its run came to an end.
    Cancelled,
    /// Its needs or its `when` said no.
    Skipped,
}

/// A task's status, in the API's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskStatus {
    /// Waits for its needs.
    Pending,
    /// Stands in its queue.
    Queued,
    /// A worker performs it.
    Running,
    /// In another named wait.
    Waiting,
    /// Waits for its next try.
    Retrying,
    /// Did what it should.
    Completed,
    /// Out of tries.
    Failed,
    /// Stopped or never started.
    Cancelled,
    /// Not to be run.
    Skipped,
}

impl RunStatus {
    /// The API's word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Cancelling => "CANCELLING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::TimedOut => "TIMED_OUT",
        }
    }

    /// Whether nothing can follow it.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::TimedOut)
    }
}

impl TaskStatus {
    /// All of them, in the order in which they are declared.
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::Queued,
        Self::Running,
        Self::Waiting,
        Self::Retrying,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Skipped,
    ];

    /// The API's word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Queued => "QUEUED",
            Self::Running => "RUNNING",
            Self::Waiting => "WAITING",
            Self::Retrying => "RETRYING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Skipped => "SKIPPED",
        }
    }

    /// Whether nothing can follow it.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Skipped)
    }
}

impl From<TaskEnd> for TaskStatus {
    fn from(end: TaskEnd) -> Self {
        match end {
            TaskEnd::Completed => Self::Completed,
            TaskEnd::Failed => Self::Failed,
            TaskEnd::Cancelled => Self::Cancelled,
            TaskEnd::Skipped => Self::Skipped,
        }
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}
