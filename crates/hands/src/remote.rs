//! Work from a server elsewhere: the worker protocol, as a source of work.
//!
//! - `upload`: what attempts print and leave, sent to the server while they run and before their ends are told.
//! - `folders`: where they do that here, removed once their ends are settled.
//!
//! A session that is over (the server was started anew, or heard nothing for too long) is begun again under the same
//! boot, and everything goes on: what runs is renewed, what has ended is reported. Nothing is given up before its
//! lease is about to run out.

mod folders;
mod upload;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use unknot_api::client::{Client, ClientError};
use unknot_api::with_causes;
use unknot_api::work::{Assignment, Note, Outcome, Report, ReportBody, Work};
use unknot_api::worker::{self as wire, ATTEMPT_TOKEN_VARIABLE, Register, URL_VARIABLE};

use self::folders::Folders;
pub use self::folders::Premises;
use self::upload::Uploads;
use crate::lease::Moment;
use crate::worker::{Claimed, Held, Order, Patience, Room, SourceError, WorkSource};

/// Bytes of the reports that travel together; a single one may have more.
const REPORT_BYTES_MAX: usize = 512 * 1024;
/// Assignments of one claim.
const CLAIM_MAX: usize = 256;

/// Who works, and for whom.
#[derive(Debug, Clone)]
pub struct Remote {
    /// The server, with a token that lets workers in.
    pub client: Client,
    /// The server's address as attempts are told it.
    pub server: String,
    /// The worker's name.
    pub name: String,
    /// Sixty-four bits that no other boot has.
    pub boot: u64,
    /// Attempts that it performs at once.
    pub slots: u32,
    /// Tasks of these queues; none: of all.
    pub queues: Option<Vec<String>>,
    /// Kinds of work that it takes, handlers apart.
    pub kinds: Vec<String>,
    /// Handlers that it has.
    pub handlers: Vec<String>,
    /// What people should know of it.
    pub labels: BTreeMap<String, String>,
    /// The folder that attempts' folders are relative to, as in the worker's `Config`.
    pub data_dir: PathBuf,
}

/// A server's work. Cheap calls, one connection each.
#[derive(Debug)]
pub struct RemoteSource {
    remote: Remote,
    session: Mutex<Option<String>>,
    received: AtomicU64,
    uploads: Uploads,
    folders: Folders,
    refused: watch::Sender<Option<String>>,
    registered: watch::Sender<u64>,
}

impl RemoteSource {
    /// A source that asks nothing yet.
    #[must_use]
    pub fn new(remote: Remote) -> Arc<Self> {
        let uploads = Uploads::new(remote.client.clone(), remote.data_dir.clone());
        Arc::new(Self {
            remote,
            session: Mutex::new(None),
            received: AtomicU64::new(0),
            uploads,
            folders: Folders::new(),
            refused: watch::Sender::new(None),
            registered: watch::Sender::new(0),
        })
    }

    /// Why the server will not have this worker, once it has said so: nothing more comes of it.
    #[must_use]
    pub fn refused(&self) -> watch::Receiver<Option<String>> {
        self.refused.subscribe()
    }

    /// How often a session was begun.
    #[must_use]
    pub fn registered(&self) -> watch::Receiver<u64> {
        self.registered.subscribe()
    }

    /// Sends what attempts print, and removes the folders of those that are settled, as long as it is awaited.
    pub async fn tend(&self) {
        tokio::join!(self.uploads.follow(), self.folders.remove());
    }

    /// Ends the session: this worker has nothing any more, and nobody [tends](Self::tend) it. Says nothing if the server
    /// cannot be reached; it notices.
    pub async fn leave(&self) {
        self.folders.finish().await;
        if let Some(session) = self.session.lock().await.take() {
            self.remote.client.leave_worker(&self.remote.name, &session).await.unwrap_or_default();
        }
    }

    /// The session, begun now if there is none.
    async fn session(&self) -> Result<String, SourceError> {
        let mut session = self.session.lock().await;
        if let Some(session) = &*session {
            return Ok(session.clone());
        }
        let Remote { name, boot, slots, queues, kinds, handlers, labels, .. } = &self.remote;
        let wish = Register {
            protocol: wire::PROTOCOL,
            name: name.clone(),
            boot: format!("{boot:x}"),
            slots: *slots,
            queues: queues.clone(),
            kinds: kinds.clone(),
            handlers: handlers.clone(),
            labels: labels.clone(),
        };
        let told = self.remote.client.register_worker(&wish).await.inspect_err(|error| self.note_refusal(error))?;
        self.received.store(0, Ordering::Relaxed);
        self.registered.send_modify(|times| *times += 1);
        Ok(session.insert(told.session).clone())
    }

    /// A refusal that no repetition changes ends this worker.
    fn note_refusal(&self, error: &ClientError) {
        if error.status().is_some() && !error.is_passing() {
            self.refused.send_replace(Some(with_causes(error)));
        }
    }

