//! The declared system in motion: runs, what their tasks hold, and every next step that may lead to a deadlock.
//!
//! Only what lasts is kept. In any deadlock each task has ended, or holds and waits, or has not begun. Whatever has
//! ended by then can as well have ended all at once when it began, since less was held by then; so there are two
//! kinds of steps: a task runs to its end in one step, and is worth a step only where others wait for its end; or it is
//! granted something and keeps it. What is kept only grows. Runs in the same state are counted, not kept apart, so that a
//! pool of a thousand units is no larger a world than one of three.

use super::{
    relevant::Relevant,
    system::{Act, Bundle, Flow, Res, System},
};
use crate::workflow::Until;
use std::collections::BTreeMap;

/// How often one workflow may stand below itself; deeper runs are taken to end.
const REPEATS_MAX: usize = 2;

/// A run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Run {
    pub(super) flow: usize,
    /// What each of its tasks does.
    pub(super) acts: Vec<Doing>,
}

/// Runs, with how many of each there are.
pub(super) type Runs = BTreeMap<Run, u64>;

/// What a task does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doing {
    /// It has not begun.
    Pending,
    /// It was granted what it asked for, and keeps it.
    Active(Box<Active>),
    /// It ended well.
    Done,
    /// It failed, which starts a fallback.
    Failed,
    /// It never begins.
    Skipped,
}

/// A task that holds what it was granted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Active {
    pub(super) holds: Vec<Held>,
    /// The first step that it has neither taken nor passed.
    pub(super) next_step: usize,
    pub(super) now: Now,
    /// The runs that it started and waits for.
    pub(super) children: Runs,
}

/// What a task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Now {
    /// For nothing: it may do what it likes.
    Works,
    /// For its next step.
    Acquires,
    /// For runs of this of its calls.
    Calls(usize),
}

/// Units that a task holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Held {
    pub(super) resource: Res,
    pub(super) units: u64,
    /// How deep the ancestor stands that lends them, the outermost being 0; none: they are the pool's.
    pub(super) lender: Option<usize>,
}

/// A step of one run.
#[derive(Clone, Debug)]
pub(super) struct Move {
    /// The state after it.
    pub(super) run: Run,
    /// What was granted in it, for whoever tells the story.
    pub(super) told: Option<Told>,
}

/// Where a task stands: workflow and task, from the outermost inwards.
pub(super) type Path = Vec<(usize, usize)>;

/// Units that somebody was granted and keeps: who, from the outermost task inwards, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) path: Path,
    pub(super) held: Vec<Held>,
}

/// What steps are looked for in.
#[derive(Debug)]
pub(super) struct World<'s> {
    pub(super) relevant: &'s Relevant,
    /// Most runs that one task has at once, where it may have any number.
    pub(super) children_max: u64,
}

/// The tasks above whoever moves, with what each still has to lend.
#[derive(Clone, Default)]
struct Above {
    path: Path,
    /// For each task, what it holds to lend and has not lent to anybody now.
    lends: Vec<Vec<(Res, u64)>>,
}

/// Units of each resource that nobody holds; none: nobody knows, and there are always enough.
pub(super) type Free = [Option<u64>];

