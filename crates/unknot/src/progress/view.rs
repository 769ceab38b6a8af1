//! Which of the ways progress is shown in.

use super::{Bars, Lines, Note, Progress};
use crate::{error::eprint_quietly, terminal};
use std::{
    io::{self, Write},
    path::Path,
};
use unknot_engine::core::{Timestamp, row::HistoryEntry};

/// How progress is shown.
pub(crate) enum View {
    Bars(Bars),
    Lines(Lines),
    Json,
}

impl View {
    /// On a terminal bars, elsewhere lines, for programs JSON. `data` is the folder where logs grow, if that is here.
    pub(crate) fn new(is_json: bool, progress: &Progress, data: Option<&Path>, now: Timestamp) -> Self {
        if is_json {
            Self::Json
        } else if terminal::can_redraw() {
            Self::Bars(Bars::new(progress, data.map(Path::to_path_buf)))
        } else {
            Self::Lines(Lines::new(now))
        }
    }

    /// A line of history, before `progress` takes it in.
    pub(crate) fn entry(&mut self, out: &mut dyn Write, entry: &HistoryEntry, progress: &Progress) -> io::Result<()> {
        if let Self::Json = self {
            serde_json::to_writer(&mut *out, entry)?;
            return out.write_all(b"\n");
        }
        match Note::of(entry, progress) {
            Some(note) => self.note(out, note, progress),
            None => Ok(()),
        }
    }

    /// A sentence beside it.
    pub(crate) fn note(&mut self, out: &mut dyn Write, note: Note, progress: &Progress) -> io::Result<()> {
        match self {
            Self::Bars(bars) => {
                bars.note(note, progress);
                Ok(())
            }
            Self::Lines(lines) => lines.note(out, &note, progress),
            Self::Json => {
                eprint_quietly(&format!("note: {}\n", note.text));
                Ok(())
            }
        }
    }

    /// Time went by.
    pub(crate) fn tick(&mut self, out: &mut dyn Write, progress: &Progress, now: Timestamp) -> io::Result<()> {
        match self {
            Self::Bars(bars) => bars.tick(out, progress, now)?,
            Self::Lines(lines) => lines.tick(out, progress, now)?,
            Self::Json => {}
        }
        out.flush()
    }

    /// Nothing more comes.
    pub(crate) fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Bars(bars) => bars.finish(out),
            Self::Lines(_) | Self::Json => out.flush(),
        }
    }
}
