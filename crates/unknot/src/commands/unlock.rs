//! `unknot unlock NAME…`: gives locks or units of pools back that the attempt holds.

use crate::{args::Unlock, attempt::Attempt, error::Error, exit::Exit};

/// What to do outside of a task.
const INSTEAD: &str = "a lock is held by a task's attempt, and given back when that ends: `unknot pools` says which, `unknot cancel RUN` ends it";

/// Gives back.
pub(crate) fn perform(asked: &Unlock) -> Result<Exit, Error> {
    let attempt = Attempt::here("unlock", INSTEAD)?;
    let units = asked.names.iter().map(|name| (name.clone(), asked.units)).collect();
    attempt.release(&units).map(|()| Exit::Success)
}
