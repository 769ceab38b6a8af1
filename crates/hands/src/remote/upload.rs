//! Logs of attempts, sent to the server as they grow: at most once a second, and a last time before the end is told.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use unknot_api::client::Client;
use unknot_api::work::Assignment;

use crate::files;
use crate::log::LOG_FILE;

/// How often logs that have grown are sent.
const EVERY: Duration = Duration::from_secs(1);
/// Bytes that are sent at once.
const PART_BYTES: usize = 512 * 1024;
/// Parts of one log that are sent before the next one has its turn.
const PARTS_MAX: usize = 64;
/// How long the end of an attempt waits for its log.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// An attempt under one fence.
type Right = (String, u64);

/// What is sent of which attempt.
#[derive(Debug)]
pub(super) struct Uploads {
    client: Client,
    data_dir: PathBuf,
    logs: Mutex<BTreeMap<Right, Log>>,
}

#[derive(Debug, Clone)]
struct Log {
    client: Client,
    folder: PathBuf,
    sent: u64,
    /// The server takes no more of it.
    is_refused: bool,
}

impl Uploads {
    pub(super) fn new(client: Client, data_dir: PathBuf) -> Self {
        Self { client, data_dir, logs: Mutex::default() }
    }

    /// An attempt was claimed.
    pub(super) fn begin(&self, assignment: &Assignment, token: &str) {
        // A token that no header can hold lets nobody in.
        let Ok(client) = self.client.with_token(token) else { return };
        let folder = self.data_dir.join(&assignment.folder);
        let log = Log { client, folder, sent: 0, is_refused: false };
        self.logs().entry((assignment.attempt.clone(), assignment.fence)).or_insert(log);
    }

    /// An attempt is settled.
    pub(super) fn forget(&self, attempt: &str, fence: u64) {
        self.logs().remove(&(attempt.to_owned(), fence));
    }

    /// Sends what has grown, again and again.
    pub(super) async fn follow(&self) {
        loop {
            sleep(EVERY).await;
            let rights: Vec<Right> = self.logs().keys().cloned().collect();
            for right in rights {
                self.send(&right).await;
            }
        }
    }

    /// Sends what is left of the logs of attempts that have ended, within a bound.
    pub(super) async fn finish(&self, ended: impl Iterator<Item = (&str, u64)>) {
        let send_all = async {
            for (attempt, fence) in ended {
                self.send(&(attempt.to_owned(), fence)).await;
            }
        };
        // A log that does not arrive is no reason to keep the end back.
        timeout(LAST_PATIENCE, send_all).await.unwrap_or_default();
    }

    async fn send(&self, right: &Right) {
        for _ in 0..PARTS_MAX {
            let Some(log) = self.logs().get(right).cloned().filter(|log| !log.is_refused) else { return };
            let (folder, from) = (log.folder.clone(), log.sent);
            let read = spawn_blocking(move || read_part(&folder, from)).await;
            let bytes = read.ok().and_then(Result::ok).unwrap_or_default();
            if bytes.is_empty() {
                return;
            }
            let (length, is_last) = (bytes.len() as u64, bytes.len() < PART_BYTES);
            let (sent, is_refused) = match log.client.upload_log(&right.0, from, bytes).await {
                Ok(Ok(_)) => (from + length, false),
                // Another server has less of it.
                Ok(Err(there)) => (there.bytes, false),
                Err(error) => (from, error.status().is_some() && !error.is_passing()),
            };
            let is_stuck = sent == from;
            if let Some(log) = self.logs().get_mut(right) {
                (log.sent, log.is_refused) = (sent, is_refused);
            }
            if is_last || is_stuck {
                return;
            }
        }
    }

    fn logs(&self) -> MutexGuard<'_, BTreeMap<Right, Log>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next part of a log; nothing of one that is not there.
fn read_part(folder: &Path, from: u64) -> io::Result<Bytes> {
    let file = files::plain(folder, LOG_FILE)?;
    let mut part = vec![0; PART_BYTES];
    let mut filled = 0;
    while filled < part.len() {
        match file.read_at(&mut part[filled..], from + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    part.truncate(filled);
    Ok(part.into())
}
