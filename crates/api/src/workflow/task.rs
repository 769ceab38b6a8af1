//! One task of a workflow file.

use super::{
    child::{ChildFile, child},
    declared::AcquiresFile,
    http::HttpFile,
    needs::NeedsFile,
    signal::SignalFile,
};
use crate::{
    document::{Node, ScalarKind, Value},
    report::{Code, Diagnostic},
    shape::{Definitions, Duration, Fields, Reader, Record, Shape, Size, Table, Text, read_word, word_schema},
};
use serde_json::json;

/// A task, as it stands in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskFile {
    /// What it does.
    pub kind: KindFile,
    /// What must have ended before.
    pub needs: Option<NeedsFile>,
    /// Whether it runs.
    pub when: Option<WhenFile>,
    /// Its class in the queue.
    pub priority: Option<PriorityFile>,
    /// Its queue.
    pub queue: Option<String>,
    /// Bound of one attempt.
    pub timeout: Option<Duration>,
    /// Bound of standing in the queue.
    pub queue_timeout: Option<Duration>,
    /// Longest silence of an attempt.
    pub heartbeat_timeout: Option<Duration>,
    /// Tries after failures.
    pub retry: Option<RetryFile>,
    /// What follows a lost attempt.
    pub on_lost: Option<OnLostFile>,
    /// What its final failure means.
    pub on_failure: Option<OnFailureFile>,
    /// The cancellation ladder.
    pub cancel: Option<CancelFile>,
    /// Variables of its environment.
    pub env: Vec<(String, Text)>,
    /// Its working folder.
    pub cwd: Option<String>,
    /// Units of pools.
    pub pools: Vec<(String, u32)>,
    /// Locks.
    pub locks: Vec<String>,
    /// What it may acquire while it runs.
    pub acquires: Option<AcquiresFile>,
    /// The workflows that it may start while it runs.
    pub spawns: Option<Vec<String>>,
    /// Bounds on what it may use.
    pub limits: Option<LimitsFile>,
}

/// What a task does.
#[derive(Clone, Debug, PartialEq)]
pub enum KindFile {
    /// A process.
    Exec(CommandFile),
    /// A request.
    Http(Box<HttpFile>),
    /// A call of a handler that a worker elsewhere has.
    Worker(CallFile),
    /// Nothing, for so long.
    Sleep(Duration),
    /// Nothing, until this signal is sent to its run.
    Signal(SignalFile),
    /// Runs of another workflow.
    Workflow(Box<ChildFile>),
}

/// The call of a `worker` task.
#[derive(Clone, Debug, PartialEq)]
pub struct CallFile {
    /// The handler.
    pub handler: String,
    /// What it is given; none is an empty object.
    pub input: Option<serde_json::Value>,
}

/// The command of an `exec` task.
#[derive(Clone, Debug, PartialEq)]
pub enum CommandFile {
    /// Program and arguments.
    Argv(Vec<String>),
    /// A line for the shell.
    Shell(String),
}

/// Whether a task runs.
#[derive(Clone, Debug, PartialEq)]
pub enum WhenFile {
    /// Yes.
    Always,
    /// As somebody's fallback.
    Fallback,
    /// If this expression is true.
    Expr(String),
}

/// The class of a task in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriorityFile {
    /// First.
    High,
    /// Between.
    Medium,
    /// Last.
    Low,
}

/// Tries after failures.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryFile {
    /// All tries, the first included.
    pub attempts: Option<u32>,
    /// Pauses between them.
    pub backoff: Option<BackoffFile>,
    /// Exit statuses worth another try.
    pub on_exits: Option<Vec<u32>>,
}

/// Pauses between tries.
#[derive(Clone, Debug, PartialEq)]
pub struct BackoffFile {
    /// The first pause.
    pub first: Option<Duration>,
    /// Growth from pause to pause.
    pub factor: Option<f64>,
    /// No pause is longer.
    pub max: Option<Duration>,
    /// Share of a pause drawn at random.
    pub jitter: Option<f64>,
}

/// What follows when an attempt's end is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLostFile {
    /// Another attempt.
    Retry,
    /// The task fails.
    Fail,
    /// The task waits for a person.
    Hold,
}

