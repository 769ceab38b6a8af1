//! The reduction: a least fixpoint in time linear in the snapshot.
//!
//! Expressions become gates that count the parts which hold; a part comes to hold at most once. What a
//! removed node gives back opens parts of others, and so on until nothing changes.

use super::{Expr, NodeState, Part, Queue, Snapshot, Until, core_of, graph::Graph, residue};
use crate::{RunId, volatile::Party};
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

impl Verdict {
    /// The dead that wait behind the core and have no part in it. The run of a task in the core stands still by that
    /// task: it is no other.
    pub(crate) fn behind(&self) -> Vec<&str> {
        let core: BTreeSet<&str> = self.core.iter().map(String::as_str).collect();
        let own: BTreeSet<RunId> = self.core.iter().filter_map(|id| Party::of(id)).map(Party::run).collect();
        let is_own = |id: &str| matches!(Party::of(id), Some(Party::Run(run)) if own.contains(&run));
        self.deadlocked.iter().map(String::as_str).filter(|id| !core.contains(id) && !is_own(id)).collect()
    }
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
    Reduced::of(snapshot).verdict
}

/// A verdict with what it was found by.
pub(super) struct Reduced {
    pub(super) verdict: Verdict,
    /// What is left once everything that can go has gone: the dead alone.
    pub(super) residue: Snapshot,
}

impl Reduced {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let graph = Graph::of(snapshot);
        let settled = Reduction::settled(&graph, Assume { outside: true, order: true });
        let dead: Vec<usize> = graph.waiting_except(&settled.freed);
        let moving = Reduction::settled(&graph, Assume { outside: false, order: true });
        let needs_external: Vec<usize> =
            graph.waiting_except(&moving.freed).into_iter().filter(|node| settled.freed[*node]).collect();
        let soft = !dead.is_empty() && {
            let unordered = Reduction::settled(&graph, Assume { outside: true, order: false });
            graph.waiting_except(&unordered.freed).is_empty()
        };
        let verdict = match (dead.is_empty(), soft, needs_external.is_empty()) {
            (false, false, _) => Class::Deadlocked,
            (false, true, _) => Class::Soft,
            (true, _, false) => Class::Stalled,
            (true, _, true) => Class::Moving,
        };
        let residue = residue::of(&settled, &dead);
        let names = |nodes: &[usize]| nodes.iter().map(|node| snapshot.nodes[*node].id.clone()).collect();
        let core: BTreeSet<usize> = {
            let graph = Graph::of(&residue);
            let settled = Reduction::settled(&graph, Assume { outside: true, order: true });
            core_of::sinks(&settled).into_iter().flatten().collect()
        };
        let core = core.into_iter().map(|node| residue.nodes[node].id.clone()).collect();
        let (deadlocked, needs_external) = (names(&dead), names(&needs_external));
        Self { verdict: Verdict { verdict, deadlocked, core, needs_external, soft }, residue }
    }
}

/// Judges two reads of one system that were taken without a consistent cut: only what is dead in both, at
/// the same version and without help from anything else, is confirmed.
pub fn confirm(first: &Snapshot, second: &Snapshot) -> Verdict {
    reduce(&cautious(first, second))
}

/// The second of two reads, with every waiting node that may have moved in between taken for running.
pub(super) fn cautious(first: &Snapshot, second: &Snapshot) -> Snapshot {
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
    cautious
}

/// One change of a queue's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    /// Who goes first.
    pub(super) node: usize,
    /// In whose queue.
    pub(super) resource: usize,
    /// Who stood before.
    pub(super) before: usize,
}

/// Who should pass whom so that a graph which is dead by the order of queues alone moves on, in this order; the first
/// `most` of them.
pub(super) fn reorder(snapshot: &Snapshot, most: usize) -> Vec<Pass> {
    let graph = Graph::of(snapshot);
    let unordered = Reduction::settled(&graph, Assume { outside: true, order: false });
    let mut ordered = Reduction::settled(&graph, Assume { outside: true, order: true });
    let mut passes = Vec::new();
    for node in unordered.removed {
        if ordered.freed[node] {
            continue;
        }
        if passes.len() >= most {
            break;
        }
        // Whoever was removed before it is removed here too, so nothing but the order holds it up.
        for &resource in &graph.stands_in[node] {
            let first = graph.lines[resource].iter().find(|waiter| !ordered.freed[**waiter]);
            if let Some(&before) = first.filter(|first| **first != node)
                && snapshot.resources[resource].queue == Queue::Fifo
            {
                passes.push(Pass { node, resource, before });
            }
        }
        ordered.remove(node);
        ordered.settle();
    }
    passes
}

