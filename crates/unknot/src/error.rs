//! What can go wrong on the way to the engine: what was attempted, why it failed, what to do.
//!
//! What is wrong with a file has a report of its own, with places; what is wrong with a store has the
//! store's code. Each code has a page under `docs/errors`.

use crate::{exit::Exit, output::harmless};
use std::{error::Error as StdError, io, path::PathBuf};
use unknot_api::client::{AddressError, ClientError};
use unknot_engine::{
    CommandError, StartError,
    core::{RunId, run::RunStatus, wait::Fault},
    store::StoreError,
};
use unknot_server::TokenError;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Standard output cannot be written. A reader that is gone is no error: the command ends quietly.
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
    /// A file has problems with places; the report is printed as it is.
    #[error("{0}")]
    File(unknot_api::report::Report),
    #[error("cannot read the workflow file `{}`", path.display())]
    WorkflowUnreadable { path: PathBuf, source: io::Error },
    #[error("cannot read the configuration `{}`", path.display())]
    ConfigUnreadable { path: PathBuf, source: io::Error },
    #[error("the variable `{name}` cannot be used: {problem}")]
    Variable { name: String, problem: String, expected: Option<String>, help: Option<String> },
    #[error("`{given}` is no input: {problem}")]
    Input { given: String, problem: String },
    #[error("`{given}` is no {what}")]
    Value { given: String, what: &'static str },
    #[error("there is no run `{given}` in `{place}`")]
    NoSuchRun { given: String, place: String },
    #[error("no workflow has run yet with the data folder `{}`", data.display())]
    NothingRan { data: PathBuf },
    #[error("`{given}` is the beginning of more than one run: {matches}")]
    ManyRuns { given: String, matches: String },
    #[error("run `{run}` has no task `{task}`")]
    NoSuchTask { run: RunId, task: String, nearest: Option<String> },
    #[error("there is no log of {what}")]
    NoLog { what: String },
    #[error("cannot {attempt} `{}`", path.display())]
    Log { attempt: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot {attempt}")]
    Start { attempt: &'static str, source: Box<dyn StdError + Send + Sync> },
    #[error("the server will not have this worker: {cause}")]
    WorkerRefused { cause: String },
    #[error("cannot {attempt}")]
    Command { attempt: String, source: CommandError },
    #[error("run `{run}` has already ended as {status}")]
    AlreadyEnded { run: RunId, status: RunStatus },
    #[error("the key `{key}` was used for another content or other inputs, by run `{run}`")]
    KeyReused { key: String, run: RunId },
    #[error("run `{run}` is frozen, since one of its events failed: {cause}")]
    Frozen { run: RunId, cause: String },
    #[error("the engine stopped: {cause}")]
    EngineStopped { cause: String },
    #[error("the process that owns `{}` does not answer", data.display())]
    OwnerSilent { data: PathBuf, source: Box<dyn StdError + Send + Sync> },
    #[error("the process that owns the store refused: {message}")]
    OwnerRefused { message: String },
    #[error("the store is damaged: {}", problems.first().map_or("", String::as_str))]
    Unsound { problems: Vec<String> },
    #[error("cannot {attempt}")]
    Store { attempt: String, source: StoreError },
    #[error("no server owns the data folder `{}`", data.display())]
    NoServer { data: PathBuf },
    #[error("cannot {attempt}")]
    Client { attempt: String, source: ClientError },
    #[error(transparent)]
    Address(AddressError),
    #[error("cannot read the token file `{}`", path.display())]
    TokenFile { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Tokens(TokenError),
    #[error("`{}` cannot be sent to a server as it is written", path.display())]
    Unsendable { path: PathBuf },
    #[error("cannot read the wait graph `{}`", path.display())]
    GraphUnreadable { path: PathBuf, source: io::Error },
    #[error("`{}` is no wait graph: {fault}", path.display())]
    NoGraph { path: PathBuf, fault: Fault },
}

impl Error {
    /// A failure of the store while `attempt` was attempted.
    pub(crate) fn store(attempt: impl Into<String>) -> impl FnOnce(StoreError) -> Self {
        let attempt = attempt.into();
        move |source| Self::Store { attempt, source }
    }

    /// A server that was not reached, or refused, while `attempt` was attempted.
    pub(crate) fn client(attempt: impl Into<String>) -> impl FnOnce(ClientError) -> Self {
        let attempt = attempt.into();
        move |source| Self::Client { attempt, source }
    }

    /// A failure to start an engine.
    pub(crate) fn start(error: StartError) -> Self {
        match error {
            StartError::Store(source) => Self::store("start the engine")(source),
            StartError::Load(error) => {
                Self::store("start the engine")(StoreError::Corrupt { detail: error.to_string(), cause: None })
            }
            other => Self::Start { attempt: "start the engine", source: other.into() },
        }
    }

    /// Whether it may be gone the next time: a server that is not reached now.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Client { source, .. } if source.is_passing())
    }

    /// Whether nobody reads what is printed any more: no fault of anybody's.
    pub(crate) fn is_unheard(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The page that explains it.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Output(_) => "UK0300",
            Self::WorkflowUnreadable { .. } => "UK0301",
            Self::ConfigUnreadable { .. } => "UK0302",
            Self::Input { .. } => "UK0303",
            Self::Value { .. } => "UK0304",
            Self::NoSuchRun { .. } | Self::NothingRan { .. } => "UK0305",
            Self::ManyRuns { .. } => "UK0306",
            Self::NoSuchTask { .. } => "UK0307",
            Self::NoLog { .. } | Self::Log { .. } => "UK0308",
            Self::Start { .. } => "UK0309",
            Self::Command { .. } | Self::OwnerRefused { .. } => "UK0310",
            Self::AlreadyEnded { .. } => "UK0311",
            Self::EngineStopped { .. } => "UK0312",
            Self::OwnerSilent { .. } => "UK0313",
            Self::Frozen { .. } => "UK0314",
            Self::KeyReused { .. } => "UK0315",
            Self::Variable { .. } => "UK0335",
            Self::WorkerRefused { .. } => "UK0336",
            Self::NoServer { .. } => "UK0330",
            // The server's own code, which has a page here as well.
            Self::Client { source: ClientError::Refused { problem, .. }, .. } => &problem.code,
            Self::Client { .. } => "UK0331",
            Self::Address(_) | Self::TokenFile { .. } => "UK0332",
            Self::Tokens(_) => "UK0333",
            Self::Unsendable { .. } => "UK0334",
            Self::GraphUnreadable { .. } => "UK0350",
            Self::NoGraph { .. } => "UK0351",
            Self::Unsound { .. } => "UK0204",
            Self::Store { source, .. } => source.code(),
            // Printed by the report itself, problem by problem.
            Self::File(report) => report.problems.first().map_or("", |problem| &problem.code),
        }
    }

    /// How the command ends.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            _ if self.is_unheard() => Exit::Success,
            Self::File(_)
            | Self::WorkflowUnreadable { .. }
            | Self::ConfigUnreadable { .. }
            | Self::Variable { .. }
            | Self::Input { .. }
            | Self::Value { .. }
            | Self::NoSuchRun { .. }
            | Self::NothingRan { .. }
            | Self::ManyRuns { .. }
            | Self::NoSuchTask { .. }
            | Self::NoLog { .. }
            | Self::KeyReused { .. }
            | Self::NoServer { .. }
            | Self::Address(_)
            | Self::TokenFile { .. }
            | Self::Tokens(TokenError::Refused(_))
            | Self::Unsendable { .. }
            | Self::GraphUnreadable { .. }
            | Self::NoGraph { .. } => Exit::Usage,
            Self::Client { source, .. } => refused(source),
            Self::AlreadyEnded { .. } | Self::Unsound { .. } => Exit::Failed,
            Self::Command { source: CommandError::Refused(_), .. } | Self::OwnerRefused { .. } => Exit::Failed,
            _ => Exit::Environment,
        }
    }

    /// What to do next, where that can be said in a line.
    fn help(&self) -> Option<String> {
        Some(match self {
            Self::WorkflowUnreadable { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "give the path of a YAML or JSON file, such as `unknot run flow.yaml`".to_owned()
            }
            Self::Variable { help: Some(help), .. } => help.clone(),
            Self::Variable { expected: Some(expected), .. } => format!("expected {expected}"),
            Self::Input { .. } => {
                "write `-i name=value`, or `-i @inputs.json` for a file with a JSON object".to_owned()
            }
            Self::NoSuchRun { .. } => "`unknot ls` lists the runs".to_owned(),
            Self::NothingRan { .. } => {
                "go to the workflow's folder, or name its data folder with `--data DIR`".to_owned()
            }
            Self::ManyRuns { .. } => "give more of the id".to_owned(),
            Self::NoSuchTask { nearest: Some(nearest), .. } => format!("did you mean `{nearest}`?"),
            Self::NoSuchTask { run, .. } => format!("`unknot show {run}` lists its tasks"),
            Self::NoLog { .. } => {
                "a log begins with a task's first attempt; `unknot show` says whether there was one".to_owned()
            }
            Self::KeyReused { run, .. } => format!("take another key; `unknot show {run}` shows that run"),
            Self::Frozen { run, .. } => {
                format!("look at it with `unknot show {run}`; `unknot cancel {run} --force` ends it as it stands")
            }
            Self::OwnerSilent { .. } => "end that process (Ctrl-C in its terminal), then ask again".to_owned(),
            Self::Unsound { .. } => "keep the folder as it is and restore a backup into another one".to_owned(),
            Self::Store { source, .. } => store_help(source)?,
            Self::Client { source, .. } => client_help(source)?,
            Self::NoServer { .. } => {
                "start one with `unknot serve`, or name one with `--server http://HOST:PORT`".to_owned()
            }
            Self::Unsendable { .. } => {
                "write its numbers without signs, leading zeros or hexadecimal, or in quotes".to_owned()
            }
            Self::GraphUnreadable { .. } | Self::NoGraph { .. } => {
                "`unknot help analyze` has an example; docs/wait-graph.md says what a file may hold".to_owned()
            }
            Self::EngineStopped { .. } => {
                "what was recorded is in the data folder; run the same command again".to_owned()
            }
            _ => return None,
        })
    }
}

