//! Signals: named messages to a run.

use super::{MaySend, Params, ok, parse, runs::Nothing};
use crate::{
    app::App,
    operation::{Operation, put},
    problem::Answer,
    tokens::Identity,
};
use axum::{
    Extension,
    extract::{Path, State},
    response::Response,
};
use serde_json::Value;
use std::sync::Arc;
use unknot_api::rest;
use unknot_engine::{
    core::{
        RunId,
        effect::Answer as Told,
        event::{Event, SignalRequest},
        run::JsonText,
    },
    store::FactsQuery,
};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        put("/runs/{run_id}/signals/{signal}", send)
            .is("sendSignal", "Send a run a signal")
            .note(
                "What it says is the output of the tasks that say `signal: NAME`, also of those that come to wait for it \
                 later. The same signal again changes nothing; another one of its name takes its place.",
            )
            .may_take::<rest::SignalRequest>()
            .gives::<rest::SignalSent>(200, "The run has it."),
    ]
}

async fn send(
    State(app): State<Arc<App>>,
    Path((run, name)): Path<(String, String)>,
    Extension(who): Extension<Identity>,
    _: Params<Nothing>,
    MaySend(said): MaySend<rest::SignalRequest>,
) -> Answer<Response> {
    let run: RunId = parse(&run, "the id of a run")?;
    deliver(&app, run, name, said.payload, who.name).await
}

/// Sends it, in somebody's name.
pub(super) async fn deliver(app: &Arc<App>, run: RunId, name: String, payload: Value, by: String) -> Answer<Response> {
    let query = FactsQuery { idempotency_key: None, run: Some(run) };
    let facts = app.read_or_memory(move |reader, namespace| reader.facts(namespace, &query)).await;
    let facts = facts.transpose()?.unwrap_or_default();
    if facts.ended.is_some() && had(app, run, &name, &payload, &by).await? {
        // It was carried out before, and only the answer was lost.
        return ok(&rest::SignalSent { run_id: run.to_string(), signal: name, is_named: true });
    }
    let signal = Box::new(SignalRequest { name: name.clone(), payload: JsonText::of(&payload), by, facts });
    let told = app.command(|caller| Event::SignalSent { run, signal, caller }).await?;
    let is_named = matches!(told, Told::Signalled { is_named: true });
    ok(&rest::SignalSent { run_id: run.to_string(), signal: name, is_named })
}

/// Whether a run that has ended had this signal from the same sender.
async fn had(app: &Arc<App>, run: RunId, name: &str, payload: &Value, by: &str) -> Answer<bool> {
    let known = super::runs::find(app, run).await?;
    let sent = known.record.run().signals.get(name);
    Ok(sent.is_some_and(|sent| sent.by == by && sent.payload.value() == *payload))
}
