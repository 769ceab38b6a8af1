//! The workflows that a workflow calls: those sent along, those that a run is pinned to, those that are registered. Of those
//! that its attempts may spawn, what is registered is looked up when they do.

use super::submit::{check, document};
use crate::{
    app::App,
    problem::{Answer, Problem},
};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, sync::Arc};
use unknot_api::rest::WorkflowChoice;
use unknot_engine::{
    calls::{Called, Calls},
    convert,
    core::{validate, workflow::Definition},
    store::PageSize,
};

/// Finds all that a definition calls, directly or not, so that a run is pinned to it for life.
pub(super) async fn resolve(
    app: &Arc<App>,
    root: &Arc<Definition>,
    sent: &BTreeMap<String, Map<String, Value>>,
    pinned: &Called,
) -> Answer<Called> {
    let mut calls = Calls::of(root);
    while let Some(wanted) = calls.wanted() {
        let found = match (sent.get(&*wanted), pinned.get(&wanted)) {
            (Some(document), _) => read(app, &wanted, document.clone(), true).await?,
            (None, Some(pinned)) => Arc::clone(pinned),
            (None, None) if calls.may_be_left() => {
                calls.leave();
                continue;
            }
            (None, None) => match registered(app, &wanted).await? {
                Some(document) => read(app, &wanted, document, false).await?,
                None => {
                    return Err(problem(*calls.unknown(known(app, sent, pinned).await?.iter().map(String::as_str))));
                }
            },
        };
        calls.found(found).map_err(|found| problem(*found))?;
    }
    let called = calls.end();
    match sent.keys().find(|name| !called.contains_key(name.as_str())) {
        Some(unused) => {
            Err(Problem::bad(format!("`calls` has `{unused}`, which nobody calls, and nobody says to spawn")))
        }
        None => Ok(called),
    }
}

async fn read(app: &Arc<App>, name: &str, document: Map<String, Value>, is_sent: bool) -> Answer<Arc<Definition>> {
    let title = if is_sent { format!("calls.{name}") } else { format!("workflow {name}") };
    let definition = check(app, title, document).await?.0.definition;
    if *definition.body.name != *name {
        return Err(Problem::bad(format!(
            "`calls.{name}` is workflow `{}`: its name is its key",
            definition.body.name
        )));
    }
    Ok(definition)
}

/// The newest version of a registered workflow, if there is one.
async fn registered(app: &Arc<App>, name: &str) -> Answer<Option<Map<String, Value>>> {
    match document(app, &WorkflowChoice::Name(name.to_owned())).await {
        Ok(document) => Ok(Some(document)),
        Err(problem) if problem.is_not_found() => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// Names that may have been meant.
async fn known(app: &Arc<App>, sent: &BTreeMap<String, Map<String, Value>>, pinned: &Called) -> Answer<Vec<String>> {
    let page = app.list(|reader, namespace| reader.workflows(namespace, None, PageSize::MAX)).await?.value;
    let registered = page.items.into_iter().map(|version| version.name);
    Ok(sent.keys().cloned().chain(pinned.keys().map(ToString::to_string)).chain(registered).collect())
}

fn problem(found: validate::Problem) -> Problem {
    Problem::report("workflow", &convert::input_report("workflow", vec![found]))
}