/// How the command ends when a server does not do what was asked.
fn refused(error: &ClientError) -> Exit {
    match error {
        ClientError::Refused { problem, .. } => match problem.status {
            400 | 401 | 404 | 422 => Exit::Usage,
            403 | 409 | 429 => Exit::Failed,
            _ => Exit::Environment,
        },
        ClientError::Token | ClientError::Header { .. } => Exit::Usage,
        _ => Exit::Environment,
    }
}

fn client_help(error: &ClientError) -> Option<String> {
    Some(match error {
        ClientError::Refused { problem, .. } if problem.status == 401 => {
            "give a token: `--token-file FILE` or UNKNOT_TOKEN; `unknot token new NAME`, beside the server, makes one"
                .to_owned()
        }
        ClientError::Connect { .. } => {
            "is the server there, and is this its address? `unknot serve` starts one".to_owned()
        }
        ClientError::Late { .. } | ClientError::Broken { .. } => {
            "look at the server's `/health`; what was asked for may have happened all the same".to_owned()
        }
        _ => return None,
    })
}

fn store_help(error: &StoreError) -> Option<String> {
    Some(match error {
        StoreError::Owned { pid: Some(pid), .. } => {
            format!("wait for process {pid} to end, or use another folder with `--data DIR`")
        }
        StoreError::Owned { pid: None, .. } => "wait for it to end, or use another folder with `--data DIR`".to_owned(),
        StoreError::Newer { .. } => "use the newer program, or another folder with `--data DIR`".to_owned(),
        StoreError::NotAStore { .. } => "use another folder with `--data DIR`".to_owned(),
        StoreError::Missing { .. } => "`unknot run` makes one; `--data DIR` names another folder".to_owned(),
        StoreError::Corrupt { .. } => "keep the folder as it is and restore a backup into another one".to_owned(),
        StoreError::NetworkFileSystem { .. } => "use a folder on a local disk with `--data DIR`".to_owned(),
        StoreError::Open { .. } | StoreError::Unavailable { .. } => {
            "look at the folder's owner, rights and disk, or use another one with `--data DIR`".to_owned()
        }
        _ => return None,
    })
}

