//! The monitor: looks now and then for those that stand still, and holds the live graph against a full reduction.
//!
//! On a thread of its own. It reads the state from the store and asks the brain only who works; what it finds is told to
//! the brain as one event, which leaves alone what has moved meanwhile.

mod figures;

pub(crate) use figures::Figures;
pub use figures::MonitorView;

use crate::{
    beside::Beside,
    engine::{CommandError, Engine},
    threads::Shared,
};
use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};
use unknot_api::with_causes;
use unknot_core::{
    Millis, Seq, State, Timestamp,
    deadlock::{Deadlock, Mark},
    event::{Event, Findings},
    monitor::{self, Look, audit},
    settings::Monitor as Settings,
    state::LoadError,
    volatile::Party,
    wait::{Verdict, Watched, reduce, snapshot},
};
use unknot_store::{Namespace, PageSize, Reader, StoreError, VerdictFilter};

/// Unfinished tasks up to which it looks: it holds them all once more while it does. Proved verdicts do not need it.
pub const TASKS_MAX: u32 = 250_000;
/// How long the brain may take to come to a question.
const BRAIN_WITHIN: Duration = Duration::from_secs(2);
/// How long the store may take to read everything.
const STORE_WITHIN: Duration = Duration::from_secs(60);
/// A look takes at most one in so many moments: after a long one comes a longer pause.
const PAUSE_FACTOR: u32 = 9;
/// A look counts as late after two pauses and this.
const LATE_AFTER: Duration = Duration::from_secs(30);
/// The wall clock may get ahead by so much until the time between is not counted.
const AHEAD_MAX: Millis = Millis(5_000);
/// Verdicts that are told to be over at once.
const OVER_MAX: usize = 100;
/// Verdicts that are open and looked at.
const OPEN_MAX: usize = 10_000;
/// The longest pause while a proved verdict is not over: people wait to see that it is.
const OPEN_EVERY: Duration = Duration::from_secs(5);
/// How often the thread looks whether it is to end, or the pause is another one.
const WAKE_EVERY: Duration = Duration::from_millis(500);
/// How long a look that is under way may hold up an end.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why a look came to nothing.
#[derive(Debug, thiserror::Error)]
enum ScanError {
    #[error("the brain did not say in time who works")]
    NoBrain,
    #[error("cannot read the store")]
    Store(#[from] StoreError),
    #[error("the stored rows contradict each other")]
    Load(#[from] LoadError),
    #[error("what was found is not kept")]
    Command(#[from] CommandError),
}

/// How a look went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scanned {
    /// It is done.
    Done,
    /// Nothing can be committed, so nobody is blamed.
    HeldUp,
    /// There is too much to look at.
    TooMuch,
}

/// The monitor's thread; dropping the sender ends it.
#[derive(Debug)]
pub(crate) struct Monitor {
    stop: Option<SyncSender<()>>,
    /// Disconnected once the thread is done. In a mutex so that the engine can be shared.
    done: Mutex<Receiver<()>>,
}

/// What the thread works on.
struct Work {
    shared: Arc<Shared>,
    reader: Box<dyn Reader>,
    namespace: Namespace,
    /// Time before this moment counts for nobody.
    watched_since: Timestamp,
    /// The engine's time and its age at the last look.
    last: (Timestamp, Duration),
    /// Who was dead by one of the two and not by the other, at the last look.
    differed: BTreeSet<Party>,
    is_failing: bool,
    /// Whether a proved verdict was open at the last look.
    is_open: bool,
    /// How many there had been before it.
    proved: u64,
}

impl Monitor {
    pub(crate) fn start(
        shared: &Arc<Shared>,
        reader: Box<dyn Reader>,
        namespace: Namespace,
        settings: Settings,
    ) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(1);
        let (finished, done) = sync_channel(1);
        let mut work = Work::new(Arc::clone(shared), reader, namespace);
        shared.monitor.set_interval(Duration::from_millis(settings.check_interval.0));
        shared.monitor.next_due(work.due(Duration::ZERO));
        thread::Builder::new().name("unknot-monitor".to_owned()).spawn(move || {
            work.go(&stopped);
            drop(finished);
        })?;
        Ok(Self { stop: Some(stop), done: Mutex::new(done) })
    }

    /// Ends the thread. A look that reads very much ends with the process.
    pub(crate) fn stop(mut self) {
        drop(self.stop.take());
        let done = self.done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.recv_timeout(FAREWELL).unwrap_or_default();
    }
}

impl Work {
    fn new(shared: Arc<Shared>, mut reader: Box<dyn Reader>, namespace: Namespace) -> Self {
        reader.set_limit(STORE_WITHIN);
        let (now, age) = (shared.clock.now(), shared.clock.elapsed());
        let (differed, is_failing) = (BTreeSet::new(), false);
        shared.monitor.watches_since(now);
        let (last, is_open, proved) = ((now, age), false, 0);
        Self { shared, reader, namespace, watched_since: now, last, differed, is_failing, is_open, proved }
    }

