//! What all requests share.

use crate::{
    auth::Sessions,
    problem::{Answer, Problem},
    rim::Limiter,
    seldom::Seldom,
    tally::Tally,
    tokens::Tokens,
};
use axum::http::StatusCode;
use std::{
    net::SocketAddr,
    pin::pin,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};
use unknot_engine::{
    CommandError, Engine,
    core::{
        Timestamp,
        effect::Answer as Told,
        event::{Caller, Event},
        validate::Rules,
    },
    store::{Namespace, Reader, StoreError},
};

/// How long a question to the store may take until its caller is told that it is too slow.
const READ_WITHIN: Duration = Duration::from_secs(8);
/// How long a short one may take before memory is asked instead.
const SHORT_WITHIN: Duration = Duration::from_millis(500);
/// A store that owes its answer for longer, or a brain that is late for longer, keeps no command waiting any more.
const STUCK_AFTER: Duration = Duration::from_secs(5);
/// Pause between two looks whether a command that is under way can still be answered.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether callers on this machine need no token. Refused for any other address.
    pub insecure_loopback: bool,
    /// How long a worker of another process may be silent before it counts as gone.
    pub session_term: Duration,
    /// What may change later.
    pub changeable: Changeable,
}

/// What may change while a server runs.
#[derive(Clone, Debug, Default)]
pub struct Changeable {
    /// Names, beside its address and `localhost`, under which it may be asked.
    pub hosts: Vec<String>,
    /// What workflows are checked against.
    pub rules: Rules,
    /// How much one client may ask.
    pub rate: Rate,
    /// How the deadlock monitor is configured, for whoever asks.
    pub deadlock: Deadlock,
    /// What is done about a workflow whose runs can deadlock, when it is registered.
    pub unsafe_workflows: UnsafeWorkflows,
}

/// What is done about a workflow whose runs can deadlock, when it is registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnsafeWorkflows {
    /// It is kept; the answer says so.
    Allow,
    /// It is kept; the answer has a warning, and the log a line.
    #[default]
    Warn,
    /// It is not kept.
    Refuse,
}

/// What operators are told of the deadlock monitor's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlock {
    /// Seconds between two looks.
    pub check_interval_s: u64,
    /// Seconds after which a task that only the outside can move, or that is not served, is reported.
    pub pending_stale_s: u64,
    /// Whether a deadlock is resolved without asking.
    pub cancel: bool,
    /// Whether findings are sent anywhere.
    pub has_webhook: bool,
}

impl Default for Deadlock {
    fn default() -> Self {
        Self { check_interval_s: 60, pending_stale_s: 900, cancel: true, has_webhook: false }
    }
}

/// How often one client may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second in the long run.
    pub per_second: u32,
    /// Requests at once.
    pub burst: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { per_second: 1_000, burst: 5_000 }
    }
}

/// The server's shared state.
pub(crate) struct App {
    pub(crate) engine: Arc<Engine>,
    pub(crate) tokens: Tokens,
    pub(crate) sessions: Sessions,
    pub(crate) limiter: Limiter,
    pub(crate) tally: Arc<Tally>,
    pub(crate) insecure_loopback: bool,
    pub(crate) session_term: Duration,
    /// Requests that were refused, failed or slow, as the log tells of them.
    pub(crate) refused: Seldom,
    pub(crate) failed: Seldom,
    pub(crate) slow: Seldom,
    /// Proofs take a processor for up to seconds: one at a time.
    pub(crate) proving: Semaphore,
    changeable: RwLock<Arc<Changeable>>,
    /// Whether the server ends.
    stopping: watch::Receiver<bool>,
}

impl App {
    pub(crate) fn new(
        engine: Arc<Engine>,
        tokens: Tokens,
        sessions: Sessions,
        tally: Arc<Tally>,
        options: Options,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let changeable = RwLock::new(Arc::new(options.changeable));
        let (insecure_loopback, session_term) = (options.insecure_loopback, options.session_term);
        Self {
            engine,
            tokens,
            sessions,
            limiter: Limiter::default(),
            tally,
            insecure_loopback,
            session_term,
            refused: Seldom::default(),
            failed: Seldom::default(),
            slow: Seldom::default(),
            proving: Semaphore::new(1),
            changeable,
            stopping,
        }
    }

