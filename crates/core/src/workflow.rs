//! The validated form of a workflow: what the brain reads while a run lives.
//!
//! A [`Definition`] is made by [`crate::validate`], is shared by hash between runs, and is pinned
//! by each of its runs for life. Names have become indices, limits have been derived, every rule
//! has been checked; nothing here can be wrong any more.

mod child;
mod http;

pub use child::{Await, Child, ForEach, OnChildFailure};
pub use http::{Http, HttpRules};

use crate::{deadlock::Policy, id::TaskIndex, ready::Demand, settings::DEFAULT_QUEUE, time::Millis, worker::WorkKind};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Content hash of a definition (lower-case hex of SHA-256), computed by whoever read the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DefinitionHash(pub Arc<str>);

/// A workflow: a directed acyclic graph of tasks, checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Definition {
    /// What the file said, normalised and validated.
    pub body: Stored,
    /// For each task, those whose needs name it, in task order, and until when. Derived.
    pub dependents: Vec<Vec<(TaskIndex, Until)>>,
    /// For each task, what it asks for when it is ready; equal ones are one. Derived.
    pub demands: Vec<Arc<Demand>>,
    /// For each task, those that name it as their fallback. Derived.
    pub primaries: BTreeMap<TaskIndex, Vec<TaskIndex>>,
    /// All tasks, sorted by name. Derived.
    pub by_name: Vec<TaskIndex>,
    /// For each signal that tasks wait for, these. Derived.
    pub awaiting: BTreeMap<Arc<str>, Vec<TaskIndex>>,
}

/// The stored part of a [`Definition`]; the rest is derived from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// Content hash; the key under which runs share the definition.
    pub hash: DefinitionHash,
    /// `[a-z0-9-]`, up to 100 characters.
    pub name: Arc<str>,
    /// Bound of a whole run (default 7 d).
    pub timeout: Millis,
    /// How many tasks of one run may hold a lease at once; none means no bound beyond the worker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
    /// Declared inputs by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, InputDecl>,
    /// What a run gives the task that started it: each text in it is a template, rendered when the run has completed.
    /// None: the outputs of its tasks by name.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub output: Option<serde_json::Value>,
    /// What is done about a proved deadlock in which a run is the victim; none: as the namespace has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_deadlock: Option<Policy>,
    /// After so long without progress a pending task is stale, more than zero; none: as the namespace has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_stale: Option<Millis>,
    /// After so long without progress a run is stale, more than zero; none: as the namespace has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_stale: Option<Millis>,
    /// The tasks in file order; a [`TaskIndex`] is a place in this list.
    pub tasks: Vec<TaskDef>,
}

/// A declared input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputDecl {
    /// JSON Schema's type word, none accepts any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<InputType>,
    /// The value used when none is given; without it the input is required.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub default: Option<serde_json::Value>,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A value that is there, `null` as well: read as usual, that would be none.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<serde_json::Value>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// The types an input can declare; the words are JSON Schema's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputType {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A list.
    Array,
    /// A map.
    Object,
}

