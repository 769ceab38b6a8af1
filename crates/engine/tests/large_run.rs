//! A run too large for one row leaves a row for each of its tasks, and each says how its task ended.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests are free of the bans")]

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};
use tempfile::TempDir;
use unknot_engine::{
    Engine, Heard, Options, Submit,
    core::{
        RunId,
        row::HistoryKind,
        run::TaskStatus,
        settings::Settings,
        workflow::{Definition, Stored},
    },
    store::{MemoryStore, Namespace, PageSize, Retention},
};
use unknot_hands::GuardCommand;

const TASKS: usize = 500;

/// So many tasks that only wait; the second half needs one of the first, which never come to their end
/// by themselves if `length_ms` is long.
fn definition(length_ms: u64) -> Arc<Definition> {
    let task = |index: usize| {
        let needs = if index < TASKS / 2 { vec![] } else { vec![index - TASKS / 2] };
        let of: Vec<_> = needs.iter().map(|need| serde_json::json!({"task": need, "until": "succeeded"})).collect();
        let needs = serde_json::json!({"at_least": of.len(), "of": of});
        serde_json::json!({"name": format!("t{index}"), "kind": {"sleep": length_ms}, "needs": needs})
    };
    let tasks: Vec<_> = (0..TASKS).map(task).collect();
    let stored = serde_json::json!({"hash": "large", "name": "large", "timeout": 600_000, "tasks": tasks});
    Arc::new(Definition::new(serde_json::from_value::<Stored>(stored).expect("a definition")))
}

fn engine() -> (Engine, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = Options {
        data: folder.path().to_owned(),
        namespace: Namespace::default(),
        slots: 0,
        settings: Settings::default(),
        guard: GuardCommand { program: PathBuf::from("/nonexistent"), args: Vec::new() },
        retention: Retention::default(),
        alerts: Default::default(),
        focus: None,
        door: None,
    };
    (Engine::start(Box::new(MemoryStore::default()), options).expect("an engine"), folder)
}

fn submit(engine: &Engine, length_ms: u64) -> RunId {
    let submit = Submit::of(definition(length_ms));
    engine.submit(submit).expect("it is accepted").run
}

fn statuses_after(engine: &Engine, end: HistoryKind, act: impl FnOnce() -> RunId) -> BTreeMap<TaskStatus, usize> {
    let heard = engine.subscribe();
    let run = act();
    loop {
        match heard.next(Duration::from_secs(20)) {
            Heard::Lines(lines) if lines.entries.iter().any(|line| line.event == end) => break,
            Heard::Lines(_) => {}
            other => panic!("the run did not end: {other:?}"),
        }
    }
    let page = engine
        .read(|reader, namespace| reader.tasks(namespace, run, None, PageSize::new(TASKS)))
        .expect("its tasks can be read")
        .value;
    let mut counts = BTreeMap::new();
    for (_, task) in page.items {
        *counts.entry(task.status()).or_default() += 1;
    }
    counts
}

#[test]
fn every_task_of_a_completed_large_run_is_stored_as_completed() {
    let (engine, _folder) = engine();
    let counts = statuses_after(&engine, HistoryKind::RunCompleted, || submit(&engine, 0));
    assert_eq!(counts, BTreeMap::from([(TaskStatus::Completed, TASKS)]));
}

#[test]
fn every_task_of_a_cancelled_large_run_is_stored_as_cancelled() {
    let (engine, _folder) = engine();
    let counts = statuses_after(&engine, HistoryKind::RunCancelled, || {
        let run = submit(&engine, 60_000);
        engine.cancel(run, "enough", "test", false).expect("it is cancelled");
        run
    });
    assert_eq!(counts, BTreeMap::from([(TaskStatus::Cancelled, TASKS)]));
}
