//! Retention in slices, and the journal of folders to be removed.

use super::{Case, Site, fixture::*};
use crate::{Epoch, Maintained, Maintenance, PageSize, Retention, StoreError};
use std::collections::BTreeSet;
use unknot_core::{CommitSeq, Millis, RunId, Timestamp, row::HistoryKind, run::RunStatus};

pub(super) const CASES: &[Case] = &[
    Case { name: "nothing is pruned before its time", run: nothing_goes_early },
    Case { name: "old runs go with all that belongs to them", run: old_runs_go },
    Case { name: "pruning is done in slices and goes on after a crash", run: slices_go_on },
    Case { name: "a large run's rows go in slices", run: large_runs_go_in_slices },
    Case { name: "history stays while one of its runs does", run: shared_history_stays },
    Case { name: "above the size, the runs that ended first go", run: size_is_bounded },
    Case { name: "above the size, no more runs go than must", run: size_takes_few },
    Case { name: "only the owner prunes", run: strangers_cannot_prune },
];

const KEEP: Retention = Retention {
    keep: Millis::from_days(7),
    verdicts_keep: Millis::from_days(365),
    bytes_max: u64::MAX,
    slice_rows_max: 1_000,
    wal_bytes_max: 1 << 20,
};

/// Eight days after the start.
const LATER: Timestamp = START.plus(Millis::from_days(8));

fn upkeep(brain: &Brain) -> Box<dyn Maintenance> {
    brain.store.maintenance().expect("the store is there")
}

fn maintain(brain: &Brain, now: Timestamp, retention: &Retention) -> Maintained {
    upkeep(brain).maintain(&brain.namespace, brain.epoch, now, retention).expect("nothing stands in the way")
}

fn list(brain: &Brain) -> Vec<RunId> {
    let page = brain.reader().runs(&brain.namespace, &Default::default(), None, PageSize::MAX).expect("readable");
    page.value.items.into_iter().map(|run| run.id).collect()
}

/// So many runs, each submitted in a commit of its own and ended in another.
fn populate(site: &mut dyn Site, runs: u64) -> Brain {
    let mut brain = Brain::start(site.open());
    let flow = definition("flow", 1);
    brain.commit(vec![put_definition(&flow)]);
    for after_ms in 1..=runs {
        let mut new = run(run_id(after_ms), &flow, brain.next());
        new.labels.insert("team".into(), "blue".into());
        brain.commit_with(vec![put_run(&new)], vec![entry(&new, HistoryKind::RunSubmitted)]);
        let ended = finished(&new, RunStatus::Completed, brain.next());
        brain.commit_with(end_run(&ended).into(), vec![entry(&new, HistoryKind::RunCompleted)]);
    }
    brain
}

fn assert_sound(brain: &Brain) {
    let report = upkeep(brain).check().expect("readable");
    assert_eq!(report.problems, Vec::<String>::new());
}

fn nothing_goes_early(site: &mut dyn Site) {
    let brain = populate(site, 3);
    let edge = START.plus(Millis(1_000)).plus(KEEP.keep);
    let done = maintain(&brain, edge, &KEEP);
    assert_eq!((done.runs_pruned, done.rows_pruned, done.more, done.folders.0.len()), (0, 0, false, 0));
    assert_eq!(list(&brain).len(), 3);
    assert_sound(&brain);
}

