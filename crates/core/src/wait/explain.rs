//! Why a graph stands still, in sentences that a person understands.

use super::{
    Class, Expr, Mode, NodeState, Part, Queue, Snapshot, Until, Verdict,
    core_of::{Blocked, sinks},
    describe::{NAMES_MAX, listed},
    graph::Graph,
    reduce::{Assume, Reduction, reorder},
    repair::Repair,
    residue,
};
use crate::Timestamp;
use std::collections::{BTreeSet, VecDeque};

/// Sentences about one cycle before the rest is only counted.
const CYCLE_SAID_MAX: usize = 12;
/// Causes that are told, the shortest cycles first.
const CAUSES_SAID_MAX: usize = 8;
/// Causes among whose cycles the shortest are looked for, the smallest first.
const CAUSES_WALKED_MAX: usize = 64;
/// Edges that are walked to find the shortest cycle of one component.
const WALK_MAX: usize = 50_000;

/// What is said of a graph.
#[derive(Default)]
pub(super) struct Explained {
    pub(super) sentences: Vec<String>,
    /// The ids of the cycles that the sentences tell of.
    pub(super) cycles: Vec<Vec<String>>,
}

/// The sentences for a verdict. `settled` is the reduction of the dead alone.
pub(super) fn explain(
    snapshot: &Snapshot,
    verdict: &Verdict,
    settled: &Reduction<'_>,
    repairs: &[Repair],
) -> Explained {
    let sentences = |sentences| Explained { sentences, ..Explained::default() };
    match verdict.verdict {
        Class::Deadlocked | Class::Soft => dead(snapshot, verdict, settled, repairs),
        Class::Stalled => sentences(stalled(snapshot)),
        Class::Moving => {
            let waiting = snapshot.nodes.iter().filter(|node| node.state == NodeState::Waiting).count();
            sentences(vec![match waiting {
                0 => "nobody waits".to_owned(),
                1 => "the one that waits can still go on by what runs now".to_owned(),
                many => format!("all {many} that wait can still go on by what runs now"),
            }])
        }
    }
}

fn dead(snapshot: &Snapshot, verdict: &Verdict, settled: &Reduction<'_>, repairs: &[Repair]) -> Explained {
    let said = Said { snapshot, settled };
    let blocked = Blocked::of(settled);
    let mut sinks = sinks(settled);
    let causes = sinks.len();
    sinks.sort_by_key(Vec::len);
    let mut cycles: Vec<Vec<usize>> =
        sinks.iter().take(CAUSES_WALKED_MAX).map(|sink| shortest_cycle(&blocked, sink)).collect();
    cycles.sort_by_key(Vec::len);
    cycles.truncate(CAUSES_SAID_MAX);
    let mut sentences = Vec::new();
    for cycle in &cycles {
        sentences.extend(cycle.iter().take(CYCLE_SAID_MAX).map(|node| said.sentence(*node)));
        if cycle.len() > CYCLE_SAID_MAX {
            sentences.push(format!("and so on: {} nodes wait for one another in a ring", cycle.len()));
        }
    }
    if causes > cycles.len() {
        sentences.push(format!("there are {} more causes of their own", causes - cycles.len()));
    }
    let told: BTreeSet<usize> = cycles.iter().flatten().copied().collect();
    let ids = |nodes: Vec<&str>| listed(&nodes, "and");
    let told_id = |id: &&str| settled.graph.nodes.get(id).is_some_and(|node| told.contains(node));
    let also: Vec<&str> = verdict.core.iter().map(String::as_str).filter(|id| !told_id(id)).collect();
    if !also.is_empty() && causes == cycles.len() {
        let verb = if also.len() == 1 { "is" } else { "are" };
        sentences.push(format!("{} {verb} caught in the same", ids(also)));
    }
    let behind = verdict.behind();
    if !behind.is_empty() {
        let verb = if behind.len() == 1 { "waits" } else { "wait" };
        sentences.push(format!(
            "{} {verb} behind that and {} no part in it",
            ids(behind.clone()),
            if behind.len() == 1 { "has" } else { "have" }
        ));
    }
    sentences.extend(repairs.iter().take(CAUSES_SAID_MAX).map(|repair| repair.sentence.clone()));
    if verdict.soft {
        for pass in reorder(snapshot, CAUSES_SAID_MAX) {
            let (node, before) = (&snapshot.nodes[pass.node].id, &snapshot.nodes[pass.before].id);
            let resource = &snapshot.resources[pass.resource].id;
            sentences.push(format!(
                "only the order of the queue holds it up: let `{node}` pass `{before}` in the queue of `{resource}`, and nobody need be ended"
            ));
        }
    }
    let ids = |cycle: &Vec<usize>| cycle.iter().map(|node| settled.graph.snapshot.nodes[*node].id.clone()).collect();
    Explained { sentences, cycles: cycles.iter().map(ids).collect() }
}

