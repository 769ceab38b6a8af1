//! What can happen to a namespace. Read this file first: it is everything the brain reacts to.
//!
//! Events are named in the past tense. Each carries all it needs; what a command has to know of
//! runs that already ended comes with it as [`Facts`].

use crate::{
    AttemptId, CommitSeq, Fence, Millis, RunId, Seq, TaskId, TaskIndex,
    alert::{FailedDelivery, Incident, News},
    deadline::Deadline,
    row::{Detail, RegisteredWorkflow},
    run::{AtDeadline, Awaited, Idempotency, JsonText, RunStatus, WorkerId},
    settings::{PoolSettings, Settings},
    time::Timestamp,
    worker::Serves,
    workflow::Definition,
};
use std::{collections::BTreeMap, collections::BTreeSet, sync::Arc};

/// An event with the moment, the chance and the commit it enters with.
///
/// Applying the same envelopes to the same state gives the same state, always.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Now, as the engine's clock says; never before the state's high-water mark.
    pub at: Timestamp,
    /// Random bits for jitter.
    pub entropy: u64,
    /// The commit that this event's changes will be part of.
    pub commit: CommitSeq,
    /// What happened.
    pub event: Event,
}

/// Whom to answer: a number chosen by the engine. An answer that nobody waits for any more is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Caller(pub u64);

/// Everything that can happen.
#[derive(Clone, Debug)]
pub enum Event {
    /// Somebody wants a workflow executed. From the API side; answered.
    RunSubmitted(Box<Submission>),
    /// Somebody wants a run to end. From the API side; answered.
    RunCancelRequested {
        /// Which run.
        run: RunId,
        /// How and why.
        request: CancelRequest,
        /// Whom to answer.
        caller: Caller,
    },
    /// Somebody sends a run a signal. From the API side; answered.
    SignalSent {
        /// To which run.
        run: RunId,
        /// What.
        signal: Box<SignalRequest>,
        /// Whom to answer.
        caller: Caller,
    },
    /// An operator holds a queue, a workflow or a run. Answered.
    Paused {
        /// What is held.
        target: PauseTarget,
        /// Who asked.
        by: String,
        /// Whom to answer.
        caller: Caller,
    },
    /// An operator lets it go on. Answered.
    Resumed {
        /// What goes on.
        target: PauseTarget,
        /// Who asked.
        by: String,
        /// Whom to answer.
        caller: Caller,
    },
    /// A person decided about a task whose attempt was lost (`on_lost: hold`), or whose next try waits for word that
    /// the last one is gone. Answered.
    TaskDecided {
        /// Which task.
        task: TaskId,
        /// What to do with it.
        decision: Decision,
        /// Whom to answer.
        caller: Caller,
    },
    /// A workflow is to be kept under its name. Answered.
    WorkflowRegistered {
        /// What is kept.
        workflow: Box<RegisteredWorkflow>,
        /// Whom to answer.
        caller: Caller,
    },
    /// Registered versions are not wanted any more; runs keep the definitions that they are made of. Answered.
    WorkflowForgotten {
        /// The workflow's name.
        name: String,
        /// Which versions, as the store has them.
        versions: Vec<Seq>,
        /// Whom to answer.
        caller: Caller,
    },
    /// A dead letter is not wanted any more. Answered; one that is not there is as good as dropped.
    DeadLetterDropped {
        /// Which task's.
        task: TaskId,
        /// Whom to answer.
        caller: Caller,
    },
    /// The configuration was read. From the engine, at start and at reload.
    SettingsApplied(Box<Settings>),
    /// Only these runs, and those that they spawn, are served by this process (`None`: all). From the embedded command
    /// line; volatile.
    RunsFocused(Option<BTreeSet<RunId>>),
    /// A worker offers its slots. From the engine (its own worker) or the worker protocol; volatile. One that comes
    /// again under the same boot is given once more what it has not reported started.
    WorkerJoined {
        /// Who.
        worker: WorkerId,
        /// How many attempts it performs at once.
        slots: u32,
        /// What it takes.
        serves: Box<Serves>,
    },
    /// A worker takes no new work; what it has goes on. Volatile.
    WorkerLeft {
        /// Who.
        worker: WorkerId,
    },
    /// A worker started the work of an attempt.
    AttemptStarted {
        /// Which attempt.
        attempt: AttemptId,
        /// Under which lease.
        fence: Fence,
    },
    /// A worker still performs an attempt. Volatile: never written, answered at once.
    AttemptRenewed {
        /// Which attempt.
        attempt: AttemptId,
        /// Under which lease.
        fence: Fence,
    },
    /// A running attempt asks for something: to wait, to give back, to spawn. From the API side; answered.
    AttemptAsked {
        /// Which attempt.
        attempt: AttemptId,
        /// Under which lease.
        fence: Fence,
        /// For what.
        ask: Box<Ask>,
        /// Whom to answer.
        caller: Caller,
    },
    /// Somebody says of a verdict that it was wrong, or that it was not. Answered.
    DeadlockMarked {
        /// The verdict as it is to be kept from now on.
        deadlock: Box<crate::deadlock::Deadlock>,
        /// Whom to answer.
        caller: Caller,
    },
    /// The monitor has looked: what stands still for too long is to be kept and told, and which verdicts are over. From
    /// the engine, as of an earlier commit: what has moved since is left alone. Answered.
    FindingsReported {
        /// What was found and what is over.
        findings: Box<Findings>,
        /// Whom to answer.
        caller: Caller,
    },
    /// A pool is made, resized, or taken away. From the API side; answered.
    PoolSet {
        /// Which.
        name: String,
        /// What it is from now on; none: it is taken away.
        pool: Option<PoolSettings>,
        /// Whom to answer.
        caller: Caller,
    },
    /// An attempt came to its end, of any kind. Sent again until acknowledged.
    AttemptEnded(Box<AttemptEnd>),
    /// A moment that something waited for has come. From the driver, out of the state's own index.
    DeadlinePassed(Deadline),
    /// Time passed in which nobody could be heard: the wall clock was set forward, the machine or the process
    /// stood still, or nothing could be committed. From the driver, which had its last turn at `since`;
    /// volatile.
    TimeSkipped {
        /// The last moment at which reports could still arrive.
        since: Timestamp,
    },
    /// Work that was too large for one step is gone on with. From the driver.
    ContinuationDue(Seq),
    /// Grants that the last step had no room for are gone on with. From the driver; volatile cause.
    GrantsDue,
    /// An event of this run failed alone: the run is frozen. From the driver, after a quarantine.
    RunPoisoned {
        /// Which run.
        run: RunId,
        /// What went wrong.
        error: String,
    },
    /// A figure has been beyond its threshold for as long as its rule says, or something else was found that people
    /// should know. From the engine. One that is open already changes nothing.
    AlertRaised(Box<Incident>),
    /// An incident is over. From the engine.
    AlertResolved {
        /// Its key.
        key: String,
    },
    /// A target was told. From the engine; sent again after a restart, if that was not durable.
    AlertDelivered {
        /// Of which alert.
        alert: Seq,
        /// Who.
        target: String,
        /// What.
        news: News,
    },
    /// A target could not be told. From the engine.
    AlertFailed(Box<FailedDelivery>),
    /// An event that failed alone was put aside. From the driver.
    EventQuarantined(Box<crate::row::Quarantined>),
}

