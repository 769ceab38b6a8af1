//! Accepting a run.

use crate::{
    RunId, TaskIndex,
    continuation::Work,
    effect::{Answer, Refusal},
    event::{Submission, TakeOver},
    row::{Detail, HistoryKind, Key, Row},
    run::{End, Idempotency, Parent, Phase, Run, TaskEnd},
    state::task_key,
    step::Step,
    volatile::{Shared, queue_of},
};
use std::{collections::BTreeMap, sync::Arc};

impl Step<'_> {
    /// Accepts a submission, finds the run it repeats, or refuses it. Nothing changes on refusal.
    pub(crate) fn submit(&mut self, submission: &Submission) {
        let answer = match self.owner_of_key(submission) {
            Some((run, body_hash)) => same_body(submission.idempotency.as_ref(), run, &body_hash),
            None if submission.idempotency.is_some() && submission.facts.as_of < self.state.volatile.recent_floor => {
                Err(Refusal::FactsTooOld)
            }
            None => self.admit(submission).map(|()| {
                self.create(submission, None);
                Answer::Submitted { run: submission.run, existing: false }
            }),
        };
        self.reply(submission.caller, answer);
    }

    /// The run that owns the submission's idempotency key: unfinished, ended since the facts were
    /// read, or ended before.
    fn owner_of_key(&self, submission: &Submission) -> Option<(RunId, String)> {
        let key = &submission.idempotency.as_ref()?.key;
        if let Some(run) = self.state.volatile.idempotency.get(key) {
            let own = self.run(*run)?.idempotency.as_ref()?;
            return Some((*run, own.body_hash.clone()));
        }
        let lately = self.state.volatile.ended_since(submission.facts.as_of).find_map(|end| {
            let own = end.idempotency.as_ref().filter(|own| own.key == *key)?;
            Some((end.run, own.body_hash.clone()))
        });
        lately.or_else(|| submission.facts.key_owner.clone())
    }

    /// Whether the namespace has room for the submission and can ever grant what its tasks ask for.
    pub(crate) fn admit(&self, submission: &Submission) -> Result<(), Refusal> {
        let tasks = &submission.definition.body.tasks;
        let volatile = &self.state.volatile;
        let (bytes, most) = (submission.input.0.len(), volatile.bounds.input_bytes_max);
        if bytes > most {
            return Err(Refusal::InputTooLarge { bytes, max: most });
        }
        let (live, max) = (volatile.open_total, volatile.bounds.live_tasks_max);
        let asked = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
        if live.saturating_add(asked) > max {
            return Err(Refusal::TooManyTasks { live, asked, max });
        }
        let mut by_queue: BTreeMap<&str, u32> = BTreeMap::new();
        for task in tasks {
            if let Some(queue) = queue_of(task) {
                *by_queue.entry(queue).or_default() += 1;
            }
            for (pool, &units) in &task.resources {
                let size = self.state.pools.get(pool).map_or(1, |pool| pool.size);
                if units > size {
                    return Err(Refusal::PoolTooSmall {
                        task: task.name.to_string(),
                        pool: pool.clone(),
                        asked: units,
                        size,
                    });
                }
            }
        }
        for (queue, asked) in by_queue {
            let open = volatile.by_queue.get(queue).copied().unwrap_or_default();
            let max = self.state.queue_settings(queue).max_queue_size;
            if open.saturating_add(asked) > max {
                return Err(Refusal::QueueFull { queue: queue.to_owned(), open, asked, max });
            }
        }
        Ok(())
    }

    /// Not cut into steps: a run is there with all its tasks or not at all, and there are at most
    /// [`TASKS_MAX`](crate::validate::TASKS_MAX). 100,000 take some 10 ms in memory, and one row.
    pub(crate) fn create(&mut self, submission: &Submission, parent: Option<Parent>) {
        self.pin_definition(submission);
        self.make_locks(submission.definition.pools());
        let definition = Arc::clone(&self.state.definitions[&submission.definition.body.hash]);
        let start_at = submission.start_at.filter(|start_at| *start_at > self.now);
        let mut run = Run {
            id: submission.run,
            definition: definition.body.hash.clone(),
            workflow: definition.body.name.clone(),
            input: submission.input.clone(),
            labels: submission.labels.clone(),
            client_id: submission.client_id.clone(),
            idempotency: submission.idempotency.clone(),
            source: submission.source.clone(),
            parent: parent.map(Box::new),
            calls: submission.calls.iter().map(|(name, called)| (Arc::clone(name), called.body.hash.clone())).collect(),
            retry_of: submission.takes_over.as_ref().map(|before| before.run),
            seq: self.next_seq(),
            first_commit: self.state.volatile.commit,
            submitted_at: self.now,
            start_at,
            started: false,
            deadline: start_at.unwrap_or(self.now).plus(definition.body.timeout),
            paused: None,
            poisoned: None,
            ending: None,
            signals: BTreeMap::new(),
            output_bytes: 0,
            updated_at: self.now,
            counts: None,
            tasks: Vec::new(),
        };
        if let Some(parent) = &run.parent {
            run.deadline = self.child_deadline(parent, run.deadline);
        }
        run.tasks = vec![run.untouched_task(); definition.body.tasks.len()];
        if let Some(before) = &submission.takes_over {
            self.take_over(&mut run, before);
        }
        self.state.volatile.index_run(&run, &definition);
        let shared = Shared { pools: &self.state.pools, children: &self.state.children };
        for (index, _) in run.indexed_tasks() {
            self.state.volatile.index_task(&run, &definition, index, shared);
        }
        self.state.runs.insert(submission.run, Box::new(run));
        self.touch(Key::Run(submission.run));
        let told = Detail::of("workflow", &definition.body.name);
        let told = match &submission.takes_over {
            Some(before) => {
                told.with("retry_of", before.run.to_string()).with("taken_over", before.completed.len() as u64)
            }
            None => told,
        };
        let told = match self.run(submission.run).and_then(|run| run.parent.as_ref()) {
            Some(parent) => told.with("parent", parent.task.to_string()).with("key", &*parent.key),
            None => told,
        };
        self.record(submission.run, HistoryKind::RunSubmitted, told);
        self.tell_parent(submission.run);
        if start_at.is_none() {
            self.start_run(submission.run);
        }
    }

    /// Has tasks stand as completed from the start, with what they produced before. Their dependents are told
    /// when the run's tasks are let go.
    ///
    /// One row a task in one step, as many as the run has: the event brings them, and only it knows them.
    fn take_over(&mut self, run: &mut Run, before: &TakeOver) {
        for (index, output) in &before.completed {
            let Some(task) = run.tasks.get_mut(index.0 as usize) else { continue };
            let reason = Some(format!("taken over from {}", before.run).into());
            task.phase = Phase::Ended(End { status: TaskEnd::Completed, at: self.now, reason });
            task.output = Some(output.clone());
            task.taken_over = true;
            task.wait_version += 1;
            task.updated_at = self.now;
            run.output_bytes += output.0.len() as u64;
            self.touch(task_key(run, *index));
        }
        let answered = before.letters.iter().map(|letter| (Key::DeadLetter(*letter), None));
        self.decision.written.extend(answered);
    }

    /// Lets a run's tasks go.
    pub(crate) fn start_run(&mut self, run: RunId) {
        self.update_run(run, |run| run.started = true);
        self.record(run, HistoryKind::RunStarted, Detail::NONE);
        self.push_work(run, Work::Launch { from: TaskIndex(0) });
    }

    /// The task that spawned a run has that in its history.
    fn tell_parent(&mut self, id: RunId) {
        let Some(parent) = self.run(id).and_then(|run| run.parent.clone()) else { return };
        let workflow = self.state.runs[&id].workflow.clone();
        let told = Detail::of("key", &*parent.key).with("run", id.to_string()).with("workflow", &workflow);
        self.record_task(parent.task, HistoryKind::ChildSpawned, told);
    }

    fn pin_definition(&mut self, submission: &Submission) {
        for definition in std::iter::once(&submission.definition).chain(submission.calls.values()) {
            let hash = &definition.body.hash;
            if !self.state.definitions.contains_key(hash) {
                self.state.definitions.insert(hash.clone(), Arc::clone(definition));
                self.state.volatile.index_definition(definition);
                // Written with its content: the state may let go of it before the batch is closed.
                let row = Row::Definition(Arc::clone(definition));
                self.decision.written.push((Key::Definition(hash.clone()), Some(row)));
            }
        }
    }
}

/// The answer to a repeated key: the same run for the same body, a refusal for another.
fn same_body(asked: Option<&Idempotency>, run: RunId, body_hash: &str) -> Result<Answer, Refusal> {
    match asked {
        Some(asked) if asked.body_hash != body_hash => Err(Refusal::KeyReused { key: asked.key.clone(), run }),
        _ => Ok(Answer::Submitted { run, existing: true }),
    }
}
