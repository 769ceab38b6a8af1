//! What a commit takes and what it refuses.

use super::{Case, Site, fixture::*};
use crate::{CommitError, Epoch, FactsQuery, Namespace, Owner};
use unknot_core::{
    CommitSeq,
    row::{Batch, Key, Meta, Pause, Row},
    run::{Idempotency, RunStatus},
};

pub(super) const CASES: &[Case] = &[
    Case { name: "a commit survives the death of the process", run: commits_survive },
    Case { name: "only the newest epoch commits", run: stale_epochs_are_fenced },
    Case { name: "nobody commits to a namespace that was never acquired", run: strangers_are_fenced },
    Case { name: "commits follow each other without gaps", run: numbers_have_no_gaps },
    Case { name: "the last change of a key wins", run: last_change_wins },
    Case { name: "a refused batch leaves nothing", run: violations_leave_nothing },
    Case { name: "two runs cannot own one idempotency key", run: idempotency_keys_are_unique },
    Case { name: "an idempotency key moves on within one batch", run: idempotency_keys_move },
    Case { name: "a run ends once", run: runs_end_once },
    Case { name: "namespaces know nothing of each other", run: namespaces_are_apart },
    Case { name: "an empty batch is a commit", run: empty_batches_count },
];

fn pause(by: &str) -> Row {
    Row::PausedWorkflow(Pause { by: by.into(), since: START })
}

fn paused(name: &str) -> Key {
    Key::PausedWorkflow(name.into())
}

fn commits_survive(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    brain.commit(vec![(paused("a"), Some(pause("ada")))]);
    let before = brain.load();
    drop(brain);
    let mut brain = Brain::start(site.open());
    assert_eq!(brain.last, CommitSeq(1));
    assert_eq!(brain.load(), before);
    assert_eq!(before.rows, [(paused("a"), pause("ada"))]);
    assert_eq!(before.meta, brain_meta(1));
}

fn brain_meta(commit: u64) -> Meta {
    use unknot_core::{Fence, Millis, Seq};
    Meta { next_seq: Seq(commit * 10), next_fence: Fence(commit * 3), high_water: START.plus(Millis(commit)) }
}

fn stale_epochs_are_fenced(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    brain.commit(Vec::new());
    let newer = brain.store.acquire(&brain.namespace, &Owner("another".into())).expect("acquired");
    assert!(newer > brain.epoch);
    let batch = brain.batch(vec![(paused("a"), Some(pause("ada")))], Vec::new());
    match brain.try_commit(&batch) {
        Err(CommitError::Fenced { held, current }) => assert_eq!((held, current), (brain.epoch, newer)),
        other => panic!("expected to be fenced, got {other:?}"),
    }
    assert_eq!(brain.store.committed(&brain.namespace).expect("readable"), CommitSeq(1));
    brain.epoch = newer;
    brain.try_commit(&batch).expect("the newest epoch commits");
    let held = brain.epoch;
    drop(brain);
    assert!(Brain::start(site.open()).epoch > held, "epochs grow over restarts");
}

fn strangers_are_fenced(site: &mut dyn Site) {
    let mut store = site.open();
    let batch = Batch { commit: CommitSeq(1), meta: Meta::default(), changes: Vec::new(), history: Vec::new() };
    let refused = store.commit(&Namespace::default(), Epoch(1), &batch);
    assert!(matches!(refused, Err(CommitError::Fenced { .. })), "{refused:?}");
    assert_eq!(store.committed(&Namespace::default()).expect("readable"), CommitSeq(0));
}

fn numbers_have_no_gaps(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    brain.commit(Vec::new());
    for wrong in [0, 1, 3] {
        let mut batch = brain.batch(vec![(paused("a"), Some(pause("ada")))], Vec::new());
        batch.commit = CommitSeq(wrong);
        let refused = brain.store.commit(&brain.namespace, brain.epoch, &batch);
        assert!(matches!(refused, Err(CommitError::Violated { .. })), "commit {wrong}: {refused:?}");
    }
    assert_eq!(brain.load().rows, []);
    brain.commit(Vec::new());
    assert_eq!(brain.store.committed(&brain.namespace).expect("readable"), CommitSeq(2));
}

fn last_change_wins(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    brain.commit(vec![
        (paused("a"), Some(pause("first"))),
        (paused("b"), Some(pause("x"))),
        (paused("c"), None),
        (paused("a"), Some(pause("last"))),
        (paused("b"), None),
        (paused("c"), Some(pause("y"))),
    ]);
    assert_eq!(brain.load().rows, [(paused("a"), pause("last")), (paused("c"), pause("y"))]);
    brain.commit(vec![(paused("a"), None), (paused("never there"), None)]);
    assert_eq!(brain.load().rows, [(paused("c"), pause("y"))]);
}

