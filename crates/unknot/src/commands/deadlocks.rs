//! `unknot deadlocks`: verdicts about work that stands still: listed, shown, marked; and a scan for more.

mod show;

use super::{alone, list};
use crate::{
    args::{Deadlocks, DeadlocksCommand, Mark, MarkVerdict, Scan, VerdictKind, VerdictOutcome, Verdicts},
    config::Config,
    error::{Error, eprint_quietly},
    exit::Exit,
    output::{Paint, Tone, count, harmless, thousands, wrap},
    remote::Remote,
    source::{Source, run_id, stamp},
    table::{Cell, Column, Table},
    terminal, time,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, io::Write};
use unknot_api::rest;
use unknot_engine::{
    Clock, Engine, control,
    core::{
        Timestamp,
        deadlock::{self, Finding, VerdictId},
    },
    store::VerdictFilter,
};

/// Lines of one sentence.
const LINES_MAX: usize = 8;

/// Does what was asked for.
pub(crate) fn perform(asked: &Deadlocks, out: &mut dyn Write) -> Result<Exit, Error> {
    match &asked.command {
        None => ls(&asked.listing, out),
        Some(DeadlocksCommand::Show(asked)) => show::perform(asked, out),
        Some(DeadlocksCommand::Scan(asked)) => scan(asked, out),
        Some(DeadlocksCommand::Mark(asked)) => mark(asked, out),
    }
}

fn ls(listing: &Verdicts, out: &mut dyn Write) -> Result<Exit, Error> {
    let mut source = Source::open(&listing.at)?;
    let run = listing.run.as_deref().map(|run| source.find(run)).transpose()?;
    let filter = VerdictFilter {
        run: run.as_ref().map(run_id).transpose()?,
        kind: listing.kind.map(Into::into),
        outcome: listing.outcome.map(word_of),
        since: listing.since.map(stamp),
        is_open: listing.open,
    };
    let mut found = source.verdicts(&filter, listing.limit.saturating_add(1))?;
    let has_more = found.len() > listing.limit;
    found.truncate(listing.limit);
    let none = match filter == VerdictFilter::default() {
        true => "verdicts: nothing has stood still",
        false => "verdicts: none is like that",
    };
    let now = Clock::starting_at_least(Timestamp::default()).now();
    let exit = list::print(listing.json, &found, none, || verdict_table(&found, now), out)?;
    if has_more && !listing.json {
        out.flush()?;
        eprint_quietly(&format!(
            "note: there are older ones: `--limit {}` shows more\n",
            listing.limit.saturating_mul(10)
        ));
    }
    Ok(exit)
}

/// Verdicts, one a line.
pub(super) fn verdict_table(found: &[rest::VerdictSummary], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        // To be copied, so it is never cut.
        ("VERDICT", Column::Whole),
        ("KIND", Column::Whole),
        ("WHEN", Column::Right),
        ("WORKFLOWS", Column::Shrinks(10)),
        ("TASKS", Column::Right),
        ("OUTCOME", Column::Whole),
        ("", Column::Shrinks(5)),
    ]);
    for verdict in found {
        table.row(vec![
            verdict.id.as_str().into(),
            Cell::new(tone_of(verdict), verdict.kind.as_str()),
            time::ago(now, stamp(verdict.at)).into(),
            verdict.workflows.join(", ").into(),
            verdict.tasks.to_string().into(),
            verdict.outcome.as_str().into(),
            Cell::new(Tone::Faint, standing(verdict, now)),
        ]);
    }
    table
}

/// How a verdict stands now.
fn standing(verdict: &rest::VerdictSummary, now: Timestamp) -> String {
    match (&verdict.false_positive, verdict.ended_at) {
        (Some(_), _) => "marked wrong".to_owned(),
        (None, Some(at)) => format!("over {}", time::ago(now, stamp(at))),
        (None, None) => "open".to_owned(),
    }
}

/// How bad a verdict is.
pub(super) fn tone_of(verdict: &rest::VerdictSummary) -> Tone {
    match verdict.kind.as_str() {
        _ if verdict.ended_at.is_some() || verdict.false_positive.is_some() => Tone::Faint,
        "deadlocked" | "orphaned" => Tone::Bad,
        _ => Tone::Warn,
    }
}

