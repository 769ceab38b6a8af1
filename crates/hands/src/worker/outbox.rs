//! Reports that are not settled yet.

use std::collections::VecDeque;
use std::sync::Arc;

use unknot_api::work::{Report, ReportBody};

/// How many reports travel together.
const BATCH_MAX: usize = 1000;

/// Keeps each report until it is settled; one batch is under way at a time, so that order is kept.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Report>,
    under_way: Option<Arc<[Report]>>,
}

impl Outbox {
    pub(super) fn push(&mut self, report: Report) {
        self.waiting.push_back(report);
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.under_way.as_ref().map_or(0, |batch| batch.len())
    }

    /// The next batch, which is under way from now on; `None` if there is nothing to send or one is.
    pub(super) fn take_batch(&mut self) -> Option<Arc<[Report]>> {
        if self.under_way.is_some() || self.waiting.is_empty() {
            return None;
        }
        let count = self.waiting.len().min(BATCH_MAX);
        let batch: Arc<[Report]> = self.waiting.drain(..count).collect();
        self.under_way = Some(batch.clone());
        Some(batch)
    }

    /// The batch is back; what is not among the settled places goes to the front of what waits. Signs of life, which
    /// may be lost and would be stale, are sent once only. Gives the attempts, with their fences, whose ends are settled.
    pub(super) fn settle(&mut self, places: &[usize]) -> Vec<(String, u64)> {
        let Some(batch) = self.under_way.take() else { return Vec::new() };
        let mut is_settled = vec![false; batch.len()];
        for place in places {
            if let Some(settled) = is_settled.get_mut(*place) {
                *settled = true;
            }
        }
        let mut ended = Vec::new();
        for (report, settled) in batch.iter().zip(is_settled).rev() {
            match &report.body {
                ReportBody::Ended(_) if settled => ended.push((report.attempt.clone(), report.fence)),
                _ if settled || is_volatile(report) => {}
                _ => self.waiting.push_front(report.clone()),
            }
        }
        ended
    }

    /// Whether the end of an attempt under this fence waits here.
    pub(super) fn has_end(&self, attempt: &str, fence: u64) -> bool {
        let is_end = |report: &Report| {
            report.fence == fence && report.attempt == attempt && matches!(report.body, ReportBody::Ended(_))
        };
        self.waiting.iter().chain(self.under_way.iter().flat_map(|batch| batch.iter())).any(is_end)
    }

    pub(super) fn into_reports(mut self) -> Vec<Report> {
        self.settle(&[]);
        self.waiting.into()
    }
}

fn is_volatile(report: &Report) -> bool {
    matches!(report.body, ReportBody::Progress { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(fence: u64, body: ReportBody) -> Report {
        Report { attempt: "att_1".into(), fence, body }
    }

    #[test]
    fn what_is_not_settled_is_sent_again_in_order() {
        let mut outbox = Outbox::default();
        for fence in 0..4 {
            outbox.push(report(fence, ReportBody::Started { pid: None, at_ms: 0 }));
        }
        assert_eq!(outbox.take_batch().unwrap().len(), 4);
        outbox.push(report(4, ReportBody::Started { pid: None, at_ms: 0 }));
        assert!(outbox.take_batch().is_none(), "one batch at a time");
        outbox.settle(&[1, 3, 99]);
        let fences: Vec<u64> = outbox.take_batch().unwrap().iter().map(|report| report.fence).collect();
        assert_eq!(fences, [0, 2, 4]);
        assert_eq!(outbox.len(), 3);
        assert_eq!(outbox.into_reports().len(), 3, "what is under way counts as not settled");
    }

    #[test]
    fn signs_of_life_are_sent_once() {
        let mut outbox = Outbox::default();
        outbox.push(report(1, ReportBody::Progress { at_ms: 1, output_bytes: 1 }));
        outbox.take_batch().unwrap();
        outbox.settle(&[]);
        assert_eq!(outbox.len(), 0);
    }
}
