//! What is declared, in the form that the proof works on: resources and workflows are numbers, tasks that hold and
//! ask for the same are still told apart, everything that plays no part is gone.

use super::{Declared, Pool};
use crate::workflow::{Definition, ForEach, OnFailure, TaskDef, TaskKind, Until, When};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The place of a resource among all.
pub(super) type Res = usize;
/// So many units of some resources, asked for at once, in the order of their places.
pub(super) type Bundle = Vec<(Res, u64)>;

/// Everything that is declared.
#[derive(Clone, Debug)]
pub(super) struct System {
    pub(super) resources: Vec<Resource>,
    pub(super) flows: Vec<Flow>,
    pub(super) roots: Vec<Root>,
}

/// A pool, a lock, or the slots of workers.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// None: nobody knows how many.
    pub(super) size: Option<u64>,
    pub(super) lends: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Pool,
    Lock,
    Slots,
}

/// A workflow that people may start.
#[derive(Clone, Debug)]
pub(super) struct Root {
    pub(super) flow: usize,
    /// At most so many runs at once; none: any number.
    pub(super) runs_max: Option<u64>,
}

/// A workflow.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) name: Arc<str>,
    /// Whether its definition is known.
    pub(super) is_known: bool,
    /// How many attempts of one run there may be at once.
    pub(super) max_parallel: Option<u64>,
    /// Its tasks, in their order.
    pub(super) acts: Vec<Act>,
}

/// A task.
#[derive(Clone, Debug)]
pub(super) struct Act {
    pub(super) name: Arc<str>,
    /// Whether a worker performs it, so that it counts for `max_parallel`.
    pub(super) is_attempt: bool,
    /// What it is granted before it begins, and holds until it ends.
    pub(super) asks: Bundle,
    /// What it may acquire then, step by step.
    pub(super) steps: Vec<Bundle>,
    /// The workflows of which it may start runs that it waits for.
    pub(super) calls: Vec<Call>,
    /// Those of which it may start runs that go on beside it and are lent nothing: workflows that begin like any other.
    pub(super) detached: Vec<usize>,
    /// Whether it says nothing of what it acquires or starts while it runs.
    pub(super) is_silent: bool,
    pub(super) needs: Needs,
    /// The tasks whose fallback it is; none: it is no fallback.
    pub(super) fallback_of: Vec<usize>,
    /// Whether its failure starts a fallback.
    pub(super) may_fail: bool,
}

/// Runs that a task may start.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Call {
    pub(super) flow: usize,
    /// At most so many at once; none: any number.
    pub(super) most: Option<u64>,
}

/// What a workflow starts.
#[derive(Clone, Debug)]
pub(super) struct Started {
    /// All of it, and the workflow itself.
    pub(super) all: Vec<usize>,
    /// Of these, those whose runs go on beside the ones that start them.
    pub(super) beside: BTreeSet<usize>,
}

/// What must have ended before a task.
#[derive(Clone, Debug, Default)]
pub(super) struct Needs {
    pub(super) at_least: usize,
    pub(super) of: Vec<(usize, Until)>,
}

impl Act {
    /// Whether it may wait for something while it holds what it was granted.
    pub(super) fn is_inner(&self) -> bool {
        !self.steps.is_empty() || !self.calls.is_empty()
    }

    /// Whether it starts runs and does nothing else.
    pub(super) fn is_parent(&self) -> bool {
        !self.is_attempt && !self.calls.is_empty()
    }
}

/// How the runs go on that an attempt starts (`spawns`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spawned {
    /// It waits for them, and for nothing else meanwhile.
    Awaited,
    /// They may also go on while it does something else, or beside it.
    Free,
}

impl System {
    pub(super) fn of(declared: &Declared, spawned: Spawned) -> Self {
        Builder {
            declared,
            spawned,
            system: Self { resources: Vec::new(), flows: Vec::new(), roots: Vec::new() },
            known: BTreeMap::new(),
            named: BTreeMap::new(),
        }
        .build()
    }

