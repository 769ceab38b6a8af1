//! What running attempts ask under their own tokens: to wait, to give back, to spawn, to send.

use super::{
    MaySend, Params, Sent, SentWorkflow, attempts::is_its_own, calls, json, ok, parse, runs::Nothing, signals, submit,
};
use crate::{
    app::App,
    auth::Peer,
    operation::{Access, Operation, delete, get, post, put},
    problem::{Answer, Problem},
    view::{moment, word},
};
use axum::{
    Extension,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use unknot_api::{
    Duration as Length,
    rest::{self, ChildEnd, WaitFor, WaitOutcome},
};
use unknot_engine::{
    AttemptRight as Right, Kin, Submit, WAIT_MAX, WaitWish,
    convert::RunOptions,
    core::{
        Millis, RunId, Timestamp,
        effect::{Answer as Told, Refusal, WaitAnswer},
        event::Ask,
        run::{AtDeadline, Awaited, Child, RunStatus},
        validate::nearest,
        workflow::{Definition, Until},
    },
};

/// When it is worth while to ask again a server that ends.
const AGAIN: Duration = Duration::from_secs(1);

pub(super) fn operations() -> Vec<Operation> {
    vec![
        post("/attempts/{attempt_id}/waits", wait)
            .open(Access::Attempt)
            .is("attemptWait", "Wait for something; waits up to 20 s for it")
            .note(
                "An attempt has one wait at a time, and keeps all that it holds meanwhile. Answered with 202 and `waiting`, \
                 or not at all, it asks again under the same name: that is the same wait, also after a restart of the \
                 server, and whoever asked before is told `waiting`. What was granted stays the attempt's until it gives \
                 it back or ends. How the last wait ended is told to whoever asks for it once more: a new wait needs a new name.",
            )
            .query::<Patience>()
            .takes::<rest::WaitRequest>()
            .gives::<rest::WaitResult>(200, "It is over: `outcome` says how.")
            .gives::<rest::WaitResult>(202, "It goes on: ask again."),
        delete("/attempts/{attempt_id}/waits/{name}", withdraw)
            .open(Access::Attempt)
            .is("attemptWithdraw", "Wait no more")
            .note("A wait that has ended says how: what was granted with it is the attempt's.")
            .gives::<rest::WaitResult>(200, "It is over."),
        post("/attempts/{attempt_id}/release", release)
            .open(Access::Attempt)
            .is("attemptRelease", "Give units of pools and locks back")
            .takes::<rest::ReleaseRequest>()
            .gives_nothing(204, "They are given back."),
        post("/attempts/{attempt_id}/children", spawn)
            .open(Access::Attempt)
            .is("attemptSpawn", "Spawn a run")
            .note(
                "The same key finds the same run, whatever inputs are given; a later try of the task has one made anew that \
                 did not complete. Unless it is `detached`, the run is cancelled when \
                 the attempt's task ends before it.",
            )
            .takes::<rest::SpawnRequest>()
            .gives::<rest::Spawned>(201, "The run exists.")
            .gives::<rest::Spawned>(200, "It existed before, under the same key."),
        get("/attempts/{attempt_id}/children", children)
            .open(Access::Attempt)
            .is("attemptChildren", "List the runs that the attempt's task has spawned")
            .gives::<Vec<rest::ChildRun>>(200, "All of them, by key."),
        put("/attempts/{attempt_id}/signals/{signal}", send)
            .open(Access::Attempt)
            .is("attemptSignal", "Send a signal to the attempt's own run, or to one beside it")
            .note("With `run` to a run that its task has spawned, or to the run that has spawned its own.")
            .query::<To>()
            .may_take::<rest::SignalRequest>()
            .gives::<rest::SignalSent>(200, "The run has it."),
    ]
}

/// How long to wait for the wait's end.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Patience {
    /// Answer when the wait is over, or after so long: `5s`, at most `20s` (which is usual).
    #[schemars(pattern(r"^((1?[0-9]|20)s|[1-9][0-9]{0,3}ms)$"))]
    wait: Option<String>,
}

