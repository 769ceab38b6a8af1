//! A snapshot with places instead of names.

use super::{Expr, NodeState, Part, Snapshot};
use std::collections::BTreeMap;

/// A snapshot as the reduction walks it. Names that nothing has stand for what never comes.
pub(super) struct Graph<'s> {
    pub(super) snapshot: &'s Snapshot,
    pub(super) nodes: BTreeMap<&'s str, usize>,
    pub(super) resources: BTreeMap<&'s str, usize>,
    pub(super) consumables: BTreeMap<&'s str, usize>,
    /// Per node: (resource, units) that it holds now and gives back at its end.
    pub(super) holds: Vec<Vec<(usize, u64)>>,
    /// Per resource: units in nobody's hands at the start; below zero where more is held than there is, as after
    /// a pool was made smaller.
    pub(super) free: Vec<i128>,
    /// Per resource: the nodes that wait for it, in the order of waits.
    pub(super) lines: Vec<Vec<usize>>,
    /// Per node: the resources that it waits for.
    pub(super) stands_in: Vec<Vec<usize>>,
    /// Per node: its wait, if it is waiting.
    pub(super) wait_of: Vec<Option<usize>>,
}

impl<'s> Graph<'s> {
    pub(super) fn of(snapshot: &'s Snapshot) -> Self {
        fn places<'s>(ids: impl Iterator<Item = &'s String>) -> BTreeMap<&'s str, usize> {
            ids.enumerate().map(|(place, id)| (id.as_str(), place)).collect()
        }
        let mut graph = Self {
            snapshot,
            nodes: places(snapshot.nodes.iter().map(|node| &node.id)),
            resources: places(snapshot.resources.iter().map(|resource| &resource.id)),
            consumables: places(snapshot.consumables.iter().map(|consumable| &consumable.id)),
            holds: vec![Vec::new(); snapshot.nodes.len()],
            free: snapshot.resources.iter().map(|resource| resource.units.into()).collect(),
            lines: vec![Vec::new(); snapshot.resources.len()],
            stands_in: vec![Vec::new(); snapshot.nodes.len()],
            wait_of: vec![None; snapshot.nodes.len()],
        };
        graph.take_holds();
        graph.line_up();
        graph
    }

    fn take_holds(&mut self) {
        for hold in &self.snapshot.holds {
            let (node, resource) = (self.nodes.get(hold.node.as_str()), self.resources.get(hold.resource.as_str()));
            let (Some(&place), Some(&resource)) = (node, resource) else { continue };
            let node = &self.snapshot.nodes[place];
            let is_stale = hold.generation.is_some_and(|generation| generation != node.generation);
            if is_stale || (node.state.is_terminal() && !hold.leaked) {
                continue;
            }
            self.free[resource] -= i128::from(hold.units);
            if !hold.leaked && hold.units > 0 {
                self.holds[place].push((resource, hold.units));
            }
        }
    }

    fn line_up(&mut self) {
        for (place, wait) in self.snapshot.waits.iter().enumerate() {
            let Some(&node) = self.nodes.get(wait.node.as_str()) else { continue };
            // Whoever does not wait stands in nobody's way.
            if self.snapshot.nodes[node].state != NodeState::Waiting {
                continue;
            }
            self.wait_of[node] = Some(place);
            each_term(&wait.expr, &mut |term| {
                if let Part::Resource { resource, .. } = term
                    && let Some(&resource) = self.resources.get(resource.as_str())
                {
                    self.lines[resource].push(node);
                    self.stands_in[node].push(resource);
                }
            });
        }
    }

    /// The nodes that may send a consumable.
    pub(super) fn producers(&self, consumable: &str) -> impl Iterator<Item = usize> {
        let known = self.consumables.get(consumable).map(|place| &self.snapshot.consumables[*place]);
        let producers = known.into_iter().flat_map(|known| &known.producers);
        producers.filter_map(|id| self.nodes.get(id.as_str()).copied())
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
