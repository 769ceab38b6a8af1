//! Heads of groups, the first of each queue and class at hand.

use super::{Request, Supply};
use crate::{Seq, Timestamp, workflow::Priority};
use std::{collections::BTreeMap, sync::Arc};

/// The order among heads: the class that counts now, then the place in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) priority: Priority,
    pub(crate) seq: Seq,
}

impl Rank {
    /// Where a task stands among all that are queued, its age considered.
    pub(crate) fn of(request: &Request, seq: Seq, since: Timestamp, now: Timestamp, supply: &impl Supply) -> Self {
        let aged = now.since(since) >= supply.counts_as_high_after(&request.demand.queue);
        Self { priority: if aged { Priority::High } else { request.demand.priority }, seq }
    }
}

/// A set of heads.
#[derive(Debug, Default)]
pub(super) struct Heads {
    by_class: BTreeMap<(Arc<str>, Priority), Line>,
}

/// Heads of one queue and class, by their place.
type Line = BTreeMap<Seq, (Request, Timestamp)>;

impl Heads {
    pub(super) fn insert(&mut self, request: Request, seq: Seq, since: Timestamp) {
        let class = (Arc::clone(&request.demand.queue), request.demand.priority);
        self.by_class.entry(class).or_default().insert(seq, (request, since));
    }

    pub(super) fn remove(&mut self, request: &Request, seq: Seq) {
        let class = (Arc::clone(&request.demand.queue), request.demand.priority);
        if let Some(heads) = self.by_class.get_mut(&class) {
            heads.remove(&seq);
            if heads.is_empty() {
                self.by_class.remove(&class);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_class.is_empty()
    }

    /// The first head in the order of grants. In one queue and class the earliest place is also the
    /// oldest, so only the first of each needs a look.
    pub(super) fn first(&self, now: Timestamp, supply: &impl Supply) -> Option<(Rank, &Request)> {
        let ranked = self.by_class.values().filter_map(|heads| {
            let (seq, (request, since)) = heads.first_key_value()?;
            Some((Rank::of(request, *seq, *since, now, supply), request))
        });
        ranked.min_by_key(|(rank, _)| *rank)
    }
}

impl IntoIterator for Heads {
    type Item = (Request, Seq, Timestamp);
    type IntoIter = Box<dyn Iterator<Item = Self::Item>>;

    fn into_iter(self) -> Self::IntoIter {
        let heads = self.by_class.into_values().flatten();
        Box::new(heads.map(|(seq, (request, since))| (request, seq, since)))
    }
}

/// Removes a head from the set under `key`, and the set if nothing is left; says whether that was so.
pub(super) fn remove_at<K: Ord>(sets: &mut BTreeMap<K, Heads>, key: &K, request: &Request, seq: Seq) -> bool {
    let Some(heads) = sets.get_mut(key) else { return false };
    heads.remove(request, seq);
    let empty = heads.is_empty();
    if empty {
        sets.remove(key);
    }
    empty
}