    /// Returns once the server ends: what would go on for ever says so to its listener.
    pub(crate) async fn ending(&self) {
        // Whoever could say so is gone: it has ended.
        drop(self.stopping.clone().wait_for(|stopping| *stopping).await);
    }

    /// What holds now.
    pub(crate) fn now(&self) -> Arc<Changeable> {
        Arc::clone(&self.changeable.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this holds, for requests to come.
    pub(crate) fn change(&self, changeable: Changeable) {
        *self.changeable.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(changeable);
    }

    /// Has the brain carry something out, and tells as soon as it is clear that nobody knows when it will: the
    /// caller shall not wait as long as the engine would.
    pub(crate) async fn command(&self, event: impl FnOnce(Caller) -> Event) -> Answer<Told> {
        self.unless_stuck(self.engine.command(event)).await
    }

    /// The answer of the brain, or why there is none.
    pub(crate) async fn unless_stuck<T>(&self, asked: impl Future<Output = Result<T, CommandError>>) -> Answer<T> {
        let mut asked = pin!(asked);
        loop {
            if let Some(problem) = self.stuck() {
                return Err(problem);
            }
            if let Ok(answered) = timeout(LOOK_EVERY, asked.as_mut()).await {
                return answered.map_err(Problem::from);
            }
        }
    }

    fn stuck(&self) -> Option<Problem> {
        let (health, now) = (self.engine.health(), self.engine.now());
        let lasting = |since: Timestamp| Duration::from_millis(now.since(since).0);
        let stuck = |since: Option<Timestamp>| since.map(lasting).filter(|lasting| *lasting > STUCK_AFTER);
        let who = match (stuck(health.store_asked_at), stuck(health.late_since)) {
            (Some(lasting), _) => format!("the store has not answered for {} s", lasting.as_secs()),
            (None, Some(lasting)) => format!("the brain took its last turn {} s ago", lasting.as_secs()),
            (None, None) => return None,
        };
        let detail =
            format!("{who}: nobody knows whether this will be carried out; ask again, with the same key if any");
        Some(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(STUCK_AFTER))
    }

    /// Asks the store something long, on a thread of its own.
    pub(crate) async fn list<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&mut dyn Reader, &Namespace) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        let engine = Arc::clone(&self.engine);
        let asked = tokio::task::spawn_blocking(move || engine.read_long(question));
        match timeout(READ_WITHIN, asked).await {
            Ok(Ok(answer)) => Ok(answer?),
            Ok(Err(_)) => Err(broken()),
            Err(_) => Err(too_slow()),
        }
    }

    /// Asks the store something short.
    pub(crate) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&mut dyn Reader, &Namespace) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        match self.read_soon(READ_WITHIN, question).await {
            Some(answer) => answer,
            None => Err(too_slow()),
        }
    }

    /// Asks the store something short, and does not wait for it when it is stuck: `None` after half a second.
    pub(crate) async fn read_or_memory<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&mut dyn Reader, &Namespace) -> Result<T, StoreError> + Send + 'static,
    ) -> Option<Answer<T>> {
        self.read_soon(SHORT_WITHIN, question).await
    }

    async fn read_soon<T: Send + 'static>(
        self: &Arc<Self>,
        within: Duration,
        question: impl FnOnce(&mut dyn Reader, &Namespace) -> Result<T, StoreError> + Send + 'static,
    ) -> Option<Answer<T>> {
        let engine = Arc::clone(&self.engine);
        let asked = tokio::task::spawn_blocking(move || engine.read(question));
        match timeout(within, asked).await {
            Ok(Ok(answer)) => Some(answer.map_err(Problem::from)),
            Ok(Err(_)) => Some(Err(broken())),
            Err(_) => None,
        }
    }
}

fn too_slow() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer").retry_after(Duration::from_secs(5))
}

fn broken() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the question to the store failed in the middle")
}
