//! One engine: a data folder, its store, the brain that owns a namespace in it, and the local worker.
//!
//! ```text
//!   callers ──► inbox ──► brain's thread ──► store's thread ──► SQLite
//!                 ▲            │  after the commit
//!                 │            ├──► answers, live stream
//!   hands' threads ◄── desk ◄──┘
//! ```
//!
//! The threads share nothing but bounded queues; the watcher belongs to none of them and reads atomics.

use crate::{
    alerts::{self, Alerts, Dispatch, Watch},
    asked::Asked,
    attempt_tokens::AttemptTokens,
    callers::Callers,
    clock::Clock,
    driver::{Driver, StoreRequest},
    inbox::{Inbox, LaneFull},
    local::Door,
    monitor::{Figures, Monitor},
    overview::Overview,
    progress::{Health, Progress},
    reads::{Reads, Sort},
    reconcile::reconcile,
    remote::Desks,
    stream::{Stream, Subscription},
    submit::{Accepted, Submit},
    threads::{self, Shared},
    upkeep::Upkeep,
    watcher::Watcher,
    worker::{self, WorkerHandle},
};
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};
use unknot_core::{
    Millis, RunId, Timestamp,
    effect::{Answer, Refusal},
    event::{Caller, CancelRequest, Event, Facts, PauseTarget, SignalRequest},
    run::{JsonText, WorkerId},
    settings::Settings,
    state::LoadError,
};
use unknot_hands::GuardCommand;
use unknot_store::{Epoch, FactsQuery, Namespace, Owner, Reader, Retention, Store, StoreError};

/// The folder of all attempts, below the data folder.
pub const ATTEMPTS: &str = "attempts";

/// How an engine is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data folder.
    pub data: PathBuf,
    /// The namespace that it owns.
    pub namespace: Namespace,
    /// Attempts that the local worker performs at once; 0: it performs none.
    pub slots: u32,
    /// Queues, pools and bounds.
    pub settings: Settings,
    /// How the local worker's guard is started.
    pub guard: GuardCommand,
    /// How long finished runs are kept.
    pub retention: Retention,
    /// Who is told of incidents and how; `settings.alerts` follows from it.
    pub alerts: Alerts,
    /// Only these runs are served until [`Engine::focus`] says otherwise; none: all.
    pub focus: Option<BTreeSet<RunId>>,
    /// The address at which attempts of the local worker can ask for something, if anybody answers there: that of the
    /// door that whoever starts the engine opens.
    pub door: Option<String>,
}

