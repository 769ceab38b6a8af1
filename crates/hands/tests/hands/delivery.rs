//! What an attempt left is brought away before its end is told, within a bound.

use std::time::Duration;

use unknot_api::work::{Assignment, End, Note, Report, ReportBody, StopReason};
use unknot_hands::{Order, Phase};

use crate::support::{Bench, argv, output, shell};

/// A worker with one slot, and an attempt in it that has ended and whose leavings never arrive.
async fn delivering(lease_ms: u64) -> (Bench, Assignment) {
    let bench = Bench::with(|config| {
        config.slots = 1;
        config.renew_every = Duration::from_millis(10);
    });
    bench.source.never_deliver();
    let task = Assignment { lease_ms: Some(lease_ms), ..shell("echo '{\"a\":1}'") };
    bench.source.give([task.clone()]);
    bench.source.until_delivering(&task.attempt).await;
    (bench, task)
}

/// Why what an attempt left did not arrive; that it succeeded stands.
fn why(end: &End) -> &str {
    assert_eq!(output(end), "{\"a\":1}");
    let [Note::ArtifactsLost { message, .. }] = &end.notes[..] else { panic!("{end:?}") };
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn until_it_has_arrived_an_attempt_keeps_its_lease_and_its_slot() {
    let (bench, task) = delivering(2_000).await;
    let next = Assignment { lease_ms: Some(60_000), ..argv(&["true"]) };
    bench.source.give([next.clone()]);
    bench.source.until_held(&[(&task.attempt, 5, true), (&next.attempt, 5, false)]).await;
    let is_end = |report: &Report| matches!(report.body, ReportBody::Ended(_));
    assert!(!bench.source.reports(&task.attempt).iter().any(is_end), "its end is not told yet");
    bench.source.order(Order::Kill { attempt: task.attempt.clone(), fence: 5, reason: StopReason::Cancelled });
    assert_eq!(why(&bench.source.end_of(&task.attempt).await), "it was ended at once");
    bench.source.until_delivering(&next.attempt).await;
    bench.close(Phase::Killing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_not_renewed_ends_it() {
    let (bench, task) = delivering(2_000).await;
    bench.source.lose_touch();
    assert_eq!(why(&bench.source.end_of(&task.attempt).await), "its lease ran out");
    bench.close(Phase::Killing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_is_to_stop_hurries() {
    let (bench, task) = delivering(60_000).await;
    bench.phase.send_replace(Phase::Stopping);
    assert_eq!(why(&bench.source.end_of(&task.attempt).await), "there was not enough time");
    bench.close(Phase::Stopping).await;
}
