//! What a reduction leaves: the dead nodes alone, as a snapshot of its own.
//!
//! Cause, victims and repairs are looked for in it, so that a few dead nodes in a large system cost little.

use super::{
    Consumable, Expr, Hold, NodeState, Part, Snapshot, Until, Wait,
    graph::Graph,
    reduce::{Gate, Reduction},
};
use std::collections::{BTreeMap, BTreeSet};

/// The dead nodes of a settled reduction. Parts that hold have become timers, except that whoever stands in a line
/// stays there; a resource has the units that others do not keep.
pub(super) fn of(settled: &Reduction<'_>, dead: &[usize]) -> Snapshot {
    let graph = settled.graph;
    let mut residue = Snapshot {
        nodes: dead.iter().map(|node| graph.snapshot.nodes[*node].clone()).collect(),
        ..Snapshot::default()
    };
    let places: BTreeSet<usize> = dead.iter().filter_map(|node| graph.wait_of[*node]).collect();
    let (mut resources, mut consumables) = (BTreeSet::new(), BTreeSet::new());
    for place in places {
        let wait = &graph.snapshot.waits[place];
        let expr = rest(settled, &wait.expr, &mut resources, &mut consumables);
        residue.waits.push(Wait { expr, ..wait.clone() });
    }
    let mut units: BTreeMap<usize, i128> = resources.iter().map(|place| (*place, settled.free(*place))).collect();
    for node in dead {
        for (resource, held) in graph.holds[*node].iter().filter(|(resource, _)| resources.contains(resource)) {
            *units.entry(*resource).or_default() += i128::from(*held);
            let node = &graph.snapshot.nodes[*node];
            let generation = Some(node.generation);
            let resource = graph.snapshot.resources[*resource].id.clone();
            residue.holds.push(Hold { node: node.id.clone(), resource, units: *held, generation, leaked: false });
        }
    }
    for (place, units) in units {
        let resource = graph.snapshot.resources[place].clone();
        let id = resource.id.clone();
        residue.resources.push(super::Resource { units: u64::try_from(units).unwrap_or(0), ..resource });
        // Where less than nothing is left for good, not even a request for nothing is served.
        if let (Ok(units @ 1..), Some(node)) = (u64::try_from(-units), residue.nodes.first()) {
            let (node, generation) = (node.id.clone(), Some(node.generation));
            residue.holds.push(Hold { node, resource: id, units, generation, leaked: true });
        }
    }
    let dead_ids: BTreeSet<&str> = dead.iter().map(|node| graph.snapshot.nodes[*node].id.as_str()).collect();
    for place in consumables {
        let known = &graph.snapshot.consumables[place];
        let producers = known.producers.iter().filter(|id| dead_ids.contains(id.as_str())).cloned().collect();
        residue.consumables.push(Consumable { producers, ..known.clone() });
    }
    residue
}

fn rest(
    settled: &Reduction<'_>,
    expr: &Expr,
    resources: &mut BTreeSet<usize>,
    consumables: &mut BTreeSet<usize>,
) -> Expr {
    let graph = settled.graph;
    let mut keep = |part: &Part| match part {
        Part::Expr(inner) => Part::Expr(rest(settled, inner, resources, consumables)),
        Part::Timer { .. } => part.clone(),
        Part::Resource { resource, .. } => {
            resources.extend(graph.resources.get(resource.as_str()));
            part.clone()
        }
        Part::Consumable { consumable } => match graph.consumables.get(consumable.as_str()) {
            Some(&place) if settled.comes[place] => Part::Timer { timer: true },
            Some(&place) => {
                consumables.insert(place);
                part.clone()
            }
            None => part.clone(),
        },
        Part::Node { node, until } => match graph.nodes.get(node.as_str()) {
            Some(&place) if came_to(settled, place, *until) => Part::Timer { timer: true },
            _ => part.clone(),
        },
    };
    Expr { of: expr.of.iter().map(&mut keep).collect(), ..expr.clone() }
}

/// Whether a node is at, or can come to, the end that counts.
fn came_to(settled: &Reduction<'_>, node: usize, until: Until) -> bool {
    match settled.graph.snapshot.nodes[node].state {
        NodeState::Failed | NodeState::Cancelled => until == Until::Terminal,
        _ => settled.freed[node],
    }
}

/// Calls `visit` with each dead node and each term that keeps it from going on, in the order of waits.
///
/// A term counts only if it does not hold and lies within no part that does.
pub(super) fn each_open_term<'s>(settled: &Reduction<'s>, mut visit: impl FnMut(usize, &'s Part)) {
    fn walk<'e>(
        expr: &'e Expr,
        gates: &mut std::slice::Iter<'_, Gate>,
        is_open: bool,
        visit: &mut impl FnMut(&'e Part),
    ) {
        let is_open = gates.next().is_some_and(|gate| gate.missing > 0) && is_open;
        for part in &expr.of {
            match part {
                Part::Expr(inner) => walk(inner, gates, is_open, visit),
                Part::Timer { .. } => {}
                term if is_open => visit(term),
                _ => {}
            }
        }
    }
    let graph: &'s Graph<'s> = settled.graph;
    let mut gates = settled.gates.iter();
    for (node, place) in graph.wait_of.iter().enumerate() {
        let Some(place) = place else { continue };
        let is_dead = !settled.freed[node];
        walk(&graph.snapshot.waits[*place].expr, &mut gates, is_dead, &mut |term| visit(node, term));
    }
}
