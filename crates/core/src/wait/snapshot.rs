//! The wait graph of a state.

use super::{Consumable, Expr, Hold, Node, NodeState, Part, Queue, Resource, Snapshot, Until, Wait};
use crate::{
    RunId, State, TaskIndex, Timestamp,
    ready::{Rank, Supply},
    run::{Phase, Run, Task, TaskEnd, WaitOn},
    volatile::request,
    worker::Serves,
    workflow::{self, Definition, TaskKind, When},
};
use std::collections::BTreeSet;

/// The id of the resource that the slots of all workers are that take everything.
const SLOTS: &str = "slots";

/// Turns a state into its wait graph.
pub fn snapshot(state: &State, now: Timestamp) -> Snapshot {
    let mut view = View { state, now, graph: Snapshot::default(), queued: Vec::new(), outside: BTreeSet::new() };
    view.add_resources();
    let going_on: BTreeSet<RunId> = state.continuations.values().map(|continuation| continuation.run).collect();
    for run in state.runs.values() {
        view.add_run(run, going_on.contains(&run.id));
    }
    view.finish()
}

struct View<'s> {
    state: &'s State,
    now: Timestamp,
    graph: Snapshot,
    /// Waits for a grant; they come last, in the order of grants.
    queued: Vec<(Place, Wait)>,
    /// What only the outside sends.
    outside: BTreeSet<String>,
}

/// Where a queued task stands: those that something closed holds back stand behind all others, since
/// they hold up nobody.
type Place = (bool, Rank);

