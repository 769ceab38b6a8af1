//! From what is declared to a verdict for each root: by rules first, then by search.

use super::{
    Declared, Doubt, Effort, Figure, Proof, Root, Rule, Verdict,
    graph::graph,
    holders::Holders,
    relevant::Relevant,
    remedy,
    scenario::Scenario,
    search::{Outcome, Search},
    suspects::{Account, Suspects},
    system::{Act, Kind, Res, Spawned, System},
    world::{Run, World},
};
use crate::wait::{Class, reduce};
use std::collections::{BTreeMap, BTreeSet};

/// Most names that one answer lists.
const NAMES_MAX: usize = 20;

/// Judges the wanted roots.
pub(super) fn prove(declared: &Declared, effort: Effort, is_wanted: impl Fn(&Root) -> bool) -> Vec<Proof> {
    let system = System::of(declared, Spawned::Awaited);
    let wanted = || declared.roots.iter().enumerate().filter(|(_, root)| is_wanted(root)).map(|(place, _)| place);
    let Ok(holders) = Holders::of(&system) else {
        return wanted().map(|root| proof(&system, root, unknown(&system, root, Doubt::TooLarge))).collect();
    };
    let judge = Judge::new(&system, &holders);
    let mut given_up: Vec<usize> = Vec::new();
    let mut verdicts: BTreeMap<usize, Verdict> = BTreeMap::new();
    let mut seen: Vec<(Box<Scenario>, Vec<usize>)> = Vec::new();
    // Whatever goes on beside a run of it belongs to it.
    let judged: BTreeSet<usize> = wanted().flat_map(|root| group(&system, root)).collect();
    for root in judged {
        let verdict = judge.by_rule(root).unwrap_or_else(|| match judge.by_search(root, effort) {
            Searched::Found(scenario, with) => {
                let scenario =
                    Box::new(remedy::with_changes(declared, &system.flows[system.roots[root].flow].name, scenario));
                seen.push((scenario.clone(), with));
                Verdict::Unsafe { scenario }
            }
            Searched::Other(verdict) => verdict,
            Searched::GivenUp(doubt) => {
                given_up.push(root);
                unknown(&system, root, doubt)
            }
        });
        verdicts.insert(root, verdict);
    }
    // What was not found from here may have been found from somewhere else.
    for root in given_up {
        if let Some((scenario, _)) = seen.iter().find(|(_, with)| with.contains(&root)) {
            verdicts.insert(root, Verdict::Unsafe { scenario: scenario.clone() });
        }
    }
    let of_group = |root| {
        let verdict =
            group(&system, root).into_iter().filter_map(|member| verdicts.get(&member)).max_by_key(|one| weight(one));
        let verdict = verdict.cloned().unwrap_or_else(|| unknown(&system, root, Doubt::TooLarge));
        let mut proof = proof(&system, root, unless_awaited(declared, &system, root, verdict));
        if matches!(proof.verdict, Verdict::Safe { .. }) {
            proof.slots_max = declared.slots.filter(|_| !is_safe_with_more_slots(declared, &system, root));
        }
        proof
    };
    wanted().map(of_group).collect()
}

/// A root and those that go on beside its runs.
fn group(system: &System, root: usize) -> BTreeSet<usize> {
    let beside = system.started_by(system.roots[root].flow).beside;
    let others = (0..system.roots.len()).filter(|other| beside.contains(&system.roots[*other].flow));
    others.chain([root]).collect()
}

/// Of several verdicts, that counts which weighs most.
fn weight(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Safe { rule: Rule::AllAtOnce } => 0,
        Verdict::Safe { .. } => 1,
        Verdict::Unknown { .. } => 2,
        Verdict::Unsafe { .. } => 3,
    }
}

