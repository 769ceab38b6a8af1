//! What a running attempt waits for: it keeps its lease and what it holds meanwhile.

use crate::{Seq, TaskIndex, time::Timestamp, workflow::Until};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Conditions of one wait, at most.
pub const TERMS_MAX: usize = 1_000;
/// How deep expressions of one wait stand in each other, at most.
pub const NESTING_MAX: usize = 8;
/// Characters of the name under which an attempt asks, at most.
pub const NAME_MAX: usize = 100;

/// A wait of a running attempt: named, bounded, and one at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// Chosen by the attempt: whoever asks again under it asks for this wait.
    pub name: String,
    /// What must hold before it goes on.
    pub on: Awaited,
    /// Its place among all waits of the namespace; decides who is served first.
    pub seq: Seq,
    /// Since when.
    pub since: Timestamp,
    /// Until when at the latest; inside its attempt's own.
    pub deadline: Timestamp,
    /// When a timer in it comes next, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer: Option<Timestamp>,
    /// What happens then.
    pub then: AtDeadline,
    /// Set if it is over but for what the attempt has lent: it goes on once that is back, and lends no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Over>,
}

/// How a wait has ended whose attempt does not go on yet, because what it has lent is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// It holds.
    Met,
    /// Its deadline has come.
    TimedOut,
    /// It can not hold any more.
    Impossible,
    /// It was withdrawn.
    Withdrawn,
}

/// What happens when an attempt's wait is not over in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtDeadline {
    /// The attempt is told, and goes on without.
    #[default]
    GiveUp,
    /// The attempt is stopped, as if it had been out of time.
    Stop,
}

/// A monotone expression over what an attempt can wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Awaited {
    /// Units of a pool, or a lock; they are the attempt's once its wait is over.
    Units {
        /// Which.
        pool: String,
        /// How many.
        units: u32,
    },
    /// The end of a child run of its task.
    Child {
        /// The key under which it was spawned.
        key: String,
        /// Which end counts.
        until: Until,
    },
    /// The ends of all runs that its task spawned, those detached left out.
    Children,
    /// A signal to its run.
    Signal {
        /// Its name.
        name: String,
        /// Only these tasks of the run send it; none: anybody may.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        from: Vec<TaskIndex>,
    },
    /// A moment.
    Timer {
        /// When.
        at: Timestamp,
    },
    /// So many of the parts.
    AtLeast {
        /// How many.
        k: u32,
        /// The parts.
        of: Vec<Awaited>,
    },
}

/// How a wait of an attempt ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitOutcome {
    /// It held.
    Met,
    /// Its deadline came first.
    #[default]
    TimedOut,
    /// It could not hold any more.
    Impossible,
}

/// How the last wait of an attempt ended, for whoever asks again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// The wait's name.
    pub name: String,
    /// How.
    pub outcome: WaitOutcome,
    /// Units that were granted with it, by pool.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub granted: BTreeMap<String, u32>,
    /// The signals in it that had been sent.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub signals: BTreeSet<String>,
    /// The children in it that had ended, by key.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub children: BTreeSet<String>,
}

/// A child run, as its parent task knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// Its id, also before it begins.
    pub run: crate::RunId,
    /// What it is to be given, until it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<super::JsonText>,
    /// Whether it goes on when its parent's task ends.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub detached: bool,
    /// Which attempt of its parent's task had it made.
    #[serde(default)]
    pub attempt: u32,
    /// Its end, once it has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<super::RunStatus>,
    /// What it gives its parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<super::JsonText>,
}

impl Child {
    /// Whether whoever waits for all children waits for it: one that is detached, until it begins.
    pub fn is_awaited(&self) -> bool {
        self.ended.is_none() && (!self.detached || self.input.is_some())
    }

    /// Whether it ended in another way than well.
    pub fn has_failed(&self) -> bool {
        self.ended.is_some_and(|end| end != super::RunStatus::Completed)
    }
}

impl Awaited {
    /// Every part.
    pub fn all(of: Vec<Self>) -> Self {
        Self::at_least(u32::try_from(of.len()).unwrap_or(u32::MAX), of)
    }

    /// One part.
    pub fn any(of: Vec<Self>) -> Self {
        Self::at_least(1, of)
    }

    /// So many of the parts; one of one is that part itself.
    pub fn at_least(k: u32, mut of: Vec<Self>) -> Self {
        match (k, of.len()) {
            (1, 1) => of.remove(0),
            _ => Self::AtLeast { k, of },
        }
    }

    /// Every condition in it, in order.
    pub fn terms(&self) -> Vec<&Self> {
        match self {
            Self::AtLeast { of, .. } => of.iter().flat_map(Self::terms).collect(),
            term => vec![term],
        }
    }

    /// Whether it waits for runs that its task spawned: whoever does so lends them what it holds.
    pub fn has_children(&self) -> bool {
        self.terms().iter().any(|term| matches!(term, Self::Child { .. } | Self::Children))
    }

    /// The first timer in it that comes after a moment.
    pub fn next_timer(&self, after: Timestamp) -> Option<Timestamp> {
        let timers = self.terms().into_iter().filter_map(|term| match term {
            Self::Timer { at } => Some(*at),
            _ => None,
        });
        timers.filter(|at| *at > after).min()
    }

    /// How deep expressions stand in each other.
    pub fn depth(&self) -> usize {
        match self {
            Self::AtLeast { of, .. } => 1 + of.iter().map(Self::depth).max().unwrap_or_default(),
            _ => 0,
        }
    }

    /// Units of each pool that it could be granted.
    pub fn units(&self) -> impl Iterator<Item = (&str, u32)> {
        self.terms().into_iter().filter_map(|term| match term {
            Self::Units { pool, units } => Some((pool.as_str(), *units)),
            _ => None,
        })
    }

    /// The first conditions that hold and are enough, or nothing. `holds` is asked of conditions alone.
    pub fn met(&self, holds: &impl Fn(&Self) -> bool) -> Option<Vec<&Self>> {
        match self {
            Self::AtLeast { k, of } => {
                let met: Vec<Vec<&Self>> = of.iter().filter_map(|part| part.met(holds)).take(*k as usize).collect();
                (met.len() == *k as usize).then(|| met.concat())
            }
            term => holds(term).then(|| vec![term]),
        }
    }
}
