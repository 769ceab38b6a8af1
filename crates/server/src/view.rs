//! From the core's words to those of the API: for the server, and for whoever reads a store and prints the same.

mod verdict;

pub use verdict::{graph, live_waits, scan_report, verdict, verdict_ref, verdict_summary};

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use unknot_api::{
    Moment,
    report::{Diagnostic, Report},
    rest,
    workflow::OnDeadlock,
};
use unknot_engine::{
    QueueView, WorkerView,
    alerts::Tested,
    core::{
        RunId, TaskId, TaskIndex, Timestamp,
        alert::{Alert, Delivery},
        deadlock::Policy,
        row::{DeadLetter, Pause},
        run::{Lease, Run, RunStatus, Signal, Task, TaskError, TaskStatus, Wait, WorkerId},
        settings::Pool,
        wait::{AtPool, Cancel, DeadEnd, OpenNeeds, Share, Subject, Why},
        worker::WorkKind,
    },
    store::{Event, RunRecord, RunSummary},
};

pub(crate) fn moment(at: Timestamp) -> Moment {
    Moment { ms: at.0 }
}

/// A word of the core as it is stored, which is how the API says it as well.
pub fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(error) => error.to_string(),
    }
}

/// What is wrong with a document, as the API tells it.
pub(crate) fn findings(report: &Report) -> Vec<rest::Finding> {
    let finding = |problem: &Diagnostic| rest::Finding {
        code: problem.code.clone(),
        message: problem.message.clone(),
        path: problem.path.clone(),
        line: problem.line,
        column: problem.column,
        help: problem.help.clone().or_else(|| problem.expected.clone()),
    };
    report.problems.iter().map(finding).collect()
}

/// A line of a list of runs.
pub fn summary(run: &RunSummary) -> rest::RunSummary {
    rest::RunSummary {
        run_id: run.id.to_string(),
        workflow_name: run.workflow.clone(),
        status: word(&run.status),
        paused: run.paused,
        submitted_at: moment(run.submitted_at),
        ended_at: run.ended_at.map(moment),
        client_id: run.client_id.clone(),
        labels: run.labels.clone(),
        source: run.source.clone(),
        retry_of: run.retry_of.map(|run| run.to_string()),
        spawned_by: run.spawned_by.map(|task| task.to_string()),
    }
}

/// A run as a store or a brain knows it, as of a commit, which is durable or not.
pub fn run(record: &RunRecord, as_of: u64, durable: bool) -> rest::Run {
    let (run, ended_at, task_count) = match record {
        RunRecord::Live(run) => (&**run, None, count(run)),
        RunRecord::Finished(finished) => (&finished.run, Some(finished.ended_at), u64::from(finished.task_count)),
    };
    rest::Run {
        summary: rest::RunSummary {
            run_id: run.id.to_string(),
            workflow_name: run.workflow.to_string(),
            status: word(&record.status()),
            paused: run.paused.is_some(),
            submitted_at: moment(run.submitted_at),
            ended_at: ended_at.map(moment),
            client_id: run.client_id.clone(),
            labels: run.labels.clone(),
            source: run.source.clone(),
            retry_of: run.retry_of.map(|run| run.to_string()),
            spawned_by: run.parent.as_ref().map(|parent| parent.task.to_string()),
        },
        workflow_hash: run.definition.0.to_string(),
        input: run.input.value(),
        start_at: run.start_at.map(moment),
        deadline: moment(run.deadline),
        updated_at: Some(moment(run.updated_at.max(run.submitted_at))),
        poisoned: run.poisoned.clone(),
        ending: run.ending.as_ref().map(|ending| rest::Ending {
            cause: word(&ending.cause),
            reason: ending.reason.clone(),
            by: ending.by.clone(),
            since: moment(ending.since),
            force: ending.force,
        }),
        signals: run.signals.iter().map(|(name, sent)| (name.clone(), signal(sent))).collect(),
        task_count,
        tasks: counts(run).into_iter().map(|(status, tasks)| (word(&status), tasks)).collect(),
        as_of,
        durable,
    }
}

fn signal(sent: &Signal) -> rest::Signal {
    rest::Signal { payload: sent.payload.value(), by: sent.by.clone(), at: moment(sent.at) }
}

/// How many tasks a live run has.
fn count(run: &Run) -> u64 {
    counts(run).values().sum()
}

fn counts(run: &Run) -> BTreeMap<TaskStatus, u64> {
    match &run.counts {
        Some(counts) => counts.iter().map(|(status, tasks)| (*status, u64::from(*tasks))).collect(),
        None => run.tasks.iter().fold(BTreeMap::new(), |mut counts, task| {
            *counts.entry(task.status()).or_default() += 1;
            counts
        }),
    }
}

