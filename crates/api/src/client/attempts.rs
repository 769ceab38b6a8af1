//! What a running attempt asks, one function an operation. The client's token is the attempt's own.

use super::{
    Client, ClientError, Question,
    operations::{Query, segment},
};
use crate::rest::{
    ChildRun, ReleaseRequest, SignalRequest, SignalSent, SpawnRequest, Spawned, WaitRequest, WaitResult,
};
use hyper::Method;
use serde_json::Value;
use std::time::Duration;

/// Every function fails as [`ClientError`] says; with status 409 if the attempt has its lease no more or is being
/// stopped.
impl Client {
    /// Waits for something, at most `patience` (20 s at the most): the same is to be asked again while it is `waiting`.
    ///
    /// # Errors
    /// See [`ClientError`]. After one that [may pass](ClientError::is_passing) the same is asked again as well.
    pub async fn attempt_wait(
        &self,
        attempt: &str,
        request: &WaitRequest,
        patience: Duration,
    ) -> Result<WaitResult, ClientError> {
        let path = format!("/attempts/{}/waits?wait={}ms", segment(attempt), patience.as_millis().max(1));
        let mut question = Question::new(Method::POST, &path).sending(request)?;
        question.wait = patience;
        let response = self.ask(question).await?;
        self.understand(response).await
    }

    /// Waits no more. What had been granted before that is told, and stays the attempt's.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn attempt_withdraw(&self, attempt: &str, wait: &str) -> Result<WaitResult, ClientError> {
        let path = format!("/attempts/{}/waits/{}", segment(attempt), segment(wait));
        let response = self.ask(Question::new(Method::DELETE, &path)).await?;
        self.understand(response).await
    }

    /// Gives units of pools and locks back.
    ///
    /// # Errors
    /// See [`ClientError`]; 422 if the attempt does not hold so many.
    pub async fn attempt_release(&self, attempt: &str, request: &ReleaseRequest) -> Result<(), ClientError> {
        let path = format!("/attempts/{}/release", segment(attempt));
        self.ask(Question::new(Method::POST, &path).sending(request)?).await.map(drop)
    }

    /// Spawns a run, or finds the one that was spawned under the same key.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn attempt_spawn(&self, attempt: &str, request: &SpawnRequest) -> Result<Spawned, ClientError> {
        let path = format!("/attempts/{}/children", segment(attempt));
        let response = self.ask(Question::new(Method::POST, &path).sending(request)?).await?;
        self.understand(response).await
    }

    /// The runs that the attempt's task has spawned.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn attempt_children(&self, attempt: &str) -> Result<Vec<ChildRun>, ClientError> {
        self.get(&format!("/attempts/{}/children", segment(attempt))).await
    }

    /// Sends a signal to the attempt's own run; or to one that its task has spawned, or that has spawned its own.
    ///
    /// # Errors
    /// See [`ClientError`]; 403 if the run is none of them.
    pub async fn attempt_signal(
        &self,
        attempt: &str,
        run: Option<&str>,
        name: &str,
        payload: &Value,
    ) -> Result<SignalSent, ClientError> {
        let mut path = Query::new(&format!("/attempts/{}/signals/{}", segment(attempt), segment(name)));
        path.add("run", run);
        let request = SignalRequest { payload: payload.clone() };
        let response = self.ask(Question::new(Method::PUT, &path.text).sending(&request)?).await?;
        self.understand(response).await
    }
}