/// One task of a workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskDef {
    /// `[a-z][a-z0-9_-]*`, up to 100 characters, unique in the workflow.
    pub name: Arc<str>,
    /// What is done.
    pub kind: TaskKind,
    /// What must have ended before it is ready; empty means at once.
    #[serde(default, skip_serializing_if = "Needs::is_empty")]
    pub needs: Needs,
    /// Whether it runs at all.
    #[serde(default, skip_serializing_if = "When::is_always")]
    pub when: When,
    /// Its class in the queue.
    #[serde(default, skip_serializing_if = "Priority::is_medium")]
    pub priority: Priority,
    /// The queue where it stands when ready; none is `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Arc<str>>,
    /// Bound of one attempt from its start; none is derived (1 h, or less if the run has less left).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    /// Bound of standing in the queue; none is the run's remaining time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_timeout: Option<Millis>,
    /// Longest silence of a running attempt; none is off for local attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_timeout: Option<Millis>,
    /// Tries after handler failures.
    #[serde(default, skip_serializing_if = "Retry::is_default")]
    pub retry: Retry,
    /// What follows when an attempt's end is unknown.
    #[serde(default, skip_serializing_if = "OnLost::is_retry")]
    pub on_lost: OnLost,
    /// What a final failure means for the run.
    #[serde(default, skip_serializing_if = "OnFailure::is_fail")]
    pub on_failure: OnFailure,
    /// How it is stopped.
    #[serde(default, skip_serializing_if = "Ladder::is_default")]
    pub cancel: Ladder,
    /// Environment of the attempt; values are templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Working folder of the attempt, a template; none is the workflow file's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Units of named pools and locks (a lock is one unit) granted together before it starts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, u32>,
    /// What it says that its attempt may acquire while it runs, one step after the other, each granted at once, beside
    /// what it holds; none: it says nothing. A statement that [`crate::proof`] judges by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acquires: Option<Vec<BTreeMap<String, u32>>>,
    /// The workflows that it says its attempt may start and wait for; none: it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spawns: Option<Vec<Arc<str>>>,
    /// Bounds on what the attempt may use.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
}

impl TaskDef {
    /// The queue where it stands when ready.
    pub fn queue_name(&self) -> &str {
        self.queue.as_deref().unwrap_or(DEFAULT_QUEUE)
    }

    /// The workflows of which it starts runs, or says that its attempt may.
    pub fn starts(&self) -> impl Iterator<Item = &Arc<str>> {
        let child = match &self.kind {
            TaskKind::Workflow(child) => Some(&child.workflow),
            _ => None,
        };
        child.into_iter().chain(self.spawns.iter().flatten())
    }
}

/// What a task does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// A process; arguments are templates.
    Exec(Command),
    /// A request; its texts are templates.
    Http(Box<Http>),
    /// What a worker elsewhere has a handler for.
    Worker(Call),
    /// Nothing, for so long; needs no worker.
    Sleep(Millis),
    /// Nothing, until somebody sends its run this signal, whose payload is its output; needs no worker.
    Signal(Await),
    /// Runs of another workflow, until they have ended; needs no worker.
    Workflow(Box<Child>),
    /// Nothing, at once, by a worker: what benchmarks and tests run. No file can ask for it.
    Noop,
}

/// The call of a `worker` task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The handler: workers say which they have.
    pub handler: Arc<str>,
    /// What it is given; texts in it are templates until it is granted.
    pub input: serde_json::Value,
}

/// The command of an `exec` task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Command {
    /// Program and arguments; each is a template.
    Argv(Vec<String>),
    /// A line for `sh -c`; never a template, values come by `env`.
    Shell(String),
}

/// How many of which tasks must have ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// How many of `of` must be met: all of them for a list, 1 for `any`, k for `at_least`.
    pub at_least: u32,
    /// The entries; no task twice.
    pub of: Vec<Need>,
}

/// One entry of `needs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// The task waited for.
    pub task: TaskIndex,
    /// Which end counts.
    pub until: Until,
}

/// Which end of a needed task meets the need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Until {
    /// Only COMPLETED.
    Succeeded,
    /// Any end.
    Finished,
}

/// Whether a task runs once its needs are met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Yes.
    #[default]
    Always,
    /// Only after a task that names it as its fallback has failed for good.
    Fallback,
    /// If this expression (no braces) is true; it must give true or false.
    Expr(String),
}

/// The class of a task in its queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// First.
    High,
    /// Between.
    #[default]
    Medium,
    /// Last, but counted as high once it has waited for the queue's bound.
    Low,
}

/// Retries after handler failures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// All tries, the first included; none: the kind's or the queue's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Pauses between tries.
    #[serde(default)]
    pub backoff: Backoff,
    /// Exit statuses worth another try; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_exits: Option<Vec<i32>>,
}

