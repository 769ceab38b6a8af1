//! The text of a row: JSON, the same in every store, readable in a database shell.
//!
//! Keys are columns, the rest of a row is its body. What the body does not hold (`first_commit` of a
//! history line) is told to the store in other ways, see [`HistoryEntry`].

use crate::StoreError;
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;
use unknot_core::{
    CommitSeq,
    deadlock::Deadlock,
    row::{HistoryEntry, Key, Row},
    wait::Snapshot,
    workflow::{Definition, DefinitionHash},
};

/// Writes bodies into one buffer, used again for each.
#[derive(Default)]
pub(crate) struct Encoder {
    buffer: Vec<u8>,
}

/// The kind of a row, without its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Definition,
    Run,
    Task,
    Finished,
    Pool,
    Queue,
    PausedWorkflow,
    Continuation,
    DeadLetter,
    Workflow,
    Quarantine,
    Child,
    Deadlock,
    Alert,
}

impl Encoder {
    /// The body of a row.
    pub(crate) fn row(&mut self, row: &Row) -> Result<&str, String> {
        match row {
            Row::Definition(definition) => self.json(&definition.body),
            Row::Run(run) => self.json(run),
            Row::Task(task) => self.json(task),
            Row::Finished(finished) => self.json(finished),
            Row::Pool(pool) => self.json(pool),
            Row::Queue(queue) => self.json(queue),
            Row::PausedWorkflow(pause) => self.json(pause),
            Row::Continuation(continuation) => self.json(continuation),
            Row::DeadLetter(letter) => self.json(letter),
            Row::Workflow(workflow) => self.json(workflow),
            Row::Quarantine(quarantined) => self.json(quarantined),
            Row::Child(child) => self.json(child),
            Row::Deadlock(deadlock) => self.json(deadlock),
            Row::Alert(alert) => self.json(alert),
        }
    }

    /// The body of a verdict without its graph, and its graph.
    pub(crate) fn verdict(&mut self, verdict: &Deadlock) -> Result<(String, String), String> {
        let body = self.json(&without_graph(verdict))?.to_owned();
        Ok((body, self.json(&verdict.graph)?.to_owned()))
    }

    /// The body of a batch's history: one list.
    pub(crate) fn history(&mut self, entries: &[HistoryEntry]) -> Result<&str, String> {
        self.json(entries)
    }

    pub(crate) fn json(&mut self, value: &(impl Serialize + ?Sized)) -> Result<&str, String> {
        self.buffer.clear();
        serde_json::to_writer(&mut self.buffer, value).map_err(|error| format!("a row cannot be written: {error}"))?;
        std::str::from_utf8(&self.buffer).map_err(|error| format!("a row is not text: {error}"))
    }
}

/// A verdict as lists have it.
pub(crate) fn without_graph(verdict: &Deadlock) -> Deadlock {
    Deadlock {
        graph: Snapshot::default(),
        members: verdict.members.clone(),
        above: verdict.above.clone(),
        explanation: verdict.explanation.clone(),
        victims: verdict.victims.clone(),
        repairs: verdict.repairs.clone(),
        cancel: verdict.cancel.clone(),
        outcome: verdict.outcome.clone(),
        false_positive: verdict.false_positive.clone(),
        ..*verdict
    }
}

/// Reads a row back.
pub(crate) fn decode(kind: Kind, body: &str) -> Result<Row, StoreError> {
    let row = match kind {
        Kind::Definition => return Ok(Row::Definition(decode_definition(body)?)),
        Kind::Run => from_json(body).map(|run| Row::Run(Box::new(run))),
        Kind::Task => from_json(body).map(|task| Row::Task(Box::new(task))),
        Kind::Finished => from_json(body).map(|finished| Row::Finished(Box::new(finished))),
        Kind::Pool => from_json(body).map(Row::Pool),
        Kind::Queue => from_json(body).map(Row::Queue),
        Kind::PausedWorkflow => from_json(body).map(Row::PausedWorkflow),
        Kind::Continuation => from_json(body).map(Row::Continuation),
        Kind::DeadLetter => from_json(body).map(Row::DeadLetter),
        Kind::Workflow => from_json(body).map(|workflow| Row::Workflow(Box::new(workflow))),
        Kind::Quarantine => from_json(body).map(Row::Quarantine),
        Kind::Child => from_json(body).map(Row::Child),
        Kind::Deadlock => from_json(body).map(|deadlock| Row::Deadlock(Box::new(deadlock))),
        Kind::Alert => from_json(body).map(|alert| Row::Alert(Box::new(alert))),
    };
    row.map_err(|error| unreadable(kind, &error))
}

/// Reads a definition back, with what is derived from it.
pub(crate) fn decode_definition(body: &str) -> Result<Arc<Definition>, StoreError> {
    decode_as(Kind::Definition, body).map(Arc::new)
}

/// Reads any body back whose type is known where it is read.
pub(crate) fn decode_as<T: DeserializeOwned>(kind: Kind, body: &str) -> Result<T, StoreError> {
    from_json(body).map_err(|error| unreadable(kind, &error))
}

/// Reads a commit's history back.
pub(crate) fn decode_history(commit: CommitSeq, body: &str) -> Result<Vec<HistoryEntry>, StoreError> {
    decode_lines(commit, body)
}

