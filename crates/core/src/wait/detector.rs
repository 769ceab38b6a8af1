//! The verdict step by step: what dies with a new wait, and what comes back to life with a release.
//!
//! Every waiting node has a live bit: whether reduction would remove it. A change re-examines only what it may concern.
//! That is sound because every live node keeps a *reason*: enough of its expression holds by nodes that run, or by live
//! nodes of a lower *rank*; so reasons never go in a circle, and a node whose reason does not touch the change stays
//! live. Four answers, from cheap to dear, to a node that begins to wait:
//!
//! 1. What it waits for has a lower rank than whoever depends on it: it is live, and nobody else is concerned.
//! 2. A walk forward from it, of bounded length, ends at nodes that run without meeting it: the same.
//! 3. Whoever depends on it can be raised above it, within a bounded number of visits: the same.
//! 4. Else everybody whose reason may rest on it is taken for dead and examined anew, by reduction within that part
//!    (*delete and rederive*). What does not come back is deadlocked.
//!
//! ```
//! use unknot_core::wait::{Queue, detector::{Detector, Need, Place}};
//!
//! let mut detector = Detector::default();
//! let (gpu, disk) = (detector.add_resource(1, Queue::Fifo), detector.add_resource(1, Queue::Fifo));
//! let (render, backup) = (detector.add_node(), detector.add_node());
//! detector.hold(render, gpu, 1);
//! detector.hold(backup, disk, 1);
//! assert!(detector.wait(render, &Need::Units(disk, 1), Place(1)).condemned.is_empty());
//! // The step that closes the ring condemns both.
//! assert_eq!(detector.wait(backup, &Need::Units(gpu, 1), Place(2)).condemned, [render, backup]);
//! // One gives up and runs on; the other is alive again.
//! assert_eq!(detector.resume(backup).revived, [render]);
//! ```
//!
//! The fourth is exact, and the others only save it. Whatever gains (a release, an end, a larger pool) can wake the dead
//! only, so it is reduction among these. Nothing here is stored: it is built anew from holds and waits.

mod check;
mod examine;
mod picture;
mod queue;
mod rank;
mod sorted;
mod term;

use super::{Queue, Until};
pub use picture::Named;
use queue::Waiters;
use sorted::Sorted;
use std::collections::BTreeSet;
use term::{Wait, Want};

/// A node, as the detector knows it. It is given again after the node's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeKey(u32);

/// A resource, as the detector knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourceKey(u32);

/// A consumable, as the detector knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConsumableKey(u32);

/// Where a wait stands in every ordered queue: one order for all of them, no two waits at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(pub u64);

/// What a node waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Units of a resource. One whose queue has an order stands at most once in a wait.
    Units(ResourceKey, u64),
    /// The end of a node.
    Node(NodeKey, Until),
    /// Something that is sent.
    Sent(ConsumableKey),
    /// It holds already, or comes by itself: a timer, a node that has ended as wanted.
    Holds,
    /// It never comes: the success of a node that failed.
    Never,
    /// So many of the parts.
    AtLeast(usize, Vec<Need>),
}

impl Need {
    /// Every part.
    pub fn all(of: Vec<Self>) -> Self {
        Self::AtLeast(of.len(), of)
    }

    /// One part.
    pub fn any(of: Vec<Self>) -> Self {
        Self::AtLeast(1, of)
    }
}

/// How a node came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Well: whoever waits for its success goes on.
    Good,
    /// Failed, cancelled, given up.
    Bad,
}

/// What a step changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Who is deadlocked from now on, in the order of their keys.
    pub condemned: Vec<NodeKey>,
    /// Who was deadlocked and waits on, in the order of their keys.
    pub revived: Vec<NodeKey>,
}

