//! The ready lines against a model that looks at everybody, every time.

use super::*;
use crate::TaskIndex;

/// Everything there is to give, and who asks for it, kept as plainly as can be.
#[derive(Default)]
struct Model {
    now: Timestamp,
    slots: BTreeMap<Arc<Serves>, u32>,
    pools: BTreeMap<String, u32>,
    closed_pools: BTreeSet<String>,
    closed_queues: BTreeSet<String>,
    held_runs: BTreeSet<RunId>,
    parallel: BTreeMap<RunId, u32>,
    waiting: BTreeMap<Seq, (Request, Timestamp, TaskId)>,
    granted: Vec<(Request, TaskId, Arc<Serves>)>,
}

const AGED: Millis = Millis(50);

impl Supply for Model {
    fn closed(&self, request: &Request) -> Option<Resource> {
        if self.closed_queues.contains(&*request.demand.queue) {
            return Some(Resource::Queue(request.demand.queue.clone()));
        }
        let pool = request.demand.resources.keys().find(|name| self.closed_pools.contains(*name));
        pool.map(|name| Resource::Pool(name.clone()))
    }

    fn crews(&self, request: &Request) -> Vec<Arc<Serves>> {
        let takes = |crew: &&Arc<Serves>| crew.takes(&request.demand.queue, &request.demand.kind);
        self.slots.keys().filter(takes).cloned().collect()
    }

    fn free(&self, resource: &Resource, _: &Request) -> u32 {
        match resource {
            Resource::Slot(crew) => self.slots[crew],
            Resource::NoSlot(..) => 0,
            Resource::Pool(name) => self.pools[name],
            Resource::Parallel(run) => self.parallel.get(run).copied().unwrap_or(2),
            Resource::Queue(_) => u32::MAX,
        }
    }

    fn left(&self, resource: &Resource) -> u32 {
        match resource {
            Resource::Slot(crew) => self.slots[crew],
            Resource::Pool(name) => self.pools[name],
            Resource::NoSlot(..) | Resource::Parallel(_) | Resource::Queue(_) => u32::MAX,
        }
    }

    fn is_held(&self, task: TaskId) -> bool {
        self.held_runs.contains(&task.run)
    }
}

impl Model {
    /// The first in the order of ranks of whom nobody earlier shares a resource that is short for them.
    fn next(&self) -> Option<(Request, Seq, TaskId, Vec<Arc<Serves>>)> {
        let rank = |(seq, (request, since, _)): &(&Seq, &(Request, Timestamp, TaskId))| {
            let aged = self.now.since(*since) >= AGED;
            (if aged { Priority::High } else { request.demand.priority }, **seq)
        };
        let competes = |(_, (request, _, task)): &(&Seq, &(Request, Timestamp, TaskId))| {
            !self.is_held(*task) && self.closed(request).is_none()
        };
        let mut in_order: Vec<_> = self.waiting.iter().filter(competes).collect();
        in_order.sort_by_key(rank);
        let mut short = BTreeSet::new();
        for (seq, (request, _, task)) in in_order {
            let lacks = |(resource, units): &(Resource, u32)| self.free(resource, request) < *units;
            let mut now_short: Vec<Resource> = request.needs().filter(lacks).map(|(resource, _)| resource).collect();
            let crews: Vec<Arc<Serves>> = self.crews(request).into_iter().filter(|crew| self.slots[crew] > 0).collect();
            if crews.is_empty() {
                now_short.extend(slots(request, &self.crews(request)));
            }
            let is_held_up = request.owed.is_none() && request.needs().any(|(resource, _)| short.contains(&resource));
            if now_short.is_empty() && !is_held_up {
                return Some((request.clone(), *seq, *task, crews));
            }
            short.extend(now_short);
        }
        None
    }

    fn give(&mut self, seq: Seq, crew: Arc<Serves>) {
        let (request, _, task) = self.waiting.remove(&seq).expect("who is granted was waiting");
        *self.slots.get_mut(&crew).expect("it is here") -= 1;
        for (pool, units) in &request.demand.resources {
            *self.pools.get_mut(pool).expect("pools are known") -= units;
        }
        if let Some(run) = request.parallel {
            *self.parallel.entry(run).or_insert(2) -= 1;
        }
        self.granted.push((request, task, crew));
    }

