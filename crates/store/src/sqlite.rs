//! The embedded store: one SQLite file in write-ahead mode, synced at every commit.
//!
//! One connection commits, in the thread that calls [`Store::commit`]; readers and upkeep have their
//! own and may be used on other threads. The process that writes holds a lock on the folder, readers
//! (of this or another process) need none. `schema.sql` is the layout, `docs/store.md` the guide.

mod backup;
mod check;
mod commit;
mod connection;
mod definition;
mod fault;
mod folder;
mod load;
mod prune;
mod read;
mod rows;
mod schema;
mod upkeep;
mod verdict;

use crate::{
    BackupProgress, BackupStep, CheckReport, CommitError, Epoch, Maintenance, Namespace, Owner, Reader, Store,
    StoreError,
};
use connection::Gate;
use fault::store_error;
use folder::{Folder, FolderLock, Found};
use read::{ReaderSlots, SqliteReader};
use rusqlite::{Connection, OptionalExtension, params};
use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};
use unknot_core::{
    CommitSeq,
    row::{Batch, Loaded},
};
use upkeep::SqliteMaintenance;

/// What an operator can choose about the embedded store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteOptions {
    /// Whether to open a store on a network file system nevertheless.
    pub network: NetworkFileSystems,
    /// How long one read may take.
    pub read_limit: Duration,
    /// How many readers may be open at once.
    pub readers_max: usize,
}

/// Whether a store may stand on a network file system, where a lost lock can mean lost commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NetworkFileSystems {
    /// Not unless the environment says `UNKNOT_ALLOW_NETWORK_STORE=1`.
    #[default]
    Refused,
    /// The operator knows that only one machine uses it and that it syncs.
    Allowed,
}

/// The store of one data folder, open for writing.
pub struct SqliteStore {
    connection: Connection,
    folder: Folder,
    /// Shared with the upkeep handles: the folder is free once the last writer is gone.
    lock: Arc<FolderLock>,
    gate: Gate,
    slots: ReaderSlots,
    options: SqliteOptions,
    /// The namespaces' numbers, once seen: they never change.
    numbers: HashMap<Namespace, i64>,
    encoder: crate::body::Encoder,
}

impl SqliteStore {
    /// Whether there is a store in a folder, in whatever state it is. Looks at the database's name alone.
    pub fn is_in(folder: &Path) -> bool {
        Folder::new(folder).database().symlink_metadata().is_ok()
    }

    /// Opens the store in `folder` for writing, and makes both if they are not there.
    ///
    /// A store of an older version is brought to this one, after a copy of it was put beside it.
    ///
    /// # Errors
    /// Whatever stands in the way, each as its own [`StoreError`]; nothing is overwritten in any case.
    pub fn open(folder: &Path, options: &SqliteOptions) -> Result<Self, StoreError> {
        Self::open_with_steps(folder, options, schema::STEPS)
    }

    fn open_with_steps(folder: &Path, options: &SqliteOptions, steps: &[schema::Step]) -> Result<Self, StoreError> {
        let folder = Folder::new(folder);
        folder.create()?;
        if options.network == NetworkFileSystems::Refused && !is_network_allowed() {
            folder.refuse_network()?;
        }
        let lock = Arc::new(folder.lock()?);
        let connection = open_writer(&folder, steps)?;
        Ok(Self {
            connection,
            folder,
            lock,
            gate: Gate::default(),
            slots: ReaderSlots::new(options.readers_max),
            options: options.clone(),
            numbers: HashMap::new(),
            encoder: crate::body::Encoder::default(),
        })
    }

    /// Opens a reader on the store in `folder`, whether or not a process owns it.
    ///
    /// # Errors
    /// If there is no store, or it cannot be read.
    pub fn open_reader(folder: &Path, options: &SqliteOptions) -> Result<Box<dyn Reader>, StoreError> {
        let folder = existing(folder)?;
        Ok(Box::new(SqliteReader::open(&folder, options, ReaderSlots::new(1).take()?)?))
    }

    /// Copies the store in `folder` to the file `target`, whether or not a process owns it
    /// (see [`Maintenance::backup`]).
    ///
    /// # Errors
    /// If there is no store, it cannot be read, or the target cannot be written.
    pub fn backup(
        folder: &Path,
        target: &Path,
        progress: &mut dyn FnMut(BackupProgress) -> BackupStep,
    ) -> Result<(), StoreError> {
        backup::copy(&patient_reader(folder)?, target, progress)
    }

