//! Child commands that cannot hang: each has a limit, after which it and its descendants are gone.
//!
//! The child stays in the terminal's foreground group, so that Ctrl-C reaches all of it; that is
//! why the limit walks the process tree instead of killing a group.

use crate::Result;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How often a running child is asked whether it has ended.
const POLL: Duration = Duration::from_millis(20);
/// How long a child may take to end by itself after it was asked to.
const GRACE: Duration = Duration::from_secs(10);

/// Runs `command` with our standard streams.
///
/// # Errors
/// When it cannot be started, does not succeed, or is still running after `limit`.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<()> {
    let mut child = start(command)?;
    finish(command, &mut child, limit)
}

/// Like [`run`], but gives back what the command printed on its standard output.
///
/// # Errors
/// As for [`run`].
pub(crate) fn capture(command: &mut Command, limit: Duration) -> Result<String> {
    let mut child = start(command.stdout(Stdio::piped()))?;
    let mut stdout = child.stdout.take().expect("its standard output was just piped");
    let reader = thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    finish(command, &mut child, limit)?;
    let text = reader.join().map_err(|_| format!("reading the output of {} panicked", show(command)))?;
    Ok(text?)
}

/// Whether `command` exists, runs and succeeds; its output is thrown away.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    run(command.stdout(Stdio::null()).stderr(Stdio::null()), Duration::from_secs(60)).is_ok()
}

/// The command as one would type it.
pub(crate) fn show(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default();
    let arguments = command.get_args().map(|argument| format!(" {}", argument.to_string_lossy()));
    format!("`{program}{}`", arguments.collect::<String>())
}

fn start(command: &mut Command) -> Result<Child> {
    Ok(command.stdin(Stdio::null()).spawn().map_err(|error| format!("start {}: {error}", show(command)))?)
}

fn finish(command: &Command, child: &mut Child, limit: Duration) -> Result<()> {
    let status = if ends_within(child, limit)? {
        child.wait()?
    } else {
        stop(child)?;
        return Err(format!("{} was still running after {} s and was killed", show(command), limit.as_secs()).into());
    };
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", show(command)).into()) }
}

fn ends_within(child: &mut Child, limit: Duration) -> io::Result<bool> {
    let started = Instant::now();
    loop {
        if child.try_wait()?.is_some() {
            return Ok(true);
        }
        if started.elapsed() >= limit {
            return Ok(false);
        }
        thread::sleep(POLL);
    }
}

/// Asks the child to end, then kills it and all that descends from it.
fn stop(child: &mut Child) -> io::Result<()> {
    let mut family = descendants(child.id());
    signal(child.id(), Signal::TERM);
    let ended = ends_within(child, GRACE)?;
    if !ended {
        family.extend(descendants(child.id()));
        child.kill()?;
        child.wait()?;
    }
    for (pid, started) in family {
        if process(pid).is_some_and(|process| process.started == started) {
            signal(pid, Signal::KILL);
        }
    }
    Ok(())
}

fn signal(pid: u32, signal: Signal) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    // A process that has just ended by itself is what we want.
    kill_process(pid, signal).ok();
}

/// What `/proc` says about one process; the start time tells a reused pid from the one we knew.
struct Process {
    parent: u32,
    started: u64,
}

fn process(pid: u32) -> Option<Process> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Process { parent: fields.get(1)?.parse().ok()?, started: fields.get(19)?.parse().ok()? })
}

/// The pids below `root` with their start times; empty where there is no `/proc`.
fn descendants(root: u32) -> BTreeMap<u32, u64> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let all: BTreeMap<u32, Process> = pids.filter_map(|pid: u32| Some((pid, process(pid)?))).collect();
    let mut found = BTreeMap::new();
    let mut unvisited = vec![root];
    while let Some(parent) = unvisited.pop() {
        for (&pid, process) in all.iter().filter(|(_, process)| process.parent == parent) {
            found.insert(pid, process.started);
            unvisited.push(pid);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn success_failure_and_a_missing_program_are_told_apart() {
        let limit = Duration::from_secs(20);
        assert!(run(&mut shell("exit 0"), limit).is_ok());
        let failed = run(&mut shell("exit 3"), limit).expect_err("it exits with 3").to_string();
        assert!(failed.contains("exit status: 3"), "{failed}");
        let missing = run(&mut Command::new("no-such-program"), limit).expect_err("it is missing").to_string();
        assert!(missing.starts_with("start `no-such-program`"), "{missing}");
    }

    #[test]
    fn output_is_captured() {
        assert_eq!(capture(&mut shell("echo one; echo two"), Duration::from_secs(20)).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn a_child_over_its_limit_is_gone_with_its_descendants() {
        // The pipe closes only when the last of the family has ended: reading to its end proves it.
        let mut command = shell("setsid sleep 1000 & sleep 1000 & wait");
        let mut child = start(command.stdout(Stdio::piped())).unwrap();
        let mut stdout = child.stdout.take().unwrap();
        while descendants(child.id()).len() < 2 {
            thread::yield_now();
        }
        let error = finish(&command, &mut child, Duration::from_millis(1)).expect_err("its limit is short");
        assert!(error.to_string().contains("was killed"), "{error}");
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
    }
}
