//! Measures whole steps of the brain while attempts wait: what they ask for goes through `apply`, with all that follows.
//!
//! `cargo xtask bench asks` builds and runs it, a shape after its name runs that one alone; each line of its output is one
//! measurement as JSON. A step is one event, from the call to its decision. The step that closes a deadlock is told apart.

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock from outside")]

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use unknot_core::{
    AttemptId, CommitSeq, Decision, Fence, RunId, State, TaskIndex, Timestamp, apply,
    effect::Effect,
    event::{Ask, AttemptEnd, Caller, CancelRequest, Envelope, Event, Facts, Outcome, Submission},
    row::{Detail, HistoryKind, Loaded},
    run::{AtDeadline, Awaited, JsonText, WorkerId},
    settings::{Bounds, Monitor, PoolSettings, Settings},
    validate::{self, Draft, DraftTask, Rules},
    wait::{Subject, why},
    workflow::{Child, Command, Definition, DefinitionHash, ForEach, InputDecl, OnChildFailure, TaskKind},
};

/// Attempts of the shapes that have many.
const MANY: usize = 10_000;
/// Members of a ring, and runs of one task.
const FAMILY: usize = 1_000;

fn main() {
    let asked = std::env::args().nth(1);
    let shapes: [(&str, fn()); 7] = [
        ("convoy", convoy),
        ("ring", ring),
        ("children", children),
        ("for-each", for_each),
        ("behind", behind),
        ("lending", lending),
        ("parked", parked),
    ];
    for (name, measure) in shapes {
        if asked.as_deref().is_none_or(|asked| asked == name) {
            measure();
        }
    }
}

/// Steps of one kind.
#[derive(Default)]
struct Steps(Vec<Duration>);

impl Steps {
    /// Prints and forgets what was taken.
    fn say(&mut self, what: &str, shape: &str) {
        let us = |taken: Duration| taken.as_secs_f64() * 1_000_000.0;
        self.0.sort();
        let Some(longest) = self.0.last() else { return };
        let at = |part: f64| us(self.0[((self.0.len() - 1) as f64 * part) as usize]);
        println!(
            r#"{{"what": "{what}", "unit": "p99_us", "value": {}, "with": {{"shape": "{shape}", "steps": {}, "p50_us": {}, "longest_us": {}}}}}"#,
            at(0.99),
            self.0.len(),
            at(0.5),
            us(*longest)
        );
        self.0.clear();
    }
}

/// A namespace with one large worker.
struct World {
    state: State,
    next: u64,
    fences: BTreeMap<AttemptId, Fence>,
    steps: Steps,
    closing: Steps,
}

impl World {
    fn new(resolves: bool, pools: &[(&str, u32, bool)]) -> Self {
        let state = State::load(Loaded::default(), Bounds::default()).expect("an empty store loads");
        let (steps, closing) = (Steps::default(), Steps::default());
        let mut world = Self { state, next: 0, fences: BTreeMap::new(), steps, closing };
        let pool = |(name, size, lend): &(&str, u32, bool)| {
            ((*name).to_owned(), PoolSettings { size: *size, lend: *lend, on_deadlock: None })
        };
        let monitor = Monitor { cancel_on_deadlock: resolves, ..Monitor::default() };
        let settings = Settings { pools: pools.iter().map(pool).collect(), monitor, ..Settings::default() };
        world.happen(Event::SettingsApplied(Box::new(settings)));
        let worker = WorkerId { name: WorkerId::LOCAL.into(), boot: 1 };
        world.happen(Event::WorkerJoined { worker, slots: 3 * MANY as u32, serves: Box::default() });
        world.steps.0.clear();
        world
    }

    /// One event and what follows from it by itself, each a step.
    fn happen(&mut self, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next {
            self.step(event);
            let continued = self.state.continuations.keys().next().copied();
            next = continued
                .map(Event::ContinuationDue)
                .or_else(|| self.state.volatile.grants_due.then_some(Event::GrantsDue));
        }
    }

