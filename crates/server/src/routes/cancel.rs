//! Cancellation: asked, looked at, forced.

use super::{
    MaySend, Params, ok, parse,
    runs::{Nothing, find},
};
use crate::{
    app::App,
    operation::{Access, Operation, delete, get, put},
    problem::{Answer, Problem},
    tokens::{Identity, Scope},
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
use std::sync::Arc;
use unknot_api::{Moment, rest};
use unknot_engine::{
    core::{
        RunId, Timestamp,
        effect::Answer as Told,
        event::{CancelRequest, Event},
        run::{EndCause, Run, RunStatus},
    },
    store::{FactsQuery, Namespace, PageSize, Reader, RunFilter, RunRecord, StoreError},
};

/// Characters of a reason.
const REASON_MAX: usize = 1_000;
/// The longest list of cancelled runs, and the furthest that it can be gone into.
const LIMIT_MAX: usize = 1_000;
const OFFSET_MAX: usize = 100_000;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        put("/runs/{run_id}/cancel", cancel)
            .is("cancelRun", "End a run")
            .note("Nothing new starts; what runs walks its ladder (told, TERM, KILL). Asking again changes nothing.")
            .may_take::<rest::CancelRequest>()
            .gives::<rest::Cancelling>(200, "It is on its way to its end."),
        get("/runs/{run_id}/cancel", look)
            .open(Access::OpenOnLoopback)
            .is("getCancellation", "Say whether, why and by whom a run is cancelled")
            .gives::<rest::CancelStatus>(200, "What is known."),
        delete("/runs/{run_id}/cancel", force)
            .needs(Scope::Admin)
            .is("forceCancellation", "Force a run to its end, whatever its attempts do")
            .note("Attempts are killed at once, and count no more. What they hold stays closed until they are known to be gone.")
            .gives_nothing(204, "It has ended, or ends in this moment."),
        get("/runs/cancelled", list)
            .open(Access::OpenOnLoopback)
            .is("listCancelled", "List cancelled runs")
            .query::<Which>()
            .gives::<Vec<rest::Cancelled>>(200, "Those on their way first, then the newest."),
    ]
}

async fn cancel(
    State(app): State<Arc<App>>,
    Path(run): Path<String>,
    Extension(who): Extension<Identity>,
    MaySend(request): MaySend<rest::CancelRequest>,
) -> Answer<Response> {
    if request.force && who.scope < Scope::Admin {
        return Err(Problem::forbidden("`force` needs the scope `admin`"));
    }
    check_reason(request.reason.as_deref())?;
    let reason = request.reason.unwrap_or_else(|| format!("cancelled by {}", who.name));
    let told = ask(&app, parse(&run, "the id of a run")?, reason, &who, request.force).await?;
    let Told::Cancelling { run, status, cancelled_tasks, since, reason } = told else {
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the brain answered something else"));
    };
    ok(&rest::Cancelling {
        run_id: run.to_string(),
        status: view::word(&status),
        message: "Workflow cancellation initiated successfully".to_owned(),
        cancelled_at: whole_seconds(since),
        cancelled_tasks,
        reason,
    })
}

/// Whether a reason, if there is one, is short enough to be kept.
pub(super) fn check_reason(reason: Option<&str>) -> Answer<()> {
    let fits = reason.is_none_or(|reason| reason.chars().count() <= REASON_MAX);
    fits.then_some(()).ok_or_else(|| Problem::bad(format!("`reason` has at most {REASON_MAX} characters")))
}

/// Has the brain cancel a run.
pub(super) async fn ask(app: &Arc<App>, run: RunId, reason: String, who: &Identity, force: bool) -> Answer<Told> {
    let query = FactsQuery { idempotency_key: None, run: Some(run) };
    // A stuck store shall not keep a run from being cancelled: the brain knows those that have not ended.
    let facts = app.read_or_memory(move |reader, namespace| reader.facts(namespace, &query)).await;
    let facts = facts.transpose()?.unwrap_or_default();
    let request = CancelRequest { reason, by: who.name.clone(), force, facts };
    app.command(|caller| Event::RunCancelRequested { run, request, caller }).await
}

