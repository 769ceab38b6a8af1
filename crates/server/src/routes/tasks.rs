//! Tasks of a run, what they print, and what they leave.

use super::{
    Params, ok, page_size, parse,
    runs::{Nothing, find},
};
use crate::{
    app::App,
    files,
    operation::{Operation, get},
    problem::{Answer, Problem},
    view,
};
use axum::{
    extract::{Path, State},
    http::HeaderMap,
    response::Response,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};
use unknot_api::rest;
use unknot_engine::{
    ATTEMPTS,
    artifacts::ARTIFACTS_FOLDER,
    attempt_folder,
    core::{
        RunId, TaskId, TaskIndex,
        run::{Run, Task, TaskStatus, WaitOn},
        wait::{describe, open_needs},
        workflow::TaskDef,
    },
    driver::Driver,
    store::{Namespace, PageSize, Reader, RunRecord, StoreError},
};

/// Tasks that are looked at for one part of a filtered list.
const LOOKED_AT_MAX: u32 = 20_000;
/// Needs, and workers, that the brain looks at for one answer: some hundred microseconds of its time.
const LOOKED_AT_FOR_WAITS_MAX: usize = 20_000;
/// How long it may take to come to that.
const SAID_WITHIN: Duration = Duration::from_millis(500);

pub(super) fn operations() -> Vec<Operation> {
    vec![
        get("/runs/{run_id}/tasks", list)
            .is("listTasks", "List a run's tasks, in the order of its workflow")
            .query::<Which>()
            .gives::<rest::Page<rest::Task>>(200, "A part of the list."),
        get("/tasks/{task_id}", show).is("getTask", "Show a task").gives::<rest::Task>(200, "The task."),
        get("/tasks/{task_id}/log", log)
            .is("getLog", "Read what a task printed")
            .note("With `follow=true` the answer goes on while the task prints, until its attempt has ended.")
            .query::<LogQuery>()
            .header("Range", "`bytes=…`, without `follow`.")
            .gives_as::<String>(200, "What it printed.", "text/plain; charset=utf-8")
            .gives_as::<String>(206, "A part of it.", "text/plain; charset=utf-8"),
        get("/tasks/{task_id}/artifacts", artifacts)
            .is("listArtifacts", "List the files that a task left")
            .query::<Attempt>()
            .gives::<Vec<rest::Artifact>>(200, "Their names and sizes, at most 1,000."),
        get("/tasks/{task_id}/artifacts/{*path}", artifact)
            .is("getArtifact", "Read a file that a task left")
            .query::<Attempt>()
            .header("Range", "`bytes=…`")
            .gives_as::<String>(200, "The file.", "application/octet-stream")
            .gives_as::<String>(206, "A part of it.", "application/octet-stream"),
    ]
}

/// Which tasks are listed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// Only with this status.
    #[schemars(extend("enum" = rest::TASK_STATUSES))]
    status: Option<String>,
    /// The `next` of the part before.
    after: Option<String>,
    /// Items of one part, 1 to 1,000 (100).
    #[schemars(range(min = 1, max = 1_000))]
    limit: Option<usize>,
}

async fn list(State(app): State<Arc<App>>, Path(run): Path<String>, Params(which): Params<Which>) -> Answer<Response> {
    let run: RunId = parse(&run, "the id of a run")?;
    let size = page_size(which.limit)?;
    let status = which.status.as_deref().map(status).transpose()?;
    let cursor =
        |text: &str| text.parse().map(TaskIndex).map_err(|_| Problem::bad("`after` is no `next` of this list"));
    let after = which.after.as_deref().map(cursor).transpose()?;
    let page = app.list(move |reader, namespace| {
        let Some(record) = reader.run(namespace, run)?.value else { return Ok(None) };
        part(reader, namespace, &record, status, after, size).map(Some)
    });
    let mut page = page.await?.ok_or_else(|| Problem::not_found(format!("there is no run `{run}`")))?;
    explain(&app, &mut page.items).await;
    ok(&page)
}

