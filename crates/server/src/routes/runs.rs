//! Runs: lists, and one of them.

use super::{Params, ok, page_size, parse};
use crate::{
    app::App,
    operation::{Operation, get},
    problem::{Answer, Problem},
    view,
};
use axum::{
    extract::{Path, State},
    response::Response,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{sync::Arc, time::Duration};
use unknot_api::{Moment, rest};
use unknot_engine::{
    core::{RunId, Timestamp, run::RunStatus},
    store::{RunFilter, RunRecord, RunSummary},
};

/// How long the brain may take to tell from memory what the store does not.
const MEMORY_WITHIN: Duration = Duration::from_millis(500);

/// From the moment in a run's id to its submission at most: callers are told by then that nobody knows.
const SUBMITTED_WITHIN_MS: u64 = 60_000;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        get("/runs", list)
            .is("listRuns", "List runs, the newest first")
            .query::<Filter>()
            .gives::<rest::Page<rest::RunSummary>>(200, "A part of the list."),
        get("/runs/{run_id}", show)
            .is("getRun", "Show a run")
            .note("Told from the store; if that does not answer within half a second, from memory (`durable: false`).")
            .gives::<rest::Run>(200, "The run."),
    ]
}

/// Which runs are listed; all conditions must hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Filter {
    /// Only with this status.
    #[schemars(extend("enum" = rest::RUN_STATUSES))]
    status: Option<String>,
    /// Only of this workflow.
    workflow: Option<String>,
    /// Only of this client.
    client_id: Option<String>,
    /// Only with this label: `name=value`.
    #[schemars(pattern("="))]
    label: Option<String>,
    /// Only submitted at this moment or later.
    since: Option<Moment>,
    /// Only submitted before this moment.
    until: Option<Moment>,
    /// The `next` of the part before.
    after: Option<String>,
    /// Items of one part, 1 to 1,000 (100).
    #[schemars(range(min = 1, max = 1_000))]
    limit: Option<usize>,
}

impl Filter {
    fn conditions(&self) -> rest::BulkFilter {
        rest::BulkFilter {
            status: self.status.clone(),
            workflow: self.workflow.clone(),
            client_id: self.client_id.clone(),
            label: self.label.clone(),
            since: self.since,
            until: self.until,
        }
    }
}

/// Whether a run was submitted when the conditions say. The store finds runs by the moment in their ids, which is
/// when they were asked for, a little before they were submitted.
pub(super) fn is_within(filter: &rest::BulkFilter, run: &RunSummary) -> bool {
    let at = run.submitted_at.0;
    filter.since.is_none_or(|since| at >= since.ms) && filter.until.is_none_or(|until| at < until.ms)
}

/// The conditions of a list, as the store takes them: whoever uses them asks [`is_within`] as well.
pub(super) fn understand(filter: &rest::BulkFilter) -> Answer<RunFilter> {
    let label = filter.label.as_deref().map(|label| {
        let pair = label.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        pair.ok_or_else(|| Problem::bad("`label` is `name=value`"))
    });
    Ok(RunFilter {
        status: filter.status.as_deref().map(status).transpose()?,
        workflow: filter.workflow.clone(),
        client_id: filter.client_id.clone(),
        label: label.transpose()?,
        since: filter.since.map(|at| Timestamp(at.ms.saturating_sub(SUBMITTED_WITHIN_MS))),
        until: filter.until.map(|at| Timestamp(at.ms)),
    })
}

fn status(word: &str) -> Answer<RunStatus> {
    serde_json::from_value(word.to_ascii_uppercase().into()).map_err(|_| {
        let all = "PENDING, RUNNING, CANCELLING, COMPLETED, FAILED, CANCELLED, TIMED_OUT";
        Problem::bad(format!("`{word}` is no status of a run; expected one of {all}"))
    })
}

async fn list(State(app): State<Arc<App>>, Params(filter): Params<Filter>) -> Answer<Response> {
    let conditions = filter.conditions();
    let (wanted, size) = (understand(&conditions)?, page_size(filter.limit)?);
    let cursor = |text: &str| text.parse::<RunId>().map_err(|_| Problem::bad("`after` is no `next` of this list"));
    let after = filter.after.as_deref().map(cursor).transpose()?;
    let page = app.list(move |reader, namespace| reader.runs(namespace, &wanted, after, size)).await?.value;
    let items = page.items.iter().filter(|run| is_within(&conditions, run)).map(view::summary).collect();
    ok(&rest::Page { items, next: page.next.map(|run| run.to_string()) })
}

async fn show(
    State(app): State<Arc<App>>,
    Path(run): Path<String>,
    Params(Nothing {}): Params<Nothing>,
) -> Answer<Response> {
    let run = parse(&run, "the id of a run")?;
    let known = find(&app, run).await?;
    ok(&view::run(&known.record, known.as_of, known.durable))
}

/// An operation without parameters.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// What is known of a run, and how well.
pub(super) struct Known {
    pub(super) record: RunRecord,
    pub(super) as_of: u64,
    pub(super) durable: bool,
}

/// A run, out of the store or, if that is stuck, out of memory.
pub(super) async fn find(app: &Arc<App>, run: RunId) -> Answer<Known> {
    let stored = app.read_or_memory(move |reader, namespace| reader.run(namespace, run)).await;
    let unknown = || Problem::not_found(format!("there is no run `{run}`"));
    if let Some(answer) = stored {
        let found = answer?;
        let record = found.value.ok_or_else(unknown)?;
        return Ok(Known { record, as_of: found.as_of.0, durable: true });
    }
    let remembered = app.engine.peek(MEMORY_WITHIN, move |driver| {
        let record = driver.state().runs.get(&run).cloned().map(RunRecord::Live);
        record.map(|record| Known { record, as_of: driver.durable().0, durable: false })
    });
    let stuck = || {
        let detail = format!("the store does not answer, and no unfinished run `{run}` is in memory");
        Problem::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(Duration::from_secs(5))
    };
    remembered.await.flatten().ok_or_else(stuck)
}