    /// Whether any workflow starts itself, directly or by others.
    pub(super) fn is_recursive(&self) -> bool {
        (0..self.flows.len()).any(|flow| self.starts_itself(flow))
    }

    /// Whether a workflow starts itself, directly or by others.
    pub(super) fn starts_itself(&self, flow: usize) -> bool {
        let mut seen = vec![false; self.flows.len()];
        let mut open = vec![flow];
        while let Some(at) = open.pop() {
            for call in self.flows[at].acts.iter().flat_map(|act| &act.calls) {
                if call.flow == flow {
                    return true;
                }
                if !std::mem::replace(&mut seen[call.flow], true) {
                    open.push(call.flow);
                }
            }
        }
        false
    }

    /// A workflow, those that it starts, directly or by others, and which of these go on beside it.
    pub(super) fn started_by(&self, flow: usize) -> Started {
        let mut started = Started { all: vec![flow], beside: BTreeSet::new() };
        let mut next = 0;
        while let Some(&at) = started.all.get(next) {
            next += 1;
            for act in &self.flows[at].acts {
                started.beside.extend(act.detached.iter().copied());
                for called in act.calls.iter().map(|call| call.flow).chain(act.detached.iter().copied()) {
                    if !started.all.contains(&called) {
                        started.all.push(called);
                    }
                }
            }
        }
        started
    }

    /// Whether a resource lends, which slots always do.
    pub(super) fn lends(&self, resource: Res) -> bool {
        self.resources[resource].lends
    }
}

struct Builder<'d> {
    declared: &'d Declared,
    spawned: Spawned,
    system: System,
    known: BTreeMap<String, Res>,
    named: BTreeMap<Arc<str>, usize>,
}

