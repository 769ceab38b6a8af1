//! The monitor against a real engine on a store in memory; the clock is what each look is told.

use super::*;
use crate::{
    engine::Options,
    said::said,
    stream::{Heard, Subscription},
    submit::Submit,
    until::until,
};
use serde_json::json;
use unknot_core::{
    CommitSeq, RunId,
    deadlock::{AUTO_CANCEL, Finding},
    row::{Detail, HistoryEntry, HistoryKind},
    run::JsonText,
    settings::Settings as AllSettings,
    workflow::{Definition, Stored},
};
use unknot_hands::GuardCommand;
use unknot_store::{Fault, FaultPlan, FaultyStore, MemoryStore, Refusal, Retention, Store};

const MINUTE: Millis = Millis::from_mins(1);

/// An engine that performs nothing, and a monitor that looks when it is told.
struct Bench {
    engine: Engine,
    heard: Subscription,
    work: Work,
    faults: FaultPlan,
    _data: tempfile::TempDir,
}

impl Bench {
    fn new(settings: AllSettings) -> Self {
        let (store, data, faults) = (MemoryStore::default(), tempfile::tempdir().unwrap(), FaultPlan::default());
        let faulty = FaultyStore::new(store.clone(), faults.clone());
        let options = Options {
            data: data.path().to_path_buf(),
            namespace: Namespace::default(),
            slots: 0,
            settings,
            guard: GuardCommand { program: "/nonexistent".into(), args: Vec::new() },
            retention: Retention::default(),
            alerts: Default::default(),
            focus: None,
            door: None,
        };
        let engine = Engine::start(Box::new(faulty), options).unwrap();
        let work = Work::new(Arc::clone(&engine.shared), store.reader().unwrap(), Namespace::default());
        Self { heard: engine.subscribe(), engine, work, faults, _data: data }
    }

    fn submit(&self, workflow: serde_json::Value) -> RunId {
        self.engine.submit(Self::submission(workflow)).unwrap().run
    }

    fn submission(workflow: serde_json::Value) -> Submit {
        let stored: Stored = serde_json::from_value(workflow).unwrap();
        Submit::of(Arc::new(Definition::new(stored)))
    }

    /// Waits until a line of history is durable.
    fn until(&self, kind: HistoryKind) {
        loop {
            match self.heard.next(Duration::from_secs(20)) {
                Heard::Lines(lines) if lines.entries.iter().any(|line| line.event == kind) => return,
                Heard::Lines(_) => {}
                other => panic!("no {kind:?}: {other:?}"),
            }
        }
    }

    /// Looks as if so much time had passed.
    fn look_after(&mut self, length: Millis) {
        let now = self.work.shared.clock.now().plus(length);
        assert_eq!(self.work.scan(now).unwrap(), Scanned::Done);
    }

    fn verdicts(&self) -> Vec<Deadlock> {
        let all = VerdictFilter::default();
        let page = self.engine.read(|reader, namespace| reader.verdicts(namespace, &all, None, PageSize::MAX));
        page.unwrap().value.items
    }
}

/// A task that waits for a signal, from whomever.
fn approval() -> serde_json::Value {
    json!({"hash": "approval", "name": "approval", "timeout": 86_400_000,
        "tasks": [{"name": "ask", "kind": {"signal": "approve"}}]})
}

#[test]
fn what_stands_still_is_told_once_and_is_over_when_it_moves() {
    let mut bench = Bench::new(AllSettings::default());
    let run = bench.submit(approval());
    bench.look_after(Millis(14 * MINUTE.0));
    assert_eq!(bench.verdicts(), []);
    bench.look_after(Millis(16 * MINUTE.0));
    let verdicts = bench.verdicts();
    assert_eq!((verdicts.len(), verdicts[0].kind), (1, Finding::Stalled));
    assert_eq!((verdicts[0].runs(), verdicts[0].ended_at), ([run].into(), None));
    bench.look_after(Millis(17 * MINUTE.0));
    assert_eq!(bench.verdicts().len(), 1, "it is told already");

    bench.engine.signal(run, "approve", JsonText::null(), "ann").unwrap();
    bench.until(HistoryKind::RunCompleted);
    bench.look_after(Millis(18 * MINUTE.0));
    assert!(bench.verdicts()[0].ended_at.is_some());
    let view = bench.engine.monitor();
    assert_eq!((view.verdicts, view.deadlocks, view.scan_errors, view.audit_differences), ([0, 0, 1, 0], 0, 0, 0));
}