/// Who only moves when the outside does its part, those first for whom it has to.
fn stalled(snapshot: &Snapshot) -> Vec<String> {
    let graph = Graph::of(snapshot);
    let settled = Reduction::settled(&graph, Assume { outside: false, order: true });
    let mut held_up = graph.waiting_except(&settled.freed);
    let count = held_up.len();
    held_up.extend((0..snapshot.nodes.len()).filter(|node| snapshot.nodes[*node].state == NodeState::External));
    held_up.sort_unstable();
    let residue = residue::of(&settled, &held_up);
    let graph = Graph::of(&residue);
    let settled = Reduction::settled(&graph, Assume { outside: false, order: true });
    let said = Said { snapshot, settled: &settled };
    let mut first = BTreeSet::new();
    residue::each_open_term(&settled, |node, term| {
        let is_outside = |node: usize| residue.nodes[node].state == NodeState::External;
        let needs_outside = match term {
            Part::Consumable { consumable } => {
                let known = graph.consumables.get(consumable.as_str()).map(|place| &residue.consumables[*place]);
                known.is_some_and(|known| known.external) || graph.producers(consumable).any(is_outside)
            }
            Part::Node { node, .. } => graph.nodes.get(node.as_str()).is_some_and(|node| is_outside(*node)),
            Part::Resource { resource, .. } => graph.resources.get(resource.as_str()).is_some_and(|place| {
                (0..residue.nodes.len())
                    .any(|node| is_outside(node) && graph.holds[node].iter().any(|(held, _)| held == place))
            }),
            Part::Expr(_) | Part::Timer { .. } => false,
        };
        if needs_outside {
            first.insert(node);
        }
    });
    let mut sentences: Vec<String> = first.iter().take(CYCLE_SAID_MAX).map(|node| said.sentence(*node)).collect();
    match count - first.len().min(CYCLE_SAID_MAX) {
        0 => {}
        1 => sentences.push("1 more waits behind that".to_owned()),
        more => sentences.push(format!("{more} more wait behind that")),
    }
    sentences
}

/// The nodes of the shortest cycle that is found in a component, in its order; a node alone if there is none.
fn shortest_cycle(blocked: &Blocked, sink: &[usize]) -> Vec<usize> {
    let mut left = WALK_MAX;
    let mut from = vec![None; blocked.by.len()];
    let mut best: Option<Vec<usize>> = None;
    for &start in sink {
        let most = best.as_ref().map_or(usize::MAX, Vec::len);
        if let Some(cycle) = cycle_through(blocked, start, &mut from, &mut left).filter(|cycle| cycle.len() < most) {
            best = Some(cycle);
        }
        if left == 0 || best.as_ref().is_some_and(|best| best.len() <= 2) {
            break;
        }
    }
    best.unwrap_or_else(|| sink.iter().take(1).copied().collect())
}

/// The shortest way from a node back to it, counted in nodes and without the vertices between them. `from` is empty, and
/// is left so.
fn cycle_through(blocked: &Blocked, start: usize, from: &mut [Option<usize>], left: &mut usize) -> Option<Vec<usize>> {
    let mut reached = vec![start];
    let mut walk = VecDeque::from([start]);
    let mut cycle = None;
    // The first walk is never cut short: there is always a cycle to show.
    'walk: while let Some(vertex) = walk.pop_front() {
        for &target in &blocked.by[vertex] {
            if target == start && vertex >= blocked.nodes && from[vertex] == Some(start) {
                // What it keeps itself of what it wants more of explains little: others keep the rest.
                continue;
            }
            if target == start {
                let way = std::iter::successors(Some(vertex), |vertex| from[*vertex]);
                cycle = Some(way.filter(|vertex| *vertex < blocked.nodes).collect());
                break 'walk;
            }
            if from[target].is_none() {
                from[target] = Some(vertex);
                reached.push(target);
                if target < blocked.nodes {
                    walk.push_back(target);
                } else {
                    walk.push_front(target);
                }
            }
        }
        *left = left.saturating_sub(blocked.by[vertex].len());
    }
    reached.into_iter().for_each(|vertex| from[vertex] = None);
    cycle.map(|mut cycle: Vec<usize>| {
        cycle.reverse();
        cycle
    })
}

