//! Names for the ids of a graph: what is said of it to people.

use super::{DECLARED, snapshot::LENT};
use crate::{State, volatile::Party};

/// Sentences about a graph with the names of what they speak of, as far as the state knows these.
pub fn named(state: &State, sentences: &[String]) -> Vec<String> {
    sentences.iter().map(|sentence| with_names(state, sentence)).collect()
}

/// One sentence of these. Its ids stand between backquotes.
pub(crate) fn with_names(state: &State, sentence: &str) -> String {
    let mut told = String::with_capacity(sentence.len());
    for (number, piece) in sentence.split('`').enumerate() {
        match number % 2 {
            0 => told.push_str(piece),
            _ => told.push_str(&name_of(state, piece).unwrap_or_else(|| format!("`{piece}`"))),
        }
    }
    told
}

/// What a resource, or something sent, is called in a drawing.
pub(super) fn label_of(state: &State, id: &str) -> Option<String> {
    name_of(state, id).map(|name| name.replace('`', ""))
}

/// What an id of a graph is called in a sentence.
fn name_of(state: &State, id: &str) -> Option<String> {
    if let Some(name) = id.strip_prefix("pool:") {
        let kind = if state.pools.get(name).is_some_and(|pool| pool.size == 1) { "lock" } else { "pool" };
        return Some(format!("{kind} `{name}`"));
    }
    if let Some(run) = id.strip_prefix("parallel:") {
        return Some(format!("a place under the `max_parallel` of {}", name_of(state, run)?));
    }
    if let Some(signal) = id.strip_prefix("signal:") {
        let name = signal.strip_suffix(DECLARED).unwrap_or(signal).split_once(':')?.1;
        return Some(format!("signal `{name}`"));
    }
    if let Some((lender, lent)) = id.strip_prefix(LENT).and_then(|id| id.split_once(':')) {
        let lender = name_of(state, lender)?;
        return Some(match lent.strip_prefix("pool:") {
            Some(pool) => format!("what {lender} lends of pool `{pool}`"),
            None => format!("the slot that {lender} lends"),
        });
    }
    match Party::of(id)? {
        Party::Task(task) => {
            let run = state.runs.get(&task.run)?;
            let definition = &state.definitions[&run.definition];
            Some(format!("`{}/{}` ({id})", run.workflow, definition.task(task.index).name))
        }
        Party::Run(run) => Some(format!("run of `{}` ({id})", state.runs.get(&run)?.workflow)),
    }
}
