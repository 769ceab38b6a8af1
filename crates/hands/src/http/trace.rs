//! The line that each hop leaves in the log: its phases with their times, and how it ended. It shows no secret.

use std::fmt::Write;

use hyper::Method;
use tokio::time::Instant;

use super::target::Target;

/// A hop, from its beginning.
#[derive(Debug, Default)]
pub(super) struct Trace {
    text: String,
    /// The phase that it is in, and since when.
    phase: Option<(&'static str, Instant)>,
}

impl Trace {
    /// A new hop begins.
    pub(super) fn begin(&mut self, method: &Method, target: &Target) {
        self.phase = None;
        self.text = format!("{method} {target}:");
    }

    /// The hop comes to its next phase.
    pub(super) fn enter(&mut self, phase: &'static str) {
        self.leave();
        self.phase = Some((phase, Instant::now()));
    }

    fn leave(&mut self) {
        if let Some((phase, since)) = self.phase.take() {
            // Writing to a string cannot fail.
            write!(self.text, " {phase} {} ms,", since.elapsed().as_millis()).unwrap_or_default();
        }
    }

    /// The line of the hop, which ended like this.
    pub(super) fn line(&mut self, end: &str) -> String {
        self.leave();
        let before = if self.text.is_empty() { String::new() } else { format!("{} ", std::mem::take(&mut self.text)) };
        format!("{before}{end}\n")
    }
}

/// A length of time as people write it.
pub(super) fn length(ms: u64) -> String {
    match ms % 1000 {
        0 if ms > 0 => format!("{} s", ms / 1000),
        _ => format!("{ms} ms"),
    }
}
