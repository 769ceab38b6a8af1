//! A deadlock that was found, told to people.

use super::{
    graph::{graph, run_id, task_id},
    search::Found,
    system::{Bundle, Kind, Res, System},
    world::{Doing, Free, Held, Now, Path, Run, World, may_begin},
};
use crate::wait::{Snapshot, reduce};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// How runs come to wait for each other for ever.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scenario {
    /// The runs that people started, in the order of their numbers.
    pub runs: Vec<ScenarioRuns>,
    /// Who gets what, then who waits for what, in this order.
    pub steps: Vec<Step>,
    /// Whether no fewer runs would do.
    pub smallest: bool,
    /// What would make it safe, each by itself, tried by the same proof.
    pub changes: Vec<String>,
    /// The wait graph at the end, as `unknot analyze` takes it.
    #[serde(skip)]
    pub graph: Snapshot,
}

/// Runs of one workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ScenarioRuns {
    /// The workflow.
    pub workflow: String,
    /// The number of the first of them; the others follow.
    pub first: usize,
    /// How many there are.
    pub count: usize,
}

/// What a task of some runs does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Whether it is granted something or waits.
    pub kind: StepKind,
    /// The number of the first run.
    pub first: usize,
    /// How many runs do the same, one after the other.
    pub count: usize,
    /// The workflow of these runs.
    pub workflow: String,
    /// The tasks, from the run's own inwards: `outer`, or `outer > inner.step` for the task `step` of its run of
    /// `inner`.
    pub task: String,
    /// How many tasks of each run do that, where it has several of the same kind.
    pub times: u64,
    /// What it is about; several resources are asked for at once.
    pub units: Vec<StepUnits>,
}

/// Units of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepUnits {
    /// The resource.
    pub resource: String,
    /// What it is: `pool`, `lock` or `slots`.
    pub kind: &'static str,
    /// How many of it.
    pub units: u64,
    /// How many there are.
    pub size: Option<u64>,
    /// Who lends them, if not the pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lender: Option<String>,
    /// Of what is waited for: whether it is this that does not come.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_short: bool,
}

/// What a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// It is granted, and holds from then on.
    Gets,
    /// It waits for these, and nobody ever gives them.
    WaitsFor,
}

/// What is waited for: of what, how many units, and whether it is this that does not come.
type Waits = Vec<(Res, u64, bool)>;

impl Scenario {
    pub(super) fn of(world: &World<'_>, found: &Found) -> Self {
        let teller = Teller { world, found };
        let graph = graph(world, &found.runs);
        let cause: BTreeSet<String> = reduce(&graph).core.into_iter().collect();
        let waits = teller.waits(&cause);
        let steps = teller.grants(&waits).into_iter().chain(waits).collect();
        Self { runs: teller.runs(), steps, smallest: found.is_smallest, changes: Vec::new(), graph }
    }
}

struct Teller<'f> {
    world: &'f World<'f>,
    found: &'f Found,
}

