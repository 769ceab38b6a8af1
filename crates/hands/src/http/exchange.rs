//! One request and its answer on one connection.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection};
use hyper::header::HeaderMap;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;

use super::connect::Stream;
use super::failure::Failure;
use unknot_api::with_causes;

/// The most bytes that the headers of an answer may have.
const HEADERS_BYTES_MAX: usize = 64 * 1024;

/// A connection on which an answer has begun.
pub(super) struct Exchange {
    connection: Option<Driver>,
    body: Incoming,
}

/// Moves the bytes of a connection whenever it is polled; gone once there is nothing more to move.
type Driver = Pin<Box<Connection<TokioIo<Stream>, Full<Bytes>>>>;

/// What an answer begins with.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

/// Sends the request and waits for the headers of its answer.
pub(super) async fn ask(stream: Stream, request: Request<Full<Bytes>>) -> Result<(Exchange, Head), Failure> {
    let failed = |error: hyper::Error| Failure::answer(format!("no answer: {}", with_causes(&error)));
    let mut builder = Builder::new();
    builder.max_buf_size(HEADERS_BYTES_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let mut connection = Some(Box::pin(connection));
    let answer = drive(&mut connection, sender.send_request(request)).await.map_err(failed)?;
    let (parts, body) = answer.into_parts();
    Ok((Exchange { connection, body }, Head { status: parts.status, headers: parts.headers }))
}

impl Exchange {
    /// How long the body says it is.
    pub(super) fn announced_bytes(&self) -> Option<u64> {
        hyper::body::Body::size_hint(&self.body).exact()
    }

    /// The next part of the body; none at its end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let Some(frame) = drive(&mut self.connection, self.body.frame()).await else { return Ok(None) };
            let frame =
                frame.map_err(|error| Failure::answer(format!("the answer broke off: {}", with_causes(&error))))?;
            // Trailers say nothing to us.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }
}

/// Waits for something that comes from a connection, and moves the connection meanwhile.
async fn drive<T>(connection: &mut Option<Driver>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        loop {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            let Some(driver) = connection else { return Poll::Pending };
            match driver.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                // Its failure, too, comes to whoever waits.
                Poll::Ready(_) => *connection = None,
            }
        }
    })
    .await
}
