//! Reading the live rows back, as one transaction sees them.

use super::{
    definition,
    fault::store_error,
    namespace_number,
    rows::{each_row, number, text},
};
use crate::{
    Namespace, StoreError,
    body::{Kind, decode, decode_as},
};
use rusqlite::{Connection, OptionalExtension};
use std::collections::BTreeSet;
use unknot_core::{
    CommitSeq, Fence, RunId, Seq, TaskIndex, Timestamp,
    row::{Key, Loaded, Meta, Row},
    run::Run,
    workflow::DefinitionHash,
};

/// The newest commit of a namespace; zero if it has none.
pub(super) fn committed(connection: &Connection, namespace: &Namespace) -> rusqlite::Result<CommitSeq> {
    let mut statement = connection.prepare_cached("SELECT commit_seq FROM namespace WHERE name = ?1")?;
    let commit: Option<i64> = statement.query_row([namespace.as_str()], |row| row.get(0)).optional()?;
    Ok(CommitSeq(commit.unwrap_or_default().unsigned_abs()))
}

/// See [`crate::Store::load`].
pub(super) fn load(connection: &Connection, namespace: &Namespace) -> Result<Loaded, StoreError> {
    let snapshot = connection.unchecked_transaction().map_err(store_error)?;
    let Some(ns) = namespace_number(&snapshot, namespace).map_err(store_error)? else {
        return Ok(Loaded::default());
    };
    let (commit, meta) = read_meta(&snapshot, ns).map_err(store_error)?;
    let loader = Loader { connection: &snapshot, ns };
    let runs = loader.runs()?;
    let mut rows = loader.definitions(&runs)?;
    let split: Vec<RunId> = runs.iter().filter(|run| run.tasks.is_empty()).map(|run| run.id).collect();
    rows.extend(runs.into_iter().map(|run| (Key::Run(run.id), Row::Run(Box::new(run)))));
    for run in split {
        loader.tasks(run, &mut rows)?;
    }
    loader.named(Kind::Pool, Key::Pool, &mut rows)?;
    loader.named(Kind::Queue, Key::Queue, &mut rows)?;
    loader.named(Kind::PausedWorkflow, Key::PausedWorkflow, &mut rows)?;
    loader.continuations(&mut rows)?;
    loader.children(&mut rows)?;
    loader.alerts(&mut rows)?;
    Ok(Loaded { commit, meta, rows })
}

fn read_meta(connection: &Connection, ns: i64) -> rusqlite::Result<(CommitSeq, Meta)> {
    let sql = "SELECT commit_seq, next_seq, next_fence, high_water FROM namespace WHERE ns = ?1";
    connection.query_row(sql, [ns], |row| {
        let column = |place: usize| row.get::<_, i64>(place).map(i64::unsigned_abs);
        let meta = Meta { next_seq: Seq(column(1)?), next_fence: Fence(column(2)?), high_water: Timestamp(column(3)?) };
        Ok((CommitSeq(column(0)?), meta))
    })
}

type Rows = Vec<(Key, Row)>;

struct Loader<'a> {
    connection: &'a Connection,
    ns: i64,
}

impl Loader<'_> {
    fn runs(&self) -> Result<Vec<Run>, StoreError> {
        let mut runs = Vec::new();
        let sql = "SELECT run_id, body FROM run WHERE ns = ?1 ORDER BY run_id";
        each_row(self.connection, sql, [self.ns], |row| {
            let run: Run = decode_as(Kind::Run, text(row, 1)?)?;
            if text(row, 0)? != run.id.to_string() {
                return Err(StoreError::damaged(format!("the row of another run holds {}", run.id)));
            }
            runs.push(run);
            Ok(())
        })?;
        Ok(runs)
    }

    /// The definitions that live runs name.
    fn definitions(&self, runs: &[Run]) -> Result<Rows, StoreError> {
        let hashes: BTreeSet<&DefinitionHash> = runs.iter().flat_map(Run::definitions).collect();
        let mut rows = Vec::with_capacity(hashes.len() + runs.len());
        for hash in hashes {
            let definition = definition::read(self.connection, self.ns, hash)?.ok_or_else(|| {
                StoreError::damaged(format!("a live run names the definition `{}`, which is not stored", hash.0))
            })?;
            rows.push((Key::Definition(hash.clone()), Row::Definition(definition)));
        }
        Ok(rows)
    }

    fn tasks(&self, run: RunId, rows: &mut Rows) -> Result<(), StoreError> {
        let sql = "SELECT place, body FROM task WHERE ns = ?1 AND run_id = ?2 ORDER BY place";
        each_row(self.connection, sql, (self.ns, run.to_string()), |row| {
            let place: u32 = row.get(0).map_err(store_error)?;
            rows.push((Key::Task(run.task(TaskIndex(place))), decode(Kind::Task, text(row, 1)?)?));
            Ok(())
        })
    }

    fn named(&self, kind: Kind, key: impl Fn(String) -> Key, rows: &mut Rows) -> Result<(), StoreError> {
        let sql = format!("SELECT name, body FROM {} WHERE ns = ?1 ORDER BY name", kind.table());
        each_row(self.connection, &sql, [self.ns], |row| {
            rows.push((key(text(row, 0)?.into()), decode(kind, text(row, 1)?)?));
            Ok(())
        })
    }

    fn children(&self, rows: &mut Rows) -> Result<(), StoreError> {
        let sql = "SELECT run_id, place, key, body FROM child WHERE ns = ?1 ORDER BY run_id, place, key";
        each_row(self.connection, sql, [self.ns], |row| {
            let named = text(row, 0)?;
            let run: RunId = named.parse().map_err(|_| StoreError::damaged(format!("`{named}` is no id of a run")))?;
            let place: u32 = row.get(1).map_err(store_error)?;
            let key = Key::Child(run.task(TaskIndex(place)), text(row, 2)?.into());
            rows.push((key, decode(Kind::Child, text(row, 3)?)?));
            Ok(())
        })
    }

    fn alerts(&self, rows: &mut Rows) -> Result<(), StoreError> {
        let sql = "SELECT seq, body FROM alert WHERE ns = ?1 ORDER BY seq";
        each_row(self.connection, sql, [self.ns], |row| {
            rows.push((Key::Alert(Seq(number(row, 0)?)), decode(Kind::Alert, text(row, 1)?)?));
            Ok(())
        })
    }

    fn continuations(&self, rows: &mut Rows) -> Result<(), StoreError> {
        let sql = "SELECT seq, body FROM continuation WHERE ns = ?1 ORDER BY seq";
        each_row(self.connection, sql, [self.ns], |row| {
            rows.push((Key::Continuation(Seq(number(row, 0)?)), decode(Kind::Continuation, text(row, 1)?)?));
            Ok(())
        })
    }
}
