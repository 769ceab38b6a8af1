//! Progress where there is no terminal: a line for each thing that happened, with its moment.

use super::{Note, Progress, Rank};
use crate::{
    output::{count, harmless, thousands},
    time,
};
use std::io::{self, Write};
use unknot_engine::core::{Millis, Timestamp, run::TaskStatus};

/// Runs with more tasks than this do not print a line for each.
pub(super) const SMALL_RUN: u64 = 200;
/// How often a large run says how far it is.
const EVERY: Millis = Millis::from_secs(10);

/// Prints lines.
#[derive(Debug)]
pub(crate) struct Lines {
    said_at: Timestamp,
}

impl Lines {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { said_at: now }
    }

    /// Prints a note, if it is worth its line.
    pub(crate) fn note(&self, out: &mut dyn Write, note: &Note, progress: &Progress) -> io::Result<()> {
        if note.rank == Rank::Routine && progress.total() > SMALL_RUN {
            return Ok(());
        }
        let subject = note.task.as_deref().unwrap_or("run");
        writeln!(out, "{}  {}  {}", time::moment(note.at), harmless(subject), harmless(&note.text))
    }

    /// Prints how far a large run is, now and then.
    pub(crate) fn tick(&mut self, out: &mut dyn Write, progress: &Progress, now: Timestamp) -> io::Result<()> {
        if progress.total() <= SMALL_RUN || now.since(self.said_at) < EVERY {
            return Ok(());
        }
        self.said_at = now;
        writeln!(out, "{}  run  {}", time::moment(now), standing(progress))
    }
}

/// `34,000 of 100,000 tasks done, 2 failed, 8 running`.
fn standing(progress: &Progress) -> String {
    let mut text = format!("{} of {} done", thousands(progress.done()), count(progress.total(), "task"));
    for (status, word) in [(TaskStatus::Failed, "failed"), (TaskStatus::Running, "running")] {
        let number = progress.count(status);
        if number > 0 {
            text.push_str(&format!(", {} {word}", thousands(number)));
        }
    }
    text
}
