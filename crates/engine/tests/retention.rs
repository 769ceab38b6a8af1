//! Folders of old runs go in small slices, and nobody waits for them.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests are free of the bans")]

use std::{
    fs,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use unknot_engine::{
    ATTEMPTS, Engine, Heard, Options, Submit,
    core::{
        Millis, RunId,
        row::HistoryKind,
        settings::Settings,
        workflow::{Definition, Stored},
    },
    store::{MemoryStore, Namespace, Retention},
};
use unknot_hands::GuardCommand;

const FILES: usize = 10_000;

fn start(store: &MemoryStore, data: &Path, keep: Millis) -> Engine {
    let options = Options {
        data: data.to_path_buf(),
        namespace: Namespace::default(),
        slots: 0,
        settings: Settings::default(),
        guard: GuardCommand { program: "/nonexistent".into(), args: Vec::new() },
        retention: Retention { keep, ..Retention::default() },
        alerts: Default::default(),
        focus: None,
        door: None,
    };
    Engine::start(Box::new(store.clone()), options).expect("an engine")
}

/// A run that has come to its end.
fn finished(engine: &Engine) -> RunId {
    let stored = serde_json::json!({
        "hash": "old", "name": "old", "timeout": 600_000, "tasks": [{"name": "a", "kind": {"sleep": 0}}],
    });
    let heard = engine.subscribe();
    let submit = Submit::of(Arc::new(Definition::new(serde_json::from_value::<Stored>(stored).expect("a definition"))));
    let run = engine.submit(submit).expect("it is accepted").run;
    loop {
        match heard.next(Duration::from_secs(20)) {
            Heard::Lines(lines) if lines.entries.iter().any(|line| line.event == HistoryKind::RunCompleted) => {
                return run;
            }
            Heard::Lines(_) => {}
            other => panic!("the run did not end: {other:?}"),
        }
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_end_does_not_wait_for_the_folders_of_old_runs() {
    let (store, data) = (MemoryStore::default(), tempfile::tempdir().expect("a folder"));
    let engine = start(&store, data.path(), Millis::from_days(1));
    let run = finished(&engine);
    engine.stop();
    let folder = data.path().join(ATTEMPTS).join(run.to_string()).join("a/att/artifacts");
    fs::create_dir_all(&folder).expect("made");
    for file in 0..FILES {
        fs::write(folder.join(file.to_string()), b"").expect("written");
    }
    let left = || fs::read_dir(&folder).map(Iterator::count).unwrap_or_default();

    let engine = start(&store, data.path(), Millis(0));
    until("its files begin to go", || left() < FILES);
    engine.stop();
    let left_over = left();
    assert!((1..FILES).contains(&left_over), "{left_over} files are left");

    let engine = start(&store, data.path(), Millis(0));
    until("the rest goes as well", || !data.path().join(ATTEMPTS).join(run.to_string()).exists());
    engine.stop();
}
