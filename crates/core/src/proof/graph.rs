//! A state of the declared system as a wait graph, so that whoever judges the waits of real runs judges it as well.

use super::{
    system::{Bundle, Res},
    world::{Active, Doing, Held, Now, Run, World},
};
use crate::{
    wait::{Expr, Hold, Node, NodeState, Part, Queue, Resource, Snapshot, Until as Ends, Wait},
    workflow::Until,
};
use std::collections::BTreeMap;

/// The wait graph of these runs.
pub(super) fn graph(world: &World<'_>, runs: &[Run]) -> Snapshot {
    let mut graph = Grapher { world, graph: Snapshot::default() };
    for resource in &world.system().resources {
        // Of what nobody knows, there is always enough here.
        let units = resource.size.unwrap_or(u64::MAX >> 1);
        graph.graph.resources.push(Resource { id: resource.name.clone(), label: None, units, queue: Queue::Any });
    }
    let mut numbers: BTreeMap<usize, usize> = BTreeMap::new();
    for run in runs {
        let number = numbers.entry(run.flow).or_default();
        *number += 1;
        let id = run_id(world, run.flow, *number);
        graph.add_run(run, &id, &mut Vec::new());
    }
    graph.graph
}

/// The id of a run, among those that the same task or person started.
pub(super) fn run_id(world: &World<'_>, flow: usize, number: usize) -> String {
    format!("{} #{number}", world.system().flows[flow].name)
}

/// The id of what stands below another.
pub(super) fn task_id(above: &str, name: &str) -> String {
    format!("{above} / {name}")
}

struct Grapher<'w> {
    world: &'w World<'w>,
    graph: Snapshot,
}

