//! What stands where the store should be, and what is left of one.

use super::{brain, content, end, folder, open, submit};
use rusqlite::Connection;
use std::{fs, os::unix::fs::symlink, path::Path};
use unknot_core::CommitSeq;
use unknot_store::{SqliteOptions, SqliteStore, Store, StoreError};

/// Opening must fail, with this code and a message that contains `says`, and change nothing.
fn assert_refused(folder: &Path, code: &str, says: &str) {
    let before = content(folder);
    let error = open(folder).err().expect("it must not be opened");
    assert_eq!(error.code(), code, "{error}");
    let chain = format!("{error}: {:?}", std::error::Error::source(&error));
    assert!(chain.contains(says), "{chain}");
    assert_eq!(content(folder), before, "nothing may be overwritten");
}

fn database(folder: &Path) -> std::path::PathBuf {
    folder.join("unknot.db")
}

#[test]
fn a_file_instead_of_the_folder_is_refused() {
    let folder = folder();
    let file = folder.path().join("data");
    fs::write(&file, "hello").expect("written");
    let error = open(&file).err().expect("it must not be opened");
    assert_eq!(error.code(), "UK0206");
    assert_eq!(fs::read(&file).expect("readable"), b"hello");
}

#[test]
fn a_folder_instead_of_the_file_is_refused() {
    let folder = folder();
    fs::create_dir(database(folder.path())).expect("made");
    assert_refused(folder.path(), "UK0202", "it is a folder");
}

#[test]
fn a_symbolic_link_is_refused_and_a_linked_folder_is_not() {
    let (real, linked) = (folder(), folder());
    drop(brain(real.path()));
    symlink(database(real.path()), database(linked.path())).expect("linked");
    assert_refused(linked.path(), "UK0202", "symbolic link");
    let alias = linked.path().join("alias");
    symlink(real.path(), &alias).expect("linked");
    let first = open(&alias).expect("the folder's lock is the same by any name");
    assert!(matches!(open(real.path()), Err(StoreError::Owned { .. })));
    drop(first);
}

#[test]
fn other_files_are_refused() {
    let folder = folder();
    fs::write(database(folder.path()), "these are my notes\n".repeat(200)).expect("written");
    assert_refused(folder.path(), "UK0202", "does not begin as a SQLite database");
}

#[test]
fn the_database_of_another_program_is_refused() {
    let folder = folder();
    let other = Connection::open(database(folder.path())).expect("opened");
    other.execute_batch("CREATE TABLE notes (text); INSERT INTO notes VALUES ('mine')").expect("written");
    drop(other);
    assert_refused(folder.path(), "UK0202", "another program");
}

#[test]
fn a_newer_store_is_refused() {
    let folder = folder();
    drop(brain(folder.path()));
    let newer = Connection::open(database(folder.path())).expect("opened");
    newer.pragma_update(None, "user_version", 99).expect("written");
    drop(newer);
    assert_refused(folder.path(), "UK0201", "schema version 99, this program knows up to 5");
    let error = SqliteStore::open_reader(folder.path(), &SqliteOptions::default()).err().expect("not readable either");
    assert_eq!(error.code(), "UK0201");
}

#[test]
fn an_empty_file_is_a_new_store() {
    let folder = folder();
    fs::write(database(folder.path()), "").expect("written");
    assert_eq!(brain(folder.path()).last, CommitSeq(0));
}

#[test]
fn readers_make_no_store() {
    let folder = folder();
    let error = SqliteStore::open_reader(folder.path(), &SqliteOptions::default()).err().expect("there is none");
    assert_eq!(error.code(), "UK0203");
    assert_eq!(content(folder.path()), []);
}

#[test]
fn a_journal_without_its_database_is_kept() {
    for replace in [None, Some("")] {
        let folder = folder();
        let copy = crashed_copy(3);
        fs::rename(copy.path().join("unknot.db-wal"), folder.path().join("unknot.db-wal")).expect("moved");
        if let Some(text) = replace {
            fs::write(database(folder.path()), text).expect("written");
        }
        assert_refused(folder.path(), "UK0204", "missing or empty");
    }
}

/// The files as the death of the process would leave them after so many commits.
fn crashed_copy(commits: u64) -> tempfile::TempDir {
    let (live, copy) = (folder(), folder());
    let mut brain = brain(live.path());
    (1..=commits).for_each(|run| submit(&mut brain, run));
    for file in ["unknot.db", "unknot.db-wal"] {
        fs::copy(live.path().join(file), copy.path().join(file)).expect("copied");
    }
    copy
}

