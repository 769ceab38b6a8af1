//! The watcher: threads that belong to none of the others and ask none of them.
//!
//! It reads what they leave behind, says in [`Health`](crate::Health) since when the brain is late, and writes what
//! each part is doing into a file of the data folder, for whoever wonders from outside.

use crate::threads::Shared;
use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
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

/// How long the last writing or removal of the file may hold up an end.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// The watcher's threads; dropping the sender ends them. The one that looks never touches the disk, which may be what
/// hangs.
#[derive(Debug)]
pub(crate) struct Watcher {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Disconnected once the thread that writes is done. In a mutex so that the engine can be shared.
    written: Mutex<Receiver<()>>,
}

#[derive(Debug)]
struct Look {
    shared: Arc<Shared>,
    lateness: Lateness,
    /// Has room for one wish: a disk that takes nothing has others left out.
    write: SyncSender<()>,
}

#[derive(Debug)]
struct Write {
    shared: Arc<Shared>,
    data: PathBuf,
    /// Which folder the path led to at the start.
    folder: (u64, u64),
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
        let (write, wishes) = sync_channel(1);
        let (done, written) = sync_channel(1);
        let mut writer = Write { shared: Arc::clone(shared), data: data.to_path_buf(), folder: identity(data)? };
        thread::Builder::new().name("unknot-status".to_owned()).spawn(move || {
            writer.go(&wishes);
            drop(done);
        })?;
        let look = Look { shared: Arc::clone(shared), lateness: Lateness::default(), write };
        let thread = thread::Builder::new().name("unknot-watcher".to_owned()).spawn(move || look.go(&stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread), written: Mutex::new(written) })
    }

    /// Ends the threads. The file stays if it tells why nothing goes on any more.
    pub(crate) fn stop(mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_default();
        }
        // A disk that hangs keeps the file and the thread; this process ends without them.
        let written = self.written.into_inner().unwrap_or_else(PoisonError::into_inner);
        written.recv_timeout(LAST_WRITE).unwrap_or_default();
    }
}

impl Look {
    fn go(mut self, stopped: &Receiver<()>) {
        let mut looks = 0;
        loop {
            let health = self.shared.progress.health();
            let is_late = self.lateness.look(health.turns);
            self.shared.progress.late_since(is_late.then_some(health.last_turn));
            if looks % WRITE_EVERY == 0 {
                self.write.try_send(()).unwrap_or_default();
            }
            looks = looks.wrapping_add(1);
            if !matches!(stopped.recv_timeout(LOOK_EVERY), Err(RecvTimeoutError::Timeout)) {
                break;
            }
        }
    }
}

impl Write {
    fn go(&mut self, wishes: &Receiver<()>) {
        while wishes.recv().is_ok() {
            if !self.shared.progress.has_stopped() && !self.is_there() {
                let cause = format!("the data folder `{}` was removed or replaced meanwhile", self.data.display());
                log::error!(cause = cause.as_str(); "nothing is durable any more");
                self.shared.progress.stopped(cause);
            }
            // Nobody waits for the file; a disk that takes none has other witnesses.
            self.write().unwrap_or_default();
        }
        match self.shared.progress.has_stopped() {
            true => self.write().unwrap_or_default(),
            false => fs::remove_file(self.data.join(STATUS)).unwrap_or_default(),
        }
    }

    /// Whether the path still leads to the folder that was opened: what is written into one that was removed is lost,
    /// and nobody else would notice.
    fn is_there(&self) -> bool {
        match identity(&self.data) {
            Ok(found) => found == self.folder,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Replaces the file as a whole: a reader finds the old one or the new one.
    fn write(&self) -> io::Result<()> {
        let path = self.data.join(STATUS);
        let draft = path.with_extension("json.new");
        let status = self.shared.progress.status(self.shared.clock.now());
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        writeln!(file, "{status:#}")?;
        fs::rename(&draft, &path)
    }
}

/// What tells one folder from another.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
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
