//! What people want of the brain: random workflows and random commands, from a plan that is drawn
//! before the world begins.
//!
//! The workload knows nothing of what is right; that is for [`crate::checkers`].

pub mod code;
pub mod definition;
pub mod plant;

use crate::{chance::Chance, hands::script::Style};
use definition::{Asks, LEVELS, POOLS, QUEUES, UNITS_MAX};
use plant::{Kind, Plant};
use std::{collections::BTreeMap, sync::Arc};
use unknot_core::{
    Millis, RunId, Timestamp,
    alert::{About, Breach, Incident, Metric, Severity},
    event::{Caller, CancelRequest, Decision, Event, Facts, PauseTarget, Submission},
    run::{Idempotency, JsonText, WaitOn},
    settings::{AlertSettings, AlertTarget, Bounds, PoolSettings, QueueSettings, Settings},
    state::State,
    workflow::{Definition, TaskKind},
};
use unknot_engine::driver::plant as defect;

/// A wish that somebody comes with.
#[derive(Clone, Debug)]
pub enum Wish {
    /// Have the planned submission of this number accepted; asked again until answered, if it has a key.
    Submit(usize),
    /// End some run.
    Cancel,
    /// Send some run a signal.
    Signal,
    /// Hold something for a while.
    Pause(Millis),
    /// Let it go on.
    Resume(PauseTarget),
    /// Decide about whatever waits for a decision, and end what is frozen.
    Tend,
    /// Change the configuration.
    Configure,
    /// Something is found that people should know, of these few.
    Raise(u64),
    /// It is over.
    Over(u64),
    /// Make a pool, resize it, or take it away.
    SetPool(String, Option<PoolSettings>),
}

/// How the attempts of a world behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// They ask for nothing: there can be no deadlock.
    Silent,
    /// They ask for much, in one order: neither.
    Careful,
    /// They ask as chance has it, and deadlocks are planted among them.
    Wild,
}

/// One planned submission.
#[derive(Clone, Debug)]
pub struct Planned {
    definition: Arc<Definition>,
    idempotency: Option<Idempotency>,
    /// Which step of the brain fails for its run, if one does.
    defect: Option<&'static str>,
    delay: Option<Millis>,
    /// Whether an answer came.
    pub is_answered: bool,
    /// Whether it was sent at least once.
    pub is_sent: bool,
}

/// Everything that people will want.
#[derive(Debug)]
pub struct Workload {
    /// The submissions.
    pub planned: Vec<Planned>,
    /// When somebody comes with what.
    pub plan: Vec<(Millis, Wish)>,
    /// The configuration now.
    pub settings: Settings,
    /// How attempts behave.
    pub mood: Mood,
    /// Planted deadlocks.
    pub plants: Vec<Plant>,
    /// The workflows that attempts and tasks can call, by name.
    library: BTreeMap<Arc<str>, Arc<Definition>>,
}

/// How much is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Submissions.
    pub runs: u64,
    /// Tasks of most workflows at most; one in eight may have ten times as many.
    pub tasks_max: u64,
    /// Until when something new is wanted.
    pub until: Millis,
    /// Whether queues and the namespace may be drawn so small that submissions are refused.
    pub may_refuse: bool,
    /// How attempts behave.
    pub mood: Mood,
    /// Slots of all workers that have the handler.
    pub handler_slots: u32,
}

/// The shortest term of a remote lease in any configuration.
pub const SHORTEST_TERM: Millis = Millis::from_secs(20);
/// Incidents that are told apart.
const INCIDENTS: u64 = 6;
/// Rules that they come from.
const RULES: u64 = 3;
/// Kinds of history lines after which a planted defect strikes, as Rust prints them.
const PLANTS: [&str; 5] = ["RunSubmitted", "TaskGranted", "TaskCompleted", "TaskStarted", "TaskRetrying"];

impl Planned {
    /// Whether it may be asked for again without becoming two runs.
    pub fn is_keyed(&self) -> bool {
        self.idempotency.is_some()
    }

    /// Whether nobody will ask for it again.
    pub fn is_settled(&self) -> bool {
        self.is_answered || (self.is_sent && !self.is_keyed())
    }
}