impl View<'_> {
    fn add_resources(&mut self) {
        let volatile = &self.state.volatile;
        let resource = |id: String, units: u64| Resource { id, units, queue: Queue::Fifo };
        let everything = Serves::default();
        let others = volatile.workers.crews().map(|crew| &**crew).filter(|crew| **crew != everything);
        for crew in std::iter::once(&everything).chain(others) {
            self.graph.resources.push(resource(crew_id(crew), volatile.workers.slots_of(crew)));
        }
        let pools = self.state.pools.iter().map(|(name, pool)| resource(pool_id(name), pool.size.into()));
        self.graph.resources.extend(pools);
        for run in self.state.runs.values() {
            if let Some(most) = self.state.definitions[&run.definition].body.max_parallel {
                self.graph.resources.push(resource(parallel_id(run.id), most.into()));
            }
        }
    }

    fn add_run(&mut self, run: &Run, goes_on: bool) {
        let definition = &self.state.definitions[&run.definition];
        let mut open = Vec::new();
        for (index, task) in run.indexed_tasks() {
            self.add_task(run, definition, index, goes_on);
            if task.end().is_none() {
                open.push(Part::Node { node: run.id.task(index).to_string(), until: Until::Terminal });
            }
        }
        let id = run.id.to_string();
        let version = run.tasks.iter().map(|task| u64::from(task.wait_version)).sum();
        self.graph.nodes.push(Node { id: id.clone(), state: NodeState::Waiting, generation: 0, cost: None, version });
        let since = run.ending.as_ref().map_or(run.submitted_at, |ending| ending.since);
        self.add_wait(id, Expr::all(open), since, run.deadline);
    }

    fn add_task(&mut self, run: &Run, definition: &Definition, index: TaskIndex, goes_on: bool) {
        let task = run.task(index);
        let id = run.id.task(index).to_string();
        let state = match &task.phase {
            Phase::Waiting(_) => NodeState::Waiting,
            Phase::Leased(_) if run.poisoned.is_some() => NodeState::Waiting,
            Phase::Leased(_) => NodeState::Running,
            Phase::Ended(end) => match end.status {
                TaskEnd::Completed => NodeState::Done,
                TaskEnd::Failed => NodeState::Failed,
                TaskEnd::Cancelled | TaskEnd::Skipped => NodeState::Cancelled,
            },
        };
        let (generation, version) = (task.attempts.into(), task.wait_version.into());
        self.graph.nodes.push(Node { id: id.clone(), state, generation, cost: None, version });
        self.add_holds(run, definition, task, &id);
        let bounds = match &task.phase {
            Phase::Waiting(wait) => (wait.since, wait.deadline),
            Phase::Leased(lease) => (lease.granted_at, lease.deadline),
            Phase::Ended(_) => return,
        };
        if run.poisoned.is_some() {
            let word = self.outside(format!("force:{}", run.id));
            return self.add_wait(id, Expr::all(vec![word]), bounds.0, run.deadline);
        }
        let Phase::Waiting(wait) = &task.phase else { return };
        let mut expr = match wait.on {
            WaitOn::Needs => needs(run, definition, index),
            WaitOn::Grant => self.grant(run, definition, index),
            WaitOn::Backoff | WaitOn::Sleep => Expr::all(vec![timer()]),
            WaitOn::Signal => Expr::all(vec![self.outside(signal_id(run.id, definition, index))]),
            WaitOn::Confirmation => Expr::any(vec![self.outside(format!("confirm:{id}")), timer()]),
            WaitOn::Decision => Expr::all(vec![self.outside(format!("decision:{id}"))]),
        };
        if goes_on {
            // The brain itself is not done with this run: the next turn may move it.
            expr = Expr::any(vec![Part::Expr(expr), timer()]);
        }
        if wait.on == WaitOn::Grant {
            let asked = request(run.id, definition, index);
            let held_back = self.state.is_held(run.id.task(index)) || self.state.closed(&asked).is_some();
            let patience = self.state.queue_settings(&asked.demand.queue).low_counts_as_high_after;
            let rank = Rank::of(&asked, wait.seq, self.now.since(wait.since), patience);
            let wait = self.wait(id, expr, bounds.0, bounds.1);
            self.queued.push(((held_back, rank), wait));
        } else {
            self.add_wait(id, expr, bounds.0, bounds.1);
        }
    }

    /// What a task holds under its lease. Work fetched ahead takes no slot before it is started.
    fn add_holds(&mut self, run: &Run, definition: &Definition, task: &Task, id: &str) {
        let Some(lease) = task.lease() else { return };
        let mut hold = |resource: String, units: u32| {
            let (node, generation) = (id.to_owned(), Some(task.attempts.into()));
            self.graph.holds.push(Hold { node, resource, units: units.into(), generation, leaked: false });
        };
        let ahead = lease.prefetched && lease.started_at.is_none();
        if let Some(offer) = self.state.volatile.workers.get(&lease.worker).filter(|_| !ahead) {
            hold(crew_id(&offer.serves), 1);
        }
        lease.holds.iter().for_each(|(name, units)| hold(pool_id(name), *units));
        if definition.body.max_parallel.is_some() {
            hold(parallel_id(run.id), 1);
        }
    }

    /// Everything that a queued task must be granted at once, and whoever holds it back.
    fn grant(&mut self, run: &Run, definition: &Definition, index: TaskIndex) -> Expr {
        let asked = request(run.id, definition, index);
        let units = |resource: String, units: u32| Part::Resource { resource, units: units.into() };
        let workers = &self.state.volatile.workers;
        let mut crews = self.state.crews(&asked);
        crews.retain(|crew| workers.slots_of(crew) > 0);
        let mut parts = vec![match crews.as_slice() {
            [] => self.outside("worker".to_owned()),
            [crew] => units(crew_id(crew), 1),
            crews => Part::Expr(Expr::any(crews.iter().map(|crew| units(crew_id(crew), 1)).collect())),
        }];
        for (name, asked) in &asked.demand.resources {
            parts.push(units(pool_id(name), *asked));
            if self.state.pools.get(name).is_some_and(|pool| pool.poisoned.is_some()) {
                parts.push(self.outside(format!("confirm:{name}")));
            }
        }
        parts.extend(asked.parallel.map(|run| units(parallel_id(run), 1)));
        if self.state.queues.get(&*asked.demand.queue).is_some_and(|queue| queue.paused.is_some()) {
            parts.push(self.outside(format!("resume:queue:{}", asked.demand.queue)));
        }
        if self.state.paused_workflows.contains_key(&*run.workflow) {
            parts.push(self.outside(format!("resume:workflow:{}", run.workflow)));
        }
        if run.paused.is_some() {
            parts.push(self.outside(format!("resume:{}", run.id)));
        }
        if self.state.volatile.focus.as_ref().is_some_and(|focus| !focus.contains(&run.id)) {
            parts.push(self.outside(format!("focus:{}", run.id)));
        }
        Expr::all(parts)
    }

    /// Something that only the outside sends: an operator's word, a worker that joins.
    fn outside(&mut self, id: String) -> Part {
        self.outside.insert(id.clone());
        Part::Consumable { consumable: id }
    }

    fn wait(&self, node: String, expr: Expr, since: Timestamp, deadline: Timestamp) -> Wait {
        let deadline_s = Some(deadline.since(self.now).0 as f64 / 1_000.0);
        Wait { node, expr, since: Some(since.0), deadline_s }
    }

    fn add_wait(&mut self, node: String, expr: Expr, since: Timestamp, deadline: Timestamp) {
        let wait = self.wait(node, expr, since, deadline);
        self.graph.waits.push(wait);
    }

    fn finish(mut self) -> Snapshot {
        self.queued.sort_by_key(|(place, _)| *place);
        self.graph.waits.extend(self.queued.into_iter().map(|(_, wait)| wait));
        let consumable =
            |id: String| Consumable { id, available: 0, producers: Vec::new(), external: true, self_refill: false };
        self.graph.consumables.extend(self.outside.into_iter().map(consumable));
        self.graph
    }
}

