//! Which holders can ever stand in a deadlock at all: a set that is too large at worst, never too small. If it is
//! empty, there is none.
//!
//! In a deadlock each holder that is part of it has somebody below it, or is itself somebody, who waits in vain. A wait
//! for units is in vain only if others in the deadlock hold so many that too few are left; if a lender above has enough
//! of them, only if somebody below that lender, in the deadlock as well, has borrowed them. So the set is the largest
//! of which each member has such a reason in the set. Where the lender is the holder itself or stands below it, the
//! reason must be a holder still further below; that has an end, so these reasons are counted from the bottom up.
//!
//! The cause of a deadlock are those who wait for each other in a ring; whoever waits behind them only may be dead as
//! well, and is at fault for nothing.

use super::{
    holders::{Holder, Holders, Wait},
    system::{Res, System},
};
use std::collections::{BTreeMap, BTreeSet};

/// What is taken into account.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account<'r> {
    /// That waiting parents lend.
    pub(super) lending: bool,
    /// How many units there are, and how many runs of each root at most; none: whoever holds a unit of something may
    /// take all of it.
    pub(super) runs_max: Option<&'r [Option<u64>]>,
    /// Whether resources of which nobody knows how many there are can run short.
    pub(super) unknown_runs_short: bool,
}

/// Who may be part of a deadlock.
#[derive(Debug)]
pub(super) struct Suspects {
    /// For each holder, whether it may be dead.
    pub(super) may_be_dead: Vec<bool>,
    /// For each holder, whether it may be part of the cause.
    pub(super) may_be_cause: Vec<bool>,
    /// Most units of each resource that the dead can hold together.
    pub(super) held_max: Vec<u64>,
}

/// So many that no bound is known.
const MANY: u64 = u64::MAX;
/// Passes over the contexts; each makes the bounds only tighter.
const PASSES_MAX: usize = 32;
/// Up to so many holders it is asked of each two whether they can hold what they hold at the same time.
const PAIRS_MAX: usize = 64;

impl Suspects {
    pub(super) fn of(system: &System, holders: &Holders, account: Account<'_>) -> Self {
        let view = View { system, holders, account };
        let mut may_be_dead = vec![true; holders.all.len()];
        let held_max = loop {
            let held = view.held_max(&may_be_dead, &may_be_dead);
            let next = view.with_reason(&may_be_dead, &held);
            if next == may_be_dead {
                break held;
            }
            may_be_dead = next;
        };
        // A cause waits for nobody but itself, so it alone must be reason enough.
        let mut may_be_cause = may_be_dead.clone();
        loop {
            let held = view.held_max(&may_be_dead, &may_be_cause);
            let mut next = view.with_reason(&may_be_cause, &held);
            view.leave_rings(&mut next, &held);
            if next == may_be_cause {
                return Self { may_be_dead, may_be_cause, held_max };
            }
            may_be_cause = next;
        }
    }

    /// Most units of each resource that these holders can have together.
    pub(super) fn held_by(system: &System, holders: &Holders, account: Account<'_>, suspects: &[bool]) -> Vec<u64> {
        View { system, holders, account }.held_max(suspects, suspects)
    }

    /// Whether anybody in these contexts may be part of a cause.
    pub(super) fn any_cause(&self, holders: &Holders, contexts: &BTreeSet<usize>) -> bool {
        self.causes(holders, contexts).next().is_some()
    }

    /// Those in these contexts that may be part of a cause.
    pub(super) fn causes<'h>(
        &'h self,
        holders: &'h Holders,
        contexts: &'h BTreeSet<usize>,
    ) -> impl Iterator<Item = &'h Holder> {
        let all = holders.all.iter().zip(&self.may_be_cause);
        all.filter(|(holder, may)| **may && contexts.contains(&holder.context)).map(|(holder, _)| holder)
    }
}

struct View<'s> {
    system: &'s System,
    holders: &'s Holders,
    account: Account<'s>,
}

