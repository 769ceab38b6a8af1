//! Giving ready tasks to workers: slot, pools and locks in one atomic grant, in the stored order.

use super::render::Rendered;
use crate::{
    Fence, State, TaskId, Timestamp,
    deadline::attempt_deadline,
    effect::{Assignment, Effect, Work},
    ready::{Next, Ready, Request, Resource, Supply},
    row::{Detail, HistoryKind},
    run::{Lease, Phase, Place, Task, WorkerId},
    step::Step,
    worker::{Serves, WorkKind},
};
use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

/// What the brain itself takes: tasks that are runs of other workflows.
static BRAIN: LazyLock<Arc<Serves>> =
    LazyLock::new(|| Arc::new(Serves { queues: None, kinds: Some(BTreeSet::from([WorkKind::Workflow])) }));

/// Grants of one step; the rest follow in the next.
const GRANTS_PER_STEP: usize = 256;
/// What a look at the head of a ready line costs, in looks at a task.
const LOOKS_PER_HEAD: usize = 20;

impl Supply for State {
    fn closed(&self, request: &Request) -> Option<Resource> {
        if self.queues.get(&*request.demand.queue).is_some_and(|queue| queue.paused.is_some()) {
            return Some(Resource::Queue(Arc::clone(&request.demand.queue)));
        }
        let opens = |name: &String, units: u32| {
            self.pools.get(name).is_some_and(|pool| pool.poisoned.is_none() && pool.size >= units)
        };
        let closed = request.demand.resources.iter().find(|(name, units)| !opens(name, **units));
        closed.map(|(name, _)| Resource::Pool(name.clone()))
    }

    fn crews(&self, request: &Request) -> Vec<Arc<Serves>> {
        if request.demand.kind == WorkKind::Workflow {
            return vec![Arc::clone(&BRAIN)];
        }
        self.volatile.workers.serving(&request.demand.queue, &request.demand.kind).cloned().collect()
    }

    fn free(&self, resource: &Resource, request: &Request) -> u32 {
        match resource {
            Resource::Slot(_) if request.demand.kind == WorkKind::Workflow => 1,
            Resource::Slot(crew) => u32::from(self.slot_for(request, std::slice::from_ref(crew)).is_some()),
            Resource::NoSlot(..) => 0,
            Resource::Pool(name) => {
                let free = self.free_units(name);
                match request.owed {
                    Some(run) => free.max(self.lent_units(run, name)),
                    // Attempts that wait come before new grants.
                    None if self.is_claimed(name, None) => 0,
                    None => free,
                }
            }
            Resource::Parallel(run) => {
                let most = self.definition(*run).body.max_parallel.unwrap_or(u32::MAX);
                most.saturating_sub(self.volatile.tally(*run).leased)
            }
            Resource::Queue(_) => u32::MAX,
        }
    }

    fn left(&self, resource: &Resource) -> u32 {
        match resource {
            Resource::Slot(crew) => u32::from(self.volatile.worker_for(true, std::slice::from_ref(crew)).is_some()),
            Resource::Pool(name) => self.free_units(name),
            Resource::NoSlot(..) | Resource::Parallel(_) | Resource::Queue(_) => u32::MAX,
        }
    }

    fn is_held(&self, task: TaskId) -> bool {
        let Some(run) = self.runs.get(&task.run) else { return true };
        // A brain that was late may look at a run before it meets that run's own end.
        let out_of_time = run.deadline <= self.meta.high_water;
        let out_of_focus = !self.volatile.is_in_focus(run);
        let is_over = run.ending.is_some() || run.poisoned.is_some();
        is_over
            || out_of_time
            || run.paused.is_some()
            || out_of_focus
            || self.paused_workflows.contains_key(&*run.workflow)
    }
}