fn scan(asked: &Scan, out: &mut dyn Write) -> Result<Exit, Error> {
    let source = &mut Source::open(&asked.at)?;
    let report = source.scan()?;
    if asked.json {
        writeln!(out, "{}", json!(report))?;
    } else {
        write_report(&report, out)?;
    }
    source.note_unless_served(!report.found.is_empty(), out)?;
    Ok(match (report.found.iter().any(is_dead), report.found.is_empty()) {
        (true, _) => Exit::Failed,
        (false, false) => Exit::STALLED,
        (false, true) => Exit::Success,
    })
}

fn write_report(report: &rest::ScanReport, out: &mut dyn Write) -> Result<(), Error> {
    let (paint, columns) = (Paint::for_stdout(), terminal::size().columns);
    if report.found.is_empty() {
        return Ok(writeln!(out, "no run is deadlocked, and none stands still for too long")?);
    }
    let now = stamp(report.at);
    writeln!(out, "{}; nothing is done about that", counted(&report.found))?;
    // Those that hold up one another stand together, and have the same sentences.
    for part in report.found.chunk_by(|one, next| one.part_of.is_some() && one.part_of == next.part_of) {
        writeln!(out)?;
        for found in part {
            let tone = if is_dead(found) { Tone::Bad } else { Tone::Warn };
            let name = paint.tone(Tone::Strong, &harmless(&found.workflow_name));
            let (kind, run) = (paint.tone(tone, &found.kind), paint.tone(Tone::Faint, &found.run_id));
            writeln!(out, "{kind}  {name}  {run}")?;
        }
        let tasks = part.iter().map(|found| found.tasks).sum();
        let last = part.iter().map(|found| stamp(found.last_update)).max().unwrap_or(now);
        writeln!(out, "  {}, last change {}", count(tasks, "stuck task"), time::ago(now, last))?;
        let sentences = part.iter().take(1).flat_map(|found| &found.explanation);
        sentences.into_iter().try_for_each(|sentence| write_sentence(&harmless(sentence), columns, out))?;
    }
    Ok(())
}

fn is_dead(found: &rest::Suspected) -> bool {
    found.kind == "deadlocked" || found.kind == "orphaned"
}

/// How many runs stand still, and how many of each kind: `3 runs stand still (2 deadlocked, 1 stalled)`.
fn counted(found: &[rest::Suspected]) -> String {
    let runs: BTreeSet<&str> = found.iter().map(|found| found.run_id.as_str()).collect();
    let of_kind = |kind: &&str| {
        let of_kind: BTreeSet<&str> =
            found.iter().filter(|found| found.kind == **kind).map(|found| found.run_id.as_str()).collect();
        (!of_kind.is_empty()).then(|| format!("{} {kind}", thousands(of_kind.len() as u64)))
    };
    let kinds: Vec<String> = rest::VERDICT_KINDS.iter().filter_map(of_kind).collect();
    let verb = if runs.len() == 1 { "stands" } else { "stand" };
    format!("{} {verb} still ({})", count(runs.len() as u64, "run"), kinds.join(", "))
}

/// A sentence, indented; its further lines more.
fn write_sentence(sentence: &str, columns: usize, out: &mut dyn Write) -> Result<(), Error> {
    for (place, line) in wrap(sentence, columns.saturating_sub(4), LINES_MAX).iter().enumerate() {
        writeln!(out, "{}{line}", if place == 0 { "  " } else { "    " })?;
    }
    Ok(())
}

