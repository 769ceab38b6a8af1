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
}

impl Decision {
    /// Whether there is nothing to commit.
    pub fn is_volatile(&self) -> bool {
        self.touched.is_empty() && self.written.is_empty() && self.history.is_empty()
    }
}
