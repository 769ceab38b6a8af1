//! What a running attempt asks, under its own token.

use super::{Client, ClientError, Question, operations::segment};
use crate::rest::{ChildRun, ReleaseRequest, SpawnRequest, Spawned, WaitRequest, WaitResult};
use hyper::Method;
use std::time::Duration;

/// How long a server keeps whoever waits before it says that the wait goes on.
const POLL: Duration = Duration::from_secs(20);

impl Client {
    /// Begins a wait, or asks again for one of the same name; the server answers when it is over, or after some 20 s that
    /// it goes on.
    ///
    /// # Errors
    /// See [`ClientError`]; 401 if the attempt has its lease no more, 409 if it waits for something else or is being
    /// stopped, 422 if what it asks for can never be.
    pub async fn attempt_wait(&self, attempt: &str, wish: &WaitRequest) -> Result<WaitResult, ClientError> {
        self.post(&path(attempt, "waits"), wish, POLL).await
    }

    /// Ends a wait that is not wanted any more.
    ///
    /// # Errors
    /// As for [`Client::attempt_wait`].
    pub async fn attempt_withdraw(&self, attempt: &str, name: &str) -> Result<WaitResult, ClientError> {
        let path = format!("{}/{}", path(attempt, "waits"), segment(name));
        let response = self.ask(Question::new(Method::DELETE, &path)).await?;
        self.understand(response).await
    }

    /// Gives units back.
    ///
    /// # Errors
    /// As for [`Client::attempt_wait`]; 422 if it does not hold so many.
    pub async fn attempt_release(&self, attempt: &str, units: &ReleaseRequest) -> Result<(), ClientError> {
        let path = path(attempt, "release");
        self.ask(Question::new(Method::POST, &path).sending(units)?).await.map(drop)
    }

    /// Spawns a run, or finds the one that has the key.
    ///
    /// # Errors
    /// As for [`Client::attempt_wait`]; 404 if no workflow has the name.
    pub async fn attempt_spawn(&self, attempt: &str, wish: &SpawnRequest) -> Result<Spawned, ClientError> {
        self.post(&path(attempt, "children"), wish, Duration::ZERO).await
    }

    /// The runs that the attempt's task has spawned.
    ///
    /// # Errors
    /// As for [`Client::attempt_wait`].
    pub async fn attempt_children(&self, attempt: &str) -> Result<Vec<ChildRun>, ClientError> {
        self.get(&path(attempt, "children")).await
    }
}

fn path(attempt: &str, what: &str) -> String {
    format!("/attempts/{}/{what}", segment(attempt))
}
