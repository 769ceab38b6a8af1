//! A store that fails on demand: it wraps another and follows a script, one line per commit.
//!
//! Nothing here is drawn at random: the caller writes the script (the simulator from its seed), so
//! the same script over the same calls gives the same failures.

use crate::{CommitError, Epoch, Maintenance, Namespace, Owner, Reader, Refusal, Store, StoreError};
use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use unknot_core::{
    CommitSeq,
    row::{Batch, Loaded},
};

/// A store that does what the next line of its script says.
pub struct FaultyStore<S> {
    inner: S,
    plan: FaultPlan,
}

/// The script, shared with whoever writes it. Calls beyond its end go through unharmed.
#[derive(Clone, Default)]
pub struct FaultPlan(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    commits: VecDeque<Fault>,
    lookups_refused: usize,
    loads_refused: usize,
}

/// What happens to one commit.
#[derive(Clone)]
pub enum Fault {
    /// Nothing: it goes through.
    None,
    /// It is [refused](CommitError::Refused); nothing is stored.
    Refuse(Refusal),
    /// Its outcome is [unknown](CommitError::Unknown), and it did not take effect.
    LoseBefore,
    /// Its outcome is [unknown](CommitError::Unknown), and it took effect.
    LoseAfter,
    /// Another brain acquires the namespace first, so that it is [fenced](CommitError::Fenced).
    Fence,
    /// It is said to [violate](CommitError::Violated) a rule; nothing is stored.
    Violate,
    /// The store is said to be [damaged](CommitError::Corrupt); nothing is stored.
    Corrupt,
    /// It goes through once this returns: a test waits in it for whatever it wants to happen first.
    Delay(Arc<dyn Fn() + Send + Sync>),
}

impl FaultPlan {
    /// A script with one line for each of the next commits.
    pub fn new(commits: impl IntoIterator<Item = Fault>) -> Self {
        let plan = Self::default();
        plan.extend(commits);
        plan
    }

    /// Adds lines to its end.
    pub fn extend(&self, commits: impl IntoIterator<Item = Fault>) {
        self.script().commits.extend(commits);
    }

    /// Makes the next `count` calls of [`Store::committed`] fail: the outcome stays unknown.
    pub fn refuse_lookups(&self, count: usize) {
        self.script().lookups_refused = count;
    }

    /// Makes the next `count` calls of [`Store::load`] and [`Store::acquire`] fail.
    pub fn refuse_loads(&self, count: usize) {
        self.script().loads_refused = count;
    }

    /// Whether every line has been played.
    pub fn is_played(&self) -> bool {
        let script = self.script();
        script.commits.is_empty() && script.lookups_refused == 0 && script.loads_refused == 0
    }

    fn next_commit(&self) -> Fault {
        self.script().commits.pop_front().unwrap_or(Fault::None)
    }

    fn lookup(&self) -> Result<(), StoreError> {
        count_down(&mut self.script().lookups_refused)
    }

    fn load(&self) -> Result<(), StoreError> {
        count_down(&mut self.script().loads_refused)
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Store> FaultyStore<S> {
    /// Wraps a store.
    pub fn new(inner: S, plan: FaultPlan) -> Self {
        Self { inner, plan }
    }
}

impl<S: Store> Store for FaultyStore<S> {
    fn acquire(&mut self, namespace: &Namespace, owner: &Owner) -> Result<Epoch, StoreError> {
        self.plan.load()?;
        self.inner.acquire(namespace, owner)
    }

    fn load(&mut self, namespace: &Namespace) -> Result<Loaded, StoreError> {
        self.plan.load()?;
        self.inner.load(namespace)
    }

    fn commit(&mut self, namespace: &Namespace, epoch: Epoch, batch: &Batch) -> Result<(), CommitError> {
        match self.plan.next_commit() {
            Fault::None => {}
            Fault::Refuse(refusal) => return Err(CommitError::refused(refusal, SCRIPTED)),
            Fault::LoseBefore => return Err(CommitError::Unknown { cause: SCRIPTED.into() }),
            Fault::LoseAfter => {
                self.inner.commit(namespace, epoch, batch)?;
                return Err(CommitError::Unknown { cause: SCRIPTED.into() });
            }
            Fault::Fence => {
                let raised = self.inner.acquire(namespace, &Owner("another brain".into()));
                raised.map_err(|error| CommitError::refused(Refusal::Io, error))?;
            }
            Fault::Violate => return Err(CommitError::Violated { detail: SCRIPTED.into() }),
            Fault::Corrupt => return Err(CommitError::Corrupt { cause: SCRIPTED.into() }),
            Fault::Delay(wait) => wait(),
        }
        self.inner.commit(namespace, epoch, batch)
    }

    fn committed(&mut self, namespace: &Namespace) -> Result<CommitSeq, StoreError> {
        self.plan.lookup()?;
        self.inner.committed(namespace)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        self.inner.reader()
    }

    fn maintenance(&self) -> Result<Box<dyn Maintenance>, StoreError> {
        self.inner.maintenance()
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Refuse(refusal) => f.debug_tuple("Refuse").field(refusal).finish(),
            Self::LoseBefore => f.write_str("LoseBefore"),
            Self::LoseAfter => f.write_str("LoseAfter"),
            Self::Fence => f.write_str("Fence"),
            Self::Violate => f.write_str("Violate"),
            Self::Corrupt => f.write_str("Corrupt"),
            Self::Delay(_) => f.write_str("Delay"),
        }
    }
}

/// What every scripted failure says of itself.
const SCRIPTED: &str = "the script of a faulty store says so";

fn count_down(left: &mut usize) -> Result<(), StoreError> {
    if *left == 0 {
        return Ok(());
    }
    *left -= 1;
    Err(StoreError::Unavailable { refusal: Refusal::Disconnected, cause: SCRIPTED.into() })
}
