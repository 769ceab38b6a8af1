//! How long tasks stand in queues and are performed, out of the lines of their histories.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use unknot_core::{
    Millis, TaskId, Timestamp,
    row::{HistoryEntry, HistoryKind},
    settings::DEFAULT_QUEUE,
};

/// Tasks whose times are kept at once; of more, only that they end is told.
const TIMED_MAX: usize = 200_000;
/// Queues that are told apart; those beyond are one, `others`.
pub const QUEUES_MAX: usize = 1_000;
/// Of tasks that stand in none, or did so before anybody looked.
const NO_QUEUE: &str = "";

/// Follows tasks from line to line.
#[derive(Debug, Default)]
pub struct Spans {
    queues: BTreeSet<Arc<str>>,
    under_way: BTreeMap<TaskId, Times>,
}

#[derive(Debug)]
struct Times {
    queue: Arc<str>,
    queued_at: Timestamp,
    begun_at: Option<Timestamp>,
}

/// A stretch that a line ends, or begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// A task comes to stand in its queue: one begins.
    Queued,
    /// A task stood in its queue for so long, and is given to a worker.
    Waited(Millis),
    /// An attempt is over, or a task that had none.
    Ended {
        /// How.
        how: How,
        /// How long it was performed; none: it was not, or began before anybody looked.
        performed: Option<Millis>,
        /// How long it was since the task came to stand in its queue; none: that was before anybody looked.
        in_all: Option<Millis>,
    },
}

/// How an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Its task completed.
    Completed,
    /// It did not succeed, and another one follows.
    Retried,
    /// It did not succeed, and no other follows.
    Failed,
    /// It was stopped with its task.
    Cancelled,
}

impl Spans {
    /// Takes a line; tells of the stretch that it ends or begins, and in which queue.
    pub fn take(&mut self, line: &HistoryEntry) -> Option<(Arc<str>, Span)> {
        let (task, at) = (line.run.task(line.task?), line.at);
        let how = match line.event {
            HistoryKind::TaskQueued => {
                let queue = self.queued(task, at, line.detail.text("queue").unwrap_or(DEFAULT_QUEUE));
                return Some((queue, Span::Queued));
            }
            HistoryKind::TaskGranted => {
                let times = self.under_way.get(&task)?;
                return Some((Arc::clone(&times.queue), Span::Waited(at.since(times.queued_at))));
            }
            HistoryKind::TaskStarted => {
                self.under_way.get_mut(&task)?.begun_at = Some(at);
                return None;
            }
            HistoryKind::TaskSkipped => {
                self.under_way.remove(&task);
                return None;
            }
            HistoryKind::TaskRetrying => How::Retried,
            HistoryKind::TaskCompleted => How::Completed,
            HistoryKind::TaskFailed => How::Failed,
            HistoryKind::TaskCancelled => How::Cancelled,
            _ => return None,
        };
        Some(self.ended(task, at, how))
    }

    /// Forgets what is under way: lines were missed, and it may have ended.
    pub fn forget(&mut self) {
        self.under_way.clear();
    }

    fn queued(&mut self, task: TaskId, at: Timestamp, queue: &str) -> Arc<str> {
        let queue = self.name(queue);
        if self.under_way.len() < TIMED_MAX || self.under_way.contains_key(&task) {
            self.under_way.insert(task, Times { queue: Arc::clone(&queue), queued_at: at, begun_at: None });
        }
        queue
    }

    fn ended(&mut self, task: TaskId, at: Timestamp, how: How) -> (Arc<str>, Span) {
        let times = self.under_way.remove(&task);
        let performed = times.as_ref().and_then(|times| times.begun_at).map(|begun_at| at.since(begun_at));
        let in_all = times.as_ref().map(|times| at.since(times.queued_at));
        let queue = times.map_or_else(|| self.name(NO_QUEUE), |times| times.queue);
        (queue, Span::Ended { how, performed, in_all })
    }

    /// A queue's name, kept once.
    fn name(&mut self, queue: &str) -> Arc<str> {
        if let Some(known) = self.queues.get(queue) {
            return Arc::clone(known);
        }
        let name: Arc<str> = if self.queues.len() < QUEUES_MAX { queue.into() } else { "others".into() };
        self.queues.insert(Arc::clone(&name));
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unknot_core::{CommitSeq, RunId, TaskIndex, row::Detail};

    fn line(task: u32, event: HistoryKind, at: u64, queue: &str) -> HistoryEntry {
        HistoryEntry {
            at: Timestamp(at),
            run: RunId::from_parts(1, 1),
            event,
            task: Some(TaskIndex(task)),
            name: None,
            attempt: None,
            detail: Detail::of("queue", queue),
            first_commit: CommitSeq(1),
        }
    }

    #[test]
    fn stretches_begin_and_end_with_their_lines() {
        let mut spans = Spans::default();
        let mut take = |event, at| spans.take(&line(0, event, at, "slow")).map(|(_, span)| span);
        assert_eq!(take(HistoryKind::TaskQueued, 10), Some(Span::Queued));
        assert_eq!(take(HistoryKind::TaskGranted, 30), Some(Span::Waited(Millis(20))));
        assert_eq!(take(HistoryKind::TaskStarted, 31), None);
        let ended = |how, performed, in_all| Span::Ended { how, performed, in_all };
        let retried = ended(How::Retried, Some(Millis(9)), Some(Millis(30)));
        assert_eq!(take(HistoryKind::TaskRetrying, 40), Some(retried));
        assert_eq!(
            take(HistoryKind::TaskCompleted, 50),
            Some(ended(How::Completed, None, None)),
            "its begin was missed"
        );
        take(HistoryKind::TaskQueued, 60);
        spans.forget();
        let known = spans.take(&line(0, HistoryKind::TaskFailed, 61, "slow"));
        assert_eq!(known, Some(("".into(), ended(How::Failed, None, None))));
    }

    #[test]
    fn many_queues_do_not_grow_it_for_ever() {
        let mut spans = Spans::default();
        for number in 0..QUEUES_MAX as u32 + 10 {
            spans.take(&line(number, HistoryKind::TaskQueued, 1, &format!("q{number}")));
        }
        assert_eq!(spans.queues.len(), QUEUES_MAX + 1);
    }
}