fn timer() -> Part {
    Part::Timer { timer: true }
}

fn crew_id(crew: &Serves) -> String {
    if *crew == Serves::default() { SLOTS.to_owned() } else { format!("{SLOTS}: {crew}") }
}

fn pool_id(name: &str) -> String {
    format!("pool:{name}")
}

/// The signal that a task waits for: of its run, by name.
fn signal_id(run: RunId, definition: &Definition, index: TaskIndex) -> String {
    match &definition.task(index).kind {
        TaskKind::Signal(signal) => format!("signal:{run}:{}", signal.name),
        _ => format!("signal:{}", run.task(index)),
    }
}

fn parallel_id(run: RunId) -> String {
    format!("parallel:{run}")
}

/// What a pending task waits for: its run's start, the ends of others, and the call if it is a fallback.
fn needs(run: &Run, definition: &Definition, index: TaskIndex) -> Expr {
    let (task, def) = (run.task(index), definition.task(index));
    let node = |index: TaskIndex, until: Until| Part::Node { node: run.id.task(index).to_string(), until };
    let entry = |need: &workflow::Need| match need.until {
        workflow::Until::Succeeded => node(need.task, Until::Success),
        workflow::Until::Finished => node(need.task, Until::Terminal),
    };
    let mut parts = Vec::new();
    if !run.started {
        parts.push(timer());
    }
    let entries: Vec<Part> = def.needs.of.iter().map(entry).collect();
    match (def.needs.at_least as usize, entries.len()) {
        (_, 0) => {}
        (all, most) if all == most => parts.extend(entries),
        (k, _) => parts.push(Part::Expr(Expr::at_least(k, entries))),
    }
    if def.when == When::Fallback && !task.called {
        let primaries = definition.primaries.get(&index).into_iter().flatten();
        let open = primaries.filter(|primary| run.task(**primary).end().is_none());
        parts.push(Part::Expr(Expr::any(open.map(|primary| node(*primary, Until::Terminal)).collect())));
    }
    Expr::all(parts)
}
