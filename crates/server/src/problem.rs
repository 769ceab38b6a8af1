//! Refusals, as problem documents (RFC 9457) with a code that has a page.

use crate::view::findings;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use std::time::Duration;
use unknot_api::with_causes;
use unknot_api::{report::Report, rest};
use unknot_engine::{CommandError, core::effect::Refusal, store::StoreError};

/// Where this server has the pages of the codes.
pub(crate) const PAGES: &str = "/errors";

/// What a handler gives.
pub(crate) type Answer<T> = Result<T, Problem>;

/// Why a request is not carried out.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    findings: Vec<rest::Finding>,
    retry_after: Option<Duration>,
    /// A code of its own, and its title; none: those of its status.
    own: Option<(&'static str, &'static str)>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), findings: Vec::new(), retry_after: None, own: None }
    }

    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// Whether what was named is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    /// What happened this time.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// A workflow whose runs can deadlock, where such are refused.
    pub(crate) fn can_deadlock(detail: impl Into<String>) -> Self {
        let own = ("UK0430", "Runs of this workflow can wait for each other for ever");
        Self { own: Some(own), ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }

    /// An attempt asks that is being stopped, or has its lease no more.
    fn attempt_over(detail: impl Into<String>) -> Self {
        Self {
            own: Some((rest::Problem::ATTEMPT_OVER, "This attempt gets nothing any more")),
            ..Self::conflict(detail)
        }
    }

    /// An attempt asks for a wait while it has another one.
    fn waits_already(detail: impl Into<String>) -> Self {
        Self {
            own: Some((rest::Problem::WAITS_ALREADY, "This attempt waits already for something else")),
            ..Self::conflict(detail)
        }
    }

    /// The same, when it is worth another try.
    pub(crate) fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// What is wrong with a document that was sent.
    pub(crate) fn report(what: &str, report: &Report) -> Self {
        let mut told = Self::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the {what} cannot be used"));
        told.findings = findings(report);
        told
    }

    fn title(&self) -> &'static str {
        if let Some((_, title)) = self.own {
            return title;
        }
        match self.status.as_u16() {
            400 => "The request cannot be understood",
            401 => "Who asks is not known",
            403 => "This is not allowed",
            404 => "There is no such thing",
            405 => "This cannot be done here",
            408 => "The request came too slowly",
            409 => "This is too late, or contradicts what is there",
            413 => "The request is too large",
            415 => "The body is not JSON",
            416 => "There is no such part of the file",
            421 => "This server does not answer to that name",
            422 => "What was sent is not sound",
            429 => "Too many requests, or too much work",
            503 => "This cannot be done now",
            _ => "Something went wrong here",
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let code = self.own.map_or_else(|| format!("UK0{}", self.status.as_u16()), |(code, _)| code.to_owned());
        let body = rest::Problem {
            type_: format!("{PAGES}/{code}"),
            title: self.title().to_owned(),
            status: self.status.as_u16(),
            code,
            detail: self.detail,
            problems: self.findings,
        };
        // A plain structure of texts and numbers: it cannot fail.
        let text = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.status, text).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(pause) = self.retry_after {
            let seconds = pause.as_millis().div_ceil(1_000).max(1);
            headers.extend(HeaderValue::from_str(&seconds.to_string()).map(|value| (header::RETRY_AFTER, value)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let text = with_causes(&error);
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text).retry_after(Duration::from_secs(1))
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let text = with_causes(&error);
        match error {
            CommandError::Refused(refusal) => refusal.into(),
            CommandError::Store(error) => error.into(),
            CommandError::Busy(_) => Self::new(StatusCode::TOO_MANY_REQUESTS, text).retry_after(Duration::from_secs(1)),
            CommandError::NoAnswer { .. } | CommandError::Blocked { .. } | CommandError::Stopped { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, text).retry_after(Duration::from_secs(5))
            }
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::UnknownRun(_) | Refusal::Unknown { .. } | Refusal::NoSignalName(_) => Self::not_found(text),
            Refusal::RunEnded { .. }
            | Refusal::RunEnding(_)
            | Refusal::KeyReused { .. }
            | Refusal::NothingToDecide(_) => Self::conflict(text),
            Refusal::NotLeased(_) => Self::attempt_over(text),
            Refusal::WaitsAlready { .. } => Self::waits_already(text),
            Refusal::TooManyTasks { .. } | Refusal::QueueFull { .. } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, text).retry_after(Duration::from_secs(10))
            }
            Refusal::PoolTooSmall { .. }
            | Refusal::InputTooLarge { .. }
            | Refusal::BadWait(_)
            | Refusal::BadPool(_)
            | Refusal::TooManySignals { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, text),
            Refusal::FactsTooOld => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, text).retry_after(Duration::from_secs(1))
            }
            Refusal::Quarantined(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, text),
        }
    }
}
