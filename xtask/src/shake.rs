//! `cargo xtask kill-loop` and `cargo xtask sweep`: the tests that find more the longer they run.
//!
//! Both exercise release builds of what the default suite runs for a few seconds.

use crate::{Repository, Result, child};
use std::time::Duration;

/// Longest that either may take, its build included.
const LIMIT: Duration = Duration::from_secs(4 * 3_600);

/// Kills a working `unknot` so many times (50).
pub(crate) fn kill_loop(repository: &Repository, arguments: &[String]) -> Result<()> {
    let rounds = match arguments {
        [] => "50",
        [rounds] if rounds.parse::<u32>().is_ok_and(|rounds| rounds > 0) => rounds,
        _ => return Err("kill-loop takes at most a number of rounds".into()),
    };
    let call = ["test", "--release", "-p", "unknot", "--test", "kill_loop", "--", "--nocapture"];
    child::run(repository.cargo(&call).env("UNKNOT_KILL_ROUNDS", rounds), LIMIT)
}

/// Runs the simulator; the arguments are its own.
pub(crate) fn sweep(repository: &Repository, arguments: &[String]) -> Result<()> {
    let mut call = vec!["run", "--release", "-p", "unknot-sim", "--", "sweep"];
    call.extend(arguments.iter().map(String::as_str));
    child::run(&mut repository.cargo(&call), LIMIT)
}
