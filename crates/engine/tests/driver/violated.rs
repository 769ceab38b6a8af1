//! The store finds a contradiction in a batch.

use super::world::{Disk, World, exec, joined, local, submission, submitted};
use unknot_core::{
    due::outstanding,
    event::{AttemptEnd, Event, Outcome},
    row::Detail,
};

/// The first batch of a process contradicts. What an earlier one had been given is lost, and not to be started
/// by whoever works now, beside its second try.
#[test]
fn attempts_of_a_boot_that_is_gone_are_started_by_nobody() {
    let mut before = World::on(Disk::default());
    before.hear(vec![submitted(submission(1, &exec(), 1))], vec![joined(1)]);
    let left = outstanding(before.driver.state());
    assert_eq!(left.len(), 1);

    let mut after = World::on(before.disk);
    let mut first = true;
    after.contradicts = Box::new(move |_| std::mem::take(&mut first));
    let outcome = Outcome::Lost { message: "gone".to_owned(), confirmed_dead: true };
    let (attempt, fence) = (left[0].attempt, left[0].fence);
    let lost = AttemptEnd { attempt, fence, outcome, detail: Detail::NONE };
    after.hear(Vec::new(), vec![Event::AttemptEnded(Box::new(lost)), joined(2)]);
    assert_eq!(after.loads, 1);
    let starts: Vec<_> = after.starts().map(|start| (start.attempt.number, start.worker.clone())).collect();
    assert_eq!(starts, [(2, local(2))]);
}
