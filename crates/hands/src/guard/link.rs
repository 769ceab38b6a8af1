//! The worker's side of its guard: starting it, speaking with it, and what to do when it is gone.
//!
//! A guard that ends, or does not answer for [`SILENCE`], is killed; its attempts are ended from outside, reported
//! lost, and the next attempt gets a new guard, with a growing pause between failures.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::wire::{self, FromGuard, Inbound, LaunchFailure, Spawn, ToGuard};
use super::{GuardCommand, NO_CGROUP_VARIABLE, NONCE_VARIABLE};
use crate::confirm::{self, Fate};
use crate::identity::{Mark, ProcessRecord, Wanted};
use crate::proc;

/// How long a guard may take to start.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// How often a guard is asked to prove that it moves.
const PING_EVERY: Duration = Duration::from_secs(5);
/// After how much silence it is taken for dead.
const SILENCE: Duration = Duration::from_secs(20);
/// How long a guard that has ended the connection may take to kill what it has, and go.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long the attempts of a lost guard may take to die.
const LOST_PATIENCE: Duration = Duration::from_secs(5);
/// The pauses between guards that fail one after another.
const RESTART_PAUSES_MS: [u64; 6] = [0, 50, 200, 1_000, 2_000, 5_000];
/// A guard that lived this long has not failed at once.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);
/// How many messages to the guard may wait. Each attempt has at most a few.
const OUTGOING_MAX: usize = 1024;
/// How many messages of the guard may wait for one attempt: all that there can be, and some samples.
const EVENTS_MAX: usize = 32;

/// What an attempt hears from its guard.
#[derive(Debug)]
pub(crate) enum Event {
    Guard(FromGuard),
    /// The guard is gone; this is what became of the attempt.
    Lost(Fate),
}

/// The guard of a worker, replaced when it dies.
#[derive(Debug)]
pub(crate) struct Guards {
    command: GuardCommand,
    use_cgroups: bool,
    serials: AtomicU32,
    nonce: u32,
    current: tokio::sync::Mutex<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    link: Option<Arc<Link>>,
    started: Option<Instant>,
    failures: usize,
}

impl Guards {
    pub(crate) fn new(command: GuardCommand, use_cgroups: bool) -> io::Result<Self> {
        let mut nonce = [0; 4];
        rustix::rand::getrandom(&mut nonce, rustix::rand::GetRandomFlags::empty())?;
        Ok(Self {
            command,
            use_cgroups,
            serials: AtomicU32::new(1),
            nonce: u32::from_le_bytes(nonce),
            current: tokio::sync::Mutex::default(),
        })
    }

    /// A mark that no other attempt of this worker has.
    pub(crate) fn next_mark(&self) -> Mark {
        Mark::new(self.nonce, self.serials.fetch_add(1, Ordering::Relaxed))
    }

    /// The living guard, started now if there is none. One start takes at most some 15 s, but whoever asks may stand
    /// behind others whose starts failed; may be dropped at any time.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub(crate) async fn current(&self) -> Result<Arc<Link>, String> {
        let mut slot = self.current.lock().await;
        if let Some(link) = slot.link.as_ref().filter(|link| link.is_alive()) {
            return Ok(link.clone());
        }
        if slot.started.is_some_and(|started| started.elapsed() > HEALTHY_AFTER) {
            slot.failures = 0;
        }
        let pause = RESTART_PAUSES_MS[slot.failures.min(RESTART_PAUSES_MS.len() - 1)];
        sleep(Duration::from_millis(pause)).await;
        slot.failures += 1;
        slot.started = Some(Instant::now());
        let nonce = format!("{:08x}-{}", self.nonce, slot.failures);
        let started = timeout(START_PATIENCE, Link::start(&self.command, self.use_cgroups, nonce)).await;
        let link = match started {
            Ok(Ok(link)) => link,
            Ok(Err(error)) => {
                return Err(format!("cannot start the guard `{}`: {error}", self.command.program.display()));
            }
            Err(_) => return Err(format!("the guard `{}` does not answer", self.command.program.display())),
        };
        slot.link = Some(link.clone());
        Ok(link)
    }

    /// Ends the guard, if one runs, and all that it has.
    pub(crate) async fn close(&self) {
        if let Some(link) = self.current.lock().await.link.take() {
            link.close();
        }
    }
}

