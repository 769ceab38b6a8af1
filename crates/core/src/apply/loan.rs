//! What those who wait for their children lend them: units of pools that lend, and the slot of their worker.
//!
//! A request is served wholly by one lender, the nearest first, or wholly by the pool itself. A lent unit stays the
//! lender's: it is not free for others, and the lender goes on only when it is back. Should the lender end before that,
//! the unit is the borrower's.

use crate::{
    RunId, Seq, State, TaskId,
    ready::Request,
    run::{Lease, Phase, Run, Task, WorkerId},
    step::Step,
    volatile::Lent,
    worker::{Serves, WorkKind},
};
use std::{collections::BTreeMap, sync::Arc};

impl State {
    /// Units of a pool that nobody has.
    pub(crate) fn free_units(&self, pool: &str) -> u32 {
        let held = self.volatile.held.get(pool).copied().unwrap_or_default();
        self.pools.get(pool).map_or(0, |pool| pool.size.saturating_sub(held))
    }

    /// Whether an attempt waits for more units of a pool than are free, and came before that place; none: whenever.
    pub(crate) fn is_claimed(&self, pool: &str, before: Option<Seq>) -> bool {
        let size = self.pools.get(pool).map_or(0, |pool| pool.size);
        self.volatile.waiters.is_claimed(pool, self.free_units(pool), size, before)
    }

    /// The most units of a pool that one of a run's ancestors can lend.
    pub(crate) fn lent_units(&self, run: RunId, pool: &str) -> u32 {
        self.lenders(run).map(|(lender, lease)| self.left_to_lend(lender, lease, pool)).max().unwrap_or_default()
    }

    /// Those above a run that wait for their children, the nearest first.
    fn lenders(&self, run: RunId) -> impl Iterator<Item = (TaskId, &Lease)> {
        let parent = self.runs.get(&run).and_then(|run| run.parent.as_ref());
        let above = parent.into_iter().flat_map(|parent| parent.ancestors());
        above.filter_map(|task| Some((task, self.task(task)?.lease().filter(|lease| lease.lends())?)))
    }

    fn left_to_lend(&self, lender: TaskId, lease: &Lease, pool: &str) -> u32 {
        if !self.pools.get(pool).is_some_and(|known| known.lend && known.poisoned.is_none()) {
            return 0;
        }
        let lent = self.volatile.lent.get(&(lender, Lent::Pool(pool.to_owned()))).copied().unwrap_or_default();
        lease.holds.get(pool).copied().unwrap_or_default().saturating_sub(lent)
    }

    /// Who of a run's ancestors serves a request for units of a pool; none: the pool itself does.
    pub(crate) fn lender_of(&self, run: RunId, pool: &str, units: u32) -> Option<TaskId> {
        let mut lenders = self.lenders(run);
        lenders.find(|(lender, lease)| self.left_to_lend(*lender, lease, pool) >= units).map(|(lender, _)| lender)
    }

    /// Of units that are granted to a run's task: whose they are, where they are an ancestor's.
    pub(crate) fn sources<'n>(
        &self,
        run: RunId,
        units: impl Iterator<Item = (&'n str, u32)>,
    ) -> BTreeMap<String, BTreeMap<TaskId, u32>> {
        let source = |(pool, units)| Some((pool, BTreeMap::from([(self.lender_of(run, pool, units)?, units)])));
        units.filter_map(source).map(|(pool, source): (&str, _)| (pool.to_owned(), source)).collect()
    }

    /// The worker that a task of a run is given to, among some crews that take it; with whoever lends its slot.
    pub(crate) fn slot_for(&self, request: &Request, crews: &[Arc<Serves>]) -> Option<(WorkerId, Option<TaskId>)> {
        if request.demand.kind == WorkKind::Workflow {
            return Some((WorkerId::brain(), None));
        }
        let lent = request.owed.and_then(|run| {
            self.lenders(run).find_map(|(lender, lease)| {
                let offer = self.volatile.workers.get(&lease.worker)?;
                let is_free = !self.volatile.lent.contains_key(&(lender, Lent::Slot));
                (is_free && crews.contains(&offer.serves)).then(|| (lease.worker.clone(), Some(lender)))
            })
        });
        lent.or_else(|| Some((self.volatile.worker_for(request.demand.prefetchable, crews)?.clone(), None)))
    }

    /// Whether anything that an attempt lends is in use.
    pub(crate) fn has_lent(&self, lender: TaskId) -> bool {
        self.volatile.borrowers.contains_key(&lender)
    }
}

impl Step<'_> {
    /// A task is about to lose its lease: what it lends is theirs from now on who have it, or that of whoever lent it
    /// to this one.
    pub(crate) fn pass_on_loans(&mut self, id: TaskId) {
        let Some(borrowers) = self.state.volatile.borrowers.get(&id).cloned() else { return };
        let Some(mut left) = self.task(id).and_then(Task::lease).cloned() else { return };
        for borrower in borrowers {
            self.update_task(borrower, |task| {
                let Phase::Leased(lease) = &mut task.phase else { return };
                if lease.slot_of == Some(id) {
                    lease.slot_of = left.slot_of.take();
                }
                for (pool, lenders) in &mut lease.borrowed {
                    let Some(units) = lenders.remove(&id) else { continue };
                    // Whose they were before: units that the lender had itself are the borrower's now.
                    let mut missing = units;
                    for (above, units) in left.borrowed.get_mut(pool).into_iter().flatten() {
                        let passed = missing.min(*units);
                        *units -= passed;
                        missing -= passed;
                        if passed > 0 {
                            *lenders.entry(*above).or_default() += passed;
                        }
                    }
                }
                lease.borrowed.retain(|_, lenders| !lenders.is_empty());
            });
        }
    }
}

/// Whether a run that a task under this lease spawns is owed what it asks for: somebody above it holds something.
pub(crate) fn is_owed(run: &Run, lease: &Lease) -> bool {
    let above = run.parent.as_ref().is_some_and(|parent| parent.is_owed);
    above || !lease.worker.is_brain() || !lease.holds.is_empty()
}
