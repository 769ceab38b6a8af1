//! The store finds a contradiction in a batch.

use super::world::{BEGIN, Disk, World, ended, exec, joined, local, run, submission, submitted};
use std::collections::BTreeSet;
use unknot_core::{
    Millis,
    due::outstanding,
    event::Outcome,
    row::{Batch, Loaded, Row},
    settings::Bounds,
    state::LoadError,
};
use unknot_engine::driver::{Driver, Fatal};

/// The first batch of a process contradicts. What an earlier one had been given is lost, and not to be started
/// by whoever works now, beside its second try.
#[test]
fn attempts_of_a_boot_that_is_gone_are_started_by_nobody() {
    let mut before = World::on(Disk::default());
    before.hear(vec![submitted(submission(1, &exec(), 1))], vec![joined(1)]);
    let left = outstanding(before.driver.state());
    assert_eq!(left.len(), 1);

    let mut after = World::on(before.disk);
    let mut first = true;
    after.contradicts = Box::new(move |_| std::mem::take(&mut first));
    let outcome = Outcome::Lost { message: "gone".to_owned(), confirmed_dead: true };
    after.hear(Vec::new(), vec![ended(&left[0], outcome), joined(2)]);
    assert_eq!(after.loads, 1);
    let starts: Vec<_> = after.starts().map(|start| (start.attempt.number, start.worker.clone())).collect();
    assert_eq!(starts, [(2, local(2))]);
}

/// Whether a batch gives a task of this run to a worker.
fn grants(batch: &Batch, number: u128) -> bool {
    batch.changes.iter().any(|(_, row)| match row {
        Some(Row::Run(stored)) => {
            stored.id == run(number)
                && stored.poisoned.is_none()
                && stored.tasks.iter().any(|task| task.lease().is_some())
        }
        _ => false,
    })
}

#[test]
fn a_grant_that_is_refused_for_good_freezes_its_run_alone() {
    let mut world = World::on(Disk::default());
    world.contradicts = Box::new(|batch| grants(batch, 2));
    let runs = (1..=3).map(|number| submitted(submission(number, &exec(), 1)));
    world.hear(runs.collect(), vec![joined(1)]);
    let frozen = |number| world.driver.state().runs[&run(number)].poisoned.is_some();
    assert_eq!([frozen(1), frozen(2), frozen(3)], [false, true, false]);
    assert_eq!(world.disk.quarantined, 1);
    // A start may be asked for again after a load.
    let started: BTreeSet<_> = world.starts().map(|start| start.attempt.task.run).collect();
    assert_eq!(started, [run(1), run(3)].into());
}

/// The state of a run is one that no decision leads to.
fn edited(disk: &Disk) -> Loaded {
    let mut loaded = disk.loaded();
    for (_, row) in &mut loaded.rows {
        if let Row::Run(run) = row {
            run.tasks[0].met = 7;
        }
    }
    loaded
}

#[test]
fn rows_that_break_a_rule_are_refused_at_the_start_and_at_a_reload() {
    let mut world = World::on(Disk::default());
    world.hear(vec![submitted(submission(1, &exec(), 1))], vec![joined(1)]);
    let refused = Driver::new(edited(&world.disk), Bounds::default());
    assert!(matches!(refused, Err(LoadError::Broken(_))), "{refused:?}");

    world.contradicts = Box::new(|_| true);
    world.edits = Some(edited);
    let turn = world.hear(vec![submitted(submission(2, &exec(), 1))], Vec::new());
    assert!(matches!(turn.fatal, Some(Fatal::Corrupt(_))), "{turn:?}");
}

#[test]
fn a_load_that_fails_for_a_moment_is_tried_again_and_no_damage() {
    let mut world = World::on(Disk::default());
    let mut first = true;
    world.contradicts = Box::new(move |_| std::mem::take(&mut first));
    world.unloadable = 2;
    world.hear(vec![submitted(submission(1, &exec(), 1))], vec![joined(1)]);
    for pause in [50, 100] {
        let blocked = world.driver.blocked().expect("it waits for its rows");
        assert_eq!((blocked.since, &*blocked.cause), (BEGIN, "too many open files"));
        world.now = world.now.plus(Millis(pause));
        world.hear(Vec::new(), Vec::new());
    }
    assert_eq!((world.driver.blocked(), world.loads), (None, 1));
    assert_eq!(world.starts().count(), 1, "what was to be done again is done");
}
