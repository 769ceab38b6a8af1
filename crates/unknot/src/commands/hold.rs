//! `unknot pause|resume queue|workflow|run NAME`: holds something back, and lets it go on: at a server, by the process
//! that owns the data folder, or in the store itself if nobody does.

use super::alone;
use crate::{
    args::{Held, Named},
    config::Config,
    error::{Error, eprint_quietly},
    exit::Exit,
    looking::Looking,
    remote::Remote,
    source::Source,
    terminal,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, io::Write};
use unknot_api::{client, rest::Paused};
use unknot_engine::{
    CommandError,
    control::{self, HoldWish},
    core::{
        effect::{Answer, Refusal},
        event::PauseTarget,
        row::Pause,
    },
    store::RunFilter,
};
use unknot_server::view;

/// What is meant, by the name that is known there.
struct Target {
    place: Place,
    kind: &'static str,
    name: String,
}

/// Where it is.
enum Place {
    Server(Box<Remote>),
    Folder(Box<Config>),
}

/// Holds.
pub(crate) fn pause(held: &Held, out: &mut dyn Write) -> Result<Exit, Error> {
    let (target, named) = find(held)?;
    let paused = match &target.place {
        Place::Server(remote) => remote.ask(target.attempt("pause"), remote.client().pause(target.at_server()))?,
        Place::Folder(config) => {
            let held = target.in_folder(config, true)?;
            held.ok_or_else(|| Error::OwnerRefused { message: "it did not say since when".to_owned() })?
        }
    };
    let Target { kind, name, .. } = &target;
    if named.json {
        writeln!(out, "{}", json!({*kind: name, "paused": true, "by": paused.by, "since": paused.since.ms}))?;
    } else {
        let again = format!("`unknot resume {kind} {name}{}` lets it go on", target.option());
        writeln!(out, "{kind} {name} is held by {}: nothing new of it starts; {again}", paused.by)?;
    }
    target.note_unknown_workflow();
    Ok(Exit::Success)
}

/// Lets go on.
pub(crate) fn resume(held: &Held, out: &mut dyn Write) -> Result<Exit, Error> {
    let (target, named) = find(held)?;
    match &target.place {
        Place::Server(remote) => {
            remote.ask(target.attempt("resume"), remote.client().resume(target.at_server()))?;
        }
        Place::Folder(config) => drop(target.in_folder(config, false)?),
    }
    let Target { kind, name, .. } = &target;
    if named.json {
        writeln!(out, "{}", json!({*kind: name, "paused": false}))?;
    } else {
        writeln!(out, "{kind} {name} goes on")?;
    }
    target.note_unknown_workflow();
    Ok(Exit::Success)
}

fn find(held: &Held) -> Result<(Target, &Named), Error> {
    let (kind, named) = match held {
        Held::Queue(named) => ("queue", named),
        Held::Workflow(named) => ("workflow", named),
        Held::Run(named) => ("run", named),
    };
    let place = match Remote::find(&named.at) {
        Err(Error::NoServer { .. }) => Place::Folder(Box::new(Config::here(&named.at.place)?)),
        found => Place::Server(Box::new(found?)),
    };
    let Held::Run(_) = held else {
        return Ok((Target { place, kind, name: named.name.clone() }, named));
    };
    let mut source = match place {
        Place::Server(remote) => Source::Server(remote),
        Place::Folder(config) => Source::store(*config)?,
    };
    let name = source.find(&named.name)?.summary.run_id;
    let place = match source {
        Source::Server(remote) => Place::Server(remote),
        Source::Store(stored) => Place::Folder(Box::new(stored.into_config())),
    };
    Ok((Target { place, kind, name }, named))
}

impl Target {
    fn at_server(&self) -> client::PauseTarget<'_> {
        match self.kind {
            "queue" => client::PauseTarget::Queue(&self.name),
            "workflow" => client::PauseTarget::Workflow(&self.name),
            _ => client::PauseTarget::Run(&self.name),
        }
    }

    /// Asks the process that owns the folder; without one, an engine that performs nothing does it.
    fn in_folder(&self, config: &Config, is_held: bool) -> Result<Option<Paused>, Error> {
        let unknown = |_| Error::NoSuchRun { given: self.name.clone(), place: config.data.display().to_string() };
        let target = match self.kind {
            "queue" => PauseTarget::Queue(self.name.clone()),
            "workflow" => PauseTarget::Workflow(self.name.clone()),
            _ => PauseTarget::Run(self.name.parse().map_err(unknown)?),
        };
        let by = terminal::user();
        let wish = HoldWish { target, is_held, by: &by };
        match control::hold(&config.data, &wish).map_err(Error::owner(&config.data))? {
            Some(answer) => told(&answer),
            None => self.by_itself(config, wish),
        }
    }

    fn by_itself(&self, config: &Config, wish: HoldWish<'_>) -> Result<Option<Paused>, Error> {
        // Without a configuration and a store the folder is nobody's: whoever is in a wrong one would believe that
        // something is held. Beside a configuration it may be the first command.
        if config.file.is_none()
            && let Err(nothing @ Error::NothingRan { .. }) = Looking::open(config)
        {
            return Err(nothing);
        }
        let verb = if wish.is_held { "pause" } else { "resume" };
        let engine = alone::engine(config, BTreeSet::new(), &self.attempt(verb))?;
        let answer = match wish.is_held {
            true => engine.pause(wish.target, wish.by),
            false => engine.resume(wish.target, wish.by),
        };
        engine.stop();
        match answer {
            Ok(Answer::Paused(pause)) => Ok(Some(view::paused(&pause))),
            Ok(_) => Ok(None),
            Err(CommandError::Refused(refusal @ Refusal::Unknown { .. })) => {
                Err(Error::Unknown { message: refusal.to_string() })
            }
            Err(source) => Err(Error::Command { attempt: self.attempt(verb), source }),
        }
    }

    /// A workflow may be held before its first run, so a mistyped name is no error: it is told that nobody knows it.
    fn note_unknown_workflow(self) {
        if self.kind != "workflow" {
            return;
        }
        if let Place::Server(remote) = &self.place
            && remote.ask(self.attempt("look up"), remote.client().workflow(&self.name)).is_ok()
        {
            // It is registered, and may not have run yet.
            return;
        }
        let place = match self.place {
            Place::Server(remote) => Ok(Source::Server(remote)),
            Place::Folder(config) => Source::store(*config),
        };
        let filter = RunFilter { workflow: Some(self.name.clone()), ..RunFilter::default() };
        // Where that cannot be looked up, nothing is doubted.
        if place.and_then(|mut source| source.list(&filter, 1)).is_ok_and(|runs| runs.is_empty()) {
            let name = &self.name;
            eprint_quietly(&format!("note: no run of a workflow `{name}` is known: is that its name?\n"));
        }
    }

    fn option(&self) -> String {
        match &self.place {
            Place::Server(remote) => remote.option().to_owned(),
            Place::Folder(config) => config.data_option(),
        }
    }

    fn attempt(&self, verb: &str) -> String {
        format!("{verb} {} `{}`", self.kind, self.name)
    }
}

fn told(answer: &Value) -> Result<Option<Paused>, Error> {
    if let Some(message) = answer.get("error").and_then(Value::as_str).map(str::to_owned) {
        let is_unknown = answer["unknown"].as_bool().unwrap_or_default();
        return Err(if is_unknown { Error::Unknown { message } } else { Error::OwnerRefused { message } });
    }
    // Let go on, it is held by nobody.
    Ok(serde_json::from_value(answer["held"].clone()).ok().map(|pause: Pause| view::paused(&pause)))
}