#[test]
fn a_journal_cut_anywhere_gives_an_earlier_commit_whole() {
    let whole = crashed_copy(6);
    let length = fs::metadata(whole.path().join("unknot.db-wal")).expect("there").len();
    let mut seen = Vec::new();
    for cut in (0..=16).map(|part| length * part / 16) {
        let folder = folder();
        for file in ["unknot.db", "unknot.db-wal"] {
            fs::copy(whole.path().join(file), folder.path().join(file)).expect("copied");
        }
        let wal = fs::OpenOptions::new().write(true).open(folder.path().join("unknot.db-wal")).expect("there");
        wal.set_len(cut).expect("cut");
        drop(wal);
        // A file without the schema's own commit reads as a store that was never begun.
        let mut brain = brain(folder.path());
        let runs = brain.load().rows.len().saturating_sub(1) as u64;
        assert_eq!(brain.last.0, runs, "each commit brought one run");
        seen.push(runs);
        drop(brain);
        let report = SqliteStore::check(folder.path()).expect("readable");
        assert_eq!(report.problems, Vec::<String>::new());
    }
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!((seen[0], seen[16]), (0, 6));
}

#[test]
fn a_damaged_database_is_told_and_left_as_it_is() {
    let folder = folder();
    let mut brain = brain(folder.path());
    for run in 1..=200 {
        submit(&mut brain, run);
    }
    (1..=100).for_each(|run| end(&mut brain, run));
    drop(brain);
    let path = database(folder.path());
    let mut bytes = fs::read(&path).expect("readable");
    // Everything but the first two pages.
    bytes[16_384..].iter_mut().step_by(7).for_each(|byte| *byte ^= 0x5A);
    fs::write(&path, &bytes).expect("written");

    let report = SqliteStore::check(folder.path());
    assert!(report.is_err() || report.is_ok_and(|report| !report.is_sound()), "the check finds it");
    let error = match open(folder.path()) {
        Ok(mut store) => store.load(&Default::default()).expect_err("unreadable"),
        Err(error) => error,
    };
    assert_eq!(error.code(), "UK0204", "{error}");
    assert_eq!(fs::read(&path).expect("readable"), bytes, "nothing may be overwritten");
}

#[test]
fn a_cut_database_is_told() {
    let folder = folder();
    let mut brain = brain(folder.path());
    (1..=50).for_each(|run| submit(&mut brain, run));
    drop(brain);
    let file = fs::OpenOptions::new().write(true).open(database(folder.path())).expect("there");
    file.set_len(3 * 8_192 + 100).expect("cut");
    drop(file);
    let error = match open(folder.path()) {
        Ok(mut store) => store.load(&Default::default()).expect_err("unreadable"),
        Err(error) => error,
    };
    assert_eq!(error.code(), "UK0204", "{error}");
}

#[test]
fn a_row_that_cannot_be_understood_stops_the_load() {
    let a_number_for_a_hash = "UPDATE run SET body = json_set(body, '$.definition', 7)";
    assert_unreadable(a_number_for_a_hash, "a run row cannot be read");
    // One digit of a need, say: every task's index is a number, but there is no task of that number.
    let a_need_of_nothing = r#"UPDATE definition SET body = json_set(body, '$.tasks[1].needs',
        json('{"at_least": 1, "of": [{"task": 8, "until": "succeeded"}]}'))"#;
    assert_unreadable(a_need_of_nothing, "`task-1` names a task 8, there are 2");
    let a_fallback_of_nothing =
        r#"UPDATE definition SET body = json_set(body, '$.tasks[0].on_failure', json('{"fallback": 2}'))"#;
    assert_unreadable(a_fallback_of_nothing, "`task-0` names a task 2, there are 2");
}

/// What the edit leaves behind must neither load nor pass the check, and be told.
fn assert_unreadable(edit: &str, says: &str) {
    let folder = folder();
    let mut brain = brain(folder.path());
    submit(&mut brain, 1);
    drop(brain);
    let edited = Connection::open(database(folder.path())).expect("opened");
    assert_eq!(edited.execute(edit, []).expect("edited"), 1);
    drop(edited);
    let mut store = open(folder.path()).expect("the file itself is sound");
    let error = store.load(&Default::default()).expect_err("unreadable");
    assert_eq!(error.code(), "UK0204", "{error}");
    let report = store.maintenance().and_then(|mut upkeep| upkeep.check()).expect("readable");
    assert!(report.problems.iter().any(|problem| problem.contains(says)), "{report:?}");
}

#[test]
fn the_check_finds_what_belongs_to_no_run_and_is_not_counted() {
    let folder = folder();
    let mut brain = brain(folder.path());
    submit(&mut brain, 1);
    end(&mut brain, 1);
    drop(brain);
    let problems = || SqliteStore::check(folder.path()).expect("readable").problems;
    assert_eq!(problems(), Vec::<String>::new());
    let edited = Connection::open(database(folder.path())).expect("opened");
    for (edit, says) in [
        ("INSERT INTO task (ns, run_id, place, body) SELECT 1, 'run_x', 0, '7'", "a task row is there of `run_x`"),
        ("INSERT INTO run_commit VALUES (1, 'run_x', 1)", "a run_commit row is there of `run_x`"),
        ("INSERT INTO finished_label VALUES (1, 'a', 'b', 'run_x')", "a finished_label row is there of `run_x`"),
        ("DELETE FROM finished_count", "0 runs are counted as COMPLETED, 1 are there"),
    ] {
        assert_eq!(edited.execute(edit, []).expect("edited"), 1);
        let problems = problems();
        assert!(problems.iter().any(|problem| problem.contains(says)), "{problems:?}");
    }
}
