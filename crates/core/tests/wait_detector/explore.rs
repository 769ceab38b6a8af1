//! Everything that could happen, step by step: who can ever be granted?
//!
//! Written from the words of the format alone, and knows nothing of reductions: it takes units and gives them back, lets
//! nodes end well or badly, send or not, in every order.

use std::collections::{BTreeSet, HashSet};
use unknot_core::wait::{Expr, Mode, NodeState, Part, Queue, Snapshot, Until};

/// States after which a search is given up.
const STATES_MAX: usize = 60_000;

/// What is searched through.
#[derive(Clone, Copy)]
pub(crate) struct World {
    /// Whether people and remote services do their part.
    pub(crate) outside: bool,
    /// Whether queues keep their order.
    pub(crate) order: bool,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    nodes: Vec<NodeState>,
    /// Per node and resource: units that it was granted on the way.
    granted: Vec<Vec<u64>>,
    sent: Vec<bool>,
}

struct Search<'s> {
    snapshot: &'s Snapshot,
    world: World,
}

/// Which waiting nodes can be granted in some future; none if there are too many futures.
pub(crate) fn explore(snapshot: &Snapshot, world: World) -> Option<BTreeSet<String>> {
    let search = Search { snapshot, world };
    let waiting = snapshot.nodes.iter().filter(|node| node.state == NodeState::Waiting).count();
    let first = State {
        nodes: snapshot.nodes.iter().map(|node| node.state).collect(),
        granted: vec![vec![0; snapshot.resources.len()]; snapshot.nodes.len()],
        sent: vec![false; snapshot.consumables.len()],
    };
    let (mut seen, mut open) = (HashSet::from([first.clone()]), vec![first]);
    let mut went_on = BTreeSet::new();
    while let Some(state) = open.pop() {
        if went_on.len() == waiting {
            break;
        }
        if seen.len() > STATES_MAX {
            return None;
        }
        for (node, next) in search.next(&state) {
            went_on.extend(node.map(|node| snapshot.nodes[node].id.clone()));
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    Some(went_on)
}

impl Search<'_> {
    /// Every next state, with the node that was granted, if it is a grant.
    fn next(&self, state: &State) -> Vec<(Option<usize>, State)> {
        let mut all = Vec::new();
        for node in 0..state.nodes.len() {
            match state.nodes[node] {
                NodeState::Running => self.run(state, node, &mut all),
                NodeState::External if self.world.outside => self.run(state, node, &mut all),
                NodeState::Waiting => {
                    let wait = self.snapshot.waits.iter().find(|wait| wait.node == self.snapshot.nodes[node].id);
                    for taken in wait.map_or(vec![Vec::new()], |wait| self.ways(state, node, &wait.expr)) {
                        let mut next = state.clone();
                        next.nodes[node] = NodeState::Running;
                        taken.into_iter().for_each(|(resource, units)| next.granted[node][resource] += units);
                        all.push((Some(node), next));
                    }
                }
                _ => {}
            }
        }
        for (place, consumable) in self.snapshot.consumables.iter().enumerate() {
            if consumable.external && self.world.outside && !state.sent[place] {
                let mut next = state.clone();
                next.sent[place] = true;
                all.push((None, next));
            }
        }
        all
    }

    /// What a node that works can do.
    fn run(&self, state: &State, node: usize, all: &mut Vec<(Option<usize>, State)>) {
        for end in [NodeState::Done, NodeState::Failed] {
            let mut next = state.clone();
            next.nodes[node] = end;
            next.granted[node].fill(0);
            all.push((None, next));
        }
        for (place, consumable) in self.snapshot.consumables.iter().enumerate() {
            if !state.sent[place] && consumable.producers.contains(&self.snapshot.nodes[node].id) {
                let mut next = state.clone();
                next.sent[place] = true;
                all.push((None, next));
            }
        }
    }

    fn free(&self, state: &State, resource: usize) -> i64 {
        let known = &self.snapshot.resources[resource];
        let mut free = known.units as i64;
        for hold in self.snapshot.holds.iter().filter(|hold| hold.resource == known.id) {
            let place = self.node(&hold.node);
            let is_current = hold.generation.is_none_or(|of| of == self.snapshot.nodes[place].generation);
            let is_over = matches!(state.nodes[place], NodeState::Done | NodeState::Failed | NodeState::Cancelled);
            if is_current && (!is_over || hold.leaked) {
                free -= hold.units as i64;
            }
        }
        free - state.granted.iter().map(|granted| granted[resource] as i64).sum::<i64>()
    }

    /// Each way in which an expression holds now, with the units that are taken by it.
    fn ways(&self, state: &State, node: usize, expr: &Expr) -> Vec<Vec<(usize, u64)>> {
        let parts: Vec<Vec<Vec<(usize, u64)>>> = expr.of.iter().map(|part| self.part(state, node, part)).collect();
        let needed = match expr.mode {
            Mode::All => parts.len(),
            Mode::Any => 1,
            Mode::K => expr.k.expect("mode k says how many"),
        };
        let mut ways = Vec::new();
        for bits in (0_u32..1 << parts.len()).filter(|bits| bits.count_ones() as usize == needed) {
            let mut so_far = vec![Vec::new()];
            for part in (0..parts.len()).filter(|part| bits & (1 << part) != 0) {
                so_far = so_far
                    .iter()
                    .flat_map(|taken: &Vec<_>| parts[part].iter().map(|more| [taken.as_slice(), more].concat()))
                    .collect();
            }
            ways.extend(so_far);
        }
        ways
    }

    fn part(&self, state: &State, node: usize, part: &Part) -> Vec<Vec<(usize, u64)>> {
        let holds = match part {
            Part::Expr(inner) => return self.ways(state, node, inner),
            Part::Timer { .. } => true,
            Part::Node { node, until } => match state.nodes[self.node(node)] {
                NodeState::Done => true,
                NodeState::Failed | NodeState::Cancelled => *until == Until::Terminal,
                _ => false,
            },
            Part::Consumable { consumable } => {
                let place = self.snapshot.consumables.iter().position(|known| known.id == *consumable);
                let place = place.expect("a consumable that is there");
                let known = &self.snapshot.consumables[place];
                known.available > 0 || known.self_refill || state.sent[place]
            }
            Part::Resource { resource, units } => {
                let place = self.snapshot.resources.iter().position(|known| known.id == *resource);
                let place = place.expect("a resource that is there");
                let is_first = !self.world.order
                    || self.snapshot.resources[place].queue == Queue::Any
                    || self.is_first(state, node, resource);
                return match is_first && self.free(state, place) >= *units as i64 {
                    true => vec![vec![(place, *units)]],
                    false => Vec::new(),
                };
            }
        };
        if holds { vec![Vec::new()] } else { Vec::new() }
    }

    /// Whether nobody who still waits came to a resource before.
    fn is_first(&self, state: &State, node: usize, resource: &str) -> bool {
        fn asks(expr: &Expr, resource: &str) -> bool {
            expr.of.iter().any(|part| match part {
                Part::Expr(inner) => asks(inner, resource),
                Part::Resource { resource: asked, .. } => asked == resource,
                _ => false,
            })
        }
        let own = &self.snapshot.nodes[node].id;
        let mut earlier = self.snapshot.waits.iter().take_while(|wait| wait.node != *own);
        !earlier.any(|wait| state.nodes[self.node(&wait.node)] == NodeState::Waiting && asks(&wait.expr, resource))
    }

    fn node(&self, id: &str) -> usize {
        self.snapshot.nodes.iter().position(|node| node.id == id).expect("a node that is there")
    }
}