    fn go(&mut self, stopped: &Receiver<()>) {
        let mut took = Duration::ZERO;
        loop {
            self.shared.monitor.next_due(self.due(took));
            let begin = self.shared.clock.elapsed();
            while self.shared.clock.elapsed() < begin + self.pause(took) {
                if !matches!(stopped.recv_timeout(WAKE_EVERY), Err(RecvTimeoutError::Timeout)) {
                    return;
                }
            }
            let (now, begin) = (self.shared.clock.now(), self.shared.clock.elapsed());
            let scanned = if self.is_held_up(now) { Ok(Scanned::HeldUp) } else { self.scan(now) };
            took = self.shared.clock.elapsed().saturating_sub(begin);
            self.tell(scanned, took);
        }
    }

    fn pause(&self, took: Duration) -> Duration {
        let has_open = self.is_open || self.shared.monitor.proved() > self.proved;
        let most = if has_open { OPEN_EVERY } else { Duration::MAX };
        self.shared.monitor.interval().min(most).max(took * PAUSE_FACTOR)
    }

    /// The engine's age at which the next look is late.
    fn due(&self, took: Duration) -> Duration {
        self.shared.clock.elapsed() + self.pause(took) * 2 + LATE_AFTER
    }

    fn tell(&mut self, scanned: Result<Scanned, ScanError>, took: Duration) {
        let figures = &self.shared.monitor;
        match &scanned {
            Ok(Scanned::Done) => figures.scanned(self.shared.clock.now(), self.due(took)),
            Ok(Scanned::HeldUp) => {}
            Ok(Scanned::TooMuch) => figures.rests(),
            Err(error) => {
                figures.scan_failed();
                if !self.is_failing {
                    log::error!(cause = with_causes(error).as_str(); "the deadlock monitor cannot look for what stands still");
                }
            }
        }
        if self.is_failing && scanned.is_ok() {
            log::info!("the deadlock monitor looks again");
        }
        self.is_failing = scanned.is_err();
    }

    /// Whether nothing can be committed. Time in which nobody could move counts for nobody: neither that, nor what
    /// the machine slept.
    fn is_held_up(&mut self, now: Timestamp) -> bool {
        let health = self.shared.progress.health();
        let age = self.shared.clock.elapsed();
        let passed = Millis(u64::try_from(age.saturating_sub(self.last.1).as_millis()).unwrap_or(u64::MAX));
        let slept = now.since(self.last.0) > passed.plus(AHEAD_MAX);
        self.last = (now, age);
        let is_held_up = health.blocked.is_some() || health.late_since.is_some() || health.fatal.is_some();
        if is_held_up || slept {
            self.watched_since = now;
            self.shared.monitor.watches_since(now);
        }
        is_held_up
    }

