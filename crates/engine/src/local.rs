//! The desk between the brain and the server's own worker: assignments and orders go out, reports come
//! back, and each report stays until the brain has made it durable.
//!
//! The brain's thread only pushes and never waits; what it pushes is bounded by the slots that it
//! gives out.

use crate::{convert_work, inbox::Inbox};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};
use unknot_api::work as api;
use unknot_core::{
    AttemptId, Fence,
    effect::Assignment,
    event::{AttemptEnd, Event, Outcome},
    row::Detail,
    run::{StopReason, WorkerId},
};
use unknot_hands::worker::{Held, Order, Room, SourceError, WorkSource};

/// How long a question of the worker may stay without an answer before it asks again.
const POLL: Duration = Duration::from_secs(20);

/// Where the brain's thread leaves work, orders and receipts for the local worker.
#[derive(Debug)]
pub(crate) struct LocalDesk {
    /// Who stands at the desk. What is meant for an earlier boot is not for it.
    worker: WorkerId,
    desk: Mutex<Desk>,
    work_arrived: Notify,
    orders_arrived: Notify,
    receipts_arrived: Notify,
}

#[derive(Debug, Default)]
struct Desk {
    assignments: VecDeque<Assignment>,
    orders: Vec<Order>,
    /// What was given and is not settled: a repeated assignment is recognised by it.
    given: BTreeSet<(AttemptId, Fence)>,
    /// Reports that were settled since the worker last looked.
    receipts: BTreeSet<(String, u64)>,
    new_work: bool,
    new_orders: bool,
    new_receipts: bool,
    /// Whether the worker takes nothing any more.
    is_closed: bool,
}

impl LocalDesk {
    /// The desk of this boot of the local worker.
    pub(crate) fn new(worker: WorkerId) -> Self {
        Self {
            worker,
            desk: Mutex::default(),
            work_arrived: Notify::new(),
            orders_arrived: Notify::new(),
            receipts_arrived: Notify::new(),
        }
    }

    /// Who stands at the desk.
    pub(crate) fn worker(&self) -> &WorkerId {
        &self.worker
    }

    /// Takes nothing any more. What nobody has fetched comes back, to be told to the brain.
    pub(crate) fn close(&self) -> Vec<Event> {
        let mut desk = self.lock();
        desk.is_closed = true;
        let unfetched = std::mem::take(&mut desk.assignments);
        for assignment in &unfetched {
            desk.given.remove(&(assignment.attempt, assignment.fence));
        }
        unfetched.iter().map(released).collect()
    }

    /// Whether anything that was given is not settled yet.
    pub(crate) fn is_busy(&self) -> bool {
        !self.lock().given.is_empty()
    }

    /// Gives an attempt to the worker, once. Comes back, to be told to the brain, if the desk is closed.
    pub(crate) fn give(&self, assignment: Assignment) -> Option<Event> {
        if assignment.worker != self.worker {
            return None;
        }
        let mut desk = self.lock();
        if desk.is_closed {
            return Some(released(&assignment));
        }
        if desk.given.insert((assignment.attempt, assignment.fence)) {
            desk.assignments.push_back(assignment);
            desk.new_work = true;
        }
        None
    }

    /// Tells the worker to stop an attempt.
    pub(crate) fn stop(&self, worker: &WorkerId, attempt: AttemptId, fence: Fence, reason: StopReason) {
        if *worker != self.worker {
            return;
        }
        let mut desk = self.lock();
        desk.orders.push(Order::Stop {
            attempt: attempt.to_string(),
            fence: fence.0,
            reason: convert_work::stop_reason(reason),
        });
        desk.new_orders = true;
    }

    /// A report of this attempt was dealt with and is durable. The second receipt for it, or one for what an
    /// earlier boot left, has nobody who waits for it.
    pub(crate) fn settled(&self, attempt: AttemptId, fence: Fence) {
        let mut desk = self.lock();
        if desk.given.remove(&(attempt, fence)) {
            desk.receipts.insert((attempt.to_string(), fence.0));
            desk.new_receipts = true;
        }
    }

