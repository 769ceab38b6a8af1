//! Proof of progress: what the brain's thread leaves behind at every turn, readable by anybody without
//! asking it.

use crate::{driver::Blocked, overview::Overview};
use std::sync::{
    Arc, Mutex, PoisonError,
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
    /// When the request that the store has not answered was sent; 0: there is none.
    store_asked_at: AtomicU64,
    blocked: Mutex<Option<Blocked>>,
    fatal: Mutex<Option<String>>,
    overview: Mutex<Arc<Overview>>,
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
    /// Since when the store owes an answer.
    pub store_asked_at: Option<Timestamp>,
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

    /// The store was asked for something, or has answered.
    pub(crate) fn store_owes_since(&self, asked_at: Option<Timestamp>) {
        self.store_asked_at.store(asked_at.map_or(0, |at| at.0), Ordering::Relaxed);
    }

    pub(crate) fn stopped(&self, cause: String) {
        *self.fatal.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause);
    }

    /// Leaves a look at the whole behind.
    pub(crate) fn seen(&self, overview: Overview) {
        *self.overview.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(overview);
    }

    /// The last look at the whole.
    pub(crate) fn overview(&self) -> Arc<Overview> {
        Arc::clone(&self.overview.lock().unwrap_or_else(PoisonError::into_inner))
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
            store_asked_at: Some(Timestamp(self.store_asked_at.load(Ordering::Relaxed))).filter(|at| at.0 > 0),
            blocked: self.blocked.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            fatal: self.fatal.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