impl Builder<'_> {
    fn build(mut self) -> System {
        // All of them first: a call may name any.
        for name in self.declared.workflows.keys() {
            self.flow(name);
        }
        let mut flow = 0;
        while flow < self.system.flows.len() {
            let name = Arc::clone(&self.system.flows[flow].name);
            if let Some(definition) = self.declared.workflows.get(&name) {
                let acts = definition.body.indexed().map(|(index, _)| self.act(definition, index.0 as usize)).collect();
                self.system.flows[flow].acts = acts;
                self.system.flows[flow].max_parallel = definition.body.max_parallel.map(u64::from);
            }
            flow += 1;
        }
        for root in &self.declared.roots {
            let flow = self.flow(&root.workflow);
            self.system.roots.push(Root { flow, runs_max: root.runs_max.map(u64::from) });
        }
        let detached = self.system.flows.iter().flat_map(|flow| &flow.acts).flat_map(|act| act.detached.clone());
        let others: BTreeSet<usize> = detached.collect();
        let is_root = |flow: usize, roots: &[Root]| roots.iter().any(|root| root.flow == flow);
        for flow in others {
            if !is_root(flow, &self.system.roots) {
                // Who starts them ends before them and may begin again.
                self.system.roots.push(Root { flow, runs_max: None });
            }
        }
        self.system
    }

    fn flow(&mut self, name: &Arc<str>) -> usize {
        if let Some(&known) = self.named.get(name) {
            return known;
        }
        let is_known = self.declared.workflows.contains_key(name);
        self.named.insert(Arc::clone(name), self.system.flows.len());
        self.system.flows.push(Flow { name: Arc::clone(name), is_known, max_parallel: None, acts: Vec::new() });
        self.system.flows.len() - 1
    }

    fn act(&mut self, definition: &Definition, index: usize) -> Act {
        let def = &definition.body.tasks[index];
        let is_attempt = match def.kind {
            TaskKind::Exec(_) | TaskKind::Http(_) | TaskKind::Worker(_) | TaskKind::Noop => true,
            TaskKind::Sleep(_) | TaskKind::Signal(_) | TaskKind::Workflow(_) => false,
        };
        let mut asks = self.bundle(&def.resources);
        asks.extend(is_attempt.then(|| (self.slots(&def.kind), 1)));
        asks.sort_unstable();
        let steps = def.acquires.iter().flatten().map(|step| self.bundle(step)).filter(|step| !step.is_empty());
        let steps = steps.collect();
        let may_do_anything = matches!(def.kind, TaskKind::Exec(_) | TaskKind::Http(_) | TaskKind::Worker(_));
        let primaries = definition.primaries.get(&crate::TaskIndex(index as u32));
        Act {
            name: Arc::clone(&def.name),
            is_attempt,
            asks,
            steps,
            calls: self.calls(def),
            detached: self.detached(def),
            is_silent: may_do_anything && (def.acquires.is_none() || def.spawns.is_none()),
            needs: Needs {
                at_least: def.needs.at_least as usize,
                of: def.needs.of.iter().map(|need| (need.task.0 as usize, need.until)).collect(),
            },
            fallback_of: match def.when {
                When::Fallback => primaries.into_iter().flatten().map(|primary| primary.0 as usize).collect(),
                When::Always | When::Expr(_) => Vec::new(),
            },
            may_fail: matches!(def.on_failure, OnFailure::Fallback(_)),
        }
    }

    fn calls(&mut self, def: &TaskDef) -> Vec<Call> {
        if let TaskKind::Workflow(child) = &def.kind {
            if child.detached {
                return Vec::new();
            }
            let most = child.for_each.as_ref().map_or(Some(1), most_of);
            return vec![Call { flow: self.flow(&child.workflow), most }];
        }
        // However many runs an attempt starts, it says of which workflows.
        def.spawns.iter().flatten().map(|name| Call { flow: self.flow(name), most: None }).collect()
    }

    fn detached(&mut self, def: &TaskDef) -> Vec<usize> {
        match &def.kind {
            TaskKind::Workflow(child) if child.detached => vec![self.flow(&child.workflow)],
            TaskKind::Workflow(_) => Vec::new(),
            _ if self.spawned == Spawned::Free => def.spawns.iter().flatten().map(|name| self.flow(name)).collect(),
            _ => Vec::new(),
        }
    }

    fn bundle(&mut self, resources: &BTreeMap<String, u32>) -> Bundle {
        let mut bundle: Bundle = resources
            .iter()
            .filter(|(_, units)| **units > 0)
            .map(|(name, units)| (self.pool(name), (*units).into()))
            .collect();
        bundle.sort_unstable();
        bundle
    }

    /// A pool, or a lock that nobody configured.
    fn pool(&mut self, name: &str) -> Res {
        let declared = self.declared.pools.get(name);
        let pool = declared.copied().unwrap_or(Pool { size: 1, lends: false });
        let kind = if declared.is_some() { Kind::Pool } else { Kind::Lock };
        self.resource(name, || Resource {
            name: name.to_owned(),
            kind,
            size: Some(pool.size.into()),
            lends: pool.lends,
        })
    }

    /// The slots that a task of this kind needs one of. Who has a handler, and how often, nobody knows.
    fn slots(&mut self, kind: &TaskKind) -> Res {
        let (name, size) = match kind {
            TaskKind::Worker(call) => (format!("slots of workers with `{}`", call.handler), None),
            _ => ("slots of workers".to_owned(), self.declared.slots.map(u64::from)),
        };
        // No pool has a name with a space.
        self.resource(&name.clone(), || Resource { name, kind: Kind::Slots, size, lends: true })
    }

    fn resource(&mut self, name: &str, make: impl FnOnce() -> Resource) -> Res {
        if let Some(&known) = self.known.get(name) {
            return known;
        }
        let place = self.system.resources.len();
        self.known.insert(name.to_owned(), place);
        self.system.resources.push(make());
        place
    }
}

/// How many runs of a `for_each` there may be at once: as many as it says, and no more than it has items.
fn most_of(each: &ForEach) -> Option<u64> {
    let items = each.items.as_array().map(|items| items.len() as u64);
    let most = each.max_parallel.map(u64::from);
    match (items, most) {
        (Some(items), Some(most)) => Some(items.min(most)),
        (items, most) => items.or(most),
    }
}
