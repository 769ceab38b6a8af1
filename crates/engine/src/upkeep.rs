//! Keeping the store small, beside the writer: checkpoints, and pruning in slices.
//!
//! On a thread of its own: nothing here is waited for, and a slow disk slows nothing else.

use crate::{
    engine::ATTEMPTS,
    progress::{Doing, Part},
    threads::Shared,
};
use std::{
    collections::{BTreeSet, VecDeque},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use unknot_api::with_causes;
use unknot_core::RunId;
use unknot_hands::removal;
use unknot_store::{Epoch, Maintenance, Namespace, Retention, StoreError};

/// Pause between two looks at the store.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pause between two slices of one pruning, so that the writer gets its turns.
const SLICE_PAUSE: Duration = Duration::from_millis(10);
/// Looks after which folders that could not be removed are tried again.
const STUCK_AGAIN_AFTER: u64 = 600;
/// Files and folders that are removed in one slice: some 10 ms on a good disk, half a second on a bad one.
const SLICE_ENTRIES: usize = 500;
/// Slices of nothing but files after which the store is looked at again.
const SLICES_PER_LOOK: usize = 50;

/// The upkeep's thread; dropping the sender ends it.
#[derive(Debug)]
pub(crate) struct Upkeep {
    retention: Arc<Mutex<Retention>>,
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
    retention: Arc<Mutex<Retention>>,
    looks: u64,
    /// Slices since the last look.
    slices: usize,
    /// Whether the store has more to prune.
    is_more: bool,
    /// Runs whose folders are to be removed.
    folders: VecDeque<RunId>,
    /// Those that could not be: left alone for a while.
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
        let retention = Arc::new(Mutex::new(retention));
        let work = Work {
            shared,
            store,
            namespace,
            epoch,
            attempts,
            retention: Arc::clone(&retention),
            looks: 0,
            slices: 0,
            is_more: false,
            folders: VecDeque::new(),
            stuck: BTreeSet::new(),
        };
        let thread = thread::Builder::new().name("unknot-upkeep".to_owned()).spawn(move || work.go(&stopped))?;
        Ok(Self { retention, stop: Some(stop), thread: Some(thread) })
    }

    /// Keeps ended runs so long from the next slice on.
    pub(crate) fn retain(&self, retention: Retention) {
        *self.retention.lock().unwrap_or_else(PoisonError::into_inner) = retention;
    }

    /// Ends the thread; waits for the slice under way, which is small.
    pub(crate) fn stop(mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_default();
        }
    }
}

impl Work {
    fn go(mut self, stopped: &Receiver<()>) {
        let (mut pause, mut is_failing) = (LOOK_EVERY, false);
        while matches!(stopped.recv_timeout(pause), Err(RecvTimeoutError::Timeout)) {
            // A failed look is nobody's loss: the next one finds the same work.
            self.does(Doing::Maintaining);
            let done = self.slice();
            self.does(Doing::Waiting);
            match (&done, is_failing) {
                (Err(error), false) => {
                    log::warn!(cause = with_causes(error).as_str(); "no room can be made in the store")
                }
                (Ok(_), true) => log::info!("room can be made in the store again"),
                (Ok(_), false) | (Err(_), true) => {}
            }
            is_failing = done.is_err();
            pause = match done {
                Ok(true) => SLICE_PAUSE,
                Ok(false) | Err(_) => LOOK_EVERY,
            };
        }
    }

    fn does(&self, doing: Doing) {
        self.shared.progress.does(Part::Upkeep, doing, self.shared.clock.now());
    }

    /// One small slice; says whether more is due. Folders go first: should the program die between,
    /// the store still names them.
    fn slice(&mut self) -> Result<bool, StoreError> {
        self.slices += 1;
        if self.is_more || self.folders.is_empty() || self.slices > SLICES_PER_LOOK {
            self.look()?;
        }
        self.remove_folders()?;
        Ok(self.is_more || !self.folders.is_empty())
    }

    /// Has the store do its part.
    fn look(&mut self) -> Result<(), StoreError> {
        let now = self.shared.clock.now();
        let retention = *self.retention.lock().unwrap_or_else(PoisonError::into_inner);
        let done = self.store.maintain(&self.namespace, self.epoch, now, &retention)?;
        (self.slices, self.is_more) = (0, done.more);
        self.looks += 1;
        if done.runs_pruned > 0 {
            log::debug!(runs = done.runs_pruned, rows = done.rows_pruned; "ended runs are removed");
        }
        if self.looks.is_multiple_of(STUCK_AGAIN_AFTER) {
            self.stuck.clear();
        }
        if self.folders.is_empty() {
            // Those that are not taken now are named again.
            self.folders.extend(done.folders.0.into_iter().filter(|run| !self.stuck.contains(run)));
        }
        Ok(())
    }

    fn remove_folders(&mut self) -> Result<(), StoreError> {
        let mut budget = SLICE_ENTRIES;
        let mut gone = Vec::new();
        while budget > 0
            && let Some(run) = self.folders.front().copied()
        {
            match removal::remove_some(&self.attempts.join(run.to_string()), &mut budget) {
                Ok(true) => gone.push(run),
                Ok(false) => break,
                Err(_) => drop(self.stuck.insert(run)),
            }
            self.folders.pop_front();
        }
        if gone.is_empty() {
            return Ok(());
        }
        self.store.folders_removed(&self.namespace, self.epoch, &gone)
    }
}
