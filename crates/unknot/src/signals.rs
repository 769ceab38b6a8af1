//! Ctrl-C and TERM, as messages.

use crate::error::Error;
use signal_hook::{consts::signal, iterator::Signals};
use std::{
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

/// How somebody asks this process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Ctrl-C.
    Int,
    /// What service managers send.
    Term,
}

/// From now on signals arrive here instead of ending the process.
///
/// # Errors
/// If the system refuses the handlers or a thread.
pub(crate) fn listen() -> Result<Receiver<Interrupt>, Error> {
    let refused = |source: std::io::Error| Error::Start { attempt: "listen for Ctrl-C", source: source.into() };
    let mut signals = Signals::new([signal::SIGINT, signal::SIGTERM]).map_err(refused)?;
    // More than a few can only be impatience: what does not fit says nothing new.
    let (sender, receiver) = sync_channel(4);
    let forward = move || {
        for signal in signals.forever() {
            let interrupt = if signal == signal::SIGINT { Interrupt::Int } else { Interrupt::Term };
            sender.try_send(interrupt).unwrap_or_default();
        }
    };
    thread::Builder::new().name("unknot-signals".to_owned()).spawn(forward).map_err(refused)?;
    Ok(receiver)
}

impl Interrupt {
    /// Its name.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Int => "Ctrl-C",
            Self::Term => "TERM",
        }
    }

    /// The reason that a run's history keeps.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Int => "cancelled with Ctrl-C",
            Self::Term => "its process was asked to end (TERM)",
        }
    }
}
