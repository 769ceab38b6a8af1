//! A store in memory: for tests and the simulator.
//!
//! It keeps what a disk would give back: each row goes through its stored text, and a row that does
//! not come back equal is refused as a bug at the commit that brings it.

mod reader;
mod upkeep;

use crate::{
    Epoch, Maintenance, Namespace, Owner, Reader, Store, StoreError,
    body::{Encoder, Kind, decode, pinned},
    changes::Changes,
    error::CommitError,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use unknot_core::{
    CommitSeq, RunId,
    row::{Batch, HistoryEntry, Key, Loaded, Meta, Row},
    run::Idempotency,
    workflow::DefinitionHash,
};

/// A store in memory.
///
/// A clone is another handle on the same rows, as a file opened again is: dropping everything but a
/// clone is the death of the process. [`MemoryStore::fork`] copies the rows themselves.
#[derive(Clone, Default)]
pub struct MemoryStore {
    disk: Disk,
}

/// The rows, shared by all handles.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<BTreeMap<Namespace, Space>>>);

/// The rows of one namespace.
#[derive(Clone, Default)]
struct Space {
    epoch: Epoch,
    commit: CommitSeq,
    meta: Meta,
    rows: BTreeMap<Key, Kept>,
    history: BTreeMap<CommitSeq, KeptHistory>,
    /// Live and finished runs by idempotency key.
    keys: BTreeMap<String, RunId>,
    /// Pruned runs whose folders may still be there.
    pruned: BTreeSet<RunId>,
}

#[derive(Clone)]
struct Kept {
    row: Row,
    bytes: usize,
}

/// What a batch does to the idempotency keys.
struct KeyChanges<'a> {
    freed: BTreeSet<&'a str>,
    taken: BTreeMap<&'a str, RunId>,
}

#[derive(Clone)]
struct KeptHistory {
    entries: Vec<HistoryEntry>,
    bytes: usize,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store of its own with the same rows.
    pub fn fork(&self) -> Self {
        Self { disk: Disk(Arc::new(Mutex::new(self.disk.lock().clone()))) }
    }
}

impl Store for MemoryStore {
    fn acquire(&mut self, namespace: &Namespace, _: &Owner) -> Result<Epoch, StoreError> {
        let mut disk = self.disk.lock();
        let space = disk.entry(namespace.clone()).or_default();
        space.epoch.0 += 1;
        Ok(space.epoch)
    }

    fn load(&mut self, namespace: &Namespace) -> Result<Loaded, StoreError> {
        Ok(self.disk.lock().get(namespace).map(Space::live).unwrap_or_default())
    }

    fn commit(&mut self, namespace: &Namespace, epoch: Epoch, batch: &Batch) -> Result<(), CommitError> {
        let mut disk = self.disk.lock();
        let current = disk.get(namespace).map(|space| space.epoch).unwrap_or_default();
        match disk.get_mut(namespace) {
            Some(space) if space.epoch == epoch => space.commit(batch),
            _ => Err(CommitError::Fenced { held: epoch, current }),
        }
    }

    fn committed(&mut self, namespace: &Namespace) -> Result<CommitSeq, StoreError> {
        Ok(self.disk.lock().get(namespace).map(|space| space.commit).unwrap_or_default())
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        Ok(Box::new(reader::MemoryReader::new(self.disk.clone())))
    }

    fn maintenance(&self) -> Result<Box<dyn Maintenance>, StoreError> {
        Ok(Box::new(upkeep::MemoryMaintenance::new(self.disk.clone())))
    }
}

impl Disk {
    /// A panic elsewhere does not take the rows away: a commit changes them only once it cannot fail.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Namespace, Space>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Space {
    fn live(&self) -> Loaded {
        let named: BTreeSet<&DefinitionHash> = self.rows.values().flat_map(|kept| pinned(&kept.row)).collect();
        let is_live = |key: &Key| match key {
            Key::Definition(hash) => named.contains(hash),
            Key::Task(task) => self.rows.contains_key(&Key::Run(task.run)),
            other => Kind::of(other).is_live(),
        };
        let rows = self.rows.iter().filter(|(key, _)| is_live(key));
        Loaded {
            commit: self.commit,
            meta: self.meta,
            rows: rows.map(|(key, kept)| (key.clone(), kept.row.clone())).collect(),
        }
    }

