//! The one loop of an attempt: what it hears, its deadlines, the ladder. Each wait in it has an end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout};
use unknot_api::work::{
    Assignment, End, Limits, Note, Outcome, ProcessRef, Report, ReportBody, Rung, RungTaken, StopReason, Usage,
};

use super::drain::{Drained, Flow};
use super::output::Found;
use super::{Bench, DISK_PATIENCE, STOP_FILE, Wish, output};
use crate::confirm::Fate;
use crate::files;
use crate::guard::link::{Event, Link};
use crate::guard::wire::{Enforced, FromGuard, Sample, ToGuard};
use crate::identity::Mark;
use crate::lease::Lease;
use crate::proc;

#[cfg(test)]
mod tests;
mod verdict;

use self::verdict::{Exit, Why};

/// How long the drain may take to end once the attempt is over for another reason.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);
/// How long the search for whoever holds a pipe may take.
const SEARCH_PATIENCE: Duration = Duration::from_millis(500);
/// How long the guard may take to name what is left.
const LIST_PATIENCE: Duration = Duration::from_secs(1);
/// How often an attempt that prints is reported to make progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Stands for "not before the attempt's other deadlines".
const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Where an attempt runs, and what it may use.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
    pub(super) inodes: Vec<u64>,
    pub(super) mark: Mark,
    pub(super) link: Arc<Link>,
    pub(super) limits: Limits,
}

/// However an attempt is left, even by a panic here, nothing of it is left running.
impl Drop for Place {
    fn drop(&mut self) {
        self.link.abandon(self.mark);
    }
}

/// How an attempt hears of its guard, its worker and its output, and tells the drain of the exit.
#[derive(Debug)]
pub(super) struct Senses {
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) wishes: watch::Receiver<Wish>,
    pub(super) lease: Option<Lease>,
    pub(super) drain: JoinHandle<Drained>,
    pub(super) flow: Arc<Flow>,
    pub(super) exited: watch::Sender<bool>,
}

/// A running attempt.
#[derive(Debug)]
pub(super) struct Supervisor {
    bench: Arc<Bench>,
    assignment: Arc<Assignment>,
    place: Place,
    senses: Senses,
    began: Instant,
    progress_at: Instant,
    progress_bytes: u64,
    why: Option<Why>,
    rungs: Vec<RungTaken>,
    /// When the next rung is due, or, after the last, when the attempt is given up.
    rung_due: Option<Instant>,
    exit: Option<Exit>,
    drained: Option<Drained>,
    /// The guard has been told to end all that is left.
    is_sweeping: bool,
    /// It has been asked what is left after that.
    is_listing: bool,
    notes: Vec<Note>,
}

impl Supervisor {
    pub(super) fn new(bench: Arc<Bench>, assignment: Arc<Assignment>, place: Place, senses: Senses) -> Self {
        let began = Instant::now();
        Self {
            bench,
            assignment,
            place,
            senses,
            began,
            progress_at: began + PROGRESS_EVERY,
            progress_bytes: 0,
            why: None,
            rungs: Vec::new(),
            rung_due: None,
            exit: None,
            drained: None,
            is_sweeping: false,
            is_listing: false,
            notes: Vec::new(),
        }
    }

    /// Watches the attempt to its end.
    pub(super) async fn watch(mut self) -> End {
        // A wish that was raised while the attempt was being launched counts.
        self.senses.wishes.mark_changed();
        let mut has_worker = true;
        let outcome = loop {
            let wake = self.next_wake();
            let over = tokio::select! {
                biased;
                // Once all of it is gone, nothing more that its guard could say matters, its death included.
                event = self.senses.events.recv(), if !self.is_gone() => self.hear(event).await,
                wish = self.senses.wishes.changed(), if has_worker => {
                    has_worker = wish.is_ok();
                    self.obey();
                    None
                }
                () = renewed(&mut self.senses.lease) => {
                    if let Some(lease) = &self.senses.lease {
                        self.place.link.tell(ToGuard::Extend { mark: self.place.mark, kill_at: lease.kill_at() });
                    }
                    None
                }
                drained = &mut self.senses.drain, if self.drained.is_none() => {
                    self.drained = Some(drained.unwrap_or_else(|error| Drained::failed(&error)));
                    self.after_drain().await
                }
                () = sleep_until(wake) => self.on_time(),
            };
            if let Some(outcome) = over {
                break outcome;
            }
        };
        self.finish(outcome).await
    }

