//! Retention in slices: each one short transaction, each leaving a store that is whole.
//!
//! A run goes in three steps. (1) It leaves the lists, and a `pruned` row remembers it. (2) Its task
//! rows go, then the history of commits that only gone runs are named in; then `rows_left` is 0.
//! (3) The engine removes its folder and says so; the `pruned` row goes. A crash between any two
//! leaves the `pruned` row, from which the rest is done.

use super::{commit::Tenure, fault::store_error, int};
use crate::{Epoch, PrunedFolders, Retention, StoreError, body::decode_history, changes::HISTORY_WINDOW};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use unknot_core::{CommitSeq, RunId, Timestamp, workflow::DefinitionHash};

/// Most runs whose folders wait to be removed; pruning pauses there until some are.
const FOLDERS_MAX: usize = 1_000;

/// What a slice did.
#[derive(Default)]
pub(super) struct Slice {
    pub(super) runs: usize,
    pub(super) rows: usize,
}

/// What is due for pruning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// Runs that ended before this moment are too old.
    ended_before: Timestamp,
    /// Bytes by which the store is too large.
    surplus_bytes: u64,
}

impl Due {
    pub(super) fn now(now: Timestamp, retention: &Retention, used_bytes: u64) -> Self {
        Self { ended_before: now.minus(retention.keep), surplus_bytes: used_bytes.saturating_sub(retention.bytes_max) }
    }

    /// Whether a slice would find something to do.
    pub(super) fn exists(&self, connection: &Connection, ns: i64) -> Result<bool, StoreError> {
        let exists = |sql: &str, before: i64| {
            connection.prepare_cached(sql)?.query_row(params![ns, before], |row| row.get::<_, bool>(0))
        };
        let before = if self.surplus_bytes > 0 { i64::MAX } else { int(self.ended_before.0) };
        let left = "SELECT EXISTS (SELECT 1 FROM pruned WHERE ns = ?1 AND rows_left AND ?2 > 0)";
        let old = "SELECT EXISTS (SELECT 1 FROM finished WHERE ns = ?1 AND ended_at < ?2)";
        let found = exists(left, 1).and_then(|left| Ok(left || (exists(old, before)? && room(connection, ns)? > 0)));
        found.map_err(store_error)
    }
}

/// Does one slice in a transaction of its own.
pub(super) fn slice(
    connection: &mut Connection,
    tenure: Tenure,
    due: Due,
    rows_max: usize,
) -> Result<Slice, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(store_error)?;
    require_epoch(&transaction, tenure)?;
    let mut pruner =
        Pruner { connection: &transaction, ns: tenure.ns, rows_max, done: Slice::default(), commits: BTreeSet::new() };
    pruner.finish_earlier()?;
    pruner.take_expired(due)?;
    pruner.drop_history()?;
    let done = pruner.done;
    transaction.commit().map_err(store_error)?;
    Ok(done)
}

/// Refuses whoever does not own the namespace any more.
pub(super) fn require_epoch(connection: &Connection, tenure: Tenure) -> Result<(), StoreError> {
    let sql = "SELECT epoch FROM namespace WHERE ns = ?1";
    let current: i64 = connection.query_row(sql, [tenure.ns], |row| row.get(0)).map_err(store_error)?;
    let current = Epoch(current.unsigned_abs());
    if current == tenure.epoch { Ok(()) } else { Err(StoreError::Fenced { held: tenure.epoch, current }) }
}

/// The runs whose rows are gone and whose folders may still be there.
pub(super) fn folders(connection: &Connection, ns: i64) -> rusqlite::Result<PrunedFolders> {
    let sql = "SELECT run_id FROM pruned WHERE ns = ?1 AND NOT rows_left LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let runs = statement.query_map(params![ns, int(FOLDERS_MAX as u64)], |row| row.get::<_, String>(0))?;
    let runs = runs.map(|run| {
        run?.parse().map_err(|error: unknot_core::id::ParseIdError| {
            rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
        })
    });
    runs.collect::<rusqlite::Result<_>>().map(PrunedFolders)
}

