//! The cause to show: the sink components among the nodes that are dead.

use super::{Part, Queue, Until, reduce::Graph, reduce::each_term};
use std::collections::BTreeMap;

/// Nodes of components from which no blocked-by edge leads out, in the order of the snapshot.
///
/// A resource with dead holders is a vertex of its own between its waiters and its holders, so that a
/// thousand waiters and a thousand holders are two thousand edges.
pub(super) fn sinks(graph: &Graph<'_>, freed: &[bool]) -> Vec<usize> {
    let dead = graph.waiting_except(freed);
    let edges = edges(graph, &dead);
    let component = components(&edges);
    let count = component.iter().max().map_or(0, |last| last + 1);
    let mut leaves = vec![false; count];
    for (vertex, targets) in edges.iter().enumerate() {
        leaves[component[vertex]] |= targets.iter().any(|target| component[*target] != component[vertex]);
    }
    let in_sink = |(vertex, node): (usize, usize)| (!leaves[component[vertex]]).then_some(node);
    dead.into_iter().enumerate().filter_map(in_sink).collect()
}

/// Who is blocked by whom: vertices are the dead nodes, then the resources.
fn edges(graph: &Graph<'_>, dead: &[usize]) -> Vec<Vec<usize>> {
    let vertex: BTreeMap<usize, usize> = dead.iter().enumerate().map(|(vertex, node)| (*node, vertex)).collect();
    let resources = graph.snapshot.resources.len();
    let mut edges = vec![Vec::new(); dead.len() + resources];
    for (node, from) in &vertex {
        for (resource, _) in &graph.holds[*node] {
            edges[dead.len() + resource].push(*from);
        }
    }
    for (resource, line) in graph.lines.iter().enumerate() {
        let waiters: Vec<usize> = line.iter().filter_map(|node| vertex.get(node).copied()).collect();
        if graph.snapshot.resources[resource].queue == Queue::Fifo {
            waiters.windows(2).for_each(|pair| edges[pair[1]].push(pair[0]));
        }
        if !edges[dead.len() + resource].is_empty() {
            waiters.iter().for_each(|waiter| edges[*waiter].push(dead.len() + resource));
        }
    }
    for wait in &graph.snapshot.waits {
        let Some(&from) = graph.nodes.get(wait.node.as_str()).and_then(|node| vertex.get(node)) else { continue };
        each_term(&wait.expr, &mut |term| {
            let blockers: Vec<&str> = match term {
                Part::Node { node, until: Until::Terminal | Until::Success } => vec![node],
                Part::Consumable { consumable } => graph.producers(consumable),
                Part::Expr(_) | Part::Resource { .. } | Part::Timer { .. } => Vec::new(),
            };
            let blockers = blockers.into_iter().filter_map(|id| vertex.get(graph.nodes.get(id)?));
            edges[from].extend(blockers);
        });
    }
    edges
}

/// Strongly connected components (Tarjan), without recursion: the number of each vertex's component.
fn components(edges: &[Vec<usize>]) -> Vec<usize> {
    const UNSEEN: usize = usize::MAX;
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
