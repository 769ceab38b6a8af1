//! A copy of the whole database as of one commit, while work goes on.

use super::fault::store_error;
use crate::{BackupProgress, BackupStep, StoreError};
use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

/// Pages per step: some megabytes, so that progress is told a hundred times a second or so.
const PAGES_PER_STEP: i32 = 1_024;

/// Copies the database to `target` (see [`crate::Maintenance::backup`]).
///
/// One read transaction covers the whole copy. Without it each commit beside it would start the copy
/// anew, and under load it would never end; the price is that the journal grows meanwhile.
pub(super) fn copy(
    source: &Connection,
    target: &Path,
    progress: &mut dyn FnMut(BackupProgress) -> BackupStep,
) -> Result<(), StoreError> {
    let refused = |detail: String| StoreError::BackupTarget { path: target.into(), detail };
    if fs::symlink_metadata(target).is_ok() {
        return Err(refused("it is there already".into()));
    }
    let partial = Partial::beside(target);
    partial.remove().map_err(|error| refused(error.to_string()))?;
    copy_pages(source, &partial, progress)?;
    let publish = || {
        File::open(&partial.path)?.sync_all()?;
        // Unlike a rename, this cannot replace a file that came up meanwhile.
        fs::hard_link(&partial.path, target)?;
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        // A name that may not outlive a power cut is not a backup, and would refuse the next try.
        synced.inspect_err(|_| drop(fs::remove_file(target)))
    };
    publish().map_err(|error| refused(error.to_string()))
}

fn copy_pages(
    source: &Connection,
    partial: &Partial,
    progress: &mut dyn FnMut(BackupProgress) -> BackupStep,
) -> Result<(), StoreError> {
    let snapshot = source.unchecked_transaction().map_err(store_error)?;
    // A transaction begins with its first read.
    snapshot.query_row("SELECT count(*) FROM namespace", [], |_| Ok(())).map_err(store_error)?;
    let mut copy = Connection::open(&partial.path)
        .map_err(|error| StoreError::BackupTarget { path: partial.path.clone(), detail: error.to_string() })?;
    {
        let backup = Backup::new(&snapshot, &mut copy).map_err(store_error)?;
        loop {
            let step = backup.step(PAGES_PER_STEP).map_err(store_error)?;
            let pages = backup.progress();
            let (left, total) = (pages.remaining.max(0).unsigned_abs(), pages.pagecount.max(0).unsigned_abs());
            let so_far =
                BackupProgress { pages_done: u64::from(total.saturating_sub(left)), pages_total: total.into() };
            if progress(so_far).is_break() {
                return Err(StoreError::BackupStopped);
            }
            if step == StepResult::Done {
                break;
            }
        }
    }
    // One file, without a journal beside it, whoever opens it next.
    let mode = copy.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get::<_, String>(0));
    mode.map(|_| ()).map_err(store_error)
}

/// The file that becomes the backup once it is whole; removed whatever happens.
struct Partial {
    path: PathBuf,
}

impl Partial {
    fn beside(target: &Path) -> Self {
        let mut name = target.as_os_str().to_owned();
        name.push(".partial");
        Self { path: name.into() }
    }

    fn remove(&self) -> std::io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // What cannot be removed is named so that nobody takes it for a backup.
        drop(self.remove());
    }
}
