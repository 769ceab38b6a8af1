//! What must hold in every world, judged apart from the workload: from what became durable, from what
//! the brain asked for, and from what the hands really do.

mod moment;
mod plants;
mod standing;
mod told;
mod verdicts;
mod waiting;

use crate::{
    hands::{Alive, Right},
    workload::{Mood, Workload, definition::HANDLER, plant::Kind},
};
use plants::{Moment, Plants};
use std::collections::{BTreeMap, BTreeSet};
use unknot_core::{
    AttemptId, CommitSeq, Fence, RunId, State, TaskId,
    alert::Notice,
    check,
    effect::{Answer, Assignment, Effect, Refusal, WaitAnswer},
    row::{Batch, Key, Loaded, Meta, Quarantined, Row},
    run::{End, Idempotency, Lease, Run, RunStatus, Task, WorkerId},
    settings::DEFAULT_QUEUE,
    worker::WorkKind,
    workflow::DefinitionHash,
};
use verdicts::Verdicts;

pub use moment::{lease_ran_out, leases_had_a_term, runs_are_in_time};
pub use standing::nothing_is_left_standing;
pub use waiting::nobody_waits_in_vain;

/// A rule that was broken, in a sentence.
pub type Checked = Result<(), String>;

/// Rows that a batch may have: the driver's own bound, and what its last event still brought: changes, and a continuation
/// for each run that it left unfinished.
const BATCH_ROWS_MAX: usize = 2_048 + 2 * 1_000 + 256;

/// What is known of a world, kept beside the brain's own memory.
#[derive(Debug)]
pub struct Checkers {
    mood: Mood,
    /// Whether a deadlock is resolved, and not only told.
    resolves: bool,
    /// What was told by the batches that are closed, and by those that are durable.
    closed_verdicts: Verdicts,
    verdicts: Verdicts,
    plants: Plants,
    /// What the brain was like when a batch was closed that is not durable yet.
    moments: BTreeMap<CommitSeq, Moment>,
    /// Pools that lend, or ever did so.
    lent: BTreeSet<String>,
    /// What the store holds once the batch that was closed last is durable.
    closed: Mirror,
    /// What the store holds.
    durable: Mirror,
    /// Runs that were promised to a submitter.
    promised: BTreeSet<RunId>,
    /// What each key stands for: the body it came with first, and the run.
    keys: BTreeMap<String, (Idempotency, RunId)>,
    /// Tasks at their end, for good.
    ended: BTreeMap<TaskId, End>,
    /// The newest lease of each task.
    leases: BTreeMap<TaskId, (u32, Fence)>,
    /// The fence that each attempt was started under.
    started: BTreeMap<AttemptId, Fence>,
    /// The units that each started attempt was given.
    holds: BTreeMap<Right, BTreeMap<String, u32>>,
    /// The most units that each pool ever had.
    pools: BTreeMap<String, u32>,
    /// What was heard of incidents.
    told: told::Told,
}

/// Rows, as a chain of batches makes them.
#[derive(Clone, Debug, Default)]
struct Mirror {
    commit: CommitSeq,
    meta: Meta,
    live: BTreeMap<Key, Row>,
    finished: BTreeMap<RunId, RunStatus>,
    quarantined: usize,
}

impl Mirror {
    fn take(&mut self, batch: &Batch) {
        (self.commit, self.meta) = (batch.commit, batch.meta);
        for (key, row) in &batch.changes {
            match (key, row) {
                (Key::Finished(run), Some(Row::Finished(finished))) => {
                    self.finished.insert(*run, finished.status);
                }
                (Key::Quarantine(_), _) => self.quarantined += 1,
                (Key::Finished(_) | Key::DeadLetter(_) | Key::Deadlock(_), _) => {}
                (key, Some(row)) => {
                    self.live.insert(key.clone(), row.clone());
                }
                (key, None) => {
                    self.live.remove(key);
                }
            }
        }
    }

