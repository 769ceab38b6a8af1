//! Full and read-only disks, real ones: a small tmpfs in a mount namespace of the test's own.
//!
//! The test starts itself again under `unshare`. Where namespaces are refused it says so loudly; the
//! faulty store of the conformance suite then stands for the disk.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};
use unknot_core::{
    CommitSeq,
    row::{Batch, Key, Pause, Row},
};
use unknot_store::{
    CommitError, Refusal, SqliteOptions, SqliteStore, StoreError,
    conformance::fixture::{Brain, START},
};

/// Names the empty folder that the inner tests may mount over.
const INSIDE: &str = "UNKNOT_TEST_MOUNT";

/// Runs one of the inner tests in a mount namespace, with `mount` done first. False where namespaces
/// are refused.
fn run_inside(test: &str, mount: &str) -> bool {
    let probe = Command::new("unshare").args(["-rm", "true"]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        eprintln!("\n*** SKIPPED: {test}: this machine refuses mount namespaces (`unshare -rm`) ***\n");
        return false;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = format!("set -e; {mount}; exec \"$0\" --exact {test} --nocapture --test-threads 1");
    let inside = Command::new("unshare")
        .args(["-rm", "--propagation", "private", "sh", "-c", &script])
        .arg(env::current_exe().expect("this test"))
        .env(INSIDE, folder.path())
        .output()
        .expect("unshare is there");
    let (out, err) = (String::from_utf8_lossy(&inside.stdout), String::from_utf8_lossy(&inside.stderr));
    assert!(inside.status.success() && out.contains("1 passed"), "{out}\n{err}");
    true
}

fn inside() -> Option<PathBuf> {
    env::var_os(INSIDE).map(PathBuf::from)
}

fn open(folder: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(folder, &SqliteOptions::default())
}

#[test]
fn a_full_disk_refuses_and_a_freed_one_goes_on() {
    let mount = format!("mount -t tmpfs -o size=8m none \"${INSIDE}\"");
    run_inside("inside_a_full_disk", &mount);
}

#[test]
fn a_read_only_disk_refuses() {
    let mount = format!(
        "mkdir \"${INSIDE}/rw\" \"${INSIDE}/ro\"; mount -t tmpfs -o size=4m none \"${INSIDE}/rw\";
         mount --bind \"${INSIDE}/rw\" \"${INSIDE}/ro\"; mount -o remount,bind,ro \"${INSIDE}/ro\""
    );
    run_inside("inside_a_read_only_disk", &mount);
}

fn large_batch(brain: &Brain, number: usize) -> Batch {
    let row = Row::PausedWorkflow(Pause { by: "x".repeat(20_000), since: START });
    brain.batch(vec![(Key::PausedWorkflow(format!("{number:06}")), Some(row))], Vec::new())
}

#[test]
fn inside_a_full_disk() {
    let Some(disk) = inside() else { return };
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![1u8; 4 << 20]).expect("there is room");
    let mut brain = Brain::start(Box::new(open(&disk.join("data")).expect("there is room")));
    let mut number = 0;
    let batch = loop {
        let batch = large_batch(&brain, number);
        match brain.try_commit(&batch) {
            Ok(()) => number += 1,
            Err(error) => {
                assert!(matches!(error, CommitError::Refused { refusal: Refusal::DiskFull, .. }), "{error:?}");
                assert_eq!(error.code(), "UK0211");
                break batch;
            }
        }
        assert!(number < 1_000, "the disk is small");
    };
    for _ in 0..5 {
        let again = brain.try_commit(&batch);
        assert!(matches!(again, Err(CommitError::Refused { refusal: Refusal::DiskFull, .. })), "{again:?}");
        assert_eq!(brain.store.committed(&brain.namespace).expect("reading needs no room"), brain.last);
        assert_eq!(brain.load().rows.len(), number, "what was committed is there");
    }
    fs::remove_file(ballast).expect("it is there");
    brain.try_commit(&batch).expect("the same batch goes through once there is room");
    let report = brain.store.maintenance().and_then(|mut upkeep| upkeep.check()).expect("readable");
    assert_eq!(report.problems, Vec::<String>::new());
    drop(brain);
    let mut brain = Brain::start(Box::new(open(&disk.join("data")).expect("a store")));
    assert_eq!((brain.last, brain.load().rows.len()), (batch.commit, number + 1));
}

#[test]
fn inside_a_read_only_disk() {
    let Some(disk) = inside() else { return };
    let mut brain = Brain::start(Box::new(open(&disk.join("rw")).expect("writable")));
    let batch = large_batch(&brain, 0);
    brain.try_commit(&batch).expect("writable");
    drop(brain);
    for folder in [disk.join("ro"), disk.join("ro/new")] {
        let error = open(&folder).err().expect("it cannot be written");
        assert!(matches!(error, StoreError::Unavailable { refusal: Refusal::ReadOnly, .. }), "{error:?}");
        assert_eq!((error.code(), error.is_retryable()), ("UK0212", true));
    }
    let brain = Brain::start(Box::new(open(&disk.join("rw")).expect("writable again")));
    assert_eq!(brain.last, CommitSeq(1));
}
