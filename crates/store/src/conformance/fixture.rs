//! Rows to try a store with, for the suite and for benchmarks.

use crate::{CommitError, Epoch, Namespace, Owner, Reader, Store};
use std::sync::Arc;
use unknot_core::{
    CommitSeq, Fence, Millis, RunId, Seq, TaskIndex, Timestamp,
    alert::{Alert, Delivery, Due, Incident, News, Stuck},
    deadlock::Finding,
    row::{Batch, FinishedRun, HistoryEntry, HistoryKind, Key, Loaded, Meta, Row},
    run::{End, JsonText, Lease, OnExpiry, Phase, Place, Run, RunStatus, Task, TaskEnd, Wait, WaitOn, WorkerId},
    workflow::{Definition, DefinitionHash, Stored},
};

/// When the fixture's world begins.
pub const START: Timestamp = Timestamp(1_700_000_000_000);

/// A brain's view of a store: it holds a namespace and counts its commits.
pub struct Brain {
    /// What it commits to.
    pub store: Box<dyn Store>,
    /// The namespace it owns.
    pub namespace: Namespace,
    /// Under which epoch.
    pub epoch: Epoch,
    /// Its newest commit.
    pub last: CommitSeq,
}

impl Brain {
    /// Acquires the default namespace of a store.
    pub fn start(store: Box<dyn Store>) -> Self {
        Self::start_in(store, Namespace::default())
    }

    /// Acquires a namespace of a store.
    pub fn start_in(mut store: Box<dyn Store>, namespace: Namespace) -> Self {
        let epoch = store.acquire(&namespace, &Owner("conformance".into())).expect("the namespace is free");
        let last = store.committed(&namespace).expect("the store is readable");
        Self { store, namespace, epoch, last }
    }

    /// The batch that follows the newest commit.
    pub fn batch(&self, changes: Vec<(Key, Option<Row>)>, history: Vec<HistoryEntry>) -> Batch {
        let commit = CommitSeq(self.last.0 + 1);
        let meta = Meta {
            next_seq: Seq(commit.0 * 10),
            next_fence: Fence(commit.0 * 3),
            high_water: START.plus(Millis(commit.0)),
        };
        Batch { commit, meta, changes, history }
    }

    /// Tries to commit a batch.
    pub fn try_commit(&mut self, batch: &Batch) -> Result<(), CommitError> {
        self.store.commit(&self.namespace, self.epoch, batch)?;
        self.last = batch.commit;
        Ok(())
    }

    /// Commits changes that a store must accept.
    pub fn commit(&mut self, changes: Vec<(Key, Option<Row>)>) {
        self.commit_with(changes, Vec::new());
    }

    /// Commits changes and history that a store must accept.
    pub fn commit_with(&mut self, changes: Vec<(Key, Option<Row>)>, history: Vec<HistoryEntry>) {
        let batch = self.batch(changes, history);
        self.try_commit(&batch).expect("the batch follows and contradicts nothing");
    }

    /// The number that the next commit will have.
    pub fn next(&self) -> CommitSeq {
        CommitSeq(self.last.0 + 1)
    }

    /// What the store holds of the live state.
    pub fn load(&mut self) -> Loaded {
        self.store.load(&self.namespace).expect("the store is readable")
    }

    /// A reader of the store.
    pub fn reader(&self) -> Box<dyn Reader> {
        self.store.reader().expect("the store is readable")
    }
}

/// The id of a run submitted so many milliseconds after the start.
pub fn run_id(after_ms: u64) -> RunId {
    RunId::from_parts(START.0 + after_ms, u128::from(after_ms))
}

/// A workflow of so many tasks that do nothing, and its key.
pub fn definition(name: &str, tasks: usize) -> Arc<Definition> {
    let task = |index: usize| serde_json::json!({ "name": format!("task-{index}"), "kind": "noop" });
    let body = serde_json::json!({
        "hash": format!("{name}-{tasks}"),
        "name": name,
        "timeout": Millis::from_days(7),
        "tasks": (0..tasks).map(task).collect::<Vec<_>>(),
    });
    let body: Stored = serde_json::from_value(body).expect("a definition of the core's own form");
    Arc::new(Definition::new(body))
}

/// The put of a definition.
pub fn put_definition(definition: &Arc<Definition>) -> (Key, Option<Row>) {
    (Key::Definition(definition.body.hash.clone()), Some(Row::Definition(Arc::clone(definition))))
}

/// A run of a definition, just granted to the local worker: its tasks in its own row if they are few.
pub fn run(id: RunId, definition: &Definition, first_commit: CommitSeq) -> Run {
    let submitted_at = submitted_at(id);
    let mut run: Run = serde_json::from_value(serde_json::json!({
        "id": id,
        "definition": definition.body.hash,
        "workflow": definition.body.name,
        "input": "{}",
        "seq": first_commit.0,
        "first_commit": first_commit,
        "submitted_at": submitted_at,
        "started": true,
        "deadline": submitted_at.plus(Millis::from_days(7)),
        "tasks": [],
    }))
    .expect("a run of the core's own form");
    let tasks = definition.body.tasks.len();
    if tasks <= unknot_core::run::INLINE_TASKS_MAX {
        let leased = Task { phase: leased(submitted_at), attempts: 1, ..run.untouched_task() };
        run.tasks = vec![leased; tasks];
    }
    run
}

