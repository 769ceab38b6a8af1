//! What became of tasks, counted by queue since the server started: for `/metrics`.
//!
//! A thread of its own listens to what becomes durable. It asks nobody and holds up nobody: whoever reads the figures
//! takes a lock for a moment, and lines that it could not follow are counted as missed instead of waited for.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use unknot_engine::{
    Engine, Heard, Subscription,
    core::{Millis, row::HistoryEntry},
    spans::{How, Span, Spans},
};

/// Upper bounds of a histogram's buckets, in seconds.
pub(crate) const BOUNDS: [f64; 14] =
    [0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 3_600.0];
/// How often the thread looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long things took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    /// How many are not above each bound, each counted once.
    pub(crate) buckets: [u64; BOUNDS.len()],
    pub(crate) sum: f64,
    pub(crate) count: u64,
}

impl Histogram {
    fn add(&mut self, seconds: f64) {
        if let Some(place) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            self.buckets[place] += 1;
        }
        self.sum += seconds;
        self.count += 1;
    }
}

/// The figures of one queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// From standing in the queue to being given to a worker.
    pub(crate) wait: Histogram,
    /// From the start of an attempt to its end.
    pub(crate) processing: Histogram,
    pub(crate) completed: u64,
    /// Attempts that did not succeed, and tasks that failed without one.
    pub(crate) failures: u64,
    pub(crate) retries: u64,
    /// Tasks out of tries.
    pub(crate) dead_letters: u64,
    pub(crate) cancelled: u64,
}

/// All figures.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counted: Mutex<Counted>,
    stopping: AtomicBool,
}

#[derive(Debug, Default)]
struct Counted {
    queues: BTreeMap<Arc<str>, Figures>,
    spans: Spans,
    /// How often lines were missed.
    missed: u64,
}

/// The thread that counts; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Counting {
    tally: Arc<Tally>,
    thread: Option<JoinHandle<()>>,
}

impl Counting {
    /// Begins to count.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(crate) fn start(engine: &Arc<Engine>) -> io::Result<Self> {
        let tally = Arc::new(Tally::default());
        let (counts, heard, engine) = (Arc::clone(&tally), engine.subscribe(), Arc::downgrade(engine));
        let listen = move || counts.listen(heard, &engine);
        let thread = thread::Builder::new().name("unknot-tally".to_owned()).spawn(listen)?;
        Ok(Self { tally, thread: Some(thread) })
    }

    pub(crate) fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.tally.stopping.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so on standard error already.
            thread.join().unwrap_or_default();
        }
    }
}

impl Tally {
    fn listen(&self, mut heard: Subscription, engine: &Weak<Engine>) {
        while !self.stopping.load(Ordering::Relaxed) {
            match heard.next(LOOK_EVERY) {
                Heard::Lines(lines) => {
                    let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
                    lines.entries.iter().for_each(|line| counted.take(line));
                }
                Heard::Nothing => {}
                Heard::CutOff => {
                    let Some(engine) = engine.upgrade() else { return };
                    heard = engine.subscribe();
                    let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
                    // What was under way may have ended meanwhile.
                    counted.spans.forget();
                    counted.missed += 1;
                }
            }
        }
    }

    /// The figures by queue, and how often lines were missed.
    pub(crate) fn figures(&self) -> (BTreeMap<Arc<str>, Figures>, u64) {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        (counted.queues.clone(), counted.missed)
    }
}

impl Counted {
    fn take(&mut self, line: &HistoryEntry) {
        let Some((queue, span)) = self.spans.take(line) else { return };
        let figures = self.queues.entry(queue).or_default();
        let (how, performed) = match span {
            Span::Queued => return,
            Span::Waited(length) => return figures.wait.add(seconds(length)),
            Span::Ended { how, performed, .. } => (how, performed),
        };
        if let Some(length) = performed {
            figures.processing.add(seconds(length));
        }
        match how {
            How::Completed => figures.completed += 1,
            How::Cancelled => figures.cancelled += 1,
            How::Retried => {
                figures.failures += 1;
                figures.retries += 1;
            }
            How::Failed => {
                figures.failures += 1;
                figures.dead_letters += 1;
            }
        }
    }
}

fn seconds(length: Millis) -> f64 {
    length.0 as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_the_first_bucket_that_holds_it() {
        let mut histogram = Histogram::default();
        for seconds in [0.0, 0.005, 0.006, 3_600.0, 9_999.0] {
            histogram.add(seconds);
        }
        assert_eq!((histogram.buckets[0], histogram.buckets[1], histogram.buckets[BOUNDS.len() - 1]), (2, 1, 1));
        assert_eq!(histogram.count, 5);
    }
}
