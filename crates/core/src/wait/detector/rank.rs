//! Reasons to be live: the least rank for which a node's expression holds.

use super::{
    Detector, Need, NodeKey, Place,
    queue::Waiters,
    summed,
    term::{Wait, Want, Weighed},
};

impl Detector {
    /// Enters a wait whose node is not live yet.
    pub(super) fn begin_wait(&mut self, node: NodeKey, need: &Need, place: Place) {
        let wait = Wait::new(need, place);
        let mut in_line = false;
        for (number, term) in wait.terms.iter().enumerate() {
            match term.want {
                Want::Units(resource, units) => {
                    let waiters = &mut self.resource_mut(resource).waiters;
                    waiters.join(node, number as u32, summed(units), place);
                    in_line |= waiters.is_ordered;
                }
                Want::Node(awaited, _) => {
                    self.awaited_by[awaited.0 as usize].insert((node, number as u32), ());
                }
                Want::Sent(consumable) => {
                    self.consumable_mut(consumable).consumers.insert((node, number as u32), ());
                }
                Want::Holds | Want::Never => {}
            }
        }
        for number in 0..self.node(node).holds.len() {
            let Some((resource, units)) = self.node(node).holds.at(number) else { break };
            let known = self.resource_mut(resource);
            known.sure -= summed(units);
            known.live -= summed(units);
        }
        let needs_all = wait.needs_all;
        let standing = self.at_mut(node);
        (standing.waits, standing.needs_all, standing.in_line) = (true, needs_all, in_line);
        self.node_mut(node).wait = Some(wait);
    }

    /// Takes a wait out of every list; gives who stood right behind a node that was not live.
    pub(super) fn end_wait(&mut self, node: NodeKey, wait: &Wait) -> Vec<NodeKey> {
        let mut behind = Vec::new();
        for (number, term) in wait.terms.iter().enumerate() {
            match term.want {
                Want::Units(resource, units) => {
                    let waiters = &mut self.resource_mut(resource).waiters;
                    behind.extend(waiters.leave(node, number as u32, summed(units), wait.place));
                }
                Want::Node(awaited, _) => {
                    self.awaited_by[awaited.0 as usize].remove((node, number as u32));
                }
                Want::Sent(consumable) => {
                    self.consumable_mut(consumable).consumers.remove((node, number as u32));
                }
                Want::Holds | Want::Never => {}
            }
        }
        behind
    }

    /// Weighs what a waiting node waits for, by the nodes that run or are live now.
    pub(super) fn weigh(&self, node: NodeKey) -> Weighed {
        let wait = self.node(node).wait.as_ref().expect("a node that waits");
        wait.weigh(|want| self.level(node, wait.place, want))
    }

    /// Whether a live node's reason still holds.
    pub(super) fn has_reason(&self, node: NodeKey) -> bool {
        matches!(self.weigh(node), Weighed::Holds(floor) if floor <= self.at(node).rank)
    }

    /// The least rank of a node for which a term holds; none if it does not.
    fn level(&self, node: NodeKey, place: Place, want: Want) -> Option<i64> {
        match want {
            Want::Holds => Some(i64::MIN),
            Want::Never => None,
            // Nobody's reason is itself.
            Want::Node(awaited, _) if awaited == node => None,
            Want::Node(awaited, _) => self.above(awaited),
            Want::Sent(consumable) => {
                let known = self.consumable(consumable);
                if known.open {
                    return Some(i64::MIN);
                }
                let others = known.producers.iter().filter(|producer| **producer != node);
                others.filter_map(|producer| self.above(*producer)).min()
            }
            Want::Units(resource, units) => {
                let known = self.resource(resource);
                let ordered = known.waiters.is_ordered;
                if ordered && known.waiters.is_held_up(place) {
                    return None;
                }
                let floor = if ordered { known.waiters.rank_before(place) } else { i64::MIN };
                let mut lacks = summed(units) - known.sure;
                if lacks <= 0 {
                    return Some(floor);
                }
                if summed(units) > known.live {
                    return None;
                }
                for ((rank, _), held) in known.holders.iter().filter(|((_, holder), _)| *holder != node) {
                    lacks -= held;
                    if lacks <= 0 {
                        return Some(floor.max(rank + 1));
                    }
                }
                None
            }
        }
    }

    /// The least rank above a node; none if it is dead.
    fn above(&self, node: NodeKey) -> Option<i64> {
        match self.live.has(node) {
            true => Some(self.at(node).rank + 1),
            false if self.at(node).waits => None,
            false => Some(i64::MIN),
        }
    }

    /// A node that waits and is not live is live from now on.
    pub(super) fn enliven(&mut self, node: NodeKey, rank: i64) {
        self.lowest = self.lowest.min(rank);
        self.live.replace(node, true);
        let standing = self.at_mut(node);
        standing.rank = rank;
        let holds = if standing.holds { self.node(node).holds.len() } else { 0 };
        for number in 0..holds {
            let Some((resource, units)) = self.node(node).holds.at(number) else { break };
            let known = self.resource_mut(resource);
            known.live += summed(units);
            known.holders.insert((rank, node), summed(units));
        }
        self.tell_lines(node, |waiters, place| waiters.lives(place, rank));
    }

    /// A live node is not live from now on.
    pub(super) fn kill(&mut self, node: NodeKey) {
        self.live.replace(node, false);
        let standing = *self.at(node);
        let rank = standing.rank;
        let holds = if standing.holds { self.node(node).holds.len() } else { 0 };
        for number in 0..holds {
            let Some((resource, units)) = self.node(node).holds.at(number) else { break };
            let known = self.resource_mut(resource);
            known.live -= summed(units);
            known.holders.remove((rank, node));
        }
        self.tell_lines(node, |waiters, place| waiters.dies(place));
    }

    /// Gives a live node another rank.
    pub(super) fn set_rank(&mut self, node: NodeKey, rank: i64) {
        self.lowest = self.lowest.min(rank);
        let before = std::mem::replace(&mut self.at_mut(node).rank, rank);
        let holds = if self.at(node).holds { self.node(node).holds.len() } else { 0 };
        for number in 0..holds {
            let Some((resource, _)) = self.node(node).holds.at(number) else { break };
            let known = self.resource_mut(resource);
            if let Some(held) = known.holders.remove((before, node)) {
                known.holders.insert((rank, node), held);
            }
        }
        self.tell_lines(node, |waiters, place| waiters.lives(place, rank));
    }

    fn tell_lines(&mut self, node: NodeKey, tell: impl Fn(&mut Waiters, Place)) {
        if !self.at(node).in_line {
            return;
        }
        let wait = self.node(node).wait.as_ref().expect("a node that waits");
        let (place, terms) = (wait.place, wait.terms.len());
        for number in 0..terms {
            let wait = self.node(node).wait.as_ref().expect("a node that waits");
            if let Want::Units(resource, _) = wait.terms[number].want {
                let known = self.resource_mut(resource);
                if known.waiters.is_ordered {
                    tell(&mut known.waiters, place);
                }
            }
        }
    }
}
