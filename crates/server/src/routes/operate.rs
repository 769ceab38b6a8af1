//! Queues, workers and dead letters; holding and letting go.

use super::{Params, Sent, again::letters, ok, page_size, parse, runs::Nothing};
use crate::{
    app::App,
    operation::{Operation, delete, get, put},
    problem::{Answer, Problem},
    tokens::Identity,
    view,
};
use axum::{
    Extension,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use unknot_api::rest;
use unknot_engine::core::{
    TaskId,
    effect::{Answer as Told, Refusal},
    event::{Decision, Event, PauseTarget},
    row::DeadLetter,
};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        get("/queues", queues).is("listQueues", "List queues").gives::<Vec<rest::Queue>>(200, "All of them."),
        get("/queues/{queue}", queue).is("getQueue", "Show a queue").gives::<rest::Queue>(200, "The queue."),
        put("/queues/{queue}/pause", pause_queue)
            .is("pauseQueue", "Hold a queue: no task of it starts")
            .gives::<rest::Paused>(200, "Held; what runs goes on."),
        delete("/queues/{queue}/pause", resume_queue)
            .is("resumeQueue", "Let a queue go on")
            .gives_nothing(204, "It goes on."),
        put("/workflows/{workflow}/pause", pause_workflow)
            .is("pauseWorkflow", "Hold a workflow: no task of its runs starts")
            .gives::<rest::Paused>(200, "Held; what runs goes on."),
        delete("/workflows/{workflow}/pause", resume_workflow)
            .is("resumeWorkflow", "Let a workflow go on")
            .gives_nothing(204, "It goes on."),
        put("/runs/{run_id}/pause", pause_run)
            .is("pauseRun", "Hold a run: no task of it starts")
            .gives::<rest::Paused>(200, "Held; what runs goes on."),
        delete("/runs/{run_id}/pause", resume_run).is("resumeRun", "Let a run go on").gives_nothing(204, "It goes on."),
        get("/workers", workers)
            .is("listWorkers", "List the workers that are connected")
            .gives::<Vec<rest::Worker>>(200, "All of them."),
        put("/tasks/{task_id}/decision", decide)
            .is("decideTask", "Say what becomes of a task whose attempt was lost, or may still be alive")
            .takes::<rest::DecisionRequest>()
            .gives_nothing(204, "It is tried again, or counts as failed."),
        get("/dead-letters", dead_letters)
            .is("listDeadLetters", "List tasks that are out of tries")
            .query::<Which>()
            .gives::<rest::Page<rest::DeadLetter>>(200, "A part of the list, those of the newest runs first."),
        delete("/dead-letters/{task_id}", drop_letter)
            .is("dropDeadLetter", "Forget a dead letter")
            .gives_nothing(204, "It is gone; the run is not touched."),
    ]
}

async fn queues(State(app): State<Arc<App>>, Params(Nothing {}): Params<Nothing>) -> Answer<Response> {
    let overview = app.engine.look().await;
    ok(&overview.queues.iter().map(|(name, queue)| view::queue(name, queue)).collect::<Vec<_>>())
}

async fn queue(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Params(Nothing {}): Params<Nothing>,
) -> Answer<Response> {
    let overview = app.engine.look().await;
    let unknown = || Refusal::unknown_queue(&name, overview.queues.keys().map(String::as_str));
    ok(&view::queue(&name, overview.queues.get(&name).ok_or_else(unknown)?))
}

async fn workers(State(app): State<Arc<App>>, Params(Nothing {}): Params<Nothing>) -> Answer<Response> {
    let overview = app.engine.look().await;
    ok(&overview.workers.iter().map(|(worker, seen)| view::worker(worker, seen)).collect::<Vec<_>>())
}

