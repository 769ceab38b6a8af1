//! What an answer means for the task: its output, or its failure and what that says of another try.

use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use hyper::header::{self, HeaderName};
use serde_json::{Map, Value, json};
use unknot_api::work::{FailureCode, HttpOutput, HttpWork, JsonText, NextTry, OUTPUT_BYTES_MAX, RETRY_AFTER_MS_MAX};

use super::body::{BODY_FILE, Body};
use super::exchange::Head;
use super::failure::Failure;
use super::target::Target;

/// The headers that become part of the output; none of them is a secret.
const SHOWN: [HeaderName; 6] =
    [header::CONTENT_TYPE, header::DATE, header::ETAG, header::LAST_MODIFIED, header::LOCATION, header::RETRY_AFTER];

/// An answer without its body.
pub(super) struct Answer<'a> {
    pub(super) head: &'a Head,
    pub(super) target: &'a Target,
    pub(super) now_ms: u64,
}

impl Answer<'_> {
    /// The failure that its status is.
    pub(super) fn failure(&self) -> Failure {
        let status = self.head.status;
        let message = format!("{} answered {}", self.target, status_text(status));
        Failure { code: FailureCode::Status, message, next_try: self.next_try() }
    }

    /// What it says of another try.
    pub(super) fn next_try(&self) -> NextTry {
        let status = self.head.status;
        let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
        if !status.is_server_error() && !passing.contains(&status) {
            return NextTry::Useless;
        }
        self.retry_after_ms().map_or(NextTry::AsUsual, |ms| NextTry::NotBefore(ms.min(RETRY_AFTER_MS_MAX)))
    }

    /// What `Retry-After` says: seconds, or a date.
    fn retry_after_ms(&self) -> Option<u64> {
        let text = self.head.headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse::<u64>() {
            return Some(seconds.saturating_mul(1000));
        }
        let now = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(self.now_ms))?;
        let pause = httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default();
        Some(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX))
    }

    /// The task's output. A body that does not fit in it stands in a file.
    pub(super) async fn output(&self, form: HttpOutput, mut body: Body) -> Result<JsonText, Failure> {
        if form == HttpOutput::Body
            && let Some(text) = body.text().filter(|text| text.trim_start().starts_with('{'))
            && let Ok(object) = JsonText::parse(text)
        {
            return Ok(object);
        }
        let described = body.text().map(|text| self.described(&body, "body", content(text)).to_string());
        let text = match described.filter(|text| text.len() <= OUTPUT_BYTES_MAX) {
            Some(text) => text,
            None => {
                body.save().await?;
                self.described(&body, "file", json!(format!("artifacts/{BODY_FILE}"))).to_string()
            }
        };
        JsonText::parse(&text).map_err(|error| Failure::output(format!("the output is no JSON: {error}")))
    }

    fn described(&self, body: &Body, key: &str, value: Value) -> Value {
        let shown = |name: &HeaderName| {
            let text = String::from_utf8_lossy(self.head.headers.get(name)?.as_bytes()).into_owned();
            Some((name.as_str().to_owned(), Value::from(text)))
        };
        let headers: Map<String, Value> = SHOWN.iter().filter_map(shown).collect();
        json!({"status": self.head.status.as_u16(), "headers": headers, "bytes": body.bytes(), key: value})
    }
}

/// A body as a value: what it is as JSON, else its text; null if there is none.
fn content(text: &str) -> Value {
    match text {
        "" => Value::Null,
        _ => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)),
    }
}

/// Whether a status counts as success.
pub(super) fn is_expected(work: &HttpWork, status: StatusCode) -> bool {
    if work.expect.is_empty() {
        return status.is_success();
    }
    work.expect.iter().any(|range| (range.first..=range.last).contains(&status.as_u16()))
}

/// A status with its usual words.
pub(super) fn status_text(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}
