//! Where the log goes: standard error, or a file that begins anew when it is large.

use super::{Line, Logging};
use crate::error::eprint_quietly;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Pause between two tries to open a file that cannot be opened.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Where the log goes. Belongs to the thread that writes.
#[derive(Debug)]
pub(super) struct Sink {
    logging: Logging,
    file: Option<Open>,
    /// When opening it was tried last in vain.
    failed_at: Option<Instant>,
    /// Lines that could not be written since.
    unwritten: u64,
}

#[derive(Debug)]
struct Open {
    file: File,
    size: u64,
}

impl Sink {
    pub(super) fn new(logging: Logging) -> Self {
        Self { logging, file: None, failed_at: None, unwritten: 0 }
    }

    /// Goes on in another way; a file is opened anew.
    pub(super) fn become_like(&mut self, logging: Logging) {
        let Self { unwritten, .. } = *self;
        *self = Self { unwritten, ..Self::new(logging) };
    }

    /// Writes a line, or counts it.
    pub(super) fn say(&mut self, line: &Line) {
        let text = line.formed(self.logging.format);
        let Some(path) = self.logging.file.clone() else { return eprint_quietly(&text) };
        if self.failed_at.is_some_and(|at| at.elapsed() < AGAIN_AFTER) {
            self.unwritten += 1;
            return;
        }
        if let Err(error) = self.append(&path, line, &text) {
            if self.failed_at.is_none() {
                eprint_quietly(&format!("warning: cannot write the log `{}`: {error}\n", path.display()));
            }
            self.file = None;
            self.failed_at = Some(Instant::now());
            self.unwritten += 1;
        }
    }

    fn append(&mut self, path: &Path, line: &Line, text: &str) -> io::Result<()> {
        let (size_max, keep) = (self.logging.size_max, self.logging.keep);
        let is_full = self.file.as_ref().is_some_and(|open| open.size > 0 && open.size + text.len() as u64 > size_max);
        if is_full {
            self.file = None;
            rotate(path, keep)?;
        }
        let open = match &mut self.file {
            Some(open) => open,
            none => none.insert(Open::new(path)?),
        };
        if self.unwritten > 0 {
            let count = self.unwritten;
            let word = Line::own(line.at, format!("{count} lines of this log are lost: it could not be written"));
            open.write(&word.formed(self.logging.format))?;
            self.unwritten = 0;
        }
        open.write(text)?;
        self.failed_at = None;
        Ok(())
    }
}

impl Open {
    fn new(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        // Names of runs and clients concern nobody else on the machine.
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.file.write_all(text.as_bytes())?;
        self.size += text.len() as u64;
        Ok(())
    }
}

/// `log` becomes `log.1`, `log.1` becomes `log.2`; what would be one too many goes.
fn rotate(path: &Path, keep: u64) -> io::Result<()> {
    let numbered = |number: u64| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    if keep == 0 {
        return gone(fs::remove_file(path));
    }
    for number in (1..keep).rev() {
        gone(fs::rename(numbered(number), numbered(number + 1)))?;
    }
    gone(fs::rename(path, numbered(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use unknot_engine::core::Timestamp;

    fn line(text: &str) -> Line {
        Line::own(Timestamp(0), text.to_owned())
    }

    #[test]
    fn a_large_file_begins_anew_and_few_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("below/log");
        let mut sink = Sink::new(Logging { file: Some(file.clone()), size_max: 150, keep: 2, ..Logging::default() });
        for number in 0..20 {
            sink.say(&line(&format!("line {number:02}")));
        }
        let names = fs::read_dir(folder.path().join("below")).expect("there").flatten();
        let mut names: Vec<_> = names.map(|entry| entry.file_name().into_string().expect("text")).collect();
        names.sort();
        assert_eq!(names, ["log", "log.1", "log.2"]);
        let newest = fs::read_to_string(&file).expect("there");
        assert!(newest.contains("line 19") && newest.len() <= 150, "{newest}");
        assert!(fs::read_to_string(folder.path().join("below/log.1")).expect("there").contains("line 17"));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_tried_again_and_the_loss_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("log");
        fs::create_dir(&file).expect("in the way");
        let logging = Logging { file: Some(file.clone()), ..Logging::default() };
        let mut sink = Sink::new(logging.clone());
        sink.say(&line("one"));
        sink.say(&line("two"));
        fs::remove_dir(&file).expect("out of the way");
        sink.become_like(logging);
        sink.say(&line("three"));
        let text = fs::read_to_string(&file).expect("there");
        assert!(text.contains("2 lines of this log are lost") && text.contains("three"), "{text}");
    }
}
