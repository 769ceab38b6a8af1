//! Simulated workers: they obey, remember, repeat themselves, and misbehave in every way that real
//! ones do.
//!
//! A worker recognises an attempt by its number and fence, keeps each report until it is
//! acknowledged, and sends it again and again. The local worker lives and dies with the process of
//! the brain; remote ones have a life, and a network, of their own.

use crate::chance::Chance;
use std::collections::{BTreeMap, BTreeSet};
use unknot_core::{
    AttemptId, Fence, Millis,
    effect::{Assignment, Work},
    event::{AttemptEnd, Event, LaunchFault, NextTry, Outcome},
    row::Detail,
    run::{JsonText, WorkerId},
};

/// An attempt under one lease.
pub type Right = (AttemptId, Fence);

/// What a worker is told, or wakes up for.
#[derive(Clone, Debug)]
pub enum Call {
    /// It is given an attempt.
    Given(Box<Assignment>),
    /// It is to stop one.
    Stopped(Right),
    /// Its report was dealt with.
    Settled(Right),
    /// An attempt that it performs comes to this end.
    Over(Right, Outcome),
    /// A report may have to be sent again.
    Resend(Right),
    /// Its leases want to be renewed.
    Renew,
}

/// What a call leads to, each after a pause.
#[derive(Debug)]
pub enum Act {
    /// The worker is called again.
    Call(Call),
    /// It tells the brain something.
    Tell(Event),
}

/// How well workers behave.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// Of a thousand attempts, so many never end by themselves.
    pub hangs: u64,
    /// Of a thousand attempts that are stopped, so many do not care, and report later on.
    pub ignores: u64,
    /// Of a thousand attempts, so many could not be started.
    pub launch_fails: u64,
    /// Of a thousand attempts, so many fail.
    pub fails: u64,
    /// Of a thousand attempts, so many are given back or lost by their worker.
    pub drops: u64,
    /// Of a thousand assignments, so many are taken up only after minutes.
    pub late: u64,
}

/// One worker.
#[derive(Debug)]
pub struct Worker {
    /// Its name and boot.
    pub id: WorkerId,
    /// Attempts that it performs at once.
    pub slots: u32,
    /// Whether messages get through.
    pub is_reachable: bool,
    held: BTreeMap<Right, Held>,
    /// Attempts that could not be killed, or that nobody knows the end of, and that go on.
    ghosts: Vec<(Right, Assignment)>,
    /// Orders to stop that overtook their assignment.
    early: BTreeSet<Right>,
    /// Reports that were settled: what comes again under such a right is not taken up.
    done: BTreeSet<Right>,
}

#[derive(Debug)]
struct Held {
    assignment: Assignment,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Queued,
    Running { is_stopping: bool },
    Reporting(AttemptEnd),
}

/// Pause between two sendings of a report that nobody has acknowledged.
const RESEND: Millis = Millis::from_secs(5);
/// Pause between two renewals of all leases.
const RENEW: Millis = Millis::from_secs(7);

impl Worker {
    /// A worker that just started.
    pub fn new(id: WorkerId, slots: u32) -> Self {
        Self {
            id,
            slots,
            is_reachable: true,
            held: BTreeMap::new(),
            ghosts: Vec::new(),
            early: BTreeSet::new(),
            done: BTreeSet::new(),
        }
    }

    /// The attempts whose work is really under way, with what they were given.
    pub fn running(&self) -> impl Iterator<Item = (Right, &Assignment)> {
        self.held
            .iter()
            .filter(|(_, held)| matches!(held.stage, Stage::Running { .. }))
            .map(|(right, held)| (*right, &held.assignment))
    }

    /// Everything that really goes on here: also what it has given up.
    pub fn alive(&self) -> impl Iterator<Item = (Right, &Assignment)> {
        self.running().chain(self.ghosts.iter().map(|(right, assignment)| (*right, assignment)))
    }

    /// Whether it has an attempt, whatever it does with it.
    pub fn holds(&self, right: Right) -> bool {
        self.held.contains_key(&right)
    }

    /// Something happens to it.
    pub fn call(&mut self, call: Call, manners: &Manners, chance: &mut Chance) -> Vec<(Millis, Act)> {
        let mut acts = Vec::new();
        match call {
            Call::Given(assignment) => self.take(*assignment, &mut acts),
            Call::Stopped(right) => self.stop(right, manners, chance, &mut acts),
            Call::Settled(right) => {
                self.held.remove(&right);
                self.done.insert(right);
            }
            Call::Over(right, outcome) => self.over(right, outcome, &mut acts),
            Call::Resend(right) => {
                if let Some(Held { stage: Stage::Reporting(end), .. }) = self.held.get(&right) {
                    send(right, end, &mut acts);
                }
            }
            Call::Renew => {
                for (attempt, fence) in self.held.keys().copied() {
                    acts.push((Millis(0), Act::Tell(Event::AttemptRenewed { attempt, fence })));
                }
                acts.push((RENEW, Act::Call(Call::Renew)));
            }
        }
        self.start_queued(manners, chance, &mut acts);
        acts
    }

    fn take(&mut self, assignment: Assignment, acts: &mut Vec<(Millis, Act)>) {
        let right = (assignment.attempt, assignment.fence);
        if self.held.contains_key(&right) || self.done.contains(&right) {
            return;
        }
        self.held.insert(right, Held { assignment, stage: Stage::Queued });
        if self.early.remove(&right) {
            self.report(right, Outcome::Stopped, acts);
        }
    }

