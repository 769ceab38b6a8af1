//! Questions to the embedded store, each one read transaction with a deadline.

mod events;
mod listing;

use super::{
    SqliteOptions,
    connection::{self, Deadline},
    definition,
    fault::{open_error, store_error},
    folder::Folder,
    int,
    load::load,
    rows::{each_row, number, text},
    schema, verdict,
};
use crate::{
    Answer, AsOf, Counts, Event, EventCursor, Facts, FactsQuery, Holds, Namespace, Page, PageSize, Reader, RunFilter,
    RunRecord, RunSummary, StoreError, VerdictFilter, WorkflowVersion,
    body::{Kind, decode_as},
};
use rusqlite::{Connection, OptionalExtension, Params};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use unknot_core::{
    CommitSeq, RunId, Seq, TaskId, TaskIndex, Timestamp,
    alert::{ALERTS_MAX, Alert},
    deadlock::Deadlock,
    row::{DeadLetter, FinishedRun, Loaded, Quarantined, RegisteredWorkflow},
    run::{RunStatus, Task, TaskStatus},
    settings::Queue,
    workflow::{Definition, DefinitionHash, TaskDef},
};

/// How many readers may be open, and how many are.
#[derive(Clone)]
pub(super) struct ReaderSlots {
    open: Arc<AtomicUsize>,
    max: usize,
}

/// The place of one open reader; free again when it is dropped.
pub(super) struct ReaderSlot(Arc<AtomicUsize>);

impl ReaderSlots {
    pub(super) fn new(max: usize) -> Self {
        Self { open: Arc::default(), max }
    }

    pub(super) fn take(&self) -> Result<ReaderSlot, StoreError> {
        let one_more = |open| (open < self.max).then_some(open + 1);
        match self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => Ok(ReaderSlot(Arc::clone(&self.open))),
            Err(_) => Err(StoreError::TooManyReaders { max: self.max }),
        }
    }
}

impl Drop for ReaderSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// See [`Reader`].
pub(super) struct SqliteReader {
    connection: Connection,
    deadline: Deadline,
    _slot: ReaderSlot,
}

impl SqliteReader {
    pub(super) fn open(folder: &Folder, options: &SqliteOptions, slot: ReaderSlot) -> Result<Self, StoreError> {
        let path = folder.database();
        let mut connection = connection::reader(&path)?;
        schema::require_current(&connection, &path)?;
        let deadline =
            Deadline::install(&mut connection, options.read_limit).map_err(|error| open_error(&path, error))?;
        Ok(Self { connection, deadline, _slot: slot })
    }

    /// Answers a question from one transaction. A namespace that does not exist has number zero, which
    /// no row has.
    fn ask<T>(
        &mut self,
        namespace: &Namespace,
        question: impl FnOnce(&Snapshot<'_>) -> Result<T, StoreError>,
    ) -> Answer<T> {
        self.deadline.start();
        let answer = self.connection.unchecked_transaction().map_err(store_error).and_then(|transaction| {
            let sql = "SELECT ns, commit_seq FROM namespace WHERE name = ?1";
            let mut statement = transaction.prepare_cached(sql).map_err(store_error)?;
            let found = statement.query_row([namespace.as_str()], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)));
            let (ns, commit) = found.optional().map_err(store_error)?.unwrap_or_default();
            let snapshot = Snapshot { connection: &transaction, ns, deadline: &self.deadline };
            Ok(AsOf { as_of: CommitSeq(commit.unsigned_abs()), value: question(&snapshot)? })
        });
        answer.map_err(|error| self.too_slow(error))
    }

    /// Says of an error that the time was over which time that was.
    fn too_slow(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::TooSlow { .. } => StoreError::TooSlow { limit: self.deadline.limit() },
            other => other,
        }
    }
}

/// What one read transaction sees of a namespace.
struct Snapshot<'a> {
    connection: &'a Connection,
    ns: i64,
    deadline: &'a Deadline,
}

