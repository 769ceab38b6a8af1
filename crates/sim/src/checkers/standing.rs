//! Whether the brain left something undone: the test for lost wake-ups, counted anew from the state.
//!
//! A brain that is idle with nothing due must not hold a task that could go on. The oracle of
//! deadlines would find such a task only when its run's time is out.

use super::Checked;
use std::sync::Arc;
use unknot_core::{
    State, TaskId, Timestamp,
    run::{Phase, Run, Wait, WaitOn, WorkerId},
    worker::{Serves, WorkKind},
    workflow::{Priority, TaskDef, TaskKind, When},
};

/// A queued task that nobody holds back.
struct Queued<'a> {
    id: TaskId,
    run: &'a Run,
    def: &'a TaskDef,
    wait: &'a Wait,
    short: Vec<Short>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Short {
    Closed,
    Pool(String),
    Parallel,
    Slot,
}

/// No task stands still that could move.
///
/// # Errors
/// The task, and why it could move.
pub fn nothing_is_left_standing(state: &State, now: Timestamp) -> Checked {
    let mut queued = Vec::new();
    for run in state.runs.values().filter(|run| run.poisoned.is_none()) {
        let is_busy = state.continuations.values().any(|continuation| continuation.run == run.id);
        for (index, task) in run.indexed_tasks().filter(|_| !is_busy) {
            let (id, def) = (run.id.task(index), state.definitions[&run.definition].task(index));
            match &task.phase {
                Phase::Waiting(wait) if run.ending.is_some() => {
                    return Err(format!("{id} waits for {:?} and its run is ending", wait.on));
                }
                Phase::Leased(lease) if run.ending.is_some() && lease.stopping.is_none() => {
                    return Err(format!("{id} runs, its run is ending, and nobody stops it"));
                }
                Phase::Waiting(wait) if wait.on == WaitOn::Needs && run.started => still_needs(state, run, id)?,
                Phase::Waiting(wait) if wait.on == WaitOn::Grant && !is_held(state, run, now) => {
                    queued.push(Queued { id, run, def, wait, short: short_of(state, run, def) });
                }
                _ => {}
            }
        }
    }
    queued.iter().try_for_each(|task| is_blocked(state, task, &queued, now))
}

fn is_held(state: &State, run: &Run, now: Timestamp) -> bool {
    run.paused.is_some()
        // Its time-out may have been put off, because nobody could be heard; it starts nothing more.
        || run.deadline <= now
        || state.paused_workflows.contains_key(&*run.workflow)
        || state.volatile.focus.as_ref().is_some_and(|focus| !focus.contains(&run.id))
}

/// A pending task has neither enough of its needs nor too few left to hope for.
fn still_needs(state: &State, run: &Run, id: TaskId) -> Checked {
    let definition = &state.definitions[&run.definition];
    let (task, def) = (run.task(id.index), definition.task(id.index));
    let callers = definition.primaries.get(&id.index).map_or(0, Vec::len);
    let is_fallback = def.when == When::Fallback;
    let waits_for_call = is_fallback && !task.called && (task.spared as usize) < callers;
    let possible = def.needs.of.len() as u32 - task.impossible;
    let waits_for_needs = task.met < def.needs.at_least && possible >= def.needs.at_least;
    let is_spared = is_fallback && !task.called && !waits_for_call;
    if is_spared || (possible < def.needs.at_least) || !(waits_for_call || waits_for_needs) {
        return Err(format!("{id} waits for needs that are settled: {task:?}"));
    }
    Ok(())
}

