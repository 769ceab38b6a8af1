//! Questions to the store in memory: the plain meaning of each, without an index.

use super::{Disk, Space};
use crate::{
    Answer, AsOf, Counts, Event, EventCursor, Facts, FactsQuery, Holds, Namespace, Page, PageSize, Reader, RunFilter,
    RunRecord, RunSummary, StoreError, VerdictFilter, WorkflowVersion, body::without_graph,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
    time::Duration,
};
use unknot_core::{
    RunId, Seq, TaskId, TaskIndex,
    alert::Alert,
    deadlock::Deadlock,
    row::{DeadLetter, Key, Loaded, Quarantined, RegisteredWorkflow, Row},
    run::{Task, TaskStatus},
    settings::Queue,
    workflow::{Definition, DefinitionHash, TaskDef},
};

pub(super) struct MemoryReader {
    disk: Disk,
}

impl MemoryReader {
    pub(super) fn new(disk: Disk) -> Self {
        Self { disk }
    }

    fn ask<T>(&self, namespace: &Namespace, question: impl FnOnce(&Space) -> T) -> Answer<T> {
        let disk = self.disk.lock();
        let nothing = Space::default();
        let space = disk.get(namespace).unwrap_or(&nothing);
        Ok(AsOf { as_of: space.commit, value: question(space) })
    }
}

fn version(seq: Seq, workflow: &RegisteredWorkflow) -> WorkflowVersion {
    let RegisteredWorkflow { name, hash, at, by, .. } = workflow.clone();
    WorkflowVersion { name, seq, hash, at, by }
}

impl Space {
    /// Registered workflows in the order of their keys: by name, the newest version last.
    fn versions(&self) -> impl Iterator<Item = (Seq, &RegisteredWorkflow)> {
        self.rows.iter().filter_map(|(key, kept)| match (key, &kept.row) {
            (Key::Workflow(_, seq), Row::Workflow(workflow)) => Some((*seq, &**workflow)),
            _ => None,
        })
    }

    fn record(&self, run: RunId) -> Option<RunRecord> {
        let kept = self.rows.get(&Key::Run(run)).or_else(|| self.rows.get(&Key::Finished(run)))?;
        match &kept.row {
            Row::Run(run) => Some(RunRecord::Live(run.clone())),
            Row::Finished(finished) => Some(RunRecord::Finished(finished.clone())),
            _ => None,
        }
    }

    /// All runs with ids from `low` to below `high`, the highest first.
    fn records(&self, low: RunId, high: RunId) -> impl Iterator<Item = RunRecord> {
        let ids = |keys: std::ops::Range<Key>| self.rows.range(keys).map(|(key, _)| key);
        let live = ids(Key::Run(low)..Key::Run(high));
        let finished = ids(Key::Finished(low)..Key::Finished(high));
        let mut runs: Vec<RunId> = live
            .chain(finished)
            .filter_map(|key| match key {
                Key::Run(run) | Key::Finished(run) => Some(*run),
                _ => None,
            })
            .collect();
        runs.sort_unstable_by(|left, right| right.cmp(left));
        runs.into_iter().filter_map(|run| self.record(run))
    }

    fn tasks(&self, run: RunId, after: Option<TaskIndex>) -> Vec<(TaskIndex, Task)> {
        let inline = self.record(run).map(|record| record.run().tasks.clone()).unwrap_or_default();
        let inline = (0u32..).map(TaskIndex).zip(inline);
        let stored = self.rows.range(Key::Task(run.task(TaskIndex(0)))..=Key::Task(run.task(TaskIndex(u32::MAX))));
        let stored = stored.filter_map(|(key, kept)| match (key, &kept.row) {
            (Key::Task(id), Row::Task(task)) => Some((id.index, (**task).clone())),
            _ => None,
        });
        inline.chain(stored).filter(|(index, _)| after.is_none_or(|after| *index > after)).collect()
    }

    fn events(&self, run: RunId, after: Option<EventCursor>) -> Vec<Event> {
        let mut events = Vec::new();
        if self.record(run).is_none() {
            return events;
        }
        for (&commit, kept) in &self.history {
            for (line, entry) in (0u32..).zip(&kept.entries) {
                let cursor = EventCursor { commit, line };
                if entry.run == run && after.is_none_or(|after| cursor > after) {
                    let mut entry = entry.clone();
                    entry.first_commit = Default::default();
                    events.push(Event { cursor, entry });
                }
            }
        }
        events
    }
}

impl Reader for MemoryReader {
    fn run(&mut self, namespace: &Namespace, run: RunId) -> Answer<Option<RunRecord>> {
        self.ask(namespace, |space| space.record(run))
    }

    fn runs(
        &mut self,
        namespace: &Namespace,
        filter: &RunFilter,
        after: Option<RunId>,
        size: PageSize,
    ) -> Answer<Page<RunSummary, RunId>> {
        let (low, high) = filter.id_range(after);
        self.ask(namespace, |space| {
            if low >= high {
                return Page { items: Vec::new(), next: None };
            }
            let summaries = space.records(low, high).map(|record| record.summary());
            let found = summaries.filter(|summary| filter.accepts(summary)).take(size.items() + 1).collect();
            Page::cut(found, size, |summary: &RunSummary| summary.id)
        })
    }

