//! Every order of grants, one at a time: can a set of runs come to where nobody can do anything any more?
//!
//! Written from what is decided about grants alone, on the definitions themselves. It knows nothing of rules, of
//! what plays a part, or of runs that are alike: each task is granted, works, asks, starts runs and ends in steps of its
//! own.

use std::collections::{BTreeMap, HashSet};
use unknot_core::{
    TaskIndex,
    proof::Declared,
    wait::{Class, Expr, Hold, Node, NodeState, Part, Queue, Resource, Snapshot, Until as Ends, Wait, reduce},
    workflow::{Definition, OnFailure, TaskDef, TaskKind, Until, When},
};

/// Runs that a task starts at most, where it may start any number.
const SPAWNED_MAX: usize = 3;
/// Deepest nesting; deeper runs end at once.
const DEPTH_MAX: usize = 16;
/// The resources that there may be, in their places.
const NAMES: [&str; 5] = ["p0", "p1", "l0", "l1", "slots of workers"];
const SLOTS: usize = 4;

/// Units of each resource.
type Units = [u8; NAMES.len()];

/// A run: what its tasks do, in their order.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Run {
    flow: usize,
    tasks: Vec<Task>,
}

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Task {
    Pending,
    Busy { holds: Vec<Held>, passed: u8, doing: What, children: Vec<Run> },
    Ended { well: bool, ran: bool },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum What {
    Working,
    Asking,
    Waiting,
}

/// Units of a resource, from the pool or from the task at that depth above.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Held {
    resource: u8,
    units: u8,
    from: Option<u8>,
}

/// A workflow with what its tasks ask for.
struct Flow<'d> {
    definition: &'d Definition,
    tasks: Vec<Asking>,
}

struct Asking {
    first: Units,
    steps: Vec<Units>,
    /// The workflows that it may start.
    starts: Vec<usize>,
    primaries: Vec<usize>,
}

pub(crate) struct Explorer<'d> {
    flows: Vec<Flow<'d>>,
    sizes: [Option<u8>; NAMES.len()],
    lends: [bool; NAMES.len()],
    /// States after which it is given up.
    most: usize,
    /// Whether each state on the way is judged as well.
    judges_all: bool,
}

pub(crate) enum Found {
    Deadlock,
    Nothing,
    TooMuch,
}

impl<'d> Explorer<'d> {
    pub(crate) fn new(declared: &'d Declared, most: usize, judges_all: bool) -> Self {
        let names: Vec<&str> = declared.workflows.keys().map(|name| &**name).collect();
        let flow = |name: &str| names.iter().position(|known| *known == name).expect("a workflow that is there");
        let pool = |name: &str| declared.pools.get(name);
        let size = |place: usize| match place {
            SLOTS => declared.slots.map(|slots| slots as u8),
            place => Some(pool(NAMES[place]).map_or(1, |pool| pool.size as u8)),
        };
        let definitions = declared.workflows.values().map(|definition| &**definition);
        Self {
            flows: definitions.map(|definition| Flow::of(definition, &flow)).collect(),
            sizes: std::array::from_fn(size),
            lends: std::array::from_fn(|place| place == SLOTS || pool(NAMES[place]).is_some_and(|pool| pool.lends)),
            most,
            judges_all,
        }
    }

    /// Looks at every order in which these runs are served.
    pub(crate) fn explore(&self, roots: &[String]) -> Found {
        let flow = |name: &String| self.flows.iter().position(|flow| *flow.definition.body.name == **name);
        let mut first: Vec<Run> = roots.iter().map(|name| self.fresh(flow(name).expect("a root"))).collect();
        first.sort_unstable();
        let (mut seen, mut open) = (HashSet::from([first.clone()]), vec![first]);
        let mut found = false;
        while let Some(runs) = open.pop() {
            if seen.len() > self.most {
                return if found { Found::Deadlock } else { Found::TooMuch };
            }
            let next = self.next(&runs);
            let is_stuck = next.is_empty() && !runs.iter().all(Run::has_ended);
            if is_stuck {
                assert_eq!(self.judge(&runs), Class::Deadlocked, "nobody can move, and the graph does not say so");
                found = true;
                if !self.judges_all {
                    return Found::Deadlock;
                }
            } else if self.judges_all {
                // A part of it may be dead while the rest goes on; then it ends in a state that is stuck.
                found |= self.judge(&runs) == Class::Deadlocked;
            }
            for mut state in next {
                state.sort_unstable();
                if seen.insert(state.clone()) {
                    open.push(state);
                }
            }
        }
        if found { Found::Deadlock } else { Found::Nothing }
    }