    /// What a load gives: definitions that live runs name, tasks of live runs.
    fn load(&self) -> Loaded {
        let named: BTreeSet<&DefinitionHash> = self.live.values().flat_map(pinned).collect();
        let is_live = |key: &Key| match key {
            Key::Definition(hash) => named.contains(hash),
            Key::Task(task) => self.live.contains_key(&Key::Run(task.run)),
            _ => true,
        };
        let rows = self.live.iter().filter(|(key, _)| is_live(key));
        Loaded {
            commit: self.commit,
            meta: self.meta,
            rows: rows.map(|(key, row)| (key.clone(), row.clone())).collect(),
        }
    }

    fn run(&self, id: RunId) -> Option<&Run> {
        match self.live.get(&Key::Run(id)) {
            Some(Row::Run(run)) => Some(run),
            _ => None,
        }
    }
}

fn pinned(row: &Row) -> impl Iterator<Item = &DefinitionHash> {
    let run = match row {
        Row::Run(run) => Some(run),
        _ => None,
    };
    run.into_iter().flat_map(|run| run.definitions())
}

impl Checkers {
    /// For a world in which this is wanted.
    pub fn new(workload: &Workload) -> Self {
        Self {
            mood: workload.mood,
            resolves: workload.settings.monitor.cancel_on_deadlock,
            closed_verdicts: Verdicts::default(),
            verdicts: Verdicts::default(),
            told: told::Told::default(),
            plants: Plants::new(&workload.plants),
            moments: BTreeMap::new(),
            lent: BTreeSet::new(),
            closed: Mirror::default(),
            durable: Mirror::default(),
            promised: BTreeSet::new(),
            keys: BTreeMap::new(),
            ended: BTreeMap::new(),
            leases: BTreeMap::new(),
            started: BTreeMap::new(),
            holds: BTreeMap::new(),
            pools: BTreeMap::new(),
        }
    }

    /// The brain closed a batch. Its memory must be what a load of the rows gives, and the batch bounded.
    ///
    /// # Errors
    /// The rule that is broken.
    ///
    /// # Panics
    /// If memory and rows differ.
    pub fn closed(&mut self, state: &State, batch: &Batch) -> Checked {
        if batch.commit == self.closed.commit {
            return Ok(());
        }
        if batch.commit.0 != self.durable.commit.0 + 1 {
            return Err(format!("commit {:?} follows the durable {:?}", batch.commit, self.durable.commit));
        }
        if batch.changes.len() > BATCH_ROWS_MAX {
            return Err(format!("{:?} changes {} rows", batch.commit, batch.changes.len()));
        }
        self.closed = self.durable.clone();
        self.closed.take(batch);
        check::whole(state);
        check::loads_equal(state, self.closed.load());
        self.closed_verdicts = self.verdicts.clone();
        self.closed_verdicts.take(batch, self.mood)?;
        let dead = self.closed_verdicts.are_complete(state, state.meta.high_water)?;
        let takes =
            |serves: &unknot_core::worker::Serves| serves.takes(DEFAULT_QUEUE, &WorkKind::Handler(HANDLER.into()));
        let with_handler = state.volatile.workers.iter().filter(|(_, offer)| takes(&offer.serves));
        let handlers: BTreeMap<&WorkerId, u32> = with_handler.map(|(id, offer)| (id, offer.slots)).collect();
        let handler_slots = handlers.values().sum();
        let at_handler = |(task, lease): (TaskId, &Lease)| handlers.contains_key(&lease.worker).then_some(task);
        let at_handlers = waiting::leases(state).filter_map(at_handler).collect();
        let is_cut_off =
            |lease: &Lease| lease.expires_at.is_some() && !state.volatile.workers.contains_key(&lease.worker);
        let cut_off = waiting::leases(state).filter(|(_, lease)| is_cut_off(lease)).map(|(task, _)| task).collect();
        let is_busy = state.volatile.grants_due || !state.continuations.is_empty();
        self.moments.insert(batch.commit, Moment { is_busy, handler_slots, at_handlers, cut_off, dead });
        Ok(())
    }