    fn take_back(&mut self, place: usize, ready: &mut Ready) {
        let (request, _, crew) = self.granted.swap_remove(place);
        // A crew may have gone with what it had.
        if let Some(slots) = self.slots.get_mut(&crew) {
            *slots += 1;
            ready.freed(Resource::Slot(crew));
        }
        for (pool, units) in &request.demand.resources {
            *self.pools.get_mut(pool).expect("pools are known") += units;
            ready.freed(Resource::Pool(pool.clone()));
        }
        if let Some(run) = request.parallel {
            *self.parallel.entry(run).or_insert(2) += 1;
            ready.freed(Resource::Parallel(run));
        }
    }
}

impl Model {
    /// A crew comes, or goes with all its slots.
    fn come_or_go(&mut self, crew: Arc<Serves>, ready: &mut Ready) {
        if self.slots.remove(&crew).is_none() {
            self.slots.insert(Arc::clone(&crew), 2);
            ready.freed(Resource::Slot(crew));
        } else {
            // What it had is lost with it; should it come again, that is nobody's.
            self.granted.iter_mut().filter(|(.., of)| *of == crew).for_each(|(.., of)| *of = nobody());
        }
        ready.review();
    }
}

fn nobody() -> Arc<Serves> {
    Arc::new(Serves { queues: Some(BTreeSet::new()), kinds: None })
}

/// Workers that take everything, one queue, one kind, and both.
fn some_crew(chance: &mut Chance) -> Arc<Serves> {
    let queue = || Some(BTreeSet::from([QUEUES[0].into()]));
    let kind = || Some(BTreeSet::from([WorkKind::Exec]));
    Arc::new(match chance.below(4) {
        0 => Serves::default(),
        1 => Serves { queues: queue(), kinds: None },
        2 => Serves { queues: None, kinds: kind() },
        _ => Serves { queues: queue(), kinds: kind() },
    })
}

/// `SplitMix64`: enough chance for a test, the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap_or_default()
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

const POOLS: [&str; 3] = ["disk", "net", "render"];
const QUEUES: [&str; 2] = ["default", "slow"];

fn run(number: usize) -> RunId {
    RunId::from_parts(0, number as u128)
}

fn some_request(chance: &mut Chance, run: RunId) -> Request {
    let mut resources = BTreeMap::new();
    for pool in POOLS {
        if chance.one_in(3) {
            resources.insert(pool.to_owned(), 1 + u32::try_from(chance.below(3)).unwrap_or_default());
        }
    }
    let demand = Demand {
        queue: QUEUES[chance.below(2)].into(),
        kind: WorkKind::BUILT_IN[chance.below(2)].clone(),
        priority: [Priority::High, Priority::Medium, Priority::Low][chance.below(3)],
        prefetchable: false,
        resources,
    };
    Request {
        demand: Arc::new(demand),
        parallel: chance.one_in(3).then_some(run),
        owed: chance.one_in(3).then_some(run),
    }
}

/// One random life of the lines; panics with what went wrong where.
fn live(seed: u64) {
    let mut chance = Chance(seed);
    let mut ready = Ready::default();
    QUEUES.iter().for_each(|queue| ready.set_patience(queue, AGED));
    let slots = BTreeMap::from([(some_crew(&mut chance), 3)]);
    let mut model = Model { slots, pools: POOLS.map(|pool| (pool.to_owned(), 4)).into(), ..Model::default() };
    for step in 0..60 {
        change(&mut chance, &mut ready, &mut model, Seq(step));
        loop {
            let expected = model.next();
            let found = loop {
                // However few looks there are at once, it comes to the same.
                let mut looks = 1 + chance.below(4);
                match ready.next(model.now, &model, &mut looks) {
                    Some(Next::Held(request, seq, task)) => ready.set_aside(&request, seq, task),
                    Some(Next::Grant(request, seq, task, crews)) => break Some((request, seq, task, crews)),
                    None if looks == 0 => {}
                    None => break None,
                }
            };
            assert_eq!(found, expected, "seed {seed}, step {step}");
            let Some((request, seq, task, mut crews)) = found else { break };
            ready.remove(&request, seq, task);
            model.give(seq, crews.swap_remove(chance.below(crews.len())));
        }
        let kept: BTreeSet<(Seq, TaskId)> = model.waiting.iter().map(|(seq, (.., task))| (*seq, *task)).collect();
        assert_eq!(ready.tasks(), kept, "seed {seed}, step {step}");
    }
    while let Some((seq, (request, _, task))) = model.waiting.pop_first() {
        ready.remove(&request, seq, task);
    }
    assert!(ready.is_clear(), "seed {seed}: something is left of tasks that are gone: {ready:?}");
}

