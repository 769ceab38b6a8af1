//! The search for a deadlock that can be reached: with as few runs as it takes, through every order of grants.

use super::{
    Effort,
    holders::Holders,
    relevant::Relevant,
    replay::{Taken, replay},
    suspects::{Account, Suspects},
    system::System,
    world::{Move, Run, Runs, Told, World, after, size},
};
use std::collections::BTreeSet;

/// Of the states of a search, the part that may be those of one set of runs.
const SHARE_OF_SET: usize = 3;
/// Sets of runs that are looked at in one search.
const SETS_MAX: usize = 10_000;
/// So many sizes of sets are searched through: the rules say from where on there may be a deadlock, and they are rarely
/// far off.
const SIZES_MAX: usize = 6;
/// Most runs at once, of one task or in all, that are counted up to.
const RUNS_MAX: u64 = 10_000;

/// A deadlock, and how it came about.
#[derive(Debug)]
pub(super) struct Found {
    /// The runs that people started.
    pub(super) runs: Vec<Run>,
    /// Who was granted what, and still has it, in the order in which it was.
    pub(super) story: Vec<(usize, Told)>,
    /// Whether all smaller sets of runs were searched through.
    pub(super) is_smallest: bool,
}

/// How a search ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Found(Found),
    /// Every order of grants of as many runs as there may be was looked at: so many states.
    Exhausted(usize),
    /// It was given up.
    GivenUp,
}

pub(super) struct Search<'s> {
    pub(super) system: &'s System,
    pub(super) holders: &'s Holders,
    pub(super) relevant: &'s Relevant,
    /// The root that must take part.
    pub(super) wanted: usize,
    pub(super) effort: Effort,
    /// Whether a deadlock of these runs counts.
    pub(super) counts: &'s dyn Fn(&World<'_>, &[Run]) -> bool,
}

/// How many runs of each root.
type Set = Vec<u64>;

/// What may still be looked at.
struct Left {
    states: usize,
    sets: usize,
    /// Whether anything was not looked at to its end.
    is_cut: bool,
}

/// One order of grants, as far as it was followed.
struct Frame {
    state: Runs,
    /// What may follow, the best last: the run that moves, and how.
    next: Vec<(Run, Move)>,
    /// Whether somebody may wait for ever in it.
    may_be_dead: bool,
}

