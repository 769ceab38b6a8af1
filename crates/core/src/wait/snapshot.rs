//! The wait graph of a state.

use super::{
    Consumable, Expr, Hold, Node, NodeState, Part, Price, Queue, Resource, Snapshot, Until, Wait, naming::label_of,
    price::spare_who_gives_nothing,
};
use crate::{
    RunId, State, TaskId, TaskIndex, Timestamp,
    ready::{Rank, Supply},
    run::{Awaited, Child, Lease, Phase, Run, RunStatus, Task, TaskEnd, WaitOn},
    volatile::{Lent, Party, request},
    worker::{Serves, WorkKind},
    workflow::{self, Definition, Priority, TaskKind, When},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The price of what has no attempt that could be made again: above that of anything that has one.
const NEVER_CHOSEN: f64 = 1e12;

/// Before the id of what a waiting task lends.
pub(super) const LENT: &str = "lent:";

/// Behind the id of a signal that only some tasks send.
pub(crate) const DECLARED: &str = ":declared";

/// The id of the resource that the slots of all workers are that take everything.
const SLOTS: &str = "slots";

/// Turns a state into its wait graph.
pub fn snapshot(state: &State, now: Timestamp) -> Snapshot {
    let mut view = View::new(state, now, None);
    view.add_resources();
    let going_on: BTreeSet<RunId> = state.continuations.values().map(|continuation| continuation.run).collect();
    for run in state.runs.values() {
        view.add_run(run, going_on.contains(&run.id));
    }
    view.finish()
}

/// The part of a state's wait graph that is made of these alone: whatever of their waits holds by others is a timer,
/// nobody else holds anything, and what nobody of them wants is left out.
pub(crate) fn among(state: &State, now: Timestamp, parties: &BTreeSet<Party>) -> Snapshot {
    let mut view = View::new(state, now, Some(parties));
    for party in parties {
        match party {
            Party::Run(id) => {
                if let Some(run) = state.runs.get(id) {
                    view.add_run_node(run);
                }
            }
            Party::Task(id) => {
                if let Some(run) = state.runs.get(&id.run) {
                    view.add_task(run, &state.definitions[&run.definition], id.index, false);
                }
            }
        }
    }
    let wanted: BTreeSet<String> = terms_of(&view.graph, &view.queued).into_iter().map(str::to_owned).collect();
    view.graph.holds.retain(|hold| wanted.contains(&hold.resource));
    view.add_some(&wanted);
    view.finish()
}

fn terms_of<'g>(graph: &'g Snapshot, queued: &'g [(Place, Wait)]) -> Vec<&'g str> {
    fn collect<'g>(expr: &'g Expr, found: &mut Vec<&'g str>) {
        for part in &expr.of {
            match part {
                Part::Expr(inner) => collect(inner, found),
                Part::Resource { resource, .. } => found.push(resource),
                Part::Node { .. } | Part::Consumable { .. } | Part::Timer { .. } => {}
            }
        }
    }
    let mut found = Vec::new();
    let waits = graph.waits.iter().chain(queued.iter().map(|(_, wait)| wait));
    waits.for_each(|wait| collect(&wait.expr, &mut found));
    found
}

struct View<'s> {
    state: &'s State,
    now: Timestamp,
    /// Only these are in it; none: everybody.
    only: Option<&'s BTreeSet<Party>>,
    graph: Snapshot,
    /// Waits for a grant; they come last, in the order of grants.
    queued: Vec<(Place, Wait)>,
    /// What only the outside sends.
    outside: BTreeSet<String>,
    /// Signals with declared senders, and these.
    sent: BTreeMap<String, BTreeSet<String>>,
}

/// Where a queued task stands: those that something closed holds back stand behind all others, since
/// they hold up nobody.
type Place = (bool, Rank);

impl<'s> View<'s> {
    fn new(state: &'s State, now: Timestamp, only: Option<&'s BTreeSet<Party>>) -> Self {
        Self {
            state,
            now,
            only,
            graph: Snapshot::default(),
            queued: Vec::new(),
            outside: BTreeSet::new(),
            sent: BTreeMap::new(),
        }
    }

