//! A worker with a source of work that the test holds in its hand.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use unknot_api::work::{
    Assignment, Command, End, ExecWork, Ladder, Limits, Note, Outcome, Report, ReportBody, StopReason, Work,
};
use unknot_hands::{
    Claimed, Clock, Config, GuardCommand, Held, Order, Patience, Phase, Room, SourceError, Summary, WorkSource, Worker,
};

/// No condition that a test waits for takes longer than this, on a machine that has other things to do as well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A source of work in memory.
#[derive(Debug, Default)]
pub(crate) struct Source {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    work: VecDeque<Assignment>,
    orders: Vec<Order>,
    reports: Vec<Report>,
    /// How many calls of `report` fail before one is answered.
    failing_reports: u32,
    /// What the worker said to hold, in its newest renewal.
    held: Vec<Held>,
    /// What the next renewal is answered with.
    renewal_orders: Vec<Order>,
    /// Whether renewals fail.
    is_out_of_reach: bool,
    /// Whether what attempts leave never arrives.
    never_delivers: bool,
    /// Attempts whose leavings are being delivered.
    delivering: Vec<String>,
}

impl Source {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let answer = act(&mut self.state.lock().unwrap());
        self.changed.notify_waiters();
        answer
    }

    /// Waits until the state has something to give.
    async fn until<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(found) = look(&mut self.state.lock().unwrap()) {
                return found;
            }
            changed.await;
        }
    }

    pub(crate) fn give(&self, assignments: impl IntoIterator<Item = Assignment>) {
        self.with(|state| state.work.extend(assignments));
    }

    pub(crate) fn order(&self, order: Order) {
        self.with(|state| state.orders.push(order));
    }

    /// Waits until the worker has taken all orders.
    pub(crate) async fn until_ordered(&self) {
        self.until(|state| state.orders.is_empty().then_some(())).await;
    }

    /// Waits until a renewal names exactly these, by their ids, in order; true for those that run.
    pub(crate) async fn until_held(&self, expected: &[(&str, u64, bool)]) {
        let holds = |state: &mut State| {
            state.held.sort_by(|left, right| left.attempt.cmp(&right.attempt));
            let held = state.held.iter().map(|held| (held.attempt.as_str(), held.fence, held.is_started));
            held.eq(expected.iter().copied()).then_some(())
        };
        tokio::time::timeout(PATIENCE, self.until(holds)).await.expect("they are renewed");
    }

    pub(crate) fn answer_renewal(&self, orders: Vec<Order>) {
        self.with(|state| state.renewal_orders = orders);
    }

    pub(crate) fn lose_touch(&self) {
        self.with(|state| state.is_out_of_reach = true);
    }

    pub(crate) fn never_deliver(&self) {
        self.with(|state| state.never_delivers = true);
    }

    /// Waits until what an attempt left is on its way.
    pub(crate) async fn until_delivering(&self, attempt: &str) {
        let is_on_its_way = |state: &mut State| state.delivering.iter().any(|one| one == attempt).then_some(());
        tokio::time::timeout(PATIENCE, self.until(is_on_its_way)).await.expect("it is delivered");
    }

    pub(crate) fn fail_reports(&self, times: u32) {
        self.with(|state| state.failing_reports = times);
    }

    /// All reports about one attempt, so far.
    pub(crate) fn reports(&self, attempt: &str) -> Vec<Report> {
        self.with(|state| state.reports.iter().filter(|report| report.attempt == attempt).cloned().collect())
    }

    pub(crate) fn count_reports(&self) -> usize {
        self.state.lock().unwrap().reports.len()
    }

    pub(crate) async fn until_reports(&self, count: usize) {
        self.until(|state| (state.reports.len() >= count).then_some(())).await;
    }

    pub(crate) async fn end_of(&self, attempt: &str) -> End {
        let find = |state: &mut State| {
            state.reports.iter().find_map(|report| match &report.body {
                ReportBody::Ended(end) if report.attempt == attempt => Some((**end).clone()),
                _ => None,
            })
        };
        let waiting = tokio::time::timeout(PATIENCE, self.until(find));
        waiting.await.unwrap_or_else(|_| panic!("`{attempt}` has no end within {PATIENCE:?}"))
    }
}

