//! The thread that tells targets: each has its own line, so one that hangs holds up nobody else.

use super::{
    Alerts,
    figures::{Counting, Figures},
    letter::Letter,
    send::{Unsent, send, source},
};
use crate::threads::Shared;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    sync::{Arc, Mutex, PoisonError, RwLock},
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::{
    runtime::Builder,
    sync::mpsc::{Receiver, Sender, channel},
    task::JoinSet,
    time::timeout,
};
use unknot_core::{
    Seq,
    alert::{ALERTS_MAX, FailedDelivery, News, Notice, TARGETS_MAX},
    event::{Event, NextTry},
};
use unknot_store::Namespace;

/// Notices that may wait for the thread: as many as the brain can ask for at once.
const ORDERS_MAX: usize = ALERTS_MAX * TARGETS_MAX;
/// Tries at one target at once.
const PARALLEL_MAX: usize = 4;
/// How long tries under way are waited for when the engine ends. What is not reported by then is told again at the next
/// start.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where the brain hands over what is to be told; never waits.
#[derive(Debug)]
pub(crate) struct Desk {
    orders: Mutex<Option<Sender<Notice>>>,
    alerts: RwLock<Arc<Alerts>>,
    counting: Counting,
    namespace: Namespace,
}

/// The other end of a desk.
pub(crate) type Orders = Receiver<Notice>;

/// The thread; it ends when told to.
#[derive(Debug)]
pub(crate) struct Dispatch(JoinHandle<()>);

impl Desk {
    /// A desk, and what is handed over at it.
    pub(crate) fn new(alerts: Alerts, namespace: Namespace) -> (Self, Orders) {
        let (sender, orders) = channel(ORDERS_MAX);
        let alerts = RwLock::new(Arc::new(alerts));
        let desk = Self { orders: Mutex::new(Some(sender)), alerts, counting: Counting::default(), namespace };
        (desk, orders)
    }

    /// A target is to be told. One that finds no room is asked for again by the brain, since nothing is heard of it.
    pub(crate) fn notify(&self, notice: Notice) {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(orders) = &*orders else { return };
        if let Err(error) = orders.try_send(notice) {
            log::warn!(cause:% = error; "an alert finds no room; it is tried again in some minutes");
        }
    }

    /// Somebody will not be told of an incident.
    pub(crate) fn given_up(&self, incident: &str, target: Option<&str>, why: &str) {
        self.counting.given_up();
        log::error!(incident, to = target.unwrap_or("all"), why; "an alert is given up");
    }

    /// How targets are told from now on.
    pub(crate) fn change(&self, alerts: Alerts) {
        *self.alerts.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(alerts);
    }

    /// How targets are told now.
    pub(crate) fn alerts(&self) -> Arc<Alerts> {
        Arc::clone(&self.alerts.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was counted so far.
    pub(crate) fn figures(&self) -> Figures {
        self.counting.now()
    }

    fn close(&self) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Dispatch {
    /// Begins to tell.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(crate) fn start(shared: &Arc<Shared>, orders: Orders) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let shared = Arc::clone(shared);
        let serve = move || {
            runtime.block_on(Lines::new(shared).serve(orders));
            // Whoever looks up a name may hang in it; nobody waits for that.
            runtime.shutdown_background();
        };
        Ok(Self(thread::Builder::new().name("unknot-alerts".to_owned()).spawn(serve)?))
    }

    /// Ends the thread, once what is under way is over or two seconds have passed.
    pub(crate) fn stop(self, desk: &Desk) {
        desk.close();
        // A thread that panicked has said so on standard error already.
        self.0.join().unwrap_or_default();
    }
}

/// One try of one delivery.
type Try = (Seq, String, News, u32);

/// What is waited for and under way, by target.
pub(super) struct Lines {
    shared: Arc<Shared>,
    source: Arc<str>,
    waiting: BTreeMap<String, VecDeque<Notice>>,
    under_way: BTreeMap<String, usize>,
    /// All of them: what comes twice is told once.
    known: BTreeSet<Try>,
    tries: JoinSet<(Notice, Result<String, Unsent>)>,
}

fn name_of(notice: &Notice) -> Try {
    (notice.alert, notice.target.clone(), notice.news, notice.tries)
}

impl Lines {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            source: source().into(),
            waiting: BTreeMap::new(),
            under_way: BTreeMap::new(),
            known: BTreeSet::new(),
            tries: JoinSet::new(),
        }
    }

