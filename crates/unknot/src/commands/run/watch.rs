//! Watching a run to its end: what becomes durable is shown, and Ctrl-C is heard.

use crate::{
    error::Error,
    output::Tone,
    progress::{Note, Progress, Rank, View},
    signals::{Interrupt, Interrupts},
    teller::Teller,
    terminal, time,
};
use std::{
    collections::BTreeSet,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};
use unknot_engine::{
    CommandError, Engine, Heard, STATUS, Subscription,
    core::{
        CommitSeq, RunId, Timestamp,
        effect::Answer,
        row::{HistoryEntry, HistoryKind},
    },
    store::{EventCursor, PageSize, RunRecord},
};

/// How long the watcher waits for news before it looks at the clock and the signals.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How watching ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The run is at its end.
    ByItself,
    /// A second signal said so.
    Killed,
}

/// One run under watch.
pub(super) struct Watch<'e> {
    pub(super) engine: &'e Arc<Engine>,
    pub(super) subscription: Subscription,
    pub(super) progress: Progress,
    pub(super) view: View,
    /// Runs that end beside it and are waited for.
    pub(super) ending: BTreeSet<RunId>,
    /// Everything up to this commit was told.
    pub(super) seen: CommitSeq,
    /// The cancellation that was asked for, while it has no answer.
    pub(super) cancel: Option<JoinHandle<Result<Answer, CommandError>>>,
    /// Whether it has to be asked for again once something can be recorded.
    pub(super) is_cancel_due: bool,
    /// Whether it was told that the brain is late.
    pub(super) is_late: bool,
}