impl Grapher<'_> {
    fn node(&mut self, id: &str, state: NodeState) {
        self.graph.nodes.push(Node { id: id.to_owned(), label: None, state, generation: 0, cost: None, version: 0 });
    }

    fn wait(&mut self, node: &str, parts: Vec<Part>) {
        self.graph.waits.push(Wait { node: node.to_owned(), expr: Expr::all(parts), since: None, deadline_s: None });
    }

    /// `above` are the tasks above the run, each with what it holds.
    fn add_run(&mut self, run: &Run, id: &str, above: &mut Vec<(String, Vec<Held>)>) {
        let flow = &self.world.system().flows[run.flow];
        let task_id = |place: usize| task_id(id, &flow.acts[place].name);
        let open = (0..run.acts.len()).filter(|place| matches!(run.acts[*place], Doing::Pending | Doing::Active(_)));
        let open: Vec<Part> = open.map(|place| Part::Node { node: task_id(place), until: Ends::Terminal }).collect();
        self.node(id, if open.is_empty() { NodeState::Done } else { NodeState::Waiting });
        if !open.is_empty() {
            self.wait(id, open);
        }
        if let Some(most) = flow.max_parallel {
            self.graph.resources.push(Resource { id: parallel(id), label: None, units: most, queue: Queue::Any });
        }
        for (place, doing) in run.acts.iter().enumerate() {
            let task = task_id(place);
            let state = match doing {
                Doing::Pending => NodeState::Waiting,
                Doing::Active(active) if active.now == Now::Works => NodeState::Running,
                Doing::Active(_) => NodeState::Waiting,
                Doing::Done => NodeState::Done,
                Doing::Failed => NodeState::Failed,
                Doing::Skipped => NodeState::Cancelled,
            };
            self.node(&task, state);
            match doing {
                Doing::Pending => {
                    let parts = self.before_begin(run, place, id, above);
                    self.wait(&task, parts);
                }
                Doing::Active(active) => self.add_active(run, place, (id, &task), active, above),
                Doing::Done | Doing::Failed | Doing::Skipped => {}
            }
        }
    }

    /// What a task that has not begun waits for.
    fn before_begin(&self, run: &Run, place: usize, id: &str, above: &[(String, Vec<Held>)]) -> Vec<Part> {
        let flow = &self.world.system().flows[run.flow];
        let act = &flow.acts[place];
        let node = |task: usize, until: Ends| Part::Node { node: task_id(id, &flow.acts[task].name), until };
        let needs = act.needs.of.iter().map(|&(task, until)| match until {
            Until::Succeeded => node(task, Ends::Success),
            Until::Finished => node(task, Ends::Terminal),
        });
        let needs: Vec<Part> = needs.collect();
        let mut parts = Vec::new();
        if !needs.is_empty() {
            parts.push(Part::Expr(Expr::at_least(act.needs.at_least, needs)));
        }
        let called = act.fallback_of.iter().any(|task| run.acts[*task] == Doing::Failed);
        if !act.fallback_of.is_empty() && !called {
            let open = act.fallback_of.iter().filter(|task| !matches!(run.acts[**task], Doing::Done | Doing::Skipped));
            parts.push(Part::Expr(Expr::any(open.map(|task| node(*task, Ends::Terminal)).collect())));
        }
        parts.extend(self.bundle(&act.asks, above));
        if act.is_attempt && flow.max_parallel.is_some() {
            parts.push(Part::Resource { resource: parallel(id), units: 1 });
        }
        parts
    }

    /// Units that are asked for at once: of each resource from the pool, or from one of those that lend it.
    fn bundle(&self, bundle: &Bundle, above: &[(String, Vec<Held>)]) -> Vec<Part> {
        let part = |&(resource, units): &(Res, u64)| {
            let known = &self.world.system().resources[resource];
            let from = |resource: String| Part::Resource { resource, units };
            let has = |(_, held): &&(String, Vec<Held>)| held.iter().any(|held| held.resource == resource);
            let lenders =
                above.iter().filter(has).filter(|_| known.lends).map(|(task, _)| from(lent(task, &known.name)));
            let mut sources: Vec<Part> = [from(known.name.clone())].into_iter().chain(lenders).collect();
            match sources.len() {
                1 => sources.remove(0),
                _ => Part::Expr(Expr::any(sources)),
            }
        };
        bundle.iter().map(part).collect()
    }

    fn add_active(
        &mut self,
        run: &Run,
        place: usize,
        (above_it, task): (&str, &str),
        active: &Active,
        above: &mut Vec<(String, Vec<Held>)>,
    ) {
        let act = &self.world.system().flows[run.flow].acts[place];
        self.add_holds(task, &active.holds, above);
        if act.is_attempt && self.world.system().flows[run.flow].max_parallel.is_some() {
            let (node, resource) = (task.to_owned(), parallel(above_it));
            self.graph.holds.push(Hold { node, resource, units: 1, generation: None, leaked: false });
        }
        match active.now {
            Now::Works => {}
            Now::Acquires => {
                let parts = self.bundle(&act.steps[active.next_step], above);
                self.wait(task, parts);
            }
            Now::Calls(_) => {
                above.push((task.to_owned(), active.holds.clone()));
                let mut children = Vec::new();
                for (child, count) in &active.children {
                    for _ in 0..*count {
                        let number = children.len() + 1;
                        let id = task_id(task, &run_id(self.world, child.flow, number));
                        self.add_run(child, &id, above);
                        children.push(Part::Node { node: id, until: Ends::Terminal });
                    }
                }
                above.pop();
                self.wait(task, children);
            }
        }
    }

    /// What a task holds; what it may lend is a resource of its own.
    fn add_holds(&mut self, task: &str, holds: &[Held], above: &[(String, Vec<Held>)]) {
        let mut lendable: BTreeMap<Res, u64> = BTreeMap::new();
        for held in holds {
            let name = &self.world.system().resources[held.resource].name;
            let resource = match held.lender {
                None => name.clone(),
                Some(depth) => lent(&above[depth].0, name),
            };
            self.graph.holds.push(Hold {
                node: task.to_owned(),
                resource,
                units: held.units,
                generation: None,
                leaked: false,
            });
            if self.world.system().lends(held.resource) {
                *lendable.entry(held.resource).or_default() += held.units;
            }
        }
        for (resource, units) in lendable {
            let id = lent(task, &self.world.system().resources[resource].name);
            self.graph.resources.push(Resource { id, label: None, units, queue: Queue::Any });
        }
    }
}

fn parallel(run: &str) -> String {
    format!("places of {run}")
}

fn lent(task: &str, resource: &str) -> String {
    format!("{resource} of {task}")
}
