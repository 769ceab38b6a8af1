//! Why something does not go on, followed down to whoever can move it.

use super::{
    Cancel, Described, Standstill, among, analyze_dead, describe, describe::Bound, obstacle::Obstacle, standstills,
};
use crate::{
    RunId, Seq, State, TaskId, TaskIndex, Timestamp,
    deadlock::{Finding, VerdictId},
    ready::Resource,
    run::{Awaited, Lease, Phase, Run, RunStatus, Task, WaitOn},
    volatile::Party,
    workflow::{Definition, When},
};
use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Causes of one wait that are told; the rest is counted.
const CAUSES_MAX: usize = 5;
/// Waits that are told in all.
const TOLD_MAX: usize = 200;
/// How far down causes are followed.
const DEPTH_MAX: usize = 50;
/// The dead that are parted into those that hold up one another and those that wait behind them.
const PARTED_MAX: usize = 5_000;
/// Tasks, and leases, that are looked at to find the causes of one wait.
const LOOKED_AT_MAX: usize = 20_000;

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A run.
    Run(RunId),
    /// A task.
    Task(TaskId),
}

/// Why an unfinished run or task does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// Which.
    pub subject: Subject,
    /// The workflow's name, or the task's.
    pub name: Arc<str>,
    /// What it waits for, to be read after its name.
    pub sentence: String,
    /// Since when.
    pub since: Timestamp,
    /// The end of this that nothing else brings; none for a frozen run.
    pub bound: Option<Bound>,
    /// Who can move it.
    pub mover: Mover,
    /// What stands in its way, each with its own reasons: the oldest first, up to five.
    pub causes: Vec<Why>,
    /// Causes beside those.
    pub more: usize,
    /// Whether its causes are told elsewhere in the answer, or it is too long already.
    pub is_cut: bool,
    /// The deadlocks and orphaned waits among those that are told; only of what was asked about.
    pub dead_ends: Vec<DeadEnd>,
}

/// Tasks that can never move, behind which others wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadEnd {
    /// What they are.
    pub kind: Finding,
    /// Who they are, for people: `the deadlock of …`.
    pub name: String,
    /// Their ids.
    pub tasks: Vec<TaskId>,
    /// The verdict that told of them, if it left them as they are.
    pub verdict: Option<VerdictId>,
    /// What ends it, if they hold up one another.
    pub cancel: Option<Cancel>,
}

/// Who can move a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mover {
    /// Those that it waits for.
    Causes,
    /// Nobody whom it waits for: it is deadlocked.
    Nobody,
    /// Nobody whom it waits for, while those can never move behind whom it waits.
    Deadlock,
    /// The clock.
    Time,
    /// The worker that performs it.
    Worker(Arc<str>),
    /// Whoever sends its run this signal.
    Signal(Arc<str>),
    /// A person, who decides about it.
    Decision,
    /// Word that its last attempt is gone, or a person who knows.
    Confirmation,
    /// An operator, who lets a run go on.
    ResumeRun(RunId),
    /// An operator, who lets a workflow go on.
    ResumeWorkflow(Arc<str>),
    /// An operator, who lets a queue go on.
    ResumeQueue(Arc<str>),
    /// A worker that takes it and comes.
    NewWorker,
    /// Whoever gives the pool more units.
    Resize(String),
    /// A process that serves its run.
    Server,
    /// An operator, who ends its run by force.
    Force,
    /// The brain, in its next step.
    Brain,
}

