//! Verdicts: kept with their graphs, found by run and by kind, marked, and pruned by their own time.

use super::{Case, Site, fixture::*};
use crate::{Page, PageSize, Retention, VerdictFilter};
use std::{collections::BTreeSet, sync::Arc};
use unknot_core::{
    Millis, RunId, Seq, TaskIndex, Timestamp,
    deadlock::{Deadlock, Finding, Mark, Member, Outcome, Policy},
    row::{Key, Row},
    wait::{Cancel, Node, NodeState, Snapshot},
};

pub(super) const CASES: &[Case] = &[
    Case { name: "a verdict comes back whole, and is listed without its graph", run: comes_back },
    Case { name: "verdicts are listed newest first, in pages, by run, kind, outcome and time", run: are_listed },
    Case { name: "a verdict that is written anew is found by what it says now", run: is_written_anew },
    Case { name: "verdicts go when they are too old, in slices, whatever becomes of runs", run: old_ones_go },
];

/// The numbers of runs that started others begin here.
const ABOVE: u64 = 1_000;

/// A verdict about two runs: number `seq`, and the one of the same place in its dozen.
fn verdict(seq: u64, kind: Finding, outcome: Outcome) -> Deadlock {
    let at = START.plus(Millis::from_days(seq));
    let member = |run: RunId| Member {
        task: run.task(TaskIndex(0)),
        name: Arc::from("render"),
        workflow: Arc::from("flow"),
        attempt: 1,
        version: 7,
        sentence: "waits for lock `gpu`".to_owned(),
        since: at,
        deadline: at.plus(Millis::from_hours(1)),
        holds: vec!["lock `disk`".to_owned()],
    };
    let node = Node {
        label: Some("deploy/backup".to_owned()),
        id: run_id(seq).task(TaskIndex(0)).to_string(),
        state: NodeState::Waiting,
        generation: 1,
        cost: Some(2.5),
        version: 7,
    };
    Deadlock {
        seq: Seq(seq),
        kind,
        at,
        closed_at: at,
        members: [seq, 100 + seq % 3].map(|run| member(run_id(run))).into(),
        above: BTreeSet::from([run_id(ABOVE + seq)]),
        behind: 3,
        explanation: vec![format!("sentence {seq}")],
        graph: Snapshot { nodes: vec![node], ..Snapshot::default() },
        victims: vec![run_id(seq).task(TaskIndex(0))],
        exact: true,
        repairs: Vec::new(),
        cancel: Some(Cancel { runs: vec![run_id(seq)], ends_all: false }),
        policy: Policy::Alert,
        outcome,
        false_positive: None,
        ended_at: None,
    }
}

fn put(verdict: &Deadlock) -> (Key, Option<Row>) {
    (Key::Deadlock(verdict.seq), Some(Row::Deadlock(Box::new(verdict.clone()))))
}

/// Nine of three kinds and outcomes.
fn populate(site: &mut dyn Site) -> Brain {
    let mut brain = Brain::start(site.open());
    let kinds = [Finding::Deadlocked, Finding::Stalled, Finding::Starved];
    for seq in 1..=9u64 {
        let outcome = match seq {
            1..=3 => Outcome::Reported,
            4..=6 => Outcome::Retried(vec![run_id(seq).task(TaskIndex(0))]),
            _ => Outcome::Cancelled(vec![run_id(seq)]),
        };
        brain.commit(vec![put(&verdict(seq, kinds[seq as usize % 3], outcome))]);
    }
    brain
}

fn page(brain: &Brain, filter: &VerdictFilter, after: Option<Seq>, size: usize) -> Page<Deadlock, Seq> {
    brain.reader().verdicts(&brain.namespace, filter, after, PageSize::new(size)).expect("readable").value
}

fn all(brain: &Brain, filter: &VerdictFilter) -> Vec<u64> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = page(brain, filter, after, 2);
        assert!(page.items.len() <= 2);
        found.extend(page.items.iter().map(|verdict| verdict.seq.0));
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

fn read(brain: &Brain, seq: u64) -> Option<Deadlock> {
    brain.reader().verdict(&brain.namespace, Seq(seq)).expect("readable").value
}

fn assert_sound(brain: &Brain) {
    let report = brain.store.maintenance().expect("the store is there").check().expect("readable");
    assert_eq!(report.problems, Vec::<String>::new());
}