    /// Examines the store in `folder`, whether or not a process owns it (see [`Maintenance::check`]).
    ///
    /// # Errors
    /// If there is no store, or it cannot be read at all.
    pub fn check(folder: &Path) -> Result<CheckReport, StoreError> {
        check::run(&patient_reader(folder)?)
    }

    /// Reads the live rows of a namespace, whether or not a process owns it: what [`Store::load`] gives its owner.
    ///
    /// # Errors
    /// If there is no store, or it cannot be read.
    pub fn peek(folder: &Path, namespace: &Namespace) -> Result<Loaded, StoreError> {
        load::load(&patient_reader(folder)?, namespace)
    }

    /// The number under which a namespace's rows are kept; none if it was never acquired.
    fn number(&mut self, namespace: &Namespace) -> rusqlite::Result<Option<i64>> {
        if let Some(number) = self.numbers.get(namespace) {
            return Ok(Some(*number));
        }
        let number = namespace_number(&self.connection, namespace)?;
        if let Some(number) = number {
            self.numbers.insert(namespace.clone(), number);
        }
        Ok(number)
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        self.connection = open_writer(&self.folder, schema::STEPS)?;
        Ok(())
    }
}

impl Store for SqliteStore {
    fn acquire(&mut self, namespace: &Namespace, owner: &Owner) -> Result<Epoch, StoreError> {
        let _turn = self.gate.enter();
        let raised: rusqlite::Result<i64> = self
            .connection
            .prepare_cached(
                "INSERT INTO namespace (name, epoch, owner, commit_seq, next_seq, next_fence, high_water)
                 VALUES (?1, 1, ?2, 0, 0, 0, 0)
                 ON CONFLICT (name) DO UPDATE SET epoch = epoch + 1, owner = excluded.owner RETURNING epoch",
            )
            .and_then(|mut statement| statement.query_one(params![namespace.as_str(), owner.0], |row| row.get(0)));
        raised.map(|epoch| Epoch(epoch.unsigned_abs())).map_err(store_error)
    }

    fn load(&mut self, namespace: &Namespace) -> Result<Loaded, StoreError> {
        load::load(&self.connection, namespace)
    }

    fn commit(&mut self, namespace: &Namespace, epoch: Epoch, batch: &Batch) -> Result<(), CommitError> {
        let Some(ns) = self.number(namespace).map_err(fault::commit_error)? else {
            return Err(CommitError::Fenced { held: epoch, current: Epoch::default() });
        };
        let _turn = self.gate.enter();
        commit::commit(&self.connection, &mut self.encoder, commit::Tenure { ns, epoch }, batch)
    }

    fn committed(&mut self, namespace: &Namespace) -> Result<CommitSeq, StoreError> {
        // A transaction that could not be rolled back would show its own commit, which nobody else sees.
        if self.connection.is_autocommit()
            && let Ok(commit) = load::committed(&self.connection, namespace)
        {
            return Ok(commit);
        }
        // Whatever went wrong with this connection, another may know.
        self.reopen()?;
        load::committed(&self.connection, namespace).map_err(store_error)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        Ok(Box::new(SqliteReader::open(&self.folder, &self.options, self.slots.take()?)?))
    }

    fn maintenance(&self) -> Result<Box<dyn Maintenance>, StoreError> {
        let (gate, lock) = (self.gate.clone(), Arc::clone(&self.lock));
        Ok(Box::new(SqliteMaintenance::open(&self.folder, gate, lock)?))
    }
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { network: NetworkFileSystems::default(), read_limit: Duration::from_secs(5), readers_max: 16 }
    }
}

/// The way out for an operator who knows better, wherever the store is opened from.
fn is_network_allowed() -> bool {
    std::env::var_os("UNKNOT_ALLOW_NETWORK_STORE").is_some_and(|value| value == "1")
}

fn open_writer(folder: &Folder, steps: &[schema::Step]) -> Result<Connection, StoreError> {
    let path = folder.database();
    let found = folder.inspect()?;
    if found == Found::Nothing {
        folder.create_database()?;
    }
    let mut connection = connection::writer(&path, PAGE_BYTES)?;
    let version = schema::recognise(&connection, &path, steps)?;
    connection::make_durable(&connection, &path)?;
    schema::migrate(&mut connection, &path, found, version, steps)?;
    Ok(connection)
}

/// The size of a page, fixed when a store is made (measured: decision 0001).
const PAGE_BYTES: u32 = 8_192;

/// A folder that holds a store.
fn existing(folder: &Path) -> Result<Folder, StoreError> {
    let folder = Folder::new(folder);
    match folder.inspect()? {
        Found::Something => Ok(folder),
        Found::Nothing => Err(StoreError::Missing { path: folder.database() }),
    }
}

