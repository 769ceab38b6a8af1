//! Whom to end so that everybody else can go on.
//!
//! To find the cheapest set is NP-hard in general (it is a feedback vertex set), so a large core is worked off greedily:
//! from each sink component one node whose end frees all of it, if there is one, else the cheapest, until nobody is left;
//! then whoever was ended needlessly is taken out again. Either way the answer has been checked by the reduction itself.

use super::{
    Snapshot,
    core_of::sinks,
    graph::{Graph, each_term},
    reduce::{Assume, Reduction},
    residue,
};
use std::cmp::Ordering;

/// The largest core for which all sets are tried.
const CORE_EXACT_MAX: usize = 16;
/// Nodes and conditions that are looked at before the search for the smallest set is given up, and as many again before
/// the greedy one takes what is left.
const LOOKS_MAX: usize = 5_000_000;
/// How deep whoever can only be ended because somebody else was is looked for exactly.
const DEPTH_MAX: u32 = 100;

const ASSUME: Assume = Assume { outside: true, order: true };

/// Nodes that would be ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Victims {
    /// Their ids, in the order of the snapshot.
    pub(super) ids: Vec<String>,
    /// Whether no smaller set, and no cheaper one of the same size, would do.
    pub(super) exact: bool,
}

/// One smallest set of dead nodes whose end lets all others go on; the cheapest of these, and of equals the youngest.
pub(super) fn victims(residue: &Snapshot) -> Victims {
    let graph = Graph::of(residue);
    victims_of(residue, &Reduction::settled(&graph, ASSUME))
}

/// The same for a residue that is settled already.
pub(super) fn victims_of(residue: &Snapshot, settled: &Reduction<'_>) -> Victims {
    let mut looks = Looks { left: LOOKS_MAX };
    let (mut ids, exact) = match exact(residue, settled, usize::MAX, DEPTH_MAX, &mut looks) {
        Ok(Some(set)) => (set.ids, true),
        Ok(None) | Err(GaveUp) => (greedy(settled, &mut Looks { left: LOOKS_MAX }), false),
    };
    let place = |id: &String| settled.graph.nodes.get(id.as_str()).copied();
    ids.sort_by_key(place);
    Victims { ids, exact }
}

/// What a search may still cost.
struct Looks {
    left: usize,
}

impl Looks {
    /// Takes the price of one more look at so many nodes.
    fn take(&mut self, nodes: usize) -> Result<(), GaveUp> {
        self.left = self.left.saturating_sub(nodes.max(1));
        if self.left > 0 { Ok(()) } else { Err(GaveUp) }
    }
}

/// What it costs to reduce a graph once.
fn weight(snapshot: &Snapshot) -> usize {
    let mut terms = 0;
    snapshot.waits.iter().for_each(|wait| each_term(&wait.expr, &mut |_| terms += 1));
    snapshot.nodes.len() + terms
}

/// Why the smallest set is not known: the core is too large, or the search costs too much.
struct GaveUp;

/// A set and what it costs.
struct Set {
    ids: Vec<String>,
    cost: f64,
}

impl Set {
    fn is_better(&self, other: Option<&Self>) -> bool {
        other.is_none_or(|other| (self.ids.len(), self.cost) < (other.ids.len(), other.cost))
    }
}

fn cost(snapshot: &Snapshot, node: usize) -> f64 {
    snapshot.nodes[node].cost.unwrap_or(1.0)
}

/// The best set with at most `most` members, if there is one.
fn exact(
    residue: &Snapshot,
    settled: &Reduction<'_>,
    most: usize,
    depth: u32,
    looks: &mut Looks,
) -> Result<Option<Set>, GaveUp> {
    let core: Vec<usize> = sinks(settled).into_iter().flatten().collect();
    if core.len() > CORE_EXACT_MAX || depth == 0 {
        return Err(GaveUp);
    }
    // Nothing outside the core can free one of its nodes, so most sets are tried on the core alone.
    let small = residue::of(settled, &core);
    let small_graph = Graph::of(&small);
    let small_settled = Reduction::settled(&small_graph, ASSUME);
    let price = weight(&small);
    let mut best: Option<Set> = None;
    for size in 1..=core.len() {
        let most = best.as_ref().map_or(most, |best| best.ids.len());
        if size > most {
            break;
        }
        for (cost, chosen) in choices(residue, &core, size) {
            let better = best.as_ref().is_none_or(|best| (size, cost) < (best.ids.len(), best.cost));
            if !better {
                break;
            }
            looks.take(price)?;
            let mut tried = small_settled.clone();
            for place in &chosen {
                abort(&mut tried, *place);
            }
            if !tried.freed.iter().all(|freed| *freed) {
                continue;
            }
            let chosen: Vec<usize> = chosen.into_iter().map(|place| core[place]).collect();
            let Some(rest) = rest_of(settled, &chosen, most - size, depth, looks)? else { continue };
            let ids = chosen.iter().map(|node| residue.nodes[*node].id.clone()).chain(rest.ids).collect();
            let set = Set { ids, cost: cost + rest.cost };
            if set.is_better(best.as_ref()) {
                best = Some(set);
            }
        }
    }
    Ok(best)
}

/// Who else has to be ended once `chosen` are; none if these are more than `most`.
fn rest_of(
    settled: &Reduction<'_>,
    chosen: &[usize],
    most: usize,
    depth: u32,
    looks: &mut Looks,
) -> Result<Option<Set>, GaveUp> {
    looks.take(weight(settled.graph.snapshot))?;
    let mut tried = settled.clone();
    chosen.iter().for_each(|node| abort(&mut tried, *node));
    let dead = tried.graph.waiting_except(&tried.freed);
    if dead.is_empty() {
        return Ok(Some(Set { ids: Vec::new(), cost: 0.0 }));
    }
    if most == 0 {
        return Ok(None);
    }
    let residue = ended(&tried, chosen, &dead);
    let graph = Graph::of(&residue);
    let again = Reduction::settled(&graph, ASSUME);
    exact(&residue, &again, most, depth - 1, looks)
}

