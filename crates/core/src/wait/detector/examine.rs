//! Who is concerned by a change, and what becomes of them.

use super::{
    Change, Detector, NodeKey, ResourceKey, Standing,
    term::{Want, Weighed},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
};

impl Detector {
    /// Judges a node that has just begun to wait and is not live yet.
    pub(super) fn judge_new_wait(&mut self, node: NodeKey) -> Change {
        let weighed = self.weigh(node);
        let mut dependents = Vec::new();
        let is_all = self.dependents(node, self.effort.dependents_max, &mut dependents);
        match weighed {
            Weighed::Lacks(owed) => {
                self.at_mut(node).owed = owed_of(owed);
                self.examine(vec![node])
            }
            Weighed::Holds(floor) => {
                let least = dependents.iter().map(|dependent| self.at(*dependent).rank).min();
                match (is_all, least) {
                    (true, None) => self.enliven(node, floor.max(0)),
                    (true, Some(least)) if floor < least => self.enliven(node, floor.max(least - 1)),
                    (false, _) if floor == i64::MIN => self.enliven(node, self.lowest - 1),
                    _ if self.walk_forward(node) => {}
                    _ => match self.raise(node, floor) {
                        Ok(()) => {}
                        Err(raised) => {
                            return self.examine(raised);
                        }
                    },
                }
                Change::default()
            }
        }
    }

    /// Collects live nodes whose reason may rest on a node; false if there are more than `most`.
    fn dependents(&self, node: NodeKey, most: usize, found: &mut Vec<NodeKey>) -> bool {
        let mut left = most;
        let mut add = |dependent: NodeKey| {
            if dependent != node && self.live.has(dependent) {
                found.push(dependent);
            }
            left = left.saturating_sub(1);
            left > 0
        };
        let known = self.node(node);
        if !self.waiters(node).all(&mut add) {
            return false;
        }
        for consumable in &known.produces {
            let known = self.consumable(*consumable);
            if !known.open && !known.consumers.iter().all(|((consumer, _), ())| add(consumer)) {
                return false;
            }
        }
        for (resource, _) in known.holds.iter() {
            let known = self.resource(resource);
            if !known.waiters.asking(known.sure, i64::MAX).all(&mut add) {
                return false;
            }
        }
        let Some(wait) = &known.wait else { return true };
        for term in wait.terms.iter() {
            if let Want::Units(resource, _) = term.want
                && !self.resource(resource).waiters.behind(wait.place).all(&mut add)
            {
                return false;
            }
        }
        true
    }

    /// Looks for a reason of a new wait that does not rest on it. If there is one, it and all that it rests on get lower
    /// ranks than everybody else.
    fn walk_forward(&mut self, node: NodeKey) -> bool {
        let mut walk = Walk { from: node, seen: BTreeMap::new(), proven: Vec::new(), left: self.effort.walk_max };
        if !walk.proves(self, node) {
            return false;
        }
        let lowest = self.lowest - walk.proven.len() as i64;
        for (rank, proven) in (lowest..).zip(walk.proven) {
            if proven == node { self.enliven(node, rank) } else { self.set_rank(proven, rank) }
        }
        true
    }

    /// Makes a node live with rank `floor` and raises whoever depends on it above that.
    ///
    /// # Errors
    /// If too many are concerned, or the node would have to be raised above itself: who has to be examined.
    fn raise(&mut self, node: NodeKey, floor: i64) -> Result<(), Vec<NodeKey>> {
        self.enliven(node, floor);
        let mut raised = vec![node];
        let mut left = self.effort.raise_max;
        let mut heap = BinaryHeap::from([Reverse((floor, node))]);
        let mut dependents = Vec::new();
        while let Some(Reverse((rank, below))) = heap.pop() {
            if self.at(below).rank != rank {
                continue;
            }
            dependents.clear();
            if !self.dependents(below, left, &mut dependents) {
                return Err(raised);
            }
            left = left.saturating_sub(dependents.len());
            for &dependent in &dependents {
                if self.at(dependent).rank > rank {
                    continue;
                }
                let needs_all = self.at(dependent).needs_all;
                let raised_to = match needs_all {
                    true => rank + 1,
                    false => match self.weigh(dependent) {
                        Weighed::Holds(floor) => floor,
                        Weighed::Lacks(_) => return Err(raised),
                    },
                };
                if raised_to <= self.at(dependent).rank {
                    continue;
                }
                if dependent == node {
                    return Err(raised);
                }
                self.set_rank(dependent, raised_to);
                raised.push(dependent);
                heap.push(Reverse((raised_to, dependent)));
            }
        }
        Ok(())
    }

    /// Some nodes may have lost their reason.
    pub(super) fn lost(&mut self, candidates: Vec<NodeKey>) -> Change {
        let doubted: Vec<NodeKey> =
            candidates.into_iter().filter(|node| self.live.has(*node) && !self.has_reason(*node)).collect();
        if doubted.is_empty() { Change::default() } else { self.examine(doubted) }
    }

