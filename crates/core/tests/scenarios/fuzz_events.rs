//! Random events: whatever comes, in whatever order, breaks no rule; and what was accepted can be ended.
//!
//! The fuzz target of the event stream. Events are wild: reports of attempts that never were, fences from
//! elsewhere, tasks beyond the last, moments that nobody waits for, loads in between. After each, every
//! rule is checked and the rows are held against the state. Two seconds here;
//! `UNKNOT_FUZZ_SECONDS=60 UNKNOT_FUZZ_SEED=7 cargo test -p unknot-core --test scenarios fuzz` runs longer,
//! from another seed, and `UNKNOT_FUZZ_SECONDS=0` takes that one life alone. A failure prints the seed of its life and the
//! event's number.

use crate::chance::Random;
use crate::{workflow_form, world::World};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};
use unknot_core::{
    AttemptId, Fence, Millis, RunId, Seq, TaskId, TaskIndex,
    alert::{About, FailedDelivery, Incident, News, Severity},
    deadline::Deadline,
    effect::Effect,
    event::{
        Ask, AttemptEnd, Caller, CancelRequest, Decision, Event, Facts, LaunchFault, NextTry, Outcome, PauseTarget,
        SignalRequest, Submission,
    },
    row::{Detail, Quarantined},
    run::{AtDeadline, Awaited, Idempotency, JsonText, WorkerId},
    settings::{AlertTarget, Monitor, PoolSettings, QueueSettings, Settings},
    worker::{Serves, WorkKind},
    workflow::{Definition, Until},
};

/// Events of one life.
const EVENTS: u64 = 120;
/// Events that may follow from one, before something goes round in a circle.
const FOLLOWING_MAX: usize = 2_000;
/// Steps down the queue of moments in which everything that was forced must have ended.
const ENDING_MAX: usize = 200;

/// Workflows with every kind of need, hold, bound and consequence.
const WORKFLOWS: [(&str, &[&str]); 12] = [
    ("workflow awaits", &["task a signal go", "task b signal go timeout 5s", "task c needs a,b", "task d signal stop"]),
    ("workflow plain", &["task a", "task b needs a", "task c needs a"]),
    ("workflow locks max_parallel 1", &["task a locks disk", "task b locks disk pools net:2", "task c pools net:1"]),
    (
        "workflow joins timeout 1h",
        &[
            "task a on_failure continue",
            "task b retry 2 backoff 1s",
            "task c needs any(a,b)",
            "task d needs 2(a,b,c)",
            "task e needs a:finished",
        ],
    ),
    ("workflow falls", &["task a on_failure f", "task f fallback", "task z needs a:finished,f:finished"]),
    ("workflow sleeps", &["task a sleep 10s", "task b needs a queue slow priority low", "task c queue_timeout 5s"]),
    ("workflow lost", &["task a on_lost fail", "task b on_lost hold", "task c timeout 10s"]),
    ("workflow wide", &["task a", "tasks leaf 20 needs a", "task join needs leaf1,leaf2"]),
    ("workflow asks", &["task a", "task b pools net:1", "task c locks disk", "task d needs a"]),
    (
        "workflow calls",
        &["task a workflow asks pools net:1", "task b workflow plain detached", "task c needs a workflow nested"],
    ),
    (
        "workflow nested max_parallel 2",
        &["task a workflow asks each [1,2,3,4] parallel 2 goes_on", "task b workflow plain each [1,2,3]", "task c"],
    ),
    (
        "workflow answers",
        &["task a on_failure continue", "task b needs a on_failure continue", "task c signal go from a,b", "task d"],
    ),
];
const QUEUES: [&str; 2] = ["default", "slow"];
const POOLS: [&str; 3] = ["disk", "net", "unheard-of"];
/// What attempts wait for: pools that tasks ask for as well, and locks of their own.
const ASKED: [&str; 4] = ["disk", "net", "x", "y"];
const KEYS: [&str; 3] = ["k0", "k1", "k2"];
const WAITS: [&str; 3] = ["w0", "w1", "w2"];

/// The life of one namespace.
struct Life {
    world: World,
    random: Random,
    workflows: Vec<Arc<Definition>>,
    runs: Vec<RunId>,
    leases: Vec<(AttemptId, Fence)>,
}