/// What the reduction takes for granted.
#[derive(Clone, Copy)]
pub(super) struct Assume {
    /// Whether the outside does its part.
    pub(super) outside: bool,
    /// Whether queues keep their order.
    pub(super) order: bool,
}

/// An expression while its parts come to hold.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) missing: usize,
    /// Where it is a part itself; none: the whole wait.
    parent: Option<usize>,
    node: usize,
}

/// One line of waiters for a resource.
#[derive(Clone)]
struct Line {
    /// In the order in which they come to hold.
    terms: Vec<Term>,
    /// The first that does not hold yet; in a queue with an order: whose waiter is not removed yet.
    next: usize,
    free: i128,
    in_order: bool,
}

/// A wish for units.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Term {
    units: u64,
    gate: usize,
    holds: bool,
}

/// A reduction on its way, or at its end.
#[derive(Clone)]
pub(super) struct Reduction<'g> {
    pub(super) graph: &'g Graph<'g>,
    assume: Assume,
    /// In the order in which the expressions of all waits are walked, the outer before the inner.
    pub(super) gates: Vec<Gate>,
    lines: Vec<Line>,
    /// Gates with a part that holds once the node has come to the end that counts.
    on_node: Vec<Vec<(usize, Until)>>,
    /// Gates with a part that holds once the consumable can come, until it can.
    on_consumable: Vec<Vec<usize>>,
    /// Whether it can come.
    pub(super) comes: Vec<bool>,
    /// Consumables that a node produces.
    produces: Vec<Vec<usize>>,
    pub(super) freed: Vec<bool>,
    /// Nodes that were removed, in their order.
    removed: Vec<usize>,
    /// How many of these are worked off.
    done: usize,
}

impl<'g> Reduction<'g> {
    /// The fixpoint.
    pub(super) fn settled(graph: &'g Graph<'g>, assume: Assume) -> Self {
        let snapshot = graph.snapshot;
        let mut produces = vec![Vec::new(); snapshot.nodes.len()];
        for (place, consumable) in snapshot.consumables.iter().enumerate() {
            graph.producers(&consumable.id).for_each(|node| produces[node].push(place));
        }
        let line = |(resource, free): (&super::Resource, &i128)| Line {
            terms: Vec::new(),
            next: 0,
            free: *free,
            in_order: assume.order && resource.queue == Queue::Fifo,
        };
        let comes =
            |known: &super::Consumable| known.available > 0 || known.self_refill || (known.external && assume.outside);
        let mut reduction = Self {
            graph,
            assume,
            gates: Vec::new(),
            lines: snapshot.resources.iter().zip(&graph.free).map(line).collect(),
            on_node: vec![Vec::new(); snapshot.nodes.len()],
            on_consumable: vec![Vec::new(); snapshot.consumables.len()],
            comes: snapshot.consumables.iter().map(comes).collect(),
            produces,
            freed: vec![false; snapshot.nodes.len()],
            removed: Vec::new(),
            done: 0,
        };
        reduction.start();
        reduction.settle();
        reduction
    }