    fn add_resources(&mut self) {
        let volatile = &self.state.volatile;
        let resource =
            |id: String, units: u64| Resource { label: label_of(self.state, &id), id, units, queue: Queue::Any };
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
        for lender in self.state.children.keys() {
            for (lent, units) in self.lends(*lender) {
                self.graph.resources.push(resource(lent_id(*lender, &lent), units));
            }
        }
    }

    /// The resources of these ids alone.
    fn add_some(&mut self, wanted: &BTreeSet<String>) {
        for id in wanted {
            if let Some(units) = self.units_of(id) {
                let label = label_of(self.state, id);
                self.graph.resources.push(Resource { id: id.clone(), label, units, queue: Queue::Any });
            }
        }
    }

    /// How many units the resource of an id has.
    fn units_of(&self, id: &str) -> Option<u64> {
        if let Some(name) = id.strip_prefix("pool:") {
            return self.state.pools.get(name).map(|pool| pool.size.into());
        }
        if let Some(run) = id.strip_prefix("parallel:") {
            let run = self.state.runs.get(&run.parse().ok()?)?;
            return self.state.definitions[&run.definition].body.max_parallel.map(u64::from);
        }
        if let Some((lender, lent)) = id.strip_prefix(LENT).and_then(|id| id.split_once(':')) {
            let lender: TaskId = lender.parse().ok()?;
            let lends = self.lends(lender).into_iter();
            return lends.filter(|(known, _)| lent_word(known) == lent).map(|(_, units)| units).next();
        }
        let workers = &self.state.volatile.workers;
        let everything = Serves::default();
        let crews = workers.crews().map(|crew| &**crew).chain([&everything]);
        crews.filter(|crew| crew_id(crew) == id).map(|crew| workers.slots_of(crew)).next()
    }

    /// What a task that has spawned runs can lend them: its slot, and its units of pools that lend, or did so.
    fn lends(&self, id: TaskId) -> Vec<(Lent, u64)> {
        let spawned = self.state.task(id).filter(|_| self.state.children.contains_key(&id));
        let Some(lease) = spawned.and_then(Task::lease) else { return Vec::new() };
        let has_lent = |pool: &String| self.state.volatile.lent.contains_key(&(id, Lent::Pool(pool.clone())));
        let lends = |pool: &String| self.state.pools.get(pool).is_some_and(|pool| pool.lend) || has_lent(pool);
        let pools = lease.holds.iter().filter(|(pool, _)| lends(pool));
        let slot = self.state.volatile.workers.get(&lease.worker).map(|_| (Lent::Slot, 1));
        slot.into_iter().chain(pools.map(|(pool, units)| (Lent::Pool(pool.clone()), (*units).into()))).collect()
    }

    fn add_run(&mut self, run: &Run, goes_on: bool) {
        let definition = &self.state.definitions[&run.definition];
        for (index, _) in run.indexed_tasks() {
            self.add_task(run, definition, index, goes_on);
        }
        self.add_run_node(run);
    }

    fn add_run_node(&mut self, run: &Run) {
        let open = run.indexed_tasks().filter(|(_, task)| task.end().is_none());
        let open: Vec<TaskId> = open.map(|(index, _)| run.id.task(index)).collect();
        let open = open.into_iter().filter(|id| self.is_shown(Party::Task(*id)));
        let open = open.map(|id| Part::Node { node: id.to_string(), until: Until::Terminal }).collect();
        let id = run.id.to_string();
        let version = run.tasks.iter().map(|task| u64::from(task.wait_version)).sum();
        let cost = run.parent.as_ref().map(|_| NEVER_CHOSEN);
        let (label, state) = (Some(format!("run of {}", run.workflow)), NodeState::Waiting);
        self.graph.nodes.push(Node { id: id.clone(), label, state, generation: 0, cost, version });
        let since = run.ending.as_ref().map_or(run.submitted_at, |ending| ending.since);
        self.add_wait(id, Expr::all(open), since, run.deadline);
    }

