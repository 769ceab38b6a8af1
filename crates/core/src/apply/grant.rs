//! Giving ready tasks to workers: slot, pools and locks in one atomic grant, in the stored order.

use crate::{
    Fence, Millis, State, TaskId,
    deadline::attempt_deadline,
    effect::{Assignment, Effect, Work as Performed},
    ready::{Ageing, Request, Resource},
    row::HistoryKind,
    run::{Lease, Phase, WorkerId},
    settings::Queue,
    step::Step,
    volatile::queue_name,
};
use serde_json::json;
use std::collections::BTreeMap;

/// Grants of one step; the rest follow in the next.
const GRANTS_PER_STEP: usize = 256;

impl Ageing for BTreeMap<String, Queue> {
    fn counts_as_high_after(&self, queue: &str) -> Millis {
        self.get(queue).map(|queue| queue.settings).unwrap_or_default().low_counts_as_high_after
    }
}

impl Step<'_> {
    /// Meets the step's work and gives out what is ready, until neither leads to more or the step is full.
    pub(crate) fn settle_all(&mut self) {
        self.drain();
        self.state.volatile.grants_due = false;
        let mut left = GRANTS_PER_STEP;
        while left > 0 && !self.is_full() {
            let Some((request, id)) = self.next_ready() else { break };
            left -= 1;
            self.state.volatile.at_work = Some(id.run);
            match self.render(id) {
                Ok(work) => self.grant(id, &request, work),
                Err(error) => self.fail(id, error),
            }
            self.drain();
        }
        self.state.volatile.grants_due = left == 0 || self.is_full();
        self.save_rest();
    }

    /// The next task to grant. Tasks of runs that are held are set aside on the way.
    fn next_ready(&mut self) -> Option<(Request, TaskId)> {
        let mut ready = std::mem::take(&mut self.state.volatile.ready);
        let mut found = None;
        loop {
            let next = ready.next(self.now, &self.state.queues, |request| short_of(self.state, request));
            let Some((request, seq, id)) = next else { break };
            if self.is_held(id) {
                ready.set_aside(&request, seq, id);
            } else {
                found = Some((request, id));
                break;
            }
        }
        self.state.volatile.ready = ready;
        found
    }

    fn is_held(&self, id: TaskId) -> bool {
        let Some(run) = self.run(id.run) else { return true };
        let out_of_focus = self.state.volatile.focus.as_ref().is_some_and(|focus| !focus.contains(&id.run));
        run.paused || run.poisoned.is_some() || out_of_focus || self.state.paused_workflows.contains_key(&run.workflow)
    }

    fn grant(&mut self, id: TaskId, request: &Request, work: Performed) {
        let Some(worker) = self.state.volatile.worker_for(request.prefetchable).cloned() else { return };
        let fence = self.state.meta.next_fence;
        self.state.meta.next_fence = Fence(fence.0 + 1);
        let definition = self.definition(id.run);
        let def = definition.task(id.index);
        let lease = Lease {
            worker: worker.clone(),
            fence,
            seq: self.next_seq(),
            holds: request.resources.clone(),
            prefetched: request.prefetchable,
            granted_at: self.now,
            started_at: None,
            deadline: attempt_deadline(self.now, &self.state.runs[&id.run], def),
            expires_at: self.lease_expiry(&worker, queue_name(def)),
            stopping: None,
        };
        self.update_task(id, |task| {
            task.attempts += 1;
            task.phase = Phase::Leased(Box::new(lease));
        });
        self.record_task(id, HistoryKind::TaskGranted, &[("worker", json!(worker.name))]);
        if let Some(assignment) = assignment(self.state, id, work) {
            self.decision.effects.push(Effect::Start(Box::new(assignment)));
        }
    }

    /// When the lease of a remote worker runs out; the server's own worker is reconciled instead.
    fn lease_expiry(&self, worker: &WorkerId, queue: &str) -> Option<crate::Timestamp> {
        (!worker.is_local()).then(|| self.now.plus(self.state.queue_settings(queue).visibility_timeout))
    }
}

/// What a hand needs to perform the attempt that a task is leased for.
pub(crate) fn assignment(state: &State, id: TaskId, work: Performed) -> Option<Assignment> {
    let run = state.runs.get(&id.run)?;
    let task = run.task(id.index);
    let lease = task.lease()?;
    let definition = &state.definitions[&run.definition];
    let def = definition.task(id.index);
    let start = lease.started_at.unwrap_or(lease.granted_at);
    Some(Assignment {
        worker: lease.worker.clone(),
        attempt: id.attempt(task.attempts),
        fence: lease.fence,
        task_name: def.name.clone(),
        source: run.source.clone(),
        work,
        time: lease.deadline.since(start),
        heartbeat: def.heartbeat_timeout,
        ladder: def.cancel,
    })
}

/// What a request is too short of now, if anything; a slot last, since whoever stands at slots holds up
/// everybody behind it.
fn short_of(state: &State, request: &Request) -> Option<Resource> {
    let volatile = &state.volatile;
    if state.queues.get(&request.queue).is_some_and(|queue| queue.paused.is_some()) {
        return Some(Resource::Queue(request.queue.clone()));
    }
    for (name, &units) in &request.resources {
        let held = volatile.held.get(name).copied().unwrap_or_default();
        let open = state.pools.get(name).filter(|pool| pool.poisoned.is_none()).map_or(0, |pool| pool.size);
        if open.saturating_sub(held) < units {
            return Some(Resource::Pool(name.clone()));
        }
    }
    if let Some(run) = request.parallel {
        let most = state.definition(run).body.max_parallel.unwrap_or(u32::MAX);
        if volatile.tally(run).leased >= most {
            return Some(Resource::Parallel(run));
        }
    }
    volatile.worker_for(request.prefetchable).is_none().then_some(Resource::Slot)
}