impl Life {
    fn of(seed: u64) -> Self {
        let mut random = Random(seed);
        let pools = [("net".to_owned(), 2)];
        let read = |(head, tasks): &(&str, &[&str])| workflow_form::read(head, tasks.iter().copied(), &pools);
        let mut world = World::default();
        let small_steps = random.one_in(2);
        if small_steps {
            world.settings.bounds.step_changes_max = 4;
        }
        world.settings.pools.insert("net".to_owned(), PoolSettings { size: 2, lend: true, on_deadlock: None });
        let workflows = WORKFLOWS.iter().map(read).collect();
        let mut life = Self { world, random, workflows, runs: Vec::new(), leases: Vec::new() };
        life.happen(Event::SettingsApplied(Box::new(life.world.settings.clone())));
        life
    }

    /// An event and all that follows from it by itself.
    fn happen(&mut self, event: Event) {
        let mut next = Some(event);
        for _ in 0..FOLLOWING_MAX {
            let Some(event) = next else { return };
            for effect in self.world.apply(event).effects {
                if let Effect::Start(assignment) = effect {
                    self.leases.push((assignment.attempt, assignment.fence));
                }
            }
            next = self.world.due();
        }
        panic!("one event leads to another without an end: {next:?}");
    }

    fn any_event(&mut self) -> Event {
        let caller = Caller(self.random.next());
        match self.random.below(34) {
            21..=30 => self.asked(caller),
            31 => self.pool(caller),
            32..=33 => self.alert(),
            0..=2 => self.submission(caller),
            3 => {
                let queues = self.random.one_in(3).then(|| BTreeSet::from(["default".into()]));
                let kinds =
                    self.random.one_in(3).then(|| BTreeSet::from([WorkKind::BUILT_IN[self.random.below(2)].clone()]));
                let (worker, slots) = (self.worker(), self.random.below(4) as u32);
                Event::WorkerJoined { worker, slots, serves: Box::new(Serves { queues, kinds }) }
            }
            4 => Event::WorkerLeft { worker: self.worker() },
            5..=6 => {
                let (attempt, fence) = self.lease();
                Event::AttemptStarted { attempt, fence }
            }
            7 => {
                let (attempt, fence) = self.lease();
                Event::AttemptRenewed { attempt, fence }
            }
            8..=11 => self.end(),
            12 => {
                let (run, facts) = (self.run(), Facts::default());
                let (reason, by, force) = ("unwanted".to_owned(), "ann".to_owned(), self.random.one_in(2));
                Event::RunCancelRequested { run, request: CancelRequest { reason, by, force, facts }, caller }
            }
            20 => {
                let name = if self.random.one_in(3) { "stop" } else { "go" };
                let (run, by, facts) = (self.run(), "ann".to_owned(), Facts::default());
                let payload = JsonText(self.random.below(3).to_string().into());
                let signal = Box::new(SignalRequest { name: name.to_owned(), payload, by, facts });
                Event::SignalSent { run, signal, caller }
            }
            13 => Event::Paused { target: self.target(), by: "ann".to_owned(), caller },
            14 => Event::Resumed { target: self.target(), by: "ann".to_owned(), caller },
            15 => self.operation(caller),
            16 => self.moment(),
            17 => Event::RunPoisoned { run: self.run(), error: "it failed alone".to_owned() },
            18 => match self.random.below(4) {
                0 => Event::GrantsDue,
                3 => Event::TimeSkipped { since: self.world.now.minus(Millis(self.random.next() % 100_000)) },
                1 => Event::ContinuationDue(Seq(self.random.next() % 200)),
                _ => Event::RunsFocused(self.random.one_in(2).then(|| BTreeSet::from([self.run()]))),
            },
            _ => self.settings(),
        }
    }

    fn submission(&mut self, caller: Caller) -> Event {
        let key = self.random.below(3);
        let body_hash = self.random.below(2).to_string();
        let idempotency = self.random.one_in(4).then(|| Idempotency { key: format!("key {key}"), body_hash });
        Event::RunSubmitted(Box::new(Submission { idempotency, ..self.wanted(caller) }))
    }

    /// A run of any workflow.
    fn wanted(&mut self, caller: Caller) -> Submission {
        let run = RunId::from_parts(self.world.now.0, self.random.next().into());
        self.runs.push(run);
        let definition = Arc::clone(&self.workflows[self.random.below(self.workflows.len())]);
        let called = |workflow: &&Arc<Definition>| ["asks", "plain", "nested"].contains(&&*workflow.body.name);
        let calls = self.workflows.iter().filter(called);
        Submission {
            start_at: self.random.one_in(5).then(|| self.world.now.plus(Millis::from_secs(30))),
            calls: calls.map(|workflow| (Arc::clone(&workflow.body.name), Arc::clone(workflow))).collect(),
            caller,
            ..Submission::of(run, definition)
        }
    }