    fn fresh(&self, flow: usize) -> Run {
        self.skipped(Run { flow, tasks: vec![Task::Pending; self.flows[flow].tasks.len()] })
    }

    fn next(&self, runs: &[Run]) -> Vec<Vec<Run>> {
        let mut held = Units::default();
        runs.iter().for_each(|run| sum_of_pools(run, &mut held));
        let mut all = Vec::new();
        for (place, run) in runs.iter().enumerate() {
            for next in self.next_of(run, &held, &[]) {
                let mut runs = runs.to_vec();
                runs[place] = next;
                all.push(runs);
            }
        }
        all
    }

    /// `above` says of each task above what it holds and has not lent.
    fn next_of(&self, run: &Run, held: &Units, above: &[Units]) -> Vec<Run> {
        let flow = &self.flows[run.flow];
        let mut all = Vec::new();
        for place in 0..run.tasks.len() {
            let def = &flow.definition.body.tasks[place];
            let nexts = match &run.tasks[place] {
                Task::Pending if flow.is_ready(run, place) => self.begin(def, &flow.tasks[place], held, above),
                Task::Busy { .. } => self.go_on(def, &flow.tasks[place], &run.tasks[place], held, above),
                _ => Vec::new(),
            };
            for task in nexts {
                let mut run = run.clone();
                run.tasks[place] = task;
                all.push(self.skipped(run));
            }
        }
        all
    }

    fn begin(&self, def: &TaskDef, asking: &Asking, held: &Units, above: &[Units]) -> Vec<Task> {
        let mut all = Vec::new();
        for holds in self.ways(&asking.first, held, above) {
            match &def.kind {
                TaskKind::Workflow(child) => {
                    let most = match &child.for_each {
                        None => 1,
                        Some(each) => each
                            .items
                            .as_array()
                            .map_or(SPAWNED_MAX, Vec::len)
                            .min(each.max_parallel.unwrap_or(9) as usize),
                    };
                    for count in 1..=most {
                        all.push(self.with_children(&holds, 0, asking.starts[0], count, above.len(), true));
                    }
                }
                TaskKind::Sleep(_) => all.push(Task::Ended { well: true, ran: true }),
                _ => all.push(Task::Busy { holds, passed: 0, doing: What::Working, children: Vec::new() }),
            }
        }
        all
    }

    fn with_children(
        &self,
        holds: &[Held],
        passed: u8,
        flow: usize,
        count: usize,
        depth: usize,
        is_parent: bool,
    ) -> Task {
        let mut children: Vec<Run> = if depth >= DEPTH_MAX { Vec::new() } else { vec![self.fresh(flow); count] };
        children.retain(|child| !child.has_ended());
        match children.is_empty() {
            true if is_parent => Task::Ended { well: true, ran: true },
            true => Task::Busy { holds: holds.to_vec(), passed, doing: What::Working, children },
            false => Task::Busy { holds: holds.to_vec(), passed, doing: What::Waiting, children },
        }
    }

