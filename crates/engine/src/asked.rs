//! Commands and questions to the brain from threads that may wait for their answers.

use crate::{callers::Answered, driver::Driver, engine::CommandError, threads::Shared};
use std::{
    sync::mpsc::{Receiver, sync_channel},
    time::Duration,
};
use unknot_core::{
    effect::Answer,
    event::{Caller, Event},
};

/// How long a caller waits for an answer before it is told to ask again.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How often a caller looks whether an answer can come at all.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A command under way.
pub(crate) struct Asked<'s> {
    shared: &'s Shared,
    caller: Caller,
    answer: Receiver<Answered>,
}

impl Shared {
    /// Sends a command.
    ///
    /// # Errors
    /// If it cannot be carried out now.
    pub(crate) fn ask(&self, event: impl FnOnce(Caller) -> Event) -> Result<Asked<'_>, CommandError> {
        self.accepts()?;
        let (sender, answer) = sync_channel(1);
        // The channel has room for the one answer; a receiver that is gone wants none.
        let caller = self.callers.register(Box::new(move |answered| sender.try_send(answered).unwrap_or_default()));
        self.inbox.control(event(caller)).inspect_err(|_| self.callers.forget(caller))?;
        Ok(Asked { shared: self, caller, answer })
    }

    /// Whether a command can be carried out now at all.
    ///
    /// # Errors
    /// If the brain has stopped, or nothing can be committed.
    pub(crate) fn accepts(&self) -> Result<(), CommandError> {
        let health = self.progress.health();
        if let Some(cause) = health.fatal {
            return Err(CommandError::Stopped { cause });
        }
        match health.blocked {
            Some(blocked) => {
                Err(CommandError::Blocked { lasting: self.clock.now().since(blocked.since), cause: blocked.cause })
            }
            None => Ok(()),
        }
    }

    /// Why a command stayed without an answer.
    pub(crate) fn no_answer(&self) -> CommandError {
        let blocked = self.progress.health().blocked;
        let cause = blocked.map(|blocked| format!(", nothing can be committed: {}", blocked.cause)).unwrap_or_default();
        CommandError::NoAnswer { waited: ANSWER_WITHIN, cause }
    }

    /// Has the brain's thread look at what it knows now, durable or not, between two turns; the look must be short.
    ///
    /// `None` if the brain has too many questions before it, or did not come to it within `at_most`.
    pub(crate) fn peek_now<T: Send + 'static>(
        &self,
        at_most: Duration,
        look: impl FnOnce(&Driver) -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, answer) = sync_channel(1);
        // Fails only if nobody awaits the answer any more.
        let question = Box::new(move |driver: &Driver| sender.send(look(driver)).unwrap_or_default());
        self.inbox.question(question).ok()?;
        answer.recv_timeout(at_most).ok()
    }
}

impl Asked<'_> {
    /// The answer, once what it says is durable.
    pub(crate) fn wait(self) -> Result<Answer, CommandError> {
        let mut waited = Duration::ZERO;
        while waited < ANSWER_WITHIN {
            if let Ok(answered) = self.answer.recv_timeout(LOOK_EVERY) {
                return Ok(answered?);
            }
            waited += LOOK_EVERY;
            if let Some(cause) = self.shared.progress.health().fatal {
                self.shared.callers.forget(self.caller);
                return Err(CommandError::Stopped { cause });
            }
        }
        self.shared.callers.forget(self.caller);
        Err(self.shared.no_answer())
    }
}
