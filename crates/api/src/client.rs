//! A thin client of the HTTP API, for programs that run workflows at a server.
//!
//! A [`Client`] knows where the server is and by which token it lets us in. Each call is one request over a
//! connection of its own: nothing is kept open between two calls, so nothing can be stale. Every wait has a
//! bound ([`Limits`]). What the server refuses comes back as its own problem document ([`ClientError::Refused`]).
//!
//! Calls run on a tokio runtime with I/O and time; one with a single thread will do. TLS is not spoken: reach a
//! server elsewhere through a proxy or tunnel that does.
//!
//! ```no_run
//! use unknot_api::{client::Client, rest};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new("http://127.0.0.1:8001".parse()?, std::env::var("UNKNOT_TOKEN").ok())?;
//! let request = rest::RunRequest::of(rest::WorkflowChoice::Name("nightly".to_owned()));
//! let created = client.submit(&request, None, None).await?;
//! println!("{} is {}", created.run_id, created.status);
//! # Ok(())
//! # }
//! ```
//!
//! These types are part of what this project promises to keep within a major version. New variants and fields may
//! come: error and message types are `non_exhaustive`.

mod address;
mod attempts;
mod body;
mod error;
mod events;
mod operations;
mod verdicts;
mod workers;

pub use address::{Address, AddressError};
pub use body::Body;
pub use error::ClientError;
pub use events::{Events, Told};
pub use operations::{PauseTarget, RunQuery};
pub use verdicts::VerdictQuery;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER},
};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Bytes of an answer that is read as a whole.
const ANSWER_MAX: usize = 256 * 1024 * 1024;
/// How often a question is asked again because the server is asked too much.
const TRIES_MAX: u32 = 4;
/// The longest pause between two of them.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long a client waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For a connection (5 s).
    pub connect: Duration,
    /// For the beginning of an answer (30 s), beside what the server was asked to wait.
    pub answer: Duration,
    /// Between two pieces of an answer (45 s: a stream of events says every 15 s that it is still there).
    pub gap: Duration,
    /// How long a stream of events that broke is tried again (2 min) until that is an error.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(30),
            gap: Duration::from_secs(45),
            patience: Duration::from_secs(120),
        }
    }
}

/// A server, as one caller sees it. Copies are cheap and share nothing.
#[derive(Clone, Debug)]
pub struct Client {
    address: Address,
    /// The whole `Authorization` header; marked so that it is printed nowhere.
    authorization: Option<HeaderValue>,
    limits: Limits,
}

/// What is asked.
struct Question<'q> {
    method: Method,
    path: &'q str,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    /// How long the server was asked to wait before it answers.
    wait: Duration,
}

impl<'q> Question<'q> {
    fn new(method: Method, path: &'q str) -> Self {
        Self { method, path, headers: Vec::new(), body: Bytes::new(), wait: Duration::ZERO }
    }

    fn with(mut self, name: HeaderName, value: &str) -> Result<Self, ClientError> {
        let value = HeaderValue::from_str(value);
        let value = value.map_err(|_| ClientError::Header { name: name.as_str().to_owned() })?;
        self.headers.push((name, value));
        Ok(self)
    }

    fn sending(mut self, body: &impl Serialize) -> Result<Self, ClientError> {
        let text = serde_json::to_vec(body).map_err(|source| ClientError::Unspeakable { source })?;
        self.body = text.into();
        self.headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
        Ok(self)
    }
}

impl Client {
    /// A client of the server at `address`. Nothing is sent yet.
    ///
    /// # Errors
    /// If the token has letters that no token has.
    pub fn new(address: Address, token: Option<String>) -> Result<Self, ClientError> {
        let authorization = token.as_deref().map(authorization).transpose()?;
        Ok(Self { address, authorization, limits: Limits::default() })
    }

    /// The same under another token.
    ///
    /// # Errors
    /// If the token has letters that no token has.
    pub fn with_token(&self, token: &str) -> Result<Self, ClientError> {
        Ok(Self { authorization: Some(authorization(token)?), ..self.clone() })
    }

