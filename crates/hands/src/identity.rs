//! How a process is recognised as one attempt's, by evidence that outlives its parent.
//!
//! An attempt's processes can leave its group and session (`setsid`), drop its environment (`env -i`) and lose their
//! parents (a double fork). Three marks are put on the first process, each inherited by all that it starts:
//!
//! - the **mark**: a number in the soft limit `RLIMIT_RTTIME`. That limit only concerns real-time schedulers, and the
//!   mark stands for some 146,000 years, so it changes nothing. No program touches it; `setsid`, `env -i`, `exec` and
//!   `setuid` keep it; one system call reads it and waits for nobody.
//! - the **cookie**: `UNKNOT_ATTEMPT=<attempt>` in the environment, for people and for `ps e` as well.
//! - the attempt's **cgroup**, where the machine has a writable cgroup v2 hierarchy.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files;
use crate::proc::Stat;

/// The name of the record in the attempt's folder.
pub(crate) const RECORD_FILE: &str = "process.json";
/// Its name while it is written.
const UNFINISHED_FILE: &str = "process.json.new";
/// A record has some 300 bytes; what is longer than this is none.
const RECORD_BYTES_MAX: usize = 64 * 1024;
/// The environment variable that holds the attempt's id.
pub(crate) const COOKIE: &str = unknot_api::worker::ATTEMPT_VARIABLE;

/// The number that an attempt's processes carry in a limit that nobody uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Mark(u64);

impl Mark {
    const FLAG: u64 = 1 << 62;

    /// The mark of a worker's nth attempt: 30 bits of the worker's nonce, 32 of the serial number.
    pub(crate) fn new(nonce: u32, serial: u32) -> Self {
        Self(Self::FLAG | u64::from(nonce & 0x3fff_ffff) << 32 | u64::from(serial))
    }

    /// The mark that stands in a limit's value, if one does.
    pub(crate) fn from_limit(value: u64) -> Option<Self> {
        (value >> 62 == 1).then_some(Self(value))
    }

    /// Whether another mark is of the same worker.
    pub(crate) fn is_sibling(self, other: Self) -> bool {
        self.0 >> 32 == other.0 >> 32
    }

    pub(crate) fn as_limit(self) -> u64 {
        self.0
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

/// `process.json`: what a later start needs to find what may have survived. Written by the attempt's first process
/// right before it becomes the program, so that there is never a program without its record.
///
/// It appears under its name as a whole or not at all: a full disk or a kill in the middle leaves none, and then no
/// program was started. It is not synced to the disk. A power cut may take it away or leave it empty, but it matters
/// only while its processes live, and they end with the machine.
///
/// So a record that is not there, or is nonsense, is no hint that something lives. Such an attempt is still looked for
/// by its cookie, which all its processes have that did not drop it on purpose; what that does not find is dead, or
/// has destroyed its own record, dropped its environment and outlived its guard. Against that no file in a folder that
/// belongs to the task is proof, and a lock that stays closed for ever would be the worse answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessRecord {
    pub(crate) pid: u32,
    pub(crate) start_ticks: u64,
    pub(crate) boot_id: String,
    pub(crate) attempt: String,
    pub(crate) mark: Mark,
    pub(crate) guard_pid: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cgroup: Option<PathBuf>,
}

impl ProcessRecord {
    /// Reads the record of an attempt; `None` if there is none that makes sense.
    ///
    /// # Errors
    ///
    /// If there may be one, and the disk does not give it.
    pub(crate) fn read(folder: &Path) -> io::Result<Option<Self>> {
        match files::read(folder, RECORD_FILE, RECORD_BYTES_MAX) {
            Ok(bytes) => Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok())),
            // A pipe, a link, a folder: no worker of ours has put it there.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the record into the attempt's folder, whole or not at all.
    ///
    /// # Errors
    ///
    /// As the file system says.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        let write = || {
            files::replace(folder, UNFINISHED_FILE)?.write_all(&serde_json::to_vec(self)?)?;
            files::rename(folder, UNFINISHED_FILE, RECORD_FILE)
        };
        // What cannot be removed either hurts nobody: nothing reads it.
        write().inspect_err(|_| fs::remove_file(folder.join(UNFINISHED_FILE)).unwrap_or_default())
    }
}

