//! Files of attempts: sent whole, in parts, or as they grow.
//!
//! What stands in an attempt's folder was made by the attempt, which may be anybody's: hands open nothing else than
//! regular files below it, and never in a way that waits.

use crate::problem::{Answer, Problem};
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use std::{
    fs::File,
    future::Future,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{sync::mpsc, task::spawn_blocking, time::sleep};
use unknot_api::rest::Artifact;
use unknot_engine::artifacts as left;

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;
/// Pause between two looks at a growing file.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Looks at a growing file between two looks at its attempt.
const LOOKS_PER_QUESTION: u32 = 5;

async fn open_later(folder: PathBuf, path: String) -> Answer<File> {
    let shown = path.clone();
    let opened = spawn_blocking(move || left::open(&folder, &path)).await;
    let missing = || Problem::not_found(format!("there is no file `{shown}`"));
    opened.map_err(|_| missing())?.map_err(|_| missing())
}

/// Sends a file, or the part of it that was asked for.
pub(crate) async fn send(folder: PathBuf, path: &str, headers: &HeaderMap, kind: &'static str) -> Answer<Response> {
    let file = open_later(folder, path.to_owned()).await?;
    let length = file.metadata().map_err(|error| Problem::not_found(error.to_string()))?.len();
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let part = range.and_then(|range| part(range, length));
    let (status, from, until) = match part {
        None => (StatusCode::OK, 0, length),
        Some(Ok((from, until))) => (StatusCode::PARTIAL_CONTENT, from, until),
        Some(Err(())) => {
            let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, format!("the file has {length} bytes"));
            let mut response = problem.into_response();
            response.headers_mut().extend(value(header::CONTENT_RANGE, format!("bytes */{length}")));
            return Ok(response);
        }
    };
    let mut response = (status, stream(file, from, until)).into_response();
    let answered = response.headers_mut();
    answered.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answered.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // A page that a task made shall not be shown as one of ours.
    answered.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answered.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    answered.extend(value(header::CONTENT_LENGTH, (until - from).to_string()));
    if status == StatusCode::PARTIAL_CONTENT {
        answered.extend(value(header::CONTENT_RANGE, format!("bytes {from}-{}/{length}", until - 1)));
    }
    Ok(response)
}

fn value(name: HeaderName, text: String) -> Option<(HeaderName, HeaderValue)> {
    HeaderValue::from_str(&text).ok().map(|value| (name, value))
}

/// The bytes that one range means, end exclusive; several ranges, or another unit, mean the whole file.
fn part(range: &str, length: u64) -> Option<Result<(u64, u64), ()>> {
    let (from, to) = range.strip_prefix("bytes=").filter(|range| !range.contains(','))?.trim().split_once('-')?;
    let (from, until) = match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(from), Ok(to)) if from <= to => (from, to.saturating_add(1).min(length)),
        (Ok(from), Err(_)) if to.is_empty() => (from, length),
        (Err(_), Ok(last)) if from.is_empty() => (length.saturating_sub(last), length),
        _ => return None,
    };
    Some(if from < until { Ok((from, until)) } else { Err(()) })
}

/// A body of a file's bytes, read on threads that may wait for the disk.
fn stream(file: File, from: u64, until: u64) -> Body {
    let (sender, chunks) = mpsc::channel::<io::Result<Bytes>>(2);
    spawn_blocking(move || {
        let mut at = from;
        while at < until {
            let many = usize::try_from(until - at).unwrap_or(CHUNK).min(CHUNK);
            let mut chunk = vec![0; many];
            let read = file.read_at(&mut chunk, at).map(|read| {
                chunk.truncate(read);
                Bytes::from(chunk)
            });
            at += read.as_ref().map_or(0, |bytes| bytes.len() as u64);
            let is_over = read.as_ref().map_or(true, Bytes::is_empty);
            // Whoever went away wants no more; a file that was cut meanwhile ends here, and the client sees that.
            if sender.blocking_send(read).is_err() || is_over {
                return;
            }
        }
    });
    Body::from_stream(Chunks(chunks))
}

/// Sends a file as it grows, until `is_over` says that nothing more comes.
pub(crate) async fn follow<F: Future<Output = bool> + Send + 'static>(
    folder: PathBuf,
    path: &'static str,
    is_over: impl Fn() -> F + Send + Sync + 'static,
) -> Answer<Response> {
    let (sender, chunks) = mpsc::channel::<io::Result<Bytes>>(2);
    tokio::spawn(async move {
        let mut at = 0;
        let mut looks = 0;
        let mut was_over = false;
        while !sender.is_closed() {
            let folder = folder.clone();
            let read = spawn_blocking(move || read_on(&folder, path, at)).await;
            let bytes = read.ok().and_then(Result::ok).unwrap_or_default();
            at += bytes.len() as u64;
            if !bytes.is_empty() {
                if sender.send(Ok(bytes)).await.is_err() {
                    return;
                }
                continue;
            }
            if was_over {
                return;
            }
            looks += 1;
            // The end is seen before the last look at the file, so nothing is missed.
            was_over = looks % LOOKS_PER_QUESTION == 1 && is_over().await;
            if !was_over {
                sleep(LOOK_EVERY).await;
            }
        }
    });
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((StatusCode::OK, kind, Body::from_stream(Chunks(chunks))).into_response())
}

fn read_on(folder: &Path, path: &str, at: u64) -> io::Result<Bytes> {
    let mut file = left::open(folder, path)?;
    file.seek(SeekFrom::Start(at))?;
    let mut chunk = Vec::with_capacity(CHUNK);
    file.take(CHUNK as u64).read_to_end(&mut chunk)?;
    Ok(chunk.into())
}

/// The files below an attempt's `artifacts/`, in order of their paths; at most 1,000. Links are not gone into. A folder
/// that cannot be read has nothing to list.
pub fn artifacts(folder: &Path) -> Vec<Artifact> {
    let files = left::list(folder).files.into_iter();
    files.map(|left::Artifact { path, bytes }| Artifact { path, bytes }).collect()
}

/// The same, on a thread that may wait for the disk.
pub(crate) async fn list(folder: PathBuf) -> Answer<Vec<Artifact>> {
    let listed = spawn_blocking(move || artifacts(&folder)).await;
    listed.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the folder cannot be read"))
}

/// Chunks of a body as they arrive.
pub(crate) struct Chunks(pub(crate) mpsc::Receiver<io::Result<Bytes>>);

impl futures_core::Stream for Chunks {
    type Item = io::Result<Bytes>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_understood_as_they_are_meant() {
        for (range, meant) in [
            ("bytes=0-9", Some(Ok((0, 10)))),
            ("bytes=5-", Some(Ok((5, 100)))),
            ("bytes=-7", Some(Ok((93, 100)))),
            ("bytes=90-200", Some(Ok((90, 100)))),
            ("bytes=100-", Some(Err(()))),
            ("bytes=-0", Some(Err(()))),
            ("bytes=9-5", None),
            ("bytes=0-1,5-6", None),
            ("lines=1-2", None),
            ("bytes=99999999999999999999-", None),
        ] {
            assert_eq!(part(range, 100), meant, "{range}");
        }
    }
}
