//! The one worker loop: claim a batch, perform it, report until acknowledged, renew, obey.
//!
//! The loop itself never waits for an attempt, a disk or the source: calls to the source are futures that it holds,
//! attempts are tasks that report through a bounded channel, and each turn takes whatever is there. What needs no
//! processes (`Noop`) is performed in the turn that claimed it, without a task of its own.

mod delivery;
mod held;
mod outbox;
mod source;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::{Future, pending};
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use unknot_api::work::{
    Assignment, Command, End, ExecWork, JsonText, LaunchFault, Limits, Outcome, Report, ReportBody, StopReason, Work,
};

pub use self::delivery::Patience;
use self::held::{Queued, Renewed, Running};
use self::outbox::Outbox;
pub use self::source::{Claimed, Held, Order, Room, SourceError, WorkSource};
use crate::exec::{self, Bench, Wish};
use crate::guard::link::Guards;
use crate::lease::{Lease, Moment};
use crate::log::Logs;
use crate::{Clock, GuardCommand, backoff, http, slots_max};

/// The most attempts with processes that one worker runs at once.
pub const SLOTS_MAX: usize = 10_000;
/// How many attempts in lent slots there may be for each slot: runs spawn runs so deep, and each lends its slot to one.
const LENT_PER_SLOT: usize = 32;
/// How many assignments are asked for though there is no room for any: those in lent slots need none, and others are
/// not given to a worker that is full.
const ASKED_LEAST: usize = 16;
/// How many reports may be unsettled before nothing more is claimed.
const UNSETTLED_MAX: usize = 10_000;
/// How many messages of attempts may wait for the loop.
const REPORTS_MAX: usize = 1024;
/// How long after a renewal that failed the next one is tried.
const RENEW_AGAIN: Duration = Duration::from_millis(500);
/// How many orders about attempts that have not arrived yet are remembered.
const EARLY_ORDERS_MAX: usize = 10_000;
/// How many ends that were settled during a claim are remembered; the last ones matter most.
const SETTLED_MAX: usize = 10_000;

/// How a worker works.
#[derive(Debug, Clone)]
pub struct Config {
    /// How many attempts with processes run at once; at least 1 and at most [`SLOTS_MAX`] and
    /// [`slots_max`], whatever is asked for.
    pub slots: usize,
    /// How many more attempts it may hold that wait for a slot.
    pub prefetch: usize,
    /// The folder that attempts' folders are relative to.
    pub data_dir: PathBuf,
    /// The handlers that it has, with the command that is run for each call.
    pub handlers: BTreeMap<String, Command>,
    /// How its guard is started.
    pub guard: GuardCommand,
    /// Whether the guard may use cgroup v2 where it can; without, the other evidence serves.
    pub use_cgroups: bool,
    /// The wall clock.
    pub clock: Clock,
    /// How often leases are renewed.
    pub renew_every: Duration,
    /// How long, at the end, the source may take to settle the last reports.
    pub farewell: Duration,
}

impl Config {
    /// The usual settings: 8 slots, 4 × as many prefetched, no handlers, renewal each 10 s, 5 s for the farewell.
    #[must_use]
    pub fn new(data_dir: PathBuf, guard: GuardCommand, clock: Clock) -> Self {
        Self {
            slots: 8,
            prefetch: 32,
            data_dir,
            handlers: BTreeMap::new(),
            guard,
            use_cgroups: true,
            clock,
            renew_every: Duration::from_secs(10),
            farewell: Duration::from_secs(5),
        }
    }
}

/// What a worker is meant to do now; it only ever goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Claim and perform.
    Working,
    /// Claim nothing more, give back what has not been started, finish the rest.
    Draining,
    /// As draining, and walk the ladder of what runs.
    Stopping,
    /// As stopping, by the last rung at once.
    Killing,
}

/// What is left when a worker returns.
#[derive(Debug, Default)]
pub struct Summary {
    /// Reports that the source has not settled; whoever runs the worker may keep them.
    pub unsettled: Vec<Report>,
}

/// Performs attempts.
#[derive(Debug)]
pub struct Worker;

