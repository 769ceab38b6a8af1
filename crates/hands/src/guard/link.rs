//! The worker's side of its guard: speaking with it, and what to do when it is gone.
//!
//! - `guards`: which guard there is now, and starting the next. `charge`: its process.
//!
//! A guard that ends, or does not answer for [`SILENCE`], is killed; its attempts are ended from outside, reported
//! lost, and the next attempt gets a new guard, with a growing pause between failures.

mod charge;
mod guards;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use self::charge::{Charge, LAST_WORDS};
pub(crate) use self::guards::Guards;
use super::cgroup::Hierarchy;
use super::wire::{self, FromGuard, Inbound, LaunchFailure, Spawn, ToGuard};
use crate::confirm::{self, Fate};
use crate::identity::{Mark, ProcessRecord, Wanted};
use crate::proc;

/// How often a guard is asked to prove that it moves.
const PING_EVERY: Duration = Duration::from_secs(5);
/// After how much silence it is taken for dead.
const SILENCE: Duration = Duration::from_secs(20);
/// How long the attempts of a lost guard may take to die.
const LOST_PATIENCE: Duration = Duration::from_secs(5);
/// How many messages of the guard may wait for one attempt: all that there can be, and some samples.
const EVENTS_MAX: usize = 32;

/// What an attempt hears from its guard.
#[derive(Debug)]
pub(crate) enum Event {
    Guard(FromGuard),
    /// The guard is gone; this is what became of the attempt.
    Lost(Fate),
}

/// A connection to one guard.
#[derive(Debug)]
pub(crate) struct Link {
    stream: Arc<UnixStream>,
    outgoing: mpsc::Sender<Outgoing>,
    attempts: Mutex<BTreeMap<Mark, Listener>>,
    is_alive: AtomicBool,
    /// The guard's nonce, if it may have cgroups.
    cgroup_nonce: Option<String>,
}

#[derive(Debug)]
struct Listener {
    attempt: String,
    folder: PathBuf,
    events: mpsc::Sender<Event>,
    /// Nothing of it is left.
    is_over: bool,
}

