//! Ctrl-C, TERM and a terminal that goes away, as messages.
//!
//! Whoever gets them may be busy: reconciling, writing to a pipe that nobody empties, waiting for a disk.
//! The first one may wait for that. A further one that is not taken ends the process, and the guard then
//! ends all that it started: that is what it is for.

use crate::{error::Error, exit::Exit};
use signal_hook::{consts::signal, iterator::Signals, low_level};
use std::{
    fs,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    thread,
    time::{Duration, Instant},
};

/// The same signal so soon after the first is the same wish: `timeout` sends TERM to its child and to the
/// child's group, a service manager to all that it started.
const ONE_WISH: Duration = Duration::from_millis(200);
/// How long a further signal waits to be taken.
const PATIENCE: Duration = Duration::from_secs(2);

/// How somebody asks this process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Ctrl-C.
    Int,
    /// What service managers send.
    Term,
    /// Its terminal is gone.
    Hup,
}

/// Signals, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Interrupts(Receiver<(Interrupt, Taken)>);

/// Dropped when its signal is taken.
type Taken = SyncSender<()>;

/// From now on signals arrive here instead of ending the process.
///
/// # Errors
/// If the system refuses the handlers or a thread.
pub(crate) fn listen() -> Result<Interrupts, Error> {
    let refused = |source: std::io::Error| Error::Start { attempt: "listen for Ctrl-C", source: source.into() };
    let mut signals = Signals::new([signal::SIGINT, signal::SIGTERM]).map_err(refused)?;
    if !is_ignored(signal::SIGHUP) {
        signals.handle().add_signal(signal::SIGHUP).map_err(refused)?;
    }
    // More than a few can only be impatience: what does not fit says nothing new.
    let (sender, receiver) = sync_channel(4);
    let forward = move || {
        let mut first: Option<(Interrupt, Instant)> = None;
        for interrupt in signals.forever().filter_map(Interrupt::of) {
            let is_same = |first: (Interrupt, Instant)| match interrupt {
                // A terminal that is gone is told by the system, by the shell, and never means more than that.
                Interrupt::Hup => true,
                other => other == first.0 && first.1.elapsed() < ONE_WISH,
            };
            if first.is_some_and(is_same) {
                continue;
            }
            let (taken, waits) = sync_channel(0);
            sender.try_send((interrupt, taken)).unwrap_or_default();
            if first.is_some() && waits.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                // Without another word or lock: whoever holds one may be what hangs.
                low_level::exit(Exit::Killed.code().into());
            }
            first.get_or_insert_with(|| (interrupt, Instant::now()));
        }
    };
    thread::Builder::new().name("unknot-signals".to_owned()).spawn(forward).map_err(refused)?;
    Ok(Interrupts(receiver))
}

/// Whether this process was started so that a signal is nothing to it, as `nohup` does.
pub(crate) fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

impl Interrupts {
    /// The next one, if there is one.
    pub(crate) fn take(&self) -> Option<Interrupt> {
        match self.0.try_recv() {
            Ok((interrupt, _)) => Some(interrupt),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }
}

impl Interrupt {
    fn of(number: i32) -> Option<Self> {
        match number {
            signal::SIGINT => Some(Self::Int),
            signal::SIGTERM => Some(Self::Term),
            signal::SIGHUP => Some(Self::Hup),
            _ => None,
        }
    }

    /// Its name.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Int => "Ctrl-C",
            Self::Term => "TERM",
            Self::Hup => "HUP",
        }
    }

    /// The reason that a run's history keeps.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Int => "cancelled with Ctrl-C",
            Self::Term => "its process was asked to end (TERM)",
            Self::Hup => "its terminal was closed (HUP)",
        }
    }
}
