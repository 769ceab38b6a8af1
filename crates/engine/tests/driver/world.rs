//! A driver at one moment, with a store in memory that may contradict.

use std::{collections::BTreeMap, sync::Arc};
use unknot_core::{
    CommitSeq, RunId, Timestamp,
    due::Outstanding,
    effect::{Assignment, Effect},
    event::{AttemptEnd, Caller, Event, Outcome, Submission},
    row::{Batch, Detail, Key, Loaded, Meta, Row},
    run::WorkerId,
    settings::Bounds,
    validate::{self, Draft, DraftTask, Rules},
    workflow::{Command, Definition, DefinitionHash, TaskKind},
};
use unknot_engine::driver::{Driver, Inputs, Pace, StoreReport, StoreRequest, Turn};

pub(crate) const BEGIN: Timestamp = Timestamp(1_700_000_000_000);
/// More turns than anything here takes that comes to its end.
const TURNS_MAX: u32 = 10_000;

/// What is durable.
#[derive(Default)]
pub(crate) struct Disk {
    commit: CommitSeq,
    meta: Meta,
    rows: BTreeMap<Key, Row>,
    pub(crate) quarantined: usize,
}

impl Disk {
    pub(crate) fn loaded(&self) -> Loaded {
        let rows = self.rows.iter().map(|(key, row)| (key.clone(), row.clone())).collect();
        Loaded { commit: self.commit, meta: self.meta, rows }
    }

    fn put(&mut self, batch: &Batch) {
        (self.commit, self.meta) = (batch.commit, batch.meta);
        for (key, row) in &batch.changes {
            match (key, row) {
                (Key::Quarantine(_), _) => self.quarantined += 1,
                (Key::Finished(_) | Key::DeadLetter(_), _) => {}
                (_, Some(row)) => drop(self.rows.insert(key.clone(), row.clone())),
                (_, None) => drop(self.rows.remove(key)),
            }
        }
    }
}

/// A driver and its disk.
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) pace: Pace,
    pub(crate) driver: Driver,
    pub(crate) disk: Disk,
    /// The disk finds a contradiction in such a batch.
    pub(crate) contradicts: Box<dyn FnMut(&Batch) -> bool>,
    /// So many loads fail.
    pub(crate) unloadable: u32,
    /// What happens to the rows before they are loaded.
    pub(crate) edits: Option<fn(&Disk) -> Loaded>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) commits: u32,
    pub(crate) loads: u32,
    inputs: Inputs,
}

impl World {
    pub(crate) fn on(disk: Disk) -> Self {
        let driver = Driver::new(disk.loaded(), Bounds::default()).expect("what was stored loads");
        let (inputs, contradicts) = (Inputs::default(), Box::new(|_: &Batch| false));
        Self {
            now: BEGIN,
            pace: Pace::default(),
            driver,
            disk,
            contradicts,
            unloadable: 0,
            edits: None,
            effects: Vec::new(),
            commits: 0,
            loads: 0,
            inputs,
        }
    }

    /// One turn, with what the store said to the one before.
    pub(crate) fn turn(&mut self) -> Turn {
        let inputs = Inputs { pace: self.pace, ..std::mem::take(&mut self.inputs) };
        let mut turn = self.driver.turn(self.now, 7, inputs);
        self.effects.append(&mut turn.effects);
        self.inputs.store = match &turn.store {
            Some(StoreRequest::Commit(batch)) if (self.contradicts)(batch) => {
                Some(StoreReport::Violated("it contradicts".to_owned()))
            }
            Some(StoreRequest::Commit(batch)) => {
                self.commits += 1;
                self.disk.put(batch);
                Some(StoreReport::Committed)
            }
            Some(StoreRequest::Load) if self.unloadable > 0 => {
                self.unloadable -= 1;
                Some(StoreReport::Unloaded("too many open files".to_owned()))
            }
            Some(StoreRequest::Load) => {
                self.loads += 1;
                let loaded = self.edits.map_or_else(|| self.disk.loaded(), |edit| edit(&self.disk));
                Some(StoreReport::Loaded(Box::new(loaded)))
            }
            Some(StoreRequest::Resolve) => panic!("no connection was lost"),
            None => None,
        };
        turn
    }

    /// Takes turns until nothing is left to do at this moment, or the driver gives up.
    pub(crate) fn hear(&mut self, control: Vec<Event>, work: Vec<Event>) -> Turn {
        self.inputs.control = control;
        self.inputs.work = work;
        for _ in 0..TURNS_MAX {
            let turn = self.turn();
            let is_due = turn.next_wake.is_some_and(|at| at <= self.now);
            if turn.fatal.is_some() || (self.inputs.is_empty() && !is_due) {
                return turn;
            }
        }
        panic!("it never settles: {:?}", self.driver);
    }

    /// Says something that the next turn will hear.
    pub(crate) fn say(&mut self, control: Event) {
        self.inputs.control.push(control);
    }

    pub(crate) fn has_answered(&self, asked: Caller) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Reply { caller, .. } if *caller == asked))
    }

    pub(crate) fn starts(&self) -> impl Iterator<Item = &Assignment> {
        self.effects.iter().filter_map(|effect| match effect {
            Effect::Start(assignment) => Some(&**assignment),
            _ => None,
        })
    }
}

/// A boot of the local worker.
pub(crate) fn local(boot: u64) -> WorkerId {
    WorkerId { name: WorkerId::LOCAL.into(), boot }
}

pub(crate) fn joined(boot: u64) -> Event {
    Event::WorkerJoined { worker: local(boot), slots: 2, serves: Box::default() }
}

/// The end of an attempt.
pub(crate) fn ended(of: &Outstanding, outcome: Outcome) -> Event {
    Event::AttemptEnded(Box::new(AttemptEnd { attempt: of.attempt, fence: of.fence, outcome, detail: Detail::NONE }))
}

pub(crate) fn exec() -> TaskKind {
    TaskKind::Exec(Command::Argv(vec!["true".to_owned()]))
}

/// The submission of a run of so many tasks.
pub(crate) fn submission(number: u128, kind: &TaskKind, tasks: usize) -> Submission {
    let tasks = (0..tasks).map(|index| DraftTask::new(format!("t{index}"), kind.clone())).collect();
    let draft = Draft { name: "flow".to_owned(), tasks, ..Draft::default() };
    let mut body = validate::check(draft, &Rules::default()).expect("a sound workflow").definition.body;
    body.hash = DefinitionHash(format!("{kind:?} {}", body.tasks.len()).into());
    Submission { caller: Caller(number as u64), ..Submission::of(run(number), Arc::new(Definition::new(body))) }
}

pub(crate) fn run(number: u128) -> RunId {
    RunId::from_parts(BEGIN.0, number)
}

pub(crate) fn submitted(submission: Submission) -> Event {
    Event::RunSubmitted(Box::new(submission))
}
