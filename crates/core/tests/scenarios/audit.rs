//! The audit of the live graph by a full reduction.

use crate::story;
use unknot_core::{
    monitor::audit::{Dead, dead, hold_against, unproved},
    volatile::Party,
    wait,
};

/// Two attempts, each of which waits for a lock that the other holds, and a run that has nothing to do with them.
const RING: &str = "workflow one\n  task a\nworkflow two\n  task b\nworkflow other\n  task c signal go\n\n> alert\n\
    > worker local slots 4\n> submit r1 one\n> submit r2 two\n> submit r3 other\n> ask r1.a wait x lock:x\n\
    > ask r2.b wait y lock:y\n> ask r1.a wait z lock:y\n> ask r2.b wait z lock:x\n";

#[test]
fn what_both_call_dead_is_no_difference_and_what_one_does_is() {
    let mut story = story::begin(RING);
    let state = &story.world.state;
    let snapshot = wait::snapshot(state, story.world.now);
    let proved = dead(state, &wait::reduce(&snapshot)).expect("nothing goes on");
    let (lacking, claimed) = hold_against(state, &proved).expect("nothing goes on");
    assert_eq!((lacking.len(), claimed.len()), (0, 2));
    assert!(proved.len() > claimed.len(), "runs that nobody spawned wait for theirs, and nobody for them");
    assert!(unproved(state, &proved, &claimed).is_empty());
    // Had the reduction found nobody, the live graph would say too much.
    assert_eq!(unproved(state, &Dead::new(), &claimed).len(), 2);

    story::go_on(&mut story, "> ask r1.a withdraw z\n");
    let live = &story.world.state;
    assert!(live.volatile.graph.deadlocked().next().is_none());
    // What has moved since is not compared.
    assert_eq!(hold_against(live, &proved).map(|(lacking, _)| lacking.len()), Some(0));
    // Were it still there as it was, the live graph would lack it: `b` waits, and is not dead any more.
    let waits =
        claimed.keys().copied().filter(|party| matches!(party, Party::Task(id) if id.run == story.runs["r2"].0));
    let before: Dead = waits.map(|party| (party, proved[&party])).collect();
    assert_eq!(hold_against(live, &before).map(|(lacking, _)| lacking.len()), Some(1));
}
