//! Who may hold something while it waits, and for what: every task that acquires or starts runs, in every context in
//! which it can stand.
//!
//! A context is a workflow together with what the tasks above a run of it have to lend: a request for units of which
//! the nearest holder above has enough is *covered*. There are finitely many contexts even where workflows start
//! themselves, since a lender is known by its task and not by the run in which it stands.

use super::system::{Bundle, Call, Flow, Res, System};
use std::collections::{BTreeMap, BTreeSet};

/// Most contexts, holders, and steps from one to another, that are looked at.
const CONTEXTS_MAX: usize = 2_000;
const HOLDERS_MAX: usize = 10_000;
const STEPS_MAX: usize = 2_000_000;

/// There is too much to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMuch;

/// All of them.
#[derive(Debug)]
pub(super) struct Holders {
    pub(super) contexts: Vec<Context>,
    pub(super) all: Vec<Holder>,
    /// The context of each root.
    pub(super) roots: Vec<usize>,
    /// Who stands below a lender and holds the same, by the lender.
    pub(super) borrowers: BTreeMap<(Lender, Res), BTreeSet<usize>>,
}

/// Whoever may lend: a task, with what it has acquired so far. Wherever it stands, it is the same lender.
pub(super) type Lender = usize;

/// A workflow below certain lenders.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Context {
    pub(super) flow: usize,
    /// The nearest holder of each resource that is lent, with its units.
    pub(super) above: BTreeMap<Res, (Lender, u64)>,
}

/// A task that may wait while it holds.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) context: usize,
    pub(super) act: usize,
    /// How many tasks of its workflow are like it.
    pub(super) copies: u64,
    pub(super) lender: Lender,
    /// What it holds.
    pub(super) holds: Bundle,
    /// The contexts of the runs that it starts, with how many there may be at once.
    pub(super) starts: Vec<(usize, Option<u64>)>,
    /// What it, or anybody below it, may wait for.
    pub(super) waits: BTreeSet<Wait>,
}

/// Something that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wait {
    pub(super) resource: Res,
    pub(super) units: u64,
    /// Who has enough of it to lend, nearest above whoever waits.
    pub(super) lender: Option<Lent>,
}

/// Where the lender of a wait stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lent {
    pub(super) lender: Lender,
    /// Whether it is the holder in question or stands below it, not above.
    pub(super) is_inside: bool,
}

/// A task with what it has acquired, and the step for which it waits next, if it does not start runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stage {
    acquired: Vec<usize>,
    asks_for: Option<usize>,
}

/// What tasks have in common that are alike here: what they ask for, acquire and start.
type Alike<'s> = (&'s Bundle, &'s [Bundle], &'s [Call]);

struct Builder<'s> {
    system: &'s System,
    holders: Holders,
    known: BTreeMap<Context, usize>,
    lenders: BTreeMap<(usize, usize, Vec<usize>), Lender>,
    /// What tasks of each workflow ask for.
    asked: Vec<BTreeSet<(Res, u64)>>,
    steps: usize,
}

impl Holders {
    pub(super) fn of(system: &System) -> Result<Self, TooMuch> {
        let holders = Self { contexts: Vec::new(), all: Vec::new(), roots: Vec::new(), borrowers: BTreeMap::new() };
        let asked = system.flows.iter().map(asked).collect();
        let mut builder =
            Builder { system, holders, known: BTreeMap::new(), lenders: BTreeMap::new(), asked, steps: 0 };
        for root in &system.roots {
            let context = builder.context(Context { flow: root.flow, above: BTreeMap::new() })?;
            builder.holders.roots.push(context);
        }
        let mut next = 0;
        while next < builder.holders.contexts.len() {
            builder.add_holders(next)?;
            next += 1;
        }
        builder.look_down()?;
        Ok(builder.holders)
    }

    /// Whether all units that it holds of a resource are the pool's own: nobody could have lent them.
    pub(super) fn is_from_pool(&self, system: &System, holder: &Holder, resource: Res) -> bool {
        !system.lends(resource) || !self.contexts[holder.context].above.contains_key(&resource)
    }