/// What a task's final failure means for its run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnFailureFile {
    /// The run fails.
    Fail,
    /// The run goes on.
    Continue,
    /// Another task starts.
    Fallback(String),
}

/// The rungs on which an attempt is stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct CancelFile {
    /// Time to react to being told.
    pub told: Option<Duration>,
    /// Time after SIGTERM.
    pub term: Option<Duration>,
    /// Time after SIGKILL.
    pub kill: Option<Duration>,
}

/// Bounds on what an attempt may use.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitsFile {
    /// Memory.
    pub memory: Option<Size>,
    /// Processor time.
    pub cpu_time: Option<Duration>,
    /// Processes at once.
    pub processes: Option<u32>,
    /// Open files.
    pub open_files: Option<u64>,
    /// Largest file written.
    pub file_size: Option<Size>,
    /// Share of processors.
    pub cpu: Option<f64>,
}

impl Record for TaskFile {
    const NAME: &'static str = "Task";
    const WHAT: &'static str = "a task";

    fn fields(fields: &mut Fields<'_, '_, '_>) -> Self {
        let kind = kind(fields);
        Self {
            kind,
            needs: fields.optional("needs", "What must have ended before: a list means all, `{any: […]}` one, `{at_least: 2, of: […]}` so many."),
            when: fields.optional("when", "`always`, `fallback` (only as somebody's fallback), or an expression without braces that gives true or false."),
            priority: fields.optional("priority", "Its class in the queue; medium if nothing is said."),
            queue: fields.optional("queue", "The queue where it stands when ready (default `default`)."),
            timeout: fields.optional("timeout", "Bound of one attempt, from its start (default 1h, or what the run has left); of a wait for a signal or for runs (default: what the run has left)."),
            queue_timeout: fields.optional("queue_timeout", "Bound of standing in the queue (default: what the run has left)."),
            heartbeat_timeout: fields.optional("heartbeat_timeout", "Longest silence of an attempt (default off where it runs beside the server)."),
            retry: fields.optional("retry", "Tries after failures."),
            on_lost: fields.optional("on_lost", "What follows when nobody can tell how an attempt ended."),
            on_failure: fields.optional("on_failure", "What its final failure means: `fail` the run, `continue`, or `{fallback: task}`."),
            cancel: fields.optional("cancel", "The rungs on which an attempt is stopped."),
            env: fields.optional("env", "Variables of its environment; values are templates.").map(|Table(list)| list).unwrap_or_default(),
            cwd: fields.optional("cwd", "Its working folder, a template (default: the folder of the workflow file)."),
            pools: fields.optional("pools", "Units of pools that it holds while it runs, granted all at once, with its locks.").map(|Table(list)| list).unwrap_or_default(),
            locks: fields.optional("locks", "Locks that it holds while it runs.").unwrap_or_default(),
            acquires: fields.optional("acquires", "What it may acquire while it runs, beside what it holds: one after the other, the pools, then the locks; or a list of steps, each granted all at once. `{}` says that there is nothing. `unknot check` judges by it."),
            spawns: fields.optional("spawns", "The workflows that it may start and wait for while it runs; `[]` says that there are none. `unknot check` judges by it."),
            limits: fields.optional("limits", "Bounds on what an attempt may use."),
        }
    }
}

/// The words of which each task has one, those of later versions included.
const KINDS: [&str; 7] = ["exec", "sleep", "http", "worker", "workflow", "signal", "chat"];

/// What only an attempt, or a place in a queue, can obey: a task that sleeps or waits for a signal has neither, and a
/// lock that is not held must not look as if it were.
const OF_ATTEMPTS: [&str; 14] = [
    "priority",
    "queue_timeout",
    "pools",
    "locks",
    "queue",
    "heartbeat_timeout",
    "retry",
    "on_lost",
    "cancel",
    "env",
    "cwd",
    "limits",
    "acquires",
    "spawns",
];

/// How many of them a task that starts runs obeys as well: what it holds is granted to it in turn.
const OF_GRANTS: usize = 4;

/// What only processes of the task's own can obey.
const OF_PROCESSES: [&str; 3] = ["env", "cwd", "limits"];

