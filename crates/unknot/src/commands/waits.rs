//! `unknot waits`: who waits now, for what, and who can move it; as a table, or the whole graph.

use crate::{
    args::{Format, Waits},
    commands::show::has_ended,
    error::Error,
    exit::Exit,
    output::{Paint, Tone},
    source::{Source, read_word, run_id, stamp},
    table::{Cell, Column, Table},
    terminal, time,
};
use serde_json::{Value, json};
use std::io::{self, Write};
use unknot_api::rest;
use unknot_engine::{
    Clock, Engine,
    core::{
        Timestamp,
        run::RunStatus,
        wait::{Snapshot, dot, mermaid, reduce},
    },
};

/// Tells.
pub(crate) fn perform(asked: &Waits, out: &mut dyn Write) -> Result<Exit, Error> {
    let mut source = Source::open(&asked.at)?;
    let run = asked.run.as_deref().map(|run| source.find(run)).transpose()?;
    if let Some(run) = run.as_ref().filter(|run| has_ended(run)) {
        let status = read_word(&run.summary.status).unwrap_or(RunStatus::Completed);
        return Err(Error::AlreadyEnded { run: run_id(run)?, status });
    }
    let run = run.map(|run| run.summary.run_id);
    if asked.format == Format::Text {
        let told = source.live_waits(run.as_deref(), asked.limit.into())?;
        write_table(&told, out)?;
        source.note_unless_served(!told.waits.is_empty(), out)?;
    } else {
        let graph = source.wait_graph(run.as_deref())?;
        write_graph(&graph, asked.format, out)?;
        source.note_unless_served(!graph.waits.is_empty(), out)?;
    }
    Ok(Exit::Success)
}

/// A graph in the exchange format, or a drawing of it.
pub(super) fn write_graph(graph: &Snapshot, format: Format, out: &mut dyn Write) -> Result<(), Error> {
    match format {
        Format::Text | Format::Json => writeln!(out, "{}", serde_json::to_string(graph).map_err(io::Error::from)?)?,
        Format::Dot => out.write_all(dot(graph, &reduce(graph)).as_bytes())?,
        Format::Mermaid => out.write_all(mermaid(graph, &reduce(graph)).as_bytes())?,
    }
    Ok(())
}

fn write_table(told: &rest::LiveWaits, out: &mut dyn Write) -> Result<(), Error> {
    if told.waits.is_empty() {
        return Ok(writeln!(out, "nobody waits")?);
    }
    let now = Clock::starting_at_least(Timestamp::default()).now();
    let mut table = Table::new(&[
        ("WHO", Column::Shrinks(12)),
        ("FOR", Column::Right),
        ("LEFT", Column::Right),
        ("MOVED BY", Column::Shrinks(12)),
        ("WAITS FOR", Column::Wraps(24)),
    ]);
    for wait in &told.waits {
        let left = wait.until.map_or_else(|| "none".to_owned(), |until| time::length(stamp(until).since(now)));
        let tone = match wait.mover.as_str() {
            "causes" => Tone::Faint,
            "nobody" | "deadlock" => Tone::Bad,
            _ => Tone::Plain,
        };
        table.row(vec![
            format!("{}/{}", wait.workflow_name, wait.name).into(),
            time::length(now.since(stamp(wait.since))).into(),
            left.into(),
            Cell::new(tone, moved_by(wait)),
            wait.sentence.as_str().into(),
        ]);
    }
    let columns = terminal::size().columns;
    table.write(out, Paint::for_stdout(), 0, columns)?;
    let shown = told.waits.len() as u64;
    if shown < told.total {
        let more = format!("{} more wait, none of them for longer", told.total - shown);
        writeln!(out, "{}", Paint::for_stdout().tone(Tone::Faint, &more))?;
    }
    Ok(())
}

/// Who can move a wait, in a few letters.
fn moved_by(wait: &rest::LiveWait) -> String {
    let name = wait.mover_name.as_deref().unwrap_or_default();
    match wait.mover.as_str() {
        "causes" => "others".to_owned(),
        "nobody" => "nobody: deadlocked".to_owned(),
        "deadlock" => "nobody: stuck behind".to_owned(),
        "signal" => format!("signal {name}"),
        "worker" => format!("worker {name}"),
        "decision" | "confirmation" => "a person".to_owned(),
        "resume_run" => "resume run".to_owned(),
        "resume_workflow" | "resume_queue" => format!("resume {name}"),
        "new_worker" => "a new worker".to_owned(),
        "resize" => format!("pool {name}"),
        "server" => "a server".to_owned(),
        "force" => "force".to_owned(),
        other => other.to_owned(),
    }
}

/// The answer to somebody at the control socket who asks which workers are here; nothing if it is no such question.
pub(crate) fn answer(engine: &Engine, request: &Value) -> Option<Value> {
    request.get("workers")?;
    let overview = engine.overview();
    let workers = overview
        .workers
        .iter()
        .map(|(worker, seen)| json!({"name": worker.name, "boot": worker.boot, "slots": seen.slots}));
    Some(json!({"workers": workers.collect::<Vec<_>>()}))
}
