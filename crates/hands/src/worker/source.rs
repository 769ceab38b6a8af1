//! Where a worker's work comes from, and where its reports go.

use std::future::Future;
use std::sync::Arc;

use unknot_api::work::{Assignment, Note, Report, StopReason};

use super::Patience;
use crate::lease::Moment;

/// Whoever has the work: a brain in the same process, or one behind HTTP.
///
/// The worker calls each method from one place, one call at a time, so a source needs no queueing of its own. It never
/// drops a call of [`claim`](Self::claim) or [`report`](Self::report) that it still needs the answer of, except when it
/// returns; work that such a call had claimed comes back through its lease.
pub trait WorkSource: Send + Sync + 'static {
    /// Asks for work. Returns when there is some, or after a bounded time (a long poll of some 20 s) with none.
    fn claim(&self, room: Room) -> impl Future<Output = Result<Claimed, SourceError>> + Send;

    /// Delivers reports, in order. Returns the places in `reports` of those that are settled and need not be sent
    /// again: those that were recorded, and those that were refused for good (a stale fence). The others are sent
    /// again, so the same report may come twice.
    fn report(&self, reports: Arc<[Report]>) -> impl Future<Output = Result<Vec<usize>, SourceError>> + Send;

    /// Renews the leases of all that this worker holds. Returns orders about those that it should no longer hold.
    fn renew(&self, held: Vec<Held>) -> impl Future<Output = Result<Vec<Order>, SourceError>> + Send;

    /// Brings away what an attempt has left in its folder, once the last of its processes has ended and before its end
    /// is reported; until then it has its slot and its lease. Returns when all of it is where it belongs, can never be,
    /// or `patience` is over, with what a person should know of that. Where the worker's own folder is that place there
    /// is nothing to do.
    fn deliver(&self, _attempt: &str, _fence: u64, _patience: Patience) -> impl Future<Output = Vec<Note>> + Send {
        async { Vec::new() }
    }

    /// The next orders. Returns when there are some, or after a bounded time with none; may be dropped at any time.
    fn orders(&self) -> impl Future<Output = Result<Vec<Order>, SourceError>> + Send;
}

/// Work that was claimed.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// What to do. The same may come twice: it is known by its attempt and fence.
    pub assignments: Vec<Assignment>,
    /// When their leases began, or earlier.
    pub leased_at: Moment,
}

impl Claimed {
    /// Work whose leases do not run out, or began just now.
    #[must_use]
    pub fn now(assignments: Vec<Assignment>) -> Self {
        Self { assignments, leased_at: Moment::now() }
    }
}

/// How much work a worker can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Slots that are free now: so many attempts would start at once.
    pub free_slots: usize,
    /// How many attempts it takes in all, those included that would wait in its queue (prefetched).
    pub total: usize,
}

/// An attempt that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The attempt.
    pub attempt: String,
    /// Its fence.
    pub fence: u64,
    /// Whether it was started, as opposed to waiting in the worker's queue.
    pub is_started: bool,
}

/// What a worker is told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Stop an attempt by its ladder.
    Stop {
        /// The attempt.
        attempt: String,
        /// Its fence; an order with another one is about another lease and is left alone.
        fence: u64,
        /// Why.
        reason: StopReason,
    },
    /// Take the last rung of an attempt's ladder at once.
    Kill {
        /// The attempt.
        attempt: String,
        /// Its fence.
        fence: u64,
        /// Why.
        reason: StopReason,
    },
    /// Give an attempt back if it has not been started; otherwise it goes on.
    Release {
        /// The attempt.
        attempt: String,
    },
    /// Claim nothing more, give back what has not been started, finish the rest, and return.
    Drain,
}

/// Why a source could not answer. The worker tries again, with growing pauses.
#[derive(Debug, thiserror::Error)]
#[error("the source of work does not answer: {message}")]
pub struct SourceError {
    /// What happened.
    pub message: String,
}
