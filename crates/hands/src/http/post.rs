//! A request of the program's own, outside of any attempt: a JSON body is sent, the beginning of the answer is kept.
//!
//! Nothing that is said of it names more of its address than scheme and host: the rest may be a secret.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use unknot_api::work::NextTry;

use super::answer::{self, Answer};
use super::exchange::{self, Exchange};
use super::failure::Failure;
use super::headers::Outgoing;
use super::target::{AddressError, Target};
use super::trace::Trace;
use super::{FAR, connect};

/// How much of an answer's body is kept.
const EXCERPT_BYTES: usize = 2 * 1024;
/// How long is waited for that beginning.
const BODY_PATIENCE: Duration = Duration::from_secs(1);
/// What the inner clock of a connection has more than the outer one, which is to be the one that strikes.
const MARGIN: Duration = Duration::from_secs(1);

/// What is sent, and where to.
#[derive(Clone)]
pub struct Post {
    /// The address. It may hold a secret.
    pub url: String,
    /// Headers beside those that follow from the rest. Their values may be secrets.
    pub headers: Vec<(&'static str, String)>,
    /// By it the receiver tells a repetition.
    pub idempotency_key: String,
    /// A JSON text.
    pub body: Vec<u8>,
}

/// How long each part may take, and all together.
#[derive(Clone, Copy, Debug)]
pub struct PostClocks {
    /// Until a connection stands: name, TCP, TLS.
    pub connect: Duration,
    /// From then until the answer's headers.
    pub answer: Duration,
    /// All of it, the answer's body included.
    pub whole: Duration,
}

/// What the other side says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// Its status.
    pub status: u16,
    /// The status with its usual words, such as `404 Not Found`.
    pub status_text: String,
    /// Whether it took what was sent.
    pub is_success: bool,
    /// What the status says of another try.
    pub next_try: NextTry,
    /// The beginning of its body.
    pub body: String,
}

/// Why nothing was said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// It took too long.
    #[error("timeout")]
    Timeout,
    /// It came to nothing; the sentence says why.
    #[error("{message}")]
    Failed {
        /// A sentence without secrets.
        message: String,
        /// What that says of another try.
        next_try: NextTry,
    },
}

impl From<Failure> for PostError {
    fn from(Failure { message, next_try, .. }: Failure) -> Self {
        Self::Failed { message, next_try }
    }
}

impl From<AddressError> for PostError {
    fn from(error: AddressError) -> Self {
        Self::Failed { message: format!("the address {error}"), next_try: NextTry::Useless }
    }
}

/// Sends it once. Redirects are not followed: what is sent is for that address and for no other. `now_ms` is what a date
/// in `Retry-After` is counted from.
///
/// # Errors
/// If no answer comes, within the clocks.
pub async fn post(post: &Post, clocks: PostClocks, now_ms: u64) -> Result<Posted, PostError> {
    timeout(clocks.whole.min(FAR), exchange(post, clocks, now_ms)).await.unwrap_or(Err(PostError::Timeout))
}

async fn exchange(post: &Post, clocks: PostClocks, now_ms: u64) -> Result<Posted, PostError> {
    let target = Target::parse(&post.url)?.with_secret_path();
    let outgoing = Outgoing::json(&post.idempotency_key, &post.headers, Bytes::copy_from_slice(&post.body))?;
    let (mut trace, patience) = (Trace::default(), clocks.connect.saturating_add(MARGIN));
    let limit_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
    let stream = within(clocks.connect, connect::connect(&target, limit_ms, &mut trace)).await?;
    let (exchange, head) = within(clocks.answer, exchange::ask(stream, outgoing.request(&target)?)).await?;
    let body = beginning(exchange).await;
    Ok(Posted {
        status: head.status.as_u16(),
        status_text: answer::status_text(head.status),
        is_success: head.status.is_success(),
        next_try: Answer { head: &head, target: &target, now_ms }.next_try(),
        body,
    })
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Failure>>) -> Result<T, PostError> {
    timeout(limit.min(FAR), work).await.map_or(Err(PostError::Timeout), |done| Ok(done?))
}

/// The beginning of a body. The status has said what counts: one that breaks off, is slow or long changes nothing.
async fn beginning(mut exchange: Exchange) -> String {
    let mut body = Vec::new();
    let reading = async {
        while body.len() < EXCERPT_BYTES {
            match exchange.next().await {
                Ok(Some(part)) => body.extend_from_slice(&part),
                Ok(None) | Err(_) => break,
            }
        }
    };
    timeout(BODY_PATIENCE, reading).await.unwrap_or_default();
    body.truncate(EXCERPT_BYTES);
    String::from_utf8_lossy(&body).into_owned()
}
