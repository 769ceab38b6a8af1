//! The API's words as the core has them.

use crate::error::Error;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::sync::Arc;
use unknot_api::{Moment, client::ClientError, rest};
use unknot_engine::core::{CommitSeq, RunId, TaskId, Timestamp, row::HistoryEntry};

/// A run's id.
///
/// # Errors
/// If a server calls it in a way that this program does not know.
pub(crate) fn run_id(run: &rest::Run) -> Result<RunId, Error> {
    run.summary.run_id.parse().map_err(|_| strange(&run.summary.run_id))
}

/// An id that this program cannot read.
pub(super) fn strange(id: &str) -> Error {
    let detail = format!("`{id}` is no id as this program knows them");
    Error::client("read the server's answer")(ClientError::Strange { status: 200, detail })
}

/// A line of history as a store has it; none if this program does not know what happened there.
pub(crate) fn entry(run: RunId, event: rest::Event) -> Option<HistoryEntry> {
    let detail = if event.detail.is_null() { Value::Object(Map::new()) } else { event.detail };
    Some(HistoryEntry {
        at: Timestamp(event.at.ms),
        run,
        event: read_word(&event.event)?,
        task: event.task_id.and_then(|id| id.parse::<TaskId>().ok()).map(|id| id.index),
        name: event.task.map(Arc::from),
        attempt: event.attempt,
        detail: serde_json::from_value(detail).unwrap_or_default(),
        first_commit: CommitSeq(0),
    })
}

/// A word of the API as the core knows it; none if this program is older than the word.
pub(crate) fn read_word<T: DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(Value::from(word)).ok()
}

/// A moment of the API as the core has it.
pub(crate) fn stamp(at: Moment) -> Timestamp {
    Timestamp(at.ms)
}