/// A task; `index` is its place in the workflow, `name` its name there.
pub fn task(run: RunId, index: TaskIndex, name: &str, task: &Task) -> rest::Task {
    let end = task.end();
    rest::Task {
        task_id: run.task(index).to_string(),
        name: name.to_owned(),
        status: word(&task.status()),
        attempts: task.attempts,
        failures: rest::Failures {
            handler: task.failures.handler,
            launch: task.failures.launch,
            lost: task.failures.lost,
            victim: task.failures.victim,
            shortage: task.failures.shortage,
            released: task.failures.released,
        },
        wait: task.wait().map(wait),
        lease: task.lease().map(lease),
        output: task.output.as_ref().map(|output| output.value()),
        error: task.error.as_deref().map(error),
        reason: end.and_then(|end| end.reason.as_deref().map(str::to_owned)),
        ended_at: end.map(|end| moment(end.at)),
        updated_at: moment(task.updated_at),
    }
}

/// A wait, without what only the brain says of it.
pub fn wait(wait: &Wait) -> rest::Wait {
    rest::Wait {
        on: word(&wait.on),
        since: moment(wait.since),
        deadline: moment(wait.deadline),
        then: word(&wait.on_expiry),
        needs: None,
        signal: None,
        sentence: None,
    }
}

/// Names of tasks that are told of one wait.
const NEEDS_NAMED_MAX: usize = 8;

/// Whom a task waits for.
pub fn needs(open: &OpenNeeds<'_>) -> rest::Needs {
    rest::Needs {
        names: open.names.iter().take(NEEDS_NAMED_MAX).map(|name| (*name).to_owned()).collect(),
        open: open.names.len() as u64,
        missing: open.missing as u64,
        until: open.until.word().to_owned(),
    }
}

/// Why something does not go on.
pub fn why(told: &Why) -> rest::Why {
    rest::Why {
        id: match told.subject {
            Subject::Run(run) => run.to_string(),
            Subject::Task(task) => task.to_string(),
        },
        name: told.name.to_string(),
        sentence: told.sentence.clone(),
        since: moment(told.since),
        until: told.bound.map(|bound| moment(bound.at)),
        then: told.bound.map(|bound| bound.then.to_owned()),
        mover: told.mover.word().to_owned(),
        mover_name: told.mover.name(),
        causes: told.causes.iter().map(why).collect(),
        more: told.more as u64,
        is_cut: told.is_cut,
        dead_ends: told.dead_ends.iter().map(dead_end).collect(),
        verdicts: Vec::new(),
    }
}

fn dead_end(end: &DeadEnd) -> rest::DeadEnd {
    rest::DeadEnd {
        kind: end.kind.word().to_owned(),
        name: end.name.clone(),
        tasks: end.tasks.iter().map(ToString::to_string).collect(),
        verdict: end.verdict.map(|verdict| verdict.to_string()),
        cancel: end.cancel.as_ref().map(cancel),
    }
}

/// What ends a deadlock.
fn cancel(cancel: &Cancel) -> rest::CancelAdvice {
    rest::CancelAdvice { runs: cancel.runs.iter().map(ToString::to_string).collect(), ends_all: cancel.ends_all }
}

/// What an attempt waits for, without what only the brain says of it.
pub fn attempt_wait(lease: &Lease) -> Option<rest::AttemptWait> {
    let parked = lease.parked.as_ref().filter(|_| lease.waits())?;
    Some(rest::AttemptWait {
        name: parked.name.clone(),
        since: moment(parked.since),
        deadline: moment(parked.deadline),
        sentence: None,
    })
}

fn lease(lease: &Lease) -> rest::Lease {
    rest::Lease {
        worker: lease.worker.name.to_string(),
        fence: lease.fence.0,
        holds: lease.holds.clone(),
        granted_at: moment(lease.granted_at),
        started_at: lease.started_at.map(moment),
        deadline: moment(lease.deadline),
        waits: attempt_wait(lease),
        stopping: lease.stopping.as_ref().map(|stopping| rest::Stopping {
            reason: word(&stopping.reason),
            since: moment(stopping.since),
            fenced_at: moment(stopping.fenced_at),
        }),
    }
}

fn error(error: &TaskError) -> rest::TaskError {
    rest::TaskError { reason: error.reason.clone(), message: error.message.clone(), exit: error.exit }
}

pub(crate) fn event(event: &Event) -> rest::Event {
    let entry = &event.entry;
    rest::Event {
        id: format!("{}.{}", event.cursor.commit.0, event.cursor.line),
        at: moment(entry.at),
        event: word(&entry.event),
        task_id: entry.task.map(|task| TaskId { run: entry.run, index: task }.to_string()),
        task: entry.name.as_deref().map(str::to_owned),
        attempt: entry.attempt,
        detail: if entry.detail.is_empty() { Value::Null } else { json!(entry.detail) },
    }
}

/// Who holds something.
pub fn paused(pause: &Pause) -> rest::Paused {
    rest::Paused { by: pause.by.clone(), since: moment(pause.since) }
}

pub(crate) fn queue(name: &str, queue: &QueueView) -> rest::Queue {
    rest::Queue {
        name: name.to_owned(),
        size: u64::from(queue.size),
        oldest_since: queue.oldest_since.map(moment),
        paused: queue.paused.as_ref().map(paused),
        settings: rest::QueueSettings {
            max_queue_size: queue.settings.max_queue_size,
            visibility_timeout_ms: queue.settings.visibility_timeout.0,
            max_retries: queue.settings.max_retries,
            low_counts_as_high_after_ms: queue.settings.low_counts_as_high_after.0,
        },
    }
}

