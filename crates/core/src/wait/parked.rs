//! What a running attempt waits for, in one sentence.

use super::describe::{Bound, Described, NAMES_MAX, listed};
use crate::{
    State, TaskId, TaskIndex,
    run::{AtDeadline, Awaited, Lease, Parked, Run},
    workflow::{Definition, Until},
};

/// What a running attempt waits for, since when, until when, and what then.
pub(super) fn describe(state: &State, run: &Run, id: TaskId, lease: &Lease, parked: &Parked) -> Described {
    let sentence = match parked.over.is_some() {
        true => "waits for what it has lent to its runs to be given back".to_owned(),
        false => format!("waits for {}", awaited(state, run, id, &parked.on)),
    };
    let then = match (lease.worker.is_brain(), parked.then) {
        (false, _) if parked.over.is_some() => "it is stopped",
        (true, _) => "it and its runs are stopped",
        // No later than the attempt's own end.
        (false, AtDeadline::GiveUp) if parked.deadline < lease.deadline => "its attempt is told, and goes on without",
        (false, _) => "it is stopped",
    };
    Described { sentence, since: parked.since, bound: Some(Bound { at: parked.deadline, then }) }
}

/// Units of a pool, to be read after `waits for`. A pool of one is a lock.
pub(super) fn units_of(state: &State, pool: &str, units: u32) -> String {
    let size = state.pools.get(pool).map_or(1, |pool| pool.size);
    let free = state.free_units(pool);
    match (size, units) {
        (1, _) => format!("lock `{pool}`"),
        (_, 1) => format!("1 unit of pool `{pool}` ({free} of {size} free)"),
        _ => format!("{units} units of pool `{pool}` ({free} of {size} free)"),
    }
}

/// An expression, to be read after `waits for`.
fn awaited(state: &State, run: &Run, id: TaskId, on: &Awaited) -> String {
    match on {
        Awaited::Units { pool, units } => units_of(state, pool, *units),
        Awaited::Child { key, until } => {
            let known = state.children.get(&id).and_then(|children| children.get(key));
            let named = known.map_or_else(String::new, |child| format!(" ({})", child.run));
            let verb = if *until == Until::Succeeded { "succeed" } else { "end" };
            format!("its run `{key}`{named} to {verb}")
        }
        Awaited::Children => {
            let children = state.children.get(&id).into_iter().flatten();
            let open = children.filter(|(_, child)| child.is_awaited()).count();
            match open {
                0 => "the runs that it spawned, which have ended".to_owned(),
                1 => "the run that it spawned to end".to_owned(),
                open => format!("{open} runs that it spawned to end"),
            }
        }
        Awaited::Signal { name, from } => signal(run, &state.definitions[&run.definition], name, from),
        Awaited::Timer { at } => at.calendar().to_string(),
        Awaited::AtLeast { k, of } => {
            let mut parts: Vec<String> = of.iter().take(NAMES_MAX).map(|part| inner(state, run, id, part)).collect();
            if of.len() > NAMES_MAX {
                parts.push(format!("{} more", of.len() - NAMES_MAX));
            }
            match (*k as usize, of.len()) {
                (_, 1) => parts.concat(),
                (all, most) if all == most => parts.join(" and "),
                (1, _) => parts.join(" or "),
                (some, _) => format!("{some} of these: {}", parts.join(", ")),
            }
        }
    }
}

/// A signal, and who alone can send it; whether they can no more.
pub(super) fn signal(run: &Run, definition: &Definition, name: &str, from: &[TaskIndex]) -> String {
    if from.is_empty() {
        return format!("signal `{name}`");
    }
    let names: Vec<&str> = from.iter().map(|sender| definition.task(*sender).name.as_ref()).collect();
    let has_ended = from.iter().all(|sender| run.task(*sender).end().is_some());
    let but = match (has_ended, from.len()) {
        (false, _) => "",
        (true, 1) => ", and it has ended",
        (true, _) => ", and they have ended",
    };
    format!("signal `{name}`, which only {} can send{but}", listed(&names, "or"))
}

fn inner(state: &State, run: &Run, id: TaskId, part: &Awaited) -> String {
    match part {
        Awaited::AtLeast { of, .. } if of.len() > 1 => format!("({})", awaited(state, run, id, part)),
        part => awaited(state, run, id, part),
    }
}
