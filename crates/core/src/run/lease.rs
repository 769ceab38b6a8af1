//! The right of a worker to an attempt: what the attempt holds under it, what it waits for, and how it is ended.

use super::{Answered, Parked, WorkerId, is_false};
use crate::{
    Fence, Seq, TaskId,
    time::{Millis, Timestamp},
    volatile::Lent,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A worker's time-limited, fenced right to an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Who holds it.
    pub worker: WorkerId,
    /// Higher than that of every earlier lease.
    pub fence: Fence,
    /// Its place among all grants.
    pub seq: Seq,
    /// Where the task stood in its queue: it is put back there if the attempt is given back. First, where a store of
    /// before does not say.
    #[serde(default)]
    pub place: Place,
    /// Units held with it, by pool or lock.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub holds: BTreeMap<String, u32>,
    /// Granted ahead of a free slot: possibly started, shown QUEUED until the worker says so.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prefetched: bool,
    /// When it was granted.
    pub granted_at: Timestamp,
    /// When the worker started the work, once it has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the attempt is out of time and the ladder starts.
    pub deadline: Timestamp,
    /// When the lease runs out unless renewed; none for the server's own worker, which is reconciled instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Set once the attempt is being stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping: Option<Stopping>,
    /// What the attempt itself waits for; none: it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked: Option<Box<Parked>>,
    /// How its last wait ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Box<Answered>>,
    /// Of the units held: those that are an ancestor's, which waits and lends them; by pool.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub borrowed: BTreeMap<String, BTreeMap<TaskId, u32>>,
    /// Whose slot of its worker it has, if an ancestor lends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot_of: Option<TaskId>,
}

/// A task's place in its queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its number in the order of all waits.
    pub seq: Seq,
    /// Since when it stood there: its age.
    pub since: Timestamp,
}

/// An attempt on its way down the ladder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {
    /// Why.
    pub reason: StopReason,
    /// When it was asked for: the first rung.
    pub since: Timestamp,
    /// When it is fenced, whatever the worker says or does not say: the last rung.
    pub fenced_at: Timestamp,
}

/// Why an attempt is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Its run was cancelled.
    Cancelled,
    /// Its run failed or timed out.
    RunEnding,
    /// Its own `timeout` passed.
    TimedOut,
    /// It was silent for longer than its `heartbeat_timeout`.
    Heartbeat,
    /// It was chosen to end a deadlock.
    Deadlock,
}

impl Lease {
    /// How long it may still be held after the deadline of its ladder, for the last report to arrive.
    pub const REPORT_MARGIN: Millis = Millis::from_secs(8);
    /// How long a guard may need to end what its worker leaves behind.
    pub const ORPHAN_MAX: Millis = Millis::from_secs(5);

    /// Whether its attempt waits, and is not being stopped: then it works no more, whatever it waits for.
    pub fn waits(&self) -> bool {
        self.parked.is_some() && self.stopping.is_none()
    }

    /// Has more units from now on, of whom `sources` says if not of their pools.
    pub(crate) fn take(&mut self, units: &BTreeMap<String, u32>, sources: &BTreeMap<String, BTreeMap<TaskId, u32>>) {
        for (pool, units) in units {
            *self.holds.entry(pool.clone()).or_default() += units;
        }
        for (pool, lenders) in sources {
            let borrowed = self.borrowed.entry(pool.clone()).or_default();
            lenders.iter().for_each(|(lender, units)| *borrowed.entry(*lender).or_default() += units);
        }
    }

    /// Has fewer units from now on: those of its ancestors go back first.
    pub(crate) fn give_back(&mut self, pool: &str, units: u32) {
        let Some(held) = self.holds.get_mut(pool) else { return };
        *held = held.saturating_sub(units);
        if *held == 0 {
            self.holds.remove(pool);
        }
        let Some(lenders) = self.borrowed.get_mut(pool) else { return };
        let mut left = units;
        for lent in lenders.values_mut() {
            let back = left.min(*lent);
            *lent -= back;
            left -= back;
        }
        lenders.retain(|_, units| *units > 0);
        if lenders.is_empty() {
            self.borrowed.remove(pool);
        }
    }

    /// Units of a pool that are an ancestor's.
    pub fn borrowed_of(&self, pool: &str) -> u32 {
        self.borrowed.get(pool).map_or(0, |lenders| lenders.values().sum())
    }

    /// What it has of which ancestor, and how many units of it.
    pub fn loans(&self) -> impl Iterator<Item = ((TaskId, Lent), u32)> {
        let of_pool = |(pool, lenders): (&String, &BTreeMap<TaskId, u32>)| {
            let loan = |(lender, units): (&TaskId, &u32)| ((*lender, Lent::Pool(pool.clone())), *units);
            lenders.iter().map(loan).collect::<Vec<_>>()
        };
        let slot = self.slot_of.map(|lender| ((lender, Lent::Slot), 1));
        self.borrowed.iter().flat_map(of_pool).chain(slot)
    }

    /// Whether its attempt waits for runs that its task spawned. It does not go on before all that it has lent is back.
    pub fn awaits_children(&self) -> bool {
        self.stopping.is_none() && self.parked.as_ref().is_some_and(|parked| parked.on.has_children())
    }

    /// Whether it lends them what it holds: until its wait is over.
    pub fn lends(&self) -> bool {
        self.awaits_children() && self.parked.as_ref().is_some_and(|parked| parked.over.is_none())
    }
}