/// A frame and the descriptors that go with it. Made before it is queued, so that a message that cannot be one is its
/// sender's failure alone, never the connection's.
#[derive(Debug)]
struct Outgoing {
    frame: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Link {
    /// Speaks from now on with a guard that has said that it is ready.
    fn new(reader: Reader, child: Charge, messages_max: usize, cgroup_nonce: Option<String>) -> Arc<Self> {
        let stream = reader.stream.clone();
        let (outgoing, queue) = mpsc::channel(messages_max);
        let link = Arc::new(Self {
            stream: stream.clone(),
            outgoing,
            attempts: Mutex::default(),
            is_alive: AtomicBool::new(true),
            cgroup_nonce,
        });
        tokio::spawn(write_frames(stream, queue));
        tokio::spawn(link.clone().listen(reader, child));
        link
    }

    /// A link without a guard: what it is told arrives at the other end of the stream.
    #[cfg(test)]
    pub(crate) fn to(stream: std::os::unix::net::UnixStream) -> Arc<Self> {
        Self::new(Reader::new(stream).unwrap(), Charge::none(), 16, None)
    }

    fn is_alive(&self) -> bool {
        self.is_alive.load(Ordering::Acquire)
    }

    /// Asks the guard to start an attempt; `fds` are the write ends of its pipes, stdout first. The receiver hears all
    /// that follows, up to and including the loss of the guard.
    ///
    /// # Errors
    ///
    /// If the command cannot be told, or the guard is gone; nothing was started.
    pub(crate) async fn spawn(&self, spawn: Spawn, fds: [OwnedFd; 2]) -> Result<mpsc::Receiver<Event>, LaunchFailure> {
        let (events, heard) = mpsc::channel(EVENTS_MAX);
        let mark = spawn.mark;
        let (attempt, folder) = (spawn.attempt.clone(), spawn.folder.clone());
        let frame = wire::encode(&ToGuard::Spawn(Box::new(spawn))).map_err(|error| {
            let folder = folder.display();
            LaunchFailure::lasting(format!("cannot hand over the command, its variables and `{folder}`: {error}"))
        })?;
        self.attempts().insert(mark, Listener { attempt, folder, events, is_over: false });
        if !self.is_alive() || self.outgoing.send(Outgoing { frame, fds: fds.into() }).await.is_err() {
            self.attempts().remove(&mark);
            return Err(LaunchFailure::passing("cannot reach the guard: it is gone".to_owned()));
        }
        Ok(heard)
    }

    /// Sends a command about a running attempt. If the guard is gone, the attempt hears of it by itself.
    pub(crate) fn tell(&self, message: ToGuard) {
        // Only a Spawn can be too long or not be text.
        let Ok(frame) = wire::encode(&message) else { return };
        // There is room for all that the worker's attempts can say, so a full queue means a guard that has not read
        // for very long; the silence limit ends that.
        self.outgoing.try_send(Outgoing { frame, fds: Vec::new() }).unwrap_or_default();
    }

    /// Ends the connection; the guard kills what it has, and goes.
    pub(crate) fn close(&self) {
        // Fails only if the connection has ended already.
        rustix::net::shutdown(self.stream.as_fd(), rustix::net::Shutdown::Both).unwrap_or_default();
    }

    /// Stops listening for an attempt. If the guard has not said that nothing of it is left, it shall see to that.
    pub(crate) fn abandon(&self, mark: Mark) {
        if self.attempts().remove(&mark).is_some_and(|listener| !listener.is_over) {
            self.tell(ToGuard::End { mark });
        }
    }

    fn attempts(&self) -> std::sync::MutexGuard<'_, BTreeMap<Mark, Listener>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn listen(self: Arc<Self>, mut reader: Reader, child: Charge) {
        let mut pinged = false;
        let grace = loop {
            let patience = if pinged { SILENCE - PING_EVERY } else { PING_EVERY };
            match timeout(patience, reader.next()).await {
                Ok(Ok(Some(message))) => {
                    pinged = false;
                    self.deliver(message);
                }
                Ok(Ok(None) | Err(_)) => break LAST_WORDS,
                Err(_) if pinged => break Duration::ZERO,
                Err(_) => {
                    pinged = true;
                    self.tell(ToGuard::Ping);
                }
            }
        };
        self.is_alive.store(false, Ordering::Release);
        self.close();
        // A guard that KILL does not end keeps nobody from learning that it is lost.
        timeout(grace + LAST_WORDS, child.bury(grace)).await.unwrap_or_default();
        self.end_lost().await;
    }

    fn deliver(&self, message: FromGuard) {
        let mark = match &message {
            FromGuard::Started { mark, .. }
            | FromGuard::LaunchFailed { mark, .. }
            | FromGuard::Exited { mark, .. }
            | FromGuard::Gone { mark, .. }
            | FromGuard::Left { mark, .. }
            | FromGuard::Fenced { mark }
            | FromGuard::Sample { mark, .. } => *mark,
            FromGuard::Ready | FromGuard::Pong => return,
        };
        let mut attempts = self.attempts();
        let Some(listener) = attempts.get_mut(&mark) else { return };
        listener.is_over = matches!(
            message,
            FromGuard::LaunchFailed { .. } | FromGuard::Gone { .. } | FromGuard::Exited { alone: true, .. }
        );
        let is_sample = matches!(message, FromGuard::Sample { .. });
        if !is_sample || listener.events.capacity() > EVENTS_MAX / 2 {
            // Whoever no longer listens has given the attempt up.
            listener.events.try_send(Event::Guard(message)).unwrap_or_default();
        }
    }

