//! What was seen of a server, as lines of a terminal.

use super::look::{Seen, Waiting};
use crate::{
    commands::{
        list::{queue_table, worker_table},
        ls::tone_of,
    },
    output::{Paint, Tone, count, fit, pad, thousands, width},
    source::stamp,
    table::{Cell, Column, Table},
    terminal::Size,
    time,
};
use std::collections::BTreeMap;
use unknot_api::rest::{HealthState, Run};
use unknot_engine::core::Timestamp;

/// Lines of queues, of workers and of waits on a terminal; runs have what is left.
const QUEUES_MAX: usize = 6;
const WORKERS_MAX: usize = 5;
const WAITS_MAX: usize = 8;
const RUNS_LEAST: usize = 3;
/// Letters of an id's end: the beginning is the same for all runs of a day.
const ID_END: usize = 6;

/// One look, to be shown.
pub(super) struct Frame<'s> {
    pub(super) seen: &'s Seen,
    /// Where the server is.
    pub(super) place: &'s str,
    pub(super) now: Timestamp,
    pub(super) paint: Paint,
}

impl Frame<'_> {
    /// All of it, for a file or a pipe.
    pub(super) fn text(&self, columns: usize, most: usize) -> String {
        let sections = self.sections(columns, most);
        let lines = self.head(columns, None, "").into_iter().chain(sections.into_iter().flatten());
        lines.map(|line| line + "\n").collect()
    }

    /// As much as a terminal shows; its last line says how to leave.
    pub(super) fn screen(&self, size: Size, trouble: Option<&str>) -> Vec<String> {
        // The last column stays free, so that no line wraps.
        let columns = size.columns.saturating_sub(1);
        let mut lines = self.head(columns, trouble, "  q ends");
        let sections = self.sections(columns, size.rows.saturating_sub(lines.len() + 1));
        lines.extend(sections.into_iter().flatten());
        lines.truncate(size.rows.saturating_sub(1));
        lines
    }

    fn head(&self, columns: usize, trouble: Option<&str>, leave: &str) -> Vec<String> {
        let (stats, health) = (&self.seen.stats, &self.seen.health);
        let (tone, verdict) = match (trouble, health.status) {
            (Some(_), _) => (Tone::Bad, "LOST"),
            (None, HealthState::Ok) => (Tone::Good, "ok"),
            (None, HealthState::Failing) => (Tone::Bad, "FAILING"),
        };
        let at = format!("{}{leave}", time::moment(self.now));
        let room = columns.saturating_sub(width(&at) + verdict.len() + 4 + "unknot ".len());
        let place = pad(self.place, room);
        let mut lines = vec![format!(
            "{} {place}  {}  {}",
            self.paint.tone(Tone::Strong, "unknot"),
            self.paint.tone(tone, verdict),
            self.paint.tone(Tone::Faint, &at)
        )];
        let reasons = trouble.into_iter().chain(health.reasons.iter().map(String::as_str));
        lines.extend(reasons.map(|reason| self.paint.tone(Tone::Bad, &fit(&format!("  {reason}"), columns))));
        let mut pieces = vec![(
            Tone::Live,
            format!("{} unfinished ({})", thousands(stats.unfinished_runs), count(stats.unfinished_tasks, "task")),
        )];
        let finished = stats.finished_runs.iter().filter(|(_, runs)| **runs > 0);
        pieces.extend(finished.map(|(status, runs)| {
            (tone_of(status), format!("{} {}", thousands(*runs), status.to_lowercase().replace('_', " ")))
        }));
        lines.push(self.pieces("runs ", pieces, columns));
        let warnings = [
            (stats.dead_letters, "out of tries: `unknot dead ls`"),
            (stats.quarantined, "events in quarantine"),
            (stats.refused_reports, "late reports refused"),
        ];
        let warned = warnings.into_iter().filter(|(many, _)| *many > 0);
        let warned: Vec<(Tone, String)> =
            warned.map(|(many, what)| (Tone::Warn, format!("{} {what}", thousands(many)))).collect();
        if !warned.is_empty() {
            lines.push(self.pieces("     ", warned, columns));
        }
        lines
    }

    /// Pieces one after the other, as many as fit.
    fn pieces(&self, label: &str, pieces: Vec<(Tone, String)>, columns: usize) -> String {
        let mut line = self.paint.tone(Tone::Faint, label);
        let mut taken = width(label);
        for (tone, text) in pieces {
            taken += 2 + width(&text);
            if taken > columns {
                break;
            }
            line.push_str(&format!("  {}", self.paint.tone(tone, &text)));
        }
        line
    }

    /// Queues, workers, runs and waits, each with an empty line before it, in at most so many lines together.
    fn sections(&self, columns: usize, most: usize) -> Vec<Vec<String>> {
        let is_all = most == usize::MAX;
        let bound = |least: usize| if is_all { usize::MAX } else { least };
        let stats = &self.seen.stats;
        let queues = self.lines(&queue_table(stats.queues.values(), self.now), bound(QUEUES_MAX), columns);
        let workers = match stats.workers.is_empty() {
            true => vec![String::new(), self.paint.tone(Tone::Warn, "no worker is connected")],
            false => self.lines(&worker_table(&stats.workers), bound(WORKERS_MAX), columns),
        };
        let mut waits = self.lines(&self.wait_table(), bound(WAITS_MAX), columns);
        if self.seen.waits.is_empty() {
            waits.clear();
        }
        let taken = queues.len() + workers.len() + waits.len();
        // An empty line and the headings.
        let room = most.saturating_sub(taken + 2).max(RUNS_LEAST);
        let runs = match self.seen.runs.is_empty() {
            true => vec![String::new(), self.paint.tone(Tone::Faint, "nothing runs")],
            false => self.lines(&self.run_table(), room, columns),
        };
        vec![queues, workers, runs, waits]
    }

    /// A table's lines behind an empty one; of more rows than `most` the rest is counted.
    fn lines(&self, table: &Table, most: usize, columns: usize) -> Vec<String> {
        let mut bytes = Vec::new();
        // Into memory: it cannot fail.
        table.write(&mut bytes, self.paint, 0, columns).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let mut lines: Vec<String> = [String::new()].into_iter().chain(text.lines().map(str::to_owned)).collect();
        let rows = lines.len() - 2;
        if rows > most {
            lines.truncate(2 + most.saturating_sub(1));
            let left_out = format!("… and {} more", thousands((rows - most.saturating_sub(1)) as u64));
            lines.push(self.paint.tone(Tone::Faint, &left_out));
        }
        lines
    }

    fn run_table(&self) -> Table {
        let mut table = Table::new(&[
            ("RUN", Column::Shrinks(12)),
            ("WORKFLOW", Column::Shrinks(8)),
            ("STATUS", Column::Whole),
            ("DONE", Column::Right),
            ("AGE", Column::Right),
        ]);
        for run in &self.seen.runs {
            let summary = &run.summary;
            let held = if summary.paused { " (held)" } else { "" };
            table.row(vec![
                summary.run_id.as_str().into(),
                summary.workflow_name.as_str().into(),
                Cell::new(tone_of(&summary.status), format!("{}{held}", summary.status)),
                format!("{}/{}", thousands(done(run)), thousands(run.task_count)).into(),
                time::length(self.now.since(stamp(summary.submitted_at))).into(),
            ]);
        }
        table
    }

    fn wait_table(&self) -> Table {
        let mut table = Table::new(&[
            ("WAITS FOR", Column::Right),
            ("TASK", Column::Shrinks(8)),
            ("RUN", Column::Whole),
            ("ON", Column::Whole),
            ("AT MOST", Column::Right),
        ]);
        for Waiting { run_id, task, wait, .. } in &self.seen.waits {
            let end = run_id.len().saturating_sub(ID_END);
            table.row(vec![
                time::length(self.now.since(stamp(wait.since))).into(),
                task.as_str().into(),
                Cell::new(Tone::Faint, format!("…{}", run_id.get(end..).unwrap_or(run_id))),
                on(&wait.on).into(),
                time::length(stamp(wait.deadline).since(self.now)).into(),
            ]);
        }
        table
    }
}

/// What is waited for, as the other commands say it.
fn on(word: &str) -> &str {
    match word {
        "grant" => "a slot",
        "backoff" => "its next try",
        "sleep" => "its sleep's end",
        "decision" => "a person",
        other => other,
    }
}

/// How many tasks have ended.
fn done(run: &Run) -> u64 {
    let ended = ["COMPLETED", "FAILED", "CANCELLED", "SKIPPED"];
    let counts: &BTreeMap<String, u64> = &run.tasks;
    ended.iter().filter_map(|status| counts.get(*status)).sum()
}
