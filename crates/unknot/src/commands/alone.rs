//! A store that nobody owns, changed without a server: an engine that performs nothing.

use crate::{config::Config, error::Error};
use std::collections::BTreeSet;
use unknot_engine::{
    Engine, Options,
    core::RunId,
    store::{Namespace, SqliteOptions, SqliteStore, StoreError},
};
use unknot_hands::GuardCommand;

/// Starts it; it moves these runs on and no others.
///
/// # Errors
/// If the store cannot be opened for `attempt`, or belongs to a process that does not answer.
pub(super) fn engine(config: &Config, focus: BTreeSet<RunId>, attempt: &str) -> Result<Engine, Error> {
    let store = SqliteStore::open(&config.data, &SqliteOptions::default()).map_err(|error| match error {
        owned @ StoreError::Owned { .. } => Error::OwnerSilent { data: config.data.clone(), source: owned.into() },
        other => Error::store_in(&config.data, attempt)(other),
    })?;
    let options = Options {
        data: config.data.clone(),
        namespace: Namespace::default(),
        slots: 0,
        settings: config.settings.clone(),
        guard: GuardCommand::this_program(vec![crate::GUARD_WORD.into()]),
        retention: config.retention,
        alerts: config.alerts.clone(),
        focus: Some(focus),
        door: None,
    };
    Engine::start(Box::new(store), options).map_err(Error::start)
}