impl<'s> World<'s> {
    pub(super) fn system(&self) -> &'s System {
        &self.relevant.system
    }

    fn flow(&self, flow: usize) -> &'s Flow {
        &self.relevant.system.flows[flow]
    }

    /// A run that has just begun.
    pub(super) fn fresh(&self, flow: usize) -> Run {
        let mut run = Run { flow, acts: vec![Doing::Pending; self.flow(flow).acts.len()] };
        settle(self.flow(flow), &mut run);
        run
    }

    pub(super) fn free<'r>(&self, runs: impl Iterator<Item = (&'r Run, u64)>) -> Vec<Option<u64>> {
        let mut held = vec![0_u64; self.system().resources.len()];
        for (run, count) in runs {
            each_hold(run, count, &mut |hold, count| {
                if hold.lender.is_none() {
                    held[hold.resource] += hold.units * count;
                }
            });
        }
        let resources = self.system().resources.iter().zip(held);
        resources.map(|(resource, held)| resource.size.map(|size| size.saturating_sub(held))).collect()
    }

    /// Every step of one run, where so much is free.
    pub(super) fn moves(&self, run: &Run, free: &Free) -> Vec<Move> {
        self.moves_below(run, free, &Above::default())
    }

    fn moves_below(&self, run: &Run, free: &Free, above: &Above) -> Vec<Move> {
        let flow = self.flow(run.flow);
        let mut moves = Vec::new();
        for (place, doing) in run.acts.iter().enumerate() {
            let mut above = above.clone();
            above.path.push((run.flow, place));
            let act = &flow.acts[place];
            let next = match doing {
                Doing::Pending if may_begin(flow, run, place) => self.begin(act, free, &above),
                Doing::Active(active) => self.go_on(act, active, free, above),
                _ => continue,
            };
            for (doing, told) in next {
                let mut run = run.clone();
                run.acts[place] = doing;
                settle(flow, &mut run);
                moves.push(Move { run, told });
            }
        }
        moves
    }

    /// A task runs to its end, or is granted what it asks for and keeps it.
    fn begin(&self, act: &Act, free: &Free, above: &Above) -> Vec<(Doing, Option<Told>)> {
        let &(flow, place) = above.path.last().unwrap_or(&(0, 0));
        let part = self.relevant.parts[flow][place];
        let mut next = Vec::new();
        if part.is_earlier && self.can_end(act, free, &above.lends, &above.path) {
            next.push((Doing::Done, None));
            next.extend(act.may_fail.then_some((Doing::Failed, None)));
        }
        if !part.may_stay {
            return next;
        }
        let mut children = Runs::new();
        if act.is_parent() {
            // One of which nothing is to be said ends at once, and the task with it.
            let Some(child) = self.child(act.calls[0].flow, &above.path) else { return next };
            children.insert(child, 1);
        }
        let now = if act.is_parent() { Now::Calls(0) } else { Now::Works };
        for holds in self.ways(&act.asks, free, &above.lends) {
            let told = Told { path: above.path.clone(), held: holds.clone() };
            let active = Active { holds, next_step: 0, now, children: children.clone() };
            next.push((Doing::Active(Box::new(active)), Some(told)));
        }
        next
    }

    /// The next steps of a task that was granted what it asked for.
    fn go_on(&self, act: &Act, active: &Active, free: &Free, mut above: Above) -> Vec<(Doing, Option<Told>)> {
        let mut next = Vec::new();
        let with = |change: &dyn Fn(&mut Active)| {
            let mut active = active.clone();
            change(&mut active);
            Doing::Active(Box::new(active))
        };
        match active.now {
            Now::Works => {
                let steps = self.next_steps(act, active.next_step);
                next.extend(steps.map(|step| (with(&|it| (it.next_step, it.now) = (step, Now::Acquires)), None)));
                for (place, call) in act.calls.iter().enumerate() {
                    let Some(child) = self.child(call.flow, &above.path) else { continue };
                    let started =
                        with(&|it| (it.now, it.children) = (Now::Calls(place), Runs::from([(child.clone(), 1)])));
                    next.push((started, None));
                }
            }
            // Who has taken the last step and starts nothing waits for nothing any more.
            Now::Acquires if active.next_step + 1 == act.steps.len() && act.calls.is_empty() => {}
            Now::Acquires => {
                for held in self.ways(&act.steps[active.next_step], free, &above.lends) {
                    let taken = with(&|it| {
                        it.holds.extend(&held);
                        it.holds.sort_unstable();
                        (it.next_step, it.now) = (it.next_step + 1, Now::Works);
                    });
                    next.push((taken, Some(Told { path: above.path.clone(), held: held.clone() })));
                }
            }
            Now::Calls(call) => {
                let count: u64 = active.children.values().sum();
                let most = act.calls[call].most.unwrap_or(self.children_max).min(self.children_max);
                if count < most
                    && let Some(child) = self.child(act.calls[call].flow, &above.path)
                {
                    next.push((with(&|it| *it.children.entry(child.clone()).or_default() += 1), None));
                }
                above.lends.push(self.to_lend(active, above.path.len() - 1));
                for child in active.children.keys() {
                    for Move { run, told } in self.moves_below(child, free, &above) {
                        next.push((with(&|it| it.children = after(&it.children, child, &run)), told));
                    }
                }
            }
        }
        next
    }

    /// The steps that may be taken next: a task may go past one, which makes a difference only where it would have had
    /// something to lend.
    fn next_steps(&self, act: &Act, from: usize) -> std::ops::RangeInclusive<usize> {
        let is_lent = |step: &&Bundle| step.iter().any(|(resource, _)| self.system().lends(*resource));
        let passed = act.steps[from..].iter().take_while(is_lent).count();
        if from >= act.steps.len() {
            #[expect(clippy::reversed_empty_ranges, reason = "there is none")]
            return 1..=0;
        }
        from..=(from + passed).min(act.steps.len() - 1)
    }

    /// A run that the last task of a path starts; none: nothing is known of it that matters, or it would stand too deep.
    fn child(&self, flow: usize, path: &[(usize, usize)]) -> Option<Run> {
        let repeats = path.iter().filter(|(above, _)| *above == flow).count();
        let run = (repeats < REPEATS_MAX).then(|| self.fresh(flow))?;
        (!run.acts.is_empty()).then_some(run)
    }

    /// Whether a task can run to its end while nobody else moves. What it may acquire or start, it may leave.
    fn can_end(&self, act: &Act, free: &Free, lends: &[Vec<(Res, u64)>], path: &[(usize, usize)]) -> bool {
        self.ways(&act.asks, free, lends).into_iter().any(|held| {
            let child = act.calls.first().filter(|_| act.is_parent()).and_then(|call| self.child(call.flow, path));
            child.is_none_or(|child| {
                let (mut free, mut lends) = (free.to_vec(), lends.to_vec());
                for hold in &held {
                    match hold.lender {
                        None => free[hold.resource] = free[hold.resource].map(|free| free - hold.units),
                        Some(depth) => take(&mut lends[depth], hold),
                    }
                }
                let active = Active { holds: held, next_step: 0, now: Now::Calls(0), children: Runs::new() };
                lends.push(self.to_lend(&active, path.len() - 1));
                self.can_all_end(child, &free, &lends, path)
            })
        })
    }

    /// Whether all tasks of a run can come to their ends, one after the other.
    fn can_all_end(&self, mut run: Run, free: &Free, lends: &[Vec<(Res, u64)>], path: &[(usize, usize)]) -> bool {
        let flow = self.flow(run.flow);
        let mut failing: Vec<bool> = vec![false; run.acts.len()];
        loop {
            let ready =
                |place: &usize| run.acts[*place] == Doing::Pending && may_begin(flow, &run, *place) && !failing[*place];
            let Some(place) = (0..run.acts.len()).find(ready) else { break };
            let path: Path = path.iter().copied().chain([(run.flow, place)]).collect();
            match self.can_end(&flow.acts[place], free, lends, &path) {
                true => {
                    run.acts[place] = Doing::Done;
                    settle(flow, &mut run);
                }
                false => failing[place] = true,
            }
        }
        run.acts.iter().all(|doing| *doing != Doing::Pending)
    }

    /// What a task holds to lend and has not lent to anybody.
    pub(super) fn to_lend(&self, active: &Active, depth: usize) -> Vec<(Res, u64)> {
        let mut left: BTreeMap<Res, u64> = BTreeMap::new();
        for hold in active.holds.iter().filter(|hold| self.system().lends(hold.resource)) {
            *left.entry(hold.resource).or_default() += hold.units;
        }
        for (child, count) in &active.children {
            each_hold(child, *count, &mut |hold, count| {
                if hold.lender == Some(depth)
                    && let Some(left) = left.get_mut(&hold.resource)
                {
                    *left = left.saturating_sub(hold.units * count);
                }
            });
        }
        left.into_iter().collect()
    }

    /// Each way in which a bundle can be granted now.
    pub(super) fn ways(&self, bundle: &Bundle, free: &Free, lends: &[Vec<(Res, u64)>]) -> Vec<Vec<Held>> {
        let mut ways = vec![Vec::with_capacity(bundle.len())];
        for &(resource, units) in bundle {
            let from_pool = free[resource].is_none_or(|free| free >= units).then_some(None);
            let has = |lends: &Vec<(Res, u64)>| lends.iter().any(|(lent, left)| *lent == resource && *left >= units);
            let lenders = lends.iter().enumerate().rev().filter(|(_, lends)| has(lends)).map(|(depth, _)| Some(depth));
            // Where nobody can ever be short of it, it makes no difference who gives it.
            let most = if self.relevant.scarce[resource] { usize::MAX } else { 1 };
            let sources: Vec<Option<usize>> = from_pool.into_iter().chain(lenders).take(most).collect();
            let with =
                |way: &Vec<Held>, lender| way.iter().copied().chain([Held { resource, units, lender }]).collect();
            ways = ways.iter().flat_map(|way| sources.iter().map(move |lender| with(way, *lender))).collect();
        }
        ways
    }

    /// Whether anybody waits, or may, for more of a resource than the pool has left: before, nobody can be dead.
    pub(super) fn runs_short(&self, free: &Free) -> bool {
        let acts = self.system().flows.iter().flat_map(|flow| &flow.acts);
        let mut asked = acts.flat_map(|act| act.asks.iter().chain(act.steps.iter().flatten()));
        asked.any(|&(resource, units)| free[resource].is_some_and(|free| free < units))
    }
}