    fn step(&mut self, event: Event) {
        self.next += 1;
        let at = Timestamp(1_000_000);
        let envelope = Envelope { at, entropy: self.next, commit: CommitSeq(self.next), event };
        let start = Instant::now();
        let decision = apply(&mut self.state, &envelope);
        let taken = start.elapsed();
        let closes =
            |decision: &Decision| decision.history.iter().any(|line| line.event == HistoryKind::DeadlockDetected);
        if closes(&decision) {
            self.closing.0.push(taken)
        } else {
            self.steps.0.push(taken)
        }
        for effect in decision.effects {
            if let Effect::Start(assignment) = effect {
                self.fences.insert(assignment.attempt, assignment.fence);
            }
        }
        self.state.close_batch();
    }

    fn submit(&mut self, definition: &Arc<Definition>, calls: &[&Arc<Definition>]) -> RunId {
        let submission = self.submission(definition, calls);
        let run = submission.run;
        self.happen(Event::RunSubmitted(Box::new(submission)));
        run
    }

    fn submission(&mut self, definition: &Arc<Definition>, calls: &[&Arc<Definition>]) -> Submission {
        let calls = calls.iter().map(|called| (Arc::clone(&called.body.name), Arc::clone(called)));
        Submission {
            calls: calls.collect(),
            ..Submission::of(RunId::from_parts(1_000_000, u128::from(self.next)), Arc::clone(definition))
        }
    }

    fn attempt(&self, run: RunId) -> (AttemptId, Fence) {
        let attempt = run.task(TaskIndex(0)).attempt(1);
        (attempt, self.fences[&attempt])
    }

    fn ask(&mut self, run: RunId, ask: Ask) {
        let (attempt, fence) = self.attempt(run);
        self.happen(Event::AttemptAsked { attempt, fence, ask: Box::new(ask), caller: Caller(self.next) });
    }

    fn wait(&mut self, run: RunId, on: Awaited) {
        let name = format!("w{}", self.next);
        self.ask(run, Ask::Wait { name, on, within: None, then: AtDeadline::GiveUp });
    }

    fn spawn(&mut self, run: RunId, key: String, definition: &Arc<Definition>) -> RunId {
        let submission = self.submission(definition, &[]);
        let child = submission.run;
        self.ask(run, Ask::Spawn { key, submission: Box::new(submission), detached: false });
        child
    }

    fn end(&mut self, run: RunId) {
        let (attempt, fence) = self.attempt(run);
        let outcome = Outcome::Succeeded { output: JsonText("1".into()) };
        let end = AttemptEnd { attempt, fence, outcome, detail: Detail::NONE };
        self.happen(Event::AttemptEnded(Box::new(end)));
    }

    fn cancel(&mut self, run: RunId) {
        let (reason, by, facts) = ("enough".to_owned(), "ann".to_owned(), Facts::default());
        let request = CancelRequest { reason, by, force: false, facts };
        self.happen(Event::RunCancelRequested { run, request, caller: Caller(self.next) });
    }

    /// The attempts that all runs but some still have come to their end.
    fn end_all(&mut self, but: RunId) {
        let left: Vec<RunId> = self.state.runs.keys().copied().filter(|run| *run != but).collect();
        left.into_iter().for_each(|run| self.end(run));
    }

    fn say(&mut self, what: &str, shape: &str) {
        self.steps.say(what, shape);
        self.closing.say(what, &format!("{shape}: the step that closes"));
    }
}

