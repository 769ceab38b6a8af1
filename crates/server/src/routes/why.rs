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
use unknot_engine::{
    core::{
        RunId, TaskId,
        wait::{Subject, why},
    },
    store::{PageSize, VerdictFilter},
};

/// How long the brain may take to come to the question.
const WITHIN: Duration = Duration::from_secs(2);

/// Verdicts that are mentioned.
const VERDICTS_MAX: usize = 3;

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

/// The newest verdicts that a run, or one that it started, was part of; none while the store does not answer.
async fn verdicts(app: &Arc<App>, run: RunId) -> Vec<rest::VerdictRef> {
    let filter = VerdictFilter { run: Some(run), ..VerdictFilter::default() };
    let size = PageSize::new(VERDICTS_MAX);
    let found = app.read_or_memory(move |reader, namespace| reader.verdicts(namespace, &filter, None, size)).await;
    let found = found.and_then(Result::ok).map(|page| page.value.items).unwrap_or_default();
    found.iter().map(|verdict| view::verdict_ref(run, verdict)).collect()
}

async fn tell(app: &Arc<App>, subject: Subject, run: RunId) -> Answer<Response> {
    let late = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the brain did not come to the question in time");
    let now = app.engine.now();
    let told = app.engine.peek(WITHIN, move |driver| why(driver.state(), subject, now)).await.ok_or_else(late)?;
    let verdicts = verdicts(app, run).await;
    if let Some(told) = told {
        return ok(&rest::Why { verdicts, ..view::why(&told) });
    }
    let known = super::runs::find(app, run).await?;
    let status = view::word(&known.record.status());
    let part = verdicts.first().map_or_else(String::new, |verdict| {
        let who = if verdict.is_below { "a run that it started" } else { "it" };
        format!("; {who} was part of verdict `{}`", verdict.id)
    });
    match subject {
        Subject::Run(_) => {
            Err(Problem::conflict(format!("run `{run}` waits for nothing: it has ended as {status}{part}")))
        }
        Subject::Task(task) if u64::from(task.index.0) >= view::run(&known.record, 0, true).task_count => {
            Err(Problem::not_found(format!("there is no task `{task}`")))
        }
        Subject::Task(task) => Err(Problem::conflict(format!("task `{task}` waits for nothing: it has ended"))),
    }
}
