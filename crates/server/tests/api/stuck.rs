//! A store whose commit does not come back: what still answers, and that all goes on once it does.

use crate::support::{Served, Setup, sleeps, until};
use serde_json::json;
use std::{
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};
use unknot_engine::{
    core::{
        CommitSeq,
        row::{Batch, Loaded},
    },
    store::{CommitError, Epoch, Maintenance, Namespace, Owner, Reader, Store, StoreError},
};

/// Holds commits up while it is shut.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn shut(&self, shut: bool) {
        *self.0.0.lock().unwrap() = shut;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let held = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(held, |shut| *shut).unwrap());
    }
}

/// Opens the gate at the end of a test, however it ends: or the engine could not stop.
struct Opens(Gate);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.shut(false);
    }
}

/// A store that commits only through an open gate.
struct Gated {
    inner: Box<dyn Store>,
    gate: Gate,
}

impl Store for Gated {
    fn acquire(&mut self, namespace: &Namespace, owner: &Owner) -> Result<Epoch, StoreError> {
        self.inner.acquire(namespace, owner)
    }

    fn load(&mut self, namespace: &Namespace) -> Result<Loaded, StoreError> {
        self.inner.load(namespace)
    }

    fn commit(&mut self, namespace: &Namespace, epoch: Epoch, batch: &Batch) -> Result<(), CommitError> {
        self.gate.pass();
        self.inner.commit(namespace, epoch, batch)
    }

    fn committed(&mut self, namespace: &Namespace) -> Result<CommitSeq, StoreError> {
        self.inner.committed(namespace)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        self.inner.reader()
    }

    fn maintenance(&self) -> Result<Box<dyn Maintenance>, StoreError> {
        self.inner.maintenance()
    }
}

#[test]
fn a_store_that_hangs_in_commit_is_told_and_what_can_be_read_is_read() {
    let gate = Gate::default();
    let for_store = gate.clone();
    let served = Served::on(Setup::default(), move |inner| Box::new(Gated { inner, gate: for_store }));
    let _opens = Opens(gate.clone());
    let run = served.submit(sleeps("one", "1h"));
    let (done, _) = served.complete(sleeps("short", "1ms"));
    gate.shut(true);
    let begun = Instant::now();
    let cancel = served.ask("PUT", &format!("/runs/{run}/cancel")).header("Connection", "close").begin();
    until("/health is red", || served.ask("GET", "/health").send().status == 503);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let health = served.ask("GET", "/health").send().is(503).json();
    assert!(health["reasons"][0].as_str().unwrap().starts_with("the store has not answered for"), "{health}");
    assert!(health["cannot_commit_since"].is_string(), "{health}");

    // Whoever asked is told within seconds, and whoever asks now at once.
    let told = crate::support::Reply::read(cancel, "PUT cancel".to_owned());
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert!(told.header("retry-after").is_some());
    told.problem(503);
    let begun = Instant::now();
    served.ask("POST", "/runs").json(&json!({"workflow": sleeps("two", "1ms")})).send().problem(503);
    served.ask("PUT", "/queues/default/pause").send().problem(503);
    for path in [
        "/runs",
        "/queues",
        "/pools",
        "/workers",
        "/stats",
        "/metrics",
        "/runs/cancelled",
        "/dead-letters",
        "/workflows",
        &format!("/runs/{run}"),
        &format!("/runs/{run}/tasks"),
        &format!("/runs/{run}/cancel"),
        &format!("/runs/{run}/events"),
        &format!("/runs/{done}"),
    ] {
        served.ask("GET", path).send().is(200);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(served.get("/stats")["progress"]["store_asked_at"].is_string());

    gate.shut(false);
    until("/health is green", || served.ask("GET", "/health").send().status == 200);
    served.until_status(&run, "CANCELLED");
    assert_eq!(served.complete(sleeps("short", "1ms")).1, "COMPLETED");
}