/// Takes a finished run out of the lists and of all sums.
pub(super) fn delete_finished(connection: &Connection, ns: i64, run: &str) -> rusqlite::Result<Option<Gone>> {
    let sql = "DELETE FROM finished WHERE ns = ?1 AND run_id = ?2 RETURNING status, body";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row(params![ns, run], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
    let Some((status, body)) = found.optional()? else { return Ok(None) };
    let gone: Gone = serde_json::from_str(&body)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, error.into()))?;
    for (name, value) in &gone.run.labels {
        let sql = "DELETE FROM finished_label WHERE ns = ?1 AND name = ?2 AND value = ?3 AND run_id = ?4";
        connection.prepare_cached(sql)?.execute(params![ns, name, value, run])?;
    }
    let sql = "UPDATE finished_count SET runs = runs - 1 WHERE ns = ?1 AND status = ?2";
    connection.prepare_cached(sql)?.execute(params![ns, status])?;
    release_definition(connection, ns, &gone.run.definition)?;
    Ok(Some(gone))
}

/// Counts a definition's user out, and removes a definition without users.
fn release_definition(connection: &Connection, ns: i64, hash: &DefinitionHash) -> rusqlite::Result<()> {
    let sql = "UPDATE definition_use SET runs = runs - 1 WHERE ns = ?1 AND hash = ?2 RETURNING runs";
    let left: Option<i64> =
        connection.prepare_cached(sql)?.query_row(params![ns, hash.0], |row| row.get(0)).optional()?;
    if left == Some(0) {
        for sql in [
            "DELETE FROM definition WHERE ns = ?1 AND hash = ?2",
            "DELETE FROM definition_use WHERE ns = ?1 AND hash = ?2",
        ] {
            connection.prepare_cached(sql)?.execute(params![ns, hash.0])?;
        }
    }
    Ok(())
}

/// How many more runs may wait for the removal of their folders.
fn room(connection: &Connection, ns: i64) -> rusqlite::Result<usize> {
    let sql = "SELECT count(*) FROM pruned WHERE ns = ?1";
    let waiting: u32 = connection.prepare_cached(sql)?.query_row([ns], |row| row.get(0))?;
    Ok(FOLDERS_MAX.saturating_sub(waiting as usize))
}

/// What pruning needs to know of a finished run.
#[derive(Deserialize)]
pub(super) struct Gone {
    last_commit: CommitSeq,
    run: GoneRun,
}

#[derive(Deserialize)]
struct GoneRun {
    definition: DefinitionHash,
    first_commit: CommitSeq,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

struct Pruner<'a> {
    connection: &'a Connection,
    ns: i64,
    rows_max: usize,
    done: Slice,
    /// Commits that a run which is gone now was named in.
    commits: BTreeSet<CommitSeq>,
}

