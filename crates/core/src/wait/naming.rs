//! Names for the ids of a graph: what is said of it to people.

use super::{Consumable, DECLARED, Resource, Snapshot};
use crate::{RunId, State, TaskId};
use std::collections::BTreeMap;

/// Sentences about a graph with the names of what they speak of, as far as the state knows these.
pub fn named(state: &State, graph: &Snapshot, sentences: &[String]) -> Vec<String> {
    let names = names(state, graph);
    sentences.iter().map(|sentence| with_names(sentence, &names)).collect()
}

/// What the ids of a graph are called in sentences.
fn names(state: &State, graph: &Snapshot) -> BTreeMap<String, String> {
    let node = |id: &String| {
        let name = match (id.parse::<TaskId>(), id.parse::<RunId>()) {
            (Ok(task), _) => {
                let run = state.runs.get(&task.run)?;
                let definition = &state.definitions[&run.definition];
                format!("`{}/{}` ({id})", run.workflow, definition.task(task.index).name)
            }
            (_, Ok(run)) => format!("run of `{}` ({id})", state.runs.get(&run)?.workflow),
            _ => return None,
        };
        Some((format!("`{id}`"), name))
    };
    let pool = |resource: &Resource| {
        let name = resource.id.strip_prefix("pool:")?;
        let kind = if resource.units == 1 { "lock" } else { "pool" };
        Some((format!("`{}`", resource.id), format!("{kind} `{name}`")))
    };
    let signal = |consumable: &Consumable| {
        let name = consumable.id.strip_prefix("signal:")?.strip_suffix(DECLARED)?.split_once(':')?.1;
        Some((format!("`{}`", consumable.id), format!("signal `{name}`")))
    };
    let nodes = graph.nodes.iter().filter_map(|known| node(&known.id));
    let resources = graph.resources.iter().filter_map(pool);
    nodes.chain(resources).chain(graph.consumables.iter().filter_map(signal)).collect()
}

fn with_names(sentence: &str, names: &BTreeMap<String, String>) -> String {
    let mut told = String::with_capacity(sentence.len());
    for (number, piece) in sentence.split('`').enumerate() {
        if number % 2 == 0 {
            told.push_str(piece);
            continue;
        }
        let quoted = format!("`{piece}`");
        told.push_str(names.get(&quoted).unwrap_or(&quoted));
    }
    told
}