    fn is_shown(&self, party: Party) -> bool {
        self.only.is_none_or(|only| only.contains(&party))
    }

    /// The end of a node that is shown; what is not is on its way there.
    fn node(&self, party: Party, until: Until) -> Part {
        match (self.is_shown(party), party) {
            (false, _) => timer(),
            (true, Party::Task(id)) => Part::Node { node: id.to_string(), until },
            (true, Party::Run(id)) => Part::Node { node: id.to_string(), until },
        }
    }

    fn add_task(&mut self, run: &Run, definition: &Definition, index: TaskIndex, goes_on: bool) {
        let task = run.task(index);
        let id = run.id.task(index).to_string();
        let state = match &task.phase {
            Phase::Waiting(_) => NodeState::Waiting,
            Phase::Leased(lease) if run.poisoned.is_some() || lease.waits() => NodeState::Waiting,
            Phase::Leased(_) => NodeState::Running,
            Phase::Ended(end) => match end.status {
                TaskEnd::Completed => NodeState::Done,
                TaskEnd::Failed => NodeState::Failed,
                TaskEnd::Cancelled | TaskEnd::Skipped => NodeState::Cancelled,
            },
        };
        let (generation, version) = (task.attempts.into(), task.wait_version.into());
        let cost = self.cost(run, definition, index);
        let label = Some(format!("{}/{}", run.workflow, definition.task(index).name));
        self.graph.nodes.push(Node { id: id.clone(), label, state, generation, cost, version });
        self.add_holds(run, definition, index, &id);
        let bounds = match &task.phase {
            Phase::Waiting(wait) => (wait.since, wait.deadline),
            Phase::Leased(lease) => match lease.parked.as_ref().filter(|_| lease.waits()) {
                Some(parked) => (parked.since, parked.deadline),
                None => (lease.granted_at, lease.deadline),
            },
            Phase::Ended(_) => return,
        };
        if run.poisoned.is_some() {
            let word = self.outside(format!("force:{}", run.id));
            return self.add_wait(id, Expr::all(vec![word]), bounds.0, run.deadline);
        }
        let Some(mut expr) = self.expr(run, definition, index) else { return };
        if goes_on || task.lease().is_some_and(|lease| self.state.volatile.workers.is_cut_off(lease)) {
            // The brain itself is not done with this run: the next turn may move it. And whose worker has left, its lease
            // runs out, unless the worker comes again with its slots.
            expr = Expr::any(vec![Part::Expr(expr), timer()]);
        }
        match task.wait().filter(|wait| wait.on == WaitOn::Grant) {
            Some(wait) => {
                let asked = request(run, definition, index);
                let held_back = self.state.is_held(run.id.task(index)) || self.state.closed(&asked).is_some();
                let patience = self.state.queue_settings(&asked.demand.queue).low_counts_as_high_after;
                let rank = Rank::of(&asked, wait.seq, self.now.since(wait.since), patience);
                let wait = self.wait(id, expr, bounds.0, bounds.1);
                self.queued.push(((held_back, rank), wait));
            }
            None => self.add_wait(id, expr, bounds.0, bounds.1),
        }
    }

    /// What an unfinished task waits for; nothing: it works.
    fn expr(&mut self, run: &Run, definition: &Definition, index: TaskIndex) -> Option<Expr> {
        let id = run.id.task(index);
        let wait = match &run.task(index).phase {
            Phase::Waiting(wait) => wait,
            Phase::Leased(lease) if lease.waits() => return self.parked(run, id, lease),
            Phase::Leased(_) | Phase::Ended(_) => return None,
        };
        Some(match wait.on {
            WaitOn::Needs => self.needs(run, definition, index),
            WaitOn::Grant => self.grant(run, definition, index),
            WaitOn::Backoff | WaitOn::Sleep => Expr::all(vec![timer()]),
            WaitOn::Signal => match definition.task(index).kind.awaits() {
                Some((name, from)) => Expr::all(vec![self.signal(run, name, from)]),
                None => Expr::all(vec![self.outside(format!("signal:{id}"))]),
            },
            WaitOn::Confirmation => Expr::any(vec![self.outside(format!("confirm:{id}")), timer()]),
            WaitOn::Decision => Expr::all(vec![self.outside(format!("decision:{id}"))]),
        })
    }

