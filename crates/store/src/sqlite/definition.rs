//! Definitions, the large ones in parts: who needs few of a hundred thousand tasks reads few.

use super::{
    fault::store_error,
    int,
    rows::{each_row, number, text},
};
use crate::{
    StoreError,
    body::{Encoder, Kind, decode_as},
};
use rusqlite::{Connection, OptionalExtension, params};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use unknot_core::{
    TaskIndex,
    workflow::{Definition, DefinitionHash, Stored, TaskDef},
};

/// Tasks of one part; a definition of no more is one row.
const PART_TASKS: usize = 256;

/// Stores a definition. One that is there already has the same parts: its hash is of its content.
pub(super) fn put(
    connection: &Connection,
    encoder: &mut Encoder,
    ns: i64,
    definition: &Definition,
) -> Result<(), rusqlite::Error> {
    let body = &definition.body;
    let failed = |detail: String| rusqlite::Error::ToSqlConversionFailure(detail.into());
    let whole = body.tasks.len() <= PART_TASKS;
    let text = if whole { encoder.json(body) } else { encoder.json(&head(body)) };
    let sql = "INSERT INTO definition (ns, hash, body) VALUES (?1, ?2, ?3)
        ON CONFLICT (ns, hash) DO UPDATE SET body = excluded.body";
    connection.prepare_cached(sql)?.execute(params![ns, body.hash.0, text.map_err(failed)?])?;
    let parts = body.tasks.chunks(PART_TASKS).filter(|_| !whole);
    for (part, tasks) in parts.enumerate() {
        let sql = "INSERT INTO definition_part (ns, hash, first, body) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (ns, hash, first) DO UPDATE SET body = excluded.body";
        let first = int((part * PART_TASKS) as u64);
        let text = encoder.json(tasks).map_err(failed)?;
        connection.prepare_cached(sql)?.execute(params![ns, body.hash.0, first, text])?;
    }
    Ok(())
}

/// All of a definition but its tasks.
fn head(body: &Stored) -> Stored {
    Stored {
        hash: body.hash.clone(),
        name: body.name.clone(),
        timeout: body.timeout,
        max_parallel: body.max_parallel,
        inputs: body.inputs.clone(),
        output: body.output.clone(),
        on_deadlock: body.on_deadlock,
        pending_stale: body.pending_stale,
        workflow_stale: body.workflow_stale,
        tasks: Vec::new(),
    }
}

/// Reads a definition with all its parts.
pub(super) fn read(
    connection: &Connection,
    ns: i64,
    hash: &DefinitionHash,
) -> Result<Option<Arc<Definition>>, StoreError> {
    let Some(mut stored) = read_row(connection, ns, hash)? else { return Ok(None) };
    let sql = "SELECT first, body FROM definition_part WHERE ns = ?1 AND hash = ?2 ORDER BY first";
    each_row(connection, sql, params![ns, hash.0], |row| {
        if number(row, 0)? != stored.tasks.len() as u64 {
            return Err(StoreError::damaged(format!("a part of the definition `{}` is missing", hash.0)));
        }
        stored.tasks.extend(decode_as::<Vec<TaskDef>>(Kind::Definition, text(row, 1)?)?);
        Ok(())
    })?;
    let unreadable = |error| StoreError::damaged(format!("a definition row cannot be read: {error}"));
    Definition::try_from(stored).map(Arc::new).map(Some).map_err(unreadable)
}

/// Reads some of a definition's tasks; what it has not is left out.
pub(super) fn tasks(
    connection: &Connection,
    ns: i64,
    hash: &DefinitionHash,
    wanted: &BTreeSet<TaskIndex>,
) -> Result<BTreeMap<TaskIndex, TaskDef>, StoreError> {
    let part_of = |index: &TaskIndex| index.0 - index.0 % PART_TASKS as u32;
    let mut found = BTreeMap::new();
    let mut take = |first: u32, tasks: Vec<TaskDef>| {
        let places = (first..).map(TaskIndex);
        found.extend(places.zip(tasks).filter(|(index, _)| wanted.contains(index)));
    };
    for first in wanted.iter().map(part_of).collect::<BTreeSet<u32>>() {
        let sql = "SELECT body FROM definition_part WHERE ns = ?1 AND hash = ?2 AND first = ?3";
        each_row(connection, sql, params![ns, hash.0, first], |row| {
            take(first, decode_as(Kind::Definition, text(row, 0)?)?);
            Ok(())
        })?;
    }
    // The row has tasks of its own where there are no parts.
    if let Some(stored) = read_row(connection, ns, hash)? {
        take(0, stored.tasks);
    }
    Ok(found)
}

/// Removes a definition.
pub(super) fn delete(connection: &Connection, ns: i64, hash: &DefinitionHash) -> rusqlite::Result<()> {
    for table in ["definition", "definition_part", "definition_use"] {
        let sql = format!("DELETE FROM {table} WHERE ns = ?1 AND hash = ?2");
        connection.prepare_cached(&sql)?.execute(params![ns, hash.0])?;
    }
    Ok(())
}

fn read_row(connection: &Connection, ns: i64, hash: &DefinitionHash) -> Result<Option<Stored>, StoreError> {
    let sql = "SELECT body FROM definition WHERE ns = ?1 AND hash = ?2";
    let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
    let body: Option<String> =
        statement.query_row(params![ns, hash.0], |row| row.get(0)).optional().map_err(store_error)?;
    body.map(|body| decode_as(Kind::Definition, &body)).transpose()
}
