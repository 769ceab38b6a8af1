//! A batch in the order in which stores apply it, and what follows from it.

use crate::body::check_pair;
use std::collections::BTreeMap;
use unknot_core::{
    CommitSeq, RunId,
    row::{Batch, Key, Row},
    run::{Run, RunStatus},
    workflow::DefinitionHash,
};

/// Runs whose history goes on for more than so many commits after their first have an entry in
/// `run_commit` for each later one. Up to there, the commits themselves are looked through.
pub(crate) const HISTORY_WINDOW: u64 = 64;

/// The changes of a batch: the last of each key, deletes before puts, both in key order.
///
/// Deletes come first so that a unique value (an idempotency key) can move from one row to another.
pub(crate) struct Changes<'a> {
    pub(crate) deletes: Vec<&'a Key>,
    pub(crate) puts: Vec<(&'a Key, &'a Row)>,
}

/// Sums that a batch changes beside its rows.
#[derive(Default)]
pub(crate) struct Tally<'a> {
    /// How many new runs name each definition.
    pub(crate) definition_users: BTreeMap<&'a DefinitionHash, u64>,
    /// How many runs ended, by status.
    pub(crate) finished: BTreeMap<RunStatus, u64>,
    /// Runs with a line in this commit that is far from their first, each once.
    pub(crate) far_runs: Vec<RunId>,
}

impl<'a> Changes<'a> {
    /// Sorts a batch's changes.
    ///
    /// # Errors
    /// A row stands under a key of another kind; the sentence says which.
    pub(crate) fn of(batch: &'a Batch) -> Result<Self, String> {
        let mut last: Vec<&(Key, Option<Row>)> = batch.changes.iter().rev().collect();
        // A stable sort of the reversed list: of equal keys the last change stands first and is kept.
        last.sort_by(|left, right| left.0.cmp(&right.0));
        last.dedup_by(|later, kept| later.0 == kept.0);
        let mut changes = Self { deletes: Vec::new(), puts: Vec::with_capacity(last.len()) };
        for (key, row) in last {
            match row {
                Some(row) => {
                    check_pair(key, row)?;
                    changes.puts.push((key, row));
                }
                None => changes.deletes.push(key),
            }
        }
        Ok(changes)
    }

    /// The sums that these changes and the batch's history bring.
    pub(crate) fn tally(&self, batch: &'a Batch) -> Tally<'a> {
        let mut tally = Tally::default();
        for &(_, row) in &self.puts {
            if let Some(run) = newcomer(row, batch.commit) {
                for hash in run.definitions() {
                    *tally.definition_users.entry(hash).or_default() += 1;
                }
            }
            if let Row::Finished(finished) = row {
                *tally.finished.entry(finished.status).or_default() += 1;
            }
        }
        let is_far = |first: CommitSeq| batch.commit.0.saturating_sub(first.0) > HISTORY_WINDOW;
        tally.far_runs.extend(batch.history.iter().filter(|entry| is_far(entry.first_commit)).map(|entry| entry.run));
        tally.far_runs.sort_unstable();
        tally.far_runs.dedup();
        tally
    }
}

/// The run that a row brings into the store for the first time, if it does: its definition gains a
/// user. A run that begins and ends within one commit comes as [`Row::Finished`] only.
fn newcomer(row: &Row, commit: CommitSeq) -> Option<&Run> {
    let run: &Run = match row {
        Row::Run(run) => run,
        Row::Finished(finished) => &finished.run,
        _ => return None,
    };
    (run.first_commit == commit).then_some(run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use unknot_core::{
        Timestamp,
        row::{Meta, Pause},
    };

    fn pause(by: &str) -> Option<Row> {
        Some(Row::PausedWorkflow(Pause { by: by.into(), since: Timestamp(1) }))
    }

    #[test]
    fn the_last_change_of_a_key_wins_and_deletes_come_first() {
        let key = |name: &str| Key::PausedWorkflow(name.into());
        let batch = Batch {
            commit: CommitSeq(1),
            meta: Meta::default(),
            changes: vec![
                (key("b"), pause("first")),
                (key("c"), pause("x")),
                (key("a"), None),
                (key("b"), pause("last")),
                (key("c"), None),
            ],
            history: Vec::new(),
        };
        let changes = Changes::of(&batch).expect("well-formed");
        assert_eq!(changes.deletes, [&key("a"), &key("c")]);
        assert_eq!(changes.puts, [(&key("b"), &pause("last").expect("a row"))]);
    }

    #[test]
    fn a_row_under_a_key_of_another_kind_is_refused() {
        let batch = Batch {
            commit: CommitSeq(1),
            meta: Meta::default(),
            changes: vec![(Key::Queue("q".into()), pause("x"))],
            history: Vec::new(),
        };
        assert!(Changes::of(&batch).is_err());
    }
}
