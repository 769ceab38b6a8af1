//! An output whose troubles do not reach the run that is told there.

use std::io::{self, Write};

/// Passes text on until that fails for a reason that is nobody's wish, a full disk for example. From then
/// on it takes everything and writes nothing. A reader that goes away is a wish, and an error as ever.
pub(super) struct Unhindered<'o> {
    out: &'o mut dyn Write,
    failed: Option<io::Error>,
}

impl<'o> Unhindered<'o> {
    pub(super) fn new(out: &'o mut dyn Write) -> Self {
        Self { out, failed: None }
    }

    /// What has failed, if something has.
    pub(super) fn into_failure(self) -> Option<io::Error> {
        self.failed
    }

    fn attempt<T>(&mut self, instead: T, write: impl FnOnce(&mut dyn Write) -> io::Result<T>) -> io::Result<T> {
        if self.failed.is_some() {
            return Ok(instead);
        }
        match write(self.out) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::Interrupted) => {
                self.failed = Some(error);
                Ok(instead)
            }
            other => other,
        }
    }
}

impl Write for Unhindered<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.attempt(text.len(), |out| out.write(text))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.attempt((), |out| out.flush())
    }
}
