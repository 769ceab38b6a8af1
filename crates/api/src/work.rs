//! The wire types of work: what a worker is given, and what it reports.
//!
//! The same types serve the server's own worker (over channels) and a remote one (as JSON). Enums are tagged from
//! outside (`{"exec": {…}}`), because a [`JsonText`] passes through such a tag unparsed.
//!
//! Every number carries its unit in its name. Wall-clock times (`at_ms`) are milliseconds since the epoch, read by the
//! worker from the clock that it was given; durations are never compared with them.

mod http;

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use self::http::{HttpBody, HttpOutput, HttpTimeouts, HttpWork, RETRY_AFTER_MS_MAX, StatusRange};

/// The largest output of a task that travels with its report, in bytes. Larger results belong in `artifacts/`.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// One attempt, handed to a worker under a fenced lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// The attempt's id: unique for ever, safe in an environment variable.
    pub attempt: String,
    /// The run that the attempt belongs to.
    pub run: String,
    /// The name of the task.
    pub task: String,
    /// Which try of the task this is; the first is 1.
    pub number: u32,
    /// The lease's fence. Each report carries it back; a report with an older one is refused.
    pub fence: u64,
    /// The attempt's folder, relative to the data folder. Whoever assigns makes sure that it cannot leave it.
    pub folder: String,
    /// What is to be done.
    pub work: Work,
    /// The longest silence, in milliseconds, before the attempt is stopped. `None`: silence is no fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_timeout_ms: Option<u64>,
    /// When the worker begins to stop the attempt by itself, in milliseconds from its start, even if nobody tells it.
    pub hard_deadline_ms_from_start: u64,
    /// How the attempt is stopped, and how long each rung may take.
    pub ladder: Ladder,
    /// Equal for all tries of one task of one run, for the work's own deduplication.
    pub idempotency_key: String,
    /// Environment variables beside the work's own; these win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The term of the lease, in milliseconds; each renewal begins it anew, and the attempt must be over before it runs
    /// out. `None`: it does not run out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
    /// Whether it is performed in the slot of an attempt that waits at this worker for a run that it spawned: at once, beside
    /// those that the worker's slots are for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_lent_slot: bool,
}

/// What an attempt does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Work {
    /// Runs a command in processes of its own.
    Exec(ExecWork),
    /// Sends a request and takes its answer.
    Http(Box<HttpWork>),
    /// Calls a handler that the worker has.
    Handler(HandlerWork),
    /// Ends at once with a null output. It measures everything around an attempt.
    Noop,
}

/// The call of a handler: what it does is the worker's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HandlerWork {
    /// Which handler.
    pub name: String,
    /// What it is given.
    pub input: JsonText,
}

/// A command and the surroundings that it runs in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecWork {
    /// What is started.
    pub command: Command,
    /// Environment variables, over those of the worker (of which every `UNKNOT_…` is removed).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The working folder; relative to the worker's own. `None`: the worker's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// What the command's processes may use, all together.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
}

/// A program with its arguments, or a line for the shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// The program (looked up in `PATH` if it has no slash) and its arguments; at least one element.
    Argv(Vec<String>),
    /// A line for `/bin/sh -c`.
    Shell(String),
}

/// Bounds on all processes of one attempt; `None` means unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Resident memory of all processes together, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processor time of all processes together, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_time_ms: Option<u64>,
    /// How many processes may live at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// Open files of each process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
    /// The size of each file that is written, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_size_bytes: Option<u64>,
    /// A share of the processors, in cores (`0.5` is half of one).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_share: Option<f64>,
}

impl Limits {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How an attempt is stopped: each rung's patience, in milliseconds. The sum bounds a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ladder {
    /// How long the work may take to end once told (for `exec`: the file `UNKNOT_STOP` appears). `None`: it is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_ms: Option<u64>,
    /// From TERM to KILL.
    pub term_ms: u64,
    /// From KILL until the attempt is given up as unkillable.
    pub kill_ms: u64,
}

impl Default for Ladder {
    fn default() -> Self {
        Self { told_ms: None, term_ms: 10_000, kill_ms: 5_000 }
    }
}

/// Why an attempt was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// Someone cancelled it, or its run.
    Cancelled,
    /// Its time was over.
    TimedOut,
    /// It was silent for longer than `heartbeat_timeout_ms`.
    Heartbeat,
    /// It used more than its limits allow.
    Limit,
    /// Its worker shuts down.
    Shutdown,
    /// It was chosen to resolve a deadlock.
    Deadlock,
    /// Its lease is no longer this worker's.
    LeaseLost,
}

/// One message of a worker about one attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The attempt.
    pub attempt: String,
    /// The fence that it was assigned with.
    pub fence: u64,
    /// What happened.
    pub body: ReportBody,
}

