//! Workers of other processes: who stands at which desk, and until when without a word.

use crate::{
    convert_work,
    desk::{Closed, Desk, POLL, Received},
    engine::{ATTEMPTS, Engine},
    inbox::Inbox,
    overview::WorkerView,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use unknot_api::work as api;
use unknot_core::{
    AttemptId, Fence,
    effect::Assignment,
    event::Event,
    run::{StopReason, WorkerId},
    worker::Serves,
};
use unknot_hands::worker::{Held, Order};

/// Workers of other processes at once.
pub const WORKERS_MAX: usize = 1_000;
/// Attempts that one worker may perform at once.
pub const REMOTE_SLOTS_MAX: u32 = 10_000;
/// Workers whose name another boot has taken, that are remembered as such.
const REPLACED_MAX: usize = 100;

/// Why a worker cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkerError {
    /// It has no session (any more): it registers again and goes on.
    #[error("worker `{0}` has no such session; register again, and go on with what you hold")]
    NoSession(String),
    /// Another boot has its name.
    #[error("another process has registered as worker `{0}`: this one is replaced for good")]
    Replaced(String),
    /// There are too many.
    #[error("there are {WORKERS_MAX} workers already")]
    TooMany,
}

/// What a worker says of itself.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Its name and boot; never the server's own.
    pub worker: WorkerId,
    /// Attempts that it performs at once, 1 to [`REMOTE_SLOTS_MAX`].
    pub slots: u32,
    /// What it takes.
    pub serves: Serves,
    /// What people should know of it.
    pub labels: BTreeMap<String, String>,
    /// How long it may be silent before it counts as gone.
    pub term: Duration,
    /// How long its calls wait for something to say; clearly less than the term.
    pub poll: Duration,
}

/// Work for a worker.
#[derive(Clone, Debug, Default)]
pub struct Claimed {
    /// To be named in the next claim, so that what is lost on the way is handed out again.
    pub number: u64,
    /// The work. The lease of each was renewed when it was handed out.
    pub assignments: Vec<api::Assignment>,
}

/// All desks.
#[derive(Debug)]
pub(crate) struct Desks {
    local: Desk,
    remote: Mutex<Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    by_name: BTreeMap<Arc<str>, Session>,
    replaced: VecDeque<WorkerId>,
}

/// One worker's time at a desk.
#[derive(Debug)]
struct Session {
    id: String,
    desk: Arc<Desk>,
    labels: BTreeMap<String, String>,
    term: Duration,
    /// When it was last heard, by the clock that only goes forward.
    heard: Duration,
}

impl Desks {
    pub(crate) fn new(local: WorkerId) -> Self {
        Self { local: Desk::new(local, POLL), remote: Mutex::default() }
    }

    /// The desk of the server's own worker.
    pub(crate) fn local(&self) -> &Desk {
        &self.local
    }

    fn with<T>(&self, worker: &WorkerId, act: impl FnOnce(&Desk) -> T) -> Option<T> {
        if worker.is_local() {
            // What an earlier boot had is not for this one.
            return (worker == self.local.worker()).then(|| act(&self.local));
        }
        let sessions = self.lock();
        let session = sessions.by_name.get(&worker.name)?;
        (session.desk.worker() == worker).then(|| act(&session.desk))
    }

    /// Gives an attempt to its worker. One that is not here is given it when it comes again, or its lease runs out.
    pub(crate) fn give(&self, assignment: Assignment) -> Option<Event> {
        let worker = assignment.worker.clone();
        self.with(&worker, |desk| desk.give(assignment)).flatten()
    }

    pub(crate) fn stop(&self, worker: &WorkerId, attempt: AttemptId, fence: Fence, reason: StopReason) {
        self.with(worker, |desk| desk.stop(attempt, fence, reason));
    }

    pub(crate) fn kill(&self, worker: &WorkerId, attempt: AttemptId, fence: Fence) {
        self.with(worker, |desk| desk.kill(attempt, fence));
    }

    /// A report was dealt with. Who sent one that was refused is not known: whoever waits for it, or has the attempt.
    pub(crate) fn settled(&self, worker: Option<&WorkerId>, attempt: AttemptId, fence: Fence, accepted: bool) {
        if let Some(worker) = worker {
            self.with(worker, |desk| desk.settled(attempt, fence, accepted));
            return;
        }
        self.local.settled(attempt, fence, accepted);
        self.lock().by_name.values().for_each(|session| session.desk.settled(attempt, fence, accepted));
    }

    /// Wakes everybody for whom something was left.
    pub(crate) fn wake(&self) {
        self.local.wake();
        self.lock().by_name.values().for_each(|session| session.desk.wake());
    }

