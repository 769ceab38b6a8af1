//! Whose is it? Attributing each descendant of the guard to an attempt, however far it has run from its parents.
//!
//! A process belongs to whom its living parent belongs to. One that lost its parent is the guard's own child, and is
//! judged by evidence, best first: what was seen of it before, cgroup, mark, session, group, cookie. What bears none of
//! them is judged by elimination: it was started while its attempt ran, so only attempts that were there by then can
//! own it. If that is one, it is its; if several, it stays shared until the last but one has ended; if none, nobody
//! waits for it and it is ended at once. So is what bears the mark of an attempt that is no more.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;

use super::kernel;
use crate::identity::{COOKIE, Mark};
use crate::proc::{self, Stat};

/// What identifies one attempt's processes.
#[derive(Debug, Clone)]
pub(crate) struct Traits {
    pub(crate) attempt: String,
    /// The first process: also the number of its session and its group.
    pub(crate) main: u32,
    pub(crate) start_ticks: u64,
    pub(crate) cgroup: Option<PathBuf>,
}

/// Whose a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Attempt(Mark),
    /// Several attempts could own it.
    Shared,
    /// No attempt that still exists can own it.
    Stray,
}

/// What can be asked of one process, apart from its `stat`.
pub(crate) trait Evidence {
    fn cgroup(&self, pid: u32) -> String;
    fn mark(&self, pid: u32) -> Option<Mark>;
    /// The attempt that its environment names. Dear: read once, after all else.
    fn cookie(&self, pid: u32) -> Option<String>;
}

/// The evidence that the kernel gives.
pub(crate) struct Kernel;

impl Evidence for Kernel {
    fn cgroup(&self, pid: u32) -> String {
        fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default()
    }

    fn mark(&self, pid: u32) -> Option<Mark> {
        kernel::mark_of(pid)
    }

    fn cookie(&self, pid: u32) -> Option<String> {
        proc::environ_value(pid, COOKIE)
    }
}

/// The attempts that exist, and the orphans that were attributed before.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    attempts: BTreeMap<Mark, Traits>,
    seen: HashMap<(u32, u64), Mark>,
}

impl Owners {
    pub(crate) fn insert(&mut self, mark: Mark, traits: Traits) {
        self.attempts.insert(mark, traits);
    }

