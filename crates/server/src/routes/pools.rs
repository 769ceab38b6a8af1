//! Pools and locks: who holds them, who waits for them; made, resized and removed while everything runs.

use super::{Params, Sent, ok, runs::Nothing};
use crate::{
    app::App,
    operation::{Operation, delete, get, put},
    problem::{Answer, Problem},
    view,
};
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use std::{collections::BTreeMap, sync::Arc};
use unknot_api::rest;
use unknot_engine::{
    CommandError, convert,
    core::{
        effect::Refusal,
        settings::PoolSettings,
        validate::nearest,
        wait::{AtPool, Share},
    },
};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        get("/pools", list).is("listPools", "List pools and locks").gives::<Vec<rest::Pool>>(200, "All of them."),
        get("/pools/{pool}", show)
            .is("getPool", "Show a pool or lock, who holds some, and who waits")
            .gives::<rest::Pool>(200, "The pool."),
        put("/pools/{pool}", set)
            .is("setPool", "Make a pool, or give it another size")
            .note(
                "It holds at once and survives a restart. Where the configuration names the pool as well, its next start \
                 or reload has the last word. A size below what is held takes nothing away.",
            )
            .takes::<rest::PoolRequest>()
            .gives::<rest::Pool>(200, "The pool as it is now."),
        delete("/pools/{pool}", remove)
            .is("removePool", "Remove a pool or lock that nobody holds or needs")
            .note(
                "Refused with 409 while somebody holds some, waits for some, or has a task that will. A pool that the \
                 configuration names comes back at its next start or reload.",
            )
            .gives::<rest::PoolRemoved>(200, "It is gone."),
    ]
}

/// Pools as the brain sees them now.
async fn look(app: &App, only: Option<String>) -> Answer<BTreeMap<String, AtPool>> {
    let late = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the brain did not come to the question in time");
    app.engine.pools(only).await.ok_or_else(late)
}

/// Without who is there, if the brain is late.
async fn list(State(app): State<Arc<App>>, Params(Nothing {}): Params<Nothing>) -> Answer<Response> {
    match app.engine.pools(None).await {
        Some(pools) => ok(&pools.iter().map(|(name, at)| view::whole_pool(name, at)).collect::<Vec<_>>()),
        None => {
            let overview = app.engine.overview();
            ok(&overview.pools.iter().map(|(name, pool)| view::pool(name, pool)).collect::<Vec<_>>())
        }
    }
}

async fn show(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Params(Nothing {}): Params<Nothing>,
) -> Answer<Response> {
    let found = look(&app, Some(name.clone())).await?;
    match found.get(&name) {
        Some(at) => ok(&view::whole_pool(&name, at)),
        None => Err(unknown(&app, name)),
    }
}

fn unknown(app: &App, name: String) -> Problem {
    if app.now().rules.pools.contains_key(&name) {
        return Problem::not_found(format!(
            "there is no pool `{name}` now: the configuration names it, and an operator has removed it since; \
             `unknot pools set {name} N` makes it again, and so does the next start or reload"
        ));
    }
    let overview = app.engine.overview();
    // It may be a look behind, from before this one was removed.
    let others = overview.pools.keys().map(String::as_str).filter(|other| *other != name);
    let nearest = nearest(&name, others).map(str::to_owned);
    Refusal::Unknown { kind: "pool", name: name.chars().take(100).collect(), nearest }.into()
}

async fn set(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    _: Params<Nothing>,
    Sent(rest::PoolRequest { size, lend, on_deadlock }): Sent<rest::PoolRequest>,
) -> Answer<Response> {
    let lend = match lend {
        Some(lend) => lend,
        None => look(&app, Some(name.clone())).await?.get(&name).is_some_and(|at| at.pool.lend),
    };
    // The brain keeps what is not said of this.
    let settings = PoolSettings { size, lend, on_deadlock: on_deadlock.map(convert::on_deadlock) };
    app.unless_stuck(app.engine.set_pool(name.clone(), Some(settings))).await?;
    log::info!(pool = name.as_str(), size, lend; "a pool is set");
    let found = look(&app, Some(name.clone())).await?;
    // Removed meanwhile, it is gone.
    found.get(&name).map_or_else(|| Err(unknown(&app, name.clone())), |at| ok(&view::whole_pool(&name, at)))
}

async fn remove(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Params(Nothing {}): Params<Nothing>,
) -> Answer<Response> {
    let removed = app.engine.set_pool(name.clone(), None).await;
    if let Err(CommandError::Refused(refusal @ Refusal::BadPool(_))) = removed {
        let found = look(&app, Some(name.clone())).await.unwrap_or_default();
        let who = found.get(&name).map(in_use).unwrap_or_default();
        return Err(Problem::conflict(format!("{refusal}{who}")));
    }
    removed?;
    log::info!(pool = name.as_str(); "a pool is removed");
    let is_configured = app.now().rules.pools.contains_key(&name);
    ok(&rest::PoolRemoved { name, is_configured })
}

/// Who stands in the way of a pool's removal.
fn in_use(at: &AtPool) -> String {
    const NAMED_MAX: usize = 3;
    let named = |shares: &[Share]| {
        let first = shares.iter().take(NAMED_MAX);
        let named = first.map(|share| format!("`{}/{}` of {}", share.workflow, share.name, share.task.run));
        named.collect::<Vec<_>>().join(", ")
    };
    let mut text = String::new();
    for (shares, verb) in [(&at.holders, "held by"), (&at.waiters, "waited for by")] {
        if !shares.is_empty() {
            text.push_str(&format!("; {verb} {}", named(shares)));
        }
    }
    text
}