    async fn serve(mut self, mut orders: Orders) {
        loop {
            tokio::select! {
                biased;
                Some(done) = self.tries.join_next() => {
                    if let Ok((notice, outcome)) = done {
                        self.over(notice, outcome);
                    }
                }
                order = orders.recv() => match order {
                    Some(notice) => self.take(notice),
                    None => break,
                },
            }
        }
        let last = async {
            while let Some(done) = self.tries.join_next().await {
                if let Ok((notice, outcome)) = done {
                    self.report(&notice, outcome);
                }
            }
        };
        timeout(FAREWELL, last).await.unwrap_or_default();
    }

    fn take(&mut self, notice: Notice) {
        if self.known.insert(name_of(&notice)) {
            let target = notice.target.clone();
            self.waiting.entry(target.clone()).or_default().push_back(notice);
            self.next(&target);
        }
    }

    /// Begins the next try at a target, if there is one and room for it.
    fn next(&mut self, target: &str) {
        let count = self.under_way.entry(target.to_owned()).or_default();
        if *count >= PARALLEL_MAX {
            return;
        }
        let Some(notice) = self.waiting.get_mut(target).and_then(VecDeque::pop_front) else { return };
        *count += 1;
        let (shared, source) = (Arc::clone(&self.shared), Arc::clone(&self.source));
        self.tries.spawn(async move {
            let outcome = tell(&shared, &source, &notice).await;
            (notice, outcome)
        });
    }

    fn over(&mut self, notice: Notice, outcome: Result<String, Unsent>) {
        self.known.remove(&name_of(&notice));
        if let Some(count) = self.under_way.get_mut(&notice.target) {
            *count = count.saturating_sub(1);
        }
        self.report(&notice, outcome);
        self.next(&notice.target);
    }

    /// Says what came of a try: in the log, in the figures, to the brain.
    pub(super) fn report(&self, notice: &Notice, outcome: Result<String, Unsent>) {
        let Notice { alert, target, news, tries, incident, .. } = notice;
        let counting = &self.shared.alerts.counting;
        let (kind, key) = (incident.kind(), incident.key.as_str());
        let (alert, news, tries) = (*alert, *news, *tries);
        let event = match outcome {
            Ok(answer) => {
                let after = self.shared.clock.now().since(notice.raised_at);
                if news == News::Raised {
                    counting.sent(target, kind == "deadlock", after);
                }
                let what = if news == News::Raised { "an alert is sent" } else { "the end of an incident is sent" };
                log::info!(to:% = target, incident = key, answer = answer.as_str(), after_ms = after.0; "{what}");
                Event::AlertDelivered { alert, target: target.clone(), news }
            }
            Err(Unsent { error, next_try }) => {
                counting.failed(target);
                log::error!(to:% = target, incident = key, tries; "Failed to send {kind} alert: {error}");
                let target = target.clone();
                Event::AlertFailed(Box::new(FailedDelivery { alert, target, news, tries, error, next_try }))
            }
        };
        self.shared.inbox.work([event]);
    }
}

/// Tells a target, as it is configured now.
async fn tell(shared: &Shared, source: &str, notice: &Notice) -> Result<String, Unsent> {
    let alerts = shared.alerts.alerts();
    let Some(target) = alerts.targets.get(&notice.target) else {
        let error = format!("there is no target `{}`", notice.target);
        return Err(Unsent { error, next_try: NextTry::Useless });
    };
    let namespace = shared.alerts.namespace.to_string();
    let letter = Letter { notice, now: shared.clock.now(), source, namespace: &namespace };
    send(target, &letter, alerts.timeout).await
}
