//! The checks themselves: each finds what it is there for.

use crate::story::{self, Story};
use std::panic::{AssertUnwindSafe, catch_unwind};
use unknot_core::check;

/// What the checks say about a story's state.
fn verdict(story: &Story) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| check::whole(&story.world.state)))
        .map_err(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_default())
}

#[test]
fn units_beyond_a_pools_size_are_seen() {
    let begin = "> pool gpu 3\nworkflow f\n  task a pools gpu:3\n\n> worker local slots 9\n> submit r1 f\n";
    let mut story = story::begin(begin);
    let pool = story.world.state.pools.get_mut("gpu").expect("it was declared");
    pool.size = 2;
    let message = verdict(&story).expect_err("three of two units are held");
    assert!(message.starts_with("3 units of pool `gpu` are held and it has 2"), "{message}");

    // The same size, made so by an operator while they were held.
    let story = story::begin(&format!("{begin}> pool gpu 2\n"));
    verdict(&story).expect("whoever had them keeps them");
}
