//! The simulated store: the real [`MemoryStore`] behind a layer of faults.
//!
//! A request is answered later, and takes effect only then; until then a crash decides by chance
//! whether it had arrived. What a crash leaves is exactly what the memory store holds.

use crate::chance::Chance;
use std::sync::Arc;
use unknot_core::{
    CommitSeq,
    event::Facts,
    row::{Batch, Loaded},
    run::Idempotency,
};
use unknot_engine::driver::{StoreReport, StoreRequest};
use unknot_store::{CommitError, Epoch, FactsQuery, MemoryStore, Namespace, Owner, Store, StoreError};

/// What will become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is carried out.
    Done,
    /// It leaves no trace and can be tried again.
    Refused,
    /// The connection is lost before it took effect.
    UnknownBefore,
    /// The connection is lost after it took effect.
    UnknownAfter,
    /// The store finds a contradiction that nobody else sees.
    Violated,
}

/// What the store says of a contradiction that is none.
pub const PLANTED: &str = "planted";

/// A store with one request under way at most.
pub struct Disk {
    store: MemoryStore,
    namespace: Namespace,
    epoch: Epoch,
    pending: Option<(StoreRequest, Fate)>,
}

/// What a store did: its word to the driver, and the batch that became durable by it.
pub type Answered = (StoreReport, Option<Arc<Batch>>);

impl Disk {
    /// An empty store.
    pub fn new() -> Self {
        let (store, namespace) = (MemoryStore::new(), Namespace::default());
        Self { store, namespace, epoch: Epoch(0), pending: None }
    }

    /// Takes the namespace for a process that starts, and loads it.
    ///
    /// # Errors
    /// What the store says.
    pub fn open(&mut self) -> Result<Loaded, StoreError> {
        self.epoch = self.store.acquire(&self.namespace, &Owner("simulated".to_owned()))?;
        self.load()
    }

    /// Another process takes the namespace, so that the next commit is fenced.
    ///
    /// # Errors
    /// What the store says.
    pub fn usurp(&mut self) -> Result<(), StoreError> {
        self.store.acquire(&self.namespace, &Owner("another".to_owned())).map(drop)
    }

    /// What is durable now.
    ///
    /// # Errors
    /// What the store says.
    pub fn load(&mut self) -> Result<Loaded, StoreError> {
        self.store.load(&self.namespace)
    }

    /// Takes a request of the driver.
    ///
    /// # Errors
    /// If one is under way already: the driver must not ask twice.
    pub fn ask(&mut self, request: StoreRequest, fate: Fate) -> Result<(), String> {
        match self.pending.replace((request, fate)) {
            None => Ok(()),
            Some((earlier, _)) => Err(format!("a request while another is under way: {earlier:?}")),
        }
    }

    /// Answers the request under way, if there is one.
    ///
    /// # Errors
    /// If the real store finds a contradiction in a batch.
    pub fn answer(&mut self) -> Result<Option<Answered>, String> {
        let Some((request, fate)) = self.pending.take() else { return Ok(None) };
        let lost = || "connection lost".to_owned();
        Ok(Some(match (request, fate) {
            (StoreRequest::Load, Fate::Refused | Fate::UnknownBefore | Fate::UnknownAfter) => {
                (StoreReport::Unloaded("too many open files".to_owned()), None)
            }
            (StoreRequest::Load, _) => {
                (self.load().map_or_else(broken, |rows| StoreReport::Loaded(Box::new(rows))), None)
            }
            (StoreRequest::Resolve, Fate::Done | Fate::Violated) => {
                (self.store.committed(&self.namespace).map_or_else(broken, StoreReport::Resolved), None)
            }
            (StoreRequest::Resolve, _) | (StoreRequest::Commit(_), Fate::UnknownBefore) => {
                (StoreReport::Unknown(lost()), None)
            }
            (StoreRequest::Commit(_), Fate::Refused) => (StoreReport::Refused("disk full".to_owned()), None),
            (StoreRequest::Commit(_), Fate::Violated) => (StoreReport::Violated(PLANTED.to_owned()), None),
            (StoreRequest::Commit(batch), Fate::UnknownAfter) => match self.commit(batch)? {
                (StoreReport::Committed, durable) => (StoreReport::Unknown(lost()), durable),
                other => other,
            },
            (StoreRequest::Commit(batch), Fate::Done) => self.commit(batch)?,
        }))
    }

    /// The process is gone. What was under way had arrived, or had not. Returns what became durable.
    ///
    /// # Errors
    /// If the real store finds a contradiction in a batch.
    pub fn crash(&mut self, chance: &mut Chance) -> Result<Option<Arc<Batch>>, String> {
        match self.pending.take() {
            Some((StoreRequest::Commit(batch), Fate::Done | Fate::UnknownAfter)) if chance.permille(500) => {
                Ok(self.commit(batch)?.1)
            }
            _ => Ok(None),
        }
    }

    /// What a command has to know of finished runs, read now.
    ///
    /// # Errors
    /// What the store says.
    pub fn facts(&mut self, key: Option<&Idempotency>) -> Result<Facts, StoreError> {
        let query = FactsQuery { idempotency_key: key.map(|own| own.key.clone()), run: None };
        let found = self.store.reader()?.facts(&self.namespace, &query)?;
        Ok(Facts { as_of: found.as_of, key_owner: found.key_owner, ended: found.ended })
    }

    /// The newest durable commit.
    pub fn committed(&mut self) -> CommitSeq {
        self.store.committed(&self.namespace).unwrap_or_default()
    }

    fn commit(&mut self, batch: Arc<Batch>) -> Result<Answered, String> {
        match self.store.commit(&self.namespace, self.epoch, &batch) {
            Ok(()) => Ok((StoreReport::Committed, Some(batch))),
            Err(CommitError::Fenced { .. }) => Ok((StoreReport::Fenced("a newer epoch".to_owned()), None)),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}

fn broken(error: StoreError) -> StoreReport {
    StoreReport::Corrupt(error.to_string())
}
