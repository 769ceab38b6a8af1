//! The way from inside a task to the server that its attempt belongs to: by the variables that the attempt was given.
//!
//! A server that does not answer is asked on, since it may be started anew: what waits there is durable. Whoever asks is
//! bounded all the same: an attempt that is out of time, or whose lease has run out, is ended with all its processes.

mod heard;
mod turn;

pub(crate) use heard::Heard;
use turn::{Next, Turn};

use crate::{
    error::{Error, eprint_quietly},
    output::harmless,
    remote::runtime,
};
use serde_json::Value;
use std::{collections::BTreeMap, io, pin::pin, thread, time::Duration};
use tokio::{runtime::Runtime, time::timeout};
use unknot_api::{
    client::{Address, Client, ClientError},
    rest::{Problem, ReleaseRequest, SignalSent, SpawnRequest, Spawned, WaitOutcome, WaitRequest, WaitResult},
    with_causes,
    worker::{ATTEMPT_TOKEN_VARIABLE, ATTEMPT_VARIABLE, URL_VARIABLE},
};
use unknot_engine::secrets::new_secret;

/// How long the server may keep one question.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked whether a signal has come meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The first pause before a server is asked again that did not answer, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long an attempt that is being stopped may take to hear of it: a script that went on meanwhile would do so without
/// what it asked for. Longer than a worker elsewhere needs as a rule, and well within the usual grace, since a script may
/// also ask while it tidies up.
const STOP_HEARD_WITHIN: Duration = Duration::from_secs(3);
/// How long a wait may take to be withdrawn.
const FAREWELL: Duration = Duration::from_secs(5);

/// The attempt that this process belongs to.
pub(crate) struct Attempt {
    id: String,
    client: Client,
    runtime: Runtime,
}

/// How a wait ended.
pub(crate) enum Waited {
    /// As the server says.
    Over(WaitResult),
    /// A signal came, so it was withdrawn.
    Cut(i32),
}

/// What came of a question.
enum Asked<T> {
    Answer(T),
    Signal(i32),
}

impl Attempt {
    /// The attempt that this process belongs to.
    ///
    /// # Errors
    /// If it belongs to none, with what to do instead of `command`.
    pub(crate) fn here(command: &'static str, instead: &'static str) -> Result<Self, Error> {
        Self::find()?.ok_or(Error::NotInAttempt { command, instead })
    }

