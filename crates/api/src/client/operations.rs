//! What can be asked of a server, one function an operation.

use super::{Body, Client, ClientError, Events, Question};
use crate::{
    Moment,
    rest::{
        Alert, AlertTestRequest, AlertTested, Artifact, BulkRequest, BulkResult, CancelRequest, CancelStatus,
        Cancelling, DeadLetter, Decision, DecisionRequest, Event, Health, Page, Paused, Pool, PoolRemoved, PoolRequest,
        Queue, Registered, Registration, RetryRequest, Run, RunCreated, RunRequest, RunSummary, SignalRequest,
        SignalSent, Stats, Task, Why, Worker,
    },
};
use hyper::{
    Method, StatusCode,
    header::{HeaderName, RANGE},
};
use serde_json::{Map, Value};
use std::{fmt::Write as _, time::Duration};

/// How long a server may take to test targets: two messages of a minute each at most.
const ALERTS_TEST_MAX: Duration = Duration::from_secs(120);

/// Which runs are listed; all conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunQuery {
    /// Only with this status.
    pub status: Option<String>,
    /// Only of this workflow.
    pub workflow: Option<String>,
    /// Only of this client.
    pub client_id: Option<String>,
    /// Only with this label, name and value.
    pub label: Option<(String, String)>,
    /// Only submitted at this moment or later.
    pub since: Option<Moment>,
    /// Only submitted before this moment.
    pub until: Option<Moment>,
    /// The `next` of the part before; or the id of a run, to list those older than it.
    pub after: Option<String>,
    /// Items of one part, 1 to 1,000 (100).
    pub limit: Option<usize>,
}

