//! Those who wait for an answer of the brain.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};
use unknot_core::{
    effect::{Answer, Refusal},
    event::Caller,
};

/// The answer to a command.
pub(crate) type Answered = Result<Answer, Refusal>;

/// Callers by number. An answer that nobody waits for any more is dropped.
#[derive(Debug, Default)]
pub(crate) struct Callers {
    next: AtomicU64,
    waiting: Mutex<BTreeMap<Caller, SyncSender<Answered>>>,
}

impl Callers {
    /// A number for a new caller, and where its answer will arrive.
    pub(crate) fn register(&self) -> (Caller, Receiver<Answered>) {
        let caller = Caller(self.next.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = sync_channel(1);
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(caller, sender);
        (caller, receiver)
    }

    /// A caller gave up.
    pub(crate) fn forget(&self, caller: Caller) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&caller);
    }

    /// Hands an answer over; never waits.
    pub(crate) fn answer(&self, caller: Caller, answer: Answered) {
        let sender = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&caller);
        if let Some(sender) = sender {
            // The channel has room for the one answer; a receiver that is gone wants none.
            sender.try_send(answer).ok();
        }
    }
}
