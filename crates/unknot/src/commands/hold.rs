//! `unknot pause|resume queue|workflow|run NAME`: holds something back, and lets it go on: at a server, by the process
//! that owns the data folder, or in the store itself if nobody does.

use super::alone;
use crate::{
    args::{Held, Named},
    config::Config,
    error::Error,
    exit::Exit,
    remote::Remote,
    source::Source,
    terminal,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, io::Write};
use unknot_api::{client, rest::Paused};
use unknot_engine::{
    control::{self, HoldWish},
    core::{effect::Answer, event::PauseTarget, row::Pause},
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
        let silent = |source: std::io::Error| Error::OwnerSilent { data: config.data.clone(), source: source.into() };
        match control::hold(&config.data, &wish).map_err(silent)? {
            Some(answer) => told(&answer),
            None => self.by_itself(config, wish),
        }
    }

    fn by_itself(&self, config: &Config, wish: HoldWish<'_>) -> Result<Option<Paused>, Error> {
        let verb = if wish.is_held { "pause" } else { "resume" };
        let engine = alone::engine(config, BTreeSet::new(), &self.attempt(verb))?;
        let answer = match wish.is_held {
            true => engine.pause(wish.target, wish.by),
            false => engine.resume(wish.target, wish.by),
        };
        engine.stop();
        match answer.map_err(|source| Error::Command { attempt: self.attempt(verb), source })? {
            Answer::Paused(pause) => Ok(Some(view::paused(&pause))),
            _ => Ok(None),
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
    if let Some(message) = answer.get("error").and_then(Value::as_str) {
        return Err(Error::OwnerRefused { message: message.to_owned() });
    }
    // Let go on, it is held by nobody.
    Ok(serde_json::from_value(answer["held"].clone()).ok().map(|pause: Pause| view::paused(&pause)))
}
