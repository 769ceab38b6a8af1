//! The unchecked form of a workflow: what a file said, by name, before any rule was asked.

use crate::{
    deadlock::Policy,
    time::Millis,
    workflow::{InputDecl, Limits, OnLost, Priority, TaskKind, Until, When},
};
use std::collections::BTreeMap;

/// A workflow as somebody wrote it. None always means "said nothing".
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    /// Its name.
    pub name: String,
    /// Bound of a whole run.
    pub timeout: Option<Millis>,
    /// How many tasks of one run may hold a lease at once.
    pub max_parallel: Option<u32>,
    /// Declared inputs; none declared means that any are taken.
    pub inputs: BTreeMap<String, InputDecl>,
    /// What a run gives the task that started it.
    pub output: Option<serde_json::Value>,
    /// What is done about a deadlock in which a run is the victim.
    pub on_deadlock: Option<Policy>,
    /// When a pending task counts as stale.
    pub pending_stale: Option<Millis>,
    /// When a run counts as stale.
    pub workflow_stale: Option<Millis>,
    /// The tasks, in the order of the file.
    pub tasks: Vec<DraftTask>,
}

/// A task as somebody wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct DraftTask {
    /// Its name.
    pub name: String,
    /// What it does. Of a signal, who sends it is still open: see `senders`.
    pub kind: TaskKind,
    /// The tasks that send the signal that it waits for, by name; none: anybody may.
    pub senders: Vec<String>,
    /// What must have ended before.
    pub needs: DraftNeeds,
    /// Whether it runs at all.
    pub when: When,
    /// Its class in the queue.
    pub priority: Priority,
    /// Its queue.
    pub queue: Option<String>,
    /// Bound of one attempt.
    pub timeout: Option<Millis>,
    /// Bound of standing in the queue.
    pub queue_timeout: Option<Millis>,
    /// Longest silence of an attempt.
    pub heartbeat_timeout: Option<Millis>,
    /// Tries after failures.
    pub retry: DraftRetry,
    /// What follows a lost attempt.
    pub on_lost: OnLost,
    /// What its final failure means.
    pub on_failure: DraftOnFailure,
    /// The rungs of the cancellation ladder.
    pub cancel: DraftCancel,
    /// Environment; values are templates.
    pub env: BTreeMap<String, String>,
    /// Working folder, a template.
    pub cwd: Option<String>,
    /// Units of pools, by name.
    pub pools: Vec<(String, u32)>,
    /// Locks, by name.
    pub locks: Vec<String>,
    /// What it says that it may acquire while it runs; none: it says nothing.
    pub acquires: Option<DraftAcquires>,
    /// The workflows that it says it may start while it runs; none: it says nothing.
    pub spawns: Option<Vec<String>>,
    /// Bounds on what it may use.
    pub limits: Limits,
}

/// `acquires` as somebody wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DraftAcquires {
    /// The steps in their order.
    pub steps: Vec<DraftAcquire>,
    /// Whether they stand in a list, and not in one map of single things.
    pub is_list: bool,
}

/// What is acquired at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DraftAcquire {
    /// Units of pools, by name.
    pub pools: Vec<(String, u32)>,
    /// Locks, by name.
    pub locks: Vec<String>,
}

/// `needs` as somebody wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DraftNeeds {
    /// How many of them.
    pub count: NeedsCount,
    /// Which.
    pub of: Vec<DraftNeed>,
}

/// The three forms of `needs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NeedsCount {
    /// A plain list: all of them.
    #[default]
    All,
    /// `{any: […]}`: one of them.
    Any,
    /// `{at_least: k, of: […]}`.
    AtLeast(u32),
}

/// One entry of `needs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftNeed {
    /// The task waited for.
    pub task: String,
    /// Which end counts.
    pub until: Until,
}

/// `retry` as somebody wrote it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DraftRetry {
    /// All tries, the first included.
    pub attempts: Option<u32>,
    /// Pause before the second try.
    pub first: Option<Millis>,
    /// Growth from pause to pause.
    pub factor: Option<f64>,
    /// Longest pause.
    pub max: Option<Millis>,
    /// Share drawn at random.
    pub jitter: Option<f64>,
    /// Exit statuses worth another try.
    pub on_exits: Option<Vec<i32>>,
}

/// `on_failure` as somebody wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DraftOnFailure {
    /// The run fails.
    #[default]
    Fail,
    /// The run goes on.
    Continue,
    /// The named task starts.
    Fallback(String),
}

/// `cancel` as somebody wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DraftCancel {
    /// Time to react to being told.
    pub told: Option<Millis>,
    /// Time after SIGTERM.
    pub term: Option<Millis>,
    /// Time after SIGKILL.
    pub kill: Option<Millis>,
}

impl DraftTask {
    /// A task that says nothing but its name and kind.
    pub fn new(name: impl Into<String>, kind: TaskKind) -> Self {
        Self {
            name: name.into(),
            kind,
            senders: Vec::new(),
            needs: DraftNeeds::default(),
            when: When::default(),
            priority: Priority::default(),
            queue: None,
            timeout: None,
            queue_timeout: None,
            heartbeat_timeout: None,
            retry: DraftRetry::default(),
            on_lost: OnLost::default(),
            on_failure: DraftOnFailure::default(),
            cancel: DraftCancel::default(),
            env: BTreeMap::new(),
            cwd: None,
            pools: Vec::new(),
            locks: Vec::new(),
            acquires: None,
            spawns: None,
            limits: Limits::default(),
        }
    }
}

impl DraftCancel {
    /// Whether somebody set any rung.
    pub fn is_set(&self) -> bool {
        *self != Self::default()
    }
}
