//! Retention for the store in memory, by the same slices and the same journal as on a disk.

use super::{Disk, Space};
use crate::{
    BackupProgress, BackupStep, CheckReport, Epoch, Maintained, Maintenance, Namespace, PrunedFolders, Retention,
    StoreError,
};
use std::{collections::BTreeSet, path::Path};
use unknot_core::{
    RunId, Timestamp,
    row::{Key, Row},
};

pub(super) struct MemoryMaintenance {
    disk: Disk,
}

impl MemoryMaintenance {
    pub(super) fn new(disk: Disk) -> Self {
        Self { disk }
    }

    fn change<T>(
        &self,
        namespace: &Namespace,
        epoch: Epoch,
        change: impl FnOnce(&mut Space) -> T,
    ) -> Result<T, StoreError> {
        let mut disk = self.disk.lock();
        let current = disk.get(namespace).map(|space| space.epoch).unwrap_or_default();
        match disk.get_mut(namespace) {
            Some(space) if space.epoch == epoch => Ok(change(space)),
            _ => Err(StoreError::Fenced { held: epoch, current }),
        }
    }
}

impl Maintenance for MemoryMaintenance {
    fn maintain(
        &mut self,
        namespace: &Namespace,
        epoch: Epoch,
        now: Timestamp,
        retention: &Retention,
    ) -> Result<Maintained, StoreError> {
        self.change(namespace, epoch, |space| space.prune_slice(now, retention))
    }

    fn folders_removed(&mut self, namespace: &Namespace, epoch: Epoch, runs: &[RunId]) -> Result<(), StoreError> {
        self.change(namespace, epoch, |space| {
            for run in runs {
                space.pruned.remove(run);
            }
        })
    }

    /// There is no file to write: always refused.
    fn backup(&mut self, target: &Path, _: &mut dyn FnMut(BackupProgress) -> BackupStep) -> Result<(), StoreError> {
        Err(StoreError::BackupTarget { path: target.into(), detail: "a store in memory has no backup".into() })
    }

    fn check(&mut self) -> Result<CheckReport, StoreError> {
        let disk = self.disk.lock();
        let mut report = CheckReport::default();
        for (namespace, space) in disk.iter() {
            for (key, kept) in &space.rows {
                report.rows += 1;
                let run = match &kept.row {
                    Row::Run(run) => run,
                    Row::Finished(finished) => &finished.run,
                    _ => continue,
                };
                if run.definitions().any(|hash| !space.rows.contains_key(&Key::Definition(hash.clone()))) {
                    report.report(format!("{namespace}: {key:?} names a definition that is not stored"));
                }
            }
        }
        Ok(report)
    }
}

impl Space {
    fn bytes(&self) -> u64 {
        let rows = self.rows.values().map(|kept| kept.bytes as u64).sum::<u64>();
        rows + self.history.values().map(|kept| kept.bytes as u64).sum::<u64>()
    }

    fn prune_slice(&mut self, now: Timestamp, retention: &Retention) -> Maintained {
        let mut done = Maintained::default();
        let mut cleaned = Vec::new();
        while done.rows_pruned < retention.slice_rows_max {
            let left = retention.slice_rows_max - done.rows_pruned;
            if let Some(run) = self.pruned.iter().copied().find(|run| self.first_task_row(*run).is_some()) {
                done.rows_pruned += self.remove_task_rows(run, left);
            } else if let Some(run) = self.next_expired(now, retention) {
                self.rows.remove(&Key::Finished(run));
                self.keys.retain(|_, owner| *owner != run);
                self.pruned.insert(run);
                done.runs_pruned += 1;
                done.rows_pruned += 1;
                if self.bytes() > retention.bytes_max {
                    // How much is still too much shows once its history is gone.
                    done.rows_pruned += self.remove_unneeded(&[run]);
                } else {
                    cleaned.push(run);
                }
            } else {
                break;
            }
        }
        done.rows_pruned += self.remove_unneeded(&cleaned);
        done.rows_pruned += self.remove_old_verdicts(now, retention, done.rows_pruned);
        done.more = self.old_verdicts(now, retention).next().is_some()
            || self.next_expired(now, retention).is_some()
            || self.pruned.iter().any(|run| self.first_task_row(*run).is_some());
        done.folders = PrunedFolders(
            self.pruned.iter().copied().filter(|run| self.first_task_row(*run).is_none()).take(1_000).collect(),
        );
        done.footprint.used_bytes = self.bytes();
        done
    }

    /// The finished run that ended first, if it is beyond the retention.
    fn next_expired(&self, now: Timestamp, retention: &Retention) -> Option<RunId> {
        let ends = self.rows.values().filter_map(|kept| match &kept.row {
            Row::Finished(finished) => Some((finished.ended_at, finished.run.id)),
            _ => None,
        });
        let (ended_at, run) = ends.min()?;
        (ended_at.plus(retention.keep) < now || self.bytes() > retention.bytes_max).then_some(run)
    }

    fn old_verdicts(&self, now: Timestamp, retention: &Retention) -> impl Iterator<Item = Key> {
        let before = now.minus(retention.verdicts_keep);
        self.rows.iter().filter_map(move |(key, kept)| match &kept.row {
            Row::Deadlock(verdict) if verdict.at < before => Some(key.clone()),
            _ => None,
        })
    }

    fn remove_old_verdicts(&mut self, now: Timestamp, retention: &Retention, removed: usize) -> usize {
        let most = retention.slice_rows_max.saturating_sub(removed);
        let old: Vec<Key> = self.old_verdicts(now, retention).take(most).collect();
        old.iter().for_each(|key| drop(self.rows.remove(key)));
        old.len()
    }

    fn first_task_row(&self, run: RunId) -> Option<Key> {
        let task = |key: &Key| matches!(key, Key::Task(id) | Key::DeadLetter(id) if id.run == run);
        self.rows.keys().find(|key| task(key)).cloned()
    }

    fn remove_task_rows(&mut self, run: RunId, rows_max: usize) -> usize {
        let mut removed = 0;
        while removed < rows_max {
            let Some(key) = self.first_task_row(run) else { break };
            self.rows.remove(&key);
            removed += 1;
        }
        removed
    }

    /// Removes history that only gone runs are named in, and definitions that no run names.
    fn remove_unneeded(&mut self, gone: &[RunId]) -> usize {
        if gone.is_empty() {
            return 0;
        }
        let before = self.rows.len() + self.history.len();
        let mut runs = BTreeSet::new();
        let mut named = BTreeSet::new();
        for kept in self.rows.values() {
            let run = match &kept.row {
                Row::Run(run) => run,
                Row::Finished(finished) => &finished.run,
                _ => continue,
            };
            runs.insert(run.id);
            named.extend(run.definitions().cloned());
        }
        self.history.retain(|_, kept| kept.entries.iter().any(|entry| runs.contains(&entry.run)));
        self.rows.retain(|key, _| !matches!(key, Key::Definition(hash) if !named.contains(hash)));
        before - self.rows.len() - self.history.len()
    }
}