    /// The contexts in which runs below a root may stand.
    pub(super) fn below_root(&self, root: usize) -> BTreeSet<usize> {
        let mut seen = BTreeSet::from([self.roots[root]]);
        let mut open = vec![self.roots[root]];
        while let Some(context) = open.pop() {
            for holder in self.all.iter().filter(|holder| holder.context == context) {
                open.extend(holder.starts.iter().map(|(start, _)| *start).filter(|start| seen.insert(*start)));
            }
        }
        seen
    }
}

/// What any task of a workflow may ask for.
fn asked(flow: &Flow) -> BTreeSet<(Res, u64)> {
    flow.acts.iter().flat_map(|act| act.asks.iter().chain(act.steps.iter().flatten()).copied()).collect()
}

impl Builder<'_> {
    fn context(&mut self, context: Context) -> Result<usize, TooMuch> {
        if let Some(&known) = self.known.get(&context) {
            return Ok(known);
        }
        let place = self.holders.contexts.len();
        if place >= CONTEXTS_MAX {
            return Err(TooMuch);
        }
        self.known.insert(context.clone(), place);
        self.holders.contexts.push(context);
        Ok(place)
    }

    fn add_holders(&mut self, context: usize) -> Result<(), TooMuch> {
        let system = self.system;
        let flow = self.holders.contexts[context].flow;
        // Tasks that are alike in what counts here are one.
        let mut groups: BTreeMap<Alike<'_>, (usize, u64)> = BTreeMap::new();
        for (place, act) in system.flows[flow].acts.iter().enumerate().filter(|(_, act)| act.is_inner()) {
            groups.entry((&act.asks, &act.steps, &act.calls)).or_insert((place, 0)).1 += 1;
        }
        for (act, copies) in groups.into_values() {
            for stage in stages(system, flow, act)? {
                self.add_holder(context, (flow, act), copies, &stage)?;
            }
        }
        Ok(())
    }

    fn add_holder(
        &mut self,
        context: usize,
        (flow, act): (usize, usize),
        copies: u64,
        stage: &Stage,
    ) -> Result<(), TooMuch> {
        if self.holders.all.len() >= HOLDERS_MAX {
            return Err(TooMuch);
        }
        let task = &self.system.flows[flow].acts[act];
        let holds = sum(std::iter::once(&task.asks).chain(stage.acquired.iter().map(|&step| &task.steps[step])));
        let count = self.lenders.len();
        let lender = *self.lenders.entry((flow, act, stage.acquired.clone())).or_insert(count);
        let mut starts = Vec::new();
        let mut waits = BTreeSet::new();
        match stage.asks_for {
            Some(step) => {
                let own = task.steps[step].iter().map(|&(resource, units)| self.wait(context, resource, units, None));
                waits.extend(own);
            }
            None => {
                let mut above = self.holders.contexts[context].above.clone();
                let lent = holds.iter().filter(|(resource, _)| self.system.lends(*resource));
                above.extend(lent.map(|&(resource, units)| (resource, (lender, units))));
                for call in &task.calls {
                    starts.push((self.context(Context { flow: call.flow, above: above.clone() })?, call.most));
                }
            }
        }
        self.holders.all.push(Holder { context, act, copies, lender, holds, starts, waits });
        Ok(())
    }

    /// A wait of somebody in a context; `inside` are the resources that the holder in question, or somebody between,
    /// holds to lend.
    fn wait(&self, context: usize, resource: Res, units: u64, inside: Option<&BTreeSet<Res>>) -> Wait {
        let nearest = self.holders.contexts[context].above.get(&resource);
        let lender = nearest
            .filter(|(_, has)| *has >= units)
            .map(|&(lender, _)| Lent { lender, is_inside: inside.is_some_and(|inside| inside.contains(&resource)) });
        Wait { resource, units, lender }
    }

    /// Finds what is waited for below each holder, and who may borrow of it.
    fn look_down(&mut self) -> Result<(), TooMuch> {
        let mut of_context: Vec<Vec<usize>> = vec![Vec::new(); self.holders.contexts.len()];
        for (place, holder) in self.holders.all.iter().enumerate() {
            of_context[holder.context].push(place);
        }
        for place in 0..self.holders.all.len() {
            let (mut waits, mut borrowers) = (BTreeSet::new(), Vec::new());
            let holder = &self.holders.all[place];
            let first: BTreeSet<Res> = self.lent_by(place).collect();
            let mut open: Vec<(usize, BTreeSet<Res>)> =
                holder.starts.iter().map(|(start, _)| (*start, first.clone())).collect();
            let mut seen: BTreeSet<(usize, BTreeSet<Res>)> = open.iter().cloned().collect();
            while let Some((context, inside)) = open.pop() {
                self.steps += 1 + self.asked[self.holders.contexts[context].flow].len();
                if self.steps > STEPS_MAX {
                    return Err(TooMuch);
                }
                let asked = self.asked[self.holders.contexts[context].flow].iter();
                waits.extend(asked.map(|&(resource, units)| self.wait(context, resource, units, Some(&inside))));
                for &below in &of_context[context] {
                    borrowers.extend(self.holders.all[below].holds.iter().map(|(resource, _)| (*resource, below)));
                    let inside: BTreeSet<Res> = inside.iter().copied().chain(self.lent_by(below)).collect();
                    for (start, _) in &self.holders.all[below].starts {
                        if seen.insert((*start, inside.clone())) {
                            open.push((*start, inside.clone()));
                        }
                    }
                }
            }
            let lender = holder.lender;
            for (resource, below) in borrowers {
                self.holders.borrowers.entry((lender, resource)).or_default().insert(below);
            }
            self.holders.all[place].waits.extend(waits);
        }
        Ok(())
    }

    fn lent_by(&self, holder: usize) -> impl Iterator<Item = Res> {
        let holds = self.holders.all[holder].holds.iter();
        holds.map(|(resource, _)| *resource).filter(|resource| self.system.lends(*resource))
    }
}