    /// Takes nodes, and everybody whose reason may rest on them, for dead, and sees who comes back.
    fn examine(&mut self, doubted: Vec<NodeKey>) -> Change {
        self.examination += 1;
        let mut doubts = Doubts { all: doubted.clone(), unsure: doubted, next: Vec::new() };
        for node in &doubts.all {
            if self.live.has(*node) {
                self.kill(*node);
            }
        }
        let mut done = 0;
        while let Some(&node) = doubts.all.get(done) {
            done += 1;
            self.doubt_dependents(node, &mut doubts);
        }
        let Doubts { all: mut condemned, unsure, .. } = doubts;
        let revived = self.revive(unsure).revived;
        debug_assert!(revived.is_empty(), "a loss revives nobody");
        if condemned.len() > self.standing.len() / 32 {
            // So many are found in their order sooner than they are sorted.
            condemned.clear();
            let waiting = self.standing.iter().enumerate().filter(|(_, node)| node.waits && !node.is_condemned);
            let keys = waiting.map(|(place, _)| NodeKey(place as u32));
            condemned.extend(keys.filter(|node| !self.live.has(*node)));
        } else {
            condemned.retain(|node| !self.live.has(*node));
            condemned.sort_unstable();
            condemned.dedup();
        }
        for node in &condemned {
            self.at_mut(*node).is_condemned = true;
        }
        self.dead += condemned.len();
        Change { condemned, revived }
    }

    /// Kills every live node whose reason may rest on a node that was killed. What a resource, a consumable or a line
    /// gives is doubted as a whole, once: whose holders are doubted one by one would be looked at for each of them.
    fn doubt_dependents(&mut self, node: NodeKey, doubts: &mut Doubts) {
        let examination = self.examination;
        let mut next = std::mem::take(&mut doubts.next);
        next.extend(self.waiters(node));
        for waiter in next.drain(..) {
            if !self.live.has(waiter) {
                continue;
            }
            match self.at(waiter).needs_all {
                // One that it needs is dead now: it lacks that until it is told.
                true => self.doubt(waiter, Known::Lacks, doubts),
                false if self.has_reason(waiter) => {}
                false => self.doubt(waiter, Known::Nothing, doubts),
            }
        }
        let Standing { produces, holds, in_line, .. } = *self.at(node);
        let produced = if produces { self.node(node).produces.len() } else { 0 };
        for number in 0..produced {
            let known = self.consumable_mut(self.node(node).produces[number]);
            if !known.open && std::mem::replace(&mut known.doubted, examination) != examination {
                next.extend(known.consumers.iter().map(|((consumer, _), ())| consumer));
            }
        }
        for waiter in next.drain(..) {
            self.doubt_unless_sure(waiter, Known::Nothing, doubts);
        }
        let held = if holds { self.node(node).holds.len() } else { 0 };
        for number in 0..held {
            let Some((resource, _)) = self.node(node).holds.at(number) else { break };
            let known = self.resource_mut(resource);
            if std::mem::replace(&mut known.doubted, examination) == examination {
                continue;
            }
            next.extend(known.waiters.asking(known.sure, known.live));
            let unsure = next.len();
            next.extend(known.waiters.asking(known.live.max(known.sure), i64::MAX));
            for (place, waiter) in next.drain(..).enumerate() {
                let of_it = if place < unsure { Known::Nothing } else { Known::Lacks };
                self.doubt_unless_sure(waiter, of_it, doubts);
            }
        }
        let terms = if in_line { self.node(node).wait.as_ref().map_or(0, |wait| wait.terms.len()) } else { 0 };
        for number in 0..terms {
            let Some(wait) = &self.node(node).wait else { break };
            let place = wait.place;
            if let Want::Units(resource, _) = wait.terms[number].want {
                self.resource_mut(resource).waiters.doubt_behind(place, examination, &mut next);
                for waiter in next.drain(..) {
                    self.doubt_unless_sure(waiter, Known::Lacks, doubts);
                }
            }
        }
        doubts.next = next;
    }

    /// Kills a live node unless it can go on by what runs alone.
    fn doubt_unless_sure(&mut self, node: NodeKey, of_it: Known, doubts: &mut Doubts) {
        if !self.live.has(node) {
            return;
        }
        match self.at(node).needs_all {
            true => self.doubt(node, of_it, doubts),
            false if self.weigh(node) == Weighed::Holds(i64::MIN) => {}
            false => self.doubt(node, Known::Nothing, doubts),
        }
    }

    fn doubt(&mut self, node: NodeKey, of_it: Known, doubts: &mut Doubts) {
        self.kill(node);
        doubts.all.push(node);
        match of_it {
            Known::Lacks => self.at_mut(node).owed = 1,
            Known::Nothing => doubts.unsure.push(node),
        }
    }

