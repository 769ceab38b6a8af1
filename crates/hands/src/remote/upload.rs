//! What attempts print and leave, sent to the server: logs as they grow, at most once a second; once an attempt has
//! ended the rest of its log, and its artifacts, before its end is told.
//!
//! - `missing`: what did not arrive, and why, for the report.

mod missing;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};
use unknot_api::client::{Client, ClientError};
use unknot_api::work::{Assignment, Note};
use unknot_api::worker::{ARTIFACTS_BYTES_MAX, ArtifactPart};

use self::missing::Missing;
use crate::artifacts::{self, ARTIFACTS_FOLDER, Artifact, Listing};
use crate::log::LOG_FILE;
use crate::worker::Patience;
use crate::{backoff, files};
use unknot_api::with_causes;

/// How often logs that have grown are sent.
const EVERY: Duration = Duration::from_secs(1);
/// Bytes that are sent at once; a server takes twice as many.
const PART_BYTES: usize = 512 * 1024;
/// Parts of one log that are sent before the next one has its turn.
const PARTS_MAX: usize = 64;
/// How long the folder of an attempt may still be looked at once there is no time for anything else.
const LOOK_WITHIN: Duration = Duration::from_millis(500);
/// Attempts whose artifacts are sent at the same time; the others wait for their turn.
const AT_ONCE: usize = 8;

/// An attempt under one fence.
type Right = (String, u64);

/// What is sent of which attempt.
#[derive(Debug)]
pub(super) struct Uploads {
    client: Client,
    data_dir: PathBuf,
    attempts: Mutex<BTreeMap<Right, Upload>>,
    turns: Semaphore,
}

/// One attempt that is performed here.
#[derive(Debug, Clone)]
struct Upload {
    /// Under the attempt's own token.
    client: Client,
    attempt: Arc<str>,
    folder: PathBuf,
    /// Bytes of its log that the server has.
    log_sent: u64,
    /// The server takes no more of it.
    is_refused: bool,
}

/// Why something was not sent.
enum Trouble {
    /// It may go well another time.
    Passing(String),
    /// It never will, and nor will anything else of this attempt.
    Lasting(String),
    /// It never will, for what it is.
    OfFile(String),
}

impl Uploads {
    pub(super) fn new(client: Client, data_dir: PathBuf) -> Self {
        Self { client, data_dir, attempts: Mutex::default(), turns: Semaphore::new(AT_ONCE) }
    }

    /// An attempt was claimed.
    pub(super) fn begin(&self, assignment: &Assignment, token: &str) {
        // A token that no header can hold lets nobody in.
        let Ok(client) = self.client.with_token(token) else { return };
        let folder = self.data_dir.join(&assignment.folder);
        let attempt = assignment.attempt.as_str().into();
        let upload = Upload { client, attempt, folder, log_sent: 0, is_refused: false };
        self.attempts().entry((assignment.attempt.clone(), assignment.fence)).or_insert(upload);
    }

    /// An attempt is settled. Gives its folder.
    pub(super) fn forget(&self, attempt: &str, fence: u64) -> Option<PathBuf> {
        self.attempts().remove(&(attempt.to_owned(), fence)).map(|upload| upload.folder)
    }

    /// Sends what has grown of the logs, again and again.
    pub(super) async fn follow(&self) {
        loop {
            sleep(EVERY).await;
            let rights: Vec<Right> = self.attempts().keys().cloned().collect();
            for right in rights {
                for _ in 0..PARTS_MAX {
                    if !matches!(self.send_log(&right).await, Ok(false)) {
                        break;
                    }
                }
            }
        }
    }

