//! One batch, one transaction, one sync.
//!
//! A single-task run costs four row operations over its life: a put when it is submitted and leased,
//! a delete and a put when it ends, and its share of the batch's history row. What is counted beside
//! them (namespace, definition users, finished runs) is written once per batch.

use super::{
    definition,
    fault::{Fault, commit_error},
    int, prune, verdict,
};
use crate::{
    CommitError, Epoch,
    body::{Encoder, Kind},
    changes::{Changes, Tally},
};
use rusqlite::{Connection, OptionalExtension, params, params_from_iter, types::ToSqlOutput};
use std::sync::LazyLock;
use unknot_core::{
    CommitSeq, RunId,
    row::{Batch, FinishedRun, Key, Row},
    run::Run,
};

/// The namespace that a batch is for, and the epoch that it comes under.
#[derive(Clone, Copy)]
pub(super) struct Tenure {
    pub(super) ns: i64,
    pub(super) epoch: Epoch,
}

/// Why a transaction does not reach its COMMIT.
enum Abort {
    Sqlite(rusqlite::Error),
    Known(CommitError),
}

impl From<rusqlite::Error> for Abort {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<CommitError> for Abort {
    fn from(error: CommitError) -> Self {
        Self::Known(error)
    }
}

/// Stores a batch: all of it, synced, or nothing.
pub(super) fn commit(
    connection: &Connection,
    encoder: &mut Encoder,
    tenure: Tenure,
    batch: &Batch,
) -> Result<(), CommitError> {
    let changes = Changes::of(batch).map_err(|detail| CommitError::Violated { detail })?;
    execute(connection, "BEGIN IMMEDIATE").map_err(commit_error)?;
    let mut writer = Writer { connection, encoder, ns: tenure.ns };
    if let Err(abort) = writer.write(tenure.epoch, batch, &changes) {
        roll_back(connection)?;
        return Err(match abort {
            Abort::Sqlite(error) => commit_error(error),
            Abort::Known(error) => error,
        });
    }
    match execute(connection, "COMMIT") {
        Ok(()) => {
            mark(connection);
            Ok(())
        }
        Err(error) => settle(connection, tenure.ns, batch.commit, error),
    }
}

/// Begins a read at the newest commit, and ends it. A reader writes the place that it begins at into the index of the
/// journal, unless that stands there already. On a disk that stands still, whoever had to write there would wait for
/// as long as it does; so the writer does it while the disk still moves.
fn mark(connection: &Connection) {
    // Should it fail, the next reader does it by itself.
    let found: rusqlite::Result<i64> = connection
        .prepare_cached("SELECT ns FROM namespace LIMIT 1")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)));
    found.map(drop).unwrap_or_default();
}

/// After a COMMIT that failed: what readers of this database see decides whether it took effect. Frames
/// that reached the journal but not its index are written over by the next commit, which (retried)
/// is the same batch; after a crash they may come to life, unanswered, as an unknown outcome would.
fn settle(connection: &Connection, ns: i64, commit: CommitSeq, error: rusqlite::Error) -> Result<(), CommitError> {
    roll_back(connection)?;
    let last: rusqlite::Result<i64> =
        connection.query_row("SELECT commit_seq FROM namespace WHERE ns = ?1", [ns], |row| row.get(0));
    match last {
        Ok(last) if last == int(commit.0) => Ok(()),
        Ok(_) => Err(commit_error(error)),
        Err(_) => Err(CommitError::Unknown { cause: error.into() }),
    }
}

/// Ends a transaction without effect. SQLite has done so itself after some errors.
fn roll_back(connection: &Connection) -> Result<(), CommitError> {
    if connection.is_autocommit() {
        return Ok(());
    }
    execute(connection, "ROLLBACK").map_err(|error| match Fault::of(&error) {
        Fault::Corrupt | Fault::NotADatabase => CommitError::Corrupt { cause: error.into() },
        _ => CommitError::Unknown { cause: error.into() },
    })
}

fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(|_| ())
}

/// Writes the parts of one batch inside its transaction.
struct Writer<'a> {
    connection: &'a Connection,
    encoder: &'a mut Encoder,
    ns: i64,
}

