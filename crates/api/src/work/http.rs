//! The work of an `http` attempt: one request, the redirects that it may follow, and what counts as success.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::JsonText;

/// The longest pause before the next try that a server may ask for, in milliseconds; what is longer counts as this.
pub const RETRY_AFTER_MS_MAX: u64 = 5 * 60 * 1000;

/// A request over HTTP.
///
/// Each try carries an `Idempotency-Key` that is equal over all tries of its task, unless `headers` has one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpWork {
    /// The method, such as `POST`.
    pub method: String,
    /// Where to, `http://…` or `https://…`. It may carry a secret in its query, which is printed nowhere.
    pub url: String,
    /// Headers beside those that follow from the rest; their names are in any case.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// What is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<HttpBody>,
    /// How long each phase may take; the attempt's own time bounds them all together.
    #[serde(default)]
    pub timeouts: HttpTimeouts,
    /// The longest body that is taken, in bytes; a longer one fails the task.
    #[serde(default = "HttpWork::body_bytes_max_default")]
    pub body_bytes_max: u64,
    /// How many redirects are followed; with 0 a redirect is an answer like any other.
    #[serde(default = "HttpWork::redirects_max_default")]
    pub redirects_max: u32,
    /// The statuses that count as success; none: 200 to 299.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<StatusRange>,
    /// What becomes the task's output.
    #[serde(default)]
    pub output: HttpOutput,
}

impl HttpWork {
    /// 16 MiB.
    #[must_use]
    pub const fn body_bytes_max_default() -> u64 {
        16 << 20
    }

    /// 5.
    #[must_use]
    pub const fn redirects_max_default() -> u32 {
        5
    }
}

/// What a request sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HttpBody {
    /// A JSON value, as `application/json`.
    Json(JsonText),
    /// Text, as `text/plain; charset=utf-8`.
    Text(String),
}

/// The clocks of a request, in milliseconds. Each hop has them anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpTimeouts {
    /// From the beginning until there is a connection: name, TCP and TLS together.
    pub connect_ms: u64,
    /// From the connection until the request is sent and all headers of its answer are there.
    pub headers_ms: u64,
    /// From the headers to the first byte of the body, or its end.
    pub first_byte_ms: u64,
    /// From each part of the body to the next.
    pub gap_ms: u64,
}

impl Default for HttpTimeouts {
    fn default() -> Self {
        Self { connect_ms: 10_000, headers_ms: 60_000, first_byte_ms: 30_000, gap_ms: 30_000 }
    }
}

/// Some statuses that stand together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusRange {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

/// What of an answer becomes the output of its task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HttpOutput {
    /// The body, if it is a JSON object that fits; otherwise as [`Response`](Self::Response).
    #[default]
    Body,
    /// Always `{status, headers, bytes}` with `body`, or, if that does not fit, with the `file` that has it.
    Response,
}
