//! What the kernel says about processes, read from `/proc`.
//!
//! Of all files there, only `stat`, `children` and `fd` are read where a wait could hurt: they take no lock that a
//! stuck process may hold. `cmdline` and `environ` do (the memory map's), so the guard reads `environ` only as its last
//! resort, and everyone else reads both away from the async runtime.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use unknot_api::work::ProcessRef;

/// One process, as its `stat` file describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: u32,
    /// The name of its program, at most 15 bytes.
    pub(crate) name: String,
    /// Whether it has ended and waits to be reaped; not if only its first thread has ended.
    pub(crate) zombie: bool,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    pub(crate) session: u32,
    /// Processor time of it and of the children that it waited for, in clock ticks.
    pub(crate) cpu_ticks: u64,
    /// When it was started, in clock ticks since boot. With the pid it names a process for as long as the boot lasts.
    pub(crate) start_ticks: u64,
    pub(crate) rss_pages: u64,
}

impl Stat {
    /// Reads one process; `None` if there is none (any more).
    pub(crate) fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Parses `pid (name) state parent …`. The name may hold anything, so the last parenthesis ends it.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (pid, rest) = text.split_once(" (")?;
        let (name, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            pid: pid.parse().ok()?,
            name: name.to_owned(),
            zombie: matches!(*fields.first()?, "Z" | "X") && number(17)? <= 1,
            parent: u32::try_from(number(1)?).ok()?,
            group: u32::try_from(number(2)?).ok()?,
            session: u32::try_from(number(3)?).ok()?,
            cpu_ticks: number(11)? + number(12)? + number(13)? + number(14)?,
            start_ticks: number(19)?,
            rss_pages: number(21)?,
        })
    }

    /// The process with its short name, without asking it for its command line.
    pub(crate) fn to_ref(&self) -> ProcessRef {
        ProcessRef { pid: self.pid, command: self.name.clone() }
    }
}

/// All processes of the machine that can be seen, in no particular order. `None` if not even this one can, for want
/// of descriptors for example: then nobody's absence means anything.
pub(crate) fn snapshot() -> Option<Vec<Stat>> {
    let found: Vec<Stat> = pids().into_iter().filter_map(Stat::read).collect();
    let this = std::process::id();
    found.iter().any(|stat| stat.pid == this).then_some(found)
}

fn pids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// All descendants of `root`, each after its parent; `None` if they cannot be seen.
pub(crate) fn descendants(root: u32) -> Option<Vec<Stat>> {
    let mut by_parent: HashMap<u32, Vec<Stat>> = HashMap::new();
    for stat in snapshot()? {
        by_parent.entry(stat.parent).or_default().push(stat);
    }
    let mut found = by_parent.remove(&root).unwrap_or_default();
    let mut next = 0;
    while next < found.len() {
        let children = by_parent.remove(&found[next].pid).unwrap_or_default();
        found.extend(children);
        next += 1;
    }
    Some(found)
}

/// The children of a single-threaded process; `None` where the kernel does not list them.
pub(crate) fn children(pid: u32) -> Option<Vec<u32>> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    Some(text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

/// The value of this variable in the environment that the process was started with. May wait for a stuck process.
pub(crate) fn environ_value(pid: u32, name: &str) -> Option<String> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut entries = environ.split(|byte| *byte == 0);
    let value = entries.find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    String::from_utf8(value.to_vec()).ok()
}

/// The process with its command line, cut to 200 bytes. May wait for a stuck process.
pub(crate) fn describe(pid: u32) -> ProcessRef {
    let mut line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.truncate(200);
    let text = String::from_utf8_lossy(&line).replace('\0', " ").trim().to_owned();
    let command = if text.is_empty() { Stat::read(pid).map(|stat| stat.name).unwrap_or_default() } else { text };
    ProcessRef { pid, command }
}

/// The processes, apart from this one, that hold one of these pipes open.
pub(crate) fn pipe_holders(inodes: &[u64]) -> Vec<u32> {
    let names: Vec<PathBuf> = inodes.iter().map(|inode| PathBuf::from(format!("pipe:[{inode}]"))).collect();
    let holds = |pid: u32| {
        let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        open.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|target| names.contains(&target)))
    };
    let this = std::process::id();
    pids().into_iter().filter(|pid| *pid != this && holds(*pid)).collect()
}

/// The id of this boot of the machine; empty if the kernel does not tell.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Sends a signal to exactly this process, never to one that got its number later.
///
/// # Errors
///
/// As `pidfd_open` and `pidfd_send_signal`; `ESRCH` if the process is gone.
pub(crate) fn signal_exactly(stat: &Stat, signal: Signal) -> io::Result<()> {
    let pid = pid(stat.pid).ok_or(rustix::io::Errno::SRCH)?;
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    match Stat::read(stat.pid) {
        Some(now) if now.start_ticks == stat.start_ticks => Ok(pidfd_send_signal(handle, signal)?),
        _ => Err(rustix::io::Errno::SRCH.into()),
    }
}

/// A pid as the kernel's interface takes it; `None` for 0 and for what no pid can be.
pub(crate) fn pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let line = b"42 (a) b) (c) S 1 40 30 0 -1 4194560 1 2 3 4 50 60 7 8 20 0 1 0 999 1000 33 0 0";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.pid, stat.name.as_str(), stat.parent), (42, "a) b) (c", 1));
        assert_eq!((stat.group, stat.session, stat.cpu_ticks), (40, 30, 125));
        assert_eq!((stat.start_ticks, stat.rss_pages, stat.zombie), (999, 33, false));
    }

    #[test]
    fn a_process_outlives_its_first_thread() {
        let line = |threads: u32| format!("42 (a) Z 1 40 30 0 -1 4 1 2 3 4 50 60 7 8 20 0 {threads} 0 999 1000 33 0");
        assert!(Stat::parse(line(1).as_bytes()).unwrap().zombie);
        assert!(!Stat::parse(line(2).as_bytes()).unwrap().zombie);
    }

    #[test]
    fn this_process_is_seen() {
        let stat = Stat::read(std::process::id()).unwrap();
        assert!(snapshot().unwrap().iter().any(|seen| (seen.pid, seen.start_ticks) == (stat.pid, stat.start_ticks)));
        assert!(stat.start_ticks > 0);
    }

    #[test]
    fn garbage_is_no_process() {
        assert_eq!(Stat::parse(b""), None);
        assert_eq!(Stat::parse(b"1 (x) S"), None);
    }
}
