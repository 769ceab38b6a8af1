//! The local worker: the same loop that a remote one runs, on a runtime of its own.

use crate::{
    engine::ATTEMPTS,
    local::{Door, LocalSource},
    threads::Shared,
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::{runtime::Runtime, sync::watch};
use unknot_hands::{
    Clock, GuardCommand,
    worker::{Config, Phase, Worker},
};

/// Threads of the hands' runtime: they only move bytes and keep time.
const RUNTIME_THREADS: usize = 2;

/// How long, once the worker is done, its last calls to the disk may take.
const LAST_CALLS: Duration = Duration::from_secs(1);

/// The worker's threads, and the word that ends them.
#[derive(Debug)]
pub(crate) struct WorkerHandle {
    phase: watch::Sender<Phase>,
    thread: Option<JoinHandle<()>>,
}

impl WorkerHandle {
    /// Starts the worker on threads of its own.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        data: &Path,
        guard: GuardCommand,
        slots: u32,
        door: Option<Door>,
    ) -> io::Result<Self> {
        let clock = shared.clock.clone();
        let mut config = Config::new(data.to_path_buf(), guard, Clock::new(move || clock.now().0));
        config.slots = slots as usize;
        config.prefetch = slots as usize * 3;
        let source = Arc::new(LocalSource { shared: Arc::clone(shared), attempts: PathBuf::from(ATTEMPTS), door });
        let (phase, told) = watch::channel(Phase::Working);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .thread_name("unknot-hands")
            .enable_all()
            .build()?;
        let thread = thread::Builder::new().name("unknot-worker".to_owned()).spawn(move || {
            if let Err(error) = run_to_its_end(runtime, Worker::run(Arc::clone(&source), config, told)) {
                source.shared.progress.stopped(format!("the local worker can not work: {error}"));
            }
        })?;
        Ok(Self { phase, thread: Some(thread) })
    }

    /// Claims nothing more and finishes what runs.
    pub(crate) fn drain(&self) {
        self.phase.send_if_modified(|phase| {
            let forward = *phase < Phase::Draining;
            *phase = (*phase).max(Phase::Draining);
            forward
        });
    }

    /// Takes the last rung with all that runs, and waits for its end.
    pub(crate) fn kill(self) {
        self.end(Phase::Killing);
    }

    /// Walks the ladder with what runs and waits for its end, which the ladders bound.
    pub(crate) fn stop(self) {
        self.end(Phase::Stopping);
    }

    fn end(mut self, phase: Phase) {
        self.phase.send_replace(phase);
        if let Some(thread) = self.thread.take() {
            // A worker that panicked has said so on standard error already; its guard ends what it had.
            thread.join().unwrap_or_default();
        }
    }
}

/// Runs one thing on a runtime and ends it. Calls that a disk or a stuck process holds up are left to their threads
/// after a while: dropped, the runtime would wait for them for ever.
fn run_to_its_end<T>(runtime: Runtime, work: impl Future<Output = T>) -> T {
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(LAST_CALLS);
    done
}

/// Sixty-four bits that no other boot has.
pub(crate) fn boot_nonce() -> u64 {
    crate::threads::chance()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_call_that_never_returns_does_not_hold_up_the_end() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("threads");
        let (gate, waits) = mpsc::sync_channel::<()>(1);
        let (ended, ends) = mpsc::sync_channel(1);
        thread::spawn(move || {
            let (begun, begins) = mpsc::sync_channel(1);
            run_to_its_end(runtime, async move {
                drop(tokio::task::spawn_blocking(move || {
                    begun.send(()).expect("waited for");
                    waits.recv().expect_err("nobody sends");
                }));
                begins.recv().expect("the call has begun");
            });
            ended.send(()).expect("waited for");
        });
        let end = ends.recv_timeout(Duration::from_secs(30));
        drop(gate);
        end.expect("the runtime ends although a call waits");
    }
}
