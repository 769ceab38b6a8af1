//! One process owns a folder.

use super::{brain, folder, open, submit};
use std::{
    env,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, Stdio},
};
use unknot_core::CommitSeq;
use unknot_store::{SqliteOptions, SqliteStore, StoreError};

/// Names the folder that a child process of a test shall hold.
const HOLD: &str = "UNKNOT_TEST_HOLD";

#[test]
fn a_second_owner_is_told_who_the_first_is() {
    let folder = folder();
    let first = open(folder.path()).expect("the folder is free");
    match open(folder.path()) {
        Err(error @ StoreError::Owned { pid: Some(pid), .. }) => {
            assert_eq!(pid, std::process::id());
            assert!(error.to_string().contains(&format!("another process (pid {pid}) owns the store")), "{error}");
            assert_eq!(error.code(), "UK0200");
        }
        other => panic!("expected a refusal, got {:?}", other.map(|_| "a store")),
    }
    drop(first);
    open(folder.path()).expect("the first is gone");
}

#[test]
fn upkeep_that_is_still_running_keeps_the_folder() {
    use unknot_store::Store;
    let folder = folder();
    let store = open(folder.path()).expect("the folder is free");
    let upkeep = store.maintenance().expect("the store is open");
    drop(store);
    assert!(matches!(open(folder.path()), Err(StoreError::Owned { .. })));
    drop(upkeep);
    open(folder.path()).expect("nobody writes any more");
}

/// Not a test by itself: the process that [`kill_9_frees_the_folder`] starts and kills.
#[test]
fn hold_until_killed() {
    let Some(folder) = env::var_os(HOLD).map(PathBuf::from) else { return };
    let mut brain = brain(&folder);
    submit(&mut brain, 1);
    println!("\nheld");
    // Until the parent kills this process, or dies itself.
    std::io::stdin().read_to_end(&mut Vec::new()).expect("a pipe");
}

fn spawn_holder(folder: &std::path::Path) -> Child {
    let mut child = Command::new(env::current_exe().expect("this test"))
        .args(["--exact", "owner::hold_until_killed", "--nocapture"])
        .env(HOLD, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test starts itself");
    let output = BufReader::new(child.stdout.take().expect("a pipe"));
    let is_held = output.lines().map_while(Result::ok).any(|line| line == "held");
    assert!(is_held, "the child opened the store");
    child
}

#[test]
fn kill_9_frees_the_folder() {
    let folder = folder();
    let mut child = spawn_holder(folder.path());
    match open(folder.path()) {
        Err(StoreError::Owned { pid, .. }) => assert_eq!(pid, Some(child.id())),
        other => panic!("expected a refusal, got {:?}", other.map(|_| "a store")),
    }
    let mut reader = SqliteStore::open_reader(folder.path(), &SqliteOptions::default()).expect("readers need no lock");
    assert_eq!(reader.counts(&Default::default()).expect("readable").as_of, CommitSeq(1));
    drop(reader);
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
    let mut brain = brain(folder.path());
    assert_eq!(brain.last, CommitSeq(1));
    assert_eq!(brain.load().rows.len(), 2, "a definition and a run");
}