impl Snapshot<'_> {
    /// The time between SQLite's own looks at the deadline, spent on parsing, counts too.
    fn look_at_the_clock(&self) -> Result<(), StoreError> {
        if self.deadline.has_passed() { Err(StoreError::TooSlow { limit: self.deadline.limit() }) } else { Ok(()) }
    }

    /// Hands each row that `sql` finds on, until the read has had its time.
    fn each(
        &self,
        sql: &str,
        params: impl Params,
        mut take: impl FnMut(&rusqlite::Row<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        each_row(self.connection, sql, params, |row| {
            self.look_at_the_clock()?;
            take(row)
        })
    }

    /// The one text that a query finds, if it finds one.
    fn one_text(&self, sql: &str, params: impl Params) -> Result<Option<String>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(store_error)?;
        statement.query_row(params, |row| row.get(0)).optional().map_err(store_error)
    }

    fn record(&self, run: RunId) -> Result<Option<RunRecord>, StoreError> {
        let id = run.to_string();
        if let Some(body) = self.one_text("SELECT body FROM run WHERE ns = ?1 AND run_id = ?2", (self.ns, &id))? {
            return decode_as(Kind::Run, &body).map(RunRecord::Live).map(Some);
        }
        let body = self.one_text("SELECT body FROM finished WHERE ns = ?1 AND run_id = ?2", (self.ns, &id))?;
        body.map(|body| decode_as(Kind::Finished, &body).map(RunRecord::Finished)).transpose()
    }

    fn tasks(
        &self,
        run: RunId,
        after: Option<TaskIndex>,
        size: PageSize,
    ) -> Result<Page<(TaskIndex, Task), TaskIndex>, StoreError> {
        let is_wanted = |index: TaskIndex| after.is_none_or(|after| index > after);
        let inline = self.record(run)?;
        let inline = inline.iter().flat_map(|record| record.run().indexed_tasks());
        let inline = inline.filter(|(index, _)| is_wanted(*index)).map(|(index, task)| (index, task.clone()));
        let mut found: Vec<_> = inline.take(size.items() + 1).collect();
        let sql = "SELECT place, body FROM task WHERE ns = ?1 AND run_id = ?2 AND place > ?3
                   ORDER BY place LIMIT ?4";
        let after = after.map_or(-1, |after| i64::from(after.0));
        self.each(sql, (self.ns, run.to_string(), after, one_more(size)), |row| {
            let place = row.get(0).map_err(store_error)?;
            found.push((TaskIndex(place), decode_as(Kind::Task, text(row, 1)?)?));
            Ok(())
        })?;
        Ok(Page::cut(found, size, |(index, _)| *index))
    }

    /// The finished run that owns a key, and the hash of what was submitted under it.
    fn tasks_in(&self, run: RunId, status: TaskStatus, size: PageSize) -> Result<Vec<(TaskIndex, Task)>, StoreError> {
        let inline = self.record(run)?;
        let inline = inline.iter().flat_map(|record| record.run().indexed_tasks());
        let inline = inline.filter(|(_, task)| task.status() == status).map(|(index, task)| (index, task.clone()));
        let mut found: Vec<_> = inline.take(size.items()).collect();
        let sql = "SELECT place, body FROM task INDEXED BY task_by_status
                    WHERE ns = ?1 AND run_id = ?2 AND status = ?3 ORDER BY place LIMIT ?4";
        self.each(sql, (self.ns, run.to_string(), status.word(), int(size.items() as u64)), |row| {
            let place = row.get(0).map_err(store_error)?;
            found.push((TaskIndex(place), decode_as(Kind::Task, text(row, 1)?)?));
            Ok(())
        })?;
        Ok(found)
    }

    fn key_owner(&self, key: &str) -> Result<Option<(RunId, String)>, StoreError> {
        let sql = "SELECT body FROM finished WHERE ns = ?1 AND idempotency_key = ?2";
        let Some(body) = self.one_text(sql, (self.ns, key))? else { return Ok(None) };
        let run = decode_as::<FinishedRun>(Kind::Finished, &body)?.run;
        Ok(run.idempotency.map(|owned| (run.id, owned.body_hash)))
    }

    fn final_status(&self, run: RunId) -> Result<Option<RunStatus>, StoreError> {
        let sql = "SELECT status FROM finished WHERE ns = ?1 AND run_id = ?2";
        self.one_text(sql, (self.ns, run.to_string()))?.map(|status| parse_status(&status)).transpose()
    }

    fn latest_by_source(&self, source: &str, size: PageSize) -> Result<Vec<RunRecord>, StoreError> {
        let mut records = Vec::new();
        let params = (self.ns, source, int(size.items() as u64));
        let live = "SELECT body FROM run WHERE ns = ?1 AND source = ?2 ORDER BY run_id DESC LIMIT ?3";
        self.each(live, params, |row| {
            records.push(RunRecord::Live(decode_as(Kind::Run, text(row, 0)?)?));
            Ok(())
        })?;
        let finished = "SELECT body FROM finished WHERE ns = ?1 AND source = ?2 ORDER BY run_id DESC LIMIT ?3";
        self.each(finished, params, |row| {
            records.push(RunRecord::Finished(decode_as(Kind::Finished, text(row, 0)?)?));
            Ok(())
        })?;
        records.sort_by_key(|record| std::cmp::Reverse(record.id()));
        records.truncate(size.items());
        Ok(records)
    }

    fn counts(&self) -> Result<Counts, StoreError> {
        let mut counts = Counts::default();
        self.each("SELECT status, runs FROM finished_count WHERE ns = ?1 AND runs > 0", [self.ns], |row| {
            counts.finished.insert(parse_status(text(row, 0)?)?, number(row, 1)?);
            Ok(())
        })?;
        self.each("SELECT count(*) FROM dead_letter WHERE ns = ?1", [self.ns], |row| {
            counts.dead_letters = number(row, 0)?;
            Ok(())
        })?;
        // Each has to be read for that, so of very many not all are.
        let handled = "SELECT coalesce(sum(json_extract(body, '$.handled')), 0)
                       FROM (SELECT body FROM dead_letter WHERE ns = ?1 LIMIT 10000)";
        self.each(handled, [self.ns], |row| {
            counts.handled_letters = number(row, 0)?;
            Ok(())
        })?;
        self.each("SELECT count(*) FROM quarantine WHERE ns = ?1", [self.ns], |row| {
            counts.quarantined = number(row, 0)?;
            Ok(())
        })?;
        Ok(counts)
    }
}