#[test]
fn a_marked_verdict_keeps_its_mark_when_it_is_over() {
    let mut bench = Bench::new(AllSettings::default());
    let run = bench.submit(approval());
    bench.look_after(Millis(16 * MINUTE.0));
    let seq = bench.verdicts()[0].seq;
    let mark = || Some(Mark { by: "ann".to_owned(), at: Timestamp(5), note: None });
    let marked = bench.engine.mark(seq, mark()).unwrap().unwrap();
    assert_eq!(marked.false_positive, mark());
    assert!(!marked.graph.nodes.is_empty(), "it is written anew whole");
    assert_eq!(bench.engine.mark(Seq(999), mark()).unwrap(), None);
    assert!(bench.engine.mark(seq, mark()).unwrap().is_some());
    assert_eq!(bench.engine.monitor().false_positives, 1, "the same verdict twice");

    bench.engine.cancel(run, "enough", "ann", false).unwrap();
    bench.until(HistoryKind::RunCancelled);
    bench.look_after(Millis(17 * MINUTE.0));
    let verdict = &bench.verdicts()[0];
    assert_eq!((verdict.false_positive.clone(), verdict.ended_at.is_some()), (mark(), true));
    assert_eq!((bench.engine.monitor().cancellations_asked, bench.engine.monitor().cancellations_completed), (1, 1));
}

#[test]
fn a_proved_deadlock_is_counted_and_the_audit_agrees() {
    let mut settings = AllSettings::default();
    settings.monitor.cancel_on_deadlock = false;
    let mut bench = Bench::new(settings);
    // Each of two tasks waits for a signal that only the other one can send.
    let ring = json!({"hash": "ring", "name": "ring", "timeout": 86_400_000, "tasks": [
        {"name": "a", "kind": {"signal": {"name": "one", "from": [1]}}},
        {"name": "b", "kind": {"signal": {"name": "two", "from": [0]}}},
    ]});
    let run = bench.submit(ring);
    bench.until(HistoryKind::DeadlockDetected);
    bench.look_after(Millis(0));
    bench.look_after(Millis(60 * MINUTE.0));
    let verdicts = bench.verdicts();
    assert_eq!((verdicts.len(), verdicts[0].kind, verdicts[0].runs()), (1, Finding::Deadlocked, [run].into()));
    let view = bench.engine.monitor();
    assert_eq!((view.deadlocks, view.audit_differences), (1, 0));
    assert!((0.0..5.0).contains(&view.detection_s), "{view:?}");
}

#[test]
fn time_in_which_nothing_could_be_committed_counts_for_nobody() {
    let mut bench = Bench::new(AllSettings::default());
    bench.submit(approval());
    let begin = bench.work.watched_since;
    let later = bench.work.shared.clock.now().plus(Millis(16 * MINUTE.0));
    assert!(!bench.work.is_held_up(bench.work.shared.clock.now()), "nothing stands in the way");
    assert_eq!(bench.work.watched_since, begin);
    // The wall clock got ahead by far: the machine slept.
    assert!(!bench.work.is_held_up(later));
    assert_eq!(bench.work.watched_since, later);
    assert_eq!(bench.work.scan(later).unwrap(), Scanned::Done);
    assert_eq!(bench.verdicts(), [], "nobody was awake");
    assert_eq!(bench.work.scan(later.plus(Millis(16 * MINUTE.0))).unwrap(), Scanned::Done);
    assert_eq!(bench.verdicts().len(), 1);
    // A disk takes nothing: nobody looks meanwhile.
    bench.faults.extend(std::iter::repeat_n(Fault::Refuse(Refusal::DiskFull), 1_000));
    let asked = bench.engine.submit_ahead(Bench::submission(approval())).unwrap();
    until("the store is known to refuse", || bench.engine.health().blocked.is_some());
    drop(asked);
    let now = bench.work.shared.clock.now();
    assert!(bench.work.is_held_up(now));
    assert_eq!(bench.work.watched_since, now);
}

