//! The folders of attempts where a worker of another process performs them. What an attempt leaves is brought to its
//! server, so its folder goes when its end is settled; what an earlier process has left goes at the next start, once
//! nothing of it lives.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::sync::{Mutex, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::confirm::{Fate, confirm_dead};
use crate::removal::{remove_some, remove_whole};

/// The folder of all attempts, in the worker's.
const ATTEMPTS: &str = "attempts";
/// The file that is locked as long as a process works in the folder.
const LOCK_FILE: &str = "lock";
/// Folders that wait to be removed; what is more waits for the next start.
const WAITING_MAX: usize = 1_000;
/// How long the last of them may take at the end.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long leftovers may take to die.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10);
/// Leftovers of one start, and files and folders in them; what is more waits for the next one.
const LEFTOVERS_MAX: usize = 10_000;
const ENTRIES_MAX: usize = 1_000_000;

/// The folder of an attempt, relative to the worker's.
pub(super) fn of(attempt: &str) -> PathBuf {
    Path::new(ATTEMPTS).join(attempt)
}

/// Folders of settled attempts, on their way out.
#[derive(Debug)]
pub(super) struct Folders {
    settled: mpsc::Sender<PathBuf>,
    waiting: Mutex<mpsc::Receiver<PathBuf>>,
}

impl Folders {
    pub(super) fn new() -> Self {
        let (settled, waiting) = mpsc::channel(WAITING_MAX);
        Self { settled, waiting: Mutex::new(waiting) }
    }

    /// Nothing of the attempt lives, and nothing of it is needed here any more.
    pub(super) fn settled(&self, folder: PathBuf) {
        // One for which there is no room goes at the next start.
        self.settled.try_send(folder).unwrap_or_default();
    }

    /// Removes what is settled, as long as it is awaited.
    pub(super) async fn remove(&self) {
        let mut waiting = self.waiting.lock().await;
        while let Some(folder) = waiting.recv().await {
            remove(folder).await;
        }
    }

    /// Removes what still waits, within a bound, once nobody else does.
    pub(super) async fn finish(&self) {
        let rest = async {
            let mut waiting = self.waiting.lock().await;
            while let Ok(folder) = waiting.try_recv() {
                remove(folder).await;
            }
        };
        timeout(FAREWELL, rest).await.unwrap_or_default();
    }
}

async fn remove(folder: PathBuf) {
    // What cannot be removed now is met again at the next start, which says so.
    spawn_blocking(move || remove_whole(&folder)).await.map(Result::unwrap_or_default).unwrap_or_default();
}

/// A worker's folder, in use by this process as long as this lives.
#[derive(Debug)]
pub struct Premises {
    /// Attempts of earlier processes whose folders were removed.
    pub removed: usize,
    /// Those whose folders stay, and why: what was started there may be alive, or the disk refuses.
    pub kept: Vec<(PathBuf, String)>,
    _lock: File,
}

impl Premises {
    /// Moves into a folder, and removes what attempts of earlier processes have left in it: what lives of them is ended,
    /// and nothing is removed of one that may still live. If another process works there too, all is left as it is.
    ///
    /// Blocks for some ten seconds if something does not die, and as long as the disk takes for a million files.
    ///
    /// # Errors
    ///
    /// If the folder cannot be used.
    pub fn enter(data_dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(data_dir)?;
        let lock = File::options().create(true).truncate(false).write(true).open(data_dir.join(LOCK_FILE))?;
        let mut premises = Self { removed: 0, kept: Vec::new(), _lock: lock };
        match flock(&premises._lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => premises.clear(data_dir)?,
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(error.into()),
        }
        // From here on it is known that somebody is here, by whoever comes next.
        flock(&premises._lock, FlockOperation::LockShared)?;
        Ok(premises)
    }

    fn clear(&mut self, data_dir: &Path) -> io::Result<()> {
        let entries = match fs::read_dir(data_dir.join(ATTEMPTS)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let names = entries.flatten().map(|entry| Path::new(ATTEMPTS).join(entry.file_name()));
        let folders: Vec<PathBuf> = names.take(LEFTOVERS_MAX).collect();
        let mut budget = ENTRIES_MAX;
        for (folder, fate) in confirm_dead(data_dir, &folders, CONFIRM_WITHIN) {
            match fate {
                Fate::ConfirmedDead => match remove_some(&data_dir.join(&folder), &mut budget) {
                    Ok(is_gone) => self.removed += usize::from(is_gone),
                    Err(error) => self.kept.push((folder, format!("it cannot be removed: {error}"))),
                },
                Fate::Survives { pids } => {
                    self.kept.push((folder, format!("processes {pids:?} of it are alive and do not die")));
                }
                Fate::Unknown { message } => self.kept.push((folder, message)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_process_left_goes_unless_another_one_is_there() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join(of("att_1"));
        fs::create_dir_all(folder.join("artifacts/deep")).unwrap();
        fs::write(folder.join("artifacts/deep/page"), "x").unwrap();
        let first = Premises::enter(place.path()).unwrap();
        assert_eq!((first.removed, first.kept.len(), folder.exists()), (1, 0, false));
        fs::create_dir_all(&folder).unwrap();
        let second = Premises::enter(place.path()).unwrap();
        drop(first);
        let third = Premises::enter(place.path()).unwrap();
        assert_eq!((second.removed, third.removed, folder.exists()), (0, 0, true));
        drop((second, third));
        assert_eq!(Premises::enter(place.path()).unwrap().removed, 1);
        assert!(!folder.exists());
    }
}
