//! Once more: runs that ended are taken further by new ones, and many runs are dealt with at once.

use super::{MaySend, Params, Sent, cancel, json, ok, parse, runs, submit::accept};
use crate::{
    app::App,
    operation::{Operation, post},
    problem::{Answer, Problem},
    tokens::Identity,
};
use axum::{
    Extension,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::task::JoinSet;
use unknot_api::rest::{self, BulkAction};
use unknot_engine::{
    Submit,
    calls::Called,
    core::{
        RunId, TaskId, TaskIndex,
        event::TakeOver,
        run::{JsonText, RunStatus, Task, TaskEnd},
        workflow::Definition,
    },
    store::{Namespace, PageSize, Reader, RunRecord, StoreError},
};

/// Runs that one bulk request deals with.
const BULK_MAX: usize = 1_000;
/// Of them, so many at once.
const AT_ONCE: usize = 64;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        post("/runs/{run_id}/retry", retry)
            .is("retryRun", "Take a run further that did not complete")
            .note("A new run of the same definition and inputs; what COMPLETED is taken over, unless `from_scratch`.")
            .may_take::<rest::RetryRequest>()
            .gives::<rest::RunCreated>(201, "The new run."),
        post("/dead-letters/{task_id}/redrive", redrive)
            .is("redriveDeadLetter", "Try a task again that is out of tries, in a new run")
            .note("The new run takes over what the old one completed, and answers for all of its dead letters.")
            .gives::<rest::RunCreated>(201, "The new run."),
        post("/runs/bulk", bulk)
            .is("bulk", "Cancel, retry or redrive every run that a filter finds")
            .note("At most 1,000 runs in one request; `next` goes on. With `dry_run` it only says which.")
            .takes::<rest::BulkRequest>()
            .gives::<rest::BulkResult>(200, "What became of each."),
    ]
}

/// What is known of a run that is to be taken further.
struct Before {
    record: RunRecord,
    definition: Option<Arc<Definition>>,
    /// The workflows that it calls; none: one of them is not kept any more.
    calls: Option<Called>,
    tasks: BTreeMap<TaskIndex, Task>,
    letters: Vec<TaskId>,
}

