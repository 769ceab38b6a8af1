//! What attempts elsewhere send under their own tokens: their logs and artifacts. `docs/worker-protocol.md` has it whole.

use super::{Params, read};
use crate::{
    app::App,
    operation::{Access, Operation, put},
    problem::{Answer, Problem},
    upload::{self, ArtifactPath, Part, Received},
};
use axum::{
    Extension,
    extract::{Path, Request, State},
    http::StatusCode,
    response::Response,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::task::spawn_blocking;
use unknot_api::worker::{self as wire, ARTIFACTS_BYTES_MAX, ArtifactPart, PART_BYTES_MAX};
use unknot_engine::{ATTEMPTS, AttemptRight as Right, LeaseUnknown, attempt_folder, core::AttemptId};

/// Bytes of a log: what a hand keeps of its beginning and end, and the mark between them.
const LOG_MAX: u64 = 16 * 1024 * 1024 + 4096;
/// When a part is worth another try that met another one, or a brain that was busy.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

pub(super) fn operations() -> Vec<Operation> {
    vec![
        put("/attempts/{attempt_id}/log", log)
            .open(Access::Attempt)
            .is("uploadLog", "Add to the log of an attempt")
            .note(
                "The body, at most 1 MiB, begins at `offset`, at most where the log ends. The same part may be sent \
                 again. A log has at most 16 MiB.",
            )
            .query::<LogPart>()
            .takes_bytes()
            .gives::<wire::Uploaded>(200, "How much there is now.")
            .gives::<wire::Uploaded>(409, "How much there is: go on from there."),
        put("/attempts/{attempt_id}/artifacts/{*path}", artifact)
            .open(Access::Attempt)
            .is("uploadArtifact", "Send a part of a file that an attempt leaves")
            .note(
                "The body, at most 1 MiB, begins at `offset`, at most where what is there ends; a part at 0 begins \
                 anew. With `size` bytes the file is whole: only then it is shown, in place of what had its path. An \
                 attempt has at most 1,000 files of 1 GiB together, 8 folders deep.",
            )
            .query::<ArtifactPart>()
            .takes_bytes()
            .gives::<wire::Uploaded>(200, "How much there is now; all of it: the file is whole.")
            .gives::<wire::Uploaded>(409, "How much there is: go on from there."),
    ]
}

/// Which part of a log is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LogPart {
    /// Where it begins, in bytes.
    offset: u64,
}

async fn log(
    State(app): State<Arc<App>>,
    Path(attempt): Path<String>,
    Params(part): Params<LogPart>,
    Extension(right): Extension<Right>,
    request: Request,
) -> Answer<Response> {
    is_its_own(&attempt, right)?;
    let bytes = read(request, PART_BYTES_MAX).await?;
    if part.offset.saturating_add(bytes.len() as u64) > LOG_MAX {
        return Err(too_much(format!("a log has at most {LOG_MAX} bytes")));
    }
    let folder = folder(&app, right).await?;
    let added = spawn_blocking(move || upload::add(&folder, "log.txt", part.offset, &bytes));
    answer(added.await, "the log")
}

async fn artifact(
    State(app): State<Arc<App>>,
    Path((attempt, path)): Path<(String, String)>,
    Params(ArtifactPart { offset, size }): Params<ArtifactPart>,
    Extension(right): Extension<Right>,
    request: Request,
) -> Answer<Response> {
    is_its_own(&attempt, right)?;
    let path = ArtifactPath::parse(&path).map_err(Problem::bad)?;
    if size > ARTIFACTS_BYTES_MAX {
        return Err(too_much(format!("an attempt's artifacts have at most {ARTIFACTS_BYTES_MAX} bytes")));
    }
    let bytes = read(request, PART_BYTES_MAX).await?;
    if offset.saturating_add(bytes.len() as u64) > size {
        return Err(Problem::bad("the part goes beyond the file's `size`"));
    }
    let folder = folder(&app, right).await?;
    let what = format!("`{path}`");
    let received = spawn_blocking(move || upload::receive(&folder, &path, &Part { offset, size, bytes: &bytes }));
    answer(received.await, &what)
}

impl From<LeaseUnknown> for Problem {
    fn from(error: LeaseUnknown) -> Self {
        // Not 401: that is lasting, and whoever is told so gives up what it has to send.
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).retry_after(BUSY_PAUSE)
    }
}

/// A token is good for its own attempt.
pub(super) fn is_its_own(attempt: &str, right: Right) -> Answer<()> {
    let attempt: AttemptId = super::parse(attempt, "the id of an attempt")?;
    let other = || Problem::forbidden(format!("the token is that of `{}`", right.attempt));
    (attempt == right.attempt).then_some(()).ok_or_else(other)
}

/// The folder of an attempt that has its lease. Asked when the bytes are there: it may have lost it while they came.
async fn folder(app: &App, right: Right) -> Answer<PathBuf> {
    let Right { attempt, fence } = right;
    let gone = || Problem::new(StatusCode::UNAUTHORIZED, format!("`{attempt}` has its lease under this fence no more"));
    let task_name = app.engine.task_of_lease(attempt, fence).await?.ok_or_else(gone)?;
    Ok(app.engine.data().join(attempt_folder(std::path::Path::new(ATTEMPTS), attempt, &task_name)))
}

fn answer(received: Result<std::io::Result<Received>, tokio::task::JoinError>, what: &str) -> Answer<Response> {
    let failed = |why: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("cannot keep {what}: {why}"));
    let received = received.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
    let (status, bytes) = match received {
        Received::Taken(bytes) => (StatusCode::OK, bytes),
        Received::EndsAt(bytes) => (StatusCode::CONFLICT, bytes),
        Received::Busy => return Err(failed("another part is being written".to_owned()).retry_after(BUSY_PAUSE)),
        Received::TooMuch(why) => return Err(too_much(why)),
        Received::NoPlace(why) => return Err(Problem::bad(why)),
    };
    Ok(super::json(status, &wire::Uploaded { bytes }))
}

fn too_much(detail: String) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}