/// A reading connection without a deadline, for a copy or an examination.
fn patient_reader(folder: &Path) -> Result<Connection, StoreError> {
    let path = existing(folder)?.database();
    let connection = connection::reader(&path)?;
    schema::require_current(&connection, &path)?;
    Ok(connection)
}

fn namespace_number(connection: &Connection, namespace: &Namespace) -> rusqlite::Result<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT ns FROM namespace WHERE name = ?1")?;
    statement.query_row([namespace.as_str()], |row| row.get(0)).optional()
}

/// A counter as SQLite keeps it. All ours stay far below the limit; one beyond it would be a bug that
/// the next comparison shows.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::fixture::*;
    use crate::{PageSize, body::Encoder};
    use unknot_core::{
        Millis, TaskIndex,
        row::Row,
        run::{RunStatus, TaskStatus},
    };

    fn temporary() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    #[test]
    fn a_single_task_run_costs_at_most_four_row_operations() {
        let folder = temporary();
        let mut store = SqliteStore::open(folder.path(), &SqliteOptions::default()).expect("the folder is free");
        let namespace = Namespace::default();
        let epoch = store.acquire(&namespace, &Owner("test".into())).expect("acquired");
        let flow = definition("flow", 1);
        let runs: Vec<_> = (0..100).map(|id| run(run_id(id), &flow, CommitSeq(1))).collect();
        let ended: Vec<_> = runs.iter().map(|run| finished(run, RunStatus::Completed, CommitSeq(2))).collect();
        let history = |kind| runs.iter().map(|run| entry(run, kind)).collect();
        let submit = Batch {
            commit: CommitSeq(1),
            meta: Default::default(),
            changes: std::iter::once(put_definition(&flow)).chain(runs.iter().map(put_run)).collect(),
            history: history(unknot_core::row::HistoryKind::RunSubmitted),
        };
        let end = Batch {
            commit: CommitSeq(2),
            meta: Default::default(),
            changes: ended.iter().flat_map(end_run).collect(),
            history: history(unknot_core::row::HistoryKind::RunCompleted),
        };
        let before = store.connection.total_changes();
        store.commit(&namespace, epoch, &submit).expect("it follows");
        store.commit(&namespace, epoch, &end).expect("it follows");
        let changes = store.connection.total_changes() - before;
        // Three for each run; per batch one for the namespace, one for the history, and three sums or
        // definitions.
        assert!(changes <= 3 * 100 + 2 * 5, "{changes} row operations for 100 runs");
    }

    #[test]
    fn an_older_store_is_brought_forward_after_a_copy() {
        let folder = temporary();
        let options = SqliteOptions::default();
        let mut brain = Brain::start(Box::new(SqliteStore::open(folder.path(), &options).expect("free")));
        brain.commit(Vec::new());
        drop(brain);
        let now = schema::STEPS.last().expect("there are steps").to;
        let next = |sql| {
            let known = schema::STEPS.iter().map(|step| schema::Step { to: step.to, sql: step.sql });
            known.chain([schema::Step { to: now + 1, sql }]).collect::<Vec<_>>()
        };

        let broken = SqliteStore::open_with_steps(folder.path(), &options, &next("CREATE TABLE extra (x); NONSENSE"));
        let error = broken.err().expect("the step fails");
        assert_eq!(error.code(), "UK0207", "{error}");
        let mut brain = Brain::start(Box::new(SqliteStore::open(folder.path(), &options).expect("it is as it was")));
        brain.commit(Vec::new());
        drop(brain);

        let steps = next("CREATE TABLE extra (x INTEGER) STRICT");
        let mut store = SqliteStore::open_with_steps(folder.path(), &options, &steps).expect("brought forward");
        assert_eq!(store.committed(&Namespace::default()).expect("readable"), CommitSeq(2));
        drop(store);
        let again = SqliteStore::open_with_steps(folder.path(), &options, &steps).expect("nothing is left to do");
        drop(again);
        assert_eq!(SqliteStore::open(folder.path(), &options).err().expect("newer").code(), "UK0201");

        // The copy of the first try was out of date at the second.
        for (number, commit) in [("", 1), (".2", 2)] {
            let name = format!("unknot.db.v{now}{number}.bak");
            let old = temporary();
            std::fs::copy(folder.path().join(name), old.path().join("unknot.db")).expect("the copy is there");
            let mut store = SqliteStore::open(old.path(), &options).expect("the old program reads the copy");
            assert_eq!(store.committed(&Namespace::default()).expect("readable"), CommitSeq(commit));
        }
        assert!(!folder.path().join(format!("unknot.db.v{now}.3.bak")).exists());
    }

    #[test]
    fn a_store_of_version_1_is_brought_forward_with_its_tasks() {
        let folder = temporary();
        let options = SqliteOptions::default();
        let first = SqliteStore::open_with_steps(folder.path(), &options, &schema::STEPS[..1]).expect("free");
        let flow = definition("flow", 300);
        let whole = run(run_id(1), &flow, CommitSeq(1));
        let body = |row: Row| Encoder::default().row(&row).expect("a row").to_owned();
        let definition = body(Row::Definition(Arc::clone(&flow)));
        let task = body(Row::Task(Box::new(queued_task(&whole))));
        let id = whole.id.to_string();
        let sql = "INSERT INTO namespace VALUES (1, 'default', 1, 'test', 1, 1, 1, 1)";
        first.connection.execute(sql, []).expect("written");
        let sql = "INSERT INTO definition VALUES (1, ?1, ?2)";
        first.connection.execute(sql, params![flow.body.hash.0, definition]).expect("written");
        first.connection.execute("INSERT INTO task VALUES (1, ?1, 299, ?2)", params![id, task]).expect("written");
        let sql = "INSERT INTO run VALUES (1, ?1, NULL, NULL, ?2)";
        first.connection.execute(sql, params![id, body(Row::Run(Box::new(whole.clone())))]).expect("written");
        drop(first);

        let store = SqliteStore::open(folder.path(), &options).expect("brought forward");
        let (mut reader, namespace) = (store.reader().expect("readable"), Namespace::default());
        let queued = reader.tasks_in(&namespace, whole.id, TaskStatus::Queued, PageSize::MAX).expect("readable").value;
        assert_eq!(queued, [(TaskIndex(299), queued_task(&whole))]);
        let wanted = [TaskIndex(299)].into();
        let named = reader.task_definitions(&namespace, &flow.body.hash, &wanted).expect("readable").value;
        assert_eq!(&*named[&TaskIndex(299)].name, "task-299");
    }

    #[test]
    fn folders_that_stay_hold_no_pruning_up() {
        let folder = temporary();
        let mut brain =
            Brain::start(Box::new(SqliteStore::open(folder.path(), &SqliteOptions::default()).expect("free")));
        let flow = definition("flow", 1);
        brain.commit(vec![put_definition(&flow)]);
        let runs: Vec<_> = (0..1_005).map(|id| run(run_id(id), &flow, brain.next())).collect();
        let end = |run| end_run(&finished(run, RunStatus::Completed, brain.next()));
        let ends = runs.iter().flat_map(end).collect();
        brain.commit(ends);
        let mut upkeep = brain.store.maintenance().expect("open");
        let mut look = || {
            let (later, retention) = (START.plus(Millis::from_days(9)), Default::default());
            upkeep.maintain(&brain.namespace, brain.epoch, later, &retention).expect("nothing stands in the way")
        };
        let mut pruned = 0;
        // Nobody ever says that a folder is gone.
        for slice in 0.. {
            assert!(slice < 100, "pruning comes to an end");
            let done = look();
            pruned += done.runs_pruned;
            if !done.more {
                break;
            }
        }
        assert_eq!(pruned, 1_005);
        let named: std::collections::BTreeSet<_> = (0..3).flat_map(|_| look().folders.0).collect();
        assert_eq!(named.len(), 1_005, "none hides another");
    }

    #[test]
    fn a_lost_connection_is_opened_again_to_settle_an_outcome() {
        let folder = temporary();
        let mut store = SqliteStore::open(folder.path(), &SqliteOptions::default()).expect("the folder is free");
        let namespace = Namespace::default();
        store.acquire(&namespace, &Owner("test".into())).expect("acquired");
        store.connection = Connection::open_in_memory().expect("a connection that knows nothing");
        assert_eq!(store.committed(&namespace).expect("another connection knows"), CommitSeq(0));
    }

    #[test]
    fn a_transaction_that_is_still_open_settles_nothing() {
        let folder = temporary();
        let mut store = SqliteStore::open(folder.path(), &SqliteOptions::default()).expect("the folder is free");
        let namespace = Namespace::default();
        store.acquire(&namespace, &Owner("test".into())).expect("acquired");
        let open = "BEGIN IMMEDIATE; UPDATE namespace SET commit_seq = 9";
        store.connection.execute_batch(open).expect("as a commit whose rollback failed");
        assert_eq!(store.committed(&namespace).expect("readable"), CommitSeq(0));
    }
}
