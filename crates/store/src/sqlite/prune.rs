//! Retention in slices: each one short transaction, each leaving a store that is whole.
//!
//! A run goes in three steps. (1) It leaves the lists, and a `pruned` row remembers it. (2) Its task
//! rows go, then the history of commits that only gone runs are named in; then `rows_left` is 0.
//! (3) The engine removes its folder and says so; the `pruned` row goes. A crash between any two
//! leaves the `pruned` row, from which the rest is done.
//!
//! Only deleting holds the writer up. Which histories name no run any more is found out beside it: a
//! commit's history never changes, and a run that is gone does not come back.

use super::{
    commit::Tenure,
    definition,
    fault::store_error,
    int,
    rows::{each_row, number, text},
    verdict,
};
use crate::{Epoch, PrunedFolders, Retention, StoreError, body::decode_lines, changes::HISTORY_WINDOW};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};
use unknot_core::{CommitSeq, RunId, Timestamp, workflow::DefinitionHash};

/// Most runs out of the lists whose rows are not gone yet; no others are taken out meanwhile.
const LEAVING_MAX: usize = 1_000;
/// Most folders named at a time.
const FOLDERS_MAX: usize = 1_000;

/// What a slice did.
#[derive(Default)]
pub(super) struct Slice {
    pub(super) runs: usize,
    pub(super) rows: usize,
}

/// What gone runs have left of the history, as far as one slice goes.
#[derive(Default)]
pub(super) struct Remains {
    /// Commits whose history names no run that is still there.
    unneeded: Vec<CommitSeq>,
    /// Entries of `run_commit` that have been looked at.
    far: Vec<(String, CommitSeq)>,
    /// Runs of which nothing is left but the folder.
    clean: Vec<String>,
}

/// What is due for pruning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// Runs that ended before this moment are too old.
    ended_before: Timestamp,
    /// Bytes by which the store is too large.
    surplus_bytes: u64,
    /// Bytes of the store.
    used_bytes: u64,
    /// Verdicts that were made before this moment are too old.
    verdicts_before: Timestamp,
}

impl Due {
    pub(super) fn now(now: Timestamp, retention: &Retention, used_bytes: u64) -> Self {
        let surplus_bytes = used_bytes.saturating_sub(retention.bytes_max);
        let (ended_before, verdicts_before) = (now.minus(retention.keep), now.minus(retention.verdicts_keep));
        Self { ended_before, surplus_bytes, used_bytes, verdicts_before }
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
        let verdicts = || Ok(!verdict::older_than(connection, ns, self.verdicts_before, 1)?.is_empty());
        found.and_then(|found| if found { Ok(true) } else { verdicts() }).map_err(store_error)
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
    let mut pruner = Pruner { connection: &transaction, ns: tenure.ns, rows_max, done: Slice::default() };
    pruner.finish_earlier()?;
    pruner.take_expired(due)?;
    pruner.take_verdicts(due).map_err(store_error)?;
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

/// Removes what has been found to be unneeded, in a transaction of its own. Returns the rows removed.
pub(super) fn drop_remains(
    connection: &mut Connection,
    tenure: Tenure,
    remains: &Remains,
) -> Result<usize, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(store_error)?;
    require_epoch(&transaction, tenure)?;
    let remove = || {
        let mut rows = 0;
        for commit in &remains.unneeded {
            let sql = "DELETE FROM history WHERE ns = ?1 AND commit_seq = ?2";
            rows += transaction.prepare_cached(sql)?.execute(params![tenure.ns, int(commit.0)])?;
        }
        for (run, commit) in &remains.far {
            let sql = "DELETE FROM run_commit WHERE ns = ?1 AND run_id = ?2 AND commit_seq = ?3";
            transaction.prepare_cached(sql)?.execute(params![tenure.ns, run, int(commit.0)])?;
        }
        for run in &remains.clean {
            let sql = "UPDATE pruned SET rows_left = 0 WHERE ns = ?1 AND run_id = ?2";
            transaction.prepare_cached(sql)?.execute(params![tenure.ns, run])?;
        }
        Ok(rows)
    };
    let rows = remove().map_err(store_error)?;
    transaction.commit().map_err(store_error)?;
    Ok(rows)
}

/// Up to 1,000 runs behind `after` whose rows are gone and whose folders may still be there.
pub(super) fn folders(connection: &Connection, ns: i64, after: Option<RunId>) -> rusqlite::Result<PrunedFolders> {
    let sql = "SELECT run_id FROM pruned WHERE ns = ?1 AND NOT rows_left AND run_id > ?2 ORDER BY run_id LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let after = after.map(|run| run.to_string()).unwrap_or_default();
    let runs = statement.query_map(params![ns, after, int(FOLDERS_MAX as u64)], |row| row.get::<_, String>(0))?;
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
    let called = gone.run.calls.values().filter(|hash| **hash != gone.run.definition);
    for hash in std::iter::once(&gone.run.definition).chain(called) {
        release_definition(connection, ns, hash)?;
    }
    Ok(Some(gone))
}

/// Counts a definition's user out, and removes a definition without users.
fn release_definition(connection: &Connection, ns: i64, hash: &DefinitionHash) -> rusqlite::Result<()> {
    let sql = "UPDATE definition_use SET runs = runs - 1 WHERE ns = ?1 AND hash = ?2 RETURNING runs";
    let left: Option<i64> =
        connection.prepare_cached(sql)?.query_row(params![ns, hash.0], |row| row.get(0)).optional()?;
    if left == Some(0) {
        definition::delete(connection, ns, hash)?;
    }
    Ok(())
}

/// How many more runs may leave the lists. Those that wait for the removal of their folders do not
/// count: a folder that cannot be removed must not keep the store from staying small.
fn room(connection: &Connection, ns: i64) -> rusqlite::Result<usize> {
    let sql = "SELECT count(*) FROM pruned WHERE ns = ?1 AND rows_left";
    let leaving: u32 = connection.prepare_cached(sql)?.query_row([ns], |row| row.get(0))?;
    Ok(LEAVING_MAX.saturating_sub(leaving as usize))
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
    calls: BTreeMap<String, DefinitionHash>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

struct Pruner<'a> {
    connection: &'a Connection,
    ns: i64,
    rows_max: usize,
    done: Slice,
}

impl Pruner<'_> {
    fn rows_left(&self) -> usize {
        self.rows_max.saturating_sub(self.done.rows)
    }

