//! Verdicts: their rows, the runs that they are about, and how they are listed.

use super::{
    fault::store_error,
    int,
    rows::{each_row, text},
};
use crate::{
    StoreError, VerdictFilter,
    body::{Kind, decode_as},
};
use rusqlite::{Connection, OptionalExtension, ToSql, params};
use unknot_core::{Seq, Timestamp, deadlock::Deadlock};

/// Writes a verdict, or writes it anew.
pub(super) fn put(
    connection: &Connection,
    ns: i64,
    verdict: &Deadlock,
    body: &str,
    graph: &str,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO deadlock (ns, seq, kind, outcome, at, is_open, body, graph)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
               ON CONFLICT (ns, seq) DO UPDATE SET outcome = excluded.outcome, is_open = excluded.is_open,
                   body = excluded.body, graph = excluded.graph";
    let (seq, is_open) = (int(verdict.seq.0), verdict.ended_at.is_none());
    let (kind, outcome) = (verdict.kind.word(), verdict.outcome.word());
    connection.prepare_cached(sql)?.execute(params![
        ns,
        seq,
        kind,
        outcome,
        int(verdict.at.0),
        is_open,
        body,
        graph
    ])?;
    let sql = "INSERT OR IGNORE INTO deadlock_run (ns, run_id, seq) VALUES (?1, ?2, ?3)";
    let mut statement = connection.prepare_cached(sql)?;
    for run in verdict.runs().iter().chain(&verdict.above) {
        statement.execute(params![ns, run.to_string(), seq])?;
    }
    Ok(())
}

/// Removes a verdict.
pub(super) fn delete(connection: &Connection, ns: i64, seq: Seq) -> rusqlite::Result<()> {
    for sql in
        ["DELETE FROM deadlock_run WHERE ns = ?1 AND seq = ?2", "DELETE FROM deadlock WHERE ns = ?1 AND seq = ?2"]
    {
        connection.prepare_cached(sql)?.execute(params![ns, int(seq.0)])?;
    }
    Ok(())
}

/// The oldest verdicts that were made before a moment. They stand in the order in which they were made.
pub(super) fn older_than(
    connection: &Connection,
    ns: i64,
    before: Timestamp,
    most: usize,
) -> rusqlite::Result<Vec<Seq>> {
    let sql = "SELECT seq FROM (SELECT seq, at FROM deadlock WHERE ns = ?1 ORDER BY seq LIMIT ?3) WHERE at < ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_map(params![ns, int(before.0), int(most as u64)], |row| row.get::<_, i64>(0))?;
    found.map(|seq| seq.map(|seq| Seq(seq.unsigned_abs()))).collect()
}

/// A verdict with its graph.
pub(super) fn read(connection: &Connection, ns: i64, seq: Seq) -> Result<Option<Deadlock>, StoreError> {
    let sql = "SELECT body, graph FROM deadlock WHERE ns = ?1 AND seq = ?2";
    let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
    let found = statement.query_row(params![ns, int(seq.0)], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)));
    let Some((body, graph)): Option<(String, String)> = found.optional().map_err(store_error)? else {
        return Ok(None);
    };
    let verdict: Deadlock = decode_as(Kind::Deadlock, &body)?;
    Ok(Some(Deadlock { graph: decode_as(Kind::Deadlock, &graph)?, ..verdict }))
}

/// Verdicts without their graphs, the newest first.
pub(super) fn list(
    connection: &Connection,
    ns: i64,
    filter: &VerdictFilter,
    after: Option<Seq>,
    most: i64,
    mut look_at_the_clock: impl FnMut() -> Result<(), StoreError>,
) -> Result<Vec<Deadlock>, StoreError> {
    let below = after.map_or(i64::MAX, |seq| int(seq.0));
    let since = filter.since.map_or(0, |at| int(at.0));
    let run = filter.run.map(|run| run.to_string());
    let kind = filter.kind.map(|kind| kind.word());
    let mut values: Vec<&dyn ToSql> = vec![&ns, &below, &since, &most];
    // Which index is walked is decided here: that of a run's verdicts leaves out the most.
    let mut sql = match &run {
        Some(run) => {
            values.push(run);
            "SELECT d.body FROM deadlock_run r CROSS JOIN deadlock d ON d.ns = r.ns AND d.seq = r.seq
              WHERE r.ns = ?1 AND r.run_id = ?5 AND r.seq < ?2 AND d.at >= ?3"
        }
        None => "SELECT d.body FROM deadlock d WHERE d.ns = ?1 AND d.seq < ?2 AND d.at >= ?3",
    }
    .to_owned();
    for (column, value) in [("kind", &kind), ("outcome", &filter.outcome)] {
        if let Some(value) = value {
            values.push(value);
            sql.push_str(&format!(" AND d.{column} = ?{}", values.len()));
        }
    }
    if filter.is_open {
        sql.push_str(" AND d.is_open");
    }
    sql.push_str(if run.is_some() { " ORDER BY r.seq DESC LIMIT ?4" } else { " ORDER BY d.seq DESC LIMIT ?4" });
    let mut found = Vec::new();
    each_row(connection, &sql, values.as_slice(), |row| {
        look_at_the_clock()?;
        found.push(decode_as(Kind::Deadlock, text(row, 0)?)?);
        Ok(())
    })?;
    Ok(found)
}
