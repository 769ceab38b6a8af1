//! `cargo xtask kill-loop`: `kill -9` of a working `unknot` at random moments, as often as is asked for.
//!
//! The test itself is `crates/unknot/tests/kill_loop.rs`, of which the default suite runs ten rounds.

use crate::{Repository, Result, child};
use std::time::Duration;

/// Longest that it may take, its build included.
const LIMIT: Duration = Duration::from_secs(4 * 3_600);

/// Kills a working `unknot` so many times (50).
pub(crate) fn run(repository: &Repository, arguments: &[String]) -> Result<()> {
    let rounds = match arguments {
        [] => "50",
        [rounds] if rounds.parse::<u32>().is_ok_and(|rounds| rounds > 0) => rounds,
        _ => return Err("kill-loop takes at most a number of rounds".into()),
    };
    let call = ["test", "--release", "-p", "unknot", "--test", "kill_loop", "--", "--nocapture"];
    child::run(repository.cargo(&call).env("UNKNOT_KILL_ROUNDS", rounds), LIMIT)
}