    /// Goes on with runs that were too large for an earlier slice.
    fn finish_earlier(&mut self) -> Result<(), StoreError> {
        let mut earlier = Vec::new();
        let sql = "SELECT run_id FROM pruned WHERE ns = ?1 AND rows_left";
        each_row(self.connection, sql, [self.ns], |row| {
            earlier.push(text(row, 0)?.to_owned());
            Ok(())
        })?;
        for run in earlier {
            if self.rows_left() == 0 {
                break;
            }
            self.clean(&run).map_err(store_error)?;
        }
        Ok(())
    }

    /// Takes runs beyond the retention out of the lists, those that ended first first.
    fn take_expired(&mut self, due: Due) -> Result<(), StoreError> {
        let room = room(self.connection, self.ns).map_err(store_error)?;
        let surplus_runs = if room == LEAVING_MAX { self.surplus_runs(due).map_err(store_error)? } else { 0 };
        while self.rows_left() > 0 && self.done.runs < room {
            let before = if self.done.runs < surplus_runs { i64::MAX } else { int(due.ended_before.0) };
            let sql = "SELECT run_id FROM finished WHERE ns = ?1 AND ended_at < ?2 ORDER BY ended_at LIMIT 1";
            let mut statement = self.connection.prepare_cached(sql).map_err(store_error)?;
            let next: Option<String> =
                statement.query_row(params![self.ns, before], |row| row.get(0)).optional().map_err(store_error)?;
            let Some(run) = next else { break };
            self.prune(&run).map_err(store_error)?;
        }
        Ok(())
    }

    /// Removes verdicts that are too old, as far as the slice goes. They belong to no run.
    fn take_verdicts(&mut self, due: Due) -> rusqlite::Result<()> {
        for seq in verdict::older_than(self.connection, self.ns, due.verdicts_before, self.rows_left())? {
            verdict::delete(self.connection, self.ns, seq)?;
            self.done.rows += 1;
        }
        Ok(())
    }

    /// How many runs are to leave now for the size's sake: half of what the surplus would be on average, at least one.
    /// What they free shows only once their rows and history are gone, so no others follow before. The rest comes
    /// with the next slices, and not many more go than must.
    fn surplus_runs(&self, due: Due) -> rusqlite::Result<usize> {
        if due.surplus_bytes == 0 {
            return Ok(0);
        }
        let sql = "SELECT coalesce(sum(runs), 0) FROM finished_count WHERE ns = ?1";
        let runs: i64 = self.connection.prepare_cached(sql)?.query_row([self.ns], |row| row.get(0))?;
        let runs = u128::from(runs.unsigned_abs()) * u128::from(due.surplus_bytes) / u128::from(due.used_bytes.max(1));
        Ok(usize::try_from(runs / 2).unwrap_or(usize::MAX).max(1))
    }