    pub(crate) fn remove(&mut self, mark: Mark) {
        self.attempts.remove(&mark);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    /// Attributes the guard's descendants, given each after its parent; the dead are left out.
    pub(crate) fn judge(&mut self, descendants: Vec<Stat>, evidence: &impl Evidence) -> Vec<(Stat, Owner)> {
        let mut owners: HashMap<u32, Owner> = HashMap::new();
        let mut seen = HashMap::new();
        let mut judged = Vec::with_capacity(descendants.len());
        for stat in descendants {
            let owner = match owners.get(&stat.parent) {
                Some(owner) => *owner,
                None => self.owner_of_orphan(&stat, evidence),
            };
            owners.insert(stat.pid, owner);
            if let Owner::Attempt(mark) = owner {
                seen.insert((stat.pid, stat.start_ticks), mark);
            }
            if !stat.zombie {
                judged.push((stat, owner));
            }
        }
        self.seen = seen;
        judged
    }

    fn owner_of_orphan(&self, stat: &Stat, evidence: &impl Evidence) -> Owner {
        let before = self.seen.get(&(stat.pid, stat.start_ticks)).copied();
        if let Some(mark) = before.filter(|mark| self.attempts.contains_key(mark)) {
            return Owner::Attempt(mark);
        }
        if let Some(mark) = self.by_evidence(stat, evidence) {
            return Owner::Attempt(mark);
        }
        if self.is_of_the_past(evidence.mark(stat.pid)) {
            return Owner::Stray;
        }
        let mut candidates = self.attempts.iter().filter(|(_, traits)| traits.start_ticks <= stat.start_ticks);
        match (candidates.next(), candidates.next()) {
            (None, _) => Owner::Stray,
            (Some((mark, _)), None) => Owner::Attempt(*mark),
            (Some(_), Some(_)) => Owner::Shared,
        }
    }

    /// Whether a mark is of this worker, but of none of its attempts. (That of another worker, whose guard was an
    /// attempt's process, says nothing here.)
    fn is_of_the_past(&self, mark: Option<Mark>) -> bool {
        let (Some(mark), Some(known)) = (mark, self.attempts.keys().next()) else { return false };
        mark.is_sibling(*known) && !self.attempts.contains_key(&mark)
    }

    fn by_evidence(&self, stat: &Stat, evidence: &impl Evidence) -> Option<Mark> {
        let cgroup = evidence.cgroup(stat.pid);
        let in_cgroup = |folder: &PathBuf| {
            let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            cgroup.lines().any(|line| line.starts_with("0::") && line.split('/').any(|part| part == name))
        };
        let find = |test: &dyn Fn(&Mark, &Traits) -> bool| {
            self.attempts.iter().find(|(mark, traits)| test(mark, traits)).map(|(mark, _)| *mark)
        };
        let mark = evidence.mark(stat.pid);
        find(&|_, traits| traits.cgroup.as_ref().is_some_and(in_cgroup))
            .or_else(|| find(&|known, _| mark == Some(*known)))
            .or_else(|| find(&|_, traits| stat.pid == traits.main || stat.session == traits.main))
            .or_else(|| find(&|_, traits| stat.group == traits.main))
            .or_else(|| evidence.cookie(stat.pid).and_then(|cookie| find(&|_, traits| traits.attempt == cookie)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Evidence as a table; what is not in it is unknown.
    #[derive(Default)]
    struct Table {
        marks: HashMap<u32, Mark>,
        cookies: HashMap<u32, &'static str>,
        cgroups: HashMap<u32, &'static str>,
    }

    impl Evidence for Table {
        fn cgroup(&self, pid: u32) -> String {
            self.cgroups.get(&pid).map(|name| format!("1:cpu:/\n0::/{name}\n")).unwrap_or_default()
        }

        fn mark(&self, pid: u32) -> Option<Mark> {
            self.marks.get(&pid).copied()
        }

        fn cookie(&self, pid: u32) -> Option<String> {
            self.cookies.get(&pid).map(|attempt| (*attempt).to_owned())
        }
    }

    const A: u32 = 100;
    const B: u32 = 200;

    fn mark(main: u32) -> Mark {
        Mark::new(1, main)
    }

    fn process(pid: u32, parent: u32, start_ticks: u64) -> Stat {
        Stat {
            pid,
            name: "p".into(),
            zombie: false,
            parent,
            group: pid,
            session: pid,
            cpu_ticks: 0,
            start_ticks,
            rss_pages: 0,
        }
    }

    fn two_attempts() -> Owners {
        let mut owners = Owners::default();
        for (main, start_ticks) in [(A, 10), (B, 20)] {
            let cgroup = Some(PathBuf::from(format!("/cg/{main}")));
            owners.insert(mark(main), Traits { attempt: format!("att_{main}"), main, start_ticks, cgroup });
        }
        owners
    }

    fn owner(owners: &mut Owners, stat: Stat, evidence: &Table) -> Owner {
        owners.judge(vec![stat], evidence)[0].1
    }

    #[test]
    fn each_evidence_suffices() {
        let mut owners = two_attempts();
        let table = Table {
            marks: HashMap::from([(301, mark(A))]),
            cookies: HashMap::from([(302, "att_100")]),
            cgroups: HashMap::from([(303, "unknot-1/100")]),
        };
        for pid in [301, 302, 303] {
            assert_eq!(owner(&mut owners, process(pid, 1, 30), &table), Owner::Attempt(mark(A)), "{pid}");
        }
        let in_session = Stat { session: A, ..process(304, 1, 30) };
        assert_eq!(owner(&mut owners, in_session, &table), Owner::Attempt(mark(A)));
        let in_group = Stat { group: B, ..process(305, 1, 30) };
        assert_eq!(owner(&mut owners, in_group, &table), Owner::Attempt(mark(B)));
    }

    #[test]
    fn without_evidence_it_is_elimination() {
        let mut owners = two_attempts();
        let none = Table::default();
        assert_eq!(owner(&mut owners, process(300, 1, 30), &none), Owner::Shared, "both were there");
        assert_eq!(owner(&mut owners, process(301, 1, 15), &none), Owner::Attempt(mark(A)), "only A was there");
        assert_eq!(owner(&mut owners, process(302, 1, 5), &none), Owner::Stray, "neither was there");
        owners.remove(mark(A));
        assert_eq!(owner(&mut owners, process(300, 1, 30), &none), Owner::Attempt(mark(B)), "the last candidate");
        owners.remove(mark(B));
        assert_eq!(owner(&mut owners, process(300, 1, 30), &none), Owner::Stray);
    }

    #[test]
    fn what_an_ended_attempt_left_is_no_others() {
        let mut owners = two_attempts();
        owners.remove(mark(B));
        let table = Table { marks: HashMap::from([(301, mark(B)), (302, Mark::new(9, B))]), ..Table::default() };
        assert_eq!(owner(&mut owners, process(301, 1, 30), &table), Owner::Stray);
        assert_eq!(owner(&mut owners, process(302, 1, 30), &table), Owner::Attempt(mark(A)), "a worker within it");
    }

    #[test]
    fn what_was_seen_with_its_parent_is_remembered_without() {
        let mut owners = two_attempts();
        let none = Table::default();
        let child = process(300, A, 30);
        let judged = owners.judge(vec![process(A, 1, 10), child.clone()], &none);
        assert_eq!(judged[1].1, Owner::Attempt(mark(A)));
        assert_eq!(owner(&mut owners, Stat { parent: 1, ..child }, &none), Owner::Attempt(mark(A)));
    }

    #[test]
    fn the_dead_are_left_out_but_lead_to_their_children() {
        let mut owners = two_attempts();
        let dead = Stat { zombie: true, ..process(A, 1, 10) };
        let judged = owners.judge(vec![dead, process(300, A, 30)], &Table::default());
        assert_eq!(judged.len(), 1);
        assert_eq!(judged[0].1, Owner::Attempt(mark(A)));
    }
}
