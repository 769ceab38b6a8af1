//! Looking at a store that this or another process owns: nothing here takes the lock or asks the brain.

use crate::{config::Config, error::Error, progress::Progress};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use unknot_api::rest;
use unknot_engine::{
    core::{
        RunId, TaskIndex,
        run::{Run, Task},
        workflow::Definition,
    },
    store::{Namespace, PageSize, Reader, RunFilter, RunRecord, RunSummary, SqliteOptions, SqliteStore, StoreError},
};
use unknot_server::Server;

/// The word for the newest run.
const LATEST: &str = "latest";
/// Letters and digits of a run's id behind `run_`.
const ID_LETTERS: usize = 26;

/// A store, open for questions.
pub(crate) struct Looking {
    reader: Box<dyn Reader>,
    namespace: Namespace,
    data: PathBuf,
}

impl Looking {
    /// Opens the store of the data folder, whoever owns it.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub(crate) fn open(config: &Config) -> Result<Self, Error> {
        let reader = SqliteStore::open_reader(&config.data, &SqliteOptions::default());
        let attempt = format!("look into the store `{}`", config.data.display());
        let reader = reader.map_err(|error| match Error::store_in(&config.data, attempt)(error) {
            Error::Store { source: StoreError::Missing { .. }, .. } => Error::NothingRan { data: config.data.clone() },
            other => other,
        })?;
        Ok(Self { reader, namespace: Namespace::default(), data: config.data.clone() })
    }

    /// What the store is asked by.
    pub(crate) fn reader(&mut self) -> &mut Box<dyn Reader> {
        &mut self.reader
    }

    /// Asks the store something.
    ///
    /// # Errors
    /// What the question's answer says.
    pub(crate) fn ask<T>(
        &mut self,
        question: impl FnOnce(&mut dyn Reader, &Namespace) -> Result<T, StoreError>,
    ) -> Result<T, Error> {
        question(&mut *self.reader, &self.namespace).map_err(Error::store("read the store"))
    }

    /// The run that is meant by an id, the beginning of one, or `latest`.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub(crate) fn find(&mut self, given: &str) -> Result<RunRecord, Error> {
        let place = self.data.display().to_string();
        let id = id_of(given, &place, |after, most| {
            let runs = self.list(&RunFilter::default(), after, most)?;
            Ok(runs.iter().map(|run| Newest { id: run.id, is_spawned: run.spawned_by.is_some() }).collect())
        });
        let id = match id {
            Err(Error::NoSuchRun { given, .. }) if given == LATEST => {
                return Err(Error::NothingRan { data: self.data.clone() });
            }
            id => id?,
        };
        let record = self.ask(|reader, namespace| reader.run(namespace, id))?.value;
        record.ok_or_else(|| Error::NoSuchRun { given: given.to_owned(), place })
    }

    /// The newest runs that a filter accepts.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) fn list(
        &mut self,
        filter: &RunFilter,
        mut after: Option<RunId>,
        most: usize,
    ) -> Result<Vec<RunSummary>, Error> {
        let mut found: Vec<RunSummary> = Vec::new();
        while found.len() < most {
            let size = PageSize::new(most - found.len());
            let page = self.ask(|reader, namespace| reader.runs(namespace, filter, after, size))?.value;
            found.extend(page.items);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        Ok(found)
    }

    /// Hands each stored task of a run on, in order. A large live run stores no row for those that
    /// nothing has happened to yet.
    ///
    /// # Errors
    /// If the store cannot be read, or has a task that the workflow has not.
    pub(crate) fn each_task(
        &mut self,
        record: &RunRecord,
        definition: &Definition,
        mut take: impl FnMut(TaskIndex, &Task),
    ) -> Result<(), Error> {
        let run = record.run();
        let mut take = |index: TaskIndex, task: &Task| {
            if (index.0 as usize) < definition.body.tasks.len() {
                take(index, task);
                return Ok(());
            }
            Err(damaged(format!("run `{}` has a task {} that its definition has not", run.id, index.0)))
        };
        if !run.tasks.is_empty() {
            return run.indexed_tasks().try_for_each(|(index, task)| take(index, task));
        }
        let mut after = None;
        loop {
            let id = run.id;
            let page = self.ask(|reader, namespace| reader.tasks(namespace, id, after, PageSize::MAX))?.value;
            page.items.iter().try_for_each(|(index, task)| take(*index, task))?;
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Tells `progress` what is stored of its run.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) fn take_over(&mut self, progress: &mut Progress) -> Result<(), Error> {
        let id = progress.run;
        let Some(record) = self.ask(|reader, namespace| reader.run(namespace, id))?.value else { return Ok(()) };
        progress.status = record.status();
        progress.frozen.clone_from(&record.run().poisoned);
        let definition = Arc::clone(&progress.definition);
        self.each_task(&record, &definition, |index, task| progress.take_over(index, task))
    }

    /// The workflow that a run was made from, as it was then.
    ///
    /// # Errors
    /// If the store cannot be read or does not have it.
    pub(crate) fn definition(&mut self, run: &Run) -> Result<Arc<Definition>, Error> {
        let found = self.ask(|reader, namespace| reader.definition(namespace, &run.definition))?.value;
        found.ok_or_else(|| damaged(format!("run `{}` names a definition that is not stored", run.id)))
    }
}

/// One of the newest runs.
pub(crate) struct Newest {
    pub(crate) id: RunId,
    /// Whether a task of another run has spawned it.
    pub(crate) is_spawned: bool,
}

/// Runs among which the newest one is looked for that nobody has spawned; where a single run has spawned more, that is
/// the newest of its own.
const LATEST_OF: usize = 1_000;

/// The run that is meant by an id, the beginning of one, or `latest`: the newest that no other run has spawned; `newest`
/// lists the newest runs older than some id.
///
/// # Errors
/// If there is none at `place`, or more than one.
pub(crate) fn id_of(
    given: &str,
    place: &str,
    mut newest: impl FnMut(Option<RunId>, usize) -> Result<Vec<Newest>, Error>,
) -> Result<RunId, Error> {
    let unknown = || Error::NoSuchRun { given: given.to_owned(), place: place.to_owned() };
    if given == LATEST {
        return latest(newest)?.ok_or_else(unknown);
    }
    let beginning = given.strip_prefix("run_").unwrap_or(given);
    let padded = |filler: char| {
        let missing = ID_LETTERS.saturating_sub(beginning.chars().count());
        format!("run_{beginning}{}", filler.to_string().repeat(missing)).parse::<RunId>()
    };
    if beginning.is_empty() && !given.is_empty() {
        // Not even where there is only one: a script's variable that is not set shall not choose it.
        return Err(Error::ManyRuns { given: given.to_owned(), matches: "every id begins so".to_owned() });
    }
    let (Ok(first), Ok(last)) = (padded('0'), padded('Z')) else { return Err(unknown()) };
    if first == last {
        return Ok(first);
    }
    let found = newest(Some(last), 2)?.into_iter().map(|run| run.id);
    let matches: Vec<RunId> = found.filter(|id| *id >= first).collect();
    match matches[..] {
        [] => Err(unknown()),
        [only] => Ok(only),
        [one, other, ..] => Err(Error::ManyRuns { given: given.to_owned(), matches: format!("`{one}`, `{other}`") }),
    }
}

fn latest(mut newest: impl FnMut(Option<RunId>, usize) -> Result<Vec<Newest>, Error>) -> Result<Option<RunId>, Error> {
    // Mostly it is the very first.
    for most in [1, LATEST_OF] {
        let runs = newest(None, most)?;
        if let Some(run) = runs.iter().find(|run| !run.is_spawned) {
            return Ok(Some(run.id));
        }
        if runs.is_empty() || most == LATEST_OF {
            return Ok(runs.first().map(|run| run.id));
        }
    }
    Ok(None)
}

/// What is to be said of an unfinished run that no process serves.
pub(crate) fn idle(run: &rest::Run, config: &Config) -> String {
    if run.poisoned.is_some() {
        return "no process runs it now, and none can move it on".to_owned();
    }
    let what = if run.ending.is_some() { "brings it to its end" } else { "goes on with it" };
    let has_inputs = run.input.as_object().is_some_and(|inputs| !inputs.is_empty());
    let inputs = if has_inputs { " with the same inputs" } else { "" };
    let again = match &run.summary.source {
        // Where there was a server, it is the server's.
        _ if Server::admin_token_file(&config.data).exists() => format!("`unknot serve` {what}"),
        Some(source) => format!("`{}`{inputs} {what}", config.run_again(Path::new(source))),
        None => "it goes on when one is started".to_owned(),
    };
    format!("no process runs it now: {again}")
}

fn damaged(detail: String) -> Error {
    Error::store("read the store")(StoreError::Corrupt { detail, cause: None })
}
