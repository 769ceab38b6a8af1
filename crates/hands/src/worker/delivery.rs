//! Between the end of an attempt and the report of it: what it left is brought to where it belongs, within a bound.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use unknot_api::work::{Note, Outcome};

use super::source::WorkSource;
use crate::exec::{Told, Wish};
use crate::lease;

/// How long what an attempt left may take to be brought away.
const UNHURRIED: Duration = Duration::from_secs(5 * 60);
/// The same for one that is to stop: less than what the server leaves for the report after the ladder's end.
const HURRIED: Duration = Duration::from_secs(5);

/// How long what an ended attempt left may take: five minutes; five seconds once it is to stop; never longer than its
/// lease is renewed, and not at all once it is to end at once.
#[derive(Debug)]
pub struct Patience {
    until: Instant,
    told: Told,
}

impl Patience {
    pub(super) fn after(outcome: &Outcome, told: Told) -> Self {
        let is_calm = matches!(outcome, Outcome::Succeeded { .. } | Outcome::Failed { .. });
        Self { until: Instant::now() + if is_calm { UNHURRIED } else { HURRIED }, told }
    }

    /// Waits until it is over, and says why. May be dropped, and asked again.
    pub async fn over(&mut self) -> &'static str {
        let mut has_worker = true;
        loop {
            match *self.told.wishes.borrow_and_update() {
                Wish::GoOn => {}
                Wish::Stop(_) => self.until = self.until.min(Instant::now() + HURRIED),
                Wish::Kill(_) => return "it was ended at once",
            }
            tokio::select! {
                biased;
                changed = self.told.wishes.changed(), if has_worker => has_worker = changed.is_ok(),
                () = lease::lost(&mut self.told.lease) => return "its lease ran out",
                () = sleep_until(self.until) => return "there was not enough time",
            }
        }
    }
}

/// Has the source bring away what an attempt left.
pub(super) async fn deliver<S: WorkSource>(
    source: Arc<S>,
    attempt: String,
    fence: u64,
    patience: Patience,
) -> Vec<Note> {
    let delivered = tokio::spawn(async move { source.deliver(&attempt, fence, patience).await });
    // A panic in there is a bug of ours; the attempt must end all the same.
    delivered.await.unwrap_or_else(|error| {
        let message = format!("its delivery failed: {error}");
        vec![Note::ArtifactsLost { count: 0, first: Vec::new(), message }]
    })
}
