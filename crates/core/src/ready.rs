//! The ready lines: who is granted next, in which order, and who may pass whom.
//!
//! Tasks that ask for the same things stand in one [`Group`], first come first served. The head of a
//! group is either *active* (worth trying) or stands *at* one resource that was too short for it. A
//! head may pass an earlier one only if that one does not stand at a resource it needs itself: so a
//! large request is never overtaken for ever by small ones, and one short pool holds up only its own.
//!
//! A grant costs a few ordered-map operations, however many tasks wait.

use crate::{RunId, Seq, TaskId, Timestamp, time::Millis, workflow::Priority};
use std::collections::{BTreeMap, BTreeSet};

/// What must be granted together to a task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// The queue it stands in.
    pub queue: String,
    /// Its class there.
    pub priority: Priority,
    /// Whether it may be leased ahead of a free slot.
    pub prefetchable: bool,
    /// Units of pools and locks.
    pub resources: BTreeMap<String, u32>,
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
    /// The queue is held by an operator.
    Queue(String),
}

/// Queued tasks in the order of their grants.
#[derive(Debug, Default)]
pub struct Ready {
    groups: BTreeMap<Request, Group>,
    active: Heads,
    standing: BTreeMap<Resource, Heads>,
    /// Resources that gained units while heads stand at them.
    open: BTreeSet<Resource>,
    /// Tasks set aside one by one because their run or workflow is held, or out of focus.
    aside: BTreeMap<RunId, BTreeSet<(Seq, TaskId)>>,
}

#[derive(Debug, Default)]
struct Group {
    line: BTreeMap<Seq, (TaskId, Timestamp)>,
    /// The resource its head stands at; none: active.
    at: Option<Resource>,
}

/// Heads of groups by queue and class; the first of each class by place in line.
#[derive(Debug, Default)]
struct Heads {
    by_class: BTreeMap<(String, Priority), BTreeMap<Seq, (Request, Timestamp)>>,
}

/// The order among heads: the class that counts now, then the place in line.
type Rank = (Priority, Seq);

/// How long low tasks wait before they count as high, by queue.
pub(crate) trait Ageing {
    /// The bound of one queue.
    fn counts_as_high_after(&self, queue: &str) -> Millis;
}

impl Heads {
    fn insert(&mut self, request: Request, seq: Seq, since: Timestamp) {
        let class = (request.queue.clone(), request.priority);
        self.by_class.entry(class).or_default().insert(seq, (request, since));
    }

