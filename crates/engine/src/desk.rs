//! The desk between the brain and one worker: assignments and orders go out, reports come back, and each report stays
//! until the brain has made it durable.
//!
//! The brain's thread only pushes and never waits; what it pushes is bounded by the leases that it gives out, and what
//! a worker leaves by the size of its calls. What a worker was handed stays here until it says that it has it, so an
//! answer that is lost on its way loses nothing.

use crate::{convert_work, inbox::Inbox};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};
use unknot_api::work as api;
use unknot_core::{
    AttemptId, Fence,
    effect::Assignment,
    event::{AttemptEnd, Event, Outcome},
    row::Detail,
    run::{StopReason, WorkerId},
};
use unknot_hands::worker::Order;

/// How long a question of a worker usually stays without an answer.
pub(crate) const POLL: Duration = Duration::from_secs(20);

/// An attempt under one lease.
type Right = (AttemptId, Fence);

/// Where the brain's thread leaves work, orders and receipts for one boot of a worker.
#[derive(Debug)]
pub(crate) struct Desk {
    worker: WorkerId,
    /// How long a question of its worker may stay without an answer before it asks again.
    poll: Duration,
    papers: Mutex<Papers>,
    work_arrived: Notify,
    orders_arrived: Notify,
    receipts_arrived: Notify,
}

#[derive(Debug, Default)]
struct Papers {
    waiting: VecDeque<Assignment>,
    /// What the last answer handed out, until the worker says that it has it; with the answer's number.
    handed: (u64, Vec<Assignment>),
    /// What was given and is not settled: a repeated assignment is recognised by it.
    given: BTreeSet<Right>,
    /// Orders that the worker was not told yet.
    orders: Vec<Order>,
    /// All orders about what is not settled.
    standing: BTreeMap<Right, Order>,
    /// What the worker says that it holds.
    held: BTreeSet<Right>,
    /// Ends that the worker reported last.
    awaited: BTreeSet<Right>,
    /// Those of them that were settled since.
    receipts: BTreeSet<Right>,
    news: News,
    /// Whether nobody stands here any more.
    is_closed: bool,
}

/// What the worker has not been woken for.
#[derive(Debug, Default)]
struct News {
    work: bool,
    orders: bool,
    receipts: bool,
}

/// Work that a worker is handed.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    pub(crate) number: u64,
    pub(crate) assignments: Vec<Assignment>,
}

/// What a worker says that it has had of the answers to its claims.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Received {
    /// All of them: nothing is lost on the way.
    All,
    /// The one with this number, and those before it.
    Number(u64),
}

/// The worker has left, or another session stands in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody stands at this desk any more")]
pub(crate) struct Closed;

impl Desk {
    /// The desk of one boot of a worker.
    pub(crate) fn new(worker: WorkerId, poll: Duration) -> Self {
        Self {
            worker,
            poll,
            papers: Mutex::default(),
            work_arrived: Notify::new(),
            orders_arrived: Notify::new(),
            receipts_arrived: Notify::new(),
        }
    }

    /// Who stands at the desk.
    pub(crate) fn worker(&self) -> &WorkerId {
        &self.worker
    }

    /// Takes nothing any more. What nobody has fetched comes back, to be told to the brain; so does, if the worker has
    /// `finished`, what it was handed and does not know of.
    pub(crate) fn close(&self, finished: bool) -> Vec<Event> {
        let mut papers = self.lock();
        papers.is_closed = true;
        let handed = std::mem::take(&mut papers.handed.1);
        let back = std::mem::take(&mut papers.waiting).into_iter().chain(handed.into_iter().filter(|_| finished));
        let back: Vec<Assignment> = back.collect();
        for assignment in &back {
            papers.given.remove(&(assignment.attempt, assignment.fence));
        }
        drop(papers);
        for notify in [&self.work_arrived, &self.orders_arrived, &self.receipts_arrived] {
            notify.notify_waiters();
            notify.notify_one();
        }
        back.iter().map(released).collect()
    }