/// What sentences are made from.
struct Said<'s, 'g> {
    /// For sizes and ends that the dead alone do not show.
    snapshot: &'s Snapshot,
    settled: &'s Reduction<'g>,
}

impl Said<'_, '_> {
    /// `a` holds `M` and waits for `L`, which `b` holds, since 2026-11-23T13:30:38Z.
    fn sentence(&self, node: usize) -> String {
        let graph = self.settled.graph;
        let id = &graph.snapshot.nodes[node].id;
        let mut sentence = format!("`{id}`");
        let held: Vec<String> = self.held(id);
        if !held.is_empty() {
            sentence += &format!(" holds {} and", joined(&held, "and"));
        }
        let wait = graph.wait_of[node].map(|place| &graph.snapshot.waits[place]);
        if let Some(wait) = wait {
            sentence += &format!(" waits {}", self.wanted(node, &wait.expr));
            if let Some(since) = wait.since {
                sentence += &format!(", since {}", Timestamp(since).calendar());
            }
        }
        sentence
    }

    fn held(&self, id: &str) -> Vec<String> {
        let generation = self.snapshot.nodes.iter().find(|node| node.id == id).map(|node| node.generation);
        let mut held: Vec<String> = Vec::new();
        let current = |hold: &&super::Hold| hold.generation.is_none() || hold.generation == generation;
        for hold in self.snapshot.holds.iter().filter(|hold| hold.node == id).filter(current) {
            let size = self.snapshot.resources.iter().find(|known| known.id == hold.resource).map(|known| known.units);
            held.push(match size {
                Some(1) => format!("`{}`", hold.resource),
                Some(size) => format!("{} of {size} units of `{}`", hold.units, hold.resource),
                None => format!("{} units of `{}`", hold.units, hold.resource),
            });
        }
        held
    }

    /// What of an expression does not hold, with why.
    fn wanted(&self, node: usize, expr: &Expr) -> String {
        let open: Vec<&Part> = expr.of.iter().filter(|part| !self.holds(node, part)).collect();
        let mut parts: Vec<String> = open.iter().take(NAMES_MAX).map(|part| self.part(node, part)).collect();
        if open.len() > NAMES_MAX {
            parts.push(format!("{} more", open.len() - NAMES_MAX));
        }
        let missing = expr.needed().saturating_sub(expr.of.len() - open.len());
        match (expr.mode, open.len()) {
            (_, 0) if expr.needed() > expr.of.len() => {
                format!("for {} parts, of which there are only {}", expr.needed(), expr.of.len())
            }
            (_, 0) => "for nothing".to_owned(),
            (_, 1) if missing <= 1 => parts.concat(),
            (Mode::Any, _) => joined(&parts, "or"),
            (Mode::K, open) if missing < open => format!("for {missing} of these: {}", joined(&parts, "and")),
            _ => joined(&parts, "and"),
        }
    }

    /// Whether a part holds although its waiter is dead.
    fn holds(&self, node: usize, part: &Part) -> bool {
        match part {
            Part::Timer { .. } => true,
            Part::Expr(inner) => inner.of.iter().filter(|part| self.holds(node, part)).count() >= inner.needed(),
            Part::Resource { resource, units } => {
                let Some(&place) = self.settled.graph.resources.get(resource.as_str()) else { return false };
                self.settled.free(place) >= i128::from(*units) && self.ahead(node, place).is_empty()
            }
            Part::Node { .. } | Part::Consumable { .. } => false,
        }
    }

    /// Who stands before a node in an ordered line, the next before it first.
    fn ahead(&self, node: usize, resource: usize) -> Vec<usize> {
        let graph = self.settled.graph;
        if graph.snapshot.resources[resource].queue != Queue::Fifo {
            return Vec::new();
        }
        let line = graph.lines[resource].iter().copied();
        let mut ahead: Vec<usize> =
            line.take_while(|waiter| *waiter != node).filter(|waiter| !self.settled.freed[*waiter]).collect();
        ahead.dedup();
        ahead.reverse();
        ahead
    }

