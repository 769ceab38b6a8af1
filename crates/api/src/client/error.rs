//! Why a call did not bring what was asked for.

use super::Address;
use crate::rest::Problem;
use std::{error::Error, io, time::Duration};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The token has letters that no token has; nothing was sent.
    #[error("the token has letters that no token has")]
    Token,
    /// A value has letters that its header cannot carry; nothing was sent.
    #[error("the value of `{name}` has letters that a header cannot carry")]
    Header {
        /// Which header.
        name: String,
    },
    /// A path that cannot be asked for; nothing was sent.
    #[error("`{path}` cannot be asked for")]
    Path {
        /// The path.
        path: String,
    },
    /// What was to be sent cannot be written as JSON; nothing was sent.
    #[error("the request cannot be written as JSON")]
    Unspeakable {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Nobody listens there, or the way there is closed; nothing was sent.
    #[error("cannot connect to `{address}`")]
    Connect {
        /// Where.
        address: Address,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something did not come in time. Whether a request was carried out is not known.
    #[error("{what} did not come within {} s", within.as_secs())]
    Late {
        /// What was waited for.
        what: &'static str,
        /// How long.
        within: Duration,
    },
    /// The connection broke. Whether a request was carried out is not known.
    #[error("the connection broke")]
    Broken {
        /// What was seen of it.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The server says why it does not do that.
    #[error("{}", problem.detail)]
    Refused {
        /// Its words.
        problem: Box<Problem>,
        /// After which pause it may be asked again.
        retry_after: Option<Duration>,
    },
    /// Whoever answers does not speak as a server of ours.
    #[error("it answers with status {status}: {detail}")]
    Strange {
        /// The HTTP status.
        status: u16,
        /// What is strange.
        detail: String,
    },
}

impl ClientError {
    /// Whether nobody listens at the address: for a socket in a data folder that means that no server is there.
    pub fn is_nobody_there(&self) -> bool {
        use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound};
        let is_so = |kind| matches!(kind, NotFound | NotADirectory | ConnectionRefused);
        matches!(self, Self::Connect { source, .. } if is_so(source.kind()))
    }

    /// The status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { problem, .. } => Some(problem.status),
            Self::Strange { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The code of a refusal.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { problem, .. } => Some(&problem.code),
            _ => None,
        }
    }

    /// Whether asking for the same again may bring it: what failed is the way or the moment, not the question.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Late { .. } | Self::Broken { .. } => true,
            Self::Refused { .. } | Self::Strange { .. } => {
                self.status().is_some_and(|status| matches!(status, 408 | 429) || status >= 500)
            }
            Self::Token | Self::Header { .. } | Self::Path { .. } | Self::Unspeakable { .. } => false,
        }
    }
}
