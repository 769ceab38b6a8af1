//! The live stream of history: every line, once durable, to whoever listens.

use std::sync::{
    Arc, Mutex, PoisonError,
    mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
};
use std::time::Duration;
use unknot_core::{CommitSeq, row::HistoryEntry};

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

/// All listeners.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    listeners: Mutex<Vec<SyncSender<Lines>>>,
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

    /// Tells everybody; never waits. Who is too far behind, or gone, is dropped.
    pub(crate) fn publish(&self, commit: CommitSeq, entries: Vec<HistoryEntry>) {
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