    /// Sends the rest of an ended attempt's log, and its artifacts, and says what did not arrive.
    pub(super) async fn deliver(&self, attempt: &str, fence: u64, mut patience: Patience) -> Vec<Note> {
        let right = (attempt.to_owned(), fence);
        let Some(upload) = self.get(&right) else { return Vec::new() };
        let (mut missing, folder) = (Missing::all(), upload.folder.clone());
        let mut listing = spawn_blocking(move || artifacts::list(&folder));
        let over = tokio::select! {
            biased;
            why = patience.over() => Some(why),
            () = self.send_all(&right, &upload, &mut listing, &mut missing) => None,
        };
        if let Some(why) = over {
            // What will not come is named all the same, also of one that is ended at once.
            if !missing.is_known()
                && let Ok(listing) = timeout(LOOK_WITHIN, listing).await
            {
                missing.found(listing.ok());
            }
            missing.no_time(why);
        }
        missing.into_notes()
    }

    async fn send_all(&self, right: &Right, upload: &Upload, listing: &mut JoinHandle<Listing>, missing: &mut Missing) {
        missing.found(listing.await.ok());
        let mut failures = 0;
        loop {
            match self.send_log(right).await {
                Ok(true) => break missing.log_is_whole(),
                Ok(false) => failures = 0,
                Err(trouble) => match passed(trouble, &mut failures, |why| missing.trouble(why)).await {
                    None => {}
                    Some(Trouble::Lasting(why)) => return missing.nothing_more(why),
                    Some(Trouble::OfFile(why) | Trouble::Passing(why)) => break missing.log_is_refused(why),
                },
            }
        }
        // Never closed.
        let Ok(_turn) = self.turns.acquire().await else { return };
        while let Some(artifact) = missing.next().cloned() {
            match send_artifact(upload, &artifact, missing).await {
                Ok(()) => missing.arrived(),
                Err(Trouble::Lasting(why)) => return missing.nothing_more(why),
                Err(Trouble::OfFile(why) | Trouble::Passing(why)) => missing.refused(why),
            }
        }
    }

    /// Sends the next part of a log; true if that was its end, for now.
    async fn send_log(&self, right: &Right) -> Result<bool, Trouble> {
        let Some(upload) = self.get(right) else { return Ok(true) };
        if upload.is_refused {
            return Err(Trouble::OfFile("the server takes no more of it".to_owned()));
        }
        let (folder, from) = (upload.folder, upload.log_sent);
        // None of a log that is not there.
        let read = spawn_blocking(move || read_part(&files::plain(&folder, LOG_FILE)?, from, PART_BYTES)).await;
        let bytes = read.ok().and_then(Result::ok).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(true);
        }
        let (length, is_last) = (bytes.len() as u64, bytes.len() < PART_BYTES);
        let sent = match upload.client.upload_log(&upload.attempt, from, bytes).await {
            Ok(Ok(_)) => Ok(from + length),
            // Another server has less of it.
            Ok(Err(there)) => Ok(there.bytes),
            Err(error) => Err(Trouble::of(&error)),
        };
        let mut attempts = self.attempts();
        if let Some(upload) = attempts.get_mut(right) {
            match &sent {
                Ok(bytes) => upload.log_sent = *bytes,
                Err(trouble) => upload.is_refused = !matches!(trouble, Trouble::Passing(_)),
            }
        }
        sent.map(|sent| is_last && sent > from)
    }

    fn get(&self, right: &Right) -> Option<Upload> {
        self.attempts().get(right).cloned()
    }

    fn attempts(&self) -> MutexGuard<'_, BTreeMap<Right, Upload>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends one file, part by part; a connection that breaks costs the part that was under way.