    fn tasks(
        &mut self,
        namespace: &Namespace,
        run: RunId,
        after: Option<TaskIndex>,
        size: PageSize,
    ) -> Answer<Page<(TaskIndex, Task), TaskIndex>> {
        self.ask(namespace, |space| Page::cut(space.tasks(run, after), size, |(index, _)| *index))
    }

    fn tasks_in(
        &mut self,
        namespace: &Namespace,
        run: RunId,
        status: TaskStatus,
        size: PageSize,
    ) -> Answer<Vec<(TaskIndex, Task)>> {
        self.ask(namespace, |space| {
            let tasks = space.tasks(run, None).into_iter();
            tasks.filter(|(_, task)| task.status() == status).take(size.items()).collect()
        })
    }

    fn events(
        &mut self,
        namespace: &Namespace,
        run: RunId,
        after: Option<EventCursor>,
        size: PageSize,
    ) -> Answer<Page<Event, EventCursor>> {
        self.ask(namespace, |space| {
            let mut page = Page::cut(space.events(run, after), size, |event: &Event| event.cursor);
            if page.next.is_none() && matches!(space.record(run), Some(RunRecord::Live(_))) {
                page.next = Some(page.items.last().map_or(after.unwrap_or_default(), |event| event.cursor));
            }
            page
        })
    }

    fn dead_letters(
        &mut self,
        namespace: &Namespace,
        after: Option<TaskId>,
        size: PageSize,
    ) -> Answer<Page<DeadLetter, TaskId>> {
        let high = after.map_or(Bound::Unbounded, |after| Bound::Excluded(Key::DeadLetter(after)));
        self.ask(namespace, |space| {
            let rows = space.rows.range((Bound::Unbounded, high)).rev();
            let letters = rows.filter_map(|(_, kept)| match &kept.row {
                Row::DeadLetter(letter) => Some(letter.clone()),
                _ => None,
            });
            Page::cut(letters.take(size.items() + 1).collect(), size, |letter: &DeadLetter| letter.task)
        })
    }

    fn workflows(
        &mut self,
        namespace: &Namespace,
        after: Option<&str>,
        size: PageSize,
    ) -> Answer<Page<WorkflowVersion, String>> {
        self.ask(namespace, |space| {
            // The newest of a name comes last, and wins.
            let newest: BTreeMap<String, WorkflowVersion> =
                space.versions().map(|(seq, workflow)| (workflow.name.clone(), version(seq, workflow))).collect();
            let behind = newest.into_values().filter(|found| after.is_none_or(|after| *found.name > *after));
            Page::cut(behind.take(size.items() + 1).collect(), size, |found: &WorkflowVersion| found.name.clone())
        })
    }

    fn holds(&mut self, namespace: &Namespace, size: PageSize) -> Answer<Holds> {
        self.ask(namespace, |space| {
            let mut holds = Holds::default();
            for (key, kept) in &space.rows {
                match (key, &kept.row) {
                    (Key::Queue(name), Row::Queue(Queue { paused: Some(paused), .. }))
                        if holds.queues.len() < size.items() =>
                    {
                        drop(holds.queues.insert(name.clone(), paused.clone()));
                    }
                    (Key::PausedWorkflow(name), Row::PausedWorkflow(paused))
                        if holds.workflows.len() < size.items() =>
                    {
                        drop(holds.workflows.insert(name.clone(), paused.clone()));
                    }
                    _ => {}
                }
            }
            holds
        })
    }

    fn workflow_versions(&mut self, namespace: &Namespace, name: &str, size: PageSize) -> Answer<Vec<WorkflowVersion>> {
        self.ask(namespace, |space| {
            let mut found: Vec<WorkflowVersion> = space
                .versions()
                .filter(|(_, workflow)| workflow.name == name)
                .map(|(seq, workflow)| version(seq, workflow))
                .collect();
            found.reverse();
            found.truncate(size.items());
            found
        })
    }

    fn workflow(
        &mut self,
        namespace: &Namespace,
        name: &str,
        hash: Option<&str>,
    ) -> Answer<Option<RegisteredWorkflow>> {
        self.ask(namespace, |space| {
            let is_meant = |workflow: &&RegisteredWorkflow| {
                workflow.name == name && hash.is_none_or(|hash| workflow.hash.0.starts_with(hash))
            };
            space.versions().map(|(_, workflow)| workflow).filter(is_meant).last().cloned()
        })
    }

