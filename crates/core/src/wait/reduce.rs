//! The reduction: a least fixpoint in time linear in the snapshot.
//!
//! Expressions become gates that count the parts which hold; a part comes to hold at most once. What a
//! removed node gives back opens parts of others, and so on until nothing changes.

use super::{Expr, NodeState, Part, Queue, Snapshot, Until, core_of};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a snapshot was judged to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The class that says most.
    pub verdict: Class,
    /// Nodes that can never be granted, whatever running nodes and the outside do.
    pub deadlocked: Vec<String>,
    /// The sink components among them: the cause to show.
    pub core: Vec<String>,
    /// Waiting nodes that are not deadlocked but that only the outside can move.
    pub needs_external: Vec<String>,
    /// Whether ignoring the order of queues frees everybody.
    pub soft: bool,
}

/// The classes of verdicts, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Everybody can go on.
    Moving,
    /// Only the outside can move somebody.
    Stalled,
    /// Dead only because of the order of queues.
    Soft,
    /// Dead.
    Deadlocked,
}

/// Judges a snapshot.
pub fn reduce(snapshot: &Snapshot) -> Verdict {
    let graph = Graph::of(snapshot);
    let freed = graph.freed(Assume { outside: true, order: true });
    let dead: Vec<usize> = graph.waiting_except(&freed);
    let moving = graph.freed(Assume { outside: false, order: true });
    let needs_external: Vec<usize> = graph.waiting_except(&moving).into_iter().filter(|node| freed[*node]).collect();
    let soft = !dead.is_empty() && {
        let unordered = graph.freed(Assume { outside: true, order: false });
        graph.waiting_except(&unordered).is_empty()
    };
    let verdict = match (dead.is_empty(), soft, needs_external.is_empty()) {
        (false, false, _) => Class::Deadlocked,
        (false, true, _) => Class::Soft,
        (true, _, false) => Class::Stalled,
        (true, _, true) => Class::Moving,
    };
    let names = |nodes: &[usize]| nodes.iter().map(|node| snapshot.nodes[*node].id.clone()).collect();
    let core = core_of::sinks(&graph, &freed);
    Verdict { verdict, deadlocked: names(&dead), core: names(&core), needs_external: names(&needs_external), soft }
}

/// Judges two reads of one system that were taken without a consistent cut: only what is dead in both, at
/// the same version and without help from anything else, is confirmed.
pub fn confirm(first: &Snapshot, second: &Snapshot) -> Verdict {
    let before: BTreeSet<String> = reduce(first).deadlocked.into_iter().collect();
    let version = |snapshot: &Snapshot| -> BTreeMap<String, u64> {
        snapshot.nodes.iter().map(|node| (node.id.clone(), node.version)).collect()
    };
    let (was, is) = (version(first), version(second));
    let mut cautious = second.clone();
    for node in &mut cautious.nodes {
        let stayed = before.contains(&node.id) && was.get(&node.id) == is.get(&node.id);
        if node.state == NodeState::Waiting && !stayed {
            // It moved, or may have: whoever waits for it is not proved dead.
            node.state = NodeState::Running;
        }
    }
    reduce(&cautious)
}

/// What the reduction takes for granted.
#[derive(Clone, Copy)]
pub(super) struct Assume {
    /// Whether the outside does its part.
    outside: bool,
    /// Whether queues keep their order.
    order: bool,
}

/// A snapshot with places instead of names.
pub(super) struct Graph<'s> {
    pub(super) snapshot: &'s Snapshot,
    pub(super) nodes: BTreeMap<&'s str, usize>,
    pub(super) resources: BTreeMap<&'s str, usize>,
    consumables: BTreeMap<&'s str, usize>,
    /// Per node: (resource, units) that it holds now and gives back at its end.
    pub(super) holds: Vec<Vec<(usize, u64)>>,
    /// Per resource: units in nobody's hands at the start.
    free: Vec<u64>,
    /// Per resource: the nodes that wait for it, in the order of waits.
    pub(super) lines: Vec<Vec<usize>>,
    /// Per node: the resources that it waits for.
    stands_in: Vec<Vec<usize>>,
}

