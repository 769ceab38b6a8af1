//! What there is to be had: units and slots that are lent, and who looks again when there may be more.

use super::{Volatile, decrement};
use crate::{TaskId, ready::Resource, run::Lease};
use std::sync::Arc;

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
}