fn comes_back(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    let known = verdict(4, Finding::Orphaned, Outcome::Reported);
    brain.commit(vec![put(&known)]);
    assert!(brain.store.load(&brain.namespace).expect("readable").rows.is_empty(), "no brain needs it");
    drop(brain);
    let brain = Brain::start(site.open());
    assert_eq!(read(&brain, 4), Some(known.clone()));
    let listed = page(&brain, &VerdictFilter::default(), None, 10);
    assert_eq!(listed.items, [Deadlock { graph: Snapshot::default(), ..known }]);
    assert_eq!((read(&brain, 5), listed.next), (None, None));
    assert_sound(&brain);
}

fn are_listed(site: &mut dyn Site) {
    let brain = populate(site);
    let some = VerdictFilter::default;
    assert_eq!(all(&brain, &some()), [9, 8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(all(&brain, &VerdictFilter { kind: Some(Finding::Stalled), ..some() }), [7, 4, 1]);
    assert_eq!(all(&brain, &VerdictFilter { run: Some(run_id(5)), ..some() }), [5]);
    assert_eq!(all(&brain, &VerdictFilter { run: Some(run_id(101)), ..some() }), [7, 4, 1]);
    assert_eq!(all(&brain, &VerdictFilter { run: Some(run_id(77)), ..some() }), [0; 0]);
    assert_eq!(
        all(&brain, &VerdictFilter { run: Some(run_id(ABOVE + 4)), ..some() }),
        [4],
        "a run that started others"
    );
    assert_eq!(all(&brain, &VerdictFilter { outcome: Some("retried"), ..some() }), [6, 5, 4]);
    let since = Some(START.plus(Millis::from_days(7)));
    assert_eq!(all(&brain, &VerdictFilter { since, ..some() }), [9, 8, 7]);
    let narrow = VerdictFilter {
        run: Some(run_id(101)),
        kind: Some(Finding::Stalled),
        outcome: Some("cancelled"),
        since,
        is_open: true,
    };
    assert_eq!(all(&brain, &narrow), [7]);
    assert_eq!(all(&brain, &VerdictFilter { kind: Some(Finding::Starved), ..narrow }), [0; 0]);
    assert_sound(&brain);
}

fn is_written_anew(site: &mut dyn Site) {
    let mut brain = populate(site);
    let mut marked = read(&brain, 4).expect("it is there");
    let note = Some("the lock was let go by hand".to_owned());
    marked.false_positive = Some(Mark { by: "ann".to_owned(), at: START, note });
    marked.ended_at = Some(marked.at.plus(Millis(5)));
    brain.commit(vec![put(&marked)]);
    assert_eq!(read(&brain, 4), Some(marked));
    let open = VerdictFilter { is_open: true, ..VerdictFilter::default() };
    assert_eq!(all(&brain, &open), [9, 8, 7, 6, 5, 3, 2, 1]);
    assert_eq!(all(&brain, &VerdictFilter { run: Some(run_id(101)), ..VerdictFilter::default() }), [7, 4, 1]);
    brain.commit(vec![(Key::Deadlock(Seq(4)), None)]);
    assert_eq!(all(&brain, &VerdictFilter { run: Some(run_id(101)), ..VerdictFilter::default() }), [7, 1]);
    assert_sound(&brain);
}

fn old_ones_go(site: &mut dyn Site) {
    let brain = populate(site);
    let retention = Retention {
        keep: Millis::from_days(10_000),
        verdicts_keep: Millis::from_days(100),
        bytes_max: u64::MAX,
        slice_rows_max: 2,
        wal_bytes_max: 1 << 20,
    };
    let maintain = |now: Timestamp| {
        let mut upkeep = brain.store.maintenance().expect("the store is there");
        upkeep.maintain(&brain.namespace, brain.epoch, now, &retention).expect("nothing stands in the way")
    };
    let done = maintain(START.plus(Millis::from_days(101)));
    assert_eq!((done.rows_pruned, done.more), (0, false), "the first is as old as it may be");
    let now = START.plus(Millis::from_days(106));
    let slices: Vec<(usize, bool)> = (0..3).map(|_| maintain(now)).map(|done| (done.rows_pruned, done.more)).collect();
    assert_eq!(slices, [(2, true), (2, true), (1, false)]);
    assert_eq!(all(&brain, &VerdictFilter::default()), [9, 8, 7, 6]);
    assert_eq!(all(&brain, &VerdictFilter { run: Some(run_id(101)), ..VerdictFilter::default() }), [7]);
    assert_sound(&brain);
}