/// Prints an error with its causes and what to do, to standard error.
pub(crate) fn report(error: &Error) {
    match error {
        _ if error.is_unheard() => {}
        Error::File(report) => eprint_quietly(&report.to_string()),
        _ => eprint_quietly(&rendered(error)),
    }
}

fn rendered(error: &Error) -> String {
    let mut text = format!("error[{}]: {error}\n", error.code());
    let mut cause = error.source();
    while let Some(inner) = cause {
        // A server's words are another one's: they shall not command the terminal.
        text.push_str(&harmless(&format!("  because: {inner}")));
        text.push('\n');
        cause = inner.source();
    }
    if let Error::Unsound { problems } = error {
        text.extend(problems.iter().skip(1).map(|problem| format!("  and: {problem}\n")));
    }
    if let Error::Client { source: ClientError::Refused { problem, .. }, .. } = error {
        text.extend(problem.problems.iter().map(|found| finding(&found.path, &found.message, found.help.as_deref())));
    }
    if let Some(help) = error.help() {
        text.push_str(&format!("  help: {help}\n"));
    }
    text
}

/// An error with its causes, in one line.
pub(crate) fn with_causes(error: &Error) -> String {
    let mut text = match error {
        Error::File(report) => report.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    };
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}

fn finding(path: &str, message: &str, help: Option<&str>) -> String {
    let place = if path.is_empty() { String::new() } else { format!("{path}: ") };
    let help = help.map(|help| format!(" ({help})")).unwrap_or_default();
    harmless(&format!("  and: {place}{message}{help}")) + "\n"
}

/// Writes to standard error; nobody is left to be told when that fails.
pub(crate) fn eprint_quietly(text: &str) {
    use io::Write as _;
    io::stderr().write_all(text.as_bytes()).unwrap_or_default();
}
