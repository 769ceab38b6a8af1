//! What those keep who wait, and what they lend.

use super::{ALL_ENDED, Around, Graph, Lent};
use crate::{
    RunId, TaskId,
    run::{Lease, Run},
    wait::{
        Queue,
        detector::{Need, ResourceKey},
    },
    worker::Serves,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A task with runs below it.
#[derive(Clone, Debug, Default)]
pub(super) struct Lender {
    /// Tracked runs below it that have not ended.
    pub(super) runs: BTreeSet<RunId>,
    lent: BTreeMap<Lent, (ResourceKey, u64)>,
    /// What the worker of its attempt takes, if it has a slot of one.
    pub(super) serves: Option<Arc<Serves>>,
    /// The end of all runs that it has spawned itself and not detached.
    siblings: Option<ResourceKey>,
    /// Whether its own run has ended.
    pub(super) is_gone: bool,
}

impl Graph {
    /// What the runs that a task has spawned hold of the end of all of them.
    pub(super) fn siblings(&mut self, parent: TaskId) -> ResourceKey {
        let detector = &mut self.detector;
        let lender = self.lenders.entry(parent).or_default();
        *lender.siblings.get_or_insert_with(|| detector.add_resource(ALL_ENDED, Queue::Any))
    }

    /// The end of all runs that a task has spawned and not detached.
    pub(super) fn siblings_ended(&self, parent: TaskId) -> Need {
        let siblings = self.lenders.get(&parent).and_then(|lender| lender.siblings);
        siblings.map_or(Need::Holds, |siblings| Need::Units(siblings, ALL_ENDED))
    }

    /// A lender whose run has ended is forgotten with the last run below it: until then they name what it lent.
    pub(super) fn forget_lender(&mut self, task: TaskId) {
        if self.lenders.get(&task).is_some_and(|lender| lender.is_gone && lender.runs.is_empty())
            && let Some(lender) = self.lenders.remove(&task)
        {
            let keys = lender.lent.into_values().map(|(key, _)| key).chain(lender.siblings);
            keys.for_each(|key| self.detector.remove_resource(key));
        }
    }

    /// The runs below a task that have not ended.
    pub(crate) fn runs_below(&self, task: TaskId) -> impl Iterator<Item = RunId> + '_ {
        self.lenders.get(&task).into_iter().flat_map(|lender| lender.runs.iter().copied())
    }

    /// Whether a pool lends is said otherwise: whoever lends, and whoever may be lent to, is looked at anew.
    pub(crate) fn lending_changed(&mut self) {
        for (task, lender) in &self.lenders {
            self.stale.insert(task.run);
            self.stale.extend(&lender.runs);
        }
    }

    /// Units that a task had lent are back. If their pool lends no more, they can not be lent again.
    pub(crate) fn loan_returned(&mut self, lender: TaskId) {
        self.stale_tasks.insert(lender);
    }

    fn lent(&mut self, lender: TaskId, lent: &Lent) -> ResourceKey {
        let known = self.lenders.entry(lender).or_default();
        if let Some((key, _)) = known.lent.get(lent) {
            return *key;
        }
        let key = self.detector.add_resource(0, Queue::Any);
        known.lent.insert(lent.clone(), (key, 0));
        self.stale.extend(&known.runs);
        key
    }

    /// What a task can lend from now on to those below it, or has lent.
    pub(super) fn set_lender(&mut self, id: TaskId, lease: Option<&Lease>, around: Around<'_>) {
        let Some(known) = self.lenders.get_mut(&id) else { return };
        let offer = lease.and_then(|lease| around.workers.get(&lease.worker));
        let serves = offer.map(|offer| Arc::clone(&offer.serves));
        if known.serves != serves {
            known.serves = serves;
            self.stale.extend(&known.runs);
        }
        let mut wanted: BTreeMap<Lent, u64> = known.lent.keys().map(|lent| (lent.clone(), 0)).collect();
        wanted.extend(lease.into_iter().flat_map(|lease| lendable(id, lease, around)));
        for (lent, units) in wanted {
            let key = self.lent(id, &lent);
            let before = self.lenders.get_mut(&id).and_then(|known| known.lent.insert(lent, (key, units)));
            if before.is_none_or(|(_, before)| before != units) {
                let change = self.detector.resize(key, units);
                self.changed(change);
            }
        }
    }

    /// What an attempt that waits keeps meanwhile.
    pub(super) fn add_holds(
        &mut self,
        id: TaskId,
        lease: &Lease,
        around: Around<'_>,
        holds: &mut BTreeMap<ResourceKey, u64>,
    ) {
        for (pool, units) in &lease.holds {
            let borrowed = lease.borrowed.get(pool);
            let of_others: u32 = borrowed.map_or(0, |lenders| lenders.values().sum());
            for (lender, units) in borrowed.into_iter().flatten() {
                holds.insert(self.lent(*lender, &Lent::Pool(pool.clone())), (*units).into());
            }
            if let Some(key) = self.pool(pool, around).filter(|_| *units > of_others) {
                holds.insert(key, (units - of_others).into());
            }
        }
        match (lease.slot_of, around.workers.get(&lease.worker)) {
            (Some(lender), _) => holds.extend([(self.lent(lender, &Lent::Slot), 1)]),
            (None, Some(offer)) => holds.extend([(self.crew(&offer.serves, around.workers), 1)]),
            (None, None) => {}
        }
        if !lease.awaits_children() {
            let own = self.lenders.get(&id).into_iter().flat_map(|known| known.lent.values().copied());
            holds.extend(own.filter(|(_, units)| *units > 0));
        }
    }

    /// All that a task has lent is back.
    pub(super) fn is_back(&self, id: TaskId) -> impl Iterator<Item = Need> + '_ {
        let lent = self.lenders.get(&id).into_iter().flat_map(|known| known.lent.values());
        lent.filter(|(_, units)| *units > 0).map(|(key, units)| Need::Units(*key, *units))
    }

    /// The same from each ancestor of a run that can lend it.
    pub(super) fn of_ancestors(&self, run: &Run, lent: &Lent, may: impl Fn(&Lender) -> bool, units: u64) -> Vec<Need> {
        let ancestors = self.runs.get(&run.id).into_iter().flat_map(|tracked| &tracked.ancestors);
        let lenders = ancestors.filter_map(|ancestor| self.lenders.get(ancestor)).filter(|lender| may(lender));
        lenders.filter_map(|lender| lender.lent.get(lent)).map(|(key, _)| Need::Units(*key, units)).collect()
    }
}

/// What an attempt can lend while it waits for runs that it spawned, and what it has lent: a pool may lend no more and
/// have been lent of before.
fn lendable<'a>(id: TaskId, lease: &'a Lease, around: Around<'a>) -> impl Iterator<Item = (Lent, u64)> + 'a {
    let slot = around.workers.get(&lease.worker).map(|_| (Lent::Slot, 1));
    let pools = lease.holds.iter().filter_map(move |(pool, units)| {
        let lent = Lent::Pool(pool.clone());
        let may = around.pools.get(pool).is_some_and(|pool| pool.lend) || around.lent.contains_key(&(id, lent.clone()));
        may.then_some((lent, (*units).into()))
    });
    slot.into_iter().chain(pools)
}
