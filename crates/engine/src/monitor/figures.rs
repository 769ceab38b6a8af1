//! What the monitor did and what became of verdicts, in numbers that anybody reads without asking; and in the log.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use unknot_core::{
    Timestamp,
    deadlock::{AUTO_CANCEL, Finding},
    row::{HistoryEntry, HistoryKind},
};

/// Who cancels runs to end a deadlock.
const SYSTEM: &str = "system";
/// The moment of a look that is not waited for.
const NEVER: u64 = u64::MAX;

/// Written by the monitor's thread and by whoever hears of what became durable.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    verdicts: [AtomicU64; Finding::ALL.len()],
    detection_ms: AtomicU64,
    runs_cancelled: AtomicU64,
    tasks_cancelled: AtomicU64,
    cancellations_asked: AtomicU64,
    cancellations_completed: AtomicU64,
    false_positives: AtomicU64,
    scan_errors: AtomicU64,
    audit_differences: AtomicU64,
    /// Zero: never.
    last_scan: AtomicU64,
    /// Milliseconds of the engine's life by which the next look is to be done. Zero: nobody looks yet.
    due_ms: AtomicU64,
    /// Milliseconds between two looks.
    interval_ms: AtomicU64,
    /// Time before this moment counts for nobody.
    watched_since: AtomicU64,
}

/// A copy for whoever looks, of what happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MonitorView {
    /// Whether the monitor looks: not while there are more unfinished tasks than it looks at.
    pub running: bool,
    /// When it last looked.
    pub last_scan: Option<Timestamp>,
    /// Time before this moment counts for nobody: nothing could be committed, or nobody was there.
    pub watched_since: Timestamp,
    /// By how much its next look is late, if so.
    pub overdue: Option<Duration>,
    /// Verdicts by kind, in the order of [`Finding::ALL`].
    pub verdicts: [u64; Finding::ALL.len()],
    /// Proved verdicts.
    pub deadlocks: u64,
    /// From the wait that closes a deadlock to its durable verdict, on average, in seconds.
    pub detection_s: f64,
    /// Runs that were cancelled to end a deadlock.
    pub runs_cancelled: u64,
    /// Tasks that were cancelled, for whatever reason.
    pub tasks_cancelled: u64,
    /// Cancellations of runs that were asked for.
    pub cancellations_asked: u64,
    /// Those that came to their end.
    pub cancellations_completed: u64,
    /// Verdicts that somebody has marked as wrong.
    pub false_positives: u64,
    /// Looks that failed.
    pub scan_errors: u64,
    /// How often the live graph and a full reduction differed.
    pub audit_differences: u64,
}

impl Figures {
    /// Counts what became durable, and says of it what operators watch for in the log.
    pub(crate) fn hear(&self, history: &[HistoryEntry], now: Timestamp) {
        let mut last = None;
        for line in history {
            match line.event {
                HistoryKind::TaskCancelled => add(&self.tasks_cancelled, 1),
                HistoryKind::RunCancelled => add(&self.cancellations_completed, 1),
                HistoryKind::RunCancelling => self.cancelling(line),
                HistoryKind::DeadlockDetected | HistoryKind::StallDetected => {
                    // One verdict has a line for each of its runs, one after the other.
                    let verdict = line.detail.text("verdict");
                    self.verdict(line, (verdict != last).then(|| now.since(line.at).0));
                    last = verdict;
                }
                _ => {}
            }
        }
    }

    fn cancelling(&self, line: &HistoryEntry) {
        let cause = line.detail.get("cause").map(ToString::to_string).unwrap_or_default();
        if cause.trim_matches('"') != "cancelled" {
            return;
        }
        add(&self.cancellations_asked, 1);
        if line.detail.text("by") == Some(SYSTEM) && line.detail.text("reason") == Some(AUTO_CANCEL) {
            add(&self.runs_cancelled, 1);
            log::warn!("Workflow {} cancelled: {AUTO_CANCEL}", line.run);
        }
    }