impl Mover {
    /// A word for it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Causes => "causes",
            Self::Nobody => "nobody",
            Self::Deadlock => "deadlock",
            Self::Time => "time",
            Self::Worker(_) => "worker",
            Self::Signal(_) => "signal",
            Self::Decision => "decision",
            Self::Confirmation => "confirmation",
            Self::ResumeRun(_) => "resume_run",
            Self::ResumeWorkflow(_) => "resume_workflow",
            Self::ResumeQueue(_) => "resume_queue",
            Self::NewWorker => "new_worker",
            Self::Resize(_) => "resize",
            Self::Server => "server",
            Self::Force => "force",
            Self::Brain => "brain",
        }
    }

    /// The name that belongs to it: of a worker, a signal, a queue.
    pub fn name(&self) -> Option<String> {
        match self {
            Self::Worker(name) | Self::Signal(name) | Self::ResumeWorkflow(name) | Self::ResumeQueue(name) => {
                Some(name.to_string())
            }
            Self::ResumeRun(run) => Some(run.to_string()),
            Self::Resize(name) => Some(name.clone()),
            _ => None,
        }
    }
}

/// Follows the reasons of an unfinished run or task; nothing for what has ended. Its effort is bounded: what is not
/// looked at is counted, or said to be cut.
pub fn why(state: &State, subject: Subject, now: Timestamp) -> Option<Why> {
    let mut walk = Walk::new(state);
    let told = walk.tell(subject, 0)?;
    Some(Why { dead_ends: walk.dead_ends(now), ..told })
}

/// Who can move tasks of one state: what all of them need is looked for once.
pub struct Movers<'s>(Walk<'s>);

impl<'s> Movers<'s> {
    /// Those of a state.
    pub fn new(state: &'s State) -> Self {
        Self(Walk::new(state))
    }

    /// Who can move an unfinished task; nothing for what has ended.
    pub fn of(&self, id: TaskId) -> Option<Mover> {
        self.0.task(id).map(|(.., causes)| causes.mover)
    }
}

struct Walk<'s> {
    state: &'s State,
    told: BTreeSet<Subject>,
    /// Who holds units of each pool, those first that were granted first; made once for all that is told.
    holders: OnceCell<BTreeMap<&'s str, BTreeSet<(Seq, TaskId)>>>,
    /// The dead, parted; made once. None are where there are too many.
    parts: OnceCell<Vec<Standstill>>,
}

/// What can move a wait, and what stands before it.
struct Causes {
    mover: Mover,
    subjects: Vec<Subject>,
    /// Beside those.
    more: usize,
}

impl Causes {
    fn none(mover: Mover) -> Self {
        Self { mover, subjects: Vec::new(), more: 0 }
    }

    /// The first of these, in order.
    fn of(subjects: impl Iterator<Item = Subject>) -> Self {
        let mut subjects = subjects.take(LOOKED_AT_MAX);
        let named: Vec<Subject> = subjects.by_ref().take(CAUSES_MAX).collect();
        Self { mover: Mover::Causes, subjects: named, more: subjects.count() }
    }
}

impl<'s> Walk<'s> {
    fn new(state: &'s State) -> Self {
        Self { state, told: BTreeSet::new(), holders: OnceCell::new(), parts: OnceCell::new() }
    }

    fn tell(&mut self, subject: Subject, depth: usize) -> Option<Why> {
        let is_new = self.told.insert(subject);
        let (name, Described { sentence, since, bound }, causes) = match subject {
            Subject::Run(id) => self.run(self.state.runs.get(&id)?),
            Subject::Task(id) => self.task(id)?,
        };
        let is_cut = !causes.subjects.is_empty() && (!is_new || depth >= DEPTH_MAX || self.told.len() >= TOLD_MAX);
        let followed = if is_cut { Vec::new() } else { causes.subjects };
        let told = followed.into_iter().filter_map(|cause| self.tell(cause, depth + 1)).collect();
        Some(Why {
            subject,
            name,
            sentence,
            since,
            bound,
            mover: causes.mover,
            causes: told,
            more: causes.more,
            is_cut,
            dead_ends: Vec::new(),
        })
    }

