//! `unknot dead ls|show|redrive|drop`: tasks that are out of tries, at a server.

use super::list;
use crate::{
    args::{DeadCommand, Listing},
    error::Error,
    exit::Exit,
    output::{Paint, Tone, fit, harmless, wrap},
    remote::Remote,
    source::{Source, stamp},
    summary::LOG_LINES,
    table::{Cell, Column, Table},
    terminal, time,
};
use serde_json::json;
use std::io::Write;
use unknot_api::{
    client::ClientError,
    rest::{DeadLetter, Problem},
};
use unknot_engine::{
    Clock,
    core::{TaskId, Timestamp},
};

/// Items of one part of the list.
const PART: usize = 1_000;

/// Does what was asked for.
pub(crate) fn perform(command: &DeadCommand, out: &mut dyn Write) -> Result<Exit, Error> {
    match command {
        DeadCommand::Ls { limit, listing } => ls(*limit, listing, out),
        DeadCommand::Show { task, listing } => show(task, listing, out),
        DeadCommand::Redrive { task, at } => {
            let remote = Remote::find(at)?;
            let created = remote.ask(format!("redrive `{task}`"), remote.client().redrive(task))?;
            writeln!(out, "{} goes on from there", created.run_id)?;
            writeln!(out, "see `unknot show {}{}`", created.run_id, remote.option())?;
            Ok(Exit::Success)
        }
        DeadCommand::Drop { task, at } => {
            let remote = Remote::find(at)?;
            remote.ask(format!("drop the dead letter of `{task}`"), remote.client().drop_dead_letter(task))?;
            writeln!(out, "{task} is forgotten; its run is as it was")?;
            Ok(Exit::Success)
        }
    }
}

/// Hands dead letters on until `take` has enough.
fn each(remote: &Remote, mut take: impl FnMut(DeadLetter) -> bool) -> Result<(), Error> {
    let mut after: Option<String> = None;
    loop {
        let page = remote.ask("list the dead letters", remote.client().dead_letters(after.as_deref(), PART))?;
        let is_enough = !page.items.into_iter().all(&mut take);
        match page.next {
            Some(next) if !is_enough => after = Some(next),
            _ => return Ok(()),
        }
    }
}

fn ls(limit: usize, listing: &Listing, out: &mut dyn Write) -> Result<Exit, Error> {
    let remote = Remote::find(&listing.at)?;
    let mut found = Vec::new();
    each(&remote, |letter| {
        found.extend((found.len() < limit).then_some(letter));
        found.len() < limit
    })?;
    list::print(listing.json, &found, "dead letters: no task is out of tries", || table(&found), out)?;
    let handled = found.iter().filter(|letter| letter.handled).count() as u64;
    if handled > 0 && !listing.json {
        let told = format!("{handled} of {} handled: their workflows say what follows (`on_failure`)", found.len());
        writeln!(out, "{}", Paint::for_stdout().tone(Tone::Faint, &told))?;
    }
    Ok(Exit::Success)
}

fn table(letters: &[DeadLetter]) -> Table {
    let now = Clock::starting_at_least(Timestamp::default()).now();
    let mut table = Table::new(&[
        // To be copied, so it is never cut.
        ("TASK", Column::Whole),
        ("NAME", Column::Shrinks(8)),
        ("WHEN", Column::Right),
        ("WHY", Column::Wraps(20)),
    ]);
    for letter in letters {
        let tone = if letter.handled { Tone::Faint } else { Tone::Plain };
        table.row(vec![
            letter.task_id.as_str().into(),
            letter.task.as_str().into(),
            time::ago(now, stamp(letter.at)).into(),
            Cell::new(tone, why(letter)),
        ]);
    }
    table
}

/// `run FAILED, 4 tries: exited with status 3`.
fn why(letter: &DeadLetter) -> String {
    let tries = (letter.attempts > 1).then(|| format!("{} tries", letter.attempts));
    let run = letter.run_status.as_ref().map(|status| format!("run {status}"));
    let handled = letter.handled.then(|| "handled".to_owned());
    let told: Vec<String> = handled.into_iter().chain(run).chain(tries).collect();
    if told.is_empty() {
        letter.error.message.clone()
    } else {
        format!("{}: {}", told.join(", "), letter.error.message)
    }
}

fn show(task: &str, listing: &Listing, out: &mut dyn Write) -> Result<Exit, Error> {
    let remote = Remote::find(&listing.at)?;
    let mut found = None;
    each(&remote, |letter| {
        if letter.task_id.eq_ignore_ascii_case(task) {
            found = Some(letter);
        }
        found.is_none()
    })?;
    let letter = found.ok_or_else(|| unknown(task))?;
    if listing.json {
        writeln!(out, "{}", json!(letter))?;
        return Ok(Exit::Success);
    }
    let paint = Paint::for_stdout();
    let columns = terminal::size().columns;
    let head = paint.tone(Tone::Strong, &harmless(&letter.task));
    writeln!(out, "{}  {head} of {}", paint.tone(Tone::Bad, "FAILED"), harmless(&letter.workflow_name))?;
    for (label, text) in [
        ("task", letter.task_id.clone()),
        (
            "run",
            format!("{}{}", letter.run_id, letter.run_status.as_ref().map(|is| format!(" ({is})")).unwrap_or_default()),
        ),
        ("queue", letter.queue.clone()),
        ("tries", letter.attempts.to_string()),
        ("since", time::moment(stamp(letter.at))),
        ("because", letter.error.message.clone()),
        (
            "handled",
            if letter.handled { "yes: its workflow says what follows (`on_failure`)" } else { "no" }.to_owned(),
        ),
    ] {
        for (place, line) in wrap(&text, columns.saturating_sub(14), 6).iter().enumerate() {
            let label = if place == 0 { label } else { "" };
            writeln!(out, "  {}  {line}", paint.tone(Tone::Faint, &format!("{label:<9}")))?;
        }
    }
    let source = Source::Server(Box::new(remote));
    if let Ok(id) = letter.task_id.parse::<TaskId>() {
        for line in source.last_lines(id.attempt(letter.attempts.max(1)), &letter.task, LOG_LINES)? {
            writeln!(out, "  {} {}", paint.tone(Tone::Faint, "│"), fit(&line, columns.saturating_sub(5)))?;
        }
    }
    let more = format!("unknot logs {} {}{}", letter.run_id, letter.task, source.option());
    writeln!(out, "  {}", paint.tone(Tone::Faint, &more))?;
    Ok(Exit::Success)
}

/// The server is asked for the list alone, so what is not in it is said here as it would say it.
fn unknown(task: &str) -> Error {
    let problem = Problem {
        type_: "/errors/UK0404".to_owned(),
        title: String::new(),
        status: 404,
        code: "UK0404".to_owned(),
        detail: format!("task `{task}` is not among the dead letters"),
        problems: Vec::new(),
    };
    Error::client("show the dead letter")(ClientError::Refused { problem: Box::new(problem), retry_after: None })
}
