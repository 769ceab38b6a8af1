//! What running attempts ask for: to wait, to give back, to spawn.

use super::attempt::cut;
use crate::{
    AttemptId, Fence, Millis, TaskId, Timestamp,
    effect::{Answer, Refusal, WaitAnswer},
    event::{Ask, Caller},
    row::{Detail, HistoryKind},
    run::{Answered, AtDeadline, Awaited, NAME_MAX, NESTING_MAX, Over, Parked, Phase, TERMS_MAX, Task, WaitOutcome},
    step::Step,
    validate::{NAME_EXPECTED, is_name, nearest},
    wait::describe,
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
            Ask::Withdraw { name } => match self.withdraw(id, name, caller) {
                None => return,
                Some(answer) => Ok(Answer::Waits(answer)),
            },
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
            self.take_asking(id, caller, deadline);
            return Ok(None);
        }
        if let Some(answered) = lease.answered.as_ref().filter(|answered| answered.name == name) {
            return Ok(Some(self.wait_answer(id, &answered.clone())));
        }
        let last = lease.deadline;
        self.is_sound(attempt, name, on)?;
        self.make_locks(on.units().map(|(pool, _)| pool));
        let deadline = within.map_or(last, |within| self.now.plus(within).min(last));
        let timer = on.next_timer(self.now);
        let (seq, since) = (self.next_seq(), self.now);
        let parked = Parked { name: name.to_owned(), on: on.clone(), seq, since, deadline, timer, then, over: None };
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
        let held_by = self.holders(id, &parked.on);
        let told = if held_by.is_empty() { told } else { told.with("held_by", json!(held_by)) };
        self.update_task(id, |task| {
            if let Phase::Leased(lease) = &mut task.phase {
                lease.parked = Some(Box::new(parked));
                lease.answered = None;
            }
        });
        let what = describe(self.state, id).map(|described| described.sentence).unwrap_or_default();
        self.record_task(id, HistoryKind::WaitBegan, told.with("what", what));
    }

    /// Who holds what a task's attempt asks for and does not get at once: some of them.
    fn holders(&self, id: TaskId, on: &Awaited) -> Vec<serde_json::Value> {
        const NAMED_MAX: usize = 3;
        let short = on.units().filter(|(pool, units)| self.state.free_units(pool) < *units);
        let holders = short.filter_map(|(pool, _)| self.state.volatile.holders.get(pool)).flatten();
        let told = |task: &TaskId| {
            let definition = self.definition(task.run);
            let (workflow, name) = (&definition.body.name, &definition.task(task.index).name);
            json!({"task": task.to_string(), "workflow": workflow, "name": name})
        };
        holders.filter(|holder| **holder != id).take(NAMED_MAX).map(told).collect()
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
                    return bad(format!(
                        "`{}` is no name for a pool or lock; expected {NAME_EXPECTED}",
                        cut(pool, NAME_MAX)
                    ));
                }
                let (size, lease) = (known.unwrap_or(1), self.task(id).and_then(Task::lease));
                let held = lease.and_then(|lease| lease.holds.get(pool)).copied().unwrap_or_default();
                if units.saturating_add(held) > size {
                    let own = match held {
                        0 => String::new(),
                        held => {
                            format!(
                                ", of which the attempt itself holds {held} (whichever of its processes asked for it)"
                            )
                        }
                    };
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

    /// What became of a wait, with what came of its conditions.
    pub(crate) fn wait_answer(&self, id: TaskId, answered: &Answered) -> WaitAnswer {
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

    /// An attempt waits no more; nothing: it will be answered, once what it has lent is back. Units that were granted
    /// before that stay its own.
    fn withdraw(&mut self, id: TaskId, name: &str, caller: Caller) -> Option<WaitAnswer> {
        let lease = self.task(id).and_then(Task::lease);
        let Some(parked) = lease.and_then(|lease| lease.parked.clone()).filter(|parked| parked.name == name) else {
            let answered = lease.and_then(|lease| lease.answered.clone()).filter(|answered| answered.name == name);
            return Some(answered.map_or(WaitAnswer::Withdrawn, |answered| self.wait_answer(id, &answered)));
        };
        if !self.state.has_lent(id) {
            self.leave_wait(id, &parked);
            return Some(WaitAnswer::Withdrawn);
        }
        self.take_asking(id, caller, parked.deadline);
        if parked.over.is_none() {
            self.await_loans(id, Over::Withdrawn);
        }
        None
    }

    /// Whoever asks now is answered once a wait is over; whoever asked before is told that it goes on.
    fn take_asking(&mut self, id: TaskId, caller: Caller, deadline: Timestamp) {
        if let Some(before) = self.state.volatile.asking.insert(id, caller) {
            self.reply(before, Ok(Answer::Waits(WaitAnswer::Waiting { deadline })));
        }
    }

    /// An attempt gives units back. A process of it may do so while another one waits; but what a waiting attempt has lent
    /// to its runs is not in its hands.
    fn release(&mut self, attempt: AttemptId, units: &BTreeMap<String, u32>) -> Result<(), Refusal> {
        let id = attempt.task;
        let lease = self.task(id).and_then(Task::lease).ok_or(Refusal::NotLeased(attempt))?;
        if let Some(parked) = lease.parked.as_ref().filter(|_| self.state.has_lent(id)) {
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
