//! What stands in the way of a task that waits for its grant.

use super::parked::units_of;
use crate::{
    RunId, State, TaskId,
    ready::{Request, Resource, Supply},
    row::Pause,
    run::Run,
    volatile::request,
    worker::WorkKind,
    workflow::Definition,
};
use std::sync::Arc;

/// The first thing in its way, in the order in which a grant looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// Its run comes to its end.
    Ending,
    /// An operator holds its run.
    RunHeld(Pause),
    /// An operator holds its workflow.
    WorkflowHeld(Arc<str>, Pause),
    /// An operator holds its queue.
    QueueHeld(Arc<str>, Option<Pause>),
    /// This process serves other runs only.
    OutOfFocus,
    /// A pool is closed: an attempt that held units of it may still be alive. With why.
    PoolClosed(String, String),
    /// It asks for more than a pool has.
    PoolTooSmall {
        /// Which.
        name: String,
        /// Units that it needs.
        asked: u32,
        /// Units that there are.
        size: u32,
    },
    /// No worker that is here takes it.
    NoWorker(Request),
    /// Those that take it have no slot free.
    Slots(Request),
    /// Too few units of a pool are free.
    Units {
        /// Which.
        name: String,
        /// Units that it needs.
        asked: u32,
    },
    /// Its run has as many tasks under a lease as it may.
    Parallel(RunId),
    /// An earlier task waits for this, which it would need as well.
    Behind(Resource),
    /// Nothing: it is next.
    Nothing,
}

impl Obstacle {
    /// What stands in the way of a queued task.
    pub(super) fn of(state: &State, run: &Run, definition: &Definition, id: TaskId) -> Self {
        if let Some(held) = held(state, run) {
            return held;
        }
        let asked = request(run, definition, id.index);
        if let Some(closed) = state.closed(&asked) {
            return closed_to(state, closed, &asked);
        }
        // Runs of other workflows are the brain's own work: no worker takes them.
        let is_ours = asked.demand.kind == WorkKind::Workflow;
        if !is_ours && state.volatile.worker_for(asked.demand.prefetchable, &state.crews(&asked)).is_none() {
            let is_served = state.volatile.slots_for(&asked) > 0;
            return if is_served { Self::Slots(asked) } else { Self::NoWorker(asked) };
        }
        let short = asked.needs().find(|(resource, units)| state.free(resource, &asked) < *units);
        match (short, state.volatile.ready.stands_at(&asked).first()) {
            (Some((Resource::Pool(name), asked)), _) => Self::Units { name, asked },
            (Some((Resource::Parallel(run), _)), _) => Self::Parallel(run),
            (Some(_), _) => Self::Slots(asked),
            (None, Some(resource)) => Self::Behind(resource.clone()),
            (None, None) => Self::Nothing,
        }
    }

    /// To be read after the task's name: `waits for …`.
    pub(super) fn sentence(&self, state: &State) -> String {
        match self {
            Self::Ending => "is about to be cancelled with its run".to_owned(),
            Self::RunHeld(pause) => format!("is held: its run is paused by {}", pause.by),
            Self::WorkflowHeld(name, pause) => format!("is held: workflow `{name}` is paused by {}", pause.by),
            Self::QueueHeld(name, pause) => {
                let by = pause.as_ref().map_or_else(String::new, |pause| format!(" by {}", pause.by));
                format!("is held: queue `{name}` is paused{by}")
            }
            Self::OutOfFocus => "waits for a server: this process serves other runs only".to_owned(),
            Self::PoolClosed(name, why) => format!("waits for pool `{name}`, which is closed: {why}"),
            Self::PoolTooSmall { name, asked, size } => {
                format!("can not be granted: it needs {asked} units of pool `{name}`, which has {size}")
            }
            Self::NoWorker(asked) => no_worker(state, asked),
            Self::Slots(asked) => slots(state, asked),
            Self::Units { name, asked } => format!("waits for {}", units_of(state, name, *asked)),
            Self::Parallel(run) => {
                let taken = state.volatile.tally(*run).leased;
                let most = state.definition(*run).body.max_parallel.unwrap_or(taken);
                format!("waits for a place within its run's `max_parallel` ({taken} of {most} taken)")
            }
            Self::Behind(Resource::Pool(name)) => {
                format!("stands behind an earlier task that waits for pool `{name}`")
            }
            Self::Behind(_) => "stands behind earlier tasks".to_owned(),
            Self::Nothing => "is next to be granted".to_owned(),
        }
    }
}

fn held(state: &State, run: &Run) -> Option<Obstacle> {
    if run.ending.is_some() {
        return Some(Obstacle::Ending);
    }
    if let Some(pause) = &run.paused {
        return Some(Obstacle::RunHeld(pause.clone()));
    }
    if let Some(pause) = state.paused_workflows.get(&*run.workflow) {
        return Some(Obstacle::WorkflowHeld(Arc::clone(&run.workflow), pause.clone()));
    }
    (!state.volatile.is_in_focus(run)).then_some(Obstacle::OutOfFocus)
}

fn closed_to(state: &State, closed: Resource, asked: &Request) -> Obstacle {
    match closed {
        Resource::Queue(name) => {
            let pause = state.queues.get(&*name).and_then(|queue| queue.paused.clone());
            Obstacle::QueueHeld(name, pause)
        }
        Resource::Pool(name) => {
            let pool = state.pools.get(&name);
            match pool.and_then(|pool| pool.poisoned.as_ref()) {
                Some(poison) => Obstacle::PoolClosed(name, poison.message.clone()),
                None => {
                    let asked = asked.demand.resources.get(&name).copied().unwrap_or_default();
                    Obstacle::PoolTooSmall { asked, size: pool.map_or(0, |pool| pool.size), name }
                }
            }
        }
        // Nothing else is ever closed.
        Resource::Slot(_) | Resource::NoSlot(..) | Resource::Parallel(_) => Obstacle::Nothing,
    }
}

fn no_worker(state: &State, asked: &Request) -> String {
    let (queue, kind) = (&asked.demand.queue, &asked.demand.kind);
    let word = kind.word();
    match kind {
        WorkKind::Handler(_) => format!("waits for a worker with handler `{word}` for queue `{queue}`: none is here"),
        _ if state.volatile.workers.is_empty() => "waits for a worker: none is here".to_owned(),
        _ => format!("waits for a worker: none that is here takes `{word}` of queue `{queue}`"),
    }
}

fn slots(state: &State, asked: &Request) -> String {
    let slots = state.volatile.slots_for(asked);
    let crews = state.crews(asked);
    let members = crews.iter().flat_map(|crew| state.volatile.workers.of_crew(crew));
    let taken: u64 = members.map(|(worker, _)| u64::from(state.volatile.leases_of(worker))).sum();
    // Work fetched ahead has a lease and no slot yet.
    format!("waits for a worker's slot ({} of {slots} taken)", taken.min(slots))
}