/// What the monitor has to tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// Runs that stand still.
    pub found: Vec<crate::monitor::Found>,
    /// Verdicts that are over, whole as they are kept.
    pub over: Vec<crate::deadlock::Deadlock>,
    /// Runs about which there is no other verdict of that kind that is open: whoever was told is told that it is over.
    pub calm: Vec<(crate::deadlock::Finding, RunId)>,
}

/// What a running attempt can ask for.
#[derive(Clone, Debug)]
pub enum Ask {
    /// To wait. Asked again under the same name, it is the same wait: whoever asked before is answered no more.
    Wait {
        /// The wait's name, chosen by the attempt.
        name: String,
        /// What must hold.
        on: Awaited,
        /// How long at most; none: as long as the attempt has.
        within: Option<Millis>,
        /// What happens then.
        then: AtDeadline,
    },
    /// To wait no more. Units that were granted meanwhile stay its own.
    Withdraw {
        /// The wait's name.
        name: String,
    },
    /// To give back units that it holds, however it came to them.
    Release {
        /// How many, by pool.
        units: BTreeMap<String, u32>,
    },
    /// To spawn a child run. One that has the same key is taken for it: a task that is tried again finds its children.
    Spawn {
        /// The key, chosen by the attempt.
        key: String,
        /// The child. Its caller is not answered.
        submission: Box<Submission>,
        /// Whether it goes on when the attempt's task ends.
        detached: bool,
    },
}

/// A wish to execute a workflow.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The id of the run if it is made; drawn by the engine.
    pub run: RunId,
    /// The workflow, validated.
    pub definition: Arc<Definition>,
    /// The input, validated, defaults filled in.
    pub input: JsonText,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Who submits.
    pub client_id: Option<String>,
    /// Set if a repetition must find the same run.
    pub idempotency: Option<Idempotency>,
    /// Path of the workflow file, for a run made from one.
    pub source: Option<String>,
    /// When its tasks may start; none or past: at once.
    pub start_at: Option<Timestamp>,
    /// What is taken over from a run that ended, of the same definition.
    pub takes_over: Option<TakeOver>,
    /// The workflows that it calls, and those that these call, by name.
    pub calls: BTreeMap<Arc<str>, Arc<Definition>>,
    /// What the store knew when this was read.
    pub facts: Facts,
    /// Whom to answer.
    pub caller: Caller,
}

