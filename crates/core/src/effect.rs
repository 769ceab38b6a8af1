//! What the brain asks of the world. Read this file second.
//!
//! Effects are named in the imperative and are performed only after the batch that decided them is
//! durable. No effect is the only record of anything; each variant says its class:
//!
//! * **derived**: [`crate::due::effects_due`] yields it again after a load; performing it twice does no
//!   harm, because it names attempt and fence;
//! * **outbox**: a row stands for it, written in the same commit. It is performed at least once, until an event says
//!   that it was; its number tells a repetition;
//! * **ephemeral**: it may be lost.

use crate::{
    AttemptId, Fence, RunId, TaskId,
    alert::Notice,
    event::Caller,
    row::Pause,
    run::{Child, JsonText, RunStatus, StopReason, WorkerId},
    settings::{SIGNAL_BYTES_MAX, SIGNALS_BYTES_MAX, SIGNALS_MAX},
    time::{Millis, Timestamp},
    validate::NAME_EXPECTED,
    validate::nearest,
    workflow::{Ladder, Limits},
};
use std::{collections::BTreeMap, sync::Arc};

/// Everything the brain can ask for.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Give an attempt to a worker. *Derived*: from each lease that has not been reported started.
    Start(Box<Assignment>),
    /// Tell a worker to walk the ladder with an attempt. *Derived*: from each lease that is stopping.
    Stop {
        /// Who has it.
        worker: WorkerId,
        /// Which attempt.
        attempt: AttemptId,
        /// Under which lease.
        fence: Fence,
        /// Why.
        reason: StopReason,
    },
    /// Tell a worker to end an attempt at once: it has lost its lease. *Ephemeral*: a worker learns of it by its next
    /// renewal as well, and what the server's own worker has ends with the process.
    Kill {
        /// Who had it.
        worker: WorkerId,
        /// Which attempt.
        attempt: AttemptId,
        /// Under which lease.
        fence: Fence,
    },
    /// Tell a worker that its report was dealt with and need not be sent again. *Ephemeral*: it sends it again.
    Acknowledge {
        /// Who had the lease; none if the report was under one that is no more.
        worker: Option<WorkerId>,
        /// Which attempt.
        attempt: AttemptId,
        /// Under which lease.
        fence: Fence,
        /// Whether the report counted; false: the lease was not its any more.
        accepted: bool,
    },
    /// Tell a target of an incident. *Outbox*: from each [`Delivery`](crate::alert::Delivery) that is under way, until
    /// [`AlertDelivered`](crate::event::Event::AlertDelivered) or [`AlertFailed`](crate::event::Event::AlertFailed).
    Notify(Box<Notice>),
    /// Say in the log that somebody will not be told of an incident. *Ephemeral*: it is only said.
    GiveUpAlert {
        /// Which incident.
        key: String,
        /// Who is not told; none: nobody is.
        target: Option<String>,
        /// Why.
        why: String,
    },
    /// Answer a caller. *Ephemeral*: it asks again with the same key.
    Reply {
        /// Whom.
        caller: Caller,
        /// What.
        answer: Result<Answer, Refusal>,
    },
}

/// Everything a hand needs to perform one attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// Who performs it.
    pub worker: WorkerId,
    /// Which attempt.
    pub attempt: AttemptId,
    /// Under which lease.
    pub fence: Fence,
    /// The task's name.
    pub task_name: Arc<str>,
    /// The workflow file that the run was made from: its folder is where the task works.
    pub source: Option<String>,
    /// What to do, templates rendered.
    pub work: Work,
    /// How long the attempt may take from its start.
    pub time: Millis,
    /// Longest silence, if bounded.
    pub heartbeat: Option<Millis>,
    /// How to stop it.
    pub ladder: Ladder,
    /// Term of the lease, which each renewal begins anew; none: it does not run out.
    pub lease: Option<Millis>,
    /// Whether it is performed in the slot of an attempt that waits there, and lends it: beside those that the worker's
    /// slots are for.
    pub in_lent_slot: bool,
}

/// What a hand does.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Run a process to its end.
    Exec {
        /// The program and its arguments, or a line for the shell.
        command: crate::workflow::Command,
        /// Environment on top of the worker's.
        env: BTreeMap<String, String>,
        /// Where it works.
        cwd: Option<String>,
        /// Bounds on what it may use.
        limits: Limits,
    },
    /// Ask over HTTP.
    Http(Box<HttpCall>),
    /// Call a handler that the worker has.
    Handler(crate::workflow::Call),
    /// Nothing: succeed at once.
    Noop,
}

/// A request, all templates rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpCall {
    /// Its method.
    pub method: String,
    /// Where to.
    pub url: String,
    /// Its headers.
    pub headers: BTreeMap<String, String>,
    /// What is sent: a text as text, all else as JSON.
    pub body: Option<serde_json::Value>,
    /// Its bounds and what counts.
    pub rules: crate::workflow::HttpRules,
}

/// A command that was carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The run exists.
    Submitted {
        /// Its id.
        run: RunId,
        /// Whether it did so before, under the same idempotency key.
        existing: bool,
    },
    /// The run is on its way to its end, or already there.
    Cancelling {
        /// Which run.
        run: RunId,
        /// Its status now.
        status: RunStatus,
        /// Tasks that were not yet terminal when it was asked.
        cancelled_tasks: u32,
        /// When it was first asked.
        since: Timestamp,
        /// Why, as first asked.
        reason: String,
    },
    /// The run has the signal.
    Signalled {
        /// Whether a task of its workflow waits for a signal of that name, sooner or later.
        is_named: bool,
    },
    /// An attempt's wait, as it stands.
    Waits(WaitAnswer),
    /// The child run exists.
    Spawned {
        /// Its id.
        run: RunId,
        /// Whether it did so before, under the same key.
        existing: bool,
    },
    /// It is held, since when and by whom.
    Paused(Pause),
    /// Done.
    Done,
}

