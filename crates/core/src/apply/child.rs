//! Runs that tasks spawn: by an attempt that asks for it, or as the whole work of a `workflow` task.
//!
//! A task knows its children by key. Their ends are kept with them until the task itself ends, so that a task that is
//! tried again finds what the try before it began.

use super::{attempt::error, loan::is_owed, render::output};
use crate::{
    AttemptId, Millis, RunId, TaskId, Timestamp,
    continuation::Work,
    deadline::reserve,
    effect::{Answer, Refusal},
    event::{Caller, Facts, NextTry, Submission},
    row::{Detail, HistoryKind, Key},
    run::{AtDeadline, Awaited, Child, EndCause, JsonText, NAME_MAX, Parent, Parked, RunStatus, Task},
    step::Step,
    volatile::Shared,
    workflow::{Definition, Ladder, OnChildFailure, TaskKind},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// Runs that one task may spawn.
pub const CHILDREN_MAX: usize = 1_000;
/// How many tasks may stand above a run.
pub const ANCESTORS_MAX: usize = 32;

impl Step<'_> {
    /// An attempt spawns a run. A key that it, or a try before it, has used stands for the run that was made then; one that
    /// did not end well for the try before it is made anew, or trying again would be in vain.
    pub(crate) fn spawn(
        &mut self,
        attempt: AttemptId,
        key: &str,
        submission: &Submission,
        detached: bool,
    ) -> Result<Answer, Refusal> {
        let id = attempt.task;
        if key.is_empty() || key.len() > NAME_MAX {
            return Err(Refusal::BadWait(format!("a child's key has 1 to {NAME_MAX} characters")));
        }
        let known = self.child(id, key);
        if let Some(child) = known.filter(|child| !(child.has_failed() && child.attempt < attempt.number)) {
            return Ok(Answer::Spawned { run: child.run, existing: true });
        }
        if known.is_none() && self.state.children.get(&id).map_or(0, BTreeMap::len) >= CHILDREN_MAX {
            return Err(Refusal::BadWait(format!("a task spawns {CHILDREN_MAX} runs at most")));
        }
        self.admit(submission)?;
        let parent = self.parent_of(id, key, detached)?;
        let number = attempt.number;
        let child = Child { run: submission.run, input: None, detached, attempt: number, ended: None, output: None };
        self.set_child(id, key, Some(child));
        self.create(submission, Some(parent));
        Ok(Answer::Spawned { run: submission.run, existing: false })
    }

    /// What a run that a task spawns knows of it.
    fn parent_of(&self, id: TaskId, key: &str, detached: bool) -> Result<Parent, Refusal> {
        let run = &self.state.runs[&id.run];
        let above: Vec<TaskId> = run.parent.iter().flat_map(|parent| parent.ancestors()).collect();
        if above.len() >= ANCESTORS_MAX {
            return Err(Refusal::BadWait(format!("runs spawn runs {ANCESTORS_MAX} deep at most")));
        }
        let is_owed = run.task(id.index).lease().is_some_and(|lease| is_owed(run, lease));
        Ok(Parent { task: id, key: key.to_owned(), detached, above, is_owed })
    }

    /// What a task knows of a run that it spawned; none: nothing any more.
    fn set_child(&mut self, id: TaskId, key: &str, child: Option<Child>) {
        let children = self.state.children.entry(id).or_default();
        let counts = &mut self.state.volatile.children;
        if let Some(before) = children.remove(key) {
            counts.remove(id, key, &before);
        }
        if let Some(child) = child {
            counts.add(id, key, &child);
            children.insert(key.to_owned(), child);
        }
        if children.is_empty() {
            self.state.children.remove(&id);
        }
        self.touch(Key::Child(id, key.to_owned()));
    }

    fn child(&self, id: TaskId, key: &str) -> Option<&Child> {
        self.state.children.get(&id).and_then(|children| children.get(key))
    }

    /// When a run that a task waits for has to be over: the task keeps back what it needs itself.
    pub(crate) fn child_deadline(&self, parent: &Parent, own: Timestamp) -> Timestamp {
        let lease = self.task(parent.task).and_then(Task::lease).filter(|_| !parent.detached);
        let Some(lease) = lease else { return own };
        let left = lease.deadline.since(self.now);
        let room = Millis(left.0 - reserve(left, Ladder::default().total()).0);
        own.min(self.now.plus(room))
    }

    /// A workflow task was granted what it needs: its runs are made, some at once and the others as these end.
    pub(crate) fn begin_children(&mut self, id: TaskId, inputs: Vec<Value>) {
        // A task that is tried again finds those that it had; what did not end well is made anew.
        for (place, input) in inputs.into_iter().enumerate() {
            let key = place.to_string();
            if self.child(id, &key).is_some_and(|child| !child.has_failed()) {
                continue;
            }
            let run = self.new_run();
            let child = Child {
                run,
                input: Some(JsonText::of(&input)),
                detached: self.detaches(id),
                attempt: self.task(id).map_or(0, |task| task.attempts),
                ended: None,
                output: None,
            };
            self.set_child(id, &key, Some(child));
        }
        let Some(deadline) = self.task(id).and_then(Task::lease).map(|lease| lease.deadline) else { return };
        let (seq, since) = (self.next_seq(), self.now);
        let (on, name) = (Awaited::Children, "children".to_owned());
        let then = AtDeadline::Stop;
        self.park(id, Parked { name, on, seq, since, deadline, timer: None, then, over: None });
        self.push_work(id.run, Work::Spawn { task: id.index });
    }

    fn detaches(&self, id: TaskId) -> bool {
        matches!(&self.definition(id.run).task(id.index).kind, TaskKind::Workflow(child) if child.detached)
    }

    /// The id of a run that the brain itself makes.
    fn new_run(&mut self) -> RunId {
        let seq = self.next_seq();
        let mut mixed = self.entropy ^ seq.0.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        RunId::from_parts(self.now.0, (u128::from(mixed) << 16) | u128::from(seq.0 & 0xFFFF))
    }

    /// Begins the next of a workflow task's runs, one a call, if there is room for it.
    pub(crate) fn spawn_next(&mut self, id: TaskId) {
        let definition = self.definition(id.run);
        let TaskKind::Workflow(call) = &definition.task(id.index).kind else { return };
        if !self.task(id).and_then(Task::lease).is_some_and(|lease| lease.waits()) {
            return;
        }
        self.look();
        let children = &self.state.volatile.children;
        let most = call.for_each.as_ref().and_then(|each| each.max_parallel).unwrap_or(u32::MAX);
        let Some(place) = children.next(id).filter(|_| children.open(id) < most) else { return };
        if children.has_failed(id) && call.on_child_failure == OnChildFailure::Fail {
            return;
        }
        let key = place.to_string();
        self.push_work(id.run, Work::Spawn { task: id.index });
        if let Err(refusal) = self.begin_child(id, &key) {
            self.child_never_began(id, &key, &refusal);
        }
        // A run that is detached is awaited no more once it has begun.
        self.state.volatile.waiters.look_at(id);
        self.reindex(id);
    }

    fn begin_child(&mut self, id: TaskId, key: &str) -> Result<(), String> {
        let definition = self.definition(id.run);
        let TaskKind::Workflow(call) = &definition.task(id.index).kind else { return Ok(()) };
        let run = &self.state.runs[&id.run];
        let hash = run.calls.get(&call.workflow).ok_or_else(|| format!("workflow `{}` is not known", call.workflow))?;
        let called = Arc::clone(&self.state.definitions[hash]);
        let calls: BTreeMap<Arc<str>, Arc<Definition>> = run
            .calls
            .iter()
            .map(|(name, hash)| (Arc::clone(name), Arc::clone(&self.state.definitions[hash])))
            .collect();
        let (labels, client_id, source) = (run.labels.clone(), run.client_id.clone(), run.source.clone());
        let Some(child) = self.child(id, key).cloned() else { return Ok(()) };
        let Child { run, input: Some(input), detached, .. } = child.clone() else { return Ok(()) };
        let input = crate::validate::check_input(&called, as_map(input.value())).map_err(|problems| {
            let texts: Vec<String> =
                problems.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect();
            texts.join("; ")
        })?;
        let submission = Submission {
            run,
            definition: called,
            input: JsonText::of(&input),
            labels,
            client_id,
            idempotency: None,
            source,
            start_at: None,
            takes_over: None,
            calls,
            facts: Facts::default(),
            caller: Caller(0),
        };
        self.admit(&submission).map_err(|refusal| refusal.to_string())?;
        let parent = self.parent_of(id, key, detached).map_err(|refusal| refusal.to_string())?;
        self.set_child(id, key, Some(Child { input: None, ..child }));
        self.create(&submission, Some(parent));
        Ok(())
    }

    /// A run that cannot be made has failed, as its parent sees it.
    fn child_never_began(&mut self, id: TaskId, key: &str, why: &str) {
        self.record_task(id, HistoryKind::ChildEnded, Detail::of("key", key).with("status", "FAILED").with("why", why));
        self.take_child_end(id, key, RunStatus::Failed, Some(JsonText::of(&json!({"error": why}))));
    }

    /// A run that a task spawned has ended.
    pub(crate) fn child_ended(&mut self, parent: &Parent, run: RunId, status: RunStatus, output: Option<JsonText>) {
        let id = parent.task;
        // One that was made anew under that key is another.
        if self.child(id, &parent.key).is_none_or(|child| child.run != run) {
            return;
        }
        let told = Detail::of("key", &*parent.key).with("run", run.to_string()).with("status", status.word());
        self.record_task(id, HistoryKind::ChildEnded, told);
        self.take_child_end(id, &parent.key, status, output);
    }

    fn take_child_end(&mut self, id: TaskId, key: &str, status: RunStatus, output: Option<JsonText>) {
        let Some(child) = self.child(id, key).cloned() else { return };
        let had_failed = self.state.volatile.children.has_failed(id);
        self.set_child(id, key, Some(Child { ended: Some(status), output, input: None, ..child }));
        self.reindex(id);
        self.state.volatile.waiters.look_at(id);
        if !self.is_brains(id) {
            return;
        }
        let definition = self.definition(id.run);
        let TaskKind::Workflow(call) = &definition.task(id.index).kind else { return };
        match status != RunStatus::Completed && call.on_child_failure == OnChildFailure::Fail {
            true if had_failed => {}
            true => self.push_work(id.run, Work::EndRuns { task: id.index, from: 0 }),
            false => self.push_work(id.run, Work::Spawn { task: id.index }),
        }
        self.stop_if_childless(id);
    }

    /// The brain's own attempt that is being stopped is gone with the last of its runs.
    fn stop_if_childless(&mut self, id: TaskId) {
        let is_stopping = self.task(id).and_then(Task::lease).is_some_and(|lease| lease.stopping.is_some());
        if is_stopping && !self.is_frozen(id.run) && !self.has_open_children(id) {
            self.settle_stopped(id, "stopped", "its runs have ended", Detail::NONE);
        }
    }

    pub(crate) fn has_open_children(&self, id: TaskId) -> bool {
        self.state.volatile.children.awaited(id) > 0
    }

    /// Asks the next of a task's runs to end, one a call. Those that have not begun never will.
    pub(crate) fn end_next(&mut self, id: TaskId, from: u32) {
        let of_task = self.state.children.get(&id).into_iter().flatten();
        let Some((key, child)) = of_task.skip(from as usize).map(|(key, child)| (key.clone(), child.clone())).next()
        else {
            return;
        };
        self.look();
        // A task that is tried again meanwhile has other runs.
        let Some(why) = self.why_end_runs(id) else { return };
        self.push_work(id.run, Work::EndRuns { task: id.index, from: from + 1 });
        if child.is_awaited() && child.input.is_some() {
            self.set_child(id, &key, Some(Child { ended: Some(RunStatus::Cancelled), input: None, ..child }));
            self.reindex(id);
            self.state.volatile.waiters.look_at(id);
            self.stop_if_childless(id);
        } else if child.is_awaited() {
            self.begin_ending(child.run, EndCause::Cancelled, why.to_owned(), "system", false);
        }
    }

    /// Why the runs of a task are to end; none: they are not.
    fn why_end_runs(&self, id: TaskId) -> Option<&'static str> {
        let lease = self.task(id).and_then(Task::lease)?;
        let ends = self.run(id.run).is_some_and(|run| run.ending.is_some());
        let fails = match &self.definition(id.run).task(id.index).kind {
            TaskKind::Workflow(call) => call.on_child_failure == OnChildFailure::Fail,
            _ => false,
        };
        match lease.stopping.is_some() {
            true if ends => Some("the run of the task that spawned it comes to its end"),
            true if lease.worker.is_brain() => Some("the task that waits for it is stopped"),
            false if fails && self.state.volatile.children.has_failed(id) => {
                Some("another run of the same task did not succeed")
            }
            _ => None,
        }
    }

    /// A task's attempt is stopped for good, with the runs that it has spawned: these need not wait for its end.
    pub(crate) fn stop_runs(&mut self, id: TaskId) {
        if self.has_open_children(id) {
            self.push_work(id.run, Work::EndRuns { task: id.index, from: 0 });
        }
    }

    /// The brain's own attempt is asked to stop: with its runs.
    pub(crate) fn stop_children(&mut self, id: TaskId) {
        match self.has_open_children(id) {
            true => self.stop_runs(id),
            false => self.settle_stopped(id, "stopped", "it was stopped", Detail::NONE),
        }
    }

    /// All runs of a workflow task have ended, or its time is over.
    pub(crate) fn children_ended(&mut self, id: TaskId) {
        let definition = self.definition(id.run);
        let TaskKind::Workflow(call) = &definition.task(id.index).kind else { return };
        let mut children: Vec<(u32, Child)> = self
            .state
            .children
            .get(&id)
            .into_iter()
            .flatten()
            .map(|(key, child)| (key.parse().unwrap_or(u32::MAX), child.clone()))
            .collect();
        children.sort_by_key(|(place, _)| *place);
        let failed = children.iter().find(|(_, child)| {
            child.ended.is_some_and(|end| !matches!(end, RunStatus::Completed | RunStatus::Cancelled))
        });
        let failed = failed.or_else(|| children.iter().find(|(_, child)| child.ended != Some(RunStatus::Completed)));
        if let (Some((place, child)), OnChildFailure::Fail, false) = (failed, call.on_child_failure, call.detached) {
            let status = child.ended.map_or("was not made", RunStatus::word);
            let which = if call.for_each.is_some() { format!("item {place}: ") } else { String::new() };
            let message = format!("{which}run `{}` of workflow `{}` ended as {status}", child.run, call.workflow);
            return self.handler_failure(id, error("child", &message, None), NextTry::AsUsual, Detail::NONE);
        }
        let outputs: Vec<Value> =
            children.iter().map(|(_, child)| told(child, call.on_child_failure, call.detached)).collect();
        let output = match &call.for_each {
            Some(_) => Value::Array(outputs),
            None => outputs.into_iter().next().unwrap_or_default(),
        };
        self.succeed(id, &JsonText::of(&output), Detail::NONE);
    }

    /// A task has ended: what it knew of its runs is forgotten, and those that are not detached end as well.
    pub(crate) fn leave_children(&mut self, id: TaskId) {
        if self.state.children.contains_key(&id) {
            self.push_work(id.run, Work::Leave { task: id.index });
        }
    }

    /// Forgets the next run that a task which has ended had spawned, one a call. Its own run ends only after that.
    pub(crate) fn leave_next(&mut self, id: TaskId) {
        self.look();
        let children = self.state.children.get(&id).filter(|_| self.end_of(id).is_some());
        let Some((key, child)) = children.and_then(|children| children.first_key_value()) else { return };
        let (key, child) = (key.clone(), child.clone());
        self.push_work(id.run, Work::Leave { task: id.index });
        self.set_child(id, &key, None);
        self.visit(id.run);
        if child.is_awaited() && child.input.is_none() {
            let ending = self.run(id.run).and_then(|run| run.ending.clone());
            let task =
                || format!("the task that spawned it has ended: `{}`", self.definition(id.run).task(id.index).name);
            let why = ending.as_ref().map_or_else(task, |ending| ending.reason.clone());
            self.begin_ending(child.run, EndCause::Cancelled, why, "system", ending.is_some_and(|ending| ending.force));
        }
    }

    /// What a run that ends gives the task that spawned it.
    pub(crate) fn run_output(&self, id: RunId, status: RunStatus) -> Option<JsonText> {
        let run = self.run(id).filter(|run| run.parent.is_some() && status == RunStatus::Completed)?;
        let most = self.state.volatile.bounds.output_bytes_max;
        let output = match output(run, &self.definition(id)) {
            Ok(output) => JsonText::of(&output),
            Err(error) => JsonText::of(&json!({"error": error.message})),
        };
        let text = format!(
            "its outputs have {} bytes together, {most} may be passed on: say in `output:` what is",
            output.0.len()
        );
        Some(if output.0.len() <= most { output } else { JsonText::of(&json!({"error": text})) })
    }

    /// Has the tasks of a run stand in the wait graph as they are now.
    pub(crate) fn reindex_all(&mut self, run: RunId) {
        let Some(found) = self.state.runs.get(&run) else { return };
        let open = found.indexed_tasks().filter(|(_, task)| task.end().is_none());
        for index in open.map(|(index, _)| index).collect::<Vec<_>>() {
            self.reindex(run.task(index));
        }
    }

    /// Has a task stand in the wait graph as it is now: what it waits for has changed elsewhere.
    pub(crate) fn reindex(&mut self, id: TaskId) {
        let state = &mut *self.state;
        let Some(run) = state.runs.get(&id.run) else { return };
        let definition = &state.definitions[&run.definition];
        state.volatile.graph_again(
            run,
            definition,
            id.index,
            Shared { pools: &state.pools, children: &state.children },
        );
    }
}

/// An input is an object; another value is none, which the check of the input tells.
fn as_map(value: Value) -> serde_json::Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => serde_json::Map::new(),
    }
}

/// What a child gives its parent.
fn told(child: &Child, on_failure: OnChildFailure, detached: bool) -> Value {
    let output = child.output.as_ref().map_or(Value::Null, JsonText::value);
    match (on_failure, detached) {
        (_, true) => json!({"run": child.run}),
        (OnChildFailure::Fail, false) => output,
        (OnChildFailure::Continue, false) => {
            json!({"run": child.run, "status": child.ended.map(RunStatus::word), "output": output})
        }
    }
}
