//! `POST /runs`: from a wish to a run that is durable.

use super::{Params, SentWorkflow, calls, json, workflows};
use crate::{
    app::App,
    auth,
    operation::{Operation, post},
    problem::{Answer, Problem},
    tokens::{Identity, Scope},
    view,
};
use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};
use unknot_api::{Duration as Length, rest};
use unknot_engine::{
    Accepted, Submit,
    calls::Called,
    convert::{self, Checked, RunOptions},
    core::{
        RunId, Timestamp,
        run::{Idempotency, RunStatus},
        validate::{self, Rules},
        workflow::Definition,
    },
    store::FactsQuery,
};

/// The longest that a caller may wait for a run's end in one request.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How long the brain may take to say which pools there are.
pub(super) const LOOK_WITHIN: Duration = Duration::from_millis(500);
/// The header under which a submission happens once.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        post("/runs", submit)
            .needs(Scope::Submit)
            .is("submitRun", "Run a workflow")
            .note(
                "Answered once the run is durable. A definition that is sent along needs the scope `operate`. With \
                 an `Idempotency-Key` the same request finds the same run, and another body is refused.",
            )
            .query::<SubmitQuery>()
            .header("Idempotency-Key", "Chosen by the caller, at most 200 characters: the same key finds the same run.")
            .takes::<rest::RunRequest>()
            .gives::<rest::RunCreated>(201, "The run exists.")
            .gives::<rest::RunCreated>(200, "It existed before, under the same key."),
    ]
}

/// How long to wait for the run's end.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SubmitQuery {
    /// Answer when the run has ended, or after so long: `10s`, at most `60s`.
    #[schemars(pattern(r"^(([1-5]?[0-9]|60)s|[1-9][0-9]{0,3}ms)$"))]
    wait: Option<String>,
}

async fn submit(
    State(app): State<Arc<App>>,
    Params(query): Params<SubmitQuery>,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    SentWorkflow(request): SentWorkflow<rest::RunRequest>,
) -> Answer<Response> {
    let wait = query.wait.as_deref().map(length).transpose()?;
    let key = idempotency_key(&headers)?;
    local_source(identity.is_local, request.source.as_deref())?;
    let (checked, calls) = workflow(&app, &identity, &request).await?;
    let submit = wish(&app, checked, calls, request, key)?;
    let accepted = accept(&app, submit).await?;
    let status = match wait {
        Some(wait) => until_ended(&app, accepted.run, wait).await?,
        None => status(&app, accepted.run).await?,
    };
    let created =
        rest::RunCreated { run_id: accepted.run.to_string(), status: view::word(&status), existing: accepted.existing };
    let code = if accepted.existing { StatusCode::OK } else { StatusCode::CREATED };
    let mut response = json(code, &created);
    let place = HeaderValue::from_str(&format!("/runs/{}", accepted.run));
    response.headers_mut().extend(place.map(|place| (header::LOCATION, place)));
    Ok(response)
}

fn length(text: &str) -> Answer<Duration> {
    let wait = Length::parse(text).map(|length| Duration::from_millis(length.ms)).filter(|wait| *wait <= WAIT_MAX);
    wait.ok_or_else(|| Problem::bad(format!("`wait` is a length such as `10s`, at most {} s", WAIT_MAX.as_secs())))
}

fn idempotency_key(headers: &HeaderMap) -> Answer<Option<String>> {
    let Some(given) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = given.to_str().ok().filter(|key| (1..=200).contains(&key.chars().count()));
    let wrong = || Problem::bad("`Idempotency-Key` has 1 to 200 visible ASCII characters");
    key.map(|key| Some(key.to_owned())).ok_or_else(wrong)
}

/// The workflow that is meant, checked, and those that it calls.
async fn workflow(app: &Arc<App>, who: &Identity, request: &rest::RunRequest) -> Answer<(Checked, Called)> {
    let is_own = matches!(request.workflow, rest::WorkflowChoice::Inline(_)) || !request.calls.is_empty();
    if is_own && who.scope < Scope::Operate {
        let (name, scope) = (&who.name, auth::word(who.scope));
        let detail = format!(
            "the token `{name}` has the scope `{scope}`: it may run registered workflows; a definition of its own needs `operate`"
        );
        return Err(Problem::forbidden(detail));
    }
    let document = document(app, &request.workflow).await?;
    let title = request.source.clone().unwrap_or_else(|| "workflow".to_owned());
    let (checked, _) = check(app, title, document).await?;
    let calls = calls::resolve(app, &checked.definition, &request.calls, &Called::new()).await?;
    Ok((checked, calls))
}

/// The definition that is meant, not checked yet.
pub(super) async fn document(app: &Arc<App>, choice: &rest::WorkflowChoice) -> Answer<Map<String, Value>> {
    let name = match choice {
        rest::WorkflowChoice::Inline(document) => return Ok(document.clone()),
        rest::WorkflowChoice::Name(name) => name,
    };
    let (name, hash) = match name.split_once('@') {
        Some((name, "")) => return Err(Problem::bad(format!("`{name}@` names no version; `{name}` is the newest"))),
        Some((name, hash)) => (name, Some(hash.to_owned())),
        None => (name.as_str(), None),
    };
    let registered = workflows::find(app, name.to_owned(), hash).await?;
    match registered.document.value() {
        Value::Object(document) => Ok(document),
        _ => Err(Problem::not_found(format!("the document of `{name}` is damaged"))),
    }
}

