//! Everything that can be said of a snapshot: the verdict, the cause, who would free the rest, repairs, sentences.

use super::{
    Class, Snapshot, Verdict,
    core_of::sinks,
    explain::{Explained, explain},
    graph::Graph,
    reduce::{Assume, Reduced, Reduction, cautious},
    repair::{Repair, repairs},
    victims::{Victims, victims, victims_of},
};
use serde::Serialize;
use std::collections::BTreeSet;

/// A verdict with its reasons.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Analysis {
    /// What the graph was judged to be.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Whose end would let everybody else go on: the fewest, of these the cheapest, of these the youngest. Empty if
    /// nothing is deadlocked. What is done is policy: nothing if an order of queues resolves it, a repair for orphans.
    pub victims: Vec<String>,
    /// Whether no smaller set of victims, and no cheaper one of the same size, would do. Not known for a core of more
    /// than 16 nodes: there the victims are found greedily, checked, and spared where possible.
    pub exact: bool,
    /// For waits that nobody can end any more and requests above capacity: what would let them go on.
    pub repairs: Vec<Repair>,
    /// Sentences for people, the shortest cycle first, each cycle in its order.
    pub explanation: Vec<String>,
    /// The cycles that these tell of, each in its order.
    #[serde(skip)]
    pub cycles: Vec<Vec<String>>,
}

/// Judges a snapshot and says why. Linear in its size, but for the choice of victims, whose effort is bounded.
pub fn analyze(snapshot: &Snapshot) -> Analysis {
    let Reduced { verdict, residue } = Reduced::of(snapshot);
    let Victims { ids, exact } = match verdict.deadlocked.is_empty() {
        true => Victims { ids: Vec::new(), exact: true },
        false => victims(&residue),
    };
    let graph = Graph::of(&residue);
    let settled = Reduction::settled(&graph, Assume { outside: true, order: true });
    told(snapshot, verdict, Victims { ids, exact }, &settled)
}

impl Analysis {
    /// Those who wait for what nobody can give any more, unless somebody repairs it.
    pub(crate) fn orphans(&self) -> BTreeSet<&str> {
        self.repairs.iter().map(|repair| repair.node.as_str()).collect()
    }
}

/// The same for a graph of those alone who are dead, without order in its queues: what the live graph has found is reduced
/// once, not again and again.
pub(crate) fn analyze_dead(picture: &Snapshot) -> Analysis {
    let graph = Graph::of(picture);
    let settled = Reduction::settled(&graph, Assume { outside: true, order: true });
    let dead = graph.waiting_except(&settled.freed);
    if dead.is_empty() || dead.len() < picture.nodes.len() {
        return analyze(picture);
    }
    let name = |node: usize| picture.nodes[node].id.clone();
    let mut core: Vec<usize> = sinks(&settled).into_iter().flatten().collect();
    core.sort_unstable();
    let verdict = Verdict {
        verdict: Class::Deadlocked,
        deadlocked: dead.into_iter().map(name).collect(),
        core: core.into_iter().map(name).collect(),
        needs_external: Vec::new(),
        soft: false,
    };
    let victims = victims_of(picture, &settled);
    told(picture, verdict, victims, &settled)
}

fn told(snapshot: &Snapshot, verdict: Verdict, victims: Victims, settled: &Reduction<'_>) -> Analysis {
    let repairs = repairs(snapshot, settled);
    let Explained { sentences: explanation, cycles } = explain(snapshot, &verdict, settled, &repairs);
    Analysis { verdict, victims: victims.ids, exact: victims.exact, repairs, explanation, cycles }
}

/// Judges two reads of one system that were taken without a consistent cut; the second was begun after the first had
/// ended. Only what is dead in both, at the same version and without help from anything else, is confirmed.
pub fn analyze_reads(first: &Snapshot, second: &Snapshot) -> Analysis {
    analyze(&cautious(first, second))
}
