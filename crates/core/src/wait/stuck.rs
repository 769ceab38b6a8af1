//! Who stands still for too long, and is not proved dead: runs that only the outside can move, runs that others are
//! served before, runs in which nothing happens.
//!
//! The graph says who can move at all; here time counts. Whoever waits behind another task, or for a moment that comes by
//! itself, is not told of: what it waits for is.

use super::{Mover, Verdict, obstacle::Obstacle, why::Movers};
use crate::{
    Millis, RunId, State, TaskId, TaskIndex, Timestamp,
    deadlock::Finding,
    run::{Awaited, Lease, Phase, Run, Task, WaitOn},
    workflow::Definition,
};
use std::collections::{BTreeMap, BTreeSet};

/// Since when whoever stands still is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Now.
    pub now: Timestamp,
    /// Time before this moment counts for nobody: there was no brain, or nothing could be committed.
    pub since: Timestamp,
}

/// A run that stands still for too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// Which.
    pub run: RunId,
    /// [`Finding::Stalled`] or [`Finding::Starved`].
    pub kind: Finding,
    /// What it waits for at the root.
    pub cause: Cause,
    /// Its tasks that stand still, the longest first; at least one.
    pub tasks: Vec<TaskId>,
    /// Beside those; none yet are left out here.
    pub more: usize,
    /// When the first of them last moved.
    pub since: Timestamp,
    /// Since when it is worth telling: its bound has passed.
    pub due_at: Timestamp,
}

/// Why a run stands still. Runs with the same one do so together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Only the outside moves it: whoever lets this go on.
    Outside(String),
    /// Only a worker moves it that takes this.
    NoWorker(String),
    /// It stands in line, and nothing else of it goes on.
    InLine(String),
    /// Others who came to that line later were served before it.
    Overtaken(String),
    /// A deadlock that it is no part of, and that was told and left as it is.
    Deadlock,
    /// Nothing happens in it.
    Silence(RunId),
}

/// The runs that stand still for too long, those that have done so longest first. Those that are proved dead are not
/// among them, nor runs that come to their end.
pub fn stuck(state: &State, verdict: &Verdict, watched: Watched) -> Vec<Stuck> {
    let tasks = |ids: &[String]| ids.iter().filter_map(|id| id.parse().ok()).collect::<BTreeSet<TaskId>>();
    let look = Look {
        state,
        watched,
        dead: tasks(&verdict.deadlocked),
        outside: tasks(&verdict.needs_external),
        moved: last_moves(state),
        served: Served::of(state),
        movers: Movers::new(state),
    };
    let in_focus = |run: &Run| state.volatile.focus.as_ref().is_none_or(|focus| focus.contains(&run.id));
    let runs = state.runs.values().filter(|run| run.ending.is_none() && run.started && in_focus(run));
    let mut found: Vec<Stuck> = runs.flat_map(|run| look.run(run)).collect();
    found.sort_by_key(|stuck| (stuck.since, stuck.run));
    found
}

/// When each run, or a run below it that it waits for, last changed.
fn last_moves(state: &State) -> BTreeMap<RunId, Timestamp> {
    let mut moved: BTreeMap<RunId, Timestamp> = BTreeMap::new();
    for run in state.runs.values() {
        let above = run.parent.iter().filter(|parent| !parent.detached).flat_map(|parent| parent.ancestors());
        for id in std::iter::once(run.id).chain(above.map(|task| task.run)) {
            let last = moved.entry(id).or_default();
            *last = (*last).max(run.updated_at);
        }
    }
    moved
}

/// What an unfinished task does, as far as this is concerned.
enum Stands {
    /// It can never move: told of as proved.
    Dead,
    /// It stands still for this.
    Still(Cause),
    /// A moment moves it.
    Time,
    /// An attempt is performed.
    Works,
    /// Others move it: tasks and runs that it waits for, or the brain.
    Behind,
}

struct Look<'s> {
    state: &'s State,
    watched: Watched,
    dead: BTreeSet<TaskId>,
    outside: BTreeSet<TaskId>,
    moved: BTreeMap<RunId, Timestamp>,
    served: Served,
    movers: Movers<'s>,
}

/// A task, when it last moved, and why it does not.
type Still = (Timestamp, TaskId, Cause);

/// What was found in one run.
#[derive(Default)]
struct Sorted {
    outside: Vec<Still>,
    no_worker: Vec<Still>,
    in_line: Vec<Still>,
    works: Vec<Still>,
    is_dead: bool,
    has_moment: bool,
}

