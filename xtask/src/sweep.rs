//! `cargo xtask sweep`: simulated worlds, as many as there is time for.
//!
//! The simulator is the crate `unknot-sim`; a failing seed is printed with the command that replays it.

use crate::{Repository, Result, child};
use std::time::Duration;

/// The build before it.
const BUILD_LIMIT: Duration = Duration::from_secs(1_800);
/// The longest sweep; one that is asked for without bounds ends long before.
const LIMIT: Duration = Duration::from_secs(24 * 3_600);
/// What is run if nothing is asked for.
const DEFAULT: [&str; 2] = ["--seeds", "5000"];

/// Builds the simulator in release and passes the arguments on.
pub(crate) fn run(repository: &Repository, arguments: &[String]) -> Result<()> {
    child::run(&mut repository.cargo(&["build", "--release", "-p", "unknot-sim"]), BUILD_LIMIT)?;
    let simulator = repository.target()?.join("release/unknot-sim").display().to_string();
    let asked = arguments.iter().map(String::as_str);
    let call: Vec<&str> = match arguments.is_empty() {
        true => std::iter::once("sweep").chain(DEFAULT).collect(),
        false => std::iter::once("sweep").chain(asked).collect(),
    };
    child::run(&mut repository.command(&simulator, &call), LIMIT)
}
