//! Workflows that are kept under their names.

use super::{Params, SentWorkflow, json, ok, page_size, proof::prove, runs::Nothing, submit::check};
use crate::{
    app::{App, UnsafeWorkflows},
    operation::{Operation, delete, get, post},
    problem::{Answer, Problem},
    tokens::Identity,
    view::{findings, moment},
};
use axum::{
    Extension,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use unknot_api::rest;
use unknot_engine::{
    core::{Timestamp, event::Event, row::RegisteredWorkflow, run::JsonText},
    store::{PageSize, WorkflowVersion},
};

/// Versions of one workflow that are shown, and kept.
const VERSIONS_MAX: usize = 100;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        post("/workflows", register)
            .is("registerWorkflow", "Keep a workflow under its name")
            .note(
                "Its newest version is what `POST /runs` with that name runs. The same content again changes nothing. The \
                 answer says whether its runs can deadlock; by configuration such a workflow is refused (UK0430).",
            )
            .takes::<rest::Registration>()
            .gives::<rest::Registered>(201, "It is kept.")
            .gives::<rest::Registered>(200, "It was the newest version already."),
        get("/workflows", list).is("listWorkflows", "List registered workflows").query::<Which>().gives::<rest::Page<
            rest::Registered,
        >>(
            200,
            "A part of the list, each with its newest version.",
        ),
        get("/workflows/{workflow}", show)
            .is("getWorkflow", "Show a registered workflow and its versions")
            .gives::<rest::Registered>(200, "The newest 100 versions."),
        get("/workflows/{workflow}/{hash}", document)
            .is("getWorkflowVersion", "Read a version of a registered workflow")
            .note("`latest`, or as much of the hash as no other version has.")
            .gives::<serde_json::Map<String, Value>>(200, "The definition as it was sent."),
        delete("/workflows/{workflow}", forget)
            .is("forgetWorkflow", "Forget a registered workflow")
            .gives_nothing(204, "Nothing new is made of it; its runs are not touched."),
    ]
}

fn version(version: &WorkflowVersion) -> rest::RegisteredVersion {
    rest::RegisteredVersion {
        hash: version.hash.0.to_string(),
        registered_at: moment(version.at),
        by: version.by.clone(),
    }
}

fn registered(versions: &[WorkflowVersion], warnings: Vec<rest::Finding>) -> Option<rest::Registered> {
    let newest = versions.first()?;
    Some(rest::Registered {
        name: newest.name.clone(),
        hash: newest.hash.0.to_string(),
        versions: versions.iter().map(version).collect(),
        warnings,
        proof: None,
    })
}

async fn versions(app: &Arc<App>, name: String) -> Answer<Vec<WorkflowVersion>> {
    let size = PageSize::new(VERSIONS_MAX);
    Ok(app.list(move |reader, namespace| reader.workflow_versions(namespace, &name, size)).await?.value)
}

fn unknown(name: &str) -> Problem {
    let shown: String = name.chars().take(100).collect();
    Problem::not_found(format!("no workflow `{shown}` is registered"))
}

