//! Progress on a terminal: a bar, a line for each task at work, and above them what is worth keeping.
//!
//! One frame is one write: the old one is erased and the new one drawn, at most ten times a second and
//! never more than a few lines, however many tasks there are. No line is as wide as the terminal, so
//! that none wraps; after a resize the old lines are counted as the terminal shows them now.

use super::{Active, Doing, Note, Progress, Rank, lines::SMALL_RUN};
use crate::{
    attempt_folder,
    output::{Paint, Tone, fit, pad, thousands, width, wrap},
    terminal::{self, Size},
    time,
};
use std::{
    io::{self, Write},
    path::PathBuf,
};
use unknot_engine::core::{Millis, TaskIndex, Timestamp, run::TaskStatus};

/// Pause between two frames.
const FRAME: Millis = Millis(100);
/// Tasks that are shown at work.
const ACTIVE_LINES_MAX: usize = 8;
/// Notes that one frame prints; the rest of a burst is counted.
const NOTES_PER_FRAME_MAX: usize = 40;
/// Lines that one note takes.
const NOTE_LINES_MAX: usize = 3;
/// Columns of a task's name.
const NAME_COLUMNS_MAX: usize = 24;
const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

const GAP: &str = "  ";
const BAR_LEAST: usize = 8;
const BAR_MOST: usize = 32;

/// A line with its colours, and the columns that it takes.
type Line = (String, usize);

/// Draws frames.
#[derive(Debug)]
pub(crate) struct Bars {
    paint: Paint,
    /// Where logs grow, if that is on this machine.
    data: Option<PathBuf>,
    name_columns: usize,
    /// Widths of the lines of the frame that stands on the terminal.
    drawn: Vec<usize>,
    drawn_at: Option<Timestamp>,
    frames: usize,
    notes: Vec<Note>,
    notes_left_out: u64,
}

impl Bars {
    pub(crate) fn new(progress: &Progress, data: Option<PathBuf>) -> Self {
        let names = progress.definition.body.tasks.iter().map(|task| width(&task.name));
        Self {
            paint: Paint::for_stdout(),
            data,
            name_columns: names.max().unwrap_or_default().min(NAME_COLUMNS_MAX),
            drawn: Vec::new(),
            drawn_at: None,
            frames: 0,
            notes: Vec::new(),
            notes_left_out: 0,
        }
    }

    /// Takes a note, to be printed with the next frame.
    pub(crate) fn note(&mut self, note: Note, progress: &Progress) {
        let is_ordinary = note.rank == Rank::Routine;
        if is_ordinary && (progress.total() > SMALL_RUN || note.tone == Tone::Plain) {
            return;
        }
        if self.notes.len() < NOTES_PER_FRAME_MAX {
            self.notes.push(note);
        } else {
            self.notes_left_out += 1;
        }
    }

    /// Draws a frame, if it is time.
    pub(crate) fn tick(&mut self, out: &mut dyn Write, progress: &Progress, now: Timestamp) -> io::Result<()> {
        if self.drawn_at.is_some_and(|drawn_at| now.since(drawn_at) < FRAME) {
            return Ok(());
        }
        self.drawn_at = Some(now);
        self.frames += 1;
        let size = terminal::size();
        let lines = self.frame(progress, now, size);
        self.replace(out, lines, size)
    }

