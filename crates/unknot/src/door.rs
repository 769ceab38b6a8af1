//! The way from a running attempt to whoever serves it: what `lock`, `wait` and `spawn` ask inside a task.

use crate::{
    error::{Error, eprint_quietly},
    exit::Exit,
    remote,
};
use std::{env, thread, time::Duration};
use tokio::runtime::Runtime;
use unknot_api::{
    client::{Client, ClientError},
    rest::{AtDeadline, WaitFor, WaitOutcome, WaitRequest, WaitResult},
    worker::{ATTEMPT_TOKEN_VARIABLE, ATTEMPT_VARIABLE, URL_VARIABLE},
};
use unknot_engine::{Clock, core::Timestamp};

/// Between two questions at a server that does not answer.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the server may keep whoever waits before it says that the wait goes on.
const POLL: Duration = Duration::from_secs(20);

/// The attempt that this process is part of, and where it asks.
pub(crate) struct Door {
    client: Client,
    runtime: Runtime,
    /// The attempt's id.
    pub(crate) attempt: String,
}

impl Door {
    /// The door of the attempt around this process.
    ///
    /// # Errors
    /// If there is none: this is no task's process.
    pub(crate) fn open(command: &'static str) -> Result<Self, Error> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let (Some(attempt), Some(token), Some(url)) =
            (variable(ATTEMPT_VARIABLE), variable(ATTEMPT_TOKEN_VARIABLE), variable(URL_VARIABLE))
        else {
            return Err(Error::OutsideTask { command });
        };
        let client = Client::new(url.parse().map_err(Error::Address)?, Some(token));
        let client = client.map_err(Error::client("use the attempt's token"))?;
        Ok(Self { client, runtime: remote::runtime()?, attempt })
    }

    /// Asks, as often as nobody answers: the process of the attempt ends with the attempt, and so does this.
    ///
    /// # Errors
    /// What the server refuses.
    pub(crate) fn ask<T, F: Future<Output = Result<T, ClientError>>>(
        &self,
        attempt: &str,
        question: impl Fn(Client, String) -> F,
    ) -> Result<T, Error> {
        let mut is_told = false;
        loop {
            match self.runtime.block_on(question(self.client.clone(), self.attempt.clone())) {
                Err(error) if error.is_passing() => {
                    if !is_told {
                        let cause = unknot_api::with_causes(&error);
                        eprint_quietly(&format!("unknot: cannot {attempt} now, and asks again: {cause}\n"));
                        is_told = true;
                    }
                    thread::sleep(PAUSE);
                }
                told => return told.map_err(Error::client(attempt)),
            }
        }
    }

    /// Waits until what is waited for is there, or its time is over.
    ///
    /// # Errors
    /// What the server refuses.
    pub(crate) fn wait(
        &self,
        awaited: WaitFor,
        within: Option<unknot_api::Duration>,
        then: AtDeadline,
    ) -> Result<WaitResult, Error> {
        let now = Clock::starting_at_least(Timestamp::default()).now().0;
        let name = format!("{}-{now}", std::process::id());
        let wish = WaitRequest { name, awaited, within, then };
        loop {
            let told = self.ask("wait", |client, attempt| {
                let wish = wish.clone();
                async move { client.attempt_wait(&attempt, &wish, POLL).await }
            })?;
            if told.outcome != WaitOutcome::Waiting {
                return Ok(told);
            }
        }
    }
}

/// How a wait ends the command.
pub(crate) fn exit_of(result: &WaitResult) -> Exit {
    match result.outcome {
        WaitOutcome::Met => Exit::Success,
        WaitOutcome::Impossible | WaitOutcome::Withdrawn => Exit::Failed,
        WaitOutcome::TimedOut | WaitOutcome::Waiting => Exit::NotInTime,
    }
}
