//! As many worlds as the suite has time for. A failure prints its seed, its step, its last lines, and the one command
//! that shows it again; `cargo xtask sweep` runs as many as there is time for.

use std::collections::BTreeMap;
use unknot_core::run::RunStatus;
use unknot_sim::{Report, simulate, trace::Keep, workload::plant::Kind, world::Scale};

fn hold(seed: u64, scale: Scale) -> Report {
    match simulate(seed, scale, Keep::Tail, None) {
        Ok((report, _)) => report,
        Err(failure) => panic!("\n{failure}"),
    }
}

/// Every rule holds in each of these worlds, and everything that can go wrong has gone wrong in them: a
/// sweep in which nothing happens proves nothing.
#[test]
fn hundreds_of_worlds_hold() {
    let reports: Vec<Report> = (0..200).map(|seed| hold(seed, Scale::Small)).collect();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut ends: BTreeMap<RunStatus, usize> = BTreeMap::new();
    for report in &reports {
        report.counts.iter().for_each(|(what, many)| *counts.entry(what).or_default() += many);
        report.ends.iter().for_each(|(status, many)| *ends.entry(*status).or_default() += many);
    }
    for what in
        ["crash", "reload", "resolve", "fatal", "freeze", "partition", "worker died", "alert heard", "alert unheard"]
    {
        assert!(counts.get(what).is_some_and(|many| *many > 20), "{what} hardly ever happens: {counts:?}");
    }
    for status in [RunStatus::Completed, RunStatus::Failed, RunStatus::Cancelled, RunStatus::TimedOut] {
        assert!(ends.get(&status).is_some_and(|many| *many > 20), "runs hardly ever end as {status}: {ends:?}");
    }
    assert!(reports.iter().map(|report| report.quarantined).sum::<usize>() > 20);
    for kind in Kind::ALL {
        let told: u64 = reports.iter().filter_map(|report| report.plants.get(kind.word())).sum();
        assert!(told > 2, "hardly any planted deadlock of the kind `{}` is told of: {told}", kind.word());
    }
}

#[test]
fn worlds_above_the_bound_of_whole_checks_hold() {
    // The second one lends units of a pool while that is so.
    for seed in [2, 111] {
        let report = hold(seed, Scale::Large);
        assert!(report.peak_tasks > unknot_core::check::WHOLE_CHECK_MAX, "{report:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..3 {
        let run = || simulate(seed, Scale::Small, Keep::All, None).map_err(|failure| failure.to_string());
        let (first, second) = (run().expect("holds"), run().expect("holds"));
        assert_eq!(first, second);
    }
}