    /// Calls under the session; under a new one, if that was over.
    async fn call<T, F: Future<Output = Result<T, ClientError>>>(
        &self,
        ask: impl Fn(String) -> F,
    ) -> Result<T, SourceError> {
        let session = self.session().await?;
        match ask(session.clone()).await {
            Err(error) if error.status() == Some(404) => {
                let mut kept = self.session.lock().await;
                if *kept == Some(session) {
                    *kept = None;
                }
                drop(kept);
                let session = self.session().await?;
                Ok(ask(session).await?)
            }
            other => Ok(other.inspect_err(|error| self.note_refusal(error))?),
        }
    }

    /// What an attempt needs to know of its server.
    fn prepare(&self, handed: wire::Handed) -> Assignment {
        let wire::Handed { mut assignment, token } = handed;
        // Where it is performed here concerns nobody else.
        assignment.folder = folders::of(&assignment.attempt).display().to_string();
        // Nothing is printed or left where nothing is started.
        if assignment.work != Work::Noop {
            self.uploads.begin(&assignment, &token);
        }
        assignment.env.insert(ATTEMPT_TOKEN_VARIABLE.to_owned(), token);
        assignment.env.insert(URL_VARIABLE.to_owned(), self.remote.server.clone());
        assignment
    }
}

impl RemoteSource {
    /// A report need not be sent again. With its end, an attempt is forgotten, and so is its folder, unless something
    /// may still live there: the next start looks for that.
    fn settled(&self, report: &Report) {
        let ReportBody::Ended(end) = &report.body else { return };
        let folder = self.uploads.forget(&report.attempt, report.fence);
        let may_live = matches!(end.outcome, Outcome::Unkillable { .. } | Outcome::Lost { confirmed_dead: false, .. });
        if let Some(folder) = folder.filter(|_| !may_live) {
            self.folders.settled(folder);
        }
    }
}

impl From<ClientError> for SourceError {
    fn from(error: ClientError) -> Self {
        Self { message: with_causes(&error) }
    }
}

impl WorkSource for RemoteSource {
    async fn claim(&self, room: Room) -> Result<Claimed, SourceError> {
        let most = room.total.min(CLAIM_MAX);
        let asked_at = Moment::now();
        let claimed = self.call(|session| {
            let claim = wire::Claim { session, received: self.received.load(Ordering::Relaxed), most };
            async move { self.remote.client.claim_work(&self.remote.name, &claim).await }
        });
        let claimed = claimed.await?;
        self.received.store(claimed.number, Ordering::Relaxed);
        // The server began to wait when it had the question, or later; leases run from the end of that.
        let leased_at = asked_at.plus(Duration::from_millis(claimed.waited_ms)).min(Moment::now());
        let assignments = claimed.work.into_iter().map(|handed| self.prepare(handed)).collect();
        Ok(Claimed { assignments, leased_at })
    }

    async fn report(&self, reports: Arc<[Report]>) -> Result<Vec<usize>, SourceError> {
        let some = &reports[..first_of(&reports)];
        let ask = |session: String| async move {
            self.remote.client.report_attempts(&self.remote.name, &session, some).await
        };
        let settled = self.call(ask).await?.settled;
        settled.iter().filter_map(|place| some.get(*place)).for_each(|report| self.settled(report));
        Ok(settled)
    }

    async fn deliver(&self, attempt: &str, fence: u64, patience: Patience) -> Vec<Note> {
        self.uploads.deliver(attempt, fence, patience).await
    }

    async fn renew(&self, held: Vec<Held>) -> Result<Vec<Order>, SourceError> {
        let held: Vec<wire::Held> = held
            .into_iter()
            .map(|Held { attempt, fence, is_started }| wire::Held { attempt, fence, is_started })
            .collect();
        let held = &held;
        let ask = |session: String| async move {
            self.remote.client.renew_leases(&self.remote.name, &session, held.clone()).await
        };
        Ok(orders(self.call(ask).await?))
    }

    async fn orders(&self) -> Result<Vec<Order>, SourceError> {
        let ask = |session: String| async move { self.remote.client.worker_orders(&self.remote.name, &session).await };
        Ok(orders(self.call(ask).await?))
    }
}

/// How many reports fit into one call.
fn first_of(reports: &[Report]) -> usize {
    let mut bytes = 0;
    let fitting = reports.iter().take_while(|report| {
        bytes += serde_json::to_string(report).map_or(0, |text| text.len());
        bytes <= REPORT_BYTES_MAX
    });
    fitting.count().max(1).min(reports.len())
}

fn orders(told: wire::Orders) -> Vec<Order> {
    let order = |wire::Order { attempt, fence, act, reason }| match act {
        wire::Act::Stop => Order::Stop { attempt, fence, reason },
        wire::Act::Kill => Order::Kill { attempt, fence, reason },
    };
    told.orders.into_iter().map(order).collect()
}