/// What a task can not have now. What is closed to everybody holds up nobody else; of what is merely short,
/// each thing holds up whoever comes later and needs it too.
fn short_of(state: &State, run: &Run, def: &TaskDef) -> Vec<Short> {
    let queue = def.queue_name();
    let is_closed = |(name, units): (&String, &u32)| {
        let pool = &state.pools[name];
        pool.poisoned.is_some() || pool.size < *units
    };
    if state.queues.get(queue).is_some_and(|queue| queue.paused.is_some()) || def.resources.iter().any(is_closed) {
        return vec![Short::Closed];
    }
    let mut short = Vec::new();
    for (name, units) in &def.resources {
        let held: u32 = leases(state).filter_map(|lease| lease.holds.get(name)).sum();
        if state.pools[name].size.saturating_sub(held) < *units {
            short.push(Short::Pool(name.clone()));
        }
    }
    let leased = run.tasks.iter().filter(|task| task.lease().is_some()).count();
    let most = state.definitions[&run.definition].body.max_parallel;
    if most.is_some_and(|most| leased >= most as usize) {
        short.push(Short::Parallel);
    }
    if crews_with_room(state, def).is_empty() {
        short.push(Short::Slot);
    }
    short
}

/// What those workers take that could be given the task now.
fn crews_with_room<'s>(state: &'s State, def: &TaskDef) -> Vec<&'s Serves> {
    let is_ahead = def.kind == TaskKind::Noop && def.resources.is_empty() && def.on_lost == Default::default();
    let factor = if is_ahead { state.volatile.bounds.prefetch_factor as usize } else { 1 };
    let has_room = |worker: &WorkerId, slots: u32| {
        leases(state).filter(|lease| lease.worker == *worker).count() < slots as usize * factor
    };
    let workers = state.volatile.workers.iter().filter(|(_, offer)| takes(&offer.serves, def));
    workers.filter(|(worker, offer)| has_room(worker, offer.slots)).map(|(_, offer)| &*offer.serves).collect()
}

fn takes(serves: &Serves, def: &TaskDef) -> bool {
    let kind = match &def.kind {
        TaskKind::Noop | TaskKind::Sleep(_) | TaskKind::Signal(_) | TaskKind::Workflow(_) => WorkKind::Noop,
        TaskKind::Http(_) => WorkKind::Http,
        TaskKind::Exec(_) => WorkKind::Exec,
        TaskKind::Worker(call) => WorkKind::Handler(Arc::clone(&call.handler)),
    };
    serves.takes(def.queue_name(), &kind)
}

fn leases(state: &State) -> impl Iterator<Item = &unknot_core::run::Lease> {
    state.runs.values().flat_map(|run| &run.tasks).filter_map(|task| task.lease())
}

/// A queued task is short of something itself, or somebody before it is short of what it needs too.
fn is_blocked(state: &State, task: &Queued<'_>, queued: &[Queued<'_>], now: Timestamp) -> Checked {
    if !task.short.is_empty() {
        return Ok(());
    }
    let is_shared = |other: &Queued<'_>, short: &Short| match short {
        Short::Closed => false,
        Short::Slot => false,
        Short::Pool(pool) => task.def.resources.contains_key(pool),
        Short::Parallel => other.run.id == task.run.id,
    };
    let blocks = |other: &&Queued<'_>| {
        let shares = other.short.iter().any(|short| is_shared(other, short));
        shares && rank(state, other, now) < rank(state, task, now)
    };
    let is_kept = |crew: &&Serves| {
        let waits = |other: &&Queued<'_>| other.short.contains(&Short::Slot) && takes(crew, other.def);
        queued.iter().filter(waits).any(|other| rank(state, other, now) < rank(state, task, now))
    };
    let has_no_slot = || crews_with_room(state, task.def).iter().all(is_kept);
    match queued.iter().find(blocks) {
        Some(_) => Ok(()),
        None if has_no_slot() => Ok(()),
        None => Err(format!(
            "{} could be granted and stands in its queue since {}: {:?}",
            task.id, task.wait.since, task.def
        )),
    }
}

/// The place of a task in the order of grants, its age considered.
fn rank(state: &State, task: &Queued<'_>, now: Timestamp) -> (Priority, unknot_core::Seq) {
    let bound = state.queue_settings(task.def.queue_name()).low_counts_as_high_after;
    let is_aged = now.since(task.wait.since) >= bound;
    (if is_aged { Priority::High } else { task.def.priority }, task.wait.seq)
}
