//! Keeping the store small, beside the writer: checkpoints, and pruning in slices.
//!
//! On a thread of its own: nothing here is waited for, and a slow disk slows nothing else.

use crate::{engine::ATTEMPTS, threads::Shared};
use std::{
    fs, io,
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
const SLICE_PAUSE: Duration = Duration::from_millis(20);

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
        let work =
            Work { shared: Arc::clone(shared), store, namespace, epoch, attempts: data.join(ATTEMPTS), retention };
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
            pause = match self.slice() {
                Ok(true) => SLICE_PAUSE,
                Ok(false) | Err(_) => LOOK_EVERY,
            };
        }
    }

    /// One bounded slice; says whether more is due. Folders go first: should the program die between,
    /// the store still names them.
    fn slice(&mut self) -> Result<bool, StoreError> {
        let now = self.shared.clock.now();
        let done = self.store.maintain(&self.namespace, self.epoch, now, &self.retention)?;
        let gone: Vec<RunId> = done.folders.0.into_iter().filter(|run| self.remove(*run)).collect();
        if !gone.is_empty() {
            self.store.folders_removed(&self.namespace, self.epoch, &gone)?;
        }
        Ok(done.more)
    }

    fn remove(&self, run: RunId) -> bool {
        match fs::remove_dir_all(self.attempts.join(run.to_string())) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }
}
