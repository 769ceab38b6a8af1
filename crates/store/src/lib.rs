//! What survives: the trait [`Store`], its implementations, and the one suite that holds them all.
//!
//! A store keeps keyed rows ([`unknot_core::row`]) for any number of namespaces. One brain at a time
//! owns a namespace: it [acquires](Store::acquire) it under an [`Epoch`], [loads](Store::load) the
//! live rows once, and from then on only [commits](Store::commit). Everybody else looks through a
//! [`Reader`], which never asks the brain; what keeps the store small and safe ([`Maintenance`]) runs
//! beside the writer. All methods are synchronous: the engine gives the store a thread of its own.
//!
//! Open first: this file, `error.rs` (the five ends of a commit), `sqlite/schema.sql` (the layout).

mod body;
mod changes;
pub mod conformance;
pub mod error;
pub mod faulty;
pub mod maintenance;
pub mod memory;
pub mod namespace;
pub mod read;
pub mod sqlite;

pub use error::{Cause, CommitError, Refusal, StoreError};
pub use faulty::{Fault, FaultPlan, FaultyStore};

pub use maintenance::{
    BackupProgress, BackupStep, CheckReport, Footprint, Maintained, Maintenance, PrunedFolders, Retention,
};
pub use memory::MemoryStore;
pub use namespace::{Epoch, Namespace, Owner, ParseNamespaceError};
pub use read::{
    Answer, AsOf, Counts, Event, EventCursor, Facts, FactsQuery, Holds, Page, PageSize, Reader, RunFilter, RunRecord,
    RunSummary, VerdictFilter, WorkflowVersion,
};
pub use sqlite::{NetworkFileSystems, SqliteOptions, SqliteStore};

use unknot_core::{
    CommitSeq,
    row::{Batch, Loaded},
};

/// Where the rows of all namespaces are kept.
///
/// Every promise below holds against the death of the process and, where the store's durability
/// says so, of the machine, at any instruction. Nothing is buffered between calls: what a method
/// has not answered for may or may not have happened, what it has answered for has.
pub trait Store: Send {
    /// Takes the namespace for one brain: from now on only the returned epoch can commit to it.
    ///
    /// Makes the namespace if it is new. The new epoch is durable before this returns, and higher
    /// than every earlier one, so a brain that was thought dead finds itself
    /// [`CommitError::Fenced`]. A crash before the return leaves at most an unused epoch.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn acquire(&mut self, namespace: &Namespace, owner: &Owner) -> Result<Epoch, StoreError>;

    /// The live rows, in key order, as the newest commit left them. Changes nothing.
    ///
    /// After every commit this equals the state in memory; recovery is nothing else.
    ///
    /// # Errors
    /// If the store cannot be read, or holds a row that cannot be understood
    /// ([`StoreError::Corrupt`]): nothing is skipped silently.
    fn load(&mut self, namespace: &Namespace) -> Result<Loaded, StoreError>;

    /// Makes a batch durable: all of it or nothing.
    ///
    /// `Ok` means that it survives the death of the machine. The batch is refused as a whole unless
    /// `epoch` is the namespace's newest and its number is one more than the last. Later changes of
    /// a key win over earlier ones. A put of [`Key::Finished`](unknot_core::row::Key::Finished)
    /// also enters the run into whatever lists need.
    ///
    /// A batch that puts a new run must also put its definition, unless a live run names that already:
    /// a definition that only finished runs name may be pruned at any moment.
    ///
    /// # Errors
    /// See [`CommitError`]: each variant says what is stored and what the caller may do.
    fn commit(&mut self, namespace: &Namespace, epoch: Epoch, batch: &Batch) -> Result<(), CommitError>;

    /// The number of the newest durable commit; zero in a new namespace.
    ///
    /// This settles an [unknown](CommitError::Unknown) outcome: the batch took effect exactly if its
    /// number is not above this one. An implementation that lost its connection connects again here.
    ///
    /// # Errors
    /// If the store cannot be read; the outcome stays unknown.
    fn committed(&mut self, namespace: &Namespace) -> Result<CommitSeq, StoreError>;

    /// A reader with a connection of its own. It sees commits, never parts of one.
    ///
    /// # Errors
    /// If the store cannot be read, or too many readers are open.
    fn reader(&self) -> Result<Box<dyn Reader>, StoreError>;

    /// The handle for pruning, checkpoints, backup and check, for use on another thread.
    ///
    /// # Errors
    /// If the store cannot be opened once more.
    fn maintenance(&self) -> Result<Box<dyn Maintenance>, StoreError>;
}

/// A boxed store is one, so that wrappers take either.
impl<S: Store + ?Sized> Store for Box<S> {
    fn acquire(&mut self, namespace: &Namespace, owner: &Owner) -> Result<Epoch, StoreError> {
        (**self).acquire(namespace, owner)
    }

    fn load(&mut self, namespace: &Namespace) -> Result<Loaded, StoreError> {
        (**self).load(namespace)
    }

    fn commit(&mut self, namespace: &Namespace, epoch: Epoch, batch: &Batch) -> Result<(), CommitError> {
        (**self).commit(namespace, epoch, batch)
    }

    fn committed(&mut self, namespace: &Namespace) -> Result<CommitSeq, StoreError> {
        (**self).committed(namespace)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        (**self).reader()
    }

    fn maintenance(&self) -> Result<Box<dyn Maintenance>, StoreError> {
        (**self).maintenance()
    }
}