#[test]
fn a_look_that_does_not_come_is_late_and_one_that_nobody_waits_for_is_not() {
    let figures = Figures::default();
    assert_eq!(figures.view(Duration::from_secs(500)), MonitorView::default(), "nobody looks yet");
    figures.scanned(Timestamp(7), Duration::from_secs(150));
    let view = figures.view(Duration::from_secs(150));
    assert_eq!((view.running, view.last_scan, view.overdue), (true, Some(Timestamp(7)), None));
    assert_eq!(figures.view(Duration::from_secs(160)).overdue, Some(Duration::from_secs(10)));
    figures.rests();
    let view = figures.view(Duration::from_secs(160));
    assert_eq!((view.running, view.last_scan, view.overdue), (false, Some(Timestamp(7)), None));
}

fn line(run: u64, event: HistoryKind, detail: Detail) -> HistoryEntry {
    let (run, first_commit) = (RunId::from_parts(run, 0), CommitSeq(1));
    HistoryEntry { at: Timestamp(1_000), run, event, task: None, name: None, attempt: None, detail, first_commit }
}

#[test]
fn the_log_has_the_lines_that_operators_watch_for() {
    said();
    let figures = Figures::default();
    let found = |verdict: &'static str, kind: &'static str, tasks: u64| {
        Detail::of("verdict", verdict).with("kind", kind).with("members", 6u64).with("tasks", tasks)
    };
    let ending = |cause: &str, reason: &'static str, by: &'static str| {
        Detail::of("cause", json!(cause)).with("reason", reason).with("by", by)
    };
    let history = [
        line(1, HistoryKind::DeadlockDetected, found("dl_3", "deadlocked", 5)),
        line(2, HistoryKind::DeadlockDetected, found("dl_3", "deadlocked", 1)),
        line(2, HistoryKind::DeadlockDetected, found("dl_4", "orphaned", 2)),
        line(2, HistoryKind::StallDetected, found("dl_5", "stalled", 2)),
        line(1, HistoryKind::RunCancelling, ending("cancelled", AUTO_CANCEL, "system")),
        line(2, HistoryKind::RunCancelling, ending("cancelled", "not needed", "ann")),
        line(3, HistoryKind::RunCancelling, ending("failed", "task `a` failed", "system")),
        line(1, HistoryKind::TaskCancelled, Detail::NONE),
        line(1, HistoryKind::RunCancelled, Detail::NONE),
    ];
    figures.hear(&history, Timestamp(1_250));
    let (one, two) = (RunId::from_parts(1, 0), RunId::from_parts(2, 0));
    let expected = [
        format!("INFO Deadlock detected for workflow {one} with 5 stuck tasks"),
        format!("INFO Deadlock detected for workflow {two} with 1 stuck tasks"),
        format!("INFO Deadlock detected for workflow {two} with 2 stuck tasks"),
        format!("WARN run {two} is stalled, with 2 stuck tasks"),
        format!("WARN Workflow {one} cancelled: auto-cancel: deadlock detected"),
    ];
    assert_eq!(said(), expected);
    let view = figures.view(Duration::ZERO);
    assert_eq!((view.verdicts, view.deadlocks), ([1, 1, 1, 0], 2));
    assert!((view.detection_s - 0.25).abs() < 1e-9);
    assert_eq!((view.runs_cancelled, view.tasks_cancelled), (1, 1));
    assert_eq!((view.cancellations_asked, view.cancellations_completed), (2, 1));
}

#[test]
fn a_look_without_a_deadlock_says_so_for_whoever_debugs() {
    let mut bench = Bench::new(AllSettings::default());
    said();
    bench.look_after(Millis(0));
    assert_eq!(said(), ["DEBUG No deadlocks detected in current scan"]);
}