fn old_runs_go(site: &mut dyn Site) {
    let mut brain = populate(site, 3);
    let flow = definition("flow", 1);
    let live = run(run_id(0), &flow, brain.next());
    brain.commit_with(vec![put_run(&live)], vec![entry(&live, HistoryKind::RunSubmitted)]);
    let done = maintain(&brain, LATER, &KEEP);
    assert_eq!((done.runs_pruned, done.more), (3, false));
    assert_eq!(list(&brain), [live.id], "a run that lives stays, however old");
    let events = brain.reader().events(&brain.namespace, live.id, None, PageSize::MAX).expect("readable").value;
    assert_eq!(events.items.len(), 1);
    let counts = brain.reader().counts(&brain.namespace).expect("readable").value;
    assert_eq!(counts.finished.values().sum::<u64>(), 0);
    assert_sound(&brain);

    let kept = |brain: &Brain| brain.reader().definition(&brain.namespace, &flow.body.hash).expect("readable").value;
    assert!(kept(&brain).is_some(), "a live run names it");
    let ended = finished(&live, RunStatus::Completed, brain.next());
    brain.commit(end_run(&ended).into());
    maintain(&brain, LATER, &KEEP);
    assert!(kept(&brain).is_none(), "no run names it");
    assert_eq!(list(&brain), []);
    assert_sound(&brain);
}

fn slices_go_on(site: &mut dyn Site) {
    let mut brain = populate(site, 10);
    let slices = Retention { slice_rows_max: 3, ..KEEP };
    let mut folders: BTreeSet<RunId> = BTreeSet::new();
    let mut pruned = 0;
    for slice in 1.. {
        let done = maintain(&brain, LATER, &slices);
        pruned += done.runs_pruned;
        assert!(done.runs_pruned <= 3, "a slice is bounded");
        folders.extend(&done.folders.0);
        assert_sound(&brain);
        if !done.more {
            break;
        }
        assert!(slice < 50, "pruning comes to an end");
        if slice == 2 {
            drop(brain);
            brain = Brain::start(site.open());
        }
    }
    assert_eq!((pruned, list(&brain).len()), (10, 0));
    // Nobody said that the folders are gone, so all are still named, also after a restart.
    drop(brain);
    let brain = Brain::start(site.open());
    let named: BTreeSet<RunId> = maintain(&brain, LATER, &slices).folders.0.into_iter().collect();
    assert_eq!((named.len(), &named), (10, &folders));
    let (gone, left): (Vec<RunId>, Vec<RunId>) = named.into_iter().partition(|run| *run < run_id(5));
    upkeep(&brain).folders_removed(&brain.namespace, brain.epoch, &gone).expect("written");
    assert_eq!(maintain(&brain, LATER, &slices).folders.0, left);
}

fn large_runs_go_in_slices(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    let large = definition("large", 40);
    let split = run(run_id(1), &large, brain.next());
    let mut changes = vec![put_definition(&large), put_run(&split)];
    changes.extend((0..40).map(|index| put_task(split.id, index, &queued_task(&split))));
    brain.commit_with(changes, vec![entry(&split, HistoryKind::RunSubmitted)]);
    brain.commit(end_run(&finished(&split, RunStatus::Completed, brain.next())).into());
    let slices = Retention { slice_rows_max: 15, ..KEEP };
    let first = maintain(&brain, LATER, &slices);
    assert_eq!((first.runs_pruned, first.more), (1, true));
    assert!((1..=30).contains(&first.rows_pruned), "{first:?}");
    assert_eq!(first.folders.0, [], "the folder goes after the rows");
    assert_eq!(list(&brain), [], "the run leaves the lists at once");
    drop(brain);
    let brain = Brain::start(site.open());
    let rest: Vec<Maintained> = (0..4).map(|_| maintain(&brain, LATER, &slices)).collect();
    assert_eq!(rest[3].folders.0, [split.id]);
    assert!(!rest[3].more);
    let tasks = brain.reader().tasks(&brain.namespace, split.id, None, PageSize::MAX).expect("readable").value;
    assert_eq!(tasks.items, []);
    assert_sound(&brain);
}

