//! What can be asked about verdicts and waits.

use super::{
    Client, ClientError, Question,
    operations::{Query, segment},
};
use crate::{
    Moment,
    rest::{LiveWaits, MarkRequest, Page, ScanReport, Verdict, VerdictSummary, WaitGraph},
};
use hyper::Method;

/// Which verdicts are listed; all conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerdictQuery {
    /// Only about this run.
    pub run: Option<String>,
    /// Only of this kind: one of [`VERDICT_KINDS`](crate::rest::VERDICT_KINDS).
    pub kind: Option<String>,
    /// Only with this outcome: one of [`VERDICT_OUTCOMES`](crate::rest::VERDICT_OUTCOMES).
    pub outcome: Option<String>,
    /// Only made at this moment or later.
    pub since: Option<Moment>,
    /// Whether only those are listed that are not over.
    pub open: bool,
    /// The `next` of the part before.
    pub after: Option<String>,
    /// Items of one part, 1 to 1,000 (100).
    pub limit: Option<usize>,
}

impl Client {
    /// A part of the list of verdicts, the newest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn deadlocks(&self, query: &VerdictQuery) -> Result<Page<VerdictSummary>, ClientError> {
        let mut path = Query::new("/deadlocks");
        path.add("run", query.run.as_deref());
        path.add("kind", query.kind.as_deref());
        path.add("outcome", query.outcome.as_deref());
        path.add("since", query.since.map(|at| at.to_string()).as_deref());
        path.add("open", query.open.then_some("true"));
        path.add("after", query.after.as_deref());
        path.add("limit", query.limit.map(|limit| limit.to_string()).as_deref());
        self.get(&path.text).await
    }

    /// A verdict with all that is kept of it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn deadlock(&self, id: &str) -> Result<Verdict, ClientError> {
        self.get(&format!("/deadlocks/{}", segment(id))).await
    }

    /// Says of a verdict that it was wrong, or takes that back.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn mark_deadlock(&self, id: &str, request: &MarkRequest) -> Result<Verdict, ClientError> {
        let path = format!("/deadlocks/{}/mark", segment(id));
        let response = self.ask(Question::new(Method::PUT, &path).sending(request)?).await?;
        self.understand(response).await
    }

    /// Has everything judged now; nothing is done about what is found.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn scan_for_deadlocks(&self) -> Result<ScanReport, ClientError> {
        let response = self.ask(Question::new(Method::POST, "/deadlocks/scan")).await?;
        self.understand(response).await
    }

    /// Who waits for what, and who holds it; with a run only what that depends on.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn wait_graph(&self, run: Option<&str>) -> Result<WaitGraph, ClientError> {
        let mut path = Query::new("/waits");
        path.add("run", run);
        self.get(&path.text).await
    }

    /// Who waits, in sentences, those that have waited longest first; with a run only what that depends on.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn live_waits(&self, run: Option<&str>, limit: usize) -> Result<LiveWaits, ClientError> {
        let mut path = Query::new("/waits/list");
        path.add("run", run);
        path.add("limit", Some(limit.to_string()).as_deref());
        self.get(&path.text).await
    }
}