impl Workload {
    /// Draws the plan of a world.
    pub fn new(chance: &mut Chance, size: Size) -> Self {
        let mut planned: Vec<Planned> = (0..size.runs as usize).map(|number| planned(chance, number, size)).collect();
        let mut plan = Vec::new();
        let mut at = |chance: &mut Chance, wish| plan.push((Millis(chance.between(0, size.until.0)), wish));
        for number in 0..planned.len() {
            at(chance, Wish::Submit(number));
        }
        let mut library = match size.mood {
            Mood::Silent => Vec::new(),
            Mood::Careful => definition::library(chance, Style::Careful),
            Mood::Wild => definition::library(chance, Style::Wild),
        };
        for _ in 0..chance.between(0, size.runs) {
            let pause = Wish::Pause(Millis(chance.between(1_000, 60_000)));
            let wish = chance
                .weighted(&[(4, Wish::Cancel), (4, Wish::Signal), (2, pause), (3, Wish::Tend), (1, Wish::Configure)])
                .clone();
            at(chance, wish);
        }
        for _ in 0..chance.between(0, size.runs * 3) {
            let incident = chance.between(0, INCIDENTS - 1);
            let wish = chance.weighted(&[(3, Wish::Raise(incident)), (2, Wish::Over(incident))]).clone();
            at(chance, wish);
        }
        let plants = if size.mood == Mood::Wild { plants(chance, size) } else { Vec::new() };
        for plant in &plants {
            library.extend(plant.called.iter().cloned());
            sow(chance, size, plant, &mut planned, &mut plan);
        }
        let mut settings = settings(chance, size.mood);
        settings.monitor.cancel_on_deadlock = chance.permille(650);
        if !size.may_refuse {
            settings.bounds.live_tasks_max = Bounds::default().live_tasks_max;
            settings.queues.values_mut().for_each(|queue| queue.max_queue_size = 1_000_000);
            settings.pools.values_mut().for_each(|pool| pool.size = pool.size.max(UNITS_MAX));
        }
        let library = library.into_iter().map(|known| (Arc::clone(&known.body.name), known)).collect();
        Self { planned, plan, settings, mood: size.mood, plants, library }
    }

    /// What a run of a workflow of this name is submitted as, by an attempt.
    pub fn child(&self, workflow: &str, chance: &mut Chance, now: Timestamp) -> Option<Submission> {
        let definition = Arc::clone(self.library.get(workflow)?);
        Some(self.submission(definition, chance, now))
    }

