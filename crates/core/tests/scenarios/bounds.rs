//! Bounds on what others send, where a story would be too long to read.

use crate::story;
use unknot_core::{row::Key, run::Phase};

#[test]
fn long_messages_are_cut() {
    let story = story::begin(
        "workflow f\n  task a locks l on_lost hold\n\n> worker local slots 9\n> submit r1 f\n> end a lost alive big 5000\n> poison r1 bad\n",
    );
    let (run, _) = story.runs["r1"];
    let run = &story.world.state.runs[&run];
    let error = run.tasks[0].error.as_ref().expect("it was lost");
    assert_eq!(error.message.len(), 2_000);
    let poison = story.world.state.pools["l"].poisoned.as_ref().expect("its holder may be alive");
    assert!(poison.message.len() < 2_200, "{}", poison.message.len());
}

#[test]
fn a_stale_renewal_is_counted() {
    let story = story::begin(
        "workflow f\n  task a\n  task z\n\n> worker far slots 2\n> submit r1 f\n> end a ok\n> renew a\n> renew z\n> renew a\n",
    );
    assert_eq!(story.world.state.volatile.refused_reports, 2);
    assert!(matches!(story.world.state.runs[&story.runs["r1"].0].tasks[1].phase, Phase::Leased(_)));
}

/// After a failure events are applied alone, and what they free is given out in a step of its own. That one's commit may
/// be refused, or never made: whoever is deadlocked is told of in the commit before it, since a load takes them for told.
#[test]
fn a_verdict_is_in_the_commit_that_closes_it_where_grants_come_apart() {
    let mut story = story::begin(
        "workflow f\n  task a\n  task b\n\n> alert\n> worker local slots 2\n> submit r1 f\n> ask a wait one lock:disk\n> ask b wait one lock:gpu\n> ask a wait two lock:gpu\n> by hand\n",
    );
    story.world.state.volatile.grants_apart = true;
    story::go_on(&mut story, "> ask b wait two lock:disk\n");
    let is_verdict = |key: &&Key| matches!(key, Key::Deadlock(_));
    assert_eq!(story.world.rows.keys().filter(is_verdict).count(), 1);
}
