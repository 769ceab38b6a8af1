//! Until when an attempt may go on without a word of whoever assigned it.
//!
//! A worker that cannot renew a lease stops the attempt before the lease runs out: others may have it then. The guard
//! has the same moment, so that it holds although the worker itself stands still.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::sleep;

/// A moment of the machine's own clock, the same in all its processes. It goes on while the machine sleeps, as the
/// lease does elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(u64);

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let millis = u64::try_from(now.tv_nsec / 1_000_000).unwrap_or(0);
        Self(u64::try_from(now.tv_sec).unwrap_or(0) * 1_000 + millis)
    }

    /// So much later.
    #[must_use]
    pub fn plus(self, length: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(length.as_millis()).unwrap_or(u64::MAX)))
    }

    /// So much earlier.
    #[must_use]
    pub fn minus(self, length: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(length.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long it is until then; zero if it has passed.
    #[must_use]
    pub fn left(self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(Self::now().0))
    }
}

/// The end of a lease that is renewed.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    term: Duration,
    ends: watch::Receiver<Moment>,
}

impl Lease {
    /// A lease, and the way to tell that it was renewed.
    pub(crate) fn new(term: Duration, ends: Moment) -> (Self, watch::Sender<Moment>) {
        let (renewed, ends) = watch::channel(ends);
        (Self { term, ends }, renewed)
    }

    /// When the ladder begins, which may take `ladder`.
    pub(crate) fn stop_at(&self, ladder: Duration) -> Moment {
        self.ends.borrow().minus((ladder + Duration::from_secs(1)).min(self.term / 3))
    }

    /// When all that is left is killed.
    pub(crate) fn kill_at(&self) -> Moment {
        self.ends.borrow().minus((self.term / 10).min(Duration::from_secs(1)))
    }

    /// Waits until it is renewed; for ever if it can be no more.
    pub(crate) async fn renewed(&mut self) {
        if self.ends.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Waits until a lease has run out, a little before it does; for ever if there is none, or it is renewed.
pub(crate) async fn lost(lease: &mut Option<Lease>) {
    let Some(lease) = lease else { return std::future::pending().await };
    loop {
        let left = lease.stop_at(Duration::ZERO).left();
        if left.is_zero() {
            return;
        }
        tokio::select! {
            () = sleep(left) => {}
            () = lease.renewed() => {}
        }
    }
}