    fn run(&self, run: &Run) -> (Arc<str>, Described, Causes) {
        let open = self.state.volatile.tally(run.id).open;
        let (sentence, since) = match (&run.poisoned, &run.ending, run.status()) {
            (Some(error), ..) => (format!("is frozen, one of its events failed: {error}"), run.submitted_at),
            (None, Some(ending), _) => (format!("comes to its end: {}", ending.reason), ending.since),
            (None, None, RunStatus::Pending) => ("waits for its start time".to_owned(), run.submitted_at),
            (None, None, _) => (format!("waits for {open} of its {} tasks to end", run.tasks.len()), run.submitted_at),
        };
        let bound = run.poisoned.is_none().then_some(Bound { at: run.deadline, then: "the run times out" });
        let causes = match (&run.poisoned, run.started || run.ending.is_some()) {
            (Some(_), _) => Causes::none(Mover::Force),
            (None, false) => Causes::none(Mover::Time),
            // Those that wait for others of the run are told below these.
            (None, true) => Causes::of(run.indexed_tasks().filter_map(|(index, task)| {
                let waits_for_others = task.wait().is_some_and(|wait| wait.on == WaitOn::Needs);
                (task.end().is_none() && !waits_for_others).then(|| Subject::Task(run.id.task(index)))
            })),
        };
        (Arc::clone(&run.workflow), Described { sentence, since, bound }, causes)
    }

    fn task(&self, id: TaskId) -> Option<(Arc<str>, Described, Causes)> {
        let described = describe(self.state, id)?;
        let run = &self.state.runs[&id.run];
        let definition = &self.state.definitions[&run.definition];
        let task = run.task(id.index);
        let mut causes = match &task.phase {
            _ if run.poisoned.is_some() => Causes::none(Mover::Force),
            Phase::Leased(lease) if lease.waits() => self.parked(run, id, lease),
            Phase::Leased(lease) => Causes::none(Mover::Worker(Arc::clone(&lease.worker.name))),
            Phase::Waiting(wait) => match wait.on {
                WaitOn::Needs => needs(run, definition, id.index),
                WaitOn::Grant => self.grant(Obstacle::of(self.state, run, definition, id), id),
                WaitOn::Backoff | WaitOn::Sleep => Causes::none(Mover::Time),
                WaitOn::Signal => Causes::none(match definition.task(id.index).kind.awaits() {
                    Some((name, _)) => Mover::Signal(Arc::clone(name)),
                    None => Mover::Brain,
                }),
                WaitOn::Decision => Causes::none(Mover::Decision),
                WaitOn::Confirmation => Causes::none(Mover::Confirmation),
            },
            Phase::Ended(_) => return None,
        };
        if causes.mover == Mover::Causes && self.state.volatile.graph.is_deadlocked(Party::Task(id)) {
            let parts = self.parts();
            let is_member = parts.is_empty() || parts.iter().any(|part| part.core.contains(&Party::Task(id)));
            causes.mover = if is_member { Mover::Nobody } else { Mover::Deadlock };
        }
        Some((Arc::clone(&definition.task(id.index).name), described, causes))
    }

    fn grant(&self, obstacle: Obstacle, id: TaskId) -> Causes {
        match obstacle {
            Obstacle::Ending | Obstacle::Nothing => Causes::none(Mover::Brain),
            Obstacle::RunHeld(_) => Causes::none(Mover::ResumeRun(id.run)),
            Obstacle::WorkflowHeld(name, _) => Causes::none(Mover::ResumeWorkflow(name)),
            Obstacle::QueueHeld(name, _) => Causes::none(Mover::ResumeQueue(name)),
            Obstacle::OutOfFocus => Causes::none(Mover::Server),
            Obstacle::PoolClosed(..) => Causes::none(Mover::Confirmation),
            Obstacle::PoolTooSmall { name, .. } => Causes::none(Mover::Resize(name)),
            Obstacle::NoWorker(_) => Causes::none(Mover::NewWorker),
            Obstacle::Slots(asked) => {
                let volatile = &self.state.volatile;
                let crews: Vec<_> = volatile.workers.serving(&asked.demand.queue, &asked.demand.kind).collect();
                let members = crews.into_iter().flat_map(|crew| volatile.workers.of_crew(crew));
                let leases = members.filter_map(|(worker, _)| volatile.leases.get(worker)).flatten();
                self.oldest(leases.copied(), |_| true)
            }
            Obstacle::Units { name, asked } => {
                let causes = Causes::of(self.holders_of(&name));
                let mover = if self.is_lost(&name, asked) { Mover::Deadlock } else { causes.mover };
                Causes { mover, ..causes }
            }
            Obstacle::Parallel(run) => {
                let tasks = self.state.runs[&run].indexed_tasks().filter(|(_, task)| task.lease().is_some());
                self.oldest(tasks.map(|(index, _)| run.task(index)), |_| true)
            }
            Obstacle::Behind(resource) => self.behind(&resource),
        }
    }