impl WorkSource for Source {
    async fn claim(&self, room: Room) -> Result<Claimed, SourceError> {
        let work = self
            .until(|state| {
                let count = state.work.len().min(room.total);
                (count > 0).then(|| state.work.drain(..count).collect())
            })
            .await;
        Ok(Claimed::now(work))
    }

    async fn report(&self, reports: Arc<[Report]>) -> Result<Vec<usize>, SourceError> {
        let is_failing = self.with(|state| {
            let is_failing = state.failing_reports > 0;
            state.failing_reports = state.failing_reports.saturating_sub(1);
            if !is_failing {
                state.reports.extend(reports.iter().cloned());
            }
            is_failing
        });
        if is_failing { Err(SourceError { message: "not now".into() }) } else { Ok((0..reports.len()).collect()) }
    }

    async fn renew(&self, held: Vec<Held>) -> Result<Vec<Order>, SourceError> {
        self.with(|state| {
            if state.is_out_of_reach {
                return Err(SourceError { message: "out of reach".into() });
            }
            state.held = held;
            Ok(std::mem::take(&mut state.renewal_orders))
        })
    }

    async fn deliver(&self, attempt: &str, _: u64, mut patience: Patience) -> Vec<Note> {
        if !self.with(|state| state.never_delivers) {
            return Vec::new();
        }
        self.with(|state| state.delivering.push(attempt.to_owned()));
        let message = patience.over().await.to_owned();
        vec![Note::ArtifactsLost { count: 1, first: vec!["page".to_owned()], message }]
    }

    async fn orders(&self) -> Result<Vec<Order>, SourceError> {
        let orders = self.until(|state| (!state.orders.is_empty()).then(|| std::mem::take(&mut state.orders))).await;
        self.changed.notify_waiters();
        Ok(orders)
    }
}

/// A running worker.
pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    pub(crate) source: Arc<Source>,
    pub(crate) phase: watch::Sender<Phase>,
    worker: JoinHandle<std::io::Result<Summary>>,
}

pub(crate) fn guard() -> GuardCommand {
    GuardCommand { program: env!("CARGO_BIN_EXE_unknot-test-guard").into(), args: Vec::new() }
}

/// A clock that only moves when it is looked at.
pub(crate) fn clock() -> Clock {
    let now = AtomicU64::new(1_000);
    Clock::new(move || now.fetch_add(1, Ordering::Relaxed))
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn without_cgroups() -> Self {
        Self::with(|config| config.use_cgroups = false)
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path().to_owned(), guard(), clock());
        change(&mut config);
        let source = Arc::new(Source::default());
        let (phase, phases) = watch::channel(Phase::Working);
        let worker = tokio::spawn(Worker::run(source.clone(), config, phases));
        Self { dir, source, phase, worker }
    }

    /// Performs one attempt and waits for its end.
    pub(crate) async fn perform(&self, assignment: Assignment) -> End {
        let attempt = assignment.attempt.clone();
        self.source.give([assignment]);
        self.source.end_of(&attempt).await
    }

    pub(crate) async fn shell(&self, line: &str) -> End {
        self.perform(shell(line)).await
    }

    pub(crate) fn folder(&self, attempt: &str) -> PathBuf {
        self.dir.path().join("attempts").join(attempt)
    }

    pub(crate) fn log(&self, attempt: &str) -> Vec<u8> {
        fs::read(self.folder(attempt).join("log.txt")).unwrap()
    }

    pub(crate) fn record(&self, attempt: &str) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.folder(attempt).join("process.json")).unwrap()).unwrap()
    }

    pub(crate) fn guard_pid(&self, attempt: &str) -> u32 {
        u32::try_from(self.record(attempt)["guard_pid"].as_u64().unwrap()).unwrap()
    }

    /// The cgroup of the attempt's guard, if there is one.
    pub(crate) fn guard_cgroup(&self, attempt: &str) -> Option<PathBuf> {
        Some(Path::new(self.record(attempt)["cgroup"].as_str()?).parent().unwrap().to_owned())
    }

    /// Waits for a worker that ends by itself.
    pub(crate) async fn ended(self) -> Summary {
        tokio::time::timeout(PATIENCE, self.worker).await.expect("the worker returns").unwrap().unwrap()
    }

    /// Ends the worker and waits for it.
    pub(crate) async fn close(self, phase: Phase) -> Summary {
        self.phase.send_replace(phase);
        self.ended().await
    }
}

