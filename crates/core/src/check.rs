//! The rules of the core, asserted: in debug builds, in the simulator, and after every load.
//!
//! Each check recounts from the durable state and compares with what the brain goes by.

use crate::{
    State, TaskId,
    row::Loaded,
    run::{Phase, Run, Task, TaskEnd, WaitOn},
    volatile::Volatile,
    workflow::{Definition, Until},
};

/// Unfinished tasks up to which the whole state is checked after every commit.
pub const WHOLE_CHECK_MAX: u32 = 2_000;

/// Asserts every rule over the whole state.
///
/// # Panics
/// If a rule is broken; the message says which, where, and what was found.
pub fn whole(state: &State) {
    indices_equal_a_rebuild(state);
    units_are_conserved(state);
    for run in state.runs.values() {
        let definition = &state.definitions[&run.definition];
        run_is_alive(state, run);
        for (index, task) in run.indexed_tasks() {
            task_is_bounded(state, run, run.id.task(index), task);
        }
        if !state.continuations.values().any(|continuation| continuation.run == run.id) {
            needs_are_counted(run, definition);
        }
    }
}

/// Asserts that what a store would load equals what is in memory.
///
/// # Panics
/// If it does not.
pub fn loads_equal(state: &State, loaded: Loaded) {
    match State::load(loaded, state.volatile.bounds) {
        Ok(again) => {
            assert!(state.same_durable(&again), "the stored rows describe another state: {}", difference(state, &again))
        }
        Err(error) => panic!("the stored rows can not be loaded: {error}"),
    }
}

fn difference(state: &State, again: &State) -> String {
    let differs = |run: &&Run| again.runs.get(&run.id) != Some(*run);
    match state.runs.values().find(differs) {
        Some(run) => format!("in memory {run:?}, stored {:?}", again.runs.get(&run.id)),
        None => format!(
            "counters {:?} / {:?}, {} / {} runs, {} / {} continuations, pools {:?} / {:?}",
            state.meta,
            again.meta,
            state.runs.len(),
            again.runs.len(),
            state.continuations.len(),
            again.continuations.len(),
            state.pools,
            again.pools
        ),
    }
}

/// Rule 1: everything volatile that is derived equals a fresh derivation.
fn indices_equal_a_rebuild(state: &State) {
    let mut fresh = Volatile { renewed: state.volatile.renewed.clone(), ..Volatile::default() };
    for run in state.runs.values() {
        let definition = &state.definitions[&run.definition];
        fresh.index_run(run, definition);
        for (index, _) in run.indexed_tasks() {
            fresh.index_task(run, definition, index);
        }
    }
    let kept = &state.volatile;
    assert_eq!(kept.deadlines, fresh.deadlines, "deadlines");
    assert_eq!(kept.tallies, fresh.tallies, "tallies");
    assert_eq!(kept.held, fresh.held, "units held");
    assert_eq!(kept.queued, fresh.queued, "tasks queued");
    assert_eq!(kept.leases, fresh.leases, "leases by worker");
    assert_eq!(kept.open_total, fresh.open_total, "unfinished tasks");
    assert_eq!(kept.pins, fresh.pins, "definitions pinned");
    assert_eq!(kept.idempotency, fresh.idempotency, "idempotency keys");
    assert_eq!(kept.ready.tasks(), fresh.ready.tasks(), "tasks in the ready lines");
}

/// Rule 9: no pool gives out more than it has. A pool that was made smaller may be over for a while.
fn units_are_conserved(state: &State) {
    for (name, held) in &state.volatile.held {
        assert!(state.pools.contains_key(name), "`{held}` units of the unknown pool `{name}` are held");
    }
}

/// A run whose tasks have all ended is not unfinished, unless it has not been let go yet.
fn run_is_alive(state: &State, run: &Run) {
    let open = state.volatile.tally(run.id).open;
    assert!(open > 0 || !run.started, "{} has no unfinished task and is still there", run.id);
    assert!(run.seq < state.meta.next_seq, "{} has a place that was not given out", run.id);
}

/// Rules 2 and 3: every unfinished task is in a bounded wait or under a bounded lease, inside its run's
/// own bound.
fn task_is_bounded(state: &State, run: &Run, id: TaskId, task: &Task) {
    match &task.phase {
        Phase::Waiting(wait) => {
            assert!(wait.deadline <= run.deadline, "{id} waits beyond its run's deadline");
            assert!(wait.seq < state.meta.next_seq, "{id} has a place that was not given out");
            assert!(wait.on == WaitOn::Needs || run.started, "{id} moved before its run was let go");
        }
        Phase::Leased(lease) => {
            assert!(lease.deadline <= run.deadline, "{id} runs beyond its run's deadline");
            assert!(lease.fence < state.meta.next_fence, "{id} has a fence that was not given out");
            assert!(task.attempts > 0, "{id} is leased without an attempt");
        }
        Phase::Ended(end) => assert!(end.at <= state.meta.high_water, "{id} ended in the future"),
    }
}

/// The counters of needs equal a recount, where no continuation is on its way.
fn needs_are_counted(run: &Run, definition: &Definition) {
    // A run that ends, and one that is frozen, counts no more.
    if run.ending.is_some() || run.poisoned.is_some() {
        return;
    }
    for (index, task) in run.indexed_tasks() {
        let ends = definition.task(index).needs.of.iter().filter_map(|need| {
            let end = run.task(need.task).end()?;
            Some(need.until == Until::Finished || end.status == TaskEnd::Completed)
        });
        let (met, impossible): (Vec<bool>, Vec<bool>) = ends.partition(|met| *met);
        let counted = (met.len(), impossible.len());
        let kept = (task.met as usize, task.impossible as usize);
        assert_eq!(kept, counted, "{} counts its needs wrongly", run.id.task(index));
    }
}
