//! The part of a system in which a deadlock can be found: what never waits in vain, and holds up nobody who may, is
//! left out.

use super::{
    holders::Holders,
    suspects::Suspects,
    system::{Act, Flow, Res, System},
};
use std::collections::BTreeSet;

/// Most tasks of one workflow that are searched through.
const ACTS_MAX: usize = 100;

/// A smaller system, and what is to be known of it.
#[derive(Debug)]
pub(super) struct Relevant {
    pub(super) system: System,
    /// The resources of which somebody may be short.
    pub(super) scarce: Vec<bool>,
    /// For each task of each workflow, what part it plays.
    pub(super) parts: Vec<Vec<Part>>,
    /// Whether nothing was left out.
    pub(super) is_whole: bool,
}

/// What part a task plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    /// Whether it may be stuck while it holds.
    pub(super) may_stay: bool,
    /// Whether others may begin only once it has ended.
    pub(super) is_earlier: bool,
    /// Whether it may wait in vain for what it asks.
    pub(super) may_lack: bool,
}

impl Part {
    fn plays(self) -> bool {
        self.may_stay || self.is_earlier || self.may_lack
    }
}

impl Relevant {
    /// None if too much is left.
    pub(super) fn of(system: &System, holders: &Holders, suspects: &Suspects) -> Option<Self> {
        let scarce: Vec<bool> = (0..system.resources.len()).map(|place| is_scarce(system, suspects, place)).collect();
        let mut parts: Vec<Vec<Part>> =
            system.flows.iter().map(|flow| vec![Part::default(); flow.acts.len()]).collect();
        for holder in staying(holders, suspects).into_iter().map(|place| &holders.all[place]) {
            // The first of those that are alike stands for all of them.
            let flow = holders.contexts[holder.context].flow;
            let first = &system.flows[flow].acts[holder.act];
            for (act, part) in system.flows[flow].acts.iter().zip(&mut parts[flow]) {
                part.may_stay |= (&act.asks, &act.steps, &act.calls) == (&first.asks, &first.steps, &first.calls);
            }
        }
        let mut small = system.clone();
        for (flow, parts) in small.flows.iter_mut().zip(&mut parts) {
            for (act, part) in flow.acts.iter().zip(parts.iter_mut()) {
                part.may_lack = asks(act).any(|resource| scarce[resource]);
            }
            let always_done = always_done(flow, &scarce, parts);
            add_earlier(flow, &always_done, parts);
            cut(flow, parts);
            if flow.acts.len() > ACTS_MAX {
                return None;
            }
        }
        Some(Self { system: small, scarce, parts, is_whole: false })
    }

    /// All of a system, unless that is too much.
    pub(super) fn whole(system: &System) -> Option<Self> {
        let fits = system.flows.iter().all(|flow| flow.acts.len() <= ACTS_MAX);
        let scarce = vec![true; system.resources.len()];
        let part = |act: &Act| Part { may_stay: act.is_inner(), is_earlier: true, may_lack: true };
        let parts = system.flows.iter().map(|flow| flow.acts.iter().map(part).collect()).collect();
        fits.then(|| Self { system: system.clone(), scarce, parts, is_whole: true })
    }
}

fn asks(act: &Act) -> impl Iterator<Item = Res> {
    act.asks.iter().chain(act.steps.iter().flatten()).map(|(resource, _)| *resource)
}

fn is_scarce(system: &System, suspects: &Suspects, resource: Res) -> bool {
    let Some(size) = system.resources[resource].size else { return false };
    let left = size.saturating_sub(suspects.held_max[resource]);
    let acts = system.flows.iter().flat_map(|flow| &flow.acts);
    let mut asked = acts.flat_map(|act| act.asks.iter().chain(act.steps.iter().flatten()));
    asked.any(|&(asked, units)| asked == resource && units > left)
}

/// The holders that may be part of a cause, and those above and below them that may be dead with them.
fn staying(holders: &Holders, suspects: &Suspects) -> BTreeSet<usize> {
    let dead = || (0..holders.all.len()).filter(|place| suspects.may_be_dead[*place]);
    let starts = |place: usize| holders.all[place].starts.iter().map(|(start, _)| *start);
    let mut above: BTreeSet<usize> = dead().filter(|place| suspects.may_be_cause[*place]).collect();
    let mut below = above.clone();
    loop {
        let before = above.len() + below.len();
        let contexts: BTreeSet<usize> = above.iter().map(|place| holders.all[*place].context).collect();
        above.extend(dead().filter(|place| starts(*place).any(|start| contexts.contains(&start))).collect::<Vec<_>>());
        let contexts: BTreeSet<usize> = below.iter().flat_map(|place| starts(*place)).collect();
        below.extend(dead().filter(|place| contexts.contains(&holders.all[*place].context)).collect::<Vec<_>>());
        if above.len() + below.len() == before {
            return &above | &below;
        }
    }
}

/// The tasks that are done as soon as they like, since so is all that they need and nobody is ever short of what they
/// ask for.
fn always_done(flow: &Flow, scarce: &[bool], parts: &[Part]) -> Vec<bool> {
    let is_easy = |act: &Act| {
        let asks = act.asks.iter().all(|(resource, _)| !scarce[*resource]);
        asks && !act.is_parent() && !act.may_fail && act.fallback_of.is_empty()
    };
    let mut done = vec![false; flow.acts.len()];
    loop {
        let mut grew = false;
        for (place, act) in flow.acts.iter().enumerate() {
            let met = act.needs.of.iter().filter(|(task, _)| done[*task]).count();
            if !done[place] && !parts[place].plays() && is_easy(act) && met >= act.needs.at_least {
                done[place] = true;
                grew = true;
            }
        }
        if !grew {
            return done;
        }
    }
}

/// Marks what must have ended, or failed, before a task that plays a part.
fn add_earlier(flow: &Flow, always_done: &[bool], parts: &mut [Part]) {
    let mut open: Vec<usize> = (0..parts.len()).filter(|place| parts[*place].plays()).collect();
    while let Some(place) = open.pop() {
        let act = &flow.acts[place];
        for &earlier in act.needs.of.iter().map(|(task, _)| task).chain(&act.fallback_of) {
            if !always_done[earlier] && !parts[earlier].is_earlier {
                parts[earlier].is_earlier = true;
                open.push(earlier);
            }
        }
    }
}

/// Leaves only the tasks that play a part; whatever else they need is met.
fn cut(flow: &mut Flow, parts: &mut Vec<Part>) {
    let mut places = vec![None; parts.len()];
    for (new, old) in (0..parts.len()).filter(|place| parts[*place].plays()).enumerate() {
        places[old] = Some(new);
    }
    let mut keep = parts.iter();
    flow.acts.retain(|_| keep.next().is_some_and(|part| part.plays()));
    parts.retain(|part| part.plays());
    for act in &mut flow.acts {
        let before = act.needs.of.len();
        act.needs.of = act.needs.of.iter().filter_map(|(task, until)| Some((places[*task]?, *until))).collect();
        act.needs.at_least = act.needs.at_least.saturating_sub(before - act.needs.of.len());
        act.fallback_of = act.fallback_of.iter().filter_map(|task| places[*task]).collect();
    }
}
