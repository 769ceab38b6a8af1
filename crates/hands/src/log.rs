//! The log of an attempt: the first and the last bytes of what it printed, and a mark of what was left out.
//!
//! `log.txt` takes the first 8 MiB as they come, so that a person can follow them. After that a ring file, `log.tail`,
//! keeps the newest 8 MiB; when the attempt ends it is put behind the mark. A task that prints for ever thus grows
//! neither memory nor disk.
//!
//! All logs of a worker are written by one thread. A disk that fails or hangs holds up that thread and nothing else:
//! whoever hands over output waits for it at most [`PATIENCE`] once, and from then on drops what is not taken at once.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use unknot_api::work::Note;

use crate::files;

/// How much is kept of the beginning, and how much of the end, in bytes.
pub const LOG_PART_BYTES: u64 = 8 << 20;
/// The name of the log in the attempt's folder.
pub const LOG_FILE: &str = "log.txt";
const TAIL_FILE: &str = "log.tail";
/// How long a full queue may hold up the output of one attempt, once.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many chunks (of at most 64 KiB) may wait for the disk.
const QUEUE_CHUNKS: usize = 128;

enum Message {
    Open { id: u64, folder: PathBuf },
    Write { id: u64, chunk: Box<[u8]> },
    Close { id: u64, answer: oneshot::Sender<Vec<Note>> },
}

/// The way to a worker's log thread, which ends with the last of these.
#[derive(Debug, Clone)]
pub(crate) struct Logs {
    queue: mpsc::Sender<Message>,
}

impl Logs {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// If there is no thread to be had.
    pub(crate) fn start() -> io::Result<Self> {
        let (queue, mut messages) = mpsc::channel(QUEUE_CHUNKS);
        thread::Builder::new().name("hand-logs".into()).spawn(move || {
            let mut open = HashMap::new();
            while let Some(message) = messages.blocking_recv() {
                perform(&mut open, message);
            }
        })?;
        Ok(Self { queue })
    }

    /// Opens the log of one attempt.
    pub(crate) async fn open(&self, id: u64, folder: PathBuf) -> LogWriter {
        let mut writer = LogWriter { id, queue: self.queue.clone(), dropped_bytes: 0, is_stalled: false };
        writer.send(Message::Open { id, folder }).await;
        writer
    }
}

fn perform(open: &mut HashMap<u64, LogFile>, message: Message) {
    match message {
        Message::Open { id, folder } => drop(open.insert(id, LogFile::new(folder))),
        Message::Write { id, chunk } => {
            if let Some(log) = open.get_mut(&id) {
                log.write(&chunk);
            }
        }
        Message::Close { id, answer } => {
            let notes = open.remove(&id).map(LogFile::close).unwrap_or_default();
            // An attempt that no longer waits for its notes has been given up; the log is closed all the same.
            answer.send(notes).unwrap_or_default();
        }
    }
}

/// Where the output of one attempt goes.
#[derive(Debug)]
pub(crate) struct LogWriter {
    id: u64,
    queue: mpsc::Sender<Message>,
    dropped_bytes: u64,
    is_stalled: bool,
}

impl LogWriter {
    /// Hands over output. Waits a bounded time for a slow disk, and not at all once that was too long.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        if !self.send(Message::Write { id: self.id, chunk: bytes.into() }).await {
            self.dropped_bytes += bytes.len() as u64;
        }
    }

    async fn send(&mut self, message: Message) -> bool {
        if self.is_stalled {
            return self.queue.try_send(message).is_ok();
        }
        match self.queue.send_timeout(message, PATIENCE).await {
            Ok(()) => true,
            Err(_) => {
                self.is_stalled = true;
                false
            }
        }
    }

    /// Completes the log, waiting a bounded time, and says what a person should know of it.
    pub(crate) async fn close(mut self) -> Vec<Note> {
        let (answer, notes) = oneshot::channel();
        let asked = self.send(Message::Close { id: self.id, answer }).await;
        let closed =
            if asked { tokio::time::timeout(PATIENCE * 2, notes).await.ok().and_then(Result::ok) } else { None };
        let mut notes = closed.unwrap_or_else(|| {
            vec![Note::LogFailed { message: format!("`{LOG_FILE}` could not be completed: the disk does not answer") }]
        });
        if self.dropped_bytes > 0 {
            let message = format!("{} bytes are missing in `{LOG_FILE}`: the disk was too slow", self.dropped_bytes);
            notes.push(Note::LogFailed { message });
        }
        notes
    }
}

/// The files of one log, on the log thread.
struct LogFile {
    folder: PathBuf,
    head: Option<File>,
    head_bytes: u64,
    tail: Option<File>,
    tail_bytes: u64,
    lost_bytes: u64,
    error: Option<io::Error>,
}

impl LogFile {
    fn new(folder: PathBuf) -> Self {
        let empty = Self { folder, head: None, head_bytes: 0, tail: None, tail_bytes: 0, lost_bytes: 0, error: None };
        match files::replace(&empty.folder, LOG_FILE) {
            Ok(head) => Self { head: Some(head), ..empty },
            Err(error) => Self { error: Some(error), ..empty },
        }
    }

    fn write(&mut self, mut bytes: &[u8]) {
        let room = usize::try_from(LOG_PART_BYTES - self.head_bytes).unwrap_or(usize::MAX).min(bytes.len());
        if room > 0 {
            let (first, rest) = bytes.split_at(room);
            let result = self.write_head(first);
            self.note_loss(result, first.len());
            bytes = rest;
        }
        if !bytes.is_empty() {
            let result = self.write_tail(bytes);
            self.note_loss(result, bytes.len());
        }
    }

