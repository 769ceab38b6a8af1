//! Bounds on what others send, where a story would be too long to read.

use crate::story;
use unknot_core::run::Phase;

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
