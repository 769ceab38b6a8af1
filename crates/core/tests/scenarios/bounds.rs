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

/// Scripts make up ever new names of locks. Those that are held, waited for, named by a run that goes on, or configured stay.
#[test]
fn locks_of_first_use_that_are_nobodys_are_forgotten_once_there_are_many() {
    let mut text = String::from(
        "> pool a-conf 1\nworkflow f\n  task a\n  task b\n  task c needs b locks a-named\n\n> worker local slots 2\n> submit r1 f\n> ask a wait held lock:a-held\n> ask b wait wanted all(lock:a-held,lock:a-wanted)\n",
    );
    for number in 0..1_100 {
        text += &format!("> ask a wait w{number} lock:l{number:04}\n> ask a release l{number:04}\n");
    }
    let mut story = story::begin(&text);
    let pools = &story.world.state.pools;
    assert_eq!(pools.len(), 1_004, "the last thousand, and four that are somebody's");
    assert!(["a-conf", "a-named", "a-held", "a-wanted"].iter().all(|name| pools.contains_key(*name)));
    let rows = story.world.rows.keys().filter(|key| matches!(key, Key::Pool(_))).count();
    assert_eq!(rows, pools.len(), "their rows go with them");
    // A forgotten one is made again, and given as before.
    story::go_on(
        &mut story,
        "> ask a wait again lock:l0000\n> ask a release a-held\n> ask b release a-held,a-wanted\n",
    );
    assert!(story.world.state.volatile.held.contains_key("l0000"));
    assert!(!story.world.state.volatile.held.contains_key("a-held"));
}