impl Pruner<'_> {
    fn rows_left(&self) -> usize {
        self.rows_max.saturating_sub(self.done.rows.max(self.commits.len()))
    }

    /// Goes on with runs that were too large for an earlier slice.
    fn finish_earlier(&mut self) -> Result<(), StoreError> {
        let sql = "SELECT run_id, first_commit, last_commit FROM pruned WHERE ns = ?1 AND rows_left";
        let mut statement = self.connection.prepare_cached(sql).map_err(store_error)?;
        let span = |row: &rusqlite::Row<'_>| {
            let commit = |place: usize| row.get::<_, i64>(place).map(|commit| CommitSeq(commit.unsigned_abs()));
            Ok((row.get::<_, String>(0)?, commit(1)?, commit(2)?))
        };
        let earlier = statement.query_map([self.ns], span).and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>);
        for (run, first, last) in earlier.map_err(store_error)? {
            if self.rows_left() == 0 {
                break;
            }
            self.clean(&run, first, last).map_err(store_error)?;
        }
        Ok(())
    }

    /// Takes runs beyond the retention out of the lists, those that ended first first.
    fn take_expired(&mut self, due: Due) -> Result<(), StoreError> {
        let mut freed = 0u64;
        let room = room(self.connection, self.ns).map_err(store_error)?;
        while self.rows_left() > 0 && self.done.runs < room {
            let sql = "SELECT run_id, length(body) FROM finished WHERE ns = ?1 AND ended_at < ?2
                       ORDER BY ended_at LIMIT 1";
            let before = if freed < due.surplus_bytes { i64::MAX } else { int(due.ended_before.0) };
            let mut statement = self.connection.prepare_cached(sql).map_err(store_error)?;
            let next: Option<(String, i64)> = statement
                .query_row(params![self.ns, before], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
                .map_err(store_error)?;
            let Some((run, bytes)) = next else { break };
            freed += bytes.unsigned_abs();
            self.prune(&run).map_err(store_error)?;
        }
        Ok(())
    }

    fn prune(&mut self, run: &str) -> rusqlite::Result<()> {
        let Some(gone) = delete_finished(self.connection, self.ns, run)? else { return Ok(()) };
        self.done.runs += 1;
        self.done.rows += 1;
        let (first, last) = (gone.run.first_commit, gone.last_commit);
        let sql = "INSERT INTO pruned (ns, run_id, first_commit, last_commit, rows_left) VALUES (?1, ?2, ?3, ?4, 1)";
        self.connection.prepare_cached(sql)?.execute(params![self.ns, run, int(first.0), int(last.0)])?;
        self.clean(run, first, last)
    }

    /// Removes what a run that left the lists has left behind, as far as the slice goes.
    fn clean(&mut self, run: &str, first: CommitSeq, last: CommitSeq) -> rusqlite::Result<()> {
        for sql in [
            "DELETE FROM task WHERE ns = ?1 AND run_id = ?2 AND place IN
                (SELECT place FROM task WHERE ns = ?1 AND run_id = ?2 LIMIT ?3)",
            "DELETE FROM dead_letter WHERE ns = ?1 AND run_id = ?2 AND place IN
                (SELECT place FROM dead_letter WHERE ns = ?1 AND run_id = ?2 LIMIT ?3)",
        ] {
            let rows_max = int(self.rows_left() as u64);
            self.done.rows += self.connection.prepare_cached(sql)?.execute(params![self.ns, run, rows_max])?;
        }
        let sql = "DELETE FROM run_commit WHERE ns = ?1 AND run_id = ?2 AND commit_seq IN
                (SELECT commit_seq FROM run_commit WHERE ns = ?1 AND run_id = ?2 LIMIT ?3) RETURNING commit_seq";
        let mut statement = self.connection.prepare_cached(sql)?;
        let far =
            statement.query_map(params![self.ns, run, int(self.rows_left() as u64)], |row| row.get::<_, i64>(0))?;
        for commit in far {
            self.commits.insert(CommitSeq(commit?.unsigned_abs()));
        }
        if self.rows_left() == 0 {
            // Perhaps nothing is left, but the next slice finds that out as cheaply as this one.
            return Ok(());
        }
        let near = first.0..=last.0.min(first.0.saturating_add(HISTORY_WINDOW));
        self.commits.extend(near.map(CommitSeq));
        let sql = "UPDATE pruned SET rows_left = 0 WHERE ns = ?1 AND run_id = ?2";
        self.connection.prepare_cached(sql)?.execute(params![self.ns, run])?;
        Ok(())
    }

    /// Drops those of the commits' histories that name no run that is still there. One that does is
    /// looked at again when the last of its runs goes.
    fn drop_history(&mut self) -> Result<(), StoreError> {
        let mut is_there: BTreeMap<RunId, bool> = BTreeMap::new();
        for commit in std::mem::take(&mut self.commits) {
            let key = params![self.ns, int(commit.0)];
            let sql = "SELECT body FROM history WHERE ns = ?1 AND commit_seq = ?2";
            let body: rusqlite::Result<Option<String>> = self
                .connection
                .prepare_cached(sql)
                .and_then(|mut statement| statement.query_row(key, |row| row.get(0)).optional());
            let Some(body) = body.map_err(store_error)? else { continue };
            let mut is_needed = false;
            for entry in decode_history(commit, &body)? {
                let there = match is_there.get(&entry.run) {
                    Some(there) => *there,
                    None => self.is_there(entry.run).map_err(store_error)?,
                };
                is_there.insert(entry.run, there);
                is_needed |= there;
            }
            if !is_needed {
                let sql = "DELETE FROM history WHERE ns = ?1 AND commit_seq = ?2";
                let deleted = self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute(key));
                self.done.rows += deleted.map_err(store_error)?;
            }
        }
        Ok(())
    }

    fn is_there(&self, run: RunId) -> rusqlite::Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM run WHERE ns = ?1 AND run_id = ?2)
                       OR EXISTS (SELECT 1 FROM finished WHERE ns = ?1 AND run_id = ?2)";
        self.connection.prepare_cached(sql)?.query_row(params![self.ns, run.to_string()], |row| row.get(0))
    }
}
