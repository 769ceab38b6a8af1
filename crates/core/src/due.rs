//! Effects that follow from the state alone: what a restart has to do again.

use crate::{
    AttemptId, RunId, Seq, State, TaskId, TaskIndex,
    alert::Alert,
    apply::{Rendered, assignment, render},
    effect::Effect,
    run::{Lease, Run, Task, WorkerId},
    settings::Suspect,
};
use std::collections::BTreeMap;

/// The derived effects of a whole state, in the order of its runs, and those of its outbox.
///
/// Every one may have been performed before: a hand recognises attempt and fence, a receiver the alert's number. Attempts
/// of a worker that is not `present` are left out: the engine confirms their end and reports them lost.
pub fn effects_due(state: &State, present: impl Fn(&WorkerId) -> bool) -> Vec<Effect> {
    let of_run = |run: &Run| {
        let tasks = run.indexed_tasks();
        let given = |lease: &Lease| !lease.worker.is_brain() && present(&lease.worker);
        let present = tasks.filter(|(_, task)| task.lease().is_some_and(given));
        present.filter_map(|(index, _)| effect_due(state, run, index)).collect::<Vec<_>>()
    };
    let of_alert = |(seq, alert): (&Seq, &Alert)| {
        let notices = alert.deliveries.keys().filter_map(|target| alert.notice(*seq, target));
        notices.map(|notice| Effect::Notify(Box::new(notice))).collect::<Vec<_>>()
    };
    let of_runs = state.runs.values().flat_map(|run| of_run(run));
    of_runs.chain(state.alerts.iter().flat_map(of_alert)).collect()
}

/// The derived effects of one worker's leases.
pub(crate) fn effects_due_to(state: &State, worker: &WorkerId) -> Vec<Effect> {
    let leases = state.volatile.leases.get(worker).into_iter().flatten();
    let of_lease = |id: &TaskId| effect_due(state, state.runs.get(&id.run)?, id.index);
    leases.filter_map(of_lease).collect()
}

/// What the worker of a leased task has to be told, again.
fn effect_due(state: &State, run: &Run, index: TaskIndex) -> Option<Effect> {
    let (id, task) = (run.id.task(index), run.task(index));
    let lease = task.lease()?;
    if let Some(stopping) = &lease.stopping {
        let (worker, attempt) = (lease.worker.clone(), id.attempt(task.attempts));
        return Some(Effect::Stop { worker, attempt, fence: lease.fence, reason: stopping.reason });
    }
    if lease.started_at.is_some() {
        return None;
    }
    let Ok(Rendered::Hand(work)) = render(run, &state.definitions[&run.definition], id) else { return None };
    assignment(state, id, work).map(|assignment| Effect::Start(Box::new(assignment)))
}

/// An attempt that a worker held when the state was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outstanding {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Under which lease.
    pub fence: crate::Fence,
    /// By whom.
    pub worker: WorkerId,
}

/// Every lease of the state. After a load the engine confirms the end of those whose worker is gone.
pub fn outstanding(state: &State) -> Vec<Outstanding> {
    let of_run = |run: RunId| {
        let tasks = state.runs[&run].indexed_tasks();
        tasks.filter_map(move |(index, task)| {
            let lease = task.lease().filter(|lease| !lease.worker.is_brain())?;
            let attempt = run.task(index).attempt(task.attempts);
            Some(Outstanding { attempt, fence: lease.fence, worker: lease.worker.clone() })
        })
    };
    state.runs.keys().copied().flat_map(of_run).collect()
}

/// Attempts that lost their lease, may still be alive, and hold up the next try of their task or keep pools closed
/// by that; often of runs that have ended. After a load the engine confirms their end as it does for those outstanding.
pub fn suspects(state: &State) -> BTreeMap<AttemptId, &Suspect> {
    let poisons = state.pools.values().filter_map(|pool| pool.poisoned.as_ref());
    let of_pools = poisons.flat_map(|poison| &poison.suspects).map(|(attempt, suspect)| (*attempt, suspect));
    let of_tasks = state.runs.values().flat_map(|run| {
        let suspect = |(index, task)| suspect_of(run.id.task(index), task);
        run.indexed_tasks().filter_map(suspect)
    });
    // One attempt may have closed several pools.
    of_pools.chain(of_tasks).collect()
}

fn suspect_of(id: TaskId, task: &Task) -> Option<(AttemptId, &Suspect)> {
    task.suspect.as_deref().map(|suspect| (id.attempt(task.attempts), suspect))
}