    fn prune(&mut self, run: &str) -> rusqlite::Result<()> {
        let Some(gone) = delete_finished(self.connection, self.ns, run)? else { return Ok(()) };
        self.done.runs += 1;
        self.done.rows += 1;
        let (first, last) = (gone.run.first_commit, gone.last_commit);
        let sql = "INSERT INTO pruned (ns, run_id, first_commit, last_commit, rows_left) VALUES (?1, ?2, ?3, ?4, 1)";
        self.connection.prepare_cached(sql)?.execute(params![self.ns, run, int(first.0), int(last.0)])?;
        self.clean(run)
    }

    /// Removes the tasks that a run which left the lists has left behind, as far as the slice goes.
    fn clean(&mut self, run: &str) -> rusqlite::Result<()> {
        for sql in [
            "DELETE FROM task WHERE ns = ?1 AND run_id = ?2 AND place IN
                (SELECT place FROM task WHERE ns = ?1 AND run_id = ?2 LIMIT ?3)",
            "DELETE FROM dead_letter WHERE ns = ?1 AND run_id = ?2 AND place IN
                (SELECT place FROM dead_letter WHERE ns = ?1 AND run_id = ?2 LIMIT ?3)",
        ] {
            let rows_max = int(self.rows_left() as u64);
            self.done.rows += self.connection.prepare_cached(sql)?.execute(params![self.ns, run, rows_max])?;
        }
        Ok(())
    }
}

/// Looks for what runs that are gone have left of the history: at `commits_max` commits or few more.
/// Takes no lock.
pub(super) fn find_remains(connection: &Connection, ns: i64, commits_max: usize) -> Result<Remains, StoreError> {
    let snapshot = connection.unchecked_transaction().map_err(store_error)?;
    let mut search = Search { connection: &snapshot, ns, commits: BTreeSet::new(), remains: Remains::default() };
    let mut gone = Vec::new();
    let sql = "SELECT run_id, first_commit, last_commit FROM pruned p WHERE ns = ?1 AND rows_left
                AND NOT EXISTS (SELECT 1 FROM task t WHERE t.ns = p.ns AND t.run_id = p.run_id)
                AND NOT EXISTS (SELECT 1 FROM dead_letter d WHERE d.ns = p.ns AND d.run_id = p.run_id)";
    each_row(&snapshot, sql, [ns], |row| {
        gone.push((text(row, 0)?.to_owned(), number(row, 1)?, number(row, 2)?));
        Ok(())
    })?;
    for (run, first, last) in gone {
        let room = commits_max.saturating_sub(search.commits.len());
        if room == 0 {
            break;
        }
        search.add(run, first..=last.min(first.saturating_add(HISTORY_WINDOW)), room)?;
    }
    search.judge()?;
    Ok(search.remains)
}

struct Search<'a> {
    connection: &'a Connection,
    ns: i64,
    /// Commits that a run which is gone was named in, or may have been.
    commits: BTreeSet<CommitSeq>,
    remains: Remains,
}

/// What pruning needs to know of a line of history.
#[derive(Deserialize)]
struct Line {
    run: RunId,
}

impl Search<'_> {
    /// Takes up the commits of a run: first those far from its first, as many as there is room for.
    fn add(&mut self, run: String, near: RangeInclusive<u64>, room: usize) -> Result<(), StoreError> {
        let mut far = Vec::new();
        let sql = "SELECT commit_seq FROM run_commit WHERE ns = ?1 AND run_id = ?2 LIMIT ?3";
        each_row(self.connection, sql, params![self.ns, run, int(room as u64)], |row| {
            far.push(CommitSeq(number(row, 0)?));
            Ok(())
        })?;
        self.commits.extend(&far);
        if far.len() < room {
            self.commits.extend(near.map(CommitSeq));
            self.remains.clean.push(run.clone());
        }
        self.remains.far.extend(far.into_iter().map(|commit| (run.clone(), commit)));
        Ok(())
    }

    /// Tells those of the commits whose histories name no run that is still there. One that does is
    /// looked at again when the last of its runs goes.
    fn judge(&mut self) -> Result<(), StoreError> {
        let mut known: BTreeMap<RunId, bool> = BTreeMap::new();
        for commit in std::mem::take(&mut self.commits) {
            let mut lines: Option<Vec<Line>> = None;
            let sql = "SELECT body FROM history WHERE ns = ?1 AND commit_seq = ?2";
            each_row(self.connection, sql, params![self.ns, int(commit.0)], |row| {
                lines = Some(decode_lines(commit, text(row, 0)?)?);
                Ok(())
            })?;
            let Some(lines) = lines else { continue };
            let mut is_needed = false;
            for line in lines {
                let is_there = match known.get(&line.run) {
                    Some(is_there) => *is_there,
                    None => self.is_there(line.run).map_err(store_error)?,
                };
                known.insert(line.run, is_there);
                is_needed = is_there;
                if is_needed {
                    break;
                }
            }
            if !is_needed {
                self.remains.unneeded.push(commit);
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
