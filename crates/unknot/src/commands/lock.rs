//! `unknot lock NAME…`: locks or units of pools for the attempt that this is a part of, perhaps for one command.

use super::wait::{bound, units};
use crate::{
    args::Lock,
    attempt::{Attempt, Heard, Waited, unique_name},
    error::{Error, eprint_quietly, report},
    exit::Exit,
};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::signal::SIGCHLD;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::Write,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus},
    time::Duration,
};
use unknot_api::{
    client::ClientError,
    rest::{Problem, WaitFor, WaitOutcome, WaitRequest},
};

/// What to do outside of a task.
const INSTEAD: &str =
    "put it into the `exec` of a task; to hold a lock for the whole of a task, write `locks: [NAME]` there";
/// The variable of a command that says what is held for it.
const HELD_VARIABLE: &str = "UNKNOT_LOCK";
/// How often a command is looked at whose end nobody has told.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is tried to give back what is lent meanwhile.
const LENT_AGAIN: Duration = Duration::from_millis(200);
/// How a shell tells that a command cannot be started.
const NOT_STARTED: Exit = Exit::As(127);

/// Acquires, and runs the command, if there is one.
pub(crate) fn perform(asked: &Lock, out: &mut dyn Write) -> Result<Exit, Error> {
    let attempt = Attempt::here("lock", INSTEAD)?;
    let heard = Heard::listen()?;
    let granted = match attempt.wait(request(asked)?, &heard)? {
        Waited::Over(result) if result.outcome == WaitOutcome::Met => result.granted,
        Waited::Over(_) => {
            let within = asked.bound.within.map_or_else(|| "the task's time".to_owned(), |within| within.to_string());
            eprint_quietly(&format!("{} not acquired within {within}\n", named(asked, ", ")));
            return Ok(Exit::NotInTime);
        }
        Waited::Cut(number) => return Ok(Exit::by_signal(number)),
    };
    let names: Vec<&str> = granted.keys().map(String::as_str).collect();
    match asked.command.split_first() {
        None => {
            if asked.any {
                writeln!(out, "{}", names.join(" "))?;
            }
            Ok(Exit::Success)
        }
        Some((program, arguments)) => {
            let ended = run(program, arguments, &names.join(" "), &heard);
            give_back(&attempt, &granted, &heard);
            Ok(ended)
        }
    }
}

fn named(asked: &Lock, between: &str) -> String {
    asked.names.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(between)
}

fn request(asked: &Lock) -> Result<WaitRequest, Error> {
    let mut of: Vec<WaitFor> = asked.names.iter().map(|one| units(one, asked.units)).collect();
    let name = unique_name(&format!("lock {}", named(asked, " ")))?;
    let awaited = match (of.len(), asked.any) {
        (1, _) => of.remove(0),
        (_, true) => WaitFor::Any(of),
        (_, false) => WaitFor::All(of),
    };
    let (within, then) = bound(asked.bound);
    Ok(WaitRequest { name, awaited, within, then })
}

/// Runs the command to its end; signals are handed on.
fn run(program: &OsString, arguments: &[OsString], held: &str, heard: &Heard) -> Exit {
    let mut child = match Command::new(program).args(arguments).env(HELD_VARIABLE, held).spawn() {
        Ok(child) => child,
        Err(error) => {
            eprint_quietly(&format!("cannot start `{}`: {error}\n", program.to_string_lossy()));
            return NOT_STARTED;
        }
    };
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return as_it_ended(status),
            Ok(None) => {}
            Err(error) => {
                eprint_quietly(&format!("cannot wait for `{}`: {error}\n", program.to_string_lossy()));
                return Exit::Environment;
            }
        }
        match heard.next(LOOK_EVERY) {
            None | Some(SIGCHLD) => {}
            Some(number) => hand_on(&child, number),
        }
    }
}

fn hand_on(child: &Child, number: i32) {
    if let Some(signal) = Signal::from_named_raw(number) {
        // It may just have ended.
        kill_process(Pid::from_child(child), signal).unwrap_or_default();
    }
}

fn as_it_ended(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::As(u8::try_from(code).unwrap_or(u8::MAX)),
        (None, Some(number)) => Exit::by_signal(number),
        (None, None) => Exit::Environment,
    }
}

/// Whatever became of the command is what counts: what cannot be given back is given back with the attempt's end.
fn give_back(attempt: &Attempt, granted: &BTreeMap<String, u32>, heard: &Heard) {
    loop {
        match attempt.release(granted) {
            // Another process of the attempt waits meanwhile, and all that it holds is lent to its runs.
            Err(Error::Client { source, .. }) if source.code() == Some(Problem::WAITS_ALREADY) => {
                if heard.end_within(LENT_AGAIN).is_some() {
                    return;
                }
            }
            // It is being stopped, or has lost its lease: nothing is held for it any more, or not for long.
            Ok(()) | Err(Error::Client { source: ClientError::Refused { .. }, .. }) => return,
            Err(error) => return report(&error),
        }
    }
}