/// The same runs after one of them has moved.
pub(super) fn after(runs: &Runs, before: &Run, run: &Run) -> Runs {
    let mut runs = runs.clone();
    let left = runs.remove(before).unwrap_or_default().saturating_sub(1);
    if left > 0 {
        runs.insert(before.clone(), left);
    }
    *runs.entry(run.clone()).or_default() += 1;
    runs
}

fn take(lends: &mut [(Res, u64)], hold: &Held) {
    for (_, left) in lends.iter_mut().filter(|(resource, _)| *resource == hold.resource) {
        *left = left.saturating_sub(hold.units);
    }
}

/// Whether a task that has not begun may ask for what it needs.
pub(super) fn may_begin(flow: &Flow, run: &Run, place: usize) -> bool {
    let act = &flow.acts[place];
    let met = act.needs.of.iter().filter(|(task, until)| is_met(&run.acts[*task], *until)).count();
    let failed = |task: &usize| run.acts[*task] == Doing::Failed;
    let is_called = act.fallback_of.is_empty() || act.fallback_of.iter().any(failed);
    let has_place = !act.is_attempt || attempts(flow, run) < flow.max_parallel.unwrap_or(u64::MAX);
    met >= act.needs.at_least && is_called && has_place
}

/// How many attempts of a run there are.
fn attempts(flow: &Flow, run: &Run) -> u64 {
    let acts = run.acts.iter().zip(&flow.acts);
    acts.filter(|(doing, act)| act.is_attempt && matches!(doing, Doing::Active(_))).count() as u64
}

