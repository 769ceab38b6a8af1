//! Who waits for one resource.

use super::{NodeKey, Place};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
};

/// The waiters of a resource.
#[derive(Clone, Debug)]
pub(super) struct Waiters {
    /// Whether nobody is served before an earlier one.
    pub(super) is_ordered: bool,
    by_units: BTreeSet<(i64, NodeKey)>,
    /// Those of an ordered queue, in its order.
    line: BTreeMap<Place, Entry>,
    /// Where those stand in it who are not live.
    dead: BTreeSet<Place>,
    /// Of an examination: from where on everybody was doubted.
    doubted: (u64, Option<Place>),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    node: NodeKey,
    /// At least the rank of every live node up to here, as far back as the first that is not live.
    rank_max: i64,
}

impl Waiters {
    pub(super) fn new(is_ordered: bool) -> Self {
        let (by_units, line, dead) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
        Self { is_ordered, by_units, line, dead, doubted: (0, None) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_units.is_empty()
    }

    /// Somebody joins, not live yet.
    pub(super) fn join(&mut self, node: NodeKey, units: i64, place: Place) {
        self.by_units.insert((units, node));
        if self.is_ordered {
            let rank_max = self.rank_before(place);
            let taken = self.line.insert(place, Entry { node, rank_max });
            debug_assert!(taken.is_none(), "two waits at one place of a queue");
            self.dead.insert(place);
        }
    }

    /// Somebody leaves; gives who stands next of those that are not live, if the one who leaves was not.
    pub(super) fn leave(&mut self, node: NodeKey, units: i64, place: Place) -> Option<NodeKey> {
        self.by_units.remove(&(units, node));
        self.line.remove(&place);
        let was_dead = self.dead.remove(&place);
        self.next_dead(place).filter(|_| was_dead)
    }

    /// Those that ask for more units than `above` and no more than `most`.
    pub(super) fn asking(&self, above: i64, most: i64) -> impl Iterator<Item = NodeKey> + '_ {
        let last = NodeKey(u32::MAX);
        let range = self.by_units.range((Excluded((above, last)), Unbounded));
        range.take_while(move |(units, _)| *units <= most).map(|(_, node)| *node)
    }

    /// Whether somebody stands before `place` who is not live.
    pub(super) fn is_held_up(&self, place: Place) -> bool {
        self.dead.first().is_some_and(|first| *first < place)
    }

    /// Whether nobody stands before `place`.
    pub(super) fn is_first(&self, place: Place) -> bool {
        !self.is_ordered || self.line.first_key_value().is_none_or(|(first, _)| *first >= place)
    }

    /// No live node before `place` has a higher rank, if all of them are live.
    pub(super) fn rank_before(&self, place: Place) -> i64 {
        self.line.range(..place).next_back().map_or(i64::MIN, |(_, entry)| entry.rank_max)
    }

    /// Those that stand behind `place`, in their order.
    pub(super) fn behind(&self, place: Place) -> impl Iterator<Item = NodeKey> + '_ {
        self.line.range((Excluded(place), Unbounded)).map(|(_, entry)| entry.node)
    }

    /// Those behind `place` that this examination has not doubted yet.
    pub(super) fn doubt_behind(&mut self, place: Place, examination: u64) -> Vec<NodeKey> {
        let until = match self.doubted {
            (of, until) if of == examination => until,
            _ => None,
        };
        let doubted = self.line.range((Excluded(place), Unbounded));
        let doubted = doubted.take_while(|(at, _)| until.is_none_or(|until| **at <= until));
        let doubted = doubted.map(|(_, entry)| entry.node).collect();
        if self.doubted.0 != examination || until.is_none_or(|until| place < until) {
            self.doubted = (examination, Some(place));
        }
        doubted
    }

    /// Somebody in the line is live, with this rank.
    pub(super) fn lives(&mut self, place: Place, rank: i64) {
        self.dead.remove(&place);
        let rank_max = rank.max(self.rank_before(place));
        for (at, entry) in self.line.range_mut(place..) {
            if *at != place && (entry.rank_max >= rank_max || self.dead.contains(at)) {
                break;
            }
            entry.rank_max = rank_max;
        }
    }

    /// Somebody in the line is not live; gives nothing back for those behind, who are to be examined.
    pub(super) fn dies(&mut self, place: Place) {
        self.dead.insert(place);
    }

    /// The first one behind `place` that is not live.
    pub(super) fn next_dead(&self, place: Place) -> Option<NodeKey> {
        let next = self.dead.range((Excluded(place), Unbounded)).next()?;
        self.line.get(next).map(|entry| entry.node)
    }
}