impl Change {
    /// This and what came of the next step, as one step.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        let without = |all: &[NodeKey], taken: &[NodeKey]| {
            all.iter().copied().filter(|key| taken.binary_search(key).is_err()).collect::<BTreeSet<NodeKey>>()
        };
        let mut condemned = without(&self.condemned, &next.revived);
        condemned.extend(without(&next.condemned, &self.revived));
        let mut revived = without(&self.revived, &next.condemned);
        revived.extend(without(&next.revived, &self.condemned));
        Self { condemned: condemned.into_iter().collect(), revived: revived.into_iter().collect() }
    }
}

/// How much is tried to save an examination. It decides on speed alone, never on a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Dependents that are looked at to find a new wait's place below them.
    pub dependents_max: usize,
    /// Nodes that a walk forward comes past.
    pub walk_max: usize,
    /// Dependents that are looked at while they are raised.
    pub raise_max: usize,
}

impl Default for Effort {
    fn default() -> Self {
        Self { dependents_max: 64, walk_max: 256, raise_max: 4_000 }
    }
}

/// The wait graph while it changes, judged after each change.
///
/// A key belongs to what it was given for until that is ended or removed; using it later is a bug that is asserted.
#[derive(Clone, Debug, Default)]
pub struct Detector {
    effort: Effort,
    nodes: Vec<Option<Node>>,
    /// Of each of these.
    standing: Vec<Standing>,
    /// Who of these waits and is live.
    live: Live,
    /// Who waits for each of these, with the term.
    awaited_by: Vec<Sorted<(NodeKey, u32), ()>>,
    vacant_nodes: Vec<NodeKey>,
    resources: Vec<Option<Resource>>,
    vacant_resources: Vec<ResourceKey>,
    consumables: Vec<Option<Consumable>>,
    vacant_consumables: Vec<ConsumableKey>,
    /// How many are deadlocked.
    dead: usize,
    /// No rank is lower.
    lowest: i64,
    /// The number of the examination under way; what it has come past is marked with it.
    examination: u64,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// None: it runs.
    wait: Option<Wait>,
    holds: Sorted<ResourceKey, u64>,
    produces: Vec<ConsumableKey>,
}

/// What is asked of a node whenever an arrow leads to it. All of them side by side are small enough to be near.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// Of a live node that waits: higher than that of every node that its reason rests on.
    rank: i64,
    /// Of a dead node: no fewer than so many more parts have to hold before it can be live.
    owed: u32,
    waits: bool,
    /// Whether it was told as deadlocked; between steps the opposite of live.
    is_condemned: bool,
    /// Whether every term of its wait is needed.
    needs_all: bool,
    /// Whether it stands in an ordered queue.
    in_line: bool,
    holds: bool,
    /// Whether it may send something, or might have.
    produces: bool,
}

/// The live bits. Most arrows of an examination lead to nodes that are dead already, and here that is seen at once: the
/// bits of 100,000 nodes are the nearest memory there is.
#[derive(Clone, Debug, Default)]
struct Live(Vec<u64>);

impl Live {
    fn has(&self, node: NodeKey) -> bool {
        self.0.get(node.0 as usize / 64).is_some_and(|bits| bits & (1 << (node.0 % 64)) != 0)
    }

    /// Sets the bit of a node; gives what it was.
    fn replace(&mut self, node: NodeKey, live: bool) -> bool {
        let (place, bit) = (node.0 as usize / 64, 1 << (node.0 % 64));
        if place >= self.0.len() {
            self.0.resize(place + 1, 0);
        }
        let was_live = self.0[place] & bit != 0;
        if live {
            self.0[place] |= bit
        } else {
            self.0[place] &= !bit
        }
        was_live
    }
}

#[derive(Clone, Debug)]
struct Resource {
    /// Units that are free or held by nodes that run.
    sure: i64,
    /// The same and what live nodes hold that wait.
    live: i64,
    units: i64,
    /// Live nodes that wait and hold units, by rank.
    holders: Sorted<(i64, NodeKey), i64>,
    waiters: Waiters,
    /// The last examination that doubted its holders.
    doubted: u64,
}

