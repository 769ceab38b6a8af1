//! What ran and what runs, out of the store on this machine or from a server: the same views from both.
//!
//! The views are those of the API ([`rest`]); what is read from a store becomes one by the server's own code. What only
//! a store tells (the workflow behind a run) is told where there is one.

use crate::{
    args::At,
    attempt_folder,
    config::Config,
    error::Error,
    looking::{Looking, id_of},
    remote::Remote,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    sync::Arc,
};
use unknot_api::{
    Moment,
    client::{ClientError, RunQuery},
    rest,
};
use unknot_engine::{
    control,
    core::{
        AttemptId, CommitSeq, RunId, TaskId, TaskIndex, Timestamp,
        row::HistoryEntry,
        run::TaskStatus,
        workflow::{Definition, TaskDef},
    },
    store::{PageSize, RunFilter, RunRecord},
};
use unknot_server::view;

/// Items of one part of a list.
const PART: usize = 1_000;
/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// Where is looked.
pub(crate) enum Source {
    /// Into the store of a data folder.
    Store(Stored),
    /// At a server.
    Server(Remote),
}

/// A store, and the run of it that is looked at.
pub(crate) struct Stored {
    config: Config,
    looking: Looking,
    record: Option<RunRecord>,
}

/// What is known of the workflow behind a run.
pub(crate) enum Definitions {
    /// All of it.
    All(Arc<Definition>),
    /// The tasks that are shown, of a workflow with very many.
    Some(BTreeMap<TaskIndex, TaskDef>),
    /// Nothing: a server does not tell.
    Unknown,
}

/// How far a task is, as far as its logs are concerned.
#[derive(Clone, Debug)]
pub(crate) struct Tried {
    pub(crate) index: TaskIndex,
    pub(crate) name: String,
    /// Attempts so far.
    pub(crate) attempts: u32,
    /// Whether the newest of them goes on.
    pub(crate) is_running: bool,
    /// Whether none comes any more.
    pub(crate) has_ended: bool,
}

impl Source {
    /// The server that is named, else the store of the data folder, whoever owns it.
    ///
    /// # Errors
    /// If there is no store, or it cannot be read.
    pub(crate) fn open(at: &At) -> Result<Self, Error> {
        match Remote::named(at)? {
            Some(remote) => Ok(Self::Server(remote)),
            None => Self::store(Config::here(&at.place)?),
        }
    }