    /// What a running attempt waits for; one that lends, also for all of that to be back.
    fn parked(&mut self, run: &Run, id: TaskId, lease: &Lease) -> Option<Expr> {
        let parked = lease.parked.as_ref()?;
        let mut parts = match parked.over {
            Some(_) => vec![timer()],
            None => vec![self.awaited(run, id, &parked.on)],
        };
        if lease.awaits_children() {
            let lent = self.lends(id).into_iter();
            parts.extend(lent.map(|(lent, units)| Part::Resource { resource: lent_id(id, &lent), units }));
        }
        match parts.len() {
            1 => Some(match parts.remove(0) {
                Part::Expr(expr) => expr,
                term => Expr::all(vec![term]),
            }),
            _ => Some(Expr::all(parts)),
        }
    }

    fn awaited(&mut self, run: &Run, id: TaskId, term: &Awaited) -> Part {
        match term {
            Awaited::Units { pool, units } => self.units(run, pool, *units),
            Awaited::Child { key, until } => {
                let child = self.state.children.get(&id).and_then(|children| children.get(key));
                let until = if *until == workflow::Until::Succeeded { Until::Success } else { Until::Terminal };
                match child {
                    Some(child) => self.child(child, until),
                    None => timer(),
                }
            }
            Awaited::Children => {
                let children = self.state.children.get(&id).into_iter().flatten();
                let open: Vec<&Child> = children.map(|(_, child)| child).filter(|child| child.is_awaited()).collect();
                let ends = open.into_iter().map(|child| self.child(child, Until::Terminal));
                Part::Expr(Expr::all(ends.chain(self.next_begins(id)).collect()))
            }
            Awaited::Signal { name, from } => self.signal(run, name, from),
            Awaited::Timer { .. } => timer(),
            Awaited::AtLeast { k, of } => {
                let parts: Vec<Part> = of.iter().map(|part| self.awaited(run, id, part)).collect();
                Part::Expr(match (*k as usize, parts.len()) {
                    (all, most) if all == most => Expr::all(parts),
                    (1, _) => Expr::any(parts),
                    (k, _) => Expr::at_least(k, parts),
                })
            }
        }
    }

    /// Where a workflow task's next run waits for room: that one of those that have begun ends.
    fn next_begins(&self, id: TaskId) -> Option<Part> {
        let run = self.state.runs.get(&id.run)?;
        let TaskKind::Workflow(call) = &self.state.definitions[&run.definition].task(id.index).kind else {
            return None;
        };
        let most = call.for_each.as_ref()?.max_parallel?;
        let children = self.state.children.get(&id)?;
        let waits = children.values().any(|child| child.input.is_some() && child.ended.is_none());
        let begun: Vec<&Child> =
            children.values().filter(|child| child.input.is_none() && child.ended.is_none()).collect();
        let is_full = waits && begun.len() >= most as usize;
        let ends = || begun.iter().map(|child| self.child(child, Until::Terminal)).collect();
        is_full.then(|| Part::Expr(Expr::any(ends())))
    }

    fn child(&self, child: &Child, until: Until) -> Part {
        match child.ended {
            Some(status) if until == Until::Success && status != RunStatus::Completed => {
                Part::Node { node: child.run.to_string(), until }
            }
            None if child.input.is_none() => self.node(Party::Run(child.run), until),
            _ => timer(),
        }
    }

    /// Units of a pool: of the pool itself, or of an ancestor that lends them.
    fn units(&self, run: &Run, pool: &str, units: u32) -> Part {
        let own = Part::Resource { resource: pool_id(pool), units: units.into() };
        let mut sources = self.of_ancestors(run, &Lent::Pool(pool.to_owned()), units.into(), |_| true);
        if sources.is_empty() {
            return own;
        }
        sources.push(own);
        Part::Expr(Expr::any(sources))
    }

