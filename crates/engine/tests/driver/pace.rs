//! A turn does no more than it is told.

use super::world::{Disk, World, joined, submission, submitted};
use unknot_core::{
    Millis,
    event::{Caller, Event, PauseTarget},
    workflow::TaskKind,
};
use unknot_engine::driver::Pace;

/// What the end of one sleep costs at most.
const ONE: usize = 10;

#[test]
fn a_turn_takes_no_further_event_once_it_has_done_enough() {
    let mut world = World::on(Disk::default());
    world.hear(vec![submitted(submission(1, &TaskKind::Sleep(Millis(1_000)), 200))], Vec::new());
    world.now = world.now.plus(Millis(1_000));
    world.pace = Pace(30);
    let mut turns = 0;
    while !world.driver.state().runs.is_empty() {
        if turns == 3 {
            let target = PauseTarget::Queue("default".to_owned());
            world.say(Event::Paused { target, by: "somebody".to_owned(), caller: Caller(7) });
        }
        let turn = world.turn();
        assert!(turn.done <= 30 + ONE, "{} changes in one turn", turn.done);
        turns += 1;
    }
    assert!(turns > 10, "{turns} turns");
    world.hear(Vec::new(), Vec::new());
    assert!(world.has_answered(Caller(7)), "no lane waits for another");
}

#[test]
fn the_slowest_pace_serves_every_lane() {
    let mut world = World::on(Disk::default());
    world.pace = Pace(1);
    world.hear(vec![submitted(submission(1, &TaskKind::Sleep(Millis(0)), 20))], vec![joined(1)]);
    assert!(world.driver.state().runs.is_empty(), "the run came to its end");
    assert_eq!(world.driver.state().volatile.workers.len(), 1);
}