fn look(reader: &mut dyn Reader, namespace: &Namespace, run: RunId) -> Result<Option<Before>, StoreError> {
    let Some(record) = reader.run(namespace, run)?.value else { return Ok(None) };
    let definition = reader.definition(namespace, &record.run().definition)?.value;
    let mut calls = Some(Called::new());
    for (name, hash) in &record.run().calls {
        match (reader.definition(namespace, hash)?.value, &mut calls) {
            (Some(called), Some(calls)) => drop(calls.insert(Arc::clone(name), called)),
            _ => calls = None,
        }
    }
    let mut tasks: BTreeMap<TaskIndex, Task> =
        record.run().indexed_tasks().map(|(index, task)| (index, task.clone())).collect();
    let mut after = None;
    while tasks.is_empty() || after.is_some() {
        let page = reader.tasks(namespace, run, after, PageSize::MAX)?.value;
        tasks.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let letters = letters(reader, namespace, run)?;
    Ok(Some(Before { record, definition, calls, tasks, letters }))
}

/// The dead letters of one run: they stand together, behind those of newer runs.
pub(super) fn letters(reader: &mut dyn Reader, namespace: &Namespace, run: RunId) -> Result<Vec<TaskId>, StoreError> {
    let mut found = Vec::new();
    let mut after = Some(run.task(TaskIndex(u32::MAX)));
    while let Some(cursor) = after {
        let page = reader.dead_letters(namespace, Some(cursor), PageSize::MAX)?.value;
        let own = page.items.iter().take_while(|letter| letter.task.run == run).map(|letter| letter.task);
        let before = found.len();
        found.extend(own);
        after = page.next.filter(|_| found.len() - before == page.items.len());
    }
    Ok(found)
}

/// Takes a run further.
async fn take_further(app: &Arc<App>, run: RunId, from_scratch: bool) -> Answer<RunId> {
    let before = app.list(move |reader, namespace| look(reader, namespace, run)).await?;
    let before = before.ok_or_else(|| Problem::not_found(format!("there is no run `{run}`")))?;
    let status = before.record.status();
    if !status.is_terminal() {
        return Err(Problem::conflict(format!("run `{run}` has not ended yet; it is {status}")));
    }
    if status == RunStatus::Completed && !from_scratch && before.letters.is_empty() {
        let detail = format!("run `{run}` has COMPLETED: nothing is left to do; `from_scratch` runs all of it again");
        return Err(Problem::conflict(detail));
    }
    let definition = before.definition.ok_or_else(|| Problem::not_found("its definition is not kept any more"))?;
    let gone = || Problem::not_found("the definition of a workflow that it calls is not kept any more");
    let calls = before.calls.ok_or_else(gone)?;
    let completed = before.tasks.into_iter().filter_map(|(index, task)| {
        let is_done = task.end().is_some_and(|end| end.status == TaskEnd::Completed);
        is_done.then(|| (index, task.output.unwrap_or_else(JsonText::null)))
    });
    let completed = if from_scratch { BTreeMap::new() } else { completed.collect() };
    let old = before.record.run();
    let submit = Submit {
        definition,
        input: old.input.value(),
        labels: old.labels.clone(),
        client_id: old.client_id.clone(),
        idempotency: None,
        source: old.source.clone(),
        start_at: None,
        takes_over: Some(TakeOver { run, completed, letters: before.letters }),
        calls,
    };
    Ok(accept(app, submit).await?.run)
}

fn created(run: RunId) -> Response {
    let status = RunStatus::Running.word().to_owned();
    json(StatusCode::CREATED, &rest::RunCreated { run_id: run.to_string(), status, existing: false })
}

async fn retry(
    State(app): State<Arc<App>>,
    Path(run): Path<String>,
    MaySend(request): MaySend<rest::RetryRequest>,
) -> Answer<Response> {
    Ok(created(take_further(&app, parse(&run, "the id of a run")?, request.from_scratch).await?))
}

async fn redrive(State(app): State<Arc<App>>, Path(task): Path<String>, _: Params<runs::Nothing>) -> Answer<Response> {
    let task: TaskId = parse(&task, "the id of a task")?;
    let run = task.run;
    let known = app.list(move |reader, namespace| letters(reader, namespace, run)).await?;
    if !known.contains(&task) {
        return Err(Problem::not_found(format!("there is no dead letter of task `{task}`")));
    }
    Ok(created(take_further(&app, run, false).await?))
}

async fn bulk(
    State(app): State<Arc<App>>,
    Extension(who): Extension<Identity>,
    Sent(request): Sent<rest::BulkRequest>,
) -> Answer<Response> {
    if request.filter == rest::BulkFilter::default() {
        return Err(Problem::bad("a bulk request needs at least one condition in `filter`"));
    }
    cancel::check_reason(request.reason.as_deref())?;
    let (matched, next) = find(&app, &request).await?;
    let mut result = rest::BulkResult {
        dry_run: request.dry_run,
        matched: matched.iter().map(RunId::to_string).collect(),
        created: BTreeMap::new(),
        failed: BTreeMap::new(),
        next: next.map(|run| run.to_string()),
    };
    if request.dry_run {
        return ok(&result);
    }
    let reason = request.reason.unwrap_or_else(|| format!("cancelled with others by {}", who.name));
    let mut waiting = matched.into_iter();
    let mut under_way = JoinSet::new();
    loop {
        while under_way.len() < AT_ONCE
            && let Some(run) = waiting.next()
        {
            let (app, reason, who) = (Arc::clone(&app), reason.clone(), who.clone());
            under_way.spawn(async move { (run, act(&app, request.action, run, reason, &who).await) });
        }
        let Some(done) = under_way.join_next().await else { break };
        match done {
            Ok((run, Ok(Some(new)))) => drop(result.created.insert(run.to_string(), new.to_string())),
            Ok((_, Ok(None))) => {}
            Ok((run, Err(problem))) => drop(result.failed.insert(run.to_string(), problem.detail().to_owned())),
            Err(error) => drop(result.failed.insert("?".to_owned(), error.to_string())),
        }
    }
    ok(&result)
}

async fn act(app: &Arc<App>, action: BulkAction, run: RunId, reason: String, who: &Identity) -> Answer<Option<RunId>> {
    match action {
        BulkAction::Cancel => cancel::ask(app, run, reason, who, false).await.map(|_| None),
        BulkAction::Retry | BulkAction::Redrive => take_further(app, run, false).await.map(Some),
    }
}

/// The runs that are meant, and where to go on.
async fn find(app: &Arc<App>, request: &rest::BulkRequest) -> Answer<(Vec<RunId>, Option<RunId>)> {
    let filter = runs::understand(&request.filter)?;
    let cursor = |text: &str| text.parse::<RunId>().map_err(|_| Problem::bad("`after` is no `next` of an answer"));
    let after = request.after.as_deref().map(cursor).transpose()?;
    let (action, conditions) = (request.action, request.filter.clone());
    app.list(move |reader, namespace| {
        let page = reader.runs(namespace, &filter, after, PageSize::new(BULK_MAX))?.value;
        let with_letters = match action {
            BulkAction::Redrive => runs_with_letters(reader, namespace)?,
            BulkAction::Cancel | BulkAction::Retry => BTreeSet::new(),
        };
        let is_meant = |id: RunId, status: RunStatus| match action {
            BulkAction::Cancel => !status.is_terminal() && status != RunStatus::Cancelling,
            BulkAction::Retry => status.is_terminal() && status != RunStatus::Completed,
            BulkAction::Redrive => status.is_terminal() && with_letters.contains(&id),
        };
        let meant = page.items.iter().filter(|run| runs::is_within(&conditions, run) && is_meant(run.id, run.status));
        let matched = meant.map(|run| run.id).collect();
        Ok((matched, page.next))
    })
    .await
}

fn runs_with_letters(reader: &mut dyn Reader, namespace: &Namespace) -> Result<BTreeSet<RunId>, StoreError> {
    let mut found = BTreeSet::new();
    let mut after = None;
    loop {
        let page = reader.dead_letters(namespace, after, PageSize::MAX)?.value;
        found.extend(page.items.iter().map(|letter| letter.task.run));
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(found),
        }
    }
}