    /// Whether the dead keep so much of a pool that a request for it is never served while they do.
    fn is_lost(&self, pool: &str, asked: u32) -> bool {
        let graph = &self.state.volatile.graph;
        let Some(known) = self.state.pools.get(pool).filter(|_| graph.deadlocked().next().is_some()) else {
            return false;
        };
        let is_dead = |subject: &Subject| matches!(subject, Subject::Task(id) if graph.is_deadlocked(Party::Task(*id)));
        let held = |subject: Subject| match subject {
            Subject::Task(id) => self.state.task(id)?.lease()?.holds.get(pool).copied(),
            Subject::Run(_) => None,
        };
        let kept: u32 = self.holders_of(pool).filter(is_dead).filter_map(held).sum();
        known.size.saturating_sub(kept) < asked
    }

    /// The dead, parted.
    fn parts(&self) -> &[Standstill] {
        self.parts.get_or_init(|| {
            let graph = &self.state.volatile.graph;
            let dead: BTreeSet<Party> = graph.deadlocked().take(PARTED_MAX + 1).collect();
            if dead.is_empty() || dead.len() > PARTED_MAX {
                return Vec::new();
            }
            standstills(&among(self.state, Timestamp::default(), &dead)).1
        })
    }

    /// Those of the dead that were told, or that somebody waits behind who was.
    fn dead_ends(&self, now: Timestamp) -> Vec<DeadEnd> {
        let told = |party: &Party| match party {
            Party::Task(task) => self.told.contains(&Subject::Task(*task)),
            Party::Run(run) => self.told.contains(&Subject::Run(*run)),
        };
        let met = self.parts().iter().filter(|part| part.core.iter().chain(&part.behind).any(told));
        met.take(CAUSES_MAX).map(|part| self.dead_end(part, now)).collect()
    }

    fn dead_end(&self, part: &Standstill, now: Timestamp) -> DeadEnd {
        let picture = among(self.state, now, &part.core);
        let analysis = analyze_dead(&picture);
        let kind = Finding::of(&analysis);
        let verdict = part.members().find_map(|id| {
            let task = self.state.task(id)?;
            Some(VerdictId(task.told.as_deref().filter(|told| told.version == task.wait_version)?.verdict))
        });
        let cancel = Cancel::of(self.state, &picture, &analysis).filter(|_| kind == Finding::Deadlocked);
        DeadEnd { kind, name: part.named(self.state, kind), tasks: part.members().collect(), verdict, cancel }
    }