fn violations_leave_nothing(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    let flow = definition("flow", 1);
    let mut undefined = run(run_id(1), &flow, brain.next());
    undefined.definition = unknown_definition();
    for broken in [put_run(&undefined), (Key::Queue("q".into()), Some(pause("ada")))] {
        let batch = brain.batch(vec![(paused("a"), Some(pause("ada"))), broken], Vec::new());
        let refused = brain.try_commit(&batch);
        assert!(matches!(refused, Err(CommitError::Violated { .. })), "{refused:?}");
        assert_eq!(brain.load().rows, []);
    }
    brain.commit(vec![(paused("a"), Some(pause("ada")))]);
}

fn keyed(id: u64, key: &str, brain: &Brain) -> unknot_core::run::Run {
    let mut keyed = run(run_id(id), &definition("flow", 1), brain.next());
    keyed.idempotency = Some(Idempotency { key: key.into(), body_hash: format!("hash {id}") });
    keyed
}

fn idempotency_keys_are_unique(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    let first = keyed(1, "k", &brain);
    brain.commit(vec![put_definition(&definition("flow", 1)), put_run(&first)]);
    let second = keyed(2, "k", &brain);
    let batch = brain.batch(vec![put_run(&second)], Vec::new());
    let refused = brain.try_commit(&batch);
    assert!(matches!(refused, Err(CommitError::Violated { .. })), "{refused:?}");
    brain.commit(vec![put_run(&first)]);
    // Neither while its owner comes to its end, nor after.
    let mut end = Vec::from(end_run(&finished(&first, RunStatus::Completed, brain.next())));
    for changes in [[end.clone(), vec![put_run(&second)]].concat(), vec![put_run(&second)]] {
        let refused = brain.try_commit(&brain.batch(changes, Vec::new()));
        assert!(matches!(refused, Err(CommitError::Violated { .. })), "{refused:?}");
        if !end.is_empty() {
            brain.commit(std::mem::take(&mut end));
        }
    }
}

fn idempotency_keys_move(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    let first = keyed(5, "k", &brain);
    brain.commit(vec![put_definition(&definition("flow", 1)), put_run(&first)]);
    // The new owner's id is lower: in the order of keys, its put would come before the old one's delete.
    let second = keyed(1, "k", &brain);
    brain.commit(vec![put_run(&second), (Key::Run(first.id), None)]);
    let ended = finished(&second, RunStatus::Completed, brain.next());
    brain.commit(end_run(&ended).into());
    let query = FactsQuery { idempotency_key: Some("k".into()), run: Some(second.id) };
    let facts = brain.reader().facts(&brain.namespace, &query).expect("readable");
    assert_eq!(facts.as_of, brain.last);
    assert_eq!(facts.key_owner, Some((second.id, "hash 1".into())));
    assert_eq!(facts.ended, Some(RunStatus::Completed));
}

fn runs_end_once(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    let flow = definition("flow", 1);
    let first = run(run_id(1), &flow, brain.next());
    brain.commit(vec![put_definition(&flow), put_run(&first)]);
    let ended = finished(&first, RunStatus::Completed, brain.next());
    brain.commit(end_run(&ended).into());
    let again = brain.batch(end_run(&ended).into(), Vec::new());
    let refused = brain.try_commit(&again);
    assert!(matches!(refused, Err(CommitError::Violated { .. })), "{refused:?}");
}

fn namespaces_are_apart(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    brain.commit(vec![(paused("a"), Some(pause("ada")))]);
    let (store, first) = (brain.store, brain.namespace);
    let mut other = Brain::start_in(store, "other".parse().expect("a plain name"));
    assert_eq!((other.last, other.load().rows), (CommitSeq(0), Vec::new()));
    other.commit(vec![(paused("a"), Some(pause("bob")))]);
    assert_eq!(other.load().rows, [(paused("a"), pause("bob"))]);
    let kept = other.store.load(&first).expect("readable");
    assert_eq!(kept.rows, [(paused("a"), pause("ada"))]);
    let nowhere: Namespace = "nowhere".parse().expect("a plain name");
    assert_eq!(other.store.load(&nowhere).expect("readable"), Default::default());
}

fn empty_batches_count(site: &mut dyn Site) {
    let mut brain = Brain::start(site.open());
    brain.commit(Vec::new());
    brain.commit(Vec::new());
    let loaded = brain.load();
    assert_eq!((loaded.commit, loaded.meta), (CommitSeq(2), brain_meta(2)));
}
