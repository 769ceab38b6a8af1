//! Work too large for one step: stored with a cursor, and gone on with in later turns.

use crate::{RunId, TaskIndex};
use serde::{Deserialize, Serialize};

/// What is left of a step that reached its bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continuation {
    /// The run that it works on.
    pub run: RunId,
    /// What is left, the next on top: depth first, so never longer than the workflow is deep.
    pub stack: Vec<Work>,
}

/// One piece of work; each looks at the state it finds, so it may be met in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Look at the tasks from `from` on: which are ready from the start?
    Launch {
        /// The next task to look at.
        from: TaskIndex,
    },
    /// Tell the dependents of an ended task, from the `from`th on.
    Settle {
        /// The task that ended.
        task: TaskIndex,
        /// The next of its dependents.
        from: u32,
    },
    /// Look at those who wait for the same signal as a task: do they still?
    Signal {
        /// The first of those tasks: it names the signal.
        first: TaskIndex,
        /// The next of them to look at.
        from: u32,
    },
    /// Begin the next of the runs that a workflow task is made of.
    Spawn {
        /// The task.
        task: TaskIndex,
    },
    /// Ask the runs of a task from `from` on to end, and let those that have not begun never begin.
    EndRuns {
        /// The task.
        task: TaskIndex,
        /// The next of them, in the order of their keys.
        from: u32,
    },
    /// Forget the runs that a task which has ended had spawned, and ask those to end that are not detached.
    Leave {
        /// The task.
        task: TaskIndex,
    },
    /// End the tasks from `from` on, because the run ends.
    Close {
        /// The next task to end.
        from: TaskIndex,
    },
}
