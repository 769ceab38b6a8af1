//! Why something does not go on.

use super::{Params, ok, parse, runs::Nothing};
use crate::{
    app::App,
    operation::{Operation, get},
    problem::{Answer, Problem},
    view,
};
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use std::{sync::Arc, time::Duration};
use unknot_api::rest;
use unknot_engine::core::{
    RunId, TaskId,
    wait::{Subject, why},
};

/// How long the brain may take to come to the question.
const WITHIN: Duration = Duration::from_secs(2);

pub(super) fn operations() -> Vec<Operation> {
    let note = "Asks the brain, so it is answered whatever the store does. What has ended waits for nothing: 409.";
    vec![
        get("/runs/{run_id}/why", of_run)
            .is("whyRun", "Say why a run does not go on, and who can move it")
            .note(note)
            .gives::<rest::Why>(200, "The reasons, as a tree."),
        get("/tasks/{task_id}/why", of_task)
            .is("whyTask", "Say why a task does not go on, and who can move it")
            .note(note)
            .gives::<rest::Why>(200, "The reasons, as a tree."),
    ]
}

async fn of_run(
    State(app): State<Arc<App>>,
    Path(run): Path<String>,
    Params(Nothing {}): Params<Nothing>,
) -> Answer<Response> {
    let run: RunId = parse(&run, "the id of a run")?;
    tell(&app, Subject::Run(run), run).await
}

async fn of_task(
    State(app): State<Arc<App>>,
    Path(task): Path<String>,
    Params(Nothing {}): Params<Nothing>,
) -> Answer<Response> {
    let task: TaskId = parse(&task, "the id of a task")?;
    tell(&app, Subject::Task(task), task.run).await
}

async fn tell(app: &Arc<App>, subject: Subject, run: RunId) -> Answer<Response> {
    let late = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the brain did not come to the question in time");
    let told = app.engine.peek(WITHIN, move |driver| why(driver.state(), subject)).await.ok_or_else(late)?;
    if let Some(told) = told {
        return ok(&view::why(&told));
    }
    let known = super::runs::find(app, run).await?;
    let status = view::word(&known.record.status());
    match subject {
        Subject::Run(_) => Err(Problem::conflict(format!("run `{run}` waits for nothing: it has ended as {status}"))),
        Subject::Task(task) if u64::from(task.index.0) >= view::run(&known.record, 0, true).task_count => {
            Err(Problem::not_found(format!("there is no task `{task}`")))
        }
        Subject::Task(task) => Err(Problem::conflict(format!("task `{task}` waits for nothing: it has ended"))),
    }
}