fn definition(name: &str, kind: TaskKind, pools: &[(&str, u32)]) -> Arc<Definition> {
    let mut task = DraftTask::new("a".to_owned(), kind);
    task.pools = pools.iter().map(|(name, units)| ((*name).to_owned(), *units)).collect();
    let number = InputDecl { type_: None, default: Some(serde_json::json!(0)), description: None };
    let inputs = [("number".to_owned(), number)].into();
    let draft = Draft { name: name.to_owned(), inputs, tasks: vec![task], ..Draft::default() };
    let known = pools.iter().map(|(name, units)| ((*name).to_owned(), *units)).collect();
    let rules = Rules { pools: known, ..Rules::default() };
    let mut body = validate::check(draft, &rules).expect("a sound workflow").definition.body;
    body.hash = DefinitionHash(name.into());
    Arc::new(Definition::new(body))
}

fn exec() -> TaskKind {
    TaskKind::Exec(Command::Argv(vec!["true".to_owned()]))
}

fn lock(number: usize) -> Awaited {
    Awaited::Units { pool: format!("lock-{number}"), units: 1 }
}

/// All wait for one lock, which then goes from hand to hand.
fn convoy() {
    let mut world = World::new(true, &[]);
    let flow = definition("flow", exec(), &[]);
    let runs: Vec<RunId> = (0..MANY).map(|_| world.submit(&flow, &[])).collect();
    world.say("convoy", "each submission");
    runs.iter().for_each(|run| world.wait(*run, lock(0)));
    world.say("convoy", "each new wait");
    why_of(&world, runs[MANY / 2], "convoy");
    runs[..FAMILY].iter().for_each(|run| world.end(*run));
    world.say("convoy", "each hand-over");
}

/// Each holds a lock and waits for the next one's.
fn ring() {
    for resolves in [true, false] {
        let mut world = World::new(resolves, &[]);
        let flow = definition("flow", exec(), &[]);
        let runs: Vec<RunId> = (0..FAMILY).map(|_| world.submit(&flow, &[])).collect();
        runs.iter().enumerate().for_each(|(number, run)| world.wait(*run, lock(number)));
        world.steps.0.clear();
        runs.iter().enumerate().for_each(|(number, run)| world.wait(*run, lock((number + 1) % FAMILY)));
        world.say("ring", if resolves { "each new wait, resolved" } else { "each new wait, told" });
        if !resolves {
            why_of(&world, runs[0], "ring");
        }
    }
}

/// An attempt with many runs, which waits for all of them.
fn children() {
    let mut world = World::new(true, &[]);
    let (flow, part) = (definition("flow", exec(), &[]), definition("part", exec(), &[]));
    let parent = world.submit(&flow, &[]);
    let all: Vec<RunId> = (0..FAMILY).map(|number| world.spawn(parent, format!("c{number}"), &part)).collect();
    world.say("children", "each spawned");
    world.wait(parent, Awaited::Children);
    world.say("children", "the wait for all");
    why_of(&world, parent, "children");
    all.iter().for_each(|child| world.end(*child));
    world.say("children", "each end");
    world.end(parent);
    let parent = world.submit(&flow, &[]);
    for number in 0..FAMILY {
        let _: RunId = world.spawn(parent, format!("d{number}"), &part);
    }
    world.steps.0.clear();
    world.wait(parent, Awaited::Children);
    world.cancel(parent);
    world.say("children", "the parent is cancelled");
    world.end_all(parent);
    world.say("children", "each is gone");
    world.end(parent);
    world.say("children", "the parent is gone");
}

/// A workflow task with a run for each of many items.
fn for_each() {
    let mut world = World::new(true, &[]);
    let part = definition("part", exec(), &[]);
    let items = serde_json::json!((0..FAMILY).collect::<Vec<usize>>());
    let call = |most: Option<u32>| {
        TaskKind::Workflow(Box::new(Child {
            workflow: "part".into(),
            input: serde_json::json!({"number": "{{ item }}"}),
            detached: false,
            on_child_failure: OnChildFailure::Continue,
            for_each: Some(ForEach { items: items.clone(), max_parallel: most }),
        }))
    };
    for (most, shape) in [(None, "all at once"), (Some(50), "50 at a time")] {
        let flow = definition("flow", call(most), &[]);
        let parent = world.submit(&flow, &[&part]);
        world.say("for each", &format!("{shape}: the beginning"));
        while world.state.runs.len() > 1 {
            let next = world.state.runs.keys().copied().find(|run| *run != parent);
            next.into_iter().for_each(|run| world.end(run));
        }
        world.say("for each", &format!("{shape}: each end"));
    }
    let flow = definition("flow", call(None), &[]);
    let parent = world.submit(&flow, &[&part]);
    world.steps.0.clear();
    world.cancel(parent);
    world.say("for each", "all are cancelled");
    assert!(world.state.runs.len() > FAMILY / 2);
}

