//! A guard's process, from its start until its status is taken.

use std::io;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;

/// How long a guard that has ended the connection may take to kill what it has, and go.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(5);

/// A guard's process, whose status is taken whatever happens: a start that is given up half-way leaves no zombie.
#[derive(Debug)]
pub(super) struct Charge(Option<Child>);

impl Charge {
    /// Starts the guard. Blocks while its program is read from the disk.
    ///
    /// # Errors
    ///
    /// As `fork` and `exec`.
    #[expect(clippy::disallowed_methods, reason = "the guard starts all other processes; this starts the guard")]
    pub(super) fn start(starter: &mut Command) -> io::Result<Self> {
        starter.spawn().map(|child| Self(Some(child)))
    }

    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Lets the guard end by itself for a while, then kills it; takes its status, so that it leaves no zombie.
    pub(super) async fn bury(mut self, grace: Duration) {
        if let Some(child) = self.0.take() {
            spawn_blocking(move || take_status(child, grace)).await.unwrap_or_default();
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let Some(child) = self.0.take() else { return };
        // Its connection ends with whoever held this, so it kills what it has and goes by itself. Without a thread to
        // be had it stays a zombie until this process ends.
        thread::Builder::new().spawn(move || take_status(child, LAST_WORDS)).map(drop).unwrap_or_default();
    }
}

fn take_status(mut child: Child, grace: Duration) {
    let until = Instant::now() + grace;
    while Instant::now() < until && child.try_wait().is_ok_and(|status| status.is_none()) {
        thread::sleep(Duration::from_millis(2));
    }
    // Both fail only if it is already gone and reaped, which is what is wanted.
    child.kill().and_then(|()| child.wait()).map(drop).unwrap_or_default();
}