/// What the brain says of one wait.
#[derive(Default)]
struct Said {
    /// Of all but those for other tasks, which are named.
    sentence: Option<String>,
    needs: Option<rest::Needs>,
    signal: Option<String>,
}

/// Adds to waits for other tasks which these are, and to all others what is waited for, in a sentence: the brain has it
/// at hand. If it does not come to it in time, or is further than the store, they stay unsaid.
async fn explain(app: &App, tasks: &mut [rest::Task]) {
    let waits = |task: &&rest::Task| task.wait.is_some() || attempt_wait(task).is_some();
    let ids: Vec<TaskId> = tasks.iter().filter(waits).filter_map(|task| task.task_id.parse().ok()).collect();
    if ids.is_empty() {
        return;
    }
    let look = move |driver: &Driver| {
        let mut left = LOOKED_AT_FOR_WAITS_MAX;
        let said = |id: TaskId| Some((id.to_string(), said_of(driver, id, &mut left)?));
        ids.into_iter().filter_map(said).collect()
    };
    let said: Option<BTreeMap<String, (Waits, Said)>> = app.engine.peek(SAID_WITHIN, look).await;
    let mut said = said.unwrap_or_default();
    for task in tasks {
        let Some((same, said)) = said.remove(&task.task_id) else { continue };
        match (&mut task.wait, task.lease.as_mut().and_then(|lease| lease.waits.as_mut())) {
            (_, Some(wait)) if same == Waits::Attempt(wait.clone()) => wait.sentence = said.sentence,
            (Some(wait), _) if same == Waits::Task(wait.clone()) => {
                (wait.sentence, wait.needs, wait.signal) = (said.sentence, said.needs, said.signal);
            }
            _ => {}
        }
    }
}

/// A wait of a task, or of its attempt: what the brain says of another one than the store has is left out.
#[derive(PartialEq)]
enum Waits {
    Task(rest::Wait),
    Attempt(rest::AttemptWait),
}

fn attempt_wait(task: &rest::Task) -> Option<&rest::AttemptWait> {
    task.lease.as_ref()?.waits.as_ref()
}

/// A wait as the brain knows it, and what it says of it. `left` is how many needs, and workers, may still be looked at.
fn said_of(driver: &Driver, id: TaskId, left: &mut usize) -> Option<(Waits, Said)> {
    let state = driver.state();
    let task = state.task(id)?;
    let attempt = task.lease().and_then(view::attempt_wait);
    let wait = task.wait();
    if let Some(wait) = wait.filter(|wait| wait.on == WaitOn::Needs) {
        let said = Said { needs: Some(needs_of(driver, id, left)?), ..Said::default() };
        return Some((Waits::Task(view::wait(wait)), said));
    }
    let workers = if wait.is_some_and(|wait| wait.on == WaitOn::Grant) { state.volatile.workers.len() } else { 0 };
    *left = left.checked_sub(1 + workers)?;
    let awaited = || Some(state.definition(id.run).task(id.index).kind.awaits()?.0.to_string());
    let said = Said {
        sentence: Some(describe(state, id)?.sentence),
        signal: wait.filter(|wait| wait.on == WaitOn::Signal).and_then(|_| awaited()),
        needs: None,
    };
    Some((attempt.map(Waits::Attempt).or_else(|| Some(Waits::Task(view::wait(wait?))))?, said))
}

/// Whom a task waits for, if it does and its run has started; `left` is how many needs may still be looked at.
fn needs_of(driver: &Driver, id: TaskId, left: &mut usize) -> Option<rest::Needs> {
    let state = driver.state();
    let run = state.runs.get(&id.run).filter(|run| run.started)?;
    let task = state.task(id)?;
    let definition = &state.definitions[&run.definition];
    let primaries = definition.primaries.get(&id.index).map_or(0, Vec::len);
    *left = left.checked_sub(1 + definition.task(id.index).needs.of.len() + primaries)?;
    let has_ended = |other: TaskIndex| run.task(other).end().is_some();
    Some(view::needs(&open_needs(definition, id.index, task.met, has_ended)))
}

