//! The way to an engine from another terminal: one line of JSON there, one back, over a socket in the data
//! folder.
//!
//! The folder's lock says that the socket's name is ours, so whatever stands there is stale. Only the same
//! user is heard; a line and the time for it are bounded, and callers are served one after the other.

use crate::{CommandError, Engine};
use serde_json::{Value, json};
use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{
            fs::PermissionsExt,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use unknot_core::{
    RunId,
    effect::{Answer, Refusal},
    event::PauseTarget,
    run::JsonText,
};

/// The socket's name in the data folder.
pub const SOCKET: &str = "control.sock";
/// The longest line that is read.
const LINE_MAX: u64 = 128 * 1024;
/// How long a caller may take to say its line, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a caller waits for the engine's answer: longer than the engine itself does.
const ANSWER_WITHIN: Duration = Duration::from_secs(40);

/// The socket of an engine; dropping it takes it away.
#[derive(Debug)]
pub struct Control {
    folder: Folder,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Answers questions that are no wishes, in words that the engine does not know; nothing if it does not know them either.
pub type Look = fn(&Engine, &Value) -> Option<Value>;

/// A wish to end a run, as it is sent.
#[derive(Clone, Debug)]
pub struct CancelWish<'w> {
    /// Which run.
    pub run: RunId,
    /// Why.
    pub reason: &'w str,
    /// Who asks.
    pub by: &'w str,
    /// Whether its attempts are given up at once.
    pub force: bool,
}

/// A signal, as it is sent.
#[derive(Clone, Debug)]
pub struct SignalWish<'w> {
    /// To which run.
    pub run: RunId,
    /// Its name.
    pub name: &'w str,
    /// What it says.
    pub payload: &'w Value,
    /// Who sends it.
    pub by: &'w str,
}

/// A wish to hold something, or to let it go on, as it is sent.
#[derive(Clone, Debug)]
pub struct HoldWish<'w> {
    /// What.
    pub target: PauseTarget,
    /// Whether it is held from now on, or goes on.
    pub is_held: bool,
    /// Who asks.
    pub by: &'w str,
}

impl Control {
    /// Opens the socket of an engine, on a thread of its own that shares the engine until this is dropped. What is asked
    /// and no wish is put to `looks`.
    ///
    /// # Errors
    /// If the socket cannot be made. The engine works without it.
    pub fn start(engine: &Arc<Engine>, looks: Look) -> io::Result<Self> {
        let folder = Folder::open(engine.data())?;
        let listener = folder.listen()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let (engine, stopped) = (Arc::clone(engine), Arc::clone(&stopping));
        let serve = move || {
            for caller in listener.incoming() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                // A caller that goes away, or says nothing, has nobody but itself to tell.
                caller.and_then(|caller| serve(&engine, looks, &caller)).unwrap_or_default();
            }
        };
        let thread = thread::Builder::new().name("unknot-control".to_owned()).spawn(serve)?;
        Ok(Self { folder, stopping, thread: Some(thread) })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // The thread waits for a caller: this is one. If it cannot be reached, nobody waits for it either.
        let woken = self.folder.connect().is_ok();
        fs::remove_file(self.folder.socket()).unwrap_or_default();
        if let (true, Some(thread)) = (woken, self.thread.take()) {
            thread.join().unwrap_or_default();
        }
    }
}

/// Asks the engine that owns a data folder to cancel a run. `None`: no engine listens there.
///
/// # Errors
/// If it does not answer. What it answers is JSON with the key `cancelling` or `error`.
pub fn cancel(data: &Path, wish: &CancelWish<'_>) -> io::Result<Option<Value>> {
    let CancelWish { run, reason, by, force } = wish;
    ask(data, &json!({"cancel": {"run": run, "reason": reason, "by": by, "force": force}}))
}

/// Has the engine that owns a data folder send a run a signal. `None`: no engine listens there.
///
/// # Errors
/// If it does not answer. What it answers is JSON with the key `is_named` (whether a task of the run waits for such a
/// signal, sooner or later) or `error`.
pub fn signal(data: &Path, wish: &SignalWish<'_>) -> io::Result<Option<Value>> {
    let SignalWish { run, name, payload, by } = wish;
    ask(data, &json!({"signal": {"run": run, "name": name, "payload": payload, "by": by}}))
}

/// Asks the engine that owns a data folder to hold something or to let it go on. `None`: no engine listens there.
///
/// # Errors
/// If it does not answer. What it answers is JSON with the key `held` (who holds it since when, or null) or `error`,
/// beside which `unknown` says whether there is nothing of that name.
pub fn hold(data: &Path, wish: &HoldWish<'_>) -> io::Result<Option<Value>> {
    let (kind, name) = match &wish.target {
        PauseTarget::Queue(name) => ("queue", name.clone()),
        PauseTarget::Workflow(name) => ("workflow", name.clone()),
        PauseTarget::Run(run) => ("run", run.to_string()),
    };
    ask(data, &json!({"hold": {kind: name, "held": wish.is_held, "by": wish.by}}))
}

/// Puts a question to the engine that owns a data folder. `None`: no engine listens there.
///
/// # Errors
/// If it does not answer.
pub fn ask(data: &Path, request: &Value) -> io::Result<Option<Value>> {
    let stream = match Folder::open(data).and_then(|folder| folder.connect()) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    writeln!(&stream, "{request}")?;
    serde_json::from_str(&read_line(&stream)?).map(Some).map_err(io::Error::other)
}