/// Many come to wait behind a deadlock that is only told of.
fn behind() {
    let mut world = World::new(false, &[]);
    let flow = definition("flow", exec(), &[]);
    let runs: Vec<RunId> = (0..MANY + 2).map(|_| world.submit(&flow, &[])).collect();
    let (one, other) = (runs[0], runs[1]);
    world.wait(one, lock(0));
    world.wait(other, lock(1));
    world.wait(one, lock(1));
    world.steps.0.clear();
    world.wait(other, lock(0));
    world.say("behind", "two of many");
    runs[2..].iter().for_each(|run| world.wait(*run, lock(0)));
    world.say("behind", "each new wait behind it");
    why_of(&world, runs[MANY], "behind");
    world.cancel(one);
    world.say("behind", "one of the two is cancelled");
}

/// Attempts in a pool that lends, each with a run that needs it.
fn lending() {
    let mut world = World::new(true, &[("render", FAMILY as u32, true)]);
    let flow = definition("flow", exec(), &[("render", 1)]);
    let part = definition("part", exec(), &[("render", 1)]);
    let parents: Vec<RunId> = (0..FAMILY).map(|_| world.submit(&flow, &[])).collect();
    world.steps.0.clear();
    let mut children = Vec::new();
    for parent in &parents {
        children.push(world.spawn(*parent, "c".to_owned(), &part));
    }
    world.say("lending", "each spawned");
    parents.iter().for_each(|parent| world.wait(*parent, Awaited::Children));
    world.say("lending", "each parent's wait");
    children.iter().for_each(|child| world.end(*child));
    world.say("lending", "each child's end");
}

/// Many attempts that wait for this and that; others come and go among them.
fn parked() {
    let mut world = World::new(true, &[("render", 4, false)]);
    let flow = definition("flow", exec(), &[]);
    let runs: Vec<RunId> = (0..MANY).map(|_| world.submit(&flow, &[])).collect();
    runs.iter().step_by(10).enumerate().for_each(|(number, run)| world.wait(*run, lock(number)));
    world.steps.0.clear();
    for (number, run) in runs.iter().enumerate().filter(|(number, _)| number % 10 != 0) {
        let unit = Awaited::Units { pool: "render".to_owned(), units: 1 + (number % 4) as u32 };
        let go = Awaited::Signal { name: "go".to_owned(), from: Vec::new() };
        // A lock of those behind only: there is no ring.
        let own = lock(number / 10);
        let on = match number % 10 {
            1..=3 => own,
            4..=6 => Awaited::any(vec![own, Awaited::all(vec![unit, go])]),
            _ => Awaited::AtLeast { k: 2, of: vec![own, unit, go] },
        };
        world.wait(*run, on);
    }
    world.say("parked", "each new wait");
    runs.iter().step_by(10).take(FAMILY / 2).for_each(|run| world.end(*run));
    world.say("parked", "each end of a holder");
}

fn why_of(world: &World, run: RunId, what: &str) {
    let mut steps = Steps::default();
    for _ in 0..20 {
        let start = Instant::now();
        let told = why(&world.state, Subject::Run(run), Timestamp(1_000_000));
        steps.0.push(start.elapsed());
        assert!(told.is_some());
    }
    steps.say(what, "why it does not go on");
}
