//! What is kept of an answer's body: the beginning in memory, and all of it in a file if it is long.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use bytes::Bytes;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use unknot_api::work::{HttpTimeouts, OUTPUT_BYTES_MAX};

use super::exchange::Exchange;
use super::failure::{Failure, within};
use super::target::Target;
use super::trace::length;
use crate::exec::DISK_PATIENCE;
use crate::files;

/// The name of the file, in the folder of artifacts.
pub(super) const BODY_FILE: &str = "body";
/// How much of the body of an answer that is a failure is looked at.
pub(super) const ERROR_BYTES_MAX: u64 = 64 * 1024;
/// How much of it stands in the log.
const EXCERPT_BYTES: usize = 2 * 1024;
/// How much is written at once.
const WRITE_BYTES: usize = 256 * 1024;

/// A body as it comes in.
#[derive(Debug)]
pub(super) struct Body {
    folder: PathBuf,
    /// All of it, until it is too long; then its beginning.
    head: Vec<u8>,
    bytes: u64,
    file: Option<File>,
    /// What is still to be written to the file.
    unwritten: Vec<u8>,
}

impl Body {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, head: Vec::new(), bytes: 0, file: None, unwritten: Vec::new() }
    }

    /// Takes all that comes, each part within its clock, and no more than `bytes_max`.
    pub(super) async fn read(
        &mut self,
        exchange: &mut Exchange,
        clocks: HttpTimeouts,
        bytes_max: u64,
        target: &Target,
    ) -> Result<(), Failure> {
        let too_long =
            || Failure::output(format!("{target} sends more than {bytes_max} bytes, the `max_body` of the task"));
        if exchange.announced_bytes().is_some_and(|bytes| bytes > bytes_max) {
            return Err(too_long().for_good());
        }
        let mut limit_ms = clocks.first_byte_ms;
        loop {
            let bytes = self.bytes;
            let late = || {
                let what = if bytes == 0 {
                    "headers and then nothing".to_owned()
                } else {
                    format!("{bytes} bytes and then nothing")
                };
                Failure::answer(format!("{target} sent {what} for {}", length(limit_ms)))
            };
            let Some(part) = within(limit_ms, exchange.next(), late).await? else { break };
            if part.is_empty() {
                continue;
            }
            limit_ms = clocks.gap_ms;
            self.bytes += part.len() as u64;
            if self.bytes > bytes_max {
                return Err(too_long().for_good());
            }
            self.keep(&part).await?;
        }
        self.write().await
    }

    async fn keep(&mut self, part: &Bytes) -> Result<(), Failure> {
        if self.file.is_none() && self.bytes <= OUTPUT_BYTES_MAX as u64 {
            self.head.extend_from_slice(part);
            return Ok(());
        }
        if self.file.is_none() {
            self.open().await?;
        }
        self.unwritten.extend_from_slice(part);
        if self.unwritten.len() >= WRITE_BYTES { self.write().await } else { Ok(()) }
    }

    /// Makes the file, and has in mind to write to it what is in memory.
    async fn open(&mut self) -> Result<(), Failure> {
        let folder = self.folder.clone();
        self.file = Some(on_disk(move || files::replace(&folder, BODY_FILE)).await?);
        self.unwritten = self.head.clone();
        Ok(())
    }

    async fn write(&mut self) -> Result<(), Failure> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let bytes = std::mem::take(&mut self.unwritten);
        let written = on_disk(move || file.write_all(&bytes).map(|()| file));
        self.file = Some(written.await?);
        Ok(())
    }

    /// How long it is.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All of it as text, if it is text and short enough.
    pub(super) fn text(&self) -> Option<&str> {
        if self.file.is_some() { None } else { str::from_utf8(&self.head).ok() }
    }

    /// Puts it into its file, if it is not there yet.
    pub(super) async fn save(&mut self) -> Result<(), Failure> {
        if self.file.is_none() {
            self.open().await?;
            self.write().await?;
        }
        Ok(())
    }

    /// Its beginning, for the log.
    pub(super) fn excerpt(&self) -> Vec<u8> {
        let mut text = self.head[..self.head.len().min(EXCERPT_BYTES)].to_vec();
        if !text.is_empty() && !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        text
    }
}

/// Does something with a disk that may not answer.
async fn on_disk<T: Send + 'static>(act: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Failure> {
    let failed = |why: String| Failure::output(format!("cannot write `artifacts/{BODY_FILE}`: {why}"));
    match timeout(DISK_PATIENCE, spawn_blocking(act)).await {
        Ok(Ok(Ok(done))) => Ok(done),
        Ok(Ok(Err(error))) => Err(failed(error.to_string())),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("the disk does not answer".to_owned())),
    }
}
