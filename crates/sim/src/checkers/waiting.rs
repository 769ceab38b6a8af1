//! Whether an attempt waits for what it could have: counted anew from the leases, not by what the brain goes by.

use super::Checked;
use std::collections::BTreeMap;
use unknot_core::{
    State, TaskId, Timestamp,
    run::{Awaited, Lease, Parked, Run, RunStatus},
    workflow::Until,
};

/// An attempt that waits, with what it stands on.
struct Waiter<'s> {
    state: &'s State,
    run: &'s Run,
    id: TaskId,
    lease: &'s Lease,
    parked: &'s Parked,
    now: Timestamp,
}

/// No attempt waits although all that it waits for is there, or can never come.
///
/// # Errors
/// The attempt, and what it could have.
pub fn nobody_waits_in_vain(state: &State, now: Timestamp) -> Checked {
    let waiters: Vec<Waiter<'_>> = waiters(state, now).collect();
    for waiter in &waiters {
        let has_lent = leases(state).any(|(_, lease)| lease.loans().any(|((lender, _), _)| lender == waiter.id));
        let may_go_on = waiter.parked.over.is_some() || holds(&waiter.parked.on, &|term| waiter.has(term, &waiters));
        let may_hope = holds(&waiter.parked.on, &|term| !waiter.is_lost(term));
        if !has_lent && (may_go_on || !may_hope) {
            return Err(format!("{} waits although its wait is over: {:?}", waiter.id, waiter.lease));
        }
    }
    Ok(())
}

fn waiters(state: &State, now: Timestamp) -> impl Iterator<Item = Waiter<'_>> {
    let alive = state.runs.values().filter(|run| run.poisoned.is_none());
    alive.flat_map(move |run| {
        run.indexed_tasks().filter_map(move |(index, task)| {
            let lease = task.lease().filter(|lease| lease.stopping.is_none())?;
            Some(Waiter { state, run, id: run.id.task(index), lease, parked: lease.parked.as_ref()?, now })
        })
    })
}

pub(super) fn leases(state: &State) -> impl Iterator<Item = (TaskId, &Lease)> {
    let of_run = |run: &'_ Run| run.indexed_tasks().map(|(index, _)| run.id.task(index)).collect::<Vec<_>>();
    let tasks = state.runs.values().flat_map(move |run| of_run(run));
    tasks.filter_map(|id| Some((id, state.task(id)?.lease()?)))
}

/// Units of a pool that nobody has: what is lent is the lender's.
pub(super) fn free(state: &State, pool: &str) -> u32 {
    let own = |lease: &Lease| lease.holds.get(pool).map_or(0, |units| units - lease.borrowed_of(pool));
    let held: u32 = leases(state).map(|(_, lease)| own(lease)).sum();
    state.pools.get(pool).map_or(0, |pool| pool.size.saturating_sub(held))
}

/// Whether one of those above a run, which waits for it, has so many units left to lend.
pub(super) fn can_be_lent(state: &State, run: &Run, pool: &str, units: u32) -> bool {
    if !state.pools.get(pool).is_some_and(|pool| pool.lend && pool.poisoned.is_none()) {
        return false;
    }
    let mut lent: BTreeMap<TaskId, u32> = BTreeMap::new();
    for (_, lease) in leases(state) {
        for (lender, units) in lease.borrowed.get(pool).into_iter().flatten() {
            *lent.entry(*lender).or_default() += units;
        }
    }
    let left = |lender: TaskId| {
        let lease = state.task(lender)?.lease().filter(|lease| lends(lease))?;
        Some(lease.holds.get(pool)?.saturating_sub(lent.get(&lender).copied().unwrap_or_default()))
    };
    let above = run.parent.iter().flat_map(|parent| parent.ancestors());
    above.filter_map(left).any(|left| left >= units)
}

pub(super) fn lends(lease: &Lease) -> bool {
    let for_children = |on: &Awaited| {
        let terms = on.terms();
        terms.iter().any(|term| matches!(term, Awaited::Child { .. } | Awaited::Children))
    };
    let parked = lease.parked.as_ref().filter(|parked| parked.over.is_none());
    lease.stopping.is_none() && parked.is_some_and(|parked| for_children(&parked.on))
}

/// Whether somebody above a run holds something, so that nobody's place stands before what it asks for.
pub(super) fn is_owed(run: &Run) -> bool {
    run.parent.as_ref().is_some_and(|parent| parent.is_owed)
}

fn holds(on: &Awaited, term: &impl Fn(&Awaited) -> bool) -> bool {
    match on {
        Awaited::AtLeast { k, of } => of.iter().filter(|part| holds(part, term)).count() >= *k as usize,
        one => term(one),
    }
}

impl Waiter<'_> {
    fn has(&self, term: &Awaited, others: &[Waiter<'_>]) -> bool {
        let ended = |key: &String| self.state.children.get(&self.id)?.get(key)?.ended;
        match term {
            Awaited::Units { pool, units } => {
                let known = &self.state.pools[pool];
                let is_there = free(self.state, pool) >= *units || can_be_lent(self.state, self.run, pool, *units);
                known.poisoned.is_none() && is_there && !self.stands_behind(pool, others)
            }
            Awaited::Child { key, until: Until::Finished } => ended(key).is_some(),
            Awaited::Child { key, until: Until::Succeeded } => ended(key) == Some(RunStatus::Completed),
            Awaited::Children => {
                let mut children = self.state.children.get(&self.id).into_iter().flatten();
                children.all(|(_, child)| child.ended.is_some() || (child.detached && child.input.is_none()))
            }
            Awaited::Signal { name, .. } => self.run.signals.contains_key(name),
            Awaited::Timer { at } => *at <= self.now,
            Awaited::AtLeast { .. } => false,
        }
    }

    /// Whether it holds nothing, and somebody who came before asks for more units of a pool than there are.
    fn stands_behind(&self, pool: &str, others: &[Waiter<'_>]) -> bool {
        let free = free(self.state, pool);
        let claims = |other: &&Waiter<'_>| {
            let asks = other.parked.on.units().any(|(asked, units)| asked == pool && units > free);
            asks && other.parked.seq < self.parked.seq
        };
        self.lease.holds.is_empty() && !is_owed(self.run) && others.iter().any(|other| claims(&other))
    }

    fn is_lost(&self, term: &Awaited) -> bool {
        let Awaited::Child { key, until: Until::Succeeded } = term else { return false };
        let ended = self.state.children.get(&self.id).and_then(|children| children.get(key)?.ended);
        ended.is_some_and(|status| status != RunStatus::Completed)
    }
}
