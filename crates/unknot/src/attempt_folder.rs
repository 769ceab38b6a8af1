//! What an attempt left in its folder: its log and its artifacts.

use rustix::fs::OFlags;
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use unknot_api::rest::Artifact;
use unknot_engine::{ATTEMPTS, core::AttemptId};

const LOG: &str = "log.txt";
const ARTIFACTS: &str = "artifacts";
/// How much of a log's end is read to find its last lines.
pub(crate) const TAIL_BYTES: u64 = 8 * 1024;

/// The folder of an attempt in a data folder.
pub(crate) fn path(data: &Path, attempt: AttemptId, task_name: &str) -> PathBuf {
    data.join(ATTEMPTS).join(attempt.task.run.to_string()).join(task_name).join(attempt.to_string())
}

/// The log of an attempt.
pub(crate) fn log(data: &Path, attempt: AttemptId, task_name: &str) -> PathBuf {
    path(data, attempt, task_name).join(LOG)
}

/// Opens the log of an attempt. The folder is the task's as well: neither a link out of it nor a pipe that nobody
/// writes to is followed.
pub(crate) fn open(log: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(log)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

/// The last lines of a log that say something, oldest first; none of one that cannot be read.
pub(crate) fn last_lines(log: &Path, most: usize) -> Vec<String> {
    let tail = || -> io::Result<Vec<u8>> {
        let mut file = open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    last_lines_of(&tail().unwrap_or_default(), most)
}

/// The last lines of some text that say something, oldest first.
pub(crate) fn last_lines_of(bytes: &[u8], most: usize) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    // What a progress bar of the task's own wrote over is not a line.
    let shown =
        |line: &str| line.rsplit('\r').find(|part| !part.trim().is_empty()).map(|part| part.trim_end().to_owned());
    let mut lines: Vec<String> = text.lines().rev().filter_map(shown).take(most).collect();
    lines.reverse();
    lines
}

/// The files below an attempt's `artifacts/`, in order of their paths, and where each is.
pub(crate) fn artifacts(data: &Path, attempt: AttemptId, task_name: &str) -> Vec<(Artifact, PathBuf)> {
    let folder = path(data, attempt, task_name);
    let place = |artifact: Artifact| {
        let file = folder.join(ARTIFACTS).join(&artifact.path);
        (artifact, file)
    };
    unknot_server::artifacts(&folder).into_iter().map(place).collect()
}
