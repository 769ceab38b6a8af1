//! All operations of the API, and how their requests are read.

mod again;
mod alerts;
mod asks;
mod attempts;
mod calls;
mod cancel;
mod deadlocks;
mod events;
mod health;
mod metrics;
mod operate;
mod pages;
mod pools;
mod proof;
mod query;
mod runs;
mod signals;
mod submit;
mod tasks;
mod waits;
mod why;
mod workers;
mod workflows;

use crate::{
    openapi,
    operation::Operation,
    problem::{Answer, Problem},
};
use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Body as _;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use std::{str::FromStr, time::Duration};
use tokio::time::timeout;
use unknot_engine::store::{Namespace, PageSize};

/// The header that names the namespace.
const NAMESPACE: &str = "unknot-namespace";
/// Bytes of a body that holds a workflow.
const WORKFLOW_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of any other body.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How long a body may take to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// The longest part of a list.
const LIMIT_MAX: usize = 1_000;

/// Every operation, in the order of the document.
pub(crate) fn operations() -> Vec<Operation> {
    [
        submit::operations(),
        runs::operations(),
        again::operations(),
        cancel::operations(),
        signals::operations(),
        tasks::operations(),
        why::operations(),
        waits::operations(),
        deadlocks::operations(),
        events::operations(),
        workflows::operations(),
        workers::operations(),
        attempts::operations(),
        asks::operations(),
        pools::operations(),
        operate::operations(),
        alerts::operations(),
        health::operations(),
        metrics::operations(),
        pages::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// All of them, and the document that describes them.
pub(crate) fn all() -> Vec<Operation> {
    operations().into_iter().chain(openapi::operations()).collect()
}

/// An answer as JSON.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => {
            let kind = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
            (status, kind, text).into_response()
        }
        Err(error) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// What is usually answered.
pub(crate) fn ok(value: &impl Serialize) -> Answer<Response> {
    Ok(json(StatusCode::OK, value))
}

/// A part of the path.
pub(crate) fn parse<T: FromStr>(text: &str, what: &str) -> Answer<T> {
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(80).collect();
        Problem::not_found(format!("`{shown}` is not {what}"))
    })
}

/// How long a part of a list is to be.
pub(crate) fn page_size(limit: Option<usize>) -> Answer<PageSize> {
    match limit {
        None => Ok(PageSize::default()),
        Some(limit @ 1..=LIMIT_MAX) => Ok(PageSize::new(limit)),
        Some(limit) => Err(Problem::bad(format!("`limit` is {limit}, expected 1 to {LIMIT_MAX}"))),
    }
}

/// The parameters of a query.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned + JsonSchema, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        in_our_namespace(&parts.headers)?;
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(found)) => Ok(Self(found)),
            Err(error) => {
                let why = query::in_words::<T>(&unknot_api::with_causes(&error));
                Err(Problem::bad(format!("the query cannot be used: {why}")))
            }
        }
    }
}

/// Whoever serves several namespaces is asked for one by a header; this server has one.
fn in_our_namespace(headers: &HeaderMap) -> Answer<()> {
    let Some(named) = headers.get(NAMESPACE) else { return Ok(()) };
    let text = named.to_str().unwrap_or_default();
    let namespace: Namespace = text.parse().map_err(|error| Problem::bad(format!("{error}")))?;
    let unknown = || Problem::not_found(format!("the namespace `{namespace}` is not served here"));
    (namespace == Namespace::default()).then_some(()).ok_or_else(unknown)
}

/// A body that must be there.
pub(crate) struct Sent<T>(pub(crate) T);

/// A body that may be missing.
pub(crate) struct MaySend<T>(pub(crate) T);

/// A body that holds a workflow: it may be larger.
pub(crate) struct SentWorkflow<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Sent<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        read(request, BODY_BYTES_MAX).await.and_then(|bytes| understand(&bytes)).map(Self)
    }
}

impl<T: DeserializeOwned + Default, S: Sync> FromRequest<S> for MaySend<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = read(request, BODY_BYTES_MAX).await?;
        if bytes.is_empty() { Ok(Self(T::default())) } else { understand(&bytes).map(Self) }
    }
}

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for SentWorkflow<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        read(request, WORKFLOW_BYTES_MAX).await.and_then(|bytes| understand(&bytes)).map(Self)
    }
}

async fn read(request: Request, most: usize) -> Answer<Bytes> {
    in_our_namespace(request.headers())?;
    let too_large = || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body here has at most {most} bytes"));
    // One that announces itself as too large is not waited for.
    if request.body().size_hint().lower() > most as u64 {
        return Err(too_large());
    }
    let body: Limited<Body> = Limited::new(request.into_body(), most);
    match timeout(BODY_WITHIN, body.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Problem::bad(format!("the body cannot be read: {error}"))),
        Err(_) => {
            let detail = format!("the body did not arrive within {} s", BODY_WITHIN.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
        }
    }
}

/// Every body is an object. The reader of structures would take a list of their fields as well.
fn understand<T: DeserializeOwned>(bytes: &[u8]) -> Answer<T> {
    if bytes.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(Problem::bad("the body cannot be used: expected a JSON object"));
    }
    let wrong = |error: serde_json::Error| {
        Problem::bad(format!("the body cannot be used: {}", unknot_api::in_plain_words(&error.to_string())))
    };
    serde_json::from_slice(bytes).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{runtime::Builder, sync::mpsc};

    #[test]
    fn a_body_that_does_not_arrive_is_not_waited_for_for_ever() {
        let (sender, chunks) = mpsc::channel(1);
        sender.try_send(Ok(Bytes::from_static(b"{"))).unwrap();
        let slow = Request::new(Body::from_stream(crate::files::Chunks(chunks)));
        // Its clock runs on while everybody waits.
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let problem = runtime.block_on(read(slow, BODY_BYTES_MAX)).unwrap_err();
        assert_eq!(problem.into_response().status(), StatusCode::REQUEST_TIMEOUT);
        drop(sender);
    }
}