    /// Ends from outside what the dead guard can no longer end, and tells each attempt what became of it.
    async fn end_lost(&self) {
        let lost = std::mem::take(&mut *self.attempts());
        let nonce = self.cgroup_nonce.clone();
        let sought: Vec<(Mark, String, PathBuf)> =
            lost.iter().map(|(mark, listener)| (*mark, listener.attempt.clone(), listener.folder.clone())).collect();
        let end = move || {
            let wanted: Vec<Wanted> =
                sought.into_iter().map(|(mark, attempt, folder)| wanted(mark, attempt, &folder)).collect();
            let fates = confirm::end_all(&wanted, LOST_PATIENCE);
            drop(nonce.and_then(|nonce| Hierarchy::left_by(&nonce)));
            fates
        };
        // It reads what a stuck process can hold up.
        let ended = timeout(LOST_PATIENCE * 2, spawn_blocking(end)).await;
        let unknown = || vec![Fate::Unknown { message: "the search for its processes failed".into() }; lost.len()];
        for (listener, fate) in lost.values().zip(ended.ok().and_then(Result::ok).unwrap_or_else(unknown)) {
            listener.events.try_send(Event::Lost(fate)).unwrap_or_default();
        }
    }
}

/// What is known of a lost attempt: its record, or, if its guard went before there was one, its mark and its name.
fn wanted(mark: Mark, attempt: String, folder: &Path) -> Wanted {
    let record = ProcessRecord::read(folder).ok().flatten().filter(|record| record.mark == mark);
    record.and_then(|record| Wanted::from_record(record, &proc::boot_id())).unwrap_or(Wanted {
        attempt,
        mark: Some(mark),
        main: None,
        cgroup: None,
    })
}

/// What a guard says, message by message.
struct Reader {
    stream: Arc<UnixStream>,
    inbound: Inbound,
}

impl Reader {
    fn new(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        Ok(Self { stream: Arc::new(UnixStream::from_std(stream)?), inbound: Inbound::default() })
    }

    /// The next message; `None` at the guard's end. May be dropped and called again.
    async fn next(&mut self) -> io::Result<Option<FromGuard>> {
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(message) = self.inbound.next()? {
                return Ok(Some(message));
            }
            let receive = || wire::receive(self.stream.as_fd(), &mut buffer);
            match self.stream.async_io(Interest::READABLE, receive).await? {
                (0, _) => return Ok(None),
                (count, _) => self.inbound.push(&buffer[..count]),
            }
        }
    }
}

async fn write_frames(stream: Arc<UnixStream>, mut queue: mpsc::Receiver<Outgoing>) {
    while let Some(Outgoing { frame, fds }) = queue.recv().await {
        // A failed write means a dead guard, and a half-written frame a useless one: the reader sees the end of it.
        if write_frame(&stream, &frame, &fds).await.is_err() {
            break;
        }
    }
    rustix::net::shutdown(stream.as_fd(), rustix::net::Shutdown::Both).unwrap_or_default();
}

async fn write_frame(stream: &UnixStream, frame: &[u8], fds: &[OwnedFd]) -> io::Result<()> {
    let mut sent = 0;
    while sent < frame.len() {
        let fds: Vec<_> = if sent == 0 { fds.iter().map(AsFd::as_fd).collect() } else { Vec::new() };
        sent += stream.async_io(Interest::WRITABLE, || wire::send(stream.as_fd(), &frame[sent..], &fds)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::time::Instant;
    use unknot_api::work::Limits;

    use super::*;

    fn spawn(folder: &Path) -> Spawn {
        Spawn {
            mark: Mark::new(1, 1),
            attempt: "att_silent".into(),
            folder: folder.to_owned(),
            argv: vec!["true".into()],
            env: BTreeMap::new(),
            cwd: None,
            limits: Limits::default(),
            kill_at: None,
        }
    }

    /// The clock is stopped and moves on when all wait, so the twenty seconds are exact and take none.
    #[tokio::test(start_paused = true)]
    async fn a_guard_that_is_silent_for_too_long_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, _silent) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let began = Instant::now();
        let link = Link::to(ours);
        let fds = [(); 2].map(|()| OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
        let mut events = link.spawn(spawn(folder.path()), fds).await.unwrap();
        let event = events.recv().await;
        assert!(matches!(event, Some(Event::Lost(Fate::ConfirmedDead))), "{event:?}");
        assert_eq!(began.elapsed().as_secs(), SILENCE.as_secs());
        assert!(!link.is_alive(), "the next attempt gets another guard");
    }
}