    fn remove(&mut self, request: &Request, seq: Seq) {
        let class = (request.queue.clone(), request.priority);
        if let Some(heads) = self.by_class.get_mut(&class) {
            heads.remove(&seq);
            if heads.is_empty() {
                self.by_class.remove(&class);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.by_class.is_empty()
    }

    /// The first head in the order of grants. In one queue and class the earliest place is also the
    /// oldest, so only the first of each needs a look.
    fn first(&self, now: Timestamp, ageing: &impl Ageing) -> Option<(Rank, &Request)> {
        let ranked = self.by_class.iter().filter_map(|((queue, priority), heads)| {
            let (seq, (request, since)) = heads.first_key_value()?;
            let aged = now.since(*since) >= ageing.counts_as_high_after(queue);
            Some(((if aged { Priority::High } else { *priority }, *seq), request))
        });
        ranked.min_by_key(|(rank, _)| *rank)
    }
}

impl Ready {
    /// Puts a task in line.
    pub(crate) fn add(&mut self, request: Request, seq: Seq, since: Timestamp, task: TaskId) {
        let group = self.groups.entry(request.clone()).or_default();
        group.line.insert(seq, (task, since));
        if group.line.first_key_value().is_some_and(|(first, _)| *first == seq) {
            // It heads its group: whoever did so before stands behind it now.
            let behind = group.line.keys().nth(1).copied();
            let place = group.at.take();
            if let Some(old) = behind {
                self.leave(&request, old, place);
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

    /// Says that a resource may have gained units.
    pub(crate) fn freed(&mut self, resource: Resource) {
        if self.standing.contains_key(&resource) {
            self.open.insert(resource);
        }
    }

    /// The next task to grant, in order; it stays in line until it is removed.
    ///
    /// `short` says what a request is too short of now, if anything. Call again after each grant.
    pub(crate) fn next(
        &mut self,
        now: Timestamp,
        ageing: &impl Ageing,
        mut short: impl FnMut(&Request) -> Option<Resource>,
    ) -> Option<(Request, Seq, TaskId)> {
        loop {
            let Some((rank, request)) = self.active.first(now, ageing) else {
                self.open_one(now, ageing)?;
                continue;
            };
            let (request, seq) = (request.clone(), rank.1);
            if let Some(earlier) = self.stands_behind(rank, &request, now, ageing) {
                self.stand_at(request, seq, earlier);
            } else if let Some(resource) = short(&request) {
                self.open.remove(&resource);
                self.stand_at(request, seq, resource);
            } else {
                let (task, _) = self.groups[&request].line[&seq];
                return Some((request, seq, task));
            }
        }
    }

    /// Sets a task aside because its run is held; [`Ready::recall`] brings it back.
    pub(crate) fn set_aside(&mut self, request: &Request, seq: Seq, task: TaskId) {
        self.drop_from_line(request, seq);
        self.aside.entry(task.run).or_default().insert((seq, task));
    }

    /// The tasks of a run that were set aside; the caller puts them in line again.
    pub(crate) fn recall(&mut self, run: RunId) -> BTreeSet<(Seq, TaskId)> {
        self.aside.remove(&run).unwrap_or_default()
    }

    /// The runs that have tasks set aside.
    pub(crate) fn runs_aside(&self) -> Vec<RunId> {
        self.aside.keys().copied().collect()
    }

    /// Every task that is in line or set aside.
    pub(crate) fn tasks(&self) -> BTreeSet<(Seq, TaskId)> {
        let in_line = self.groups.values().flat_map(|group| group.line.iter().map(|(seq, (task, _))| (*seq, *task)));
        in_line.chain(self.aside.values().flatten().copied()).collect()
    }

    /// The resource that a group's head stands at, for explanations.
    pub fn standing_at(&self, request: &Request) -> Option<&Resource> {
        self.groups.get(request).and_then(|group| group.at.as_ref())
    }

    fn heads_at(&mut self, place: Option<Resource>) -> &mut Heads {
        match place {
            None => &mut self.active,
            Some(resource) => self.standing.entry(resource).or_default(),
        }
    }

    fn leave(&mut self, request: &Request, seq: Seq, place: Option<Resource>) {
        self.heads_at(place.clone()).remove(request, seq);
        if let Some(resource) = place
            && self.standing.get(&resource).is_some_and(Heads::is_empty)
        {
            self.standing.remove(&resource);
            self.open.remove(&resource);
        }
    }

    fn drop_from_line(&mut self, request: &Request, seq: Seq) {
        let Some(group) = self.groups.get_mut(request) else { return };
        let headed = group.line.first_key_value().is_some_and(|(first, _)| *first == seq);
        group.line.remove(&seq);
        if !headed {
            return;
        }
        let place = group.at.take();
        let next = group.line.first_key_value().map(|(seq, (_, since))| (*seq, *since));
        if next.is_none() {
            self.groups.remove(request);
        }
        if let Some(resource) = &place {
            // Whoever stands behind it at that resource may be less demanding.
            self.freed(resource.clone());
        }
        self.leave(request, seq, place);
        if let Some((seq, since)) = next {
            self.active.insert(request.clone(), seq, since);
        }
    }

    fn stand_at(&mut self, request: Request, seq: Seq, resource: Resource) {
        self.active.remove(&request, seq);
        if let Some(group) = self.groups.get_mut(&request) {
            group.at = Some(resource.clone());
            let since = group.line[&seq].1;
            self.standing.entry(resource).or_default().insert(request, seq, since);
        }
    }

    /// The resource of this request at which somebody of an earlier rank stands already.
    fn stands_behind(&self, rank: Rank, request: &Request, now: Timestamp, ageing: &impl Ageing) -> Option<Resource> {
        let pools = request.resources.keys().cloned().map(Resource::Pool);
        let needs = std::iter::once(Resource::Slot).chain(pools).chain(request.parallel.map(Resource::Parallel));
        needs.into_iter().find(|resource| {
            let first = self.standing.get(resource).and_then(|heads| heads.first(now, ageing));
            first.is_some_and(|(earlier, _)| earlier < rank)
        })
    }

    /// Makes the first head at an open resource active again. `None`: nothing is open.
    fn open_one(&mut self, now: Timestamp, ageing: &impl Ageing) -> Option<()> {
        while let Some(resource) = self.open.first().cloned() {
            let first = self.standing.get(&resource).and_then(|heads| heads.first(now, ageing));
            let Some(((_, seq), request)) = first else {
                self.open.remove(&resource);
                continue;
            };
            let request = request.clone();
            if let Some(group) = self.groups.get_mut(&request) {
                group.at = None;
                let since = group.line[&seq].1;
                let open = self.open.contains(&resource);
                self.leave(&request, seq, Some(resource.clone()));
                if open && self.standing.contains_key(&resource) {
                    self.open.insert(resource);
                }
                self.active.insert(request, seq, since);
                return Some(());
            }
        }
        None
    }
}