/// Refuses what excludes each other in one task.
fn exclusive(fields: &mut Fields<'_, '_, '_>) {
    fields.exclusive(&["exec", "http", "worker", "workflow", "sleep", "signal"]);
    let has = |fields: &Fields<'_, '_, '_>, kinds: &[&str]| kinds.iter().any(|kind| fields.has(kind));
    if !has(fields, &["exec", "http", "worker"]) {
        for kind in ["sleep", "signal"] {
            OF_ATTEMPTS.iter().for_each(|name| fields.exclusive(&[kind, name]));
        }
        OF_ATTEMPTS[OF_GRANTS..].iter().for_each(|name| fields.exclusive(&["workflow", name]));
    }
    if !has(fields, &["exec", "sleep", "signal"]) {
        for kind in ["http", "worker"] {
            OF_PROCESSES.iter().for_each(|name| fields.exclusive(&[kind, name]));
        }
        // A request has clocks of its own instead.
        fields.exclusive(&["http", "heartbeat_timeout"]);
    }
    if !has(fields, &["worker", "workflow"]) {
        ["exec", "http", "sleep", "signal"].iter().for_each(|kind| fields.exclusive(&[kind, "input"]));
    }
}

fn kind(fields: &mut Fields<'_, '_, '_>) -> KindFile {
    exclusive(fields);
    let exec = fields.optional(
        "exec",
        "A process: a list is a program with arguments (each a template), a string goes to the shell.",
    );
    let http = fields.optional(
        "http",
        "A request over HTTP; a try that fails for reasons that may pass is followed by up to 3 more.",
    );
    let handler = fields.optional("worker", "A handler that a worker elsewhere has: it is called with `input`.");
    let input = fields.optional("input", "What the handler, or each run that is started, is given (default `{}`); its texts are templates, and one that is exactly one `{{ … }}` keeps its JSON type.");
    let sleep = fields.optional("sleep", "Nothing, for so long; needs no worker.");
    let signal = fields.optional("signal", "Nothing, until somebody sends its run this signal (`{name: …, from: [TASK, …]}` takes it from these tasks only), whose payload is its output: `unknot signal send RUN NAME`. `timeout` bounds the wait.");
    fields.one_of(&KINDS, || {
        Diagnostic::new(Code::MissingKey, "the task has nothing to do")
            .expected("one of `exec`, `http`, `worker`, `workflow`, `sleep`, `signal`")
    });
    // `input` belongs to the handler, if there is one beside.
    let (called, given) = if handler.is_some() { (input, None) } else { (None, input) };
    let child = child(fields, given);
    fields.later("chat", "the gateway");
    match (exec, http, handler, child, signal) {
        (Some(command), ..) => KindFile::Exec(command),
        (None, Some(request), ..) => KindFile::Http(Box::new(request)),
        (None, None, Some(handler), ..) => KindFile::Worker(CallFile { handler, input: called }),
        (None, None, None, Some(child), _) => KindFile::Workflow(Box::new(child)),
        (None, None, None, None, Some(signal)) => KindFile::Signal(signal),
        (None, None, None, None, None) => KindFile::Sleep(sleep.unwrap_or(Duration { ms: 0 })),
    }
}

impl Shape for CommandFile {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::List(_) => Vec::<Text>::read(node, reader)
                .map(|words| Self::Argv(words.into_iter().map(|Text(word)| word).collect())),
            Value::Scalar(scalar) if scalar.kind == ScalarKind::Text => {
                Some(Self::Shell(scalar.text.clone().into_owned()))
            }
            _ => {
                reader.wrong(node, "a list such as `[\"python3\", \"fetch.py\"]`, or a string for the shell");
                None
            }
        }
    }

    fn schema(definitions: &mut Definitions) -> serde_json::Value {
        json!({"anyOf": [Vec::<Text>::schema(definitions), {"type": "string"}]})
    }
}

impl Shape for WhenFile {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let text: Text = Shape::read(node, reader)?;
        Some(match &*text.0 {
            "always" => Self::Always,
            "fallback" => Self::Fallback,
            _ => Self::Expr(text.0),
        })
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        json!({"type": ["string", "boolean"], "examples": ["always", "fallback", "input.pages > 3"]})
    }
}