    /// One look, as of `now`.
    fn scan(&mut self, now: Timestamp) -> Result<Scanned, ScanError> {
        let beside = self.shared.peek_now(BRAIN_WITHIN, Beside::of).ok_or(ScanError::NoBrain)?;
        if beside.tasks > TASKS_MAX {
            log::debug!(tasks = beside.tasks; "there is too much to look for what stands still");
            return Ok(Scanned::TooMuch);
        }
        let state = beside.state(self.reader.live(&self.namespace)?)?;
        let graph = snapshot(&state, now);
        let verdict = reduce(&graph);
        let proved = self.shared.monitor.proved();
        let open = self.open()?;
        (self.is_open, self.proved) = (open.iter().any(|verdict| verdict.kind.is_proved()), proved);
        let watched = Watched { now, since: self.watched_since };
        let look = monitor::look(&state, &graph, &verdict, &open, watched);
        self.audit(&state, &verdict)?;
        if verdict.deadlocked.is_empty() {
            log::debug!(stuck = look.stuck; "No deadlocks detected in current scan");
        }
        self.report(look)?;
        Ok(Scanned::Done)
    }

    /// The verdicts that are not over, without their graphs.
    fn open(&mut self) -> Result<Vec<Deadlock>, StoreError> {
        let filter = VerdictFilter { is_open: true, ..VerdictFilter::default() };
        let (mut open, mut after) = (Vec::new(), None);
        while open.len() < OPEN_MAX {
            let page = self.reader.verdicts(&self.namespace, &filter, after, PageSize::MAX)?.value;
            open.extend(page.items);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(open)
    }

    /// Holds what the brain's live graph says against a full reduction. What differs twice in a row is a defect.
    fn audit(&mut self, state: &State, verdict: &Verdict) -> Result<(), ScanError> {
        let Some(dead) = audit::dead(state, verdict) else { return Ok(()) };
        let of_reduction = dead.clone();
        let held = move |driver: &crate::driver::Driver| audit::hold_against(driver.state(), &of_reduction);
        let held = self.shared.peek_now(BRAIN_WITHIN, held).ok_or(ScanError::NoBrain)?;
        let Some((mut differ, claimed)) = held else { return Ok(()) };
        differ.extend(audit::unproved(state, &dead, &claimed));
        let again: Vec<String> = differ.intersection(&self.differed).map(|party| format!("{party:?}")).collect();
        if !again.is_empty() {
            self.shared.monitor.audit_differed();
            let (who, many) = (again[0].as_str(), again.len());
            log::error!(who, many; "the live wait graph and a full reduction differ: this is a defect of the program");
        }
        self.differed = differ;
        Ok(())
    }

    /// Tells the brain, and waits until that is durable.
    fn report(&mut self, look: Look) -> Result<(), ScanError> {
        if look.found.is_empty() && look.over.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        // A mark that somebody sets meanwhile is not written over.
        let _turn = shared.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut over = Vec::new();
        for seq in look.over.into_iter().take(OVER_MAX) {
            over.extend(self.reader.verdict(&self.namespace, seq)?.value.filter(|known| known.ended_at.is_none()));
        }
        let findings = Box::new(Findings { found: look.found, over, calm: look.calm });
        shared.ask(|caller| Event::FindingsReported { findings, caller })?.wait()?;
        Ok(())
    }
}

impl Engine {
    /// What the monitor did, and what became of verdicts. Asks nobody.
    pub fn monitor(&self) -> MonitorView {
        self.shared.monitor.view(self.shared.clock.elapsed())
    }

    /// Keeps somebody's word that a verdict was wrong, or takes it back; the verdict as it is then, or nothing if there
    /// is none. Waits for the answer.
    ///
    /// # Errors
    /// If the store cannot be read, or the command is not carried out.
    pub fn mark(&self, verdict: Seq, mark: Option<Mark>) -> Result<Option<Deadlock>, CommandError> {
        let _turn = self.shared.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.read(|reader, namespace| Ok(reader.verdict(namespace, verdict)?.value))?;
        let Some(before) = found else { return Ok(None) };
        let is_new = before.false_positive.is_none() && mark.is_some();
        let marked = Deadlock { false_positive: mark, ..before };
        let deadlock = Box::new(marked.clone());
        self.shared.ask(|caller| Event::DeadlockMarked { deadlock, caller })?.wait()?;
        if is_new {
            self.shared.monitor.marked_wrong();
        }
        Ok(Some(marked))
    }
}

#[cfg(test)]
mod tests;