/// Reads a commit's history back, or of each line what the caller needs.
pub(crate) fn decode_lines<T: DeserializeOwned>(commit: CommitSeq, body: &str) -> Result<Vec<T>, StoreError> {
    from_json(body).map_err(|error| StoreError::Corrupt {
        detail: format!("the history of commit {} cannot be read", commit.0),
        cause: Some(error.into()),
    })
}

fn from_json<T: DeserializeOwned>(body: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(body)
}

fn unreadable(kind: Kind, error: &serde_json::Error) -> StoreError {
    StoreError::damaged(format!("a {} row cannot be read: {error}", kind.table()))
}

impl Kind {
    /// All of them, in the order in which they are declared.
    pub(crate) const ALL: [Self; 14] = [
        Self::Definition,
        Self::Run,
        Self::Task,
        Self::Finished,
        Self::Pool,
        Self::Queue,
        Self::PausedWorkflow,
        Self::Continuation,
        Self::DeadLetter,
        Self::Workflow,
        Self::Quarantine,
        Self::Child,
        Self::Deadlock,
        Self::Alert,
    ];

    /// The kind of row that belongs under a key.
    pub(crate) fn of(key: &Key) -> Self {
        match key {
            Key::Definition(_) => Self::Definition,
            Key::Run(_) => Self::Run,
            Key::Task(_) => Self::Task,
            Key::Finished(_) => Self::Finished,
            Key::Pool(_) => Self::Pool,
            Key::Queue(_) => Self::Queue,
            Key::PausedWorkflow(_) => Self::PausedWorkflow,
            Key::Continuation(_) => Self::Continuation,
            Key::DeadLetter(_) => Self::DeadLetter,
            Key::Workflow(..) => Self::Workflow,
            Key::Quarantine(_) => Self::Quarantine,
            Key::Child(..) => Self::Child,
            Key::Deadlock(_) => Self::Deadlock,
            Key::Alert(_) => Self::Alert,
        }
    }

    /// The table where such rows are kept, and the word for them.
    pub(crate) const fn table(self) -> &'static str {
        match self {
            Self::Definition => "definition",
            Self::Run => "run",
            Self::Task => "task",
            Self::Finished => "finished",
            Self::Pool => "pool",
            Self::Queue => "queue",
            Self::PausedWorkflow => "paused_workflow",
            Self::Continuation => "continuation",
            Self::DeadLetter => "dead_letter",
            Self::Workflow => "workflow",
            Self::Quarantine => "quarantine",
            Self::Child => "child",
            Self::Deadlock => "deadlock",
            Self::Alert => "alert",
        }
    }

    /// The columns of its key, behind the namespace.
    pub(crate) const fn key_columns(self) -> &'static [&'static str] {
        match self {
            Self::Definition => &["hash"],
            Self::Run | Self::Finished => &["run_id"],
            Self::Task | Self::DeadLetter => &["run_id", "place"],
            Self::Pool | Self::Queue | Self::PausedWorkflow => &["name"],
            Self::Continuation | Self::Quarantine | Self::Deadlock | Self::Alert => &["seq"],
            Self::Child => &["run_id", "place", "key"],
            Self::Workflow => &["name", "seq"],
        }
    }

    /// Whether the brain holds such rows in memory, so that a load returns them.
    pub(crate) const fn is_live(self) -> bool {
        !matches!(self, Self::Finished | Self::DeadLetter | Self::Workflow | Self::Quarantine | Self::Deadlock)
    }
}

/// Refuses a row that does not belong under its key, as a sentence.
pub(crate) fn check_pair(key: &Key, row: &Row) -> Result<(), String> {
    let fits = match (key, row) {
        (Key::Definition(hash), Row::Definition(definition)) => *hash == definition.body.hash,
        (Key::Run(id), Row::Run(run)) => *id == run.id,
        (Key::Finished(id), Row::Finished(finished)) => *id == finished.run.id,
        (Key::DeadLetter(task), Row::DeadLetter(letter)) => *task == letter.task,
        (Key::Workflow(name, _), Row::Workflow(workflow)) => *name == workflow.name,
        (Key::Deadlock(seq), Row::Deadlock(deadlock)) => *seq == deadlock.seq,
        (Key::Task(_), Row::Task(_))
        | (Key::Pool(_), Row::Pool(_))
        | (Key::Queue(_), Row::Queue(_))
        | (Key::PausedWorkflow(_), Row::PausedWorkflow(_))
        | (Key::Continuation(_), Row::Continuation(_))
        | (Key::Quarantine(_), Row::Quarantine(_))
        | (Key::Alert(_), Row::Alert(_))
        | (Key::Child(..), Row::Child(_)) => true,
        _ => false,
    };
    if fits { Ok(()) } else { Err(format!("a row of another kind or id stands under {key:?}")) }
}

/// The definitions that a live run pins.
pub(crate) fn pinned(row: &Row) -> impl Iterator<Item = &DefinitionHash> {
    let run = match row {
        Row::Run(run) => Some(run),
        _ => None,
    };
    run.into_iter().flat_map(|run| run.definitions())
}
