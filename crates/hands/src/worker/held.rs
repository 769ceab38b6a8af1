//! What a worker holds, and until when.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use unknot_api::work::Assignment;

use super::source::{Held, Order, SourceError, WorkSource};
use crate::exec::Wish;
use crate::lease::{Lease, Moment};

/// How long one renewal may take.
const RENEWAL_PATIENCE: Duration = Duration::from_secs(10);

/// An attempt that waits for a slot.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) assignment: Assignment,
    /// When its lease was renewed last, or began.
    pub(super) leased_at: Moment,
}

impl Queued {
    pub(super) fn is_of(&self, attempt: &str, fence: u64) -> bool {
        self.assignment.attempt == attempt && self.assignment.fence == fence
    }

    pub(super) fn held(&self) -> Held {
        Held { attempt: self.assignment.attempt.clone(), fence: self.assignment.fence, is_started: false }
    }
}

/// An attempt that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) fence: u64,
    pub(super) wish: watch::Sender<Wish>,
    pub(super) term_ms: Option<u64>,
    pub(super) renewal: Option<watch::Sender<Moment>>,
    /// Whether it is performed beside those that the worker's slots are for.
    pub(super) in_lent_slot: bool,
}

impl Running {
    pub(super) fn held(&self, attempt: &str) -> Held {
        Held { attempt: attempt.to_owned(), fence: self.fence, is_started: true }
    }

    /// Its lease was renewed at this moment, or later.
    pub(super) fn renewed(&self, at: Moment) {
        if let (Some(renewal), Some(term_ms)) = (&self.renewal, self.term_ms) {
            // One that has ended hears of nothing more.
            renewal.send(at.plus(Duration::from_millis(term_ms))).unwrap_or_default();
        }
    }
}

/// The lease of an assignment, if it runs out, and the way to renew it.
pub(super) fn lease(assignment: &Assignment, leased_at: Moment) -> Option<(Lease, watch::Sender<Moment>)> {
    let term = Duration::from_millis(assignment.lease_ms?);
    Some(Lease::new(term, leased_at.plus(term)))
}

/// The answer to a renewal.
#[derive(Debug)]
pub(super) struct Renewed {
    /// When it was asked for: leases run from then, or later.
    pub(super) sent_at: Moment,
    pub(super) held: Vec<Held>,
    pub(super) orders: Vec<Order>,
}

impl Renewed {
    pub(super) async fn ask<S: WorkSource>(source: Arc<S>, held: Vec<Held>) -> Result<Self, SourceError> {
        let sent_at = Moment::now();
        let late = |_| SourceError { message: "no answer to a renewal".to_owned() };
        let orders = timeout(RENEWAL_PATIENCE, source.renew(held.clone())).await.map_err(late)??;
        Ok(Self { sent_at, held, orders })
    }

    pub(super) fn names(&self, assignment: &Assignment) -> bool {
        self.held.iter().any(|held| held.fence == assignment.fence && held.attempt == assignment.attempt)
    }
}
