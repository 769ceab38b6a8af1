//! Looking at a store without asking the brain: bounded questions, each one read transaction.

use crate::{Namespace, StoreError};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
pub use unknot_core::event::Facts;
use unknot_core::{
    CommitSeq, RunId, Seq, TaskId, TaskIndex,
    alert::Alert,
    deadlock::{Deadlock, Finding},
    row::{DeadLetter, FinishedRun, HistoryEntry, Loaded, Pause, Quarantined, RegisteredWorkflow},
    run::{Run, RunStatus, Task, TaskStatus},
    time::Timestamp,
    workflow::{Definition, DefinitionHash, TaskDef},
};

/// A connection of its own for questions. Every answer comes from one transaction and says up to
/// which commit it saw.
///
/// Each call is bounded twice: by a page's size (and a bound on the rows looked at for it), and by a
/// deadline, after which it is ended with [`StoreError::TooSlow`]. Nothing is held between calls, so
/// no reader can keep a checkpoint from happening. An unknown namespace reads as an empty one.
pub trait Reader: Send {
    /// One run, live or finished.
    ///
    /// # Errors
    /// As for every method here: the store cannot be read, a row cannot be understood, or the read
    /// took too long.
    fn run(&mut self, namespace: &Namespace, run: RunId) -> Answer<Option<RunRecord>>;

    /// Runs, live and finished, the newest submission first.
    ///
    /// A page may be shorter than asked for, even empty, while `next` still says where to go on: so
    /// many rows were looked at without a match.
    ///
    /// # Errors
    /// See [`Reader::run`].
    fn runs(
        &mut self,
        namespace: &Namespace,
        filter: &RunFilter,
        after: Option<RunId>,
        size: PageSize,
    ) -> Answer<Page<RunSummary, RunId>>;

    /// Stored tasks of a run in their order. A large live run stores no row for a task that nothing
    /// has happened to yet ([`Run::untouched_task`]).
    ///
    /// # Errors
    /// See [`Reader::run`].
    fn tasks(
        &mut self,
        namespace: &Namespace,
        run: RunId,
        after: Option<TaskIndex>,
        size: PageSize,
    ) -> Answer<Page<(TaskIndex, Task), TaskIndex>>;

    /// The first stored tasks of a run with a status, in their order; found without looking at the others.
    ///
    /// # Errors
    /// See [`Reader::run`].
    fn tasks_in(
        &mut self,
        namespace: &Namespace,
        run: RunId,
        status: TaskStatus,
        size: PageSize,
    ) -> Answer<Vec<(TaskIndex, Task)>>;

    /// A run's history, the oldest first. `next` is also given at the end of a live run's history, so
    /// that one can go on when there is more.
    ///
    /// # Errors
    /// See [`Reader::run`].
    fn events(
        &mut self,
        namespace: &Namespace,
        run: RunId,
        after: Option<EventCursor>,
        size: PageSize,
    ) -> Answer<Page<Event, EventCursor>>;

    /// Tasks out of tries, those of the newest runs first.
    ///
    /// # Errors
    /// See [`Reader::run`].
    fn dead_letters(
        &mut self,
        namespace: &Namespace,
        after: Option<TaskId>,
        size: PageSize,
    ) -> Answer<Page<DeadLetter, TaskId>>;

    /// The newest version of each registered workflow, by name.
    ///
    /// # Errors
    /// See [`Reader::run`].
    fn workflows(
        &mut self,
        namespace: &Namespace,
        after: Option<&str>,
        size: PageSize,
    ) -> Answer<Page<WorkflowVersion, String>>;

    /// The versions of a registered workflow, the newest first.
    ///
    /// # Errors
    /// See [`Reader::run`].
    fn workflow_versions(&mut self, namespace: &Namespace, name: &str, size: PageSize) -> Answer<Vec<WorkflowVersion>>;

    /// A version of a registered workflow with its document: the newest, or the newest whose hash begins so.
    ///
    /// # Errors
    /// See [`Reader::run`].
    fn workflow(&mut self, namespace: &Namespace, name: &str, hash: Option<&str>)
    -> Answer<Option<RegisteredWorkflow>>;

    /// Events that failed alone, the newest first.
    ///
    /// # Errors
    /// See [`Reader::run`].
    fn quarantine(
        &mut self,
        namespace: &Namespace,
        after: Option<Seq>,
        size: PageSize,
    ) -> Answer<Page<(Seq, Quarantined), Seq>>;

    /// Verdicts without their graphs, the newest first.
    ///
    /// # Errors
    /// See [`Reader::run`].
    fn verdicts(
        &mut self,
        namespace: &Namespace,
        filter: &VerdictFilter,
        after: Option<Seq>,
        size: PageSize,
    ) -> Answer<Page<Deadlock, Seq>>;

    /// A verdict with its graph.
    ///
    /// # Errors
    /// See [`Reader::run`].
    fn verdict(&mut self, namespace: &Namespace, verdict: Seq) -> Answer<Option<Deadlock>>;

