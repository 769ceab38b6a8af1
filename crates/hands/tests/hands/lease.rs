//! What a worker holds: renewed, taken back, given back.

use std::time::{Duration, Instant};

use unknot_api::work::{Assignment, Outcome, StopReason};
use unknot_hands::{Order, Phase};

use crate::support::{Bench, alive, argv, output, shell, sleep_time, until};

/// A worker with one slot, an attempt in it that sleeps, and one that waits.
async fn busy(time: &str) -> (Bench, [Assignment; 2]) {
    let bench = Bench::with(|config| {
        config.slots = 1;
        config.renew_every = Duration::from_millis(10);
    });
    let tasks = [argv(&["sleep", time]), shell("true")];
    bench.source.give(tasks.clone());
    until("the first one runs", crate::support::PATIENCE, || alive(time).len() == 1).await;
    (bench, tasks)
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_renewed_and_lost_ones_are_let_go() {
    let time = sleep_time();
    let (bench, [running, waiting]) = busy(&time).await;
    bench.source.until_held(&[(&running.attempt, 5, true), (&waiting.attempt, 5, false)]).await;
    let lost = Order::Stop { attempt: running.attempt.clone(), fence: 5, reason: StopReason::LeaseLost };
    bench.source.answer_renewal(vec![Order::Release { attempt: waiting.attempt.clone() }, lost]);
    assert_eq!(bench.source.end_of(&waiting.attempt).await.outcome, Outcome::Released);
    let end = bench.source.end_of(&running.attempt).await;
    assert_eq!(end.outcome, Outcome::Stopped { reason: StopReason::LeaseLost });
    assert_eq!(alive(&time), [0; 0]);
    bench.close(Phase::Stopping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_drain_finishes_what_runs_and_gives_back_the_rest() {
    let bench = Bench::with(|config| config.slots = 1);
    let gate = bench.dir.path().join("gate");
    let running = shell(&format!("until test -e {}; do sleep 0.01; done; echo '{{\"a\":1}}'", gate.display()));
    let waiting = shell("true");
    bench.source.give([running.clone(), waiting.clone()]);
    let record = bench.folder(&running.attempt).join("process.json");
    until("the first one runs", crate::support::PATIENCE, || record.exists()).await;
    bench.source.order(Order::Drain);
    assert_eq!(bench.source.end_of(&waiting.attempt).await.outcome, Outcome::Released);
    let late = shell("true");
    bench.source.give([late.clone()]);
    std::fs::write(&gate, "").unwrap();
    let source = bench.source.clone();
    assert!(bench.ended().await.unsettled.is_empty(), "it ends by itself");
    assert_eq!(output(&source.end_of(&running.attempt).await), "{\"a\":1}");
    let reports = source.reports(&late.attempt);
    // A claim that was under way may have brought it; then it was given back as well.
    assert!(reports.iter().all(|report| format!("{:?}", report.body).contains("Released")), "{reports:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_renewed_is_stopped_before_its_lease_runs_out() {
    let time = sleep_time();
    let bench = Bench::with(|config| config.slots = 1);
    let task = Assignment { lease_ms: Some(2_000), ..argv(&["sleep", &time]) };
    let waiting = Assignment { lease_ms: Some(2_000), ..shell("true") };
    let begun = Instant::now();
    bench.source.give([task.clone(), waiting.clone()]);
    bench.source.until_held(&[(&task.attempt, 5, true), (&waiting.attempt, 5, false)]).await;
    bench.source.lose_touch();
    let end = bench.source.end_of(&task.attempt).await;
    assert_eq!(end.outcome, Outcome::Stopped { reason: StopReason::LeaseLost });
    assert!(begun.elapsed() > Duration::from_millis(1_300), "not before it had to be");
    assert_eq!(alive(&time), [0; 0]);
    // What follows it in line has lost its lease, or is about to.
    let next = bench.source.end_of(&waiting.attempt).await.outcome;
    assert!(matches!(next, Outcome::Released | Outcome::Stopped { .. } | Outcome::Succeeded { .. }), "{next:?}");
    bench.close(Phase::Stopping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_renewed_goes_on_for_longer_than_its_lease() {
    let bench = Bench::with(|config| config.slots = 1);
    let task = Assignment { lease_ms: Some(2_000), ..shell("sleep 3; echo '{\"a\":1}'") };
    bench.source.give([task.clone()]);
    assert_eq!(output(&bench.source.end_of(&task.attempt).await), "{\"a\":1}");
    bench.close(Phase::Stopping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assignment_that_comes_twice_is_performed_once() {
    let bench = Bench::with(|config| config.slots = 2);
    let task = Assignment { lease_ms: Some(60_000), ..shell("echo begun >&2; until test -e go; do sleep 0.01; done") };
    bench.source.give([task.clone(), task.clone()]);
    let log = bench.folder(&task.attempt).join("log.txt");
    let lines = || std::fs::read_to_string(&log).unwrap_or_default().lines().count();
    until("it runs", crate::support::PATIENCE, || lines() > 0).await;
    bench.source.give([task.clone()]);
    let other = shell("true");
    bench.source.give([other.clone()]);
    bench.source.end_of(&other.attempt).await;
    bench.source.order(Order::Stop { attempt: task.attempt.clone(), fence: 5, reason: StopReason::Cancelled });
    bench.source.end_of(&task.attempt).await;
    assert_eq!(lines(), 1);
    bench.close(Phase::Stopping).await;
}

/// The answer to a claim was on its way when the end in it was settled: a server that was started anew had handed it out.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_is_not_begun_again_by_an_answer_that_is_late() {
    let bench = Bench::with(|config| config.slots = 1);
    let done = bench.dir.path().join("done");
    let task = Assignment { lease_ms: Some(60_000), ..shell(&format!("echo x >> {}", done.display())) };
    bench.perform(task.clone()).await;
    let next = Assignment { lease_ms: Some(60_000), ..shell("true") };
    bench.source.give([task, next.clone()]);
    bench.source.end_of(&next.attempt).await;
    assert_eq!(std::fs::read_to_string(&done).unwrap(), "x\n");
    bench.close(Phase::Stopping).await;
}
