//! Proof of progress: what the brain's thread leaves behind at every turn, readable by anybody without
//! asking it.

use crate::driver::Blocked;
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};
use unknot_core::Timestamp;

/// Written by the brain's thread alone.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    turns: AtomicU64,
    last_turn: AtomicU64,
    durable: AtomicU64,
    backlog: AtomicU64,
    blocked: Mutex<Option<Blocked>>,
    fatal: Mutex<Option<String>>,
}

/// A copy for whoever looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Turns so far.
    pub turns: u64,
    /// When the last one ended.
    pub last_turn: Timestamp,
    /// The newest durable commit.
    pub durable: u64,
    /// Events that wait to be applied.
    pub backlog: u64,
    /// Why nothing can be committed, if so.
    pub blocked: Option<Blocked>,
    /// Why the brain stopped for good, if it did.
    pub fatal: Option<String>,
}

impl Progress {
    pub(crate) fn turned(&self, now: Timestamp, durable: u64, backlog: usize, blocked: Option<&Blocked>) {
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.last_turn.store(now.0, Ordering::Relaxed);
        self.durable.store(durable, Ordering::Relaxed);
        self.backlog.store(backlog as u64, Ordering::Relaxed);
        let mut known = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref() != blocked {
            *known = blocked.cloned();
        }
    }

    pub(crate) fn stopped(&self, cause: String) {
        *self.fatal.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause);
    }

    /// Whether something said that nothing goes on any more.
    pub(crate) fn has_stopped(&self) -> bool {
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// What is known now.
    pub(crate) fn health(&self) -> Health {
        Health {
            turns: self.turns.load(Ordering::Relaxed),
            last_turn: Timestamp(self.last_turn.load(Ordering::Relaxed)),
            durable: self.durable.load(Ordering::Relaxed),
            backlog: self.backlog.load(Ordering::Relaxed),
            blocked: self.blocked.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            fatal: self.fatal.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
