//! The ready lines: who is granted next, in which order, and who may pass whom.
//!
//! Tasks that ask for the same things stand in one group, first come first served. The head of a
//! group is *active* (worth a look), or *stands at* the resources that are too short for it, or stands
//! *apart* because something that it needs is closed to everybody.
//!
//! One rule decides: a head may pass an earlier one only if no resource that they share is short for
//! the earlier one. So a large request is never overtaken for ever by small ones, one short pool holds
//! up only its own, and what is closed (a held queue, a poisoned pool) holds up nobody else.
//!
//! Heads are looked at in the order of their ranks, and only those for which something may have
//! changed: a grant costs a few ordered-map operations, however many tasks wait.

mod heads;
#[cfg(test)]
mod tests;

use crate::{RunId, Seq, TaskId, Timestamp, time::Millis, workflow::Priority};
use heads::Heads;
pub(crate) use heads::Rank;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a task asks for, whichever run it belongs to. Made once a definition, and shared.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Demand {
    /// The queue it stands in.
    pub queue: Arc<str>,
    /// Its class there.
    pub priority: Priority,
    /// Whether it may be leased ahead of a free slot.
    pub prefetchable: bool,
    /// Units of pools and locks.
    pub resources: BTreeMap<String, u32>,
}

/// What must be granted together to a task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// What its definition says.
    pub demand: Arc<Demand>,
    /// Its run, if that bounds how many of its tasks run at once.
    pub parallel: Option<RunId>,
}

/// What a task can be short of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A slot of a worker.
    Slot,
    /// Units of a pool or lock.
    Pool(String),
    /// The run's `max_parallel`.
    Parallel(RunId),
    /// The queue, which an operator holds.
    Queue(Arc<str>),
}

/// What there is to grant.
pub(crate) trait Supply {
    /// What is closed to the request, whoever else asks: a held queue, a poisoned or too small pool.
    fn closed(&self, request: &Request) -> Option<Resource>;
    /// Units of a resource that the request could be given now.
    fn free(&self, resource: &Resource, request: &Request) -> u32;
    /// Whether a task may not be granted now because its run or workflow is held, out of focus, or
    /// comes to its end.
    fn is_held(&self, task: TaskId) -> bool;
    /// How long tasks of a queue wait before they count as high.
    fn counts_as_high_after(&self, queue: &str) -> Millis;
}

/// A task whose turn it is; it stays in line until it is removed or set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Everything that it needs is there.
    Grant(Request, Seq, TaskId),
    /// It is held: to be set aside.
    Held(Request, Seq, TaskId),
}

/// Queued tasks in the order of their grants.
#[derive(Debug, Default)]
pub struct Ready {
    groups: BTreeMap<Request, Group>,
    active: Heads,
    standing: BTreeMap<Resource, Heads>,
    /// Units that standing heads ask for, by pool and number: also where they do not stand.
    claims: BTreeMap<String, BTreeMap<u32, Heads>>,
    apart: BTreeMap<Resource, Heads>,
    /// Resources that may serve somebody who stands at them.
    open: BTreeSet<Resource>,
    /// Tasks set aside one by one because their run or workflow is held, or out of focus.
    aside: BTreeMap<RunId, BTreeSet<(Seq, TaskId)>>,
}

#[derive(Debug, Default)]
struct Group {
    line: BTreeMap<Seq, (TaskId, Timestamp)>,
    place: Place,
}

/// Where the head of a group stands.
#[derive(Debug, Default)]
enum Place {
    /// Worth a look.
    #[default]
    Active,
    /// These are too short for it, or somebody earlier stands there.
    At(Vec<Resource>),
    /// This is closed.
    Apart(Resource),
}

impl Request {
    /// What it needs, with how many units of each.
    pub(crate) fn needs(&self) -> impl Iterator<Item = (Resource, u32)> {
        let pools = self.demand.resources.iter().map(|(name, units)| (Resource::Pool(name.clone()), *units));
        let parallel = self.parallel.map(|run| (Resource::Parallel(run), 1));
        std::iter::once((Resource::Slot, 1)).chain(pools).chain(parallel)
    }
}

impl Ready {
    /// Puts a task in line.
    pub(crate) fn add(&mut self, request: Request, seq: Seq, since: Timestamp, task: TaskId) {
        let group = self.groups.entry(request.clone()).or_default();
        let headed = group.line.first_key_value().map(|(first, _)| *first);
        group.line.insert(seq, (task, since));
        if headed.is_none_or(|first| seq < first) {
            // It heads its group: whoever did so before stands behind it now.
            if let Some(before) = headed {
                self.take_from_place(&request, before);
                self.free_all(&request);
            }
            self.active.insert(request, seq, since);
        }
    }

