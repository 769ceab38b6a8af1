//! What keeps a store small, whole and safe, in slices beside the writer.

use crate::{Epoch, Namespace, StoreError};
use std::{ops::ControlFlow, path::Path};
use unknot_core::{
    RunId,
    time::{Millis, Timestamp},
};

/// A connection of its own for upkeep, used on another thread than the store's.
///
/// A slice that writes holds the store's writer up for a few milliseconds at most; everything else
/// happens beside it.
pub trait Maintenance: Send {
    /// Does the next slice of whatever is due: finished runs and verdicts beyond the retention, what is left of
    /// runs pruned before, a checkpoint.
    ///
    /// Call it again at once while [`Maintained::more`] is set, else after some seconds. A pruned run
    /// disappears from lists in one commit, with an entry in a journal of folders; its history, task
    /// rows and definition follow in slices. A crash at any moment loses nothing of what is left to
    /// do: the journal is gone through again.
    ///
    /// # Errors
    /// If the store cannot be written, or `epoch` is not the namespace's newest. What earlier slices
    /// did stays done.
    fn maintain(
        &mut self,
        namespace: &Namespace,
        epoch: Epoch,
        now: Timestamp,
        retention: &Retention,
    ) -> Result<Maintained, StoreError>;

    /// Strikes runs from the journal, because their attempt folders are gone.
    ///
    /// Call this after the folders have been removed, never before: until then
    /// [`Maintenance::maintain`] names them again, in turn if there are many.
    ///
    /// # Errors
    /// As for [`Maintenance::maintain`].
    fn folders_removed(&mut self, namespace: &Namespace, epoch: Epoch, runs: &[RunId]) -> Result<(), StoreError>;

    /// Writes a complete copy as of one commit to `target`, while work goes on.
    ///
    /// The copy appears under its name only when it is whole and durable. An existing file is never
    /// replaced. `progress` is told after each step and may end it.
    ///
    /// # Errors
    /// If the target exists or cannot be written, if the store cannot be read, or if `progress` broke
    /// off; nothing is left behind in each case.
    fn backup(
        &mut self,
        target: &Path,
        progress: &mut dyn FnMut(BackupProgress) -> BackupStep,
    ) -> Result<(), StoreError>;

    /// Examines the whole store as of one commit: the backend's own structure, then ours (each row is
    /// readable, each run has its definition, nothing belongs to a run that is nowhere, no number is
    /// ahead of the last commit).
    ///
    /// # Errors
    /// If the store cannot be read at all. What is found wrong stands in the report.
    fn check(&mut self) -> Result<CheckReport, StoreError>;
}

/// How long finished runs and verdicts are kept, and how much is done about it at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Finished runs older than this go.
    pub keep: Millis,
    /// Verdicts older than this go.
    pub verdicts_keep: Millis,
    /// Above this size of the store, the runs that ended first go, whatever their age. Counts used
    /// pages, not free ones.
    pub bytes_max: u64,
    /// The most rows of runs, tasks and verdicts that one slice removes, and the most commits whose history it
    /// looks at.
    pub slice_rows_max: usize,
    /// The journal of recent commits (SQLite's WAL) is folded into the main file beyond this size.
    pub wal_bytes_max: u64,
}

/// What a slice did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Whether more is due already.
    pub more: bool,
    /// Runs that left the lists in this slice.
    pub runs_pruned: usize,
    /// All rows removed in this slice.
    pub rows_pruned: usize,
    /// Folders of runs to be removed now.
    pub folders: PrunedFolders,
    /// Whether recent commits were folded into the main file.
    pub checkpointed: bool,
    /// The size after it.
    pub footprint: Footprint,
}

/// Runs whose attempt folders are to be removed, up to 1,000; then call [`Maintenance::folders_removed`].
/// One that cannot be removed holds up neither the others nor the pruning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrunedFolders(pub Vec<RunId>);

/// How large a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes that are free for new rows; files do not shrink.
    pub free_bytes: u64,
    /// Bytes of recent commits that are not folded in yet.
    pub wal_bytes: u64,
}

/// How far a backup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupProgress {
    /// Pages copied.
    pub pages_done: u64,
    /// Pages to be copied in all.
    pub pages_total: u64,
}

/// Whether a backup goes on.
pub type BackupStep = ControlFlow<()>;

/// What an examination found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Rows looked at.
    pub rows: u64,
    /// What is wrong, up to 100 sentences; none: all is well.
    pub problems: Vec<String>,
}

/// 7 days, verdicts a year, 2 GiB.
impl Default for Retention {
    fn default() -> Self {
        Self {
            keep: Millis::from_days(7),
            verdicts_keep: Millis::from_days(365),
            bytes_max: 2 << 30,
            slice_rows_max: 100,
            wal_bytes_max: 16 << 20,
        }
    }
}

impl CheckReport {
    /// The most problems that are listed.
    pub const PROBLEMS_MAX: usize = 100;

    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    pub(crate) fn report(&mut self, problem: impl Into<String>) {
        if self.problems.len() < Self::PROBLEMS_MAX {
            self.problems.push(problem.into());
        }
    }
}
