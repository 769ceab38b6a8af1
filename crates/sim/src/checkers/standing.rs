//! Whether the brain left something undone: the test for lost wake-ups, counted anew from the state.
//!
//! A brain that is idle with nothing due must not hold a task that could go on. The oracle of
//! deadlines would find such a task only when its run's time is out.

use super::{
    Checked,
    waiting::{can_be_lent, free, is_owed, leases, lends},
};
use std::sync::Arc;
use unknot_core::{
    State, TaskId, Timestamp,
    run::{Lease, Phase, Run, Wait, WaitOn, WorkerId},
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
        let free = free(state, name);
        // Attempts that wait and find too little come first.
        let is_claimed = || !is_owed(run) && claims(state, name).any(|units| units > free);
        let is_lent = || is_owed(run) && can_be_lent(state, run, name, *units);
        if (free < *units || is_claimed()) && !is_lent() {
            short.push(Short::Pool(name.clone()));
        }
    }
    let leased = run.tasks.iter().filter(|task| task.lease().is_some()).count();
    let most = state.definitions[&run.definition].body.max_parallel;
    if most.is_some_and(|most| leased >= most as usize) {
        short.push(Short::Parallel);
    }
    if !matches!(def.kind, TaskKind::Workflow(_))
        && crews_with_room(state, def).is_empty()
        && !has_lent_slot(state, run, def)
    {
        short.push(Short::Slot);
    }
    short
}

/// The units that waiting attempts ask of a pool, each for itself.
fn claims<'s>(state: &'s State, pool: &'s str) -> impl Iterator<Item = u32> + 's {
    let waits = |(id, lease): (TaskId, &'s Lease)| {
        let is_alive = state.runs[&id.run].poisoned.is_none() && lease.stopping.is_none();
        lease.parked.as_ref().filter(|_| is_alive)
    };
    let asked = leases(state).filter_map(waits).flat_map(|parked| parked.on.units());
    asked.filter(move |(asked, _)| *asked == pool).map(|(_, units)| units)
}

/// Whether somebody above a run that waits for it lends it the slot of a worker that takes a task.
fn has_lent_slot(state: &State, run: &Run, def: &TaskDef) -> bool {
    let is_used = |lender: TaskId| leases(state).any(|(_, lease)| lease.slot_of == Some(lender));
    let mut above = run.parent.iter().flat_map(|parent| parent.ancestors());
    is_owed(run)
        && above.any(|lender| {
            let lease = state.task(lender).and_then(|task| task.lease()).filter(|lease| lends(lease));
            let offer = lease.and_then(|lease| state.volatile.workers.get(&lease.worker));
            offer.is_some_and(|offer| takes(&offer.serves, def)) && !is_used(lender)
        })
}

/// What those workers take that could be given the task now.
fn crews_with_room<'s>(state: &'s State, def: &TaskDef) -> Vec<&'s Serves> {
    let is_ahead = def.kind == TaskKind::Noop && def.resources.is_empty() && def.on_lost == Default::default();
    let factor = if is_ahead { state.volatile.bounds.prefetch_factor as usize } else { 1 };
    let has_room = |worker: &WorkerId, slots: u32| {
        let own = leases(state).filter(|(_, lease)| lease.worker == *worker && lease.slot_of.is_none());
        own.count() < slots as usize * factor
    };
    let workers = state.volatile.workers.iter().filter(|(_, offer)| takes(&offer.serves, def));
    workers.filter(|(worker, offer)| has_room(worker, offer.slots)).map(|(_, offer)| &*offer.serves).collect()
}

fn takes(serves: &Serves, def: &TaskDef) -> bool {
    let kind = match &def.kind {
        TaskKind::Noop | TaskKind::Sleep(_) | TaskKind::Signal(_) => WorkKind::Noop,
        TaskKind::Http(_) => WorkKind::Http,
        TaskKind::Exec(_) => WorkKind::Exec,
        TaskKind::Worker(call) => WorkKind::Handler(Arc::clone(&call.handler)),
        TaskKind::Workflow(_) => WorkKind::Workflow,
    };
    serves.takes(def.queue_name(), &kind)
}

/// A queued task is short of something itself, or somebody before it is short of what it needs too.
fn is_blocked(state: &State, task: &Queued<'_>, queued: &[Queued<'_>], now: Timestamp) -> Checked {
    if !task.short.is_empty() {
        return Ok(());
    }
    let could_go = || format!("{} could be granted and stands in its queue since {}", task.id, task.wait.since);
    if is_owed(task.run) {
        // Nobody's place stands before what it asks for.
        return Err(could_go());
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
    let is_brains = matches!(task.def.kind, TaskKind::Workflow(_));
    let has_no_slot = || !is_brains && crews_with_room(state, task.def).iter().all(is_kept);
    match queued.iter().find(blocks) {
        Some(_) => Ok(()),
        None if has_no_slot() => Ok(()),
        None => Err(format!("{}: {:?}", could_go(), task.def)),
    }
}

/// The place of a task in the order of grants, its age considered.
fn rank(state: &State, task: &Queued<'_>, now: Timestamp) -> (Priority, unknot_core::Seq) {
    let bound = state.queue_settings(task.def.queue_name()).low_counts_as_high_after;
    let is_aged = now.since(task.wait.since) >= bound;
    (if is_aged { Priority::High } else { task.def.priority }, task.wait.seq)
}