    /// The same with other bounds of its waits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Where the server is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Asks for a document; while the server is asked too much, asks again.
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let mut tries = 1;
        loop {
            let answer = self.ask(Question::new(Method::GET, path)).await;
            match answer {
                Err(ClientError::Refused { problem, retry_after: Some(pause) })
                    if problem.status == 429 && tries < TRIES_MAX =>
                {
                    tries += 1;
                    sleep(pause.min(PAUSE_MAX)).await;
                }
                other => return self.understand(other?).await,
            }
        }
    }

    /// Asks once, and takes refusals apart.
    async fn ask(&self, question: Question<'_>) -> Result<Response<Incoming>, ClientError> {
        let response = self.send(question).await?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    /// Sends, and waits for the head of the answer, whatever it is.
    async fn send(&self, question: Question<'_>) -> Result<Response<Incoming>, ClientError> {
        let broken = |source: hyper::Error| ClientError::Broken { source: source.into() };
        let (mut sender, connection) = self.address.connect(self.limits.connect).await?;
        // It ends with the answer's body, or when nobody wants that any more; what it has to say, they say.
        tokio::spawn(connection);
        let mut request = Request::builder().method(question.method).uri(question.path);
        request = request.header(HOST, self.address.host());
        for (name, value) in self.authorization.iter().map(|value| (AUTHORIZATION, value)) {
            request = request.header(name, value);
        }
        if !question.headers.iter().any(|(name, _)| *name == ACCEPT) {
            request = request.header(ACCEPT, "application/json, application/problem+json, */*;q=0.1");
        }
        for (name, value) in question.headers {
            request = request.header(name, value);
        }
        let unusable = |_| ClientError::Path { path: question.path.to_owned() };
        let request = request.body(Full::new(question.body)).map_err(unusable)?;
        let within = self.limits.answer.saturating_add(question.wait);
        let answer = timeout(within, sender.send_request(request)).await;
        answer.map_err(|_| ClientError::Late { what: "an answer", within })?.map_err(broken)
    }

    /// Reads an answer as the document that it is.
    async fn understand<T: DeserializeOwned>(&self, response: Response<Incoming>) -> Result<T, ClientError> {
        let status = response.status();
        let bytes = self.whole(response).await?;
        serde_json::from_slice(&bytes).map_err(|error| ClientError::Strange {
            status: status.as_u16(),
            detail: format!("its answer is not what was expected: {error}"),
        })
    }

    async fn whole(&self, response: Response<Incoming>) -> Result<Vec<u8>, ClientError> {
        let status = response.status().as_u16();
        let mut body = Body::new(response, self.limits.gap);
        let mut bytes = Vec::new();
        while let Some(chunk) = body.chunk().await? {
            if bytes.len() + chunk.len() > ANSWER_MAX {
                return Err(ClientError::Strange { status, detail: "its answer has no end".to_owned() });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// What a refusal says.
    async fn refusal(&self, response: Response<Incoming>) -> ClientError {
        let status = response.status();
        let seconds = response.headers().get(RETRY_AFTER).and_then(|text| text.to_str().ok()?.parse().ok());
        let retry_after = seconds.map(Duration::from_secs);
        let bytes = match self.whole(response).await {
            Ok(bytes) => bytes,
            Err(error) => return error,
        };
        match serde_json::from_slice(&bytes) {
            Ok(problem) => ClientError::Refused { problem: Box::new(problem), retry_after },
            // A proxy between us, or no server of ours at all.
            Err(_) => ClientError::Strange { status: status.as_u16(), detail: reason(status, &bytes) },
        }
    }
}

/// The header that shows a token.
fn authorization(token: &str) -> Result<HeaderValue, ClientError> {
    let mut header = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| ClientError::Token)?;
    header.set_sensitive(true);
    Ok(header)
}

/// The first line of what somebody else answered.
fn reason(status: StatusCode, bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 120;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_MAX)]);
    let line: String = text.lines().next().unwrap_or_default().chars().filter(|letter| !letter.is_control()).collect();
    match line.trim() {
        "" => status.canonical_reason().unwrap_or("no reason given").to_owned(),
        line => line.to_owned(),
    }
}
