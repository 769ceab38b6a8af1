//! The real driver in a world of its own: seeded chance, virtual time, simulated hands and a store
//! that fails, so that a hundred years of bad luck pass in a minute and every one of them can be
//! seen again.
//!
//! * [`workload`]: what people want, drawn before the world begins;
//! * [`faults`]: what goes wrong, how often;
//! * [`disk`], [`hands`]: the store and the workers, as unreliable as real ones;
//! * [`world`]: the clock, the agenda, and the process that runs the driver;
//! * [`checkers`]: what must hold, judged apart from all of that.
//!
//! The oracle: after faults stop, every run ends within its own bound, or stands in a named wait whose
//! deadline has not passed. The same seed gives the same trace, byte for byte.

pub mod chance;
pub mod checkers;
pub mod disk;
pub mod faults;
pub mod hands;
mod panics;
pub mod trace;
pub mod workload;
pub mod world;

use std::{collections::BTreeMap, fmt, panic::AssertUnwindSafe};
use trace::Keep;
use unknot_core::run::RunStatus;
use world::{Scale, World};

/// A world that held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// Things that happened.
    pub steps: u64,
    /// A hash of its trace.
    pub hash: u64,
    /// The most unfinished tasks there ever were.
    pub peak_tasks: u32,
    /// Events that were put into quarantine.
    pub quarantined: usize,
    /// Runs by their end.
    pub ends: BTreeMap<RunStatus, usize>,
    /// Verdicts that somebody is deadlocked.
    pub verdicts: u64,
    /// Planted deadlocks that were told of, by kind.
    pub plants: BTreeMap<&'static str, u64>,
    /// What else happened, by name: crashes, reloads, faults of the store.
    pub counts: BTreeMap<&'static str, u64>,
}

/// A world that broke a rule.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// How large it is.
    pub scale: Scale,
    /// The step that broke it.
    pub step: u64,
    /// The rule, and what was found.
    pub message: String,
    /// The last lines of the trace, or all.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "seed {} step {}: {}", self.seed, self.step, self.message)?;
        let large = if self.scale == Scale::Large { " --large" } else { "" };
        let replay = format!("replay {} --until {}{large}", self.seed, self.step);
        write!(f, "replay: cargo run --release -p unknot-sim -- {replay}")
    }
}

/// Lets a world run to its end, or up to a step.
///
/// # Errors
/// The first rule that was broken.
pub fn simulate(
    seed: u64,
    scale: Scale,
    keep: Keep,
    until: Option<u64>,
) -> Result<(Report, Vec<String>), Box<Failure>> {
    let mut world = World::new(seed, scale, keep);
    let outcome = panics::quietly(AssertUnwindSafe(|| world.run(until.unwrap_or(u64::MAX))));
    let (report, trace) = world.finish();
    match outcome {
        Ok(()) => Ok((report, trace)),
        Err(message) => Err(Box::new(Failure { seed, scale, step: report.steps, message, trace })),
    }
}