impl Patience {
    fn length(&self) -> Answer<Duration> {
        let Some(text) = &self.wait else { return Ok(WAIT_MAX) };
        let wait = Length::parse(text).map(|length| Duration::from_millis(length.ms)).filter(|wait| *wait <= WAIT_MAX);
        let most = WAIT_MAX.as_secs();
        wait.ok_or_else(|| Problem::bad(format!("`wait` is a length such as `5s`, at most {most} s")))
    }
}

async fn wait(
    State(app): State<Arc<App>>,
    Path(attempt): Path<String>,
    Params(patience): Params<Patience>,
    Extension(right): Extension<Right>,
    Sent(request): Sent<rest::WaitRequest>,
) -> Answer<Response> {
    is_its_own(&attempt, right)?;
    let patience = patience.length()?;
    let definition = match names_tasks(&request.awaited) {
        true => Some(kin(&app, right).await?.definition),
        false => None,
    };
    let wish = WaitWish {
        name: request.name.clone(),
        on: awaited(&request.awaited, app.engine.now(), definition.as_deref())?,
        within: request.within.map(|within| Millis(within.ms)),
        then: match request.then {
            rest::AtDeadline::GiveUp => AtDeadline::GiveUp,
            rest::AtDeadline::Stop => AtDeadline::Stop,
        },
    };
    let ends = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server ends; the wait goes on").retry_after(AGAIN);
    let told = tokio::select! {
        told = app.unless_stuck(app.engine.attempt_waits(right, wish, patience)) => told?,
        () = app.ending() => return Err(ends()),
    };
    let result = result(request.name, told);
    let status = if result.outcome == WaitOutcome::Waiting { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok(json(status, &result))
}

/// Whether tasks are named in it.
fn names_tasks(wanted: &WaitFor) -> bool {
    match wanted {
        WaitFor::Signal { from, .. } => !from.is_empty(),
        WaitFor::All(of) | WaitFor::Any(of) | WaitFor::AtLeast { of, .. } => of.iter().any(names_tasks),
        WaitFor::Lock(_) | WaitFor::Pool { .. } | WaitFor::Child { .. } | WaitFor::Children | WaitFor::Timer(_) => {
            false
        }
    }
}

/// What is waited for, in the brain's words.
fn awaited(wanted: &WaitFor, now: Timestamp, definition: Option<&Definition>) -> Answer<Awaited> {
    let parts = |of: &[WaitFor]| of.iter().map(|part| awaited(part, now, definition)).collect::<Answer<Vec<_>>>();
    Ok(match wanted {
        WaitFor::Lock(lock) => Awaited::Units { pool: lock.clone(), units: 1 },
        WaitFor::Pool { pool, units } => Awaited::Units { pool: pool.clone(), units: *units },
        WaitFor::Child { key, until } => Awaited::Child {
            key: key.clone(),
            until: match until {
                ChildEnd::Success => Until::Succeeded,
                ChildEnd::Terminal => Until::Finished,
            },
        },
        WaitFor::Children => Awaited::Children,
        WaitFor::Signal { name, from } => {
            let sender = |task: &String| {
                let found = definition.and_then(|definition| definition.find(task));
                found.ok_or_else(|| no_task(task, definition))
            };
            Awaited::Signal { name: name.clone(), from: from.iter().map(sender).collect::<Answer<_>>()? }
        }
        WaitFor::Timer(length) => Awaited::Timer { at: now.plus(Millis(length.ms)) },
        WaitFor::All(of) => Awaited::all(parts(of)?),
        WaitFor::Any(of) => Awaited::any(parts(of)?),
        WaitFor::AtLeast { k, of } => Awaited::at_least(*k, parts(of)?),
    })
}

fn no_task(name: &str, definition: Option<&Definition>) -> Problem {
    let known = definition.into_iter().flat_map(|definition| &definition.body.tasks).map(|task| &*task.name);
    let meant = nearest(name, known).map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
    let shown: String = name.chars().take(100).collect();
    let detail = format!("`from` names `{shown}`, and the run has no such task{meant}");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

fn result(name: String, told: WaitAnswer) -> rest::WaitResult {
    let empty = |outcome| rest::WaitResult::bare(name, outcome);
    let ended =
        |children: BTreeMap<String, Child>| children.into_iter().map(|(key, child)| (key, ended(&child))).collect();
    match told {
        WaitAnswer::Waiting { deadline } => {
            rest::WaitResult { deadline: Some(moment(deadline)), ..empty(WaitOutcome::Waiting) }
        }
        WaitAnswer::Met { granted, signals, children } => rest::WaitResult {
            granted,
            signals: signals.into_iter().map(|(name, payload)| (name, payload.value())).collect(),
            children: ended(children),
            ..empty(WaitOutcome::Met)
        },
        WaitAnswer::Impossible { children } => {
            rest::WaitResult { children: ended(children), ..empty(WaitOutcome::Impossible) }
        }
        WaitAnswer::TimedOut => empty(WaitOutcome::TimedOut),
        WaitAnswer::Withdrawn => empty(WaitOutcome::Withdrawn),
    }
}

fn ended(child: &Child) -> rest::EndedChild {
    rest::EndedChild {
        run_id: child.run.to_string(),
        status: child.ended.map(|status| word(&status)).unwrap_or_default(),
        output: child.output.as_ref().map(|output| output.value()).unwrap_or_default(),
    }
}

async fn withdraw(
    State(app): State<Arc<App>>,
    Path((attempt, name)): Path<(String, String)>,
    Extension(right): Extension<Right>,
    Params(Nothing {}): Params<Nothing>,
) -> Answer<Response> {
    is_its_own(&attempt, right)?;
    let asked = app.engine.attempt_asks(right, Ask::Withdraw { name: name.clone() });
    match app.unless_stuck(asked).await? {
        Told::Waits(told) => ok(&result(name, told)),
        _ => ok(&result(name, WaitAnswer::Withdrawn)),
    }
}

async fn release(
    State(app): State<Arc<App>>,
    Path(attempt): Path<String>,
    Extension(right): Extension<Right>,
    _: Params<Nothing>,
    Sent(rest::ReleaseRequest { units }): Sent<rest::ReleaseRequest>,
) -> Answer<Response> {
    is_its_own(&attempt, right)?;
    if units.is_empty() {
        return Err(Problem::bad("`units` names nothing to give back"));
    }
    app.unless_stuck(app.engine.attempt_asks(right, Ask::Release { units })).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A running attempt and those around it.
async fn kin(app: &App, right: Right) -> Answer<Kin> {
    let kin = app.engine.kin(right).await?;
    kin.ok_or_else(|| Refusal::NotLeased(right.attempt).into())
}

async fn spawn(
    State(app): State<Arc<App>>,
    Path(attempt): Path<String>,
    Extension(right): Extension<Right>,
    Extension(peer): Extension<Peer>,
    _: Params<Nothing>,
    SentWorkflow(request): SentWorkflow<rest::SpawnRequest>,
) -> Answer<Response> {
    is_its_own(&attempt, right)?;
    submit::local_source(peer == Peer::Local, request.source.as_deref())?;
    let kin = kin(&app, right).await?;
    let key = request.key.clone();
    if let Some(known) = kin.children.get(&key) {
        is_same_workflow(&app, known.run, &key, &request.workflow).await?;
        // One that did not end well may be made anew for a later try.
        let goes_on = !known.status.is_terminal() || known.status == RunStatus::Completed;
        if goes_on {
            return ok(&rest::Spawned { run_id: known.run.to_string(), key, existing: true });
        }
    }
    let detached = request.detached;
    let submit = child(&app, kin, request).await?;
    let (run, existing) = app.unless_stuck(app.engine.attempt_spawns(right, key.clone(), submit, detached)).await?;
    let status = if existing { StatusCode::OK } else { StatusCode::CREATED };
    Ok(json(status, &rest::Spawned { run_id: run.to_string(), key, existing }))
}

/// A key is that of one workflow: whoever asks for another one would take the end of the first for its own.
async fn is_same_workflow(app: &Arc<App>, run: RunId, key: &str, wanted: &rest::WorkflowChoice) -> Answer<()> {
    let wanted = match wanted {
        rest::WorkflowChoice::Name(name) => Some(name.as_str()),
        rest::WorkflowChoice::Inline(document) => document["name"].as_str(),
    };
    let record = app.list(move |reader, namespace| Ok(reader.run(namespace, run)?.value)).await?;
    // One that has just been made may not be stored yet.
    let known = record.as_ref().map(|record| &*record.run().workflow);
    match (known, wanted) {
        (Some(known), Some(wanted)) if known != wanted => {
            let detail =
                format!("the key `{key}` is that of {run}, a run of `{known}`: one of `{wanted}` needs another");
            Err(Problem::conflict(detail))
        }
        _ => Ok(()),
    }
}

/// The run that is to be spawned.
async fn child(app: &Arc<App>, kin: Kin, request: rest::SpawnRequest) -> Answer<Submit> {
    let pinned = match &request.workflow {
        rest::WorkflowChoice::Name(name) => kin.calls.get(name.as_str()).cloned(),
        rest::WorkflowChoice::Inline(_) => None,
    };
    let (definition, options) = match pinned {
        // As a `workflow` task would begin it: what its file said of runs is not part of it.
        Some(definition) => (definition, RunOptions::default()),
        None => {
            let document = submit::document(app, &request.workflow).await;
            let document = document.map_err(|problem| nowhere(problem, &request.workflow))?;
            let checked = submit::check(app, "workflow".to_owned(), document).await?.0;
            (checked.definition, checked.run)
        }
    };
    let calls = calls::resolve(app, &definition, &request.calls, &kin.calls).await?;
    let input = submit::input(&definition, request.input)?;
    let start_at = submit::start_at(app, &options);
    let labels = kin.labels.into_iter().chain(options.labels).chain(request.labels);
    Ok(Submit {
        definition,
        input,
        labels: labels.collect(),
        client_id: options.client_id.or(kin.client_id),
        idempotency: None,
        source: request.source.or(kin.source),
        start_at,
        takes_over: None,
        calls,
    })
}

/// What whoever spawns by a name that nobody has can do about it.
fn nowhere(problem: Problem, wanted: &rest::WorkflowChoice) -> Problem {
    match wanted {
        rest::WorkflowChoice::Name(name) if problem.is_not_found() && !name.contains('@') => {
            let detail = format!(
                "{}, and no file of that name came with the run: name the file (`unknot spawn ./FILE`), register it \
                 (`unknot workflow add FILE`), or put it beside the workflow file and say `spawns: [NAME]` in the task",
                problem.detail()
            );
            Problem::not_found(detail)
        }
        _ => problem,
    }
}

async fn children(
    State(app): State<Arc<App>>,
    Path(attempt): Path<String>,
    Extension(right): Extension<Right>,
    Params(Nothing {}): Params<Nothing>,
) -> Answer<Response> {
    is_its_own(&attempt, right)?;
    let children = kin(&app, right).await?.children;
    let shown = children.into_iter().map(|(key, known)| rest::ChildRun {
        key,
        run_id: known.run.to_string(),
        status: word(&known.status),
        detached: known.detached,
    });
    ok(&shown.collect::<Vec<_>>())
}

/// Which run is sent a signal.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct To {
    /// A run that the attempt's task has spawned, or the one that has spawned its own; absent: its own.
    run: Option<String>,
}

async fn send(
    State(app): State<Arc<App>>,
    Path((attempt, name)): Path<(String, String)>,
    Params(to): Params<To>,
    Extension(right): Extension<Right>,
    MaySend(said): MaySend<rest::SignalRequest>,
) -> Answer<Response> {
    is_its_own(&attempt, right)?;
    let kin = kin(&app, right).await?;
    let own = right.attempt.task.run;
    let run: RunId = to.run.map_or(Ok(own), |run| parse(&run, "the id of a run"))?;
    let is_kin = run == own || kin.parent == Some(run) || kin.children.values().any(|child| child.run == run);
    if !is_kin {
        let detail = "an attempt sends signals to its own run, to those that its task has spawned, and to the one that has spawned its own";
        return Err(Problem::forbidden(format!("{detail}; `{run}` is none of them")));
    }
    let by = if run == own { format!("task {}", kin.task) } else { format!("task {} of {own}", kin.task) };
    signals::deliver(&app, run, name, said.payload, by).await
}
