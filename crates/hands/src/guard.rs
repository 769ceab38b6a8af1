//! The guard: one small process per worker that starts all attempts and outlives none of them.
//!
//! It is a child subreaper, so orphans of every kind become its children; it has one thread and one loop, and no disk
//! or peer can make it wait. Its worker holds one end of a socket. When that end closes, however the worker died, the
//! guard kills all that it has and exits, within 5 s and without anybody's next start.
//!
//! - `wire`: what the two say to each other, and why output does not pass through the guard.
//! - `serve`: the loop. `roster`: one attempt. `owner`: whose is an orphan? `start`: from fork to program.
//! - `cgroup`: optional help of cgroup v2. `kernel`: the calls that need `unsafe`.
//! - `link`: the worker's side.

mod cgroup;
mod kernel;
pub(crate) mod link;
mod owner;
mod roster;
mod serve;
mod start;
pub(crate) mod wire;

use std::ffi::OsString;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

use rustix::process::{getpid, set_child_subreaper, setsid};

pub(crate) use self::cgroup::Cgroup;
use self::cgroup::Hierarchy;
pub(crate) use self::kernel::mark_of;
use self::serve::Guard;
use self::start::Origin;
use crate::descriptors;

/// How a worker starts its guard: a program that calls [`main`] when it is given these arguments.
#[derive(Debug, Clone)]
pub struct GuardCommand {
    /// The program, normally the worker's own.
    pub program: PathBuf,
    /// Its arguments, normally `__guard`.
    pub args: Vec<OsString>,
}

impl GuardCommand {
    /// The program that runs now, with these arguments. Not by its path: an upgrade may have put another version there,
    /// or nothing, and a guard that is started later must speak as its worker does.
    #[must_use]
    pub fn this_program(args: Vec<OsString>) -> Self {
        Self { program: "/proc/self/exe".into(), args }
    }
}

/// The variable that names the guard's nonce, for the guard and for the processes of its attempts.
pub(crate) const NONCE_VARIABLE: &str = "UNKNOT_GUARD";
/// The variable with which a worker forbids its guard to use cgroups.
pub(crate) const NO_CGROUP_VARIABLE: &str = "UNKNOT_GUARD_NO_CGROUP";

/// The variable that tells the guard which soft limit of open files a task is to have.
pub(crate) const OPEN_FILES_VARIABLE: &str = "UNKNOT_GUARD_OPEN_FILES";

/// Is the guard, until its worker is gone. Standard input is the socket to the worker.
///
/// Call it first thing in `main`, before any thread or runtime exists and before anything is opened: the guard forks,
/// and a fork copies one thread; and it closes every descriptor that it inherited.
#[must_use]
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE, // The worker sees the end of the connection; there is nobody else to tell.
    }
}

fn run() -> io::Result<()> {
    kernel::close_inherited();
    // Its file's name need not say what it is; this is for people who look at a list of processes.
    rustix::thread::set_name(c"unknot-guard")?;
    set_child_subreaper(Some(getpid()))?;
    // Refused only to a group's leader, which a guard started by hand is; it then shares its starter's session.
    setsid().map(drop).unwrap_or_default();
    let signals = kernel::catch_signals()?;
    let nonce = std::env::var(NONCE_VARIABLE).unwrap_or_default();
    let use_cgroups = std::env::var_os(NO_CGROUP_VARIABLE).is_none();
    let hierarchy = use_cgroups.then(|| Hierarchy::probe(&nonce)).flatten();
    let found = descriptors::raise();
    let told = std::env::var(OPEN_FILES_VARIABLE).ok().and_then(|limit| limit.parse().ok());
    let origin = Origin {
        open_files: told.or(found),
        guard_pid: std::process::id(),
        nonce,
        boot_id: crate::proc::boot_id(),
        environment: std::env::vars_os().filter(|(name, _)| !is_ours(name)).collect(),
    };
    let mut guard = Guard::new(rustix::stdio::stdin(), signals, origin, hierarchy)?;
    // A bug here must not leave processes behind: whatever ends the loop, everything is killed after it.
    let served = catch_unwind(AssertUnwindSafe(|| guard.serve()));
    guard.end_everything();
    served.unwrap_or_else(|_| Err(io::Error::other("the guard's loop panicked")))
}

/// Unknot's own variables (tokens and settings of the worker) are not for its tasks.
fn is_ours(name: &OsString) -> bool {
    name.as_encoded_bytes().starts_with(b"UNKNOT_")
}
