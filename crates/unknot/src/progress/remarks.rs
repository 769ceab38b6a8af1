//! What a hand noticed beside how an attempt ended, in a few words each.

use super::Rank;
use crate::output::{fit, thousands};
use serde_json::Value;
use unknot_api::work::{Note, ProcessRef};
use unknot_engine::core::row::HistoryEntry;

/// Columns of a process's command line.
const COMMAND_COLUMNS: usize = 32;

/// What is to be said after how it ended, with a semicolon in front, or nothing; and how much it matters.
pub(super) fn remarks(entry: &HistoryEntry) -> (String, Rank) {
    let notes: Vec<Note> = notes(entry).collect();
    let holders = notes.iter().filter_map(|note| match note {
        Note::PipeHeld { holder } => Some(holder),
        _ => None,
    });
    let holders: Vec<&ProcessRef> = holders.collect();
    let mut remarks: Vec<(String, Rank)> = notes.iter().filter_map(|note| remark(note, holders.is_empty())).collect();
    if let Some(holder) = some(&holders) {
        remarks.push((format!("{holder} still held its output"), Rank::Notable));
    }
    let rank = remarks.iter().map(|(_, rank)| *rank).max().unwrap_or(Rank::Routine);
    (remarks.iter().map(|(remark, _)| format!("; {remark}")).collect(), rank)
}

/// Those that this version knows.
fn notes(entry: &HistoryEntry) -> impl Iterator<Item = Note> {
    let notes = entry.detail.get("notes").map(Value::from);
    let notes = notes.and_then(|notes| serde_json::from_value::<Vec<Value>>(notes).ok()).unwrap_or_default();
    notes.into_iter().filter_map(|note| serde_json::from_value(note).ok())
}

/// A note in words; `named` where no other one names processes.
fn remark(note: &Note, named: bool) -> Option<(String, Rank)> {
    Some(match note {
        Note::LeftBehind { count, processes } => {
            let processes: Vec<&ProcessRef> = processes.iter().filter(|_| named).collect();
            let which = some(&processes).map(|which| format!(" ({which})")).unwrap_or_default();
            let noun = if *count == 1 { "process" } else { "processes" };
            (format!("left {} {noun} behind, now ended{which}", thousands(u64::from(*count))), Rank::Notable)
        }
        Note::LogFailed { message } => (format!("its log is incomplete: {message}"), Rank::Notable),
        Note::ArtifactsLost { count, first, message } => (lost(*count, first, message), Rank::Notable),
        Note::OutputCutOff => ("its output had no end and was cut off".to_owned(), Rank::Notable),
        // True of each attempt of each task with such a limit: a large run would say little else.
        Note::LimitNotEnforced { limit, .. } => (format!("`{limit}` was not enforced"), Rank::Routine),
        // Holders are told together; a log that was cut says so itself.
        Note::PipeHeld { .. } | Note::LogCut { .. } => return None,
        _ => return None,
    })
}

/// What of its artifacts did not come here.
fn lost(count: u32, first: &[String], message: &str) -> String {
    let which = match first {
        [] => String::new(),
        [path, ..] => format!(" (`{}`{})", fit(path, COMMAND_COLUMNS), if count > 1 { " …" } else { "" }),
    };
    let noun = if count == 1 { "artifact" } else { "artifacts" };
    format!("{} {noun} did not arrive{which}: {message}", thousands(u64::from(count)))
}

/// The first of some processes, and how many more there are.
fn some(processes: &[&ProcessRef]) -> Option<String> {
    let first = processes.first()?;
    let more = match processes.len() {
        1 => String::new(),
        several => format!(" and {} more", several - 1),
    };
    Some(format!("`{}`, pid {}{more}", fit(&first.command, COMMAND_COLUMNS), first.pid))
}