    /// Takes a task out of line, wherever it stands.
    pub(crate) fn remove(&mut self, request: &Request, seq: Seq, task: TaskId) {
        if let Some(aside) = self.aside.get_mut(&task.run)
            && aside.remove(&(seq, task))
        {
            if aside.is_empty() {
                self.aside.remove(&task.run);
            }
            return;
        }
        self.drop_from_line(request, seq);
    }

    /// Says that a resource may have gained units, or may be open again.
    pub(crate) fn freed(&mut self, resource: Resource) {
        if let Some(heads) = self.apart.remove(&resource) {
            for (request, seq, since) in heads {
                if let Some(group) = self.groups.get_mut(&request) {
                    group.place = Place::Active;
                }
                self.active.insert(request, seq, since);
            }
        }
        if self.standing.contains_key(&resource) {
            self.open.insert(resource);
        }
    }

    /// The next task to deal with, in order. Call again when that is done.
    pub(crate) fn next(&mut self, now: Timestamp, supply: &impl Supply) -> Option<Next> {
        loop {
            let (rank, request) = self.next_head(now, supply)?;
            let seq = rank.seq;
            let (task, _) = self.groups[&request].line[&seq];
            if supply.is_held(task) {
                return Some(Next::Held(request, seq, task));
            }
            if let Some(resource) = supply.closed(&request) {
                self.stand_apart(request, seq, resource);
                continue;
            }
            let at = self.too_short(rank, &request, now, supply);
            if at.is_empty() {
                return Some(Next::Grant(request, seq, task));
            }
            let reserved = self.only_reserved(&request, &at, supply);
            self.stand_at(request, seq, at);
            // Whoever comes first there may do so only since it came of age, and was not looked at since.
            self.open.extend(reserved);
        }
    }

    /// Those of the resources of which there is enough, were it not for somebody earlier.
    fn only_reserved(&self, request: &Request, at: &[Resource], supply: &impl Supply) -> Vec<Resource> {
        let enough = |(resource, units): &(Resource, u32)| {
            at.contains(resource) && self.standing.contains_key(resource) && supply.free(resource, request) >= *units
        };
        request.needs().filter(enough).map(|(resource, _)| resource).collect()
    }

    /// Sets a task aside because its run is held; [`Ready::recall`] brings it back.
    pub(crate) fn set_aside(&mut self, request: &Request, seq: Seq, task: TaskId) {
        self.drop_from_line(request, seq);
        self.aside.entry(task.run).or_default().insert((seq, task));
    }

    /// Looks again at heads that came to stand where they stand and are held since, or need what is
    /// closed since: they must not hold up others.
    pub(crate) fn review(&mut self, supply: &impl Supply) {
        let head = |(request, group): (&Request, &Group)| {
            let (seq, (task, since)) = group.line.first_key_value()?;
            let stands =
                matches!(group.place, Place::At(_)) && (supply.is_held(*task) || supply.closed(request).is_some());
            stands.then(|| (request.clone(), *seq, *since))
        };
        let held: Vec<(Request, Seq, Timestamp)> = self.groups.iter().filter_map(head).collect();
        for (request, seq, since) in held {
            self.take_from_place(&request, seq);
            self.active.insert(request.clone(), seq, since);
            self.free_all(&request);
        }
    }

    /// The tasks of a run that were set aside; the caller puts them in line again.
    pub(crate) fn recall(&mut self, run: RunId) -> BTreeSet<(Seq, TaskId)> {
        self.aside.remove(&run).unwrap_or_default()
    }

    /// Since when the task that stands longest in each queue does so. Tasks set aside do not count.
    pub fn oldest(&self) -> BTreeMap<Arc<str>, Timestamp> {
        let mut oldest: BTreeMap<Arc<str>, Timestamp> = BTreeMap::new();
        for (request, group) in &self.groups {
            // Within a group places follow age.
            let Some((_, (_, since))) = group.line.first_key_value() else { continue };
            let first = oldest.entry(Arc::clone(&request.demand.queue)).or_insert(*since);
            *first = (*first).min(*since);
        }
        oldest
    }

    /// The runs that have tasks set aside.
    pub(crate) fn runs_aside(&self) -> Vec<RunId> {
        self.aside.keys().copied().collect()
    }

    /// The resources that the head of a request's line stands at: short for it, or for somebody earlier.
    pub(crate) fn stands_at(&self, request: &Request) -> &[Resource] {
        match self.groups.get(request).map(|group| &group.place) {
            Some(Place::At(at)) => at,
            Some(Place::Active | Place::Apart(_)) | None => &[],
        }
    }

    /// Whether nothing is left anywhere.
    #[cfg(test)]
    fn is_clear(&self) -> bool {
        let heads_gone = self.active.is_empty() && self.standing.is_empty() && self.apart.is_empty();
        heads_gone && self.groups.is_empty() && self.claims.is_empty() && self.open.is_empty() && self.aside.is_empty()
    }