    /// Incidents that are open, or that somebody is still to be told of, the oldest first: at most
    /// [`ALERTS_MAX`](unknot_core::alert::ALERTS_MAX).
    ///
    /// # Errors
    /// See [`Reader::run`].
    fn alerts(&mut self, namespace: &Namespace) -> Answer<Vec<(Seq, Alert)>>;

    /// What operators hold of queues and workflows, the first of each by name. Held runs say so themselves.
    ///
    /// # Errors
    /// See [`Reader::run`].
    fn holds(&mut self, namespace: &Namespace, size: PageSize) -> Answer<Holds>;

    /// A workflow's validated form.
    ///
    /// # Errors
    /// See [`Reader::run`].
    fn definition(&mut self, namespace: &Namespace, hash: &DefinitionHash) -> Answer<Option<Arc<Definition>>>;

    /// Some of a workflow's tasks, read without the others. What it has not is left out.
    ///
    /// # Errors
    /// See [`Reader::run`].
    fn task_definitions(
        &mut self,
        namespace: &Namespace,
        hash: &DefinitionHash,
        wanted: &BTreeSet<TaskIndex>,
    ) -> Answer<BTreeMap<TaskIndex, TaskDef>>;

    /// The newest runs made from a workflow file, live and finished, the newest submission first.
    ///
    /// # Errors
    /// See [`Reader::run`].
    fn latest_by_source(&mut self, namespace: &Namespace, source: &str, size: PageSize) -> Answer<Vec<RunRecord>>;

    /// What a command needs to know of finished runs, from one transaction.
    ///
    /// # Errors
    /// See [`Reader::run`].
    fn facts(&mut self, namespace: &Namespace, query: &FactsQuery) -> Result<Facts, StoreError>;

    /// How many there are of what is no longer in memory.
    ///
    /// # Errors
    /// See [`Reader::run`].
    fn counts(&mut self, namespace: &Namespace) -> Answer<Counts>;

    /// All live rows, as [`crate::Store::load`] has them: for who wants to see the whole state beside the brain.
    ///
    /// # Errors
    /// See [`Reader::run`].
    fn live(&mut self, namespace: &Namespace) -> Result<Loaded, StoreError>;

    /// Lets each answer take so long from now on: for who reads very much, and seldom.
    fn set_limit(&mut self, limit: Duration);
}

/// What a reader says to a question.
pub type Answer<T> = Result<AsOf<T>, StoreError>;

/// An answer with the newest commit that its transaction saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsOf<T> {
    /// Everything up to this commit is in the answer, nothing after it.
    pub as_of: CommitSeq,
    /// The answer.
    pub value: T,
}

/// Some of the items, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, C> {
    /// The items.
    pub items: Vec<T>,
    /// Give this as `after` for the next page; none: that was all.
    pub next: Option<C>,
}

/// The most items of one page, 1 to 1,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(usize);

/// Which runs a list shows; an empty filter shows all. All conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only with this status.
    pub status: Option<RunStatus>,
    /// Only of this workflow.
    pub workflow: Option<String>,
    /// Only from this client.
    pub client_id: Option<String>,
    /// Only with this label and value.
    pub label: Option<(String, String)>,
    /// Only submitted at this moment or later.
    pub since: Option<Timestamp>,
    /// Only submitted before this moment.
    pub until: Option<Timestamp>,
}

/// Which verdicts a list shows; an empty filter shows all. All conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerdictFilter {
    /// Only about this run, or about runs that it started, at any depth up to
    /// [`ABOVE_MAX`](unknot_core::deadlock::ABOVE_MAX). Found without looking at others.
    pub run: Option<RunId>,
    /// Only of this kind.
    pub kind: Option<Finding>,
    /// Only with this outcome: one of [`Outcome::WORDS`](unknot_core::deadlock::Outcome::WORDS).
    pub outcome: Option<&'static str>,
    /// Only made at this moment or later.
    pub since: Option<Timestamp>,
    /// Only those that are not over.
    pub is_open: bool,
}

/// A run as stored. `tasks` of large runs are empty here: see [`Reader::tasks`].
#[derive(Clone, Debug, PartialEq)]
pub enum RunRecord {
    /// It has not ended.
    Live(Box<Run>),
    /// It has ended.
    Finished(Box<FinishedRun>),
}

/// One line of a list of runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSummary {
    /// The run.
    pub id: RunId,
    /// Its workflow's name.
    pub workflow: String,
    /// Its status.
    pub status: RunStatus,
    /// Whether an operator holds it.
    pub paused: bool,
    /// When it was accepted.
    pub submitted_at: Timestamp,
    /// When it ended, if it has.
    pub ended_at: Option<Timestamp>,
    /// Who submitted it.
    pub client_id: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The workflow file it was made from.
    pub source: Option<String>,
    /// The run that it takes further.
    pub retry_of: Option<RunId>,
    /// The task that has spawned it.
    pub spawned_by: Option<TaskId>,
}

/// The place of a line in a run's history: its commit, and which line of that commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EventCursor {
    /// The commit.
    pub commit: CommitSeq,
    /// The line's place among all lines of that commit, from 0.
    pub line: u32,
}

