//! `unknot lock NAME…` and `unknot unlock NAME…`: what a task's script holds.

use crate::{
    args::{Lock, Units, Unlock},
    door::{Door, exit_of},
    error::{Error, eprint_quietly},
    exit::Exit,
    signals,
};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::Write,
    os::unix::process::ExitStatusExt,
    process::{self, Child, ExitStatus},
    thread,
    time::Duration,
};
use unknot_api::rest::{ReleaseRequest, WaitFor, WaitOutcome, WaitResult};

/// How often the command that runs under a lock is looked at, and signals are passed on to it.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Acquires; with a command: runs it, and gives back.
pub(crate) fn acquire(lock: &Lock, out: &mut dyn Write) -> Result<Exit, Error> {
    let door = Door::open("lock")?;
    let parts: Vec<WaitFor> = lock.names.iter().map(awaited).collect();
    let awaited = if lock.any { WaitFor::Any(parts) } else { WaitFor::All(parts) };
    let told = door.wait(awaited, lock.within, lock.then.into())?;
    if lock.json {
        writeln!(out, "{}", serde_json::to_string(&told).unwrap_or_default())?;
    }
    if told.outcome != WaitOutcome::Met {
        eprint_quietly(&format!("unknot: {}\n", why_not(&told)));
        return Ok(exit_of(&told));
    }
    if lock.command.is_empty() {
        if lock.any && !lock.json {
            told.granted.keys().try_for_each(|name| writeln!(out, "{name}"))?;
        }
        return Ok(Exit::Success);
    }
    let ended = run(&lock.command);
    // Whatever became of it: nobody else shall wait for what is not used any more.
    release(&door, told.granted)?;
    let status = ended?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Ok(Exit::Command(u8::try_from(code).unwrap_or(u8::MAX)))
}

/// Gives back.
pub(crate) fn give_back(unlock: &Unlock, _: &mut dyn Write) -> Result<Exit, Error> {
    let door = Door::open("unlock")?;
    let mut units: BTreeMap<String, u32> = BTreeMap::new();
    for Units { pool, units: many } in &unlock.names {
        *units.entry(pool.clone()).or_default() += many;
    }
    release(&door, units)?;
    Ok(Exit::Success)
}

fn release(door: &Door, units: BTreeMap<String, u32>) -> Result<(), Error> {
    let units = ReleaseRequest { units };
    door.ask("give back what is held", |client, attempt| {
        let units = units.clone();
        async move { client.attempt_release(&attempt, &units).await }
    })
}

pub(super) fn awaited(units: &Units) -> WaitFor {
    match units.units {
        1 => WaitFor::Lock(units.pool.clone()),
        more => WaitFor::Pool { pool: units.pool.clone(), units: more },
    }
}

pub(super) fn why_not(told: &WaitResult) -> &'static str {
    match told.outcome {
        WaitOutcome::TimedOut | WaitOutcome::Waiting => "what was waited for was not there in time",
        WaitOutcome::Impossible => "what was waited for can not come any more: a run did not end as it was to",
        WaitOutcome::Withdrawn => "the wait was withdrawn",
        WaitOutcome::Met => "it holds",
    }
}

/// Runs a command to its end; Ctrl-C, TERM and HUP are passed on to it.
fn run(command: &[OsString]) -> Result<ExitStatus, Error> {
    let failed = |source: std::io::Error| Error::Start { attempt: "run the command", source: source.into() };
    let interrupts = signals::listen()?;
    let Some((program, arguments)) = command.split_first() else { return Ok(ExitStatus::default()) };
    let mut child: Child = process::Command::new(program).args(arguments).spawn().map_err(failed)?;
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(status);
        }
        if let Some(interrupt) = interrupts.take() {
            interrupt.pass_on(child.id());
        }
        thread::sleep(LOOK_EVERY);
    }
}
