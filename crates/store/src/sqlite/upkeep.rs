//! The upkeep of an open store: pruning, checkpoints, backup, check.

use super::{
    backup, check,
    commit::Tenure,
    connection::{self, Gate},
    fault::store_error,
    folder::{Folder, FolderLock},
    namespace_number,
    prune::{self, Due},
};
use crate::{
    BackupProgress, BackupStep, CheckReport, Epoch, Footprint, Maintained, Maintenance, Namespace, PrunedFolders,
    Retention, StoreError,
};
use rusqlite::{Connection, params};
use std::{path::Path, sync::Arc};
use unknot_core::{RunId, Timestamp};

/// Passes over the journal beside the writer; each leaves what was committed during it.
const FOLD_PASSES_MAX: usize = 4;
/// Pages that may be folded in while the writer waits, if the passes come that far.
const FOLD_FRAMES_HELD: u64 = 64;

/// See [`Maintenance`].
pub(super) struct SqliteMaintenance {
    connection: Connection,
    gate: Gate,
    /// The last of the folders named by the newest slice.
    last_folder: Option<RunId>,
    _lock: Arc<FolderLock>,
}

/// The journal of recent commits, in pages.
#[derive(Clone, Copy, Debug)]
struct Wal {
    frames: u64,
    /// How many of them are folded into the main file.
    folded: u64,
}

impl Wal {
    /// Pages that the journal holds until it can begin anew: all of them, unless all are folded in.
    fn pending(self) -> u64 {
        if self.folded == self.frames { 0 } else { self.frames }
    }
}

impl SqliteMaintenance {
    pub(super) fn open(folder: &Folder, gate: Gate, lock: Arc<FolderLock>) -> Result<Self, StoreError> {
        Ok(Self { connection: connection::upkeep(&folder.database())?, gate, last_folder: None, _lock: lock })
    }

    fn tenure(&self, namespace: &Namespace, epoch: Epoch) -> Result<Tenure, StoreError> {
        match namespace_number(&self.connection, namespace).map_err(store_error)? {
            Some(ns) => Ok(Tenure { ns, epoch }),
            None => Err(StoreError::Fenced { held: epoch, current: Epoch::default() }),
        }
    }

    fn read_footprint(&self) -> rusqlite::Result<(Footprint, Wal)> {
        let number = |pragma: &str| {
            let found: rusqlite::Result<i64> = self.connection.query_row(pragma, [], |row| row.get(0));
            found.map(i64::unsigned_abs)
        };
        let page_bytes = number("PRAGMA page_size")?;
        let (pages, free) = (number("PRAGMA page_count")?, number("PRAGMA freelist_count")?);
        let wal = self.checkpoint("NOOP")?;
        let footprint = Footprint {
            used_bytes: pages.saturating_sub(free) * page_bytes,
            free_bytes: free * page_bytes,
            wal_bytes: wal.pending() * page_bytes,
        };
        Ok((footprint, wal))
    }

    /// The next folders to be removed, in turn: those that cannot be removed hide no others.
    fn next_folders(&mut self, ns: i64) -> rusqlite::Result<PrunedFolders> {
        let mut folders = prune::folders(&self.connection, ns, self.last_folder)?;
        if folders.0.is_empty() && self.last_folder.is_some() {
            folders = prune::folders(&self.connection, ns, None)?;
        }
        self.last_folder = folders.0.last().copied();
        Ok(folders)
    }

    fn checkpoint(&self, mode: &str) -> rusqlite::Result<Wal> {
        self.connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
            let pages = |place: usize| row.get::<_, i64>(place).map(|pages| pages.max(0).unsigned_abs());
            Ok(Wal { frames: pages(1)?, folded: pages(2)? })
        })
    }

    /// Folds the journal in: nearly all of it beside the writer, then the little that came meanwhile
    /// while the writer waits. Without the last part, a busy writer would be ahead for ever and the
    /// journal would never begin anew; the passes before make that part short.
    fn fold_wal(&self) -> rusqlite::Result<bool> {
        for _ in 0..FOLD_PASSES_MAX {
            self.checkpoint("PASSIVE")?;
            let wal = self.checkpoint("NOOP")?;
            if wal.frames.saturating_sub(wal.folded) <= FOLD_FRAMES_HELD {
                break;
            }
        }
        let _turn = self.gate.enter();
        Ok(self.checkpoint("PASSIVE")?.pending() == 0)
    }
}

impl Maintenance for SqliteMaintenance {
    fn maintain(
        &mut self,
        namespace: &Namespace,
        epoch: Epoch,
        now: Timestamp,
        retention: &Retention,
    ) -> Result<Maintained, StoreError> {
        let tenure = self.tenure(namespace, epoch)?;
        prune::require_epoch(&self.connection, tenure)?;
        let mut done = Maintained::default();
        let (footprint, _) = self.read_footprint().map_err(store_error)?;
        let due = Due::now(now, retention, footprint.used_bytes);
        if due.exists(&self.connection, tenure.ns)? {
            let slice = {
                let _turn = self.gate.enter();
                prune::slice(&mut self.connection, tenure, due, retention.slice_rows_max)?
            };
            let remains = prune::find_remains(&self.connection, tenure.ns, retention.slice_rows_max)?;
            let _turn = self.gate.enter();
            let dropped = prune::drop_remains(&mut self.connection, tenure, &remains)?;
            (done.runs_pruned, done.rows_pruned) = (slice.runs, slice.rows + dropped);
        }
        let (footprint, _) = self.read_footprint().map_err(store_error)?;
        if footprint.wal_bytes > retention.wal_bytes_max {
            done.checkpointed = self.fold_wal().map_err(store_error)?;
        }
        (done.footprint, _) = self.read_footprint().map_err(store_error)?;
        done.more = Due::now(now, retention, done.footprint.used_bytes).exists(&self.connection, tenure.ns)?;
        done.folders = self.next_folders(tenure.ns).map_err(store_error)?;
        Ok(done)
    }

    fn folders_removed(&mut self, namespace: &Namespace, epoch: Epoch, runs: &[RunId]) -> Result<(), StoreError> {
        let tenure = self.tenure(namespace, epoch)?;
        let _turn = self.gate.enter();
        let transaction = self.connection.transaction().map_err(store_error)?;
        prune::require_epoch(&transaction, tenure)?;
        let strike = |run: &RunId| {
            let sql = "DELETE FROM pruned WHERE ns = ?1 AND run_id = ?2 AND NOT rows_left";
            transaction.prepare_cached(sql)?.execute(params![tenure.ns, run.to_string()])
        };
        for run in runs {
            strike(run).map_err(store_error)?;
        }
        transaction.commit().map_err(store_error)
    }

    fn backup(
        &mut self,
        target: &Path,
        progress: &mut dyn FnMut(BackupProgress) -> BackupStep,
    ) -> Result<(), StoreError> {
        backup::copy(&self.connection, target, progress)
    }

    fn check(&mut self) -> Result<CheckReport, StoreError> {
        check::run(&self.connection)
    }
}