/// A line of history with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its place.
    pub cursor: EventCursor,
    /// The line. `first_commit` is zero here: it is only told to the store.
    pub entry: HistoryEntry,
}

/// A version of a registered workflow, without its document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowVersion {
    /// The workflow's name.
    pub name: String,
    /// Its place among all that were registered.
    pub seq: Seq,
    /// The hash of what it means.
    pub hash: DefinitionHash,
    /// When it was registered.
    pub at: Timestamp,
    /// Who did that.
    pub by: String,
}

/// What a command asks of the finished runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FactsQuery {
    /// Which finished run owns this key?
    pub idempotency_key: Option<String>,
    /// How did this run end?
    pub run: Option<RunId>,
}

/// What operators hold back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// Queues.
    pub queues: BTreeMap<String, Pause>,
    /// Workflows.
    pub workflows: BTreeMap<String, Pause>,
}

/// How many there are of what is no longer in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Finished runs by final status.
    pub finished: BTreeMap<RunStatus, u64>,
    /// Tasks out of tries.
    pub dead_letters: u64,
    /// Those of them whose workflow says what follows their failure; of very many, not all are looked at for that.
    pub handled_letters: u64,
    /// Events that failed alone.
    pub quarantined: u64,
}

impl PageSize {
    /// The largest page.
    pub const MAX: Self = Self(1_000);

    /// A page of up to `items`, held between 1 and 1,000.
    pub const fn new(items: usize) -> Self {
        match items {
            0 => Self(1),
            1..=1_000 => Self(items),
            _ => Self::MAX,
        }
    }

    /// How many items.
    pub const fn items(self) -> usize {
        self.0
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self(100)
    }
}

impl<T, C> Page<T, C> {
    /// The page of `found`, which holds one item more than the page if there are more to come.
    pub(crate) fn cut(mut found: Vec<T>, size: PageSize, cursor: impl Fn(&T) -> C) -> Self {
        let more = found.len() > size.items();
        found.truncate(size.items());
        let next = if more { found.last().map(cursor) } else { None };
        Self { items: found, next }
    }
}

impl RunFilter {
    /// Whether a run belongs into the list.
    pub(crate) fn accepts(&self, run: &RunSummary) -> bool {
        self.status.is_none_or(|status| status == run.status)
            && self.workflow.as_ref().is_none_or(|workflow| *workflow == run.workflow)
            && self.client_id.as_ref().is_none_or(|client| run.client_id.as_ref() == Some(client))
            && self.label.as_ref().is_none_or(|(name, value)| run.labels.get(name) == Some(value))
    }

    /// Whether it can accept runs that have not ended.
    pub(crate) fn wants_live(&self) -> bool {
        self.status.is_none_or(|status| !status.is_terminal())
    }

    /// Whether it can accept runs that have ended.
    pub(crate) fn wants_finished(&self) -> bool {
        self.status.is_none_or(RunStatus::is_terminal)
    }

    /// The ids that it can accept and that come after `after` in a list (which means: lower ones):
    /// from the first to below the second. A run's id begins with the moment of its submission.
    pub(crate) fn id_range(&self, after: Option<RunId>) -> (RunId, RunId) {
        let first_at = |at: Timestamp| RunId::from_parts(at.0, 0);
        let low = first_at(self.since.unwrap_or_default());
        let high = self.until.map_or(RunId::from_parts(u64::MAX, u128::MAX), first_at);
        (low, after.map_or(high, |after| after.min(high)))
    }
}

impl VerdictFilter {
    /// Whether a verdict belongs into the list.
    pub(crate) fn accepts(&self, verdict: &Deadlock) -> bool {
        self.run.is_none_or(|run| verdict.concerns(run))
            && self.kind.is_none_or(|kind| kind == verdict.kind)
            && self.outcome.is_none_or(|outcome| outcome == verdict.outcome.word())
            && self.since.is_none_or(|since| verdict.at >= since)
            && !(self.is_open && verdict.ended_at.is_some())
    }
}

impl RunRecord {
    /// The run's id.
    pub fn id(&self) -> RunId {
        self.run().id
    }

    /// The run as it is, or as it was when it ended.
    pub fn run(&self) -> &Run {
        match self {
            Self::Live(run) => run,
            Self::Finished(finished) => &finished.run,
        }
    }

    /// The status people see.
    pub fn status(&self) -> RunStatus {
        match self {
            Self::Live(run) => run.status(),
            Self::Finished(finished) => finished.status,
        }
    }

    /// Its line in a list.
    pub fn summary(&self) -> RunSummary {
        let run = self.run();
        RunSummary {
            id: run.id,
            workflow: run.workflow.to_string(),
            status: self.status(),
            paused: run.paused.is_some(),
            submitted_at: run.submitted_at,
            ended_at: match self {
                Self::Live(_) => None,
                Self::Finished(finished) => Some(finished.ended_at),
            },
            client_id: run.client_id.clone(),
            labels: run.labels.clone(),
            source: run.source.clone(),
            retry_of: run.retry_of,
            spawned_by: run.parent.as_ref().map(|parent| parent.task),
        }
    }
}
