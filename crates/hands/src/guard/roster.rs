//! One attempt, as its guard knows it.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process, kill_process_group};
use unknot_api::work::{Limits, ProcessRef, Usage};

use super::cgroup::Cgroup;
use super::kernel;
use super::start::Born;
use super::wire::{Broken, Enforced, FromGuard, Sample};
use crate::identity::Mark;
use crate::lease::Moment;
use crate::proc::{self, Stat};

/// How many of the processes that were left behind are named.
const NAMED_MAX: usize = 10;
/// The longest pause between two looks of a sweep.
const SWEEP_PAUSE_MAX: Duration = Duration::from_millis(200);

/// An attempt from its birth until nothing of it is left.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) main: u32,
    /// Open until it is known whether the program runs.
    pub(crate) verdict: Option<OwnedFd>,
    pub(crate) cgroup: Option<Cgroup>,
    pub(crate) enforced: Enforced,
    /// When it is ended unless that is put off.
    pub(crate) kill_at: Option<Moment>,
    /// Set from `End` on.
    pub(crate) sweep: Option<Sweep>,
    is_sampled: bool,
    has_main: bool,
    is_told: bool,
    /// The most processor time that a sample has shown.
    cpu_ticks: u64,
    /// What its ended orphans used, as far as it was not told yet.
    orphans: Usage,
    /// The processor time of all its ended orphans.
    orphans_ms: u64,
}

/// Killing what is left, at growing intervals.
#[derive(Debug)]
pub(crate) struct Sweep {
    /// When to look next.
    pub(crate) at: Instant,
    pause: Duration,
    left: BTreeMap<(u32, u64), ProcessRef>,
}

impl Sweep {
    pub(crate) fn now() -> Self {
        Self { at: Instant::now(), pause: Duration::from_millis(1), left: BTreeMap::new() }
    }
}

impl Attempt {
    pub(crate) fn new(born: Born, cgroup: Option<Cgroup>, enforced: Enforced, limits: &Limits) -> Self {
        // The kernel refuses a process too many and says so to that program alone: whether it did is sampled, too.
        let is_sampled = limits.cpu_time_ms.is_some()
            || (limits.memory_bytes.is_some() && !enforced.memory)
            || limits.processes.is_some();
        Self {
            main: born.pid,
            verdict: Some(born.verdict),
            cgroup,
            enforced,
            kill_at: None,
            sweep: None,
            is_sampled,
            has_main: true,
            is_told: false,
            cpu_ticks: 0,
            orphans: Usage::default(),
            orphans_ms: 0,
        }
    }

    /// One of its processes that had lost its parents has ended.
    pub(crate) fn orphan_ended(&mut self, usage: Usage) {
        self.orphans_ms += usage.user_ms + usage.system_ms;
        self.orphans = self.orphans.and(usage);
    }

    /// What its ended orphans used since this was asked last.
    pub(crate) fn take_orphans(&mut self) -> Usage {
        std::mem::take(&mut self.orphans)
    }

    /// Which of its limits the kernel has had to enforce.
    pub(crate) fn broken(&self) -> Broken {
        let cgroup = self.cgroup.as_ref();
        Broken {
            memory: cgroup.is_some_and(Cgroup::ran_out_of_memory),
            processes: cgroup.is_some_and(Cgroup::ran_out_of_processes),
        }
    }

    pub(crate) fn is_sampled(&self) -> bool {
        self.is_sampled && self.sweep.is_none()
    }

    /// Whether this is its main process, alive or not yet reaped.
    pub(crate) fn is_main(&self, pid: u32) -> bool {
        self.has_main && self.main == pid
    }

    /// From here on its main process's number may belong to someone else.
    pub(crate) fn main_ended(&mut self) {
        self.has_main = false;
    }

    /// TERM to the group, then CONT: a stopped process would not hear the first without the second.
    pub(crate) fn terminate(&mut self) {
        self.is_told = true;
        self.signal_group(Signal::TERM);
        self.signal_group(Signal::CONT);
    }

    /// Whether it has been asked or made to end.
    pub(crate) fn is_ending(&self) -> bool {
        self.is_told || self.sweep.is_some()
    }

    /// KILL to all that can be reached without looking for it.
    pub(crate) fn kill_known(&self) {
        self.signal_group(Signal::KILL);
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
    }

    /// Only while the main process is not reaped: it keeps the group's number from being given away.
    fn signal_group(&self, signal: Signal) {
        if self.has_main
            && let Some(main) = proc::pid(self.main)
        {
            // Between `fork` and `setsid` there is no such group yet. The child keeps what it gets then, and meets it
            // before it becomes the program. Whoever may not be signalled, the sweep meets again.
            kill_process_group(main, signal).or_else(|_| kill_process(main, signal)).unwrap_or_default();
        }
    }

    /// Kills what is left; says so once nothing is. `has_missed`: something may be that is not among `owned`.
    pub(crate) fn sweep_once(&mut self, mark: Mark, owned: &[&Stat], has_missed: bool) -> Option<FromGuard> {
        let sweep = self.sweep.as_mut()?;
        for stat in owned {
            if stat.pid != self.main {
                sweep.left.insert((stat.pid, stat.start_ticks), stat.to_ref());
            }
        }
        self.kill_known();
        for stat in owned {
            // One that is gone already is what this is for; one that may not be killed shows in the next look.
            proc::signal_exactly(stat, Signal::KILL).unwrap_or_default();
        }
        let sweep = self.sweep.as_mut()?;
        if owned.is_empty() && !has_missed && !self.has_main {
            let count = u32::try_from(sweep.left.len()).unwrap_or(u32::MAX);
            let left = std::mem::take(&mut sweep.left).into_values().take(NAMED_MAX).collect();
            let usage = self.take_orphans();
            return Some(FromGuard::Gone { mark, count, left, usage });
        }
        sweep.at = Instant::now() + sweep.pause;
        sweep.pause = (sweep.pause * 2).min(SWEEP_PAUSE_MAX);
        None
    }

    /// What its processes use now.
    ///
    /// A parent takes over the processor time of each child that it waits for, and so does the guard of those that have
    /// no other parent left. So the living and the ended orphans cover the dead, apart from those whose parent ignores
    /// its children; and the sum never falls below what was once measured.
    pub(crate) fn measure<'a>(&mut self, owned: impl Iterator<Item = &'a Stat>) -> Sample {
        let (mut pages, mut processes, mut cpu_ticks) = (0, 0, 0);
        for stat in owned {
            pages += stat.rss_pages;
            processes += 1;
            cpu_ticks += stat.cpu_ticks;
        }
        let per_second = kernel::ticks_per_second();
        self.cpu_ticks = self.cpu_ticks.max(cpu_ticks + self.orphans_ms * per_second / 1000);
        Sample {
            memory_bytes: pages * rustix::param::page_size() as u64,
            cpu_time_ms: self.cpu_ticks * 1000 / per_second,
            processes,
            is_refused: self.enforced.processes && self.broken().processes,
        }
    }
}
