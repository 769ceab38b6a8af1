//! The watcher: a thread that belongs to none of the others and asks none of them.
//!
//! It reads what they leave behind, says in [`Health`](crate::Health) since when the brain is late, and writes what
//! each part is doing into a file of the data folder, for whoever wonders from outside.

use crate::threads::Shared;
use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// The file's name in the data folder. It is replaced once a second while an engine runs, and gone after a clean
/// end.
pub const STATUS: &str = "status.json";
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Looks without a turn from which on the brain is late; it takes two turns a second when nothing happens.
const LATE_AFTER: u32 = 8;
/// Looks from one writing of the file to the next.
const WRITE_EVERY: u32 = 4;

/// The watcher's thread; dropping the sender ends it.
#[derive(Debug)]
pub(crate) struct Watcher {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Work {
    shared: Arc<Shared>,
    file: PathBuf,
    lateness: Lateness,
}

/// Counts its own looks, so that a machine that slept, or a clock that was set, makes nobody late.
#[derive(Debug, Default)]
struct Lateness {
    turns: u64,
    looks: u32,
}

impl Lateness {
    /// Looks at the number of turns; says whether there has been none for too long.
    fn look(&mut self, turns: u64) -> bool {
        self.looks = if turns == self.turns { self.looks.saturating_add(1) } else { 0 };
        self.turns = turns;
        self.looks >= LATE_AFTER
    }
}

impl Watcher {
    pub(crate) fn start(shared: &Arc<Shared>, data: &Path) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(1);
        let work = Work { shared: Arc::clone(shared), file: data.join(STATUS), lateness: Lateness::default() };
        let thread = thread::Builder::new().name("unknot-watcher".to_owned()).spawn(move || work.go(&stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// Ends the thread. The file stays if it tells why nothing goes on any more.
    pub(crate) fn stop(mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_default();
        }
    }
}

impl Work {
    fn go(mut self, stopped: &Receiver<()>) {
        let mut looks = 0;
        loop {
            self.look();
            // Nobody waits for the file; a disk that takes none has other witnesses.
            if looks % WRITE_EVERY == 0 {
                self.write().unwrap_or_default();
            }
            looks = looks.wrapping_add(1);
            if !matches!(stopped.recv_timeout(LOOK_EVERY), Err(RecvTimeoutError::Timeout)) {
                break;
            }
        }
        match self.shared.progress.has_stopped() {
            true => self.write().unwrap_or_default(),
            false => fs::remove_file(&self.file).unwrap_or_default(),
        }
    }

    fn look(&mut self) {
        let health = self.shared.progress.health();
        let is_late = self.lateness.look(health.turns);
        self.shared.progress.late_since(is_late.then_some(health.last_turn));
    }

    /// Replaces the file as a whole: a reader finds the old one or the new one.
    fn write(&self) -> io::Result<()> {
        let draft = self.file.with_extension("json.new");
        let status = self.shared.progress.status(self.shared.clock.now());
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        writeln!(file, "{status:#}")?;
        fs::rename(&draft, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brain_without_a_turn_for_two_seconds_is_late_until_the_next() {
        let mut lateness = Lateness::default();
        assert!(!lateness.look(1));
        let late: Vec<bool> = (0..10).map(|_| lateness.look(1)).collect();
        assert_eq!(late.iter().position(|late| *late), Some(LATE_AFTER as usize - 1));
        assert!(!lateness.look(2));
    }
}
