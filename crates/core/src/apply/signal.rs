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
    validate::is_name,
};
use std::collections::BTreeMap;

impl Step<'_> {
    /// Somebody sends a run a signal. One of the same name takes the place of the one before, for those who come to
    /// wait for it later; who has had that keeps it. The same one again changes nothing.
    pub(crate) fn signal(&mut self, id: RunId, request: &SignalRequest, caller: Caller) {
        let answer = self.take_signal(id, request);
        self.reply(caller, answer);
    }

    fn take_signal(&mut self, id: RunId, request: &SignalRequest) -> Result<Answer, Refusal> {
        if !is_name(&request.name) {
            return Err(Refusal::NoSignalName(request.name.chars().take(NAME_SHOWN_MAX).collect()));
        }
        let Some(run) = self.run(id) else { return Err(self.why_not_here(id, &request.facts)) };
        let definition = self.definition(id);
        let waiting = definition.awaiting.get(&*request.name).and_then(|tasks| tasks.first());
        let is_named = waiting.is_some() || self.state.volatile.waiters.awaits_signal(id, &request.name);
        let answer = Answer::Signalled { is_named };
        if has(run, request) {
            return Ok(answer);
        }
        if run.ending.is_some() {
            return Err(Refusal::RunEnding(id));
        }
        if !has_room(&run.signals, request) {
            return Err(Refusal::TooManySignals { run: id });
        }
        let signal = Signal { payload: request.payload.clone(), by: request.by.clone(), at: self.now };
        self.update_run(id, |run| drop(run.signals.insert(request.name.clone(), signal)));
        let told = Detail::of("signal", &*request.name).with("by", &*request.by);
        self.record(id, HistoryKind::SignalReceived, told);
        self.state.volatile.waiters.signalled(id, &request.name);
        self.state.volatile.graph.signalled(id, &request.name);
        if let Some(first) = waiting {
            self.push_work(id, Work::Signal { first: *first, from: 0 });
        }
        Ok(answer)
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

    /// Gives the signal that `first` waits for to the next task that waits for it as well, one a call.
    pub(crate) fn deliver(&mut self, run: RunId, first: TaskIndex, from: u32) {
        let definition = self.definition(run);
        let Some((name, _)) = definition.task(first).kind.awaits() else { return };
        let Some(&task) = definition.awaiting.get(name).and_then(|tasks| tasks.get(from as usize)) else { return };
        self.push_work(run, Work::Signal { first, from: from + 1 });
        self.look();
        let found = &self.state.runs[&run];
        let waits = found.task(task).wait().is_some_and(|wait| wait.on == WaitOn::Signal);
        let sent = found.signals.get(&**name).filter(|_| waits);
        if let Some(payload) = sent.map(|signal| signal.payload.clone()) {
            self.succeed(run.task(task), &payload, Detail::of("signal", name));
        }
    }
}

/// Characters of something that is no name that are repeated in the refusal.
const NAME_SHOWN_MAX: usize = 100;

fn has(run: &Run, request: &SignalRequest) -> bool {
    run.signals.get(&request.name).is_some_and(|signal| signal.payload == request.payload && signal.by == request.by)
}

fn has_room(signals: &BTreeMap<String, Signal>, request: &SignalRequest) -> bool {
    let others = || signals.iter().filter(|(name, _)| **name != request.name);
    let bytes: usize = others().map(|(name, signal)| name.len() + signal.payload.0.len()).sum();
    let own = request.name.len() + request.payload.0.len();
    others().count() < SIGNALS_MAX && own <= SIGNAL_BYTES_MAX && bytes + own <= SIGNALS_BYTES_MAX
}
