//! Heads of groups, in the order of their ranks.

use super::Request;
use crate::{Millis, Seq, workflow::Priority};
use std::{collections::BTreeMap, ops::Bound};

/// The order among heads: the class that counts now, then the place in line. No two are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) priority: Priority,
    pub(crate) seq: Seq,
}

impl Rank {
    /// Where a task stands among all that are queued, if after `patience` it counts as high.
    pub(crate) fn of(request: &Request, seq: Seq, waited: Millis, patience: Millis) -> Self {
        Self { priority: if waited >= patience { Priority::High } else { request.demand.priority }, seq }
    }
}

/// A set of heads.
#[derive(Debug, Default)]
pub(super) struct Heads(BTreeMap<Rank, Request>);

impl Heads {
    pub(super) fn insert(&mut self, rank: Rank, request: Request) {
        self.0.insert(rank, request);
    }

    pub(super) fn remove(&mut self, rank: Rank) {
        self.0.remove(&rank);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first head in the order of grants.
    pub(super) fn first(&self) -> Option<(Rank, &Request)> {
        self.0.first_key_value().map(|(rank, request)| (*rank, request))
    }

    /// The heads before a place.
    pub(super) fn before(&self, rank: Rank) -> impl Iterator<Item = &Request> {
        self.0.range(..rank).map(|(_, request)| request)
    }

    /// The first head behind a place.
    pub(super) fn after(&self, rank: Rank) -> Option<(Rank, &Request)> {
        let behind = (Bound::Excluded(rank), Bound::Unbounded);
        self.0.range(behind).next().map(|(rank, request)| (*rank, request))
    }
}

/// Removes a head from the set under `key`, and the set if nothing is left; says whether that was so.
pub(super) fn remove_at<K: Ord>(sets: &mut BTreeMap<K, Heads>, key: &K, rank: Rank) -> bool {
    let Some(heads) = sets.get_mut(key) else { return false };
    heads.remove(rank);
    let empty = heads.is_empty();
    if empty {
        sets.remove(key);
    }
    empty
}
