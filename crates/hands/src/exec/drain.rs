//! Draining an attempt's output, from its start, in a task of its own: into the log, past the scanner, never kept.
//!
//! Exit and end-of-file are two events. After the exit the drain goes on until end-of-file, or a second of silence, or
//! two seconds in all: whoever still holds the pipe then loses it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use unknot_api::work::Note;

use super::output::{Found, Scanner};
use crate::log::LogWriter;

/// How long silence may last after the exit.
const SILENCE_AFTER_EXIT: Duration = Duration::from_secs(1);
/// How long draining may last after the exit, in all.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// The read ends of an attempt's output pipes.
#[derive(Debug)]
pub(crate) struct Pipes {
    stdout: pipe::Receiver,
    stderr: pipe::Receiver,
}

impl Pipes {
    /// Makes both pipes; also returns the write ends, stdout first.
    ///
    /// # Errors
    ///
    /// If there are no descriptors to be had.
    pub(crate) fn new() -> io::Result<(Self, [OwnedFd; 2])> {
        let one = || -> io::Result<(pipe::Receiver, OwnedFd)> {
            let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
            Ok((pipe::Receiver::from_owned_fd(reader)?, writer))
        };
        let ((stdout, out), (stderr, err)) = (one()?, one()?);
        Ok((Self { stdout, stderr }, [out, err]))
    }

    /// The numbers by which `/proc` names the pipes.
    pub(crate) fn inodes(&self) -> Vec<u64> {
        [self.stdout.as_fd(), self.stderr.as_fd()]
            .into_iter()
            .filter_map(|fd| rustix::fs::fstat(fd).ok())
            .map(|stat| stat.st_ino)
            .collect()
    }
}

/// What others may see of a drain while it goes on.
#[derive(Debug)]
pub(crate) struct Flow {
    began: Instant,
    bytes: AtomicU64,
    last_ms: AtomicU64,
}

impl Flow {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), bytes: AtomicU64::new(0), last_ms: AtomicU64::new(0) })
    }

    fn count(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(now, Ordering::Relaxed);
    }

    /// How much has been printed.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// When something was printed last, or the beginning.
    pub(crate) fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }
}

/// How a drain ended.
#[derive(Debug)]
pub(crate) struct Drained {
    pub(crate) found: Found,
    /// Whether both pipes came to their end; otherwise someone still holds one.
    pub(crate) is_complete: bool,
    pub(crate) notes: Vec<Note>,
}

/// Drains both pipes. `exited` becomes true when the main process is gone, and its sender is dropped when the attempt
/// is given up.
pub(crate) async fn drain(
    pipes: Pipes,
    mut log: LogWriter,
    flow: Arc<Flow>,
    mut exited: watch::Receiver<bool>,
) -> Drained {
    let mut scanner = Scanner::default();
    let (mut stdout, mut stderr) = (Some(pipes.stdout), Some(pipes.stderr));
    let (mut from_stdout, mut from_stderr) = (Vec::new(), Vec::new());
    let mut end: Option<Ending> = None;
    let mut was_flowing = false;
    while stdout.is_some() || stderr.is_some() {
        let until = end.as_ref().map_or_else(Instant::now, Ending::until);
        tokio::select! {
            biased;
            () = sleep_until(until), if end.is_some() => {
                was_flowing = end.is_some_and(|end| end.was_flowing());
                break;
            }
            _ = exited.changed(), if end.is_none() => end = Some(Ending::new()),
            more = read(stdout.as_ref(), &mut from_stdout), if stdout.is_some() => {
                if more {
                    scanner.push(&from_stdout);
                    take(&from_stdout, &mut log, &flow, end.as_mut()).await;
                } else {
                    stdout = None;
                }
            }
            more = read(stderr.as_ref(), &mut from_stderr), if stderr.is_some() => {
                if more {
                    take(&from_stderr, &mut log, &flow, end.as_mut()).await;
                } else {
                    stderr = None;
                }
            }
        }
    }
    let is_complete = stdout.is_none() && stderr.is_none();
    let mut notes = log.close().await;
    if was_flowing {
        notes.push(Note::OutputCutOff);
    }
    Drained { found: scanner.finish(), is_complete, notes }
}

async fn take(bytes: &[u8], log: &mut LogWriter, flow: &Flow, end: Option<&mut Ending>) {
    flow.count(bytes.len());
    log.write(bytes).await;
    if let Some(end) = end {
        end.last = Instant::now();
    }
}

/// Reads what there is, at most 64 KiB; false at the end. A pipe that fails has ended.
async fn read(pipe: Option<&pipe::Receiver>, buffer: &mut Vec<u8>) -> bool {
    let Some(pipe) = pipe else { return false };
    // Allocated with the first output: most attempts of a busy worker print little.
    buffer.resize(64 * 1024, 0);
    loop {
        if pipe.ready(Interest::READABLE).await.is_err() {
            return false;
        }
        match pipe.try_read(buffer) {
            Ok(count) => {
                buffer.truncate(count);
                return count > 0;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
}

/// The bounds of a drain after the exit.
#[derive(Debug, Clone, Copy)]
struct Ending {
    exited: Instant,
    last: Instant,
}

impl Ending {
    fn new() -> Self {
        Self { exited: Instant::now(), last: Instant::now() }
    }

    fn until(&self) -> Instant {
        (self.last + SILENCE_AFTER_EXIT).min(self.exited + DRAIN_MAX)
    }

    fn was_flowing(self) -> bool {
        self.last + SILENCE_AFTER_EXIT > self.exited + DRAIN_MAX
    }
}

impl Drained {
    /// A drain that could not be brought to its end.
    pub(crate) fn failed(error: &tokio::task::JoinError) -> Self {
        let message = format!("the output could not be drained: {error}");
        Self { found: Found::Nothing, is_complete: true, notes: vec![Note::LogFailed { message }] }
    }
}
