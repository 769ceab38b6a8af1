//! `unknot cancel RUN`: asks the server or the process that runs it, or ends it without one.

use super::{alone, show::has_ended};
use crate::{
    args::Cancel,
    config::Config,
    error::{Error, warn_of_mistake},
    exit::Exit,
    looking::Looking,
    output::count,
    remote::Remote,
    source::{Source, read_word, run_id},
    terminal,
};
use serde_json::Value;
use std::{io::Write, time::Duration};
use unknot_api::rest::CancelRequest;
use unknot_engine::{
    Engine, Heard,
    control::{self, CancelWish},
    core::{effect::Answer, row::HistoryKind, run::RunStatus},
    store::RunRecord,
};

/// How often the wait for a run's end looks whether the engine still can.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Cancels a run.
pub(crate) fn perform(cancel: &Cancel, out: &mut dyn Write) -> Result<Exit, Error> {
    if let Some(remote) = Remote::named(&cancel.at)? {
        return at_server(cancel, remote, out);
    }
    let (config, mistake) = Config::to_ask(&cancel.at.place)?;
    let record = Looking::open(&config)?.find(&cancel.run)?;
    if let RunRecord::Finished(finished) = &record {
        return Err(Error::AlreadyEnded { run: record.id(), status: finished.status });
    }
    let by = terminal::user();
    let wish = CancelWish { run: record.id(), reason: &cancel.reason, by: &by, force: cancel.force };
    match control::cancel(&config.data, &wish).map_err(Error::owner(&config.data))? {
        Some(answer) => {
            mistake.iter().for_each(warn_of_mistake);
            asked(&answer, &wish, &config, out)
        }
        None => mistake.map_or_else(|| by_itself(&config, &wish, out), Err),
    }
}

/// Asks a server that is named.
fn at_server(cancel: &Cancel, remote: Remote, out: &mut dyn Write) -> Result<Exit, Error> {
    let mut source = Source::Server(Box::new(remote));
    let run = source.find(&cancel.run)?;
    let Source::Server(remote) = &source else { return Ok(Exit::Success) };
    let id = &run.summary.run_id;
    let request = CancelRequest { reason: Some(cancel.reason.clone()), force: cancel.force };
    let told = match remote.ask(format!("cancel run `{id}`"), remote.client().cancel(id, &request)) {
        Err(Error::Client { source, .. }) if source.status() == Some(409) && has_ended(&run) => {
            let status = read_word(&run.summary.status).unwrap_or(RunStatus::Cancelled);
            return Err(Error::AlreadyEnded { run: run_id(&run)?, status });
        }
        told => told?,
    };
    say(id, u64::from(told.cancelled_tasks), cancel.force, remote.option(), out)
}

fn say(run: &str, tasks: u64, force: bool, option: &str, out: &mut dyn Write) -> Result<Exit, Error> {
    match force {
        true => writeln!(out, "{run} is cancelled; what it still had is killed ({} unfinished)", count(tasks, "task"))?,
        false => writeln!(out, "{run} is being cancelled ({} unfinished)", count(tasks, "task"))?,
    }
    writeln!(out, "see `unknot show {run}{option}`")?;
    Ok(Exit::Success)
}

/// The owner's answer.
fn asked(answer: &Value, wish: &CancelWish<'_>, config: &Config, out: &mut dyn Write) -> Result<Exit, Error> {
    if let Some(message) = answer.get("error").and_then(Value::as_str) {
        return Err(Error::OwnerRefused { message: message.to_owned() });
    }
    let tasks = answer["cancelling"]["cancelled_tasks"].as_u64().unwrap_or_default();
    say(&wish.run.to_string(), tasks, wish.force, &config.data_option(), out)
}

/// Nobody runs it: an engine that performs nothing brings it to its end.
fn by_itself(config: &Config, wish: &CancelWish<'_>, out: &mut dyn Write) -> Result<Exit, Error> {
    let engine = alone::engine(config, [wish.run].into(), "open the store to cancel the run")?;
    let ended = end(&engine, wish);
    engine.stop();
    let status = ended?;
    writeln!(out, "{}: {status}", wish.run)?;
    Ok(Exit::Success)
}

/// Cancels, and waits for the end of the run.
fn end(engine: &Engine, wish: &CancelWish<'_>) -> Result<RunStatus, Error> {
    let mut subscription = engine.subscribe();
    let answer = engine.cancel(wish.run, wish.reason, wish.by, wish.force);
    let answer = answer.map_err(|source| Error::Command { attempt: format!("cancel run `{}`", wish.run), source })?;
    let Answer::Cancelling { .. } = answer else { return Ok(RunStatus::Cancelled) };
    loop {
        match subscription.next(LOOK_EVERY) {
            Heard::Lines(lines) => {
                let ends = lines.entries.iter().filter(|entry| entry.run == wish.run);
                if let Some(status) = ends.filter_map(|entry| ended_as(entry.event)).next_back() {
                    return Ok(status);
                }
            }
            Heard::CutOff => subscription = engine.subscribe(),
            Heard::Nothing => {}
        }
        let record = engine.read(|reader, namespace| reader.run(namespace, wish.run));
        match record.map_err(Error::store("read the run"))?.value {
            Some(RunRecord::Finished(finished)) => return Ok(finished.status),
            Some(RunRecord::Live(run)) if !wish.force => {
                if let Some(cause) = run.poisoned {
                    return Err(Error::Frozen { run: run.id, cause });
                }
            }
            Some(RunRecord::Live(_)) | None => {}
        }
        if let Some(cause) = engine.health().fatal {
            return Err(Error::EngineStopped { cause });
        }
    }
}

fn ended_as(event: HistoryKind) -> Option<RunStatus> {
    Some(match event {
        HistoryKind::RunCompleted => RunStatus::Completed,
        HistoryKind::RunFailed => RunStatus::Failed,
        HistoryKind::RunCancelled => RunStatus::Cancelled,
        HistoryKind::RunTimedOut => RunStatus::TimedOut,
        _ => return None,
    })
}