/// Reads and checks a definition. A large one takes a while, so that is done on a thread of its own.
pub(super) async fn check(
    app: &App,
    title: String,
    document: Map<String, Value>,
) -> Answer<(Checked, Map<String, Value>)> {
    let rules = rules(app, &document).await;
    let read = move || {
        let text = serde_json::to_vec_pretty(&document).map_err(|error| Problem::bad(error.to_string()))?;
        let checked = convert::read_workflow(Path::new(&title), &text, &rules);
        checked.map(|checked| (checked, document)).map_err(|report| Problem::report("workflow", &report))
    };
    let failed = |error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the check failed: {error}"));
    tokio::task::spawn_blocking(read).await.map_err(failed)?
}

/// What a definition is checked against: the configuration, and the pools that there are now, if it asks for any.
async fn rules(app: &App, document: &Map<String, Value>) -> Rules {
    let mut rules = app.now().rules.clone();
    let tasks = document.get("tasks").and_then(Value::as_object);
    let asks = |task: &Value| ["pools", "locks", "acquires"].iter().any(|key| task.get(key).is_some());
    if tasks.is_some_and(|tasks| tasks.values().any(asks)) {
        // A brain that is late judges for itself what is submitted.
        if let Some(pools) = app.engine.peek(LOOK_WITHIN, |driver| driver.state().pools.clone()).await {
            let there = pools.into_iter().filter(|(_, pool)| !pool.implicit);
            let configured = std::mem::replace(&mut rules.pools, there.map(|(name, pool)| (name, pool.size)).collect());
            rules.removed_pools = configured.into_keys().filter(|name| !rules.pools.contains_key(name)).collect();
        }
    }
    rules
}

/// The file that a workflow comes from is believed only to the local user: tasks work in its folder.
pub(super) fn local_source(is_local: bool, source: Option<&str>) -> Answer<()> {
    match source {
        None => Ok(()),
        Some(path) if is_local && Path::new(path).is_absolute() => Ok(()),
        Some(_) if is_local => Err(Problem::bad("`source` is an absolute path")),
        Some(_) => Err(Problem::forbidden("`source` can be named over the local socket only")),
    }
}

fn wish(app: &App, checked: Checked, calls: Called, request: rest::RunRequest, key: Option<String>) -> Answer<Submit> {
    let input = input(&checked.definition, request.input)?;
    let mut checked = checked;
    checked.run.labels.extend(request.labels);
    checked.run.client_id = request.client_id.or(checked.run.client_id);
    let start_at = request.start_at.map(|at| Timestamp(at.ms)).or_else(|| start_at(app, &checked.run));
    let idempotency = key.map(|key| Idempotency { key, body_hash: checked.body_hash(&input) });
    Ok(Submit {
        definition: checked.definition,
        input,
        labels: checked.run.labels,
        client_id: checked.run.client_id,
        idempotency,
        source: request.source,
        start_at,
        takes_over: None,
        calls,
    })
}

/// What a run is given, as its workflow declares it.
pub(super) fn input(definition: &Definition, given: Map<String, Value>) -> Answer<Value> {
    let problem = |problems| Problem::report("input", &convert::input_report("input", problems));
    validate::check_input(definition, given.into_iter().collect()).map_err(problem)
}

/// When a run may start, if its workflow says so.
pub(super) fn start_at(app: &App, options: &RunOptions) -> Option<Timestamp> {
    options.start_at.or(options.delay.map(|delay| app.engine.now().plus(delay)))
}

pub(super) async fn accept(app: &Arc<App>, submit: Submit) -> Answer<Accepted> {
    let facts = match &submit.idempotency {
        None => Default::default(),
        Some(idempotency) => {
            let query = FactsQuery { idempotency_key: Some(idempotency.key.clone()), run: None };
            app.read(move |reader, namespace| reader.facts(namespace, &query)).await?
        }
    };
    app.unless_stuck(app.engine.submit_with(submit, facts)).await
}

/// The status of a run that exists.
async fn status(app: &Arc<App>, run: RunId) -> Answer<RunStatus> {
    let found = app.read(move |reader, namespace| reader.run(namespace, run)).await?.value;
    found.map(|record| record.status()).ok_or_else(|| Problem::not_found(format!("there is no run `{run}`")))
}

/// The status of a run at its end, or when the time is over.
pub(super) async fn until_ended(app: &Arc<App>, run: RunId, wait: Duration) -> Answer<RunStatus> {
    let mut lines = app.engine.follow(run);
    let until = Instant::now() + wait;
    loop {
        let now = status(app, run).await?;
        if now.is_terminal() {
            return Ok(now);
        }
        // Whatever happened, or was missed: look again.
        if timeout_at(until, lines.recv()).await.is_err() {
            return Ok(now);
        }
    }
}
