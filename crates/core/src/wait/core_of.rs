//! The cause to show: the sink components among the nodes that are dead.

use super::{Part, Queue, reduce::Reduction, residue::each_open_term};

/// Who is blocked by whom. The vertices are the nodes, then the resources, then the consumables, then the places of
/// ordered lines: as vertices of their own, a thousand waiters and a thousand holders are two thousand edges.
pub(super) struct Blocked {
    /// Where each vertex is blocked.
    pub(super) by: Vec<Vec<usize>>,
    /// How many of the vertices are nodes.
    pub(super) nodes: usize,
}

impl Blocked {
    /// The edges among nodes that a settled reduction did not remove.
    pub(super) fn of(settled: &Reduction<'_>) -> Self {
        let graph = settled.graph;
        let (nodes, resources) = (graph.snapshot.nodes.len(), graph.snapshot.resources.len());
        let mut by = vec![Vec::new(); nodes + resources + graph.snapshot.consumables.len()];
        for node in (0..nodes).filter(|node| !settled.freed[*node]) {
            graph.holds[node].iter().for_each(|(resource, _)| by[nodes + resource].push(node));
        }
        for (place, consumable) in graph.snapshot.consumables.iter().enumerate() {
            by[nodes + resources + place].extend(graph.producers(&consumable.id).filter(|node| !settled.freed[*node]));
        }
        let ahead = places_ahead(settled, &mut by);
        each_open_term(settled, |node, term| match term {
            Part::Resource { resource, units } => {
                let Some(&place) = graph.resources.get(resource.as_str()) else { return };
                if settled.free(place) < i128::from(*units) && !by[nodes + place].is_empty() {
                    by[node].push(nodes + place);
                }
                by[node].extend(ahead[node].iter().filter(|(line, _)| *line == place).map(|(_, ahead)| *ahead));
            }
            Part::Node { node: other, .. } => {
                let other = graph.nodes.get(other.as_str());
                by[node].extend(other.filter(|other| !settled.freed[**other]));
            }
            Part::Consumable { consumable } => {
                let place = graph.consumables.get(consumable.as_str()).map(|place| nodes + resources + place);
                if let Some(place) = place.filter(|place| !by[*place].is_empty()) {
                    by[node].push(place);
                }
            }
            Part::Expr(_) | Part::Timer { .. } => {}
        });
        Self { by, nodes }
    }

    /// The number of each vertex's strongly connected component (Tarjan), without recursion. A component's number is
    /// higher than that of every other one that it leads to.
    pub(super) fn components(&self) -> Vec<usize> {
        const UNSEEN: usize = usize::MAX;
        let edges = &self.by;
        let mut index = vec![UNSEEN; edges.len()];
        let mut low = vec![0; edges.len()];
        let mut component = vec![UNSEEN; edges.len()];
        let (mut stack, mut walk) = (Vec::new(), Vec::new());
        let (mut next_index, mut next_component) = (0, 0);
        for start in 0..edges.len() {
            if index[start] != UNSEEN {
                continue;
            }
            walk.push((start, 0));
            while let Some((vertex, edge)) = walk.pop() {
                if edge == 0 {
                    index[vertex] = next_index;
                    low[vertex] = next_index;
                    next_index += 1;
                    stack.push(vertex);
                } else if component[edges[vertex][edge - 1]] == UNSEEN {
                    low[vertex] = low[vertex].min(low[edges[vertex][edge - 1]]);
                }
                if let Some(&target) = edges[vertex].get(edge) {
                    walk.push((vertex, edge + 1));
                    if index[target] == UNSEEN {
                        walk.push((target, 0));
                    }
                    continue;
                }
                if low[vertex] == index[vertex] {
                    while let Some(member) = stack.pop() {
                        component[member] = next_component;
                        if member == vertex {
                            break;
                        }
                    }
                    next_component += 1;
                }
            }
        }
        component
    }
}

/// Per node: for each ordered line, the vertex of the place before its own. A place leads to the dead node that stands
/// there and to the place before it, so that whoever leads to one is blocked by all who stand earlier: the one right
/// before may stand there without needing it.
fn places_ahead(settled: &Reduction<'_>, by: &mut Vec<Vec<usize>>) -> Vec<Vec<(usize, usize)>> {
    let graph = settled.graph;
    let mut ahead = vec![Vec::new(); graph.snapshot.nodes.len()];
    for (resource, line) in graph.lines.iter().enumerate() {
        if graph.snapshot.resources[resource].queue != Queue::Fifo {
            continue;
        }
        let mut dead: Vec<usize> = line.iter().copied().filter(|node| !settled.freed[*node]).collect();
        // Who asks in two places of one expression stands there twice.
        dead.dedup();
        let mut last = None;
        for pair in dead.windows(2) {
            by.push(std::iter::once(pair[0]).chain(last).collect());
            last = Some(by.len() - 1);
            ahead[pair[1]].push((resource, by.len() - 1));
        }
    }
    ahead
}

/// The nodes of each component from which no edge leads out, in the order of the snapshot.
pub(super) fn sinks(settled: &Reduction<'_>) -> Vec<Vec<usize>> {
    let blocked = Blocked::of(settled);
    let component = blocked.components();
    let count = component.iter().max().map_or(0, |last| last + 1);
    let mut leaves = vec![false; count];
    for (vertex, targets) in blocked.by.iter().enumerate() {
        leaves[component[vertex]] |= targets.iter().any(|target| component[*target] != component[vertex]);
    }
    let mut members = vec![Vec::new(); count];
    for node in (0..blocked.nodes).filter(|node| !settled.freed[*node] && !leaves[component[*node]]) {
        members[component[node]].push(node);
    }
    members.retain(|members| !members.is_empty());
    members.sort_unstable();
    members
}