async fn register(
    State(app): State<Arc<App>>,
    Extension(who): Extension<Identity>,
    SentWorkflow(sent): SentWorkflow<rest::Registration>,
) -> Answer<Response> {
    let (checked, document) = check(&app, "workflow".to_owned(), sent.workflow).await?;
    let body = &checked.definition.body;
    let (name, hash) = (body.name.to_string(), body.hash.clone());
    let mut warnings = findings(&checked.warnings);
    let before = versions(&app, name.clone()).await?;
    let is_newest = before.first().is_some_and(|newest| newest.hash == hash);
    let proof = prove(&app, &checked.definition).await?;
    if let Some(proof) = proof.as_ref().filter(|proof| proof.verdict == rest::ProofVerdict::Unsafe) {
        match app.now().unsafe_workflows {
            UnsafeWorkflows::Refuse if !is_newest => return Err(Problem::can_deadlock(proof.said.join("; "))),
            UnsafeWorkflows::Refuse | UnsafeWorkflows::Warn => {
                warnings.push(can_deadlock(proof));
                let said = proof.said.join("; ");
                log::warn!(workflow = name.as_str(), said = said.as_str(); "runs of a workflow can deadlock");
            }
            UnsafeWorkflows::Allow => {}
        }
    }
    let answer = |versions: &[WorkflowVersion]| {
        let told = registered(versions, warnings).ok_or_else(|| unknown(&name))?;
        Ok::<_, Problem>(rest::Registered { proof, ..told })
    };
    if is_newest {
        return ok(&answer(&before)?);
    }
    let workflow = Box::new(RegisteredWorkflow {
        name: name.clone(),
        hash,
        document: JsonText::of(&Value::Object(document)),
        at: Timestamp::default(),
        by: who.name,
    });
    app.command(|caller| Event::WorkflowRegistered { workflow, caller }).await?;
    let now = versions(&app, name.clone()).await?;
    // What was made a hundred versions ago is nobody's any more.
    let old: Vec<_> = before.iter().skip(VERSIONS_MAX - 1).map(|version| version.seq).collect();
    if !old.is_empty() {
        let of = name.clone();
        app.command(|caller| Event::WorkflowForgotten { name: of, versions: old, caller }).await?;
    }
    Ok(json(StatusCode::CREATED, &answer(&now)?))
}

/// A warning about a workflow whose runs can deadlock.
fn can_deadlock(proof: &rest::Proof) -> rest::Finding {
    rest::Finding {
        code: "UK0430".to_owned(),
        message: proof.said.first().cloned().unwrap_or_default(),
        path: "tasks".to_owned(),
        line: 0,
        column: 0,
        help: Some("`proof` has the scenario and what to change".to_owned()),
    }
}

/// Which part of the list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// The `next` of the part before.
    after: Option<String>,
    /// Items of one part, 1 to 1,000 (100).
    #[schemars(range(min = 1, max = 1_000))]
    limit: Option<usize>,
}

async fn list(State(app): State<Arc<App>>, Params(which): Params<Which>) -> Answer<Response> {
    let size = page_size(which.limit)?;
    let page =
        app.list(move |reader, namespace| reader.workflows(namespace, which.after.as_deref(), size)).await?.value;
    let items = page.items.iter().filter_map(|newest| registered(std::slice::from_ref(newest), Vec::new())).collect();
    ok(&rest::Page { items, next: page.next })
}

async fn show(State(app): State<Arc<App>>, Path(name): Path<String>, _: Params<Nothing>) -> Answer<Response> {
    let versions = versions(&app, name.clone()).await?;
    ok(&registered(&versions, Vec::new()).ok_or_else(|| unknown(&name))?)
}

async fn document(
    State(app): State<Arc<App>>,
    Path((name, hash)): Path<(String, String)>,
    _: Params<Nothing>,
) -> Answer<Response> {
    let wanted = (hash != "latest").then_some(hash);
    let found = find(&app, name, wanted).await?;
    ok(&found.document.value())
}

/// A registered version: the newest, or the newest whose hash begins so.
pub(super) async fn find(app: &Arc<App>, name: String, hash: Option<String>) -> Answer<RegisteredWorkflow> {
    let wanted = name.clone();
    let found = app.list(move |reader, namespace| reader.workflow(namespace, &wanted, hash.as_deref())).await?.value;
    found.ok_or_else(|| unknown(&name))
}

async fn forget(State(app): State<Arc<App>>, Path(name): Path<String>, _: Params<Nothing>) -> Answer<Response> {
    let known = versions(&app, name.clone()).await?;
    if known.is_empty() {
        return Err(unknown(&name));
    }
    let versions = known.iter().map(|version| version.seq).collect();
    app.command(|caller| Event::WorkflowForgotten { name, versions, caller }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
