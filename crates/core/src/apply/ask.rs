//! What running attempts ask for: to wait, to give back, to spawn; and how their waits end.

use super::attempt::cut;
use crate::{
    AttemptId, Fence, Millis, TaskId, Timestamp,
    effect::{Answer, Refusal, WaitAnswer},
    event::{Ask, Caller},
    row::{Detail, HistoryKind, Key},
    run::{
        Answered, AtDeadline, Awaited, Child, Lease, NAME_MAX, NESTING_MAX, Parked, Phase, RunStatus, StopReason,
        TERMS_MAX, Task, WaitOutcome,
    },
    settings::Pool,
    step::Step,
    validate::{is_name, nearest},
    wait::describe,
    workflow::Until,
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

impl Step<'_> {
    /// An attempt asks for something. Only one that has its lease and is not being stopped gets anything.
    pub(crate) fn attempt_asked(&mut self, attempt: AttemptId, fence: Fence, ask: &Ask, caller: Caller) {
        let id = attempt.task;
        if self.is_frozen(id.run) || self.state.lease_of(attempt, fence).is_none_or(|lease| lease.stopping.is_some()) {
            return self.reply(caller, Err(Refusal::NotLeased(attempt)));
        }
        // Whoever asks has begun, whether or not the report of it has arrived.
        self.attempt_started(attempt, fence);
        let answer = match ask {
            Ask::Wait { name, on, within, then } => match self.ask_to_wait(attempt, name, on, *within, *then, caller) {
                Ok(None) => return,
                Ok(Some(answer)) => Ok(Answer::Waits(answer)),
                Err(refusal) => Err(refusal),
            },
            Ask::Withdraw { name } => Ok(Answer::Waits(self.withdraw(id, name))),
            Ask::Release { units } => self.release(attempt, units).map(|()| Answer::Done),
            Ask::Spawn { key, submission, detached } => self.spawn(attempt, key, submission, *detached),
        };
        self.reply(caller, answer);
    }

    /// Begins a wait, or finds the one that was begun under that name; nothing: its end will be answered.
    fn ask_to_wait(
        &mut self,
        attempt: AttemptId,
        name: &str,
        on: &Awaited,
        within: Option<Millis>,
        then: AtDeadline,
        caller: Caller,
    ) -> Result<Option<WaitAnswer>, Refusal> {
        let id = attempt.task;
        let lease = self.task(id).and_then(Task::lease).ok_or(Refusal::NotLeased(attempt))?;
        if let Some(parked) = &lease.parked {
            if parked.name != name {
                return Err(Refusal::WaitsAlready { attempt, name: parked.name.clone() });
            }
            let deadline = parked.deadline;
            if let Some(before) = self.state.volatile.asking.insert(id, caller) {
                self.reply(before, Ok(Answer::Waits(WaitAnswer::Waiting { deadline })));
            }
            return Ok(None);
        }
        if let Some(answered) = lease.answered.as_ref().filter(|answered| answered.name == name) {
            return Ok(Some(self.wait_answer(id, &answered.clone())));
        }
        let last = lease.deadline;
        self.is_sound(attempt, name, on)?;
        self.make_asked_locks(on);
        let deadline = within.map_or(last, |within| self.now.plus(within).min(last));
        let wake_at = on.next_timer(self.now).map_or(deadline, |at| at.min(deadline));
        let (seq, since) = (self.next_seq(), self.now);
        let parked = Parked { name: name.to_owned(), on: on.clone(), seq, since, deadline, wake_at, then };
        self.state.volatile.asking.insert(id, caller);
        self.park(id, parked);
        Ok(None)
    }

    /// An attempt waits from now on.
    pub(crate) fn park(&mut self, id: TaskId, parked: Parked) {
        let told =
            Detail::of("wait", &*parked.name).with("for", sketch(&parked.on)).with("deadline", parked.deadline.0);
        if parked.on.terms().iter().any(|term| matches!(term, Awaited::Signal { from, .. } if !from.is_empty())) {
            self.track(id.run);
        }
        self.update_task(id, |task| {
            if let Phase::Leased(lease) = &mut task.phase {
                lease.parked = Some(Box::new(parked));
                lease.answered = None;
            }
        });
        let what = describe(self.state, id).map(|described| described.sentence).unwrap_or_default();
        self.record_task(id, HistoryKind::WaitBegan, told.with("what", what));
    }

    /// Whether a wait can be asked for.
    fn is_sound(&self, attempt: AttemptId, name: &str, on: &Awaited) -> Result<(), Refusal> {
        let bad = |text: String| Err(Refusal::BadWait(text));
        if name.is_empty() || name.len() > NAME_MAX {
            return bad(format!("a wait's name has 1 to {NAME_MAX} characters"));
        }
        if on.depth() > NESTING_MAX {
            return bad(format!("expressions stand in each other {NESTING_MAX} deep at most"));
        }
        let terms = on.terms();
        if terms.is_empty() || terms.len() > TERMS_MAX {
            return bad(format!("a wait has 1 to {TERMS_MAX} conditions, this one has {}", terms.len()));
        }
        let mut pools = BTreeSet::new();
        for term in terms {
            self.is_sound_term(attempt, term)?;
            if let Awaited::Units { pool, .. } = term
                && !pools.insert(pool)
            {
                return bad(format!("`{pool}` stands twice in the wait: ask for all its units at once"));
            }
        }
        match parts_fit(on) {
            true => Ok(()),
            false => bad("an expression asks for more parts than it has, or for none".to_owned()),
        }
    }

    fn is_sound_term(&self, attempt: AttemptId, term: &Awaited) -> Result<(), Refusal> {
        let bad = |text: String| Err(Refusal::BadWait(text));
        let id = attempt.task;
        match term {
            Awaited::Units { pool, units: 0 } => bad(format!("0 units of `{pool}` are nothing to wait for")),
            Awaited::Units { pool, units } => {
                let known = self.state.pools.get(pool).map(|pool| pool.size);
                if known.is_none() && *units > 1 {
                    let nearest = nearest(pool, self.state.pools.keys().map(String::as_str)).map(str::to_owned);
                    return Err(Refusal::Unknown { kind: "pool", name: pool.clone(), nearest });
                }
                if !is_name(pool) {
                    return bad(format!("`{}` is no name for a pool or lock", cut(pool, NAME_MAX)));
                }
                let (size, lease) = (known.unwrap_or(1), self.task(id).and_then(Task::lease));
                let held = lease.and_then(|lease| lease.holds.get(pool)).copied().unwrap_or_default();
                if units.saturating_add(held) > size {
                    let own =
                        if held > 0 { format!(", of which the attempt itself holds {held}") } else { String::new() };
                    return bad(format!("{units} of `{pool}` can never be granted: it has {size}{own}"));
                }
                Ok(())
            }
            Awaited::Child { key, .. } => match self.state.children.get(&id).is_some_and(|of| of.contains_key(key)) {
                true => Ok(()),
                false => bad(format!("the task has spawned no run under the key `{}`", cut(key, NAME_MAX))),
            },
            Awaited::Signal { name, from } => {
                let tasks = self.run(id.run).map_or(0, |run| run.tasks.len());
                match is_name(name) && from.iter().all(|sender| (sender.0 as usize) < tasks) {
                    true => Ok(()),
                    false => Err(Refusal::NoSignalName(cut(name, NAME_MAX).to_owned())),
                }
            }
            Awaited::Children | Awaited::Timer { .. } => Ok(()),
            // Not a condition.
            Awaited::AtLeast { .. } => bad("an expression has at least one part".to_owned()),
        }
    }

    /// A lock that nobody configured is a pool of one from its first use.
    fn make_asked_locks(&mut self, on: &Awaited) {
        let missing: Vec<String> =
            on.units().map(|(pool, _)| pool.to_owned()).filter(|pool| !self.state.pools.contains_key(pool)).collect();
        for name in missing {
            self.state.pools.insert(name.clone(), Pool::lock());
            self.touch(Key::Pool(name));
        }
    }

    /// What became of a wait, with what came of its conditions.
    fn wait_answer(&self, id: TaskId, answered: &Answered) -> WaitAnswer {
        let run = self.run(id.run);
        let payload = |name: &String| Some((name.clone(), run?.signals.get(name)?.payload.clone()));
        let known = self.state.children.get(&id);
        let ended = |key: &String| Some((key.clone(), known?.get(key)?.clone()));
        let children = answered.children.iter().filter_map(ended).collect();
        match answered.outcome {
            WaitOutcome::TimedOut => WaitAnswer::TimedOut,
            WaitOutcome::Impossible => WaitAnswer::Impossible { children },
            WaitOutcome::Met => WaitAnswer::Met {
                granted: answered.granted.clone(),
                signals: answered.signals.iter().filter_map(payload).collect(),
                children,
            },
        }
    }

    /// An attempt waits no more. Units that were granted before that stay its own.
    fn withdraw(&mut self, id: TaskId, name: &str) -> WaitAnswer {
        let lease = self.task(id).and_then(Task::lease);
        let Some(parked) = lease.and_then(|lease| lease.parked.as_ref()).filter(|parked| parked.name == name) else {
            let answered = lease.and_then(|lease| lease.answered.clone()).filter(|answered| answered.name == name);
            return answered.map_or(WaitAnswer::Withdrawn, |answered| self.wait_answer(id, &answered));
        };
        let told = Detail::of("wait", &*parked.name).with("why", "withdrawn");
        self.unpark(id, None);
        self.record_task(id, HistoryKind::WaitEnded, told);
        self.tell_asking(id, WaitAnswer::Withdrawn);
        WaitAnswer::Withdrawn
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
            self.reply(caller, Ok(Answer::Waits(answer)));
        }
    }

    /// An attempt gives units back.
    fn release(&mut self, attempt: AttemptId, units: &BTreeMap<String, u32>) -> Result<(), Refusal> {
        let id = attempt.task;
        let lease = self.task(id).and_then(Task::lease).ok_or(Refusal::NotLeased(attempt))?;
        if let Some(parked) = &lease.parked {
            return Err(Refusal::WaitsAlready { attempt, name: parked.name.clone() });
        }
        for (pool, units) in units {
            let held = lease.holds.get(pool).copied().unwrap_or_default();
            if *units == 0 || held < *units {
                let text =
                    format!("the attempt holds {held} of `{}`, it cannot give back {units}", cut(pool, NAME_MAX));
                return Err(Refusal::BadWait(text));
            }
        }
        self.update_task(id, |task| {
            if let Phase::Leased(lease) = &mut task.phase {
                units.iter().for_each(|(pool, units)| lease.give_back(pool, *units));
            }
        });
        self.record_task(id, HistoryKind::UnitsReleased, Detail::of("units", json!(units)));
        Ok(())
    }

    /// The next attempt whose wait is worth a look.
    pub(crate) fn next_waiter(&mut self) -> Option<TaskId> {
        if !self.state.volatile.waiters.is_due() {
            return None;
        }
        let mut waiters = std::mem::take(&mut self.state.volatile.waiters);
        let state = &*self.state;
        // Whoever is lent something may have it where nothing is free.
        let may_lend = |pool: &str| !state.children.is_empty() && state.pools.get(pool).is_some_and(|pool| pool.lend);
        let next = waiters.next(|pool| if may_lend(pool) { u32::MAX } else { state.free_units(pool) });
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
        let (is_owed, holds) = (self.is_owed_attempt(id, lease), |term: &Awaited| self.holds(id, term));
        let holds = |term: &Awaited| holds(term) && self.has_its_turn(&parked, term, is_owed);
        if let Some(met) = parked.on.met(&holds) {
            if self.state.has_lent(id) {
                return false;
            }
            let met: Vec<Awaited> = met.into_iter().cloned().collect();
            self.end_wait(id, &parked, &met);
            return true;
        }
        let never = |term: &Awaited| !self.never_holds(id, term);
        if parked.on.met(&never).is_none() && !self.state.has_lent(id) {
            self.give_up_wait(id, &parked, WaitOutcome::Impossible);
            return true;
        }
        false
    }

    /// Whether an attempt holds something that others could want, so that nobody may stand before it.
    fn is_owed_attempt(&self, id: TaskId, lease: &Lease) -> bool {
        !lease.holds.is_empty()
            || self.run(id.run).and_then(|run| run.parent.as_ref()).is_some_and(|parent| parent.is_owed)
    }

    fn holds(&self, id: TaskId, term: &Awaited) -> bool {
        match term {
            Awaited::Units { pool, units } => {
                let is_open = self.state.pools.get(pool).is_some_and(|pool| pool.poisoned.is_none());
                let is_there = || self.state.free_units(pool) >= *units;
                is_open && (is_there() || self.state.lender_of(id.run, pool, *units).is_some())
            }
            Awaited::Child { key, until } => {
                let ended = self.state.children.get(&id).and_then(|of| of.get(key)).and_then(|child| child.ended);
                ended.is_some_and(|status| *until == Until::Finished || status == RunStatus::Completed)
            }
            Awaited::Children => {
                !self.state.children.get(&id).into_iter().flatten().any(|(_, child)| child.is_awaited())
            }
            Awaited::Signal { name, .. } => self.run(id.run).is_some_and(|run| run.signals.contains_key(name)),
            Awaited::Timer { at } => *at <= self.now,
            // Asked of conditions alone.
            Awaited::AtLeast { .. } => false,
        }
    }

    /// Whether nobody who came before stands at the same pool and finds too little there.
    fn has_its_turn(&self, parked: &Parked, term: &Awaited, is_owed: bool) -> bool {
        match term {
            Awaited::Units { pool, .. } if !is_owed => {
                let free = self.state.free_units(pool);
                !self.state.volatile.waiters.is_claimed(pool, free, Some(parked.seq))
            }
            _ => true,
        }
    }

    fn never_holds(&self, id: TaskId, term: &Awaited) -> bool {
        let Awaited::Child { key, until: Until::Succeeded } = term else { return false };
        let ended = self.state.children.get(&id).and_then(|of| of.get(key)).and_then(|child| child.ended);
        ended.is_some_and(|status| status != RunStatus::Completed)
    }

    /// An attempt has what it waited for.
    fn end_wait(&mut self, id: TaskId, parked: &Parked, met: &[Awaited]) {
        let units = met.iter().filter_map(|term| match term {
            Awaited::Units { pool, units } => Some((pool.clone(), *units)),
            _ => None,
        });
        let granted: BTreeMap<String, u32> = units.collect();
        let sources = self.state.sources(id.run, granted.iter().map(|(pool, units)| (&**pool, *units)));
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
            Awaited::Child { key, .. } => vec![key.clone()],
            Awaited::Children => {
                known.iter().filter(|(_, child)| child.ended.is_some()).map(|(key, _)| key.clone()).collect()
            }
            _ => Vec::new(),
        };
        met.iter().flat_map(of).collect()
    }

    /// An attempt's wait comes to nothing.
    fn give_up_wait(&mut self, id: TaskId, parked: &Parked, outcome: WaitOutcome) {
        let why = match outcome {
            WaitOutcome::Impossible => "it can not hold any more",
            WaitOutcome::TimedOut | WaitOutcome::Met => "its deadline has come",
        };
        let told = Detail::of("wait", &*parked.name).with("why", why).with("waited_ms", self.now.since(parked.since).0);
        self.record_task(id, HistoryKind::WaitEnded, told);
        if self.is_brains(id) {
            self.unpark(id, None);
            return self.children_ended(id);
        }
        if parked.then == AtDeadline::Stop && outcome == WaitOutcome::TimedOut {
            return self.stop_attempt(id, StopReason::TimedOut);
        }
        let children = self.ended_children(id, &parked.on.terms().into_iter().cloned().collect::<Vec<_>>());
        let answered = Answered { name: parked.name.clone(), outcome, children, ..Answered::default() };
        let answer = self.wait_answer(id, &answered);
        self.unpark(id, Some(answered));
        self.tell_asking(id, answer);
    }

    /// A timer in an attempt's wait has come, or its deadline.
    pub(crate) fn attempt_wait_due(&mut self, attempt: AttemptId) {
        let id = attempt.task;
        let lease = self.task(id).filter(|task| task.attempts == attempt.number).and_then(Task::lease);
        let Some(parked) = lease.filter(|lease| lease.waits()).and_then(|lease| lease.parked.clone()) else { return };
        if parked.wake_at > self.now {
            return;
        }
        if !self.look_at_wait(id) {
            if parked.deadline <= self.now {
                return self.give_up_wait(id, &parked, WaitOutcome::TimedOut);
            }
            let next: Timestamp = parked.on.next_timer(self.now).map_or(parked.deadline, |at| at.min(parked.deadline));
            self.update_task(id, |task| {
                if let Phase::Leased(lease) = &mut task.phase
                    && let Some(parked) = &mut lease.parked
                {
                    parked.wake_at = next;
                }
            });
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

/// What is waited for, short, for the history.
fn sketch(on: &Awaited) -> serde_json::Value {
    const SHOWN_MAX: usize = 10;
    let terms = on.terms();
    if terms.len() > SHOWN_MAX {
        return json!(format!("{} conditions", terms.len()));
    }
    json!(on)
}

/// Whether each expression asks for some of its parts and for no more than there are.
fn parts_fit(on: &Awaited) -> bool {
    match on {
        Awaited::AtLeast { k, of } => *k >= 1 && (*k as usize) <= of.len() && of.iter().all(parts_fit),
        _ => true,
    }
}
