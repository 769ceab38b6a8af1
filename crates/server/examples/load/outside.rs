//! A worker of another process, as anybody could write one: it claims calls of its handler, and reports each as done.

use super::Outcome;
use std::sync::Arc;
use tokio::{sync::mpsc, task::JoinHandle};
use unknot_api::{
    client::{Client, ClientError},
    work::{End, JsonText, Outcome as Ending, Report, ReportBody},
    worker::{Claim, Claimed, PROTOCOL, Register},
};

/// The handler that it has.
pub(crate) const HANDLER: &str = "nothing";
/// Reports in one call, at most.
const REPORTS_MAX: usize = 1_000;

/// A worker at work. It is stopped when this is dropped.
pub(crate) struct Outside {
    claims: JoinHandle<Result<(), ClientError>>,
    reports: JoinHandle<Result<(), ClientError>>,
}

impl Outside {
    /// Registers, and begins to work in so many slots.
    pub(crate) async fn start(client: &Client, name: &str, slots: u32) -> Outcome<Self> {
        let wish = Register {
            protocol: PROTOCOL,
            name: name.to_owned(),
            boot: format!("{:x}", std::process::id()),
            slots,
            queues: None,
            kinds: Vec::new(),
            handlers: vec![HANDLER.to_owned()],
            labels: Default::default(),
        };
        let session = client.register_worker(&wish).await?.session;
        let (given, done) = mpsc::channel(slots as usize);
        let at = Arc::new(At { client: client.clone(), name: name.to_owned(), session });
        let claims = tokio::spawn(Arc::clone(&at).claim(slots as usize, given));
        let reports = tokio::spawn(at.report(done));
        Ok(Self { claims, reports })
    }

    /// Whether it still works: it ends only by an error.
    pub(crate) fn is_working(&self) -> bool {
        !self.claims.is_finished() && !self.reports.is_finished()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.claims.abort();
        self.reports.abort();
    }
}

struct At {
    client: Client,
    name: String,
    session: String,
}

impl At {
    /// Takes whatever there is, while what it had before is being reported.
    async fn claim(self: Arc<Self>, most: usize, given: mpsc::Sender<Report>) -> Result<(), ClientError> {
        let mut received = 0;
        loop {
            let wish = Claim { session: self.session.clone(), received, most };
            let Claimed { number, work, .. } = self.client.claim_work(&self.name, &wish).await?;
            received = number;
            for handed in work {
                let (attempt, fence) = (handed.assignment.attempt, handed.assignment.fence);
                let end = End::new(Ending::Succeeded { output: JsonText::null() }, 0);
                let report = Report { attempt, fence, body: ReportBody::Ended(Box::new(end)) };
                if given.send(report).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    async fn report(self: Arc<Self>, mut done: mpsc::Receiver<Report>) -> Result<(), ClientError> {
        let mut open = Vec::new();
        while !open.is_empty() || done.recv_many(&mut open, REPORTS_MAX).await > 0 {
            let settled = self.client.report_attempts(&self.name, &self.session, &open).await?.settled;
            let mut place = 0;
            open.retain(|_| {
                place += 1;
                !settled.contains(&(place - 1))
            });
            while open.len() < REPORTS_MAX
                && let Ok(report) = done.try_recv()
            {
                open.push(report);
            }
        }
        Ok(())
    }
}