    /// A running attempt, or one that was so, asks for something.
    fn asked(&mut self, caller: Caller) -> Event {
        let (attempt, fence) = self.lease();
        let ask = match self.random.below(12) {
            0..=6 => {
                let name = (*self.random.pick(&WAITS)).to_owned();
                let within = self.random.one_in(3).then(|| Millis(self.random.next() % 20_000));
                let then = if self.random.one_in(4) { AtDeadline::Stop } else { AtDeadline::GiveUp };
                Ask::Wait { name, on: self.awaited(0), within, then }
            }
            7 => Ask::Withdraw { name: (*self.random.pick(&WAITS)).to_owned() },
            8 => {
                let (pool, units) = ((*self.random.pick(&ASKED)).to_owned(), self.random.below(3) as u32);
                Ask::Release { units: BTreeMap::from([(pool, units)]) }
            }
            _ => {
                let (key, detached) = ((*self.random.pick(&KEYS)).to_owned(), self.random.one_in(4));
                Ask::Spawn { key, submission: Box::new(self.wanted(caller)), detached }
            }
        };
        Event::AttemptAsked { attempt, fence, ask: Box::new(ask), caller }
    }

    /// Something to wait for; now and then what cannot be asked for.
    fn awaited(&mut self, depth: u32) -> Awaited {
        match self.random.below(if depth < 3 { 12 } else { 9 }) {
            0..=3 => Awaited::Units {
                pool: (*self.random.pick(&ASKED)).to_owned(),
                units: if self.random.one_in(3) { 2 } else { 1 },
            },
            4..=5 => {
                let until = if self.random.one_in(2) { Until::Finished } else { Until::Succeeded };
                Awaited::Child { key: (*self.random.pick(&KEYS)).to_owned(), until }
            }
            6 => Awaited::Children,
            7 => {
                let name = if self.random.one_in(3) { "stop" } else { "go" };
                let from = (0..4).filter(|_| self.random.one_in(4)).map(TaskIndex).collect();
                Awaited::Signal { name: name.to_owned(), from }
            }
            8 => Awaited::Timer { at: self.world.now.plus(Millis(self.random.next() % 10_000)) },
            _ => {
                let of: Vec<Awaited> = (0..self.random.below(4)).map(|_| self.awaited(depth + 1)).collect();
                Awaited::AtLeast { k: self.random.below(of.len() + 1) as u32, of }
            }
        }
    }

    /// A pool is made, resized, lent or not, or taken away.
    fn pool(&mut self, caller: Caller) -> Event {
        let name = (*self.random.pick(&ASKED)).to_owned();
        let (size, lend) = (self.random.below(4) as u32, self.random.one_in(2));
        let pool = (!self.random.one_in(4)).then_some(PoolSettings { size, lend, on_deadlock: None });
        Event::PoolSet { name, pool, caller }
    }

    fn end(&mut self) -> Event {
        let (attempt, fence) = self.lease();
        let message = "as chance has it".to_owned();
        let outcome = match self.random.below(10) {
            0..=3 => Outcome::Succeeded { output: JsonText("{\"n\": 1}".into()) },
            4 => {
                let next_try = match self.random.below(4) {
                    0 => NextTry::Useless,
                    1 => NextTry::NotBefore(Millis::from_mins(if self.random.one_in(2) { 1 } else { 60 })),
                    _ => NextTry::AsUsual,
                };
                Outcome::Failed { reason: "exit".to_owned(), message, exit: Some(1), next_try }
            }
            5 => Outcome::Stopped,
            6 => {
                let fault = match self.random.below(3) {
                    0 => LaunchFault::Lasting,
                    1 => LaunchFault::Passing,
                    _ => LaunchFault::Shortage,
                };
                Outcome::LaunchFailed { message, fault }
            }
            7 => Outcome::Released,
            8 => Outcome::Lost { message, confirmed_dead: self.random.one_in(2) },
            _ => Outcome::Unkillable { message },
        };
        Event::AttemptEnded(Box::new(AttemptEnd { attempt, fence, outcome, detail: Detail::of("usage", 1) }))
    }