/// Takes back that something is safe if that rests on attempts that wait for the runs that they start.
fn unless_awaited(declared: &Declared, system: &System, root: usize, verdict: Verdict) -> Verdict {
    let Verdict::Safe { rule } = verdict else { return verdict };
    let flow = &system.flows[system.roots[root].flow].name;
    let starts: Vec<String> = starters(system, root).take(NAMES_MAX).collect();
    if starts.is_empty() || is_safe_by_rule(declared, flow, Spawned::Free) {
        return Verdict::Safe { rule };
    }
    Verdict::Unknown { doubts: vec![Doubt::NotAwaited { tasks: starts }], declared: Some(rule) }
}

/// The tasks whose attempts start runs.
fn starters(system: &System, root: usize) -> impl Iterator<Item = String> {
    let starts = started(system, root).filter(|(_, act)| act.is_attempt && !act.calls.is_empty());
    starts.map(|(flow, act)| format!("{}.{}", system.flows[flow].name, act.name))
}

/// Whether a rule still holds once more workers come than those whose slots are declared.
fn is_safe_with_more_slots(declared: &Declared, system: &System, root: usize) -> bool {
    let flow = &system.flows[system.roots[root].flow].name;
    let more = Declared { slots: Some(u32::MAX), ..declared.clone() };
    is_safe_by_rule(&more, flow, Spawned::Awaited)
        && (starters(system, root).next().is_none() || is_safe_by_rule(&more, flow, Spawned::Free))
}

/// What a search came to.
enum Searched {
    /// A deadlock, and the roots that take part in it.
    Found(Scenario, Vec<usize>),
    Other(Verdict),
    GivenUp(Doubt),
}

/// Whether a workflow is safe by a rule, with what goes on beside its runs: what changes are tried by.
pub(super) fn is_safe_by_rule(declared: &Declared, workflow: &str, spawned: Spawned) -> bool {
    let system = System::of(declared, spawned);
    let root = system.roots.iter().position(|root| *system.flows[root.flow].name == *workflow);
    let (Some(root), Ok(holders)) = (root, Holders::of(&system)) else { return false };
    let judge = Judge::new(&system, &holders);
    group(&system, root).into_iter().all(|root| matches!(judge.by_rule(root), Some(Verdict::Safe { .. })))
}

fn proof(system: &System, root: usize, verdict: Verdict) -> Proof {
    let flow = system.roots[root].flow;
    let mut undeclared = Vec::new();
    for (flow, act) in started(system, root) {
        let holds = act.asks.iter().any(|(resource, _)| system.resources[*resource].kind != Kind::Slots);
        if act.is_silent && !holds {
            undeclared.push(format!("{}.{}", system.flows[flow].name, act.name));
        }
    }
    Proof { workflow: system.flows[flow].name.clone(), verdict, slots_max: None, undeclared }
}

/// All tasks of a root and of the workflows that it starts, directly or by others.
fn started(system: &System, root: usize) -> impl Iterator<Item = (usize, &Act)> {
    let flows = system.started_by(system.roots[root].flow).all;
    flows.into_iter().flat_map(|flow| system.flows[flow].acts.iter().map(move |act| (flow, act)))
}

fn unknown(system: &System, root: usize, doubt: Doubt) -> Verdict {
    let mut doubts = doubts(system, root);
    doubts.push(doubt);
    Verdict::Unknown { doubts, declared: None }
}

/// What is not declared below a root and may matter.
fn doubts(system: &System, root: usize) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    for (flow, act) in started(system, root) {
        let task = || format!("{}.{}", system.flows[flow].name, act.name);
        let held = act.asks.iter().filter(|(resource, _)| system.resources[*resource].kind != Kind::Slots);
        let holds: Vec<String> = held.map(|(resource, _)| system.resources[*resource].name.clone()).collect();
        if act.is_silent && !holds.is_empty() {
            doubts.push(Doubt::Undeclared { task: task(), holds });
        }
        let called = act.calls.iter().map(|call| call.flow).chain(act.detached.iter().copied());
        for called in called.filter(|called| !system.flows[*called].is_known) {
            let workflow = system.flows[called].name.to_string();
            doubts.push(Doubt::UnknownWorkflow { task: task(), workflow });
        }
    }
    doubts.truncate(NAMES_MAX);
    doubts
}