/// Skips what can never begin.
fn settle(flow: &Flow, run: &mut Run) {
    let is_over = |run: &Run, place: usize| run.acts[place] == Doing::Pending && is_impossible(flow, run, place);
    while let Some(place) = (0..run.acts.len()).find(|place| is_over(run, *place)) {
        run.acts[place] = Doing::Skipped;
    }
}

/// Whether a task can never begin: too many of its needs ended otherwise, or nobody needed its fallback.
fn is_impossible(flow: &Flow, run: &Run, place: usize) -> bool {
    let act = &flow.acts[place];
    let possible = |(task, until): &&(usize, Until)| !run.acts[*task].has_ended() || is_met(&run.acts[*task], *until);
    let spared = |task: &usize| matches!(run.acts[*task], Doing::Done | Doing::Skipped);
    act.needs.of.iter().filter(possible).count() < act.needs.at_least
        || (!act.fallback_of.is_empty() && act.fallback_of.iter().all(spared))
}

fn is_met(doing: &Doing, until: Until) -> bool {
    match until {
        Until::Succeeded => *doing == Doing::Done,
        Until::Finished => doing.has_ended(),
    }
}

impl Doing {
    fn has_ended(&self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Skipped)
    }
}

/// Calls `visit` with everything that is held in a run and below it, and how often.
pub(super) fn each_hold(run: &Run, count: u64, visit: &mut impl FnMut(&Held, u64)) {
    for doing in &run.acts {
        if let Doing::Active(active) = doing {
            active.holds.iter().for_each(|hold| visit(hold, count));
            active.children.iter().for_each(|(child, children)| each_hold(child, count * children, visit));
        }
    }
}

/// How many different runs there are in a state, those below others included.
pub(super) fn size(runs: &Runs) -> usize {
    let below = |run: &Run| {
        run.acts
            .iter()
            .filter_map(|doing| match doing {
                Doing::Active(active) => Some(size(&active.children)),
                _ => None,
            })
            .sum::<usize>()
    };
    runs.keys().map(|run| 1 + below(run)).sum()
}
