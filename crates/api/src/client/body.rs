//! An answer's body, piece by piece.

use super::ClientError;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Response, body::Incoming};
use std::time::Duration;
use tokio::time::timeout;

/// A body that is still on its way. Dropping it ends its connection.
#[derive(Debug)]
pub struct Body {
    incoming: Incoming,
    gap: Duration,
}

impl Body {
    pub(super) fn new(response: Response<Incoming>, gap: Duration) -> Self {
        Self { incoming: response.into_body(), gap }
    }

    /// The next piece; none: that was all.
    ///
    /// # Errors
    /// If none comes within the gap of the client's limits, or the connection breaks in the middle.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let within = self.gap;
            let frame = timeout(within, self.incoming.frame()).await;
            match frame.map_err(|_| ClientError::Late { what: "the next piece of an answer", within })? {
                None => return Ok(None),
                Some(Err(source)) => return Err(ClientError::Broken { source: source.into() }),
                // What is no data are trailers, which say nothing here.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}