impl Worker {
    /// Works until `phase` says otherwise, or its sender is gone (which counts as [`Phase::Stopping`]).
    ///
    /// Returns once nothing runs any more and all is settled; that is bounded by the ladders of what runs (while
    /// draining: by its deadlines) plus `farewell`.
    ///
    /// # Errors
    ///
    /// If the worker cannot begin: no data folder, no thread, no randomness.
    pub async fn run<S: WorkSource>(
        source: Arc<S>,
        config: Config,
        phase: watch::Receiver<Phase>,
    ) -> io::Result<Summary> {
        let config = Config { slots: config.slots.clamp(1, SLOTS_MAX).min(slots_max()), ..config };
        let attempts_max = config.slots + lent_max(config.slots);
        let (reports, mut arriving) = mpsc::channel(REPORTS_MAX);
        let bench = Arc::new(Bench {
            data_dir: std::path::absolute(&config.data_dir)?,
            guards: Guards::new(config.guard.clone(), config.use_cgroups, attempts_max)?,
            logs: Logs::start()?,
            clock: config.clock.clone(),
            reports,
            shortages: AtomicUsize::new(0),
        });
        let mut turn = Loop::new(source, config, bench.clone());
        turn.go(phase, &mut arriving).await;
        bench.guards.close().await;
        Ok(Summary { unsettled: turn.outbox.into_reports() })
    }
}

/// A call to the source that is under way.
type Call<T> = Pin<Box<dyn Future<Output = Result<T, SourceError>> + Send>>;

struct Loop<S> {
    source: Arc<S>,
    config: Config,
    bench: Arc<Bench>,
    phase: Phase,
    queue: VecDeque<Queued>,
    running: HashMap<String, Running>,
    /// How many of these run in lent slots, beside those that the worker's slots are for.
    beside: usize,
    /// Orders that overtook the attempts that they are about.
    early: HashMap<(String, u64), Wish>,
    outbox: Outbox,
    /// Ends that were settled while a claim was under way, with their fences. Its answer may have been given before
    /// that, and hand the same out once more.
    settled: VecDeque<(String, u64)>,
    claim: Option<Call<Claimed>>,
    report: Option<Call<Vec<usize>>>,
    renew: Option<Call<Renewed>>,
    orders: Option<Call<Vec<Order>>>,
    claim_failures: usize,
    report_failures: usize,
    order_failures: usize,
    renew_at: Instant,
}

impl<S: WorkSource> Loop<S> {
    fn new(source: Arc<S>, config: Config, bench: Arc<Bench>) -> Self {
        Self {
            source,
            bench,
            phase: Phase::Working,
            queue: VecDeque::new(),
            running: HashMap::new(),
            beside: 0,
            early: HashMap::new(),
            outbox: Outbox::default(),
            settled: VecDeque::new(),
            claim: None,
            report: None,
            renew: None,
            orders: None,
            claim_failures: 0,
            report_failures: 0,
            order_failures: 0,
            renew_at: Instant::now() + config.renew_every,
            config,
        }
    }

    async fn go(&mut self, mut phase: watch::Receiver<Phase>, arriving: &mut mpsc::Receiver<Report>) {
        phase.mark_changed();
        let mut has_master = true;
        let mut farewell = None;
        while !self.is_done(&mut farewell) {
            self.call();
            let last = farewell.unwrap_or_else(Instant::now);
            tokio::select! {
                // What ends attempts comes before what begins them.
                biased;
                changed = phase.changed(), if has_master => {
                    has_master = changed.is_ok();
                    let wanted = *phase.borrow_and_update();
                    self.enter(if has_master { wanted } else { Phase::Stopping.max(wanted) });
                }
                Some(report) = arriving.recv() => self.arrived(report),
                answer = answer(&mut self.report) => self.reported(answer),
                answer = answer(&mut self.orders) => self.ordered(answer),
                answer = answer(&mut self.renew) => self.renewed(answer),
                answer = answer(&mut self.claim) => self.claimed(answer),
                () = sleep_until(self.renew_at) => self.renew(),
                () = sleep_until(last), if farewell.is_some() => break,
            }
            while let Ok(report) = arriving.try_recv() {
                self.arrived(report);
            }
            self.start_queued();
        }
    }

    /// Whether everything is finished; the farewell begins when nothing runs any more.
    fn is_done(&self, farewell: &mut Option<Instant>) -> bool {
        if self.phase == Phase::Working || !self.running.is_empty() {
            return false;
        }
        farewell.get_or_insert_with(|| Instant::now() + self.config.farewell);
        self.outbox.len() == 0
    }