    fn part(&self, node: usize, part: &Part) -> String {
        let graph = self.settled.graph;
        match part {
            Part::Expr(inner) => format!("({})", self.wanted(node, inner)),
            Part::Timer { .. } => "for a moment that comes".to_owned(),
            Part::Resource { resource, units } => self.units(node, resource, *units),
            Part::Node { node: other, until } => {
                let verb = if *until == Until::Success { "succeed" } else { "end" };
                let known = self.snapshot.nodes.iter().find(|node| node.id == *other).map(|node| node.state);
                let why = match known {
                    Some(NodeState::Failed) => ", which has failed",
                    Some(NodeState::Cancelled) => ", which was cancelled",
                    Some(NodeState::External) => ", which is busy outside",
                    Some(_) if graph.nodes.get(other.as_str()) == Some(&node) => ", which is itself",
                    Some(_) => "",
                    None => ", which is not there",
                };
                format!("for `{other}` to {verb}{why}")
            }
            Part::Consumable { consumable } => {
                let producers: Vec<&str> =
                    graph.producers(consumable).map(|node| graph.snapshot.nodes[node].id.as_str()).collect();
                let known = self.snapshot.consumables.iter().find(|known| known.id == *consumable);
                match (known.is_some_and(|known| known.external), producers.is_empty()) {
                    (true, _) => format!("for `{consumable}`, which somebody outside has to send"),
                    (false, true) => format!("for `{consumable}`, which nobody can send any more"),
                    (false, false) => format!("for `{consumable}`, which only {} can send", listed(&producers, "or")),
                }
            }
        }
    }

    fn units(&self, node: usize, resource: &str, units: u64) -> String {
        let graph = self.settled.graph;
        let size = self.snapshot.resources.iter().find(|known| known.id == *resource).map_or(0, |known| known.units);
        let Some(&place) = graph.resources.get(resource) else {
            return format!("for `{resource}`, which is not there");
        };
        let (what, lacks) = match (units, size) {
            (1, 1) => (format!("for `{resource}`"), "of which none is left"),
            (1, _) => (format!("for a unit of `{resource}`"), "of which none is left"),
            _ => (format!("for {units} units of `{resource}`"), "of which not enough are left"),
        };
        if self.settled.free(place) >= i128::from(units) {
            let ahead = self.ahead(node, place);
            let ids: Vec<&str> = ahead.iter().map(|ahead| graph.snapshot.nodes[*ahead].id.as_str()).collect();
            if ids.is_empty() {
                return what;
            }
            return format!("{what}, behind {} in its queue", listed(&ids, "and"));
        }
        if units > size {
            return format!("{what}, which has {size}");
        }
        let holders = (0..graph.holds.len()).filter(|holder| !self.settled.freed[*holder]);
        let of = |holder: usize| {
            graph.holds[holder].iter().find(|(held, _)| *held == place).map(|(_, held)| (holder, *held))
        };
        let holders: Vec<(usize, u64)> = holders.filter_map(of).collect();
        let named = |(holder, held): &(usize, u64)| match (size, *holder == node) {
            (1, false) => format!("`{}`", graph.snapshot.nodes[*holder].id),
            (1, true) => "it itself".to_owned(),
            (_, false) => format!("`{}` {held}", graph.snapshot.nodes[*holder].id),
            (_, true) => format!("it itself {held}"),
        };
        let mut names: Vec<String> = holders.iter().take(NAMES_MAX).map(named).collect();
        if holders.len() > NAMES_MAX {
            names.push(format!("{} more", holders.len() - NAMES_MAX));
        }
        match (names.is_empty(), size) {
            (true, _) => format!("{what}, {lacks}"),
            (false, 1) => format!("{what}, which {} holds", joined(&names, "and")),
            (false, size) => format!("{what} (of {size}, {})", joined_held(&names)),
        }
    }
}

/// Who holds how many: `a` 1, `b` 2 and 3 more hold the rest.
fn joined_held(names: &[String]) -> String {
    format!("held by {}", joined(names, "and"))
}

fn joined(parts: &[String], word: &str) -> String {
    match parts.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} {word} {last}", rest.join(", ")),
    }
}