#[derive(Clone, Debug, Default)]
struct Consumable {
    /// Whether it is there, or comes without anybody here.
    open: bool,
    producers: BTreeSet<NodeKey>,
    /// Who waits for it, with the term.
    consumers: Sorted<(NodeKey, u32), ()>,
    /// The last examination that doubted its producers.
    doubted: u64,
}

/// Units as they are summed up: more than anybody has counts as that much.
fn summed(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX).min(i64::MAX >> 20)
}

impl Detector {
    /// An empty graph, judged with some effort to save examinations.
    pub fn new(effort: Effort) -> Self {
        Self { effort, ..Self::default() }
    }

    /// A resource with so many units.
    pub fn add_resource(&mut self, units: u64, queue: Queue) -> ResourceKey {
        let units = summed(units);
        let waiters = Waiters::new(queue == Queue::Fifo);
        let resource = Resource { sure: units, live: units, units, holders: Sorted::default(), waiters, doubted: 0 };
        let key = self.vacant_resources.pop().unwrap_or_else(|| {
            self.resources.push(None);
            ResourceKey(self.resources.len() as u32 - 1)
        });
        self.resources[key.0 as usize] = Some(resource);
        key
    }

    /// Gives a resource another size; what is held may be more than it.
    pub fn resize(&mut self, resource: ResourceKey, units: u64) -> Change {
        let units = summed(units);
        let known = self.resource_mut(resource);
        let (more, before) = (units - known.units, known.live);
        known.units = units;
        known.sure += more;
        known.live += more;
        if more >= 0 { self.gained_units(resource, before) } else { self.lost(self.waiting_for(resource)) }
    }

    /// How many units a resource has.
    pub fn units(&self, resource: ResourceKey) -> u64 {
        u64::try_from(self.resource(resource).units).unwrap_or_default()
    }

    /// Forgets a resource that nobody holds and nobody waits for.
    pub fn remove_resource(&mut self, resource: ResourceKey) {
        let removed = self.resources[resource.0 as usize].take();
        debug_assert!(removed.is_some_and(|removed| removed.waiters.is_empty()), "nobody waits for it");
        self.vacant_resources.push(resource);
    }

    /// Something that is sent. Open: it is there, or may come from outside or with time.
    pub fn add_consumable(&mut self, open: bool) -> ConsumableKey {
        let key = self.vacant_consumables.pop().unwrap_or_else(|| {
            self.consumables.push(None);
            ConsumableKey(self.consumables.len() as u32 - 1)
        });
        self.consumables[key.0 as usize] = Some(Consumable { open, ..Consumable::default() });
        key
    }

    /// Says whether a consumable is there, or may come without anybody here.
    pub fn set_open(&mut self, consumable: ConsumableKey, open: bool) -> Change {
        let known = self.consumable_mut(consumable);
        let consumers: Vec<NodeKey> = known.consumers.iter().map(|((consumer, _), ())| consumer).collect();
        match (std::mem::replace(&mut known.open, open), open) {
            (false, true) => self.revive(consumers),
            (true, false) => self.lost(consumers),
            _ => Change::default(),
        }
    }

    /// Adds a node that may send.
    pub fn add_producer(&mut self, consumable: ConsumableKey, node: NodeKey) -> Change {
        if !self.consumable_mut(consumable).producers.insert(node) {
            return Change::default();
        }
        self.node_mut(node).produces.push(consumable);
        self.at_mut(node).produces = true;
        let consumers = self.consumers(consumable);
        if self.is_live(node) { self.revive(consumers) } else { Change::default() }
    }

    /// Takes away a node that might have sent.
    pub fn remove_producer(&mut self, consumable: ConsumableKey, node: NodeKey) -> Change {
        if !self.consumable_mut(consumable).producers.remove(&node) {
            return Change::default();
        }
        self.node_mut(node).produces.retain(|produced| *produced != consumable);
        self.lost(self.consumers(consumable))
    }

