//! What follows each of the five ends of a commit.

use super::{Case, Site, fixture::*};
use crate::{CommitError, Epoch, Fault, FaultPlan, FaultyStore, Refusal};
use unknot_core::{
    CommitSeq,
    row::{Batch, Key, Pause, Row},
};

pub(super) const CASES: &[Case] = &[
    Case { name: "a refused batch can be committed again", run: refused_batches_come_again },
    Case { name: "an unknown outcome is settled, had it taken effect", run: lost_after_is_settled },
    Case { name: "an unknown outcome is settled, had it not taken effect", run: lost_before_is_settled },
    Case { name: "an outcome stays unknown while nobody can be asked", run: unknown_stays_unknown },
    Case { name: "a fenced brain stays fenced", run: fenced_stays_fenced },
    Case { name: "a violation leaves nothing, and work goes on after a reload", run: violated_goes_on },
];

/// A brain on a store that follows a script.
fn start(site: &mut dyn Site, faults: impl IntoIterator<Item = Fault>) -> (Brain, FaultPlan) {
    let plan = FaultPlan::new(faults);
    (Brain::start(Box::new(FaultyStore::new(site.open(), plan.clone()))), plan)
}

fn batch(brain: &Brain) -> Batch {
    let row = Row::PausedWorkflow(Pause { by: "ada".into(), since: START });
    brain.batch(vec![(Key::PausedWorkflow("a".into()), Some(row))], Vec::new())
}

fn refused_batches_come_again(site: &mut dyn Site) {
    let refusals = [Refusal::Busy, Refusal::DiskFull, Refusal::ReadOnly, Refusal::Io];
    let (mut brain, plan) = start(site, refusals.map(Fault::Refuse));
    let batch = batch(&brain);
    for expected in refusals {
        match brain.try_commit(&batch) {
            Err(CommitError::Refused { refusal, .. }) => assert_eq!(refusal, expected),
            other => panic!("expected a refusal, got {other:?}"),
        }
        assert_eq!(brain.store.committed(&brain.namespace).expect("readable"), CommitSeq(0));
    }
    brain.try_commit(&batch).expect("whatever stood in the way is gone");
    assert!(plan.is_played());
    assert_eq!(brain.load().rows.len(), 1);
}

fn lost_after_is_settled(site: &mut dyn Site) {
    let (mut brain, _) = start(site, [Fault::LoseAfter]);
    let batch = batch(&brain);
    let lost = brain.try_commit(&batch);
    assert!(matches!(lost, Err(CommitError::Unknown { .. })), "{lost:?}");
    assert_eq!(brain.store.committed(&brain.namespace).expect("readable"), batch.commit, "it took effect");
    let twice = brain.try_commit(&batch);
    assert!(matches!(twice, Err(CommitError::Violated { .. })), "and cannot take effect twice: {twice:?}");
    drop(brain);
    assert_eq!(Brain::start(site.open()).load().rows.len(), 1);
}

fn lost_before_is_settled(site: &mut dyn Site) {
    let (mut brain, _) = start(site, [Fault::LoseBefore]);
    let batch = batch(&brain);
    let lost = brain.try_commit(&batch);
    assert!(matches!(lost, Err(CommitError::Unknown { .. })), "{lost:?}");
    assert!(brain.store.committed(&brain.namespace).expect("readable") < batch.commit, "it did not take effect");
    brain.try_commit(&batch).expect("so it can be committed again");
    assert_eq!(brain.load().rows.len(), 1);
}

fn unknown_stays_unknown(site: &mut dyn Site) {
    let (mut brain, plan) = start(site, [Fault::LoseAfter]);
    plan.refuse_lookups(2);
    let batch = batch(&brain);
    assert!(brain.try_commit(&batch).is_err());
    for _ in 0..2 {
        let error = brain.store.committed(&brain.namespace).expect_err("the script refuses it");
        assert!(error.is_retryable(), "{error}");
    }
    assert_eq!(brain.store.committed(&brain.namespace).expect("readable"), batch.commit);
}

fn fenced_stays_fenced(site: &mut dyn Site) {
    let (mut brain, _) = start(site, [Fault::Fence]);
    let batch = batch(&brain);
    for _ in 0..3 {
        let fenced = brain.try_commit(&batch);
        assert!(matches!(fenced, Err(CommitError::Fenced { .. })), "{fenced:?}");
    }
    assert_eq!(brain.load().rows.len(), 0);
    let held = brain.epoch;
    let mut brain = Brain::start(brain.store);
    assert!(brain.epoch > Epoch(held.0 + 1), "there was another brain between");
    brain.try_commit(&batch).expect("acquired anew");
}

fn violated_goes_on(site: &mut dyn Site) {
    let (mut brain, _) = start(site, [Fault::Violate, Fault::Corrupt]);
    let batch = batch(&brain);
    let violated = brain.try_commit(&batch);
    assert!(matches!(violated, Err(CommitError::Violated { .. })), "{violated:?}");
    let corrupt = brain.try_commit(&batch);
    assert!(matches!(corrupt, Err(CommitError::Corrupt { .. })), "{corrupt:?}");
    drop(brain);
    let mut brain = Brain::start(site.open());
    assert_eq!(brain.load().rows.len(), 0);
    brain.try_commit(&batch).expect("a reload begins anew");
}
