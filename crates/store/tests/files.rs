//! The embedded store's files: who owns them, what stands in their place, what is left of them.

#[path = "files/backup.rs"]
mod backup;
#[path = "files/damage.rs"]
mod damage;
#[path = "files/owner.rs"]
mod owner;
#[path = "files/reads.rs"]
mod reads;
#[path = "files/wal.rs"]
mod wal;

use std::{fs, path::Path};
use unknot_core::{
    row::{HistoryKind, Key, Row},
    run::RunStatus,
};
use unknot_store::{
    SqliteOptions, SqliteStore, StoreError,
    conformance::fixture::{Brain, definition, end_run, entry, finished, put_definition, put_run, run, run_id},
};

fn open(folder: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(folder, &SqliteOptions::default())
}

fn brain(folder: &Path) -> Brain {
    Brain::start(Box::new(open(folder).expect("the folder is free")))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Commits one run, live, in a commit of its own.
fn submit(brain: &mut Brain, after_ms: u64) {
    let flow = definition("flow", 2);
    let new = run(run_id(after_ms), &flow, brain.next());
    brain.commit_with(vec![put_definition(&flow), put_run(&new)], vec![entry(&new, HistoryKind::RunSubmitted)]);
}

/// Ends what [`submit`] began.
fn end(brain: &mut Brain, after_ms: u64) {
    let live = brain.load().rows.into_iter().find_map(|(key, row)| match row {
        Row::Run(run) if key == Key::Run(run_id(after_ms)) => Some(run),
        _ => None,
    });
    let live = live.expect("it was submitted");
    let ended = finished(&live, RunStatus::Completed, brain.next());
    brain.commit_with(end_run(&ended).into(), vec![entry(&live, HistoryKind::RunCompleted)]);
}

/// The files of a folder with their content, to see that nothing was overwritten.
fn content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(folder).expect("a folder").map(|file| file.expect("an entry").path());
    let mut content: Vec<(String, Vec<u8>)> = files
        .filter(|file| file.file_name().is_some_and(|name| name != "lock"))
        .map(|file| (file.display().to_string(), fs::read(&file).unwrap_or_default()))
        .collect();
    content.sort();
    content
}