/// What happened to an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportBody {
    /// It runs. Sent until acknowledged; never after `Ended`.
    Started {
        /// Its main process, if it has one.
        pid: Option<u32>,
        /// When its program had been started.
        at_ms: u64,
    },
    /// It gave a sign of life. Sent at most once a second, and only once: it may be lost.
    Progress {
        /// When it was last heard.
        at_ms: u64,
        /// How much it has printed so far.
        output_bytes: u64,
    },
    /// It is over, and nothing of it is left, unless the outcome says otherwise. Sent until acknowledged.
    Ended(Box<End>),
}

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct End {
    /// How it ended.
    pub outcome: Outcome,
    /// When its end was known.
    pub at_ms: u64,
    /// The rungs of the ladder that were taken, in order; empty if it was not stopped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rungs: Vec<RungTaken>,
    /// What its processes used, as far as somebody waited for their end: their parents, or, for orphans, the guard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What a person should know beside the outcome.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
}

impl End {
    /// An end with nothing beside its outcome.
    #[must_use]
    pub fn new(outcome: Outcome, at_ms: u64) -> Self {
        Self { outcome, at_ms, rungs: Vec::new(), usage: None, notes: Vec::new() }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it should.
    Succeeded {
        /// Its output, at most [`OUTPUT_BYTES_MAX`] long.
        output: JsonText,
    },
    /// It ran and did not do what it should.
    Failed {
        /// The kind of failure in one word.
        code: FailureCode,
        /// What happened, for a person.
        message: String,
        /// The main process's exit status, if it exited.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit: Option<i32>,
        /// The signal that ended the main process, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
        /// What the failure says of another try.
        #[serde(default, skip_serializing_if = "NextTry::is_as_usual")]
        next_try: NextTry,
    },
    /// It was made to stop.
    Stopped {
        /// Why.
        reason: StopReason,
    },
    /// It never ran, by no fault of its own program's doing: no such program, no such folder, no process to be had.
    LaunchFailed {
        /// What was attempted and why it failed.
        message: String,
        /// What it failed for, and so whether another try is of use.
        fault: LaunchFault,
    },
    /// Its end is unknown: whoever watched it is gone.
    Lost {
        /// What happened.
        message: String,
        /// Whether nothing of it lives any more. If false, it may still act.
        confirmed_dead: bool,
    },
    /// It still lives after KILL and the ladder's last wait.
    Unkillable {
        /// What was tried.
        message: String,
        /// The processes that are left.
        pids: Vec<u32>,
    },
    /// It was given back before it was started.
    Released,
}

/// What a failure says of another try of its task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NextTry {
    /// Nothing: the task's own retries decide.
    #[default]
    AsUsual,
    /// The other side wants it no sooner than so many milliseconds from now. At most [`RETRY_AFTER_MS_MAX`].
    NotBefore(u64),
    /// It would fail the same way, so there is none, whatever the task's retries are.
    Useless,
}

impl NextTry {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_as_usual(&self) -> bool {
        *self == Self::AsUsual
    }
}

/// What a launch failed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LaunchFault {
    /// Something that is not there, and is no more there the next time: a program, a working folder.
    Lasting,
    /// Something that may be over the next time.
    Passing,
    /// The machine is short of room on its disk, descriptors, memory or processes, so nothing else starts on it either.
    /// That says nothing about the work.
    Shortage,
}

/// The kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureCode {
    /// The main process exited with a status other than 0.
    Exit,
    /// A signal ended the main process, and the worker had not sent it.
    Signal,
    /// The output is not valid JSON, or too long; the message names `UNKNOT_OUTPUT`.
    Output,
    /// It used more than its limits allow.
    Limit,
    /// The work's own handler refused or failed.
    Handler,
    /// A request that cannot be made: its address, method or headers are none.
    Request,
    /// No connection: no address, nobody who listens, or nobody who answers.
    Connect,
    /// A request was sent, and its answer did not come, not in time, or not whole.
    Answer,
    /// An answer with a status that does not count as success.
    Status,
    /// A redirect that is not followed: too many, or to where this request must not go.
    Redirect,
}

impl FailureCode {
    /// The word as it is written in reports and files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Signal => "signal",
            Self::Output => "output",
            Self::Limit => "limit",
            Self::Handler => "handler",
            Self::Request => "request",
            Self::Connect => "connect",
            Self::Answer => "answer",
            Self::Status => "status",
            Self::Redirect => "redirect",
        }
    }
}

/// A rung of the ladder, with the time at which it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RungTaken {
    /// Which.
    pub rung: Rung,
    /// When.
    pub at_ms: u64,
}

/// The rungs of the ladder on which an attempt is stopped, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// The work was asked to end.
    Told,
    /// TERM (and CONT) went to its process group.
    Term,
    /// KILL went to all of its processes.
    Kill,
}

/// What processes used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Processor time in user mode, in milliseconds.
    pub user_ms: u64,
    /// Processor time in the kernel, in milliseconds.
    pub system_ms: u64,
    /// The largest resident size of any single one of them, in bytes.
    pub max_rss_bytes: u64,
}