    /// A worker came or went.
    pub fn workers_moved(&mut self) {
        self.verdicts.workers_moved();
        self.closed_verdicts.workers_moved();
    }

    /// A batch became durable.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn committed(&mut self, batch: &Batch) -> Checked {
        for (key, row) in &batch.changes {
            match (key, row) {
                (Key::Run(id), Some(_)) if self.durable.finished.contains_key(id) => {
                    return Err(format!("{id} had ended and is there again"));
                }
                (Key::Run(id), None) if !batch.changes.iter().any(|(key, _)| *key == Key::Finished(*id)) => {
                    return Err(format!("{id} is gone without an end"));
                }
                (Key::Finished(id), Some(Row::Finished(finished))) => {
                    if self.durable.finished.contains_key(id) {
                        return Err(format!("{id} ended twice"));
                    }
                    self.tasks(&finished.run)?;
                }
                (_, Some(Row::Quarantine(aside))) => is_to_blame(aside)?,
                (_, Some(Row::Run(run))) => self.tasks(run)?,
                (Key::Task(id), Some(Row::Task(task))) => self.task(*id, task)?,
                (Key::Pool(name), Some(Row::Pool(pool))) => {
                    if pool.lend {
                        self.lent.insert(name.clone());
                    }
                    let most = self.pools.entry(name.clone()).or_default();
                    *most = pool.size.max(*most);
                }
                _ => {}
            }
        }
        self.told.committed(&self.durable.live, batch)?;
        self.durable.take(batch);
        self.verdicts.take(batch, self.mood)?;
        if !self.resolves {
            verdicts::nobody_is_stopped(batch)?;
        }
        // A large world looks at some batches only.
        let Some(moment) = self.moments.remove(&batch.commit) else { return Ok(()) };
        if let Some(dead) = &moment.dead {
            self.verdicts.remember(dead);
        }
        self.plants.take(batch, &moment)
    }

    /// A target hears of an incident.
    pub fn heard(&mut self, notice: &Notice) {
        self.told.heard(notice);
    }

    fn tasks(&mut self, run: &Run) -> Checked {
        run.indexed_tasks().try_for_each(|(index, task)| self.task(run.id.task(index), task))
    }

    /// An end is final; leases follow each other with growing fences, one attempt each.
    fn task(&mut self, id: TaskId, task: &Task) -> Checked {
        if let Some(before) = self.ended.get(&id)
            && task.end() != Some(before)
        {
            return Err(format!("{id} had ended as {before:?} and is now {:?}", task.phase));
        }
        if let Some(end) = task.end() {
            self.ended.insert(id, end.clone());
        }
        if let Some(lease) = task.lease() {
            let (attempt, fence) = self.leases.insert(id, (task.attempts, lease.fence)).unwrap_or_default();
            let same = (attempt, fence) == (task.attempts, lease.fence);
            if !same && (task.attempts <= attempt || (attempt > 0 && lease.fence <= fence)) {
                return Err(format!(
                    "{id}: attempt {} under {:?} after {attempt} under {fence:?}",
                    task.attempts, lease.fence
                ));
            }
        }
        Ok(())
    }

    /// The brain wants something done. It must rest on what is durable.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn effect(&mut self, effect: &Effect) -> Checked {
        match effect {
            Effect::Start(assignment) => self.start(assignment),
            Effect::Stop { attempt, fence, .. } | Effect::Kill { attempt, fence, .. } => {
                self.is_given_out(*attempt, *fence)
            }
            Effect::Acknowledge { attempt, fence, accepted: true, .. } => {
                let later = attempt.task.attempt(attempt.number + 1)..=attempt.task.attempt(u32::MAX);
                if self.started.range(later).next().is_some() {
                    return Err(format!("the end of {attempt} counts although a later attempt was started"));
                }
                match self.durable_lease((*attempt, *fence)) {
                    Some(_) => Err(format!("the end of {attempt} is acknowledged and not durable")),
                    None => Ok(()),
                }
            }
            Effect::Notify(notice) if notice.alert >= self.durable.meta.next_seq => {
                Err(format!("{} is told before it is durable: {notice:?}", notice.target))
            }
            Effect::Acknowledge { .. } | Effect::Notify(_) | Effect::GiveUpAlert { .. } | Effect::Reply { .. } => {
                Ok(())
            }
        }
    }

    fn start(&mut self, assignment: &Assignment) -> Checked {
        let (attempt, fence) = (assignment.attempt, assignment.fence);
        self.is_given_out(attempt, fence)?;
        if let Some(end) = self.ended.get(&attempt.task)
            && end.status == unknot_core::run::TaskEnd::Completed
        {
            return Err(format!("{attempt} is started, and its task is completed for good"));
        }
        if let Some(lease) = self.durable_lease((attempt, fence)).filter(|lease| !lease.holds.is_empty()) {
            let holds = lease.holds.clone();
            self.holds.insert((attempt, fence), holds);
        }
        match self.started.insert(attempt, fence) {
            Some(before) if before != fence => {
                Err(format!("{attempt} is started under {fence:?} and was under {before:?}"))
            }
            _ => Ok(()),
        }
    }

    fn is_given_out(&self, attempt: AttemptId, fence: Fence) -> Checked {
        let run = attempt.task.run;
        let is_known = self.durable.run(run).is_some() || self.durable.finished.contains_key(&run);
        if is_known && fence < self.durable.meta.next_fence {
            return Ok(());
        }
        Err(format!("{attempt} under {fence:?} is spoken of before its lease is durable"))
    }

    /// A submitter is answered: what is promised must be durable, and one key is one run.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn answered(&mut self, key: Option<&Idempotency>, answer: &Result<Answer, Refusal>) -> Checked {
        match answer {
            Ok(Answer::Submitted { run, .. }) => {
                self.is_there(*run)?;
                self.promised.insert(*run);
                let Some(key) = key else { return Ok(()) };
                let (first, owner) = self.keys.entry(key.key.clone()).or_insert_with(|| (key.clone(), *run));
                if owner == run && first == key {
                    return Ok(());
                }
                Err(format!("key {key:?} gave {run}, and {owner} before with {first:?}"))
            }
            Err(Refusal::KeyReused { key: text, run }) => {
                let is_same = |own: &Idempotency| Some(own) == key;
                let live = self.durable.run(*run).and_then(|run| run.idempotency.as_ref());
                if self.keys.get(text).is_some_and(|(first, _)| is_same(first)) || live.is_some_and(is_same) {
                    return Err(format!("key `{text}` is refused although its body is the same"));
                }
                self.is_there(*run)
            }
            Ok(Answer::Cancelling { run, .. }) => match self.durable.run(*run) {
                Some(run) if run.ending.is_none() => Err(format!("{} is said to be ending and is not", run.id)),
                _ => self.is_there(*run),
            },
            _ => Ok(()),
        }
    }

    /// An attempt is answered: what it is told that it has must be durable.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn attempt_answered(&self, right: Right, answer: &Result<Answer, Refusal>) -> Checked {
        match answer {
            Ok(Answer::Waits(WaitAnswer::Met { granted, .. })) => {
                let Some(lease) = self.durable_lease(right) else { return Ok(()) };
                let has = |pool: &String| lease.holds.get(pool).copied().unwrap_or_default();
                match granted.iter().find(|(pool, units)| has(pool) < **units) {
                    Some((pool, units)) => {
                        Err(format!("{} is told that it has {units} of `{pool}`: {lease:?}", right.0))
                    }
                    None => Ok(()),
                }
            }
            Ok(Answer::Spawned { run, .. }) => self.is_there(*run),
            _ => Ok(()),
        }
    }

    fn is_there(&self, run: RunId) -> Checked {
        match self.durable.run(run).is_some() || self.durable.finished.contains_key(&run) {
            true => Ok(()),
            false => Err(format!("{run} is spoken of and not stored")),
        }
    }

    /// A process starts with these rows: they are what the commits made, and no promised run is missing.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn loaded(&mut self, loaded: &Loaded) -> Checked {
        self.closed = self.durable.clone();
        self.moments.clear();
        if *loaded != self.durable.load() {
            return Err("the store gives other rows than the commits made".to_owned());
        }
        self.promised.iter().try_for_each(|run| self.is_there(*run))
    }

    /// No pool serves more than it ever had, counted over everything that really goes on: also what was
    /// fenced, or what nobody could confirm dead, since its pool must be closed then.
    ///
    /// Attempts of remote workers whose lease ran out are not counted: the worker is out of reach, so nobody
    /// can know, and a lease that ends in time is what the pool's owner was promised instead.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn units<'a>(&self, alive: impl Iterator<Item = Alive<'a>>) -> Checked {
        let mut used: BTreeMap<&str, u32> = BTreeMap::new();
        for Alive { right, assignment, granted, is_idle } in alive {
            let is_leased = || self.durable_lease(right).is_some();
            if !assignment.worker.is_local() && !is_leased() {
                continue;
            }
            let mut own: BTreeMap<&str, u32> = BTreeMap::new();
            for (pool, units) in self.holds.get(&right).into_iter().chain(granted.map(|(granted, _)| granted)).flatten()
            {
                *own.entry(pool).or_default() += units;
            }
            for (pool, units) in granted.map(|(_, given_back)| given_back).into_iter().flatten() {
                own.entry(pool).and_modify(|own| *own = own.saturating_sub(*units));
            }
            for (pool, units) in own.into_iter().filter(|(pool, _)| !is_idle || !self.lent.contains(*pool)) {
                *used.entry(pool).or_default() += units;
            }
        }
        for (pool, used) in used {
            let most = self.pools.get(pool).copied().unwrap_or_default();
            if used > most {
                return Err(format!("{used} units of `{pool}` are in use, it never had more than {most}"));
            }
        }
        Ok(())
    }

    /// The lease of an attempt, while it is stored.
    fn durable_lease(&self, (attempt, fence): Right) -> Option<&Lease> {
        let id = attempt.task;
        let inline = self.durable.run(id.run)?.tasks.get(id.index.0 as usize);
        let task = inline.or_else(|| match self.durable.live.get(&Key::Task(id)) {
            Some(Row::Task(task)) => Some(task),
            _ => None,
        })?;
        task.lease().filter(|lease| lease.fence == fence && task.attempts == attempt.number)
    }

    /// Runs that ended, by their status.
    pub fn ends(&self) -> BTreeMap<RunStatus, usize> {
        let mut ends = BTreeMap::new();
        for status in self.durable.finished.values() {
            *ends.entry(*status).or_default() += 1;
        }
        ends
    }

    /// Runs that were promised and have not ended.
    pub fn unfinished(&self) -> Vec<RunId> {
        self.promised.iter().copied().filter(|run| !self.durable.finished.contains_key(run)).collect()
    }

    /// Verdicts that were told.
    pub fn told(&self) -> u64 {
        self.verdicts.count()
    }

    /// How many planted deadlocks of each kind were told.
    pub fn plants_told(&self) -> impl Iterator<Item = (Kind, u64)> + '_ {
        self.plants.told()
    }

    /// Events that are in quarantine.
    pub fn quarantined(&self) -> usize {
        self.durable.quarantined
    }
}

/// The run that fails is the one to be frozen, unless the event comes again by itself: an event of others is applied again
/// once it is frozen, and is not lost.
fn is_to_blame(aside: &Quarantined) -> Checked {
    let comes_again =
        ["DeadlinePassed", "ContinuationDue", "GrantsDue"].iter().any(|kind| aside.event.starts_with(kind));
    let Some((_, culprit)) = aside.error.split_once(" of ").filter(|_| !comes_again) else { return Ok(()) };
    let is_frozen = aside.run.is_some_and(|run| run.to_string() == culprit.trim());
    match is_frozen || aside.event.contains(culprit.trim()) {
        true => Ok(()),
        false => Err(format!("`{:.300}` is put aside for what another run did: {}", aside.event, aside.error)),
    }
}
