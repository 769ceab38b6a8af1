//! Connections: one that writes, one for upkeep, and readers that cannot last for ever.

use super::fault::open_error;
use crate::{Cause, StoreError};
use rusqlite::{Connection, OpenFlags};
use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How long anybody waits for somebody else's write transaction: a person with the sqlite3 shell,
/// for this process's own writers take turns at the [`Gate`].
const BUSY_MS: u32 = 1_000;
/// A writer folds the journal in by itself beyond so many pages, should nobody do the upkeep.
const WAL_PAGES_MAX: u32 = 32 * 1024;
/// A journal that grew beyond this is cut back to it when it begins anew. Below, its blocks are used
/// again as they are, which makes each commit's sync cheaper.
const WAL_BYTES_KEPT: u32 = 64 << 20;
/// Instructions of SQLite's machine between two looks at the deadline: well under a millisecond.
const INSTRUCTIONS_PER_LOOK: i32 = 1_000;

/// The writers of this process take turns here, each for one short transaction. Waiting for a lock
/// of the database itself would mean to poll.
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<Mutex<()>>);

impl Gate {
    pub(super) fn enter(&self) -> MutexGuard<'_, ()> {
        // Nothing is kept under the lock, so a panic beneath it leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the connection that commits. Makes the file if there is none.
pub(super) fn writer(path: &Path, page_bytes: u32) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let connection = open(path, flags)?;
    let setup = format!("PRAGMA page_size = {page_bytes}; PRAGMA cache_size = -16384;");
    connection.execute_batch(&setup).map_err(|error| open_error(path, error))?;
    Ok(connection)
}

/// Puts a connection into the mode that makes commits durable. For a database known to be ours.
pub(super) fn make_durable(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |error| open_error(path, error);
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        let cause: Cause = format!("the journal mode is `{mode}` and cannot be made `wal`").into();
        return Err(StoreError::Open { path: path.into(), cause });
    }
    let setup = format!(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = {WAL_PAGES_MAX};
         PRAGMA journal_size_limit = {WAL_BYTES_KEPT};"
    );
    connection.execute_batch(&setup).map_err(failed)
}

/// Opens a connection for upkeep: it writes, but never folds the journal in by itself.
pub(super) fn upkeep(path: &Path) -> Result<Connection, StoreError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let setup = format!(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = {WAL_BYTES_KEPT};"
    );
    connection.execute_batch(&setup).map_err(|error| open_error(path, error))?;
    Ok(connection)
}

/// Opens a connection that cannot write.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let failed = |error| open_error(path, error);
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    let setup = format!(
        "PRAGMA busy_timeout = {BUSY_MS}; PRAGMA foreign_keys = OFF; PRAGMA trusted_schema = OFF;
         PRAGMA temp_store = MEMORY;"
    );
    connection.execute_batch(&setup).map_err(failed)?;
    Ok(connection)
}

/// The moment at which a connection's current read is ended.
#[derive(Clone)]
pub(super) struct Deadline {
    limit: Duration,
    origin: Instant,
    /// Milliseconds after `origin`.
    at: Arc<AtomicU64>,
}

impl Deadline {
    /// Gives a connection a deadline for each of its reads.
    pub(super) fn install(connection: &mut Connection, limit: Duration) -> rusqlite::Result<Self> {
        let deadline = Self { limit, origin: Instant::now(), at: Arc::new(AtomicU64::new(u64::MAX)) };
        let watched = deadline.clone();
        connection.progress_handler(INSTRUCTIONS_PER_LOOK, Some(move || watched.has_passed()))?;
        Ok(deadline)
    }

    /// Starts the time of one read.
    pub(super) fn start(&self) {
        let at = self.origin.elapsed().saturating_add(self.limit).as_millis();
        self.at.store(u64::try_from(at).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether the current read has had its time.
    pub(super) fn has_passed(&self) -> bool {
        self.origin.elapsed().as_millis() >= u128::from(self.at.load(Ordering::Relaxed))
    }

    /// From now on, reads may take so long.
    pub(super) fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// How long a read may take.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }
}