impl Reader for SqliteReader {
    fn run(&mut self, namespace: &Namespace, run: RunId) -> Answer<Option<RunRecord>> {
        self.ask(namespace, |snapshot| snapshot.record(run))
    }

    fn runs(
        &mut self,
        namespace: &Namespace,
        filter: &RunFilter,
        after: Option<RunId>,
        size: PageSize,
    ) -> Answer<Page<RunSummary, RunId>> {
        self.ask(namespace, |snapshot| listing::runs(snapshot, filter, after, size))
    }

    fn tasks(
        &mut self,
        namespace: &Namespace,
        run: RunId,
        after: Option<TaskIndex>,
        size: PageSize,
    ) -> Answer<Page<(TaskIndex, Task), TaskIndex>> {
        self.ask(namespace, |snapshot| snapshot.tasks(run, after, size))
    }

    fn tasks_in(
        &mut self,
        namespace: &Namespace,
        run: RunId,
        status: TaskStatus,
        size: PageSize,
    ) -> Answer<Vec<(TaskIndex, Task)>> {
        self.ask(namespace, |snapshot| snapshot.tasks_in(run, status, size))
    }

    fn events(
        &mut self,
        namespace: &Namespace,
        run: RunId,
        after: Option<EventCursor>,
        size: PageSize,
    ) -> Answer<Page<Event, EventCursor>> {
        self.ask(namespace, |snapshot| events::events(snapshot, run, after, size))
    }

    fn dead_letters(
        &mut self,
        namespace: &Namespace,
        after: Option<TaskId>,
        size: PageSize,
    ) -> Answer<Page<DeadLetter, TaskId>> {
        // `task_…` sorts after every run id, so no cursor means from the top.
        let top = || ("task_".to_owned(), 0);
        let (run, place) = after.map_or_else(top, |task| (task.run.to_string(), i64::from(task.index.0)));
        self.ask(namespace, |snapshot| {
            let mut found: Vec<DeadLetter> = Vec::new();
            let sql = "SELECT body FROM dead_letter WHERE ns = ?1 AND (run_id, place) < (?2, ?3)
                       ORDER BY run_id DESC, place DESC LIMIT ?4";
            snapshot.each(sql, (snapshot.ns, &run, place, one_more(size)), |row| {
                found.push(decode_as(Kind::DeadLetter, text(row, 0)?)?);
                Ok(())
            })?;
            Ok(Page::cut(found, size, |letter| letter.task))
        })
    }

