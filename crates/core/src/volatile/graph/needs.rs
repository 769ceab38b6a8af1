//! What those wait for who wait, as needs of the detector.

use super::{Around, Graph, Lent, Sent, Stands};
use crate::{
    TaskId, TaskIndex,
    ready::Request,
    run::{Awaited, Lease, Run, RunStatus, TaskEnd, Wait, WaitOn},
    volatile::request,
    wait::{Until, detector::Need},
    worker::Serves,
    workflow::{self, Definition, TaskKind, When},
};
use std::sync::Arc;

impl Graph {
    /// What an attempt waits for; one that lends, also for all of that to be back.
    pub(super) fn parked_need(
        &mut self,
        run: &Run,
        definition: &Definition,
        id: TaskId,
        lease: &Lease,
        around: Around<'_>,
        stands: &mut Stands,
    ) -> Need {
        let Some(parked) = &lease.parked else { return Need::Holds };
        let own = match parked.over {
            Some(_) => Need::Holds,
            None => self.term(run, definition, id, &parked.on, around, stands),
        };
        if !lease.awaits_children() {
            return own;
        }
        Need::all(std::iter::once(own).chain(self.is_back(id)).collect())
    }

    fn term(
        &mut self,
        run: &Run,
        definition: &Definition,
        id: TaskId,
        term: &Awaited,
        around: Around<'_>,
        stands: &mut Stands,
    ) -> Need {
        match term {
            Awaited::Units { pool, units } => self.units(run, pool, *units, around),
            Awaited::Child { key, until } => {
                let child = around.children.get(&id).and_then(|children| children.get(key));
                let wants_success = *until == workflow::Until::Succeeded;
                match child.map(|child| child.ended) {
                    Some(Some(status)) if wants_success && status != RunStatus::Completed => Need::Never,
                    Some(None) => self.run(id, key, wants_success),
                    _ => Need::Holds,
                }
            }
            Awaited::Children => Need::all(
                [self.siblings_ended(id)].into_iter().chain(self.next_begins(definition, id, around)).collect(),
            ),
            Awaited::Signal { name, from } => self.signal(run, name, from, stands),
            Awaited::Timer { .. } => Need::Holds,
            Awaited::AtLeast { k, of } => {
                let parts = of.iter().map(|part| self.term(run, definition, id, part, around, stands));
                Need::AtLeast(*k as usize, parts.collect())
            }
        }
    }

    /// The end of a run that a task spawned. One that has not begun does so as soon as there is room.
    fn run(&self, id: TaskId, key: &str, wants_success: bool) -> Need {
        let run = self.spawned.get(&id).and_then(|children| children.get(key));
        let node = run.and_then(|run| self.runs.get(run)).and_then(|tracked| tracked.end);
        let until = if wants_success { Until::Success } else { Until::Terminal };
        node.map_or(Need::Holds, |(node, _)| Need::Node(node, until))
    }

    /// Where a workflow task's next run waits for room: that one of those that have begun ends.
    fn next_begins(&self, definition: &Definition, id: TaskId, around: Around<'_>) -> Option<Need> {
        let TaskKind::Workflow(call) = &definition.task(id.index).kind else { return None };
        let most = call.for_each.as_ref()?.max_parallel? as usize;
        let waits = around.counts.next(id).is_some();
        let begun = self.spawned.get(&id).filter(|begun| waits && begun.len() >= most)?;
        Some(Need::any(begun.keys().map(|key| self.run(id, key, false)).collect()))
    }

    /// Units of a pool: of the pool itself, or of an ancestor that lends them; wholly of one of these.
    fn units(&mut self, run: &Run, pool: &str, units: u32, around: Around<'_>) -> Need {
        let Some(key) = self.pool(pool, around) else { return Need::Holds };
        let own = Need::Units(key, units.into());
        let mut sources = self.of_ancestors(run, &Lent::Pool(pool.to_owned()), |_| true, units.into());
        if sources.is_empty() {
            return own;
        }
        sources.push(own);
        Need::any(sources)
    }

    fn signal(&mut self, run: &Run, name: &str, from: &[TaskIndex], stands: &mut Stands) -> Need {
        if from.is_empty() || run.signals.contains_key(name) {
            return Need::Holds;
        }
        let name: Arc<str> = name.into();
        let key = match self.signals.get(&(run.id, Arc::clone(&name))) {
            Some(sent) => sent.key,
            None => {
                let key = self.detector.add_consumable(false);
                self.signals.insert((run.id, Arc::clone(&name)), Sent { key, senders: Default::default() });
                key
            }
        };
        let open = from.iter().filter(|sender| run.task(**sender).end().is_none());
        stands.senders.extend(open.map(|sender| (Arc::clone(&name), *sender)));
        Need::Sent(key)
    }

