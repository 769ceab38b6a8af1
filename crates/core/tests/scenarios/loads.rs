//! How work spreads over workers, in virtual time.

use crate::{workflow_form, world::BEGIN, world::World};
use std::collections::{BTreeMap, VecDeque};
use unknot_core::{
    AttemptId, Fence, Millis, RunId, Timestamp,
    effect::{Assignment, Effect},
    event::{AttemptEnd, Caller, Event, Outcome, Submission},
    row::Detail,
    run::{JsonText, WorkerId},
};

/// How long each task takes.
const WORK: Millis = Millis::from_secs(1);

/// A crowd of workers with one slot each, and what they were given.
struct Crowd {
    world: World,
    at_work: VecDeque<(Timestamp, AttemptId, Fence)>,
    given: Vec<(String, String)>,
}

impl Crowd {
    fn of(workers: usize) -> Self {
        let mut crowd = Self { world: World::default(), at_work: VecDeque::new(), given: Vec::new() };
        for number in 0..workers {
            let worker = WorkerId { name: format!("w{number}").into(), boot: 1 };
            crowd.happen(Event::WorkerJoined { worker, slots: 1, serves: Box::default() });
        }
        crowd
    }

    fn submit(&mut self, tasks: &[&str]) {
        let definition = workflow_form::read("workflow flow", tasks.iter().copied(), &[]);
        self.happen(Event::RunSubmitted(Box::new(Submission {
            caller: Caller(1),
            ..Submission::of(RunId::from_parts(BEGIN.0, 1), definition)
        })));
    }

    fn happen(&mut self, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next {
            for effect in self.world.apply(event).effects {
                if let Effect::Start(assignment) = effect {
                    let Assignment { worker, attempt, fence, task_name, .. } = *assignment;
                    self.given.push((worker.name.to_string(), task_name.to_string()));
                    self.at_work.push_back((self.world.now.plus(WORK), attempt, fence));
                }
            }
            next = self.world.due();
        }
    }

    /// Works until nobody has anything to do; says how long that took.
    fn work(&mut self) -> Millis {
        while let Some((done, attempt, fence)) = self.at_work.pop_front() {
            self.world.now = self.world.now.max(done);
            let (outcome, detail) = (Outcome::Succeeded { output: JsonText::null() }, Detail::NONE);
            self.happen(Event::AttemptEnded(Box::new(AttemptEnd { attempt, fence, outcome, detail })));
        }
        assert!(self.world.state.runs.is_empty(), "everything was done");
        self.world.elapsed(self.world.now)
    }
}

#[test]
fn test_priority_ordering() {
    let mut crowd = Crowd::of(0);
    crowd.submit(&["task low priority low", "task medium priority medium", "task high priority high"]);
    crowd.happen(Event::WorkerJoined {
        worker: WorkerId { name: "w".into(), boot: 1 },
        slots: 1,
        serves: Box::default(),
    });
    crowd.work();
    let order: Vec<&str> = crowd.given.iter().map(|(_, task)| task.as_str()).collect();
    assert_eq!(order, ["high", "medium", "low"]);
}

#[test]
fn test_load_balancing() {
    let mut crowd = Crowd::of(3);
    crowd.submit(&["tasks t 10"]);
    crowd.work();
    let mut shares: BTreeMap<&str, u32> = BTreeMap::new();
    crowd.given.iter().for_each(|(worker, _)| *shares.entry(worker).or_default() += 1);
    assert_eq!(shares.into_iter().collect::<Vec<_>>(), [("w0", 4), ("w1", 3), ("w2", 3)]);
}

#[test]
fn test_worker_scaling() {
    let took = |workers| {
        let mut crowd = Crowd::of(workers);
        crowd.submit(&["tasks t 40"]);
        crowd.work()
    };
    assert_eq!([took(1), took(2), took(4)], [40, 20, 10].map(Millis::from_secs));
}