/// The moment that a run's id begins with.
pub fn submitted_at(id: RunId) -> Timestamp {
    (0..48).fold(Timestamp(0), |low, bit| {
        let candidate = Timestamp(low.0 | 1 << (47 - bit));
        if RunId::from_parts(candidate.0, 0) <= id { candidate } else { low }
    })
}

fn leased(at: Timestamp) -> Phase {
    Phase::Leased(Box::new(Lease {
        worker: WorkerId { name: "local".into(), boot: 7 },
        fence: Fence(1),
        seq: Seq(1),
        place: Place { seq: Seq(0), since: at },
        holds: Default::default(),
        prefetched: false,
        granted_at: at,
        started_at: Some(at),
        deadline: at.plus(Millis::from_hours(1)),
        expires_at: None,
        stopping: None,
        parked: None,
        answered: None,
        borrowed: std::collections::BTreeMap::new(),
        slot_of: None,
    }))
}

/// A task of a large run, in its queue.
pub fn queued_task(run: &Run) -> Task {
    let wait = Wait {
        on: WaitOn::Grant,
        seq: Seq(5),
        since: run.submitted_at,
        deadline: run.deadline,
        on_expiry: OnExpiry::RunTimesOut,
    };
    Task { phase: Phase::Waiting(wait), ..run.untouched_task() }
}

/// The put of a run.
pub fn put_run(run: &Run) -> (Key, Option<Row>) {
    (Key::Run(run.id), Some(Row::Run(Box::new(run.clone()))))
}

/// The put of a task row.
pub fn put_task(run: RunId, index: u32, task: &Task) -> (Key, Option<Row>) {
    (Key::Task(run.task(TaskIndex(index))), Some(Row::Task(Box::new(task.clone()))))
}

/// The run as it is once it ended, a second after its submission.
pub fn finished(run: &Run, status: RunStatus, last_commit: CommitSeq) -> FinishedRun {
    let ended_at = run.submitted_at.plus(Millis(1_000));
    let mut run = run.clone();
    let task_count = u32::try_from(run.tasks.len()).unwrap_or(u32::MAX);
    for task in &mut run.tasks {
        task.phase = Phase::Ended(End { status: TaskEnd::Completed, at: ended_at, reason: None });
        task.output = Some(JsonText("{\"ok\":true}".into()));
        task.updated_at = ended_at;
    }
    FinishedRun { status, ended_at, last_commit, task_count, run }
}

/// The changes that end a run.
pub fn end_run(finished: &FinishedRun) -> [(Key, Option<Row>); 2] {
    let id = finished.run.id;
    [(Key::Run(id), None), (Key::Finished(id), Some(Row::Finished(Box::new(finished.clone()))))]
}

/// A line of a run's history.
pub fn entry(run: &Run, event: HistoryKind) -> HistoryEntry {
    let of_task = !matches!(event, HistoryKind::RunSubmitted | HistoryKind::RunCompleted);
    HistoryEntry {
        at: run.submitted_at,
        run: run.id,
        event,
        task: of_task.then_some(TaskIndex(0)),
        name: of_task.then(|| "task-0".into()),
        attempt: of_task.then_some(1),
        detail: Default::default(),
        first_commit: run.first_commit,
    }
}

/// An alert of a run that does not move: one target has yet to be told, another could not be, a third knows.
pub fn alert(run: RunId) -> Alert {
    let stuck = Stuck {
        finding: Finding::Deadlocked,
        verdict: Some(Seq(7)),
        run,
        workflow: "flow".into(),
        tasks: 5,
        last_update: START,
        auto_cancel: true,
        explanation: vec!["`a` waits for `b`, which waits for `a`".into()],
    };
    let due = Due {
        news: News::Raised,
        tries: 2,
        under_way: false,
        at: START.plus(Millis(9)),
        since: START,
        held_back: 3,
        error: Some("webhook timeout".into()),
    };
    let deliveries = [
        ("ops".into(), Delivery::Due(due)),
        ("oncall".into(), Delivery::Told),
        ("old".into(), Delivery::GivenUp { error: "webhook answered 404 Not Found".into() }),
        ("busy".into(), Delivery::Held { until: START.plus(Millis(90)) }),
    ];
    Alert {
        nonce: u64::MAX,
        incident: Incident::stuck(stuck),
        raised_at: START,
        resolved_at: None,
        deliveries: deliveries.into(),
    }
}

/// The key of a definition that no store holds.
pub fn unknown_definition() -> DefinitionHash {
    DefinitionHash("unknown".into())
}
