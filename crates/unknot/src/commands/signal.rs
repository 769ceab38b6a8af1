//! `unknot signal send RUN NAME`: at a server, by the process that runs it, or in the store itself if nobody does.

use super::alone;
use crate::{
    args::{At, SendSignal, SignalWhat},
    attempt::Attempt,
    config::Config,
    error::{Error, eprint_quietly},
    exit::Exit,
    remote::Remote,
    source::{Source, note_not_served, read_word, run_id},
    terminal,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, io::Write};
use unknot_api::rest;
use unknot_engine::{
    CommandError,
    control::{self, SignalWish},
    core::{
        RunId,
        effect::{Answer, Refusal},
        run::{JsonText, RunStatus},
    },
};

/// What to do outside of a task with no RUN.
const INSTEAD: &str = "name the run: `unknot signal send RUN NAME`, for example `latest`";

/// Sends.
pub(crate) fn perform(what: &SignalWhat, out: &mut dyn Write) -> Result<Exit, Error> {
    let SignalWhat::Send(typed) = what;
    let attempt = if is_elsewhere(&typed.at) { None } else { Attempt::find()? };
    let signal = &meant(typed, attempt.is_some())?;
    if let Some(attempt) = &attempt
        && let Some(sent) = from_task(attempt, signal)?
    {
        // It may be for an attempt that waits, now or later.
        return tell(&sent.run_id, signal, true, out);
    }
    let Some(run) = &signal.run else {
        return Err(Error::NotInAttempt { command: "signal send NAME", instead: INSTEAD });
    };
    let payload = &signal.payload;
    let mut source = match Remote::find(&typed.at) {
        Err(Error::NoServer { .. }) => Source::store(Config::here(&typed.at.place)?)?,
        found => Source::Server(Box::new(found?)),
    };
    let run = source.find(run)?;
    let id = run.summary.run_id.clone();
    let is_named = match source {
        Source::Server(remote) => {
            let sending = remote.client().send_signal(&id, &signal.name, payload);
            match remote.ask(format!("send `{}` to run `{id}`", signal.name), sending) {
                Err(Error::Client { source, .. }) if source.status() == Some(409) => return Err(ended(&run)?),
                told => told?.is_named,
            }
        }
        Source::Store(stored) => in_folder(&stored.into_config(), run_id(&run)?, &signal.name, payload)?,
    };
    tell(&id, signal, is_named, out)
}

/// What was typed, understood.
struct Meant {
    /// The run; none: the task's own.
    run: Option<String>,
    name: String,
    payload: Value,
    json: bool,
}

/// Whether somebody else than the task's own server is asked.
fn is_elsewhere(at: &At) -> bool {
    at.server.as_ref().is_some_and(|server| !server.is_empty()) || at.place.data.is_some() || at.place.config.is_some()
}

/// Inside a task the run may be left out; whatever looks like one is one.
fn meant(typed: &SendSignal, in_task: bool) -> Result<Meant, Error> {
    let SendSignal { first, second, third, json, .. } = typed;
    let is_run = first.starts_with("run_") || first == "latest";
    let (run, name, payload) = match (second, third) {
        (None, _) => (None, first, None),
        (Some(payload), None) if in_task && !is_run => (None, first, Some(payload)),
        (Some(name), payload) => (Some(first.clone()), name, payload.as_ref()),
    };
    let payload = payload.map_or(Value::Null, |payload| read(payload));
    Ok(Meant { run, name: name.clone(), payload, json: *json })
}

/// Sends in the task's name; nothing: the run is none that it may send to, so it is sent as outside of a task.
fn from_task(attempt: &Attempt, signal: &Meant) -> Result<Option<rest::SignalSent>, Error> {
    if signal.run.as_ref().is_some_and(|run| run.parse::<RunId>().is_err()) {
        return Ok(None);
    }
    match attempt.signal(signal.run.as_deref(), &signal.name, &signal.payload) {
        Err(Error::Client { source, .. }) if source.status() == Some(403) => Ok(None),
        sent => sent.map(Some),
    }
}

fn tell(id: &str, signal: &Meant, is_named: bool, out: &mut dyn Write) -> Result<Exit, Error> {
    if signal.json {
        writeln!(out, "{}", json!({"run": id, "signal": signal.name, "is_named": is_named}))?;
    } else {
        writeln!(out, "{id} has signal {}", signal.name)?;
    }
    if !is_named {
        out.flush()?;
        eprint_quietly(&format!("note: no task of that run waits for `{}`: is that its name?\n", signal.name));
    }
    Ok(Exit::Success)
}

/// It has ended, as was seen before or happened just now.
fn ended(run: &rest::Run) -> Result<Error, Error> {
    let status = read_word(&run.summary.status).unwrap_or(RunStatus::Cancelled);
    Ok(Error::AlreadyEnded { run: run_id(run)?, status })
}

/// What was typed: JSON, or a text.
fn read(typed: &str) -> Value {
    serde_json::from_str(typed).unwrap_or_else(|_| Value::from(typed))
}

/// Asks the process that owns the folder; without one, an engine that performs nothing does it.
fn in_folder(config: &Config, run: RunId, name: &str, payload: &Value) -> Result<bool, Error> {
    let by = terminal::user();
    let wish = SignalWish { run, name, payload, by: &by };
    if let Some(answer) = control::signal(&config.data, &wish).map_err(Error::owner(&config.data))? {
        return match answer.get("error").and_then(Value::as_str) {
            Some(message) if answer["unknown"] == Value::Bool(true) => {
                Err(Error::Unknown { message: message.to_owned() })
            }
            Some(message) => Err(Error::OwnerRefused { message: message.to_owned() }),
            None => Ok(answer["is_named"].as_bool().unwrap_or_default()),
        };
    }
    let attempt = format!("send `{name}` to run `{run}`");
    let engine = alone::engine(config, BTreeSet::new(), &attempt)?;
    let told = engine.signal(run, name, JsonText::of(payload), &by);
    engine.stop();
    match told {
        Ok(Answer::Signalled { is_named }) => {
            note_not_served();
            Ok(is_named)
        }
        Ok(_) => Ok(false),
        Err(CommandError::Refused(refusal @ Refusal::NoSignalName(_))) => {
            Err(Error::Unknown { message: refusal.to_string() })
        }
        Err(CommandError::Refused(Refusal::RunEnded { run, status })) => Err(Error::AlreadyEnded { run, status }),
        Err(source) => Err(Error::Command { attempt, source }),
    }
}