    /// Sees which of some nodes that are not live can be, and who can be by that.
    pub(super) fn revive(&mut self, candidates: Vec<NodeKey>) -> Change {
        let mut queue = VecDeque::from(candidates);
        let mut revived = Vec::new();
        while let Some(node) = queue.pop_front() {
            if !self.at(node).waits || self.live.has(node) {
                continue;
            }
            match self.weigh(node) {
                Weighed::Lacks(owed) => self.at_mut(node).owed = owed_of(owed),
                Weighed::Holds(floor) => {
                    self.enliven(node, floor.max(0));
                    if self.pardon(node) {
                        revived.push(node);
                    }
                    self.wake_dependents(node, &mut queue);
                }
            }
        }
        revived.sort_unstable();
        Change { condemned: Vec::new(), revived }
    }

    /// Tells everybody who waits in vain that a node is live; collects those who may not wait in vain any more.
    fn wake_dependents(&mut self, node: NodeKey, woken: &mut VecDeque<NodeKey>) {
        let known = self.node(node);
        let mut told: Vec<NodeKey> = self.waiters(node).collect();
        for consumable in &known.produces {
            told.extend(self.consumable(*consumable).consumers.iter().map(|((consumer, _), ())| consumer));
        }
        for (resource, units) in known.holds.iter() {
            let known = self.resource(resource);
            told.extend(known.waiters.asking(known.live - super::summed(units), known.live));
        }
        if let Some(wait) = &known.wait {
            for term in wait.terms.iter() {
                if let Want::Units(resource, _) = term.want {
                    told.extend(self.resource(resource).waiters.next_dead(wait.place));
                }
            }
        }
        for node in told {
            let is_live = self.live.has(node);
            let standing = self.at_mut(node);
            if standing.waits && !is_live {
                standing.owed = standing.owed.saturating_sub(1);
                if standing.owed == 0 {
                    woken.push_back(node);
                }
            }
        }
    }

    /// A resource has more units for the living than `before`.
    pub(super) fn gained_units(&mut self, resource: ResourceKey, before: i64) -> Change {
        let known = self.resource(resource);
        let woken = known.waiters.asking(before, known.live).collect();
        self.revive(woken)
    }

    /// Whoever waits for a resource and gets too little by what runs alone.
    pub(super) fn waiting_for(&self, resource: ResourceKey) -> Vec<NodeKey> {
        let known = self.resource(resource);
        known.waiters.asking(known.sure, i64::MAX).collect()
    }
}

/// An examination under way.
struct Doubts {
    /// Everybody who was killed, and those who were not live before.
    all: Vec<NodeKey>,
    /// Those of them who may be live all the same; the others hear of it when what they lack is live.
    unsure: Vec<NodeKey>,
    /// Room for those who are looked at next.
    next: Vec<NodeKey>,
}

/// What is known of a node that was killed.
#[derive(Clone, Copy)]
enum Known {
    /// Something that it needs is dead.
    Lacks,
    Nothing,
}

/// What is owed, as it is kept: more than is kept comes to be told anew anyway.
fn owed_of(lacks: usize) -> u32 {
    u32::try_from(lacks).unwrap_or(u32::MAX)
}

/// A walk from a new wait to nodes that run.
struct Walk {
    from: NodeKey,
    /// Whether a node is proven to go on without `from`; false also while that is being found out.
    seen: BTreeMap<NodeKey, bool>,
    /// In an order in which each rests on earlier ones only.
    proven: Vec<NodeKey>,
    left: usize,
}

impl Walk {
    fn proves(&mut self, graph: &Detector, node: NodeKey) -> bool {
        let wait = graph.node(node).wait.as_ref().expect("a node that waits");
        let weighed = wait.weigh(|want| self.goes_on(graph, node, want).then_some(0));
        let is_proven = matches!(weighed, Weighed::Holds(_));
        if is_proven {
            self.proven.push(node);
        }
        is_proven
    }

    fn reaches(&mut self, graph: &Detector, node: NodeKey) -> bool {
        if !graph.at(node).waits {
            return true;
        }
        if node == self.from || !graph.live.has(node) {
            return false;
        }
        if let Some(is_proven) = self.seen.get(&node) {
            return *is_proven;
        }
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        self.seen.insert(node, false);
        let is_proven = self.proves(graph, node);
        self.seen.insert(node, is_proven);
        is_proven
    }

    fn goes_on(&mut self, graph: &Detector, node: NodeKey, want: Want) -> bool {
        if self.left == 0 {
            return false;
        }
        match want {
            Want::Holds => true,
            Want::Never => false,
            Want::Node(awaited, _) => self.reaches(graph, awaited),
            Want::Sent(consumable) => {
                let known = graph.consumable(consumable);
                known.open || known.producers.iter().any(|producer| self.reaches(graph, *producer))
            }
            Want::Units(resource, units) => {
                let known = graph.resource(resource);
                let place = graph.node(node).wait.as_ref().map(|wait| wait.place);
                if !place.is_some_and(|place| known.waiters.is_first(place)) {
                    return false;
                }
                let mut lacks = super::summed(units) - known.sure;
                for ((_, holder), held) in known.holders.iter() {
                    if lacks <= 0 || self.left == 0 {
                        break;
                    }
                    if holder != node && self.reaches(graph, holder) {
                        lacks -= held;
                    }
                }
                lacks <= 0
            }
        }
    }
}