    fn go_on(&self, def: &TaskDef, asking: &Asking, task: &Task, held: &Units, above: &[Units]) -> Vec<Task> {
        let Task::Busy { holds, passed, doing, children } = task else { return Vec::new() };
        let steps = asking.steps.len() as u8;
        let mut all = Vec::new();
        match doing {
            What::Working => {
                // It may pass any step.
                for step in *passed..steps {
                    all.push(Task::Busy {
                        holds: holds.clone(),
                        passed: step,
                        doing: What::Asking,
                        children: Vec::new(),
                    });
                }
                for &flow in &asking.starts {
                    for count in 1..=SPAWNED_MAX {
                        let task = self.with_children(holds, *passed, flow, count, above.len(), false);
                        all.extend(matches!(&task, Task::Busy { doing: What::Waiting, .. }).then_some(task));
                    }
                }
                all.push(Task::Ended { well: true, ran: true });
                if matches!(def.on_failure, OnFailure::Fallback(_)) {
                    all.push(Task::Ended { well: false, ran: true });
                }
            }
            What::Asking => {
                for more in self.ways(&asking.steps[*passed as usize], held, above) {
                    let mut holds: Vec<Held> = holds.iter().copied().chain(more).collect();
                    holds.sort_unstable();
                    all.push(Task::Busy { holds, passed: passed + 1, doing: What::Working, children: Vec::new() });
                }
            }
            What::Waiting => {
                let mut above = above.to_vec();
                above.push(self.left_to_lend(holds, children, above.len()));
                for (place, child) in children.iter().enumerate() {
                    for next in self.next_of(child, held, &above) {
                        let mut children = children.clone();
                        children[place] = next;
                        children.retain(|child| !child.has_ended());
                        children.sort_unstable();
                        let is_over = children.is_empty() && matches!(def.kind, TaskKind::Workflow(_));
                        if is_over && matches!(def.on_failure, OnFailure::Fallback(_)) {
                            all.push(Task::Ended { well: false, ran: true });
                        }
                        all.push(match children.is_empty() {
                            true if is_over => Task::Ended { well: true, ran: true },
                            true => {
                                Task::Busy { holds: holds.clone(), passed: *passed, doing: What::Working, children }
                            }
                            false => {
                                Task::Busy { holds: holds.clone(), passed: *passed, doing: What::Waiting, children }
                            }
                        });
                    }
                }
            }
        }
        all
    }

    fn left_to_lend(&self, holds: &[Held], children: &[Run], depth: usize) -> Units {
        let mut left = Units::default();
        for held in holds.iter().filter(|held| self.lends[held.resource as usize]) {
            left[held.resource as usize] += held.units;
        }
        children.iter().for_each(|child| take_borrowed(child, depth as u8, &mut left));
        left
    }

    /// Each way in which units are there: each resource from the pool or from one lender.
    fn ways(&self, units: &Units, held: &Units, above: &[Units]) -> Vec<Vec<Held>> {
        let mut ways = vec![Vec::new()];
        for (resource, &asked) in units.iter().enumerate().filter(|(_, asked)| **asked > 0) {
            let mut sources: Vec<Option<u8>> = Vec::new();
            if self.sizes[resource].is_none_or(|size| held[resource] + asked <= size) {
                sources.push(None);
            }
            let has = |depth: &u8| above[*depth as usize][resource] >= asked;
            sources.extend((0..above.len() as u8).filter(has).map(Some));
            let more = |way: &Vec<Held>, from| {
                let held = Held { resource: resource as u8, units: asked, from };
                way.iter().copied().chain([held]).collect::<Vec<_>>()
            };
            ways = ways.iter().flat_map(|way| sources.iter().map(move |from| more(way, *from))).collect();
        }
        ways
    }

    /// Ends what can never begin.
    fn skipped(&self, mut run: Run) -> Run {
        let flow = &self.flows[run.flow];
        while let Some(place) = (0..run.tasks.len()).find(|place| flow.is_over(&run, *place)) {
            run.tasks[place] = Task::Ended { well: false, ran: false };
        }
        run
    }

    /// What the wait graph says of a state.
    fn judge(&self, runs: &[Run]) -> Class {
        let mut view = View { explorer: self, graph: Snapshot::default() };
        for (place, name) in NAMES.iter().enumerate() {
            let units = self.sizes[place].map_or(1_000_000, u64::from);
            view.graph.resources.push(Resource { id: (*name).to_owned(), label: None, units, queue: Queue::Any });
        }
        for (number, run) in runs.iter().enumerate() {
            view.run(run, &format!("r{number}"), &mut Vec::new());
        }
        reduce(&view.graph).verdict
    }
}