fn status(word: &str) -> Answer<TaskStatus> {
    let found = TaskStatus::ALL.into_iter().find(|status| view::word(status).eq_ignore_ascii_case(word));
    found.ok_or_else(|| {
        let all: Vec<String> = TaskStatus::ALL.iter().map(view::word).collect();
        Problem::bad(format!("`{word}` is no status of a task; expected one of {}", all.join(", ")))
    })
}

/// The tasks behind `after`, as many as fit, also those for which nothing is stored yet.
fn part(
    reader: &mut dyn Reader,
    namespace: &Namespace,
    record: &RunRecord,
    status: Option<TaskStatus>,
    after: Option<TaskIndex>,
    size: PageSize,
) -> Result<rest::Page<rest::Task>, StoreError> {
    let run = record.run();
    let total = u32::try_from(view::run(record, 0, true).task_count).unwrap_or(u32::MAX);
    let mut from = after.map_or(0, |after| after.0.saturating_add(1));
    let bound = from.saturating_add(LOOKED_AT_MAX).min(total);
    let mut items = Vec::new();
    while items.len() < size.items() && from < bound {
        let many = (size.items() - items.len()).max(100);
        let until = from.saturating_add(u32::try_from(many).unwrap_or(u32::MAX)).min(bound);
        let window = window(reader, namespace, run, from, until)?;
        let wanted: Vec<(TaskIndex, Task)> =
            window.into_iter().filter(|(_, task)| status.is_none_or(|status| task.status() == status)).collect();
        let room = size.items() - items.len();
        // Of a window that holds more than there is room for, the rest is looked at again next time.
        from = wanted.get(room).map_or(until, |(index, _)| index.0);
        let shown = &wanted[..wanted.len().min(room)];
        let names = names(reader, namespace, run, shown.iter().map(|(index, _)| *index))?;
        items.extend(shown.iter().map(|(index, task)| view::task(run.id, *index, name(&names, *index), task)));
    }
    let next = (from < total).then(|| (from.saturating_sub(1)).to_string());
    Ok(rest::Page { items, next })
}

/// The tasks with these places.
fn window(
    reader: &mut dyn Reader,
    namespace: &Namespace,
    run: &Run,
    from: u32,
    until: u32,
) -> Result<BTreeMap<TaskIndex, Task>, StoreError> {
    if !run.tasks.is_empty() {
        let tasks = run.indexed_tasks().filter(|(index, _)| (from..until).contains(&index.0));
        return Ok(tasks.map(|(index, task)| (index, task.clone())).collect());
    }
    let untouched = run.untouched_task();
    let mut tasks: BTreeMap<TaskIndex, Task> =
        (from..until).map(|index| (TaskIndex(index), untouched.clone())).collect();
    let after = from.checked_sub(1).map(TaskIndex);
    let size = PageSize::new((until - from) as usize);
    let stored = reader.tasks(namespace, run.id, after, size)?.value;
    tasks.extend(stored.items.into_iter().filter(|(index, _)| index.0 < until));
    Ok(tasks)
}

fn names(
    reader: &mut dyn Reader,
    namespace: &Namespace,
    run: &Run,
    wanted: impl Iterator<Item = TaskIndex>,
) -> Result<BTreeMap<TaskIndex, TaskDef>, StoreError> {
    Ok(reader.task_definitions(namespace, &run.definition, &wanted.collect())?.value)
}

fn name(names: &BTreeMap<TaskIndex, TaskDef>, index: TaskIndex) -> &str {
    names.get(&index).map(|def| &*def.name).unwrap_or_default()
}

/// A task with its name and its run's status.
struct Found {
    id: TaskId,
    name: String,
    task: Task,
}