/// Why an engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store can not be opened, owned or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stored rows contradict each other.
    #[error("the store is damaged")]
    Load(#[from] LoadError),
    /// The system refuses a thread.
    #[error("cannot start a thread")]
    Thread(#[from] io::Error),
    /// The secret by which tokens of attempts are known cannot be read or made.
    #[error("cannot use the secret of the attempts' tokens in the data folder")]
    Secret(#[source] io::Error),
}

/// Why a command has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It was refused; nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The brain has too much before it.
    #[error(transparent)]
    Busy(#[from] LaneFull),
    /// What it needs to know can not be read.
    #[error("cannot read the store")]
    Store(#[from] StoreError),
    /// The store takes nothing for now, so nothing was asked of the brain.
    #[error("nothing can be committed for {} s now: {cause}", lasting.0 / 1_000)]
    Blocked {
        /// For how long.
        lasting: Millis,
        /// What the store said last.
        cause: String,
    },
    /// Nothing goes on any more. It may have been carried out before.
    #[error("the engine has stopped: {cause}")]
    Stopped {
        /// Why.
        cause: String,
    },
    /// No answer came in time. It may still be carried out.
    #[error("no answer within {} s{}; ask again with the same idempotency key", .waited.as_secs(), .cause)]
    NoAnswer {
        /// How long was waited.
        waited: Duration,
        /// What is known of the cause, with a leading comma, or nothing.
        cause: String,
    },
}

/// A running engine. Dropping it stops everything it started, attempts included, within their ladders.
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    data: PathBuf,
    attempt_tokens: Arc<AttemptTokens>,
    reads: Reads,
    brain: Option<JoinHandle<()>>,
    writer: Option<JoinHandle<()>>,
    worker: Option<WorkerHandle>,
    monitor: Option<Monitor>,
    upkeep: Option<Upkeep>,
    watcher: Option<Watcher>,
    dispatch: Option<Dispatch>,
    watch: Option<Watch>,
    /// Attempts of an earlier process that were ended at the start.
    reconciled: usize,
}

impl Engine {
    /// Opens the store, takes its namespace over, ends what an earlier process left, and goes to work.
    ///
    /// # Errors
    /// If the store can not be used or is damaged, or the system refuses a thread.
    pub fn start(mut store: Box<dyn Store>, options: Options) -> Result<Self, StartError> {
        let boot = worker::boot_nonce();
        let owner = Owner(format!("pid {} boot {boot:x}", std::process::id()));
        let epoch = store.acquire(&options.namespace, &owner)?;
        let driver = Driver::new(store.load(&options.namespace)?, options.settings.bounds)?;
        let reads = Reads::open(&*store, options.namespace.clone())?;
        let (maintenance, watching) = (store.maintenance()?, store.reader()?);
        let attempt_tokens = Arc::new(AttemptTokens::open(&options.data).map_err(StartError::Secret)?);
        let local = WorkerId { name: WorkerId::LOCAL.into(), boot };
        let (alerts, orders) = alerts::Desk::new(options.alerts.clone(), options.namespace.clone());
        let shared = Arc::new(Shared {
            clock: Clock::starting_at_least(driver.state().meta.high_water),
            inbox: Inbox::default(),
            callers: Callers::default(),
            stream: Stream::default(),
            progress: Progress::default(),
            desks: Desks::new(local),
            monitor: Figures::default(),
            verdicts: Mutex::default(),
            alerts,
        });
        let lost = reconcile(&options.data, driver.state());
        let reconciled = lost.len();
        let settings = Settings { alerts: options.alerts.settings(), ..options.settings.clone() };
        let settings = with_all_queues(settings, driver.state().queues.keys());
        Self::begin(&shared, settings, &options, lost);
        let (brain, writer) = spawn(&shared, driver, store, &options.namespace, epoch)?;
        let worker = match options.slots {
            0 => None,
            slots => {
                let door = options.door.map(|url| Door { url, tokens: Arc::clone(&attempt_tokens) });
                Some(WorkerHandle::start(&shared, &options.data, options.guard.clone(), slots, door)?)
            }
        };
        let owned = (options.namespace.clone(), epoch);
        let watcher = Watcher::start(&shared, &options.data)?;
        let monitor = options.settings.monitor;
        let monitor = Monitor::start(&shared, watching, options.namespace.clone(), monitor)?;
        let dispatch = Dispatch::start(&shared, orders)?;
        let watch = Watch::start(&shared)?;
        let upkeep = Upkeep::start(&shared, maintenance, owned, &options.data, options.retention)?;
        Ok(Self {
            shared,
            data: options.data,
            attempt_tokens,
            reads,
            brain: Some(brain),
            writer: Some(writer),
            worker,
            monitor: Some(monitor),
            upkeep: Some(upkeep),
            watcher: Some(watcher),
            dispatch: Some(dispatch),
            watch: Some(watch),
            reconciled,
        })
    }

    /// What the brain hears first: its settings, what was lost, and who works.
    fn begin(shared: &Arc<Shared>, settings: Settings, options: &Options, lost: Vec<Event>) {
        // Before any command, which comes by the same lane. Nobody can have sent one yet: there is room.
        shared.inbox.control(Event::SettingsApplied(Box::new(settings))).unwrap_or_default();
        if options.focus.is_some() {
            shared.inbox.control(Event::RunsFocused(options.focus.clone())).unwrap_or_default();
        }
        let mut first = lost;
        if options.slots > 0 {
            first.push(Event::WorkerJoined {
                worker: shared.desks.local().worker().clone(),
                slots: options.slots,
                serves: Box::default(),
            });
        }
        // The work lane has no bound of its own and keeps the order.
        shared.inbox.work(first);
    }

    /// Has a workflow executed. Returns once that is durable.
    ///
    /// # Errors
    /// If it is refused, or no answer comes in time.
    pub fn submit(&self, submit: Submit) -> Result<Accepted, CommandError> {
        self.submit_ahead(submit)?.wait()
    }

    /// Sends a submission and returns at once, so that many can be under way; nothing is accepted before
    /// [`Submitted::wait`] says so.
    ///
    /// # Errors
    /// If the brain has too much before it, or the store can not be read.
    pub fn submit_ahead(&self, submit: Submit) -> Result<Submitted<'_>, CommandError> {
        let facts = match &submit.idempotency {
            Some(idempotency) => {
                self.facts(FactsQuery { idempotency_key: Some(idempotency.key.clone()), run: None })?
            }
            None => Facts::default(),
        };
        let run = self.new_run();
        let asked = self.ask(|caller| submit.event(run, facts, caller))?;
        Ok(Submitted { run, asked })
    }

    /// The id of a run to come.
    pub(crate) fn new_run(&self) -> RunId {
        let chance = (u128::from(worker::boot_nonce()) << 64) | u128::from(worker::boot_nonce());
        RunId::from_parts(self.shared.clock.now().0, chance)
    }

    /// Asks a run to end. Returns once the wish is durable, not when the run has ended.
    ///
    /// # Errors
    /// If it is refused, or no answer comes in time.
    pub fn cancel(&self, run: RunId, reason: &str, by: &str, force: bool) -> Result<Answer, CommandError> {
        let facts = self.facts(FactsQuery { idempotency_key: None, run: Some(run) })?;
        let request = CancelRequest { reason: reason.to_owned(), by: by.to_owned(), force, facts };
        self.ask(|caller| Event::RunCancelRequested { run, request, caller })?.wait()
    }

    /// Sends a run a signal.
    ///
    /// # Errors
    /// If it is refused, or no answer comes in time.
    pub fn signal(&self, run: RunId, name: &str, payload: JsonText, by: &str) -> Result<Answer, CommandError> {
        let facts = self.facts(FactsQuery { idempotency_key: None, run: Some(run) })?;
        let signal = Box::new(SignalRequest { name: name.to_owned(), payload, by: by.to_owned(), facts });
        self.ask(|caller| Event::SignalSent { run, signal, caller })?.wait()
    }

    /// Holds a queue, a workflow or a run.
    ///
    /// # Errors
    /// If it is refused, or no answer comes in time.
    pub fn pause(&self, target: PauseTarget, by: &str) -> Result<Answer, CommandError> {
        let by = by.to_owned();
        self.ask(|caller| Event::Paused { target, by, caller })?.wait()
    }

    /// Lets a queue, a workflow or a run go on.
    ///
    /// # Errors
    /// If it is refused, or no answer comes in time.
    pub fn resume(&self, target: PauseTarget, by: &str) -> Result<Answer, CommandError> {
        let by = by.to_owned();
        self.ask(|caller| Event::Resumed { target, by, caller })?.wait()
    }

    /// Serves only these runs from now on; none: all.
    ///
    /// # Errors
    /// If the brain has too much before it.
    pub fn focus(&self, runs: Option<BTreeSet<RunId>>) -> Result<(), CommandError> {
        Ok(self.shared.inbox.control(Event::RunsFocused(runs))?)
    }

    /// Other queues, pools and bounds from now on, for what waits already as well. Queues and pools that are not
    /// named keep what they have: tasks may hold it. Who is told of incidents follows from [`Engine::alert`].
    ///
    /// # Errors
    /// If the brain has too much before it.
    pub fn apply_settings(&self, settings: Settings) -> Result<(), CommandError> {
        self.shared.monitor.set_interval(Duration::from_millis(settings.monitor.check_interval.0));
        let settings = Settings { alerts: self.shared.alerts.alerts().settings(), ..settings };
        Ok(self.shared.inbox.control(Event::SettingsApplied(Box::new(settings)))?)
    }

    /// Tells others of incidents from now on, or in another way; the brain hears of it with the next
    /// [`Engine::apply_settings`].
    pub fn alert(&self, alerts: Alerts) {
        self.shared.alerts.change(alerts);
    }

    /// Sends a target an alert now, outside of the outbox; `None` if there is no such target.
    pub async fn test_alert(&self, target: &str) -> Option<alerts::Tested> {
        alerts::test(&self.shared.alerts.alerts(), target, &self.shared.clock).await
    }

    /// The targets of alerts, by name.
    pub fn alert_targets(&self) -> Vec<String> {
        self.shared.alerts.alerts().targets.keys().cloned().collect()
    }

    /// What was counted of alerts since the start.
    pub fn alert_figures(&self) -> alerts::Figures {
        self.shared.alerts.figures()
    }

    /// Keeps ended runs so long from now on.
    pub fn retain(&self, retention: Retention) {
        if let Some(upkeep) = &self.upkeep {
            upkeep.retain(retention);
        }
    }

    /// A listener to everything that becomes durable from now on.
    pub fn subscribe(&self) -> Subscription {
        self.shared.stream.subscribe()
    }

    /// Follows one run from now on, for a caller that awaits. Whoever falls behind reads the store.
    pub fn follow(&self, run: RunId) -> tokio::sync::broadcast::Receiver<crate::stream::RunLines> {
        self.shared.stream.follow(run)
    }

    /// Asks the store something short. Never waits for the brain.
    ///
    /// # Errors
    /// What the question's answer says.
    pub fn read<T>(
        &self,
        question: impl FnOnce(&mut dyn Reader, &Namespace) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.reads.ask(Sort::Short, question)
    }

    /// As [`Engine::read`], for lists and histories: they never hold up what is short.
    ///
    /// # Errors
    /// What the question's answer says.
    pub fn read_long<T>(
        &self,
        question: impl FnOnce(&mut dyn Reader, &Namespace) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.reads.ask(Sort::Long, question)
    }

    /// What the brain left behind at its last turn.
    pub fn health(&self) -> Health {
        self.shared.progress.health()
    }

    /// The last look at queues, pools and workers, at most about a second old while the brain turns. Asks nobody.
    pub fn overview(&self) -> Arc<Overview> {
        self.shared.progress.overview()
    }

    /// Now, by this engine's clock.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// How many attempts of an earlier process were found unfinished and ended at the start.
    pub fn reconciled(&self) -> usize {
        self.reconciled
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The tokens of attempts.
    pub fn attempt_tokens(&self) -> &AttemptTokens {
        &self.attempt_tokens
    }

    /// Gives the local worker no new work from now on; what runs goes on.
    pub fn drain(&self) {
        if let Some(worker) = &self.worker {
            self.dismiss();
            worker.drain();
        }
    }

    /// Whether the local worker still has attempts, or reports of them that are not durable.
    pub fn is_working(&self) -> bool {
        self.shared.desks.local().is_busy()
    }

    /// Stops what runs, by its ladder, and then everything else. Unfinished runs go on at the next start.
    pub fn stop(mut self) {
        self.shut_down(WorkerHandle::stop);
    }

    /// As [`Engine::stop`], by the last rung at once.
    pub fn kill(mut self) {
        self.shut_down(WorkerHandle::kill);
    }

    /// Tells the brain that the local worker takes nothing more, before it gives back what it has: or that would
    /// be given to it again, and again.
    fn dismiss(&self) {
        let left = Event::WorkerLeft { worker: self.shared.desks.local().worker().clone() };
        self.shared.inbox.work([left]);
        self.shared.inbox.work(self.shared.desks.local().close(true));
    }

    fn shut_down(&mut self, end: fn(WorkerHandle)) {
        if let Some(worker) = self.worker.take() {
            self.dismiss();
            end(worker);
        }
        // While it can still be answered.
        if let Some(monitor) = self.monitor.take() {
            monitor.stop();
        }
        if let Some(upkeep) = self.upkeep.take() {
            upkeep.stop();
        }
        if let Some(watch) = self.watch.take() {
            watch.stop();
        }
        // What was sent is to be written down, too.
        if let Some(dispatch) = self.dispatch.take() {
            dispatch.stop(&self.shared.alerts);
        }
        self.shared.inbox.stop();
        for thread in [self.brain.take(), self.writer.take()].into_iter().flatten() {
            // A thread that panicked has said so on standard error already.
            thread.join().unwrap_or_default();
        }
        // It watches to the end.
        if let Some(watcher) = self.watcher.take() {
            watcher.stop();
        }
    }

    /// What a command needs to know of finished runs.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn facts(&self, query: FactsQuery) -> Result<Facts, StoreError> {
        let found = self.read(|reader, namespace| reader.facts(namespace, &query))?;
        Ok(Facts { as_of: found.as_of, key_owner: found.key_owner, ended: found.ended })
    }

    /// Why a command stayed without an answer.
    pub(crate) fn no_answer(&self) -> CommandError {
        self.shared.no_answer()
    }

    /// Whether a command can be carried out now at all.
    ///
    /// # Errors
    /// If the brain has stopped, or nothing can be committed.
    pub(crate) fn accepts(&self) -> Result<(), CommandError> {
        self.shared.accepts()
    }

    fn ask(&self, event: impl FnOnce(Caller) -> Event) -> Result<Asked<'_>, CommandError> {
        self.shared.ask(event)
    }
}