    fn of_ancestors(&self, run: &Run, lent: &Lent, units: u64, may: impl Fn(&Lease) -> bool) -> Vec<Part> {
        let above = run.parent.iter().flat_map(|parent| parent.ancestors());
        let may = |id: &TaskId| self.state.task(*id).and_then(Task::lease).is_some_and(&may);
        let lends = |id: &TaskId| self.lends(*id).iter().any(|(known, _)| known == lent);
        above.filter(may).filter(lends).map(|id| Part::Resource { resource: lent_id(id, lent), units }).collect()
    }

    /// A signal: from anybody, or from the tasks that are said to send it.
    fn signal(&mut self, run: &Run, name: &str, from: &[TaskIndex]) -> Part {
        let id = format!("signal:{}:{name}", run.id);
        if run.signals.contains_key(name) {
            return timer();
        }
        if from.is_empty() {
            return self.outside(id);
        }
        let open = from.iter().filter(|sender| run.task(**sender).end().is_none()).map(|sender| run.id.task(*sender));
        let (shown, others): (Vec<TaskId>, Vec<TaskId>) = open.partition(|sender| self.is_shown(Party::Task(*sender)));
        if !others.is_empty() {
            return timer();
        }
        // Another wait for the same signal may take it from anybody.
        let id = format!("{id}{DECLARED}");
        self.sent.entry(id.clone()).or_default().extend(shown.iter().map(TaskId::to_string));
        Part::Consumable { consumable: id }
    }

    /// What ending a node early would cost; what has no attempt is not chosen.
    fn cost(&self, run: &Run, definition: &Definition, index: TaskIndex) -> Option<f64> {
        let task = run.task(index);
        let lease = match &task.phase {
            Phase::Leased(lease) => lease,
            Phase::Waiting(_) => return Some(NEVER_CHOSEN),
            Phase::Ended(_) => return None,
        };
        let priority = match definition.task(index).priority {
            Priority::Low => 0,
            Priority::Medium => 1,
            Priority::High => 2,
        };
        let work_lost = self.now.since(lease.started_at.unwrap_or(lease.granted_at));
        let (times_chosen, age) = (task.failures.victim, self.now.since(run.submitted_at));
        Some(Price { priority, work_lost, times_chosen, age }.cost())
    }

    /// What a task holds under its lease. Work fetched ahead takes no slot before it is started.
    fn add_holds(&mut self, run: &Run, definition: &Definition, index: TaskIndex, id: &str) {
        let task = run.task(index);
        let Some(lease) = task.lease() else { return };
        let own = if lease.awaits_children() { Vec::new() } else { self.lends_below(run.id.task(index)) };
        let mut hold = |resource: String, units: u64| {
            let (node, generation) = (id.to_owned(), Some(task.attempts.into()));
            self.graph.holds.push(Hold { node, resource, units, generation, leaked: false });
        };
        let ahead = lease.prefetched && lease.started_at.is_none();
        match (lease.slot_of, self.state.volatile.workers.get(&lease.worker).filter(|_| !ahead)) {
            (Some(lender), _) => hold(lent_id(lender, &Lent::Slot), 1),
            (None, Some(offer)) => hold(crew_id(&offer.serves), 1),
            (None, None) => {}
        }
        for (name, units) in &lease.holds {
            let of_others = lease.borrowed_of(name);
            if *units > of_others {
                hold(pool_id(name), (units - of_others).into());
            }
            for (lender, units) in lease.borrowed.get(name).into_iter().flatten() {
                hold(lent_id(*lender, &Lent::Pool(name.clone())), (*units).into());
            }
        }
        own.into_iter().for_each(|(resource, units)| hold(resource, units));
        if definition.body.max_parallel.is_some() {
            hold(parallel_id(run.id), 1);
        }
    }

