//! Finding, ending and confirming dead what a lost guard may have left: from outside, by record, mark and cookie.
//!
//! All of it reads files that may wait for a stuck process, so it runs on a thread where waiting hurts nobody.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::guard::{Cgroup, mark_of};
use crate::identity::{COOKIE, ProcessRecord, Wanted};
use crate::proc::{self, Stat};

/// How much longer than its patience a search may take, for a disk or a stuck process that does not answer.
const NO_ANSWER: Duration = Duration::from_secs(10);

/// What became of an attempt that nobody watches any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Nothing of it lives.
    ConfirmedDead,
    /// These processes of it live and did not die of KILL within the time given.
    Survives {
        /// Their ids.
        pids: Vec<u32>,
    },
    /// Whether it lives cannot be known.
    Unknown {
        /// Why.
        message: String,
    },
}

/// Ends what is left of attempts whose worker is gone, and says of each folder what became of its processes.
///
/// `folders` are relative to `data_dir`; the last part of each is taken for the attempt's id where there is no record
/// that makes sense (then nothing was started, or it was started and its folder was lost: the cookie tells). A record
/// of an earlier boot of the machine is proof of death.
///
/// Blocks for at most about `patience`, and some 10 s more where a disk or a stuck process does not answer: call it
/// from a thread that may wait.
#[must_use]
pub fn confirm_dead(data_dir: &Path, folders: &[PathBuf], patience: Duration) -> Vec<(PathBuf, Fate)> {
    if folders.is_empty() {
        return Vec::new();
    }
    let (answer, answers) = mpsc::sync_channel(1);
    let (place, sought) = (data_dir.to_owned(), folders.to_vec());
    // On a thread of its own, because what it reads may hold it up for ever.
    let search = thread::Builder::new().name("hand-confirm".into()).spawn(move || {
        // Whoever asked may have given up.
        answer.send(search(&place, &sought, patience)).unwrap_or_default();
    });
    let fates = search.map_err(|error| error.to_string()).and_then(|_| {
        answers.recv_timeout(patience + NO_ANSWER).map_err(|_| "a disk or a process does not answer".to_owned())
    });
    let unknown = |why| {
        let message = format!("what is left of it could not be looked for: {why}");
        vec![Fate::Unknown { message }; folders.len()]
    };
    folders.iter().cloned().zip(fates.unwrap_or_else(unknown)).collect()
}

fn search(data_dir: &Path, folders: &[PathBuf], patience: Duration) -> Vec<Fate> {
    let boot_id = proc::boot_id();
    let mut wanted = Vec::new();
    let mut fates = BTreeMap::new();
    for (at, folder) in folders.iter().enumerate() {
        match ProcessRecord::read(&data_dir.join(folder)) {
            Ok(Some(record)) => match Wanted::from_record(record, &boot_id) {
                Some(found) => wanted.push((at, found)),
                None => drop(fates.insert(at, Fate::ConfirmedDead)),
            },
            Ok(None) => {
                let attempt = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                wanted.push((at, Wanted { attempt, mark: None, main: None, cgroup: None }));
            }
            Err(error) => {
                let message = format!("cannot read `process.json` in `{}`: {error}", folder.display());
                fates.insert(at, Fate::Unknown { message });
            }
        }
    }
    let (places, wanted): (Vec<usize>, Vec<Wanted>) = wanted.into_iter().unzip();
    fates.extend(places.into_iter().zip(end_all(&wanted, patience)));
    fates.into_values().collect()
}

/// Kills all processes of these attempts, again and again, until none is left or the time is over.
pub(crate) fn end_all(wanted: &[Wanted], patience: Duration) -> Vec<Fate> {
    let until = Instant::now() + patience;
    let mut pause = Duration::from_millis(2);
    loop {
        let left = kill_once(wanted);
        let is_over = left.as_ref().is_some_and(|left| left.iter().all(BTreeSet::is_empty));
        if is_over || Instant::now() >= until {
            wanted
                .iter()
                .filter_map(|wanted| wanted.cgroup.clone())
                .for_each(|folder| Cgroup::at(folder).remove_with_parent());
            let Some(left) = left else {
                let message = "what is left of it could not be looked for: `/proc` shows nothing".to_owned();
                return vec![Fate::Unknown { message }; wanted.len()];
            };
            return left.into_iter().map(fate).collect();
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

fn fate(left: BTreeSet<u32>) -> Fate {
    if left.is_empty() { Fate::ConfirmedDead } else { Fate::Survives { pids: left.into_iter().collect() } }
}

/// Sends KILL to whatever is found now, and says what that was; `None` if nothing can be looked for.
fn kill_once(wanted: &[Wanted]) -> Option<Vec<BTreeSet<u32>>> {
    let mut left = vec![BTreeSet::new(); wanted.len()];
    for (found, wanted) in left.iter_mut().zip(wanted) {
        if let Some(folder) = &wanted.cgroup {
            let cgroup = Cgroup::at(folder.clone());
            found.extend(cgroup.members());
            cgroup.kill();
        }
    }
    let by_cookie: HashMap<&str, usize> =
        wanted.iter().enumerate().map(|(at, wanted)| (wanted.attempt.as_str(), at)).collect();
    let this = std::process::id();
    for stat in proc::snapshot()?.into_iter().filter(|stat| !stat.zombie && stat.pid != this) {
        let mark = mark_of(stat.pid);
        let owner = wanted.iter().position(|wanted| wanted.owns(&stat, mark));
        // A whole environment is dear to read, so once and last.
        let by_its_cookie = || by_cookie.get(proc::environ_value(stat.pid, COOKIE)?.as_str()).copied();
        let Some(at) = owner.or_else(by_its_cookie) else { continue };
        left[at].insert(stat.pid);
        // One that is gone already is what this is for; one that may not be killed is met again.
        proc::signal_exactly(&stat, Signal::KILL).unwrap_or_default();
    }
    for found in &mut left {
        found.retain(|pid| Stat::read(*pid).is_some_and(|stat| !stat.zombie));
    }
    Some(left)
}