    /// Wakes the worker for all that was left since the last call.
    pub(crate) fn wake(&self) {
        let mut desk = self.lock();
        for (news, notify) in [
            (std::mem::take(&mut desk.new_work), &self.work_arrived),
            (std::mem::take(&mut desk.new_orders), &self.orders_arrived),
            (std::mem::take(&mut desk.new_receipts), &self.receipts_arrived),
        ] {
            if news {
                notify.notify_one();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        // Each change is a single push or removal: a desk that a panicking thread left is whole.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is said of an attempt that nobody at the desk has taken up.
fn released(assignment: &Assignment) -> Event {
    let (attempt, fence) = (assignment.attempt, assignment.fence);
    Event::AttemptEnded(Box::new(AttemptEnd { attempt, fence, outcome: Outcome::Released, detail: Detail::NONE }))
}

/// The local worker's source of work: the desk, and the brain's inbox for its reports.
#[derive(Debug)]
pub(crate) struct LocalSource {
    pub(crate) shared: Arc<crate::threads::Shared>,
    /// Where attempts' folders are, relative to the data folder.
    pub(crate) attempts: PathBuf,
}

impl LocalSource {
    fn desk(&self) -> &LocalDesk {
        &self.shared.local
    }

    fn inbox(&self) -> &Inbox {
        &self.shared.inbox
    }

    fn take_assignments(&self, room: Room) -> Vec<Assignment> {
        let mut desk = self.desk().lock();
        let many = desk.assignments.len().min(room.total);
        desk.assignments.drain(..many).collect()
    }

    /// The places of reports that need not be sent again: ends that are settled, and all that is not an
    /// end, which is sent once and may be lost.
    fn settled_places(&self, reports: &[api::Report], waiting: &mut BTreeMap<usize, (String, u64)>) -> bool {
        let mut desk = self.desk().lock();
        let before = waiting.len();
        waiting.retain(|_, report| !desk.receipts.remove(report));
        waiting.len() < before || reports.is_empty()
    }
}

impl WorkSource for LocalSource {
    async fn claim(&self, room: Room) -> Result<Vec<api::Assignment>, SourceError> {
        let mut found = self.take_assignments(room);
        if found.is_empty() {
            // A permit that was left before counts, so nothing is missed between the look and the wait.
            timeout(POLL, self.desk().work_arrived.notified()).await.ok();
            found = self.take_assignments(room);
        }
        Ok(found.into_iter().map(|assignment| convert_work::assignment(assignment, &self.attempts)).collect())
    }

    async fn report(&self, reports: Arc<[api::Report]>) -> Result<Vec<usize>, SourceError> {
        let mut waiting = BTreeMap::new();
        let mut events: Vec<Event> = Vec::with_capacity(reports.len());
        for (place, report) in reports.iter().enumerate() {
            if let Some(event) = convert_work::event(report) {
                if matches!(event, Event::AttemptEnded(_)) {
                    waiting.insert(place, (report.attempt.clone(), report.fence));
                }
                events.push(event);
            }
        }
        let sent_once = waiting.is_empty();
        self.inbox().work(events);
        let deadline = tokio::time::Instant::now() + POLL;
        while !sent_once && !self.settled_places(&reports, &mut waiting) {
            let arrived = tokio::time::timeout_at(deadline, self.desk().receipts_arrived.notified()).await;
            if arrived.is_err() {
                break;
            }
        }
        Ok((0..reports.len()).filter(|place| !waiting.contains_key(place)).collect())
    }

    async fn renew(&self, _held: Vec<Held>) -> Result<Vec<Order>, SourceError> {
        // Leases of the local worker do not run out: they are reconciled at the next start.
        Ok(Vec::new())
    }

    async fn orders(&self) -> Result<Vec<Order>, SourceError> {
        let mut orders = std::mem::take(&mut self.desk().lock().orders);
        if orders.is_empty() {
            timeout(POLL, self.desk().orders_arrived.notified()).await.ok();
            orders = std::mem::take(&mut self.desk().lock().orders);
        }
        Ok(orders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unknot_core::{Millis, RunId, TaskIndex, effect::Work, workflow::Ladder};

    fn assignment(worker: &WorkerId) -> Assignment {
        Assignment {
            worker: worker.clone(),
            attempt: RunId::from_parts(1, 1).task(TaskIndex(0)).attempt(1),
            fence: Fence(1),
            task_name: "a".into(),
            source: None,
            work: Work::Noop,
            time: Millis(1),
            heartbeat: None,
            ladder: Ladder::default(),
        }
    }

    fn boot(boot: u64) -> WorkerId {
        WorkerId { name: WorkerId::LOCAL.into(), boot }
    }

    #[test]
    fn receipts_are_kept_only_for_what_was_given() {
        let desk = LocalDesk::new(boot(2));
        let given = assignment(&boot(2));
        desk.settled(given.attempt, given.fence);
        assert!(desk.lock().receipts.is_empty(), "it was reconciled: nobody here knows of it");
        assert!(desk.give(given.clone()).is_none());
        desk.settled(given.attempt, given.fence);
        assert_eq!(std::mem::take(&mut desk.lock().receipts).len(), 1);
        desk.settled(given.attempt, given.fence);
        assert!(desk.lock().receipts.is_empty(), "it was reported twice");
    }

    #[test]
    fn what_an_earlier_boot_had_is_not_for_this_one() {
        let desk = LocalDesk::new(boot(2));
        assert!(desk.give(assignment(&boot(1))).is_none());
        let stopped = assignment(&boot(1));
        desk.stop(&stopped.worker, stopped.attempt, stopped.fence, StopReason::Cancelled);
        let desk = desk.lock();
        assert!(desk.assignments.is_empty() && desk.orders.is_empty());
    }

    #[test]
    fn a_closed_desk_gives_everything_back() {
        let desk = LocalDesk::new(boot(1));
        assert!(desk.give(assignment(&boot(1))).is_none());
        let fetched = Assignment { fence: Fence(3), ..assignment(&boot(1)) };
        assert!(desk.give(fetched.clone()).is_none());
        assert_eq!(desk.lock().assignments.pop_back(), Some(fetched.clone()), "the worker fetches it");
        assert_eq!(desk.close().len(), 1);
        assert!(desk.is_busy(), "what the worker has goes on");
        desk.settled(fetched.attempt, fetched.fence);
        assert!(!desk.is_busy(), "what was given back is nobody's");
        let later = Assignment { fence: Fence(2), ..assignment(&boot(1)) };
        assert!(matches!(desk.give(later), Some(Event::AttemptEnded(end)) if end.outcome == Outcome::Released));
    }
}
