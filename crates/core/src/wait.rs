//! The wait graph: who waits for what, and whether it can still move.
//!
//! [`snapshot`] turns a [`State`](crate::State) into one plain value, the exchange format of every tool; [`reduce`]
//! judges such a value by graph reduction, [`analyze`] says besides who is the cause, what would help and why;
//! [`detector`] gives the same verdict step by step, while waits come and go; [`describe`] says in one sentence
//! what a task waits for, and [`why`] follows that down to whoever can move it.
//!
//! A node is dead if and only if reduction cannot remove it: assume that each running node ends and
//! gives back what it holds, grant whoever can be granted, and go on until nothing changes. The result
//! does not depend on the order. Cycles play no part in the verdict; they only explain it.

mod advice;
mod analysis;
mod core_of;
mod describe;
pub mod detector;
mod draw;
mod explain;
mod generate;
mod graph;
mod input;
mod naming;
mod obstacle;
mod parked;
mod part;
mod pools;
mod price;
mod reach;
mod reduce;
mod repair;
mod residue;
mod snapshot;
mod standstill;
mod stuck;
mod victims;
mod waiting;
mod why;

use serde::{Deserialize, Serialize};

pub use advice::Cancel;
pub(crate) use analysis::analyze_dead;
pub use analysis::{Analysis, analyze, analyze_reads};
pub use describe::{Awaited, Bound, Described, OpenNeeds, describe, open_needs};
pub use draw::{dot, mermaid};
pub use generate::Generate;
pub use input::{Fault, Form, Input};
pub use naming::named;
pub(crate) use naming::with_names;
pub use pools::{AtPool, Share, at_pools};
pub use price::Price;
pub use reach::reach;
pub use reduce::{Class, Verdict, confirm, reduce};
pub use repair::{Remedy, Repair};
pub use snapshot::snapshot;
pub(crate) use snapshot::{DECLARED, among};
pub(crate) use standstill::{Standstill, standstills};
pub use stuck::{Cause, Stuck, Watched, stuck};
pub use waiting::waiting;
pub use why::{DeadEnd, Mover, Movers, Subject, Why, why};

/// The wait graph of a namespace at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// Who can wait and hold.
    pub nodes: Vec<Node>,
    /// What is held and given back.
    pub resources: Vec<Resource>,
    /// What is sent and used up.
    pub consumables: Vec<Consumable>,
    /// Who holds what.
    pub holds: Vec<Hold>,
    /// Who waits for what, the earliest first.
    pub waits: Vec<Wait>,
}

/// A run or a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(expecting = "a node, as `{id, state}`")]
pub struct Node {
    /// Its id.
    pub id: String,
    /// What people call it, if that is something else: `deploy/backup`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What it does.
    pub state: NodeState,
    /// Its current attempt: holds of earlier ones are stale.
    #[serde(rename = "gen", default, skip_serializing_if = "is_zero")]
    pub generation: u64,
    /// The price of aborting it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// Bumped by any change of its waits or holds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub version: u64,
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// It works, will end and give back what it holds.
    Running,
    /// It is in a wait.
    Waiting,
    /// It is busy outside: a person, a remote service.
    External,
    /// It ended well.
    Done,
    /// It ended badly.
    Failed,
    /// It was ended, or never began.
    Cancelled,
}

/// Counted units that are held and given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "a resource, as `{id, units, queue}`")]
pub struct Resource {
    /// Its id.
    pub id: String,
    /// What people call it, for drawings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// How many there are.
    pub units: u64,
    /// Whom it serves first.
    pub queue: Queue,
}

/// Whom a resource serves first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Queue {
    /// Whoever fits.
    Any,
    /// Never a waiter before an earlier one of the same resource.
    Fifo,
}

/// Something sent: a signal, an item, a token, an operator's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "a consumable, as `{id}`")]
pub struct Consumable {
    /// Its id.
    pub id: String,
    /// What people call it, for drawings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// How many there are now.
    #[serde(default)]
    pub available: u64,
    /// The nodes that may send more.
    #[serde(default)]
    pub producers: Vec<String>,
    /// Whether the outside may send it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub external: bool,
    /// Whether it comes with time.
    #[serde(default, skip_serializing_if = "is_false")]
    pub self_refill: bool,
}

/// Units of a resource in somebody's hands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "a hold, as `{node, resource, units}`")]
pub struct Hold {
    /// Whose.
    pub node: String,
    /// Of what.
    pub resource: String,
    /// How many.
    pub units: u64,
    /// By which attempt; none: by the current one.
    #[serde(rename = "gen", default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Whether they were not given back when the node ended.
    #[serde(default, skip_serializing_if = "is_false")]
    pub leaked: bool,
}

/// Somebody's wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(expecting = "a wait, as `{node, expr}`")]
pub struct Wait {
    /// Who waits; keeps what it holds meanwhile.
    pub node: String,
    /// What must hold before it goes on.
    pub expr: Expr,
    /// Since when, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Seconds from the snapshot until it ends anyway; never changes the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_s: Option<f64>,
}

/// A monotone expression over terms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(expecting = "an expression, as `{mode, of}`")]
pub struct Expr {
    /// How many of the parts must hold.
    pub mode: Mode,
    /// For [`Mode::K`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k: Option<usize>,
    /// The parts.
    pub of: Vec<Part>,
}

/// How many parts of an expression must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Every one.
    All,
    /// One.
    Any,
    /// `k` of them.
    K,
}

/// One part of an expression.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Part {
    /// An expression inside.
    Expr(Expr),
    /// Units of a resource are free.
    Resource {
        /// Which.
        resource: String,
        /// How many.
        units: u64,
    },
    /// A node came to its end.
    Node {
        /// Which.
        node: String,
        /// Which end counts.
        until: Until,
    },
    /// Something was sent.
    Consumable {
        /// What.
        consumable: String,
    },
    /// A moment comes.
    Timer {
        /// Always true.
        timer: bool,
    },
}

/// Which end of a node counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Until {
    /// Any.
    Terminal,
    /// A good one.
    Success,
}

impl Expr {
    /// Every part must hold.
    pub fn all(of: Vec<Part>) -> Self {
        Self { mode: Mode::All, k: None, of }
    }

    /// One part must hold.
    pub fn any(of: Vec<Part>) -> Self {
        Self { mode: Mode::Any, k: None, of }
    }

    /// So many parts must hold.
    pub fn at_least(k: usize, of: Vec<Part>) -> Self {
        Self { mode: Mode::K, k: Some(k), of }
    }

    /// How many parts must hold.
    pub(crate) fn needed(&self) -> usize {
        match self.mode {
            Mode::All => self.of.len(),
            Mode::Any => 1,
            Mode::K => self.k.unwrap_or(self.of.len()),
        }
    }
}

impl NodeState {
    /// Whether nothing follows it.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn is_false(value: &bool) -> bool {
    !*value
}