/// What is known of an attempt whose processes are looked for from outside its guard.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) attempt: String,
    pub(crate) mark: Option<Mark>,
    /// The first process, if its number and start are known and of this boot.
    pub(crate) main: Option<(u32, u64)>,
    pub(crate) cgroup: Option<PathBuf>,
}

impl Wanted {
    /// What a record tells; of another boot, nothing can be left but its name.
    pub(crate) fn from_record(record: ProcessRecord, boot_id: &str) -> Option<Self> {
        (record.boot_id == boot_id).then_some(Self {
            attempt: record.attempt,
            mark: Some(record.mark),
            main: Some((record.pid, record.start_ticks)),
            cgroup: record.cgroup,
        })
    }

    /// Whether a process is one of the attempt's, by all evidence but its cookie.
    pub(crate) fn owns(&self, stat: &Stat, mark: Option<Mark>) -> bool {
        if mark.is_some() && mark == self.mark {
            return true;
        }
        // A number is reused only when no process, group or session bears it any more, so whatever bears it and is
        // younger than the first process is either its offspring or proof that all of that is gone; the latter is told
        // apart by the start of the process that has the number now.
        self.main.is_some_and(|(pid, start)| {
            let bears = stat.pid == pid || stat.session == pid || stat.group == pid;
            let is_reused = || Stat::read(pid).is_some_and(|now| now.start_ticks != start);
            bears && stat.start_ticks >= start && !is_reused()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_told_from_real_limits() {
        let mark = Mark::new(u32::MAX, 7);
        assert_eq!(Mark::from_limit(mark.as_limit()), Some(mark));
        for limit in [0, 1_000_000, u64::MAX, 1 << 63] {
            assert_eq!(Mark::from_limit(limit), None, "{limit}");
        }
        assert_ne!(Mark::new(1, 7), Mark::new(2, 7));
        assert!(Mark::new(1, 7).is_sibling(Mark::new(1, 8)) && !Mark::new(1, 7).is_sibling(Mark::new(2, 7)));
    }

    #[test]
    fn a_record_of_another_boot_names_nobody() {
        assert!(Wanted::from_record(record(), "now").is_none());
        assert!(Wanted::from_record(record(), "then").is_some());
    }

    fn record() -> ProcessRecord {
        ProcessRecord {
            pid: 1,
            start_ticks: 2,
            boot_id: "then".into(),
            attempt: "att_1".into(),
            mark: Mark::new(1, 1),
            guard_pid: 3,
            cgroup: None,
        }
    }

    #[test]
    fn a_record_is_there_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(ProcessRecord::read(folder.path()).unwrap(), None);
        record().write(folder.path()).unwrap();
        assert_eq!(ProcessRecord::read(folder.path()).unwrap(), Some(record()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no other name is left");
        let file = folder.path().join(RECORD_FILE);
        for nonsense in ["", "{", "{\"pid\":1}", &" ".repeat(RECORD_BYTES_MAX + 1)] {
            fs::write(&file, nonsense).unwrap();
            assert_eq!(ProcessRecord::read(folder.path()).unwrap(), None, "{nonsense:.20}");
        }
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert_eq!(ProcessRecord::read(folder.path()).unwrap(), None);
        record().write(folder.path()).unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "what failed leaves nothing");
    }

    #[test]
    fn a_number_that_someone_else_has_now_is_no_evidence() {
        let this = Stat::read(std::process::id()).unwrap();
        let wanted = |start_ticks| {
            let record = ProcessRecord { pid: this.pid, start_ticks, ..record() };
            Wanted::from_record(record, "then").unwrap()
        };
        let member = Stat { pid: this.pid + 1, session: this.pid, ..this.clone() };
        assert!(wanted(this.start_ticks).owns(&this, None) && wanted(this.start_ticks).owns(&member, None));
        let earlier = wanted(this.start_ticks - 1);
        assert!(!earlier.owns(&this, None) && !earlier.owns(&member, None), "the number was reused");
        assert!(earlier.owns(&this, earlier.mark), "a mark is evidence of its own");
    }
}