    fn start(&mut self) {
        let mut ready = Vec::new();
        for (node, place) in self.graph.wait_of.iter().enumerate() {
            if let Some(place) = place {
                self.add_gate(&self.graph.snapshot.waits[*place].expr, None, node, &mut ready);
            }
        }
        for (resource, line) in self.lines.iter_mut().enumerate() {
            if line.in_order {
                let place = |term: &Term| self.graph.wait_of[self.gates[term.gate].node];
                line.terms.sort_by_key(place);
            } else {
                line.terms.sort_unstable();
            }
            debug_assert_eq!(line.terms.len(), self.graph.lines[resource].len());
        }
        for (place, node) in self.graph.snapshot.nodes.iter().enumerate() {
            match node.state {
                NodeState::Running => self.remove(place),
                NodeState::External if self.assume.outside => self.remove(place),
                // Nothing that it waits for is known.
                NodeState::Waiting if self.graph.wait_of[place].is_none() => self.remove(place),
                NodeState::External | NodeState::Waiting => {}
                NodeState::Done | NodeState::Failed | NodeState::Cancelled => self.freed[place] = true,
            }
        }
        ready.into_iter().for_each(|gate| self.hold_part(gate));
        (0..self.lines.len()).for_each(|line| self.serve(line));
    }

    /// Works off what was removed, until nothing changes.
    pub(super) fn settle(&mut self) {
        while let Some(&node) = self.removed.get(self.done) {
            self.done += 1;
            self.send(node);
            self.leave(node, &[Until::Terminal, Until::Success]);
        }
    }

    /// Ends a node that is not removed, from outside: it gives back what it holds, but neither succeeds nor sends.
    pub(super) fn abort(&mut self, node: usize) {
        self.freed[node] = true;
        self.leave(node, &[Until::Terminal]);
        self.settle();
    }

    /// Makes the gates of an expression; collects in `ready` a gate for each part that holds already.
    fn add_gate(&mut self, expr: &Expr, parent: Option<usize>, node: usize, ready: &mut Vec<usize>) {
        let gate = self.gates.len();
        self.gates.push(Gate { missing: expr.needed(), parent, node });
        if expr.needed() == 0 {
            // Nothing is missing: it holds at once, told by the count of its first part.
            self.gates[gate].missing = 1;
            ready.push(gate);
        }
        for part in &expr.of {
            match part {
                Part::Expr(inner) => self.add_gate(inner, Some(gate), node, ready),
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
                        _ => self.on_node[node].push((gate, *until)),
                    },
                },
                Part::Consumable { consumable } => match self.graph.consumables.get(consumable.as_str()) {
                    None => {}
                    Some(&place) if self.comes[place] => ready.push(gate),
                    Some(&place) => self.on_consumable[place].push(gate),
                },
            }
        }
    }

    /// One more part of a gate holds.
    fn hold_part(&mut self, mut gate: usize) {
        loop {
            let Gate { missing, parent, node } = &mut self.gates[gate];
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
                    let node = *node;
                    return self.remove(node);
                }
            }
        }
    }

    fn remove(&mut self, node: usize) {
        if !std::mem::replace(&mut self.freed[node], true) {
            self.removed.push(node);
        }
    }

    fn send(&mut self, node: usize) {
        for consumable in std::mem::take(&mut self.produces[node]) {
            self.comes[consumable] = true;
            for gate in std::mem::take(&mut self.on_consumable[consumable]) {
                self.hold_part(gate);
            }
        }
    }

    /// A node that has come to its end gives back what it holds and stands in no line any more.
    fn leave(&mut self, node: usize, ends: &[Until]) {
        for (gate, until) in std::mem::take(&mut self.on_node[node]) {
            if ends.contains(&until) {
                self.hold_part(gate);
            }
        }
        for (resource, units) in &self.graph.holds[node] {
            self.lines[*resource].free += i128::from(*units);
            self.serve(*resource);
        }
        // In a queue with an order, whoever stands behind it comes first now.
        for line in &self.graph.stands_in[node] {
            self.serve(*line);
        }
    }

    /// Units of a resource that nobody holds who is not removed.
    pub(super) fn free(&self, resource: usize) -> i128 {
        self.lines[resource].free
    }

    /// Lets parts hold that a resource has units for, in its order.
    fn serve(&mut self, line: usize) {
        loop {
            let Line { terms, next, free, in_order } = &mut self.lines[line];
            let Some(term) = terms.get_mut(*next) else { return };
            let Term { gate, holds, .. } = *term;
            let fits = *free >= i128::from(term.units);
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
            if !self.freed[self.gates[gate].node] {
                return;
            }
            self.lines[line].next += 1;
        }
    }
}
