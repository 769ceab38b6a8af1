//! What an operator sees of a namespace at one look: queues, pools, workers, and how much there is.

use crate::driver::Driver;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use unknot_core::{
    CommitSeq, State, Timestamp,
    row::Pause,
    run::WorkerId,
    settings::{Pool, QueueSettings},
    worker::{Offer, Serves},
};

/// One look at the brain, between two of its turns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overview {
    /// When.
    pub at: Timestamp,
    /// The newest commit whose changes are in it; perhaps not durable yet.
    pub commit: CommitSeq,
    /// Runs that have not ended.
    pub runs: usize,
    /// Their tasks that have not ended.
    pub tasks: u32,
    /// All queues: see [`State::queue_names`].
    pub queues: BTreeMap<String, QueueView>,
    /// Pools and locks, with the units that are held.
    pub pools: BTreeMap<String, (Pool, u32)>,
    /// Workers that are here.
    pub workers: BTreeMap<WorkerId, WorkerView>,
    /// Workflows that an operator holds.
    pub paused_workflows: BTreeMap<String, Pause>,
    /// Incidents that are open, by key.
    pub incidents: BTreeSet<String>,
    /// Reports that were refused because they came too late, since the last load.
    pub refused_reports: u64,
}

/// A queue at one look.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueView {
    /// Tasks that stand in it.
    pub size: u32,
    /// Since when the oldest stands there; none if it is empty.
    pub oldest_since: Option<Timestamp>,
    /// Who holds it.
    pub paused: Option<Pause>,
    /// Its configuration.
    pub settings: QueueSettings,
}

/// A worker at one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerView {
    /// Attempts that it performs at once.
    pub slots: u32,
    /// Leases that it has.
    pub leases: u32,
    /// What it takes.
    pub serves: Arc<Serves>,
    /// What people should know of it; empty where only the brain was asked.
    pub labels: Arc<BTreeMap<String, String>>,
}

impl Overview {
    /// Looks.
    pub(crate) fn of(driver: &Driver, at: Timestamp) -> Self {
        let state = driver.state();
        let volatile = &state.volatile;
        let held = |name: &String| volatile.held.get(name).copied().unwrap_or_default();
        let leases = |worker: &WorkerId| {
            volatile.leases.get(worker).map_or(0, |leases| u32::try_from(leases.len()).unwrap_or(u32::MAX))
        };
        let worker = |(worker, offer): (&WorkerId, &Offer)| {
            let (leases, serves) = (leases(worker), Arc::clone(&offer.serves));
            (worker.clone(), WorkerView { slots: offer.slots, leases, serves, labels: Arc::default() })
        };
        Self {
            at,
            commit: state.commit(),
            runs: state.runs.len(),
            tasks: state.live_tasks(),
            queues: queues(state),
            pools: state.pools.iter().map(|(name, pool)| (name.clone(), (pool.clone(), held(name)))).collect(),
            workers: volatile.workers.iter().map(worker).collect(),
            paused_workflows: state.paused_workflows.clone(),
            incidents: volatile.alerting.open.keys().cloned().collect(),
            refused_reports: volatile.refused_reports,
        }
    }
}

fn queues(state: &State) -> BTreeMap<String, QueueView> {
    let mut queues: BTreeMap<String, QueueView> = BTreeMap::new();
    for name in state.queue_names() {
        let paused = state.queues.get(name).and_then(|queue| queue.paused.clone());
        let view = QueueView { settings: state.queue_settings(name), paused, ..QueueView::default() };
        queues.insert(name.to_owned(), view);
    }
    for (name, (size, oldest)) in state.volatile.ready.by_queue() {
        let view = queues.entry(name.to_string()).or_default();
        (view.size, view.oldest_since) = (size, Some(oldest));
    }
    queues
}
