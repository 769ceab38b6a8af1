//! Showing how far a run at a server is, until its end or until somebody has seen enough.
//!
//! The run belongs to the server: whoever goes away here takes nothing with him.

use crate::{
    error::Error,
    feed::{Fed, Feed},
    output::Tone,
    progress::{Note, Progress, Rank, View},
    remote::{Remote, runtime},
    signals::{Interrupt, Interrupts},
    teller::Teller,
};
use std::{
    thread::{self, JoinHandle},
    time::Duration,
};
use unknot_api::{
    client::{Client, ClientError},
    rest::{CancelRequest, Cancelling},
};
use unknot_engine::{Clock, core::RunId};

/// How long the wait for news is before the clock and the signals are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Lines that are taken before the screen is drawn again.
const LINES_MAX: usize = 1_000;

/// How following ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// The run is at its end.
    Ended,
    /// Somebody went away; the run goes on, or goes on being cancelled.
    Detached,
}

/// What the first Ctrl-C or TERM means. A further one, and a closed terminal, always only end the following.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnInterrupt {
    /// The run is cancelled.
    Cancel,
    /// The run goes on.
    Detach,
}

/// A cancellation that was asked for, while it has no answer.
type Asking = JoinHandle<Result<Cancelling, ClientError>>;

/// One run at a server under watch.
pub(crate) struct Follow<'c> {
    client: &'c Client,
    feed: Feed,
    progress: Progress,
    view: View,
    clock: Clock,
    on_interrupt: OnInterrupt,
    asking: Option<Asking>,
}

impl<'c> Follow<'c> {
    /// Begins to follow the run that `progress` is about.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(crate) fn start(
        remote: &'c Remote,
        progress: Progress,
        view: View,
        clock: Clock,
        on_interrupt: OnInterrupt,
    ) -> Result<Self, Error> {
        let client = remote.client();
        let feed = Feed::start(client.clone(), progress.run)?;
        Ok(Self { client, feed, progress, view, clock, on_interrupt, asking: None })
    }

    /// Shows what happens until the run has ended, or somebody does not want to wait for that.
    ///
    /// # Errors
    /// If the run cannot be followed any more, or nobody reads what is printed.
    pub(crate) fn until_the_end(&mut self, interrupts: &Interrupts, teller: &mut Teller<'_>) -> Result<Left, Error> {
        let mut interrupted = false;
        loop {
            match interrupts.take() {
                Some(Interrupt::Hup) => return self.leave(teller),
                Some(_) if interrupted || self.on_interrupt == OnInterrupt::Detach => return self.leave(teller),
                Some(interrupt) => {
                    interrupted = true;
                    self.begin_cancel(interrupt, teller)?;
                }
                None => {}
            }
            if self.take_lines(teller)? {
                self.view.finish(teller.out)?;
                return Ok(Left::Ended);
            }
            self.check_cancel(teller)?;
            if let Some(cause) = self.progress.frozen.clone() {
                self.view.finish(teller.out)?;
                return Err(Error::Frozen { run: self.progress.run, cause });
            }
            self.view.tick(teller.out, &self.progress, self.clock.now())?;
        }
    }

    fn leave(&mut self, teller: &mut Teller<'_>) -> Result<Left, Error> {
        self.view.finish(teller.out)?;
        Ok(Left::Detached)
    }

    /// Takes what came; says whether that was all.
    fn take_lines(&mut self, teller: &mut Teller<'_>) -> Result<bool, Error> {
        let mut within = LOOK_EVERY;
        for _ in 0..LINES_MAX {
            let fed = match self.feed.next(within) {
                Ok(fed) => fed,
                Err(error) => {
                    // What is said of it gets a line of its own.
                    self.view.finish(teller.out)?;
                    return Err(error);
                }
            };
            match fed {
                Fed::Entry(entry) => {
                    self.view.entry(teller.out, &entry, &self.progress)?;
                    self.progress.apply(&entry);
                }
                Fed::Nothing => break,
                Fed::Lost(loss) => self.say(Tone::Bad, loss.to_string(), teller)?,
                Fed::Found => self.say(Tone::Good, "the server is there again".to_owned(), teller)?,
                Fed::End => return Ok(true),
            }
            within = Duration::ZERO;
        }
        Ok(false)
    }

    /// The answer is not waited for here, so that a further signal is heard even if the server is stuck.
    fn begin_cancel(&mut self, interrupt: Interrupt, teller: &mut Teller<'_>) -> Result<(), Error> {
        let text = format!("{}: cancelling; once more leaves it to the server", interrupt.word());
        self.say(Tone::Warn, text, teller)?;
        let (client, run) = (self.client.clone(), self.progress.run);
        let asking = ask(client, run, interrupt.reason())?;
        self.asking = Some(asking);
        Ok(())
    }

    fn check_cancel(&mut self, teller: &mut Teller<'_>) -> Result<(), Error> {
        let Some(answer) = self.asking.take_if(|asking| asking.is_finished()) else { return Ok(()) };
        match answer.join() {
            Ok(Ok(_)) => Ok(()),
            // It has ended, which its history says as well.
            Ok(Err(error)) if error.status() == Some(409) => Ok(()),
            Ok(Err(error)) => self.say(Tone::Bad, format!("cannot cancel: {error}"), teller),
            Err(_) => self.say(Tone::Bad, "cannot cancel: the request failed inside".to_owned(), teller),
        }
    }

    fn say(&mut self, tone: Tone, text: String, teller: &mut Teller<'_>) -> Result<(), Error> {
        let note = Note { at: self.clock.now(), tone, rank: Rank::Notable, task: None, text };
        self.view.note(teller.out, note, &self.progress)?;
        teller.out.flush()?;
        Ok(())
    }
}

fn ask(client: Client, run: RunId, reason: &'static str) -> Result<Asking, Error> {
    let runtime = runtime()?;
    let request = CancelRequest { reason: Some(reason.to_owned()), force: false };
    let ask = move || runtime.block_on(client.cancel(&run.to_string(), &request));
    let refused = |source: std::io::Error| Error::Start { attempt: "cancel the run", source: source.into() };
    thread::Builder::new().name("unknot-cancel".to_owned()).spawn(ask).map_err(refused)
}