    fn next_wake(&self) -> Instant {
        let mut wake = self.rung_due.unwrap_or(self.began + FAR);
        if self.exit.is_none() {
            wake = wake.min(self.progress_at);
            if self.why.is_none() {
                wake = wake.min(self.hard_deadline());
                wake = wake.min(self.silence_deadline().unwrap_or(wake));
                wake = wake.min(self.lease_left().map_or(wake, |left| Instant::now() + left));
            }
        }
        wake
    }

    fn hard_deadline(&self) -> Instant {
        self.began + Duration::from_millis(self.assignment.hard_deadline_ms_from_start).min(FAR)
    }

    fn silence_deadline(&self) -> Option<Instant> {
        let patience = Duration::from_millis(self.assignment.heartbeat_timeout_ms?).min(FAR);
        Some(self.senses.flow.last() + patience)
    }

    /// How long it may go on until its lease is renewed.
    fn lease_left(&self) -> Option<Duration> {
        let ladder = self.assignment.ladder;
        let ladder_ms = ladder.told_ms.unwrap_or(0).saturating_add(ladder.term_ms).saturating_add(ladder.kill_ms);
        let lease = self.senses.lease.as_ref()?;
        Some(lease.stop_at(Duration::from_millis(ladder_ms).min(FAR)).left().min(FAR))
    }

    /// A deadline may have passed.
    fn on_time(&mut self) -> Option<Outcome> {
        let now = Instant::now();
        if self.rung_due.is_some_and(|due| due <= now) {
            return self.climb();
        }
        if self.exit.is_some() {
            return None;
        }
        if self.why.is_none() && self.hard_deadline() <= now {
            return self.stop(Why::Asked(StopReason::TimedOut));
        }
        if self.why.is_none() && self.silence_deadline().is_some_and(|due| due <= now) {
            return self.stop(Why::Asked(StopReason::Heartbeat));
        }
        if self.why.is_none() && self.lease_left().is_some_and(|left| left.is_zero()) {
            return self.stop(Why::Asked(StopReason::LeaseLost));
        }
        if self.progress_at <= now {
            self.progress_at = now + PROGRESS_EVERY;
            self.report_progress();
        }
        None
    }

    fn report_progress(&mut self) {
        let output_bytes = self.senses.flow.bytes();
        if output_bytes == self.progress_bytes {
            return;
        }
        self.progress_bytes = output_bytes;
        let body = ReportBody::Progress { at_ms: self.bench.clock.now_ms(), output_bytes };
        // It may be lost by its definition, so it never waits.
        self.bench.reports.try_send(self.report(body)).unwrap_or_default();
    }

    fn report(&self, body: ReportBody) -> Report {
        Report { attempt: self.assignment.attempt.clone(), fence: self.assignment.fence, body }
    }

    /// The worker wishes something; it is taken up at once, by way of the ladder's due time.
    fn obey(&mut self) {
        let wish = *self.senses.wishes.borrow_and_update();
        if self.is_gone() {
            return;
        }
        match wish {
            Wish::GoOn => {}
            Wish::Stop(reason) if self.why.is_none() && self.exit.is_none() => {
                self.why = Some(Why::Asked(reason));
                self.rung_due = Some(Instant::now());
            }
            Wish::Stop(_) => {}
            // The end of the task is decided; what is left of it goes at once.
            Wish::Kill(_) if self.exit.is_some() && self.rungs.is_empty() => self.sweep_rest(),
            Wish::Kill(reason) => {
                self.why.get_or_insert(Why::Asked(reason));
                if self.rungs.last().is_none_or(|last| last.rung < Rung::Kill) {
                    self.take(Rung::Kill);
                }
            }
        }
    }

    fn stop(&mut self, why: Why) -> Option<Outcome> {
        self.why.get_or_insert(why);
        self.climb()
    }

    /// Takes the next rung; after the last, asks what is left, and then gives up.
    fn climb(&mut self) -> Option<Outcome> {
        let told = self.assignment.ladder.told_ms.is_some();
        match self.rungs.last().map(|last| last.rung) {
            _ if self.is_listing => return Some(self.unkillable(Vec::new())),
            _ if self.is_sweeping => self.list(),
            None if told => self.take(Rung::Told),
            None | Some(Rung::Told) => self.take(Rung::Term),
            Some(Rung::Term) => self.take(Rung::Kill),
            Some(Rung::Kill) => self.list(),
        }
        None
    }