    /// The same, if it belongs to one.
    ///
    /// # Errors
    /// If its variables make no sense.
    pub(crate) fn find() -> Result<Option<Self>, Error> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (id, token, url) = (variable(ATTEMPT_VARIABLE), variable(ATTEMPT_TOKEN_VARIABLE), variable(URL_VARIABLE));
        let (Some(id), Some(token), Some(url)) = (id, token, url) else { return Ok(None) };
        let client = Client::new(url.parse().map_err(Error::Address)?, Some(token));
        let client = client.map_err(Error::client("use the attempt's token"))?;
        Ok(Some(Self { id, client, runtime: runtime()? }))
    }

    /// Where its server is.
    pub(crate) fn address(&self) -> &Address {
        self.client.address()
    }

    /// Waits until that is over, or a signal is heard.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) fn wait(&self, mut request: WaitRequest, heard: &Heard) -> Result<Waited, Error> {
        let name = request.name.clone();
        let doing = format!("wait: {}", name.rsplit_once(" (").map_or(&*name, |(what, _)| what));
        let mut turn = Turn::new(request.within);
        loop {
            let ask = || self.client.attempt_wait(&self.id, &request, PATIENCE);
            match self.persist(ask, Some(heard)) {
                Ok(Asked::Answer(result)) if result.outcome == WaitOutcome::Waiting => {}
                Ok(Asked::Answer(result)) => return Ok(Waited::Over(result)),
                Ok(Asked::Signal(number)) => {
                    self.withdraw(&name);
                    return Ok(Waited::Cut(number));
                }
                Err(error) if error.code() == Some(Problem::WAITS_ALREADY) => match turn.next(&error, heard) {
                    Next::Ask { within } => request.within = within,
                    Next::Late => return Ok(Waited::Over(WaitResult::bare(name, WaitOutcome::TimedOut))),
                    Next::Signal(number) => return Ok(Waited::Cut(number)),
                },
                Err(error) => return Err(Error::client(doing.as_str())(error)),
            }
        }
    }

    /// Waits no more. What came too late is given back: nobody would.
    fn withdraw(&self, name: &str) {
        let withdraw = async {
            let told = self.client.attempt_withdraw(&self.id, name).await?;
            if !told.granted.is_empty() {
                self.client.attempt_release(&self.id, &ReleaseRequest { units: told.granted }).await?;
            }
            Ok::<(), ClientError>(())
        };
        let done = self.runtime.block_on(async { timeout(FAREWELL, withdraw).await });
        match done {
            Ok(Ok(())) => {}
            // Nothing is granted to it any more.
            Ok(Err(error)) if is_over(&error) => {}
            Ok(Err(_)) | Err(_) => eprint_quietly(&format!(
                "note: {name} could not be withdrawn: what is granted is held until the task ends\n"
            )),
        }
    }

    /// Gives units back.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) fn release(&self, units: &BTreeMap<String, u32>) -> Result<(), Error> {
        let request = ReleaseRequest { units: units.clone() };
        let mut is_told_before = false;
        let released = self.ask_on(|| self.client.attempt_release(&self.id, &request), None, &mut is_told_before);
        match released {
            // Its answer was lost: by now the attempt has less than it gives back.
            Err(error) if is_told_before && error.status() == Some(422) => Ok(()),
            other => other.map(drop).map_err(Error::client("give it back")),
        }
    }

    /// Spawns a run, or finds it.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) fn spawn(&self, request: &SpawnRequest) -> Result<Spawned, Error> {
        let ask = || self.client.attempt_spawn(&self.id, request);
        self.answer(ask, format!("spawn `{}`", request.key))
    }

    /// Sends a signal to its own run, or to another one.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) fn signal(&self, run: Option<&str>, name: &str, payload: &Value) -> Result<SignalSent, Error> {
        let ask = || self.client.attempt_signal(&self.id, run, name, payload);
        self.answer(ask, format!("send `{name}`"))
    }

    fn answer<T, F: Future<Output = Result<T, ClientError>>>(
        &self,
        ask: impl FnMut() -> F,
        doing: String,
    ) -> Result<T, Error> {
        match self.persist(ask, None) {
            Ok(Asked::Answer(answer)) => Ok(answer),
            // Nobody listens to signals.
            Ok(Asked::Signal(_)) => Err(Error::EngineStopped { cause: "interrupted".to_owned() }),
            Err(source) => Err(Error::client(doing)(source)),
        }
    }

    /// Asks until somebody answers, or a signal is heard. Does not come back at once to an attempt that is being stopped: the
    /// signal that ends this process is on its way.
    fn persist<T, F: Future<Output = Result<T, ClientError>>>(
        &self,
        ask: impl FnMut() -> F,
        heard: Option<&Heard>,
    ) -> Result<Asked<T>, ClientError> {
        let error = match self.ask_on(ask, heard, &mut false) {
            Err(error) if is_over(&error) => error,
            answer => return answer,
        };
        match heard {
            Some(heard) => heard.end_within(STOP_HEARD_WITHIN).map(Asked::Signal).ok_or(error),
            None => {
                thread::sleep(STOP_HEARD_WITHIN);
                Err(error)
            }
        }
    }

    /// Asks until somebody answers, or a signal is heard. Says once that nobody does.
    fn ask_on<T, F: Future<Output = Result<T, ClientError>>>(
        &self,
        mut ask: impl FnMut() -> F,
        heard: Option<&Heard>,
        is_told: &mut bool,
    ) -> Result<Asked<T>, ClientError> {
        let mut pause = PAUSES.0;
        self.runtime.block_on(async {
            loop {
                let error = match until(ask(), heard).await {
                    Asked::Answer(Err(error)) if may_pass(&error) => error,
                    Asked::Answer(answer) => return answer.map(Asked::Answer),
                    Asked::Signal(number) => return Ok(Asked::Signal(number)),
                };
                if !std::mem::replace(is_told, true) {
                    let why = harmless(&with_causes(&error));
                    eprint_quietly(&format!("note: the server does not answer ({why}): asking on until it does\n"));
                }
                if let Asked::Signal(number) = until(tokio::time::sleep(pause), heard).await {
                    return Ok(Asked::Signal(number));
                }
                pause = (pause * 2).min(PAUSES.1);
            }
        })
    }
}

/// Waits for something, or for a signal that ends this process.
async fn until<T>(what: impl Future<Output = T>, heard: Option<&Heard>) -> Asked<T> {
    let mut what = pin!(what);
    loop {
        match timeout(LOOK_EVERY, what.as_mut()).await {
            Ok(answer) => return Asked::Answer(answer),
            Err(_) => {
                if let Some(number) = heard.and_then(Heard::end) {
                    return Asked::Signal(number);
                }
            }
        }
    }
}

/// Whether the attempt gets nothing any more.
fn is_over(error: &ClientError) -> bool {
    error.code() == Some(Problem::ATTEMPT_OVER)
}

/// Whether the way to the server failed, or it has no time: not what it makes of the question.
fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Connect { source, .. } => source.kind() != io::ErrorKind::PermissionDenied,
        _ => error.is_passing() && error.status() != Some(500),
    }
}

/// A name for a wait that no other one has.
///
/// # Errors
/// If the system has no randomness.
pub(crate) fn unique_name(what: &str) -> Result<String, Error> {
    const WORDS_MAX: usize = 80;
    let refused = |source: io::Error| Error::Start { attempt: "draw a name for the wait", source: source.into() };
    let chance = new_secret().map_err(refused)?;
    let end = what.char_indices().map(|(at, letter)| at + letter.len_utf8()).take_while(|end| *end <= WORDS_MAX).last();
    Ok(format!("{} ({})", &what[..end.unwrap_or_default()], &chance[..8]))
}