/// Exponential backoff: `first × factor^(n-1)`, at most `max`, moved by up to ±`jitter` of itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// Pause before the second try.
    pub first: Millis,
    /// Growth from pause to pause, 1 to 100.
    pub factor: f64,
    /// No pause is longer.
    pub max: Millis,
    /// Share of the pause drawn at random, 0 to 1.
    pub jitter: f64,
}

/// What follows when nobody can tell how an attempt ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLost {
    /// Another attempt, within the limit for losses.
    #[default]
    Retry,
    /// The task fails.
    Fail,
    /// The task waits for a person.
    Hold,
}

/// What a task's final failure means for its run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The run fails.
    #[default]
    Fail,
    /// The run goes on.
    Continue,
    /// The run goes on, and this task starts.
    Fallback(TaskIndex),
}

/// The rungs on which an attempt is stopped; each starts when the one before it was not enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ladder {
    /// How long the attempt may react to being told; none: not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Millis>,
    /// How long after SIGTERM.
    pub term: Millis,
    /// How long after SIGKILL before the attempt is fenced.
    pub kill: Millis,
}

/// Bounds on what an attempt may use; none is no bound.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory of all its processes, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processor time of all its processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_time: Option<Millis>,
    /// How many processes at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// Open files per process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
    /// Largest file it may write, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_size_bytes: Option<u64>,
    /// Share of processors, in cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_cores: Option<f64>,
}

impl Definition {
    /// Derives the rest of a definition from its stored part.
    ///
    /// # Panics
    /// If a task names one that is not there: the validator makes no such definition. What a store
    /// gives back comes by `TryFrom`.
    pub fn new(body: Stored) -> Self {
        let mut dependents = vec![Vec::new(); body.tasks.len()];
        let mut primaries: BTreeMap<TaskIndex, Vec<TaskIndex>> = BTreeMap::new();
        for (index, task) in body.indexed() {
            for need in &task.needs.of {
                dependents[need.task.0 as usize].push((index, need.until));
            }
            if let OnFailure::Fallback(fallback) = task.on_failure {
                primaries.entry(fallback).or_default().push(index);
            }
        }
        let mut by_name: Vec<TaskIndex> = body.indexed().map(|(index, _)| index).collect();
        by_name.sort_by_key(|index| &body.tasks[index.0 as usize].name);
        let mut known = BTreeSet::new();
        let mut awaiting: BTreeMap<Arc<str>, Vec<TaskIndex>> = BTreeMap::new();
        for (index, task) in body.indexed() {
            if let TaskKind::Signal(signal) = &task.kind {
                awaiting.entry(Arc::clone(&signal.name)).or_default().push(index);
            }
        }
        let demands = body.tasks.iter().map(|task| shared(&mut known, demand(task))).collect();
        Self { body, dependents, demands, primaries, by_name, awaiting }
    }

    /// The pools and locks that its tasks are granted with; each as often as tasks name it.
    pub(crate) fn pools(&self) -> impl Iterator<Item = &str> {
        self.body.tasks.iter().flat_map(|task| task.resources.keys().map(String::as_str))
    }

    /// The task at `index`.
    ///
    /// # Panics
    /// If the index is not of this definition.
    pub fn task(&self, index: TaskIndex) -> &TaskDef {
        &self.body.tasks[index.0 as usize]
    }

    /// The task called `name`, found in logarithmic time.
    pub fn find(&self, name: &str) -> Option<TaskIndex> {
        let place = self.by_name.binary_search_by_key(&name, |&index| &self.task(index).name).ok()?;
        Some(self.by_name[place])
    }
}