impl Look<'_> {
    fn run(&self, run: &Run) -> Vec<Stuck> {
        let definition = &self.state.definitions[&run.definition];
        let (body, monitor) = (&definition.body, self.state.volatile.monitor);
        let pending = body.pending_stale.unwrap_or(monitor.pending_stale);
        let workflow = body.workflow_stale.unwrap_or(monitor.workflow_stale);
        // Nothing of it can have stood still for longer than itself.
        if self.age(run.submitted_at) < pending.min(workflow) {
            return Vec::new();
        }
        let sorted = self.sort(run, definition);
        let late = |all: &[Still]| all.iter().filter(|(at, ..)| self.age(*at) >= pending).cloned().collect::<Vec<_>>();
        let mut starved = late(&sorted.no_worker);
        starved.extend(late(&sorted.in_line).into_iter().filter_map(|still| self.overtaken(still, pending)));
        let moved = self.moved.get(&run.id).copied().unwrap_or(run.updated_at);
        // Nothing of it works and nothing moved: it has only ever stood in line.
        let stands = sorted.works.is_empty() && !sorted.has_moment && !sorted.is_dead;
        if starved.is_empty() && stands && self.age(moved) >= pending {
            starved = sorted.in_line.clone();
        }
        let mut found = Vec::new();
        found.extend(self.found(run, Finding::Stalled, late(&sorted.outside), pending));
        found.extend(self.found(run, Finding::Starved, starved, pending));
        if found.is_empty() && !sorted.has_moment && !sorted.is_dead && self.age(moved) >= workflow {
            found.extend(self.found(run, Finding::Stalled, sorted.all(run.id), workflow));
        }
        found
    }

    /// How long something has stood still while it was watched.
    fn age(&self, since: Timestamp) -> Millis {
        self.watched.now.since(since.max(self.watched.since))
    }

    fn found(&self, run: &Run, kind: Finding, mut tasks: Vec<Still>, bound: Millis) -> Option<Stuck> {
        tasks.sort();
        let (since, _, cause) = tasks.first().cloned()?;
        let due_at = since.max(self.watched.since).plus(bound);
        let tasks = tasks.into_iter().map(|(_, id, _)| id).collect();
        Some(Stuck { run: run.id, kind, cause, tasks, more: 0, since, due_at })
    }

    fn sort(&self, run: &Run, definition: &Definition) -> Sorted {
        let mut sorted = Sorted::default();
        for (index, task) in run.indexed_tasks() {
            let (id, at) = (run.id.task(index), task.updated_at);
            match self.stands(run, definition, index, task) {
                None | Some(Stands::Behind) => {}
                Some(Stands::Dead) => {
                    sorted.is_dead = true;
                    // Who is part of it is told of already.
                    sorted.outside.extend(task.told.is_none().then_some((at, id, Cause::Deadlock)));
                }
                Some(Stands::Time) => sorted.has_moment = true,
                Some(Stands::Works) => sorted.works.push((at, id, Cause::Silence(run.id))),
                Some(Stands::Still(cause)) => match cause {
                    Cause::Outside(_) | Cause::Deadlock | Cause::Silence(_) => sorted.outside.push((at, id, cause)),
                    Cause::NoWorker(_) => sorted.no_worker.push((at, id, cause)),
                    Cause::InLine(_) | Cause::Overtaken(_) => sorted.in_line.push((at, id, cause)),
                },
            }
        }
        sorted
    }

    fn stands(&self, run: &Run, definition: &Definition, index: TaskIndex, task: &Task) -> Option<Stands> {
        let id = run.id.task(index);
        let is_outside = self.outside.contains(&id);
        Some(match &task.phase {
            Phase::Ended(_) => return None,
            _ if self.dead.contains(&id) => Stands::Dead,
            _ if run.poisoned.is_some() => outside(format!("force:{}", run.id)),
            Phase::Leased(lease) if lease.waits() => self.parked(id, lease, is_outside),
            Phase::Leased(_) => Stands::Works,
            Phase::Waiting(wait) => match wait.on {
                WaitOn::Backoff | WaitOn::Sleep | WaitOn::Confirmation => Stands::Time,
                WaitOn::Grant => self.queued(run, definition, id, is_outside),
                WaitOn::Signal | WaitOn::Decision if is_outside => outside(format!("wait:{id}")),
                WaitOn::Needs | WaitOn::Signal | WaitOn::Decision => Stands::Behind,
            },
        })
    }

    fn queued(&self, run: &Run, definition: &Definition, id: TaskId, is_outside: bool) -> Stands {
        match Obstacle::of(self.state, run, definition, id) {
            Obstacle::NoWorker(asked) if is_outside => {
                Stands::Still(Cause::NoWorker(format!("{}:{}", asked.demand.queue, asked.demand.kind.word())))
            }
            Obstacle::RunHeld(_) if is_outside => outside(format!("held:{}", run.id)),
            Obstacle::WorkflowHeld(name, _) if is_outside => outside(format!("held:workflow:{name}")),
            Obstacle::QueueHeld(name, _) if is_outside => outside(format!("held:queue:{name}")),
            Obstacle::PoolClosed(name, _) if is_outside => outside(format!("closed:{name}")),
            Obstacle::Slots(asked) => in_line(at_slots(&asked.demand.queue)),
            Obstacle::Units { name, .. } => in_line(at_pool(&name)),
            Obstacle::Behind(crate::ready::Resource::Pool(name)) => in_line(at_pool(&name)),
            Obstacle::Behind(_) => in_line(at_slots(definition.task(id.index).queue_name())),
            // The next turn moves it; should that not come, it has to be told.
            Obstacle::Nothing => in_line("brain".to_owned()),
            _ => Stands::Behind,
        }
    }

    fn parked(&self, id: TaskId, lease: &Lease, is_outside: bool) -> Stands {
        if is_outside {
            return match self.movers.of(id) {
                Some(Mover::Causes) | None => Stands::Behind,
                Some(_) => outside(format!("wait:{id}")),
            };
        }
        let terms = lease.parked.iter().flat_map(|parked| parked.on.terms());
        let mut stands = Stands::Behind;
        for term in terms {
            match term {
                Awaited::Timer { .. } => return Stands::Time,
                Awaited::Units { pool, .. } => stands = in_line(at_pool(pool)),
                _ => {}
            }
        }
        stands
    }

    /// Who stands in line as one who is overtaken: somebody who came later was served, after it had waited for its bound
    /// already.
    fn overtaken(&self, (at, id, cause): Still, pending: Millis) -> Option<Still> {
        let Cause::InLine(line) = cause else { return None };
        let wait = self.state.task(id).and_then(Task::wait).filter(|wait| wait.on == WaitOn::Grant)?;
        let patience = wait.since.max(self.watched.since).plus(pending);
        let served = self.served.by_line.get(&line).into_iter().flatten();
        let is_passed = served.take_while(|(place, _)| *place > wait.seq.0).any(|(_, at)| *at >= patience);
        is_passed.then_some((at, id, Cause::Overtaken(line)))
    }
}

