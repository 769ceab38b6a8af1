//! Bounds on readers, and the views for people.

use super::{brain, end, folder, submit};
use rusqlite::Connection;
use std::time::Duration;
use unknot_store::{PageSize, RunFilter, SqliteOptions, SqliteStore, Store, StoreError};

#[test]
fn a_read_past_its_time_is_ended() {
    let folder = folder();
    let options = SqliteOptions { read_limit: Duration::ZERO, ..SqliteOptions::default() };
    let mut brain = brain(folder.path());
    (1..=50).for_each(|run| submit(&mut brain, run));
    let mut hasty = SqliteStore::open_reader(folder.path(), &options).expect("readable");
    let error = hasty.runs(&brain.namespace, &RunFilter::default(), None, PageSize::MAX).expect_err("no time at all");
    assert!(matches!(error, StoreError::TooSlow { limit: Duration::ZERO }), "{error}");
    assert_eq!(error.code(), "UK0230");
}

#[test]
fn readers_are_counted() {
    let folder = folder();
    let options = SqliteOptions { readers_max: 2, ..SqliteOptions::default() };
    let store = SqliteStore::open(folder.path(), &options).expect("the folder is free");
    let (first, _second) = (store.reader().expect("the first"), store.reader().expect("the second"));
    let error = store.reader().err().expect("no third");
    assert_eq!((error.code(), error.is_retryable()), ("UK0231", true));
    drop(first);
    store.reader().expect("there is room again");
}

#[test]
fn a_rare_match_is_found_over_several_pages() {
    let folder = folder();
    let mut brain = brain(folder.path());
    for run in 1..=6_000 {
        if run % 2_000 == 1 {
            submit(&mut brain, run);
        } else {
            // Runs of another workflow, many to a commit.
            let flow = unknot_store::conformance::fixture::definition("other", 1);
            let ids = (run % 2_000 == 2).then(|| run..run + 1_999);
            let model = unknot_store::conformance::fixture::run(super::run_id(run), &flow, brain.next());
            let changes = ids
                .into_iter()
                .flatten()
                .map(|id| super::put_run(&unknot_core::run::Run { id: super::run_id(id), ..model.clone() }));
            let mut changes: Vec<_> = changes.collect();
            changes.push(super::put_definition(&flow));
            if changes.len() > 1 {
                brain.commit(changes);
            }
        }
    }
    let filter = RunFilter { workflow: Some("flow".into()), ..RunFilter::default() };
    let mut reader = brain.reader();
    let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = reader.runs(&brain.namespace, &filter, after, PageSize::new(10)).expect("readable").value;
        found.extend(page.items.into_iter().map(|run| run.id));
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, [super::run_id(4_001), super::run_id(2_001), super::run_id(1)]);
    assert!(pages > 1, "each page looks at so many runs only");
}

#[test]
fn people_can_read_it_with_a_shell() {
    let folder = folder();
    let mut brain = brain(folder.path());
    submit(&mut brain, 1);
    submit(&mut brain, 2);
    end(&mut brain, 1);
    let shell = Connection::open(folder.path().join("unknot.db")).expect("opened");
    let table = |sql: &str| -> Vec<String> {
        let mut statement = shell.prepare(sql).expect("a view");
        let rows = statement.query_map([], |row| row.get(0)).expect("rows");
        rows.collect::<Result<_, _>>().expect("text")
    };
    let runs =
        "SELECT concat_ws(' ', namespace, run_id, status, workflow, submitted, ended) FROM v_runs ORDER BY run_id";
    let (one, two) = (super::run_id(1), super::run_id(2));
    assert_eq!(
        table(runs),
        [
            format!("default {one} COMPLETED flow 2023-11-14T22:13:20.001Z 2023-11-14T22:13:21.001Z"),
            format!("default {two} RUNNING flow 2023-11-14T22:13:20.002Z"),
        ]
    );
    let tasks = "SELECT concat_ws(' ', run_id, place, task, status, attempts) FROM v_tasks ORDER BY run_id, place";
    assert_eq!(
        table(tasks),
        [
            format!("{one} 0 task-0 COMPLETED 1"),
            format!("{one} 1 task-1 COMPLETED 1"),
            format!("{two} 0 task-0 RUNNING 1"),
            format!("{two} 1 task-1 RUNNING 1"),
        ]
    );
    let events = "SELECT concat_ws(' ', run_id, commit_seq, line, event) FROM v_events ORDER BY commit_seq, line";
    assert_eq!(
        table(events),
        [format!("{one} 1 0 RUN_SUBMITTED"), format!("{two} 2 0 RUN_SUBMITTED"), format!("{one} 3 0 RUN_COMPLETED"),]
    );
}