    fn note_loss(&mut self, result: io::Result<()>, length: usize) {
        if let Err(error) = result {
            self.lost_bytes += length as u64;
            self.error = Some(error);
        }
    }

    /// Writes at a fixed place, so that a part that failed half-way is not in the way of the next.
    fn write_head(&mut self, bytes: &[u8]) -> io::Result<()> {
        let head = open_once(&mut self.head, &self.folder, LOG_FILE)?;
        head.write_all_at(bytes, self.head_bytes)?;
        self.head_bytes += bytes.len() as u64;
        Ok(())
    }

    fn write_tail(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let tail = open_once(&mut self.tail, &self.folder, TAIL_FILE)?;
        while !bytes.is_empty() {
            let at = self.tail_bytes % LOG_PART_BYTES;
            let room = usize::try_from(LOG_PART_BYTES - at).unwrap_or(usize::MAX).min(bytes.len());
            tail.write_all_at(&bytes[..room], at)?;
            self.tail_bytes += room as u64;
            bytes = &bytes[room..];
        }
        Ok(())
    }

    /// Puts the tail behind the head.
    fn close(mut self) -> Vec<Note> {
        let omitted_bytes = self.tail_bytes.saturating_sub(LOG_PART_BYTES);
        if self.tail_bytes > 0
            && let Err(error) = self.append_tail(omitted_bytes)
        {
            self.error = Some(error);
        }
        let mut notes = Vec::new();
        if omitted_bytes > 0 {
            notes.push(Note::LogCut { omitted_bytes });
        }
        if let Some(error) = self.error {
            let lost = self.lost_bytes;
            notes.push(Note::LogFailed { message: format!("{lost} bytes are missing in `{LOG_FILE}`: {error}") });
        }
        notes
    }

    fn append_tail(&mut self, omitted_bytes: u64) -> io::Result<()> {
        let (Some(head), Some(tail)) = (&mut self.head, &mut self.tail) else { return Ok(()) };
        head.seek(SeekFrom::Start(self.head_bytes))?;
        let mut split = 0;
        if omitted_bytes > 0 {
            write!(head, "\n[… {omitted_bytes} bytes left out …]\n")?;
            split = self.tail_bytes % LOG_PART_BYTES;
        }
        tail.seek(SeekFrom::Start(split))?;
        io::copy(tail, head)?;
        tail.seek(SeekFrom::Start(0))?;
        io::copy(&mut tail.take(split), head)?;
        fs::remove_file(self.folder.join(TAIL_FILE))
    }
}

/// The file, opened now if that has not worked yet: a disk that was full may have room again.
fn open_once<'a>(file: &'a mut Option<File>, folder: &Path, name: &str) -> io::Result<&'a mut File> {
    match file {
        Some(file) => Ok(file),
        None => Ok(file.insert(files::replace(folder, name)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(chunks: &[Vec<u8>]) -> (Vec<u8>, Vec<Note>) {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::new(folder.path().to_owned());
        chunks.iter().for_each(|chunk| log.write(chunk));
        let notes = log.close();
        let text = fs::read(folder.path().join(LOG_FILE)).unwrap();
        assert!(!folder.path().join(TAIL_FILE).exists());
        (text, notes)
    }

    /// Bytes of which each tells its place.
    fn numbered(from: u64, length: u64) -> Vec<u8> {
        (from..from + length).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn a_log_that_fits_is_whole() {
        let part = LOG_PART_BYTES;
        for length in [0, 1, part - 1, part, part + 1, 2 * part] {
            let (text, notes) = logged(&[numbered(0, length)]);
            assert!(text == numbered(0, length), "{length}");
            assert_eq!(notes, []);
        }
    }

    #[test]
    fn of_a_longer_one_the_middle_is_left_out() {
        let part = LOG_PART_BYTES;
        let length = 3 * part + 12_345;
        let bytes = numbered(0, length);
        let chunks: Vec<Vec<u8>> = bytes.chunks(65_536).map(<[u8]>::to_vec).collect();
        let (text, notes) = logged(&chunks);
        let omitted_bytes = length - 2 * part;
        assert_eq!(notes, [Note::LogCut { omitted_bytes }]);
        assert!(text.starts_with(&bytes[..part as usize]));
        assert!(text.ends_with(&bytes[(length - part) as usize..]));
        let mark = format!("\n[… {omitted_bytes} bytes left out …]\n");
        assert_eq!(&text[part as usize..part as usize + mark.len()], mark.as_bytes());
    }

    /// A pipe in its place would fill up and hold up the logs of all attempts; a link would lead out of the folder.
    #[test]
    fn what_stands_where_a_log_should_be_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (log, tail) = (folder.path().join(LOG_FILE), folder.path().join(TAIL_FILE));
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &log, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let stranger = folder.path().join("stranger");
        fs::write(&stranger, "precious").unwrap();
        std::os::unix::fs::symlink(&stranger, &tail).unwrap();
        let mut log_file = LogFile::new(folder.path().to_owned());
        let bytes = numbered(0, LOG_PART_BYTES + 5);
        log_file.write(&bytes);
        assert_eq!(log_file.close(), []);
        assert!(fs::read(log).unwrap() == bytes);
        assert_eq!(fs::read_to_string(stranger).unwrap(), "precious");
    }

    #[test]
    fn a_log_without_a_folder_is_a_note() {
        let mut log = LogFile::new("/nonexistent/folder".into());
        log.write(b"hello");
        assert!(matches!(&log.close()[..], [Note::LogFailed { message }] if message.starts_with("5 bytes")));
    }
}
