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
//! A slot is one of any crew (all workers that take the same) that takes the task. So a head stands at all of
//! its crews when none of them can have it, and a task that no crew takes shares no slot with anybody else's.
//!
//! Heads are looked at in the order of their ranks, and only those for which something may have
//! changed: a grant costs a few ordered-map operations, however many tasks wait, in however many queues.
//! A rank changes by age alone, and then at a moment that is known: such a head is looked at then.
//!
//! What concerns many heads at once (a queue that is let go, a run that is recalled) is a chore that is
//! done bit by bit, before anybody is looked at.

mod chores;
mod heads;
#[cfg(test)]
mod tests;

use crate::{
    RunId, Seq, TaskId, Timestamp,
    time::Millis,
    worker::{Serves, WorkKind},
    workflow::Priority,
};
use chores::Chores;
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
    /// The kind of its work.
    pub kind: WorkKind,
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
    /// Its run, if somebody who holds something waits for that: it is not held up by the order of the lines, and may
    /// have what its ancestors lend.
    pub owed: Option<RunId>,
}

/// What a task can be short of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A slot of a worker of this crew.
    Slot(Arc<Serves>),
    /// A slot, for tasks of this queue and kind, which no crew takes.
    NoSlot(Arc<str>, WorkKind),
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
    /// The crews that take the request.
    fn crews(&self, request: &Request) -> Vec<Arc<Serves>>;
    /// Units of a resource that the request could be given now.
    fn free(&self, resource: &Resource, request: &Request) -> u32;
    /// Units of a resource that nobody has, not even to lend.
    fn left(&self, resource: &Resource) -> u32;
    /// Whether a task may not be granted now because its run or workflow is held, out of focus, or
    /// comes to its end.
    fn is_held(&self, task: TaskId) -> bool;
}

/// A task whose turn it is; it stays in line until it is removed or set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Everything that it needs is there, with a slot of any of these crews.
    Grant(Request, Seq, TaskId, Vec<Arc<Serves>>),
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
    /// Of those that stand: whoever is not held up by the order.
    owed: BTreeMap<Resource, Heads>,
    /// The groups of runs that are owed what they ask for.
    families: BTreeMap<RunId, BTreeSet<Request>>,
    /// Resources that the first there could not have: those behind that place who are not held up are asked as well.
    passing: BTreeMap<Resource, Rank>,
    /// Tasks set aside one by one because their run or workflow is held, or out of focus.
    aside: Aside,
    /// Heads that do not count as high yet, by the moment at which they will.
    ageing: BTreeMap<(Timestamp, Seq), Request>,
    /// How long tasks wait before they count as high, by queue; the default where nothing is said.
    patience: BTreeMap<Arc<str>, Millis>,
    chores: Chores,
}

/// Tasks out of line, each with what brings it back to its place.
type Aside = BTreeMap<RunId, BTreeMap<(Seq, TaskId), (Request, Timestamp)>>;

#[derive(Debug, Default)]
struct Group {
    line: BTreeMap<Seq, (TaskId, Timestamp)>,
    place: Place,
    /// Whether its head counts as high by its age.
    is_aged: bool,
    /// When its head does or did so; none: it is high by itself.
    ages_at: Option<Timestamp>,
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
    /// What it needs beside a slot, with how many units of each.
    pub(crate) fn needs(&self) -> impl Iterator<Item = (Resource, u32)> {
        let pools = self.demand.resources.iter().map(|(name, units)| (Resource::Pool(name.clone()), *units));
        let parallel = self.parallel.map(|run| (Resource::Parallel(run), 1));
        pools.chain(parallel)
    }
}

impl Ready {
    /// Puts a task in line.
    pub(crate) fn add(&mut self, request: Request, seq: Seq, since: Timestamp, task: TaskId) {
        if let Some(run) = request.owed {
            self.families.entry(run).or_default().insert(request.clone());
        }
        let group = self.groups.entry(request.clone()).or_default();
        let headed = group.line.first_key_value().map(|(first, _)| *first);
        if headed.is_none_or(|first| seq < first) {
            // It heads its group: whoever did so before stands behind it now.
            if headed.is_some() {
                self.take_head(&request);
                self.free_all(&request);
            }
            self.line_of(&request).insert(seq, (task, since));
            self.welcome_head(&request);
        } else {
            group.line.insert(seq, (task, since));
        }
    }