    /// Leaves the notes and takes the frame away.
    pub(crate) fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.replace(out, Vec::new(), terminal::size())
    }

    fn replace(&mut self, out: &mut dyn Write, lines: Vec<Line>, size: Size) -> io::Result<()> {
        let mut text = self.erasure(size);
        for note in std::mem::take(&mut self.notes) {
            text.push_str(&self.note_text(&note, size));
        }
        if self.notes_left_out > 0 {
            let left_out = format!("  … and {} more like these\n", thousands(self.notes_left_out));
            text.push_str(&self.paint.tone(Tone::Faint, &left_out));
            self.notes_left_out = 0;
        }
        self.drawn = lines.iter().map(|(_, width)| *width).collect();
        let lines: Vec<String> = lines.into_iter().map(|(line, _)| line).collect();
        text.push_str(&lines.join("\n"));
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Moves to the first line of the old frame, wherever that is now, and clears from there.
    fn erasure(&self, size: Size) -> String {
        let rows: usize = self.drawn.iter().map(|width| width.div_ceil(size.columns).max(1)).sum();
        match rows {
            0 => String::new(),
            1 => "\r\x1b[J".to_owned(),
            rows => format!("\r\x1b[{}A\x1b[J", rows - 1),
        }
    }

    fn note_text(&self, note: &Note, size: Size) -> String {
        let glyph = match note.tone {
            Tone::Good => "✓",
            Tone::Bad => "✗",
            Tone::Warn => "!",
            Tone::Plain | Tone::Strong | Tone::Live => "›",
            Tone::Faint => "-",
        };
        let name = pad(note.task.as_deref().unwrap_or("run"), self.name_columns);
        let indent = 4 + self.name_columns + 2;
        let room = size.columns.saturating_sub(indent + 1).max(12);
        let mut text = String::new();
        for (place, line) in wrap(&note.text, room, NOTE_LINES_MAX).iter().enumerate() {
            let line = if note.tone == Tone::Faint { self.paint.tone(Tone::Faint, line) } else { line.clone() };
            match place {
                0 => text.push_str(&format!("  {} {name}  {line}\n", self.paint.tone(note.tone, glyph))),
                _ => text.push_str(&format!("{}{line}\n", " ".repeat(indent))),
            }
        }
        text
    }

    /// The lines of a frame, each with its width.
    fn frame(&self, progress: &Progress, now: Timestamp, size: Size) -> Vec<Line> {
        let columns = size.columns.saturating_sub(1);
        let room = size.rows.saturating_sub(3).clamp(1, ACTIVE_LINES_MAX);
        let mut lines = vec![self.bar(progress, now, columns)];
        let active = progress.active();
        let hidden = active.len().saturating_sub(room);
        // The oldest would stay for ever; what waits for its next try is not at work.
        let mut shown: Vec<(TaskIndex, &Active)> = active.collect();
        shown.sort_by_key(|(index, active)| (matches!(active.doing, Doing::Retrying(_)), active.since, *index));
        for (index, active) in shown.into_iter().take(room) {
            lines.push(self.task(progress, index, active, now, columns));
        }
        if hidden > 0 {
            let more = fit(&format!("    … and {} more at work", thousands(hidden as u64)), columns);
            lines.push((self.paint.tone(Tone::Faint, &more), width(&more)));
        }
        lines
    }

    /// `  quickstart  ━━━━━━━━━━────────  4/7  1 failed  2 running  12.3s`
    fn bar(&self, progress: &Progress, now: Timestamp, columns: usize) -> Line {
        let counted = |status: TaskStatus, tone: Tone, word: &str| match progress.count(status) {
            0 => None,
            number => Some(self.piece(tone, &format!("{} {word}", thousands(number)))),
        };
        let name = self.piece(Tone::Strong, &fit(&progress.definition.body.name, NAME_COLUMNS_MAX));
        let standing = format!("{}/{}", thousands(progress.done()), thousands(progress.total()));
        let behind: Vec<Line> = [
            Some(self.piece(Tone::Strong, &standing)),
            counted(TaskStatus::Failed, Tone::Bad, "failed"),
            counted(TaskStatus::Running, Tone::Live, "running"),
            Some(self.piece(Tone::Plain, &time::length(now.since(progress.since)))),
        ]
        .into_iter()
        .flatten()
        .collect();
        // What remains for the name and the bar; each has a gap of its own.
        let room = columns.saturating_sub(behind.iter().map(|(_, width)| GAP.len() + width).sum());
        let beside_name = room.saturating_sub(name.1 + 2 * GAP.len());
        let beside_margin = room.saturating_sub(GAP.len());
        let mut pieces = Vec::new();
        if beside_name >= BAR_LEAST {
            pieces.push(name);
            pieces.push(self.gauge(progress, beside_name.min(BAR_MOST)));
        } else if beside_margin >= BAR_LEAST {
            pieces.push(self.gauge(progress, beside_margin));
        }
        pieces.extend(behind);
        join(pieces, columns)
    }

    fn gauge(&self, progress: &Progress, length: usize) -> Line {
        let filled = progress.done() * length as u64 / progress.total().max(1);
        let filled = usize::try_from(filled).unwrap_or(length).min(length);
        let tone = if progress.count(TaskStatus::Failed) > 0 { Tone::Warn } else { Tone::Good };
        let (full, empty) = ("━".repeat(filled), "─".repeat(length - filled));
        (format!("{}{}", self.paint.tone(tone, &full), self.paint.tone(Tone::Faint, &empty)), length)
    }

    fn piece(&self, tone: Tone, text: &str) -> Line {
        (self.paint.tone(tone, text), width(text))
    }

    /// `    ⠹ history      3.2s  attempt 2  what it printed last`
    fn task(&self, progress: &Progress, index: TaskIndex, active: &Active, now: Timestamp, columns: usize) -> Line {
        let spinner = SPINNER[self.frames % SPINNER.len()].to_string();
        let left = |until: Timestamp| time::length(until.since(now));
        let (glyph, tone, doing) = match &active.doing {
            Doing::Running => (spinner, Tone::Live, String::new()),
            Doing::Stopping(_) => (spinner, Tone::Warn, "is being stopped".to_owned()),
            Doing::Retrying(at) => ("↻".to_owned(), Tone::Warn, format!("tries again in {}", left(*at))),
            Doing::Sleeping(until) => (spinner, Tone::Faint, format!("sleeps, {} left", left(*until))),
            Doing::Awaiting(signal) => (
                "?".to_owned(),
                Tone::Warn,
                format!("waits for signal `{signal}`: `unknot signal send {} {signal}`", progress.run),
            ),
            Doing::Parked(what) => (spinner, Tone::Faint, what.clone()),
            Doing::Deciding => ("?".to_owned(), Tone::Warn, "waits for a person's decision".to_owned()),
        };
        let attempt = if active.attempt > 1 { format!("attempt {}", active.attempt) } else { String::new() };
        let said = match active.doing {
            Doing::Running => self.last_word(progress, index, active),
            _ => String::new(),
        };
        let name = pad(progress.name(index), self.name_columns);
        let elapsed = format!("{:>6}", time::length(now.since(active.since)));
        let rest: Vec<String> = [attempt, doing, said].into_iter().filter(|text| !text.is_empty()).collect();
        let head = fit(&format!("{name}  {elapsed}"), columns.saturating_sub(4));
        let mut line = (format!("  {} {head}", self.paint.tone(tone, &glyph)), 4 + width(&head));
        let rest = fit(&rest.join(GAP), columns.saturating_sub(line.1 + GAP.len()));
        if !rest.is_empty() {
            line.0.push_str(&format!("{GAP}{}", self.paint.tone(Tone::Faint, &rest)));
            line.1 += GAP.len() + width(&rest);
        }
        line
    }

    /// What a task printed last.
    fn last_word(&self, progress: &Progress, index: TaskIndex, active: &Active) -> String {
        let attempt = progress.run.task(index).attempt(active.attempt);
        let Some(data) = &self.data else { return String::new() };
        let log = attempt_folder::log(data, attempt, progress.name(index));
        attempt_folder::last_lines(&log, 1).pop().unwrap_or_default()
    }
}

/// Pieces of a line, a gap before each; those at the end that do not fit are left out.
fn join(pieces: Vec<Line>, columns: usize) -> Line {
    let mut line = (String::new(), 0);
    for (text, width) in pieces {
        if line.1 + GAP.len() + width <= columns {
            line.0.push_str(GAP);
            line.0.push_str(&text);
            line.1 += GAP.len() + width;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::tests::half_way;

    #[test]
    fn no_line_is_as_wide_as_the_terminal() {
        let progress = half_way();
        let bars = Bars::new(&progress, None);
        for columns in 10..130 {
            let lines = bars.frame(&progress, Timestamp(1_500), Size { columns, rows: 24 });
            assert_eq!(lines.len(), 4);
            for (line, taken) in lines {
                assert_eq!(width(&line), taken, "{line}");
                assert!(taken < columns, "{taken} of {columns}: {line}");
            }
        }
    }

    #[test]
    fn a_low_terminal_counts_what_it_cannot_show() {
        let progress = half_way();
        let bars = Bars::new(&progress, None);
        let lines = bars.frame(&progress, Timestamp(1_500), Size { columns: 80, rows: 4 });
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2].0, "    … and 2 more at work");
    }
}
