//! The store stops the engine, for a while or for good: everybody who waits for it is told.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests are free of the bans")]

use serde_json::Value;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, mpsc::sync_channel},
    thread,
};
use tempfile::TempDir;
use unknot_engine::{
    CommandError, Engine, Options, STATUS, Submit,
    core::{
        event::PauseTarget,
        settings::Settings,
        workflow::{Definition, Stored},
    },
    store::{Fault, FaultPlan, FaultyStore, MemoryStore, Namespace, Refusal, Retention},
};
use unknot_hands::GuardCommand;

/// An engine whose settings are stored, and the script of what its store does from then on.
fn engine() -> (Engine, FaultPlan, TempDir) {
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
    let plan = FaultPlan::default();
    let store = FaultyStore::new(MemoryStore::default(), plan.clone());
    let engine = Engine::start(Box::new(store), options).expect("an engine");
    engine.pause(PauseTarget::Queue("default".to_owned()), "a test").expect("it is held");
    (engine, plan, folder)
}

fn submit() -> Submit {
    let stored = serde_json::json!({"hash": "one", "name": "one", "timeout": 60_000, "tasks": [
        {"name": "a", "kind": "noop", "needs": {"at_least": 0, "of": []}},
    ]});
    Submit::of(Arc::new(Definition::new(serde_json::from_value::<Stored>(stored).expect("a definition"))))
}

#[test]
fn who_waits_for_a_thread_that_failed_is_told() {
    let (engine, plan, _folder) = engine();
    plan.extend([Fault::Delay(Arc::new(|| panic!("a planted defect")))]);
    for _ in 0..2 {
        match engine.submit(submit()) {
            Err(CommandError::Stopped { cause }) => assert!(cause.contains("the store's thread failed"), "{cause}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn commands_are_refused_at_once_while_nothing_can_be_committed() {
    let (engine, plan, _folder) = engine();
    let (goes_on, held) = sync_channel::<()>(0);
    let held = Mutex::new(held);
    let hold = move || held.lock().expect("one thread waits").recv().expect("the test goes on");
    plan.extend([Fault::Refuse(Refusal::DiskFull), Fault::Delay(Arc::new(hold))]);
    let first = engine.submit_ahead(submit()).expect("nobody knows yet");
    while engine.health().blocked.is_none() {
        thread::yield_now();
    }
    match engine.submit(submit()) {
        Err(CommandError::Blocked { cause, .. }) => assert!(cause.contains("the disk is full"), "{cause}"),
        other => panic!("{other:?}"),
    }
    goes_on.send(()).expect("the store waits for it");
    first.wait().expect("it was before the brain, and is durable now");
    assert_eq!(engine.health().blocked, None);
}

/// What the watcher wrote last, once it holds something.
fn status(folder: &TempDir, holds: impl Fn(&Value) -> bool) -> Value {
    loop {
        let text = std::fs::read_to_string(folder.path().join(STATUS)).unwrap_or_default();
        match serde_json::from_str(&text) {
            Ok(status) if holds(&status) => return status,
            _ => thread::yield_now(),
        }
    }
}

#[test]
fn the_status_file_says_what_each_part_does_and_goes_with_a_clean_end() {
    let (engine, plan, folder) = engine();
    let (goes_on, held) = sync_channel::<()>(0);
    let held = Mutex::new(held);
    let hold = move || held.lock().expect("one thread waits").recv().expect("the test goes on");
    plan.extend([Fault::Delay(Arc::new(hold))]);
    let submitted = engine.submit_ahead(submit()).expect("the brain hears it");
    // The brain has something to tell behind the commit that it has asked for; then it waits, as long as the store does.
    let does = |status: &Value, part: &str, doing: &str| status["parts"][part]["doing"] == doing;
    let status = status(&folder, |status| does(status, "store", "committing") && does(status, "brain", "waiting"));
    assert_eq!((&status["stopped"], &status["late_since"]), (&Value::Null, &Value::Null));
    goes_on.send(()).expect("the store waits for it");
    submitted.wait().expect("it is durable");
    engine.stop();
    assert!(!folder.path().join(STATUS).exists());
}

#[test]
fn the_status_file_of_an_engine_that_failed_says_why() {
    let (engine, plan, folder) = engine();
    plan.extend([Fault::Delay(Arc::new(|| panic!("a planted defect")))]);
    engine.submit(submit()).expect_err("the store's thread fails");
    engine.stop();
    let status = status(&folder, |_| true);
    assert!(status["stopped"].as_str().is_some_and(|cause| cause.contains("the store's thread failed")), "{status}");
}