    /// Takes a task out of line, wherever it stands.
    pub(crate) fn remove(&mut self, request: &Request, seq: Seq, task: TaskId) {
        let of_run = [&mut self.aside, &mut self.chores.recalled];
        if !of_run.into_iter().any(|aside| take_aside(aside, seq, task)) {
            self.drop_from_line(request, seq);
        }
    }

    /// Says that a resource may have gained units, or may be open again.
    pub(crate) fn freed(&mut self, resource: Resource) {
        if self.apart.contains_key(&resource) {
            self.chores.reopened.insert(resource.clone());
        }
        if self.standing.contains_key(&resource) {
            self.open.insert(resource);
        }
    }

    /// Somebody above a run may have something to lend to it: its heads are worth a look, wherever they stand.
    pub(crate) fn call(&mut self, run: RunId) {
        for request in self.families.get(&run).cloned().into_iter().flatten() {
            let Some(group) = self.groups.get(&request) else { continue };
            let Place::At(at) = &group.place else { continue };
            // What is lent to it may be all that it lacks of one of these: whoever stands behind it there may be next.
            let (rank, needs) = (group.rank(&request), request.needs().map(|(resource, _)| resource));
            let held_up: Vec<Resource> = at.iter().cloned().chain(needs).collect();
            self.take_from_place(&request);
            let is_next = |heads: &Heads| heads.first().is_some_and(|(first, _)| first > rank);
            self.open.extend(held_up.into_iter().filter(|resource| self.standing.get(resource).is_some_and(is_next)));
            self.active.insert(rank, request);
        }
    }

    /// The same for all runs that are owed something.
    pub(crate) fn call_all(&mut self) {
        for run in self.families.keys().copied().collect::<Vec<_>>() {
            self.call(run);
        }
    }

    /// The next task to deal with, in order; call again when that is done. Chores come first. Each head that is
    /// looked at is counted off `looks`; with none left, nothing is next for now.
    pub(crate) fn next(&mut self, now: Timestamp, supply: &impl Supply, looks: &mut usize) -> Option<Next> {
        self.do_chores(supply, looks);
        self.come_of_age(now, looks);
        while *looks > 0 {
            // Each open resource is asked for its first head.
            *looks = looks.saturating_sub(1 + self.open.len() + self.passing.len());
            let (rank, request) = self.next_head()?;
            let seq = rank.seq;
            let (task, _) = self.groups[&request].line[&seq];
            if supply.is_held(task) {
                return Some(Next::Held(request, seq, task));
            }
            if let Some(resource) = supply.closed(&request) {
                self.stand_apart(request, rank, resource);
                continue;
            }
            match self.too_short(rank, &request, supply) {
                Ok(crews) => return Some(Next::Grant(request, seq, task, crews)),
                Err(at) => self.stand_at(request, rank, at, supply),
            }
        }
        None
    }

    /// Has heads that have waited long enough count as high, and looks at each anew: it may pass others now.
    pub(crate) fn come_of_age(&mut self, now: Timestamp, looks: &mut usize) {
        while *looks > 0
            && let Some(first) = self.ageing.first_entry().filter(|first| first.key().0 <= now)
        {
            *looks -= 1;
            let request = first.remove();
            self.take_from_place(&request);
            let Some(group) = self.groups.get_mut(&request) else { continue };
            group.is_aged = true;
            let rank = group.rank(&request);
            self.active.insert(rank, request);
        }
    }

    /// The next moment at which a head counts as high, and whose.
    pub(crate) fn next_ageing(&self) -> Option<(Timestamp, TaskId)> {
        let ((at, seq), request) = self.ageing.first_key_value()?;
        Some((*at, self.groups.get(request)?.line.get(seq)?.0))
    }