    /// Forgets a consumable that nobody waits for.
    pub fn remove_consumable(&mut self, consumable: ConsumableKey) {
        let removed = self.consumables[consumable.0 as usize].take().unwrap_or_default();
        debug_assert!(removed.consumers.is_empty(), "nobody waits for it");
        for producer in removed.producers {
            self.node_mut(producer).produces.retain(|produced| *produced != consumable);
        }
        self.vacant_consumables.push(consumable);
    }

    /// A node that runs.
    pub fn add_node(&mut self) -> NodeKey {
        let key = self.vacant_nodes.pop().unwrap_or_else(|| {
            self.nodes.push(None);
            self.standing.push(Standing::default());
            self.awaited_by.push(Sorted::default());
            NodeKey(self.nodes.len() as u32 - 1)
        });
        self.nodes[key.0 as usize] = Some(Node::default());
        *self.at_mut(key) = Standing::default();
        key
    }

    /// A node has so many more units. Of a node that runs this changes no verdict.
    pub fn hold(&mut self, node: NodeKey, resource: ResourceKey, units: u64) -> Change {
        let holds = &mut self.node_mut(node).holds;
        match holds.get_mut(resource) {
            Some(held) => *held += units,
            None => holds.insert(resource, units),
        }
        self.at_mut(node).holds = true;
        if !self.at(node).waits {
            return Change::default();
        }
        let (is_live, rank) = (self.is_live(node), self.at(node).rank);
        let known = self.resource_mut(resource);
        known.sure -= summed(units);
        if is_live {
            match known.holders.get_mut((rank, node)) {
                Some(held) => *held += summed(units),
                None => known.holders.insert((rank, node), summed(units)),
            }
        } else {
            known.live -= summed(units);
        }
        self.lost(self.waiting_for(resource))
    }

    /// A node gives back so many units.
    pub fn release(&mut self, node: NodeKey, resource: ResourceKey, units: u64) -> Change {
        let holds = &mut self.node_mut(node).holds;
        let held = holds.get_mut(resource).expect("what is given back is held");
        *held -= units;
        if *held == 0 {
            holds.remove(resource);
        }
        self.at_mut(node).holds = !self.node(node).holds.is_empty();
        if !self.at(node).waits {
            return Change::default();
        }
        let (is_live, rank) = (self.is_live(node), self.at(node).rank);
        let known = self.resource_mut(resource);
        let before = known.live;
        known.sure += summed(units);
        if is_live {
            let left = known.holders.get_mut((rank, node)).expect("a live holder that waits is listed");
            *left -= summed(units);
            if *left == 0 {
                known.holders.remove((rank, node));
            }
            return Change::default();
        }
        known.live += summed(units);
        self.gained_units(resource, before)
    }

    /// A node begins to wait, or waits for something else from now on; it keeps what it holds. `place` is its own in the
    /// order of all queues; a low one goes before those who are there already.
    pub fn wait(&mut self, node: NodeKey, need: &Need, place: Place) -> Change {
        let change = self.resume(node);
        self.begin_wait(node, need, place);
        change.then(self.judge_new_wait(node))
    }

    /// A node's wait is over, however: it runs. It has been granted nothing by that; see [`Detector::hold`].
    pub fn resume(&mut self, node: NodeKey) -> Change {
        let Some(wait) = self.node_mut(node).wait.take() else { return Change::default() };
        let Standing { is_condemned, holds, produces, rank, .. } = *self.at(node);
        let was_live = self.live.replace(node, false);
        *self.at_mut(node) = Standing { is_condemned, holds, produces, ..Standing::default() };
        let mut woken = self.end_wait(node, &wait);
        for number in 0..self.node(node).holds.len() {
            let Some((resource, units)) = self.node(node).holds.at(number) else { break };
            let known = self.resource_mut(resource);
            known.sure += summed(units);
            if was_live {
                known.holders.remove((rank, node));
            } else {
                let before = known.live;
                known.live += summed(units);
                woken.extend(known.waiters.asking(before, known.live));
            }
        }
        if was_live {
            // Whoever could go on by it still can.
            return Change::default();
        }
        self.pardon(node);
        woken.extend(self.waiters(node));
        for consumable in &self.node(node).produces {
            woken.extend(self.consumable(*consumable).consumers.iter().map(|((consumer, _), ())| consumer));
        }
        self.revive(woken)
    }