impl Sorted {
    /// Everybody who is not behind others.
    fn all(self, run: RunId) -> Vec<Still> {
        let all = self.works.into_iter().chain(self.outside).chain(self.no_worker).chain(self.in_line);
        all.map(|(at, id, _)| (at, id, Cause::Silence(run))).collect()
    }
}

fn outside(what: String) -> Stands {
    Stands::Still(Cause::Outside(what))
}

fn in_line(line: String) -> Stands {
    Stands::Still(Cause::InLine(line))
}

/// The line at a pool.
fn at_pool(name: &str) -> String {
    format!("pool:{name}")
}

/// The line at the slots of those who take a queue.
fn at_slots(queue: &str) -> String {
    format!("slots:{queue}")
}

/// Those who have what others stand in line for.
struct Served {
    /// Their places in the order of all waits, and when they were served: the latest place first.
    by_line: BTreeMap<String, Vec<(u64, Timestamp)>>,
}

impl Served {
    fn of(state: &State) -> Self {
        let mut by_line: BTreeMap<String, Vec<(u64, Timestamp)>> = BTreeMap::new();
        for id in state.volatile.leases.values().flatten() {
            let Some(lease) = state.task(*id).and_then(Task::lease).filter(|lease| !lease.worker.is_brain()) else {
                continue;
            };
            let definition = &state.definitions[&state.runs[&id.run].definition];
            let lines = lease.holds.keys().map(|pool| at_pool(pool));
            for line in lines.chain([at_slots(definition.task(id.index).queue_name())]) {
                by_line.entry(line).or_default().push((lease.place.seq.0, lease.granted_at));
            }
        }
        by_line.values_mut().for_each(|served| served.sort_unstable_by(|left, right| right.cmp(left)));
        Self { by_line }
    }
}
