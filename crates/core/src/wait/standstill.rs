//! The dead of a graph, parted: each cause of its own, and who waits behind which of them.

use super::{
    Analysis, Snapshot, Verdict, among, analyze_dead,
    core_of::Blocked,
    describe::listed,
    graph::Graph,
    reduce::{Assume, Reduced, Reduction},
    with_names,
};
use crate::{State, TaskId, Timestamp, deadlock::Finding, volatile::Party};
use std::collections::{BTreeMap, BTreeSet};

/// Causes that are told of one who waits behind several.
const CAUSES_MAX: usize = 8;

/// Dead nodes that hold up one another, or that nobody there can help.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standstill {
    /// The nodes of the cause.
    pub(crate) core: BTreeSet<Party>,
    /// The dead that wait behind these, directly or not.
    pub(crate) behind: BTreeSet<Party>,
}

/// Judges a graph, and parts its dead. Linear in its size.
pub(crate) fn standstills(graph: &Snapshot) -> (Verdict, Vec<Standstill>) {
    let Reduced { verdict, residue } = Reduced::of(graph);
    let graph = Graph::of(&residue);
    let settled = Reduction::settled(&graph, Assume { outside: true, order: true });
    let parts = parted(&settled, &Blocked::of(&settled));
    (verdict, parts)
}

impl Standstill {
    /// What its verdict says: the same as one that is made in the step that closes it.
    pub(crate) fn analysis(&self, state: &State, now: Timestamp) -> Analysis {
        analyze_dead(&among(state, now, &self.core))
    }

    /// Who is its cause, to be read after `behind`.
    pub(crate) fn named(&self, state: &State, kind: Finding) -> String {
        let ids: Vec<String> = self.members().map(|task| task.to_string()).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let names = with_names(state, &listed(&ids, "and"));
        match kind {
            Finding::Orphaned => format!("{names}, whose wait nobody can end any more"),
            _ => format!("the deadlock of {names}"),
        }
    }

    /// The tasks of its cause.
    pub(crate) fn members(&self) -> impl Iterator<Item = TaskId> + '_ {
        tasks(&self.core)
    }

    /// The tasks that wait behind it, of whatever run.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = TaskId> + '_ {
        tasks(&self.behind)
    }
}

fn tasks(parties: &BTreeSet<Party>) -> impl Iterator<Item = TaskId> + '_ {
    parties.iter().filter_map(|party| match party {
        Party::Task(task) => Some(*task),
        Party::Run(_) => None,
    })
}

fn parted(settled: &Reduction<'_>, blocked: &Blocked) -> Vec<Standstill> {
    let component = blocked.components();
    let mut vertices = vec![Vec::new(); component.iter().max().map_or(0, |last| last + 1)];
    component.iter().enumerate().for_each(|(vertex, number)| vertices[*number].push(vertex));
    let nodes = &settled.graph.snapshot.nodes;
    let is_dead = |vertex: &usize| *vertex < blocked.nodes && !settled.freed[*vertex];
    let party = |vertex: usize| Party::of(&nodes[vertex].id);
    // Where each component leads to in the end. Whatever one leads to has a lower number.
    let mut ends: Vec<BTreeSet<usize>> = Vec::with_capacity(vertices.len());
    let mut found: BTreeMap<usize, Standstill> = BTreeMap::new();
    for (number, own) in vertices.iter().enumerate() {
        let targets = own.iter().flat_map(|vertex| &blocked.by[*vertex]).map(|target| component[*target]);
        let beyond: BTreeSet<usize> = targets.filter(|target| *target != number).collect();
        let dead: BTreeSet<Party> = own.iter().copied().filter(is_dead).filter_map(party).collect();
        if beyond.is_empty() && !dead.is_empty() {
            found.insert(number, Standstill { core: dead, behind: BTreeSet::new() });
            ends.push(BTreeSet::from([number]));
            continue;
        }
        let mut reached: BTreeSet<usize> = beyond.iter().flat_map(|target| &ends[*target]).copied().collect();
        while reached.len() > CAUSES_MAX {
            reached.pop_last();
        }
        for end in &reached {
            found.entry(*end).or_default().behind.extend(dead.iter().copied());
        }
        ends.push(reached);
    }
    found.into_values().collect()
}
