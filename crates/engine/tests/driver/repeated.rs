//! A worker comes back to a server that was started anew.

use super::world::{Disk, World, ended, exec, run, submission, submitted};
use unknot_core::{
    due::outstanding,
    event::{Event, Outcome},
    run::{JsonText, WorkerId},
};

fn far_joined() -> Event {
    let worker = WorkerId { name: "far".into(), boot: 1 };
    Event::WorkerJoined { worker, slots: 2, serves: Box::default() }
}

/// It is told again what it has, and reports the end of it before that is durable: it would take it for new.
#[test]
fn what_a_worker_has_ended_is_not_started_again() {
    let mut before = World::on(Disk::default());
    before.hear(vec![submitted(submission(1, &exec(), 2))], vec![far_joined()]);
    let left = outstanding(before.driver.state());
    assert_eq!((left.len(), before.starts().count()), (2, 2));

    let mut after = World::on(before.disk);
    let done = ended(&left[0], Outcome::Succeeded { output: JsonText("null".into()) });
    after.hear(Vec::new(), vec![far_joined(), done]);
    let again: Vec<_> = after.starts().map(|start| start.attempt).collect();
    assert_eq!(again, [left[1].attempt], "the other one may never have arrived");
    assert!(after.driver.state().runs.contains_key(&run(1)));
}