    /// Whether anything that was given is not settled yet.
    pub(crate) fn is_busy(&self) -> bool {
        !self.lock().given.is_empty()
    }

    /// Gives an attempt to the worker, once. Comes back, to be told to the brain, if the desk is closed.
    pub(crate) fn give(&self, assignment: Assignment) -> Option<Event> {
        let mut papers = self.lock();
        if papers.is_closed {
            return Some(released(&assignment));
        }
        let right = (assignment.attempt, assignment.fence);
        // What it holds it has, even if the desk is a new one.
        if !papers.held.contains(&right) && papers.given.insert(right) {
            papers.waiting.push_back(assignment);
            papers.news.work = true;
        }
        None
    }

    /// Tells the worker to stop an attempt.
    pub(crate) fn stop(&self, attempt: AttemptId, fence: Fence, reason: StopReason) {
        let reason = convert_work::stop_reason(reason);
        let order = Order::Stop { attempt: attempt.to_string(), fence: fence.0, reason };
        self.lock().order((attempt, fence), order);
    }

    /// Tells the worker to end an attempt at once, which is not its any more.
    pub(crate) fn kill(&self, attempt: AttemptId, fence: Fence) {
        self.lock().kill((attempt, fence));
    }

    /// A report about this attempt was dealt with and is durable. The second receipt for it, or one for what an
    /// earlier boot left, has nobody who waits for it. One that was refused tells a worker that still holds the
    /// attempt that it shall not.
    pub(crate) fn settled(&self, attempt: AttemptId, fence: Fence, accepted: bool) {
        let (mut papers, right) = (self.lock(), (attempt, fence));
        if papers.awaited.remove(&right) {
            papers.receipts.insert(right);
            papers.news.receipts = true;
        } else if !accepted && papers.held.contains(&right) {
            return papers.kill(right);
        } else if !accepted {
            return;
        }
        let is_remote = self.is_remote();
        papers.forget(right, is_remote);
    }

    /// Wakes the worker for all that was left since the last call.
    pub(crate) fn wake(&self) {
        let news = std::mem::take(&mut self.lock().news);
        let arrived = [
            (news.work, &self.work_arrived),
            (news.orders, &self.orders_arrived),
            (news.receipts, &self.receipts_arrived),
        ];
        for (_, notify) in arrived.into_iter().filter(|(is_new, _)| *is_new) {
            notify.notify_one();
        }
    }

    /// Hands out `most` assignments, or fewer; waits a while for the first.
    ///
    /// # Errors
    /// If the desk is closed.
    pub(crate) async fn claim(&self, received: Received, most: usize) -> Result<Handed, Closed> {
        let handed = self.hand(received, most)?;
        if !handed.assignments.is_empty() || most == 0 {
            return Ok(handed);
        }
        // A permit that was left before counts, so nothing is missed between the look and the wait.
        let deadline = Instant::now() + self.poll;
        timeout_at(deadline, self.work_arrived.notified()).await.unwrap_or_default();
        self.hand(Received::All, most)
    }

    fn hand(&self, received: Received, most: usize) -> Result<Handed, Closed> {
        let mut papers = self.lock();
        self.is_open(&papers)?;
        let lost = std::mem::take(&mut papers.handed.1);
        if let Received::Number(number) = received
            && number != papers.handed.0
        {
            lost.into_iter().rev().for_each(|assignment| papers.waiting.push_front(assignment));
        }
        let many = papers.waiting.len().min(most);
        let assignments: Vec<Assignment> = papers.waiting.drain(..many).collect();
        papers.handed.0 += u64::from(many > 0);
        if self.is_remote() {
            papers.handed.1.clone_from(&assignments);
            papers.held.extend(assignments.iter().map(|assignment| (assignment.attempt, assignment.fence)));
        }
        Ok(Handed { number: papers.handed.0, assignments })
    }