async fn send_artifact(upload: &Upload, artifact: &Artifact, missing: &mut Missing) -> Result<(), Trouble> {
    let (folder, path) = (upload.folder.join(ARTIFACTS_FOLDER), artifact.path.clone());
    let opened = spawn_blocking(move || {
        let file = artifacts::open(&folder, &path)?;
        Ok((file.metadata()?.len(), Arc::new(file)))
    });
    let (size, file) = read(opened.await)?;
    if size > ARTIFACTS_BYTES_MAX {
        return Err(Trouble::OfFile(format!("an attempt's artifacts have at most {ARTIFACTS_BYTES_MAX} bytes")));
    }
    let (mut offset, mut failures) = (0, 0);
    loop {
        let (from, many) = (Arc::clone(&file), usize::try_from(size - offset).unwrap_or(PART_BYTES).min(PART_BYTES));
        let bytes = read(spawn_blocking(move || read_part(&from, offset, many)).await)?;
        if bytes.len() < many {
            return Err(Trouble::OfFile("it became shorter while it was sent".to_owned()));
        }
        let part = ArtifactPart { offset, size };
        let sent = match upload.client.upload_artifact(&upload.attempt, &artifact.path, part, bytes).await {
            Ok(Ok(_)) => Ok(offset + many as u64),
            Ok(Err(there)) if there.bytes < offset => Ok(there.bytes),
            Ok(Err(_)) => Err(Trouble::Passing("the server contradicts itself".to_owned())),
            Err(error) => Err(Trouble::of(&error)),
        };
        match sent {
            Ok(sent) if sent == size => return Ok(()),
            Ok(sent) => (offset, failures) = (sent, 0),
            Err(trouble) => {
                if let Some(trouble) = passed(trouble, &mut failures, |why| missing.trouble(why)).await {
                    return Err(trouble);
                }
            }
        }
    }
}

/// Waits until trouble that passes may have done so; gives back that which does not.
async fn passed(trouble: Trouble, failures: &mut usize, note: impl FnOnce(String)) -> Option<Trouble> {
    let Trouble::Passing(why) = trouble else { return Some(trouble) };
    note(why);
    *failures += 1;
    sleep(backoff::pause(*failures)).await;
    None
}

impl Trouble {
    fn of(error: &ClientError) -> Self {
        let why = with_causes(error);
        match error.status() {
            _ if error.is_passing() => Self::Passing(why),
            Some(400 | 413) => Self::OfFile(why),
            _ => Self::Lasting(why),
        }
    }
}

/// What a thread has read; what cannot be read never arrives.
fn read<T>(read: Result<io::Result<T>, tokio::task::JoinError>) -> Result<T, Trouble> {
    let failed = |why: String| Trouble::OfFile(format!("it cannot be read: {why}"));
    read.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
}

/// At most so many bytes of a file.
fn read_part(file: &File, from: u64, many: usize) -> io::Result<Bytes> {
    let mut part = vec![0; many];
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

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::sync::watch;
    use unknot_api::client::Address;
    use unknot_api::work::{Ladder, Outcome, StopReason, Work};

    use super::*;
    use crate::exec::{Told, Wish};

    #[tokio::test]
    async fn what_is_ended_at_once_sends_nothing_and_names_what_it_leaves() {
        let place = tempfile::tempdir().unwrap();
        let assignment = Assignment {
            attempt: "att_1".to_owned(),
            run: "run_1".to_owned(),
            task: "task".to_owned(),
            number: 1,
            fence: 5,
            folder: "attempts/att_1".to_owned(),
            work: Work::Noop,
            heartbeat_timeout_ms: None,
            hard_deadline_ms_from_start: 1,
            ladder: Ladder { told_ms: None, term_ms: 1, kill_ms: 1 },
            idempotency_key: "key".to_owned(),
            lease_ms: None,
            in_lent_slot: false,
            env: BTreeMap::new(),
        };
        let left = place.path().join("attempts/att_1/artifacts");
        fs::create_dir_all(&left).unwrap();
        fs::write(left.join("page"), "x").unwrap();
        let nobody = Client::new(Address::Local(place.path().join("nobody")), None).unwrap();
        let uploads = Uploads::new(nobody, place.path().to_owned());
        uploads.begin(&assignment, "token");
        let (_wish, wishes) = watch::channel(Wish::Kill(StopReason::Cancelled));
        let outcome = Outcome::Stopped { reason: StopReason::Cancelled };
        let patience = Patience::after(&outcome, Told { wishes, lease: None });
        let notes = uploads.deliver("att_1", 5, patience).await;
        let [Note::LogFailed { .. }, lost] = &notes[..] else { panic!("{notes:?}") };
        let (first, message) = (vec!["page".to_owned()], "it was ended at once".to_owned());
        assert_eq!(*lost, Note::ArtifactsLost { count: 1, first, message });
    }
}
