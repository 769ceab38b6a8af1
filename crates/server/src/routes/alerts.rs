//! Alerts: which incidents are open, who was told, and whether alerts arrive at all.

use super::{MaySend, Params, ok, runs::Nothing};
use crate::{
    app::App,
    operation::{Operation, get, post},
    problem::{Answer, Problem},
    view,
};
use axum::{extract::State, response::Response};
use std::sync::Arc;
use tokio::task::JoinSet;
use unknot_api::rest;
use unknot_engine::core::effect::Refusal;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        get("/alerts", alerts)
            .is("listAlerts", "List incidents that are open, or that somebody is still to be told of")
            .note("Read from the store: up to 500, the oldest first.")
            .gives::<Vec<rest::Alert>>(200, "All of them."),
        post("/alerts/test", test)
            .is("testAlerts", "Send an alert to a target now, and tell what it answered")
            .note("Outside of the outbox: it is tried once. What that begins at PagerDuty is ended right away.")
            .may_take::<rest::AlertTestRequest>()
            .gives::<Vec<rest::AlertTested>>(200, "What each target answered, also if it refused."),
    ]
}

async fn alerts(State(app): State<Arc<App>>, Params(Nothing {}): Params<Nothing>) -> Answer<Response> {
    let found = app.read(|reader, namespace| reader.alerts(namespace)).await?;
    ok(&found.value.iter().map(|(_, alert)| view::alert(alert)).collect::<Vec<_>>())
}

async fn test(State(app): State<Arc<App>>, MaySend(request): MaySend<rest::AlertTestRequest>) -> Answer<Response> {
    let known = app.engine.alert_targets();
    let wanted = match request.target {
        Some(target) if known.contains(&target) => vec![target],
        Some(target) => return Err(Refusal::unknown_target(&target, known.iter().map(String::as_str)).into()),
        None if known.is_empty() => return Err(Problem::not_found("no target of alerts is configured")),
        None => known,
    };
    let mut tests = JoinSet::new();
    for target in wanted {
        let app = Arc::clone(&app);
        tests.spawn(async move { app.engine.test_alert(&target).await });
    }
    // One that is gone by now was not tested.
    let mut tested: Vec<rest::AlertTested> = Vec::new();
    while let Some(done) = tests.join_next().await {
        tested.extend(done.ok().flatten().as_ref().map(view::tested));
    }
    tested.sort_by(|left, right| left.target.cmp(&right.target));
    ok(&tested)
}