    /// The store of a data folder.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub(crate) fn store(config: Config) -> Result<Self, Error> {
        let looking = Looking::open(&config)?;
        Ok(Self::Store(Stored { config, looking, record: None }))
    }

    /// The configuration beside the store, if it is one.
    pub(crate) fn config(&self) -> Option<&Config> {
        match self {
            Self::Store(stored) => Some(&stored.config),
            Self::Server(_) => None,
        }
    }

    /// How other commands are told to look there.
    pub(crate) fn option(&self) -> String {
        match self {
            Self::Store(stored) => stored.config.data_option(),
            Self::Server(remote) => remote.option().to_owned(),
        }
    }

    /// Whether a process is there that may move what has not ended.
    pub(crate) fn is_served(&self) -> bool {
        match self {
            Self::Store(stored) => control::is_served(&stored.config.data),
            Self::Server(_) => true,
        }
    }

    /// The run that is meant by an id, the beginning of one, or `latest`.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub(crate) fn find(&mut self, given: &str) -> Result<rest::Run, Error> {
        match self {
            Self::Store(stored) => {
                let record = stored.looking.find(given)?;
                let run = view::run(&record, 0, true);
                stored.record = Some(record);
                Ok(run)
            }
            Self::Server(remote) => {
                let place = remote.place();
                let id = id_of(given, &place, |after, most| {
                    let query = RunQuery { after: after.map(|id| id.to_string()), ..RunQuery::default() };
                    let runs = list(remote, query, most)?;
                    Ok(runs.iter().filter_map(|run| run.run_id.parse().ok()).collect())
                })?;
                match remote.ask("look at the run", remote.client().run(&id.to_string())) {
                    Err(Error::Client { source, .. }) if source.status() == Some(404) => {
                        Err(Error::NoSuchRun { given: given.to_owned(), place })
                    }
                    answer => answer,
                }
            }
        }
    }

    /// The newest runs that a filter accepts.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(crate) fn list(&mut self, filter: &RunFilter, most: usize) -> Result<Vec<rest::RunSummary>, Error> {
        match self {
            Self::Store(stored) => Ok(stored.looking.list(filter, None, most)?.iter().map(view::summary).collect()),
            Self::Server(remote) => list(remote, query(filter), most),
        }
    }

    /// All tasks of the run that was found, also those that nothing has happened to yet.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(crate) fn tasks(&mut self, run: &rest::Run) -> Result<BTreeMap<TaskIndex, rest::Task>, Error> {
        match self {
            Self::Store(stored) => stored.tasks(run),
            Self::Server(remote) => {
                let mut found = BTreeMap::new();
                each_task(remote, &run.summary.run_id, None, usize::MAX, |index, task| {
                    drop(found.insert(index, task))
                })?;
                Ok(found)
            }
        }
    }

    /// Some tasks of the run that was found with a status.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(crate) fn tasks_in(
        &mut self,
        run: &rest::Run,
        status: TaskStatus,
        most: usize,
    ) -> Result<BTreeMap<TaskIndex, rest::Task>, Error> {
        match self {
            Self::Store(stored) => stored.tasks_in(run, status, most),
            Self::Server(remote) => {
                let mut found = BTreeMap::new();
                let id = &run.summary.run_id;
                each_task(remote, id, Some(status), most, |index, task| drop(found.insert(index, task)))?;
                Ok(found)
            }
        }
    }

    /// What the workflow says of tasks of the run that was found; of all if none are named.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn definitions(&mut self, wanted: Option<BTreeSet<TaskIndex>>) -> Result<Definitions, Error> {
        let Self::Store(stored) = self else { return Ok(Definitions::Unknown) };
        let Some(record) = &stored.record else { return Ok(Definitions::Unknown) };
        match wanted {
            None => stored.looking.definition(record.run()).map(Definitions::All),
            Some(wanted) => {
                let hash = &record.run().definition;
                let found =
                    stored.looking.ask(|reader, namespace| reader.task_definitions(namespace, hash, &wanted))?;
                Ok(Definitions::Some(found.value))
            }
        }
    }

    /// Hands each line of a run's history on, oldest first.
    ///
    /// # Errors
    /// If it cannot be read, and what `take` says.
    pub(crate) fn each_event(
        &mut self,
        run: &rest::Run,
        mut take: impl FnMut(&HistoryEntry) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let id = run_id(run)?;
        match self {
            Self::Store(stored) => {
                let mut after = None;
                loop {
                    let question = |reader: &mut dyn unknot_engine::store::Reader, namespace: &_| {
                        reader.events(namespace, id, after, PageSize::MAX)
                    };
                    let page = stored.looking.ask(question)?.value;
                    page.items.iter().try_for_each(|event| take(&event.entry))?;
                    // A live run's history says where it would go on even at its end.
                    match page.next {
                        Some(next) if !page.items.is_empty() => after = Some(next),
                        _ => return Ok(()),
                    }
                }
            }
            Self::Server(remote) => {
                let mut after: Option<String> = None;
                loop {
                    let asked = remote.client().events(&run.summary.run_id, after.as_deref(), PART);
                    let page = remote.ask("read the run's history", asked)?;
                    let is_last = page.items.is_empty();
                    page.items.into_iter().filter_map(|event| entry(id, event)).try_for_each(|entry| take(&entry))?;
                    match page.next {
                        Some(next) if !is_last => after = Some(next),
                        _ => return Ok(()),
                    }
                }
            }
        }
    }

    /// How far the tasks of the run that was found are, or one of them.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(crate) fn tried(&mut self, run: &rest::Run, only: Option<TaskIndex>) -> Result<Vec<Tried>, Error> {
        match self {
            Self::Store(stored) => stored.tried(only),
            Self::Server(remote) => {
                if let Some(index) = only {
                    let id = run_id(run)?.task(index).to_string();
                    let task = remote.ask("look at the task", remote.client().task(&id))?;
                    return Ok(vec![Tried::of(index, task)]);
                }
                let mut found = Vec::new();
                let id = &run.summary.run_id;
                each_task(remote, id, None, usize::MAX, |index, task| found.push(Tried::of(index, task)))?;
                Ok(found)
            }
        }
    }

    /// Reads what an attempt printed from a byte on; says whether there is a log.
    ///
    /// # Errors
    /// If it cannot be read, and what `take` says.
    pub(crate) fn read_log(
        &self,
        attempt: AttemptId,
        name: &str,
        from: u64,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        match self {
            Self::Store(stored) => read_file(&stored.config, attempt, name, from, take),
            Self::Server(remote) => {
                let task = attempt.task.to_string();
                let opened = remote.client().log(&task, Some(attempt.number), from);
                let mut body = match remote.ask(format!("read the log of `{name}`"), opened) {
                    Ok(Some(body)) => body,
                    Ok(None) => return Ok(true),
                    Err(Error::Client { source, .. }) if source.status() == Some(404) => return Ok(false),
                    Err(error) => return Err(error),
                };
                while let Some(chunk) = remote.ask(format!("read the log of `{name}`"), body.chunk())? {
                    take(&chunk)?;
                }
                Ok(true)
            }
        }
    }

    /// The last lines of what an attempt printed that say something, oldest first; none if it has no log.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn last_lines(&self, attempt: AttemptId, name: &str, most: usize) -> Result<Vec<String>, Error> {
        let kept = usize::try_from(attempt_folder::TAIL_BYTES).unwrap_or(CHUNK);
        let mut tail = Vec::new();
        self.read_log(attempt, name, 0, &mut |text| {
            tail.extend_from_slice(text);
            // Now and then only: each cut moves what is kept.
            if tail.len() > 2 * kept {
                tail.drain(..tail.len() - kept);
            }
            Ok(())
        })?;
        Ok(attempt_folder::last_lines_of(&tail, most))
    }
}