impl Writer<'_> {
    fn write(&mut self, epoch: Epoch, batch: &Batch, changes: &Changes<'_>) -> Result<(), Abort> {
        self.advance(epoch, batch)?;
        for key in &changes.deletes {
            self.delete(key)?;
        }
        for (key, row) in &changes.puts {
            self.put(key, row)?;
        }
        self.count(&changes.tally(batch), batch.commit)?;
        if !batch.history.is_empty() {
            let body = self.encoder.history(&batch.history).map_err(violated)?;
            let sql = "INSERT INTO history (ns, commit_seq, body) VALUES (?1, ?2, ?3)";
            self.connection.prepare_cached(sql)?.execute(params![self.ns, int(batch.commit.0), body])?;
        }
        Ok(())
    }

    /// Moves the namespace on by one commit, if the epoch is the newest and the number the next one.
    fn advance(&self, epoch: Epoch, batch: &Batch) -> Result<(), Abort> {
        let mut statement = self.connection.prepare_cached(
            "UPDATE namespace SET commit_seq = ?3, next_seq = ?4, next_fence = ?5, high_water = ?6
              WHERE ns = ?1 AND epoch = ?2 AND commit_seq = ?3 - 1",
        )?;
        let meta = &batch.meta;
        let moved = statement.execute(params![
            self.ns,
            int(epoch.0),
            int(batch.commit.0),
            int(meta.next_seq.0),
            int(meta.next_fence.0),
            int(meta.high_water.0),
        ])?;
        if moved == 1 {
            return Ok(());
        }
        let mut statement = self.connection.prepare_cached("SELECT epoch, commit_seq FROM namespace WHERE ns = ?1")?;
        let (current, last): (i64, i64) = statement.query_row([self.ns], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let current = Epoch(current.unsigned_abs());
        Err(Abort::Known(if current == epoch {
            CommitError::out_of_order(batch.commit, CommitSeq(last.unsigned_abs()))
        } else {
            CommitError::Fenced { held: epoch, current }
        }))
    }

    fn delete(&self, key: &Key) -> Result<(), Abort> {
        match key {
            Key::Finished(run) => drop(prune::delete_finished(self.connection, self.ns, &run.to_string())?),
            Key::Definition(hash) => definition::delete(self.connection, self.ns, hash)?,
            Key::Deadlock(seq) => verdict::delete(self.connection, self.ns, *seq)?,
            _ => {
                let mut statement = self.connection.prepare_cached(&Statements::of(key).delete)?;
                statement.execute(params_from_iter(self.place(key)))?;
            }
        }
        Ok(())
    }

    fn put(&mut self, key: &Key, row: &Row) -> Result<(), Abort> {
        if let Row::Definition(definition) = row {
            return Ok(definition::put(self.connection, self.encoder, self.ns, definition)?);
        }
        if let Row::Deadlock(verdict) = row {
            let (body, graph) = self.encoder.verdict(verdict).map_err(violated)?;
            return Ok(verdict::put(self.connection, self.ns, verdict, &body, &graph)?);
        }
        let place = self.place(key);
        let body = self.encoder.row(row).map_err(violated)?;
        match row {
            Row::Run(run) => {
                require_free(self.connection, self.ns, run, "finished")?;
                put_run(self.connection, self.ns, run, body)?;
            }
            Row::Finished(finished) => {
                require_free(self.connection, self.ns, &finished.run, "run")?;
                put_finished(self.connection, self.ns, finished, body)?;
            }
            Row::Task(task) => {
                let values =
                    place.into_iter().chain([ToSqlOutput::from(body), ToSqlOutput::from(task.status().word())]);
                self.connection.prepare_cached(PUT_TASK)?.execute(params_from_iter(values))?;
            }
            _ => {
                let values = place.into_iter().chain([ToSqlOutput::from(body)]);
                self.connection.prepare_cached(&Statements::of(key).put)?.execute(params_from_iter(values))?;
            }
        }
        Ok(())
    }

    /// The columns under which the row of a key is kept: the namespace, then [`Kind::key_columns`].
    fn place<'k>(&self, key: &'k Key) -> Vec<ToSqlOutput<'k>> {
        let number = |number: u64| ToSqlOutput::from(int(number));
        let id = |run: &RunId| ToSqlOutput::from(run.to_string());
        let mut place = vec![ToSqlOutput::from(self.ns)];
        match key {
            Key::Definition(hash) => place.push(ToSqlOutput::from(&*hash.0)),
            Key::Run(run) | Key::Finished(run) => place.push(id(run)),
            Key::Task(task) | Key::DeadLetter(task) => place.extend([id(&task.run), number(task.index.0.into())]),
            Key::Pool(name) | Key::Queue(name) | Key::PausedWorkflow(name) => {
                place.push(ToSqlOutput::from(name.as_str()));
            }
            Key::Workflow(name, seq) => place.extend([ToSqlOutput::from(name.as_str()), number(seq.0)]),
            Key::Continuation(seq) | Key::Quarantine(seq) | Key::Deadlock(seq) | Key::Alert(seq) => {
                place.push(number(seq.0));
            }
            Key::Child(task, key) => {
                place.extend([id(&task.run), number(task.index.0.into()), ToSqlOutput::from(key.as_str())]);
            }
        }
        place
    }

    /// Writes what is counted per batch, not per row.
    fn count(&self, tally: &Tally<'_>, commit: CommitSeq) -> Result<(), Abort> {
        for (hash, runs) in &tally.definition_users {
            let sql = "SELECT 1 FROM definition WHERE ns = ?1 AND hash = ?2";
            let known =
                self.connection.prepare_cached(sql)?.query_row(params![self.ns, hash.0], |_| Ok(())).optional()?;
            if known.is_none() {
                return Err(Abort::Known(CommitError::undefined(&hash.0)));
            }
            self.connection.prepare_cached(COUNT_DEFINITION)?.execute(params![self.ns, hash.0, int(*runs)])?;
        }
        for (status, runs) in &tally.finished {
            let mut statement = self.connection.prepare_cached(COUNT_FINISHED)?;
            statement.execute(params![self.ns, status.to_string(), int(*runs)])?;
        }
        for run in &tally.far_runs {
            let sql = "INSERT INTO run_commit (ns, run_id, commit_seq) VALUES (?1, ?2, ?3)";
            self.connection.prepare_cached(sql)?.execute(params![self.ns, run.to_string(), int(commit.0)])?;
        }
        Ok(())
    }
}

