//! The rules of the core, asserted: in debug builds, in the simulator, and after every load.
//!
//! Each check recounts from the durable state and compares with what the brain goes by: [`whole`] over everything,
//! [`touched`] over what one event changed, where everything would take too long.

mod touched;

use crate::{
    Seq, State, TaskId, TaskIndex, Timestamp,
    alert::ALERTS_MAX,
    deadline::Deadline,
    ready::{Rank, Supply, slots},
    row::{Loaded, Row},
    run::{OnExpiry, Phase, Run, Task, TaskEnd, WaitOn},
    volatile::{Lent, Party, Volatile, request},
    wait::{reduce, snapshot},
    workflow::{Definition, Until, When},
};
use std::collections::{BTreeMap, BTreeSet};

pub use touched::touched;

/// Unfinished tasks up to which the whole state is checked after every event and every commit.
pub const WHOLE_CHECK_MAX: u32 = 2_000;
/// Above that, the whole state is checked at every so manyth commit.
pub const WHOLE_CHECK_EVERY: u64 = 1_000;

/// Asserts every rule over the whole state.
///
/// # Panics
/// If a rule is broken; the message says which, where, and what was found.
pub fn whole(state: &State) {
    indices_equal_a_rebuild(state);
    units_are_conserved(state);
    nobody_is_left_standing(state);
    nobody_waits_in_vain(state);
    verdicts_are_exact(state);
    alerts_are_kept(state);
    for continuation in state.continuations.values() {
        assert!(state.runs.contains_key(&continuation.run), "work is left of {}, which has ended", continuation.run);
    }
    for run in state.runs.values() {
        let definition = &state.definitions[&run.definition];
        loans_are_kept(state, run);
        run_is_alive(state, run);
        run_is_watched(state, run);
        let is_settled = !state.continuations.values().any(|continuation| continuation.run == run.id);
        for (index, task) in run.indexed_tasks() {
            task_is_bounded(state, run, run.id.task(index), task);
            lease_is_watched(state, run, index);
            if is_settled {
                needs_are_counted(run, definition, index);
                is_not_forgotten(run, definition, index);
            }
        }
    }
}

/// Asserts that what a store would load equals what is in memory.
///
/// # Panics
/// If it does not.
pub fn loads_equal(state: &State, loaded: Loaded) {
    for (_, row) in &loaded.rows {
        let Row::Run(run) = row else { continue };
        let counts = (!run.is_inline() || run.tasks.is_empty()).then(|| state.volatile.tally(run.id).counts());
        assert_eq!(run.counts, counts, "the row of {} counts its tasks wrongly", run.id);
    }
    match State::load(loaded, state.volatile.bounds) {
        Ok(again) => {
            assert!(state.same_durable(&again), "the stored rows describe another state: {}", difference(state, &again))
        }
        Err(error) => panic!("the stored rows can not be loaded: {error}"),
    }
}

fn difference(state: &State, again: &State) -> String {
    match state.runs.values().find(|run| again.runs.get(&run.id) != Some(*run)) {
        Some(run) => format!("in memory {run:?}, stored {:?}", again.runs.get(&run.id)),
        None => format!(
            "counters {:?} / {:?}, {} / {} runs, {} / {} continuations, pools {:?} / {:?}, alerts {:?} / {:?}",
            state.meta,
            again.meta,
            state.runs.len(),
            again.runs.len(),
            state.continuations.len(),
            again.continuations.len(),
            state.pools,
            again.pools,
            state.alerts,
            again.alerts
        ),
    }
}

/// Rule 1: everything volatile that is derived equals a fresh derivation.
fn indices_equal_a_rebuild(state: &State) {
    let mut fresh = Volatile { moved: state.volatile.moved.clone(), ..Volatile::default() };
    fresh.workers = state.volatile.workers.clone();
    state.index_all(&mut fresh);
    let kept = &state.volatile;
    let ageing = kept.ready.next_ageing().map(|(at, task)| (at, Deadline::CountsAsHigh(task)));
    assert_eq!(kept.ageing, ageing, "the next task that counts as high");
    fresh.deadlines.extend(ageing);
    assert_eq!(kept.deadlines, fresh.deadlines, "deadlines");
    let stale = kept.moved.iter().find(|(deadline, at)| !kept.deadlines.contains(&(**at, **deadline)));
    assert_eq!(stale, None, "deadlines that were moved and are not waited for");
    assert_eq!(kept.tallies, fresh.tallies, "tallies");
    assert_eq!(kept.held, fresh.held, "units held");
    assert_eq!(kept.holders, fresh.holders, "who holds units");
    assert_eq!(kept.by_queue, fresh.by_queue, "unfinished tasks by queue");
    assert_eq!(kept.leases, fresh.leases, "leases by worker");
    assert_eq!(kept.named, fresh.named, "definitions that name a pool");
    assert_eq!(kept.lent, fresh.lent, "what is lent");
    assert_eq!(kept.borrowers, fresh.borrowers, "who has something of whom");
    assert_eq!(kept.beside, fresh.beside, "attempts in lent slots");
    assert!(kept.waiters.same(&fresh.waiters), "running attempts that wait");
    assert_eq!(kept.children, fresh.children, "runs that tasks spawned");
    assert_eq!(kept.open_total, fresh.open_total, "unfinished tasks");
    assert_eq!(kept.pins, fresh.pins, "definitions pinned");
    assert_eq!(kept.idempotency, fresh.idempotency, "idempotency keys");
    assert_eq!(kept.ready.tasks(), fresh.ready.tasks(), "tasks in the ready lines");
}