/// A pool without who is there.
pub(crate) fn pool(name: &str, (pool, held): &(Pool, u32)) -> rest::Pool {
    rest::Pool {
        name: name.to_owned(),
        size: pool.size,
        held: *held,
        lend: pool.lend,
        on_deadlock: pool.on_deadlock.map(on_deadlock),
        by_first_use: pool.implicit,
        poisoned: pool.poisoned.as_ref().map(|poison| poison.message.clone()),
        waiting: 0,
        holders: Vec::new(),
        waiters: Vec::new(),
    }
}

fn on_deadlock(policy: Policy) -> OnDeadlock {
    match policy {
        Policy::Retry => OnDeadlock::Retry,
        Policy::Cancel => OnDeadlock::Cancel,
        Policy::Alert => OnDeadlock::Alert,
    }
}

/// A pool with who is there.
pub(crate) fn whole_pool(name: &str, at: &AtPool) -> rest::Pool {
    rest::Pool {
        waiting: at.waiting,
        holders: at.holders.iter().map(share).collect(),
        waiters: at.waiters.iter().map(share).collect(),
        ..pool(name, &(at.pool.clone(), at.held))
    }
}

fn share(share: &Share) -> rest::PoolShare {
    rest::PoolShare {
        task_id: share.task.to_string(),
        run_id: share.task.run.to_string(),
        task: share.name.clone(),
        workflow_name: share.workflow.clone(),
        units: share.units,
        since: moment(share.since),
    }
}

pub(crate) fn worker(worker: &WorkerId, view: &WorkerView) -> rest::Worker {
    // One that says nothing of kinds takes those that every worker knows.
    let built_in = BTreeSet::from(WorkKind::BUILT_IN);
    let kinds = view.serves.kinds.as_ref().unwrap_or(&built_in);
    let (handlers, kinds): (Vec<&WorkKind>, Vec<&WorkKind>) =
        kinds.iter().partition(|kind| matches!(kind, WorkKind::Handler(_)));
    let words = |kinds: Vec<&WorkKind>| kinds.into_iter().map(|kind| kind.word().to_owned()).collect();
    rest::Worker {
        name: worker.name.to_string(),
        boot: format!("{:x}", worker.boot),
        slots: view.slots,
        leases: view.leases,
        queues: view.serves.queues.as_ref().map(|queues| queues.iter().map(ToString::to_string).collect()),
        kinds: words(kinds),
        handlers: words(handlers),
        labels: BTreeMap::clone(&view.labels),
    }
}

/// An alert, and how far its targets are.
pub fn alert(alert: &Alert) -> rest::Alert {
    let incident = &alert.incident;
    rest::Alert {
        id: alert.id(),
        incident: incident.key.clone(),
        kind: incident.kind().to_owned(),
        severity: incident.severity.to_string(),
        summary: incident.summary.clone(),
        run_id: incident.run().map(|run| run.to_string()),
        raised_at: moment(alert.raised_at),
        resolved_at: alert.resolved_at.map(moment),
        targets: alert.deliveries.iter().map(|(target, delivery)| told(target, delivery)).collect(),
    }
}

fn told(target: &str, delivery: &Delivery) -> rest::AlertTarget {
    let plain = |state| rest::AlertTarget { target: target.to_owned(), state, tries: None, next_at: None, error: None };
    match delivery {
        Delivery::Due(due) => rest::AlertTarget {
            tries: Some(due.tries),
            next_at: (!due.under_way).then(|| moment(due.at)),
            error: due.error.clone(),
            ..plain(if due.under_way { rest::AlertState::Sending } else { rest::AlertState::Retrying })
        },
        Delivery::Held { until } => {
            rest::AlertTarget { next_at: Some(moment(*until)), ..plain(rest::AlertState::Held) }
        }
        Delivery::Told => plain(rest::AlertState::Told),
        Delivery::Counted => plain(rest::AlertState::Counted),
        Delivery::GivenUp { error } => {
            rest::AlertTarget { error: Some(error.clone()), ..plain(rest::AlertState::GivenUp) }
        }
    }
}

/// What came of a test of a target.
pub fn tested(tested: &Tested) -> rest::AlertTested {
    rest::AlertTested {
        target: tested.target.clone(),
        kind: tested.kind.to_owned(),
        ok: tested.is_success,
        answer: tested.answer.clone(),
        took_ms: tested.took.0,
    }
}

/// A task out of tries, and the status of its run.
pub fn dead_letter(letter: &DeadLetter, run: Option<RunStatus>) -> rest::DeadLetter {
    rest::DeadLetter {
        task_id: letter.task.to_string(),
        run_id: letter.task.run.to_string(),
        task: letter.task_name.clone(),
        workflow_name: letter.workflow.clone(),
        queue: letter.queue.clone(),
        attempts: letter.attempts,
        error: error(&letter.error),
        at: moment(letter.at),
        handled: letter.handled,
        run_status: run.map(|status| status.word().to_owned()),
    }
}
