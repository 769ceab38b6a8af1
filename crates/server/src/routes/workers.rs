//! The worker protocol: workers of other processes claim, renew and report. `docs/worker-protocol.md` has it whole.

use super::{Params, Sent, ok, runs::Nothing};
use crate::{
    app::App,
    operation::{Operation, delete, post},
    problem::{Answer, Problem},
};
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::Instant;
use unknot_api::worker as wire;
use unknot_engine::{
    Held, Order, REMOTE_SLOTS_MAX, Registration, WorkerError,
    core::{
        run::WorkerId,
        validate::is_name,
        worker::{Serves, WorkKind},
    },
};

/// When it is worth while to register again where there are too many workers.
const TOO_MANY_PAUSE: Duration = Duration::from_secs(30);
/// How long a call waits for something to say, at the most.
const POLL_MAX: Duration = Duration::from_secs(20);
/// Assignments of one answer, and reports of one call.
const BATCH_MAX: usize = 1_000;
/// Attempts that one worker holds.
const HELD_MAX: usize = 20_000;
/// Queues, kinds and handlers that a worker names.
const NAMED_MAX: usize = 1_000;
/// Bytes of each name and value among them, which people are shown.
const TEXT_MAX: usize = 200;
pub(super) fn operations() -> Vec<Operation> {
    vec![
        post("/workers", register)
            .is("registerWorker", "Begin a session as a worker")
            .note("Another process under the same name is replaced.")
            .takes::<wire::Register>()
            .gives::<wire::Session>(201, "The session."),
        post("/workers/{name}/claim", claim)
            .is("claimWork", "Ask for work; waits up to 20 s for some")
            .takes::<wire::Claim>()
            .gives::<wire::Claimed>(200, "The work, or none."),
        post("/workers/{name}/orders", orders)
            .is("getOrders", "Ask what to stop; waits up to 20 s for something")
            .takes::<wire::OrdersWanted>()
            .gives::<wire::Orders>(200, "The orders, or none."),
        post("/workers/{name}/renew", renew)
            .is("renewLeases", "Say what the worker holds, and renew its leases")
            .takes::<wire::Renew>()
            .gives::<wire::Orders>(200, "Renewed, but for what the orders say."),
        post("/workers/{name}/report", report)
            .is("reportAttempts", "Tell what became of attempts; waits up to 20 s until that is durable")
            .takes::<wire::Reports>()
            .gives::<wire::Settled>(200, "What need not be sent again."),
        delete("/workers/{name}", leave)
            .is("leave", "End a session: the worker has nothing any more")
            .query::<Leaving>()
            .gives_nothing(204, "It is gone, or was."),
    ]
}

impl From<WorkerError> for Problem {
    fn from(error: WorkerError) -> Self {
        let status = match error {
            WorkerError::NoSession(_) => StatusCode::NOT_FOUND,
            WorkerError::Replaced(_) => StatusCode::CONFLICT,
            WorkerError::TooMany => StatusCode::TOO_MANY_REQUESTS,
        };
        let problem = Self::new(status, error.to_string());
        if status == StatusCode::TOO_MANY_REQUESTS { problem.retry_after(TOO_MANY_PAUSE) } else { problem }
    }
}

