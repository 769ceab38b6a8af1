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
    core::{
        TaskId, Timestamp,
        row::{HistoryEntry, HistoryKind},
    },
};

/// Upper bounds of a histogram's buckets, in seconds.
pub(crate) const BOUNDS: [f64; 14] =
    [0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 3_600.0];
/// Tasks whose times are kept at once; more are counted without times.
const TIMED_MAX: usize = 200_000;
/// Queues that are told apart.
const QUEUES_MAX: usize = 1_000;
/// Where tasks stand that name no queue.
const DEFAULT_QUEUE: &str = "default";
/// Of tasks that stand in none, or did so before the server started.
const NO_QUEUE: &str = "";
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
    under_way: BTreeMap<TaskId, Times>,
    /// How often lines were missed.
    missed: u64,
}

#[derive(Clone, Debug)]
struct Times {
    queue: Arc<str>,
    queued_at: Timestamp,
    begun_at: Option<Timestamp>,
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
                    counted.under_way.clear();
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
        let Some(index) = line.task else { return };
        let (task, at) = (line.run.task(index), line.at);
        match line.event {
            HistoryKind::TaskQueued => {
                let queue = self.name(line.detail.text("queue").unwrap_or(DEFAULT_QUEUE));
                if self.under_way.len() < TIMED_MAX || self.under_way.contains_key(&task) {
                    self.under_way.insert(task, Times { queue, queued_at: at, begun_at: None });
                }
            }
            HistoryKind::TaskGranted => {
                let Some(times) = self.under_way.get(&task).cloned() else { return };
                self.of(&times.queue).wait.add(seconds(times.queued_at, at));
            }
            HistoryKind::TaskStarted => {
                if let Some(times) = self.under_way.get_mut(&task) {
                    times.begun_at = Some(at);
                }
            }
            HistoryKind::TaskRetrying => self.ended(task, at, |figures| {
                figures.failures += 1;
                figures.retries += 1;
            }),
            HistoryKind::TaskCompleted => self.ended(task, at, |figures| figures.completed += 1),
            HistoryKind::TaskFailed => self.ended(task, at, |figures| {
                figures.failures += 1;
                figures.dead_letters += 1;
            }),
            HistoryKind::TaskCancelled => self.ended(task, at, |figures| figures.cancelled += 1),
            HistoryKind::TaskSkipped => drop(self.under_way.remove(&task)),
            _ => {}
        }
    }

    /// An attempt, or its task, has ended.
    fn ended(&mut self, task: TaskId, at: Timestamp, count: impl FnOnce(&mut Figures)) {
        let times = self.under_way.remove(&task);
        let queue = times.as_ref().map_or_else(|| self.name(NO_QUEUE), |times| Arc::clone(&times.queue));
        let figures = self.of(&queue);
        if let Some(begun_at) = times.and_then(|times| times.begun_at) {
            figures.processing.add(seconds(begun_at, at));
        }
        count(figures);
    }

    /// A queue's name, kept once; the names beyond those that are told apart are one.
    fn name(&mut self, queue: &str) -> Arc<str> {
        if let Some((known, _)) = self.queues.get_key_value(queue) {
            return Arc::clone(known);
        }
        let name: Arc<str> = if self.queues.len() < QUEUES_MAX { queue.into() } else { "others".into() };
        self.queues.entry(Arc::clone(&name)).or_default();
        name
    }

    fn of(&mut self, queue: &Arc<str>) -> &mut Figures {
        self.queues.entry(Arc::clone(queue)).or_default()
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.since(from).0 as f64 / 1_000.0
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

    #[test]
    fn many_queues_do_not_grow_it_for_ever() {
        let mut counted = Counted::default();
        for queue in 0..QUEUES_MAX + 10 {
            counted.name(&format!("q{queue}"));
        }
        assert_eq!(counted.queues.len(), QUEUES_MAX + 1);
    }
}
