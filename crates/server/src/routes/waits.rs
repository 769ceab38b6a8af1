//! The wait graph of the namespace, and everybody in it who waits.

use super::{Params, ok, parse};
use crate::{
    app::App,
    operation::{Operation, get},
    problem::{Answer, Problem},
    view,
};
use axum::{extract::State as Extract, http::StatusCode, response::Response};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{sync::Arc, time::Duration};
use tokio::task::spawn_blocking;
use unknot_api::rest;
use unknot_engine::core::{
    RunId, State, Timestamp,
    wait::{reach, snapshot},
};

/// How long the brain may take to say which workers are here.
const BRAIN_WITHIN: Duration = Duration::from_secs(2);
/// Waits that are told at once, if nobody says how many.
const WAITS_USUAL: usize = 100;
/// And at most.
const WAITS_MAX: usize = 1_000;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        get("/waits", waits)
            .is("getWaits", "Show who waits for what, and who holds it")
            .note(
                "The exchange format of wait graphs, as `unknot analyze` takes it; `docs/wait-graph.md` says what it means. \
                 Read from the store, so it is as of a commit, and costs the brain nothing.",
            )
            .query::<Which>()
            .gives::<rest::WaitGraph>(200, "The graph."),
        get("/waits/list", list)
            .is("listWaits", "List who waits, for what, since when, until when, and who can move it")
            .note("Those that have waited longest first. Read as `/waits` is.")
            .query::<Listed>()
            .gives::<rest::LiveWaits>(200, "The waits."),
    ]
}

/// Which part is shown.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// Only what this run depends on, directly or not.
    run: Option<String>,
}

/// Which waits are listed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Listed {
    /// Only those that this run depends on, directly or not.
    run: Option<String>,
    /// How many at most, 1 to 1,000 (100).
    #[schemars(range(min = 1, max = 1_000))]
    limit: Option<usize>,
}

async fn waits(Extract(app): Extract<Arc<App>>, Params(which): Params<Which>) -> Answer<Response> {
    let run: Option<RunId> = which.run.as_deref().map(|run| parse(run, "the id of a run")).transpose()?;
    let graph = judge(&app, move |state, now, as_of| {
        let whole = snapshot(state, now);
        let shown = run.map_or_else(|| whole.clone(), |run| reach(&whole, &run.to_string()));
        rest::WaitGraph { graph: view::graph(&shown), as_of }
    });
    let graph = graph.await?;
    match run {
        Some(run) if graph.graph.nodes.is_empty() => Err(unknown(run)),
        _ => ok(&graph),
    }
}

async fn list(Extract(app): Extract<Arc<App>>, Params(which): Params<Listed>) -> Answer<Response> {
    let run: Option<RunId> = which.run.as_deref().map(|run| parse(run, "the id of a run")).transpose()?;
    let most = match which.limit {
        None => WAITS_USUAL,
        Some(limit @ 1..=WAITS_MAX) => limit,
        Some(limit) => return Err(Problem::bad(format!("`limit` is {limit}, expected 1 to {WAITS_MAX}"))),
    };
    let told = judge(&app, move |state, now, as_of| match run.filter(|run| !state.runs.contains_key(run)) {
        Some(run) => Err(run),
        None => Ok(view::live_waits(state, now, run, most, as_of)),
    });
    ok(&told.await?.map_err(unknown)?)
}

fn unknown(run: RunId) -> Problem {
    Problem::not_found(format!("there is no unfinished run `{run}`"))
}

/// Judges the state as the store has it, off the brain's thread and this one. The judgement is told now, and the newest
/// commit that it sees.
pub(super) async fn judge<T: Send + 'static>(
    app: &Arc<App>,
    judgement: impl FnOnce(&State, Timestamp, u64) -> T + Send + 'static,
) -> Answer<T> {
    let late = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the brain did not say in time which workers are here");
    let beside = app.engine.beside(BRAIN_WITHIN).await.ok_or_else(late)?;
    let loaded = app.list(|reader, namespace| reader.live(namespace)).await?;
    let now = app.engine.now();
    let broken = |error: String| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error);
    let judged = spawn_blocking(move || {
        let as_of = loaded.commit.0;
        beside.state(loaded).map(|state| judgement(&state, now, as_of))
    });
    let judged = judged.await.map_err(|error| broken(error.to_string()))?;
    judged.map_err(|error| broken(error.to_string()))
}
