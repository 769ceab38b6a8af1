//! Queues, pools and bounds: what an operator configures and the brain obeys.

use crate::{
    AttemptId, Fence, Seq,
    alert::Severity,
    deadlock::Policy,
    run::WorkerId,
    time::{Millis, Timestamp},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The queue of tasks that name none.
pub const DEFAULT_QUEUE: &str = "default";

/// Most bytes of a run's input, as JSON: each grant of one of its tasks may read it.
pub const INPUT_BYTES_MAX: usize = 1024 * 1024;

/// Signals that a run keeps, by name.
pub const SIGNALS_MAX: usize = 100;

/// Bytes of what one signal says, as JSON: as many as an output may have.
pub const SIGNAL_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a run's signals together: they are written with its row.
pub const SIGNALS_BYTES_MAX: usize = 256 * 1024;

/// A queue, as stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// Its configuration.
    pub settings: QueueSettings,
    /// Since when and by whom it is held, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<crate::row::Pause>,
}

/// A queue's configuration; the keys are those of the configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueSettings {
    /// Most unfinished tasks that stand in it or may come to stand there, waiting for needs or performed
    /// meanwhile; a submission that would go beyond is refused.
    pub max_queue_size: u32,
    /// Term of a remote worker's lease.
    pub visibility_timeout: Millis,
    /// Retries of tasks that say nothing and whose kind retries: attempts are one more.
    pub max_retries: u32,
    /// A task waits at most so long before it counts as high.
    pub low_counts_as_high_after: Millis,
}

/// A named count of slots, as stored. A lock is a pool of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// How many units there are.
    pub size: u32,
    /// Whether a parent that waits for its children lends them its slot.
    pub lend: bool,
    /// What is done about a deadlock whose victim holds units of it, unless the victim's workflow says that itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_deadlock: Option<Policy>,
    /// Made by a lock that nobody configured.
    #[serde(default)]
    pub implicit: bool,
    /// Why it is closed, if a holder could not be confirmed dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poisoned: Option<Poison>,
    /// The place in the namespace's order at which it was last made smaller: only leases from before that may
    /// together hold more than there is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shrunk: Option<Seq>,
}

impl Pool {
    /// A lock that nobody configured.
    pub(crate) fn lock() -> Self {
        Self { size: 1, lend: false, on_deadlock: None, implicit: true, poisoned: None, shrunk: None }
    }
}

/// Why a pool is closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poison {
    /// A sentence for people.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
    /// The attempts that may still be alive. It opens again when each is confirmed to be gone.
    #[serde(default)]
    pub suspects: BTreeMap<AttemptId, Suspect>,
}

/// An attempt that lost its lease and may still be alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    /// The lease that it had.
    pub fence: Fence,
    /// Who performed it.
    pub worker: WorkerId,
    /// The task's name: part of the attempt's folder.
    pub task_name: String,
}

impl Poison {
    /// What is left once an attempt is confirmed to be gone; nothing: the pool is open.
    pub(crate) fn without(mut self, attempt: AttemptId) -> Option<Self> {
        self.suspects.remove(&attempt);
        (!self.suspects.is_empty()).then_some(self)
    }
}

/// Everything an operator configures that the brain decides by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Queues by name; others get the defaults when first used.
    pub queues: BTreeMap<String, QueueSettings>,
    /// Pools by name: (size, lend).
    pub pools: BTreeMap<String, PoolSettings>,
    /// Bounds of the namespace.
    pub bounds: Bounds,
    /// What is done about those who can never move.
    pub monitor: Monitor,
    /// Who is told of incidents.
    pub alerts: AlertSettings,
}

/// Who is told of incidents. Where and how is known to whoever sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertSettings {
    /// Targets by name, up to [`TARGETS_MAX`](crate::alert::TARGETS_MAX).
    pub targets: BTreeMap<String, AlertTarget>,
    /// Rules by name: an incident of one that is gone is over.
    pub rules: BTreeSet<String>,
    /// Alerts that one target gets within the window at most; what is more is held back.
    pub alerts_max: u32,
    /// See above.
    pub window: Millis,
}

/// What a target wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertTarget {
    /// Whether it is told that an incident is over.
    pub send_resolved: bool,
    /// It is told only of what is so bad, or worse.
    pub least: Severity,
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self { targets: BTreeMap::new(), rules: BTreeSet::new(), alerts_max: 20, window: Millis::from_mins(10) }
    }
}

/// What is done about those who can never move, and when others are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Monitor {
    /// Whether a proved deadlock is resolved without asking; otherwise somebody is told.
    pub cancel_on_deadlock: bool,
    /// A task that has not begun for so long is told of.
    pub pending_stale: Millis,
    /// A run without progress for so long is told of.
    pub workflow_stale: Millis,
    /// How often the monitor looks. The brain itself has no use for it.
    pub check_interval: Millis,
}

impl Default for Monitor {
    fn default() -> Self {
        Self {
            cancel_on_deadlock: true,
            pending_stale: Millis::from_mins(15),
            workflow_stale: Millis::from_hours(1),
            check_interval: Millis::from_mins(1),
        }
    }
}

/// A pool's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// How many units.
    pub size: u32,
    /// Whether waiting parents lend.
    pub lend: bool,
    /// What is done about a deadlock whose victim holds units of it; none: as is usual. A pool that is set while the
    /// server runs keeps what it has.
    pub on_deadlock: Option<Policy>,
}

/// Named bounds of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Unfinished tasks at once; a submission beyond is refused.
    pub live_tasks_max: u32,
    /// Row changes of one event; the rest is a continuation for each run that it concerns.
    pub step_changes_max: usize,
    /// Attempts whose end is unknown before a task is given up.
    pub lost_max: u32,
    /// Attempts that could not be started before a task is given up.
    pub launch_failures_max: u32,
    /// Leases of one worker, as a multiple of its slots, for work that may be fetched ahead.
    pub prefetch_factor: u32,
    /// Bytes of one run's input, as JSON.
    pub input_bytes_max: usize,
    /// Bytes of one task's output.
    pub output_bytes_max: usize,
    /// Bytes of one run's outputs together.
    pub run_output_bytes_max: u64,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            max_queue_size: 1_000_000,
            visibility_timeout: Millis::from_secs(300),
            max_retries: 3,
            low_counts_as_high_after: Millis::from_mins(10),
        }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            live_tasks_max: 1_000_000,
            step_changes_max: 1_000,
            lost_max: 10,
            launch_failures_max: 5,
            prefetch_factor: 4,
            input_bytes_max: INPUT_BYTES_MAX,
            output_bytes_max: 64 * 1024,
            run_output_bytes_max: 1024 * 1024,
        }
    }
}
