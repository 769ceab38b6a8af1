//! A server in a folder of its own, and a client that sends exactly what a test says.

use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use unknot_engine::{
    Engine, Options,
    alerts::Alerts,
    core::settings::Settings,
    store::{Namespace, Retention, SqliteOptions, SqliteStore, Store},
};
use unknot_hands::GuardCommand;
use unknot_server::{Changeable, Options as ServerOptions, Rate, Scope, Server, Tokens};

/// How long a worker may be silent.
pub(crate) const SESSION: Duration = Duration::from_secs(30);

/// Longer than anything takes that works, on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);

/// A server that runs until it is dropped.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    server: Option<Server>,
    engine: Option<Arc<Engine>>,
    folder: TempDir,
    setup: Setup,
}

/// How a server is set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) insecure: bool,
    pub(crate) changeable: Changeable,
    pub(crate) settings: Settings,
    pub(crate) alerts: Alerts,
    /// Attempts at once. There is no guard, so each of them ends as one that cannot be started.
    pub(crate) slots: u32,
}

impl Default for Setup {
    fn default() -> Self {
        let rate = Rate { per_second: 1_000_000, burst: 1_000_000 };
        let changeable = Changeable { rate, ..Changeable::default() };
        Self { insecure: true, changeable, settings: Settings::default(), alerts: Alerts::default(), slots: 0 }
    }
}

impl Served {
    /// A server that asks nobody on this machine for a token.
    pub(crate) fn open() -> Self {
        Self::with(Setup::default())
    }

    /// A server that asks everybody.
    pub(crate) fn closed() -> Self {
        Self::with(Setup { insecure: false, ..Setup::default() })
    }

    pub(crate) fn with(setup: Setup) -> Self {
        Self::on(setup, |store| store)
    }

    /// A server whose store is what `wrap` makes of a real one.
    pub(crate) fn on(setup: Setup, wrap: impl FnOnce(Box<dyn Store>) -> Box<dyn Store>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (server, engine) = start(folder.path(), &setup, wrap);
        Self { address: server.address(), server: Some(server), engine: Some(engine), folder, setup }
    }

    /// Ends it and starts another one with the same folder.
    pub(crate) fn restart(&mut self) {
        self.server.take().unwrap().stop();
        drop(self.engine.take());
        let (server, engine) = start(self.folder.path(), &self.setup, |store| store);
        self.address = server.address();
        (self.server, self.engine) = (Some(server), Some(engine));
    }

    pub(crate) fn data(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        self.engine.as_ref().unwrap()
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// A new token with that scope.
    pub(crate) fn token(&self, scope: Scope) -> String {
        let (tokens, _) = Tokens::open(self.data()).unwrap();
        tokens.add(&format!("t-{scope:?}"), scope).unwrap()
    }

    pub(crate) fn ask(&self, method: &str, path: &str) -> Ask {
        let headers = vec![("Host".to_owned(), self.address.to_string())];
        Ask { address: self.address, method: method.to_owned(), path: path.to_owned(), headers, body: None }
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        self.ask("GET", path).send().is(200).json()
    }

    /// Submits a definition; its run.
    #[track_caller]
    pub(crate) fn submit(&self, workflow: Value) -> String {
        self.submit_with(json!({"workflow": workflow}))
    }

    #[track_caller]
    pub(crate) fn submit_with(&self, request: Value) -> String {
        let created = self.ask("POST", "/runs").json(&request).send().is(201).json();
        created["run_id"].as_str().unwrap().to_owned()
    }

    /// Submits a definition and waits for the run's end.
    #[track_caller]
    pub(crate) fn complete(&self, workflow: Value) -> (String, String) {
        let request = json!({"workflow": workflow});
        let ended = self.ask("POST", "/runs?wait=20s").json(&request).send().is(201).json();
        (ended["run_id"].as_str().unwrap().to_owned(), ended["status"].as_str().unwrap().to_owned())
    }

    /// Waits until a run has this status.
    #[track_caller]
    pub(crate) fn until_status(&self, run: &str, status: &str) {
        until(&format!("{run} is {status}"), || self.get(&format!("/runs/{run}"))["status"] == status);
    }

    /// All parts of a list, each of at most `limit` items.
    #[track_caller]
    pub(crate) fn all(&self, path: &str, limit: usize) -> Vec<Value> {
        let sign = if path.contains('?') { '&' } else { '?' };
        let mut items = Vec::new();
        let mut after = String::new();
        loop {
            let page = self.get(&format!("{path}{sign}limit={limit}{after}"));
            let part = page["items"].as_array().unwrap();
            assert!(part.len() <= limit, "{} items for a limit of {limit}", part.len());
            items.extend(part.iter().cloned());
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return items,
            }
        }
    }
}