    /// What a task that does not wait for its children keeps from them.
    fn lends_below(&self, id: TaskId) -> Vec<(String, u64)> {
        if !self.state.children.contains_key(&id) {
            return Vec::new();
        }
        self.lends(id).into_iter().map(|(lent, units)| (lent_id(id, &lent), units)).collect()
    }

    /// Everything that a queued task must be granted at once, and whoever holds it back.
    fn grant(&mut self, run: &Run, definition: &Definition, index: TaskIndex) -> Expr {
        let asked = request(run, definition, index);
        let workers = &self.state.volatile.workers;
        let mut parts = Vec::new();
        if asked.demand.kind != WorkKind::Workflow {
            let mut crews = self.state.crews(&asked);
            crews.retain(|crew| workers.slots_of(crew) > 0);
            let slot = |crew: &Arc<Serves>| Part::Resource { resource: crew_id(crew), units: 1 };
            let takes = |lease: &Lease| {
                workers.get(&lease.worker).is_some_and(|offer| crews.iter().any(|crew| **crew == *offer.serves))
            };
            let mut slots = self.of_ancestors(run, &Lent::Slot, 1, takes);
            slots.extend(crews.iter().map(slot));
            parts.push(match slots.len() {
                0 => self.outside("worker".to_owned()),
                1 => slots.remove(0),
                _ => Part::Expr(Expr::any(slots)),
            });
        }
        for (name, asked) in &asked.demand.resources {
            parts.push(self.units(run, name, *asked));
            if self.only.is_none() && self.state.pools.get(name).is_some_and(|pool| pool.poisoned.is_some()) {
                parts.push(self.outside(format!("confirm:{name}")));
            }
        }
        let parallel = asked.parallel.map(|run| Part::Resource { resource: parallel_id(run), units: 1 });
        parts.extend(parallel);
        if self.only.is_some() {
            // Who holds it back besides is not what keeps it from ever going on.
            return Expr::all(parts);
        }
        if self.state.queues.get(&*asked.demand.queue).is_some_and(|queue| queue.paused.is_some()) {
            parts.push(self.outside(format!("resume:queue:{}", asked.demand.queue)));
        }
        if self.state.paused_workflows.contains_key(&*run.workflow) {
            parts.push(self.outside(format!("resume:workflow:{}", run.workflow)));
        }
        if run.paused.is_some() {
            parts.push(self.outside(format!("resume:{}", run.id)));
        }
        if !self.state.volatile.is_in_focus(run) {
            parts.push(self.outside(format!("focus:{}", run.id)));
        }
        Expr::all(parts)
    }

    /// What a pending task waits for: its run's start, the ends of others, and the call if it is a fallback.
    fn needs(&self, run: &Run, definition: &Definition, index: TaskIndex) -> Expr {
        let (task, def) = (run.task(index), definition.task(index));
        let node = |index: TaskIndex, until: Until| match run.task(index).end() {
            Some(_) => Part::Node { node: run.id.task(index).to_string(), until },
            None => self.node(Party::Task(run.id.task(index)), until),
        };
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
        let consumable = |id: String, senders: Option<BTreeSet<String>>| Consumable {
            label: label_of(self.state, &id),
            id,
            available: 0,
            external: senders.is_none(),
            producers: senders.into_iter().flatten().collect(),
            self_refill: false,
        };
        let outside = self.outside.into_iter().map(|id| consumable(id, None));
        let sent = self.sent.into_iter().map(|(id, senders)| consumable(id, Some(senders)));
        self.graph.consumables.extend(outside.chain(sent));
        spare_who_gives_nothing(&mut self.graph);
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

fn lent_id(lender: TaskId, lent: &Lent) -> String {
    format!("{LENT}{lender}:{}", lent_word(lent))
}

fn lent_word(lent: &Lent) -> String {
    match lent {
        Lent::Slot => "slot".to_owned(),
        Lent::Pool(name) => format!("pool:{name}"),
    }
}

fn parallel_id(run: RunId) -> String {
    format!("parallel:{run}")
}
