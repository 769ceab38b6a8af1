//! How a store says no: the five ends of a commit, and what can go wrong around it.

use crate::Epoch;
use std::{error::Error, fmt, path::PathBuf, time::Duration};
use unknot_core::CommitSeq;

/// What a backend said: the rest of a cause chain.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why a batch was not answered with `Ok`. Each variant says what is stored and what may be done.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Nothing is stored, and the same batch may be committed again later: it can succeed once
    /// whatever stood in the way is gone.
    #[error("the commit was refused: {refusal}")]
    Refused {
        /// What stood in the way.
        refusal: Refusal,
        /// What the backend said.
        #[source]
        cause: Cause,
    },
    /// Nobody knows whether the batch is stored. Ask [`Store::committed`](crate::Store::committed) before
    /// anything else.
    #[error("the outcome of the commit is unknown")]
    Unknown {
        /// What the backend said.
        #[source]
        cause: Cause,
    },
    /// Nothing is stored, and nothing ever will be under this epoch: another brain has acquired the
    /// namespace. Drop memory.
    #[error("another brain has acquired this namespace under epoch {}, this one held {}", current.0, held.0)]
    Fenced {
        /// The epoch that the batch came under.
        held: Epoch,
        /// The namespace's newest epoch.
        current: Epoch,
    },
    /// The store is damaged. Nothing of the batch is stored; nothing may be written any more.
    #[error("the store is damaged")]
    Corrupt {
        /// What the backend said.
        #[source]
        cause: Cause,
    },
    /// Nothing is stored: the batch contradicts what is stored (its number, a unique key, a row under
    /// the wrong key). It would be refused again. A bug; drop memory, reload, find the event.
    #[error("the batch contradicts what is stored: {detail}")]
    Violated {
        /// Which rule, with the values.
        detail: String,
    },
}

/// What stands in the way of writing for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// Somebody else is writing, for longer than the store waits.
    Busy,
    /// The disk, or the quota, is full.
    DiskFull,
    /// The file or its file system cannot be written.
    ReadOnly,
    /// The disk reports an error, and nothing was stored.
    Io,
    /// The database server cannot be reached.
    Disconnected,
    /// The process is out of memory or file handles.
    Exhausted,
}

/// Why anything but a commit did not succeed. Nothing is changed, unless a variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the store open for writing.
    #[error("another process{} owns the store `{}`", pid_suffix(*pid), path.display())]
    Owned {
        /// The store's folder.
        path: PathBuf,
        /// The owner, as it wrote itself down; none if that cannot be read.
        pid: Option<u32>,
    },
    /// The store was written by a newer program.
    #[error("the store `{}` has schema version {found}, this program knows up to {known}", path.display())]
    Newer {
        /// The store's file.
        path: PathBuf,
        /// The version that it has.
        found: u32,
        /// The newest version that this program reads.
        known: u32,
    },
    /// The file is something else.
    #[error("`{}` is not an Unknot store: {detail}", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        detail: String,
    },
    /// There is no store there.
    #[error("there is no store at `{}`", path.display())]
    Missing {
        /// The file that was looked for.
        path: PathBuf,
    },
    /// The store is damaged. Nothing has been overwritten.
    #[error("the store is damaged: {detail}")]
    Corrupt {
        /// What was found, and where.
        detail: String,
        /// What the backend said, if it noticed.
        #[source]
        cause: Option<Cause>,
    },
    /// The file system does not keep the promises that the store rests on.
    #[error("`{}` is on a network file system ({kind}), where locks and syncs do not hold", path.display())]
    NetworkFileSystem {
        /// The store's folder.
        path: PathBuf,
        /// What the kernel calls it.
        kind: &'static str,
    },
    /// The store cannot be opened or made.
    #[error("cannot open the store `{}`", path.display())]
    Open {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: Cause,
    },
    /// The store cannot be used for now; the same call may succeed later.
    #[error("the store cannot be used: {refusal}")]
    Unavailable {
        /// What stands in the way.
        refusal: Refusal,
        /// What the backend said.
        #[source]
        cause: Cause,
    },
    /// The caller's epoch is not the newest.
    #[error("another brain has acquired this namespace under epoch {}, this one held {}", current.0, held.0)]
    Fenced {
        /// The epoch that the caller has.
        held: Epoch,
        /// The namespace's newest epoch.
        current: Epoch,
    },
    /// A read took longer than reads may, and was ended so that it does not hold up checkpoints.
    #[error("the read was ended after {} ms", limit.as_millis())]
    TooSlow {
        /// The bound of one read.
        limit: Duration,
    },
    /// As many readers are open as there may be.
    #[error("{max} readers are open, more are not given out")]
    TooManyReaders {
        /// The bound.
        max: usize,
    },
    /// A store of an older version could not be brought to this one. It is as it was.
    #[error("cannot bring the store `{}` from version {from} to {to}", path.display())]
    Migration {
        /// The store's file.
        path: PathBuf,
        /// Its version.
        from: u32,
        /// The version it should have.
        to: u32,
        /// What went wrong.
        #[source]
        cause: Cause,
    },
    /// A backup could not be written where it was asked for.
    #[error("cannot write the backup `{}`: {detail}", path.display())]
    BackupTarget {
        /// The file asked for.
        path: PathBuf,
        /// What stands in the way.
        detail: String,
    },
    /// Whoever watched the backup stopped it. The target does not exist.
    #[error("the backup was stopped")]
    BackupStopped,
    /// The program asked for something that the store cannot mean: a bug.
    #[error("the store was asked for something impossible: {detail}")]
    Violated {
        /// What.
        detail: String,
    },
}