/// Refuses a run whose idempotency key a run of the other table owns; within a table an index does.
fn require_free(connection: &Connection, ns: i64, run: &Run, other: &str) -> Result<(), Abort> {
    let Some(owned) = &run.idempotency else { return Ok(()) };
    let sql = format!("SELECT run_id FROM {other} WHERE ns = ?1 AND idempotency_key = ?2");
    let owner: Option<String> =
        connection.prepare_cached(&sql)?.query_row(params![ns, owned.key], |row| row.get(0)).optional()?;
    match owner {
        None => Ok(()),
        Some(owner) => {
            let detail = format!("the idempotency key `{}` belongs to {owner} and to {}", owned.key, run.id);
            Err(Abort::Known(violated(detail)))
        }
    }
}

fn put_run(connection: &Connection, ns: i64, run: &Run, body: &str) -> rusqlite::Result<usize> {
    let key = run.idempotency.as_ref().map(|owned| owned.key.as_str());
    connection.prepare_cached(PUT_RUN)?.execute(params![ns, run.id.to_string(), key, run.source, body])
}

fn put_finished(connection: &Connection, ns: i64, finished: &FinishedRun, body: &str) -> rusqlite::Result<usize> {
    let (run, id) = (&finished.run, finished.run.id.to_string());
    for (name, value) in &run.labels {
        connection.prepare_cached(PUT_LABEL)?.execute(params![ns, name, value, id])?;
    }
    connection.prepare_cached(PUT_FINISHED)?.execute(params![
        ns,
        id,
        finished.status.to_string(),
        int(finished.ended_at.0),
        run.workflow,
        run.client_id,
        run.idempotency.as_ref().map(|owned| owned.key.as_str()),
        run.source,
        body,
    ])
}

fn violated(detail: String) -> CommitError {
    CommitError::Violated { detail }
}

/// What puts and deletes a row that is a body under a key and nothing else.
struct Statements {
    put: String,
    delete: String,
}

impl Statements {
    fn of(key: &Key) -> &'static Self {
        static ALL: LazyLock<[Statements; Kind::ALL.len()]> = LazyLock::new(|| Kind::ALL.map(Statements::build));
        &ALL[Kind::of(key) as usize]
    }

    fn build(kind: Kind) -> Self {
        let (table, columns) = (kind.table(), kind.key_columns());
        let body = columns.len() + 2;
        let place: Vec<String> = (1..body).map(|number| format!("?{number}")).collect();
        let (columns, place) = (columns.join(", "), place.join(", "));
        Self {
            put: format!(
                "INSERT INTO {table} (ns, {columns}, body) VALUES ({place}, ?{body})
                 ON CONFLICT (ns, {columns}) DO UPDATE SET body = excluded.body"
            ),
            delete: format!("DELETE FROM {table} WHERE (ns, {columns}) = ({place})"),
        }
    }
}

const PUT_TASK: &str = "INSERT INTO task (ns, run_id, place, body, status) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (ns, run_id, place) DO UPDATE SET body = excluded.body, status = excluded.status";
const PUT_RUN: &str = "INSERT INTO run (ns, run_id, idempotency_key, source, body) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (ns, run_id) DO UPDATE SET body = excluded.body";
/// A run ends once: a second end is a violation, not an update.
const PUT_FINISHED: &str = "INSERT INTO finished
    (ns, run_id, status, ended_at, workflow, client_id, idempotency_key, source, body)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
const PUT_LABEL: &str = "INSERT INTO finished_label (ns, name, value, run_id) VALUES (?1, ?2, ?3, ?4)";
const COUNT_DEFINITION: &str = "INSERT INTO definition_use (ns, hash, runs) VALUES (?1, ?2, ?3)
    ON CONFLICT (ns, hash) DO UPDATE SET runs = runs + excluded.runs";
const COUNT_FINISHED: &str = "INSERT INTO finished_count (ns, status, runs) VALUES (?1, ?2, ?3)
    ON CONFLICT (ns, status) DO UPDATE SET runs = runs + excluded.runs";