    fn workflows(
        &mut self,
        namespace: &Namespace,
        after: Option<&str>,
        size: PageSize,
    ) -> Answer<Page<WorkflowVersion, String>> {
        self.ask(namespace, |snapshot| {
            let sql = "SELECT name, seq, json_extract(body, '$.hash'), json_extract(body, '$.at'),
                              json_extract(body, '$.by')
                         FROM workflow w WHERE ns = ?1 AND name > ?2
                          AND seq = (SELECT max(seq) FROM workflow v WHERE v.ns = w.ns AND v.name = w.name)
                        ORDER BY name LIMIT ?3";
            let found = snapshot.versions(sql, (snapshot.ns, after.unwrap_or_default(), one_more(size)))?;
            Ok(Page::cut(found, size, |version| version.name.clone()))
        })
    }

    fn holds(&mut self, namespace: &Namespace, size: PageSize) -> Answer<Holds> {
        self.ask(namespace, |snapshot| {
            let mut holds = Holds::default();
            let few = int(size.items() as u64);
            let sql = "SELECT name, body FROM queue WHERE ns = ?1 AND json_extract(body, '$.paused') IS NOT NULL
                        ORDER BY name LIMIT ?2";
            snapshot.each(sql, (snapshot.ns, few), |row| {
                let (name, queue): (_, Queue) = (text(row, 0)?.to_owned(), decode_as(Kind::Queue, text(row, 1)?)?);
                holds.queues.extend(queue.paused.map(|paused| (name, paused)));
                Ok(())
            })?;
            let sql = "SELECT name, body FROM paused_workflow WHERE ns = ?1 ORDER BY name LIMIT ?2";
            snapshot.each(sql, (snapshot.ns, few), |row| {
                let paused = decode_as(Kind::PausedWorkflow, text(row, 1)?)?;
                holds.workflows.insert(text(row, 0)?.to_owned(), paused);
                Ok(())
            })?;
            Ok(holds)
        })
    }

    fn workflow_versions(&mut self, namespace: &Namespace, name: &str, size: PageSize) -> Answer<Vec<WorkflowVersion>> {
        self.ask(namespace, |snapshot| {
            let sql = "SELECT name, seq, json_extract(body, '$.hash'), json_extract(body, '$.at'),
                              json_extract(body, '$.by')
                         FROM workflow WHERE ns = ?1 AND name = ?2 ORDER BY seq DESC LIMIT ?3";
            snapshot.versions(sql, (snapshot.ns, name, int(size.items() as u64)))
        })
    }

    fn workflow(
        &mut self,
        namespace: &Namespace,
        name: &str,
        hash: Option<&str>,
    ) -> Answer<Option<RegisteredWorkflow>> {
        self.ask(namespace, |snapshot| {
            let mut found = None;
            let sql = "SELECT body FROM workflow
                        WHERE ns = ?1 AND name = ?2 AND substr(json_extract(body, '$.hash'), 1, length(?3)) = ?3
                        ORDER BY seq DESC LIMIT 1";
            snapshot.each(sql, (snapshot.ns, name, hash.unwrap_or_default()), |row| {
                found = Some(decode_as(Kind::Workflow, text(row, 0)?)?);
                Ok(())
            })?;
            Ok(found)
        })
    }

    fn quarantine(
        &mut self,
        namespace: &Namespace,
        after: Option<Seq>,
        size: PageSize,
    ) -> Answer<Page<(Seq, Quarantined), Seq>> {
        let below = after.map_or(i64::MAX, |seq| int(seq.0));
        self.ask(namespace, |snapshot| {
            let mut found: Vec<(Seq, Quarantined)> = Vec::new();
            let sql = "SELECT seq, body FROM quarantine WHERE ns = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3";
            snapshot.each(sql, (snapshot.ns, below, one_more(size)), |row| {
                found.push((Seq(number(row, 0)?), decode_as(Kind::Quarantine, text(row, 1)?)?));
                Ok(())
            })?;
            Ok(Page::cut(found, size, |(seq, _)| *seq))
        })
    }