impl Teller<'_> {
    fn system(&self) -> &System {
        self.world.system()
    }

    fn runs(&self) -> Vec<ScenarioRuns> {
        let mut all: Vec<ScenarioRuns> = Vec::new();
        for (place, run) in self.found.runs.iter().enumerate() {
            let workflow = self.system().flows[run.flow].name.to_string();
            match all.last_mut().filter(|last| last.workflow == workflow) {
                Some(last) => last.count += 1,
                None => all.push(ScenarioRuns { workflow, first: place + 1, count: 1 }),
            }
        }
        all
    }

    fn name(&self, path: &[(usize, usize)]) -> String {
        let flow = |place: usize| &self.system().flows[path[place].0];
        let name = |place: usize| {
            let task = &flow(place).acts[path[place].1].name;
            if place == 0 { task.to_string() } else { format!("{}.{task}", flow(place).name) }
        };
        (0..path.len()).map(name).collect::<Vec<_>>().join(" > ")
    }

    fn units(&self, path: &[(usize, usize)], held: &[Held]) -> Vec<StepUnits> {
        held.iter()
            .map(|held| StepUnits {
                lender: held.lender.map(|depth| self.name(&path[..=depth])),
                ..self.unit(held.resource, held.units)
            })
            .collect()
    }

    fn unit(&self, resource: Res, units: u64) -> StepUnits {
        let known = &self.system().resources[resource];
        let kind = match known.kind {
            Kind::Pool => "pool",
            Kind::Lock => "lock",
            Kind::Slots => "slots",
        };
        StepUnits { resource: known.name.clone(), kind, units, size: known.size, lender: None, is_short: false }
    }

    /// What was granted and is held at the end. Slots are told of only where they are waited for.
    fn grants(&self, waits: &[Step]) -> Vec<Step> {
        let mut steps = Vec::new();
        let short = || waits.iter().flat_map(|step| &step.units).filter(|unit| unit.is_short);
        for (run, told) in &self.found.story {
            let mut units = self.units(&told.path, &told.held);
            units.retain(|unit| unit.kind != "slots" || short().any(|short| short.resource == unit.resource));
            if units.is_empty() {
                continue;
            }
            self.add(&mut steps, StepKind::Gets, *run, self.name(&told.path), 1, units);
        }
        steps
    }

    /// Who waits for something in vain at the end, of those that are the cause.
    fn waits(&self, cause: &BTreeSet<String>) -> Vec<Step> {
        let free = self.world.free(self.found.runs.iter().map(|run| (run, 1)));
        let mut steps = Vec::new();
        let mut numbers: BTreeMap<usize, usize> = BTreeMap::new();
        for (place, run) in self.found.runs.iter().enumerate() {
            let number = numbers.entry(run.flow).or_default();
            *number += 1;
            let id = run_id(self.world, run.flow, *number);
            let mut look = Look {
                world: self.world,
                cause,
                free: &free,
                path: Vec::new(),
                lends: Vec::new(),
                found: BTreeMap::new(),
            };
            look.run(run, &id);
            for (path, (times, waits)) in look.found {
                let unit = |&(resource, units, is_short): &(Res, u64, bool)| StepUnits {
                    is_short,
                    ..self.unit(resource, units)
                };
                let units = waits.iter().map(unit).collect();
                self.add(&mut steps, StepKind::WaitsFor, place, self.name(&path), times, units);
            }
        }
        steps
    }

    /// Runs that do the same one after the other are one step.
    fn add(&self, steps: &mut Vec<Step>, kind: StepKind, run: usize, task: String, times: u64, units: Vec<StepUnits>) {
        let workflow = self.system().flows[self.found.runs[run].flow].name.to_string();
        if let Some(last) =
            steps.last_mut().filter(|last| last.task == task && last.workflow == workflow && last.units == units)
        {
            if last.first + last.count == run + 1 && last.times == times {
                last.count += 1;
                return;
            }
            if last.first == run + 1 && last.count == 1 {
                last.times += times;
                return;
            }
        }
        steps.push(Step { kind, first: run + 1, count: 1, workflow, task, times, units });
    }
}

/// A look for those who wait in vain in a run.
struct Look<'l> {
    world: &'l World<'l>,
    cause: &'l BTreeSet<String>,
    free: &'l Free,
    path: Path,
    lends: Vec<Vec<(Res, u64)>>,
    /// What each waits for, and how many do the same.
    found: BTreeMap<Path, (u64, Waits)>,
}

impl Look<'_> {
    fn run(&mut self, run: &Run, id: &str) {
        let flow = &self.world.system().flows[run.flow];
        for (place, doing) in run.acts.iter().enumerate() {
            let act = &flow.acts[place];
            let id = task_id(id, &act.name);
            self.path.push((run.flow, place));
            match doing {
                Doing::Pending if may_begin(flow, run, place) => self.add(&act.asks, &id),
                Doing::Active(active) if active.now == Now::Acquires => self.add(&act.steps[active.next_step], &id),
                Doing::Active(active) => {
                    self.lends.push(self.world.to_lend(active, self.path.len() - 1));
                    let children = active.children.iter().flat_map(|(child, count)| (0..*count).map(move |_| child));
                    for (number, child) in children.enumerate() {
                        self.run(child, &task_id(&id, &run_id(self.world, child.flow, number + 1)));
                    }
                    self.lends.pop();
                }
                _ => {}
            }
            self.path.pop();
        }
    }

    fn add(&mut self, bundle: &Bundle, id: &str) {
        if self.cause.contains(id) {
            let is_short = |part: &(Res, u64)| self.world.ways(&vec![*part], self.free, &self.lends).is_empty();
            let waits = bundle.iter().map(|part| (part.0, part.1, is_short(part))).collect();
            self.found.entry(self.path.clone()).or_insert((0, waits)).0 += 1;
        }
    }
}