impl<'s> Graph<'s> {
    fn of(snapshot: &'s Snapshot) -> Self {
        fn places<'s>(ids: impl Iterator<Item = &'s String>) -> BTreeMap<&'s str, usize> {
            ids.enumerate().map(|(place, id)| (id.as_str(), place)).collect()
        }
        let nodes = places(snapshot.nodes.iter().map(|node| &node.id));
        let resources = places(snapshot.resources.iter().map(|resource| &resource.id));
        let consumables = places(snapshot.consumables.iter().map(|consumable| &consumable.id));
        let mut holds = vec![Vec::new(); snapshot.nodes.len()];
        let mut free: Vec<u64> = snapshot.resources.iter().map(|resource| resource.units).collect();
        for hold in &snapshot.holds {
            let Some(&resource) = resources.get(hold.resource.as_str()) else { continue };
            let holder = nodes.get(hold.node.as_str()).map(|node| (*node, &snapshot.nodes[*node]));
            match holder {
                _ if hold.leaked => free[resource] = free[resource].saturating_sub(hold.units),
                Some((place, node)) if !node.state.is_terminal() && node.generation == hold.generation => {
                    free[resource] = free[resource].saturating_sub(hold.units);
                    holds[place].push((resource, hold.units));
                }
                // Stale, or given back at the node's end.
                Some(_) | None => {}
            }
        }
        let mut lines = vec![Vec::new(); snapshot.resources.len()];
        let mut stands_in = vec![Vec::new(); snapshot.nodes.len()];
        for wait in &snapshot.waits {
            let Some(&node) = nodes.get(wait.node.as_str()) else { continue };
            each_term(&wait.expr, &mut |term| {
                if let Part::Resource { resource, .. } = term
                    && let Some(&resource) = resources.get(resource.as_str())
                {
                    lines[resource].push(node);
                    stands_in[node].push(resource);
                }
            });
        }
        Self { snapshot, nodes, resources, consumables, holds, free, lines, stands_in }
    }

    /// Which nodes the reduction removes.
    fn freed(&self, assume: Assume) -> Vec<bool> {
        Reduction::new(self, assume).run()
    }

    /// The nodes that may send a consumable.
    pub(super) fn producers(&self, consumable: &str) -> Vec<&'s str> {
        let known = self.consumables.get(consumable).map(|place| &self.snapshot.consumables[*place]);
        known.map_or_else(Vec::new, |known| known.producers.iter().map(String::as_str).collect())
    }

    /// Waiting nodes that were not removed.
    pub(super) fn waiting_except(&self, freed: &[bool]) -> Vec<usize> {
        let waits = |place: &usize| self.snapshot.nodes[*place].state == NodeState::Waiting && !freed[*place];
        (0..self.snapshot.nodes.len()).filter(waits).collect()
    }
}

/// Calls `visit` with every term of an expression.
pub(super) fn each_term<'e>(expr: &'e Expr, visit: &mut impl FnMut(&'e Part)) {
    for part in &expr.of {
        match part {
            Part::Expr(inner) => each_term(inner, visit),
            term => visit(term),
        }
    }
}

/// An expression while its parts come to hold.
struct Gate {
    missing: usize,
    /// Where it is a part itself; none: the whole wait.
    parent: Option<usize>,
    wait: usize,
}

/// One line of waiters for a resource.
struct Line {
    /// In the order in which they come to hold.
    terms: Vec<Term>,
    /// The first that does not hold yet; in a queue with an order: whose waiter is not removed yet.
    next: usize,
    free: u64,
    in_order: bool,
}

/// A wish for units.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Term {
    units: u64,
    gate: usize,
    holds: bool,
}

struct Reduction<'g> {
    graph: &'g Graph<'g>,
    assume: Assume,
    gates: Vec<Gate>,
    lines: Vec<Line>,
    /// Gates with a part that holds once the node is removed.
    on_node: Vec<Vec<usize>>,
    /// Gates with a part that holds once the consumable can come, until it can.
    on_consumable: Vec<Vec<usize>>,
    /// Consumables that a node produces.
    produces: Vec<Vec<usize>>,
    freed: Vec<bool>,
    /// Nodes removed and not yet worked off.
    pending: Vec<usize>,
}

impl<'g> Reduction<'g> {
    fn new(graph: &'g Graph<'g>, assume: Assume) -> Self {
        let snapshot = graph.snapshot;
        let mut produces = vec![Vec::new(); snapshot.nodes.len()];
        for (place, consumable) in snapshot.consumables.iter().enumerate() {
            for node in consumable.producers.iter().filter_map(|id| graph.nodes.get(id.as_str())) {
                produces[*node].push(place);
            }
        }
        let line = |(resource, free): (&super::Resource, &u64)| Line {
            terms: Vec::new(),
            next: 0,
            free: *free,
            in_order: assume.order && resource.queue == Queue::Fifo,
        };
        Self {
            graph,
            assume,
            gates: Vec::new(),
            lines: snapshot.resources.iter().zip(&graph.free).map(line).collect(),
            on_node: vec![Vec::new(); snapshot.nodes.len()],
            on_consumable: vec![Vec::new(); snapshot.consumables.len()],
            produces,
            freed: vec![false; snapshot.nodes.len()],
            pending: Vec::new(),
        }
    }

