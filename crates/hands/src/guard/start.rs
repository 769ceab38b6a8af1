//! Starting an attempt: what happens between `fork` and the program.
//!
//! The child does all that may wait (its record goes to a disk, the program may lie on another), so that the guard
//! never does. It tells of a failure through a pipe that a successful `exec` closes.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Resource, Rlimit, Signal, getpid, getppid, set_parent_process_death_signal, setrlimit, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use unknot_api::work::Limits;

use super::NONCE_VARIABLE;
use super::cgroup::Cgroup;
use super::kernel::{self, Forked};
use super::wire::{LaunchFailure, Spawn};
use crate::descriptors;
use crate::identity::ProcessRecord;
use crate::proc::Stat;

/// What is the same for all attempts of one guard.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) guard_pid: u32,
    pub(crate) nonce: String,
    pub(crate) boot_id: String,
    /// The soft limit of open files that a task starts with, unless its own limits say otherwise.
    pub(crate) open_files: Option<u64>,
    /// The environment that each attempt's own is laid over.
    pub(crate) environment: Vec<(OsString, OsString)>,
}

/// The write ends of the attempt's output pipes.
#[derive(Debug)]
pub(crate) struct Outputs {
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// An attempt's first process, right after its birth.
#[derive(Debug)]
pub(crate) struct Born {
    pub(crate) pid: u32,
    /// Readable at its end when the program runs, and with a text before it if that failed.
    pub(crate) verdict: OwnedFd,
}

/// Starts an attempt.
///
/// # Errors
///
/// If there is no process or pipe to be had.
pub(crate) fn start(origin: &Origin, spawn: &Spawn, outputs: &Outputs, cgroup: Option<&Cgroup>) -> io::Result<Born> {
    let (verdict, mut teller) = io::pipe()?;
    rustix::io::ioctl_fionbio(&verdict, true)?;
    let folder = cgroup.map(Cgroup::open).transpose()?;
    match kernel::fork(folder.as_ref().map(File::as_fd))? {
        Forked::Parent { child } => Ok(Born { pid: child, verdict: verdict.into() }),
        Forked::Child => {
            let failure = become_program(origin, spawn, outputs, cgroup);
            // If even this cannot be told, the status alone says that the launch failed.
            // In one write, which the pipe keeps whole: the guard reads once.
            teller.write_all(&failure.told()).unwrap_or_default();
            kernel::exit_now(127)
        }
    }
}

/// Turns this process, fresh from `fork`, into the program; returns only why that failed.
fn become_program(origin: &Origin, spawn: &Spawn, outputs: &Outputs, cgroup: Option<&Cgroup>) -> LaunchFailure {
    kernel::reset_signals();
    descriptors::raise_again();
    if let Err(error) = settle(spawn, outputs) {
        return LaunchFailure::of("cannot set up the process", &error);
    }
    if let Err(error) = record(origin, spawn, cgroup) {
        let folder = spawn.folder.display();
        return LaunchFailure::of(format_args!("cannot record the process in `{folder}`"), &error);
    }
    // The net below the net: if the guard is killed, so are the first processes. The guard's one thread lives as long
    // as the guard, so this cannot fire early; if it went before this line, the new parent gives it away.
    let orphan = set_parent_process_death_signal(Some(Signal::KILL)).is_err()
        || getppid().is_none_or(|parent| parent.as_raw_nonzero().get().unsigned_abs() != origin.guard_pid);
    if orphan {
        return LaunchFailure::passing("the guard is gone".to_owned());
    }
    execute(origin, spawn)
}

/// A session of its own, the mark, and the three standard streams.
fn settle(spawn: &Spawn, outputs: &Outputs) -> io::Result<()> {
    setsid()?;
    let soft = Some(spawn.mark.as_limit());
    let limit = rustix::process::getrlimit(Resource::Rttime);
    // Refused only under a smaller hard limit; the other evidence remains.
    setrlimit(Resource::Rttime, Rlimit { current: soft, maximum: limit.maximum }).unwrap_or_default();
    dup2_stdin(File::open("/dev/null")?)?;
    dup2_stdout(&outputs.stdout)?;
    dup2_stderr(&outputs.stderr)?;
    Ok(())
}

fn record(origin: &Origin, spawn: &Spawn, cgroup: Option<&Cgroup>) -> io::Result<()> {
    let pid = getpid().as_raw_nonzero().get().unsigned_abs();
    let stat = Stat::read(pid).ok_or_else(|| io::Error::other("/proc does not show this process"))?;
    let record = ProcessRecord {
        pid,
        start_ticks: stat.start_ticks,
        boot_id: origin.boot_id.clone(),
        attempt: spawn.attempt.clone(),
        mark: spawn.mark,
        guard_pid: origin.guard_pid,
        cgroup: cgroup.map(|cgroup| cgroup.folder().to_owned()),
    };
    record.write(&spawn.folder)
}

fn execute(origin: &Origin, spawn: &Spawn) -> LaunchFailure {
    let Some((program, arguments)) = spawn.argv.split_first() else {
        return LaunchFailure::lasting("the command is empty".to_owned());
    };
    if let Some(cwd) = &spawn.cwd
        && let Err(error) = std::env::set_current_dir(cwd)
    {
        return LaunchFailure::lasting(format!("cannot enter the working folder `{cwd}`: {error}"));
    }
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(origin.environment.iter().map(|(name, value)| (name, value)));
    command.envs(&spawn.env).env(NONCE_VARIABLE, &origin.nonce);
    // Last, because opening anything may need what this takes away.
    descriptors::set(origin.open_files);
    if let Err(error) = limit(&spawn.limits) {
        return LaunchFailure::lasting(format!("cannot set the limits: {error}"));
    }
    let error = command.exec();
    let hint = match error.kind() {
        io::ErrorKind::NotFound if !program.contains('/') => " (it is not in any folder of `PATH`)",
        io::ErrorKind::NotFound => " (it, or the interpreter that its first line names, does not exist)",
        io::ErrorKind::PermissionDenied => " (it, or a folder above it, must be executable for this user)",
        io::ErrorKind::ArgumentListTooLong => {
            " (of one argument or variable the kernel takes 128 KiB, of all together mostly 2 MiB; put more into files)"
        }
        _ => "",
    };
    LaunchFailure::of_program(format!("cannot start `{program}`: {error}{hint}"), &error)
}

/// The limits that the kernel keeps for each single process. Processor time is one of them only as a net, a little
/// above the limit of the whole attempt, which is sampled.
fn limit(limits: &Limits) -> io::Result<()> {
    let set = |resource, value: Option<u64>| {
        let Some(value) = value else { return Ok(()) };
        let maximum = rustix::process::getrlimit(resource).maximum;
        let value = maximum.map_or(value, |most| most.min(value));
        setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })
    };
    set(Resource::Cpu, limits.cpu_time_ms.map(|ms| ms.div_ceil(1000) + 2))?;
    set(Resource::Fsize, limits.file_size_bytes)?;
    set(Resource::Nofile, limits.open_files)?;
    Ok(())
}
