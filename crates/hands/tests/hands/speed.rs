//! How fast it is. Printed, not asserted: figures that are compared come from a release build.

use std::time::Instant;

use unknot_api::work::Work;
use unknot_hands::Phase;

use crate::support::{Bench, PATIENCE, argv, assignment, shell, until, zombies_of};

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_short_tasks_in_a_row() {
    for (name, bench) in [("with cgroups", Bench::new()), ("without", Bench::without_cgroups())] {
        let first = shell("true");
        bench.perform(first.clone()).await;
        let before = bench.source.count_reports();
        let began = Instant::now();
        bench.source.give((0..500).map(|_| argv(&["/bin/true"])));
        tokio::time::timeout(std::time::Duration::from_secs(60), bench.source.until_reports(before + 1000))
            .await
            .unwrap();
        let took = began.elapsed();
        println!("{name}: 500 processes in {took:?}: {:.0}/s", 500.0 / took.as_secs_f64());
        let guard = bench.guard_pid(&first.attempt);
        until("all are reaped", PATIENCE, || zombies_of(guard).is_empty()).await;
        assert!(bench.close(Phase::Draining).await.unsettled.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_ops() {
    let bench = Bench::with(|config| config.prefetch = 248);
    let count = 100_000;
    let work: Vec<_> = (0..count).map(|_| assignment(Work::Noop)).collect();
    let began = Instant::now();
    bench.source.give(work);
    tokio::time::timeout(std::time::Duration::from_secs(60), bench.source.until_reports(count)).await.unwrap();
    println!("{count} no-ops: {:.0}/s", count as f64 / began.elapsed().as_secs_f64());
}