struct Judge<'s> {
    system: &'s System,
    holders: &'s Holders,
    runs_max: Vec<Option<u64>>,
    /// Who may be in a deadlock, whatever nobody knows being as bad as can be.
    at_worst: Suspects,
    /// The same by what is known.
    known: Suspects,
    /// Whether anybody asks for more than there is.
    is_too_much: bool,
}

impl<'s> Judge<'s> {
    fn new(system: &'s System, holders: &'s Holders) -> Self {
        let runs_max: Vec<Option<u64>> = system.roots.iter().map(|root| root.runs_max).collect();
        let account = |unknown_runs_short| Account { lending: true, runs_max: Some(&runs_max), unknown_runs_short };
        let at_worst = Suspects::of(system, holders, account(true));
        let known = Suspects::of(system, holders, account(false));
        let mut asked = system
            .flows
            .iter()
            .flat_map(|flow| &flow.acts)
            .flat_map(|act| act.asks.iter().chain(act.steps.iter().flatten()));
        let is_too_much =
            asked.any(|&(resource, units)| system.resources[resource].size.is_some_and(|size| units > size));
        Self { system, holders, at_worst, known, is_too_much, runs_max }
    }

    /// A verdict without a search.
    fn by_rule(&self, root: usize) -> Option<Verdict> {
        let contexts = self.holders.below_root(root);
        if self.is_too_much || self.known.any_cause(self.holders, &contexts) {
            return None;
        }
        let rule = self.rule(&contexts);
        let mut doubts = doubts(self.system, root);
        let at_worst = self.at_worst.any_cause(self.holders, &contexts);
        if at_worst {
            let unknown = self.system.resources.iter().filter(|resource| resource.size.is_none());
            doubts.extend(unknown.map(|resource| Doubt::UnknownSlots { slots: resource.name.clone() }));
        }
        if doubts.is_empty() {
            return Some(Verdict::Safe { rule });
        }
        // Of what is not known, nothing is said.
        let is_known = !at_worst && !doubts.iter().any(|doubt| matches!(doubt, Doubt::UnknownWorkflow { .. }));
        Some(Verdict::Unknown { doubts, declared: is_known.then_some(rule) })
    }

    /// The rule by which nobody in these contexts ever waits in vain.
    fn rule(&self, contexts: &BTreeSet<usize>) -> Rule {
        let mut here = self.holders.all.iter().filter(|holder| contexts.contains(&holder.context));
        if here.all(|holder| holder.holds.is_empty() || holder.waits.is_empty()) {
            return Rule::AllAtOnce;
        }
        let suspects = |lending| {
            let account = Account { lending, runs_max: None, unknown_runs_short: true };
            Suspects::of(self.system, self.holders, account)
        };
        if !suspects(false).any_cause(self.holders, contexts) {
            return Rule::Ordered { order: self.order(contexts) };
        }
        let by_any_number = suspects(true);
        if !by_any_number.any_cause(self.holders, contexts) {
            return Rule::Lending { lent: self.lent(contexts) };
        }
        Rule::Bounded { figures: self.figures(&by_any_number) }
    }

    /// What is held and waited for in these contexts, each before what is waited for while it is held.
    fn order(&self, contexts: &BTreeSet<usize>) -> Vec<String> {
        let mut before: BTreeMap<Res, BTreeSet<Res>> = BTreeMap::new();
        for holder in self.holders.all.iter().filter(|holder| contexts.contains(&holder.context)) {
            for &(held, _) in &holder.holds {
                before.entry(held).or_default();
                for wait in &holder.waits {
                    before.entry(wait.resource).or_default().insert(held);
                }
            }
        }
        let mut order = Vec::new();
        while let Some(&next) = before.iter().find(|(_, earlier)| earlier.is_empty()).map(|(next, _)| next) {
            before.remove(&next);
            for earlier in before.values_mut() {
                earlier.remove(&next);
            }
            order.push(self.system.resources[next].name.clone());
        }
        order
    }