async fn look(
    State(app): State<Arc<App>>,
    Path(run): Path<String>,
    Params(Nothing {}): Params<Nothing>,
) -> Answer<Response> {
    let known = find(&app, parse(&run, "the id of a run")?).await?;
    let run = known.record.run();
    let cancelled = run.ending.as_ref().filter(|ending| ending.cause == EndCause::Cancelled);
    ok(&rest::CancelStatus {
        run_id: run.id.to_string(),
        is_cancelled: cancelled.is_some(),
        status: view::word(&known.record.status()),
        cancellation_reason: cancelled.map(|ending| ending.reason.clone()),
        cancelled_at: cancelled.map(|ending| whole_seconds(ending.since)),
        cancelled_by: cancelled.map(|ending| ending.by.clone()),
    })
}

async fn force(
    State(app): State<Arc<App>>,
    Path(run): Path<String>,
    Extension(who): Extension<Identity>,
    Params(Nothing {}): Params<Nothing>,
) -> Answer<Response> {
    let run: RunId = parse(&run, "the id of a run")?;
    let known = find(&app, run).await?;
    if known.record.status() != RunStatus::Cancelled {
        ask(&app, run, format!("forced to its end by {}", who.name), &who, true).await?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Which cancelled runs are listed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// At most so many, up to 1,000 (50).
    #[schemars(range(min = 1, max = 1_000))]
    limit: Option<usize>,
    /// Behind so many, up to 100,000 (0).
    #[schemars(range(max = 100_000))]
    offset: Option<usize>,
    /// Only those of this client.
    client_id: Option<String>,
}

async fn list(State(app): State<Arc<App>>, Params(which): Params<Which>) -> Answer<Response> {
    let (limit, offset) = (which.limit.unwrap_or(50), which.offset.unwrap_or(0));
    if !(1..=LIMIT_MAX).contains(&limit) || offset > OFFSET_MAX {
        return Err(Problem::bad(format!("`limit` is 1 to {LIMIT_MAX}, `offset` at most {OFFSET_MAX}")));
    }
    let found = app.list(move |reader, namespace| {
        let mut found = Vec::new();
        let mut skip = offset;
        for status in [RunStatus::Cancelling, RunStatus::Cancelled] {
            let filter = RunFilter { status: Some(status), client_id: which.client_id.clone(), ..RunFilter::default() };
            gather(reader, namespace, &filter, limit, &mut skip, &mut found)?;
        }
        Ok(found)
    });
    ok(&found.await?)
}

fn gather(
    reader: &mut dyn Reader,
    namespace: &Namespace,
    filter: &RunFilter,
    limit: usize,
    skip: &mut usize,
    found: &mut Vec<rest::Cancelled>,
) -> Result<(), StoreError> {
    let mut after = None;
    while found.len() < limit {
        let page = reader.runs(namespace, filter, after, PageSize::MAX)?.value;
        for summary in &page.items {
            if *skip > 0 {
                *skip -= 1;
            } else if found.len() < limit
                && let Some(record) = reader.run(namespace, summary.id)?.value
            {
                found.extend(cancelled(&record));
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    Ok(())
}

/// A run as the list of cancelled ones shows it; one that ends for another reason is none.
fn cancelled(record: &RunRecord) -> Option<rest::Cancelled> {
    let run: &Run = record.run();
    let ending = run.ending.as_ref().filter(|ending| ending.cause == EndCause::Cancelled)?;
    Some(rest::Cancelled {
        run_id: run.id.to_string(),
        workflow_name: run.workflow.to_string(),
        status: view::word(&record.status()),
        cancelled_at: whole_seconds(ending.since),
        cancellation_reason: ending.reason.clone(),
        cancelled_by: ending.by.clone(),
        task_count: view::run(record, 0, true).task_count,
        client_id: run.client_id.clone(),
    })
}

/// As the callers of these paths know it: without fractions.
fn whole_seconds(at: Timestamp) -> Moment {
    Moment { ms: at.0 / 1_000 * 1_000 }
}
