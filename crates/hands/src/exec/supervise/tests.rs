//! What an attempt makes of what it hears, in orders that a real guard shows only now and then.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicUsize;

use tempfile::TempDir;
use unknot_api::work::{JsonText, Ladder, Work};

use super::*;
use crate::Clock;
use crate::guard::GuardCommand;
use crate::guard::link::Guards;
use crate::guard::wire::{Broken, Inbound};
use crate::log::Logs;

/// A supervised attempt whose guard is the test.
struct Attempt {
    _folder: TempDir,
    guard: UnixStream,
    events: mpsc::Sender<Event>,
    _wishes: watch::Sender<Wish>,
    end: JoinHandle<End>,
}

impl Attempt {
    /// Supervises an attempt that has heard and been wished this much already.
    fn with(heard: Vec<FromGuard>, wish: Wish) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let command = GuardCommand { program: "/nonexistent".into(), args: Vec::new() };
        let (reports, _) = mpsc::channel(8);
        let bench = Bench {
            data_dir: folder.path().to_owned(),
            guards: Guards::new(command, false, 1).unwrap(),
            logs: Logs::start().unwrap(),
            clock: Clock::new(|| 7),
            reports,
            shortages: AtomicUsize::new(0),
        };
        let (guard, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (events, hears) = mpsc::channel(8);
        let (wishes, obeys) = watch::channel(wish);
        let (exited, _) = watch::channel(false);
        let drained = Drained { found: Found::Nothing, is_complete: true, notes: Vec::new() };
        let place = Place {
            folder: folder.path().to_owned(),
            inodes: Vec::new(),
            mark: mark(),
            link: Link::to(ours),
            limits: Limits::default(),
        };
        let drain = tokio::spawn(async { drained });
        let senses = Senses { events: hears, wishes: obeys, lease: None, drain, flow: Flow::new(), exited };
        heard.into_iter().for_each(|message| events.try_send(Event::Guard(message)).unwrap());
        let supervisor = Supervisor::new(Arc::new(bench), Arc::new(assignment()), place, senses);
        let end = tokio::spawn(supervisor.watch());
        Self { _folder: folder, guard, events, _wishes: wishes, end }
    }

    fn hear(&self, event: Event) {
        self.events.try_send(event).unwrap();
    }

    /// Waits until the guard is told this.
    async fn until_told(&self, what: fn(&ToGuard) -> bool) {
        let mut guard = self.guard.try_clone().unwrap();
        let told = spawn_blocking(move || {
            let mut inbound = Inbound::default();
            let mut byte = [0];
            loop {
                guard.read_exact(&mut byte).unwrap();
                inbound.push(&byte);
                if inbound.next().unwrap().is_some_and(|message| what(&message)) {
                    return;
                }
            }
        });
        told.await.unwrap();
    }

    async fn end(self) -> End {
        timeout(Duration::from_secs(30), self.end).await.expect("the attempt ends").unwrap()
    }
}

fn mark() -> Mark {
    Mark::new(1, 1)
}

fn assignment() -> Assignment {
    Assignment {
        attempt: "att_1".into(),
        run: "run_1".into(),
        task: "task".into(),
        number: 1,
        fence: 1,
        folder: "folder".into(),
        work: Work::Noop,
        heartbeat_timeout_ms: None,
        hard_deadline_ms_from_start: 60_000,
        ladder: Ladder { told_ms: None, term_ms: 0, kill_ms: 0 },
        idempotency_key: "key".into(),
        lease_ms: None,
        in_lent_slot: false,
        env: BTreeMap::new(),
    }
}

fn exited(status: i32) -> FromGuard {
    let usage = Usage::default();
    FromGuard::Exited { mark: mark(), exit: Some(status), signal: None, usage, broken: Broken::default(), alone: false }
}

fn gone() -> FromGuard {
    let usage = Usage { user_ms: 5, system_ms: 0, max_rss_bytes: 7 };
    FromGuard::Gone { mark: mark(), count: 0, left: Vec::new(), usage }
}

fn success() -> Outcome {
    Outcome::Succeeded { output: JsonText::null() }
}

#[tokio::test]
async fn a_kill_after_the_end_stops_nothing() {
    let attempt = Attempt::with(vec![exited(0)], Wish::Kill(StopReason::Cancelled));
    attempt.until_told(|message| matches!(message, ToGuard::End { .. })).await;
    attempt.hear(Event::Guard(gone()));
    let end = attempt.end().await;
    assert_eq!((end.outcome, end.rungs), (success(), Vec::new()));
    assert_eq!(end.usage.unwrap().user_ms, 5, "what was orphaned counts");
}

#[tokio::test]
async fn a_guard_that_dies_after_the_end_takes_nothing_back() {
    for (status, fate) in [(0, Fate::ConfirmedDead), (3, Fate::ConfirmedDead), (0, Fate::Survives { pids: vec![9] })] {
        let attempt = Attempt::with(vec![exited(status)], Wish::GoOn);
        attempt.hear(Event::Lost(fate.clone()));
        let outcome = attempt.end().await.outcome;
        let is_right = match (status, fate) {
            (0, Fate::ConfirmedDead) => outcome == success(),
            (_, Fate::ConfirmedDead) => matches!(outcome, Outcome::Failed { exit: Some(3), .. }),
            _ => matches!(outcome, Outcome::Lost { confirmed_dead: false, .. }),
        };
        assert!(is_right, "{outcome:?}");
    }
}

#[tokio::test]
async fn what_dies_while_it_is_asked_for_is_stopped() {
    let attempt = Attempt::with(Vec::new(), Wish::Stop(StopReason::Cancelled));
    attempt.until_told(|message| matches!(message, ToGuard::List { .. })).await;
    attempt.hear(Event::Guard(exited(0)));
    attempt.hear(Event::Guard(FromGuard::Left { mark: mark(), pids: Vec::new() }));
    attempt.hear(Event::Guard(gone()));
    let end = attempt.end().await;
    assert_eq!(end.outcome, Outcome::Stopped { reason: StopReason::Cancelled });
}

#[tokio::test]
async fn what_is_left_after_kill_is_named() {
    let attempt = Attempt::with(Vec::new(), Wish::Stop(StopReason::Cancelled));
    attempt.until_told(|message| matches!(message, ToGuard::List { .. })).await;
    attempt.hear(Event::Guard(FromGuard::Left { mark: mark(), pids: vec![9] }));
    let end = attempt.end().await;
    assert!(matches!(&end.outcome, Outcome::Unkillable { pids, .. } if *pids == [9]), "{end:?}");
    assert_eq!(end.rungs.iter().map(|taken| taken.rung).collect::<Vec<_>>(), [Rung::Term, Rung::Kill]);
}