static NUMBER: AtomicU64 = AtomicU64::new(1);

pub(crate) fn unique() -> String {
    format!("{}{:04}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn assignment(work: Work) -> Assignment {
    let attempt = format!("att_{}", unique());
    Assignment {
        run: "run_1".into(),
        task: "task".into(),
        number: 1,
        fence: 5,
        folder: format!("attempts/{attempt}"),
        work,
        heartbeat_timeout_ms: None,
        hard_deadline_ms_from_start: 60_000,
        ladder: Ladder { told_ms: None, term_ms: 500, kill_ms: 5_000 },
        idempotency_key: "key".into(),
        lease_ms: None,
        in_lent_slot: false,
        env: BTreeMap::new(),
        attempt,
    }
}

pub(crate) fn exec(command: Command) -> Assignment {
    assignment(Work::Exec(ExecWork { command, env: BTreeMap::new(), cwd: None, limits: Limits::default() }))
}

pub(crate) fn shell(line: &str) -> Assignment {
    exec(Command::Shell(line.into()))
}

pub(crate) fn argv(words: &[&str]) -> Assignment {
    exec(Command::Argv(words.iter().map(|word| (*word).to_owned()).collect()))
}

pub(crate) fn change(mut assignment: Assignment, change: impl FnOnce(&mut ExecWork)) -> Assignment {
    let Work::Exec(work) = &mut assignment.work else { panic!("exec expected") };
    change(work);
    assignment
}

pub(crate) fn stop(assignment: &Assignment) -> Order {
    Order::Stop { attempt: assignment.attempt.clone(), fence: assignment.fence, reason: StopReason::Cancelled }
}

pub(crate) fn output(end: &End) -> &str {
    let Outcome::Succeeded { output } = &end.outcome else { panic!("success expected: {end:?}") };
    output.as_str()
}

pub(crate) fn failure(end: &End) -> (&'static str, &str) {
    let Outcome::Failed { code, message, .. } = &end.outcome else { panic!("failure expected: {end:?}") };
    (code.as_str(), message)
}

pub(crate) fn launch_failure(end: &End) -> &str {
    let Outcome::LaunchFailed { message, .. } = &end.outcome else { panic!("launch failure expected: {end:?}") };
    message
}

pub(crate) fn has_note(end: &End, matches: impl Fn(&Note) -> bool) -> bool {
    end.notes.iter().any(matches)
}

/// A duration for `sleep` that nobody else uses, so that its processes can be told.
pub(crate) fn sleep_time() -> String {
    format!("1000.{}", unique())
}

/// The living processes whose command line has this word.
pub(crate) fn alive(word: &str) -> Vec<u32> {
    let is_one = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|part| part == word.as_bytes())
    };
    pids().into_iter().filter(is_one).collect()
}

pub(crate) fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The children of a process that have ended and were not reaped.
pub(crate) fn zombies_of(parent: u32) -> Vec<u32> {
    let is_one = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let rest = stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        rest.starts_with(&format!("Z {parent} "))
    };
    pids().into_iter().filter(is_one).collect()
}

/// Waits for a condition of which the kernel sends no event.
pub(crate) async fn until(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < within, "{what}: not within {within:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn exists(path: &Path) -> bool {
    path.exists()
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

pub(crate) fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}