    /// Ends sessions of workers that were silent for too long, and says what the brain has to know.
    pub(crate) fn expire(&self, now: Duration) -> Vec<Event> {
        let mut sessions = self.lock();
        // A call that waits for something ends before that and is followed by the next, if somebody is there.
        let is_over = |session: &Session| now.saturating_sub(session.heard) > session.term;
        let over = sessions.by_name.iter().filter(|(_, session)| is_over(session)).map(|(name, _)| Arc::clone(name));
        let over: Vec<Arc<str>> = over.collect();
        let gone = over.iter().filter_map(|name| sessions.by_name.remove(name));
        let told = |session: Session| {
            log::warn!(worker:% = session.desk.worker().name; "a worker was silent for longer than its session's term");
            left(&session.desk, false)
        };
        gone.flat_map(told).collect()
    }

    /// Adds the labels of those that have some.
    pub(crate) fn label(&self, workers: &mut BTreeMap<WorkerId, WorkerView>) {
        for session in self.lock().by_name.values() {
            if let Some(seen) = workers.get_mut(session.desk.worker()) {
                seen.labels.clone_from(&session.labels);
            }
        }
    }

    fn register(&self, wish: &Registration, now: Duration) -> Result<(String, Vec<Event>), WorkerError> {
        let mut sessions = self.lock();
        let worker = &wish.worker;
        if sessions.replaced.contains(worker) {
            return Err(WorkerError::Replaced(worker.name.to_string()));
        }
        let before = sessions.by_name.get(&worker.name).map(|session| Arc::clone(&session.desk));
        if before.is_none() && sessions.by_name.len() >= WORKERS_MAX {
            return Err(WorkerError::TooMany);
        }
        let mut events = Vec::new();
        if let Some(before) = before {
            // The same boot has lost the answer, or its session; what it was given it is given again.
            events = before.close(false);
            if before.worker() == worker {
                events.clear();
            } else {
                sessions.replaced.push_back(before.worker().clone());
                if sessions.replaced.len() > REPLACED_MAX {
                    sessions.replaced.pop_front();
                }
            }
        }
        let id = format!("{:016x}", crate::threads::chance());
        let desk = Arc::new(Desk::new(worker.clone(), wish.poll));
        let session = Session { id: id.clone(), desk, labels: wish.labels.clone(), term: wish.term, heard: now };
        sessions.by_name.insert(Arc::clone(&worker.name), session);
        let (worker, slots, serves) = (worker.clone(), wish.slots, Box::new(wish.serves.clone()));
        events.push(Event::WorkerJoined { worker, slots, serves });
        Ok((id, events))
    }

    /// A worker calls: it is here.
    fn enter(&self, name: &str, session: &str, now: Duration) -> Result<Call<'_>, WorkerError> {
        let mut sessions = self.lock();
        let found = sessions.by_name.get_mut(name).filter(|found| found.id == session);
        let found = found.ok_or_else(|| WorkerError::NoSession(name.to_owned()))?;
        found.heard = now;
        Ok(Call { desks: self, desk: Arc::clone(&found.desk) })
    }

    fn leave(&self, name: &str, session: &str) -> Option<Arc<Desk>> {
        let mut sessions = self.lock();
        sessions.by_name.get(name).filter(|found| found.id == session)?;
        sessions.by_name.remove(name).map(|session| session.desk)
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.remote.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker is gone: it gets nothing more, and what nobody has fetched goes to others.
fn left(desk: &Desk, finished: bool) -> Vec<Event> {
    let gone = Event::WorkerLeft { worker: desk.worker().clone() };
    std::iter::once(gone).chain(desk.close(finished)).collect()
}

/// A call under way.
struct Call<'d> {
    desks: &'d Desks,
    desk: Arc<Desk>,
}

impl Call<'_> {
    fn over(&self) -> WorkerError {
        let (worker, sessions) = (self.desk.worker(), self.desks.lock());
        match sessions.replaced.contains(worker) {
            true => WorkerError::Replaced(worker.name.to_string()),
            false => WorkerError::NoSession(worker.name.to_string()),
        }
    }
}

/// What workers of other processes ask; see `docs/worker-protocol.md`.
impl Engine {
    /// A worker begins a session; gives its id.
    ///
    /// # Errors
    /// If there are too many, or another boot has its name.
    pub fn register_worker(&self, wish: &Registration) -> Result<String, WorkerError> {
        let (id, events) = self.shared.desks.register(wish, self.shared.clock.elapsed())?;
        self.shared.inbox.work(events);
        Ok(id)
    }