    fn submission(&self, definition: Arc<Definition>, chance: &mut Chance, now: Timestamp) -> Submission {
        Submission {
            calls: self.calls(&definition),
            input: JsonText(r#"{"word":"x","yes":true}"#.into()),
            ..Submission::of(RunId::from_parts(now.0, u128::from(chance.bits())), definition)
        }
    }

    /// The workflows that a definition calls, and those that these call.
    fn calls(&self, definition: &Definition) -> BTreeMap<Arc<str>, Arc<Definition>> {
        let mut found: BTreeMap<Arc<str>, Arc<Definition>> = BTreeMap::new();
        let mut open = called(definition);
        while let Some(name) = open.pop() {
            let Some(known) = self.library.get(&name).filter(|_| !found.contains_key(&name)) else { continue };
            open.extend(called(known));
            found.insert(name, Arc::clone(known));
        }
        found
    }

    /// The submission of this number as an event, unless it is answered, or must not be repeated.
    pub fn submit(
        &mut self,
        number: usize,
        chance: &mut Chance,
        now: Timestamp,
        facts: Facts,
        caller: Caller,
    ) -> Option<Event> {
        let planned = self.planned.get_mut(number)?;
        if planned.is_answered || (planned.is_sent && planned.idempotency.is_none()) {
            return None;
        }
        planned.is_sent = true;
        let planned = planned.clone();
        let labels = planned.defect.map(|kind| (defect::LABEL.to_owned(), kind.to_owned()));
        let submission = self.submission(planned.definition, chance, now);
        Some(Event::RunSubmitted(Box::new(Submission {
            labels: labels.into_iter().collect(),
            idempotency: planned.idempotency,
            start_at: planned.delay.map(|delay| now.plus(delay)),
            facts,
            caller,
            ..submission
        })))
    }

    /// The key of a planned submission.
    pub fn key(&self, number: usize) -> Option<&Idempotency> {
        self.planned.get(number)?.idempotency.as_ref()
    }

    /// Draws a new configuration: pools and bounds grow and shrink.
    pub fn configure(&mut self, chance: &mut Chance) -> Event {
        let monitor = self.settings.monitor;
        self.settings = Settings { monitor, ..settings(chance, self.mood) };
        // Never below what a task that was accepted may ask for: that would be a deadlock by decree.
        self.settings.pools.values_mut().for_each(|pool| pool.size = pool.size.max(UNITS_MAX));
        Event::SettingsApplied(Box::new(self.settings.clone()))
    }
}

/// Something to hold.
pub fn pause_target(chance: &mut Chance, runs: &[RunId]) -> PauseTarget {
    match chance.between(0, 2) {
        0 if !runs.is_empty() => PauseTarget::Run(*chance.pick(runs)),
        1 => PauseTarget::Workflow(format!("flow-{}", chance.between(0, 2))),
        _ => PauseTarget::Queue((*chance.pick(&QUEUES)).to_owned()),
    }
}

/// The wish to end a run.
pub fn cancel(run: RunId, force: bool, facts: Facts, caller: Caller) -> Event {
    let request = CancelRequest { reason: "not wanted".to_owned(), by: "somebody".to_owned(), force, facts };
    Event::RunCancelRequested { run, request, caller }
}

/// Decisions about every task that waits for one.
pub fn decisions(state: &State, chance: &mut Chance, mut caller: impl FnMut() -> Caller) -> Vec<Event> {
    let waiting = state.runs.values().flat_map(|run| {
        let held = |wait: &unknot_core::run::Wait| matches!(wait.on, WaitOn::Decision | WaitOn::Confirmation);
        run.indexed_tasks().filter(move |(_, task)| task.wait().is_some_and(held)).map(|(index, _)| run.id.task(index))
    });
    let decide = |task| {
        let decision = *chance.pick(&[Decision::Retry, Decision::Fail]);
        Event::TaskDecided { task, decision, caller: caller() }
    };
    waiting.map(decide).collect()
}

fn planned(chance: &mut Chance, number: usize, size: Size) -> Planned {
    let asks = match size.mood {
        Mood::Silent => None,
        Mood::Careful => Some(Asks { style: Style::Careful, level: LEVELS }),
        Mood::Wild => Some(Asks { style: Style::Wild, level: LEVELS }),
    };
    let tasks_max = if chance.permille(120) { size.tasks_max * 10 } else { size.tasks_max };
    // Keys are few, so that some come twice, with the same body or with another.
    let idempotency = chance.permille(700).then(|| Idempotency {
        key: format!("key-{}", chance.between(0, size.runs * 2)),
        body_hash: chance.pick(&["a", "b"]).to_string(),
    });
    Planned {
        definition: definition::definition(chance, number, tasks_max, asks),
        idempotency,
        defect: chance.permille(60).then(|| *chance.pick(&PLANTS)),
        delay: chance.permille(150).then(|| Millis(chance.between(0, 60_000))),
        is_answered: false,
        is_sent: false,
    }
}

fn called(definition: &Definition) -> Vec<Arc<str>> {
    let name = |kind: &TaskKind| match kind {
        TaskKind::Workflow(child) => Some(Arc::clone(&child.workflow)),
        _ => None,
    };
    definition.body.tasks.iter().filter_map(|task| name(&task.kind)).collect()
}

/// A few deadlocks, of any kinds.
fn plants(chance: &mut Chance, size: Size) -> Vec<Plant> {
    let mut plants: Vec<Plant> = Vec::new();
    for number in 0..chance.between(0, 4) as usize {
        let kind = *chance.pick(&Kind::ALL);
        // Two of them would want the same slots.
        let is_second = kind == Kind::Slots && plants.iter().any(|plant| plant.kind == kind);
        if !is_second && (kind != Kind::Slots || size.handler_slots > 0) {
            plants.push(Plant::new(number, kind, size.handler_slots));
        }
    }
    plants
}

/// Has a plant grow: its pool, then its runs, all at about the same time.
fn sow(chance: &mut Chance, size: Size, plant: &Plant, planned: &mut Vec<Planned>, plan: &mut Vec<(Millis, Wish)>) {
    let begin = chance.between(0, size.until.0);
    if let Some((name, pool)) = &plant.pool {
        plan.push((Millis(begin), Wish::SetPool(name.clone(), Some(*pool))));
        if let Some((size, after)) = plant.shrinks {
            let pool = PoolSettings { size, ..*pool };
            plan.push((Millis(begin + 200 + after.0), Wish::SetPool(name.clone(), Some(pool))));
        }
    }
    for (place, definition) in plant.runs.iter().enumerate() {
        plan.push((Millis(begin + 200 + chance.between(0, 300)), Wish::Submit(planned.len())));
        let idempotency = Idempotency { key: format!("plant-{}-{place}", plant.number), body_hash: "p".to_owned() };
        planned.push(Planned {
            definition: Arc::clone(definition),
            idempotency: Some(idempotency),
            defect: None,
            delay: None,
            is_answered: false,
            is_sent: false,
        });
    }
}

fn settings(chance: &mut Chance, mood: Mood) -> Settings {
    let mut queue = |_| QueueSettings {
        max_queue_size: *chance.weighted(&[(8, 1_000_000), (1, 50)]),
        visibility_timeout: *chance.pick(&[SHORTEST_TERM, Millis::from_secs(60), Millis::from_secs(300)]),
        max_retries: 3,
        low_counts_as_high_after: Millis::from_secs(*chance.pick(&[5, 600])),
    };
    let queues = QUEUES.iter().map(|name| ((*name).to_owned(), queue(name))).collect();
    let pools: BTreeMap<String, PoolSettings> = POOLS
        .iter()
        .map(|name| {
            let lend = mood == Mood::Wild && chance.permille(400);
            (
                (*name).to_owned(),
                PoolSettings { size: *chance.pick(&[1, 2, 2, 3, 3, 4, 4, 4]), lend, on_deadlock: None },
            )
        })
        .collect();
    let bounds = Bounds {
        step_changes_max: *chance.pick(&[4, 16, 64, 1_000]),
        lost_max: *chance.pick(&[2, 10]),
        prefetch_factor: *chance.pick(&[1, 4]),
        live_tasks_max: *chance.weighted(&[(8, 1_000_000), (1, 60)]),
        ..Bounds::default()
    };
    Settings { queues, pools, bounds, alerts: alerts(chance), ..Settings::default() }
}

/// Targets are always the same: what is said to one that is gone is lost by somebody's wish.
fn alerts(chance: &mut Chance) -> AlertSettings {
    let target = |name: &str, send_resolved, least| (name.to_owned(), AlertTarget { send_resolved, least });
    AlertSettings {
        targets: [target("ops", false, Severity::Info), target("oncall", true, Severity::Error)].into(),
        rules: [rule(chance.between(0, RULES - 1))].into(),
        alerts_max: *chance.pick(&[1, 3, 20]),
        window: Millis::from_secs(*chance.pick(&[20, 120])),
    }
}

fn rule(number: u64) -> String {
    format!("rule-{}", number % RULES)
}

/// That one of the few incidents has begun.
pub fn raised(number: u64) -> Event {
    let breach = Breach {
        rule: rule(number),
        metric: Metric::OldestAge,
        queue: None,
        value: 9.5,
        threshold: 1.0,
        lasting: Millis::from_secs(3),
    };
    let severity = if number.is_multiple_of(2) { Severity::Error } else { Severity::Warning };
    let (summary, about) = ("something is slow".to_owned(), About::Breach(Box::new(breach)));
    let is_momentary = number == 0;
    Event::AlertRaised(Box::new(Incident { key: incident(number), severity, summary, about, is_momentary }))
}

/// That it is over.
pub fn over(number: u64) -> Event {
    Event::AlertResolved { key: incident(number) }
}

fn incident(number: u64) -> String {
    format!("incident-{number}")
}