impl Watch<'_> {
    /// Shows what happens until the run has ended or somebody does not want to wait for that.
    pub(super) fn until_the_end(&mut self, interrupts: &Interrupts, teller: &mut Teller<'_>) -> Result<Ended, Error> {
        self.catch_up(teller)?;
        let mut interrupted = None;
        let mut blocked = None;
        while !(self.progress.status.is_terminal() && self.ending.is_empty()) {
            match interrupts.take() {
                Some(_) if interrupted.is_some() => {
                    self.view.finish(teller.out)?;
                    return Ok(Ended::Killed);
                }
                Some(interrupt) => {
                    interrupted = Some(interrupt);
                    let text = format!("{}: cancelling; once more kills at once", interrupt.word());
                    self.say(Tone::Warn, text, teller)?;
                    self.begin_cancel(interrupt)?;
                }
                None => {}
            }
            match self.subscription.next(LOOK_EVERY) {
                Heard::Lines(lines) if lines.commit > self.seen => {
                    self.seen = lines.commit;
                    for entry in lines.entries.iter() {
                        self.take(entry, teller)?;
                    }
                }
                Heard::Lines(_) | Heard::Nothing => {}
                Heard::CutOff => {
                    self.subscription = self.engine.subscribe();
                    self.catch_up(teller)?;
                }
            }
            self.check_health(&mut blocked, teller)?;
            self.check_frozen(teller)?;
            self.check_cancel(teller)?;
            if let Some(interrupt) = interrupted.filter(|_| self.is_cancel_due && blocked.is_none()) {
                self.is_cancel_due = false;
                self.begin_cancel(interrupt)?;
            }
            self.view.tick(teller.out, &self.progress, self.engine.now())?;
        }
        self.view.finish(teller.out)?;
        Ok(Ended::ByItself)
    }

    /// Tells what became durable while nobody listened.
    fn catch_up(&mut self, teller: &mut Teller<'_>) -> Result<(), Error> {
        let run = self.progress.run;
        let mut after = Some(EventCursor { commit: self.seen, line: u32::MAX });
        loop {
            let page = self.engine.read(|reader, namespace| reader.events(namespace, run, after, PageSize::MAX));
            let page = page.map_err(Error::store("read the run's history"))?;
            self.seen = self.seen.max(page.as_of);
            for event in &page.value.items {
                self.take(&event.entry, teller)?;
            }
            after = page.value.items.last().map(|event| event.cursor);
            if after.is_none() || page.value.next.is_none() {
                break;
            }
        }
        self.forget_ended()
    }

    /// Stops waiting for what has ended meanwhile. Asked after everything up to `seen` was read: an end
    /// from before that is told by no line any more.
    fn forget_ended(&mut self) -> Result<(), Error> {
        for run in std::mem::take(&mut self.ending) {
            let found = self.engine.read(|reader, namespace| reader.run(namespace, run));
            let record = found.map_err(Error::store("read a run that ends"))?.value;
            if record.is_some_and(|record| matches!(&record, RunRecord::Live(run) if run.poisoned.is_none())) {
                self.ending.insert(run);
            }
        }
        Ok(())
    }

    fn take(&mut self, entry: &HistoryEntry, teller: &mut Teller<'_>) -> Result<(), Error> {
        if entry.run == self.progress.run {
            self.view.entry(teller.out, entry, &self.progress)?;
            self.progress.apply(entry);
        } else if entry.event == HistoryKind::RunPoisoned && self.ending.remove(&entry.run) {
            let text = format!("{} is frozen and not waited for: `unknot cancel {0} --force` ends it", entry.run);
            self.say(Tone::Bad, text, teller)?;
        } else if is_end(entry) {
            self.ending.remove(&entry.run);
        }
        Ok(())
    }

    /// The first signal: the run is cancelled. Its answer is not waited for here, so that a second
    /// signal is heard even if the store is stuck.
    fn begin_cancel(&mut self, interrupt: Interrupt) -> Result<(), Error> {
        let (engine, run) = (Arc::clone(self.engine), self.progress.run);
        let ask = move || engine.cancel(run, interrupt.reason(), &terminal::user(), false);
        let asking = thread::Builder::new().name("unknot-cancel".to_owned()).spawn(ask);
        self.cancel = Some(asking.map_err(|source| Error::Start { attempt: "cancel the run", source: source.into() })?);
        Ok(())
    }

    fn check_cancel(&mut self, teller: &mut Teller<'_>) -> Result<(), Error> {
        let Some(answer) = self.cancel.take_if(|cancel| cancel.is_finished()) else { return Ok(()) };
        match answer.join() {
            // A refusal says that the run has ended, which its history says as well.
            Ok(Ok(_) | Err(CommandError::Refused(_))) => Ok(()),
            Ok(Err(error)) => {
                self.is_cancel_due = matches!(error, CommandError::Blocked { .. });
                let later = if self.is_cancel_due { "; asked again as soon as recording works" } else { "" };
                self.say(Tone::Bad, format!("cannot cancel: {error}{later}"), teller)
            }
            Err(_) => self.say(Tone::Bad, "cannot cancel: the request failed inside".to_owned(), teller),
        }
    }

    /// An engine that cannot go on ends the watching; one that waits for its disk is reported.
    fn check_health(&mut self, blocked: &mut Option<String>, teller: &mut Teller<'_>) -> Result<(), Error> {
        let health = self.engine.health();
        if let Some(cause) = health.fatal {
            self.view.finish(teller.out)?;
            return Err(Error::EngineStopped { cause });
        }
        self.check_lateness(health.late_since, teller)?;
        let cause = health.blocked.map(|blocked| blocked.cause);
        if cause == *blocked {
            return Ok(());
        }
        let text = match &cause {
            Some(cause) => format!("nothing can be recorded for now, so nothing new starts: {cause}"),
            None => "recording works again".to_owned(),
        };
        let tone = if cause.is_some() { Tone::Bad } else { Tone::Good };
        *blocked = cause;
        self.say(tone, text, teller)
    }

    /// The brain takes turns whatever happens: one that does not come is told.
    fn check_lateness(&mut self, late_since: Option<Timestamp>, teller: &mut Teller<'_>) -> Result<(), Error> {
        if late_since.is_some() == self.is_late {
            return Ok(());
        }
        self.is_late = late_since.is_some();
        match late_since {
            Some(since) => {
                let file = self.engine.data().join(STATUS);
                let ago = time::ago(self.engine.now(), since);
                let text = format!("the engine does not come on: its last turn was {ago}; see `{}`", file.display());
                self.say(Tone::Bad, text, teller)
            }
            None => self.say(Tone::Good, "the engine goes on".to_owned(), teller),
        }
    }

    /// Nothing moves a frozen run any more, no deadline either: only somebody's forced cancel does.
    fn check_frozen(&mut self, teller: &mut Teller<'_>) -> Result<(), Error> {
        let Some(cause) = self.progress.frozen.clone() else { return Ok(()) };
        self.view.finish(teller.out)?;
        Err(Error::Frozen { run: self.progress.run, cause })
    }

    fn say(&mut self, tone: Tone, text: String, teller: &mut Teller<'_>) -> Result<(), Error> {
        let note = Note { at: self.engine.now(), tone, rank: Rank::Notable, task: None, text };
        self.view.note(teller.out, note, &self.progress)?;
        teller.out.flush()?;
        Ok(())
    }
}

fn is_end(entry: &HistoryEntry) -> bool {
    use HistoryKind as Kind;
    matches!(entry.event, Kind::RunCompleted | Kind::RunFailed | Kind::RunCancelled | Kind::RunTimedOut)
}