    fn quarantine(
        &mut self,
        namespace: &Namespace,
        after: Option<Seq>,
        size: PageSize,
    ) -> Answer<Page<(Seq, Quarantined), Seq>> {
        let high = after.map_or(Bound::Unbounded, |after| Bound::Excluded(Key::Quarantine(after)));
        self.ask(namespace, |space| {
            let rows = space.rows.range((Bound::Unbounded, high)).rev();
            let events = rows.filter_map(|(key, kept)| match (key, &kept.row) {
                (Key::Quarantine(seq), Row::Quarantine(event)) => Some((*seq, event.clone())),
                _ => None,
            });
            Page::cut(events.take(size.items() + 1).collect(), size, |(seq, _)| *seq)
        })
    }

    fn verdicts(
        &mut self,
        namespace: &Namespace,
        filter: &VerdictFilter,
        after: Option<Seq>,
        size: PageSize,
    ) -> Answer<Page<Deadlock, Seq>> {
        let high = after.map_or(Bound::Unbounded, |after| Bound::Excluded(Key::Deadlock(after)));
        self.ask(namespace, |space| {
            let rows = space.rows.range((Bound::Unbounded, high)).rev();
            let verdicts = rows.filter_map(|(_, kept)| match &kept.row {
                Row::Deadlock(verdict) if filter.accepts(verdict) => Some(without_graph(verdict)),
                _ => None,
            });
            Page::cut(verdicts.take(size.items() + 1).collect(), size, |verdict: &Deadlock| verdict.seq)
        })
    }

    fn verdict(&mut self, namespace: &Namespace, verdict: Seq) -> Answer<Option<Deadlock>> {
        self.ask(namespace, |space| match &space.rows.get(&Key::Deadlock(verdict))?.row {
            Row::Deadlock(verdict) => Some(Deadlock::clone(verdict)),
            _ => None,
        })
    }

    fn alerts(&mut self, namespace: &Namespace) -> Answer<Vec<(Seq, Alert)>> {
        self.ask(namespace, |space| {
            let rows = space.rows.range(Key::Alert(Seq(0))..);
            let alerts = rows.filter_map(|(key, kept)| match (key, &kept.row) {
                (Key::Alert(seq), Row::Alert(alert)) => Some((*seq, Alert::clone(alert))),
                _ => None,
            });
            alerts.collect()
        })
    }

    fn definition(&mut self, namespace: &Namespace, hash: &DefinitionHash) -> Answer<Option<Arc<Definition>>> {
        self.ask(namespace, |space| match &space.rows.get(&Key::Definition(hash.clone()))?.row {
            Row::Definition(definition) => Some(Arc::clone(definition)),
            _ => None,
        })
    }

    fn task_definitions(
        &mut self,
        namespace: &Namespace,
        hash: &DefinitionHash,
        wanted: &BTreeSet<TaskIndex>,
    ) -> Answer<BTreeMap<TaskIndex, TaskDef>> {
        let definition = self.definition(namespace, hash)?;
        let tasks = definition.value.iter().flat_map(|definition| definition.body.indexed());
        let tasks = tasks.filter(|(index, _)| wanted.contains(index)).map(|(index, task)| (index, task.clone()));
        Ok(AsOf { as_of: definition.as_of, value: tasks.collect() })
    }

    fn latest_by_source(&mut self, namespace: &Namespace, source: &str, size: PageSize) -> Answer<Vec<RunRecord>> {
        let (low, high) = RunFilter::default().id_range(None);
        self.ask(namespace, |space| {
            let made_from = |record: &RunRecord| record.run().source.as_deref() == Some(source);
            space.records(low, high).filter(made_from).take(size.items()).collect()
        })
    }

    fn facts(&mut self, namespace: &Namespace, query: &FactsQuery) -> Result<Facts, StoreError> {
        let answer = self.ask(namespace, |space| {
            let ended = |run| match space.record(run) {
                Some(RunRecord::Finished(finished)) => Some(finished),
                _ => None,
            };
            let owner = query.idempotency_key.as_ref().and_then(|key| ended(*space.keys.get(key)?));
            let key_owner = owner.and_then(|owner| Some((owner.run.id, owner.run.idempotency?.body_hash)));
            (key_owner, query.run.and_then(ended).map(|finished| finished.status))
        })?;
        let (key_owner, ended) = answer.value;
        Ok(Facts { as_of: answer.as_of, key_owner, ended })
    }

    fn live(&mut self, namespace: &Namespace) -> Result<Loaded, StoreError> {
        Ok(self.disk.lock().get(namespace).map(Space::live).unwrap_or_default())
    }

    /// Nothing here takes long.
    fn set_limit(&mut self, _: Duration) {}

    fn counts(&mut self, namespace: &Namespace) -> Answer<Counts> {
        self.ask(namespace, |space| {
            let mut counts = Counts::default();
            for kept in space.rows.values() {
                match &kept.row {
                    Row::Finished(finished) => *counts.finished.entry(finished.status).or_default() += 1,
                    Row::DeadLetter(letter) => {
                        counts.dead_letters += 1;
                        counts.handled_letters += u64::from(letter.handled);
                    }
                    Row::Quarantine(_) => counts.quarantined += 1,
                    _ => {}
                }
            }
            counts
        })
    }
}
