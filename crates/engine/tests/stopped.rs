//! The store stops the engine, for a while or for good: everybody who waits for it is told.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests are free of the bans")]

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, mpsc::sync_channel},
    thread,
};
use tempfile::TempDir;
use unknot_engine::{
    CommandError, Engine, Options, Submit,
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
        focus: None,
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
    Submit {
        definition: Arc::new(Definition::new(serde_json::from_value::<Stored>(stored).expect("a definition"))),
        input: serde_json::json!({}),
        labels: BTreeMap::new(),
        client_id: None,
        idempotency: None,
        source: None,
        start_at: None,
        takes_over: None,
    }
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
