//! `cargo xtask load`: builds a server and its load test in release, and says how the server answers under load.
//!
//! The load test is `crates/server/examples/load`. It fails if what operators need is too slow meanwhile.

use crate::{Repository, Result, child};
use std::time::Duration;

/// The build before it.
const BUILD_LIMIT: Duration = Duration::from_secs(1_800);
/// All of it; a part that hangs ends by itself before.
const LIMIT: Duration = Duration::from_secs(600);

/// Builds, and passes `--json` on.
pub(crate) fn run(repository: &Repository, arguments: &[String]) -> Result<()> {
    let more = match arguments {
        [] => None,
        [word] if word == "--json" => Some("--json"),
        _ => return Err("load takes `--json`".into()),
    };
    child::run(&mut repository.cargo(&["build", "--release", "-p", "unknot"]), BUILD_LIMIT)?;
    let build = ["build", "--release", "-p", "unknot-server", "--example", "load"];
    child::run(&mut repository.cargo(&build), BUILD_LIMIT)?;
    let target = repository.target()?;
    let mut command = repository.command(&target.join("release/examples/load").display().to_string(), &[]);
    // On the disk of the target folder: a store in memory would flatter.
    command.arg(target.join("release/unknot")).arg(target.join("load")).args(more);
    child::run(&mut command, LIMIT)
}
