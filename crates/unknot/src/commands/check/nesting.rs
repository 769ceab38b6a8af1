//! Whether runs of a workflow can wait for each other for ever, by what it and those that it starts declare.

use crate::{calls::Beside, config::Config, error::Error};
use std::{path::Path, sync::Arc};
use unknot_engine::{
    convert::Checked,
    core::proof::{Declared, Effort, Pool, Proof, Root, prove_one},
};

/// The proof of a workflow with the pools and slots that are configured, and the files beside it.
///
/// # Errors
/// If one of these files is not sound, or two of them have the same name.
pub(super) fn prove(flow: &Path, config: &Config, checked: &Checked) -> Result<Option<Proof>, Error> {
    let pools = config.settings.pools.iter();
    let workflow = Arc::clone(&checked.definition.body.name);
    let declared = Declared {
        pools: pools.map(|(name, pool)| (name.clone(), Pool { size: pool.size, lends: pool.lend })).collect(),
        // Where all work is done by others, nobody here knows how many slots they have.
        slots: Some(config.slots).filter(|slots| *slots > 0),
        workflows: Beside::new(flow, config, checked).known_definitions()?,
        roots: vec![Root { workflow: Arc::clone(&workflow), runs_max: None }],
    };
    Ok(prove_one(&declared, &workflow, Effort::default()))
}
