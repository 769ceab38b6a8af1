//! What one event led to.

use crate::{
    effect::Effect,
    row::{HistoryEntry, Key, Row},
};

/// The outcome of applying one event: rows to write, lines for the history, effects to perform
/// once those are durable.
#[derive(Debug, Default)]
pub struct Decision {
    /// Live rows that changed; [`crate::State::row`] gives their content at the end of the batch.
    /// A key may stand here more than once.
    pub touched: Vec<Key>,
    /// Rows that the state does not keep (finished runs, dead letters, quarantine), with their content.
    pub written: Vec<(Key, Option<Row>)>,
    /// What happened, for people.
    pub history: Vec<HistoryEntry>,
    /// What to do once all of it is durable.
    pub effects: Vec<Effect>,
    /// Tasks that were looked at, whether or not anything came of it: what it cost beside the changes.
    pub looks: usize,
}

/// Looks at tasks that cost as much as one changed row.
pub(crate) const LOOKS_PER_CHANGE: usize = 20;

impl Decision {
    /// What it cost, in changed rows: by this a turn is bounded.
    pub fn cost(&self) -> usize {
        1 + self.touched.len() + self.looks / LOOKS_PER_CHANGE
    }

    /// Whether there is nothing to commit.
    pub fn is_volatile(&self) -> bool {
        self.touched.is_empty() && self.written.is_empty() && self.history.is_empty()
    }
}