impl Usage {
    /// What both used.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            user_ms: self.user_ms + other.user_ms,
            system_ms: self.system_ms + other.system_ms,
            max_rss_bytes: self.max_rss_bytes.max(other.max_rss_bytes),
        }
    }
}

/// Something that a person should know about an attempt and that did not decide its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Note {
    /// The main process was gone, but another one still held its output; the log may miss what that one wrote later.
    PipeHeld {
        /// Who held it.
        holder: ProcessRef,
    },
    /// Processes were left when the main process ended, and were ended with it.
    LeftBehind {
        /// How many.
        count: u32,
        /// The first few of them.
        processes: Vec<ProcessRef>,
    },
    /// The middle of a long log was left out.
    LogCut {
        /// How many bytes.
        omitted_bytes: u64,
    },
    /// The log, or a part of it, could not be written; the attempt went on without.
    LogFailed {
        /// What failed.
        message: String,
    },
    /// Output was still flowing when the bounded wait after the exit was over.
    OutputCutOff,
    /// Some of what it left in `artifacts/` did not come to the server; it went with the worker's folder.
    ArtifactsLost {
        /// How many files or folders, at least; 0 if nobody knows whether there were any.
        count: u32,
        /// The paths of the first few.
        first: Vec<String>,
        /// Why the first of them did not come.
        message: String,
    },
    /// A limit was asked for that this machine cannot enforce.
    LimitNotEnforced {
        /// Its key in the workflow file.
        limit: String,
        /// Why not.
        message: String,
    },
}

/// A process as a person recognises it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessRef {
    /// Its id.
    pub pid: u32,
    /// Its command line, cut to 200 bytes.
    pub command: String,
}

/// The text of one JSON value, known to be valid, kept as it was written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonText(Box<RawValue>);

impl JsonText {
    /// The value `null`.
    #[must_use]
    pub fn null() -> Self {
        Self(RawValue::NULL.to_owned())
    }

    /// Checks a text.
    ///
    /// # Errors
    ///
    /// If it is not exactly one JSON value.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text).map(Self)
    }

    /// The text, without space around it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl JsonSchema for JsonText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "JsonText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"description": "Any JSON value."})
    }
}

impl PartialEq for JsonText {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_the_wire() {
        let report = Report {
            attempt: "att_1".into(),
            fence: 7,
            body: ReportBody::Ended(Box::new(End {
                outcome: Outcome::Succeeded { output: JsonText::parse(r#"{"b":1.50,"a":[ ]}"#).expect("valid") },
                at_ms: 12,
                rungs: vec![RungTaken { rung: Rung::Term, at_ms: 11 }],
                usage: Some(Usage::default()),
                notes: vec![Note::OutputCutOff],
            })),
        };
        let text = serde_json::to_string(&report).expect("valid");
        assert!(text.contains(r#"{"b":1.50,"a":[ ]}"#), "the output is not rewritten: {text}");
        assert_eq!(serde_json::from_str::<Report>(&text).expect("valid"), report);
    }

    #[test]
    fn an_assignment_needs_no_more_than_it_says() {
        let text = r#"{"attempt":"att_1","run":"run_1","task":"a","number":1,"fence":1,"folder":"f",
            "work":{"exec":{"command":{"shell":"true"}}},"hard_deadline_ms_from_start":1000,
            "ladder":{"term_ms":1,"kill_ms":1},"idempotency_key":"k"}"#;
        let assignment: Assignment = serde_json::from_str(text).expect("valid");
        let Work::Exec(exec) = assignment.work else { panic!("exec expected") };
        assert!(exec.limits.is_empty());
        assert_eq!(exec.command, Command::Shell("true".into()));
    }

    #[test]
    fn a_request_needs_no_more_than_method_and_address() {
        let text = r#"{"http":{"method":"GET","url":"http://localhost/","body":{"json":{"a":1.50}}}}"#;
        let Work::Http(http) = serde_json::from_str(text).expect("valid") else { panic!("http expected") };
        assert_eq!(http.timeouts, HttpTimeouts::default());
        assert_eq!((http.body_bytes_max, http.redirects_max), (16 << 20, 5));
        assert!(serde_json::to_string(&http).expect("valid").contains(r#"{"a":1.50}"#));
    }

    #[test]
    fn a_failure_of_an_older_worker_says_nothing_of_another_try() {
        let old = r#"{"failed":{"code":"exit","message":"exit status 3","exit":3}}"#;
        let Outcome::Failed { next_try, .. } = serde_json::from_str(old).expect("valid") else { panic!("a failure") };
        assert_eq!(next_try, NextTry::AsUsual);
    }

    #[test]
    fn json_text_is_one_value() {
        assert_eq!(JsonText::parse(" null ").expect("valid"), JsonText::null());
        assert!(JsonText::parse("{} {}").is_err());
        assert!(JsonText::parse("").is_err());
    }
}
