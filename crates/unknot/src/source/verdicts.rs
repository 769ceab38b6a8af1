//! Verdicts and waits, from a server or out of the store.

use super::{PART, Source, Stored};
use crate::{config::Config, error::Error, remote::Remote};
use serde_json::{Value, json};
use unknot_api::{
    Moment,
    client::{ClientError, VerdictQuery},
    rest,
};
use unknot_engine::{
    Beside, Clock, control,
    core::{
        RunId, Seq, State, Timestamp,
        deadlock::{Finding, VerdictId},
        run::WorkerId,
        state::LoadError,
        wait::{Snapshot, Watched, reach, snapshot},
        worker::Serves,
    },
    store::{PageSize, StoreError, VerdictFilter},
};
use unknot_server::view;

/// The word for the newest verdict.
const LATEST: &str = "latest";

impl Source {
    /// The newest verdicts that a filter accepts.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(crate) fn verdicts(&mut self, filter: &VerdictFilter, most: usize) -> Result<Vec<rest::VerdictSummary>, Error> {
        let mut found = Vec::new();
        match self {
            Self::Server(remote) => {
                let mut query = query(filter);
                while found.len() < most {
                    query.limit = Some((most - found.len()).min(PART));
                    let page = remote.ask("list the verdicts", remote.client().deadlocks(&query))?;
                    found.extend(page.items);
                    match page.next {
                        Some(next) => query.after = Some(next),
                        None => break,
                    }
                }
            }
            Self::Store(stored) => {
                let mut after: Option<Seq> = None;
                while found.len() < most {
                    let size = PageSize::new(most - found.len());
                    let page = stored.looking.ask(|reader, namespace| reader.verdicts(namespace, filter, after, size));
                    let page = page?.value;
                    found.extend(page.items.iter().map(view::verdict_summary));
                    match page.next {
                        Some(next) => after = Some(next),
                        None => break,
                    }
                }
            }
        }
        Ok(found)
    }

    /// A verdict: `dl_7`, or the newest.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub(crate) fn verdict(&mut self, given: &str) -> Result<rest::Verdict, Error> {
        let id = match given {
            LATEST => {
                let newest = self.verdicts(&VerdictFilter::default(), 1)?;
                let none = || Error::Unknown { message: "there is no verdict: nothing has stood still".to_owned() };
                newest.into_iter().next().ok_or_else(none)?.id
            }
            given => given.to_owned(),
        };
        match self {
            Self::Server(remote) => match remote.ask(format!("show verdict `{id}`"), remote.client().deadlock(&id)) {
                Err(Error::Client { source, .. }) if source.status() == Some(404) => Err(unknown(&id)),
                told => told,
            },
            Self::Store(stored) => {
                let VerdictId(seq) = id.parse().map_err(|_| unknown(&id))?;
                let found = stored.looking.ask(|reader, namespace| reader.verdict(namespace, seq))?.value;
                found.as_ref().map(view::verdict).ok_or_else(|| unknown(&id))
            }
        }
    }

    /// Who waits for what now, and who holds it; with a run only what that depends on.
    ///
    /// # Errors
    /// If it cannot be read, or there is no such run.
    pub(crate) fn wait_graph(&mut self, run: Option<&str>) -> Result<Snapshot, Error> {
        match self {
            Self::Server(remote) => {
                let told = not_ended(run, remote.ask("read who waits", remote.client().wait_graph(run)), remote)?;
                let strange = |error| ClientError::Strange { status: 200, detail: format!("{error}") };
                let value = json!(told.graph);
                serde_json::from_value(value).map_err(|error| Error::client("read who waits")(strange(error)))
            }
            Self::Store(stored) => {
                let (state, now, _) = stored.state()?;
                let whole = snapshot(&state, now);
                let shown = run.map(|run| reach(&whole, run));
                match (shown, run) {
                    (Some(part), Some(run)) if part.nodes.is_empty() => Err(stored.no_such(run)),
                    (shown, _) => Ok(shown.unwrap_or(whole)),
                }
            }
        }
    }

    /// Who waits now, in sentences, those that have waited longest first; with a run only what that depends on.
    ///
    /// # Errors
    /// If it cannot be read, or there is no such run.
    pub(crate) fn live_waits(&mut self, run: Option<&str>, most: usize) -> Result<rest::LiveWaits, Error> {
        match self {
            Self::Server(remote) => {
                not_ended(run, remote.ask("read who waits", remote.client().live_waits(run, most)), remote)
            }
            Self::Store(stored) => {
                let (state, now, as_of) = stored.state()?;
                let id = run.and_then(|run| run.parse::<RunId>().ok());
                match run.filter(|_| id.is_none_or(|id| !state.runs.contains_key(&id))) {
                    Some(run) => Err(stored.no_such(run)),
                    None => Ok(view::live_waits(&state, now, id, most, as_of)),
                }
            }
        }
    }

    /// Judges everything as it is now. Nothing is done about what is found.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn scan(&mut self) -> Result<rest::ScanReport, Error> {
        match self {
            Self::Server(remote) => remote.ask("scan for deadlocks", remote.client().scan_for_deadlocks()),
            Self::Store(stored) => {
                let (state, now, as_of) = stored.state()?;
                let watched = Watched { now, since: Timestamp::default() };
                Ok(view::scan_report(&state, watched, as_of))
            }
        }
    }
}