    /// The server's own worker ends what it has behind a closed desk.
    fn is_open(&self, papers: &Papers) -> Result<(), Closed> {
        if papers.is_closed && self.is_remote() { Err(Closed) } else { Ok(()) }
    }

    fn is_remote(&self) -> bool {
        !self.worker.is_local()
    }

    /// What the worker holds now. Says which orders stand about it.
    ///
    /// # Errors
    /// If the desk is closed.
    pub(crate) fn hold(&self, held: BTreeSet<Right>) -> Result<Vec<Order>, Closed> {
        let mut papers = self.lock();
        self.is_open(&papers)?;
        papers.held = held;
        let Papers { held, standing, given, waiting, handed, awaited, .. } = &mut *papers;
        let orders = held.iter().filter_map(|right| standing.get(right)).cloned().collect();
        // What is still on its way is not forgotten; what neither side has any more is.
        held.extend(handed.1.iter().map(|assignment| (assignment.attempt, assignment.fence)));
        let known: BTreeSet<Right> = waiting
            .iter()
            .map(|assignment| (assignment.attempt, assignment.fence))
            .chain(held.iter().copied())
            .collect();
        given.retain(|right| known.contains(right));
        standing.retain(|right, _| known.contains(right) || awaited.contains(right));
        Ok(orders)
    }

    /// Sends reports to the brain, and waits a while until they are settled. Gives the places of those that need not
    /// be sent again: ends that are settled, and all that is not an end, which is sent once and may be lost.
    ///
    /// # Errors
    /// If the desk is closed.
    pub(crate) async fn report(&self, inbox: &Inbox, reports: &[api::Report]) -> Result<Vec<usize>, Closed> {
        let mut events: Vec<Event> = Vec::with_capacity(reports.len());
        let mut waiting = BTreeMap::new();
        for (place, report) in reports.iter().enumerate() {
            let Some(event) = convert_work::event(report) else { continue };
            if let Event::AttemptEnded(end) = &event {
                waiting.insert(place, (end.attempt, end.fence));
            }
            events.push(event);
        }
        self.await_receipts(waiting.values().copied().collect(), &mut events)?;
        inbox.work(events);
        let (deadline, most) = (Instant::now() + self.poll, waiting.len());
        loop {
            let is_late = Instant::now() >= deadline;
            self.take_receipts(&mut waiting, is_late)?;
            // Whoever waits for all of them waits for the slowest; some are as good.
            if waiting.len() < most || waiting.is_empty() || is_late {
                break;
            }
            timeout_at(deadline, self.receipts_arrived.notified()).await.unwrap_or_default();
        }
        Ok((0..reports.len()).filter(|place| !waiting.contains_key(place)).collect())
    }

    /// Waits for the receipts of these ends from now on. What was settled before, or is still before the brain, is not
    /// sent once more: it would be refused, and counted.
    fn await_receipts(&self, ends: BTreeSet<Right>, events: &mut Vec<Event>) -> Result<(), Closed> {
        let mut papers = self.lock();
        self.is_open(&papers)?;
        papers.receipts.retain(|right| ends.contains(right));
        let Papers { receipts, awaited, .. } = &mut *papers;
        let is_sent = |right: &Right| receipts.contains(right) || awaited.contains(right);
        events.retain(|event| !matches!(event, Event::AttemptEnded(end) if is_sent(&(end.attempt, end.fence))));
        *awaited = ends.difference(receipts).copied().collect();
        Ok(())
    }

    /// Takes ends that are settled off those that wait. Once it is late, the others are sent again with the next call.
    fn take_receipts(&self, waiting: &mut BTreeMap<usize, Right>, is_late: bool) -> Result<(), Closed> {
        let mut papers = self.lock();
        waiting.retain(|_, right| !papers.receipts.remove(right));
        if is_late {
            papers.awaited.retain(|right| !waiting.values().any(|late| late == right));
        }
        self.is_open(&papers)
    }

