//! What an attempt does while it works: it asks the brain for one thing after the other, asks again until it has an
//! answer, and goes on with whatever it was told.

mod draw;

pub use draw::{Style, draw};

use std::collections::BTreeMap;
use unknot_core::{
    Millis,
    effect::{Answer, Refusal, WaitAnswer},
    event::Outcome,
    run::{AtDeadline, Awaited},
};

/// One thing that an attempt does.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// It works for so long.
    Work(Millis),
    /// It asks for something, and withdraws a wait after so long.
    Ask(Wanted, Option<Millis>),
}

/// What an attempt asks for. Moments are told from the asking on.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// To wait.
    Wait {
        /// Under this name.
        name: String,
        /// For this.
        on: Awaited,
        /// For so long.
        within: Option<Millis>,
        /// And then.
        then: AtDeadline,
    },
    /// To wait no more.
    Withdraw(String),
    /// To give back.
    Release(BTreeMap<String, u32>),
    /// To spawn a run of this workflow.
    Spawn {
        /// Under this key.
        key: String,
        /// The workflow's name.
        workflow: String,
        /// Whether it goes on when the task ends.
        detached: bool,
    },
    /// To send its own run a signal.
    Send(String),
}

/// A script under way.
#[derive(Clone, Debug)]
pub struct Script {
    steps: Vec<Step>,
    /// The number of the step that is being done.
    at: u32,
    /// Units that it was granted while it ran, and that it gave back.
    granted: BTreeMap<String, u32>,
    given_back: BTreeMap<String, u32>,
    /// A wait that it did not begin and is told to be in: it is withdrawn first.
    stray: Option<String>,
    gives_up: bool,
    /// How it ends; none: it never does by itself.
    pub ends: Option<Outcome>,
}

/// What follows from a step.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// The step with this number, after a while.
    Step(u32, Millis),
    /// To ask.
    Ask(Wanted),
    /// It is at its end.
    End,
}

impl Script {
    /// A script that has not begun.
    pub fn new(steps: Vec<Step>, ends: Option<Outcome>) -> Self {
        Self { steps, at: 0, granted: BTreeMap::new(), given_back: BTreeMap::new(), stray: None, gives_up: false, ends }
    }

    /// Units that it was granted while it ran, and units that it gave back.
    pub fn granted(&self) -> (&BTreeMap<String, u32>, &BTreeMap<String, u32>) {
        (&self.granted, &self.given_back)
    }

    /// Whether it waits for runs that it spawned, and so uses nothing of what it can lend.
    pub fn awaits_children(&self) -> bool {
        matches!(self.steps.get(self.at as usize), Some(Step::Ask(Wanted::Wait { on, .. }, _)) if on.has_children())
    }

    /// When it gives up the wait that it is in.
    pub fn patience(&self) -> Option<Millis> {
        match self.steps.get(self.at as usize) {
            Some(Step::Ask(Wanted::Wait { .. }, patience)) => *patience,
            _ => None,
        }
    }

    /// Its turn for a step has come.
    pub fn take(&mut self, number: u32) -> Next {
        if number != self.at {
            return Next::Nothing;
        }
        match self.steps.get(number as usize) {
            None => Next::End,
            Some(Step::Work(length)) => {
                let length = *length;
                self.go_on(length)
            }
            Some(Step::Ask(wanted, _)) => {
                if let Wanted::Release(units) = wanted.clone() {
                    // It uses them no more, whenever it is told that they are another's.
                    for (pool, units) in units {
                        *self.given_back.entry(pool).or_default() += units;
                    }
                }
                self.ask_again(number)
            }
        }
    }

    /// It has no answer to a step.
    pub fn ask_again(&self, number: u32) -> Next {
        match self.steps.get(number as usize).filter(|_| number == self.at) {
            Some(Step::Ask(wanted, _)) => Next::Ask(match (&self.stray, wanted) {
                (Some(stray), _) => Wanted::Withdraw(stray.clone()),
                (None, Wanted::Wait { name, .. }) if self.gives_up => Wanted::Withdraw(name.clone()),
                (None, wanted) => wanted.clone(),
            }),
            _ => Next::Nothing,
        }
    }

    /// It has waited for long enough.
    pub fn give_up(&mut self, number: u32) -> Next {
        if number == self.at {
            self.gives_up = true;
        }
        self.ask_again(number)
    }

    /// It is answered.
    pub fn answered(&mut self, number: u32, answer: &Result<Answer, Refusal>) -> Next {
        let Some(Step::Ask(wanted, _)) = self.steps.get(number as usize).filter(|_| number == self.at).cloned() else {
            return Next::Nothing;
        };
        match (answer, wanted) {
            // Somebody else asked in its name: that was it, before.
            (Ok(Answer::Waits(WaitAnswer::Waiting { .. })), _) => return Next::Nothing,
            (Ok(Answer::Waits(WaitAnswer::Withdrawn)), _) if self.stray.take().is_some() => {
                return self.ask_again(number);
            }
            (Ok(Answer::Waits(WaitAnswer::Met { granted, .. })), _) => {
                for (pool, units) in granted {
                    *self.granted.entry(pool.clone()).or_default() += units;
                }
                if self.stray.take().is_some() {
                    return self.ask_again(number);
                }
            }
            // A message that was late has begun a wait anew, of which it knows nothing.
            (Err(Refusal::WaitsAlready { name, .. }), _) => {
                self.stray = Some(name.clone());
                return self.ask_again(number);
            }
            (Err(Refusal::NotLeased(_)), _) => return Next::End,
            _ => {}
        }
        self.go_on(Millis(0))
    }

    fn go_on(&mut self, after: Millis) -> Next {
        self.at += 1;
        self.gives_up = false;
        Next::Step(self.at, after)
    }
}
