//! The brain panics.

use super::world::{Disk, World, ended, exec, joined, run, submission, submitted};
use unknot_core::{
    Millis,
    due::outstanding,
    event::{Ask, Caller, Event, Outcome, PauseTarget, Submission},
    run::{AtDeadline, Awaited, JsonText},
    workflow::{TaskKind, Until},
};
use unknot_engine::driver::{Fatal, plant::LABEL};

/// A run with which the brain fails as soon as it writes such a line.
fn planted(submission: Submission, kind: &str) -> Event {
    let labels = [(LABEL.to_owned(), kind.to_owned())].into();
    submitted(Submission { labels, ..submission })
}

fn flow() -> PauseTarget {
    PauseTarget::Workflow("flow".to_owned())
}

fn paused(target: PauseTarget, caller: u64) -> Event {
    Event::Paused { target, by: "somebody".to_owned(), caller: Caller(caller) }
}

#[test]
fn the_event_that_failed_is_applied_again_after_those_before_it() {
    let mut world = World::on(Disk::default());
    world.hear(vec![paused(flow(), 90), planted(submission(1, &exec(), 1), "TaskGranted")], vec![joined(1)]);
    assert_eq!(world.loads, 0);
    let resumed = Event::Resumed { target: flow(), by: "somebody".to_owned(), caller: Caller(92) };
    world.hear(vec![paused(flow(), 91), resumed], Vec::new());
    assert!(world.loads > 0, "letting it go made the brain fail");
    assert!(world.has_answered(Caller(91)) && world.has_answered(Caller(92)));
    let state = world.driver.state();
    assert!(state.paused_workflows.is_empty(), "it was resumed last");
    assert!(state.runs[&run(1)].poisoned.is_some());
}

/// Many deadlines are due, and one of them makes the brain fail.
#[test]
fn a_command_does_not_wait_behind_all_that_is_done_again() {
    let mut world = World::on(Disk::default());
    let sleeps = |number, tasks| submission(number, &TaskKind::Sleep(Millis(0)), tasks);
    world.say(planted(sleeps(1, 2), "TaskCompleted"));
    world.say(submitted(sleeps(2, 150)));
    while world.loads == 0 {
        world.turn();
    }
    world.say(paused(PauseTarget::Queue("default".to_owned()), 77));
    let before = world.commits;
    while !world.has_answered(Caller(77)) {
        world.turn();
        assert!(world.commits < before + 10, "it waits for {} commits", world.commits - before);
    }
    world.hear(Vec::new(), Vec::new());
    assert!(world.driver.is_settled());
    assert!(!world.driver.state().runs.contains_key(&run(2)), "the others went on to their end");
    assert!(world.driver.state().runs[&run(1)].poisoned.is_some());
}

/// The end of a child's attempt fails at the parent, which waits for it: the parent is frozen, and the end counts.
#[test]
fn an_end_is_not_lost_for_what_another_run_does() {
    let mut world = World::on(Disk::default());
    world.hear(vec![planted(submission(1, &exec(), 1), "WaitGranted")], vec![joined(1)]);
    let parent = outstanding(world.driver.state()).remove(0);
    let asks = |ask, caller| {
        let (attempt, fence) = (parent.attempt, parent.fence);
        Event::AttemptAsked { attempt, fence, ask: Box::new(ask), caller: Caller(caller) }
    };
    let child = Ask::Spawn { key: "one".to_owned(), submission: Box::new(submission(2, &exec(), 1)), detached: false };
    let end_of_child = Awaited::Child { key: "one".to_owned(), until: Until::Finished };
    let wait = Ask::Wait { name: "end".to_owned(), on: end_of_child, within: None, then: AtDeadline::GiveUp };
    world.hear(vec![asks(child, 71), asks(wait, 72)], Vec::new());
    let all = outstanding(world.driver.state());
    let child = all.into_iter().find(|attempt| attempt.attempt.task.run == run(2)).expect("it was granted");
    assert_eq!(world.loads, 0);
    world.hear(Vec::new(), vec![ended(&child, Outcome::Succeeded { output: JsonText("null".into()) })]);
    assert!(world.loads > 0, "the end of the child made the brain fail");
    assert_eq!(world.disk.quarantined, 1);
    let state = world.driver.state();
    assert!(state.runs[&run(1)].poisoned.is_some());
    assert!(!state.runs.contains_key(&run(2)), "it ended with its only task");
}

/// Nobody can be frozen to stop it, and a loop would fill the store.
#[test]
fn what_comes_again_with_nobody_to_blame_stops_the_brain() {
    let mut world = World::on(Disk::default());
    let turn = world.hear(vec![planted(submission(1, &exec(), 1), "TaskGranted?")], vec![joined(1)]);
    assert!(matches!(turn.fatal, Some(Fatal::Beyond(_))), "{turn:?}");
    assert_eq!(world.disk.quarantined, 1);
}