/// A connection to one guard.
#[derive(Debug)]
pub(crate) struct Link {
    stream: Arc<UnixStream>,
    outgoing: mpsc::Sender<Outgoing>,
    attempts: Mutex<BTreeMap<Mark, Listener>>,
    is_alive: AtomicBool,
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
    async fn start(command: &GuardCommand, use_cgroups: bool, nonce: String) -> io::Result<Arc<Self>> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        let mut starter = Command::new(&command.program);
        starter.args(&command.args).env(NONCE_VARIABLE, nonce).stdin(OwnedFd::from(theirs));
        // Nobody reads what a guard prints, and a full pipe must not be able to stop it.
        starter.stdout(Stdio::null()).stderr(Stdio::null());
        if !use_cgroups {
            starter.env(NO_CGROUP_VARIABLE, "1");
        }
        let child = spawn_blocking(move || start_guard(&mut starter)).await.map_err(io::Error::other)??;
        let stream = Arc::new(UnixStream::from_std(ours)?);
        let mut reader = Reader { stream: stream.clone(), inbound: Inbound::default() };
        let first = reader.next().await;
        let Ok(Some(FromGuard::Ready)) = first else {
            bury(child, Duration::ZERO).await;
            return Err(io::Error::other("it ended before it was ready"));
        };
        let (outgoing, queue) = mpsc::channel(OUTGOING_MAX);
        let link = Arc::new(Self {
            stream: stream.clone(),
            outgoing,
            attempts: Mutex::default(),
            is_alive: AtomicBool::new(true),
        });
        tokio::spawn(write_frames(stream, queue));
        tokio::spawn(link.clone().listen(reader, child));
        Ok(link)
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
            return Err(LaunchFailure::transient("cannot reach the guard: it is gone".to_owned()));
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
        bury(child, grace).await;
        self.end_lost().await;
    }

    fn deliver(&self, message: FromGuard) {
        let mark = match &message {
            FromGuard::Started { mark, .. }
            | FromGuard::LaunchFailed { mark, .. }
            | FromGuard::Exited { mark, .. }
            | FromGuard::Gone { mark, .. }
            | FromGuard::Left { mark, .. }
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
        if lost.is_empty() {
            return;
        }
        let sought: Vec<(Mark, String, PathBuf)> =
            lost.iter().map(|(mark, listener)| (*mark, listener.attempt.clone(), listener.folder.clone())).collect();
        let end = move || {
            let wanted: Vec<Wanted> =
                sought.into_iter().map(|(mark, attempt, folder)| wanted(mark, attempt, &folder)).collect();
            confirm::end_all(&wanted, LOST_PATIENCE)
        };
        let ended = spawn_blocking(end).await;
        let unknown = |_| vec![Fate::Unknown { message: "the search for its processes failed".into() }; lost.len()];
        for (listener, fate) in lost.values().zip(ended.unwrap_or_else(unknown)) {
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

#[expect(clippy::disallowed_methods, reason = "the guard starts all other processes; this starts the guard")]
fn start_guard(starter: &mut Command) -> io::Result<Charge> {
    starter.spawn().map(|child| Charge(Some(child)))
}

/// A guard's process, whose status is taken whatever happens: a start that is given up half-way leaves no zombie.
#[derive(Debug)]
struct Charge(Option<Child>);

impl Drop for Charge {
    fn drop(&mut self) {
        let Some(child) = self.0.take() else { return };
        // Its connection ends with whoever held this, so it kills what it has and goes by itself. Without a thread to
        // be had it stays a zombie until this process ends.
        std::thread::Builder::new().spawn(move || take_status(child, LAST_WORDS)).map(drop).unwrap_or_default();
    }
}

/// Lets a guard end by itself for a while, then kills it; takes its status, so that it leaves no zombie.
async fn bury(mut charge: Charge, grace: Duration) {
    if let Some(child) = charge.0.take() {
        spawn_blocking(move || take_status(child, grace)).await.unwrap_or_default();
    }
}

fn take_status(mut child: Child, grace: Duration) {
    let until = std::time::Instant::now() + grace;
    while std::time::Instant::now() < until && child.try_wait().is_ok_and(|status| status.is_none()) {
        std::thread::sleep(Duration::from_millis(2));
    }
    // Both fail only if it is already gone and reaped, which is what is wanted.
    child.kill().and_then(|()| child.wait()).map(drop).unwrap_or_default();
}

struct Reader {
    stream: Arc<UnixStream>,
    inbound: Inbound,
}

impl Reader {
    /// The next message; `None` at the guard's end. May be dropped and called again.
    async fn next(&mut self) -> io::Result<Option<FromGuard>> {
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(message) = self.inbound.next()? {
                return Ok(Some(message));
            }
            let mut none = VecDeque::new();
            let receive = || wire::receive(self.stream.as_fd(), &mut buffer, &mut none);
            match self.stream.async_io(Interest::READABLE, receive).await? {
                0 => return Ok(None),
                count => self.inbound.push(&buffer[..count]),
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