/// One random thing that can happen to the lines.
fn change(chance: &mut Chance, ready: &mut Ready, model: &mut Model, seq: Seq) {
    let run = run(chance.below(3));
    let pool = POOLS[chance.below(3)].to_owned();
    let queue = QUEUES[chance.below(2)].to_owned();
    match chance.below(13) {
        0..=4 => {
            let request = some_request(chance, run);
            let task = run.task(TaskIndex(u32::try_from(seq.0).unwrap_or_default()));
            ready.add(request.clone(), seq, model.now, task);
            model.waiting.insert(seq, (request, model.now, task));
        }
        5 | 6 if !model.granted.is_empty() => {
            let place = chance.below(model.granted.len());
            model.take_back(place, ready);
        }
        7 if !model.waiting.is_empty() => {
            let place = chance.below(model.waiting.len());
            let seq = *model.waiting.keys().nth(place).expect("there are more");
            let (request, _, task) = model.waiting.remove(&seq).expect("it waits");
            ready.remove(&request, seq, task);
        }
        8 if model.held_runs.remove(&run) => ready.recall(run),
        8 => {
            model.held_runs.insert(run);
            ready.review();
        }
        9 if model.closed_queues.remove(&queue) => ready.freed(Resource::Queue(queue.into())),
        9 => {
            model.closed_queues.insert(queue);
            ready.review();
        }
        10 if model.closed_pools.remove(&pool) => ready.freed(Resource::Pool(pool)),
        10 => {
            model.closed_pools.insert(pool);
            ready.review();
        }
        11 => model.come_or_go(some_crew(chance), ready),
        // Whoever comes of age meanwhile is looked at.
        _ => model.now = model.now.plus(Millis(10)),
    }
}

#[test]
fn grants_come_in_the_order_of_the_rule() {
    for seed in 0..400 {
        live(seed);
    }
}

#[test]
fn work_that_may_be_fetched_ahead_does_not_pass_work_that_waits_for_a_slot() {
    struct OnlyAhead;
    impl Supply for OnlyAhead {
        fn closed(&self, _: &Request) -> Option<Resource> {
            None
        }
        fn crews(&self, _: &Request) -> Vec<Arc<Serves>> {
            vec![Arc::default()]
        }
        fn free(&self, _: &Resource, request: &Request) -> u32 {
            u32::from(request.demand.prefetchable)
        }
        fn left(&self, _: &Resource) -> u32 {
            1
        }
        fn is_held(&self, _: TaskId) -> bool {
            false
        }
    }
    let mut ready = Ready::default();
    let [plain, ahead] = [false, true].map(|prefetchable| {
        let (queue, priority, resources) = ("default".into(), Priority::Medium, BTreeMap::new());
        let demand = Demand { queue, kind: WorkKind::Noop, priority, prefetchable, resources };
        Request { demand: Arc::new(demand), parallel: None, owed: None }
    });
    let (first, second) = (run(0).task(TaskIndex(0)), run(0).task(TaskIndex(1)));
    ready.add(plain.clone(), Seq(1), Timestamp(0), first);
    ready.add(ahead.clone(), Seq(2), Timestamp(0), second);
    assert_eq!(ready.next(Timestamp(0), &OnlyAhead, &mut 9), None);
    ready.remove(&plain, Seq(1), first);
    assert_eq!(
        ready.next(Timestamp(0), &OnlyAhead, &mut 9),
        Some(Next::Grant(ahead, Seq(2), second, vec![Arc::default()]))
    );
}
