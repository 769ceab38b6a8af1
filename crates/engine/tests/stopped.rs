//! A thread of the engine fails: everybody who waits for it is told.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests are free of the bans")]

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};
use unknot_engine::{
    CommandError, Engine, Options, Submit,
    core::{
        CommitSeq,
        row::{Batch, Loaded},
        settings::Settings,
        workflow::{Definition, Stored},
    },
    store::{CommitError, Epoch, Maintenance, MemoryStore, Namespace, Owner, Reader, Retention, Store, StoreError},
};
use unknot_hands::GuardCommand;

/// A store with a defect: it panics as soon as there is a run.
struct Defective(MemoryStore);

impl Store for Defective {
    fn acquire(&mut self, namespace: &Namespace, owner: &Owner) -> Result<Epoch, StoreError> {
        self.0.acquire(namespace, owner)
    }

    fn load(&mut self, namespace: &Namespace) -> Result<Loaded, StoreError> {
        self.0.load(namespace)
    }

    fn commit(&mut self, namespace: &Namespace, epoch: Epoch, batch: &Batch) -> Result<(), CommitError> {
        assert!(batch.history.is_empty(), "a planted defect");
        self.0.commit(namespace, epoch, batch)
    }

    fn committed(&mut self, namespace: &Namespace) -> Result<CommitSeq, StoreError> {
        self.0.committed(namespace)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        self.0.reader()
    }

    fn maintenance(&self) -> Result<Box<dyn Maintenance>, StoreError> {
        self.0.maintenance()
    }
}

#[test]
fn who_waits_for_a_thread_that_failed_is_told() {
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
    let engine = Engine::start(Box::new(Defective(MemoryStore::default())), options).expect("an engine");
    let stored = serde_json::json!({"hash": "one", "name": "one", "timeout": 60_000, "tasks": [
        {"name": "a", "kind": "noop", "needs": {"at_least": 0, "of": []}},
    ]});
    let submit = Submit {
        definition: Arc::new(Definition::new(serde_json::from_value::<Stored>(stored).expect("a definition"))),
        input: serde_json::json!({}),
        labels: BTreeMap::new(),
        client_id: None,
        idempotency: None,
        source: None,
        start_at: None,
    };
    match engine.submit(submit) {
        Err(CommandError::Stopped { cause }) => assert!(cause.contains("the store's thread failed"), "{cause}"),
        other => panic!("{other:?}"),
    }
}
