//! Who waits for one resource.

use super::{NodeKey, Place, sorted::Sorted};

/// The waiters of a resource.
#[derive(Clone, Debug)]
pub(super) struct Waiters {
    /// Whether nobody is served before an earlier one.
    pub(super) is_ordered: bool,
    /// Each with the number of its term: one that waits for the same in two places hears of it twice.
    by_units: Sorted<(i64, NodeKey, u32), ()>,
    /// Those of an ordered queue, in its order.
    line: Sorted<Place, Entry>,
    /// How many in the line are not live, and where the first of them stands.
    dead: usize,
    first_dead: Option<Place>,
    /// Of an examination: from where on everybody was doubted.
    doubted: (u64, Option<Place>),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    node: NodeKey,
    is_live: bool,
    /// At least the rank of every live node up to here, as far back as the first that is not live.
    rank_max: i64,
}

impl Waiters {
    pub(super) fn new(is_ordered: bool) -> Self {
        let (by_units, line) = (Sorted::default(), Sorted::default());
        Self { is_ordered, by_units, line, dead: 0, first_dead: None, doubted: (0, None) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_units.is_empty()
    }

    /// Somebody joins with one of its terms, not live yet.
    pub(super) fn join(&mut self, node: NodeKey, term: u32, units: i64, place: Place) {
        self.by_units.insert((units, node, term), ());
        if self.is_ordered {
            debug_assert!(self.line.get_mut(place).is_none(), "two waits at one place of a queue");
            let rank_max = self.rank_before(place);
            self.line.insert(place, Entry { node, is_live: true, rank_max });
            self.dies(place);
        }
    }

    /// Somebody leaves; gives who stands next of those that are not live, if the one who leaves was not.
    pub(super) fn leave(&mut self, node: NodeKey, term: u32, units: i64, place: Place) -> Option<NodeKey> {
        self.by_units.remove((units, node, term));
        let entry = self.line.remove(place).filter(|entry| !entry.is_live)?;
        debug_assert_eq!(entry.node, node, "who stands at a place leaves it");
        self.dead -= 1;
        // While somebody was dead here, those behind were told of nobody before.
        self.carry_back(place, self.rank_before(place));
        let next = self.next_dead(place);
        self.move_first_dead(place);
        next
    }

    /// Those that ask for more units than `above` and no more than `most`.
    pub(super) fn asking(&self, above: i64, most: i64) -> impl Iterator<Item = NodeKey> + '_ {
        let range = self.by_units.after((above, NodeKey(u32::MAX), u32::MAX));
        range.take_while(move |((units, ..), ())| *units <= most).map(|((_, node, _), ())| node)
    }

    /// Whether somebody stands before `place` who is not live.
    pub(super) fn is_held_up(&self, place: Place) -> bool {
        self.first_dead.is_some_and(|first| first < place)
    }

    /// Whether nobody stands before `place`.
    pub(super) fn is_first(&self, place: Place) -> bool {
        !self.is_ordered || self.line.first().is_none_or(|(first, _)| first >= place)
    }

    /// No live node before `place` has a higher rank, if all of them are live.
    pub(super) fn rank_before(&self, place: Place) -> i64 {
        self.line.before(place).map_or(i64::MIN, |(_, entry)| entry.rank_max)
    }

    /// Those that stand behind `place`, in their order.
    pub(super) fn behind(&self, place: Place) -> impl Iterator<Item = NodeKey> + '_ {
        self.line.after(place).map(|(_, entry)| entry.node)
    }

    /// Adds those behind `place` that this examination has not doubted yet.
    pub(super) fn doubt_behind(&mut self, place: Place, examination: u64, doubted: &mut Vec<NodeKey>) {
        let until = match self.doubted {
            (of, until) if of == examination => until,
            _ => None,
        };
        if until.is_some_and(|until| until <= place) {
            return;
        }
        let behind = self.line.after(place).take_while(|(at, _)| until.is_none_or(|until| *at <= until));
        doubted.extend(behind.map(|(_, entry)| entry.node));
        self.doubted = (examination, Some(place));
    }

    /// Somebody in the line is live, with this rank.
    pub(super) fn lives(&mut self, place: Place, rank: i64) {
        let rank_max = rank.max(self.rank_before(place));
        let Some(entry) = self.line.get_mut(place) else { return };
        entry.rank_max = rank_max;
        let woke = !std::mem::replace(&mut entry.is_live, true);
        self.carry_back(place, rank_max);
        if woke {
            self.dead -= 1;
            self.move_first_dead(place);
        }
    }

    /// Those behind `place` hear of a rank before them, as far as the first that is not live.
    fn carry_back(&mut self, place: Place, rank_max: i64) {
        self.line.change_after(place, |entry| {
            let is_news = entry.is_live && entry.rank_max < rank_max;
            if is_news {
                entry.rank_max = rank_max;
            }
            is_news
        });
    }

    /// Somebody in the line is not live; those behind are to be examined.
    pub(super) fn dies(&mut self, place: Place) {
        if let Some(entry) = self.line.get_mut(place)
            && std::mem::replace(&mut entry.is_live, false)
        {
            self.dead += 1;
            self.first_dead = Some(self.first_dead.map_or(place, |first| first.min(place)));
        }
    }

    /// The first one behind `place` that is not live.
    pub(super) fn next_dead(&self, place: Place) -> Option<NodeKey> {
        self.next_dead_at(place).map(|(_, entry)| entry.node)
    }

    fn next_dead_at(&self, place: Place) -> Option<(Place, Entry)> {
        // Without this, whoever joins before a long line of the living would look at all of them.
        if self.dead == 0 { None } else { self.line.after(place).find(|(_, entry)| !entry.is_live) }
    }

    /// Who stood at `place` is not dead any more.
    fn move_first_dead(&mut self, place: Place) {
        if self.first_dead == Some(place) {
            self.first_dead = self.next_dead_at(place).map(|(place, _)| place);
        }
    }

    /// Asserts what is kept of the line, with the rank of each node in it that is live.
    pub(super) fn check(&self, rank: impl Fn(NodeKey) -> Option<i64>) {
        let dead: Vec<Place> = self.line.iter().filter(|(_, entry)| !entry.is_live).map(|(place, _)| place).collect();
        assert_eq!((self.dead, self.first_dead), (dead.len(), dead.first().copied()), "the dead of a line");
        let mut highest = i64::MIN;
        for (place, entry) in self.line.iter() {
            let rank = rank(entry.node);
            assert_eq!(rank.is_some(), entry.is_live, "{:?} at {place:?} is live", entry.node);
            let Some(rank) = rank else {
                highest = i64::MIN;
                continue;
            };
            highest = highest.max(rank);
            assert!(entry.rank_max >= highest, "{place:?} knows of {}, not of {highest}", entry.rank_max);
        }
    }
}
