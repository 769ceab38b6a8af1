//! Runs that tasks spawned, counted: a task with a thousand of them is asked about them at each one's end.

use crate::{TaskId, run::Child};
use std::collections::{BTreeMap, BTreeSet};

/// The runs of all tasks, by task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Children(BTreeMap<TaskId, Counts>);

/// The runs of one task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    all: u32,
    awaited: u32,
    open: u32,
    failed: u32,
    /// Those that have not begun, by their place in the task's list.
    unbegun: BTreeSet<u32>,
}

impl Children {
    /// A task knows of a run.
    pub(crate) fn add(&mut self, task: TaskId, key: &str, child: &Child) {
        let counts = self.0.entry(task).or_default();
        counts.all += 1;
        counts.awaited += u32::from(child.is_awaited());
        counts.open += u32::from(is_open(child));
        counts.failed += u32::from(child.has_failed());
        counts.unbegun.extend(place_of(key, child));
    }

    /// It knows of it no more, or otherwise.
    pub(crate) fn remove(&mut self, task: TaskId, key: &str, child: &Child) {
        let Some(counts) = self.0.get_mut(&task) else { return };
        counts.all -= 1;
        counts.awaited -= u32::from(child.is_awaited());
        counts.open -= u32::from(is_open(child));
        counts.failed -= u32::from(child.has_failed());
        if let Some(place) = place_of(key, child) {
            counts.unbegun.remove(&place);
        }
        if counts.all == 0 {
            self.0.remove(&task);
        }
    }

    /// How many a task waits for that waits for all of them.
    pub(crate) fn awaited(&self, task: TaskId) -> u32 {
        self.0.get(&task).map_or(0, |counts| counts.awaited)
    }

    /// How many have begun and not ended.
    pub(crate) fn open(&self, task: TaskId) -> u32 {
        self.0.get(&task).map_or(0, |counts| counts.open)
    }

    /// Whether one of them did not end well.
    pub(crate) fn has_failed(&self, task: TaskId) -> bool {
        self.0.get(&task).is_some_and(|counts| counts.failed > 0)
    }

    /// The first place in a task's list whose run has not begun.
    pub(crate) fn next(&self, task: TaskId) -> Option<u32> {
        self.0.get(&task)?.unbegun.first().copied()
    }
}

fn is_open(child: &Child) -> bool {
    child.input.is_none() && child.ended.is_none()
}

/// The place of one that has not begun: the brain's own children have it as their key.
fn place_of(key: &str, child: &Child) -> Option<u32> {
    key.parse().ok().filter(|_| child.input.is_some() && child.ended.is_none())
}
