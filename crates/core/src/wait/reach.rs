//! The part of a wait graph that somebody depends on.

use super::{Expr, Part, Snapshot};
use std::collections::{BTreeMap, BTreeSet};

/// What one node depends on, directly or not: what it waits for, who holds that, who could send it, and so on. Waiters
/// that nobody there depends on are left out, so the order in a queue is told as far as it matters to those told.
pub fn reach(snapshot: &Snapshot, from: &str) -> Snapshot {
    let waits: BTreeMap<&str, &Expr> = snapshot.waits.iter().map(|wait| (wait.node.as_str(), &wait.expr)).collect();
    let mut holders: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for hold in &snapshot.holds {
        holders.entry(&hold.resource).or_default().push(&hold.node);
    }
    let producers: BTreeMap<&str, &Vec<String>> =
        snapshot.consumables.iter().map(|consumable| (consumable.id.as_str(), &consumable.producers)).collect();
    let mut reached = Reached::default();
    let mut open = vec![from];
    while let Some(node) = open.pop() {
        if !reached.nodes.insert(node) {
            continue;
        }
        let mut parts: Vec<&Part> = waits.get(node).map(|expr| expr.of.iter().collect()).unwrap_or_default();
        while let Some(part) = parts.pop() {
            match part {
                Part::Expr(expr) => parts.extend(&expr.of),
                Part::Node { node, .. } => open.push(node),
                Part::Resource { resource, .. } => {
                    if reached.resources.insert(resource) {
                        open.extend(holders.get(resource.as_str()).into_iter().flatten());
                    }
                }
                Part::Consumable { consumable } => {
                    if reached.consumables.insert(consumable) {
                        open.extend(
                            producers.get(consumable.as_str()).into_iter().flat_map(|of| of.iter()).map(String::as_str),
                        );
                    }
                }
                Part::Timer { .. } => {}
            }
        }
    }
    reached.of(snapshot)
}

#[derive(Default)]
struct Reached<'s> {
    nodes: BTreeSet<&'s str>,
    resources: BTreeSet<&'s str>,
    consumables: BTreeSet<&'s str>,
}

impl Reached<'_> {
    fn of(&self, snapshot: &Snapshot) -> Snapshot {
        let has = |node: &String| self.nodes.contains(node.as_str());
        let holds = snapshot.holds.iter().filter(|hold| has(&hold.node)).cloned().collect::<Vec<_>>();
        let held: BTreeSet<&str> = holds.iter().map(|hold| hold.resource.as_str()).collect();
        let is_named = |id: &str| self.resources.contains(id) || held.contains(id);
        Snapshot {
            nodes: snapshot.nodes.iter().filter(|node| has(&node.id)).cloned().collect(),
            resources: snapshot.resources.iter().filter(|resource| is_named(&resource.id)).cloned().collect(),
            consumables: snapshot
                .consumables
                .iter()
                .filter(|consumable| self.consumables.contains(consumable.id.as_str()))
                .cloned()
                .collect(),
            waits: snapshot.waits.iter().filter(|wait| has(&wait.node)).cloned().collect(),
            holds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_depends_on_is_kept_and_nothing_else() {
        let text = r#"{
            "nodes": [{"id": "a", "state": "waiting"}, {"id": "b", "state": "waiting"}, {"id": "c", "state": "running"},
                {"id": "d", "state": "waiting"}, {"id": "e", "state": "running"}],
            "resources": [{"id": "L", "units": 1, "queue": "fifo"}, {"id": "M", "units": 1, "queue": "any"}],
            "consumables": [{"id": "s", "producers": ["e"]}],
            "holds": [{"node": "b", "resource": "L", "units": 1}, {"node": "c", "resource": "M", "units": 1}],
            "waits": [{"node": "a", "expr": {"mode": "all", "of": [{"resource": "L", "units": 1}]}},
                {"node": "b", "expr": {"mode": "any", "of": [{"node": "c", "until": "terminal"}, {"mode": "all", "of": [{"consumable": "s"}]}]}},
                {"node": "d", "expr": {"mode": "all", "of": [{"resource": "L", "units": 1}]}}]}"#;
        let whole: Snapshot = serde_json::from_str(text).expect("a graph");
        let part = reach(&whole, "a");
        let ids: Vec<&str> = part.nodes.iter().map(|node| node.id.as_str()).collect();
        assert_eq!(ids, ["a", "b", "c", "e"], "`d` waits behind, nobody waits for it");
        assert_eq!((part.resources.len(), part.consumables.len(), part.holds.len(), part.waits.len()), (2, 1, 2, 2));
        assert_eq!(reach(&whole, "nobody"), Snapshot::default());
    }
}
