//! Simulated workers: they obey, remember, repeat themselves, and misbehave in every way that real
//! ones do.
//!
//! A worker recognises an attempt by its number and fence, keeps each report until it is
//! acknowledged, and sends it again and again. The local worker lives and dies with the process of
//! the brain; remote ones have a life, and a network, of their own.

pub mod script;

use crate::{chance::Chance, workload::code};
use script::{Next, Script, Wanted};
use std::collections::{BTreeMap, BTreeSet};
use unknot_core::{
    AttemptId, Fence, Millis,
    effect::{Answer, Assignment, Refusal, Work},
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
    /// It is time for this step of an attempt's script.
    Step(Right, u32),
    /// What an attempt asked for in that step is answered.
    Answered(Right, u32, Box<Result<Answer, Refusal>>),
    /// If it is not answered, it asks again.
    AskAgain(Right, u32),
    /// It has waited for long enough.
    GiveUp(Right, u32),
}

/// What a call leads to, each after a pause.
#[derive(Debug)]
pub enum Act {
    /// The worker is called again.
    Call(Call),
    /// It tells the brain something.
    Tell(Event),
    /// One of its attempts asks for something, in this step of its script.
    Ask(Right, u32, Wanted),
}

/// Units by pool.
pub type Units = BTreeMap<String, u32>;

/// An attempt that really goes on, and what it uses.
#[derive(Clone, Copy, Debug)]
pub struct Alive<'w> {
    /// Under which lease.
    pub right: Right,
    /// What it was given.
    pub assignment: &'w Assignment,
    /// Units that it was granted since then, and units that it gave back.
    pub granted: Option<(&'w Units, &'w Units)>,
    /// Whether it waits for runs that it spawned: what it can lend, it does not use.
    pub is_idle: bool,
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
    /// Of a thousand attempts that ask, so many die at any moment.
    pub dies: u64,
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
    ghosts: Vec<Ghost>,
    /// Orders to stop that overtook their assignment.
    early: BTreeSet<Right>,
    /// Reports that were settled: what comes again under such a right is not taken up.
    done: BTreeSet<Right>,
}

#[derive(Debug)]
struct Held {
    assignment: Assignment,
    stage: Stage,
    script: Option<Script>,
}

/// An attempt that nobody has any more and that goes on.
#[derive(Clone, Debug)]
pub struct Ghost {
    right: Right,
    assignment: Assignment,
    script: Option<Script>,
}

impl Ghost {
    /// What it uses.
    pub fn alive(&self) -> Alive<'_> {
        alive(self.right, &self.assignment, self.script.as_ref())
    }

    /// Under which lease it was begun.
    pub fn right(&self) -> Right {
        self.right
    }
}