async fn find_task(app: &Arc<App>, text: &str) -> Answer<Found> {
    let id: TaskId = parse(text, "the id of a task")?;
    let found = app.read(move |reader, namespace| {
        let Some(record) = reader.run(namespace, id.run)?.value else { return Ok(None) };
        let run = record.run();
        if u64::from(id.index.0) >= view::run(&record, 0, true).task_count {
            return Ok(None);
        }
        let task = window(reader, namespace, run, id.index.0, id.index.0 + 1)?.remove(&id.index);
        let names = names(reader, namespace, run, [id.index].into_iter())?;
        Ok(task.map(|task| Found { id, name: name(&names, id.index).to_owned(), task }))
    });
    found.await?.ok_or_else(|| Problem::not_found(format!("there is no task `{id}`")))
}

async fn show(
    State(app): State<Arc<App>>,
    Path(task): Path<String>,
    Params(Nothing {}): Params<Nothing>,
) -> Answer<Response> {
    let found = find_task(&app, &task).await?;
    let mut shown = view::task(found.id.run, found.id.index, &found.name, &found.task);
    explain(&app, std::slice::from_mut(&mut shown)).await;
    ok(&shown)
}

/// Which attempt's files.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Attempt {
    /// The number of the attempt; absent: the newest.
    #[schemars(range(min = 1))]
    attempt: Option<u32>,
}

/// Which log, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LogQuery {
    /// The number of the attempt; absent: the newest.
    #[schemars(range(min = 1))]
    attempt: Option<u32>,
    /// Whether to go on while it grows.
    #[serde(default)]
    follow: bool,
}

/// The folder of an attempt of a task; a task that nobody tried has none.
fn folder(app: &App, found: &Found, attempt: Option<u32>) -> Answer<PathBuf> {
    let newest = found.task.attempts;
    let number = attempt.unwrap_or(newest);
    if number == 0 || number > newest {
        return Err(Problem::not_found(match newest {
            0 => format!("task `{}` has not been tried yet", found.name),
            _ => format!("task `{}` has the attempts 1 to {newest}", found.name),
        }));
    }
    Ok(app.engine.data().join(attempt_folder(std::path::Path::new(ATTEMPTS), found.id.attempt(number), &found.name)))
}

async fn log(
    State(app): State<Arc<App>>,
    Path(task): Path<String>,
    Params(query): Params<LogQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    let found = find_task(&app, &task).await?;
    let folder = folder(&app, &found, query.attempt)?;
    if !query.follow {
        return files::send(folder, "log.txt", &headers, "text/plain; charset=utf-8").await;
    }
    let (id, attempt) = (found.id, query.attempt.unwrap_or(found.task.attempts));
    let is_over = move || {
        let app = Arc::clone(&app);
        async move {
            let known = find(&app, id.run).await;
            // A run that cannot be looked at for a moment is looked at again.
            let Ok(known) = known else { return false };
            if known.record.status().is_terminal() {
                return true;
            }
            let found = find_task(&app, &id.to_string()).await;
            found.is_ok_and(|found| found.task.attempts != attempt || found.task.lease().is_none())
        }
    };
    files::follow(folder, "log.txt", is_over).await
}

async fn artifacts(
    State(app): State<Arc<App>>,
    Path(task): Path<String>,
    Params(query): Params<Attempt>,
) -> Answer<Response> {
    let found = find_task(&app, &task).await?;
    let folder = folder(&app, &found, query.attempt)?;
    ok(&files::list(folder).await?)
}

async fn artifact(
    State(app): State<Arc<App>>,
    Path((task, path)): Path<(String, String)>,
    Params(query): Params<Attempt>,
    headers: HeaderMap,
) -> Answer<Response> {
    let found = find_task(&app, &task).await?;
    let folder = folder(&app, &found, query.attempt)?;
    files::send(folder.join(ARTIFACTS_FOLDER), &path, &headers, "application/octet-stream").await
}