    fn operation(&mut self, caller: Caller) -> Event {
        let task = self.lease().0.task;
        match self.random.below(4) {
            0 => Event::TaskDecided { task, decision: Decision::Retry, caller },
            1 => Event::TaskDecided { task, decision: Decision::Fail, caller },
            2 => Event::DeadLetterDropped { task, caller },
            _ => Event::EventQuarantined(Box::new(Quarantined {
                event: "an event".to_owned(),
                error: "it failed alone".to_owned(),
                run: Some(task.run),
                version: "0".to_owned(),
                at: self.world.now,
            })),
        }
    }

    /// A moment that somebody may wait for, or not; or one that has not come yet.
    fn moment(&mut self) -> Event {
        let attempt = self.lease().0;
        Event::DeadlinePassed(match self.random.below(10) {
            8 => Deadline::AttemptWait(attempt),
            9 => Deadline::AttemptTimer(attempt),
            0 => Deadline::TaskWait(attempt.task),
            6 => Deadline::CountsAsHigh(attempt.task),
            7 => Deadline::Heartbeat(attempt),
            1 => Deadline::AttemptTimeout(attempt),
            2 => Deadline::LeaseExpiry(attempt),
            3 => Deadline::StopExpiry(attempt),
            4 => Deadline::RunStart(attempt.task.run),
            _ => Deadline::RunTimeout(attempt.task.run),
        })
    }

    fn settings(&mut self) -> Event {
        let monitor = Monitor { cancel_on_deadlock: self.random.one_in(2), ..Monitor::default() };
        let mut settings = Settings { bounds: self.world.settings.bounds, monitor, ..Settings::default() };
        for pool in POOLS {
            if self.random.one_in(2) {
                let (size, lend) = (self.random.below(4) as u32, self.random.one_in(2));
                settings.pools.insert(pool.to_owned(), PoolSettings { size, lend, on_deadlock: None });
            }
        }
        if self.random.one_in(2) {
            let max_queue_size = self.random.below(30) as u32;
            settings.queues.insert("slow".to_owned(), QueueSettings { max_queue_size, ..QueueSettings::default() });
        }
        settings.alerts.alerts_max = 1 + self.random.below(3) as u32;
        for target in ["ops", "oncall"] {
            let (is_there, send_resolved) = (!self.random.one_in(4), self.random.one_in(2));
            if is_there {
                let least = Severity::ALL[self.random.below(2)];
                settings.alerts.targets.insert(target.to_owned(), AlertTarget { send_resolved, least });
            }
        }
        Event::SettingsApplied(Box::new(settings))
    }

    /// An incident begins or ends, or something is said of a delivery: of one that is under way, or of none.
    fn alert(&mut self) -> Event {
        let key = format!("disk:{}", self.random.below(6));
        let known = self.world.state.alerts.len();
        let (alert, target) = match known {
            0 => (Seq(self.random.next() % 100), "ops".to_owned()),
            _ => {
                let place = self.random.below(known);
                let seq = *self.world.state.alerts.keys().nth(place).expect("one of them");
                (seq, ["ops", "oncall", "nobody"][self.random.below(3)].to_owned())
            }
        };
        let news = if self.random.one_in(2) { News::Raised } else { News::Resolved };
        match self.random.below(6) {
            0..=1 => Event::AlertRaised(Box::new(Incident {
                key,
                severity: Severity::ALL[self.random.below(4)],
                summary: "as chance has it".to_owned(),
                about: About::Quarantined { run: None },
                is_momentary: self.random.one_in(3),
            })),
            2 => Event::AlertResolved { key },
            3 => Event::AlertDelivered { alert, target, news },
            4 => Event::DeadlinePassed(Deadline::AlertDelivery(alert)),
            _ => {
                let tries = 1 + self.random.below(4) as u32;
                let next_try = match self.random.below(3) {
                    0 => NextTry::Useless,
                    1 => NextTry::NotBefore(Millis::from_hours(2)),
                    _ => NextTry::AsUsual,
                };
                let error = "webhook timeout".to_owned();
                Event::AlertFailed(Box::new(FailedDelivery { alert, target, news, tries, error, next_try }))
            }
        }
    }

