//! What was seen of a server, as lines of a terminal.

use super::look::Seen;
use crate::{
    commands::{
        deadlocks::{tone_of as tone_of_verdict, verdict_table},
        list::{queue_table, worker_table},
        ls::tone_of,
    },
    output::{Paint, Tone, count, fit, pad, thousands, width},
    source::{read_word, stamp},
    table::{Cell, Column, Table},
    terminal::Size,
    time,
};
use std::collections::BTreeMap;
use unknot_api::rest::{self, HealthState, Run, Stats, VERDICT_KINDS};
use unknot_engine::core::{Timestamp, deadlock::Finding};

/// No terminal is wider.
const COLUMNS_MAX: usize = 1_000;
/// Lines of verdicts, of queues, of workers and of waits on a terminal; runs have what is left.
const VERDICTS_MAX: usize = 4;
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
            (None, HealthState::Failing) => (Tone::Bad, "FAILING"),
            (None, HealthState::Ok) if self.seen.verdicts.iter().any(is_stuck) => (Tone::Bad, "STUCK"),
            (None, HealthState::Ok) => (Tone::Good, "ok"),
        };
        let at = format!("{}{leave}", time::moment(self.now));
        let room = columns.saturating_sub(width(&at) + verdict.len() + 4 + "unknot ".len());
        // What is no terminal has no right edge to stand at.
        let place = if columns > COLUMNS_MAX { self.place.to_owned() } else { pad(self.place, room) };
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
        let finished = stats.finished_runs.iter().flatten().filter(|(_, runs)| **runs > 0);
        pieces.extend(finished.map(|(status, runs)| {
            (tone_of(status), format!("{} {}", thousands(*runs), status.to_lowercase().replace('_', " ")))
        }));
        lines.push(self.pieces("runs ", pieces, columns));
        let quarantined = stats.quarantined.unwrap_or_default();
        let warnings = [(quarantined, "events in quarantine"), (stats.refused_reports, "late reports refused")];
        let held = stats.paused_workflows.iter();
        let held: Vec<String> = held.map(|(name, paused)| format!("workflow {name} (by {})", paused.by)).collect();
        let warned = warnings.into_iter().filter(|(many, _)| *many > 0);
        let warned = warned.map(|(many, what)| (Tone::Warn, format!("{} {what}", thousands(many))));
        let warned: Vec<(Tone, String)> = out_of_tries(stats).into_iter().chain(warned).collect();
        if !warned.is_empty() {
            lines.push(self.pieces("     ", warned, columns));
        }
        lines.extend(self.counted_verdicts(columns));
        if !held.is_empty() {
            let held = fit(&format!("held   {}", held.join(", ")), columns);
            lines.push(self.paint.tone(Tone::Warn, &held));
        }
        lines
    }

    /// How many verdicts of each kind are open, the worst first.
    fn counted_verdicts(&self, columns: usize) -> Option<String> {
        let kind = |word: &&str| {
            let of_kind: Vec<_> = self.seen.verdicts.iter().filter(|verdict| verdict.kind == **word).collect();
            Some((tone_of_verdict(of_kind.first()?), format!("{} {word}", thousands(of_kind.len() as u64))))
        };
        let mut pieces: Vec<(Tone, String)> = VERDICT_KINDS.iter().filter_map(kind).collect();
        if self.seen.has_more_verdicts {
            pieces.push((Tone::Warn, "and older ones".to_owned()));
        }
        (!pieces.is_empty()).then(|| self.pieces("stuck", pieces, columns))
    }

    /// Open verdicts, the worst first, and how that one is read.
    fn verdicts(&self, most: usize, columns: usize) -> Vec<String> {
        let Some(worst) = self.seen.verdicts.first() else { return Vec::new() };
        let mut lines = self.lines(&verdict_table(&self.seen.verdicts, self.now), most, columns);
        let how = format!("`unknot deadlocks show {}` says who waits for whom, and what helps", worst.id);
        lines.push(self.paint.tone(Tone::Faint, &fit(&how, columns)));
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

    /// Open verdicts, queues, workers, runs and waits, each with an empty line before it, in at most so many lines together.
    fn sections(&self, columns: usize, most: usize) -> Vec<Vec<String>> {
        let is_all = most == usize::MAX;
        let bound = |least: usize| if is_all { usize::MAX } else { least };
        let stats = &self.seen.stats;
        let verdicts = self.verdicts(bound(VERDICTS_MAX), columns);
        let queues = self.lines(&queue_table(stats.queues.values(), self.now), bound(QUEUES_MAX), columns);
        let workers = match stats.workers.is_empty() {
            true => vec![String::new(), self.paint.tone(Tone::Warn, "no worker is connected")],
            false => self.lines(&worker_table(&stats.workers), bound(WORKERS_MAX), columns),
        };
        let mut waits = self.lines(&self.wait_table(), bound(WAITS_MAX), columns);
        if self.seen.waits.is_empty() {
            waits.clear();
        } else if let Some(covers) = self.covers() {
            waits.insert(1, self.paint.tone(Tone::Faint, &fit(&covers, columns)));
        }
        let taken = verdicts.len() + queues.len() + workers.len() + waits.len();
        // An empty line and the headings.
        let room = most.saturating_sub(taken + 2).max(RUNS_LEAST);
        let runs = match self.seen.runs.is_empty() {
            true => vec![String::new(), self.paint.tone(Tone::Faint, "nothing runs")],
            false => self.lines(&self.run_table(), room, columns),
        };
        vec![verdicts, queues, workers, runs, waits]
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
            ("RUN", Column::Shrinks(8)),
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

    /// Which runs the waits are of, where that is not all: `OLDEST` of the queues is of all.
    fn covers(&self) -> Option<String> {
        let (seen, all) = (self.seen.runs.len() as u64, self.seen.stats.unfinished_runs);
        (seen < all).then(|| format!("oldest waits, of the {seen} newest of {} runs alone", thousands(all)))
    }

    /// As `unknot waits` tells them, one line each.
    fn wait_table(&self) -> Table {
        let mut table = Table::new(&[
            ("WHO", Column::Shrinks(12)),
            ("RUN", Column::Whole),
            ("FOR", Column::Right),
            ("LEFT", Column::Right),
            ("WAITS FOR", Column::Shrinks(24)),
        ]);
        for waiting in &self.seen.waits {
            let end = waiting.run_id.len().saturating_sub(ID_END);
            table.row(vec![
                format!("{}/{}", waiting.workflow_name, waiting.name).into(),
                Cell::new(Tone::Faint, format!("…{}", waiting.run_id.get(end..).unwrap_or(&waiting.run_id))),
                time::length(self.now.since(stamp(waiting.since))).into(),
                time::length(stamp(waiting.until).since(self.now)).into(),
                waiting.sentence.as_str().into(),
            ]);
        }
        table
    }
}

/// Whether nothing that runs or comes by itself can move those that a verdict is about, and nothing was done about it.
fn is_stuck(verdict: &rest::VerdictSummary) -> bool {
    let is_proved = read_word::<Finding>(&verdict.kind).is_some_and(Finding::is_proved);
    is_proved && verdict.outcome == "reported"
}

/// Tasks that are out of tries; where all of them are handled by their workflows, nobody need be alarmed.
fn out_of_tries(stats: &Stats) -> Option<(Tone, String)> {
    let [all, handled] = [stats.dead_letters, stats.handled_dead_letters].map(Option::unwrap_or_default);
    let many = thousands(all);
    match (all, handled) {
        (0, _) => None,
        (_, 0) => Some((Tone::Warn, format!("{many} out of tries: `unknot dead ls`"))),
        (all, handled) if handled >= all => Some((Tone::Faint, format!("{many} out of tries, all handled"))),
        (_, handled) => {
            Some((Tone::Warn, format!("{many} out of tries, {} handled: `unknot dead ls`", thousands(handled))))
        }
    }
}

/// How many tasks have ended.
fn done(run: &Run) -> u64 {
    let ended = ["COMPLETED", "FAILED", "CANCELLED", "SKIPPED"];
    let counts: &BTreeMap<String, u64> = &run.tasks;
    ended.iter().filter_map(|status| counts.get(*status)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::top::look::Waiting;
    use serde_json::json;
    use unknot_api::Moment;

    /// A busy server whose names are long and want to command the terminal.
    fn seen() -> Seen {
        let at = "2026-11-03T14:02:11Z";
        let queue = json!({
            "name": "a-queue-with-a-name-that-is-much-too-long-for-any-table", "size": 1_000_000, "oldest_since": at,
            "paused": {"by": "\u{1b}[31msomebody", "since": at},
            "settings": {
                "max_queue_size": 1, "visibility_timeout_ms": 1, "max_retries": 1, "low_counts_as_high_after_ms": 1,
            },
        });
        let queues: BTreeMap<String, serde_json::Value> =
            (0..20).map(|number| (format!("q{number}"), queue.clone())).collect();
        let workers: Vec<serde_json::Value> = (0..20)
            .map(|number| json!({"name": format!("worker-{number}"), "boot": "1", "slots": 512, "leases": 500}))
            .collect();
        let run = json!({
            "run_id": "run_01M8CP16DRQNPYAM1019RY61DP", "workflow_name": "a-workflow-of-the-longest-kind-of-name",
            "status": "RUNNING", "paused": true, "submitted_at": at, "labels": {}, "workflow_hash": "x", "input": {},
            "deadline": at, "task_count": 100_000, "tasks": {"COMPLETED": 34_000, "SKIPPED": 1}, "as_of": 1,
            "durable": true,
        });
        let wait = Waiting {
            task_id: "task_01M8CP16DRQNPYAM1019RY61DP.0".to_owned(),
            name: "日本語-a-task-with-a-very-long-name-as-well".to_owned(),
            run_id: "run_01M8CP16DRQNPYAM1019RY61DP".to_owned(),
            workflow_name: "a-workflow-of-the-longest-kind-of-name".to_owned(),
            status: "QUEUED".to_owned(),
            sentence: "waits for 2 units of pool `\u{1b}[31mrender` (1 of 4 free), which is closed".to_owned(),
            since: Moment { ms: 0 },
            until: Moment { ms: 1_000 },
        };
        let found = |value| serde_json::from_value(value).expect("the form of the API");
        let verdict = |number: u32, kind: &str| {
            json!({
                "id": format!("dl_{number}"), "kind": kind, "at": at, "runs": ["run_01M8CP16DRQNPYAM1019RY61DP"],
                "workflows": ["deploy", "a-workflow-of-the-longest-kind-of-name"], "tasks": 2, "behind": 1,
                "summary": "`deploy/take` waits", "policy": "alert", "outcome": "reported",
            })
        };
        let verdicts =
            [verdict(40, "stalled"), verdict(39, "deadlocked"), verdict(38, "deadlocked"), verdict(7, "orphaned")];
        Seen {
            health: found(json!({
                "status": "failing", "reasons": ["cannot commit since 2026-11-03T14:02:11Z: no space left on device"],
                "version": "1", "last_turn_ms_ago": 1, "durable_commit": 1, "backlog": 1,
            })),
            stats: serde_json::from_value(json!({
                "unfinished_runs": 30, "unfinished_tasks": 100_000, "finished_runs": {"COMPLETED": 1_000, "TIMED_OUT": 2},
                "dead_letters": 7, "quarantined": 1, "queues": queues, "pools": {}, "workers": workers,
                "refused_reports": 3,
            }))
            .expect("the form of the API"),
            runs: serde_json::from_value(json!(vec![run; 12])).expect("the form of the API"),
            verdicts: serde_json::from_value(json!(verdicts)).expect("the form of the API"),
            has_more_verdicts: true,
            waits: vec![wait; 40],
        }
    }

    #[test]
    fn a_screen_is_not_left() {
        let seen = seen();
        let now = stamp(seen.runs[0].summary.submitted_at);
        let frame = Frame { seen: &seen, place: "http://127.0.0.1:8001", now, paint: Paint::for_stdout() };
        for (columns, rows) in (66..130).flat_map(|columns| [10, 24, 60].map(|rows| (columns, rows))) {
            let lines = frame.screen(Size { columns, rows }, Some("cannot connect"));
            assert!(lines.len() < rows, "{} of {rows}", lines.len());
            for line in &lines {
                assert!(width(line) < columns, "{} of {columns}: {line}", width(line));
                assert!(!line.contains('\u{1b}'), "{line}");
            }
        }
    }

    #[test]
    fn what_has_no_room_is_counted_and_a_file_gets_all() {
        let seen = seen();
        let now = stamp(seen.runs[0].summary.submitted_at);
        let frame = Frame { seen: &seen, place: "http://127.0.0.1:8001", now, paint: Paint::for_stdout() };
        let shown = frame.screen(Size { columns: 80, rows: 60 }, None).join("\n");
        let told = ["FAILING", "no space left", "… and 15 more", "… and 33 more", "34,001/100,000", "7 out of tries"];
        let stuck = ["stuck  2 deadlocked  1 orphaned  1 stalled  and older ones", "dl_40"];
        for text in told.into_iter().chain(stuck) {
            assert!(shown.contains(text), "{text} is not in\n{shown}");
        }
        let text = frame.text(80, usize::MAX);
        assert!(!text.contains("more\n") && !text.contains("q ends"), "{text}");
        assert_eq!(text.matches("waits for 2 units of p").count(), 40);
    }

    #[test]
    fn a_server_with_a_deadlock_is_not_ok() {
        let mut seen = seen();
        seen.health.status = HealthState::Ok;
        let now = stamp(seen.runs[0].summary.submitted_at);
        let head = |seen: &Seen| {
            let frame = Frame { seen, place: "http://127.0.0.1:8001", now, paint: Paint::PLAIN };
            frame.screen(Size { columns: 80, rows: 60 }, None).remove(0)
        };
        assert!(head(&seen).contains("  STUCK  "), "{}", head(&seen));
        seen.verdicts.retain(|verdict| verdict.kind == "stalled");
        assert!(head(&seen).contains("  ok  "), "{}", head(&seen));
    }
}