impl Search<'_> {
    pub(super) fn run(&self) -> Outcome {
        let world = World { relevant: self.relevant, children_max: self.children_max() };
        let mut left = Left { states: self.effort.states_max, sets: SETS_MAX, is_cut: false };
        let bound = |most: Option<u64>| most.unwrap_or(RUNS_MAX).min(RUNS_MAX);
        let most = self.system.roots.iter().fold(0_u64, |sum, root| sum.saturating_add(bound(root.runs_max)));
        let Some(least) = self.least(most.min(RUNS_MAX)) else { return self.nothing_found(&left) };
        let mut sizes = 0;
        for size in least..=most.min(RUNS_MAX) {
            let sets = self.sets(size, &mut left);
            sizes += usize::from(!sets.is_empty());
            for set in sets {
                let is_smallest = size == 1 || !(left.is_cut || self.system.is_recursive());
                if let Some(found) = self.through(&world, &set, &mut left) {
                    return Outcome::Found(Found { is_smallest, ..found });
                }
            }
            if left.states == 0 || left.sets == 0 || sizes == SIZES_MAX {
                return Outcome::GivenUp;
            }
        }
        self.nothing_found(&left)
    }

    /// What it means that everything that was looked at is free of deadlocks.
    fn nothing_found(&self, left: &Left) -> Outcome {
        let calls = || self.relevant.system.flows.iter().flat_map(|flow| &flow.acts).flat_map(|act| &act.calls);
        let any_number = self.system.roots.iter().any(|root| root.runs_max.is_none());
        let any_children = calls().any(|call| call.most.is_none_or(|most| most > self.children_max()));
        let is_whole = !left.is_cut && !any_number && !any_children && !self.system.is_recursive();
        if is_whole { Outcome::Exhausted(self.effort.states_max - left.states) } else { Outcome::GivenUp }
    }

    /// As many runs of one task as can make a difference: enough to take all that there is of anything.
    fn children_max(&self) -> u64 {
        let resources = self.relevant.system.resources.iter().zip(&self.relevant.scarce).filter(|(_, scarce)| **scarce);
        let most = resources.filter_map(|(resource, _)| resource.size).max().unwrap_or_default();
        most.saturating_add(1).clamp(2, RUNS_MAX)
    }

    /// With fewer runs than this there is no deadlock with the wanted root.
    fn least(&self, most: u64) -> Option<u64> {
        let suffices = |size: u64| {
            let bounds = self.system.roots.iter().map(|root| root.runs_max.unwrap_or(size).min(size)).collect();
            self.is_possible(&bounds, false)
        };
        if !suffices(most) {
            return None;
        }
        let (mut too_few, mut enough) = (0, most);
        while enough - too_few > 1 {
            let middle = too_few + (enough - too_few) / 2;
            if suffices(middle) { enough = middle } else { too_few = middle }
        }
        Some(enough)
    }

    /// Whether so many runs of each root may come into a deadlock with the wanted one; `all`: each of them in it.
    fn is_possible(&self, set: &Set, all: bool) -> bool {
        if self.relevant.is_whole {
            return true;
        }
        let runs_max: Vec<Option<u64>> = set.iter().map(|count| Some(*count)).collect();
        let account = Account { lending: true, runs_max: Some(&runs_max), unknown_runs_short: false };
        let suspects = Suspects::of(self.system, self.holders, account);
        let takes_part = |root: usize| suspects.any_cause(self.holders, &self.holders.below_root(root));
        let others = (0..set.len()).filter(|root| all && set[*root] > 0);
        takes_part(self.wanted) && others.into_iter().all(takes_part)
    }

    /// All sets of so many runs that may come into a deadlock, all of them together.
    fn sets(&self, size: u64, left: &mut Left) -> Vec<Set> {
        let roots = &self.system.roots;
        let mut sets = Vec::new();
        let mut open: Vec<Set> = vec![Vec::new()];
        while let Some(set) = open.pop() {
            let Some(rest) = left.sets.checked_sub(1) else { break };
            left.sets = rest;
            let used: u64 = set.iter().sum();
            let root = set.len();
            if root == roots.len() {
                sets.extend((used == size && self.is_possible(&set, true)).then_some(set));
                continue;
            }
            let most = roots[root].runs_max.unwrap_or(size).min(size - used);
            let least = u64::from(root == self.wanted);
            let least = if root + 1 == roots.len() { least.max(size - used) } else { least };
            // Of one root there are as many as its bound lets there be, of the others few.
            open.extend((least..=most).map(|count| set.iter().copied().chain([count]).collect()));
        }
        sets
    }

    /// Follows every order of grants of a set of runs until some wait for ever.
    fn through(&self, world: &World<'_>, set: &Set, left: &mut Left) -> Option<Found> {
        let mut first = Runs::new();
        for (root, count) in self.system.roots.iter().zip(set).filter(|(_, count)| **count > 0) {
            *first.entry(world.fresh(root.flow)).or_default() += count;
        }
        let runs: u64 = set.iter().sum();
        // As many runs as these need as many steps.
        let mut states = (self.effort.states_max / SHARE_OF_SET).max(usize::try_from(runs * 2).unwrap_or(usize::MAX));
        let mut seen = BTreeSet::from([first.clone()]);
        let mut path = vec![frame(world, first.clone())];
        let mut taken: Vec<Taken> = Vec::new();
        loop {
            let now = path.last_mut()?;
            if std::mem::take(&mut now.may_be_dead) {
                // Each run is looked at.
                states = states.saturating_sub(usize::try_from(runs / 16).unwrap_or(usize::MAX));
                let (runs, story) = replay(&first, &taken);
                if (self.counts)(world, &runs) {
                    return Some(Found { runs, story, is_smallest: true });
                }
            }
            let Some((before, Move { run, told })) = now.next.pop() else {
                path.pop();
                taken.pop();
                continue;
            };
            let state = after(&now.state, &before, &run);
            if seen.contains(&state) {
                continue;
            }
            // A large state costs as much as many small ones.
            let cost = 1 + size(&state) / 4;
            let Some(rest) = states.checked_sub(cost) else {
                left.is_cut = true;
                return None;
            };
            states = rest;
            left.states = left.states.saturating_sub(cost);
            seen.insert(state.clone());
            path.push(frame(world, state));
            taken.push(Taken { before, after: run, told });
        }
    }
}

/// A state with what may follow. Grants come first: a deadlock is reached by taking.
fn frame(world: &World<'_>, state: Runs) -> Frame {
    let free = world.free(state.iter().map(|(run, count)| (run, *count)));
    let may_be_dead = world.runs_short(&free);
    let mut next: Vec<(Run, Move)> = Vec::new();
    for run in state.keys() {
        next.extend(world.moves(run, &free).into_iter().map(|one| (run.clone(), one)));
    }
    next.sort_by_key(|(_, one)| one.told.is_some());
    Frame { state, next, may_be_dead }
}