    /// What is lent in these contexts to those who wait for it.
    fn lent(&self, contexts: &BTreeSet<usize>) -> Vec<String> {
        let here = self.holders.all.iter().filter(|holder| contexts.contains(&holder.context));
        let waits = here.flat_map(|holder| &holder.waits).filter(|wait| wait.lender.is_some());
        let lent: BTreeSet<Res> = waits.map(|wait| wait.resource).collect();
        lent.into_iter().map(|resource| self.system.resources[resource].name.clone()).collect()
    }

    /// What is left of the resources that would run short if there were any number of holders.
    fn figures(&self, suspects: &Suspects) -> Vec<Figure> {
        let account = Account { lending: true, runs_max: Some(&self.runs_max), unknown_runs_short: false };
        let held_max = Suspects::held_by(self.system, self.holders, account, &suspects.may_be_dead);
        let mut figures = Vec::new();
        for (place, resource) in self.system.resources.iter().enumerate() {
            let Some(size) = resource.size.filter(|_| held_max[place] > 0) else { continue };
            let asked = self.holders.all.iter().flat_map(|holder| &holder.waits).filter(|wait| wait.resource == place);
            let Some(asked_max) = asked.map(|wait| wait.units).max() else { continue };
            if held_max[place] + asked_max <= size {
                figures.push(Figure { resource: resource.name.clone(), size, held_max: held_max[place], asked_max });
            }
        }
        figures
    }

    /// A verdict by looking for a deadlock.
    fn by_search(&self, root: usize, effort: Effort) -> Searched {
        let relevant = match self.is_too_much {
            true => Relevant::whole(self.system),
            false => Relevant::of(self.system, self.holders, &self.known),
        };
        let Some(relevant) = relevant else { return Searched::GivenUp(Doubt::TooLarge) };
        let flow = self.system.roots[root].flow;
        let counts = |world: &World<'_>, runs: &[Run]| cause(world, runs).contains(&flow);
        let (system, holders) = (self.system, self.holders);
        let search = Search { system, holders, relevant: &relevant, wanted: root, effort, counts: &counts };
        match search.run() {
            Outcome::Found(found) => {
                let world = World { relevant: &relevant, children_max: 1 };
                let cause = cause(&world, &found.runs);
                let with = (0..system.roots.len()).filter(|root| cause.contains(&system.roots[*root].flow));
                Searched::Found(Scenario::of(&world, &found), with.collect())
            }
            Outcome::Exhausted(states) => {
                let (doubts, rule) = (doubts(system, root), Rule::Explored { states });
                Searched::Other(match doubts.is_empty() {
                    true => Verdict::Safe { rule },
                    false => Verdict::Unknown { doubts, declared: Some(rule) },
                })
            }
            Outcome::GivenUp => Searched::GivenUp(self.not_decided(root)),
        }
    }

    fn not_decided(&self, root: usize) -> Doubt {
        let mut below = started(self.system, root);
        if let Some((flow, _)) = below.find(|(flow, _)| self.system.starts_itself(*flow)) {
            return Doubt::Recursion { workflow: self.system.flows[flow].name.to_string() };
        }
        let contexts = self.holders.below_root(root);
        let held = self.known.causes(self.holders, &contexts).flat_map(|holder| &holder.holds);
        let held: BTreeSet<Res> = held.map(|(resource, _)| *resource).collect();
        Doubt::NotDecided {
            resources: held.into_iter().map(|resource| self.system.resources[resource].name.clone()).collect(),
        }
    }
}

/// The workflows of the runs that are the cause of a deadlock, if the wait graph confirms that there is one.
fn cause(world: &World<'_>, runs: &[Run]) -> BTreeSet<usize> {
    let verdict = reduce(&graph(world, runs));
    if verdict.verdict != Class::Deadlocked {
        return BTreeSet::new();
    }
    let is_of = |id: &String, flow: usize| {
        id.strip_prefix(&*world.system().flows[flow].name).is_some_and(|rest| rest.starts_with(" #"))
    };
    let flows: BTreeSet<usize> = runs.iter().map(|run| run.flow).collect();
    flows.into_iter().filter(|flow| verdict.core.iter().any(|id| is_of(id, *flow))).collect()
}