impl Shape for PriorityFile {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        read_word(&Self::WORDS, node, reader)
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        json!({"enum": ["high", "medium", "low", 3, 2, 1]})
    }
}

impl PriorityFile {
    const WORDS: [(&'static str, Self); 6] = [
        ("high", Self::High),
        ("medium", Self::Medium),
        ("low", Self::Low),
        ("3", Self::High),
        ("2", Self::Medium),
        ("1", Self::Low),
    ];
}

impl Record for RetryFile {
    const NAME: &'static str = "Retry";
    const WHAT: &'static str = "`retry`";

    fn fields(fields: &mut Fields<'_, '_, '_>) -> Self {
        Self {
            attempts: fields.optional("attempts", "All tries, the first included; 1 is no retry."),
            backoff: fields.optional("backoff", "Pauses between tries: first, first × factor, … up to max."),
            on_exits: fields.optional("on_exits", "Exit statuses worth another try (default: all but 0)."),
        }
    }
}

impl Record for BackoffFile {
    const NAME: &'static str = "Backoff";
    const WHAT: &'static str = "`backoff`";

    fn fields(fields: &mut Fields<'_, '_, '_>) -> Self {
        Self {
            first: fields.optional("first", "Pause before the second try (default 1s)."),
            factor: fields.optional("factor", "Growth from pause to pause, 1 to 100 (default 2)."),
            max: fields.optional("max", "No pause is longer (default 60s)."),
            jitter: fields.optional("jitter", "Share of a pause drawn at random, 0 to 1 (default 0.2)."),
        }
    }
}

impl Shape for OnLostFile {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        read_word(&Self::WORDS, node, reader)
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        word_schema(&Self::WORDS)
    }
}

impl OnLostFile {
    const WORDS: [(&'static str, Self); 3] = [("retry", Self::Retry), ("fail", Self::Fail), ("hold", Self::Hold)];
}

impl Shape for OnFailureFile {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        if let Value::Map(_) = node.value {
            let fallback: FallbackFile = Shape::read(node, reader)?;
            return Some(Self::Fallback(fallback.fallback));
        }
        read_word(&[("fail", false), ("continue", true)], node, reader)
            .map(|goes_on| if goes_on { Self::Continue } else { Self::Fail })
    }

    fn schema(definitions: &mut Definitions) -> serde_json::Value {
        json!({"anyOf": [{"enum": ["fail", "continue"]}, FallbackFile::schema(definitions)]})
    }
}

/// The map form of `on_failure`.
struct FallbackFile {
    fallback: String,
}

impl Record for FallbackFile {
    const NAME: &'static str = "Fallback";
    const WHAT: &'static str = "`on_failure`";

    fn fields(fields: &mut Fields<'_, '_, '_>) -> Self {
        Self {
            fallback: fields
                .required(&["fallback"], "The task that starts instead; it says `when: fallback`.")
                .unwrap_or_default(),
        }
    }
}

impl Record for CancelFile {
    const NAME: &'static str = "Cancel";
    const WHAT: &'static str = "`cancel`";

    fn fields(fields: &mut Fields<'_, '_, '_>) -> Self {
        Self {
            told: fields.optional("told", "Time to react to being told (default: not told)."),
            term: fields.optional("term", "Time after SIGTERM (default 10s)."),
            kill: fields.optional("kill", "Time after SIGKILL, before the attempt is given up (default 5s)."),
        }
    }
}

impl Record for LimitsFile {
    const NAME: &'static str = "Limits";
    const WHAT: &'static str = "`limits`";

    fn fields(fields: &mut Fields<'_, '_, '_>) -> Self {
        Self {
            memory: fields.optional("memory", "Memory of all its processes together."),
            cpu_time: fields.optional("cpu_time", "Processor time of all its processes together."),
            processes: fields.optional("processes", "How many processes at once."),
            open_files: fields.optional("open_files", "Open files per process."),
            file_size: fields.optional("file_size", "Largest file that it may write."),
            cpu: fields.optional("cpu", "Share of processors, in cores; holds where control groups are delegated."),
        }
    }
}
