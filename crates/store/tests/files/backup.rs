//! Copies of a store in use.

use super::{brain, content, folder, open, submit};
use std::{fs, ops::ControlFlow};
use unknot_core::CommitSeq;
use unknot_store::{SqliteStore, StoreError, conformance::fixture::Brain};

#[test]
fn a_backup_is_one_commit_whole_while_work_goes_on() {
    let (data, elsewhere) = (folder(), folder());
    let mut brain = brain(data.path());
    (1..=20).for_each(|run| submit(&mut brain, run));
    let target = elsewhere.path().join("copy.db");
    let mut upkeep = brain.store.maintenance().expect("the store is open");
    let (mut steps, mut run) = (0, 20);
    let progress = &mut |progress: unknot_store::BackupProgress| {
        assert!(progress.pages_done <= progress.pages_total && progress.pages_total > 0);
        assert!(!target.exists(), "the name appears with the whole copy");
        steps += 1;
        run += 1;
        submit(&mut brain, run);
        ControlFlow::Continue(())
    };
    upkeep.backup(&target, progress).expect("nothing in the way");
    assert!(steps > 0);
    assert_eq!(content(elsewhere.path()).len(), 1, "one file, nothing beside it");

    // It becomes a store by standing in a folder under the store's name.
    let restored = folder();
    fs::rename(&target, restored.path().join("unknot.db")).expect("moved");
    let report = SqliteStore::check(restored.path()).expect("readable");
    assert_eq!(report.problems, Vec::<String>::new());
    let mut brain = Brain::start(Box::new(open(restored.path()).expect("a store")));
    assert_eq!(brain.last, CommitSeq(20), "commits made meanwhile are not in it");
    assert_eq!(brain.load().rows.len(), 21);
    submit(&mut brain, 99);
}

#[test]
fn a_backup_replaces_nothing_and_leaves_nothing_when_stopped() {
    let (data, elsewhere) = (folder(), folder());
    let mut brain = brain(data.path());
    submit(&mut brain, 1);
    let target = elsewhere.path().join("copy.db");
    let stopped = SqliteStore::backup(data.path(), &target, &mut |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(StoreError::BackupStopped)), "{stopped:?}");
    assert_eq!(content(elsewhere.path()), []);
    fs::write(&target, "precious").expect("written");
    let refused = SqliteStore::backup(data.path(), &target, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(StoreError::BackupTarget { .. })), "{refused:?}");
    assert_eq!(fs::read(&target).expect("readable"), b"precious");
    let nowhere = elsewhere.path().join("no such folder/copy.db");
    let refused = SqliteStore::backup(data.path(), &nowhere, &mut |_| ControlFlow::Continue(()));
    assert_eq!(refused.expect_err("there is no folder").code(), "UK0232");
}
