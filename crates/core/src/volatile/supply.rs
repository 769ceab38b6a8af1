//! What there is to be had: units and slots that are lent, and who looks again when there may be more.

use super::{Lent, Volatile, decrement};
use crate::{
    TaskId, TaskIndex,
    ready::Resource,
    run::{Lease, Run, WorkerId},
};
use std::{collections::BTreeMap, sync::Arc};

/// What a task has under its lease.
pub(crate) struct Had {
    /// Whose slot it takes, if it is one of the worker's own.
    worker: Option<WorkerId>,
    /// Units of pools, without those that are an ancestor's.
    units: BTreeMap<String, u32>,
    loans: BTreeMap<(TaskId, Lent), u32>,
    lends: bool,
}

impl Volatile {
    /// Counts what an attempt has of its ancestors.
    pub(super) fn index_loans(&mut self, id: TaskId, lease: &Lease) {
        for (loan, units) in lease.loans() {
            self.borrowers.entry(loan.0).or_default().insert(id);
            *self.lent.entry(loan).or_default() += units;
        }
        if lease.slot_of.is_some() {
            *self.beside.entry(lease.worker.clone()).or_default() += 1;
        }
    }

    pub(super) fn unindex_loans(&mut self, id: TaskId, lease: &Lease) {
        for (loan, units) in lease.loans() {
            let lender = loan.0;
            decrement(&mut self.lent, &loan, units);
            if let Some(borrowers) = self.borrowers.get_mut(&lender) {
                borrowers.remove(&id);
                if borrowers.is_empty() {
                    self.borrowers.remove(&lender);
                }
            }
        }
        if lease.slot_of.is_some() {
            decrement(&mut self.beside, &lease.worker, 1);
        }
    }

    /// A task may have something to lend: whoever waits below it may have it.
    pub(super) fn look_below(&mut self, lender: TaskId) {
        for run in self.graph.runs_below(lender) {
            self.waiters.look_at_run(run);
            self.ready.call(run);
        }
    }

    /// A pool may have more free units.
    pub(crate) fn pool_freed(&mut self, pool: &str) {
        self.waiters.freed(pool);
        self.ready.freed(Resource::Pool(pool.to_owned()));
        self.given_back.insert(pool.to_owned());
    }

    /// A pool may serve others than before: it lends, or is open again.
    pub(crate) fn pool_changed(&mut self, pool: &str) {
        self.pool_freed(pool);
        self.waiters.look_at_line(pool);
        self.ready.call_all();
    }

    /// Workers may have more room, or others may be here.
    pub(crate) fn slots_freed(&mut self) {
        for crew in self.workers.crews() {
            self.ready.freed(Resource::Slot(Arc::clone(crew)));
        }
    }

    /// What a task has that others may come to have.
    pub(crate) fn had(&self, run: &Run, index: TaskIndex) -> Option<Had> {
        let lease = run.task(index).lease()?;
        let own = |(pool, units): (&String, &u32)| (pool.clone(), units - lease.borrowed_of(pool));
        Some(Had {
            worker: lease.slot_of.is_none().then(|| lease.worker.clone()),
            units: lease.holds.iter().map(own).filter(|(_, units)| *units > 0).collect(),
            loans: lease.loans().collect(),
            lends: lease.lends(),
        })
    }

    /// A task has changed: whatever it has no more others may have now.
    pub(crate) fn let_go(&mut self, had: Option<Had>, run: &Run, index: TaskIndex) {
        let (id, has) = (run.id.task(index), self.had(run, index));
        if has.as_ref().is_some_and(|has| has.lends && had.as_ref().is_none_or(|had| !had.lends)) {
            self.look_below(id);
        }
        let Some(had) = had else { return };
        if has.is_none() {
            self.ready.freed(Resource::Parallel(run.id));
        }
        if let Some(worker) =
            had.worker.filter(|worker| has.as_ref().is_none_or(|has| has.worker.as_ref() != Some(worker)))
            && let Some(offer) = self.workers.get(&worker)
        {
            self.ready.freed(Resource::Slot(Arc::clone(&offer.serves)));
        }
        for (pool, units) in had.units {
            if has.as_ref().and_then(|has| has.units.get(&pool)).is_none_or(|left| *left < units) {
                self.pool_freed(&pool);
            }
        }
        for ((lender, lent), units) in had.loans {
            let left = has.as_ref().and_then(|has| has.loans.get(&(lender, lent)));
            if left.is_none_or(|left| *left < units) {
                // It may have waited for that to be back, and those below it for that to be free.
                self.graph.loan_returned(lender);
                self.waiters.look_at(lender);
                self.look_below(lender);
            }
        }
    }
}