async fn pause(app: &App, target: PauseTarget, who: &Identity) -> Answer<Response> {
    let by = who.name.clone();
    match app.command(|caller| Event::Paused { target, by, caller }).await? {
        Told::Paused(pause) => ok(&view::paused(&pause)),
        _ => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

async fn resume(app: &App, target: PauseTarget, who: &Identity) -> Answer<Response> {
    let by = who.name.clone();
    app.command(|caller| Event::Resumed { target, by, caller }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A name that a workflow can have.
fn workflow_target(name: String) -> Answer<PauseTarget> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !name.is_empty() && name.len() <= 100 && name.bytes().all(plain) {
        Ok(PauseTarget::Workflow(name))
    } else {
        Err(Problem::not_found("no workflow can have that name"))
    }
}

type Who = Extension<Identity>;

async fn pause_queue(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Extension(who): Who,
    _: Params<Nothing>,
) -> Answer<Response> {
    pause(&app, PauseTarget::Queue(name), &who).await
}

async fn resume_queue(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Extension(who): Who,
    _: Params<Nothing>,
) -> Answer<Response> {
    resume(&app, PauseTarget::Queue(name), &who).await
}

async fn pause_workflow(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Extension(who): Who,
    _: Params<Nothing>,
) -> Answer<Response> {
    pause(&app, workflow_target(name)?, &who).await
}

async fn resume_workflow(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Extension(who): Who,
    _: Params<Nothing>,
) -> Answer<Response> {
    resume(&app, workflow_target(name)?, &who).await
}

async fn pause_run(
    State(app): State<Arc<App>>,
    Path(run): Path<String>,
    Extension(who): Who,
    _: Params<Nothing>,
) -> Answer<Response> {
    pause(&app, PauseTarget::Run(parse(&run, "the id of a run")?), &who).await
}

async fn resume_run(
    State(app): State<Arc<App>>,
    Path(run): Path<String>,
    Extension(who): Who,
    _: Params<Nothing>,
) -> Answer<Response> {
    resume(&app, PauseTarget::Run(parse(&run, "the id of a run")?), &who).await
}

async fn decide(
    State(app): State<Arc<App>>,
    Path(task): Path<String>,
    Sent(request): Sent<rest::DecisionRequest>,
) -> Answer<Response> {
    let task: TaskId = parse(&task, "the id of a task")?;
    let decision = match request.decision {
        rest::Decision::Retry => Decision::Retry,
        rest::Decision::Fail => Decision::Fail,
    };
    app.engine.command(|caller| Event::TaskDecided { task, decision, caller }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Which dead letters are listed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// The `next` of the part before.
    after: Option<String>,
    /// Items of one part, 1 to 1,000 (100).
    #[schemars(range(min = 1, max = 1_000))]
    limit: Option<usize>,
}

async fn dead_letters(State(app): State<Arc<App>>, Params(which): Params<Which>) -> Answer<Response> {
    let size = page_size(which.limit)?;
    let cursor = |text: &str| text.parse::<TaskId>().map_err(|_| Problem::bad("`after` is no `next` of this list"));
    let after = which.after.as_deref().map(cursor).transpose()?;
    let found = app.list(move |reader, namespace| {
        let page = reader.dead_letters(namespace, after, size)?.value;
        let mut statuses = BTreeMap::new();
        for run in page.items.iter().map(|letter| letter.task.run).collect::<BTreeSet<_>>() {
            statuses.extend(reader.run(namespace, run)?.value.map(|record| (run, record.status())));
        }
        Ok((page, statuses))
    });
    let (page, statuses) = found.await?;
    let show = |letter: &DeadLetter| view::dead_letter(letter, statuses.get(&letter.task.run).copied());
    let items = page.items.iter().map(show).collect();
    ok(&rest::Page { items, next: page.next.map(|task| task.to_string()) })
}

async fn drop_letter(
    State(app): State<Arc<App>>,
    Path(task): Path<String>,
    Params(Nothing {}): Params<Nothing>,
) -> Answer<Response> {
    let task: TaskId = parse(&task, "the id of a task")?;
    let known = app.list(move |reader, namespace| letters(reader, namespace, task.run)).await?;
    if !known.contains(&task) {
        return Err(Problem::not_found(format!("there is no dead letter of task `{task}`")));
    }
    app.command(|caller| Event::DeadLetterDropped { task, caller }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
