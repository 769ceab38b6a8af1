//! What can go wrong on the way to the engine: what was attempted, why it failed, what to do.
//!
//! What is wrong with a file has a report of its own, with places; what is wrong with a store has the
//! store's code. Each code has a page under `docs/errors`.

mod help;

use crate::{exit::Exit, output::harmless};
use std::{
    error::Error as StdError,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};
use unknot_api::client::{AddressError, ClientError};
use unknot_engine::{
    CommandError, StartError,
    core::{RunId, run::RunStatus, wait::Fault},
    store::StoreError,
};
use unknot_server::TokenError;

/// What a server attempts at its start.
pub(crate) const SERVER: &str = "start the server";

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
    #[error("{problem}")]
    Unset { problem: String },
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
    /// A user is let in by the owner of the folder alone: its files and sockets are nobody else's.
    #[error("the data folder `{}` belongs to another user (uid {owner}), and this is uid {us}", data.display())]
    NotOurs { data: PathBuf, owner: u32, us: u32, source: Box<dyn StdError + Send + Sync> },
    #[error("the process that owns the store refused: {message}")]
    OwnerRefused { message: String },
    #[error("{message}")]
    Unknown { message: String },
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
    #[error("{problem}")]
    Usage { problem: String },
    #[error("`unknot {command}` is for use inside a task, and this is none")]
    NotInAttempt { command: &'static str, instead: &'static str },
    #[error("workflow `{name}`, which is called, is in two files: `{}` and `{}`", first.display(), second.display())]
    CalledTwice { name: String, first: PathBuf, second: PathBuf },
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

    /// A failure of the store in a data folder while `attempt` was attempted.
    pub(crate) fn store_in(data: &Path, attempt: impl Into<String>) -> impl FnOnce(StoreError) -> Self {
        move |source| match strangers(data) {
            Some((owner, us)) if is_forbidden(&source) => {
                Self::NotOurs { data: data.to_path_buf(), owner, us, source: source.into() }
            }
            _ => Self::store(attempt)(source),
        }
    }

    /// The process that owns a data folder was not reached.
    pub(crate) fn owner(data: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match strangers(data) {
            Some((owner, us)) if source.kind() == io::ErrorKind::PermissionDenied => {
                Self::NotOurs { data: data.to_path_buf(), owner, us, source: source.into() }
            }
            _ => Self::OwnerSilent { data: data.to_path_buf(), source: source.into() },
        }
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
            Self::Value { .. } | Self::Usage { .. } => "UK0304",
            Self::NoSuchRun { .. } | Self::NothingRan { .. } => "UK0305",
            Self::ManyRuns { .. } => "UK0306",
            Self::NoSuchTask { .. } => "UK0307",
            Self::NoLog { .. } | Self::Log { .. } => "UK0308",
            Self::Start { .. } => "UK0309",
            Self::Command { .. } | Self::OwnerRefused { .. } => "UK0310",
            Self::AlreadyEnded { .. } => "UK0311",
            Self::NotOurs { .. } => "UK0316",
            Self::Unknown { .. } => "UK0404",
            Self::EngineStopped { .. } => "UK0312",
            Self::OwnerSilent { .. } => "UK0313",
            Self::Frozen { .. } => "UK0314",
            Self::KeyReused { .. } => "UK0315",
            Self::Variable { .. } | Self::Unset { .. } => "UK0335",
            Self::WorkerRefused { .. } => "UK0336",
            Self::NoServer { .. } => "UK0330",
            // The server's own code, which has a page here as well.
            Self::Client { source: ClientError::Refused { problem, .. }, .. } => &problem.code,
            Self::Client { .. } => "UK0331",
            Self::Address(_) | Self::TokenFile { .. } => "UK0332",
            Self::Tokens(_) => "UK0333",
            Self::Unsendable { .. } => "UK0334",
            Self::CalledTwice { .. } => "UK0136",
            Self::NotInAttempt { .. } => "UK0337",
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
            | Self::Unset { .. }
            | Self::Input { .. }
            | Self::Value { .. }
            | Self::Usage { .. }
            | Self::NoSuchRun { .. }
            | Self::NothingRan { .. }
            | Self::ManyRuns { .. }
            | Self::NoSuchTask { .. }
            | Self::NoLog { .. }
            | Self::Unknown { .. }
            | Self::KeyReused { .. }
            | Self::NoServer { .. }
            | Self::Address(_)
            | Self::TokenFile { .. }
            | Self::Tokens(TokenError::Refused(_))
            | Self::Unsendable { .. }
            | Self::CalledTwice { .. }
            | Self::NotInAttempt { .. }
            | Self::GraphUnreadable { .. }
            | Self::NoGraph { .. } => Exit::Usage,
            Self::Client { source, .. } => refused(source),
            Self::AlreadyEnded { .. } | Self::Unsound { .. } => Exit::Failed,
            Self::Command { source: CommandError::Refused(_), .. } | Self::OwnerRefused { .. } => Exit::Failed,
            _ => Exit::Environment,
        }
    }
}

/// The owner of a folder and this user, if they differ and this one is not let in everywhere.
fn strangers(data: &Path) -> Option<(u32, u32)> {
    let (owner, us) = (fs::metadata(data).ok()?.uid(), rustix::process::geteuid().as_raw());
    (owner != us && us != 0).then_some((owner, us))
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
    match error {
        Error::File(report) => report.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
        other => unknot_api::with_causes(other),
    }
}

/// Says that the configuration is not sound, where a server that has read another one is asked all the same.
pub(crate) fn warn_of_mistake(mistake: &Error) {
    let what = match mistake {
        Error::File(report) => match report.problems.first() {
            Some(first) => format!("`{}` has a mistake in line {}: {}", report.file, first.line, first.message),
            None => format!("`{}` has a mistake", report.file),
        },
        other => unknot_api::with_causes(other),
    };
    let help = "the server goes on with what it read before; see `unknot config check`";
    eprint_quietly(&format!("warning: {}\n  help: {help}\n", harmless(&what)));
}

fn finding(path: &str, message: &str, help: Option<&str>) -> String {
    let place = if path.is_empty() { String::new() } else { format!("{path}: ") };
    let help = help.map(|help| format!(" ({help})")).unwrap_or_default();
    harmless(&format!("  and: {place}{message}{help}")) + "\n"
}

/// Whether the system did not let this user in: anything else has another cause, whoever owns the folder.
fn is_forbidden(error: &StoreError) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let denied =
            inner.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
        let text = inner.to_string();
        // SQLite does not hand on what the system said, but for a read-only file or one that cannot be opened.
        if denied || text.contains("unable to open database file") || text.contains("readonly database") {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// Writes to standard error; nobody is left to be told when that fails.
pub(crate) fn eprint_quietly(text: &str) {
    use io::Write as _;
    io::stderr().write_all(text.as_bytes()).unwrap_or_default();
}