/// Settings in which each stored queue is named: one that is gone from the configuration has the defaults again,
/// since the brain keeps what is not named.
fn with_all_queues<'q>(mut settings: Settings, stored: impl Iterator<Item = &'q String>) -> Settings {
    for queue in stored {
        settings.queues.entry(queue.clone()).or_default();
    }
    settings
}

/// A submission under way.
pub struct Submitted<'e> {
    run: RunId,
    asked: Asked<'e>,
}

impl Submitted<'_> {
    /// The run, once it is durable.
    ///
    /// # Errors
    /// If it is refused, or no answer comes in time.
    pub fn wait(self) -> Result<Accepted, CommandError> {
        match self.asked.wait()? {
            Answer::Submitted { run, existing } => Ok(Accepted { run, existing }),
            Answer::Cancelling { .. }
            | Answer::Signalled { .. }
            | Answer::Waits(_)
            | Answer::Spawned { .. }
            | Answer::Paused(_)
            | Answer::Done => Ok(Accepted { run: self.run, existing: false }),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shut_down(WorkerHandle::stop);
    }
}

/// The two threads of the driver.
fn spawn(
    shared: &Arc<Shared>,
    driver: Driver,
    store: Box<dyn Store>,
    namespace: &Namespace,
    epoch: Epoch,
) -> io::Result<(JoinHandle<()>, JoinHandle<()>)> {
    let (requests, arriving) = mpsc::sync_channel::<StoreRequest>(1);
    let (for_writer, namespace) = (Arc::clone(shared), namespace.clone());
    let writer = thread::Builder::new()
        .name("unknot-store".to_owned())
        .spawn(move || threads::write(&for_writer, store, &namespace, epoch, &arriving))?;
    let for_brain = Arc::clone(shared);
    let brain = thread::Builder::new()
        .name("unknot-brain".to_owned())
        .spawn(move || threads::think(&for_brain, driver, &requests))?;
    Ok((brain, writer))
}