/// Rule 9: no pool gives out more than it has. It is over only while all who hold units of it had them before it
/// was last made smaller, or have them of somebody who lent them and has ended.
fn units_are_conserved(state: &State) {
    for (name, held) in &state.volatile.held {
        let pool =
            state.pools.get(name).unwrap_or_else(|| panic!("{held} units of the unknown pool `{name}` are held"));
        if *held <= pool.size {
            continue;
        }
        let roots = state.runs.values().filter(|run| run.parent.is_none());
        let leases = roots.flat_map(|run| &run.tasks).filter_map(Task::lease);
        let newest = leases.filter(|lease| lease.holds.contains_key(name)).map(|lease| lease.seq).max();
        assert!(
            newest < pool.shrunk,
            "{held} units of pool `{name}` are held and it has {}, and one was granted since it was made smaller",
            pool.size
        );
    }
}

/// Rule 12: no alert is kept that has nothing left to do, none more than may be, and each that has is watched.
fn alerts_are_kept(state: &State) {
    assert!(state.alerts.len() <= ALERTS_MAX, "{} alerts are kept", state.alerts.len());
    let mut open = BTreeMap::new();
    for (seq, alert) in &state.alerts {
        assert!(!alert.is_finished(), "{seq:?} has nothing left to do: {alert:?}");
        assert!(*seq < state.meta.next_seq, "{seq:?} has a place that was not given out");
        if let Some(at) = alert.next_moment() {
            let is_watched = state.volatile.deadlines.contains(&(at, Deadline::AlertDelivery(*seq)));
            assert!(is_watched, "nobody waits for the next try of {seq:?}");
        }
        let before = alert.is_open().then(|| open.insert(&alert.incident.key, *seq)).flatten();
        assert_eq!(before, None, "`{}` is open twice", alert.incident.key);
    }
    let kept: BTreeMap<&String, Seq> = state.volatile.alerting.open.iter().map(|(key, seq)| (key, *seq)).collect();
    assert_eq!(kept, open, "open incidents");
}

/// Rule 9: what is lent is of an ancestor that has it, and does nothing with it meanwhile.
fn loans_are_kept(state: &State, run: &Run) {
    for (index, lease) in run.indexed_tasks().filter_map(|(index, task)| Some((index, task.lease()?))) {
        let id = run.id.task(index);
        for ((lender, lent), units) in lease.loans() {
            let is_above = run.parent.as_ref().is_some_and(|parent| parent.ancestors().any(|above| above == lender));
            assert!(is_above, "{id} has {units} of {lent:?} of {lender}, which is not above it");
            let of = state.task(lender).and_then(Task::lease);
            let of = of.unwrap_or_else(|| panic!("{id} has {units} of {lent:?} of {lender}, which has nothing"));
            assert!(of.awaits_children() || of.stopping.is_some(), "{lender} works with {lent:?}, which {id} has");
            let (has, all) = match &lent {
                Lent::Slot => (u32::from(of.worker == lease.worker), 1),
                Lent::Pool(pool) => (of.holds.get(pool).copied().unwrap_or_default(), lease.holds[pool]),
            };
            let out = state.volatile.lent.get(&(lender, lent.clone())).copied().unwrap_or_default();
            assert!(units <= out && out <= has, "{lender} has {has} of {lent:?} and lends {out}, {units} to {id}");
            assert!(units <= all, "{id} has {all} of {lent:?}, and {units} of {lender}");
        }
    }
}

