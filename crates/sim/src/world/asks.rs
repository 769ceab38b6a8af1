//! Attempts that ask: their questions on the way to the brain, and its answers on the way back.

use super::{World, people::Asked};
use crate::{
    checkers::Checked,
    hands::{Call, Right, script::Wanted},
};
use unknot_core::{
    Millis, Timestamp,
    effect::{Answer, Refusal},
    event::{Ask, Event, Facts, SignalRequest},
    run::{Awaited, JsonText, WorkerId},
};

/// Somebody who waits for an answer.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    worker: WorkerId,
    right: Right,
    step: u32,
}

impl World {
    /// An attempt asks for something.
    pub(super) fn ask(&mut self, worker: &WorkerId, right: Right, step: u32, wanted: &Wanted) {
        let now = self.brain_now();
        let caller = self.caller(Asked::Attempt(Box::new(Asking { worker: worker.clone(), right, step })));
        let (attempt, fence) = right;
        let ask = match wanted {
            Wanted::Send(name) => {
                let payload = JsonText(self.chance.between(0, 9).to_string().into());
                let by = attempt.to_string();
                let signal = SignalRequest { name: name.clone(), payload, by, facts: Facts::default() };
                let run = attempt.task.run;
                return self.tell(worker, Millis(0), Event::SignalSent { run, signal: Box::new(signal), caller });
            }
            Wanted::Wait { name, on, within, then } => {
                Ask::Wait { name: name.clone(), on: from_now(on, now), within: *within, then: *then }
            }
            Wanted::Withdraw(name) => Ask::Withdraw { name: name.clone() },
            Wanted::Release(units) => Ask::Release { units: units.clone() },
            Wanted::Spawn { key, workflow, detached } => {
                let Some(child) = self.workload.child(workflow, &mut self.chance, now) else { return };
                Ask::Spawn { key: key.clone(), submission: Box::new(child), detached: *detached }
            }
        };
        self.note(|| format!("ask {attempt} {caller:?} {ask:.400?}"));
        self.tell(worker, Millis(0), Event::AttemptAsked { attempt, fence, ask: Box::new(ask), caller });
    }

    /// The brain answers an attempt.
    pub(super) fn answer(&mut self, asking: Asking, answer: Result<Answer, Refusal>) -> Checked {
        let Asking { worker, right, step } = asking;
        self.checkers.attempt_answered(right, &answer)?;
        self.send(&worker, Call::Answered(right, step, Box::new(answer)));
        Ok(())
    }

    /// Somebody resizes a pool, or takes it away.
    pub(super) fn set_pool(&mut self, name: String, pool: Option<unknot_core::settings::PoolSettings>) {
        self.want(|caller| Event::PoolSet { name, pool, caller });
    }
}

/// Moments that are told from now on, as the brain's clock has them.
fn from_now(on: &Awaited, now: Timestamp) -> Awaited {
    match on {
        Awaited::Timer { at } => Awaited::Timer { at: now.plus(Millis(at.0)) },
        Awaited::AtLeast { k, of } => {
            Awaited::AtLeast { k: *k, of: of.iter().map(|part| from_now(part, now)).collect() }
        }
        other => other.clone(),
    }
}
