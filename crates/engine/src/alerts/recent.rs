//! What ended lately, by queue: from the lines of the live stream.

use crate::spans::{How, Span, Spans};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use unknot_core::{Millis, Timestamp, row::HistoryEntry};

/// What ended longer ago does not count.
pub(super) const WINDOW: Millis = Millis::from_mins(5);
/// Attempts of one queue that count: the newest of those in the window.
const SAMPLES_MAX: usize = 2_000;
/// Fewer than so many say nothing about a rate.
pub(super) const RATE_OF_AT_LEAST: usize = 10;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Recent {
    spans: Spans,
    ended: BTreeMap<Arc<str>, VecDeque<Sample>>,
    /// When anything last moved, by queue.
    moved: BTreeMap<Arc<str>, Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Timestamp,
    has_failed: bool,
    in_all: Option<Millis>,
}

impl Recent {
    /// Takes a line.
    pub(super) fn take(&mut self, line: &HistoryEntry) {
        let Some((queue, span)) = self.spans.take(line) else { return };
        if span != Span::Queued {
            self.moved.insert(Arc::clone(&queue), line.at);
        }
        if let Span::Ended { how: How::Completed | How::Retried | How::Failed, .. } = span {
            let Span::Ended { how, in_all, .. } = span else { return };
            let samples = self.ended.entry(queue).or_default();
            samples.push_back(Sample { at: line.at, has_failed: how != How::Completed, in_all });
            if samples.len() > SAMPLES_MAX {
                samples.pop_front();
            }
        }
    }

    /// Lines were missed.
    pub(super) fn missed(&mut self) {
        self.spans.forget();
    }

    /// The queues of which something ended lately.
    pub(super) fn queues(&self) -> impl Iterator<Item = &Arc<str>> {
        self.ended.keys()
    }

    /// When anything last moved in a queue, or in any.
    pub(super) fn moved(&self, queue: Option<&str>) -> Option<Timestamp> {
        match queue {
            Some(queue) => self.moved.get(queue).copied(),
            None => self.moved.values().max().copied(),
        }
    }

    /// The seconds from standing in the queue to the end, which 99 in 100 attempts did not exceed.
    pub(super) fn latency_p99(&self, queue: &str, now: Timestamp) -> Option<f64> {
        let mut lengths: Vec<u64> = self.lately(queue, now).filter_map(|sample| Some(sample.in_all?.0)).collect();
        lengths.sort_unstable();
        let place = (lengths.len() * 99).div_ceil(100).checked_sub(1)?;
        Some(lengths[place] as f64 / 1_000.0)
    }

    /// The share of attempts that did not succeed, if there were enough to tell.
    pub(super) fn failure_rate(&self, queue: &str, now: Timestamp) -> Option<f64> {
        let all = self.lately(queue, now).count();
        let failed = self.lately(queue, now).filter(|sample| sample.has_failed).count();
        (all >= RATE_OF_AT_LEAST).then(|| failed as f64 / all as f64)
    }

    fn lately(&self, queue: &str, now: Timestamp) -> impl Iterator<Item = &Sample> {
        let since = now.minus(WINDOW);
        self.ended.get(queue).into_iter().flatten().filter(move |sample| sample.at > since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unknot_core::{
        CommitSeq, RunId, TaskIndex,
        row::{Detail, HistoryKind},
    };

    fn line(task: u32, event: HistoryKind, at: u64) -> HistoryEntry {
        HistoryEntry {
            at: Timestamp(at),
            run: RunId::from_parts(1, 1),
            event,
            task: Some(TaskIndex(task)),
            name: None,
            attempt: None,
            detail: Detail::of("queue", "slow"),
            first_commit: CommitSeq(1),
        }
    }

    #[test]
    fn what_ended_lately_counts_and_what_ended_before_does_not() {
        let mut recent = Recent::default();
        let begin = WINDOW.0;
        for task in 1..=200 {
            recent.take(&line(task, HistoryKind::TaskQueued, begin));
            assert_eq!(recent.moved(None), (task > 1).then(|| Timestamp(begin + u64::from(task) - 1)));
            let event = if task % 4 == 0 { HistoryKind::TaskRetrying } else { HistoryKind::TaskCompleted };
            recent.take(&line(task, event, begin + u64::from(task)));
        }
        let now = Timestamp(begin + 200);
        assert_eq!(recent.latency_p99("slow", now), Some(0.198));
        assert_eq!(recent.failure_rate("slow", now), Some(0.25));
        assert_eq!((recent.latency_p99("other", now), recent.failure_rate("other", now)), (None, None));
        // Of the last nine, there is no rate.
        let later = Timestamp(begin + WINDOW.0 + 191);
        assert_eq!(recent.failure_rate("slow", later), None);
        assert_eq!(recent.latency_p99("slow", later), Some(0.2));
        assert_eq!(recent.latency_p99("slow", now.plus(WINDOW)), None);
        assert_eq!(recent.moved(Some("slow")), Some(now));
    }
}