/// A run whose tasks have all ended is not unfinished, unless it has not been let go yet, or the step that ended them had
/// no room for its end: then a continuation brings that.
fn run_is_alive(state: &State, run: &Run) {
    let open = state.volatile.tally(run.id).open;
    let is_over = open == 0 && run.started && !state.has_children(run.id);
    let goes_on = || state.continuations.values().any(|continuation| continuation.run == run.id);
    assert!(!is_over || goes_on(), "{} has no unfinished task and is still there", run.id);
    assert!(run.seq < state.meta.next_seq, "{} has a place that was not given out", run.id);
}

/// Rules 2 and 3: every unfinished task is in a bounded wait or under a bounded lease, inside its run's
/// own bound.
fn task_is_bounded(state: &State, run: &Run, id: TaskId, task: &Task) {
    match &task.phase {
        Phase::Waiting(wait) => {
            assert!(wait.deadline <= run.deadline, "{id} waits beyond its run's deadline");
            let with_run = wait.on_expiry == OnExpiry::RunTimesOut;
            assert_eq!(with_run, wait.deadline == run.deadline, "{id} ends its wait with its run, or before");
            assert!(wait.seq < state.meta.next_seq, "{id} has a place that was not given out");
            assert!(wait.on == WaitOn::Needs || run.started, "{id} moved before its run was let go");
            let is_suspected = task.suspect.is_some() || run.poisoned.is_some();
            assert!(wait.on != WaitOn::Confirmation || is_suspected, "{id} waits for word of nobody");
        }
        Phase::Leased(lease) => {
            assert!(lease.deadline <= run.deadline, "{id} runs beyond its run's deadline");
            assert!(lease.fence < state.meta.next_fence, "{id} has a fence that was not given out");
            assert!(task.attempts > 0, "{id} is leased without an attempt");
            assert!(task.suspect.is_none(), "{id} is leased and its attempt is said to be without a lease");
        }
        Phase::Ended(end) => assert!(end.at <= state.meta.high_water, "{id} ended in the future"),
    }
}

/// Rule 2: the bound of a run is among the moments that the driver waits for.
fn run_is_watched(state: &State, run: &Run) {
    let is_watched = || is_waited_for(state, run.deadline, Deadline::RunTimeout(run.id));
    assert!(run.poisoned.is_some() || run.ending.is_some() || is_watched(), "nobody waits for the end of {}", run.id);
}

/// Rule 2: so is that of an attempt.
fn lease_is_watched(state: &State, run: &Run, index: TaskIndex) {
    let task = run.task(index);
    let Some(lease) = task.lease().filter(|_| run.poisoned.is_none()) else { return };
    let attempt = run.id.task(index).attempt(task.attempts);
    let is_watched = match &lease.stopping {
        None => is_waited_for(state, lease.deadline, Deadline::AttemptTimeout(attempt)),
        Some(stopping) => is_waited_for(state, stopping.fenced_at, Deadline::StopExpiry(attempt)),
    };
    assert!(is_watched, "nobody waits for the end of {attempt}");
}

fn is_waited_for(state: &State, stored: Timestamp, deadline: Deadline) -> bool {
    state.volatile.deadlines.contains(&(state.volatile.moment_of(deadline, stored), deadline))
}

/// Where no continuation is on its way, whoever can go on has gone on: in an ending run nobody is left who only
/// waits, and no task waits for needs that are decided.
fn is_not_forgotten(run: &Run, definition: &Definition, index: TaskIndex) {
    // A frozen run waits for a forced end, and for another one if that failed too.
    let Some(wait) = run.task(index).wait().filter(|_| run.poisoned.is_none()) else { return };
    let (id, task, def) = (run.id.task(index), run.task(index), definition.task(index));
    assert!(run.ending.is_none(), "{id} still waits and its run comes to its end");
    if let (WaitOn::Signal, Some((name, _))) = (wait.on, def.kind.awaits()) {
        assert!(!run.signals.contains_key(&**name), "{id} waits for a signal that has been sent");
    }
    if wait.on != WaitOn::Needs || !run.started {
        return;
    }
    let entries = u32::try_from(def.needs.of.len()).unwrap_or(u32::MAX);
    let callers = definition.primaries.get(&index).map_or(0, Vec::len);
    let stands_by = def.when == When::Fallback && !task.called;
    let decided = if stands_by { task.spared as usize == callers } else { task.met >= def.needs.at_least };
    let impossible = entries - task.impossible < def.needs.at_least;
    assert!(!decided && !impossible, "{id} waits for needs that are decided");
}

