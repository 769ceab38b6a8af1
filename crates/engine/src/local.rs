//! The server's own worker at its desk.

use crate::{
    attempt_tokens::AttemptTokens,
    convert_work,
    desk::{Closed, Desk, Received},
    threads::Shared,
};
use std::{path::PathBuf, sync::Arc};
use unknot_api::{
    work as api,
    worker::{ATTEMPT_TOKEN_VARIABLE, URL_VARIABLE},
};
use unknot_hands::worker::{Claimed, Held, Order, Room, SourceError, WorkSource};

/// Where attempts of the local worker ask for something, and by which tokens they are known there.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) url: String,
    pub(crate) tokens: Arc<AttemptTokens>,
}

impl Door {
    /// Tells an attempt of it, if that is one that can ask.
    fn tell(&self, assignment: &mut api::Assignment) {
        if matches!(assignment.work, api::Work::Exec(_) | api::Work::Handler(_)) {
            let token = self.tokens.token(&assignment.attempt, assignment.fence);
            assignment.env.insert(ATTEMPT_TOKEN_VARIABLE.to_owned(), token);
            assignment.env.insert(URL_VARIABLE.to_owned(), self.url.clone());
        }
    }
}

/// The local worker's source of work: its desk, and the brain's inbox for its reports.
#[derive(Debug)]
pub(crate) struct LocalSource {
    pub(crate) shared: Arc<Shared>,
    /// Where attempts' folders are, relative to the data folder.
    pub(crate) attempts: PathBuf,
    pub(crate) door: Option<Door>,
}

impl LocalSource {
    fn desk(&self) -> &Desk {
        self.shared.desks.local()
    }
}

impl WorkSource for LocalSource {
    async fn claim(&self, room: Room) -> Result<Claimed, SourceError> {
        let claimed = self.desk().claim(Received::All, room.total).await;
        let found = claimed.map(|handed| handed.assignments).or_else(|Closed| over())?;
        let mut found: Vec<api::Assignment> =
            found.into_iter().map(|assignment| convert_work::assignment(assignment, &self.attempts)).collect();
        if let Some(door) = &self.door {
            found.iter_mut().for_each(|assignment| door.tell(assignment));
        }
        Ok(Claimed::now(found))
    }

    async fn report(&self, reports: Arc<[api::Report]>) -> Result<Vec<usize>, SourceError> {
        self.desk().report(&self.shared.inbox, &reports).await.or_else(|Closed| over())
    }

    async fn renew(&self, _held: Vec<Held>) -> Result<Vec<Order>, SourceError> {
        // Leases of the local worker do not run out: they are reconciled at the next start.
        Ok(Vec::new())
    }

    async fn orders(&self) -> Result<Vec<Order>, SourceError> {
        self.desk().orders().await.or_else(|Closed| over())
    }
}

fn over<T>() -> Result<T, SourceError> {
    Err(SourceError { message: "the engine ends".to_owned() })
}
