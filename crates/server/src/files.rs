//! Files of attempts: sent whole, in parts, or as they grow.
//!
//! What stands in an attempt's folder was made by the attempt, which may be anybody's. So files are opened below their
//! folder by the kernel's own rule (`openat2`: no `..`, no links), only regular ones, and never in a way that waits.

use crate::problem::{Answer, Problem};
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::{
    fs::{self, File},
    future::Future,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{sync::mpsc, task::spawn_blocking, time::sleep};
use unknot_api::rest::Artifact;

/// The folder of what an attempt leaves to keep.
pub(crate) const ARTIFACTS: &str = "artifacts";
/// Bytes read at once.
const CHUNK: usize = 64 * 1024;
/// Pause between two looks at a growing file.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Looks at a growing file between two looks at its attempt.
const LOOKS_PER_QUESTION: u32 = 5;
/// Artifacts that are listed, and how deep folders are gone into.
const LISTED_MAX: usize = 1_000;
const DEPTH_MAX: usize = 8;

/// Opens a regular file below a folder.
fn open(folder: &Path, path: &str) -> io::Result<File> {
    let base = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let file: File = rustix::fs::openat2(base, path, flags, Mode::empty(), resolve)?.into();
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
}

async fn open_later(folder: PathBuf, path: String) -> Answer<File> {
    let shown = path.clone();
    let opened = spawn_blocking(move || open(&folder, &path)).await;
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
    let mut file = open(folder, path)?;
    file.seek(SeekFrom::Start(at))?;
    let mut chunk = Vec::with_capacity(CHUNK);
    file.take(CHUNK as u64).read_to_end(&mut chunk)?;
    Ok(chunk.into())
}

/// Adds bytes to a file at a place that is not beyond its end; says whether, and how long the file is now.
pub(crate) async fn add(folder: PathBuf, name: &'static str, offset: u64, bytes: Bytes) -> Answer<(bool, u64)> {
    let added = spawn_blocking(move || write_at(&folder, name, offset, &bytes)).await;
    let failed = |what: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("cannot keep `{name}`: {what}"));
    added.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
}

fn write_at(folder: &Path, name: &str, offset: u64, bytes: &[u8]) -> io::Result<(bool, u64)> {
    fs::create_dir_all(folder)?;
    let base = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
    let file: File = rustix::fs::openat2(base, name, flags, mode, resolve)?.into();
    let length = file.metadata()?.len();
    if offset > length {
        return Ok((false, length));
    }
    file.write_all_at(bytes, offset)?;
    Ok((true, length.max(offset + bytes.len() as u64)))
}

/// The files below an attempt's `artifacts/`, in order of their paths; at most 1,000. Links are not gone into. A folder
/// that cannot be read has nothing to list.
pub fn artifacts(folder: &Path) -> Vec<Artifact> {
    let mut found = Vec::new();
    gather(&folder.join(ARTIFACTS), "", DEPTH_MAX, &mut found);
    found.sort_by(|one: &Artifact, other| one.path.cmp(&other.path));
    found
}

/// The same, on a thread that may wait for the disk.
pub(crate) async fn list(folder: PathBuf) -> Answer<Vec<Artifact>> {
    let gathered = spawn_blocking(move || artifacts(&folder));
    gathered.await.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the folder cannot be read"))
}

fn gather(folder: &Path, prefix: &str, depth: usize, found: &mut Vec<Artifact>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let (Ok(kind), Some(name)) = (entry.file_type(), entry.file_name().to_str().map(str::to_owned)) else {
            continue;
        };
        if found.len() >= LISTED_MAX {
            return;
        }
        let path = format!("{prefix}{name}");
        if kind.is_dir() && depth > 0 {
            gather(&entry.path(), &format!("{path}/"), depth - 1, found);
        } else if let (true, Ok(data)) = (kind.is_file(), entry.metadata()) {
            found.push(Artifact { path, bytes: data.len() });
        }
    }
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

    #[test]
    fn a_part_that_comes_again_changes_nothing_and_leaves_no_hole() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("deep/down");
        let add = |offset, bytes: &str| write_at(&folder, "log.txt", offset, bytes.as_bytes()).expect("written");
        assert_eq!(add(0, "abc"), (true, 3));
        assert_eq!(add(1, "bcd"), (true, 4));
        assert_eq!(add(0, "abc"), (true, 4));
        assert_eq!(add(5, "f"), (false, 4));
        assert_eq!(fs::read_to_string(folder.join("log.txt")).expect("there"), "abcd");
        std::os::unix::fs::symlink("/tmp/nothing", folder.join("link")).expect("made");
        assert!(write_at(&folder, "link", 0, b"x").is_err());
    }

    #[test]
    fn nothing_outside_of_the_folder_is_opened() {
        let outside = tempfile::tempdir().expect("a folder");
        fs::write(outside.path().join("secret"), "x").expect("written");
        let folder = outside.path().join("artifacts");
        fs::create_dir_all(folder.join("deep")).expect("made");
        fs::write(folder.join("deep/page"), "x").expect("written");
        std::os::unix::fs::symlink(outside.path().join("secret"), folder.join("link")).expect("made");
        std::os::unix::fs::symlink(outside.path(), folder.join("way")).expect("made");
        rustix::fs::mknodat(rustix::fs::CWD, folder.join("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .expect("made");
        assert!(open(&folder, "deep/page").is_ok());
        for path in ["../secret", "deep/../../secret", "link", "way/secret", "fifo", "deep", "/etc/passwd", "", "."] {
            assert!(open(&folder, path).is_err(), "{path}");
        }
    }
}
