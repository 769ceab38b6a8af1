//! The wait graph of the namespace.

use super::{Params, ok, parse};
use crate::{
    app::App,
    operation::{Operation, get},
    problem::{Answer, Problem},
};
use axum::{extract::State as Extract, http::StatusCode, response::Response};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::task::spawn_blocking;
use unknot_api::rest;
use unknot_engine::core::{
    RunId, State, Timestamp,
    row::Loaded,
    settings::Bounds,
    wait::{reach, snapshot},
    worker::Workers,
};

/// How long the brain may take to say which workers are here.
const WORKERS_WITHIN: Duration = Duration::from_secs(2);

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
    ]
}

/// Which part is shown.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// Only what this run depends on, directly or not.
    run: Option<String>,
}

async fn waits(Extract(app): Extract<Arc<App>>, Params(which): Params<Which>) -> Answer<Response> {
    let run: Option<RunId> = which.run.as_deref().map(|run| parse(run, "the id of a run")).transpose()?;
    let late = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the brain did not say in time which workers are here");
    let volatile = app.engine.peek(WORKERS_WITHIN, |driver| {
        let volatile = &driver.state().volatile;
        (volatile.workers.clone(), volatile.bounds)
    });
    let (workers, bounds) = volatile.await.ok_or_else(late)?;
    let loaded = app.list(|reader, namespace| reader.live(namespace)).await?;
    let now = app.engine.now();
    let broken = |error: String| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error);
    let drawn = spawn_blocking(move || draw(loaded, bounds, workers, now, run)).await;
    let graph = drawn.map_err(|error| broken(error.to_string()))?.map_err(broken)?;
    match run {
        Some(run) if graph.nodes.is_empty() => Err(Problem::not_found(format!("there is no unfinished run `{run}`"))),
        _ => ok(&graph),
    }
}

fn draw(
    loaded: Loaded,
    bounds: Bounds,
    workers: Workers,
    now: Timestamp,
    run: Option<RunId>,
) -> Result<rest::WaitGraph, String> {
    let as_of = loaded.commit.0;
    let mut state = State::load(loaded, bounds).map_err(|error| error.to_string())?;
    state.volatile.workers = workers;
    let whole = snapshot(&state, now);
    let shown = match run {
        Some(run) => reach(&whole, &run.to_string()),
        None => whole,
    };
    let value = serde_json::to_value(&shown).map_err(|error| error.to_string())?;
    let list = |key: &str| match &value[key] {
        Value::Array(items) => items.iter().filter_map(|item| item.as_object().cloned()).collect(),
        _ => Vec::new(),
    };
    Ok(rest::WaitGraph {
        nodes: list("nodes"),
        resources: list("resources"),
        consumables: list("consumables"),
        holds: list("holds"),
        waits: list("waits"),
        as_of,
    })
}