    /// Somebody who waits for a signal names a task that sends it.
    pub(super) fn add_sender(&mut self, run: crate::RunId, name: &Arc<str>, sender: TaskIndex) {
        let node = self.node(run.task(sender));
        let Some(sent) = self.signals.get_mut(&(run, Arc::clone(name))) else { return };
        *sent.senders.entry(sender).or_default() += 1;
        let change = self.detector.add_producer(sent.key, node);
        self.changed(change);
    }

    /// The last one who named it does so no more.
    pub(super) fn remove_sender(&mut self, run: crate::RunId, name: &Arc<str>, sender: TaskIndex) {
        let Some(sent) = self.signals.get_mut(&(run, Arc::clone(name))) else { return };
        let Some(times) = sent.senders.get_mut(&sender) else { return };
        *times -= 1;
        if *times > 0 {
            return;
        }
        sent.senders.remove(&sender);
        if let Some(node) = self.tasks.get(&run.task(sender)) {
            let change = self.detector.remove_producer(sent.key, node.key);
            self.changed(change);
        }
    }

    /// What a task that waits does wait for; nothing: for what only time or the outside brings.
    pub(super) fn waiting_need(
        &mut self,
        run: &Run,
        definition: &Definition,
        index: TaskIndex,
        wait: &Wait,
        around: Around<'_>,
        stands: &mut Stands,
    ) -> Option<Need> {
        match (wait.on, &definition.task(index).kind) {
            (WaitOn::Needs, _) => Some(self.needs(run, definition, index)),
            (WaitOn::Grant, _) => Some(self.grant(run, &request(run, definition, index), around)),
            (WaitOn::Signal, kind) => kind.awaits().map(|(name, from)| self.signal(run, name, from, stands)),
            (WaitOn::Backoff | WaitOn::Sleep | WaitOn::Decision | WaitOn::Confirmation, _) => None,
        }
    }

    fn needs(&mut self, run: &Run, definition: &Definition, index: TaskIndex) -> Need {
        let (task, def) = (run.task(index), definition.task(index));
        let entry = |graph: &mut Self, need: &workflow::Need| {
            let until = if need.until == workflow::Until::Succeeded { Until::Success } else { Until::Terminal };
            match run.task(need.task).end() {
                Some(end) if until == Until::Success && end.status != TaskEnd::Completed => Need::Never,
                Some(_) => Need::Holds,
                None => Need::Node(graph.node(run.id.task(need.task)), until),
            }
        };
        let of = def.needs.of.iter().map(|need| entry(self, need)).collect();
        let entries = Need::AtLeast(def.needs.at_least as usize, of);
        if def.when != When::Fallback || task.called {
            return entries;
        }
        let primaries = definition.primaries.get(&index).into_iter().flatten();
        let open: Vec<TaskIndex> = primaries.copied().filter(|primary| run.task(*primary).end().is_none()).collect();
        let ends = open.into_iter().map(|primary| Need::Node(self.node(run.id.task(primary)), Until::Terminal));
        let called = Need::any(ends.collect());
        Need::all(vec![entries, called])
    }

    /// A slot, pools and locks, all at once. Where no worker takes it, one may come.
    fn grant(&mut self, run: &Run, asked: &Request, around: Around<'_>) -> Need {
        let (queue, kind, workers) = (&*asked.demand.queue, &asked.demand.kind, around.workers);
        let crews: Vec<Arc<Serves>> =
            workers.serving(queue, kind).filter(|crew| workers.slots_of(crew) > 0).cloned().collect();
        let mut parts = Vec::new();
        if !crews.is_empty() {
            let takes = |lender: &super::Lender| lender.serves.as_ref().is_some_and(|serves| serves.takes(queue, kind));
            let mut slots = self.of_ancestors(run, &Lent::Slot, takes, 1);
            slots.extend(crews.iter().map(|crew| Need::Units(self.crew(crew, workers), 1)));
            parts.push(Need::any(slots));
        }
        for (pool, units) in &asked.demand.resources {
            parts.push(self.units(run, pool, *units, around));
        }
        let parallel = self.runs.get(&run.id).and_then(|tracked| tracked.parallel);
        parts.extend(parallel.map(|key| Need::Units(key, 1)));
        Need::all(parts)
    }
}