    /// Hands out at most `most` assignments; waits up to 20 s for the first. `received` is the number of the last
    /// answer that the worker has had.
    ///
    /// # Errors
    /// If the session is over.
    pub async fn claim(&self, name: &str, session: &str, received: u64, most: usize) -> Result<Claimed, WorkerError> {
        let call = self.enter(name, session)?;
        let handed = call.desk.claim(Received::Number(received), most).await.map_err(|Closed| call.over())?;
        let renewed = |given: &Assignment| Event::AttemptRenewed { attempt: given.attempt, fence: given.fence };
        self.shared.inbox.work(handed.assignments.iter().map(renewed).collect::<Vec<_>>());
        let attempts = Path::new(ATTEMPTS);
        let assignments = handed.assignments.into_iter().map(|given| convert_work::assignment(given, attempts));
        Ok(Claimed { number: handed.number, assignments: assignments.collect() })
    }

    /// The next orders for a worker; waits up to 20 s for the first.
    ///
    /// # Errors
    /// If the session is over.
    pub async fn orders(&self, name: &str, session: &str) -> Result<Vec<Order>, WorkerError> {
        let call = self.enter(name, session)?;
        call.desk.orders().await.map_err(|Closed| call.over())
    }

    /// Renews the leases of all that a worker holds, and tells the orders that stand about it.
    ///
    /// # Errors
    /// If the session is over.
    pub fn renew(&self, name: &str, session: &str, held: &[Held]) -> Result<Vec<Order>, WorkerError> {
        let call = self.enter(name, session)?;
        // One that names what cannot exist is not renewed.
        let rights: BTreeSet<(AttemptId, Fence)> =
            held.iter().filter_map(|held| Some((held.attempt.parse().ok()?, Fence(held.fence)))).collect();
        let renewed = rights.iter().map(|(attempt, fence)| Event::AttemptRenewed { attempt: *attempt, fence: *fence });
        let renewed: Vec<Event> = renewed.collect();
        let orders = call.desk.hold(rights).map_err(|Closed| call.over())?;
        self.shared.inbox.work(renewed);
        Ok(orders)
    }

    /// Takes a worker's reports; waits up to 20 s until some are durable. Gives the places of those that need not be
    /// sent again.
    ///
    /// # Errors
    /// If the session is over.
    pub async fn report(&self, name: &str, session: &str, reports: &[api::Report]) -> Result<Vec<usize>, WorkerError> {
        let call = self.enter(name, session)?;
        let inbox: &Inbox = &self.shared.inbox;
        call.desk.report(inbox, reports).await.map_err(|Closed| call.over())
    }

    /// A worker ends its session: it has nothing any more.
    pub fn leave(&self, name: &str, session: &str) {
        if let Some(desk) = self.shared.desks.leave(name, session) {
            self.shared.inbox.work(left(&desk, true));
        }
    }

    /// The name of the task of an attempt that has its lease under this fence now; none: it has it no more.
    pub async fn task_of_lease(&self, attempt: AttemptId, fence: Fence) -> Option<String> {
        let look = move |driver: &crate::driver::Driver| {
            let run = driver.state().runs.get(&attempt.task.run)?;
            let task = run.tasks.get(attempt.task.index.0 as usize)?;
            let lease = task.lease().filter(|lease| lease.fence == fence && task.attempts == attempt.number);
            lease.map(|_| driver.state().definition(run.id).task(attempt.task.index).name.to_string())
        };
        self.peek(LEASE_WITHIN, look).await.flatten()
    }

    fn enter(&self, name: &str, session: &str) -> Result<Call<'_>, WorkerError> {
        self.shared.desks.enter(name, session, self.shared.clock.elapsed())
    }
}

/// How long a look at a lease may take.
const LEASE_WITHIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(boot: u64) -> Registration {
        let worker = WorkerId { name: "far".into(), boot };
        let (serves, labels) = (Serves::default(), BTreeMap::new());
        Registration { worker, slots: 1, serves, labels, term: Duration::from_secs(30), poll: POLL }
    }

    #[test]
    fn a_worker_that_is_silent_for_its_term_is_gone_and_comes_again() {
        let desks = Desks::new(WorkerId { name: WorkerId::LOCAL.into(), boot: 1 });
        let at = Duration::from_secs;
        let (session, events) = desks.register(&wish(1), at(0)).expect("the first");
        assert!(matches!(&events[..], [Event::WorkerJoined { slots: 1, .. }]));
        drop(desks.enter("far", &session, at(20)).expect("it is here"));
        assert!(desks.expire(at(50)).is_empty());
        assert!(matches!(&desks.expire(at(51))[..], [Event::WorkerLeft { .. }]));
        assert!(matches!(desks.enter("far", &session, at(122)), Err(WorkerError::NoSession(_))));
        let (again, _) = desks.register(&wish(1), at(123)).expect("the same boot");
        let (other, _) = desks.register(&wish(2), at(124)).expect("another boot");
        assert!(desks.enter("far", &again, at(125)).is_err() && desks.enter("far", &other, at(125)).is_ok());
        assert_eq!(desks.register(&wish(1), at(126)).err(), Some(WorkerError::Replaced("far".to_owned())));
    }
}