    fn take(&mut self, rung: Rung) {
        let ladder = self.assignment.ladder;
        let mark = self.place.mark;
        let patience_ms = match rung {
            Rung::Told => {
                let folder = self.place.folder.clone();
                // Whether it could be told or not, TERM follows. Not waited for: the disk may be what it hangs on.
                drop(spawn_blocking(move || files::create(&folder, STOP_FILE)));
                ladder.told_ms.unwrap_or(0)
            }
            Rung::Term => {
                self.place.link.tell(ToGuard::Term { mark });
                ladder.term_ms
            }
            Rung::Kill => {
                self.sweep();
                ladder.kill_ms
            }
        };
        self.rungs.push(RungTaken { rung, at_ms: self.bench.clock.now_ms() });
        self.rung_due = Some(Instant::now() + Duration::from_millis(patience_ms).min(FAR));
    }

    /// Has the guard end all that the attempt still has.
    fn sweep(&mut self) {
        self.is_sweeping = true;
        self.place.link.tell(ToGuard::End { mark: self.place.mark });
    }

    /// Ends what the main process has left behind. That is no rung: nobody stopped the task.
    fn sweep_rest(&mut self) {
        if !self.is_sweeping {
            self.sweep();
            let patience = Duration::from_millis(self.assignment.ladder.kill_ms).clamp(Duration::from_secs(1), FAR);
            self.rung_due = Some(Instant::now() + patience);
        }
    }

    /// It has survived KILL; its guard shall say what is left, or that nothing is after all.
    fn list(&mut self) {
        self.is_listing = true;
        self.place.link.tell(ToGuard::List { mark: self.place.mark });
        self.rung_due = Some(Instant::now() + LIST_PATIENCE);
    }

    fn unkillable(&self, pids: Vec<u32>) -> Outcome {
        let message = format!("still there {} ms after KILL", self.assignment.ladder.kill_ms);
        Outcome::Unkillable { message, pids }
    }

    async fn hear(&mut self, event: Option<Event>) -> Option<Outcome> {
        let message = match event {
            Some(Event::Guard(message)) => message,
            Some(Event::Lost(fate)) => return self.lost(fate).await,
            None => return Some(verdict::lost(Fate::Unknown { message: "its guard was left".into() })),
        };
        match message {
            FromGuard::Started { pid, enforced, .. } => {
                self.note_limits(enforced);
                let body = ReportBody::Started { pid: Some(pid), at_ms: self.bench.clock.now_ms() };
                let report = self.report(body);
                // Fails only if the worker's loop is gone, and with it everybody who would want to know.
                self.bench.reports.send(report).await.unwrap_or_default();
            }
            FromGuard::LaunchFailed { failure, .. } => return Some(failure.into()),
            FromGuard::Exited { exit, signal, usage, broken, alone, .. } => {
                self.exit = Some(Exit { status: exit, signal, usage, broken, is_gone: false });
                if self.rungs.is_empty() {
                    // A stop that comes with the end, before any rung was taken, changes nothing.
                    self.why = None;
                    self.rung_due = None;
                }
                if alone {
                    self.nothing_is_left();
                }
                // The drain has ended if nobody listens.
                self.senses.exited.send(true).unwrap_or_default();
                return self.after_drain().await;
            }
            FromGuard::Gone { count, left, usage, .. } => {
                if let Some(exit) = &mut self.exit {
                    exit.usage = exit.usage.and(usage);
                }
                return self.gone(count, left).await;
            }
            FromGuard::Sample { sample, .. } => return self.check(sample),
            // The guard has taken the last rung by itself.
            FromGuard::Fenced { .. } if self.exit.is_none() => {
                self.why.get_or_insert(Why::Asked(StopReason::LeaseLost));
                if self.rungs.last().is_none_or(|last| last.rung < Rung::Kill) {
                    self.take(Rung::Kill);
                }
            }
            FromGuard::Fenced { .. } => {}
            // With none left, its `Gone` is on its way.
            FromGuard::Left { pids, .. } if !pids.is_empty() => return Some(self.unkillable(pids)),
            FromGuard::Left { .. } | FromGuard::Ready | FromGuard::Pong => {}
        }
        None
    }

