//! The log of an attempt: the first and the last bytes of what it printed, and a mark of what was left out.
//!
//! `log.txt` takes the first 8 MiB as they come, so that a person can follow them. After that a ring file, `log.tail`,
//! keeps the newest 8 MiB; when the attempt ends it is put behind the mark. A task that prints for ever thus grows
//! neither memory nor disk. `file` has the two files.
//!
//! All logs of a worker are written by one thread. A disk that fails or hangs holds up that thread and nothing else:
//! whoever hands over output waits for it at most [`PATIENCE`], and then drops what is not taken at once until the
//! thread has caught up. What was dropped is marked at its place and told at the end.

mod file;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use unknot_api::work::Note;

use self::file::LogFile;

/// How much is kept of the beginning, and how much of the end, in bytes.
pub const LOG_PART_BYTES: u64 = 8 << 20;
/// The name of the log in the attempt's folder.
pub const LOG_FILE: &str = "log.txt";
/// How long a full queue may hold up the output of one attempt, until the queue is empty again.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a log may wait to be completed once nobody waits for that any more.
const LATE_PATIENCE: Duration = Duration::from_secs(60);
/// How many chunks (of at most 64 KiB) may wait for the disk.
const QUEUE_CHUNKS: usize = 128;

/// The files of one log, shared by its writer and by what is under way for it: the last of these closes them, so no
/// message that gets lost leaves them open. Used by the log thread alone.
type Shared = Arc<Mutex<LogFile>>;

struct Message {
    log: Shared,
    /// What was dropped right before.
    hole_bytes: u64,
    act: Act,
}

enum Act {
    Open,
    Write(Box<[u8]>),
    Close(oneshot::Sender<Vec<Note>>),
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
        let (queue, messages) = mpsc::channel(QUEUE_CHUNKS);
        thread::Builder::new().name("hand-logs".into()).spawn(move || serve(messages))?;
        Ok(Self { queue })
    }

    /// Opens the log of one attempt. Should that not be taken in time, its first output opens it.
    pub(crate) async fn open(&self, folder: PathBuf) -> LogWriter {
        let log = Arc::new(Mutex::new(LogFile::new(folder)));
        let mut writer =
            LogWriter { log, queue: self.queue.clone(), hole_bytes: 0, dropped_bytes: 0, is_stalled: false };
        writer.send(Act::Open).await;
        writer
    }
}

fn serve(mut messages: mpsc::Receiver<Message>) {
    while let Some(Message { log, hole_bytes, act }) = messages.blocking_recv() {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.mark_hole(hole_bytes);
        match act {
            Act::Open => log.open(),
            Act::Write(chunk) => log.write(&chunk),
            // An attempt that no longer waits for its notes has been given up; the log is closed all the same.
            Act::Close(answer) => answer.send(log.close()).unwrap_or_default(),
        }
    }
}

/// Where the output of one attempt goes.
#[derive(Debug)]
pub(crate) struct LogWriter {
    log: Shared,
    queue: mpsc::Sender<Message>,
    /// Dropped since the queue took something.
    hole_bytes: u64,
    dropped_bytes: u64,
    is_stalled: bool,
}

