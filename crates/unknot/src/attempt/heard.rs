//! Signals to a command that waits, or that runs another one and hands them on.

use crate::{error::Error, signals::is_ignored};
use signal_hook::{consts::signal, iterator::Signals};
use std::{
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::{Duration, Instant},
};

/// Those that end a command that only waits.
const ENDS: [i32; 4] = [signal::SIGINT, signal::SIGTERM, signal::SIGHUP, signal::SIGQUIT];
/// Those that are handed on besides.
const OTHERS: [i32; 3] = [signal::SIGUSR1, signal::SIGUSR2, signal::SIGWINCH];
/// Signals that wait to be looked at; more of them say nothing new.
const WAITING_MAX: usize = 64;

/// Signals in the order in which they came.
pub(crate) struct Heard(Receiver<i32>);

impl Heard {
    /// From now on signals arrive here instead of ending the process.
    ///
    /// # Errors
    /// If the system refuses the handlers or a thread.
    pub(crate) fn listen() -> Result<Self, Error> {
        let refused = |source: std::io::Error| Error::Start { attempt: "listen for signals", source: source.into() };
        let wanted = ENDS.into_iter().chain(OTHERS).filter(|number| !is_ignored(*number)).chain([signal::SIGCHLD]);
        let mut signals = Signals::new(wanted).map_err(refused)?;
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let forward = move || {
            for number in signals.forever() {
                sender.try_send(number).unwrap_or_default();
            }
        };
        thread::Builder::new().name("unknot-signals".to_owned()).spawn(forward).map_err(refused)?;
        Ok(Self(receiver))
    }

    /// The next one that ends a command that waits, if it has come.
    pub(crate) fn end(&self) -> Option<i32> {
        self.0.try_iter().find(|number| ENDS.contains(number))
    }

    /// The same; waits a while for it.
    pub(crate) fn end_within(&self, within: Duration) -> Option<i32> {
        let until = Instant::now() + within;
        loop {
            let number = self.next(until.saturating_duration_since(Instant::now()))?;
            if ENDS.contains(&number) {
                return Some(number);
            }
        }
    }

    /// The next one; waits a while for it.
    pub(crate) fn next(&self, within: Duration) -> Option<i32> {
        self.0.recv_timeout(within).ok()
    }
}
