//! A world: virtual time, an agenda of what happens when, and everything that lives in it.
//!
//! Nothing happens but what stands on the agenda; two things of the same moment happen in the order
//! in which they were put there. Time moves only from one entry to the next, so an idle hour costs
//! nothing.

mod asks;
mod network;
mod people;
mod process;
mod receivers;

use crate::{
    Report,
    chance::Chance,
    checkers::{Checked, Checkers},
    disk::Disk,
    faults::{Fault, Faults},
    hands::{Call, Ghost, Worker},
    trace::{Keep, Trace},
    workload::{Mood, Size, Wish, Workload},
};
use people::Asked;
use process::Process;
use std::collections::BTreeMap;
use unknot_core::{Millis, Timestamp, alert::Notice, event::Event, run::WorkerId};

/// Steps after which a world is said to run for ever.
const STEPS_MAX: u64 = 300_000;
/// When worlds begin.
const BEGIN: Timestamp = Timestamp(1_700_000_000_000);

/// How large a world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// A dozen runs, a few hundred tasks at most.
    Small,
    /// A few runs with thousands of tasks, above the bound up to which every rule is checked at every step.
    Large,
}

/// Something that stands on the agenda.
enum Happening {
    /// The driver's next turn.
    Turn,
    /// The store answers the process of this life.
    StoreAnswers { life: u32 },
    /// A message reaches the brain, if that still lives.
    Reach { life: u32, event: Event },
    /// A worker of this boot is called.
    Call { worker: WorkerId, call: Call },
    /// A target of alerts hears something, if the process of this life still sends it.
    Told { life: u32, notice: Box<Notice> },
    /// Somebody wants something.
    Wish(Wish),
    /// Something goes wrong.
    Fault(Fault),
    /// The process starts again.
    Start,
    /// A remote worker is back: a new boot, or the old one in reach again.
    Return { name: String, reboots: bool },
    /// Faults stop.
    Quiet,
}

/// A world. See the module's documentation.
pub struct World {
    seed: u64,
    chance: Chance,
    now: Timestamp,
    agenda: BTreeMap<(Timestamp, u64), Happening>,
    next_entry: u64,
    step: u64,
    process: Option<Process>,
    /// How many processes there have been.
    life: u32,
    disk: Disk,
    workers: BTreeMap<String, Worker>,
    /// Local attempts of earlier lives whose death nobody could confirm.
    ghosts: Vec<Ghost>,
    next_boot: u64,
    workload: Workload,
    asked: BTreeMap<u64, Asked>,
    next_caller: u64,
    faults: Faults,
    checkers: Checkers,
    trace: Trace,
    counts: BTreeMap<&'static str, u64>,
    is_large: bool,
    /// When faults stopped.
    quiet_since: Timestamp,
    /// The most unfinished tasks there ever were.
    peak_tasks: u32,
}

impl World {
    /// The world of a seed, before its first step.
    pub fn new(seed: u64, scale: Scale, keep: Keep) -> Self {
        let mut chance = Chance::new(seed);
        let until = Millis::from_secs(chance.between(10, 300));
        let remotes: Vec<u32> = (0..chance.between(0, 2)).map(|_| chance.between(1, 4) as u32).collect();
        let handler_slots = remotes.first().copied().unwrap_or_default();
        let mood = *chance.weighted(&[(3, Mood::Silent), (2, Mood::Careful), (5, Mood::Wild)]);
        let size = match scale {
            Scale::Small => {
                let (runs, tasks_max) = (chance.between(2, 12), chance.between(2, 10));
                Size { runs, tasks_max, until, may_refuse: true, mood, handler_slots }
            }
            Scale::Large => {
                let (runs, tasks_max, until) = (8, 800, Millis::from_secs(20));
                Size { runs, tasks_max, until, may_refuse: false, mood, handler_slots }
            }
        };
        let workload = Workload::new(&mut chance.fork(), size);
        let faults = Faults::new(&mut chance.fork());
        let checkers = Checkers::new(&workload);
        let mut world = Self {
            seed,
            now: BEGIN,
            agenda: BTreeMap::new(),
            next_entry: 0,
            step: 0,
            process: None,
            life: 0,
            disk: Disk::new(),
            workers: BTreeMap::new(),
            ghosts: Vec::new(),
            next_boot: 1,
            workload,
            asked: BTreeMap::new(),
            next_caller: 0,
            faults,
            checkers,
            trace: Trace::new(keep),
            counts: BTreeMap::new(),
            is_large: scale == Scale::Large,
            quiet_since: BEGIN,
            peak_tasks: 0,
            chance,
        };
        world.populate(until, &remotes);
        world
    }

