//! A small system that changes at random, told to the detector and written down as a snapshot.

use crate::chance::Random;
use std::collections::BTreeSet;
use unknot_core::wait::{
    Consumable, Expr, Hold, Mode, Node, NodeState, Part, Queue, Resource, Snapshot, Until, Wait,
    detector::{Change, ConsumableKey, Detector, Effort, End, Named, Need, NodeKey, Place, ResourceKey},
};

/// Nodes that are there at once.
const NODES_MAX: usize = 6;

pub(crate) struct System {
    random: Random,
    pub(crate) detector: Detector,
    snapshot: Snapshot,
    /// The key of each node that has not ended.
    keys: Vec<Option<NodeKey>>,
    resources: Vec<ResourceKey>,
    consumables: Vec<ConsumableKey>,
    /// Whether a wait may ask for one resource in several places, where queues have no order. The detector knows such
    /// waits, the exchange format has none.
    pub(crate) asks_twice: bool,
    /// Where each wait stands, in the order of the snapshot's.
    places: Vec<u64>,
    /// What the last step told.
    told: Change,
    /// The nodes whose wait the last step made, replaced or ended.
    touched: BTreeSet<String>,
    /// Ids of keys when the last step began.
    ids_before: Vec<(NodeKey, String)>,
}

impl System {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        // With little effort every short cut fails somewhere, and what comes after it is reached.
        let mut detector = Detector::new(Effort {
            dependents_max: [0, 1, 64][random.below(3)],
            walk_max: [0, 1, 256][random.below(3)],
            raise_max: [0, 2, 4_000][random.below(3)],
        });
        let mut snapshot = Snapshot::default();
        let (mut resources, mut consumables) = (Vec::new(), Vec::new());
        for number in 0..1 + random.below(3) {
            let (units, queue) = (1 + random.below(3) as u64, if random.one_in(2) { Queue::Fifo } else { Queue::Any });
            resources.push(detector.add_resource(units, queue));
            snapshot.resources.push(Resource { id: format!("r{number}"), label: None, units, queue });
        }
        for number in 0..random.below(3) {
            let (external, self_refill, available) = (random.one_in(4), random.one_in(8), u64::from(random.one_in(8)));
            consumables.push(detector.add_consumable(external || self_refill || available > 0));
            let id = format!("c{number}");
            snapshot.consumables.push(Consumable {
                id,
                label: None,
                available,
                producers: Vec::new(),
                external,
                self_refill,
            });
        }
        let asks_twice = random.one_in(4);
        let mut system = Self {
            random,
            detector,
            snapshot,
            keys: Vec::new(),
            resources,
            consumables,
            asks_twice,
            places: Vec::new(),
            told: Change::default(),
            touched: BTreeSet::new(),
            ids_before: Vec::new(),
        };
        for _ in 0..2 + system.random.below(3) {
            system.add_node();
        }
        system
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.snapshot.clone()
    }

    pub(crate) fn text(&self) -> String {
        serde_json::to_string(&self.snapshot).expect("a snapshot is JSON")
    }

    pub(crate) fn deadlocked(&self) -> BTreeSet<String> {
        self.detector.deadlocked().map(|key| self.id(key)).collect()
    }

    fn id(&self, key: NodeKey) -> String {
        let place = self.keys.iter().position(|known| *known == Some(key));
        self.snapshot.nodes[place.expect("a key in use")].id.clone()
    }

    /// The dead as the detector pictures them.
    pub(crate) fn picture(&self) -> Snapshot {
        let dead: Vec<NodeKey> = self.detector.deadlocked().collect();
        let place =
            |all: &[ResourceKey], key: ResourceKey| all.iter().position(|known| *known == key).expect("a key in use");
        self.detector.picture(&dead, |named| match named {
            Named::Node(key) => self.id(key),
            Named::Resource(key) => format!("r{}", place(&self.resources, key)),
            Named::Consumable(key) => {
                let place = self.consumables.iter().position(|known| *known == key);
                format!("c{}", place.expect("a key in use"))
            }
            Named::Gone(key, term) => format!("term {term} of {}", self.id(key)),
        })
    }

    /// What the step told is what changed, but for the nodes whose own wait it was.
    pub(crate) fn assert_told(
        &self,
        before: &BTreeSet<String>,
        after: &BTreeSet<String>,
        context: &impl Fn() -> String,
    ) {
        let ids = |keys: &[NodeKey]| -> BTreeSet<String> {
            let named =
                |key: &NodeKey| self.ids_before.iter().find(|(known, _)| known == key).map(|(_, id)| id.clone());
            keys.iter().filter_map(named).filter(|id| !self.touched.contains(id)).collect()
        };
        let changed = |from: &BTreeSet<String>, to: &BTreeSet<String>| -> BTreeSet<String> {
            to.difference(from).filter(|id| !self.touched.contains(*id)).cloned().collect()
        };
        assert_eq!(ids(&self.told.condemned), changed(before, after), "told as condemned: {}", context());
        assert_eq!(ids(&self.told.revived), changed(after, before), "told as revived: {}", context());
    }

    /// Does something, and says what.
    pub(crate) fn step(&mut self) -> String {
        self.told = Change::default();
        self.touched.clear();
        let keys = self.keys.iter().zip(&self.snapshot.nodes);
        self.ids_before = keys.filter_map(|(key, node)| key.map(|key| (key, node.id.clone()))).collect();
        let open: Vec<usize> = (0..self.keys.len()).filter(|place| self.keys[*place].is_some()).collect();
        if open.is_empty() || (open.len() < NODES_MAX && self.random.one_in(8)) {
            return self.add_node();
        }
        let node = open[self.random.below(open.len())];
        let waits = self.snapshot.nodes[node].state == NodeState::Waiting;
        match self.random.below(24) {
            0..=6 if !waits => self.hold(node),
            0 => self.hold(node),
            1 => self.release(node),
            2..=11 if !waits => self.wait(node),
            12 => self.wait(node),
            13 | 14 if waits => self.resume(node),
            15 => self.end(node),
            16 => self.resize(),
            17 | 18 => self.producer(node),
            19 => self.open(),
            _ if !waits => self.wait(node),
            _ => "nothing".to_owned(),
        }
    }

    fn add_node(&mut self) -> String {
        let id = format!("n{}", self.keys.len());
        self.keys.push(Some(self.detector.add_node()));
        let cost = self.random.one_in(2).then(|| self.random.below(4) as f64);
        let state = NodeState::Running;
        self.snapshot.nodes.push(Node { id: id.clone(), label: None, state, generation: 0, cost, version: 0 });
        format!("add {id}")
    }

    fn hold(&mut self, node: usize) -> String {
        let resource = self.random.below(self.resources.len());
        let known = &self.snapshot.resources[resource];
        let held: u64 =
            self.snapshot.holds.iter().filter(|hold| hold.resource == known.id).map(|hold| hold.units).sum();
        let Some(free) = known.units.checked_sub(held).filter(|free| *free > 0) else { return "nothing".to_owned() };
        let units = 1 + self.random.below(free.min(2) as usize) as u64;
        let (id, resource_id) = (self.snapshot.nodes[node].id.clone(), known.id.clone());
        let same = self.snapshot.holds.iter_mut().find(|hold| hold.node == id && hold.resource == resource_id);
        match same {
            Some(hold) => hold.units += units,
            None => {
                let (node, resource) = (id.clone(), resource_id.clone());
                self.snapshot.holds.push(Hold { node, resource, units, generation: None, leaked: false });
            }
        }
        self.told = self.detector.hold(self.keys[node].expect("an open node"), self.resources[resource], units);
        format!("{id} holds {units} more of {resource_id}")
    }

    fn release(&mut self, node: usize) -> String {
        let id = self.snapshot.nodes[node].id.clone();
        let Some(place) = self.snapshot.holds.iter().position(|hold| hold.node == id) else {
            return "nothing".to_owned();
        };
        let hold = &mut self.snapshot.holds[place];
        hold.units -= 1;
        let resource = hold.resource.clone();
        if hold.units == 0 {
            self.snapshot.holds.remove(place);
        }
        let known = self.snapshot.resources.iter().position(|known| known.id == resource).expect("a resource");
        self.told = self.detector.release(self.keys[node].expect("an open node"), self.resources[known], 1);
        format!("{id} releases one of {resource}")
    }

    fn wait(&mut self, node: usize) -> String {
        let mut resources: Vec<usize> = (0..self.resources.len()).collect();
        let expr = self.expr(2, &mut resources);
        let id = self.snapshot.nodes[node].id.clone();
        self.forget_wait(&id);
        // Most come last; some go before others, as by their priority.
        let last = self.places.last().copied().unwrap_or(1 << 32);
        let mut place = last + (1 << 16);
        if self.random.one_in(4) {
            place = (1 << 32) + self.random.next() % (last - (1 << 32) + (1 << 16));
        }
        if self.places.contains(&place) {
            place = last + (1 << 16);
        }
        let at = self.places.partition_point(|known| *known < place);
        self.places.insert(at, place);
        self.snapshot.nodes[node].state = NodeState::Waiting;
        let need = self.need(&Part::Expr(expr.clone()));
        self.snapshot.waits.insert(at, Wait { node: id.clone(), expr, since: None, deadline_s: None });
        self.touched.insert(id.clone());
        self.told = self.detector.wait(self.keys[node].expect("an open node"), &need, Place(place));
        format!("{id} waits at {at} for {need:?}")
    }

    fn forget_wait(&mut self, id: &str) {
        if let Some(place) = self.snapshot.waits.iter().position(|wait| wait.node == id) {
            self.snapshot.waits.remove(place);
            self.places.remove(place);
        }
    }

    fn resume(&mut self, node: usize) -> String {
        let id = self.snapshot.nodes[node].id.clone();
        self.forget_wait(&id);
        self.snapshot.nodes[node].state = NodeState::Running;
        self.touched.insert(id.clone());
        self.told = self.detector.resume(self.keys[node].expect("an open node"));
        format!("{id} goes on")
    }

    fn end(&mut self, node: usize) -> String {
        let id = self.snapshot.nodes[node].id.clone();
        self.forget_wait(&id);
        self.snapshot.holds.retain(|hold| hold.node != id);
        self.touched.insert(id.clone());
        let (state, end) = match self.random.below(3) {
            0 => (NodeState::Failed, End::Bad),
            1 => (NodeState::Cancelled, End::Bad),
            _ => (NodeState::Done, End::Good),
        };
        self.snapshot.nodes[node].state = state;
        let key = self.keys[node].take().expect("an open node");
        self.told = self.detector.end(key, end);
        format!("{id} ends as {state:?}")
    }

    fn resize(&mut self) -> String {
        let resource = self.random.below(self.resources.len());
        let units = self.random.below(4) as u64;
        self.snapshot.resources[resource].units = units;
        self.told = self.detector.resize(self.resources[resource], units);
        format!("r{resource} has {units}")
    }

    fn producer(&mut self, node: usize) -> String {
        if self.consumables.is_empty() {
            return "nothing".to_owned();
        }
        let consumable = self.random.below(self.consumables.len());
        let (key, id) = (self.keys[node].expect("an open node"), self.snapshot.nodes[node].id.clone());
        let producers = &mut self.snapshot.consumables[consumable].producers;
        if producers.contains(&id) {
            producers.retain(|producer| *producer != id);
            self.told = self.detector.remove_producer(self.consumables[consumable], key);
            format!("{id} sends c{consumable} no more")
        } else {
            producers.push(id.clone());
            self.told = self.detector.add_producer(self.consumables[consumable], key);
            format!("{id} may send c{consumable}")
        }
    }

    fn open(&mut self) -> String {
        if self.consumables.is_empty() {
            return "nothing".to_owned();
        }
        let consumable = self.random.below(self.consumables.len());
        let known = &mut self.snapshot.consumables[consumable];
        known.available = 1 - known.available.min(1);
        let is_open = known.available > 0 || known.external || known.self_refill;
        self.told = self.detector.set_open(self.consumables[consumable], is_open);
        format!("c{consumable} is open: {is_open}")
    }

    /// A random expression; each resource stands in it once at most, unless it may be asked for twice.
    fn expr(&mut self, depth: usize, resources: &mut Vec<usize>) -> Expr {
        let mut of = Vec::new();
        for _ in 0..1 + self.random.below(3) {
            let kind = self.random.below(16);
            let part = match kind {
                0..=5 if !resources.is_empty() => {
                    let place = self.random.below(resources.len());
                    let resource = resources[place];
                    if !self.asks_twice || self.snapshot.resources[resource].queue == Queue::Fifo {
                        resources.swap_remove(place);
                    }
                    Part::Resource { resource: format!("r{resource}"), units: 1 + self.random.below(2) as u64 }
                }
                6 | 7 if !self.consumables.is_empty() => {
                    Part::Consumable { consumable: format!("c{}", self.random.below(self.consumables.len())) }
                }
                8 if self.random.one_in(2) => Part::Timer { timer: true },
                9 | 10 if depth > 0 => Part::Expr(self.expr(depth - 1, resources)),
                _ => {
                    // Mostly somebody who is there.
                    let open: Vec<usize> = (0..self.keys.len()).filter(|place| self.keys[*place].is_some()).collect();
                    let any = self.random.below(self.keys.len());
                    let node = if self.random.one_in(6) { any } else { open[self.random.below(open.len())] };
                    let node = format!("n{node}");
                    let until = if self.random.one_in(3) { Until::Success } else { Until::Terminal };
                    Part::Node { node, until }
                }
            };
            of.push(part);
        }
        let mode = match self.random.below(4) {
            0 => Mode::Any,
            1 => Mode::K,
            _ => Mode::All,
        };
        // Now and then none is needed, or more than there are.
        let k = (mode == Mode::K).then(|| match self.random.below(12) {
            0 => 0,
            1 => of.len() + 1,
            _ => 1 + self.random.below(of.len()),
        });
        Expr { mode, k, of }
    }

    fn need(&self, part: &Part) -> Need {
        let named = |id: &str| id[1..].parse::<usize>().expect("a letter and a number");
        match part {
            Part::Expr(expr) => {
                let needed = match expr.mode {
                    Mode::All => expr.of.len(),
                    Mode::Any => 1,
                    Mode::K => expr.k.expect("mode k says how many"),
                };
                Need::AtLeast(needed, expr.of.iter().map(|part| self.need(part)).collect())
            }
            Part::Timer { .. } => Need::Holds,
            Part::Resource { resource, units } => Need::Units(self.resources[named(resource)], *units),
            Part::Consumable { consumable } => Need::Sent(self.consumables[named(consumable)]),
            Part::Node { node, until } => {
                let place = named(node);
                match (self.keys[place], self.snapshot.nodes[place].state, until) {
                    (Some(key), _, until) => Need::Node(key, *until),
                    (None, NodeState::Done, _) | (None, _, Until::Terminal) => Need::Holds,
                    (None, _, Until::Success) => Need::Never,
                }
            }
        }
    }
}
