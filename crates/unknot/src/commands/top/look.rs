//! Looking at a server each second, with a bounded number of small questions.

use crate::{error::Error, remote};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};
use tokio::time::{Instant, sleep_until};
use unknot_api::{
    Moment,
    client::{Client, ClientError, RunQuery, VerdictQuery},
    rest,
};

/// Pause between the beginnings of two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Unfinished runs that are looked at: the newest ones.
const RUNS_MAX: usize = 12;
/// Runs of which one look asks for tasks that wait; the others keep what was seen of them.
const RUNS_PER_LOOK: usize = 3;
/// Waiting tasks of each status that are asked for.
const WAITS_MAX: usize = 20;
/// Open verdicts that are asked for.
const VERDICTS_MAX: usize = 100;
/// The statuses of runs that have not ended, those first that are most often there.
const UNFINISHED: [&str; 3] = ["RUNNING", "CANCELLING", "PENDING"];
/// The statuses of tasks that wait for something else than other tasks of their run.
const WAITING: [&str; 3] = ["QUEUED", "WAITING", "RETRYING"];

/// What was seen of a server.
#[derive(Debug, Serialize)]
pub(super) struct Seen {
    pub(super) health: rest::Health,
    pub(super) stats: rest::Stats,
    /// The newest runs that have not ended.
    pub(super) runs: Vec<rest::Run>,
    /// The newest verdicts that are not over and that nobody has marked as wrong: the worst first, of each kind the
    /// newest.
    pub(super) verdicts: Vec<rest::VerdictSummary>,
    /// Whether there may be more than those.
    pub(super) has_more_verdicts: bool,
    /// What tasks of these runs wait for, the longest first.
    pub(super) waits: Vec<Waiting>,
}

/// A task that waits, or whose attempt does; the same fields as in a list of waits.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Waiting {
    pub(super) task_id: String,
    pub(super) name: String,
    pub(super) run_id: String,
    pub(super) workflow_name: String,
    pub(super) status: String,
    /// To be read behind its name: `waits for …`.
    pub(super) sentence: String,
    pub(super) since: Moment,
    pub(super) until: Moment,
}

impl Waiting {
    /// What a task of a run waits for; nothing if it does not.
    fn of(run: &rest::RunSummary, task: rest::Task) -> Option<Self> {
        let (sentence, word, since, until) = match (task.wait, task.lease.and_then(|lease| lease.waits)) {
            (Some(wait), _) => (wait.sentence, wait.on, wait.since, wait.deadline),
            (None, Some(wait)) => (wait.sentence, wait.name, wait.since, wait.deadline),
            (None, None) => return None,
        };
        Some(Self {
            task_id: task.task_id,
            name: task.name,
            run_id: run.run_id.clone(),
            workflow_name: run.workflow_name.clone(),
            status: task.status,
            // The brain did not come to the question in time.
            sentence: sentence.unwrap_or_else(|| format!("waits: {word}")),
            since,
            until,
        })
    }
}

/// What a look brings.
type Found = Result<Seen, ClientError>;

/// Looks, on a thread of its own, until this is dropped.
pub(super) struct Look(Receiver<Found>);

impl Look {
    /// Begins to look.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(super) fn start(client: Client) -> Result<Self, Error> {
        // One that nobody takes is not followed by others.
        let (sender, receiver) = sync_channel(1);
        let runtime = remote::runtime()?;
        let refused = |source: std::io::Error| Error::Start { attempt: "look at the server", source: source.into() };
        let look = move || runtime.block_on(look(client, &sender));
        thread::Builder::new().name("unknot-look".to_owned()).spawn(look).map_err(refused)?;
        Ok(Self(receiver))
    }

    /// What was seen since the last call.
    pub(super) fn take(&self) -> Option<Found> {
        self.0.try_recv().ok()
    }
}

/// One look, with the waits of all runs.
pub(super) async fn once(client: Client) -> Found {
    Looker { client, waits: BTreeMap::new(), turn: 0 }.look(RUNS_MAX).await
}

async fn look(client: Client, sender: &SyncSender<Found>) {
    let mut looker = Looker { client, waits: BTreeMap::new(), turn: 0 };
    loop {
        let next = Instant::now() + EVERY;
        if sender.send(looker.look(RUNS_PER_LOOK).await).is_err() {
            return;
        }
        sleep_until(next).await;
    }
}

struct Looker {
    client: Client,
    /// What was seen last of each run's waits.
    waits: BTreeMap<String, Vec<Waiting>>,
    turn: usize,
}

impl Looker {
    async fn look(&mut self, runs_per_look: usize) -> Found {
        let health = self.client.health().await?;
        let stats = self.client.stats().await?;
        let runs = if stats.unfinished_runs == 0 { Vec::new() } else { self.runs().await? };
        self.waits.retain(|run, _| runs.iter().any(|seen| seen.summary.run_id == *run));
        for place in 0..runs.len().min(runs_per_look) {
            let run = &runs[(self.turn + place) % runs.len()];
            let waits = self.waits_of(run).await?;
            self.waits.insert(run.summary.run_id.clone(), waits);
        }
        self.turn = self.turn.wrapping_add(runs_per_look);
        let mut waits: Vec<Waiting> = self.waits.values().flatten().cloned().collect();
        waits.sort_by_key(|waiting| waiting.since.ms);
        let open = VerdictQuery { open: true, limit: Some(VERDICTS_MAX), ..VerdictQuery::default() };
        let page = self.client.deadlocks(&open).await?;
        let has_more_verdicts = page.next.is_some();
        let mut verdicts: Vec<_> = page.items.into_iter().filter(|verdict| verdict.false_positive.is_none()).collect();
        verdicts.sort_by_key(|verdict| rest::VERDICT_KINDS.iter().position(|kind| *kind == verdict.kind));
        Ok(Seen { health, stats, runs, verdicts, has_more_verdicts, waits })
    }

    async fn runs(&self) -> Result<Vec<rest::Run>, ClientError> {
        let mut found = Vec::new();
        for status in UNFINISHED {
            let query = RunQuery { status: Some(status.to_owned()), limit: Some(RUNS_MAX), ..RunQuery::default() };
            found.extend(self.client.runs(&query).await?.items);
        }
        // Ids begin with the moment of the submission.
        found.sort_by(|one, other| other.run_id.cmp(&one.run_id));
        let mut runs = Vec::new();
        for summary in found.into_iter().take(RUNS_MAX) {
            match self.client.run(&summary.run_id).await {
                Ok(run) => runs.push(run),
                // It ended and was removed meanwhile.
                Err(error) if error.status() == Some(404) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(runs)
    }

    async fn waits_of(&self, run: &rest::Run) -> Result<Vec<Waiting>, ClientError> {
        let mut found = Vec::new();
        for status in WAITING.into_iter().filter(|status| run.tasks.contains_key(*status)) {
            let page = self.client.tasks(&run.summary.run_id, Some(status), None, WAITS_MAX).await?;
            found.extend(page.items.into_iter().filter_map(|task| Waiting::of(&run.summary, task)));
        }
        Ok(found)
    }
}