impl LogWriter {
    /// Hands over output. Waits a bounded time for a slow disk, and after that not at all until it has caught up.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        if !self.send(Act::Write(bytes.into())).await {
            self.hole_bytes += bytes.len() as u64;
            self.dropped_bytes += bytes.len() as u64;
        }
    }

    async fn send(&mut self, act: Act) -> bool {
        // Nothing else waits for the disk: whatever held it up is over.
        if self.queue.capacity() == self.queue.max_capacity() {
            self.is_stalled = false;
        }
        let message = Message { log: self.log.clone(), hole_bytes: self.hole_bytes, act };
        let is_taken = match self.is_stalled {
            true => self.queue.try_send(message).is_ok(),
            false => self.queue.send_timeout(message, PATIENCE).await.is_ok(),
        };
        match is_taken {
            true => self.hole_bytes = 0,
            false => self.is_stalled = true,
        }
        is_taken
    }

    /// Completes the log, waiting a bounded time, and says what a person should know of it.
    pub(crate) async fn close(mut self) -> Vec<Note> {
        let (answer, notes) = oneshot::channel();
        // Its end is worth a wait of its own.
        self.is_stalled = false;
        let closed = match self.send(Act::Close(answer)).await {
            true => timeout(PATIENCE * 2, notes).await.ok().and_then(Result::ok),
            false => {
                self.close_late();
                None
            }
        };
        let mut notes = closed.unwrap_or_else(|| {
            vec![Note::LogFailed { message: format!("`{LOG_FILE}` could not be completed: the disk does not answer") }]
        });
        if self.dropped_bytes > 0 {
            let message = format!("{} bytes are missing in `{LOG_FILE}`: the disk was too slow", self.dropped_bytes);
            notes.push(Note::LogFailed { message });
        }
        notes
    }

    /// Completes the log when the disk is well again, should that be soon. Nobody waits for it.
    fn close_late(&self) {
        let (queue, log, hole_bytes) = (self.queue.clone(), self.log.clone(), self.hole_bytes);
        tokio::spawn(async move {
            let message = Message { log, hole_bytes, act: Act::Close(oneshot::channel().0) };
            // It was told to be incomplete, and stays so.
            queue.send_timeout(message, LATE_PATIENCE).await.unwrap_or_default();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    /// Logs whose thread, a disk that hangs, is the test's to start.
    fn hanging() -> (Logs, mpsc::Receiver<Message>) {
        let (queue, messages) = mpsc::channel(QUEUE_CHUNKS);
        (Logs { queue }, messages)
    }

    async fn flood(logs: &Logs, folder: &Path) -> LogWriter {
        let mut writer = logs.open(folder.to_owned()).await;
        for _ in 1..QUEUE_CHUNKS {
            writer.write(b"x").await;
        }
        writer
    }

    fn folder(place: &Path, name: &str) -> PathBuf {
        let folder = place.join(name);
        fs::create_dir(&folder).unwrap();
        folder
    }

    #[tokio::test]
    async fn a_log_that_was_not_opened_in_time_is_written_all_the_same() {
        let place = tempfile::tempdir().unwrap();
        let (logs, messages) = hanging();
        let neighbour = flood(&logs, &folder(place.path(), "neighbour")).await;
        let mut writer = logs.open(folder(place.path(), "attempt")).await;
        thread::spawn(move || serve(messages));
        assert_eq!(neighbour.close().await, []);
        writer.write(b"important").await;
        assert_eq!(writer.close().await, []);
        assert_eq!(fs::read(place.path().join("attempt/log.txt")).unwrap(), b"important");
    }

    #[tokio::test]
    async fn what_was_dropped_is_marked_at_its_place_and_told() {
        let place = tempfile::tempdir().unwrap();
        let (logs, messages) = hanging();
        let mut writer = flood(&logs, &folder(place.path(), "attempt")).await;
        writer.write(b"lost").await;
        assert!(writer.is_stalled);
        writer.write(b"lost too").await;
        thread::spawn(move || serve(messages));
        let neighbour = logs.open(folder(place.path(), "neighbour")).await;
        assert_eq!(neighbour.close().await, [], "by now all is written that waited");
        writer.write(b"found").await;
        assert!(!writer.is_stalled, "a disk that is well again is waited for again");
        let notes = writer.close().await;
        assert!(matches!(&notes[..], [Note::LogFailed { message }] if message.starts_with("12 bytes")), "{notes:?}");
        let log = fs::read_to_string(place.path().join("attempt/log.txt")).unwrap();
        assert!(log.ends_with("xxx\n[… 12 bytes lost: the disk was too slow …]\nfound"), "{log}");
    }

    #[tokio::test]
    async fn a_log_that_could_not_be_closed_in_time_is_closed_later() {
        let place = tempfile::tempdir().unwrap();
        let (logs, messages) = hanging();
        let writer = flood(&logs, &folder(place.path(), "attempt")).await;
        let log = Arc::downgrade(&writer.log);
        assert!(matches!(&writer.close().await[..], [Note::LogFailed { .. }]));
        thread::spawn(move || serve(messages));
        while log.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(fs::read(place.path().join("attempt/log.txt")).unwrap().len(), QUEUE_CHUNKS - 1);
    }

    #[tokio::test]
    async fn a_writer_that_is_dropped_leaves_nothing_open() {
        let place = tempfile::tempdir().unwrap();
        let logs = Logs::start().unwrap();
        let writer = logs.open(place.path().to_owned()).await;
        let log = Arc::downgrade(&writer.log);
        drop(writer);
        assert_eq!(logs.open(folder(place.path(), "next")).await.close().await, []);
        assert_eq!(log.strong_count(), 0);
    }
}
