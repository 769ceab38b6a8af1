//! What a worker of another process asks, one function a call of the protocol.

use super::{Client, ClientError, Question, operations::segment};
use crate::{
    work::Report,
    worker::{
        ArtifactPart, Claim, Claimed, Held, Orders, OrdersWanted, Register, Renew, Reports, Session, Settled, Uploaded,
    },
};
use bytes::Bytes;
use hyper::{
    Method, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// How long a call asks the server to wait, beside the time for its answer.
const POLL: Duration = Duration::from_secs(20);

impl Client {
    /// Begins a session as a worker.
    ///
    /// # Errors
    /// See [`ClientError`]; 409 if another process has the name.
    pub async fn register_worker(&self, wish: &Register) -> Result<Session, ClientError> {
        self.post("/workers", wish, Duration::ZERO).await
    }

    /// Asks for work; waits for some, within a bound of the server.
    ///
    /// # Errors
    /// See [`ClientError`]; 404 if the session is over.
    pub async fn claim_work(&self, worker: &str, wish: &Claim) -> Result<Claimed, ClientError> {
        self.post(&path(worker, "claim"), wish, POLL).await
    }

    /// Asks what to stop; waits for something, within a bound of the server.
    ///
    /// # Errors
    /// See [`ClientError`]; 404 if the session is over.
    pub async fn worker_orders(&self, worker: &str, session: &str) -> Result<Orders, ClientError> {
        let wish = OrdersWanted { session: session.to_owned() };
        self.post(&path(worker, "orders"), &wish, POLL).await
    }

    /// Renews the leases of all that a worker holds.
    ///
    /// # Errors
    /// See [`ClientError`]; 404 if the session is over.
    pub async fn renew_leases(&self, worker: &str, session: &str, held: Vec<Held>) -> Result<Orders, ClientError> {
        let wish = Renew { session: session.to_owned(), held };
        self.post(&path(worker, "renew"), &wish, Duration::ZERO).await
    }

    /// Tells what became of attempts; waits until that is durable, within a bound of the server.
    ///
    /// # Errors
    /// See [`ClientError`]; 404 if the session is over.
    pub async fn report_attempts(
        &self,
        worker: &str,
        session: &str,
        reports: &[Report],
    ) -> Result<Settled, ClientError> {
        let wish = Reports { session: session.to_owned(), reports: reports.to_vec() };
        self.post(&path(worker, "report"), &wish, POLL).await
    }

    /// Ends a session: the worker has nothing any more.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn leave_worker(&self, worker: &str, session: &str) -> Result<(), ClientError> {
        let path = format!("/workers/{}?session={}", segment(worker), segment(session));
        self.ask(Question::new(Method::DELETE, &path)).await.map(drop)
    }

    /// Adds bytes to the log of the attempt whose token this client has. `Ok(Err(_))` says where the log ends, if that
    /// is before `offset`.
    ///
    /// # Errors
    /// See [`ClientError`]; 401 if the attempt has its lease no more.
    pub async fn upload_log(
        &self,
        attempt: &str,
        offset: u64,
        bytes: Bytes,
    ) -> Result<Result<Uploaded, Uploaded>, ClientError> {
        self.upload(&format!("/attempts/{}/log?offset={offset}", segment(attempt)), bytes).await
    }

    /// Sends a part of an artifact under the attempt's own token. Gives how much there is then; `Err` where the file
    /// ends, if that is before the part. Once all of it is there the file is whole, and shown.
    ///
    /// # Errors
    /// See [`ClientError`]; 400 if there can be no such path, 401 if the attempt has its lease no more, 413 if there
    /// is too much.
    pub async fn upload_artifact(
        &self,
        attempt: &str,
        path: &str,
        part: ArtifactPart,
        bytes: Bytes,
    ) -> Result<Result<Uploaded, Uploaded>, ClientError> {
        let path: Vec<String> = path.split('/').map(segment).collect();
        let ArtifactPart { offset, size } = part;
        let (attempt, path) = (segment(attempt), path.join("/"));
        self.upload(&format!("/attempts/{attempt}/artifacts/{path}?offset={offset}&size={size}"), bytes).await
    }

    async fn upload(&self, path: &str, bytes: Bytes) -> Result<Result<Uploaded, Uploaded>, ClientError> {
        let mut question = Question::new(Method::PUT, path);
        question.body = bytes;
        question.headers.push((CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")));
        let response = self.send(question).await?;
        match response.status() {
            StatusCode::CONFLICT => self.understand(response).await.map(Err),
            status if status.is_success() => self.understand(response).await.map(Ok),
            _ => Err(self.refusal(response).await),
        }
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        wait: Duration,
    ) -> Result<T, ClientError> {
        let mut question = Question::new(Method::POST, path).sending(body)?;
        question.wait = wait;
        let response = self.ask(question).await?;
        self.understand(response).await
    }
}

fn path(worker: &str, call: &str) -> String {
    format!("/workers/{}/{call}", segment(worker))
}