impl Submission {
    /// A workflow without calls, with an empty input, to be started at once; the store has been asked nothing.
    pub fn of(run: RunId, definition: Arc<Definition>) -> Self {
        Self {
            run,
            definition,
            input: JsonText("{}".into()),
            labels: BTreeMap::new(),
            client_id: None,
            idempotency: None,
            source: None,
            start_at: None,
            takes_over: None,
            calls: BTreeMap::new(),
            facts: Facts::default(),
            caller: Caller(0),
        }
    }
}

/// What a new run takes over from one that ended: its recorded completions are not repeated.
#[derive(Clone, Debug, PartialEq)]
pub struct TakeOver {
    /// The run that ended.
    pub run: RunId,
    /// What its completed tasks produced.
    pub completed: BTreeMap<TaskIndex, JsonText>,
    /// Its dead letters, which this run answers for from now on.
    pub letters: Vec<TaskId>,
}

/// What a command needs from finished runs, read in one transaction of the store.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The newest commit that the transaction saw.
    pub as_of: CommitSeq,
    /// The finished run that owns the submission's idempotency key, with its body's hash.
    pub key_owner: Option<(RunId, String)>,
    /// The end of the run that the command names, if it ended.
    pub ended: Option<RunStatus>,
}

/// A wish to end a run.
#[derive(Clone, Debug)]
pub struct CancelRequest {
    /// Why, for people.
    pub reason: String,
    /// Who asks.
    pub by: String,
    /// Whether to end it at once, whatever its attempts do: they are fenced and their units poisoned
    /// unless the hand confirms their death.
    pub force: bool,
    /// What the store knew when this was read.
    pub facts: Facts,
}

/// A wish to send a run a signal.
#[derive(Clone, Debug)]
pub struct SignalRequest {
    /// The signal's name; tasks say `signal: NAME`.
    pub name: String,
    /// What it says.
    pub payload: JsonText,
    /// Who sends it.
    pub by: String,
    /// What the store knew when this was read.
    pub facts: Facts,
}

/// What an operator can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PauseTarget {
    /// No task of this queue starts.
    Queue(String),
    /// No task of this workflow's runs starts.
    Workflow(String),
    /// No task of this run starts.
    Run(RunId),
}

/// What a person can decide about a held task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Try again.
    Retry,
    /// Count it as failed.
    Fail,
}

/// The end of an attempt, as its worker or its reconciler reports it.
#[derive(Clone, Debug)]
pub struct AttemptEnd {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Under which lease.
    pub fence: Fence,
    /// How it ended.
    pub outcome: Outcome,
    /// What else the hand knows, for the history: rungs, usage, notes. Short.
    pub detail: Detail,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The work is done.
    Succeeded {
        /// What it produced.
        output: JsonText,
    },
    /// The work ran and failed.
    Failed {
        /// A short word.
        reason: String,
        /// A sentence.
        message: String,
        /// The exit status, where there was one.
        exit: Option<i32>,
        /// What it says of another try.
        next_try: NextTry,
    },
    /// The work was stopped, as asked, and is gone.
    Stopped,
    /// The work could not be started.
    LaunchFailed {
        /// A sentence.
        message: String,
        /// What it failed for, and so what follows.
        fault: LaunchFault,
    },
    /// Given back: never started, or stopped because its worker shuts down.
    Released,
    /// Nobody knows how it ended.
    Lost {
        /// A sentence.
        message: String,
        /// Whether everything it started is known to be gone.
        confirmed_dead: bool,
    },
    /// It was killed and is still there.
    Unkillable {
        /// A sentence that names the processes.
        message: String,
    },
}

/// What a failure says of another try of its task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NextTry {
    /// Nothing: the task's own retries decide.
    #[default]
    AsUsual,
    /// The other side wants it no sooner than after so long; it is given at most [`crate::retry::ASKED_PAUSE_MAX`].
    NotBefore(Millis),
    /// It would fail the same way, so there is none, however many tries are left.
    Useless,
}

/// What a launch failed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaunchFault {
    /// Something that is not there, and is no more there the next time. The task fails.
    Lasting,
    /// Something that may be over the next time. The task is tried again, but not for ever.
    Passing,
    /// The worker's machine is short of room, descriptors or processes. That says nothing about the task: it is
    /// tried again, ever more slowly, until there is some or its run is out of time.
    Shortage,
}
