//! What ran and what runs, out of the store on this machine or from a server: the same views from both.
//!
//! The views are those of the API ([`rest`]); what is read from a store becomes one by the server's own code. What only
//! a store tells (the workflow behind a run) is told where there is one.

mod asked;
mod stored;
mod verdicts;
mod words;

pub(crate) use words::{entry, read_word, run_id, stamp};

use crate::{
    args::At,
    attempt_folder,
    config::Config,
    error::{Error, eprint_quietly, warn_of_mistake},
    looking::{Looking, Newest, id_of},
    remote::Remote,
};
use asked::{each_task, list, query};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::PathBuf,
    sync::Arc,
};
use stored::{Stored, read_file};
use unknot_api::{client::RunQuery, rest};
use unknot_engine::{
    control,
    core::{
        AttemptId, TaskIndex,
        row::{HistoryEntry, Pause},
        run::TaskStatus,
        workflow::{Definition, TaskDef},
    },
    store::{PageSize, Reader, RunFilter},
};
use unknot_server::view;

/// Items of one part of a list.
const PART: usize = 1_000;
/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// Where is looked.
pub(crate) enum Source {
    /// Into the store of a data folder.
    Store(Box<Stored>),
    /// At a server.
    Server(Box<Remote>),
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

/// What operators hold, beside single runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds {
    pub(crate) queues: BTreeMap<String, rest::Paused>,
    pub(crate) workflows: BTreeMap<String, rest::Paused>,
}

/// A file that an attempt left.
#[derive(Clone, Debug)]
pub(crate) struct Left {
    pub(crate) artifact: rest::Artifact,
    /// Where it is on this machine, if a store on it was asked.
    pub(crate) file: Option<PathBuf>,
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

/// Says beside an answer that nobody is there to move anything.
pub(crate) fn note_not_served() {
    eprint_quietly("note: no process serves this folder now: nothing moves until one does\n");
}

impl Source {
    /// The server that is named, or owns the data folder; else the folder's store. Where there is a server, the store is
    /// not touched: on a disk that stands still nobody could take that back, and the server answers all the same.
    ///
    /// # Errors
    /// If there is no store, or it cannot be read.
    pub(crate) fn open(at: &At) -> Result<Self, Error> {
        if let Some(remote) = Remote::named(at)? {
            return Ok(Self::Server(Box::new(remote)));
        }
        let (config, mistake) = Config::to_ask(&at.place)?;
        match (Remote::owner(&config), mistake) {
            (Ok(Some(remote)), mistake) => {
                mistake.iter().for_each(warn_of_mistake);
                Ok(Self::Server(Box::new(remote)))
            }
            (Ok(None) | Err(_), Some(mistake)) => Err(mistake),
            // Whoever owns it is no server, or one that does not answer.
            (Ok(None) | Err(_), None) => Self::store(config),
        }
    }

    /// The store of a data folder.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub(crate) fn store(config: Config) -> Result<Self, Error> {
        let looking = Looking::open(&config)?;
        Ok(Self::Store(Box::new(Stored { config, looking, record: None })))
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

    /// Says beside an answer about `some` who wait that nobody is there to move them, if nobody is.
    ///
    /// # Errors
    /// If the answer cannot be written.
    pub(crate) fn note_unless_served(&self, some: bool, out: &mut dyn Write) -> Result<(), Error> {
        if some && !self.is_served() {
            out.flush()?;
            note_not_served();
        }
        Ok(())
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
                    let newest = |run: &rest::RunSummary| {
                        Some(Newest { id: run.run_id.parse().ok()?, is_spawned: run.spawned_by.is_some() })
                    };
                    Ok(runs.iter().filter_map(newest).collect())
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

    /// What operators hold of queues and workflows.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn holds(&mut self) -> Result<Holds, Error> {
        match self {
            Self::Store(stored) => {
                let found = stored.looking.ask(|reader, namespace| reader.holds(namespace, PageSize::MAX))?.value;
                let told = |held: BTreeMap<String, Pause>| {
                    held.iter().map(|(name, by)| (name.clone(), view::paused(by))).collect()
                };
                Ok(Holds { queues: told(found.queues), workflows: told(found.workflows) })
            }
            Self::Server(remote) => {
                let stats = remote.ask("look at what is held", remote.client().stats())?;
                let queues = stats.queues.into_iter().filter_map(|(name, queue)| Some((name, queue.paused?)));
                Ok(Holds { queues: queues.collect(), workflows: stats.paused_workflows })
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
                    let question =
                        |reader: &mut dyn Reader, namespace: &_| reader.events(namespace, id, after, PageSize::MAX);
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

    /// The files that an attempt left, in order of their paths.
    ///
    /// # Errors
    /// If a server does not tell.
    pub(crate) fn artifacts(&self, attempt: AttemptId, name: &str) -> Result<Vec<Left>, Error> {
        match self {
            Self::Store(stored) => {
                let found = attempt_folder::artifacts(&stored.config.data, attempt, name);
                Ok(found.into_iter().map(|(artifact, file)| Left { artifact, file: Some(file) }).collect())
            }
            Self::Server(remote) => {
                let task = attempt.task.to_string();
                let asked = remote.client().artifacts(&task, Some(attempt.number));
                let found = remote.ask(format!("list what `{name}` left"), asked)?;
                Ok(found.into_iter().map(|artifact| Left { artifact, file: None }).collect())
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