impl View<'_> {
    /// The holders that have a reason to wait in vain among `suspects`.
    fn with_reason(&self, suspects: &[bool], held_max: &[u64]) -> Vec<bool> {
        let mut found = vec![false; suspects.len()];
        loop {
            let mut grew = false;
            for (place, holder) in self.holders.all.iter().enumerate() {
                if suspects[place] && !found[place] {
                    found[place] = holder.waits.iter().any(|wait| self.is_in_vain(wait, held_max, suspects, &found));
                    grew |= found[place];
                }
            }
            if !grew {
                return found;
            }
        }
    }

    fn is_in_vain(&self, wait: &Wait, held_max: &[u64], suspects: &[bool], found: &[bool]) -> bool {
        let Wait { resource, units, lender } = *wait;
        let held = held_max[resource];
        let runs_short = match self.system.resources[resource].size {
            Some(size) => held.min(size) > size.saturating_sub(units) || units > size,
            None => self.account.unknown_runs_short && held > 0,
        };
        if !runs_short {
            return false;
        }
        match lender.filter(|_| self.account.lending) {
            None => true,
            Some(lent) => {
                let among = if lent.is_inside { found } else { suspects };
                let borrowers = self.holders.borrowers.get(&(lent.lender, resource)).into_iter().flatten();
                borrowers.into_iter().any(|borrower| among[*borrower])
            }
        }
    }

    /// Leaves those who are waited for by somebody for whom they wait themselves, directly or by others.
    fn leave_rings(&self, suspects: &mut [bool], held_max: &[u64]) {
        let all = &self.holders.all;
        let members: Vec<usize> = (0..all.len()).filter(|place| suspects[*place]).collect();
        let in_vain = |place: &usize| -> BTreeSet<Res> {
            let waits = all[*place].waits.iter().filter(|wait| self.is_in_vain(wait, held_max, suspects, suspects));
            waits.map(|wait| wait.resource).collect()
        };
        let waited: Vec<BTreeSet<Res>> = members.iter().map(in_vain).collect();
        let next = match members.len() {
            0..=PAIRS_MAX => self.by_pairs(&members, &waited),
            _ => self.by_resources(&members, &waited),
        };
        for (from, &place) in members.iter().enumerate() {
            suspects[place] = comes_back(&next, from);
        }
    }

    /// Who waits for what who else holds, where both can hold what they hold at the same time.
    fn by_pairs(&self, members: &[usize], waited: &[BTreeSet<Res>]) -> Vec<Vec<usize>> {
        let all = &self.holders.all;
        let follows = |from: usize, to: usize| {
            let (one, other) = (&all[members[from]], &all[members[to]]);
            other.holds.iter().any(|(held, _)| waited[from].contains(held))
                && (from == to || self.can_stand_beside(one, other))
        };
        let of = |from| (0..members.len()).filter(|to| follows(from, *to)).collect();
        (0..members.len()).map(of).collect()
    }

    /// The same for many, through the resources, which come behind them.
    fn by_resources(&self, members: &[usize], waited: &[BTreeSet<Res>]) -> Vec<Vec<usize>> {
        let count = members.len();
        let mut next: Vec<Vec<usize>> =
            waited.iter().map(|waited| waited.iter().map(|resource| count + resource).collect()).collect();
        next.resize(count + self.system.resources.len(), Vec::new());
        for (place, member) in members.iter().enumerate() {
            self.holders.all[*member].holds.iter().for_each(|(resource, _)| next[count + resource].push(place));
        }
        next
    }

    fn can_stand_beside(&self, one: &Holder, other: &Holder) -> bool {
        one.holds.iter().all(|(resource, units)| {
            let also = other.holds.iter().find(|(also, _)| also == resource).map_or(0, |(_, units)| *units);
            let size = self.system.resources[*resource].size.filter(|_| !self.system.lends(*resource));
            also == 0 || size.is_none_or(|size| units + also <= size)
        })
    }

    /// Most units of each resource that the suspects can hold of the pools themselves, below those that may be dead.
    fn held_max(&self, dead: &[bool], suspects: &[bool]) -> Vec<u64> {
        let counts = self.counts(dead);
        // A task of a run holds what it has acquired so far: it is in one stage, and at worst in the one that holds most.
        let mut most: BTreeMap<(Res, usize, usize), (u64, u64)> = BTreeMap::new();
        for (place, holder) in self.holders.all.iter().enumerate().filter(|(place, _)| suspects[*place]) {
            for &(resource, units) in &holder.holds {
                let of_task = most.entry((resource, holder.context, holder.act)).or_default();
                *of_task = (of_task.0.max(units), of_task.1.max(counts[place]));
            }
        }
        let mut held = vec![0_u64; self.system.resources.len()];
        // In pools of which only pairs are taken, an odd unit stays.
        let mut steps = vec![0_u64; held.len()];
        for ((resource, ..), (units, count)) in most {
            let size = self.system.resources[resource].size.unwrap_or(MANY);
            let units_of_all = if self.account.runs_max.is_some() { count.saturating_mul(units) } else { size };
            held[resource] = held[resource].saturating_add(units_of_all).min(size);
        }
        let held_by_suspects = self.holders.all.iter().zip(suspects).filter(|(_, is_one)| **is_one);
        for &(resource, units) in held_by_suspects.flat_map(|(holder, _)| &holder.holds) {
            steps[resource] = gcd(steps[resource], units);
        }
        if self.account.runs_max.is_some() {
            held.iter_mut().zip(&steps).filter(|(_, step)| **step > 1).for_each(|(held, step)| *held -= *held % *step);
        }
        held
    }

    /// How many of each holder there may be at once.
    fn counts(&self, suspects: &[bool]) -> Vec<u64> {
        let mut counts = vec![MANY; suspects.len()];
        let Some(runs_max) = self.account.runs_max else { return counts };
        for _ in 0..PASSES_MAX {
            let mut runs = vec![0_u64; self.holders.contexts.len()];
            for (root, most) in self.holders.roots.iter().zip(runs_max) {
                runs[*root] = runs[*root].saturating_add(most.unwrap_or(MANY));
            }
            for (place, holder) in self.holders.all.iter().enumerate().filter(|(place, _)| suspects[*place]) {
                for (start, most) in &holder.starts {
                    runs[*start] = runs[*start].saturating_add(counts[place].saturating_mul(most.unwrap_or(MANY)));
                }
            }
            let next: Vec<u64> = self.holders.all.iter().map(|holder| self.count(holder, &runs)).collect();
            if next == counts {
                break;
            }
            counts = next;
        }
        counts
    }

    fn count(&self, holder: &Holder, runs: &[u64]) -> u64 {
        let of_runs = runs[holder.context].saturating_mul(holder.copies);
        let from_pool =
            holder.holds.iter().filter(|(resource, _)| self.holders.is_from_pool(self.system, holder, *resource));
        let of_pools = from_pool.filter_map(|&(resource, units)| Some(self.system.resources[resource].size? / units));
        of_pools.fold(of_runs, u64::min)
    }
}

fn gcd(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { gcd(other, one % other) }
}

/// Whether a way leads from a vertex back to it.
fn comes_back(next: &[Vec<usize>], from: usize) -> bool {
    let mut seen = vec![false; next.len()];
    let mut open = next[from].clone();
    while let Some(at) = open.pop() {
        if at == from {
            return true;
        }
        if !std::mem::replace(&mut seen[at], true) {
            open.extend(&next[at]);
        }
    }
    false
}
