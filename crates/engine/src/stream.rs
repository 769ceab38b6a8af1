//! The live stream of history: every line, once durable, to whoever listens.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    time::Duration,
};
use tokio::sync::broadcast;
use unknot_core::{CommitSeq, RunId, row::HistoryEntry};
use unknot_store::{Event, EventCursor};

/// Batches that a listener may be behind before it is cut off and has to read the store.
const BEHIND_MAX: usize = 4_096;

/// The lines of one commit.
#[derive(Clone, Debug)]
pub struct Lines {
    /// The newest durable commit.
    pub commit: CommitSeq,
    /// What happened, in order.
    pub entries: Arc<Vec<HistoryEntry>>,
}

/// Batches that somebody who follows one run may be behind.
const FOLLOWER_BEHIND_MAX: usize = 256;

/// What happened to one run in one commit, each line with its place.
pub type RunLines = Arc<[Event]>;

/// All listeners.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    listeners: Mutex<Vec<SyncSender<Lines>>>,
    followers: Mutex<BTreeMap<RunId, broadcast::Sender<RunLines>>>,
}

/// One listener.
#[derive(Debug)]
pub struct Subscription(Receiver<Lines>);

/// What a listener hears.
#[derive(Debug)]
pub enum Heard {
    /// Lines.
    Lines(Lines),
    /// Nothing within the time.
    Nothing,
    /// It was too far behind, or the engine is gone: the store knows what it missed.
    CutOff,
}

impl Stream {
    /// A new listener; it hears what becomes durable from now on.
    pub(crate) fn subscribe(&self) -> Subscription {
        let (sender, receiver) = sync_channel(BEHIND_MAX);
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        Subscription(receiver)
    }

    /// Follows one run, for a caller that awaits: it hears what becomes durable from now on.
    pub(crate) fn follow(&self, run: RunId) -> broadcast::Receiver<RunLines> {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = followers.entry(run).or_insert_with(|| broadcast::Sender::new(FOLLOWER_BEHIND_MAX));
        sender.subscribe()
    }

    /// Tells everybody; never waits. Who is too far behind, or gone, is dropped.
    pub(crate) fn publish(&self, commit: CommitSeq, entries: Vec<HistoryEntry>) {
        self.tell_followers(commit, &entries);
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        if listeners.is_empty() || entries.is_empty() {
            return;
        }
        let lines = Lines { commit, entries: Arc::new(entries) };
        listeners.retain(|listener| {
            !matches!(listener.try_send(lines.clone()), Err(TrySendError::Full(_) | TrySendError::Disconnected(_)))
        });
    }
}

impl Stream {
    fn tell_followers(&self, commit: CommitSeq, entries: &[HistoryEntry]) {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        if followers.is_empty() || entries.is_empty() {
            return;
        }
        followers.retain(|_, sender| sender.receiver_count() > 0);
        let mut by_run: BTreeMap<RunId, Vec<Event>> = BTreeMap::new();
        for (line, entry) in (0u32..).zip(entries).filter(|(_, entry)| followers.contains_key(&entry.run)) {
            let event = Event { cursor: EventCursor { commit, line }, entry: entry.clone() };
            by_run.entry(entry.run).or_default().push(event);
        }
        for (run, lines) in by_run {
            if let Some(sender) = followers.get(&run) {
                // Fails only if nobody follows any more.
                sender.send(lines.into()).unwrap_or_default();
            }
        }
    }
}

impl Subscription {
    /// The next lines, or what else is to be known within `at_most`.
    pub fn next(&self, at_most: Duration) -> Heard {
        match self.0.recv_timeout(at_most) {
            Ok(lines) => Heard::Lines(lines),
            Err(RecvTimeoutError::Timeout) => Heard::Nothing,
            Err(RecvTimeoutError::Disconnected) => Heard::CutOff,
        }
    }
}