fn start(folder: &Path, setup: &Setup, wrap: impl FnOnce(Box<dyn Store>) -> Box<dyn Store>) -> (Server, Arc<Engine>) {
    let store = SqliteStore::open(folder, &SqliteOptions::default()).unwrap();
    let options = Options {
        data: folder.to_owned(),
        namespace: Namespace::default(),
        slots: setup.slots,
        settings: setup.settings.clone(),
        guard: GuardCommand { program: PathBuf::from("/nonexistent"), args: Vec::new() },
        retention: Retention::default(),
        alerts: setup.alerts.clone(),
        focus: None,
        door: None,
    };
    let engine = Arc::new(Engine::start(wrap(Box::new(store)), options).unwrap());
    let options = ServerOptions {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        insecure_loopback: setup.insecure,
        changeable: setup.changeable.clone(),
        session_term: SESSION,
    };
    (Server::start(Arc::clone(&engine), options).unwrap(), engine)
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

/// A request as it will be sent.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    address: SocketAddr,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Ask {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Other headers than those that a client sends by itself.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    pub(crate) fn token(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string())
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &self.body {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    /// Sends it; the connection, on which the answer comes.
    pub(crate) fn begin(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        // A server that refuses before it has read all may close meanwhile.
        stream.write_all(&self.bytes()).unwrap_or_default();
        stream.write_all(self.body.as_deref().unwrap_or_default()).unwrap_or_default();
        stream
    }

    /// Sends it, but for the second half of its body.
    pub(crate) fn begin_half(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let body = self.body.as_deref().unwrap_or_default();
        stream.write_all(&self.bytes()).unwrap();
        stream.write_all(&body[..body.len() / 2]).unwrap();
        stream
    }

    pub(crate) fn send(self) -> Reply {
        let asked = self.header("Connection", "close");
        Reply::read(asked.begin(), format!("{} {}", asked.method, asked.path))
    }
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Reply {
    asked: String,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn read(stream: TcpStream, asked: String) -> Self {
        let mut opened = Opened::read(stream);
        let mut body = Vec::new();
        // The server may reset a connection whose body it did not want; what came before stands.
        opened.rest.read_to_end(&mut body).unwrap_or_default();
        let body = if opened.is_chunked() { unchunk(&body) } else { body };
        Self { asked, status: opened.status, headers: opened.headers, body }
    }

    /// As expected, or the whole answer is shown.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.asked, String::from_utf8_lossy(&self.body));
        self
    }

    /// A problem with that status, in all its parts.
    #[track_caller]
    pub(crate) fn problem(self, status: u16) -> Value {
        self.problem_as(status, &format!("UK0{status}"))
    }

    /// The same, with a code that is not that of the status.
    #[track_caller]
    pub(crate) fn problem_as(self, status: u16, code: &str) -> Value {
        let told = self.is(status);
        assert_eq!(told.header("content-type"), Some("application/problem+json"), "{}", told.asked);
        let problem = told.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["code"], code);
        assert_eq!(problem["type"], format!("/errors/{code}"));
        assert!(!problem["title"].as_str().unwrap().is_empty() && !problem["detail"].as_str().unwrap().is_empty());
        problem
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{}: {error}: {}", self.asked, self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// An answer whose body is still to come.
pub(crate) struct Opened {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) rest: BufReader<TcpStream>,
}

impl Opened {
    pub(crate) fn read(stream: TcpStream) -> Self {
        let mut rest = BufReader::new(stream);
        let mut line = String::new();
        rest.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: `{line}`")).parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            rest.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        Self { status, headers, rest }
    }

    fn is_chunked(&self) -> bool {
        self.headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked")
    }

    /// The next piece of a body that comes in pieces; none at its end.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut size = String::new();
        self.rest.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut bytes = vec![0; size + 2];
        self.rest.read_exact(&mut bytes).unwrap();
        bytes.truncate(size);
        (size > 0).then_some(bytes)
    }
}

fn unchunk(body: &[u8]) -> Vec<u8> {
    let mut rest = body;
    let mut whole = Vec::new();
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        whole.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
    }
    whole
}

/// Waits until something holds; looks every few milliseconds, for a bounded time.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// One task that sleeps so long.
pub(crate) fn sleeps(name: &str, length: &str) -> Value {
    json!({"name": name, "tasks": {"a": {"sleep": length}}})
}

/// Tasks that nobody performs.
pub(crate) fn stands(name: &str, tasks: usize) -> Value {
    let tasks: serde_json::Map<String, Value> =
        (0..tasks).map(|task| (format!("t{task}"), json!({"exec": ["true"]}))).collect();
    json!({"name": name, "tasks": tasks})
}

/// A task that fails without being tried: its condition has no answer.
pub(crate) fn fails(name: &str) -> Value {
    let task = json!({"when": "input.x | int > 3", "sleep": "1ms"});
    json!({"name": name, "input": {"x": {"type": "string", "default": "many"}}, "tasks": {"a": task}})
}