/// What became of an attempt's wait.
#[derive(Clone, Debug, PartialEq)]
pub enum WaitAnswer {
    /// It goes on; this answer comes only to those who were replaced by another one who asked.
    Waiting {
        /// Until when at the latest.
        deadline: Timestamp,
    },
    /// It holds.
    Met {
        /// Units that are the attempt's from now on, by pool.
        granted: BTreeMap<String, u32>,
        /// What the signals in it said that were sent.
        signals: BTreeMap<String, JsonText>,
        /// The children in it that have ended, by key.
        children: BTreeMap<String, Child>,
    },
    /// Its deadline came first.
    TimedOut,
    /// It can not hold any more: a child in it did not end as it was to.
    Impossible {
        /// The children in it that have ended, by key.
        children: BTreeMap<String, Child>,
    },
    /// It was withdrawn.
    Withdrawn,
}

/// A command that was refused; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No unfinished run has this id.
    #[error("no unfinished run `{0}`")]
    UnknownRun(RunId),
    /// The run has ended.
    #[error("run `{run}` has already ended as {status}")]
    RunEnded {
        /// Which run.
        run: RunId,
        /// How.
        status: RunStatus,
    },
    /// The same idempotency key came with another body.
    #[error("idempotency key `{key}` was used for another submission (run `{run}`)")]
    KeyReused {
        /// The key.
        key: String,
        /// The run that owns it.
        run: RunId,
    },
    /// No signal can have that name.
    #[error("`{0}` is no name for a signal; expected {NAME_EXPECTED}")]
    NoSignalName(String),
    /// The run comes to its end: nobody waits any more.
    #[error("run `{0}` comes to its end: none of its tasks waits any more")]
    RunEnding(RunId),
    /// The run keeps as many signals as it can.
    #[error(
        "the signals of run `{run}` would be more than it keeps: {SIGNALS_MAX} names, {SIGNAL_BYTES_MAX} bytes each, {SIGNALS_BYTES_MAX} together"
    )]
    TooManySignals {
        /// Which run.
        run: RunId,
    },
    /// The namespace is at its bound.
    #[error("{live} tasks are unfinished and the submission has {asked} more, above `live_tasks_max` ({max})")]
    TooManyTasks {
        /// Unfinished tasks.
        live: u32,
        /// Tasks of the submission.
        asked: u32,
        /// The bound.
        max: u32,
    },
    /// The run's input is larger than it may be.
    #[error(
        "the run's input has {bytes} bytes as JSON, above `input_bytes_max` ({max}): give it a file's path instead"
    )]
    InputTooLarge {
        /// Bytes of the submission's input.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// A queue is at its bound.
    #[error(
        "{open} unfinished tasks stand in queue `{queue}` or will, and the submission has {asked} more, above its `max_queue_size` ({max})"
    )]
    QueueFull {
        /// Which queue.
        queue: String,
        /// Unfinished tasks that stand in it, or may come to stand there.
        open: u32,
        /// Those of the submission.
        asked: u32,
        /// Its bound.
        max: u32,
    },
    /// A pool that the workflow needs is too small or unknown now.
    #[error("task `{task}` needs {asked} units of pool `{pool}`, which has {size}")]
    PoolTooSmall {
        /// The task.
        task: String,
        /// The pool.
        pool: String,
        /// Units needed.
        asked: u32,
        /// Units there are.
        size: u32,
    },
    /// The attempt has its lease no more, or is being stopped: it gets nothing.
    #[error("attempt `{0}` has its lease no more, or is being stopped")]
    NotLeased(AttemptId),
    /// The attempt waits already, for something else.
    #[error("attempt `{attempt}` waits already, under the name `{name}`: one wait at a time")]
    WaitsAlready {
        /// Which.
        attempt: AttemptId,
        /// Its wait's name.
        name: String,
    },
    /// What is asked for cannot be.
    #[error("{0}")]
    BadWait(String),
    /// The pool cannot be changed so.
    #[error("{0}")]
    BadPool(String),
    /// What the store knew when the command was read is too old to decide by.
    #[error("the command was read too long ago, send it again with the same idempotency key")]
    FactsTooOld,
    /// Nothing is known under this name.
    #[error("there is no {kind} `{name}`{}", meant(nearest.as_deref()))]
    Unknown {
        /// What was looked for.
        kind: &'static str,
        /// Under which name.
        name: String,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// The task does not wait for a decision.
    #[error("task `{0}` does not wait for a decision")]
    NothingToDecide(TaskId),
    /// The event failed and was put aside.
    #[error("the command failed inside the brain and was put into quarantine: {0}")]
    Quarantined(String),
}

impl Refusal {
    /// There is no queue of this name, among those that there are.
    pub fn unknown_queue<'q>(name: &str, known: impl IntoIterator<Item = &'q str>) -> Self {
        let nearest = nearest(name, known).map(str::to_owned);
        Self::Unknown { kind: "queue", name: name.to_owned(), nearest }
    }

    /// There is no target of alerts of this name, among those that there are.
    pub fn unknown_target<'t>(name: &str, known: impl IntoIterator<Item = &'t str>) -> Self {
        let nearest = nearest(name, known).map(str::to_owned);
        Self::Unknown { kind: "target of alerts", name: name.to_owned(), nearest }
    }
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default()
}
