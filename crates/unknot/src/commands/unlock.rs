//! `unknot unlock NAME…`: gives locks or units of pools back that the attempt holds.

use crate::{args::Unlock, attempt::Attempt, error::Error, exit::Exit};
use std::collections::BTreeMap;

/// What to do outside of a task.
const INSTEAD: &str = "a lock is held by a task's attempt, and given back when that ends: `unknot pools` says which, `unknot cancel RUN` ends it";

/// Gives back.
pub(crate) fn perform(asked: &Unlock) -> Result<Exit, Error> {
    let attempt = Attempt::here("unlock", INSTEAD)?;
    let mut units: BTreeMap<String, u32> = BTreeMap::new();
    for one in &asked.names {
        *units.entry(one.name.clone()).or_default() += one.units.unwrap_or(asked.units);
    }
    attempt.release(&units).map(|()| Exit::Success)
}