    /// Makes the calls that are due and not under way.
    fn call(&mut self) {
        if self.report.is_none()
            && let Some(batch) = self.outbox.take_batch()
        {
            let source = self.source.clone();
            self.report = Some(after(self.report_failures, async move { source.report(batch).await }));
        }
        let held = self.queue.len() + self.in_slots();
        let total = (self.config.slots + self.config.prefetch)
            .saturating_sub(held)
            .max(ASKED_LEAST)
            .min(UNSETTLED_MAX.saturating_sub(self.outbox.len()));
        if self.claim.is_none() && self.phase == Phase::Working && total > 0 {
            let room = Room { free_slots: self.config.slots.saturating_sub(held), total };
            let source = self.source.clone();
            self.claim = Some(after(self.claim_failures, async move { source.claim(room).await }));
        }
        if self.orders.is_none() {
            let source = self.source.clone();
            self.orders = Some(after(self.order_failures, async move { source.orders().await }));
        }
    }

    fn renew(&mut self) {
        self.renew_at = Instant::now() + self.config.renew_every;
        let queued = self.queue.iter().filter_map(|queued| queued.assignment.lease_ms);
        if let Some(shortest) = queued.chain(self.running.values().filter_map(|running| running.term_ms)).min() {
            self.renew_within(Duration::from_millis(shortest / 3));
        }
        if self.renew.is_some() {
            return;
        }
        let queued = self.queue.iter().map(Queued::held);
        let running = self.running.iter().map(|(attempt, running)| running.held(attempt));
        let held: Vec<Held> = queued.chain(running).collect();
        if !held.is_empty() {
            self.renew = Some(Box::pin(Renewed::ask(self.source.clone(), held)));
        }
    }

    fn renewed(&mut self, answer: Result<Renewed, SourceError>) {
        let Ok(renewed) = count_failure(&mut self.order_failures, answer) else {
            // Leases run on meanwhile.
            return self.renew_within(RENEW_AGAIN);
        };
        for held in &renewed.held {
            if let Some(running) = self.running.get(&held.attempt).filter(|running| running.fence == held.fence) {
                running.renewed(renewed.sent_at);
            }
        }
        let is_named = |queued: &Queued| renewed.names(&queued.assignment);
        self.queue.iter_mut().filter(|queued| is_named(queued)).for_each(|queued| queued.leased_at = renewed.sent_at);
        renewed.orders.into_iter().for_each(|order| self.obey(order));
    }

    fn renew_within(&mut self, length: Duration) {
        self.renew_at = self.renew_at.min(Instant::now() + length);
    }

    /// Whether an assignment has come before: an answer that was thought lost was not.
    fn has(&self, given: &Assignment) -> bool {
        given.lease_ms.is_some()
            && (self.running.get(&given.attempt).is_some_and(|running| running.fence == given.fence)
                || self.queue.iter().any(|queued| queued.is_of(&given.attempt, given.fence))
                || self.outbox.has_end(&given.attempt, given.fence)
                || self.settled.iter().any(|(attempt, fence)| *fence == given.fence && *attempt == given.attempt))
    }

    fn claimed(&mut self, answer: Result<Claimed, SourceError>) {
        if let Ok(claimed) = count_failure(&mut self.claim_failures, answer) {
            self.take_up(claimed);
        }
        // What the source is asked next it answers knowing of them.
        self.settled.clear();
    }

    fn take_up(&mut self, claimed: Claimed) {
        let leased_at = claimed.leased_at;
        for assignment in claimed.assignments {
            if self.has(&assignment) {
                continue;
            }
            if let Some(term_ms) = assignment.lease_ms {
                self.renew_within(Duration::from_millis(term_ms / 3));
            }
            let early = self.early.remove(&(assignment.attempt.clone(), assignment.fence));
            match (early.and_then(Wish::reason), &assignment.work) {
                (Some(reason), _) => self.end(assignment, Outcome::Stopped { reason }),
                _ if self.phase != Phase::Working => self.end(assignment, Outcome::Released),
                (_, Work::Noop) => self.end(assignment, Outcome::Succeeded { output: JsonText::null() }),
                _ if assignment.in_lent_slot => self.queue.push_front(Queued { assignment, leased_at }),
                _ => self.queue.push_back(Queued { assignment, leased_at }),
            }
        }
    }