/// What is left when `chosen` are ended, as a snapshot that knows of their end.
fn ended(tried: &Reduction<'_>, chosen: &[usize], dead: &[usize]) -> Snapshot {
    let mut snapshot = tried.graph.snapshot.clone();
    for node in chosen {
        snapshot.nodes[*node].state = super::NodeState::Cancelled;
    }
    let graph = Graph::of(&snapshot);
    residue::of(&Reduction::settled(&graph, ASSUME), dead)
}

fn abort(reduction: &mut Reduction<'_>, node: usize) {
    if !reduction.freed[node] {
        reduction.abort(node);
    }
}

/// All choices of `size` places in the core, the cheapest first and of equals the youngest.
fn choices(residue: &Snapshot, core: &[usize], size: usize) -> Vec<(f64, Vec<usize>)> {
    let mut choices = Vec::new();
    for bits in 0_u32..1 << core.len() {
        if bits.count_ones() as usize == size {
            let chosen: Vec<usize> = (0..core.len()).filter(|place| bits & (1 << place) != 0).collect();
            choices.push((chosen.iter().map(|place| cost(residue, core[*place])).sum(), chosen));
        }
    }
    choices.sort_by(|one: &(f64, Vec<usize>), other| one.0.total_cmp(&other.0).then_with(|| other.1.cmp(&one.1)));
    choices
}

/// Ends one of each sink component until nobody is left, then spares whoever can be spared.
fn greedy(settled: &Reduction<'_>, looks: &mut Looks) -> Vec<String> {
    let snapshot = settled.graph.snapshot;
    let cheaper = |one: &usize, other: &usize| {
        cost(snapshot, *one).total_cmp(&cost(snapshot, *other)).then_with(|| other.cmp(one))
    };
    let price = weight(snapshot);
    let mut left = settled.clone();
    let mut chosen = Vec::new();
    let mut alone = Looks { left: LOOKS_MAX };
    for sink in sinks(settled) {
        let Some(node) = frees_alone(settled, &sink, cheaper, &mut alone) else { continue };
        left.abort(node);
        chosen.push(node);
    }
    while left.freed.iter().any(|freed| !freed) && looks.take(price).is_ok() {
        for sink in sinks(&left) {
            let Some(node) = sink.into_iter().min_by(cheaper) else { continue };
            if !left.freed[node] {
                left.abort(node);
                chosen.push(node);
            }
        }
    }
    // Too much was looked at: the rest is ended in the order of prices, as far as nobody freed it.
    let mut rest = left.graph.waiting_except(&left.freed);
    rest.sort_by(cheaper);
    for node in rest {
        if !left.freed[node] {
            left.abort(node);
            chosen.push(node);
        }
    }
    spare(settled, chosen, price, looks)
}

/// The cheapest of a sink component whose end alone frees all of it, if there is one. Nothing outside the component can do
/// so.
fn frees_alone(
    settled: &Reduction<'_>,
    sink: &[usize],
    cheaper: impl Fn(&usize, &usize) -> Ordering,
    looks: &mut Looks,
) -> Option<usize> {
    // Its nodes have the same order there.
    let small = residue::of(settled, sink);
    let graph = Graph::of(&small);
    let small_settled = Reduction::settled(&graph, ASSUME);
    let price = weight(&small);
    let mut places: Vec<usize> = (0..sink.len()).collect();
    places.sort_by(|one, other| cheaper(&sink[*one], &sink[*other]));
    let frees_all = |place: &usize| {
        let mut tried = small_settled.clone();
        tried.abort(*place);
        tried.freed.iter().all(|freed| *freed)
    };
    places.into_iter().take_while(|_| looks.take(price).is_ok()).find(frees_all).map(|place| sink[place])
}

/// Takes out whoever is ended needlessly, the dearest first, until nobody is. Nobody stays among them whom the end of those
/// before lets go on: ended all the same, it would not succeed, and others may wait for that.
fn spare(settled: &Reduction<'_>, mut chosen: Vec<usize>, price: usize, looks: &mut Looks) -> Vec<String> {
    let snapshot = settled.graph.snapshot;
    loop {
        let before = chosen.len();
        let mut dearest = chosen.clone();
        dearest.sort_by(|one, other| cost(snapshot, *other).total_cmp(&cost(snapshot, *one)));
        for spared in dearest {
            if chosen.len() > 1 && looks.take(price).is_ok() && chosen.contains(&spared) {
                chosen = without(settled, &chosen, spared).unwrap_or(chosen);
            }
        }
        // Whoever waits for the success of somebody could not be spared while that one was ended.
        if chosen.len() == before {
            break;
        }
    }
    chosen.into_iter().map(|node| snapshot.nodes[node].id.clone()).collect()
}

/// Who of the chosen has to be ended if one of them is not; none if that does not free everybody.
fn without(settled: &Reduction<'_>, chosen: &[usize], spared: usize) -> Option<Vec<usize>> {
    let mut tried = settled.clone();
    let mut needed = Vec::new();
    for &node in chosen.iter().filter(|node| **node != spared) {
        if !tried.freed[node] {
            tried.abort(node);
            needed.push(node);
        }
    }
    tried.freed.iter().all(|freed| *freed).then_some(needed)
}
