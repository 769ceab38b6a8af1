//! How the waits of running attempts end: what they wait for is there, can not come any more, or is late.

use crate::{
    AttemptId, State, TaskId, Timestamp,
    effect::{Refusal, WaitAnswer},
    row::{Detail, HistoryKind},
    run::{Answered, AtDeadline, Awaited, Child, Lease, Over, Parked, Phase, RunStatus, StopReason, Task, WaitOutcome},
    step::Step,
    workflow::Until,
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

impl State {
    /// What of an attempt's wait holds and is enough.
    pub(crate) fn met(&self, id: TaskId, lease: &Lease, parked: &Parked) -> Option<Vec<Awaited>> {
        let is_owed = self.is_owed_attempt(id, lease);
        let holds = |term: &Awaited| self.holds(id, term) && self.has_its_turn(parked, term, is_owed);
        parked.on.met(&holds).map(|met| met.into_iter().cloned().collect())
    }

    /// Whether an attempt's wait can not hold any more.
    pub(crate) fn is_in_vain(&self, id: TaskId, parked: &Parked) -> bool {
        parked.on.met(&|term: &Awaited| !self.never_holds(id, term)).is_none()
    }

    /// Whether the next look at a task's attempt ends its wait because it can not hold any more.
    pub(crate) fn gives_up_next(&self, id: TaskId) -> bool {
        let is_frozen = || self.runs.get(&id.run).is_none_or(|run| run.poisoned.is_some());
        let lease = self.task(id).and_then(Task::lease).filter(|lease| lease.waits());
        let parked = lease.and_then(|lease| lease.parked.as_ref()).filter(|parked| parked.over.is_none());
        parked.is_some_and(|parked| self.is_in_vain(id, parked) && !is_frozen())
    }

    /// Whether an attempt holds something that others could want, so that nobody may stand before it.
    fn is_owed_attempt(&self, id: TaskId, lease: &Lease) -> bool {
        !lease.holds.is_empty()
            || self.runs.get(&id.run).and_then(|run| run.parent.as_ref()).is_some_and(|parent| parent.is_owed)
    }

    fn holds(&self, id: TaskId, term: &Awaited) -> bool {
        match term {
            Awaited::Units { pool, units } => {
                let is_open = self.pools.get(pool).is_some_and(|pool| pool.poisoned.is_none());
                let is_there = || self.free_units(pool) >= *units;
                is_open && (is_there() || self.lender_of(id.run, pool, *units).is_some())
            }
            Awaited::Child { key, until } => {
                let ended = self.children.get(&id).and_then(|of| of.get(key)).and_then(|child| child.ended);
                ended.is_some_and(|status| *until == Until::Finished || status == RunStatus::Completed)
            }
            Awaited::Children => self.volatile.children.awaited(id) == 0,
            Awaited::Signal { name, .. } => self.runs.get(&id.run).is_some_and(|run| run.signals.contains_key(name)),
            Awaited::Timer { at } => *at <= self.meta.high_water,
            // Asked of conditions alone.
            Awaited::AtLeast { .. } => false,
        }
    }

    /// Whether nobody who came before stands at the same pool and finds too little there.
    fn has_its_turn(&self, parked: &Parked, term: &Awaited, is_owed: bool) -> bool {
        match term {
            Awaited::Units { pool, .. } if !is_owed => !self.is_claimed(pool, Some(parked.seq)),
            _ => true,
        }
    }

    fn never_holds(&self, id: TaskId, term: &Awaited) -> bool {
        let Awaited::Child { key, until: Until::Succeeded } = term else { return false };
        let ended = self.children.get(&id).and_then(|of| of.get(key)).and_then(|child| child.ended);
        ended.is_some_and(|status| status != RunStatus::Completed)
    }
}

impl Step<'_> {
    /// The next attempt whose wait is worth a look.
    pub(crate) fn next_waiter(&mut self) -> Option<TaskId> {
        if !self.state.volatile.waiters.is_due() {
            return None;
        }
        let mut waiters = std::mem::take(&mut self.state.volatile.waiters);
        let next = waiters.next(|pool| self.state.free_units(pool));
        self.state.volatile.waiters = waiters;
        next
    }

    /// Looks whether an attempt's wait is over; says whether it was.
    pub(crate) fn look_at_wait(&mut self, id: TaskId) -> bool {
        self.look();
        let frozen = self.is_frozen(id.run);
        let Some(lease) = self.task(id).and_then(Task::lease).filter(|lease| lease.waits() && !frozen) else {
            return false;
        };
        let Some(parked) = lease.parked.clone() else { return false };
        let has_lent = self.state.has_lent(id);
        if let Some(over) = parked.over {
            if !has_lent {
                self.come_back(id, &parked, over);
            }
            return !has_lent;
        }
        let met = self.state.met(id, lease, &parked);
        match met {
            Some(met) if !has_lent => self.end_wait(id, &parked, &met),
            // What it has comes by itself, not from others: it lends no more, or it might never have it back.
            Some(met) if !met.iter().any(is_units) => self.await_loans(id, Over::Met),
            Some(_) => {}
            None if self.state.is_in_vain(id, &parked) => {
                self.give_up_wait(id, &parked, WaitOutcome::Impossible);
            }
            None => return false,
        }
        !has_lent
    }

    /// An attempt's wait is over, but not all is back that it has lent. It waits for that alone, as long as it has.
    pub(crate) fn await_loans(&mut self, id: TaskId, over: Over) {
        self.update_parked(id, |parked, deadline| {
            (parked.over, parked.deadline, parked.timer) = (Some(over), deadline, None);
        });
    }

    /// All is back that an attempt had lent whose wait was over before.
    fn come_back(&mut self, id: TaskId, parked: &Parked, over: Over) {
        let met = self.task(id).and_then(Task::lease).and_then(|lease| self.state.met(id, lease, parked));
        match over {
            Over::Met => self.end_wait(id, parked, &met.unwrap_or_default()),
            // What came by itself meanwhile is there. Units would be another matter: it stands in no line for them any more.
            Over::TimedOut => match met.filter(|met| !met.iter().any(is_units)) {
                Some(met) => self.end_wait(id, parked, &met),
                None => self.give_up_wait(id, parked, WaitOutcome::TimedOut),
            },
            Over::Impossible => self.give_up_wait(id, parked, WaitOutcome::Impossible),
            Over::Withdrawn => self.leave_wait(id, parked),
        }
    }

    /// An attempt has what it waited for.
    fn end_wait(&mut self, id: TaskId, parked: &Parked, met: &[Awaited]) {
        let units = met.iter().filter_map(|term| match term {
            Awaited::Units { pool, units } => Some((pool.clone(), *units)),
            _ => None,
        });
        let granted: BTreeMap<String, u32> = units.collect();
        let sources = self.state.sources(id.run, granted.iter().map(|(pool, units)| (&**pool, *units)));
        debug_assert!(
            granted.iter().all(|(pool, units)| sources.contains_key(pool) || self.state.free_units(pool) >= *units),
            "{id} is granted what is not there"
        );
        let name = |term: &Awaited| match term {
            Awaited::Signal { name, .. } => Some(name.clone()),
            _ => None,
        };
        let answered = Answered {
            name: parked.name.clone(),
            outcome: WaitOutcome::Met,
            granted: granted.clone(),
            signals: met.iter().filter_map(name).collect(),
            children: self.ended_children(id, met),
        };
        let told = Detail::of("wait", &*parked.name).with("waited_ms", self.now.since(parked.since).0);
        let told = if granted.is_empty() { told } else { told.with("units", json!(granted)) };
        if self.is_brains(id) {
            self.unpark(id, None);
            self.record_task(id, HistoryKind::WaitGranted, told);
            return self.children_ended(id);
        }
        self.unpark(id, Some(answered.clone()));
        if !granted.is_empty() {
            self.update_task(id, |task| {
                if let Phase::Leased(lease) = &mut task.phase {
                    lease.take(&granted, &sources);
                }
            });
        }
        self.record_task(id, HistoryKind::WaitGranted, told);
        let answer = self.wait_answer(id, &answered);
        self.tell_asking(id, answer);
    }

    /// The children that the conditions of a wait were about.
    fn ended_children(&self, id: TaskId, met: &[Awaited]) -> BTreeSet<String> {
        let known: &BTreeMap<String, Child> = match self.state.children.get(&id) {
            Some(known) => known,
            None => return BTreeSet::new(),
        };
        let of = |term: &Awaited| match term {
            Awaited::Child { key, .. } if known.get(key).is_some_and(|child| child.ended.is_some()) => {
                vec![key.clone()]
            }
            Awaited::Children => {
                known.iter().filter(|(_, child)| child.ended.is_some()).map(|(key, _)| key.clone()).collect()
            }
            _ => Vec::new(),
        };
        met.iter().flat_map(of).collect()
    }

    /// An attempt's wait comes to nothing. Where it has lent something, it goes on only once that is back.
    fn give_up_wait(&mut self, id: TaskId, parked: &Parked, outcome: WaitOutcome) {
        let (why, over) = match outcome {
            WaitOutcome::Impossible => ("it can not hold any more", Over::Impossible),
            WaitOutcome::TimedOut | WaitOutcome::Met => ("its deadline has come", Over::TimedOut),
        };
        let stops = parked.then == AtDeadline::Stop && outcome == WaitOutcome::TimedOut;
        if !stops && self.state.has_lent(id) {
            return self.await_loans(id, over);
        }
        let told = Detail::of("wait", &*parked.name).with("why", why).with("waited_ms", self.now.since(parked.since).0);
        self.record_task(id, HistoryKind::WaitEnded, told);
        if self.is_brains(id) {
            self.unpark(id, None);
            return self.children_ended(id);
        }
        if stops {
            return self.stop_attempt(id, StopReason::TimedOut);
        }
        let children = self.ended_children(id, &parked.on.terms().into_iter().cloned().collect::<Vec<_>>());
        let answered = Answered { name: parked.name.clone(), outcome, children, ..Answered::default() };
        let answer = self.wait_answer(id, &answered);
        self.unpark(id, Some(answered));
        self.tell_asking(id, answer);
    }

    /// An attempt has withdrawn its wait.
    pub(crate) fn leave_wait(&mut self, id: TaskId, parked: &Parked) {
        let told = Detail::of("wait", &*parked.name).with("why", "withdrawn");
        self.unpark(id, None);
        self.record_task(id, HistoryKind::WaitEnded, told);
        self.tell_asking(id, WaitAnswer::Withdrawn);
    }

    /// A timer in an attempt's wait has come.
    pub(crate) fn attempt_timer(&mut self, attempt: AttemptId) {
        let now = self.now;
        let is_due = |parked: &Parked| parked.timer.is_some_and(|timer| timer <= now);
        if self.waiting(attempt).is_none_or(|parked| !is_due(&parked)) || self.look_at_wait(attempt.task) {
            return;
        }
        if let Some(parked) = self.waiting(attempt) {
            let next = parked.on.next_timer(now).filter(|_| parked.over.is_none());
            self.update_parked(attempt.task, |parked, _| parked.timer = next);
        }
    }

    /// The deadline of an attempt's wait has come.
    pub(crate) fn attempt_wait_due(&mut self, attempt: AttemptId) {
        let (id, now) = (attempt.task, self.now);
        if self.waiting(attempt).is_none_or(|parked| parked.deadline > now) || self.look_at_wait(id) {
            return;
        }
        if let Some(parked) = self.waiting(attempt).filter(|parked| parked.over.is_none()) {
            self.give_up_wait(id, &parked, WaitOutcome::TimedOut);
        }
    }

    /// The wait of an attempt, unless it is being stopped or frozen.
    fn waiting(&self, attempt: AttemptId) -> Option<Box<Parked>> {
        let id = attempt.task;
        let task = self.task(id).filter(|task| task.attempts == attempt.number && !self.is_frozen(id.run));
        task.and_then(Task::lease).filter(|lease| lease.waits()).and_then(|lease| lease.parked.clone())
    }

    /// Changes an attempt's wait, knowing until when the attempt itself has time.
    fn update_parked(&mut self, id: TaskId, change: impl FnOnce(&mut Parked, Timestamp)) {
        self.update_task(id, |task| {
            if let Phase::Leased(lease) = &mut task.phase
                && let Some(parked) = &mut lease.parked
            {
                change(parked, lease.deadline);
            }
        });
    }

    fn unpark(&mut self, id: TaskId, answered: Option<Answered>) {
        self.update_task(id, |task| {
            if let Phase::Leased(lease) = &mut task.phase {
                lease.parked = None;
                lease.answered = answered.map(Box::new);
            }
        });
    }

    fn tell_asking(&mut self, id: TaskId, answer: WaitAnswer) {
        if let Some(caller) = self.state.volatile.asking.remove(&id) {
            self.reply(caller, Ok(crate::effect::Answer::Waits(answer)));
        }
    }

    /// An attempt that waited is asked to stop: whoever asked for its wait is told.
    pub(crate) fn stop_waiting(&mut self, id: TaskId) {
        let attempt = id.attempt(self.task(id).map_or(0, |task| task.attempts));
        if let Some(caller) = self.state.volatile.asking.remove(&id) {
            self.reply(caller, Err(Refusal::NotLeased(attempt)));
        }
    }

    /// Whether the brain itself performs a task.
    pub(crate) fn is_brains(&self, id: TaskId) -> bool {
        self.task(id).and_then(Task::lease).is_some_and(|lease| lease.worker.is_brain())
    }
}

fn is_units(term: &Awaited) -> bool {
    matches!(term, Awaited::Units { .. })
}