    /// Every task that is in line or set aside.
    pub(crate) fn tasks(&self) -> BTreeSet<(Seq, TaskId)> {
        let in_line = self.groups.values().flat_map(|group| group.line.iter().map(|(seq, (task, _))| (*seq, *task)));
        in_line.chain(self.aside.values().flatten().copied()).collect()
    }

    /// The earliest head that is worth a look: active, or at a resource that is open. It is active then.
    fn next_head(&mut self, now: Timestamp, supply: &impl Supply) -> Option<(Rank, Request)> {
        let mut first = self.active.first(now, supply).map(|(rank, request)| (rank, request, None));
        for resource in &self.open {
            let standing = self.standing.get(resource).and_then(|heads| heads.first(now, supply));
            if let Some((rank, request)) = standing
                && first.as_ref().is_none_or(|(earliest, ..)| rank < *earliest)
            {
                first = Some((rank, request, Some(resource)));
            }
        }
        let (rank, request, stands) = first.map(|(rank, request, at)| (rank, request.clone(), at.is_some()))?;
        if stands {
            let since = self.groups[&request].line[&rank.seq].1;
            self.take_from_place(&request, rank.seq);
            self.active.insert(request.clone(), rank.seq, since);
        }
        Some((rank, request))
    }

    /// The resources of a request that are short, or short for somebody earlier who shares them: units of
    /// a pool that are too few for the earlier one, or a slot that only work fetched ahead could still have.
    fn too_short(&self, rank: Rank, request: &Request, now: Timestamp, supply: &impl Supply) -> Vec<Resource> {
        let earlier = |heads: &Heads| heads.first(now, supply).is_some_and(|(first, _)| first < rank);
        let is_short = |(resource, units): &(Resource, u32)| {
            let free = supply.free(resource, request);
            let claimed = match resource {
                Resource::Pool(name) => self.claims.get(name),
                Resource::Slot | Resource::Parallel(_) | Resource::Queue(_) => None,
            };
            free < *units
                || self.standing.get(resource).is_some_and(earlier)
                || claimed.is_some_and(|claims| claims.range(free.saturating_add(1)..).any(|(_, heads)| earlier(heads)))
        };
        request.needs().filter(is_short).map(|(resource, _)| resource).collect()
    }

    fn stand_at(&mut self, request: Request, seq: Seq, at: Vec<Resource>) {
        self.active.remove(&request, seq);
        let Some(group) = self.groups.get_mut(&request) else { return };
        let since = group.line[&seq].1;
        group.place = Place::At(at.clone());
        for resource in at {
            self.open.remove(&resource);
            self.standing.entry(resource).or_default().insert(request.clone(), seq, since);
        }
        for (pool, units) in &request.demand.resources {
            let claims = self.claims.entry(pool.clone()).or_default();
            claims.entry(*units).or_default().insert(request.clone(), seq, since);
        }
    }

    fn stand_apart(&mut self, request: Request, seq: Seq, resource: Resource) {
        self.active.remove(&request, seq);
        let Some(group) = self.groups.get_mut(&request) else { return };
        let since = group.line[&seq].1;
        group.place = Place::Apart(resource.clone());
        self.free_all(&request);
        self.apart.entry(resource).or_default().insert(request, seq, since);
    }

    /// Takes the head of a group from wherever it stands.
    fn take_from_place(&mut self, request: &Request, seq: Seq) {
        let Some(group) = self.groups.get_mut(request) else { return };
        match std::mem::take(&mut group.place) {
            Place::Active => self.active.remove(request, seq),
            Place::Apart(resource) => {
                heads::remove_at(&mut self.apart, &resource, request, seq);
            }
            Place::At(at) => {
                for resource in &at {
                    if heads::remove_at(&mut self.standing, resource, request, seq) {
                        self.open.remove(resource);
                    }
                }
                for (pool, units) in &request.demand.resources {
                    if let Some(claims) = self.claims.get_mut(pool)
                        && heads::remove_at(claims, units, request, seq)
                        && claims.is_empty()
                    {
                        self.claims.remove(pool);
                    }
                }
            }
        }
    }

    fn drop_from_line(&mut self, request: &Request, seq: Seq) {
        let Some(group) = self.groups.get_mut(request) else { return };
        if group.line.first_key_value().is_none_or(|(first, _)| *first != seq) {
            group.line.remove(&seq);
            return;
        }
        self.take_from_place(request, seq);
        let Some(group) = self.groups.get_mut(request) else { return };
        group.line.remove(&seq);
        match group.line.first_key_value().map(|(seq, (_, since))| (*seq, *since)) {
            Some((seq, since)) => self.active.insert(request.clone(), seq, since),
            None => {
                self.groups.remove(request);
            }
        }
        self.free_all(request);
    }

    /// Lets those go on who stood behind a head that needed these.
    fn free_all(&mut self, request: &Request) {
        for (resource, _) in request.needs() {
            if self.standing.contains_key(&resource) {
                self.open.insert(resource);
            }
        }
    }
}