/// Whether an engine listens in a data folder.
pub fn is_served(data: &Path) -> bool {
    Folder::open(data).is_ok_and(|folder| folder.connect().is_ok())
}

fn serve(engine: &Engine, looks: Look, caller: &UnixStream) -> io::Result<()> {
    caller.set_read_timeout(Some(PATIENCE))?;
    caller.set_write_timeout(Some(PATIENCE))?;
    let user = rustix::net::sockopt::socket_peercred(caller.as_fd())?.uid;
    let answer = if user == rustix::process::geteuid() {
        answer(engine, looks, &read_line(caller)?)
    } else {
        json!({"error": "only the user who started the engine is heard"})
    };
    writeln!(&*caller, "{answer}")
}

/// One line, without its end. Each part of it may take the whole patience, so a caller holds others up for
/// at most a few of them: whoever is the same user can do worse.
fn read_line(stream: &UnixStream) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(stream.take(LINE_MAX)).read_line(&mut line)?;
    if line.ends_with('\n') { Ok(line) } else { Err(io::Error::other("the line is cut off or too long")) }
}

fn answer(engine: &Engine, looks: Look, line: &str) -> Value {
    let request: Value = serde_json::from_str(line).unwrap_or_default();
    if let Some(told) = looks(engine, &request) {
        return told;
    }
    let by = |wish: &Value| text(wish, "by").unwrap_or("not said").to_owned();
    let told = if let Some((wish, run)) = request.get("cancel").and_then(|wish| Some((wish, run_of(wish)?))) {
        let reason = text(wish, "reason").unwrap_or("not said");
        engine.cancel(run, reason, &by(wish), is_true(wish, "force"))
    } else if let Some((wish, run)) = request.get("signal").and_then(|wish| Some((wish, run_of(wish)?))) {
        let payload = JsonText::of(wish.get("payload").unwrap_or(&Value::Null));
        engine.signal(run, text(wish, "name").unwrap_or_default(), payload, &by(wish))
    } else if let Some((wish, target)) = request.get("hold").and_then(|wish| Some((wish, target_of(wish)?))) {
        match is_true(wish, "held") {
            true => engine.pause(target, &by(wish)),
            false => engine.resume(target, &by(wish)),
        }
    } else {
        return json!({"error": "expected {\"cancel\": {\"run\": …, \"reason\": …, \"by\": …, \"force\": …}}, \
                                {\"signal\": {\"run\": …, \"name\": …, \"payload\": …, \"by\": …}} \
                                or {\"hold\": {\"queue\"|\"workflow\"|\"run\": …, \"held\": …, \"by\": …}}"});
    };
    match told {
        Ok(Answer::Cancelling { run, status, cancelled_tasks, since, reason }) => json!({"cancelling": {
            "run": run, "status": status, "cancelled_tasks": cancelled_tasks, "since": since, "reason": reason,
        }}),
        Ok(Answer::Submitted { run, .. } | Answer::Spawned { run, .. }) => json!({"cancelling": {"run": run}}),
        Ok(Answer::Paused(paused)) => json!({"held": paused}),
        Ok(Answer::Signalled { is_named }) => json!({"is_named": is_named}),
        Ok(Answer::Waits(_) | Answer::Done) => json!({"held": null}),
        Err(error) => {
            let is_unknown = matches!(error, CommandError::Refused(Refusal::Unknown { .. } | Refusal::NoSignalName(_)));
            json!({"error": unknot_api::with_causes(&error), "unknown": is_unknown})
        }
    }
}

fn text<'v>(wish: &'v Value, key: &str) -> Option<&'v str> {
    wish.get(key)?.as_str()
}

fn is_true(wish: &Value, key: &str) -> bool {
    wish.get(key).and_then(Value::as_bool).unwrap_or_default()
}

fn run_of(wish: &Value) -> Option<RunId> {
    text(wish, "run")?.parse().ok()
}

fn target_of(wish: &Value) -> Option<PauseTarget> {
    let queue = text(wish, "queue").map(|name| PauseTarget::Queue(name.to_owned()));
    let workflow = || text(wish, "workflow").map(|name| PauseTarget::Workflow(name.to_owned()));
    queue.or_else(workflow).or_else(|| run_of(wish).map(PauseTarget::Run))
}

/// The data folder, held open: a socket's name may have 108 bytes, and the folder's path may have more.
/// Through the descriptor its name is always short.
#[derive(Debug)]
struct Folder(OwnedFd);

impl Folder {
    fn open(path: &Path) -> io::Result<Self> {
        fs::File::open(path).map(|file| Self(file.into()))
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()))
    }

    fn socket(&self) -> PathBuf {
        self.path(SOCKET)
    }

    fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(self.socket())
    }

    /// Listens under the socket's name, which shows up only once nobody else may use it.
    fn listen(&self) -> io::Result<UnixListener> {
        let draft = self.path(&format!("{SOCKET}.{}", std::process::id()));
        fs::remove_file(&draft).unwrap_or_default();
        let listener = UnixListener::bind(&draft)?;
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o600))?;
        fs::rename(&draft, self.socket())?;
        Ok(listener)
    }
}
