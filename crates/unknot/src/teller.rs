//! Telling a person what is going on.

use crate::{
    error::{Error, eprint_quietly},
    output::{Paint, Tone},
};
use std::io::Write;

/// Tells a person what is going on, before and beside the progress. Where programs read JSON, what a
/// person should know goes to standard error.
pub(crate) struct Teller<'o> {
    pub(crate) out: &'o mut dyn Write,
    pub(crate) paint: Paint,
    pub(crate) is_json: bool,
}

impl Teller<'_> {
    /// A line with a label.
    pub(crate) fn line(&mut self, label: &str, text: &str) -> Result<(), Error> {
        match (self.is_json, label) {
            (true, "note") => eprint_quietly(&format!("note: {text}\n")),
            (true, _) => {}
            (false, _) => self.print(label, text)?,
        }
        Ok(())
    }

    fn print(&mut self, label: &str, text: &str) -> Result<(), Error> {
        let tone = if label == "note" { Tone::Warn } else { Tone::Faint };
        writeln!(self.out, "{}  {text}", self.paint.tone(tone, &format!("{label:<4}")))?;
        self.out.flush()?;
        Ok(())
    }
}