    /// A lease that was given, as it was or a little off.
    fn lease(&mut self) -> (AttemptId, Fence) {
        let stranger = (self.run().task(TaskIndex(self.random.below(9) as u32)).attempt(1), Fence(0));
        let recent = self.leases.len().min(12);
        let known = match recent {
            0 => None,
            _ => self.leases.get(self.leases.len() - 1 - self.random.below(recent)).copied(),
        };
        let (attempt, fence) = known.unwrap_or(stranger);
        match self.random.below(12) {
            0 => stranger,
            1 => (attempt, Fence(fence.0.wrapping_add(1))),
            2 => (attempt.task.attempt(attempt.number.wrapping_add(1)), fence),
            3 => (TaskId { index: TaskIndex(u32::MAX), ..attempt.task }.attempt(1), fence),
            _ => (attempt, fence),
        }
    }

    fn run(&mut self) -> RunId {
        match self.runs.len() {
            0 => RunId::from_parts(1, 1),
            _ if self.random.one_in(20) => RunId::from_parts(2, 2),
            known => self.runs[self.random.below(known)],
        }
    }

    fn worker(&mut self) -> WorkerId {
        let names = [WorkerId::LOCAL, "far", "further"];
        WorkerId { name: names[self.random.below(3)].into(), boot: 1 + self.random.below(2) as u64 }
    }

    fn target(&mut self) -> PauseTarget {
        match self.random.below(3) {
            0 => PauseTarget::Queue(QUEUES[self.random.below(2)].to_owned()),
            1 => PauseTarget::Workflow(["plain", "locks"][self.random.below(2)].to_owned()),
            _ => PauseTarget::Run(self.run()),
        }
    }

    /// Time goes on: to the next moment that is waited for, to just before it, or by a step.
    fn pass_time(&mut self) {
        let step = Millis(self.random.next() % 20_000);
        let next = self.world.state.volatile.deadlines.first().map(|(at, _)| *at);
        self.world.now = match (self.random.below(4), next) {
            (0, Some(next)) => next.max(self.world.now),
            (1, _) => self.world.now.plus(step),
            _ => self.world.now,
        };
        if let Some(event) = self.world.due() {
            self.happen(event);
        }
    }

    /// Forces every run to its end: none may be left.
    fn close(&mut self) {
        for run in self.world.state.runs.keys().copied().collect::<Vec<_>>() {
            let (reason, by, facts) = ("the end".to_owned(), "ann".to_owned(), Facts::default());
            let request = CancelRequest { reason, by, force: true, facts };
            self.happen(Event::RunCancelRequested { run, request, caller: Caller(0) });
        }
        for _ in 0..ENDING_MAX {
            let Some((at, _)) = self.world.state.volatile.deadlines.first() else { break };
            self.world.now = self.world.now.max(*at);
            if let Some(event) = self.world.due() {
                self.happen(event);
            }
        }
        let left: Vec<RunId> = self.world.state.runs.keys().copied().collect();
        assert!(left.is_empty(), "forced to their end, these runs are left: {left:?}");
        assert_eq!(self.world.state.live_tasks(), 0, "no run is left, but tasks are");
    }
}

/// The target: one life from one seed.
fn live(seed: u64, number: &mut u64, newest: &mut String) {
    let mut life = Life::of(seed);
    for event in 0..EVENTS {
        *number = event;
        life.pass_time();
        let event = life.any_event();
        *newest = format!("{event:?}");
        life.happen(event);
        if life.random.one_in(25) {
            // What is volatile is told anew after a load, as the engine does.
            life.world.reload();
            let worker = life.worker();
            life.happen(Event::WorkerJoined { worker, slots: 2, serves: Box::default() });
        }
    }
    *newest = "the end".to_owned();
    life.close();
}

impl Random {
    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

fn from_variable(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
fn fuzz_events_break_no_rule() {
    let first = from_variable("UNKNOT_FUZZ_SEED", 1);
    let until = Instant::now() + Duration::from_secs(from_variable("UNKNOT_FUZZ_SECONDS", 2));
    let mut lives = 0;
    loop {
        let seed = first.wrapping_add(lives);
        let (mut number, mut newest) = (0, String::new());
        let target = std::panic::AssertUnwindSafe(|| live(seed, &mut number, &mut newest));
        let outcome = std::panic::catch_unwind(target);
        assert!(outcome.is_ok(), "UNKNOT_FUZZ_SEED={seed}, event {number}: {newest}");
        lives += 1;
        if Instant::now() >= until {
            break;
        }
    }
    println!("{lives} lives of {EVENTS} events from seed {first}");
}