/// What is held or let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseTarget<'n> {
    /// A queue, by name.
    Queue(&'n str),
    /// All runs of a workflow, by its name.
    Workflow(&'n str),
    /// A run, by id.
    Run(&'n str),
}

impl PauseTarget<'_> {
    fn path(self) -> String {
        match self {
            Self::Queue(name) => format!("/queues/{}/pause", segment(name)),
            Self::Workflow(name) => format!("/workflows/{}/pause", segment(name)),
            Self::Run(id) => format!("/runs/{}/pause", segment(id)),
        }
    }
}

/// Every function fails as [`ClientError`] says; those that name something also if there is no such thing
/// (status 404).
impl Client {
    /// Whether work makes progress. An answer that it does not is an answer.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn health(&self) -> Result<Health, ClientError> {
        let response = self.send(Question::new(Method::GET, "/health")).await?;
        match response.status() {
            StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE => self.understand(response).await,
            _ => Err(self.refusal(response).await),
        }
    }

    /// Counts of what there is.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn stats(&self) -> Result<Stats, ClientError> {
        self.get("/stats").await
    }

    /// Makes a run, durable once this returns. With a `key` (1 to 200 visible ASCII characters) the same request finds
    /// the same run. With `wait` (at most a minute) the status is that of the run's end, if it ends by then.
    ///
    /// # Errors
    /// See [`ClientError`]. After one that [may pass](ClientError::is_passing) the run may exist: only with a key it
    /// is safe to ask again.
    pub async fn submit(
        &self,
        request: &RunRequest,
        key: Option<&str>,
        wait: Option<Duration>,
    ) -> Result<RunCreated, ClientError> {
        let path = match wait {
            Some(wait) => format!("/runs?wait={}ms", wait.as_millis()),
            None => "/runs".to_owned(),
        };
        let mut question = Question::new(Method::POST, &path).sending(request)?;
        if let Some(key) = key {
            question = question.with(HeaderName::from_static("idempotency-key"), key)?;
        }
        question.wait = wait.unwrap_or_default();
        let response = self.ask(question).await?;
        self.understand(response).await
    }

    /// A part of the list of runs, the newest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn runs(&self, query: &RunQuery) -> Result<Page<RunSummary>, ClientError> {
        let mut path = Query::new("/runs");
        path.add("status", query.status.as_deref());
        path.add("workflow", query.workflow.as_deref());
        path.add("client_id", query.client_id.as_deref());
        path.add("label", query.label.as_ref().map(|(name, value)| format!("{name}={value}")).as_deref());
        path.add("since", query.since.map(|at| at.to_string()).as_deref());
        path.add("until", query.until.map(|at| at.to_string()).as_deref());
        path.add("after", query.after.as_deref());
        path.add("limit", query.limit.map(|limit| limit.to_string()).as_deref());
        self.get(&path.text).await
    }

    /// A run.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn run(&self, run: &str) -> Result<Run, ClientError> {
        self.get(&format!("/runs/{}", segment(run))).await
    }

    /// A part of a run's tasks, in the order of its workflow; with `status` only those.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn tasks(
        &self,
        run: &str,
        status: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Task>, ClientError> {
        let mut path = Query::new(&format!("/runs/{}/tasks", segment(run)));
        path.add("status", status);
        path.add("after", after);
        path.add("limit", Some(limit.to_string()).as_deref());
        self.get(&path.text).await
    }

    /// A task.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn task(&self, task: &str) -> Result<Task, ClientError> {
        self.get(&format!("/tasks/{}", segment(task))).await
    }

    /// A part of a run's history, the oldest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn events(&self, run: &str, after: Option<&str>, limit: usize) -> Result<Page<Event>, ClientError> {
        let mut path = Query::new(&format!("/runs/{}/events", segment(run)));
        path.add("after", after);
        path.add("limit", Some(limit.to_string()).as_deref());
        self.get(&path.text).await
    }

    /// A run's history behind the event `after` (from its beginning without one), and on as it grows.
    pub fn follow(&self, run: &str, after: Option<String>) -> Events {
        Events::new(self.clone(), run, after)
    }

    /// What an attempt of a task printed (the newest one if none is named), from the byte `from` on. Nothing: it has
    /// printed no more so far. To follow a log, ask again behind what is known until its attempt has ended.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn log(&self, task: &str, attempt: Option<u32>, from: u64) -> Result<Option<Body>, ClientError> {
        let mut path = Query::new(&format!("/tasks/{}/log", segment(task)));
        path.add("attempt", attempt.map(|attempt| attempt.to_string()).as_deref());
        let mut question = Question::new(Method::GET, &path.text);
        if from > 0 {
            question = question.with(RANGE, &format!("bytes={from}-"))?;
        }
        let response = self.send(question).await?;
        match response.status() {
            StatusCode::RANGE_NOT_SATISFIABLE => Ok(None),
            status if status.is_success() => Ok(Some(Body::new(response, self.limits.gap))),
            _ => Err(self.refusal(response).await),
        }
    }

    /// The files that an attempt of a task left (the newest one if none is named).
    ///
    /// # Errors
    /// See [`ClientError`]; 404 if it was not tried yet.
    pub async fn artifacts(&self, task: &str, attempt: Option<u32>) -> Result<Vec<Artifact>, ClientError> {
        let mut path = Query::new(&format!("/tasks/{}/artifacts", segment(task)));
        path.add("attempt", attempt.map(|attempt| attempt.to_string()).as_deref());
        self.get(&path.text).await
    }

    /// Ends a run by the ladder, or at once if the request says so.
    ///
    /// # Errors
    /// See [`ClientError`]; 409 if it has ended.
    pub async fn cancel(&self, run: &str, request: &CancelRequest) -> Result<Cancelling, ClientError> {
        let path = format!("/runs/{}/cancel", segment(run));
        let response = self.ask(Question::new(Method::PUT, &path).sending(request)?).await?;
        self.understand(response).await
    }

    /// Whether, why and by whom a run is cancelled.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn cancel_status(&self, run: &str) -> Result<CancelStatus, ClientError> {
        self.get(&format!("/runs/{}/cancel", segment(run))).await
    }

    /// Why a run (`run_…`) or a task (`task_…`) does not go on, and who can move it.
    ///
    /// # Errors
    /// See [`ClientError`]; 409 if it has ended.
    pub async fn why(&self, id: &str) -> Result<Why, ClientError> {
        let kind = if id.starts_with("task_") { "tasks" } else { "runs" };
        self.get(&format!("/{kind}/{}/why", segment(id))).await
    }

    /// Sends a run a signal. The same one again changes nothing.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn send_signal(&self, run: &str, name: &str, payload: &Value) -> Result<SignalSent, ClientError> {
        let path = format!("/runs/{}/signals/{}", segment(run), segment(name));
        let request = SignalRequest { payload: payload.clone() };
        let response = self.ask(Question::new(Method::PUT, &path).sending(&request)?).await?;
        self.understand(response).await
    }

    /// Holds something: nothing new of it starts.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn pause(&self, target: PauseTarget<'_>) -> Result<Paused, ClientError> {
        let response = self.ask(Question::new(Method::PUT, &target.path())).await?;
        self.understand(response).await
    }

    /// Lets something go on. What was not held goes on as before.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn resume(&self, target: PauseTarget<'_>) -> Result<(), ClientError> {
        self.ask(Question::new(Method::DELETE, &target.path())).await.map(drop)
    }

    /// All queues.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn queues(&self) -> Result<Vec<Queue>, ClientError> {
        self.get("/queues").await
    }

    /// All pools and locks.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn pools(&self) -> Result<Vec<Pool>, ClientError> {
        self.get("/pools").await
    }

    /// A pool or lock.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn pool(&self, name: &str) -> Result<Pool, ClientError> {
        self.get(&format!("/pools/{}", segment(name))).await
    }

    /// Makes a pool, or gives it another size.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn set_pool(&self, name: &str, request: &PoolRequest) -> Result<Pool, ClientError> {
        let path = format!("/pools/{}", segment(name));
        let response = self.ask(Question::new(Method::PUT, &path).sending(request)?).await?;
        self.understand(response).await
    }

    /// Removes a pool that nobody holds or needs.
    ///
    /// # Errors
    /// See [`ClientError`]; 409 if somebody does.
    pub async fn remove_pool(&self, name: &str) -> Result<PoolRemoved, ClientError> {
        let path = format!("/pools/{}", segment(name));
        let response = self.ask(Question::new(Method::DELETE, &path)).await?;
        self.understand(response).await
    }

    /// The workers that are connected.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn workers(&self) -> Result<Vec<Worker>, ClientError> {
        self.get("/workers").await
    }

    /// A part of the list of tasks out of tries.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn dead_letters(&self, after: Option<&str>, limit: usize) -> Result<Page<DeadLetter>, ClientError> {
        let mut path = Query::new("/dead-letters");
        path.add("after", after);
        path.add("limit", Some(limit.to_string()).as_deref());
        self.get(&path.text).await
    }

    /// Incidents that are open, or that somebody is still to be told of.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn alerts(&self) -> Result<Vec<Alert>, ClientError> {
        self.get("/alerts").await
    }

    /// Sends an alert to a target now, or to each, and tells what was answered.
    ///
    /// # Errors
    /// See [`ClientError`]; also if there is no such target (status 404).
    pub async fn test_alerts(&self, target: Option<&str>) -> Result<Vec<AlertTested>, ClientError> {
        let request = AlertTestRequest { target: target.map(str::to_owned) };
        let question = Question::new(Method::POST, "/alerts/test").sending(&request)?;
        let question = Question { wait: ALERTS_TEST_MAX, ..question };
        let response = self.ask(question).await?;
        self.understand(response).await
    }

    /// Takes a run further that did not complete, in a new one.
    ///
    /// # Errors
    /// See [`ClientError`]; also if it has not ended, or nothing is left to do (status 409).
    pub async fn retry(&self, run: &str, from_scratch: bool) -> Result<RunCreated, ClientError> {
        let path = format!("/runs/{}/retry", segment(run));
        let question = Question::new(Method::POST, &path).sending(&RetryRequest { from_scratch })?;
        let response = self.ask(question).await?;
        self.understand(response).await
    }

    /// Tries a task again that is out of tries, in a new run.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn redrive(&self, task: &str) -> Result<RunCreated, ClientError> {
        let path = format!("/dead-letters/{}/redrive", segment(task));
        let response = self.ask(Question::new(Method::POST, &path)).await?;
        self.understand(response).await
    }

    /// Says what becomes of a task that waits for a person.
    ///
    /// # Errors
    /// See [`ClientError`]; also if it waits for nobody (status 409).
    pub async fn decide(&self, task: &str, decision: Decision) -> Result<(), ClientError> {
        let path = format!("/tasks/{}/decision", segment(task));
        let question = Question::new(Method::PUT, &path).sending(&DecisionRequest { decision })?;
        self.ask(question).await.map(drop)
    }

    /// Does something with every run that a filter finds, up to a thousand; `next` goes on.
    ///
    /// # Errors
    /// See [`ClientError`]. What was refused of single runs stands in the answer.
    pub async fn bulk(&self, request: &BulkRequest) -> Result<BulkResult, ClientError> {
        let response = self.ask(Question::new(Method::POST, "/runs/bulk").sending(request)?).await?;
        self.understand(response).await
    }

    /// Keeps a workflow under its name, as its newest version.
    ///
    /// # Errors
    /// See [`ClientError`]; also if it is not sound (status 422).
    pub async fn register_workflow(&self, workflow: Map<String, Value>) -> Result<Registered, ClientError> {
        let question = Question::new(Method::POST, "/workflows").sending(&Registration { workflow })?;
        let response = self.ask(question).await?;
        self.understand(response).await
    }

    /// A part of the list of registered workflows, each with its newest version.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn workflows(&self, after: Option<&str>, limit: usize) -> Result<Page<Registered>, ClientError> {
        let mut path = Query::new("/workflows");
        path.add("after", after);
        path.add("limit", Some(limit.to_string()).as_deref());
        self.get(&path.text).await
    }

    /// A registered workflow with its newest versions.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn workflow(&self, name: &str) -> Result<Registered, ClientError> {
        self.get(&format!("/workflows/{}", segment(name))).await
    }

    /// Forgets a registered workflow; its runs are not touched.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn forget_workflow(&self, name: &str) -> Result<(), ClientError> {
        let path = format!("/workflows/{}", segment(name));
        self.ask(Question::new(Method::DELETE, &path)).await.map(drop)
    }

    /// Forgets a dead letter; its run is not touched.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn drop_dead_letter(&self, task: &str) -> Result<(), ClientError> {
        let path = format!("/dead-letters/{}", segment(task));
        self.ask(Question::new(Method::DELETE, &path)).await.map(drop)
    }
}

