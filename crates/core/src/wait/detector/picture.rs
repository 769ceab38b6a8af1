//! The dead as a snapshot, to be explained.

use super::{ConsumableKey, Detector, NodeKey, ResourceKey, summed, term::Want};
use crate::wait::{Consumable, Hold, Node, NodeState, Part, Queue, Resource, Snapshot, Wait};
use std::collections::{BTreeMap, BTreeSet};

/// What a picture wants a name for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// A node.
    Node(NodeKey),
    /// A resource.
    Resource(ResourceKey),
    /// A consumable.
    Consumable(ConsumableKey),
    /// What never comes any more: the term of that number, in the order in which the need had them, of a node's wait.
    Gone(NodeKey, usize),
}

impl Detector {
    /// Some dead nodes with what they hold and what they lack, for [`analyze`](crate::wait::analyze). Whatever of their
    /// waits holds by others is a timer, and a resource has the units that others do not keep, so that the effort is that
    /// of these nodes alone, however large the graph. All of [`Detector::deadlocked`] give the whole verdict.
    ///
    /// The nodes stand in their order; what the detector does not know (prices, since when) is for the caller to add.
    pub fn picture(&self, nodes: &[NodeKey], name: impl Fn(Named) -> String) -> Snapshot {
        let drawn: BTreeSet<NodeKey> = nodes.iter().copied().collect();
        let mut picture = Snapshot::default();
        let mut waits = BTreeMap::new();
        let (mut resources, mut consumables) = (BTreeSet::new(), BTreeSet::new());
        for &node in nodes {
            let id = name(Named::Node(node));
            let Some(wait) = &self.node(node).wait else { continue };
            let expr = wait.expr(|number, want| match want {
                Want::Holds => Part::Timer { timer: true },
                Want::Node(awaited, _) if self.is_live(awaited) => Part::Timer { timer: true },
                Want::Node(awaited, until) => Part::Node { node: name(Named::Node(awaited)), until },
                Want::Never => Part::Node { node: name(Named::Gone(node, number)), until: super::Until::Success },
                Want::Sent(consumable) => {
                    let known = self.consumable(consumable);
                    if known.open || known.producers.iter().any(|producer| self.is_live(*producer)) {
                        return Part::Timer { timer: true };
                    }
                    consumables.insert(consumable);
                    Part::Consumable { consumable: name(Named::Consumable(consumable)) }
                }
                Want::Units(resource, units) => {
                    resources.insert(resource);
                    Part::Resource { resource: name(Named::Resource(resource)), units }
                }
            });
            waits.insert(wait.place, Wait { node: id.clone(), expr, since: None, deadline_s: None });
            picture.nodes.push(Node {
                id,
                label: None,
                state: NodeState::Waiting,
                generation: 0,
                cost: None,
                version: 0,
            });
        }
        picture.waits = waits.into_values().collect();
        let mut units: BTreeMap<ResourceKey, i64> =
            resources.into_iter().map(|resource| (resource, self.resource(resource).live)).collect();
        for &node in nodes {
            for (resource, held) in self.node(node).holds.iter() {
                if let Some(units) = units.get_mut(&resource) {
                    *units += summed(held);
                    let (node, resource) = (name(Named::Node(node)), name(Named::Resource(resource)));
                    picture.holds.push(Hold { node, resource, units: held, generation: None, leaked: false });
                }
            }
        }
        for (resource, units) in units {
            let queue = if self.resource(resource).waiters.is_ordered { Queue::Fifo } else { Queue::Any };
            let (id, units) = (name(Named::Resource(resource)), u64::try_from(units).unwrap_or(0));
            picture.resources.push(Resource { id, label: None, units, queue });
        }
        for consumable in consumables {
            let producers = self.consumable(consumable).producers.intersection(&drawn);
            let producers = producers.map(|producer| name(Named::Node(*producer))).collect();
            let id = name(Named::Consumable(consumable));
            picture.consumables.push(Consumable {
                id,
                label: None,
                available: 0,
                producers,
                external: false,
                self_refill: false,
            });
        }
        picture
    }
}