/// What a task asks for. Never leased ahead of a free slot: a process, what holds units, and what must
/// not be repeated when its end is unknown.
fn demand(task: &TaskDef) -> Demand {
    Demand {
        kind: WorkKind::of(&task.kind),
        queue: task.queue.clone().unwrap_or_else(|| DEFAULT_QUEUE.into()),
        priority: task.priority,
        prefetchable: matches!(task.kind, TaskKind::Noop) && task.resources.is_empty() && task.on_lost == OnLost::Retry,
        resources: task.resources.clone(),
    }
}

fn shared(known: &mut BTreeSet<Arc<Demand>>, demand: Demand) -> Arc<Demand> {
    if let Some(same) = known.get(&demand) {
        return Arc::clone(same);
    }
    let demand = Arc::new(demand);
    known.insert(Arc::clone(&demand));
    demand
}

impl Stored {
    /// The tasks with their places.
    pub fn indexed(&self) -> impl Iterator<Item = (TaskIndex, &TaskDef)> {
        (0u32..).map(TaskIndex).zip(&self.tasks)
    }
}

/// A stored definition whose parts contradict each other. The store is damaged or was edited by hand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("task `{task}` names a task {}, there are {tasks}", named.0)]
pub struct Contradiction {
    /// The task.
    pub task: String,
    /// What its needs, its fallback or its signal name.
    pub named: TaskIndex,
    /// How many tasks there are.
    pub tasks: usize,
}

impl TryFrom<Stored> for Definition {
    type Error = Contradiction;

    fn try_from(body: Stored) -> Result<Self, Contradiction> {
        for task in &body.tasks {
            let fallback = match task.on_failure {
                OnFailure::Fallback(fallback) => Some(fallback),
                OnFailure::Fail | OnFailure::Continue => None,
            };
            let senders = match &task.kind {
                TaskKind::Signal(signal) => signal.from.as_slice(),
                _ => &[],
            };
            let needs = task.needs.of.iter().map(|need| need.task);
            let mut named = needs.chain(fallback).chain(senders.iter().copied());
            if let Some(named) = named.find(|named| named.0 as usize >= body.tasks.len()) {
                return Err(Contradiction { task: task.name.to_string(), named, tasks: body.tasks.len() });
            }
        }
        Ok(Self::new(body))
    }
}

impl From<Definition> for Stored {
    fn from(definition: Definition) -> Self {
        definition.body
    }
}

impl TaskKind {
    /// The signal that it waits for, and the tasks that alone send it; none of them: anybody may.
    pub fn awaits(&self) -> Option<(&Arc<str>, &[TaskIndex])> {
        match self {
            Self::Signal(signal) => Some((&signal.name, &signal.from)),
            _ => None,
        }
    }

    /// All tries of a task that says nothing: nobody repeats a user's command unasked.
    pub const fn default_attempts(&self) -> u32 {
        match self {
            Self::Exec(_) | Self::Worker(_) | Self::Sleep(_) | Self::Signal(_) | Self::Workflow(_) | Self::Noop => 1,
            // A request carries a key by which its tries can be told to be one.
            Self::Http(_) => 4,
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Millis::from_secs(1), factor: 2.0, max: Millis::from_secs(60), jitter: 0.2 }
    }
}

impl Default for Ladder {
    fn default() -> Self {
        Self { told: None, term: Millis::from_secs(10), kill: Millis::from_secs(5) }
    }
}

impl Ladder {
    /// From the first rung to the fence.
    pub fn total(&self) -> Millis {
        self.told.unwrap_or_default().plus(self.term).plus(self.kill)
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Needs {
    /// Whether nothing is needed.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }
}

impl When {
    fn is_always(&self) -> bool {
        *self == Self::Always
    }
}

impl Priority {
    fn is_medium(&self) -> bool {
        *self == Self::Medium
    }
}

impl Retry {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl OnLost {
    fn is_retry(&self) -> bool {
        *self == Self::Retry
    }
}

impl OnFailure {
    fn is_fail(&self) -> bool {
        *self == Self::Fail
    }
}

impl Limits {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}