    /// Sets a task aside because its run is held; [`Ready::recall`] brings it back.
    pub(crate) fn set_aside(&mut self, request: &Request, seq: Seq, task: TaskId) {
        let since = self.groups.get(request).and_then(|group| group.line.get(&seq)).map(|(_, since)| *since);
        let Some(since) = since else { return };
        self.drop_from_line(request, seq);
        self.aside.entry(task.run).or_default().insert((seq, task), (request.clone(), since));
    }

    /// How many tasks stand in each queue, those set aside included, and since when the oldest of them does.
    pub fn by_queue(&self) -> BTreeMap<Arc<str>, (u32, Timestamp)> {
        let mut queues: BTreeMap<Arc<str>, (u32, Timestamp)> = BTreeMap::new();
        let mut count = |queue: &Arc<str>, many: usize, since: Timestamp| {
            let many = u32::try_from(many).unwrap_or(u32::MAX);
            let (size, oldest) = queues.entry(Arc::clone(queue)).or_insert((0, since));
            *size = size.saturating_add(many);
            *oldest = since.min(*oldest);
        };
        for (request, group) in &self.groups {
            // Within a group places follow age.
            if let Some((_, (_, since))) = group.line.first_key_value() {
                count(&request.demand.queue, group.line.len(), *since);
            }
        }
        for (request, since) in self.aside.values().flat_map(BTreeMap::values) {
            count(&request.demand.queue, 1, *since);
        }
        queues
    }

    /// Whether somebody in line asks for this kind of work.
    pub(crate) fn asks_for(&self, kind: &WorkKind) -> bool {
        self.groups.keys().any(|request| request.demand.kind == *kind)
    }