    /// A node has ended: it gives back all that it holds, sends nothing any more, and its key is vacant.
    pub fn end(&mut self, node: NodeKey, end: End) -> Change {
        let change = self.resume(node);
        let ended = self.nodes[node.0 as usize].take().expect("the key of a node that is there");
        self.vacant_nodes.push(node);
        let mut doubted = Vec::new();
        let awaited_by = std::mem::take(&mut self.awaited_by[node.0 as usize]);
        for ((waiter, term), ()) in awaited_by.iter() {
            let wait = self.node_mut(waiter).wait.as_mut().expect("who awaits a node waits");
            let want = &mut wait.terms[term as usize].want;
            let Want::Node(_, until) = *want else { continue };
            *want = if end == End::Good || until == Until::Terminal { Want::Holds } else { Want::Never };
            doubted.push(waiter);
        }
        for consumable in ended.produces {
            let known = self.consumable_mut(consumable);
            known.producers.remove(&node);
            doubted.extend(known.consumers.iter().map(|((consumer, _), ())| consumer));
        }
        change.then(self.lost(doubted))
    }

    /// Who is deadlocked, in the order of their keys.
    pub fn deadlocked(&self) -> impl Iterator<Item = NodeKey> + '_ {
        let nodes = self.standing.iter().enumerate().take(if self.dead == 0 { 0 } else { self.nodes.len() });
        let condemned = nodes.filter(|(_, standing)| standing.is_condemned);
        condemned.map(|(place, _)| NodeKey(place as u32))
    }

    /// Whether a node is deadlocked.
    pub fn is_deadlocked(&self, node: NodeKey) -> bool {
        self.at(node).is_condemned
    }

    /// A node is not deadlocked any more; false if it was not.
    fn pardon(&mut self, node: NodeKey) -> bool {
        let was_condemned = std::mem::replace(&mut self.at_mut(node).is_condemned, false);
        self.dead -= usize::from(was_condemned);
        was_condemned
    }

    /// Whether reduction would remove a node: it runs, or is live.
    fn is_live(&self, node: NodeKey) -> bool {
        !self.at(node).waits || self.live.has(node)
    }

    /// Who waits for a node's end.
    pub(crate) fn waiters(&self, node: NodeKey) -> impl Iterator<Item = NodeKey> + '_ {
        self.awaited_by[node.0 as usize].iter().map(|((waiter, _), ())| waiter)
    }

    fn consumers(&self, consumable: ConsumableKey) -> Vec<NodeKey> {
        self.consumable(consumable).consumers.iter().map(|((consumer, _), ())| consumer).collect()
    }

    fn at(&self, key: NodeKey) -> &Standing {
        &self.standing[key.0 as usize]
    }

    fn at_mut(&mut self, key: NodeKey) -> &mut Standing {
        &mut self.standing[key.0 as usize]
    }

    fn node(&self, key: NodeKey) -> &Node {
        self.nodes[key.0 as usize].as_ref().expect("the key of a node that is there")
    }

    fn node_mut(&mut self, key: NodeKey) -> &mut Node {
        self.nodes[key.0 as usize].as_mut().expect("the key of a node that is there")
    }

    fn resource(&self, key: ResourceKey) -> &Resource {
        self.resources[key.0 as usize].as_ref().expect("the key of a resource that is there")
    }

    fn resource_mut(&mut self, key: ResourceKey) -> &mut Resource {
        self.resources[key.0 as usize].as_mut().expect("the key of a resource that is there")
    }

    fn consumable(&self, key: ConsumableKey) -> &Consumable {
        self.consumables[key.0 as usize].as_ref().expect("the key of a consumable that is there")
    }

    fn consumable_mut(&mut self, key: ConsumableKey) -> &mut Consumable {
        self.consumables[key.0 as usize].as_mut().expect("the key of a consumable that is there")
    }
}