    fn populate(&mut self, until: Millis, remotes: &[u32]) {
        self.put(Millis(0), Happening::Start);
        for (after, wish) in std::mem::take(&mut self.workload.plan) {
            self.put(after, Happening::Wish(wish));
        }
        for (number, slots) in remotes.iter().copied().enumerate() {
            let name = format!("remote-{number}");
            let id = self.boot(&name);
            self.workers.insert(name, Worker::new(id.clone(), slots));
            self.put(Millis(0), Happening::Call { worker: id, call: Call::Renew });
        }
        if let Some((after, fault)) = self.faults.next(&mut self.chance) {
            self.put(after, Happening::Fault(fault));
        }
        self.put(until, Happening::Quiet);
    }

    fn boot(&mut self, name: &str) -> WorkerId {
        self.next_boot += 1;
        WorkerId { name: name.into(), boot: self.next_boot }
    }

    /// Runs until everything wanted has come to its end, or `until` steps are done.
    ///
    /// # Errors
    /// The first rule that was broken.
    ///
    /// # Panics
    /// If the brain is caught with a broken rule of its own where the driver does not catch it.
    pub fn run(&mut self, until: u64) -> Checked {
        while self.step < until {
            if self.is_done() {
                return self.judge_the_end();
            }
            let Some(((at, _), happening)) = self.agenda.pop_first() else {
                return Err("nothing will ever happen again".to_owned());
            };
            self.step += 1;
            if self.step > STEPS_MAX {
                return Err(format!("still going after {STEPS_MAX} steps"));
            }
            self.now = at;
            self.happen(happening)?;
        }
        Ok(())
    }

    fn happen(&mut self, happening: Happening) -> Checked {
        match happening {
            Happening::Turn => self.turn(),
            Happening::StoreAnswers { life } => self.store_answers(life),
            Happening::Reach { life, event } => {
                self.reach(life, event);
                Ok(())
            }
            Happening::Call { worker, call } => self.call(&worker, call),
            Happening::Told { life, notice } => {
                self.told(life, *notice);
                Ok(())
            }
            Happening::Wish(wish) => self.wish(wish),
            Happening::Fault(fault) => self.go_wrong(fault),
            Happening::Start => self.start(),
            Happening::Return { name, reboots } => {
                self.bring_back(&name, reboots);
                Ok(())
            }
            Happening::Quiet => {
                self.quiet();
                Ok(())
            }
        }
    }

    /// Puts something on the agenda.
    fn put(&mut self, after: Millis, happening: Happening) {
        self.next_entry += 1;
        self.agenda.insert((self.now.plus(after), self.next_entry), happening);
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        let line = format!("{:>6} {:>9} {}", self.step, self.now.since(BEGIN).0, line());
        self.trace.line(line);
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn go_wrong(&mut self, fault: Fault) -> Checked {
        if self.faults.is_over {
            return Ok(());
        }
        self.note(|| format!("fault {fault:?}"));
        if let Some((after, next)) = self.faults.next(&mut self.chance) {
            self.put(after, Happening::Fault(next));
        }
        match fault {
            Fault::Crash => self.crash()?,
            Fault::Usurp => self.disk.usurp().map_err(|error| error.to_string())?,
            Fault::Freeze => self.freeze(),
            Fault::Jump => self.jump(),
            Fault::Reboot => self.lose_a_worker(true),
            Fault::Partition => self.lose_a_worker(false),
        }
        Ok(())
    }

    /// Faults stop: everybody is there and behaves, and operators let go of what they held.
    fn quiet(&mut self) {
        self.note(|| "faults stop".to_owned());
        self.faults.stop();
        self.quiet_since = self.now;
        self.thaw();
        let names: Vec<String> = self.workers.keys().cloned().collect();
        for name in names {
            self.put(Millis(1), Happening::Return { name, reboots: false });
        }
        self.put(Millis::from_secs(30), Happening::Wish(Wish::Tend));
    }

    /// Whether faults are over, everything is answered, no run is left, and nobody is still to be told of anything.
    fn is_done(&self) -> bool {
        let is_answered = || self.workload.planned.iter().all(|planned| planned.is_settled());
        self.faults.is_over && self.process.as_ref().is_some_and(Process::is_empty) && is_answered()
    }

    fn judge_the_end(&mut self) -> Checked {
        let loaded = self.disk.load().map_err(|error| error.to_string())?;
        self.checkers.loaded(&loaded)?;
        match self.checkers.unfinished().first() {
            Some(run) => Err(format!("{run} was promised and is neither there nor ended")),
            None => Ok(()),
        }
    }

    /// What is left of the world: its report and its trace.
    pub fn finish(self) -> (Report, Vec<String>) {
        let report = Report {
            seed: self.seed,
            steps: self.step,
            hash: self.trace.hash(),
            peak_tasks: self.peak_tasks,
            quarantined: self.checkers.quarantined(),
            ends: self.checkers.ends(),
            verdicts: self.checkers.told(),
            plants: self.checkers.plants_told().fold(BTreeMap::new(), |mut told, (kind, times)| {
                *told.entry(kind.word()).or_default() += times;
                told
            }),
            counts: self.counts,
        };
        (report, self.trace.into_lines())
    }
}