    fn run(mut self) -> Vec<bool> {
        let snapshot = self.graph.snapshot;
        let waits: BTreeSet<&str> = snapshot.waits.iter().map(|wait| wait.node.as_str()).collect();
        let mut ready = Vec::new();
        for (place, wait) in snapshot.waits.iter().enumerate() {
            self.add_gate(&wait.expr, None, place, &mut ready);
        }
        for line in &mut self.lines {
            if !line.in_order {
                line.terms.sort_unstable();
            }
        }
        for (place, node) in snapshot.nodes.iter().enumerate() {
            match node.state {
                NodeState::Running => self.remove(place),
                NodeState::External if self.assume.outside => self.remove(place),
                // Nothing that it waits for is known.
                NodeState::Waiting if !waits.contains(node.id.as_str()) => self.remove(place),
                NodeState::External | NodeState::Waiting => {}
                NodeState::Done | NodeState::Failed | NodeState::Cancelled => self.freed[place] = true,
            }
        }
        ready.into_iter().for_each(|gate| self.hold_part(gate));
        for line in 0..self.lines.len() {
            self.serve(line);
        }
        while let Some(node) = self.pending.pop() {
            self.give_back(node);
        }
        self.freed
    }

    /// Makes the gates of an expression; collects in `ready` a gate for each part that holds already.
    fn add_gate(&mut self, expr: &Expr, parent: Option<usize>, wait: usize, ready: &mut Vec<usize>) {
        let gate = self.gates.len();
        self.gates.push(Gate { missing: expr.needed(), parent, wait });
        if expr.needed() == 0 {
            // Nothing is missing: it holds at once, told by the count of its first part.
            self.gates[gate].missing = 1;
            ready.push(gate);
        }
        for part in &expr.of {
            match part {
                Part::Expr(inner) => self.add_gate(inner, Some(gate), wait, ready),
                Part::Timer { .. } => ready.push(gate),
                Part::Resource { resource, units } => {
                    if let Some(&line) = self.graph.resources.get(resource.as_str()) {
                        self.lines[line].terms.push(Term { units: *units, gate, holds: false });
                    }
                }
                Part::Node { node, until } => match self.graph.nodes.get(node.as_str()) {
                    None => {}
                    Some(&node) => match (self.graph.snapshot.nodes[node].state, until) {
                        (NodeState::Done, _) | (NodeState::Failed | NodeState::Cancelled, Until::Terminal) => {
                            ready.push(gate);
                        }
                        (NodeState::Failed | NodeState::Cancelled, Until::Success) => {}
                        _ => self.on_node[node].push(gate),
                    },
                },
                Part::Consumable { consumable } => {
                    let Some(&place) = self.graph.consumables.get(consumable.as_str()) else { continue };
                    let known = &self.graph.snapshot.consumables[place];
                    if known.available > 0 || known.self_refill || (known.external && self.assume.outside) {
                        ready.push(gate);
                    } else {
                        self.on_consumable[place].push(gate);
                    }
                }
            }
        }
    }

    /// One more part of a gate holds.
    fn hold_part(&mut self, mut gate: usize) {
        loop {
            let Gate { missing, parent, wait } = &mut self.gates[gate];
            if *missing == 0 {
                return;
            }
            *missing -= 1;
            if *missing > 0 {
                return;
            }
            match *parent {
                Some(outer) => gate = outer,
                None => {
                    let waiter = self.graph.snapshot.waits[*wait].node.as_str();
                    if let Some(&node) = self.graph.nodes.get(waiter) {
                        self.remove(node);
                    }
                    return;
                }
            }
        }
    }

    fn remove(&mut self, node: usize) {
        if !std::mem::replace(&mut self.freed[node], true) {
            self.pending.push(node);
        }
    }

    /// A removed node gives back what it holds, has come to its end, and may have sent what it can send.
    fn give_back(&mut self, node: usize) {
        for gate in std::mem::take(&mut self.on_node[node]) {
            self.hold_part(gate);
        }
        for consumable in std::mem::take(&mut self.produces[node]) {
            for gate in std::mem::take(&mut self.on_consumable[consumable]) {
                self.hold_part(gate);
            }
        }
        for (resource, units) in &self.graph.holds[node] {
            self.lines[*resource].free += units;
            self.serve(*resource);
        }
        // In a queue with an order, whoever stands behind it comes first now.
        for line in &self.graph.stands_in[node] {
            self.serve(*line);
        }
    }

    /// Lets parts hold that a resource has units for, in its order.
    fn serve(&mut self, line: usize) {
        loop {
            let Line { terms, next, free, in_order } = &mut self.lines[line];
            let Some(term) = terms.get_mut(*next) else { return };
            let Term { gate, holds, .. } = *term;
            let fits = *free >= term.units;
            term.holds |= fits;
            if !*in_order {
                if !fits {
                    return;
                }
                *next += 1;
                self.hold_part(gate);
                continue;
            }
            if fits && !holds {
                self.hold_part(gate);
            }
            // Whoever is first in an ordered line stays first until it is removed.
            if !self.is_gone(gate) {
                return;
            }
            self.lines[line].next += 1;
        }
    }

    /// Whether the waiter whom a gate belongs to is removed.
    fn is_gone(&self, gate: usize) -> bool {
        let waiter = self.graph.snapshot.waits[self.gates[gate].wait].node.as_str();
        self.graph.nodes.get(waiter).is_none_or(|node| self.freed[*node])
    }
}
