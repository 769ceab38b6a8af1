//! A run's history from a server, read on a thread of its own so that whoever shows it never waits for the network.

use crate::{error::Error, remote, source::entry};
use std::{
    fmt,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};
use unknot_api::client::{Client, ClientError, Told};
use unknot_engine::core::{Millis, RunId, row::HistoryEntry};

/// Lines that the reader may be ahead.
const AHEAD_MAX: usize = 1_024;

/// What comes.
#[derive(Debug)]
pub(crate) enum Fed {
    /// A line of history.
    Entry(Box<HistoryEntry>),
    /// Nothing within the time.
    Nothing,
    /// The server has ended, or the connection to it is lost; it is tried again for so long. Said once.
    Lost(Loss),
    /// It is there again.
    Found,
    /// The run has ended; nothing more comes.
    End,
}

/// How a server that is followed went away.
#[derive(Debug)]
pub(crate) struct Loss {
    /// Why; none: it said that it ends, or nobody listens there any more.
    cause: Option<String>,
    /// How long it is tried again.
    within: Duration,
}

impl Loss {
    /// What was seen of it, by a caller that tries again for so long.
    pub(crate) fn of(error: &ClientError, within: Duration) -> Self {
        Self { cause: (!error.is_nobody_there()).then(|| unknot_api::with_causes(error)), within }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = Millis(u64::try_from(self.within.as_millis()).unwrap_or(u64::MAX));
        match &self.cause {
            None => write!(f, "the server has ended; tried again for {within}, in case it is started anew"),
            Some(cause) => write!(f, "the server is not reached ({cause}); tried again for {within}"),
        }
    }
}

/// A run's history from its beginning, until the run has ended.
pub(crate) struct Feed(Receiver<Result<Fed, ClientError>>);

impl Feed {
    /// Begins to read.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(crate) fn start(client: Client, run: RunId) -> Result<Self, Error> {
        let (sender, receiver) = sync_channel(AHEAD_MAX);
        let runtime = remote::runtime()?;
        // It ends with the run, or when nobody listens any more.
        let read = move || runtime.block_on(read(client, run, &sender)).unwrap_or_default();
        let refused = |source: std::io::Error| Error::Start { attempt: "follow the run", source: source.into() };
        thread::Builder::new().name("unknot-feed".to_owned()).spawn(read).map_err(refused)?;
        Ok(Self(receiver))
    }

    /// What comes next, waited for at most so long.
    ///
    /// # Errors
    /// If the run cannot be followed, or no longer.
    pub(crate) fn next(&self, within: Duration) -> Result<Fed, Error> {
        match self.0.recv_timeout(within) {
            Ok(fed) => fed.map_err(Error::client("follow the run any longer")),
            Err(RecvTimeoutError::Timeout) => Ok(Fed::Nothing),
            Err(RecvTimeoutError::Disconnected) => Ok(Fed::End),
        }
    }
}

/// Nobody listens any more.
type Gone = std::sync::mpsc::SendError<Result<Fed, ClientError>>;

async fn read(client: Client, run: RunId, sender: &SyncSender<Result<Fed, ClientError>>) -> Result<(), Box<Gone>> {
    let mut events = client.follow(&run.to_string(), None);
    let mut is_lost = false;
    loop {
        let fed = match events.next().await {
            Ok(Told::Event(event)) => match entry(run, event) {
                Some(entry) => Fed::Entry(Box::new(entry)),
                // Of a newer server, which knows more that can happen.
                None => continue,
            },
            Ok(Told::Lost(_) | Told::ServerEnded) if is_lost => continue,
            Ok(Told::ServerEnded) => {
                is_lost = true;
                Fed::Lost(Loss { cause: None, within: events.patience() })
            }
            Ok(Told::Lost(error)) => {
                is_lost = true;
                Fed::Lost(Loss::of(&error, events.patience()))
            }
            Ok(Told::Found) => {
                is_lost = false;
                Fed::Found
            }
            Ok(Told::End) => {
                sender.send(Ok(Fed::End))?;
                return Ok(());
            }
            Ok(_) => continue,
            Err(error) => {
                sender.send(Err(error))?;
                return Ok(());
            }
        };
        sender.send(Ok(fed))?;
    }
}