impl<'d> Flow<'d> {
    fn of(definition: &'d Definition, flow: &dyn Fn(&str) -> usize) -> Self {
        let units = |resources: &BTreeMap<String, u32>| -> Units {
            std::array::from_fn(|place| resources.get(NAMES[place]).map_or(0, |units| *units as u8))
        };
        let asking = |(place, def): (usize, &TaskDef)| {
            let mut first = units(&def.resources);
            first[SLOTS] = u8::from(matches!(def.kind, TaskKind::Exec(_)));
            let starts = match &def.kind {
                TaskKind::Workflow(child) => vec![flow(&child.workflow)],
                _ => def.spawns.iter().flatten().map(|name| flow(name)).collect(),
            };
            let of_it = |task: &TaskDef| task.on_failure == OnFailure::Fallback(TaskIndex(place as u32));
            let tasks = &definition.body.tasks;
            let primaries = (0..tasks.len()).filter(|primary| of_it(&tasks[*primary])).collect();
            Asking { first, steps: def.acquires.iter().flatten().map(units).collect(), starts, primaries }
        };
        Self { definition, tasks: definition.body.tasks.iter().enumerate().map(asking).collect() }
    }

    fn is_ready(&self, run: &Run, place: usize) -> bool {
        let def = &self.definition.body.tasks[place];
        let met = def.needs.of.iter().filter(|need| meets(&run.tasks[need.task.0 as usize], need.until)).count();
        let failed = |primary: &usize| matches!(run.tasks[*primary], Task::Ended { well: false, ran: true });
        let is_called = def.when != When::Fallback || self.tasks[place].primaries.iter().any(failed);
        met >= def.needs.at_least as usize && is_called && self.has_place(run, def)
    }

    fn has_place(&self, run: &Run, def: &TaskDef) -> bool {
        let is_attempt = |place: &usize| self.tasks[*place].first[SLOTS] > 0;
        let busy =
            (0..run.tasks.len()).filter(is_attempt).filter(|place| matches!(run.tasks[*place], Task::Busy { .. }));
        let most = self.definition.body.max_parallel.unwrap_or(u32::MAX) as usize;
        !matches!(def.kind, TaskKind::Exec(_)) || busy.count() < most
    }

    fn is_over(&self, run: &Run, place: usize) -> bool {
        if run.tasks[place] != Task::Pending {
            return false;
        }
        let def = &self.definition.body.tasks[place];
        let is_open = |task: &Task| matches!(task, Task::Pending | Task::Busy { .. });
        let possible = def.needs.of.iter().filter(|need| {
            let task = &run.tasks[need.task.0 as usize];
            is_open(task) || meets(task, need.until)
        });
        let spared = |primary: &usize| match &run.tasks[*primary] {
            Task::Ended { well, ran } => *well || !*ran,
            _ => false,
        };
        possible.count() < def.needs.at_least as usize
            || (def.when == When::Fallback && self.tasks[place].primaries.iter().all(spared))
    }
}

struct View<'e> {
    explorer: &'e Explorer<'e>,
    graph: Snapshot,
}

