//! Those who wait for an answer of the brain.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use unknot_core::{
    effect::{Answer, Refusal},
    event::Caller,
};

/// The answer to a command.
pub(crate) type Answered = Result<Answer, Refusal>;

/// Takes an answer to whoever waits for it; never waits itself.
pub(crate) type Deliver = Box<dyn FnOnce(Answered) + Send>;

/// Callers by number. An answer that nobody waits for any more is dropped.
#[derive(Default)]
pub(crate) struct Callers {
    next: AtomicU64,
    waiting: Mutex<BTreeMap<Caller, Deliver>>,
}

impl fmt::Debug for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callers").finish_non_exhaustive()
    }
}

impl Callers {
    /// A number for a new caller, whose answer is to be delivered so.
    pub(crate) fn register(&self, deliver: Deliver) -> Caller {
        let caller = Caller(self.next.fetch_add(1, Ordering::Relaxed));
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(caller, deliver);
        caller
    }

    /// A caller gave up.
    pub(crate) fn forget(&self, caller: Caller) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&caller);
    }

    /// Hands an answer over; never waits.
    pub(crate) fn answer(&self, caller: Caller, answer: Answered) {
        let deliver = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&caller);
        if let Some(deliver) = deliver {
            deliver(answer);
        }
    }
}
