//! The rules over what one event changed, for states that are too large to be looked at as a whole each time.

use super::{is_not_forgotten, lease_is_watched, needs_are_counted, run_is_alive, run_is_watched, task_is_bounded};
use crate::{RunId, State, TaskIndex, decision::Decision, effect::Effect, row::Key, run::Task};
use std::collections::{BTreeMap, BTreeSet};

/// Needs of a task up to which they are recounted. A join of thousands would be, at each of its needs.
const NEEDS_RECOUNTED_MAX: usize = 64;

/// Asserts the rules over the rows that an event touched, and the sums of the pools that those tasks ask for.
///
/// # Panics
/// If a rule is broken; the message says which, where, and what was found.
pub fn touched(state: &State, decision: &Decision) {
    let mut tasks: BTreeSet<(RunId, TaskIndex)> = BTreeSet::new();
    let mut pools: BTreeSet<&str> = BTreeSet::new();
    for key in &decision.touched {
        match key {
            Key::Run(id) => {
                let Some(run) = state.runs.get(id) else { continue };
                run_is_alive(state, run);
                run_is_watched(state, run);
                tasks.extend(run.indexed_tasks().filter(|_| run.is_inline()).map(|(index, _)| (*id, index)));
            }
            Key::Task(id) => {
                tasks.insert((id.run, id.index));
            }
            Key::Pool(name) => {
                pools.insert(name);
            }
            Key::Continuation(seq) => {
                let run = state.continuations.get(seq).map(|continuation| continuation.run);
                let is_left = run.is_some_and(|run| !state.runs.contains_key(&run));
                assert!(!is_left, "work is left of {run:?}, which has ended");
            }
            _ => {}
        }
    }
    let busy: BTreeSet<RunId> = state.continuations.values().map(|continuation| continuation.run).collect();
    for (id, index) in tasks {
        let Some(run) = state.runs.get(&id) else { continue };
        let definition = &state.definitions[&run.definition];
        let def = definition.task(index);
        task_is_bounded(state, run, id.task(index), run.task(index));
        lease_is_watched(state, run, index);
        if !busy.contains(&id) && def.needs.of.len() <= NEEDS_RECOUNTED_MAX {
            needs_are_counted(run, definition, index);
            is_not_forgotten(run, definition, index);
        }
        pools.extend(def.resources.keys().map(String::as_str));
    }
    sums_are_kept(state, &pools);
    grants_fit(state, decision);
}

/// Rule 9: of these pools, as many units are counted as held as the leases hold.
fn sums_are_kept(state: &State, pools: &BTreeSet<&str>) {
    if pools.is_empty() {
        return;
    }
    let mut sums: BTreeMap<&str, u32> = BTreeMap::new();
    for lease in state.runs.values().flat_map(|run| &run.tasks).filter_map(Task::lease) {
        // What an ancestor lends is counted there, and who has nothing else is counted nowhere.
        let own = lease.holds.iter().map(|(name, units)| (name, units - lease.borrowed_of(name)));
        for (name, units) in own.filter(|(name, units)| *units > 0 && pools.contains(name.as_str())) {
            *sums.entry(name).or_default() += units;
        }
    }
    for name in pools {
        let (sum, held) = (sums.get(name).copied(), state.volatile.held.get(*name).copied());
        assert_eq!(held, sum, "units held of pool `{name}`");
    }
}

/// Rule 9: whoever was granted units found them free. (A pool that was made smaller may be over for a while.)
fn grants_fit(state: &State, decision: &Decision) {
    for effect in &decision.effects {
        let Effect::Start(assignment) = effect else { continue };
        let lease = state.task(assignment.attempt.task).and_then(Task::lease);
        for name in lease.iter().flat_map(|lease| lease.holds.keys()) {
            let held = state.volatile.held.get(name).copied().unwrap_or_default();
            let size = state.pools.get(name).map_or(0, |pool| pool.size);
            assert!(
                held <= size,
                "{} was granted of pool `{name}`, which gives out {held} of {size}",
                assignment.attempt
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        CommitSeq, RunId, Timestamp, apply,
        event::{Caller, Envelope, Event, Submission},
        run::WorkerId,
        validate::{Draft, DraftTask, Rules, check},
        workflow::{Command, Definition, TaskKind},
    };
    use std::{panic::catch_unwind, sync::Arc};

    /// Twenty tasks, too many for one row, that share a lock; the first is under a lease.
    fn state() -> (State, Decision) {
        let task = |index: usize| {
            let mut task = DraftTask::new(format!("t{index}"), TaskKind::Exec(Command::Argv(vec!["true".into()])));
            task.locks = vec!["door".into()];
            task
        };
        let draft = Draft { name: "flow".into(), tasks: (0..20).map(task).collect(), ..Draft::default() };
        let body = check(draft, &Rules::default()).expect("a sound workflow").definition.body;
        let submission = Submission {
            caller: Caller(1),
            ..Submission::of(RunId::from_parts(1, 1), Arc::new(Definition::new(body)))
        };
        let mut state = State::default();
        let mut hear =
            |event| apply(&mut state, &Envelope { at: Timestamp(1), entropy: 1, commit: CommitSeq(1), event });
        hear(Event::WorkerJoined {
            worker: WorkerId { name: WorkerId::LOCAL.into(), boot: 1 },
            slots: 2,
            serves: Box::default(),
        });
        let decision = hear(Event::RunSubmitted(Box::new(submission)));
        (state, decision)
    }

    fn breaks(change: impl FnOnce(&mut State)) -> bool {
        let (mut state, decision) = state();
        touched(&state, &decision);
        change(&mut state);
        catch_unwind(|| touched(&state, &decision)).is_err()
    }

    fn first(state: &mut State) -> &mut Task {
        let run = state.runs.values_mut().next().expect("the run");
        &mut run.tasks[0]
    }

    #[test]
    fn what_an_event_touched_is_held_to_the_rules() {
        assert!(!breaks(|_| {}));
        assert!(breaks(|state| first(state).met = 7), "a counter");
        assert!(breaks(|state| state.volatile.deadlines.clear()), "a deadline that nobody waits for");
        assert!(breaks(|state| first(state).attempts = 0), "a lease without an attempt");
        assert!(breaks(|state| state.volatile.held.values_mut().for_each(|held| *held = 2)), "a sum");
        assert!(breaks(|state| state.volatile.held.clear()), "another sum");
    }
}