    /// What an attempt waits for, of whatever kind: whoever holds it, and runs that it spawned.
    fn parked(&self, run: &Run, id: TaskId, lease: &Lease) -> Causes {
        let Some(parked) = &lease.parked else { return Causes::none(Mover::Brain) };
        let children = self.state.children.get(&id);
        let (mut subjects, mut mover) = (Vec::new(), None);
        for term in parked.on.terms() {
            match term {
                Awaited::Units { pool, units } => {
                    let poisoned = self.state.pools.get(pool).is_some_and(|pool| pool.poisoned.is_some());
                    if poisoned {
                        mover = Some(Mover::Confirmation);
                    } else if self.state.free_units(pool) < *units {
                        subjects.extend(self.holders_of(pool).take(CAUSES_MAX));
                    }
                }
                Awaited::Child { key, .. } => {
                    let open = children.and_then(|children| children.get(key)).filter(|child| child.ended.is_none());
                    subjects.extend(open.map(|child| Subject::Run(child.run)));
                }
                Awaited::Children => {
                    let open = children.into_iter().flatten().filter(|(_, child)| child.is_awaited());
                    subjects.extend(open.map(|(_, child)| Subject::Run(child.run)));
                }
                Awaited::Signal { name, from } => {
                    let open = from.iter().filter(|sender| run.task(**sender).end().is_none());
                    subjects.extend(open.map(|sender| Subject::Task(run.id.task(*sender))));
                    mover = Some(Mover::Signal(name.as_str().into()));
                }
                Awaited::Timer { .. } => mover = mover.or(Some(Mover::Time)),
                Awaited::AtLeast { .. } => {}
            }
        }
        let own = subjects.iter().position(|subject| *subject == Subject::Task(id));
        own.map(|own| subjects.remove(own));
        match (subjects.is_empty(), mover) {
            (false, _) => Causes::of(subjects.into_iter()),
            (true, mover) => Causes::none(mover.unwrap_or(Mover::Brain)),
        }
    }

    /// Who stands first at a resource.
    fn behind(&self, resource: &Resource) -> Causes {
        let first = self.state.volatile.ready.first_at(resource);
        first.map_or_else(|| Causes::none(Mover::Brain), |task| Causes::of(std::iter::once(Subject::Task(task))))
    }

    /// Who holds units of a pool, those first that were granted first.
    fn holders_of(&self, pool: &str) -> impl Iterator<Item = Subject> + '_ {
        let holders = self.holders.get_or_init(|| {
            let mut holders: BTreeMap<&'s str, BTreeSet<(Seq, TaskId)>> = BTreeMap::new();
            let state = self.state;
            for id in state.volatile.leases.values().flatten().take(LOOKED_AT_MAX) {
                let lease = state.task(*id).and_then(Task::lease);
                for (pool, seq) in lease.into_iter().flat_map(|lease| lease.holds.keys().map(|pool| (pool, lease.seq)))
                {
                    holders.entry(pool).or_default().insert((seq, *id));
                }
            }
            holders
        });
        holders.get(pool).into_iter().flatten().map(|(_, task)| Subject::Task(*task))
    }

    /// The holders among these tasks, those first that were granted first.
    fn oldest(&self, tasks: impl Iterator<Item = TaskId>, holds: impl Fn(&Lease) -> bool) -> Causes {
        let lease = |id: TaskId| self.state.task(id).and_then(Task::lease).filter(|lease| holds(lease));
        let mut holders: Vec<_> =
            tasks.take(LOOKED_AT_MAX).filter_map(|id| Some((lease(id)?.seq, Subject::Task(id)))).collect();
        holders.sort_unstable();
        Causes::of(holders.into_iter().map(|(_, subject)| subject))
    }
}

/// The tasks that a task waits for and that have not ended.
fn needs(run: &Run, definition: &Definition, index: TaskIndex) -> Causes {
    if !run.started {
        return Causes::none(Mover::Time);
    }
    let (task, def) = (run.task(index), definition.task(index));
    let is_open = |other: &TaskIndex| run.task(*other).end().is_none();
    let named = |other: TaskIndex| Subject::Task(run.id.task(other));
    if task.met >= def.needs.at_least && def.when == When::Fallback {
        let primaries = definition.primaries.get(&index).into_iter().flatten().copied();
        return Causes::of(primaries.filter(is_open).map(named));
    }
    Causes::of(def.needs.of.iter().map(|need| need.task).filter(is_open).map(named))
}