async fn register(
    State(app): State<Arc<App>>,
    _: Params<Nothing>,
    Sent(wish): Sent<wire::Register>,
) -> Answer<Response> {
    let registration = registration(&wish, app.session_term)?;
    let session = app.engine.register_worker(&registration)?;
    let told = wire::Session {
        protocol: wire::PROTOCOL,
        session,
        session_term_ms: millis(registration.term),
        renew_every_ms: millis(registration.term / 3),
        poll_ms: millis(registration.poll),
    };
    log::info!(worker = wish.name.as_str(), slots = wish.slots; "a worker has registered");
    Ok(super::json(StatusCode::CREATED, &told))
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

fn registration(wish: &wire::Register, term: Duration) -> Answer<Registration> {
    if wish.protocol != wire::PROTOCOL {
        let (theirs, ours) = (wish.protocol, wire::PROTOCOL);
        return Err(Problem::bad(format!("the worker speaks version {theirs} of the protocol, this server {ours}")));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let fits = (1..=100).contains(&wish.name.len()) && wish.name.bytes().all(plain);
    if !fits || wish.name == WorkerId::LOCAL {
        return Err(Problem::bad("`name` has 1 to 100 letters, digits, `-`, `_` or `.`, and is not `local`"));
    }
    let hex = (1..=16).contains(&wish.boot.len()) && wish.boot.bytes().all(|byte| byte.is_ascii_hexdigit());
    let boot = u64::from_str_radix(&wish.boot, 16).ok().filter(|_| hex);
    let boot = boot.ok_or_else(|| Problem::bad("`boot` has 1 to 16 hexadecimal digits"))?;
    if !(1..=REMOTE_SLOTS_MAX).contains(&wish.slots) {
        return Err(Problem::bad(format!("`slots` is {}, expected 1 to {REMOTE_SLOTS_MAX}", wish.slots)));
    }
    let named = wish.queues.as_ref().map_or(0, Vec::len);
    if [named, wish.kinds.len(), wish.handlers.len()].into_iter().any(|count| count > NAMED_MAX) {
        return Err(Problem::bad(format!("a worker names at most {NAMED_MAX} queues, kinds and handlers")));
    }
    if wish.labels.len() > wire::LABELS_MAX {
        return Err(Problem::bad(format!("a worker has at most {} labels", wire::LABELS_MAX)));
    }
    let labels = wish.labels.iter().flat_map(|(name, value)| [name, value]);
    let mut texts = wish.queues.iter().flatten().chain(&wish.handlers).chain(labels);
    if let Some(text) = texts.find(|text| text.len() > TEXT_MAX || text.contains(char::is_control)) {
        let shown: String = text.chars().filter(|letter| !letter.is_control()).take(20).collect();
        let detail = format!("`{shown}…`: names and values have at most {TEXT_MAX} bytes and no control characters");
        return Err(Problem::bad(detail));
    }
    let queues = wish.queues.as_ref().map(|queues| queues.iter().map(|queue| queue.as_str().into()).collect());
    let worker = WorkerId { name: wish.name.as_str().into(), boot };
    let serves = Serves { queues, kinds: Some(kinds(wish)?) };
    // Whoever calls again as soon as it is answered is never silent for the term.
    let (slots, labels) = (wish.slots, Arc::new(wish.labels.clone()));
    Ok(Registration { worker, slots, serves, labels, term, poll: POLL_MAX.min(term / 2) })
}

/// What it knows by itself, and its handlers.
fn kinds(wish: &wire::Register) -> Answer<BTreeSet<WorkKind>> {
    let known = || WorkKind::BUILT_IN.map(|kind| format!("`{}`", kind.word())).join(", ");
    let kind = |word: &String| {
        let kind = WorkKind::BUILT_IN.into_iter().find(|kind| kind.word() == word);
        kind.ok_or_else(|| Problem::bad(format!("there is no kind of work `{word}`; there are {}", known())))
    };
    let mut kinds: BTreeSet<WorkKind> = wish.kinds.iter().map(kind).collect::<Answer<_>>()?;
    if let Some(name) = wish.handlers.iter().find(|name| !is_name(name)) {
        let form = "a small letter, then small letters, digits, `_` and `-`, up to 100 in all";
        return Err(Problem::bad(format!("no task can call a handler `{name}`; expected {form}")));
    }
    kinds.extend(wish.handlers.iter().map(|name| WorkKind::Handler(name.as_str().into())));
    if kinds.is_empty() {
        let known = known();
        return Err(Problem::bad(format!("a worker has `handlers`, or knows `kinds` of work ({known}), or both")));
    }
    Ok(kinds)
}

async fn claim(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    _: Params<Nothing>,
    Sent(wish): Sent<wire::Claim>,
) -> Answer<Response> {
    let begun = Instant::now();
    let claimed = app.engine.claim(&name, &wish.session, wish.received, wish.most.min(BATCH_MAX)).await?;
    let waited_ms = millis(begun.elapsed());
    let handed = claimed.assignments.into_iter().map(|assignment| {
        let token = app.engine.attempt_tokens().token(&assignment.attempt, assignment.fence);
        wire::Handed { assignment, token }
    });
    ok(&wire::Claimed { number: claimed.number, waited_ms, work: handed.collect() })
}

async fn orders(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    _: Params<Nothing>,
    Sent(wish): Sent<wire::OrdersWanted>,
) -> Answer<Response> {
    told(app.engine.orders(&name, &wish.session).await?)
}

async fn renew(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    _: Params<Nothing>,
    Sent(wish): Sent<wire::Renew>,
) -> Answer<Response> {
    if wish.held.len() > HELD_MAX {
        return Err(Problem::bad(format!("a worker holds at most {HELD_MAX} attempts")));
    }
    let held =
        wish.held.into_iter().map(|wire::Held { attempt, fence, is_started }| Held { attempt, fence, is_started });
    told(app.engine.renew(&name, &wish.session, &held.collect::<Vec<_>>())?)
}

fn told(orders: Vec<Order>) -> Answer<Response> {
    let order = |order| match order {
        Order::Stop { attempt, fence, reason } => Some(wire::Order { attempt, fence, act: wire::Act::Stop, reason }),
        Order::Kill { attempt, fence, reason } => Some(wire::Order { attempt, fence, act: wire::Act::Kill, reason }),
        // The brain gives neither.
        Order::Release { .. } | Order::Drain => None,
    };
    ok(&wire::Orders { orders: orders.into_iter().filter_map(order).collect() })
}

async fn report(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    _: Params<Nothing>,
    Sent(wish): Sent<wire::Reports>,
) -> Answer<Response> {
    if wish.reports.len() > BATCH_MAX {
        return Err(Problem::bad(format!("a call has at most {BATCH_MAX} reports")));
    }
    let settled = app.engine.report(&name, &wish.session, &wish.reports).await?;
    ok(&wire::Settled { settled })
}

/// Who leaves.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Leaving {
    /// The worker's session.
    session: String,
}

async fn leave(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Params(leaving): Params<Leaving>,
) -> Answer<Response> {
    app.engine.leave(&name, &leaving.session);
    Ok(StatusCode::NO_CONTENT.into_response())
}