fn alive<'w>(right: Right, assignment: &'w Assignment, script: Option<&'w Script>) -> Alive<'w> {
    let is_idle = script.is_some_and(Script::awaits_children);
    Alive { right, assignment, granted: script.map(Script::granted), is_idle }
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
/// After how long without an answer an attempt asks again.
const ASK_AGAIN: Millis = Millis::from_secs(20);

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

    fn running(&self) -> impl Iterator<Item = (Right, &Held)> {
        let running = self.held.iter().filter(|(_, held)| matches!(held.stage, Stage::Running { .. }));
        running.map(|(right, held)| (*right, held))
    }

    /// Everything that really goes on here: also what it has given up.
    pub fn alive(&self) -> impl Iterator<Item = Alive<'_>> {
        let running = self.running().map(|(right, held)| alive(right, &held.assignment, held.script.as_ref()));
        running.chain(self.ghosts.iter().map(Ghost::alive))
    }

    /// What is left of its attempts if nobody can tell that they are gone.
    pub fn into_ghosts(self) -> Vec<Ghost> {
        let running = self.held.into_iter().filter(|(_, held)| matches!(held.stage, Stage::Running { .. }));
        let ghost = |(right, held): (Right, Held)| Ghost { right, assignment: held.assignment, script: held.script };
        running.map(ghost).chain(self.ghosts).collect()
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
            Call::Step(right, number) => {
                if self.step(right, number, &mut acts, |script| script.take(number)) {
                    acts.push((ASK_AGAIN, Act::Call(Call::AskAgain(right, number))));
                    let patience = self.held.get(&right).and_then(|held| held.script.as_ref()?.patience());
                    acts.extend(patience.map(|after| (after, Act::Call(Call::GiveUp(right, number)))));
                }
            }
            Call::AskAgain(right, number) => {
                if self.step(right, number, &mut acts, |script| script.ask_again(number)) {
                    acts.push((ASK_AGAIN, Act::Call(Call::AskAgain(right, number))));
                }
            }
            Call::Answered(right, number, answer) => {
                self.step(right, number, &mut acts, |script| script.answered(number, &answer));
            }
            Call::GiveUp(right, number) => {
                self.step(right, number, &mut acts, |script| script.give_up(number));
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
        self.held.insert(right, Held { assignment, stage: Stage::Queued, script: None });
        if self.early.remove(&right) {
            self.report(right, Outcome::Stopped, acts);
        }
    }

    fn start_queued(&mut self, manners: &Manners, chance: &mut Chance, acts: &mut Vec<(Millis, Act)>) {
        loop {
            let own = self.running().filter(|(_, held)| !held.assignment.in_lent_slot).count();
            let is_free = own < self.slots as usize;
            let may = |held: &Held| matches!(held.stage, Stage::Queued) && (is_free || held.assignment.in_lent_slot);
            let Some(right) = self.held.iter().find(|(_, held)| may(held)).map(|(right, _)| *right) else { return };
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
        if let Some(script) = code::script(&held.assignment) {
            held.script = Some(script);
            acts.push((Millis(pause), Act::Tell(started)));
            acts.push((Millis(pause), Act::Call(Call::Step(right, 0))));
            if chance.permille(manners.dies) {
                // It may be in the midst of a wait then.
                let message = "its guard died".to_owned();
                let lost = Outcome::Lost { message, confirmed_dead: chance.permille(800) };
                acts.push((Millis(chance.between(0, 60_000)), Act::Call(Call::Over(right, lost))));
            }
            return;
        }
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

    /// An attempt's script goes on, if that is not being stopped. Says whether it asks for something.
    fn step(
        &mut self,
        right: Right,
        number: u32,
        acts: &mut Vec<(Millis, Act)>,
        next: impl FnOnce(&mut Script) -> Next,
    ) -> bool {
        let Some(Held { stage: Stage::Running { is_stopping: false }, script: Some(script), .. }) =
            self.held.get_mut(&right)
        else {
            return false;
        };
        match next(script) {
            Next::Nothing => {}
            Next::Step(number, after) => acts.push((after, Act::Call(Call::Step(right, number)))),
            Next::Ask(wanted) => {
                acts.push((Millis(0), Act::Ask(right, number, wanted)));
                return true;
            }
            Next::End => {
                if let Some(outcome) = script.ends.clone() {
                    self.report(right, outcome, acts);
                }
            }
        }
        false
    }

    fn over(&mut self, right: Right, outcome: Outcome, acts: &mut Vec<(Millis, Act)>) {
        if matches!(self.held.get(&right), Some(Held { stage: Stage::Running { .. }, .. })) {
            self.report(right, outcome, acts);
        }
    }

    fn report(&mut self, right: Right, outcome: Outcome, acts: &mut Vec<(Millis, Act)>) {
        let Some(held) = self.held.get_mut(&right) else { return };
        if matches!(outcome, Outcome::Unkillable { .. } | Outcome::Lost { confirmed_dead: false, .. }) {
            self.ghosts.push(Ghost { right, assignment: held.assignment.clone(), script: held.script.clone() });
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
