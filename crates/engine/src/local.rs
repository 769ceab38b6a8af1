//! The server's own worker at its desk.

use crate::{
    convert_work,
    desk::{Closed, Desk, Received},
    threads::Shared,
};
use std::{path::PathBuf, sync::Arc};
use unknot_api::work as api;
use unknot_hands::worker::{Claimed, Held, Order, Room, SourceError, WorkSource};

/// The local worker's source of work: its desk, and the brain's inbox for its reports.
#[derive(Debug)]
pub(crate) struct LocalSource {
    pub(crate) shared: Arc<Shared>,
    /// Where attempts' folders are, relative to the data folder.
    pub(crate) attempts: PathBuf,
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
        let found = found.into_iter().map(|assignment| convert_work::assignment(assignment, &self.attempts));
        Ok(Claimed::now(found.collect()))
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