fn shared_history_stays(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    let flow = definition("flow", 1);
    let (old, live) = (run(run_id(1), &flow, brain.next()), run(run_id(2), &flow, brain.next()));
    let lines = |kind| vec![entry(&old, kind), entry(&live, kind)];
    brain.commit_with(vec![put_definition(&flow), put_run(&old), put_run(&live)], lines(HistoryKind::RunSubmitted));
    for _ in 0..100 {
        brain.commit_with(Vec::new(), lines(HistoryKind::TaskRetrying));
    }
    let ended = finished(&old, RunStatus::Failed, brain.next());
    brain.commit_with(end_run(&ended).into(), vec![entry(&old, HistoryKind::RunFailed)]);
    assert_eq!(maintain(&brain, LATER, &KEEP).runs_pruned, 1);
    let history = |run| brain.reader().events(&brain.namespace, run, None, PageSize::MAX).expect("readable").value;
    assert_eq!(history(live.id).items.len(), 101);
    assert_eq!(history(old.id).items.len(), 0);
    assert_sound(&brain);

    let ended = finished(&live, RunStatus::Completed, brain.next());
    brain.commit(end_run(&ended).into());
    let used = |brain: &Brain| maintain(brain, START, &KEEP).footprint.used_bytes;
    let before = used(&brain);
    let done = maintain(&brain, LATER, &KEEP);
    assert!(done.rows_pruned > 100, "the history goes with the last of its runs: {done:?}");
    assert!(used(&brain) <= before);
}

fn size_is_bounded(site: &mut dyn Site) {
    let brain = populate(site, 0);
    let used = |brain: &Brain| maintain(brain, START, &KEEP).footprint.used_bytes;
    let empty = used(&brain);
    drop(brain);
    let brain = populate(site, 300);
    let bytes_max = empty + (used(&brain) - empty) * 3 / 4;
    let small = Retention { keep: Millis::from_days(1_000), bytes_max, ..KEEP };
    for slice in 0.. {
        assert!(slice < 50, "pruning comes to an end");
        let done = maintain(&brain, START, &small);
        upkeep(&brain).folders_removed(&brain.namespace, brain.epoch, &done.folders.0).expect("written");
        if !done.more {
            break;
        }
    }
    let left = list(&brain);
    assert!((1..300).contains(&left.len()), "{} runs are left", left.len());
    let newest: Vec<RunId> = (1..=300).rev().take(left.len()).map(run_id).collect();
    assert_eq!(left, newest);
    assert!(used(&brain) <= bytes_max);
    assert_sound(&brain);
}

fn size_takes_few(site: &mut dyn Site) {
    let mut brain = populate(site, 0);
    let flow = definition("flow", 1);
    let used = |brain: &Brain| maintain(brain, START, &KEEP).footprint.used_bytes;
    let empty = used(&brain);
    // Most of what a run takes is its history.
    for after_ms in 1..=20 {
        let new = run(run_id(after_ms), &flow, brain.next());
        brain.commit_with(vec![put_definition(&flow), put_run(&new)], vec![entry(&new, HistoryKind::RunSubmitted)]);
        for _ in 0..5 {
            brain.commit_with(Vec::new(), vec![entry(&new, HistoryKind::TaskRetrying); 200]);
        }
        let ended = finished(&new, RunStatus::Completed, brain.next());
        brain.commit_with(end_run(&ended).into(), vec![entry(&new, HistoryKind::RunCompleted)]);
    }
    let bytes_max = empty + (used(&brain) - empty) * 3 / 4;
    let small = Retention { keep: Millis::from_days(1_000), bytes_max, ..KEEP };
    for slice in 0.. {
        assert!(slice < 200, "pruning comes to an end");
        if !maintain(&brain, START, &small).more {
            break;
        }
    }
    let left = list(&brain).len();
    assert!((12..=15).contains(&left), "{left} of 20 runs are left, at three quarters of the size");
    assert!(used(&brain) <= bytes_max);
    assert_sound(&brain);
}

fn strangers_cannot_prune(site: &mut dyn Site) {
    let brain = populate(site, 1);
    let stale = Epoch(brain.epoch.0 - 1);
    let refused = upkeep(&brain).maintain(&brain.namespace, stale, LATER, &KEEP);
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    let refused = upkeep(&brain).folders_removed(&brain.namespace, stale, &[run_id(1)]);
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    assert_eq!(list(&brain), [run_id(1)]);
    assert_eq!(brain.last, CommitSeq(3));
}