fn mark(asked: &MarkVerdict, out: &mut dyn Write) -> Result<Exit, Error> {
    let id: VerdictId = asked.id.parse().map_err(|_| unknown(&asked.id))?;
    let word = match asked.mark {
        Mark::FalsePositive => rest::MarkWord::FalsePositive,
        Mark::None => rest::MarkWord::None,
    };
    let request = rest::MarkRequest { mark: word, note: asked.note.clone() };
    match Remote::find(&asked.at) {
        Ok(remote) => {
            match remote.ask(format!("mark verdict `{id}`"), remote.client().mark_deadlock(&asked.id, &request)) {
                Err(Error::Client { source, .. }) if source.status() == Some(404) => return Err(unknown(&asked.id)),
                told => drop(told?),
            }
        }
        Err(Error::NoServer { .. }) => mark_here(&Config::here(&asked.at.place)?, id, &request)?,
        Err(error) => return Err(error),
    }
    writeln!(out, "{id} is {}", if asked.mark == Mark::None { "not marked any more" } else { "marked as wrong" })?;
    Ok(Exit::Success)
}

/// By the process that owns the folder; without one, by an engine that performs nothing.
fn mark_here(config: &Config, id: VerdictId, request: &rest::MarkRequest) -> Result<(), Error> {
    let wish = json!({"mark": {"id": id.to_string(), "by": terminal::user(), "request": request}});
    if let Some(answer) = control::ask(&config.data, &wish).map_err(Error::owner(&config.data))? {
        return match answer["error"].as_str() {
            Some(_) if answer["unknown"] == Value::Bool(true) => Err(unknown(&id.to_string())),
            Some(message) => Err(Error::OwnerRefused { message: message.to_owned() }),
            None => Ok(()),
        };
    }
    let attempt = format!("mark verdict `{id}`");
    let engine = alone::engine(config, BTreeSet::new(), &attempt)?;
    let marked = engine.mark(id.0, mark_of(request, &terminal::user(), engine.now()));
    engine.stop();
    marked.map_err(|source| Error::Command { attempt, source })?.map(drop).ok_or_else(|| unknown(&id.to_string()))
}

/// The answer to somebody at the control socket who marks a verdict; nothing if it is no such wish.
pub(crate) fn answer(engine: &Engine, request: &Value) -> Option<Value> {
    let wish = request.get("mark")?;
    let (id, by) = (wish["id"].as_str()?.parse::<VerdictId>().ok()?, wish["by"].as_str()?);
    let request: rest::MarkRequest = serde_json::from_value(wish["request"].clone()).ok()?;
    Some(match engine.mark(id.0, mark_of(&request, by, engine.now())) {
        Ok(Some(_)) => json!({"marked": true}),
        Ok(None) => json!({"error": format!("there is no verdict `{id}`"), "unknown": true}),
        Err(error) => json!({"error": unknot_api::with_causes(&error)}),
    })
}

fn mark_of(request: &rest::MarkRequest, by: &str, at: Timestamp) -> Option<deadlock::Mark> {
    let mark = || deadlock::Mark { by: by.to_owned(), at, note: request.note.clone() };
    (request.mark == rest::MarkWord::FalsePositive).then(mark)
}

fn unknown(id: &str) -> Error {
    Error::Unknown { message: format!("there is no verdict `{id}`; `unknot deadlocks` lists those that there are") }
}

/// Which cancellations end a deadlock, and what they do.
pub(super) fn cancel_advice(advice: &rest::CancelAdvice, option: &str) -> String {
    let cancels: Vec<String> = advice.runs.iter().map(|run| format!("`unknot cancel {run}{option}`")).collect();
    let verb = |one: &str, more: &str| if cancels.len() == 1 { one.to_owned() } else { more.to_owned() };
    match advice.ends_all {
        true => format!("{} {} all of them: nobody else is part of it", cancels.join(" with "), verb("ends", "end")),
        false => format!("{} {} the others go on", cancels.join(" with "), verb("lets", "let")),
    }
}

fn word_of(outcome: VerdictOutcome) -> &'static str {
    match outcome {
        VerdictOutcome::Reported => "reported",
        VerdictOutcome::Retried => "retried",
        VerdictOutcome::Cancelled => "cancelled",
    }
}

impl From<VerdictKind> for Finding {
    fn from(kind: VerdictKind) -> Self {
        match kind {
            VerdictKind::Deadlocked => Self::Deadlocked,
            VerdictKind::Orphaned => Self::Orphaned,
            VerdictKind::Stalled => Self::Stalled,
            VerdictKind::Starved => Self::Starved,
        }
    }
}
