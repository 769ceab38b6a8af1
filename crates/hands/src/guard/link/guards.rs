//! Which guard a worker has now, and starting the next when it has none.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::charge::Charge;
use super::{Link, Reader};
use crate::guard::wire::{FromGuard, LaunchFailure};
use crate::guard::{GuardCommand, NO_CGROUP_VARIABLE, NONCE_VARIABLE, OPEN_FILES_VARIABLE};
use crate::identity::Mark;
use crate::{backoff, descriptors};

/// How long a guard may take to start.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// A guard that lived this long has not failed at once.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);

/// How many messages to the guard may wait for each of the worker's slots: Spawn, Term, End, List and one more End,
/// and as many of the attempt before it in the same slot.
const MESSAGES_PER_SLOT: usize = 10;

/// The guard of a worker, replaced when it dies.
#[derive(Debug)]
pub(crate) struct Guards {
    command: GuardCommand,
    use_cgroups: bool,
    messages_max: usize,
    serials: AtomicU32,
    nonce: u32,
    current: Mutex<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    link: Option<Arc<Link>>,
    started: Option<Instant>,
    /// How many in a row have failed soon after their start.
    failures: usize,
    /// How many were started in all. It is a part of each guard's nonce, by which its cgroup is named, and a guard
    /// must not find that of one before it.
    starts: u32,
}

impl Guards {
    pub(crate) fn new(command: GuardCommand, use_cgroups: bool, slots: usize) -> io::Result<Self> {
        let mut nonce = [0; 4];
        rustix::rand::getrandom(&mut nonce, rustix::rand::GetRandomFlags::empty())?;
        Ok(Self {
            command,
            use_cgroups,
            messages_max: slots * MESSAGES_PER_SLOT,
            serials: AtomicU32::new(1),
            nonce: u32::from_le_bytes(nonce),
            current: Mutex::default(),
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
    pub(crate) async fn current(&self) -> Result<Arc<Link>, LaunchFailure> {
        let mut slot = self.current.lock().await;
        if let Some(link) = slot.link.as_ref().filter(|link| link.is_alive()) {
            return Ok(link.clone());
        }
        if slot.started.is_some_and(|started| started.elapsed() > HEALTHY_AFTER) {
            slot.failures = 0;
        }
        sleep(backoff::pause(slot.failures)).await;
        slot.failures += 1;
        slot.starts += 1;
        slot.started = Some(Instant::now());
        let nonce = format!("{:08x}-{}", self.nonce, slot.starts);
        let program = self.command.program.display();
        let link = match timeout(START_PATIENCE, self.start(nonce)).await {
            Ok(Ok(link)) => link,
            Ok(Err(error)) => {
                return Err(LaunchFailure::of(format_args!("cannot start the guard `{program}`"), &error));
            }
            Err(_) => return Err(LaunchFailure::passing(format!("the guard `{program}` does not answer"))),
        };
        slot.link = Some(link.clone());
        Ok(link)
    }

    async fn start(&self, nonce: String) -> io::Result<Arc<Link>> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        let mut starter = Command::new(&self.command.program);
        starter.args(&self.command.args).env(NONCE_VARIABLE, &nonce).stdin(OwnedFd::from(theirs));
        starter.arg0("unknot");
        // Nobody reads what a guard prints, and a full pipe must not be able to stop it.
        starter.stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(open_files) = descriptors::raise() {
            starter.env(OPEN_FILES_VARIABLE, open_files.to_string());
        }
        if !self.use_cgroups {
            starter.env(NO_CGROUP_VARIABLE, "1");
        }
        let child = spawn_blocking(move || Charge::start(&mut starter)).await.map_err(io::Error::other)??;
        let mut reader = Reader::new(ours)?;
        let Ok(Some(FromGuard::Ready)) = reader.next().await else {
            child.bury(Duration::ZERO).await;
            return Err(io::Error::other("it ended before it was ready"));
        };
        Ok(Link::new(reader, child, self.messages_max, self.use_cgroups.then_some(nonce)))
    }

    /// Ends the guard, if one runs, and all that it has.
    pub(crate) async fn close(&self) {
        if let Some(link) = self.current.lock().await.link.take() {
            link.close();
        }
    }
}
