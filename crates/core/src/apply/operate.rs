//! What operators and the engine tell the brain: settings, workers, pauses, poison.

use super::attempt::{MESSAGE_MAX, cut};
use crate::{
    RunId, Seq, TaskId, Timestamp,
    alert::Incident,
    deadline::Deadline,
    deadlock::Deadlock,
    due::effects_due_to,
    effect::{Answer, Refusal},
    event::{Caller, PauseTarget},
    ready::Resource,
    row::{Detail, HistoryKind, Key, Pause, Quarantined, RegisteredWorkflow, Row},
    run::{Lease, OnExpiry, Run, Task, Wait, WaitOn, WorkerId},
    settings::{Pool, PoolSettings, Queue, QueueSettings, Settings},
    step::Step,
    validate::{NAME_EXPECTED, is_name, nearest},
    worker::Serves,
};
use std::collections::BTreeSet;

/// Replaced workers that are remembered: their offers are on their way for seconds at the most.
const REPLACED_MAX: usize = 100;

impl Step<'_> {
    /// Takes over the configuration; only what differs is written.
    pub(crate) fn apply_settings(&mut self, settings: &Settings) {
        self.state.volatile.bounds = settings.bounds;
        self.state.volatile.monitor = settings.monitor;
        // More may be fetched ahead now.
        self.state.volatile.slots_freed();
        for (name, wanted) in &settings.queues {
            let queue = self.state.queues.get(name).cloned().unwrap_or_default();
            self.state.volatile.ready.set_patience(name, wanted.low_counts_as_high_after);
            if queue.settings != *wanted || !self.state.queues.contains_key(name) {
                self.state.queues.insert(name.clone(), Queue { settings: *wanted, ..queue });
                self.touch(Key::Queue(name.clone()));
            }
        }
        for (name, wanted) in &settings.pools {
            self.apply_pool(name, *wanted);
        }
        self.apply_alerts(&settings.alerts);
        self.state.volatile.ready.review();
    }

    fn apply_pool(&mut self, name: &str, wanted: PoolSettings) {
        let before = self.state.pools.get(name).cloned();
        let poisoned = before.as_ref().and_then(|pool| pool.poisoned.clone());
        let shrunk = match before.as_ref().is_some_and(|pool| pool.size > wanted.size) {
            true => Some(self.next_seq()),
            false => before.as_ref().and_then(|pool| pool.shrunk),
        };
        let PoolSettings { size, lend, on_deadlock } = wanted;
        let pool = Pool { size, lend, on_deadlock, implicit: false, poisoned, shrunk };
        if before.as_ref().is_some_and(|before| before.lend != pool.lend) {
            self.state.volatile.graph.lending_changed();
        }
        if before.as_ref() != Some(&pool) {
            self.state.pools.insert(name.to_owned(), pool);
            self.touch(Key::Pool(name.to_owned()));
            self.pool_changed(name);
        }
    }

    /// A pool has another size, or is open again: some may go on, and some never may.
    fn pool_changed(&mut self, name: &str) {
        let size = self.state.pools.get(name).map_or(0, |pool| pool.size);
        self.state.volatile.pool_changed(name);
        self.state.volatile.graph.resize(name, size);
    }

    /// Makes a pool, gives it another size, or takes it away while nobody holds or wants any of it.
    pub(crate) fn set_pool(&mut self, name: &str, wanted: Option<PoolSettings>, caller: Caller) {
        let answer = match wanted {
            Some(wanted) => self.make_pool(name, wanted),
            None => self.remove_pool(name),
        };
        self.reply(caller, answer);
    }

    fn make_pool(&mut self, name: &str, wanted: PoolSettings) -> Result<Answer, Refusal> {
        if !is_name(name) {
            let text = format!("`{}` is no name for a pool; expected {NAME_EXPECTED}", cut(name, 100));
            return Err(Refusal::BadPool(text));
        }
        if wanted.size == 0 {
            return Err(Refusal::BadPool(format!(
                "pool `{name}` needs at least 1 unit; hold its queue to stop its tasks"
            )));
        }
        let kept = self.state.pools.get(name).and_then(|pool| pool.on_deadlock);
        self.apply_pool(name, PoolSettings { on_deadlock: wanted.on_deadlock.or(kept), ..wanted });
        self.state.volatile.ready.review();
        Ok(Answer::Done)
    }

    fn remove_pool(&mut self, name: &str) -> Result<Answer, Refusal> {
        if !self.state.pools.contains_key(name) {
            let nearest = nearest(name, self.state.pools.keys().map(String::as_str)).map(str::to_owned);
            return Err(Refusal::Unknown { kind: "pool", name: name.to_owned(), nearest });
        }
        let held = self.state.volatile.held.get(name).copied().unwrap_or_default();
        let waiting = self.state.volatile.waiters.line(name).len();
        let is_poisoned = self.state.pools.get(name).is_some_and(|pool| pool.poisoned.is_some());
        let named = |run: &Run| {
            let definition = &self.state.definitions[&run.definition];
            run.indexed_tasks()
                .any(|(index, task)| task.end().is_none() && definition.task(index).resources.contains_key(name))
        };
        let needing = self.state.runs.values().filter(|run| named(run)).count();
        if held > 0 || waiting > 0 || needing > 0 || is_poisoned {
            let text = format!(
                "pool `{name}` cannot be removed: {held} units are held, {waiting} attempts wait for it and {needing} unfinished runs have tasks that need it"
            );
            return Err(Refusal::BadPool(text));
        }
        self.forget_pool(name);
        Ok(Answer::Done)
    }

    /// Nobody holds or wants any of it.
    pub(super) fn forget_pool(&mut self, name: &str) {
        self.state.pools.remove(name);
        self.state.volatile.graph.forget_pool(name);
        self.touch(Key::Pool(name.to_owned()));
    }

    /// Keeps a verdict as somebody has marked it.
    pub(crate) fn mark_deadlock(&mut self, deadlock: &Deadlock, caller: Caller) {
        self.decision.written.push((Key::Deadlock(deadlock.seq), Some(Row::Deadlock(Box::new(deadlock.clone())))));
        self.reply(caller, Ok(Answer::Done));
    }

    /// Lets nothing expire that nobody could have kept alive: each bound goes on with what it had left, for
    /// a lease's term at the most. What only waited for a moment (a start time, a pause, a sleep) has its moment.
    ///
    /// Not cut into steps: all of it must happen before the first of these deadlines is met. It touches what passed
    /// within the gap, in memory alone.
    pub(crate) fn time_skipped(&mut self, since: Timestamp) {
        let (now, most) = (self.now, QueueSettings::default().visibility_timeout);
        let mut volatile = std::mem::take(&mut self.state.volatile);
        volatile.spare(since, now, most, |deadline| self.expires(deadline));
        self.state.volatile = volatile;
        // A run whose time-out is put off starts nothing more, and shall not stand in the way of others.
        self.state.volatile.ready.review();
    }

    /// Whether something is given up when a deadline passes.
    fn expires(&self, deadline: Deadline) -> bool {
        match deadline {
            Deadline::RunStart(_)
            | Deadline::CountsAsHigh(_)
            | Deadline::AttemptTimer(_)
            | Deadline::AlertDelivery(_) => false,
            Deadline::TaskWait(task) => {
                // Nobody could say either that an attempt is gone.
                let gives_up = |wait: &Wait| wait.on_expiry == OnExpiry::FailTask || wait.on == WaitOn::Confirmation;
                self.task(task).and_then(Task::wait).is_some_and(gives_up)
            }
            Deadline::RunTimeout(_)
            | Deadline::AttemptTimeout(_)
            | Deadline::LeaseExpiry(_)
            | Deadline::Heartbeat(_)
            | Deadline::AttemptWait(_)
            | Deadline::StopExpiry(_) => true,
        }
    }

    /// Serves only these runs from now on.
    pub(crate) fn focus(&mut self, focus: Option<BTreeSet<RunId>>) {
        self.state.volatile.focus = focus;
        self.state.volatile.ready.review();
        self.state.volatile.ready.recall_all();
    }

    /// A worker offers its slots. Another boot under its name is replaced; an offer that was still on its way when its
    /// worker was replaced is none. One that comes again is told what it may not have heard.
    pub(crate) fn join(&mut self, worker: &WorkerId, slots: u32, serves: &Serves) {
        if self.state.volatile.replaced.contains(worker) {
            return;
        }
        let before = self.boots_before(worker);
        for gone in before {
            self.replace(gone);
        }
        if self.state.volatile.workers.insert(worker, slots, serves) {
            self.state.volatile.ready.review();
        }
        self.workers_changed(worker);
        self.state.volatile.slots_freed();
        let effects = effects_due_to(self.state, worker);
        self.decision.effects.extend(effects);
    }

    /// Every other boot under a worker's name that is here or has leases.
    fn boots_before(&self, worker: &WorkerId) -> BTreeSet<WorkerId> {
        let volatile = &self.state.volatile;
        let of_name = WorkerId { boot: 0, ..worker.clone() }..=WorkerId { boot: u64::MAX, ..worker.clone() };
        let known = volatile.workers.of_name(worker).chain(volatile.leases.range(of_name).map(|(known, _)| known));
        known.filter(|known| *known != worker).cloned().collect()
    }

    /// A worker is gone, since its name is used by a new boot: its leases run out as soon as its guard has ended what it
    /// had. The server's own worker has no leases that run out; its attempts are reconciled.
    fn replace(&mut self, worker: WorkerId) {
        self.leave(&worker);
        let volatile = &mut self.state.volatile;
        let most = self.now.plus(Lease::ORPHAN_MAX);
        for id in volatile.leases.get(&worker).into_iter().flatten().copied().collect::<Vec<_>>() {
            let Some(task) =
                self.state.runs.get(&id.run).filter(|run| run.poisoned.is_none()).map(|run| run.task(id.index))
            else {
                continue;
            };
            let attempt = id.attempt(task.attempts);
            if let Some(stored) = task.lease().and_then(|lease| lease.expires_at) {
                let now = volatile.moment_of(Deadline::LeaseExpiry(attempt), stored);
                volatile.renew(attempt, stored, now.min(most));
            }
        }
        volatile.replaced.push_back(worker);
        if volatile.replaced.len() > REPLACED_MAX {
            volatile.replaced.pop_front();
        }
    }

    /// A worker takes no more work.
    pub(crate) fn leave(&mut self, worker: &WorkerId) {
        if self.state.volatile.workers.remove(worker) {
            // Who stands at a crew that is no more would not hear of those that are.
            self.state.volatile.ready.review();
        }
        self.workers_changed(worker);
    }

    fn workers_changed(&mut self, worker: &WorkerId) {
        let volatile = &mut self.state.volatile;
        let runs = volatile.leases.get(worker).into_iter().flatten().map(|task| task.run);
        volatile.graph.workers_changed(&volatile.workers, runs);
    }

    /// Why a queue cannot be held or let go: there is none of that name. To hold one that does not exist would only make
    /// a mistyped name look done. (A workflow may be held before its first run.)
    fn no_such_queue(&self, target: &PauseTarget) -> Option<Refusal> {
        let PauseTarget::Queue(name) = target else { return None };
        let known = self.state.queue_names();
        (!known.contains(&**name)).then(|| Refusal::unknown_queue(name, known))
    }

    /// Holds a queue, a workflow or a run. What runs goes on; nothing new starts.
    pub(crate) fn pause(&mut self, target: &PauseTarget, by: &str, caller: Caller) {
        let pause = Pause { by: by.to_owned(), since: self.now };
        if let Some(refusal) = self.no_such_queue(target) {
            return self.reply(caller, Err(refusal));
        }
        let answer = match target {
            PauseTarget::Queue(name) => {
                let mut queue = self.state.queues.get(name).cloned().unwrap_or_default();
                let pause = queue.paused.get_or_insert(pause).clone();
                self.state.queues.insert(name.clone(), queue);
                self.touch(Key::Queue(name.clone()));
                self.state.volatile.ready.review();
                Ok(Answer::Paused(pause))
            }
            PauseTarget::Workflow(name) => {
                let pause = self.state.paused_workflows.entry(name.clone()).or_insert(pause).clone();
                self.touch(Key::PausedWorkflow(name.clone()));
                self.state.volatile.ready.review();
                Ok(Answer::Paused(pause))
            }
            PauseTarget::Run(run) => match self.run(*run) {
                None => Err(Refusal::UnknownRun(*run)),
                // Asking twice is the same as asking once.
                Some(Run { paused: Some(pause), .. }) => Ok(Answer::Paused(pause.clone())),
                Some(_) => {
                    let held = pause.clone();
                    self.update_run(*run, |run| run.paused = Some(held));
                    self.state.volatile.ready.review();
                    self.record(*run, HistoryKind::RunPaused, Detail::of("by", by));
                    Ok(Answer::Paused(pause))
                }
            },
        };
        self.reply(caller, answer);
    }

    /// Lets a queue, a workflow or a run go on. Letting go what is not held is no error; a queue that
    /// there is not is refused, as by [`Step::pause`].
    pub(crate) fn unpause(&mut self, target: &PauseTarget, by: &str, caller: Caller) {
        if let Some(refusal) = self.no_such_queue(target) {
            return self.reply(caller, Err(refusal));
        }
        let answer = match target {
            PauseTarget::Queue(name) => {
                if let Some(queue) = self.state.queues.get_mut(name) {
                    queue.paused = None;
                    self.touch(Key::Queue(name.clone()));
                    self.state.volatile.ready.freed(Resource::Queue(name.as_str().into()));
                }
                Ok(Answer::Done)
            }
            PauseTarget::Workflow(name) => {
                if self.state.paused_workflows.remove(name).is_some() {
                    self.touch(Key::PausedWorkflow(name.clone()));
                }
                self.state.volatile.ready.recall_all();
                Ok(Answer::Done)
            }
            PauseTarget::Run(run) => match self.run(*run) {
                None => Err(Refusal::UnknownRun(*run)),
                Some(_) => {
                    self.update_run(*run, |run| run.paused = None);
                    self.record(*run, HistoryKind::RunResumed, Detail::of("by", by));
                    self.state.volatile.ready.recall(*run);
                    Ok(Answer::Done)
                }
            },
        };
        self.reply(caller, answer);
    }

    /// Keeps a workflow under its name, as its newest version.
    pub(crate) fn register_workflow(&mut self, workflow: &RegisteredWorkflow, caller: Caller) {
        let key = Key::Workflow(workflow.name.clone(), self.next_seq());
        let workflow = RegisteredWorkflow { at: self.now, ..workflow.clone() };
        self.decision.written.push((key, Some(Row::Workflow(Box::new(workflow)))));
        self.reply(caller, Ok(Answer::Done));
    }

    /// Nobody wants these versions any more.
    pub(crate) fn forget_workflow(&mut self, name: &str, versions: &[Seq], caller: Caller) {
        let gone = versions.iter().map(|seq| (Key::Workflow(name.to_owned(), *seq), None));
        self.decision.written.extend(gone);
        self.reply(caller, Ok(Answer::Done));
    }

    /// Nobody wants a dead letter any more. The state keeps none of them; dropping one that is not there, or not any
    /// more, is no error.
    pub(crate) fn drop_dead_letter(&mut self, task: TaskId, caller: Caller) {
        self.decision.written.push((Key::DeadLetter(task), None));
        self.reply(caller, Ok(Answer::Done));
    }

    /// Freezes a run for good: nothing of it moves by itself any more, and what it holds stays held. A
    /// forced cancel closes it as it stands.
    ///
    /// Not cut into steps: it looks at the tasks of one run, some 10 ms for 100,000 of them, and only after a bug.
    pub(crate) fn poison(&mut self, id: RunId, error: &str) {
        if self.run(id).is_none() {
            return;
        }
        let error = cut(error, MESSAGE_MAX);
        self.record(id, HistoryKind::RunPoisoned, Detail::of("error", error));
        // None of its deadlines is waited for any more, and none of its waits.
        let definition = self.definition(id);
        self.state.volatile.forget_waits(&self.state.runs[&id], &definition);
        self.update_run(id, |run| run.poisoned = Some(error.to_owned()));
        self.reindex_all(id);
        self.state.volatile.ready.review();
        self.drop_continuations(id);
    }

    /// Keeps an event that failed alone.
    pub(crate) fn quarantine(&mut self, quarantined: &Quarantined) {
        let seq = self.next_seq();
        self.decision.written.push((Key::Quarantine(seq), Some(Row::Quarantine(quarantined.clone()))));
        self.raise(Incident::quarantined(quarantined.run, &quarantined.error));
    }
}