impl Stored {
    /// The state as the store has it, now, and its newest commit. The workers are those of the process that owns the
    /// folder; without one there are none.
    fn state(&mut self) -> Result<(State, Timestamp, u64), Error> {
        let loaded = self.looking.ask(|reader, namespace| reader.live(namespace))?;
        let as_of = loaded.commit.0;
        let mut beside = Beside { bounds: self.config.settings.bounds, ..Beside::default() };
        beside.monitor = self.config.settings.monitor;
        for (worker, slots) in workers(&self.config) {
            beside.workers.insert(&worker, slots, &Serves::default());
        }
        let state = beside.state(loaded).map_err(damaged)?;
        Ok((state, Clock::starting_at_least(Timestamp::default()).now(), as_of))
    }

    fn no_such(&self, run: &str) -> Error {
        Error::NoSuchRun { given: run.to_owned(), place: self.config.data.display().to_string() }
    }
}

/// The workers of the process that owns a folder, each with its slots. One that does not answer has none.
fn workers(config: &Config) -> Vec<(WorkerId, u32)> {
    let told = control::ask(&config.data, &json!({"workers": true})).ok().flatten().unwrap_or_default();
    let worker = |told: &Value| {
        let name = told["name"].as_str()?;
        let slots = u32::try_from(told["slots"].as_u64()?).ok()?;
        Some((WorkerId { name: name.into(), boot: told["boot"].as_u64()? }, slots))
    };
    told["workers"].as_array().into_iter().flatten().filter_map(worker).collect()
}

fn damaged(error: LoadError) -> Error {
    Error::store("read the store")(StoreError::Corrupt { detail: error.to_string(), cause: None })
}

fn unknown(id: &str) -> Error {
    Error::Unknown { message: format!("there is no verdict `{id}`; `unknot deadlocks` lists those that there are") }
}

/// An answer about a run that the server does not know, or that has ended, in the words for runs.
fn not_ended<T>(run: Option<&str>, told: Result<T, Error>, remote: &Remote) -> Result<T, Error> {
    match (told, run) {
        (Err(Error::Client { source, .. }), Some(run)) if source.status() == Some(404) => {
            Err(Error::NoSuchRun { given: run.to_owned(), place: remote.place() })
        }
        (told, _) => told,
    }
}

fn query(filter: &VerdictFilter) -> VerdictQuery {
    VerdictQuery {
        run: filter.run.map(|run| run.to_string()),
        kind: filter.kind.map(Finding::word).map(str::to_owned),
        outcome: filter.outcome.map(str::to_owned),
        since: filter.since.map(|at| Moment { ms: at.0 }),
        open: filter.is_open,
        after: None,
        limit: None,
    }
}