/// Rule 11: who is deadlocked by the live graph is so by a full reduction of all that waits, and nobody else.
fn verdicts_are_exact(state: &State) {
    state.volatile.graph.check();
    // What the brain itself has still to do is a wait that it ends.
    if !state.continuations.is_empty() {
        return;
    }
    let full = reduce(&snapshot(state, state.meta.high_water));
    let party = |id: &String| match (id.parse(), id.parse()) {
        (Ok(task), _) => Some(Party::Task(task)),
        (_, Ok(run)) => Some(Party::Run(run)),
        _ => None,
    };
    let full: BTreeSet<Party> =
        full.deadlocked.iter().filter_map(party).filter(|party| state.volatile.graph.has(*party)).collect();
    let live: BTreeSet<Party> = state.volatile.graph.deadlocked().collect();
    assert_eq!(live, full, "who is deadlocked");
}

/// Rule 4, the other way round: nobody stands in line who fits and shares nothing that is short for
/// anybody earlier.
fn nobody_is_left_standing(state: &State) {
    // A run that is out of time is passed over and still stands before others: what is due comes first.
    let is_passed = state.volatile.deadlines.first().is_some_and(|(at, _)| *at <= state.meta.high_water);
    if state.volatile.grants_due || is_passed {
        return;
    }
    let mut standing = Vec::new();
    for run in state.runs.values() {
        let definition = &state.definitions[&run.definition];
        // One that is closed step by step keeps its place in line with what is not closed yet.
        let is_closing = run.ending.is_some() && run.poisoned.is_none();
        for (index, task) in run.indexed_tasks() {
            let (id, asked) = (run.id.task(index), request(run, definition, index));
            let Some(wait) = task.wait().filter(|wait| wait.on == WaitOn::Grant) else { continue };
            let is_held = state.is_held(id);
            if (!is_held || is_closing) && state.closed(&asked).is_none() {
                let patience = state.queue_settings(&asked.demand.queue).low_counts_as_high_after;
                let rank = Rank::of(&asked, wait.seq, state.meta.high_water.since(wait.since), patience);
                standing.push((rank, id, asked, is_held));
            }
        }
    }
    standing.sort_by_key(|(rank, ..)| *rank);
    let mut short = BTreeSet::new();
    for (_, id, asked, is_held) in &standing {
        let lacking = asked.needs().filter(|(resource, units)| state.free(resource, asked) < *units);
        short.extend(lacking.map(|(resource, _)| resource));
        let slots = slots(asked, &state.crews(asked));
        let has_slot = slots.iter().any(|slot| state.free(slot, asked) > 0 && !short.contains(slot));
        if !has_slot {
            short.extend(slots.iter().cloned());
        }
        // Who is owed what it asks for is held up by nobody before it.
        let lacks = || asked.needs().any(|(resource, units)| state.free(&resource, asked) < units);
        let is_held_up = match asked.owed {
            Some(_) => lacks() || slots.iter().all(|slot| state.free(slot, asked) == 0),
            None => !has_slot || asked.needs().any(|(resource, _)| short.contains(&resource)),
        };
        assert!(*is_held || is_held_up, "{id} stands in line and nothing that it needs is short for it or before it");
    }
}

/// No attempt waits for what it could have, or can never have.
fn nobody_waits_in_vain(state: &State) {
    let is_passed = state.volatile.deadlines.first().is_some_and(|(at, _)| *at <= state.meta.high_water);
    if state.volatile.grants_due || is_passed {
        return;
    }
    for run in state.runs.values().filter(|run| run.poisoned.is_none()) {
        for (index, lease) in run.indexed_tasks().filter_map(|(index, task)| Some((index, task.lease()?))) {
            let id = run.id.task(index);
            let Some(parked) = lease.parked.as_ref().filter(|_| lease.waits() && !state.has_lent(id)) else { continue };
            let is_over = parked.over.is_some() || state.met(id, lease, parked).is_some();
            assert!(!is_over, "{id} waits although it could go on: {parked:?}");
            assert!(!state.is_in_vain(id, parked), "{id} waits for what can not come any more: {parked:?}");
        }
    }
}

/// The counters of a task's needs equal a recount, where no continuation is on its way.
fn needs_are_counted(run: &Run, definition: &Definition, index: TaskIndex) {
    // A run that ends, and one that is frozen, counts no more.
    if run.ending.is_some() || run.poisoned.is_some() {
        return;
    }
    let ends = definition.task(index).needs.of.iter().filter_map(|need| {
        let end = run.task(need.task).end()?;
        Some(need.until == Until::Finished || end.status == TaskEnd::Completed)
    });
    let (met, impossible): (Vec<bool>, Vec<bool>) = ends.partition(|met| *met);
    let task = run.task(index);
    let (counted, kept) = ((met.len(), impossible.len()), (task.met as usize, task.impossible as usize));
    assert_eq!(kept, counted, "{} counts its needs wrongly", run.id.task(index));
}
