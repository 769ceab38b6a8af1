//! Whether runs of a workflow that is being registered can deadlock, with the pools that there are and the workflows that
//! are registered.

use super::submit::LOOK_WITHIN;
use crate::{
    app::App,
    problem::{Answer, Problem},
};
use axum::http::StatusCode;
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tokio::time::timeout;
use unknot_api::rest;
use unknot_engine::{
    convert,
    core::{
        proof::{Declared, Effort, Pool, Proof, Root, Verdict, prove_one},
        row::RegisteredWorkflow,
        validate::Rules,
        workflow::Definition,
    },
    store::PageSize,
};

/// Registered workflows that are looked at, the first by name.
const WORKFLOWS_MAX: usize = 200;
/// So long a registration waits for the proofs of others.
const TURN_WITHIN: Duration = Duration::from_secs(10);

/// Judges a workflow as if it were registered; none: its turn did not come in time, or the brain is late.
pub(super) async fn prove(app: &Arc<App>, definition: &Arc<Definition>) -> Answer<Option<rest::Proof>> {
    let Ok(Ok(_turn)) = timeout(TURN_WITHIN, app.proving.acquire()).await else { return Ok(None) };
    let pools = app.engine.peek(LOOK_WITHIN, |driver| driver.state().pools.clone()).await;
    let Some(pools) = pools else { return Ok(None) };
    let pools = pools.into_iter().filter(|(_, pool)| !pool.implicit);
    let pools: BTreeMap<String, Pool> =
        pools.map(|(name, pool)| (name, Pool { size: pool.size, lends: pool.lend })).collect();
    let mut rules = app.now().rules.clone();
    rules.pools = pools.iter().map(|(name, pool)| (name.clone(), pool.size)).collect();
    let registered = registered(app).await?;
    let definition = Arc::clone(definition);
    let judged = tokio::task::spawn_blocking(move || judge(&definition, &registered, pools, &rules)).await;
    judged.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the proof failed: {error}")))
}

/// The newest version of each.
async fn registered(app: &Arc<App>) -> Answer<Vec<RegisteredWorkflow>> {
    let read = app.list(|reader, namespace| {
        let page = reader.workflows(namespace, None, PageSize::new(WORKFLOWS_MAX))?.value;
        let mut found = Vec::new();
        for version in page.items {
            found.extend(reader.workflow(namespace, &version.name, None)?.value);
        }
        Ok(found)
    });
    read.await
}

fn judge(
    definition: &Arc<Definition>,
    registered: &[RegisteredWorkflow],
    pools: BTreeMap<String, Pool>,
    rules: &Rules,
) -> Option<rest::Proof> {
    let mut workflows = BTreeMap::new();
    for workflow in registered {
        let title = format!("workflow {}", workflow.name);
        // One that is not sound any more, since a pool has become smaller, can run no more than one that is not known.
        if let Ok(checked) = convert::read_workflow(Path::new(&title), workflow.document.0.as_bytes(), rules) {
            workflows.insert(Arc::clone(&checked.definition.body.name), checked.definition);
        }
    }
    let name = Arc::clone(&definition.body.name);
    workflows.insert(Arc::clone(&name), Arc::clone(definition));
    let roots = workflows.keys().map(|name| Root { workflow: Arc::clone(name), runs_max: None }).collect();
    // Workers come and go: how many slots there are, nobody knows.
    let declared = Declared { pools, slots: None, workflows, roots };
    prove_one(&declared, &name, Effort::default()).as_ref().map(told)
}

fn told(proof: &Proof) -> rest::Proof {
    let verdict = match proof.verdict {
        Verdict::Safe { .. } => rest::ProofVerdict::Safe,
        Verdict::Unsafe { .. } => rest::ProofVerdict::Unsafe,
        Verdict::Unknown { .. } => rest::ProofVerdict::Unknown,
    };
    rest::Proof { verdict, said: proof.lines() }
}