    /// All lines, each with what its tasks ask for; without those set aside.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&Request, &BTreeMap<Seq, (TaskId, Timestamp)>)> {
        self.groups.iter().map(|(request, group)| (request, &group.line))
    }

    /// The task that stands first at a resource, if anybody stands there.
    pub(crate) fn first_at(&self, resource: &Resource) -> Option<TaskId> {
        let (rank, request) = self.standing.get(resource)?.first()?;
        self.groups.get(request)?.line.get(&rank.seq).map(|(task, _)| *task)
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
        let tasks_gone = self.groups.is_empty() && self.aside.is_empty() && self.ageing.is_empty();
        heads_gone
            && tasks_gone
            && self.claims.is_empty()
            && self.open.is_empty()
            && self.owed.is_empty()
            && self.families.is_empty()
            && self.chores.is_clear()
    }

    /// Every task that is in line or set aside.
    pub(crate) fn tasks(&self) -> BTreeSet<(Seq, TaskId)> {
        let in_line = self.groups.values().flat_map(|group| group.line.iter().map(|(seq, (task, _))| (*seq, *task)));
        let aside = self.aside.values().chain(self.chores.recalled.values());
        in_line.chain(aside.flat_map(|tasks| tasks.keys().copied())).collect()
    }

    /// The earliest head that is worth a look: active, or at a resource that is open. It is active then.
    fn next_head(&mut self) -> Option<(Rank, Request)> {
        let standing = self.open.iter().filter_map(|resource| self.standing.get(resource)?.first());
        let passing = self.passing.iter().filter_map(|(resource, rank)| self.owed.get(resource)?.after(*rank));
        let first = standing.chain(passing).chain(self.active.first()).min_by_key(|(rank, _)| *rank);
        let (rank, request) = first.map(|(rank, request)| (rank, request.clone()))?;
        if !matches!(self.groups[&request].place, Place::Active) {
            self.take_from_place(&request);
            self.active.insert(rank, request.clone());
        }
        Some((rank, request))
    }

    /// The resources of a request that are short, or short for somebody earlier who shares them: units of
    /// a pool that are too few for the earlier one, or a slot that only work fetched ahead could still have.
    /// If there are none: the crews that can have it.
    fn too_short(
        &self,
        rank: Rank,
        request: &Request,
        supply: &impl Supply,
    ) -> Result<Vec<Arc<Serves>>, Vec<Resource>> {
        let earlier = |heads: &Heads| request.owed.is_none() && heads.first().is_some_and(|(first, _)| first < rank);
        let is_short = |(resource, units): &(Resource, u32)| {
            let free = supply.free(resource, request);
            let claimed = match resource {
                Resource::Pool(name) => self.claims.get(name),
                Resource::Slot(_) | Resource::NoSlot(..) | Resource::Parallel(_) | Resource::Queue(_) => None,
            };
            // Who is lent what it asks for takes nothing from those behind it.
            let claims = |(units, heads): (&u32, &Heads)| {
                heads.before(rank).any(|head| head.owed.is_none() || supply.free(resource, head) < *units)
            };
            free < *units
                || self.standing.get(resource).is_some_and(earlier)
                || request.owed.is_none()
                    && claimed.is_some_and(|claimed| claimed.range(free.saturating_add(1)..).any(claims))
        };
        let mut short: Vec<Resource> = request.needs().filter(&is_short).map(|(resource, _)| resource).collect();
        let mut crews = supply.crews(request);
        let slots = slots(request, &crews);
        crews.retain(|crew| !is_short(&(Resource::Slot(Arc::clone(crew)), 1)));
        if crews.is_empty() {
            short.splice(0..0, slots);
        }
        if short.is_empty() { Ok(crews) } else { Err(short) }
    }

    fn stand_at(&mut self, request: Request, rank: Rank, at: Vec<Resource>, supply: &impl Supply) {
        self.active.remove(rank);
        let Some(group) = self.groups.get_mut(&request) else { return };
        group.place = Place::At(at.clone());
        for resource in at {
            let was_asked = self.open.remove(&resource) || self.passing.remove(&resource).is_some();
            let is_next = || self.owed.get(&resource).is_some_and(|heads| heads.after(rank).is_some());
            // Where nothing is left, only those can be served who are lent something: they are called.
            if was_asked && supply.left(&resource) > 0 && is_next() {
                self.passing.insert(resource.clone(), rank);
            }
            if request.owed.is_some() {
                self.owed.entry(resource.clone()).or_default().insert(rank, request.clone());
            }
            self.standing.entry(resource).or_default().insert(rank, request.clone());
        }
        for (pool, units) in &request.demand.resources {
            let claims = self.claims.entry(pool.clone()).or_default();
            claims.entry(*units).or_default().insert(rank, request.clone());
        }
    }

    fn stand_apart(&mut self, request: Request, rank: Rank, resource: Resource) {
        self.active.remove(rank);
        let Some(group) = self.groups.get_mut(&request) else { return };
        group.place = Place::Apart(resource.clone());
        self.free_all(&request);
        self.apart.entry(resource).or_default().insert(rank, request);
    }

    /// Takes the head of a group from wherever it stands.
    fn take_from_place(&mut self, request: &Request) {
        let Some(group) = self.groups.get_mut(request) else { return };
        let rank = group.rank(request);
        match std::mem::take(&mut group.place) {
            Place::Active => self.active.remove(rank),
            Place::Apart(resource) => {
                if heads::remove_at(&mut self.apart, &resource, rank) {
                    self.chores.reopened.remove(&resource);
                }
            }
            Place::At(at) => {
                for resource in &at {
                    if heads::remove_at(&mut self.standing, resource, rank) {
                        self.open.remove(resource);
                    }
                    if request.owed.is_some() && heads::remove_at(&mut self.owed, resource, rank) {
                        self.passing.remove(resource);
                    }
                }
                for (pool, units) in &request.demand.resources {
                    if let Some(claims) = self.claims.get_mut(pool)
                        && heads::remove_at(claims, units, rank)
                        && claims.is_empty()
                    {
                        self.claims.remove(pool);
                    }
                }
            }
        }
    }

    /// Takes the head of a group from wherever it stands, and its age with it.
    fn take_head(&mut self, request: &Request) {
        self.take_from_place(request);
        let Some(group) = self.groups.get_mut(request) else { return };
        if let (Some(at), Some((seq, _))) = (group.ages_at.take(), group.line.first_key_value()) {
            self.ageing.remove(&(at, *seq));
        }
        group.is_aged = false;
    }

    /// Whoever heads a group now is worth a look, and is seen when it comes of age.
    fn welcome_head(&mut self, request: &Request) {
        let patience = self.patience_of(&request.demand.queue);
        let Some(group) = self.groups.get_mut(request) else { return };
        let Some((seq, since)) = group.line.first_key_value().map(|(seq, (_, since))| (*seq, *since)) else { return };
        group.ages_at = (request.demand.priority != Priority::High).then(|| since.plus(patience));
        if let Some(at) = group.ages_at {
            self.ageing.insert((at, seq), request.clone());
        }
        let rank = group.rank(request);
        self.active.insert(rank, request.clone());
    }

    fn line_of(&mut self, request: &Request) -> &mut BTreeMap<Seq, (TaskId, Timestamp)> {
        &mut self.groups.entry(request.clone()).or_default().line
    }

    fn drop_from_line(&mut self, request: &Request, seq: Seq) {
        let Some(group) = self.groups.get_mut(request) else { return };
        if group.line.first_key_value().is_none_or(|(first, _)| *first != seq) {
            group.line.remove(&seq);
            return;
        }
        self.take_head(request);
        let line = self.line_of(request);
        line.remove(&seq);
        if line.is_empty() {
            self.groups.remove(request);
            self.leave_family(request);
        } else {
            self.welcome_head(request);
        }
        self.free_all(request);
    }

    fn leave_family(&mut self, request: &Request) {
        let Some(run) = request.owed else { return };
        if let Some(family) = self.families.get_mut(&run) {
            family.remove(request);
            if family.is_empty() {
                self.families.remove(&run);
            }
        }
    }

    /// Lets those go on who stood behind a head that needed these.
    fn free_all(&mut self, request: &Request) {
        for (resource, _) in request.needs() {
            if self.standing.contains_key(&resource) {
                self.open.insert(resource);
            }
        }
        // Slots come first in the order of resources, and there are few crews.
        let (queue, kind) = (&request.demand.queue, &request.demand.kind);
        let crews = self.standing.keys().map_while(|resource| match resource {
            Resource::Slot(crew) => Some((resource, crew.takes(queue, kind))),
            Resource::NoSlot(..) | Resource::Pool(_) | Resource::Parallel(_) | Resource::Queue(_) => None,
        });
        self.open.extend(crews.filter(|(_, takes)| *takes).map(|(crew, _)| crew.clone()));
        let no_slot = Resource::NoSlot(Arc::clone(queue), kind.clone());
        if self.standing.contains_key(&no_slot) {
            self.open.insert(no_slot);
        }
    }
}

impl Group {
    /// The rank of its head, which it always has.
    fn rank(&self, request: &Request) -> Rank {
        let seq = self.line.first_key_value().map_or(Seq(u64::MAX), |(seq, _)| *seq);
        Rank { priority: if self.is_aged { Priority::High } else { request.demand.priority }, seq }
    }
}

/// The slots that a request can have, none of which is another's: of each crew that takes it.
pub(crate) fn slots(request: &Request, crews: &[Arc<Serves>]) -> Vec<Resource> {
    match crews {
        [] => vec![Resource::NoSlot(Arc::clone(&request.demand.queue), request.demand.kind.clone())],
        crews => crews.iter().map(|crew| Resource::Slot(Arc::clone(crew))).collect(),
    }
}

/// Takes a task from among those set aside; says whether it was there.
fn take_aside(aside: &mut Aside, seq: Seq, task: TaskId) -> bool {
    let Some(tasks) = aside.get_mut(&task.run) else { return false };
    let was_there = tasks.remove(&(seq, task)).is_some();
    if tasks.is_empty() {
        aside.remove(&task.run);
    }
    was_there
}
