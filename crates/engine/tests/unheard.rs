//! Time in which nobody could be heard expires nothing.

use std::sync::Arc;
use unknot_core::{
    AttemptId, CommitSeq, Fence, Millis, RunId, Timestamp,
    effect::Effect,
    event::{Caller, Event, Facts, Submission},
    row::{HistoryEntry, HistoryKind, Loaded},
    run::WorkerId,
    settings::Bounds,
    validate::{self, Draft, DraftTask, Rules},
    workflow::{Command, Definition, DefinitionHash, TaskKind},
};
use unknot_engine::driver::{Driver, Inputs, StoreReport, StoreRequest};

const BEGIN: Timestamp = Timestamp(1_700_000_000_000);

/// A driver with one task that a remote worker performs, and what has become durable.
struct World {
    driver: Driver,
    now: Timestamp,
    refuses: bool,
    history: Vec<HistoryEntry>,
    lease: Option<(AttemptId, Fence)>,
}

impl World {
    fn with_a_remote_attempt() -> Self {
        let driver = Driver::new(Loaded::default(), Bounds::default()).expect("an empty store loads");
        let mut world = Self { driver, now: BEGIN, refuses: false, history: Vec::new(), lease: None };
        let worker = WorkerId { name: "far".into(), boot: 1 };
        world.hear(vec![
            Event::WorkerJoined { worker, slots: 1, serves: Box::default() },
            Event::RunSubmitted(Box::new(submission())),
        ]);
        let (attempt, fence) = world.lease.expect("the task is given out");
        world.hear(vec![Event::AttemptStarted { attempt, fence }]);
        world
    }

    /// Takes turns until nothing is left to do at this moment.
    fn hear(&mut self, work: Vec<Event>) {
        let mut inputs = Inputs { work, ..Inputs::default() };
        loop {
            let turn = self.driver.turn(self.now, 0, std::mem::take(&mut inputs));
            self.history.extend(turn.history);
            for effect in turn.effects {
                if let Effect::Start(assignment) = effect {
                    self.lease = Some((assignment.attempt, assignment.fence));
                }
            }
            inputs.store = turn.store.map(|request| match request {
                StoreRequest::Commit(_) if self.refuses => StoreReport::Refused("the disk is full".to_owned()),
                StoreRequest::Commit(_) => StoreReport::Committed,
                other => panic!("nothing else is asked for: {other:?}"),
            });
            if inputs.store.is_none() && turn.next_wake.is_none_or(|at| at > self.now) {
                return;
            }
        }
    }

    fn lost(&self) -> usize {
        self.history.iter().filter(|line| line.event == HistoryKind::TaskLost).count()
    }
}

fn submission() -> Submission {
    let task = DraftTask::new("a".to_owned(), TaskKind::Exec(Command::Argv(vec!["true".to_owned()])));
    let draft = Draft { name: "flow".to_owned(), tasks: vec![task], ..Draft::default() };
    let mut body = validate::check(draft, &Rules::default()).expect("a sound workflow").definition.body;
    body.hash = DefinitionHash("hash".into());
    Submission {
        facts: Facts { as_of: CommitSeq(0), ..Facts::default() },
        caller: Caller(1),
        ..Submission::of(RunId::from_parts(BEGIN.0, 1), Arc::new(Definition::new(body)))
    }
}

#[test]
fn a_lease_does_not_run_out_while_nothing_can_be_committed() {
    let mut world = World::with_a_remote_attempt();
    world.refuses = true;
    // Something to commit, so that the disk's refusal is met.
    let submission = Submission { run: RunId::from_parts(BEGIN.0, 2), ..submission() };
    world.hear(vec![Event::RunSubmitted(Box::new(submission))]);
    assert!(world.driver.blocked().is_some(), "nothing can be committed");
    for _ in 0..700 {
        world.now = world.now.plus(Millis::from_secs(1));
        world.hear(Vec::new());
    }
    world.refuses = false;
    world.now = world.now.plus(Millis::from_secs(10));
    world.hear(Vec::new());
    assert!(world.driver.blocked().is_none(), "the disk is free again");
    assert_eq!(world.lost(), 0, "its worker could not be heard for more than twice its term");
    world.now = world.now.plus(Millis::from_secs(299));
    world.hear(Vec::new());
    assert_eq!(world.lost(), 0, "it has one whole term from then on");
    world.now = world.now.plus(Millis::from_secs(2));
    world.hear(Vec::new());
    assert_eq!(world.lost(), 1, "and no more than that");
}

#[test]
fn a_turn_that_is_far_too_late_expires_nothing_at_once() {
    let mut world = World::with_a_remote_attempt();
    world.now = world.now.plus(Millis::from_hours(1));
    world.hear(Vec::new());
    assert_eq!(world.lost(), 0, "the machine slept, or its clock was set forward");
    let (attempt, fence) = world.lease.expect("the lease");
    world.now = world.now.plus(Millis::from_secs(200));
    world.hear(vec![Event::AttemptRenewed { attempt, fence }]);
    world.now = world.now.plus(Millis::from_secs(299));
    world.hear(Vec::new());
    assert_eq!(world.lost(), 0, "it was renewed in time");
}