    /// Checks everything first, then changes: a refusal leaves the rows as they were.
    fn commit(&mut self, batch: &Batch) -> Result<(), CommitError> {
        if batch.commit.0 != self.commit.0 + 1 {
            return Err(CommitError::out_of_order(batch.commit, self.commit));
        }
        let violated = |detail| CommitError::Violated { detail };
        let changes = Changes::of(batch).map_err(violated)?;
        let kept = changes.puts.iter().map(|&(key, row)| keep(key, row)).collect::<Result<Vec<_>, _>>();
        let kept = kept.map_err(violated)?;
        let mut encoder = Encoder::default();
        let history_bytes = encoder.history(&batch.history).map_err(violated)?.len();
        self.check_definitions(&changes, batch)?;
        if let Some((key, _)) = changes.puts.iter().find(|(key, _)| self.has_ended(key)) {
            return Err(violated(format!("{key:?} is there already: a run ends once")));
        }
        let KeyChanges { freed, taken } = self.key_changes(&changes).map_err(violated)?;
        let freed: Vec<String> = freed.into_iter().map(String::from).collect();
        let taken: Vec<(String, RunId)> = taken.into_iter().map(|(key, run)| (key.into(), run)).collect();

        for key in &changes.deletes {
            self.rows.remove(key);
        }
        self.rows.extend(kept);
        for key in &freed {
            self.keys.remove(key);
        }
        self.keys.extend(taken);
        if !batch.history.is_empty() {
            self.history.insert(batch.commit, KeptHistory { entries: batch.history.clone(), bytes: history_bytes });
        }
        self.commit = batch.commit;
        self.meta = batch.meta;
        Ok(())
    }

    /// Which idempotency keys the changes free, and which they give to whom; refuses a second owner.
    fn key_changes<'a>(&'a self, changes: &Changes<'a>) -> Result<KeyChanges<'a>, String> {
        let deleted = changes.deletes.iter().filter_map(|key| idempotency(&self.rows.get(key)?.row));
        let freed: BTreeSet<&str> = deleted.map(|owned| owned.key.as_str()).collect();
        let mut taken = BTreeMap::new();
        for (_, row) in &changes.puts {
            let (Some(owned), Some(run)) = (idempotency(row), run_of(row)) else { continue };
            let key = owned.key.as_str();
            let kept = self.keys.get(key).filter(|_| !freed.contains(key));
            let owner = *kept.unwrap_or_else(|| taken.entry(key).or_insert(run));
            if owner != run {
                return Err(format!("the idempotency key `{key}` belongs to {owner} and to {run}"));
            }
        }
        Ok(KeyChanges { freed, taken })
    }

    fn has_ended(&self, key: &Key) -> bool {
        matches!(key, Key::Finished(_)) && self.rows.contains_key(key)
    }

    fn check_definitions(&self, changes: &Changes<'_>, batch: &Batch) -> Result<(), CommitError> {
        let is_put = |key: &Key| changes.puts.iter().any(|(put, _)| *put == key);
        for hash in changes.tally(batch).definition_users.into_keys() {
            let key = Key::Definition(hash.clone());
            if !self.rows.contains_key(&key) && !is_put(&key) {
                return Err(CommitError::undefined(&hash.0));
            }
        }
        Ok(())
    }
}

/// The row as its stored text gives it back.
fn keep(key: &Key, row: &Row) -> Result<(Key, Kept), String> {
    let mut encoder = Encoder::default();
    let body = encoder.row(row)?;
    let kept = decode(Kind::of(key), body).map_err(|error| error.to_string())?;
    if kept != *row {
        return Err(format!("the row under {key:?} changes when it is stored"));
    }
    Ok((key.clone(), Kept { row: kept, bytes: body.len() }))
}

fn idempotency(row: &Row) -> Option<&Idempotency> {
    match row {
        Row::Run(run) => run.idempotency.as_ref(),
        Row::Finished(finished) => finished.run.idempotency.as_ref(),
        _ => None,
    }
}

fn run_of(row: &Row) -> Option<RunId> {
    match row {
        Row::Run(run) => Some(run.id),
        Row::Finished(finished) => Some(finished.run.id),
        _ => None,
    }
}
