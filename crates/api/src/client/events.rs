//! A run's history as it grows, over connections that may break.

use super::{Body, Client, ClientError, Question, operations::segment};
use crate::rest::Event;
use hyper::{
    Method,
    header::{ACCEPT, HeaderName},
};
use std::{collections::VecDeque, time::Duration};
use tokio::time::{Instant, sleep};

/// The pause before a broken stream is asked for again, at first and at most.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Bytes of one message.
const MESSAGE_MAX: usize = 4 * 1024 * 1024;

/// What a stream of events tells.
#[derive(Debug)]
#[non_exhaustive]
pub enum Told {
    /// It happened.
    Event(Event),
    /// The connection is lost; the next call waits a moment and goes on behind the last event.
    Lost(ClientError),
    /// The server says that it ends. What follows is tried as after any other loss.
    ServerEnded,
    /// It is there again.
    Found,
    /// The run has ended and everything was told.
    End,
}

/// The history of a run from some event on, until the run has ended. A connection that breaks is made again, and goes
/// on behind the last event that was told: nothing is missed, nothing is told twice.
#[derive(Debug)]
pub struct Events {
    client: Client,
    path: String,
    last: Option<String>,
    body: Option<Body>,
    messages: Messages,
    waiting: VecDeque<Told>,
    pause: Duration,
    /// Since when nothing came.
    lost_since: Option<Instant>,
}

impl Events {
    pub(super) fn new(client: Client, run: &str, after: Option<String>) -> Self {
        Self {
            client,
            path: format!("/runs/{}/events", segment(run)),
            last: after,
            body: None,
            messages: Messages::default(),
            waiting: VecDeque::new(),
            pause: PAUSE_FIRST,
            lost_since: None,
        }
    }

    /// How long a connection that broke is tried again until that is an error.
    pub fn patience(&self) -> Duration {
        self.client.limits.patience
    }

    /// The place of the last event that was told.
    pub fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// What comes next. A call that is dropped in the middle loses nothing but its connection.
    ///
    /// # Errors
    /// What the server refuses; and a connection that could not be made again within the client's patience.
    pub async fn next(&mut self) -> Result<Told, ClientError> {
        loop {
            if let Some(told) = self.waiting.pop_front() {
                if let Told::Event(event) = &told {
                    self.last = Some(event.id.clone());
                }
                return Ok(told);
            }
            match self.go_on().await {
                Ok(()) => {}
                Err(error) if error.is_passing() => return self.lose(error),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads the next piece, over a new connection if there is none.
    async fn go_on(&mut self) -> Result<(), ClientError> {
        if self.body.is_none() {
            if self.lost_since.is_some() {
                sleep(self.pause).await;
                self.pause = (self.pause * 2).min(PAUSE_MAX);
            }
            self.body = Some(self.open().await?);
            self.messages = Messages::default();
        }
        let Some(body) = &mut self.body else { return Ok(()) };
        let chunk = body.chunk().await?;
        let ended = || ClientError::Broken { source: "it ended before the run did".into() };
        self.messages.take(&chunk.ok_or_else(ended)?)?;
        if self.lost_since.take().is_some() {
            self.pause = PAUSE_FIRST;
            self.waiting.push_back(Told::Found);
        }
        while let Some(message) = self.messages.next() {
            self.waiting.extend(message.told()?);
        }
        Ok(())
    }

    async fn open(&self) -> Result<Body, ClientError> {
        let mut question = Question::new(Method::GET, &self.path).with(ACCEPT, "text/event-stream")?;
        if let Some(last) = &self.last {
            question = question.with(HeaderName::from_static("last-event-id"), last)?;
        }
        let response = self.client.ask(question).await?;
        Ok(Body::new(response, self.client.limits.gap))
    }

    fn lose(&mut self, error: ClientError) -> Result<Told, ClientError> {
        self.body = None;
        let since = *self.lost_since.get_or_insert_with(Instant::now);
        if since.elapsed() > self.client.limits.patience { Err(error) } else { Ok(Told::Lost(error)) }
    }
}

/// Server-sent events out of pieces that end anywhere.
#[derive(Debug, Default)]
struct Messages {
    /// The beginning of a line whose end is not there yet.
    bytes: Vec<u8>,
    message: Message,
    ready: VecDeque<Message>,
}

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Message {
    event: String,
    data: String,
}

impl Messages {
    fn take(&mut self, chunk: &[u8]) -> Result<(), ClientError> {
        for piece in chunk.split_inclusive(|&byte| byte == b'\n') {
            self.bytes.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let bytes = std::mem::take(&mut self.bytes);
                let line = String::from_utf8_lossy(&bytes);
                self.line(line.trim_end_matches(['\n', '\r']));
            }
        }
        if self.bytes.len() + self.message.data.len() > MESSAGE_MAX {
            return Err(ClientError::Strange { status: 200, detail: "a message of its stream has no end".to_owned() });
        }
        Ok(())
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            if message != Message::default() {
                self.ready.push_back(message);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.message.event),
            "data" if self.message.data.is_empty() => value.clone_into(&mut self.message.data),
            "data" => {
                self.message.data.push('\n');
                self.message.data.push_str(value);
            }
            // The place stands in the data as well; what begins with a colon only says that somebody is there.
            _ => {}
        }
    }

    fn next(&mut self) -> Option<Message> {
        self.ready.pop_front()
    }
}

impl Message {
    fn told(self) -> Result<Option<Told>, ClientError> {
        match self.event.as_str() {
            "end" => return Ok(Some(Told::End)),
            "server_ended" => return Ok(Some(Told::ServerEnded)),
            _ => {}
        }
        if self.data.is_empty() {
            return Ok(None);
        }
        let strange = |error| ClientError::Strange { status: 200, detail: format!("an event cannot be read: {error}") };
        serde_json::from_str(&self.data).map(|event| Some(Told::Event(event))).map_err(strange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_whole_however_they_are_cut() {
        let text = ": still here\n\nid: 4.1\nevent: A\ndata: {\"a\":1}\r\n\r\nevent: B\ndata: x\ndata: y\n\nevent: end\ndata: {}\n\nrest";
        let expected = [("A", "{\"a\":1}"), ("B", "x\ny"), ("end", "{}")];
        for size in 1..text.len() {
            let mut messages = Messages::default();
            let mut found = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                messages.take(piece).expect("short");
                found.extend(std::iter::from_fn(|| messages.next()));
            }
            let found: Vec<(&str, &str)> = found.iter().map(|one| (one.event.as_str(), one.data.as_str())).collect();
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_message_without_end_is_refused() {
        let mut messages = Messages::default();
        let many = MESSAGE_MAX / 1024 + 1;
        assert!((0..many).any(|_| messages.take(&[b'x'; 1024]).is_err()));
    }
}
