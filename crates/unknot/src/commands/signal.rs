//! `unknot signal send RUN NAME`: at a server, by the process that runs it, or in the store itself if nobody does.

use super::alone;
use crate::{
    args::{SendSignal, SignalWhat},
    config::Config,
    error::{Error, eprint_quietly},
    exit::Exit,
    remote::Remote,
    source::{Source, read_word, run_id},
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

/// Sends.
pub(crate) fn perform(what: &SignalWhat, out: &mut dyn Write) -> Result<Exit, Error> {
    let SignalWhat::Send(signal) = what;
    let payload = signal.payload.as_deref().map_or(Value::Null, read);
    let mut source = match Remote::find(&signal.at) {
        Err(Error::NoServer { .. }) => Source::store(Config::here(&signal.at.place)?)?,
        found => Source::Server(Box::new(found?)),
    };
    let run = source.find(&signal.run)?;
    let id = run.summary.run_id.clone();
    let is_named = match source {
        Source::Server(remote) => {
            let sending = remote.client().send_signal(&id, &signal.name, &payload);
            match remote.ask(format!("send `{}` to run `{id}`", signal.name), sending) {
                Err(Error::Client { source, .. }) if source.status() == Some(409) => return Err(ended(&run)?),
                told => told?.is_named,
            }
        }
        Source::Store(stored) => in_folder(&stored.into_config(), run_id(&run)?, signal, &payload)?,
    };
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
fn in_folder(config: &Config, run: RunId, signal: &SendSignal, payload: &Value) -> Result<bool, Error> {
    let by = terminal::user();
    let wish = SignalWish { run, name: &signal.name, payload, by: &by };
    if let Some(answer) = control::signal(&config.data, &wish).map_err(Error::owner(&config.data))? {
        return match answer.get("error").and_then(Value::as_str) {
            Some(message) if answer["unknown"] == Value::Bool(true) => {
                Err(Error::Unknown { message: message.to_owned() })
            }
            Some(message) => Err(Error::OwnerRefused { message: message.to_owned() }),
            None => Ok(answer["is_named"].as_bool().unwrap_or_default()),
        };
    }
    let attempt = format!("send `{}` to run `{run}`", signal.name);
    let engine = alone::engine(config, BTreeSet::new(), &attempt)?;
    let told = engine.signal(run, &signal.name, JsonText::of(payload), &by);
    engine.stop();
    match told {
        Ok(Answer::Signalled { is_named }) => Ok(is_named),
        Ok(_) => Ok(false),
        Err(CommandError::Refused(refusal @ Refusal::NoSignalName(_))) => {
            Err(Error::Unknown { message: refusal.to_string() })
        }
        Err(CommandError::Refused(Refusal::RunEnded { run, status })) => Err(Error::AlreadyEnded { run, status }),
        Err(source) => Err(Error::Command { attempt, source }),
    }
}
