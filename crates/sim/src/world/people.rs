//! People: they come with their wishes, wait for answers, ask again, and clear up.

use super::{Happening, World, asks::Asking};
use crate::{
    checkers::Checked,
    workload::{Wish, cancel, decisions, definition::SIGNALS, over, pause_target, raised},
};
use unknot_core::{
    Millis, RunId,
    effect::{Answer, Refusal},
    event::{Caller, Event, Facts, PauseTarget, SignalRequest},
    run::JsonText,
};

/// After how long somebody without an answer asks again.
const ASK_AGAIN: Millis = Millis::from_secs(30);

/// Who waits for an answer.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// The submitter with this number.
    Submission(usize),
    /// An attempt.
    Attempt(Box<Asking>),
    /// Somebody who does not need it.
    Nothing,
}

impl World {
    /// Somebody comes with a wish.
    pub(super) fn wish(&mut self, wish: Wish) -> Checked {
        match wish {
            Wish::Submit(number) => return self.submit(number),
            Wish::Cancel => {
                let runs = self.runs();
                if !runs.is_empty() {
                    let (run, force) = (*self.chance.pick(&runs), self.chance.permille(300));
                    self.want(|caller| cancel(run, force, Facts::default(), caller));
                }
            }
            Wish::Signal => {
                let runs = self.runs();
                if !runs.is_empty() {
                    let (run, name) = (*self.chance.pick(&runs), (*self.chance.pick(&SIGNALS)).to_owned());
                    let payload = JsonText(self.chance.between(0, 9).to_string().into());
                    let signal = SignalRequest { name, payload, by: "somebody".to_owned(), facts: Facts::default() };
                    self.want(|caller| Event::SignalSent { run, signal: Box::new(signal), caller });
                }
            }
            Wish::Pause(length) => {
                let runs = self.runs();
                let target = pause_target(&mut self.chance, &runs);
                self.put(length, Happening::Wish(Wish::Resume(target.clone())));
                self.want(|caller| Event::Paused { target, by: "somebody".to_owned(), caller });
            }
            Wish::Resume(target) => self.want(|caller| Event::Resumed { target, by: "somebody".to_owned(), caller }),
            Wish::Configure => {
                let event = self.workload.configure(&mut self.chance);
                self.want(|_| event);
            }
            Wish::Raise(number) => self.want(|_| raised(number)),
            Wish::Over(number) => self.want(|_| over(number)),
            Wish::SetPool(name, pool) => self.set_pool(name, pool),
            Wish::Tend => self.tend(),
        }
        Ok(())
    }

    fn runs(&self) -> Vec<RunId> {
        self.process.iter().flat_map(|process| process.driver.state().runs.keys().copied()).collect()
    }

    /// A submission goes out, with what the store knows now of its key, and again until it is answered.
    fn submit(&mut self, number: usize) -> Checked {
        let key = self.workload.key(number).cloned();
        let facts = self.disk.facts(key.as_ref()).map_err(|error| error.to_string())?;
        let caller = self.caller(Asked::Submission(number));
        let now = self.brain_now();
        if let Some(event) = self.workload.submit(number, &mut self.chance, now, facts, caller) {
            self.note(|| format!("submit {number} as {caller:?} with {key:?}"));
            self.command(event);
            self.put(ASK_AGAIN, Happening::Wish(Wish::Submit(number)));
        }
        Ok(())
    }

    pub(super) fn caller(&mut self, asked: Asked) -> Caller {
        self.next_caller += 1;
        self.asked.insert(self.next_caller, asked);
        Caller(self.next_caller)
    }

    pub(super) fn want(&mut self, event: impl FnOnce(Caller) -> Event) {
        let caller = self.caller(Asked::Nothing);
        let event = event(caller);
        self.note(|| format!("want {event:?}"));
        self.command(event);
    }

    fn command(&mut self, event: Event) {
        let after = Millis(self.chance.between(0, 50));
        self.put(after, Happening::Reach { life: self.life, event });
    }

    /// Operators make a round: they decide what waits for a person and end what is frozen. Once faults are
    /// over they also let go of what is held, and come again.
    fn tend(&mut self) {
        if self.faults.is_over {
            self.put(Millis::from_secs(30), Happening::Wish(Wish::Tend));
        }
        let Some(process) = &self.process else { return };
        let state = process.driver.state();
        let frozen: Vec<RunId> = state.runs.values().filter(|run| run.poisoned.is_some()).map(|run| run.id).collect();
        let mut held: Vec<PauseTarget> = Vec::new();
        if self.faults.is_over {
            held.extend(state.runs.values().filter(|run| run.paused.is_some()).map(|run| PauseTarget::Run(run.id)));
            held.extend(state.paused_workflows.keys().cloned().map(PauseTarget::Workflow));
            let paused = state.queues.iter().filter(|(_, queue)| queue.paused.is_some());
            held.extend(paused.map(|(name, _)| PauseTarget::Queue(name.clone())));
        }
        let mut next = self.next_caller;
        let decided = decisions(state, &mut self.chance, || {
            next += 1;
            Caller(next)
        });
        self.next_caller = next;
        decided.into_iter().for_each(|event| self.command(event));
        for run in frozen {
            self.want(|caller| cancel(run, true, Facts::default(), caller));
        }
        for target in held {
            self.want(|caller| Event::Resumed { target, by: "operator".to_owned(), caller });
        }
    }

    /// An answer comes.
    pub(super) fn answered(&mut self, caller: Caller, answer: Result<Answer, Refusal>) -> Checked {
        self.note(|| format!("answer {caller:?} {answer:?}"));
        let number = match self.asked.remove(&caller.0) {
            Some(Asked::Submission(number)) => number,
            Some(Asked::Attempt(asking)) => return self.answer(*asking, answer),
            Some(Asked::Nothing) | None => return self.checkers.answered(None, &answer),
        };
        self.checkers.answered(self.workload.key(number), &answer)?;
        if answer != Err(Refusal::FactsTooOld) {
            self.workload.planned[number].is_answered = true;
        }
        Ok(())
    }
}
