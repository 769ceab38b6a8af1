//! Commands and questions for callers that must not block a thread: the same as in `engine.rs`, awaited.

use crate::{
    asked::ANSWER_WITHIN,
    driver::Driver,
    engine::{CommandError, Engine},
    overview::Overview,
    submit::{Accepted, Submit},
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::oneshot, time::timeout};
use unknot_core::{
    effect::Answer,
    event::{Caller, Event, Facts},
};

/// How long a fresh look may take.
const LOOK_WITHIN: Duration = Duration::from_millis(500);

impl Engine {
    /// Sends a command and awaits its answer, which comes once what it says is durable. Whoever stops awaiting
    /// does not take the command back.
    ///
    /// # Errors
    /// If it is refused, cannot be carried out now, or no answer comes within 30 seconds.
    pub async fn command(&self, event: impl FnOnce(Caller) -> Event) -> Result<Answer, CommandError> {
        self.accepts()?;
        let (sender, answer) = oneshot::channel();
        // Fails only if nobody awaits the answer any more.
        let caller = self.shared.callers.register(Box::new(move |answered| sender.send(answered).unwrap_or_default()));
        let forget = self.forgetting(caller);
        self.shared.inbox.control(event(caller))?;
        let answered = timeout(ANSWER_WITHIN, answer).await;
        drop(forget);
        match answered {
            Ok(Ok(answered)) => Ok(answered?),
            Ok(Err(_)) | Err(_) => Err(self.no_answer()),
        }
    }

    /// Forgets a caller that gives up, once it is dropped.
    pub(crate) fn forgetting(&self, caller: Caller) -> Forget<'_> {
        Forget { engine: self, caller }
    }

    /// Has a workflow executed; `facts` are those of its idempotency key.
    ///
    /// # Errors
    /// As for [`Engine::command`].
    pub async fn submit_with(&self, submit: Submit, facts: Facts) -> Result<Accepted, CommandError> {
        let run = self.new_run();
        match self.command(|caller| submit.event(run, facts, caller)).await? {
            Answer::Submitted { run, existing } => Ok(Accepted { run, existing }),
            Answer::Cancelling { .. }
            | Answer::Signalled { .. }
            | Answer::Waits(_)
            | Answer::Spawned { .. }
            | Answer::Paused(_)
            | Answer::Done => Ok(Accepted { run, existing: false }),
        }
    }

    /// A fresh look at queues, pools and workers; the last one if the brain does not come to it.
    pub async fn look(&self) -> Arc<Overview> {
        let now = self.now();
        let fresh = self.peek(LOOK_WITHIN, move |driver| Overview::of(driver, now)).await;
        let mut seen = fresh.unwrap_or_else(|| Overview::clone(&self.overview()));
        self.shared.desks.label(&mut seen.workers);
        Arc::new(seen)
    }

    /// Has the brain's thread look at what it knows now, durable or not: for what must be told although the
    /// store does not answer. The look is taken between two turns and must be short.
    ///
    /// `None` if the brain has too many questions before it, or did not come to it within `at_most`.
    pub async fn peek<T: Send + 'static>(
        &self,
        at_most: Duration,
        look: impl FnOnce(&Driver) -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        // Fails only if nobody awaits the answer any more.
        let question = Box::new(move |driver: &Driver| sender.send(look(driver)).unwrap_or(()));
        self.shared.inbox.question(question).ok()?;
        timeout(at_most, answer).await.ok()?.ok()
    }
}

impl Engine {
    /// The same as [`Engine::peek`] for a caller that may block its thread.
    pub fn peek_now<T: Send + 'static>(
        &self,
        at_most: Duration,
        look: impl FnOnce(&Driver) -> T + Send + 'static,
    ) -> Option<T> {
        self.shared.peek_now(at_most, look)
    }
}

/// Forgets a caller that gives up, also by being dropped.
pub(crate) struct Forget<'e> {
    engine: &'e Engine,
    caller: Caller,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.engine.shared.callers.forget(self.caller);
    }
}
