//! The proof before the run: whether runs of a workflow can come to wait for each other for ever, judged by what it
//! declares.
//!
//! What is granted is decided as the brain decides it: what a task asks for under `pools` and `locks` comes all at once
//! and is held until the task ends, also while the runs go on that a `workflow` task has started. A pool that lends gives
//! what a waiting task holds to those below it; each request is served wholly by one of these lenders or wholly by the
//! pool. Slots of workers are lent as well, locks never are. Beside that a task may acquire while it runs what it says
//! under `acquires`, one step after the other, and start runs of `spawns` and wait for them.
//!
//! [`prove`] says *safe* only if nothing that is declared can ever wait in vain, however long each grant takes and in
//! whatever order they come ([`Rule`] says why), and *unsafe* only with a [`Scenario`] that can be reached and that
//! [`crate::wait::reduce`] calls deadlocked. Everything else is *unknown*, with what is missing.
//!
//! The rules are those of resource ordering (Coffman, Elphick, Shoshani 1971), of counting the units that waiting
//! holders can have at most (Habermann 1969), and of lending from the bottom up.

mod graph;
mod holders;
mod relevant;
mod remedy;
mod replay;
mod rule;
mod say;
mod scenario;
mod search;
mod suspects;
mod system;
mod world;

pub use scenario::{Scenario, ScenarioRuns, Step, StepKind, StepUnits};

use crate::workflow::Definition;
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

/// What is declared.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// The configured pools by name; a lock that is not among them is a pool of one that lends nothing.
    pub pools: BTreeMap<String, Pool>,
    /// Slots of all workers that take everything; none: nobody knows.
    pub slots: Option<u32>,
    /// The workflows that are known, by name.
    pub workflows: BTreeMap<Arc<str>, Arc<Definition>>,
    /// Those that people start, each judged on its own, all of them at work.
    pub roots: Vec<Root>,
}

/// A configured pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its units.
    pub size: u32,
    /// Whether a task that waits for its runs lends them what it holds.
    pub lends: bool,
}

/// A workflow that people start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Its name.
    pub workflow: Arc<str>,
    /// How many of its runs there are at once at most; none: any number.
    pub runs_max: Option<u32>,
}

/// What was found out about one workflow.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proof {
    /// Its name.
    pub workflow: Arc<str>,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// It is safe only as long as there are no more slots than these, which are declared: no rule covers more of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots_max: Option<u32>,
    /// Tasks that hold nothing and do not say what they acquire or start while they run: the verdict does not cover
    /// that, the live detector does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undeclared: Vec<String>,
}

/// Whether runs of a workflow can wait for each other for ever.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Never, by what is declared.
    Safe {
        /// Why not.
        rule: Rule,
    },
    /// They can.
    Unsafe {
        /// How they come to it, and what to change.
        scenario: Box<Scenario>,
    },
    /// It cannot be told.
    Unknown {
        /// Why not, at least one reason.
        doubts: Vec<Doubt>,
        /// Why what is declared is safe by itself, if it is.
        #[serde(skip_serializing_if = "Option::is_none")]
        declared: Option<Rule>,
    },
}

/// Why something is safe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Rule {
    /// Whoever holds something waits for nothing: each task is granted all it asks for at once.
    AllAtOnce,
    /// Whoever holds something waits only for what stands later in this order.
    Ordered {
        /// The resources, each before those that are waited for while it is held.
        order: Vec<String>,
    },
    /// What is waited for by those below a holder of the same is lent to them.
    Lending {
        /// The pools that it takes, and slots.
        lent: Vec<String>,
    },
    /// Those that wait while they hold can never hold so much that too little is left.
    Bounded {
        /// What is left of what.
        figures: Vec<Figure>,
    },
    /// Every order of grants was looked at, with as many runs as there may be.
    Explored {
        /// How many states that were.
        states: usize,
    },
}

/// How much of a resource can be held by those that wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Figure {
    /// The resource.
    pub resource: String,
    /// How many units there are.
    pub size: u64,
    /// How many those who wait while they hold can have at most.
    pub held_max: u64,
    /// The largest request for it that there is.
    pub asked_max: u64,
}

/// Why it cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Doubt {
    /// A task holds something and does not say what it acquires or starts meanwhile.
    Undeclared {
        /// `workflow.task`.
        task: String,
        /// What it holds.
        holds: Vec<String>,
    },
    /// A workflow is started that is not known.
    UnknownWorkflow {
        /// `workflow.task`, who starts it.
        task: String,
        /// Its name.
        workflow: String,
    },
    /// Whether slots run short depends on workers that nobody knows.
    UnknownSlots {
        /// Which.
        slots: String,
    },
    /// Runs that start runs of their own kind may nest to any depth, and no rule covers that.
    Recursion {
        /// The workflow that starts itself.
        workflow: String,
    },
    /// Attempts start runs, and it is safe only as long as they wait for these at once, and for nothing else meanwhile.
    NotAwaited {
        /// `workflow.task`, those who start runs.
        tasks: Vec<String>,
    },
    /// Neither a rule nor a scenario was found within bounds.
    NotDecided {
        /// What may be waited for in vain, as far as the rules can tell.
        resources: Vec<String>,
    },
    /// There are too many ways in which tasks can stand below each other.
    TooLarge,
}

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// States in the search for a deadlock of one root, where the rules do not say that there is none: tens of
    /// microseconds each.
    pub states_max: usize,
}

impl Default for Effort {
    fn default() -> Self {
        Self { states_max: 6_000 }
    }
}

/// Judges the roots of what is declared.
pub fn prove(declared: &Declared, effort: Effort) -> Vec<Proof> {
    rule::prove(declared, effort, |_| true)
}

/// Judges one of the roots, beside the others; none: it is no root.
pub fn prove_one(declared: &Declared, workflow: &str, effort: Effort) -> Option<Proof> {
    rule::prove(declared, effort, |root| *root.workflow == *workflow).pop()
}