    /// The next orders; waits a while for the first.
    ///
    /// # Errors
    /// If the desk is closed.
    pub(crate) async fn orders(&self) -> Result<Vec<Order>, Closed> {
        let orders = self.take_orders()?;
        if !orders.is_empty() {
            return Ok(orders);
        }
        let deadline = Instant::now() + self.poll;
        timeout_at(deadline, self.orders_arrived.notified()).await.unwrap_or_default();
        self.take_orders()
    }

    fn take_orders(&self) -> Result<Vec<Order>, Closed> {
        let mut papers = self.lock();
        self.is_open(&papers)?;
        Ok(std::mem::take(&mut papers.orders))
    }

    fn lock(&self) -> MutexGuard<'_, Papers> {
        // Each change is a single push or removal: a desk that a panicking thread left is whole.
        self.papers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Papers {
    fn order(&mut self, right: Right, order: Order) {
        // Told again, an order says nothing new.
        if self.standing.get(&right) != Some(&order) {
            self.standing.insert(right, order.clone());
            self.orders.push(order);
            self.news.orders = true;
        }
    }

    fn kill(&mut self, right: Right) {
        let (attempt, fence) = (right.0.to_string(), right.1.0);
        self.order(right, Order::Kill { attempt, fence, reason: api::StopReason::LeaseLost });
    }

    /// An attempt is settled. One that was given anew may end before it is fetched once more.
    fn forget(&mut self, right: Right, is_remote: bool) {
        self.given.remove(&right);
        self.standing.remove(&right);
        self.held.remove(&right);
        if !is_remote {
            return;
        }
        let is_other = |assignment: &Assignment| (assignment.attempt, assignment.fence) != right;
        self.waiting.retain(is_other);
        self.handed.1.retain(is_other);
    }
}

/// What is said of an attempt that nobody at the desk has taken up.
fn released(assignment: &Assignment) -> Event {
    let (attempt, fence) = (assignment.attempt, assignment.fence);
    Event::AttemptEnded(Box::new(AttemptEnd { attempt, fence, outcome: Outcome::Released, detail: Detail::NONE }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use unknot_core::{Millis, RunId, TaskIndex, effect::Work, workflow::Ladder};

    fn assignment(worker: &WorkerId, fence: u64) -> Assignment {
        Assignment {
            worker: worker.clone(),
            attempt: RunId::from_parts(1, 1).task(TaskIndex(0)).attempt(1),
            fence: Fence(fence),
            task_name: "a".into(),
            source: None,
            work: Work::Noop,
            time: Millis(1),
            heartbeat: None,
            ladder: Ladder::default(),
            lease: None,
            in_lent_slot: false,
        }
    }

    fn desk(name: &str) -> Desk {
        Desk::new(WorkerId { name: name.into(), boot: 2 }, POLL)
    }

    fn fences(handed: &Handed) -> Vec<u64> {
        handed.assignments.iter().map(|assignment| assignment.fence.0).collect()
    }

    #[test]
    fn receipts_are_kept_only_for_what_was_reported() {
        let desk = desk("local");
        let given = assignment(desk.worker(), 1);
        let right = (given.attempt, given.fence);
        desk.settled(right.0, right.1, true);
        assert!(desk.lock().receipts.is_empty(), "it was reconciled: nobody here knows of it");
        assert!(desk.give(given).is_none());
        let mut events = Vec::new();
        desk.await_receipts(BTreeSet::from([right]), &mut events).expect("open");
        desk.settled(right.0, right.1, true);
        let mut waiting = BTreeMap::from([(0, right)]);
        desk.take_receipts(&mut waiting, false).expect("open");
        assert!(waiting.is_empty());
        desk.settled(right.0, right.1, false);
        assert!(desk.lock().receipts.is_empty(), "it was reported twice");
    }

    #[test]
    fn a_closed_desk_gives_everything_back() {
        let desk = desk("local");
        assert!(desk.give(assignment(desk.worker(), 1)).is_none());
        let fetched = assignment(desk.worker(), 3);
        assert!(desk.give(fetched.clone()).is_none());
        assert_eq!(desk.lock().waiting.pop_back(), Some(fetched.clone()), "the worker fetches it");
        assert_eq!(desk.close(true).len(), 1);
        assert!(desk.is_busy(), "what the worker has goes on");
        desk.settled(fetched.attempt, fetched.fence, true);
        assert!(!desk.is_busy(), "what was given back is nobody's");
        let later = assignment(desk.worker(), 2);
        assert!(matches!(desk.give(later), Some(Event::AttemptEnded(end)) if end.outcome == Outcome::Released));
    }

    #[test]
    fn what_an_answer_handed_out_is_handed_out_again_until_the_worker_has_it() {
        let desk = desk("far");
        (1..=3).for_each(|fence| assert!(desk.give(assignment(desk.worker(), fence)).is_none()));
        let first = desk.hand(Received::Number(0), 2).expect("open");
        assert_eq!((first.number, fences(&first)), (1, vec![1, 2]));
        let again = desk.hand(Received::Number(0), 9).expect("open");
        assert_eq!(fences(&again), [1, 2, 3], "the answer was lost");
        assert!(desk.hand(Received::Number(again.number), 9).expect("open").assignments.is_empty());
        assert!(desk.give(assignment(desk.worker(), 3)).is_none());
        assert!(desk.hand(Received::Number(again.number), 9).expect("open").assignments.is_empty(), "it has it");
        let left = desk.close(false);
        assert!(left.is_empty(), "the worker may be at it");
        assert!(desk.hand(Received::All, 1).is_err());
    }

    #[test]
    fn who_holds_what_is_not_its_any_more_is_told() {
        let desk = desk("far");
        let given = assignment(desk.worker(), 7);
        let right = (given.attempt, given.fence);
        assert_eq!(desk.hold(BTreeSet::from([right])).expect("open"), []);
        assert!(desk.give(given).is_none());
        assert!(desk.hand(Received::Number(0), 1).expect("open").assignments.is_empty(), "it has it from before");
        desk.settled(right.0, right.1, false);
        let orders = desk.hold(BTreeSet::from([right])).expect("open");
        assert!(matches!(&orders[..], [Order::Kill { fence: 7, reason: api::StopReason::LeaseLost, .. }]));
        assert_eq!(desk.hold(BTreeSet::from([right])).expect("open").len(), 1, "until it has let go of it");
        assert_eq!(desk.hold(BTreeSet::new()).expect("open"), []);
        assert!(desk.lock().standing.is_empty());
    }

    /// What was sent and waits for the brain is not sent once more, but what nobody settled in time is.
    #[tokio::test(start_paused = true)]
    async fn an_end_is_sent_to_the_brain_once_a_call() {
        let (desk, inbox) = (desk("far"), Inbox::default());
        let ended = |fence| api::Report {
            attempt: assignment(desk.worker(), fence).attempt.to_string(),
            fence,
            body: api::ReportBody::Ended(Box::new(api::End::new(api::Outcome::Released, 0))),
        };
        let reports = [ended(1), ended(2)];
        assert_eq!(desk.report(&inbox, &reports).await, Ok(Vec::new()), "nobody settles them");
        let right = assignment(desk.worker(), 1);
        let (settled, told) = tokio::join!(desk.report(&inbox, &reports), async {
            tokio::task::yield_now().await;
            desk.settled(right.attempt, right.fence, true);
            desk.wake();
        });
        assert_eq!((settled, told), (Ok(vec![0]), ()));
        let mut events = vec![convert_work::event(&reports[1]).expect("an event")];
        desk.await_receipts(BTreeSet::from([(right.attempt, Fence(2))]), &mut events).expect("open");
        assert!(events.is_empty(), "the brain has it before it");
    }
}
