//! Signals: named messages to a run, and the tasks that wait for them.

use crate::{
    Millis, RunId, TaskId, TaskIndex,
    continuation::Work,
    effect::{Answer, Refusal},
    event::{Caller, SignalRequest},
    row::{Detail, HistoryKind},
    run::{OnExpiry, Run, Signal, WaitOn},
    settings::{SIGNAL_BYTES_MAX, SIGNALS_BYTES_MAX, SIGNALS_MAX},
    step::Step,
    workflow::TaskKind,
};
use std::collections::BTreeMap;

impl Step<'_> {
    /// Somebody sends a run a signal. One of the same name takes the place of the one before, for those who come to
    /// wait for it later; who has had that keeps it. The same one again changes nothing.
    pub(crate) fn signal(&mut self, id: RunId, request: &SignalRequest, caller: Caller) {
        let answer = match self.run(id) {
            None => Err(self.why_not_here(id, &request.facts)),
            Some(run) if has(run, request) => Ok(self.signalled(id, &request.name)),
            Some(run) if !has_room(&run.signals, request) => Err(Refusal::TooManySignals { run: id }),
            Some(_) => {
                let signal = Signal { payload: request.payload.clone(), by: request.by.clone(), at: self.now };
                self.update_run(id, |run| drop(run.signals.insert(request.name.clone(), signal)));
                let told = Detail::of("signal", &*request.name).with("by", &*request.by);
                self.record(id, HistoryKind::SignalReceived, told);
                self.push_work(id, Work::Signal { from: TaskIndex(0) });
                Ok(self.signalled(id, &request.name))
            }
        };
        self.reply(caller, answer);
    }

    fn signalled(&self, id: RunId, name: &str) -> Answer {
        let definition = self.definition(id);
        let waits = |kind: &TaskKind| matches!(kind, TaskKind::Signal(awaited) if **awaited == *name);
        Answer::Signalled { is_named: definition.body.tasks.iter().any(|task| waits(&task.kind)) }
    }

    /// A task waits for its signal, unless that has been sent already.
    pub(crate) fn await_signal(&mut self, id: TaskId, name: &str, bound: Option<Millis>) {
        let sent = self.run(id.run).and_then(|run| run.signals.get(name));
        if let Some(payload) = sent.map(|signal| signal.payload.clone()) {
            return self.succeed(id, &payload, Detail::of("signal", name));
        }
        self.wait(id, WaitOn::Signal, bound.map(|bound| self.now.plus(bound)), OnExpiry::FailTask);
        self.record_task(id, HistoryKind::TaskWaiting, Detail::of("on", "signal").with("signal", name));
    }

    /// Looks whether the next task waits for a signal that has been sent, one a call.
    pub(crate) fn deliver(&mut self, run: RunId, from: TaskIndex) {
        let Some(task) = self.state.runs[&run].tasks.get(from.0 as usize) else { return };
        let waits = task.wait().is_some_and(|wait| wait.on == WaitOn::Signal);
        self.push_work(run, Work::Signal { from: TaskIndex(from.0 + 1) });
        self.look();
        let definition = self.definition(run);
        let TaskKind::Signal(name) = &definition.task(from).kind else { return };
        let sent = self.state.runs[&run].signals.get(&**name).filter(|_| waits);
        if let Some(payload) = sent.map(|signal| signal.payload.clone()) {
            self.succeed(run.task(from), &payload, Detail::of("signal", name));
        }
    }
}

fn has(run: &Run, request: &SignalRequest) -> bool {
    run.signals.get(&request.name).is_some_and(|signal| signal.payload == request.payload && signal.by == request.by)
}

fn has_room(signals: &BTreeMap<String, Signal>, request: &SignalRequest) -> bool {
    let others = || signals.iter().filter(|(name, _)| **name != request.name);
    let bytes: usize = others().map(|(name, signal)| name.len() + signal.payload.0.len()).sum();
    let own = request.name.len() + request.payload.0.len();
    others().count() < SIGNALS_MAX && own <= SIGNAL_BYTES_MAX && bytes + own <= SIGNALS_BYTES_MAX
}