    async fn gone(&mut self, count: u32, processes: Vec<ProcessRef>) -> Option<Outcome> {
        self.nothing_is_left();
        if count > 0 && self.why.is_none() {
            self.notes.push(Note::LeftBehind { count, processes });
        }
        self.after_drain().await
    }

    /// The guard is gone. What is known of the end stays known, if the rest is certain.
    async fn lost(&mut self, fate: Fate) -> Option<Outcome> {
        if self.exit.is_none() || fate != Fate::ConfirmedDead {
            return Some(verdict::lost(fate));
        }
        self.nothing_is_left();
        self.after_drain().await
    }

    /// Nothing of it lives; all that is still waited for is its output, which has an end of its own.
    fn nothing_is_left(&mut self) {
        if let Some(exit) = &mut self.exit {
            exit.is_gone = true;
            self.rung_due = None;
        }
    }

    fn is_gone(&self) -> bool {
        self.exit.is_some_and(|exit| exit.is_gone)
    }

    /// What follows once the main process is gone and its output is drained.
    async fn after_drain(&mut self) -> Option<Outcome> {
        let exit = self.exit?;
        let is_complete = self.drained.as_ref()?.is_complete;
        if exit.is_gone {
            return Some(self.judge(exit).await);
        }
        // On the ladder, what still prints has until its KILL; otherwise the task's end is the end of all it started.
        if self.is_sweeping || !(is_complete || self.why.is_none()) {
            return None;
        }
        if !is_complete {
            self.name_holders().await;
        }
        self.sweep_rest();
        None
    }

    async fn name_holders(&mut self) {
        let inodes = self.place.inodes.clone();
        let search = spawn_blocking(move || -> Vec<ProcessRef> {
            proc::pipe_holders(&inodes).into_iter().take(3).map(proc::describe).collect()
        });
        let holders = timeout(SEARCH_PATIENCE, search).await.ok().and_then(Result::ok).unwrap_or_default();
        self.notes.extend(holders.into_iter().map(|holder| Note::PipeHeld { holder }));
    }

    fn note_limits(&mut self, enforced: Enforced) {
        if self.place.limits.cpu_share.is_some() && !enforced.cpu_share {
            let message = "this machine has no cgroup v2 whose `cpu` controller may be used".into();
            self.notes.push(Note::LimitNotEnforced { limit: "cpu".into(), message });
        }
    }

    fn check(&mut self, sample: Sample) -> Option<Outcome> {
        let message = verdict::breach(&self.place.limits, sample)?;
        if self.why.is_some() || self.exit.is_some() {
            return None;
        }
        self.stop(Why::Limit(message))
    }

    async fn judge(&mut self, exit: Exit) -> Outcome {
        if let Some(outcome) = verdict::of_exit(exit, self.why.as_ref(), &self.place.limits) {
            return outcome;
        }
        let found = self.drained.as_mut().map_or(Found::Nothing, |drained| std::mem::take(&mut drained.found));
        let folder = self.place.folder.clone();
        let decided = timeout(DISK_PATIENCE, spawn_blocking(move || output::decide(&folder, found))).await;
        verdict::of_output(match decided {
            Ok(Ok(decided)) => decided,
            Ok(Err(error)) => Err(format!("the output (`UNKNOT_OUTPUT`) could not be read: {error}")),
            Err(_) => Err("the output (`UNKNOT_OUTPUT`) could not be read: the disk does not answer".into()),
        })
    }

    async fn finish(mut self, outcome: Outcome) -> End {
        if self.drained.is_none() {
            self.senses.exited.send(true).unwrap_or_default();
            self.drained = timeout(DRAIN_PATIENCE, &mut self.senses.drain).await.ok().and_then(Result::ok);
        }
        self.notes.extend(self.drained.map(|drained| drained.notes).unwrap_or_default());
        let usage: Option<Usage> = self.exit.map(|exit| exit.usage);
        End { outcome, at_ms: self.bench.clock.now_ms(), rungs: self.rungs, usage, notes: self.notes }
    }
}

/// Waits until a lease is renewed; for ever if there is none.
async fn renewed(lease: &mut Option<Lease>) {
    match lease {
        Some(lease) => lease.renewed().await,
        None => std::future::pending().await,
    }
}
