//! Cgroup v2, where the machine has a hierarchy that may be written: membership no process can shed by accident, one
//! write that kills all members, and limits of the kernel's own. Everything here is optional and probed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use unknot_api::work::Limits;

use super::wire::Enforced;

/// The folder of one guard, in which each attempt gets its own.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    folder: PathBuf,
}

impl Hierarchy {
    /// Finds a place for this process's own cgroups; `None` if there is none that may be written.
    pub(crate) fn probe(nonce: &str) -> Option<Self> {
        let parent = own_folder()?;
        let folder = parent.join(folder_name(nonce));
        fs::create_dir(&folder).ok()?;
        if !folder.join("cgroup.kill").exists() {
            remove(&folder); // Linux before 5.14 has no `cgroup.kill`; without it a cgroup is no help here.
            return None;
        }
        delegate(&parent);
        delegate(&folder);
        Some(Self { folder })
    }

    /// What a guard of this process could not remove because it was killed; dropping it makes up for that.
    pub(crate) fn left_by(nonce: &str) -> Option<Self> {
        Some(Self { folder: own_folder()?.join(folder_name(nonce)) })
    }

    /// Makes the cgroup of one attempt, with the limits that its controllers can enforce.
    ///
    /// # Errors
    ///
    /// As the file system says.
    pub(crate) fn create(&self, name: &str, limits: &Limits) -> io::Result<(Cgroup, Enforced)> {
        let cgroup = Cgroup { folder: self.folder.join(name) };
        fs::create_dir(&cgroup.folder)?;
        Ok((cgroup.clone(), cgroup.limit(limits)))
    }
}

impl Drop for Hierarchy {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            remove(&entry.path());
        }
        remove(&self.folder);
    }
}

/// The folder of the cgroup that this process is in, and its guards with it.
fn own_folder() -> Option<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    Some(mounts.lines().find_map(mount_point)?.join(own))
}

fn folder_name(nonce: &str) -> String {
    format!("unknot-{nonce}")
}

/// The mount point of a cgroup v2 line of `mountinfo` (fields: id, parent, device, root, point, …, `-`, type).
fn mount_point(line: &str) -> Option<PathBuf> {
    let (mount, kind) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    (kind.starts_with("cgroup2 ") && root == "/").then(|| PathBuf::from(point))
}

/// Asks for the controllers that limits need, one by one, because a refused one refuses the whole line. Those that
/// are not to be had show later as limits that nobody enforces.
fn delegate(folder: &Path) {
    for controller in ["+memory", "+pids", "+cpu"] {
        fs::write(folder.join("cgroup.subtree_control"), controller).unwrap_or_default();
    }
}

/// Removes a cgroup; one that still has members stays, and its owner says so by other means.
fn remove(folder: &Path) {
    fs::remove_dir(folder).unwrap_or_default();
}

/// The cgroup of one attempt.
#[derive(Debug, Clone)]
pub(crate) struct Cgroup {
    folder: PathBuf,
}

impl Cgroup {
    /// The cgroup that a record names.
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens it, so that a process can be born in it.
    ///
    /// # Errors
    ///
    /// As the file system says.
    pub(crate) fn open(&self) -> io::Result<File> {
        File::open(&self.folder)
    }

    fn limit(&self, limits: &Limits) -> Enforced {
        let set = |file: &str, value: Option<String>| {
            value.is_some_and(|value| fs::write(self.folder.join(file), value).is_ok())
        };
        let share = limits.cpu_share.map(|cores| format!("{} 100000", (cores * 100_000.0).max(1_000.0) as u64));
        Enforced {
            memory: set("memory.max", limits.memory_bytes.map(|bytes| bytes.to_string())),
            processes: set("pids.max", limits.processes.map(|count| count.to_string())),
            cpu_share: set("cpu.max", share),
        }
    }

    /// Whether the kernel killed a member because of the memory limit.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        self.has_happened("memory.events", "oom_kill ")
    }

    /// Whether the kernel refused a member to start another process because of their limit.
    pub(crate) fn ran_out_of_processes(&self) -> bool {
        self.has_happened("pids.events", "max ")
    }

    fn has_happened(&self, file: &str, event: &str) -> bool {
        let events = fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        events.lines().any(|line| line.strip_prefix(event).is_some_and(|count| count != "0"))
    }

    /// Its members.
    pub(crate) fn members(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Kills all members at once; a fork cannot escape it.
    pub(crate) fn kill(&self) {
        // Refused only if the cgroup is gone or never was ours; the walk over /proc follows in either case.
        fs::write(self.folder.join("cgroup.kill"), "1").unwrap_or_default();
    }

    /// Removes it if it is empty, and that of its guard, which is gone, after the last one.
    pub(crate) fn remove_with_parent(&self) {
        self.remove();
        self.folder.parent().inspect(|parent| remove(parent));
    }

    /// Removes it if it is empty.
    pub(crate) fn remove(&self) {
        remove(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_enforced_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let cgroup = Cgroup::at(folder.path().to_owned());
        assert!(!cgroup.ran_out_of_memory() && !cgroup.ran_out_of_processes(), "no controllers");
        fs::write(folder.path().join("memory.events"), "low 0\nhigh 0\nmax 7\noom 1\noom_kill 0\n").unwrap();
        fs::write(folder.path().join("pids.events"), "max 0\n").unwrap();
        assert!(!cgroup.ran_out_of_memory() && !cgroup.ran_out_of_processes());
        fs::write(folder.path().join("memory.events"), "max 7\noom 1\noom_kill 1\n").unwrap();
        fs::write(folder.path().join("pids.events"), "max 3\n").unwrap();
        assert!(cgroup.ran_out_of_memory() && cgroup.ran_out_of_processes());
    }

    #[test]
    fn hybrid_and_unified_mounts_are_found() {
        let hybrid = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup rw";
        assert_eq!(mount_point(hybrid), Some("/sys/fs/cgroup/unified".into()));
        let first = "40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd";
        assert_eq!(mount_point(first), None);
        let shared = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
        assert_eq!(mount_point(shared), Some("/sys/fs/cgroup".into()));
    }
}
