//! `unknot deadlocks show`: who held what, who waited for what, since when; and what was done.

use super::{cancel_advice, standing, tone_of, write_sentence};
use crate::{
    args::{Format, ShowVerdict},
    commands::waits::write_graph,
    error::Error,
    exit::Exit,
    output::{Paint, Tone, count, harmless, wrap},
    source::{Source, stamp},
    terminal, time,
};
use serde_json::json;
use std::io::{self, Write};
use unknot_api::rest;
use unknot_engine::{
    Clock,
    core::{Timestamp, wait::Snapshot},
};

/// Letters of a label.
const LABEL: usize = 8;
/// Lines of what stands behind a label.
const LINES_MAX: usize = 12;

/// Shows it.
pub(super) fn perform(asked: &ShowVerdict, out: &mut dyn Write) -> Result<Exit, Error> {
    let mut source = Source::open(&asked.at)?;
    let verdict = source.verdict(&asked.id)?;
    match asked.format {
        Format::Text => write_text(&verdict, &source.option(), out)?,
        Format::Json => writeln!(out, "{}", json!(verdict))?,
        Format::Dot | Format::Mermaid => {
            let graph: Snapshot = serde_json::from_value(json!(verdict.graph)).map_err(io::Error::from)?;
            write_graph(&graph, asked.format, out)?;
        }
    }
    Ok(Exit::Success)
}

fn write_text(verdict: &rest::Verdict, option: &str, out: &mut dyn Write) -> Result<(), Error> {
    let (paint, columns) = (Paint::for_stdout(), terminal::size().columns);
    let now = Clock::starting_at_least(Timestamp::default()).now();
    let summary = &verdict.summary;
    let kind = paint.tone(tone_of(summary), &summary.kind);
    let (ago, standing) = (time::ago(now, stamp(summary.at)), standing(summary, now));
    writeln!(out, "{kind}  {}  {ago}, {standing}\n", paint.tone(Tone::Strong, &summary.id))?;
    verdict.explanation.iter().try_for_each(|sentence| write_sentence(&harmless(sentence), columns, out))?;
    writeln!(out)?;
    for (label, text) in labelled(verdict, option) {
        for (place, line) in wrap(&text, columns.saturating_sub(LABEL + 4), LINES_MAX).iter().enumerate() {
            let label = if place == 0 { label } else { "" };
            writeln!(out, "  {}  {line}", paint.tone(Tone::Faint, &format!("{label:<LABEL$}")))?;
        }
    }
    Ok(())
}

/// What else is known, line by line.
fn labelled(verdict: &rest::Verdict, option: &str) -> Vec<(&'static str, String)> {
    let summary = &verdict.summary;
    let took = stamp(summary.at).since(stamp(verdict.closed_at));
    let found = match summary.kind.as_str() {
        "deadlocked" | "orphaned" => "in the step that closed it".to_owned(),
        _ => format!("{} after its bound had passed", time::length(took)),
    };
    let mut told = vec![
        ("found", format!("{}, {found}", time::moment(stamp(summary.at)))),
        ("done", done(verdict)),
        ("policy", policy(summary).to_owned()),
    ];
    told.extend(next(verdict, option).map(|next| ("next", next)));
    if !verdict.victims.is_empty() {
        let which = if verdict.exact { "no fewer would do" } else { "fewer might do: too many to try all" };
        told.push(("victims", format!("{} ({which})", verdict.victims.join(", "))));
    }
    let is_new = |repair: &&str| !verdict.explanation.iter().any(|sentence| sentence == repair);
    for repair in verdict.repairs.iter().filter_map(|repair| repair.get("sentence")?.as_str()).filter(is_new) {
        told.push(("repair", harmless(repair)));
    }
    if summary.behind > 0 {
        told.push(("behind", format!("{} with them or behind them", count(summary.behind, "other"))));
    }
    told.push(("runs", summary.runs.join(", ")));
    if let Some(at) = summary.ended_at {
        told.push(("over", time::moment(stamp(at))));
    }
    if let Some(mark) = &summary.false_positive {
        let note = mark.note.as_deref().map(|note| format!(": {}", harmless(note))).unwrap_or_default();
        told.push(("marked", format!("wrong, by {}, {}{note}", harmless(&mark.by), time::moment(stamp(mark.at)))));
    }
    told.push(("graph", format!("`unknot deadlocks show {} --format mermaid{option}`, or dot, or json", summary.id)));
    told
}

/// What was done about it.
fn done(verdict: &rest::Verdict) -> String {
    match verdict.summary.outcome.as_str() {
        "retried" => {
            let many = count(verdict.retried.len() as u64, "attempt");
            format!("{many} stopped, to be made again: {}", verdict.retried.join(", "))
        }
        "cancelled" => {
            let many = count(verdict.cancelled.len() as u64, "run");
            format!("{many} cancelled: {}", verdict.cancelled.join(", "))
        }
        _ => "it is told, nothing else".to_owned(),
    }
}

/// What a person can do who finds it as it was left.
fn next(verdict: &rest::Verdict, option: &str) -> Option<String> {
    let summary = &verdict.summary;
    let is_left = summary.outcome == "reported" && summary.ended_at.is_none();
    match summary.kind.as_str() {
        "deadlocked" if is_left => verdict.cancel.as_ref().map(|advice| cancel_advice(advice, option)),
        "orphaned" if is_left => {
            let run = summary.runs.first()?;
            Some(format!("`unknot why {run}{option}` says what is missing; `unknot cancel {run}{option}` gives it up"))
        }
        _ => None,
    }
}

fn policy(summary: &rest::VerdictSummary) -> &str {
    match (summary.policy.as_str(), summary.kind.as_str()) {
        ("retry", "orphaned") => "retry, which would help nobody here: what is waited for does not come by that",
        ("retry", _) => "retry: an attempt is stopped and made again; its run is cancelled if that cannot be",
        ("cancel", _) => "cancel: the victim's run is cancelled",
        ("alert", _) => "alert: somebody is told",
        (other, _) => other,
    }
}