impl Stored {
    fn record(&self) -> Result<&RunRecord, Error> {
        self.record.as_ref().ok_or_else(|| Error::NothingRan { data: self.config.data.clone() })
    }

    fn tasks(&mut self, run: &rest::Run) -> Result<BTreeMap<TaskIndex, rest::Task>, Error> {
        let id = run_id(run)?;
        let Self { looking, record: Some(record), .. } = self else { return Ok(BTreeMap::new()) };
        let definition = looking.definition(record.run())?;
        let show = |index: TaskIndex, task: &_| view::task(id, index, &definition.task(index).name, task);
        let untouched = record.run().untouched_task();
        // A large live run stores no row for a task that nothing has happened to yet.
        let mut found: BTreeMap<TaskIndex, rest::Task> =
            definition.body.indexed().map(|(index, _)| (index, show(index, &untouched))).collect();
        looking.each_task(record, &definition, |index, task| drop(found.insert(index, show(index, task))))?;
        Ok(found)
    }

    fn tasks_in(
        &mut self,
        run: &rest::Run,
        status: TaskStatus,
        most: usize,
    ) -> Result<BTreeMap<TaskIndex, rest::Task>, Error> {
        let (id, size) = (run_id(run)?, PageSize::new(most));
        let hash = self.record()?.run().definition.clone();
        let found = self.looking.ask(|reader, namespace| reader.tasks_in(namespace, id, status, size))?.value;
        let wanted = found.iter().map(|(index, _)| *index).collect();
        let defs = self.looking.ask(|reader, namespace| reader.task_definitions(namespace, &hash, &wanted))?.value;
        // What has no definition has no name: damage, which `store check` tells.
        let shown = found.iter().filter_map(|(index, task)| {
            let def = defs.get(index)?;
            Some((*index, view::task(id, *index, &def.name, task)))
        });
        Ok(shown.collect())
    }

    fn tried(&mut self, only: Option<TaskIndex>) -> Result<Vec<Tried>, Error> {
        let Self { looking, record: Some(record), .. } = self else { return Ok(Vec::new()) };
        let definition = looking.definition(record.run())?;
        let all = only.is_none();
        let fresh = |(index, def): (TaskIndex, &TaskDef)| Tried {
            index,
            name: def.name.to_string(),
            attempts: 0,
            is_running: false,
            has_ended: false,
        };
        let wanted = definition.body.indexed().filter(|(index, _)| all || only == Some(*index));
        let mut found: BTreeMap<TaskIndex, Tried> = wanted.map(|entry| (entry.0, fresh(entry))).collect();
        looking.each_task(record, &definition, |index, task| {
            if let Some(tried) = found.get_mut(&index) {
                tried.attempts = task.attempts;
                tried.is_running = task.lease().is_some();
                tried.has_ended = task.end().is_some();
            }
        })?;
        Ok(found.into_values().collect())
    }
}