impl CommitError {
    /// The page of the handbook that tells what to do.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused { refusal, .. } => refusal.code(),
            Self::Unknown { .. } => "UK0220",
            Self::Fenced { .. } => "UK0221",
            Self::Corrupt { .. } => "UK0204",
            Self::Violated { .. } => "UK0222",
        }
    }

    /// A refusal, from what the backend said.
    pub fn refused(refusal: Refusal, cause: impl Into<Cause>) -> Self {
        Self::Refused { refusal, cause: cause.into() }
    }

    /// The refusal of a batch whose number does not follow the last one.
    pub(crate) fn out_of_order(batch: CommitSeq, last: CommitSeq) -> Self {
        Self::Violated { detail: format!("commit {} cannot follow commit {}", batch.0, last.0) }
    }

    /// The refusal of a run without a stored definition.
    pub(crate) fn undefined(hash: &str) -> Self {
        Self::Violated { detail: format!("a run names the definition `{hash}`, which is not stored") }
    }
}

impl Refusal {
    /// The page of the handbook that tells what to do.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Busy => "UK0210",
            Self::DiskFull => "UK0211",
            Self::ReadOnly => "UK0212",
            Self::Io => "UK0213",
            Self::Disconnected => "UK0214",
            Self::Exhausted => "UK0215",
        }
    }
}

impl StoreError {
    /// The page of the handbook that tells what to do.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Owned { .. } => "UK0200",
            Self::Newer { .. } => "UK0201",
            Self::NotAStore { .. } => "UK0202",
            Self::Missing { .. } => "UK0203",
            Self::Corrupt { .. } => "UK0204",
            Self::NetworkFileSystem { .. } => "UK0205",
            Self::Open { .. } => "UK0206",
            Self::Migration { .. } => "UK0207",
            Self::Unavailable { refusal, .. } => refusal.code(),
            Self::Fenced { .. } => "UK0221",
            Self::Violated { .. } => "UK0222",
            Self::TooSlow { .. } => "UK0230",
            Self::TooManyReaders { .. } => "UK0231",
            Self::BackupTarget { .. } | Self::BackupStopped => "UK0232",
        }
    }

    /// Whether the same call may succeed later without anybody's help.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::TooManyReaders { .. })
    }

    /// Damage that this program found by itself.
    pub(crate) fn damaged(detail: impl Into<String>) -> Self {
        Self::Corrupt { detail: detail.into(), cause: None }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "somebody else has it locked",
            Self::DiskFull => "the disk is full",
            Self::ReadOnly => "it is read-only",
            Self::Io => "the disk reports an error",
            Self::Disconnected => "the database cannot be reached",
            Self::Exhausted => "the process is out of memory or file handles",
        })
    }
}

fn pid_suffix(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}