impl Step<'_> {
    /// Meets the step's work and gives out what is ready, until neither leads to more or the step is full.
    pub(crate) fn settle_all(&mut self) {
        // Apart, each grant is a step of its own, so that it is known which one fails.
        let mut left = if self.state.volatile.grants_apart { 1 } else { GRANTS_PER_STEP };
        loop {
            self.drain();
            self.give_out(&mut left);
            // What is done about a deadlock is more work, and frees others.
            if !self.judge() {
                break;
            }
        }
        self.state.volatile.grants_due = left == 0 || self.is_full() || self.state.volatile.waiters.is_due();
        self.forget_locks();
        self.close_step();
    }

    /// Ends waits and grants what is ready, `left` of these at most.
    fn give_out(&mut self, left: &mut usize) {
        while *left > 0 && !self.is_full() {
            // Whoever was granted before is not to blame for the choice of the next.
            self.state.volatile.at_work = None;
            // Attempts that hold something come before those that are to have something.
            if let Some(id) = self.next_waiter() {
                self.state.volatile.at_work = Some(id.run);
                *left -= usize::from(self.look_at_wait(id));
                self.drain();
                continue;
            }
            let Some((request, id, crews)) = self.next_ready() else { break };
            *left -= 1;
            self.state.volatile.at_work = Some(id.run);
            match self.render(id) {
                Ok(work) => self.grant(id, &request, &crews, work),
                Err(error) => self.fail(id, error, Detail::NONE),
            }
            self.drain();
        }
    }

    /// Meets the step's work and leaves what is ready to a step of its own.
    pub(crate) fn settle_apart(&mut self) {
        self.drain();
        while self.judge() {
            self.drain();
        }
        self.state.volatile.grants_due = true;
        self.close_step();
    }

    /// Meets the work of a step that puts a failure aside: nothing that could fail as well.
    pub(crate) fn settle_aside(&mut self) {
        self.drain();
        self.state.volatile.grants_due = true;
        self.close_step();
    }

    fn close_step(&mut self) {
        self.save_rest();
        self.state.refresh_graph();
        // Whoever was put in line anew after the last look, and is of age already.
        if self.state.volatile.ready.next_ageing().is_some_and(|(at, _)| at <= self.now) {
            self.come_of_age();
        }
        self.state.volatile.watch_ageing();
    }

    /// The next task to grant. Tasks that are held are set aside on the way.
    fn next_ready(&mut self) -> Option<(Request, TaskId, Vec<Arc<Serves>>)> {
        while !self.is_full() {
            match self.with_ready(|ready, now, state, looks| ready.next(now, state, looks))? {
                Next::Grant(request, _, id, crews) => return Some((request, id, crews)),
                Next::Held(request, seq, id) => self.state.volatile.ready.set_aside(&request, seq, id),
            }
        }
        None
    }

    /// Queued tasks whose moment has come count as high from now on.
    pub(crate) fn come_of_age(&mut self) {
        self.with_ready(|ready, now, _, looks| ready.come_of_age(now, looks));
    }

    /// Asks the ready lines about the state that they are part of, for as many looks as the step has left.
    fn with_ready<T>(&mut self, ask: impl FnOnce(&mut Ready, Timestamp, &State, &mut usize) -> T) -> T {
        let mut ready = std::mem::take(&mut self.state.volatile.ready);
        let most = (self.looks_left() / LOOKS_PER_HEAD).max(1);
        let mut left = most;
        let answer = ask(&mut ready, self.now, self.state, &mut left);
        self.state.volatile.ready = ready;
        // With none left for the lines, the step is full, whatever the division left over.
        let looks = if left == 0 { self.looks_left() } else { (most - left) * LOOKS_PER_HEAD };
        self.look_often(looks);
        answer
    }

    fn grant(&mut self, id: TaskId, request: &Request, crews: &[Arc<Serves>], work: Rendered) {
        let Some((worker, slot_of)) = self.state.slot_for(request, crews) else { return };
        debug_assert!(
            request.needs().all(|(resource, units)| self.state.free(&resource, request) >= units),
            "{id} is granted what is not there"
        );
        let fence = self.state.meta.next_fence;
        self.state.meta.next_fence = Fence(fence.0 + 1);
        let definition = self.definition(id.run);
        let def = definition.task(id.index);
        let Some(place) = self.task(id).and_then(Task::wait).map(|wait| Place { seq: wait.seq, since: wait.since })
        else {
            return;
        };
        let lease = Lease {
            worker: worker.clone(),
            fence,
            seq: self.next_seq(),
            place,
            holds: request.demand.resources.clone(),
            borrowed: self
                .state
                .sources(id.run, request.demand.resources.iter().map(|(name, units)| (&**name, *units))),
            slot_of,
            prefetched: request.demand.prefetchable && slot_of.is_none(),
            granted_at: self.now,
            started_at: worker.is_brain().then_some(self.now),
            parked: None,
            answered: None,
            deadline: attempt_deadline(self.now, &self.state.runs[&id.run], def),
            expires_at: self.lease_expiry(&worker, def.queue_name()),
            stopping: None,
        };
        self.update_task(id, |task| {
            task.attempts += 1;
            task.suspect = None;
            task.phase = Phase::Leased(Box::new(lease));
        });
        self.record_task(id, HistoryKind::TaskGranted, Detail::of("worker", &worker.name));
        let work = match work {
            Rendered::Runs(inputs) => return self.begin_children(id, inputs),
            Rendered::Hand(work) => work,
        };
        if let Some(assignment) = assignment(self.state, id, work) {
            self.decision.effects.push(Effect::Start(Box::new(assignment)));
        }
    }

    /// When the lease of a remote worker runs out; the server's own worker is reconciled instead.
    fn lease_expiry(&self, worker: &WorkerId, queue: &str) -> Option<Timestamp> {
        (!worker.is_local() && !worker.is_brain())
            .then(|| self.now.plus(self.state.queue_settings(queue).visibility_timeout))
    }
}

/// What a hand needs to perform the attempt that a task is leased for.
pub(crate) fn assignment(state: &State, id: TaskId, work: Work) -> Option<Assignment> {
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
        task_name: Arc::clone(&def.name),
        source: run.source.clone(),
        work,
        time: lease.deadline.since(start),
        heartbeat: def.heartbeat_timeout,
        ladder: def.cancel,
        lease: lease.expires_at.map(|_| state.queue_settings(def.queue_name()).visibility_timeout),
        in_lent_slot: lease.slot_of.is_some(),
    })
}