    /// How many attempts run in the worker's own slots.
    fn in_slots(&self) -> usize {
        self.running.len() - self.beside
    }

    /// The next attempt that there is a slot for: one in a lent slot has it.
    fn next_queued(&mut self) -> Option<Queued> {
        let first = self.queue.front()?;
        let has_lent_slot = first.assignment.in_lent_slot && self.beside < lent_max(self.config.slots);
        (has_lent_slot || self.in_slots() < self.config.slots).then(|| self.queue.pop_front()).flatten()
    }

    fn start_queued(&mut self) {
        while let Some(Queued { assignment, leased_at }) = self.next_queued() {
            let lease = held::lease(&assignment, leased_at);
            if lease.as_ref().is_some_and(|(lease, _)| lease.kill_at().left().is_zero()) {
                // It is somebody else's by now, or soon.
                self.end(assignment, Outcome::Released);
                continue;
            }
            match assignment.work.clone() {
                Work::Exec(work) => self.start(assignment, lease, |bench, assignment, told| {
                    tokio::spawn(exec::perform(bench, assignment, work, None, told))
                }),
                Work::Handler(call) => match self.config.handlers.get(&call.name).cloned() {
                    Some(command) => self.start(assignment, lease, |bench, assignment, told| {
                        let work = ExecWork { command, env: BTreeMap::new(), cwd: None, limits: Limits::default() };
                        tokio::spawn(exec::perform(bench, assignment, work, Some(call.input), told))
                    }),
                    None => self.refuse(assignment, format!("this worker has no handler `{}`", call.name)),
                },
                Work::Http(work) => self.start(assignment, lease, |bench, assignment, told| {
                    tokio::spawn(http::perform(bench, assignment, *work, told))
                }),
                // Not shown: its variables may hold secrets, and this text goes into the history.
                _ => self.refuse(assignment, "this worker does not know this kind of work".to_owned()),
            }
        }
    }

    fn start(
        &mut self,
        assignment: Assignment,
        lease: Option<(Lease, watch::Sender<Moment>)>,
        perform: impl FnOnce(Arc<Bench>, Arc<Assignment>, exec::Told) -> JoinHandle<End>,
    ) {
        let (wish, wishes) = watch::channel(Wish::GoOn);
        let (attempt, fence) = (assignment.attempt.clone(), assignment.fence);
        let (lease, renewal) = lease.unzip();
        let (term_ms, in_lent_slot) = (assignment.lease_ms, assignment.in_lent_slot);
        self.beside += usize::from(in_lent_slot);
        self.running.insert(attempt.clone(), Running { fence, wish, term_ms, renewal, in_lent_slot });
        let bench = self.bench.clone();
        // A request goes with the task that performs it; processes may outlive theirs.
        let leaves_nothing = matches!(assignment.work, Work::Http(_));
        let (source, told) = (self.source.clone(), exec::Told { wishes, lease });
        let performed = perform(bench.clone(), Arc::new(assignment), told.clone());
        tokio::spawn(async move {
            // A panic in there is a bug of ours; the attempt must end all the same.
            let mut end = performed.await.unwrap_or_else(|error| {
                let message = format!("its supervision failed: {error}");
                End::new(Outcome::Lost { message, confirmed_dead: leaves_nothing }, bench.clock.now_ms())
            });
            // Meanwhile it has its slot, and its lease is renewed.
            let patience = Patience::after(&end.outcome, told);
            end.notes.extend(delivery::deliver(source, attempt.clone(), fence, patience).await);
            let report = Report { attempt, fence, body: ReportBody::Ended(Box::new(end)) };
            // Fails only if the loop is gone, and with it everybody who would want to know.
            bench.reports.send(report).await.unwrap_or_default();
        });
    }

    /// Ends an attempt that this worker can never start.
    fn refuse(&mut self, assignment: Assignment, message: String) {
        self.end(assignment, Outcome::LaunchFailed { message, fault: LaunchFault::Lasting });
    }

    /// Ends an attempt that was never started.
    fn end(&mut self, assignment: Assignment, outcome: Outcome) {
        let end = End::new(outcome, self.config.clock.now_ms());
        let Assignment { attempt, fence, .. } = assignment;
        self.outbox.push(Report { attempt, fence, body: ReportBody::Ended(Box::new(end)) });
    }