impl View<'_> {
    fn node(&mut self, id: &str, state: NodeState, parts: Vec<Part>) {
        self.graph.nodes.push(Node { id: id.to_owned(), label: None, state, generation: 0, cost: None, version: 0 });
        if state == NodeState::Waiting {
            self.graph.waits.push(Wait { node: id.to_owned(), expr: Expr::all(parts), since: None, deadline_s: None });
        }
    }

    fn run(&mut self, run: &Run, id: &str, above: &mut Vec<String>) {
        let flow = &self.explorer.flows[run.flow];
        let definition = flow.definition;
        let task_id = |place: usize| format!("{id}.{place}");
        let end = |place: usize, until: Ends| Part::Node { node: task_id(place), until };
        let parts = (0..run.tasks.len()).map(|place| end(place, Ends::Terminal)).collect();
        self.node(id, NodeState::Waiting, parts);
        let places = definition.body.max_parallel.map(|most| (format!("{id} parallel"), most));
        if let Some((id, most)) = &places {
            self.graph.resources.push(Resource {
                id: id.clone(),
                label: None,
                units: (*most).into(),
                queue: Queue::Any,
            });
        }
        for place in 0..run.tasks.len() {
            let def = &definition.body.tasks[place];
            let own_place = places.as_ref().filter(|_| matches!(def.kind, TaskKind::Exec(_))).map(|(id, _)| id.clone());
            match &run.tasks[place] {
                Task::Pending => {
                    let needs = def.needs.of.iter().map(|need| {
                        end(
                            need.task.0 as usize,
                            if need.until == Until::Succeeded { Ends::Success } else { Ends::Terminal },
                        )
                    });
                    let mut parts = vec![Part::Expr(Expr::at_least(def.needs.at_least as usize, needs.collect()))];
                    let primaries = &flow.tasks[place].primaries;
                    if def.when == When::Fallback {
                        parts.push(Part::Expr(Expr::any(
                            primaries.iter().map(|primary| end(*primary, Ends::Terminal)).collect(),
                        )));
                    }
                    parts.extend(self.parts(&flow.tasks[place].first, above));
                    parts.extend(own_place.map(|resource| Part::Resource { resource, units: 1 }));
                    self.node(&task_id(place), NodeState::Waiting, parts);
                }
                Task::Ended { well, .. } => {
                    self.node(&task_id(place), if *well { NodeState::Done } else { NodeState::Failed }, Vec::new());
                }
                Task::Busy { holds, passed, doing, children } => {
                    let id = task_id(place);
                    let places = own_place.map(|resource| (resource, 1));
                    let held = holds.iter().map(|held| match held.from {
                        None => (NAMES[held.resource as usize].to_owned(), held.units),
                        Some(depth) => (lent(held.resource.into(), &above[depth as usize]), held.units),
                    });
                    for (resource, units) in held.chain(places) {
                        self.graph.holds.push(Hold {
                            node: id.clone(),
                            resource,
                            units: units.into(),
                            generation: None,
                            leaked: false,
                        });
                    }
                    let mut to_lend = Units::default();
                    holds.iter().for_each(|held| to_lend[held.resource as usize] += held.units);
                    for (resource, units) in to_lend.into_iter().enumerate().filter(|(_, units)| *units > 0) {
                        let id = lent(resource, &id);
                        self.graph.resources.push(Resource { id, label: None, units: units.into(), queue: Queue::Any });
                    }
                    above.push(id.clone());
                    let mut ends = Vec::new();
                    for (number, child) in children.iter().enumerate() {
                        let child_id = format!("{id}.{number}c");
                        self.run(child, &child_id, above);
                        ends.push(Part::Node { node: child_id, until: Ends::Terminal });
                    }
                    above.pop();
                    match doing {
                        What::Working => self.node(&id, NodeState::Running, Vec::new()),
                        What::Waiting => self.node(&id, NodeState::Waiting, ends),
                        What::Asking => {
                            let parts = self.parts(&flow.tasks[place].steps[*passed as usize], above);
                            self.node(&id, NodeState::Waiting, parts);
                        }
                    }
                }
            }
        }
    }

    fn parts(&self, units: &Units, above: &[String]) -> Vec<Part> {
        let known = |id: &String| self.graph.resources.iter().any(|resource| resource.id == *id);
        let one = |(resource, units): (usize, &u8)| {
            let mut sources = vec![NAMES[resource].to_owned()];
            if self.explorer.lends[resource] {
                sources.extend(above.iter().map(|task| lent(resource, task)).filter(known));
            }
            let part = |resource| Part::Resource { resource, units: (*units).into() };
            Part::Expr(Expr::any(sources.into_iter().map(part).collect()))
        };
        units.iter().enumerate().filter(|(_, units)| **units > 0).map(one).collect()
    }
}

fn lent(resource: usize, task: &str) -> String {
    format!("{} of {task}", NAMES[resource])
}

impl Run {
    fn has_ended(&self) -> bool {
        self.tasks.iter().all(|task| matches!(task, Task::Ended { .. }))
    }
}

fn meets(task: &Task, until: Until) -> bool {
    match task {
        Task::Ended { well, .. } => *well || until == Until::Finished,
        _ => false,
    }
}

fn sum_of_pools(run: &Run, held: &mut Units) {
    for task in &run.tasks {
        if let Task::Busy { holds, children, .. } = task {
            let of_pools = holds.iter().filter(|hold| hold.from.is_none());
            of_pools.for_each(|hold| held[hold.resource as usize] += hold.units);
            children.iter().for_each(|child| sum_of_pools(child, held));
        }
    }
}

fn take_borrowed(run: &Run, depth: u8, left: &mut Units) {
    for task in &run.tasks {
        if let Task::Busy { holds, children, .. } = task {
            let borrowed = holds.iter().filter(|held| held.from == Some(depth));
            borrowed.for_each(|held| left[held.resource as usize] -= held.units);
            children.iter().for_each(|child| take_borrowed(child, depth, left));
        }
    }
}