    fn start_queued(&mut self, manners: &Manners, chance: &mut Chance, acts: &mut Vec<(Millis, Act)>) {
        loop {
            let free = (self.slots as usize).saturating_sub(self.running().count());
            let queued = self.held.iter().find(|(_, held)| matches!(held.stage, Stage::Queued));
            let Some(right) = queued.map(|(right, _)| *right).filter(|_| free > 0) else { return };
            self.begin(right, manners, chance, acts);
        }
    }

    fn begin(&mut self, right: Right, manners: &Manners, chance: &mut Chance, acts: &mut Vec<(Millis, Act)>) {
        let Some(held) = self.held.get_mut(&right) else { return };
        if held.assignment.work == Work::Noop {
            let output = JsonText::null();
            return self.report(right, Outcome::Succeeded { output }, acts);
        }
        held.stage = Stage::Running { is_stopping: false };
        let started = Event::AttemptStarted { attempt: right.0, fence: right.1 };
        let pause = if chance.permille(manners.late) { chance.between(1_000, 400_000) } else { chance.between(0, 20) };
        let (outcome, length) = end(manners, chance);
        if !matches!(outcome, Some(Outcome::LaunchFailed { .. })) {
            acts.push((Millis(pause), Act::Tell(started)));
        }
        if let Some(outcome) = outcome {
            acts.push((Millis(pause + length), Act::Call(Call::Over(right, outcome))));
        }
    }

    fn stop(&mut self, right: Right, manners: &Manners, chance: &mut Chance, acts: &mut Vec<(Millis, Act)>) {
        match self.held.get_mut(&right) {
            None if self.done.contains(&right) => {}
            None => {
                self.early.insert(right);
            }
            Some(Held { stage: Stage::Queued, .. }) => self.report(right, Outcome::Stopped, acts),
            Some(Held { stage: Stage::Reporting(_) | Stage::Running { is_stopping: true }, .. }) => {}
            Some(held) => {
                held.stage = Stage::Running { is_stopping: true };
                let ladder = held.assignment.ladder.total().0;
                let (outcome, length) = if chance.permille(manners.ignores) {
                    (Outcome::Succeeded { output: text(chance) }, ladder + chance.between(10_000, 600_000))
                } else if chance.permille(manners.drops) {
                    (Outcome::Unkillable { message: "pid 4711 is in an uninterruptible sleep".to_owned() }, ladder)
                } else {
                    (Outcome::Stopped, chance.between(0, ladder))
                };
                acts.push((Millis(length), Act::Call(Call::Over(right, outcome))));
            }
        }
    }

    fn over(&mut self, right: Right, outcome: Outcome, acts: &mut Vec<(Millis, Act)>) {
        if matches!(self.held.get(&right), Some(Held { stage: Stage::Running { .. }, .. })) {
            self.report(right, outcome, acts);
        }
    }

    fn report(&mut self, right: Right, outcome: Outcome, acts: &mut Vec<(Millis, Act)>) {
        let Some(held) = self.held.get_mut(&right) else { return };
        if matches!(outcome, Outcome::Unkillable { .. } | Outcome::Lost { confirmed_dead: false, .. }) {
            self.ghosts.push((right, held.assignment.clone()));
        }
        let end = AttemptEnd { attempt: right.0, fence: right.1, outcome, detail: Detail::NONE };
        send(right, &end, acts);
        held.stage = Stage::Reporting(end);
    }
}

fn send(right: Right, end: &AttemptEnd, acts: &mut Vec<(Millis, Act)>) {
    acts.push((Millis(0), Act::Tell(Event::AttemptEnded(Box::new(end.clone())))));
    acts.push((RESEND, Act::Call(Call::Resend(right))));
}

/// How an attempt will end by itself, and after how long; none: it hangs.
fn end(manners: &Manners, chance: &mut Chance) -> (Option<Outcome>, u64) {
    let length = *chance.weighted(&[(6, 1_000), (3, 10_000), (1, 200_000)]);
    let length = chance.between(0, length);
    let succeeds = 1_000 - manners.hangs - manners.launch_fails - manners.fails - manners.drops;
    let outcome = match *chance.weighted(&[
        (succeeds, 0),
        (manners.fails, 1),
        (manners.launch_fails, 2),
        (manners.drops, 3),
        (manners.hangs, 4),
    ]) {
        0 => Outcome::Succeeded { output: text(chance) },
        1 => {
            let exit = chance.between(1, 3) as i32;
            Outcome::Failed {
                reason: "exit".to_owned(),
                message: format!("exit status {exit}"),
                exit: Some(exit),
                next_try: next_try(chance),
            }
        }
        2 => {
            let fault = match chance.between(1, 10) {
                1..=5 => LaunchFault::Passing,
                6..=7 => LaunchFault::Shortage,
                _ => LaunchFault::Lasting,
            };
            Outcome::LaunchFailed { message: "no such program".to_owned(), fault }
        }
        3 if chance.permille(500) => Outcome::Released,
        3 => Outcome::Lost { message: "its guard died".to_owned(), confirmed_dead: chance.permille(800) },
        _ => return (None, length),
    };
    (Some(outcome), length)
}

/// What a failure says of another try: mostly nothing.
fn next_try(chance: &mut Chance) -> NextTry {
    match chance.between(1, 20) {
        1 => NextTry::Useless,
        2 => NextTry::NotBefore(Millis(chance.between(0, 600_000))),
        _ => NextTry::AsUsual,
    }
}

/// An output; now and then one that is too large.
fn text(chance: &mut Chance) -> JsonText {
    let length = *chance.weighted(&[(60, 4usize), (4, 1_000), (1, 70_000)]);
    JsonText(format!("\"{}\"", "x".repeat(length)).into())
}