    fn arrived(&mut self, report: Report) {
        if matches!(report.body, ReportBody::Ended(_)) {
            let ended = self.running.remove(&report.attempt);
            self.beside -= usize::from(ended.is_some_and(|ended| ended.in_lent_slot));
        }
        self.outbox.push(report);
    }

    fn reported(&mut self, answer: Result<Vec<usize>, SourceError>) {
        let settled = count_failure(&mut self.report_failures, answer).unwrap_or_default();
        if settled.is_empty() {
            // An answer that settles nothing is as good as none: without a pause it would be asked for at once.
            self.report_failures = self.report_failures.max(1);
        }
        let ended = self.outbox.settle(&settled);
        if self.claim.is_some() {
            self.settled.extend(ended);
            self.settled.drain(..self.settled.len().saturating_sub(SETTLED_MAX));
        }
    }

    fn ordered(&mut self, answer: Result<Vec<Order>, SourceError>) {
        // Both the renewal and the stream of orders come here; whichever is done is made anew when it is due.
        let Ok(orders) = count_failure(&mut self.order_failures, answer) else { return };
        for order in orders {
            self.obey(order);
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Stop { attempt, fence, reason } => self.wish(attempt, fence, Wish::Stop(reason)),
            Order::Kill { attempt, fence, reason } => self.wish(attempt, fence, Wish::Kill(reason)),
            Order::Release { attempt } => {
                if let Some(at) = self.queue.iter().position(|queued| queued.assignment.attempt == attempt)
                    && let Some(queued) = self.queue.remove(at)
                {
                    self.end(queued.assignment, Outcome::Released);
                }
            }
            Order::Drain => self.enter(Phase::Draining),
        }
    }

    fn wish(&mut self, attempt: String, fence: u64, wish: Wish) {
        if let Some(running) = self.running.get(&attempt) {
            if running.fence == fence {
                running.wish.send_if_modified(|now| now.raise(wish));
            }
            return;
        }
        if let Some(at) = self.queue.iter().position(|queued| queued.is_of(&attempt, fence)) {
            if let (Some(queued), Some(reason)) = (self.queue.remove(at), wish.reason()) {
                self.end(queued.assignment, Outcome::Stopped { reason });
            }
            return;
        }
        // The claim that brings it may still be under way. If it has ended already, this is soon forgotten.
        if self.early.len() >= EARLY_ORDERS_MAX {
            self.early.clear();
        }
        self.early.entry((attempt, fence)).or_default().raise(wish);
    }

    fn enter(&mut self, phase: Phase) {
        if phase <= self.phase {
            return;
        }
        self.phase = phase;
        for queued in std::mem::take(&mut self.queue) {
            self.end(queued.assignment, Outcome::Released);
        }
        let wish = match phase {
            Phase::Working | Phase::Draining => return,
            Phase::Stopping => Wish::Stop(StopReason::Shutdown),
            Phase::Killing => Wish::Kill(StopReason::Shutdown),
        };
        for running in self.running.values() {
            running.wish.send_if_modified(|now| now.raise(wish));
        }
    }
}

/// How many attempts in lent slots a worker runs at once: no more than it may open files for, but one always.
fn lent_max(slots: usize) -> usize {
    slots.saturating_mul(LENT_PER_SLOT).min(slots_max().saturating_sub(slots)).max(1)
}

/// Waits for a call's answer; for ever if there is none, which is only sound as one branch of many. May be dropped.
async fn answer<T>(call: &mut Option<Call<T>>) -> Result<T, SourceError> {
    let Some(under_way) = call else { return pending().await };
    let answer = under_way.await;
    *call = None;
    answer
}

/// A call that is made after a pause that fits the failures before it.
fn after<T>(failures: usize, call: impl Future<Output = Result<T, SourceError>> + Send + 'static) -> Call<T> {
    let pause = backoff::pause(failures);
    Box::pin(async move {
        if !pause.is_zero() {
            sleep(pause).await;
        }
        call.await
    })
}

fn count_failure<T>(failures: &mut usize, answer: Result<T, SourceError>) -> Result<T, SourceError> {
    *failures = if answer.is_ok() { 0 } else { *failures + 1 };
    answer
}