impl Tried {
    fn of(index: TaskIndex, task: rest::Task) -> Self {
        Self {
            index,
            attempts: task.attempts,
            is_running: task.lease.is_some(),
            has_ended: task.ended_at.is_some(),
            name: task.name,
        }
    }
}

fn read_file(
    config: &Config,
    attempt: AttemptId,
    name: &str,
    from: u64,
    take: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
) -> Result<bool, Error> {
    let path = attempt_folder::log(&config.data, attempt, name);
    let unreadable = |source| Error::Log { attempt: "read the log", path: path.clone(), source };
    let mut file = match File::open(&path) {
        Ok(file) => file,
        // It has not begun yet, or its task needs no process.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(unreadable(source)),
    };
    file.seek(SeekFrom::Start(from)).map_err(unreadable)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk).map_err(unreadable)? {
            0 => return Ok(true),
            length => take(&chunk[..length])?,
        }
    }
}

fn list(remote: &Remote, mut query: RunQuery, most: usize) -> Result<Vec<rest::RunSummary>, Error> {
    let mut found = Vec::new();
    while found.len() < most {
        query.limit = Some((most - found.len()).min(PART));
        let page = remote.ask("list the runs", remote.client().runs(&query))?;
        found.extend(page.items);
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    Ok(found)
}

fn query(filter: &RunFilter) -> RunQuery {
    let moment = |at: Timestamp| Moment { ms: at.0 };
    RunQuery {
        status: filter.status.map(|status| status.word().to_owned()),
        workflow: filter.workflow.clone(),
        client_id: filter.client_id.clone(),
        label: filter.label.clone(),
        since: filter.since.map(moment),
        until: filter.until.map(moment),
        after: None,
        limit: None,
    }
}

/// Hands tasks of a run on, at most so many.
fn each_task(
    remote: &Remote,
    run: &str,
    status: Option<TaskStatus>,
    most: usize,
    mut take: impl FnMut(TaskIndex, rest::Task),
) -> Result<(), Error> {
    let (mut after, mut left): (Option<String>, usize) = (None, most);
    while left > 0 {
        let asked = remote.client().tasks(run, status.map(TaskStatus::word), after.as_deref(), left.min(PART));
        let page = remote.ask("list the run's tasks", asked)?;
        left = left.saturating_sub(page.items.len());
        for task in page.items {
            take(place_of(&task)?, task);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    Ok(())
}

/// A task's place in its workflow.
fn place_of(task: &rest::Task) -> Result<TaskIndex, Error> {
    task.task_id.parse::<TaskId>().map(|id| id.index).map_err(|_| strange(&task.task_id))
}

/// A run's id.
///
/// # Errors
/// If a server calls it in a way that this program does not know.
pub(crate) fn run_id(run: &rest::Run) -> Result<RunId, Error> {
    run.summary.run_id.parse().map_err(|_| strange(&run.summary.run_id))
}

fn strange(id: &str) -> Error {
    let detail = format!("`{id}` is no id as this program knows them");
    Error::client("read the server's answer")(ClientError::Strange { status: 200, detail })
}

/// A line of history as a store has it; none if this program does not know what happened there.
pub(crate) fn entry(run: RunId, event: rest::Event) -> Option<HistoryEntry> {
    let detail = if event.detail.is_null() { Value::Object(serde_json::Map::new()) } else { event.detail };
    Some(HistoryEntry {
        at: Timestamp(event.at.ms),
        run,
        event: read_word(&event.event)?,
        task: event.task_id.and_then(|id| id.parse::<TaskId>().ok()).map(|id| id.index),
        name: event.task.map(Arc::from),
        attempt: event.attempt,
        detail: serde_json::from_value(detail).unwrap_or_default(),
        first_commit: CommitSeq(0),
    })
}

/// A word of the API as the core knows it; none if this program is older than the word.
pub(crate) fn read_word<T: DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(Value::from(word)).ok()
}

/// A moment of the API as the core has it.
pub(crate) fn stamp(at: Moment) -> Timestamp {
    Timestamp(at.ms)
}