    fn verdicts(
        &mut self,
        namespace: &Namespace,
        filter: &VerdictFilter,
        after: Option<Seq>,
        size: PageSize,
    ) -> Answer<Page<Deadlock, Seq>> {
        self.ask(namespace, |snapshot| {
            let clock = || snapshot.look_at_the_clock();
            let found = verdict::list(snapshot.connection, snapshot.ns, filter, after, one_more(size), clock)?;
            Ok(Page::cut(found, size, |verdict| verdict.seq))
        })
    }

    fn verdict(&mut self, namespace: &Namespace, verdict: Seq) -> Answer<Option<Deadlock>> {
        self.ask(namespace, |snapshot| verdict::read(snapshot.connection, snapshot.ns, verdict))
    }

    fn alerts(&mut self, namespace: &Namespace) -> Answer<Vec<(Seq, Alert)>> {
        self.ask(namespace, |snapshot| {
            let mut found: Vec<(Seq, Alert)> = Vec::new();
            let sql = "SELECT seq, body FROM alert WHERE ns = ?1 ORDER BY seq LIMIT ?2";
            snapshot.each(sql, (snapshot.ns, int(ALERTS_MAX as u64)), |row| {
                found.push((Seq(number(row, 0)?), decode_as(Kind::Alert, text(row, 1)?)?));
                Ok(())
            })?;
            Ok(found)
        })
    }

    fn definition(&mut self, namespace: &Namespace, hash: &DefinitionHash) -> Answer<Option<Arc<Definition>>> {
        self.ask(namespace, |snapshot| definition::read(snapshot.connection, snapshot.ns, hash))
    }

    fn task_definitions(
        &mut self,
        namespace: &Namespace,
        hash: &DefinitionHash,
        wanted: &BTreeSet<TaskIndex>,
    ) -> Answer<BTreeMap<TaskIndex, TaskDef>> {
        self.ask(namespace, |snapshot| definition::tasks(snapshot.connection, snapshot.ns, hash, wanted))
    }

    fn latest_by_source(&mut self, namespace: &Namespace, source: &str, size: PageSize) -> Answer<Vec<RunRecord>> {
        self.ask(namespace, |snapshot| snapshot.latest_by_source(source, size))
    }

    fn facts(&mut self, namespace: &Namespace, query: &FactsQuery) -> Result<Facts, StoreError> {
        let answer = self.ask(namespace, |snapshot| {
            let key_owner = query.idempotency_key.as_deref().map(|key| snapshot.key_owner(key)).transpose()?.flatten();
            let ended = query.run.map(|run| snapshot.final_status(run)).transpose()?.flatten();
            Ok((key_owner, ended))
        })?;
        let (key_owner, ended) = answer.value;
        Ok(Facts { as_of: answer.as_of, key_owner, ended })
    }

    fn counts(&mut self, namespace: &Namespace) -> Answer<Counts> {
        self.ask(namespace, |snapshot| snapshot.counts())
    }

    fn live(&mut self, namespace: &Namespace) -> Result<Loaded, StoreError> {
        self.deadline.start();
        load(&self.connection, namespace).map_err(|error| self.too_slow(error))
    }

    fn set_limit(&mut self, limit: Duration) {
        self.deadline.set_limit(limit);
    }
}

impl Snapshot<'_> {
    fn versions(&self, sql: &str, params: impl Params) -> Result<Vec<WorkflowVersion>, StoreError> {
        let mut found = Vec::new();
        self.each(sql, params, |row| {
            found.push(WorkflowVersion {
                name: text(row, 0)?.into(),
                seq: Seq(number(row, 1)?),
                hash: DefinitionHash(text(row, 2)?.into()),
                at: Timestamp(number(row, 3)?),
                by: text(row, 4)?.into(),
            });
            Ok(())
        })?;
        Ok(found)
    }
}

/// A page's items and one more, which tells that there is a next page.
fn one_more(size: PageSize) -> i64 {
    int(size.items() as u64 + 1)
}

pub(super) fn parse_status(text: &str) -> Result<RunStatus, StoreError> {
    let parsed = serde_json::from_value(serde_json::Value::String(text.into()));
    parsed.map_err(|_| StoreError::damaged(format!("`{text}` is not the status of a run")))
}
