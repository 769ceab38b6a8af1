//! The suite, on every store.

use std::path::Path;
use unknot_store::{
    FaultPlan, FaultyStore, MemoryStore, SqliteOptions, SqliteStore, Store,
    conformance::{self, Site},
};

struct Memory(MemoryStore);

impl Site for Memory {
    fn open(&mut self) -> Box<dyn Store> {
        Box::new(self.0.clone())
    }
}

struct Sqlite(tempfile::TempDir);

impl Sqlite {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn data(&self) -> &Path {
        self.0.path()
    }
}

impl Site for Sqlite {
    fn open(&mut self) -> Box<dyn Store> {
        Box::new(SqliteStore::open(self.data(), &SqliteOptions::default()).expect("the folder is free"))
    }
}

/// Whatever another site opens, wrapped in a faulty store without a fault.
struct Wrapped<S>(S);

impl<S: Site> Site for Wrapped<S> {
    fn open(&mut self) -> Box<dyn Store> {
        Box::new(FaultyStore::new(self.0.open(), FaultPlan::default()))
    }
}

#[test]
fn memory_conforms() {
    conformance::run(|| Memory(MemoryStore::new()));
}

#[test]
fn sqlite_conforms() {
    conformance::run(Sqlite::new);
}

#[test]
fn wrapped_memory_conforms() {
    conformance::run(|| Wrapped(Memory(MemoryStore::new())));
}

#[test]
fn wrapped_sqlite_conforms() {
    conformance::run(|| Wrapped(Sqlite::new()));
}
