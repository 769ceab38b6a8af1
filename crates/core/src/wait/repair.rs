//! Orphan waits: what nobody can give any more, and what would let the waiter go on.

use super::{Expr, NodeState, Part, Snapshot, Until, graph::Graph, reduce::Reduction, residue::each_open_term};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What would let one waiting node go on that waits in vain, whatever becomes of the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// Who waits in vain.
    pub node: String,
    /// What to do.
    #[serde(flatten)]
    pub remedy: Remedy,
    /// The same as a sentence.
    pub sentence: String,
}

/// What to do about an orphan wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "remedy", rename_all = "snake_case")]
pub enum Remedy {
    /// Make a resource larger.
    RaiseCapacity {
        /// Which.
        resource: String,
        /// The least that it needs.
        units: u64,
    },
    /// Give back units whose holder has ended without doing so.
    Release {
        /// Of what.
        resource: String,
        /// How many.
        units: u64,
    },
    /// Send what nobody is left to send.
    Send {
        /// What.
        consumable: String,
    },
    /// Run again what did not succeed.
    Rerun {
        /// Who.
        after: String,
    },
    /// Ask for no more parts than there are.
    AskLess {
        /// How many there are.
        parts: usize,
    },
}

/// A repair for each term that nobody can make true, of each dead node that no other dead node could free.
pub(super) fn repairs(original: &Snapshot, settled: &Reduction<'_>) -> Vec<Repair> {
    let mut leaked: BTreeMap<&str, u64> = BTreeMap::new();
    for hold in original.holds.iter().filter(|hold| hold.leaked) {
        let sum = leaked.entry(&hold.resource).or_default();
        *sum = sum.saturating_add(hold.units);
    }
    let hopes = Hopes {
        states: original.nodes.iter().map(|node| (node.id.as_str(), node.state)).collect(),
        sizes: original.resources.iter().map(|resource| (resource.id.as_str(), resource.units)).collect(),
        leaked,
        graph: settled.graph,
    };
    let mut repairs = Vec::new();
    let orphan = |node: usize| {
        let wait = settled.graph.wait_of[node].map(|place| &settled.graph.snapshot.waits[place].expr);
        !settled.freed[node] && wait.is_some_and(|expr| !hopes.hold(node, expr))
    };
    let orphans: Vec<bool> = (0..settled.freed.len()).map(orphan).collect();
    each_open_term(settled, |node, term| {
        if orphans[node] && !hopes.holds(node, term) {
            repairs.extend(hopes.repair(node, term));
        }
    });
    for (node, _) in orphans.iter().enumerate().filter(|(_, is_orphan)| **is_orphan) {
        let Some(place) = settled.graph.wait_of[node] else { continue };
        too_many(&settled.graph.snapshot.waits[place].expr, &mut |parts| {
            let id = settled.graph.snapshot.nodes[node].id.clone();
            let sentence =
                format!("`{id}` asks for more parts than the {parts} that there are: ask for {parts} at most");
            repairs.push(Repair { node: id, remedy: Remedy::AskLess { parts }, sentence });
        });
    }
    repairs
}

/// Calls `visit` for each expression that asks for more parts than it has, with their number.
fn too_many(expr: &Expr, visit: &mut impl FnMut(usize)) {
    if expr.needed() > expr.of.len() {
        visit(expr.of.len());
    }
    for part in &expr.of {
        if let Part::Expr(inner) = part {
            too_many(inner, visit);
        }
    }
}

/// What could become true if every other dead node went on.
struct Hopes<'g> {
    /// Of the whole snapshot, not of the dead alone.
    states: BTreeMap<&'g str, NodeState>,
    sizes: BTreeMap<&'g str, u64>,
    leaked: BTreeMap<&'g str, u64>,
    graph: &'g Graph<'g>,
}

impl Hopes<'_> {
    fn hold(&self, node: usize, expr: &Expr) -> bool {
        expr.of.iter().filter(|part| self.holds(node, part)).count() >= expr.needed()
    }

    fn holds(&self, node: usize, part: &Part) -> bool {
        let others = |id: &str| self.graph.nodes.get(id).is_some_and(|other| *other != node);
        match part {
            Part::Expr(inner) => self.hold(node, inner),
            Part::Timer { .. } => true,
            Part::Resource { resource, units } => {
                let Some(&place) = self.graph.resources.get(resource.as_str()) else { return false };
                let most = i128::from(self.graph.snapshot.resources[place].units) - self.own(node, place);
                i128::from(*units) <= most
            }
            Part::Node { node: other, .. } => others(other),
            Part::Consumable { consumable } => self.graph.producers(consumable).any(|producer| producer != node),
        }
    }

    fn own(&self, node: usize, resource: usize) -> i128 {
        let own = self.graph.holds[node].iter().filter(|(held, _)| *held == resource);
        own.map(|(_, units)| i128::from(*units)).sum()
    }

    /// What to do about one term that nobody can make true; nothing for a node that waits for itself alone.
    fn repair(&self, node: usize, term: &Part) -> Option<Repair> {
        let id = &self.graph.snapshot.nodes[node].id;
        let (remedy, sentence) = match term {
            Part::Resource { resource, units } => {
                let place = *self.graph.resources.get(resource.as_str())?;
                let needed = u64::try_from(i128::from(*units) + self.own(node, place)).unwrap_or(u64::MAX);
                self.units(id, resource, needed)
            }
            Part::Node { node: other, until: Until::Success | Until::Terminal } if other != id => {
                let how = match self.states.get(other.as_str()) {
                    Some(NodeState::Cancelled) => "was cancelled",
                    Some(_) => "has failed",
                    None => "is not there",
                };
                let sentence =
                    format!("`{other}` {how}, and `{id}` waits for it to succeed: run `{other}` again, or end `{id}`");
                (Remedy::Rerun { after: other.clone() }, sentence)
            }
            Part::Consumable { consumable } => {
                let sentence =
                    format!("nobody can send `{consumable}` any more, for which `{id}` waits: send it from outside");
                (Remedy::Send { consumable: consumable.clone() }, sentence)
            }
            Part::Node { .. } | Part::Expr(_) | Part::Timer { .. } => return None,
        };
        Some(Repair { node: id.clone(), remedy, sentence })
    }

    fn units(&self, id: &str, resource: &str, needed: u64) -> (Remedy, String) {
        let size = self.sizes.get(resource).copied().unwrap_or_default();
        let leaked = self.leaked.get(resource).copied().unwrap_or_default();
        let (resource, word) = (resource.to_owned(), |units: u64| if units == 1 { "unit" } else { "units" });
        if leaked > 0 && needed <= size {
            let sentence = format!(
                "{leaked} {} of `{resource}` were never given back: release them, and `{id}` goes on",
                word(leaked)
            );
            return (Remedy::Release { resource, units: leaked }, sentence);
        }
        let units = needed.saturating_add(leaked);
        let sentence = format!(
            "`{id}` needs {needed} {} of `{resource}`, which has {size}: raise it to {units}, or ask for less",
            word(needed)
        );
        (Remedy::RaiseCapacity { resource, units }, sentence)
    }
}