/// What a task may have acquired when it waits. It may go past a step: that makes a difference only where it would
/// have had something to lend.
fn stages(system: &System, flow: usize, act: usize) -> Result<Vec<Stage>, TooMuch> {
    let task = &system.flows[flow].acts[act];
    let is_lent = |step: &usize| task.steps[*step].iter().any(|(resource, _)| system.lends(*resource));
    let mut acquired: Vec<Vec<usize>> = vec![Vec::new()];
    let mut stages = Vec::new();
    for step in 0..task.steps.len() {
        stages.extend(acquired.iter().map(|acquired| Stage { acquired: acquired.clone(), asks_for: Some(step) }));
        let with = |acquired: &Vec<usize>| acquired.iter().copied().chain([step]).collect();
        let mut next: Vec<Vec<usize>> = acquired.iter().map(with).collect();
        if is_lent(&step) {
            next.extend(acquired.iter().cloned());
        }
        if !task.calls.is_empty() {
            stages.extend(acquired.into_iter().map(|acquired| Stage { acquired, asks_for: None }));
        }
        acquired = next;
        if stages.len() > HOLDERS_MAX {
            return Err(TooMuch);
        }
    }
    if !task.calls.is_empty() {
        stages.extend(acquired.into_iter().map(|acquired| Stage { acquired, asks_for: None }));
    }
    stages.sort_unstable();
    stages.dedup();
    Ok(stages)
}

/// Everything together, resource by resource.
pub(super) fn sum<'b>(bundles: impl Iterator<Item = &'b Bundle>) -> Bundle {
    let mut sum: BTreeMap<Res, u64> = BTreeMap::new();
    for &(resource, units) in bundles.flatten() {
        *sum.entry(resource).or_default() += units;
    }
    sum.into_iter().collect()
}
