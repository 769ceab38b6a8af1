//! Which run is meant: an unfinished one of the same file, content and inputs, the one under a key, or a
//! new one.

use crate::error::Error;
use serde_json::Value;
use std::collections::BTreeSet;
use unknot_engine::{
    core::{
        CommitSeq, RunId,
        run::{Idempotency, Run, RunStatus},
        workflow::DefinitionHash,
    },
    store::{FactsQuery, Namespace, PageSize, Reader, RunFilter, RunRecord, StoreError},
};

/// What was asked for.
pub(super) struct Wanted<'w> {
    /// The workflow file, absolute.
    pub(super) source: &'w str,
    /// What it says now.
    pub(super) definition: &'w DefinitionHash,
    /// The inputs, normalised.
    pub(super) input: &'w Value,
    /// Whether one that is there will do.
    pub(super) wish: Wish,
}

/// Which run will do.
pub(super) enum Wish {
    /// An unfinished one that is like it, else a new one.
    Unfinished,
    /// A new one.
    New,
    /// The one under this key, however far it is, else a new one.
    Keyed(Idempotency),
}

/// What will be done, and what else is there.
#[derive(Debug)]
pub(super) struct Choice {
    /// The run that goes on; none: a new one is made.
    pub(super) resume: Option<Box<Run>>,
    /// The run under the key, if it has ended: nothing is run.
    pub(super) ended: Option<RunRecord>,
    /// Runs of the file that are on their way to their end: it cannot be undone, so it is completed.
    pub(super) ending: Vec<RunId>,
    /// Unfinished runs of the file that are left alone, and why.
    others: Vec<(RunId, &'static str)>,
    /// Unfinished runs of other files.
    elsewhere: u64,
    /// Everything up to this commit was seen.
    pub(super) as_of: CommitSeq,
}

/// Looks at the unfinished runs of the file, before the engine moves any of them.
///
/// # Errors
/// If the store cannot be read, or the key belongs to something else.
pub(super) fn choose(reader: &mut dyn Reader, wanted: &Wanted<'_>) -> Result<Choice, Error> {
    let failed = || Error::store("look for an unfinished run");
    let namespace = Namespace::default();
    let found = reader.latest_by_source(&namespace, wanted.source, PageSize::MAX).map_err(failed())?;
    let mut choice =
        Choice { resume: None, ended: None, ending: Vec::new(), others: Vec::new(), elsewhere: 0, as_of: found.as_of };
    if let Wish::Keyed(key) = &wanted.wish {
        choice.ended = ended(reader, &namespace, key)?;
    }
    let live = found.value.into_iter().filter_map(|record| match record {
        RunRecord::Live(run) => Some(run),
        RunRecord::Finished(_) => None,
    });
    let live: Vec<Box<Run>> = live.collect();
    let unfinished: BTreeSet<RunId> = live.iter().map(|run| run.id).collect();
    let of_this_file = live.len() as u64;
    for run in live {
        let judgement = match &run.parent {
            Some(parent) => judge_child(&run, parent.ancestors().any(|task| unfinished.contains(&task.run))),
            None => judge(&run, wanted)?,
        };
        match judgement {
            Judgement::Below => {}
            Judgement::Ending => choice.ending.push(run.id),
            Judgement::Other(why) => choice.others.push((run.id, why)),
            Judgement::Same if choice.resume.is_none() => choice.resume = Some(run),
            Judgement::Same => choice.others.push((run.id, "an earlier one like it")),
        }
    }
    choice.elsewhere = live_runs(reader, &namespace).map_err(failed())?.saturating_sub(of_this_file);
    Ok(choice)
}

/// The run that a key was used for, if it has ended. Of those that have not, one of another file is found
/// by the engine.
fn ended(reader: &mut dyn Reader, namespace: &Namespace, wanted: &Idempotency) -> Result<Option<RunRecord>, Error> {
    let failed = || Error::store("look for the run under the key");
    let query = FactsQuery { idempotency_key: Some(wanted.key.clone()), run: None };
    let Some((run, body_hash)) = reader.facts(namespace, &query).map_err(failed())?.key_owner else { return Ok(None) };
    same_body(wanted, run, &body_hash)?;
    Ok(reader.run(namespace, run).map_err(failed())?.value)
}

fn same_body(wanted: &Idempotency, run: RunId, body_hash: &str) -> Result<(), Error> {
    if wanted.body_hash == body_hash {
        return Ok(());
    }
    Err(Error::KeyReused { key: wanted.key.clone(), run })
}

enum Judgement {
    Same,
    /// It goes on with the run whose task has spawned it, and ends with that.
    Below,
    Ending,
    Other(&'static str),
}

fn judge(run: &Run, wanted: &Wanted<'_>) -> Result<Judgement, Error> {
    if let (Wish::Keyed(key), Some(own)) = (&wanted.wish, &run.idempotency)
        && key.key == own.key
    {
        return same_body(key, run.id, &own.body_hash).map(|()| Judgement::Same);
    }
    Ok(if run.poisoned.is_some() {
        Judgement::Other("frozen, since one of its events failed")
    } else if run.ending.is_some() {
        Judgement::Ending
    } else if run.definition != *wanted.definition {
        Judgement::Other("of an older content of this file")
    } else if run.input.value() != *wanted.input {
        Judgement::Other("with other inputs")
    } else {
        match wanted.wish {
            Wish::Unfinished => Judgement::Same,
            Wish::New => Judgement::Other("left alone because of `--new`"),
            Wish::Keyed(_) => Judgement::Other("under no key or another one"),
        }
    })
}

/// A run that another one has spawned is never what was asked for.
fn judge_child(run: &Run, has_parent: bool) -> Judgement {
    match (run.ending.is_some() && run.poisoned.is_none(), has_parent) {
        (true, _) => Judgement::Ending,
        (false, true) => Judgement::Below,
        (false, false) => Judgement::Other("spawned, detached, by a run that has ended"),
    }
}

/// How many runs have not ended; counts up to a page of each status.
fn live_runs(reader: &mut dyn Reader, namespace: &Namespace) -> Result<u64, StoreError> {
    let mut count = 0;
    for status in [RunStatus::Pending, RunStatus::Running, RunStatus::Cancelling] {
        let filter = RunFilter { status: Some(status), ..RunFilter::default() };
        count += reader.runs(namespace, &filter, None, PageSize::MAX)?.value.items.len() as u64;
    }
    Ok(count)
}

impl Choice {
    /// What a person should know of the runs that are not this one; `option` names the data folder
    /// where commands need that.
    pub(super) fn notes(&self, option: &str) -> Vec<String> {
        let mut notes = Vec::new();
        for run in &self.ending {
            notes.push(format!("{run} was being cancelled: it is brought to its end beside this one"));
        }
        if let Some((run, why)) = self.others.first() {
            let more = match self.others.len() {
                1 => String::new(),
                count => format!(", and {} more", count - 1),
            };
            notes.push(format!(
                "unfinished, {why}: {run}{more}; see `unknot show {run}{option}`, end it with `unknot cancel {run}{option}`"
            ));
        }
        if self.elsewhere > 0 {
            let verb = if self.elsewhere == 1 { "run of another file waits" } else { "runs of other files wait" };
            notes.push(format!("{} unfinished {verb} meanwhile: `unknot ls{option}`", self.elsewhere));
        }
        notes
    }
}