    /// A run is part of a verdict; it counts with the first of its runs, which says how long it took.
    fn verdict(&self, line: &HistoryEntry, took_ms: Option<u64>) {
        let (run, tasks) = (line.run, line.detail.number("tasks").unwrap_or_default());
        let (word, verdict) = (line.detail.text("kind").unwrap_or_default(), line.detail.text("verdict"));
        let Some(place) = Finding::ALL.iter().position(|kind| kind.word() == word) else { return };
        if let Some(took_ms) = took_ms {
            add(&self.verdicts[place], 1);
            add(&self.detection_ms, if Finding::ALL[place].is_proved() { took_ms } else { 0 });
        }
        match Finding::ALL[place].is_proved() {
            true => log::info!(verdict; "Deadlock detected for workflow {run} with {tasks} stuck tasks"),
            false => {
                let noun = if tasks == 1 { "task" } else { "tasks" };
                log::warn!(verdict; "run {run} is {word}, with {tasks} stuck {noun}");
            }
        }
    }

    /// A verdict was marked as wrong.
    pub(crate) fn marked_wrong(&self) {
        add(&self.false_positives, 1);
    }

    pub(crate) fn scan_failed(&self) {
        add(&self.scan_errors, 1);
    }

    pub(crate) fn audit_differed(&self) {
        add(&self.audit_differences, 1);
    }

    /// A look is done; the next one is to be done before the engine is `due` old.
    pub(crate) fn scanned(&self, now: Timestamp, due: Duration) {
        self.last_scan.store(now.0, Relaxed);
        self.next_due(due);
    }

    pub(crate) fn next_due(&self, due: Duration) {
        self.due_ms.store(u64::try_from(due.as_millis()).unwrap_or(NEVER), Relaxed);
    }

    /// Nobody looks for now.
    pub(crate) fn rests(&self) {
        self.due_ms.store(NEVER, Relaxed);
    }

    /// Time before this moment counts for nobody.
    pub(crate) fn watches_since(&self, moment: Timestamp) {
        self.watched_since.store(moment.0, Relaxed);
    }

    /// Verdicts so far of which it is proved that nobody moves.
    pub(crate) fn proved(&self) -> u64 {
        let verdicts = Finding::ALL.iter().zip(&self.verdicts).filter(|(kind, _)| kind.is_proved());
        verdicts.map(|(_, some)| some.load(Relaxed)).sum()
    }

    pub(crate) fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms.load(Relaxed))
    }

    pub(crate) fn set_interval(&self, interval: Duration) {
        self.interval_ms.store(u64::try_from(interval.as_millis()).unwrap_or(NEVER), Relaxed);
    }

    /// What is known now, of an engine of that age.
    pub(crate) fn view(&self, age: Duration) -> MonitorView {
        let number = |figure: &AtomicU64| figure.load(Relaxed);
        let verdicts = std::array::from_fn(|place| number(&self.verdicts[place]));
        let deadlocks = self.proved();
        let detection_s = number(&self.detection_ms) as f64 / 1_000.0 / deadlocks.max(1) as f64;
        let due_ms = number(&self.due_ms);
        let running = due_ms != 0 && due_ms != NEVER;
        MonitorView {
            running,
            watched_since: Timestamp(number(&self.watched_since)),
            last_scan: Some(Timestamp(number(&self.last_scan))).filter(|at| at.0 > 0),
            overdue: age.checked_sub(Duration::from_millis(due_ms)).filter(|late| running && !late.is_zero()),
            verdicts,
            deadlocks,
            detection_s,
            runs_cancelled: number(&self.runs_cancelled),
            tasks_cancelled: number(&self.tasks_cancelled),
            cancellations_asked: number(&self.cancellations_asked),
            cancellations_completed: number(&self.cancellations_completed),
            false_positives: number(&self.false_positives),
            scan_errors: number(&self.scan_errors),
            audit_differences: number(&self.audit_differences),
        }
    }
}

fn add(figure: &AtomicU64, more: u64) {
    figure.fetch_add(more, Relaxed);
}