/// A path with parameters.
pub(super) struct Query {
    pub(super) text: String,
    sign: char,
}

impl Query {
    pub(super) fn new(path: &str) -> Self {
        Self { text: path.to_owned(), sign: '?' }
    }

    pub(super) fn add(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text.push(self.sign);
            self.text.push_str(name);
            self.text.push('=');
            self.text.push_str(&segment(value));
            self.sign = '&';
        }
    }
}

/// Text as one piece of a path or query, whatever letters it has.
pub(super) fn segment(text: &str) -> String {
    let mut piece = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            piece.push(char::from(byte));
        } else {
            // Writing into a text cannot fail.
            write!(piece, "%{byte:02X}").unwrap_or_default();
        }
    }
    // A path of `.` or `..` alone would mean another one.
    match piece.as_str() {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => piece,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leaves_its_piece() {
        for (text, piece) in [("a-b_c.9", "a-b_c.9"), ("a/b?c#d", "a%2Fb%3Fc%23d"), ("..", "%2E%2E"), ("ä", "%C3%A4")]
        {
            assert_eq!(segment(text), piece);
        }
        let mut query = Query::new("/runs");
        query.add("label", Some("team=a&b"));
        query.add("after", None);
        query.add("limit", Some("3"));
        assert_eq!(query.text, "/runs?label=team%3Da%26b&limit=3");
    }
}
