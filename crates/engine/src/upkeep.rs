//! Keeping the store small, beside the writer: checkpoints, and pruning in slices.
//!
//! On a thread of its own: nothing here is waited for, and a slow disk slows nothing else.

use crate::{
    engine::ATTEMPTS,
    progress::{Doing, Part},
    threads::Shared,
};
use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use unknot_core::RunId;
use unknot_store::{Epoch, Maintenance, Namespace, Retention, StoreError};

/// Pause between two looks at the store.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pause between two slices of one pruning, so that the writer gets its turns.
const SLICE_PAUSE: Duration = Duration::from_millis(10);
/// Looks after which folders that could not be removed are tried again.
const STUCK_AGAIN_AFTER: u64 = 600;

/// The upkeep's thread; dropping the sender ends it.
#[derive(Debug)]
pub(crate) struct Upkeep {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread works on.
struct Work {
    shared: Arc<Shared>,
    store: Box<dyn Maintenance>,
    namespace: Namespace,
    epoch: Epoch,
    attempts: PathBuf,
    retention: Retention,
    looks: u64,
    /// Runs whose folders could not be removed: left alone for a while.
    stuck: BTreeSet<RunId>,
}

impl Upkeep {
    pub(crate) fn start(
        shared: &Arc<Shared>,
        store: Box<dyn Maintenance>,
        owned: (Namespace, Epoch),
        data: &Path,
        retention: Retention,
    ) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(1);
        let (namespace, epoch) = owned;
        let (shared, attempts) = (Arc::clone(shared), data.join(ATTEMPTS));
        let work = Work { shared, store, namespace, epoch, attempts, retention, looks: 0, stuck: BTreeSet::new() };
        let thread = thread::Builder::new().name("unknot-upkeep".to_owned()).spawn(move || work.go(&stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// Ends the thread; waits for the slice under way, which is bounded.
    pub(crate) fn stop(mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_default();
        }
    }
}

impl Work {
    fn go(mut self, stopped: &Receiver<()>) {
        let mut pause = LOOK_EVERY;
        while matches!(stopped.recv_timeout(pause), Err(RecvTimeoutError::Timeout)) {
            // A failed look is nobody's loss: the next one finds the same work. The writer reports a
            // store that is in trouble.
            self.does(Doing::Maintaining);
            let done = self.slice();
            self.does(Doing::Waiting);
            pause = match done {
                Ok(true) => SLICE_PAUSE,
                Ok(false) | Err(_) => LOOK_EVERY,
            };
        }
    }

    fn does(&self, doing: Doing) {
        self.shared.progress.does(Part::Upkeep, doing, self.shared.clock.now());
    }

    /// One bounded slice; says whether more is due. Folders go first: should the program die between,
    /// the store still names them.
    fn slice(&mut self) -> Result<bool, StoreError> {
        let now = self.shared.clock.now();
        let done = self.store.maintain(&self.namespace, self.epoch, now, &self.retention)?;
        self.looks += 1;
        if self.looks.is_multiple_of(STUCK_AGAIN_AFTER) {
            self.stuck.clear();
        }
        let tried = done.folders.0.into_iter().filter(|run| !self.stuck.contains(run));
        let (gone, stuck): (Vec<RunId>, Vec<RunId>) = tried.partition(|run| self.remove(*run));
        self.stuck.extend(stuck);
        if !gone.is_empty() {
            self.store.folders_removed(&self.namespace, self.epoch, &gone)?;
        }
        Ok(done.more)
    }

    fn remove(&self, run: RunId) -> bool {
        let folder = self.attempts.join(run.to_string());
        let removed = fs::remove_dir_all(&folder).or_else(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => open_up(&folder).and_then(|()| fs::remove_dir_all(&folder)),
            _ => Err(error),
        });
        match removed {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }
}

/// Gives the owner all rights in a folder and in those below it: some tools leave theirs read-only.
fn open_up(folder: &Path) -> io::Result<()> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_without_rights_are_opened_up() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let locked = folder.path().join("run/module/cache");
        fs::create_dir_all(&locked).expect("made");
        fs::write(locked.join("file"), "text").expect("written");
        let folders = [folder.path().join("run/module"), locked];
        for folder in folders.iter().rev() {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o500)).expect("ours");
        }
        open_up(&folder.path().join("run")).expect("ours");
        for folder in folders {
            assert_eq!(fs::metadata(folder).expect("there").permissions().mode() & 0o777, 0o700);
        }
    }
}
