//! Verdicts held to their word: whoever is told to be deadlocked moves no more, unless something from outside comes
//! between; and whoever is deadlocked was told of.

use super::Checked;
use crate::workload::Mood;
use std::collections::{BTreeMap, BTreeSet};
use unknot_core::{
    RunId, Seq, State, TaskId, Timestamp,
    deadlock::{Deadlock, Finding, Outcome, Policy},
    row::{Batch, HistoryEntry, HistoryKind, Key, Row},
    volatile::Party,
    wait::{NodeState, reduce, snapshot},
};

/// Commits that may still hold what happened before a worker was seen to come or go.
const COMMITS_UNDER_WAY: u8 = 3;

/// What was told, and what came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdicts {
    open: BTreeMap<Seq, Open>,
    /// Tasks that were told to be deadlocked and have not moved since.
    told: BTreeSet<TaskId>,
    /// Those whom a verdict left as they were, with the versions of their waits; of each task the last verdict.
    left: BTreeMap<Seq, BTreeMap<TaskId, u32>>,
    /// How many commits may still hold what happened before a worker came or went.
    workers_moved: u8,
    told_in_all: u64,
}

/// A verdict whose members stand still.
#[derive(Clone, Debug)]
struct Open {
    members: BTreeSet<TaskId>,
    has_slots: bool,
    pools: BTreeSet<String>,
}

impl Verdicts {
    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.told_in_all
    }

    /// A worker came or went: slots may be free that were not.
    pub(super) fn workers_moved(&mut self) {
        self.workers_moved = COMMITS_UNDER_WAY;
        self.open.retain(|_, verdict| !verdict.has_slots);
    }

    /// Goes through a batch in its order.
    ///
    /// # Errors
    /// A verdict that is not what it should be, or a member of one that moved by itself.
    pub(super) fn take(&mut self, batch: &Batch, mood: Mood) -> Checked {
        let mut told: BTreeMap<String, &Deadlock> = BTreeMap::new();
        for (key, row) in &batch.changes {
            match (key, row) {
                (Key::Deadlock(seq), Some(Row::Deadlock(deadlock))) => {
                    is_sound(deadlock, mood)?;
                    self.is_news(deadlock)?;
                    told.insert(format!("dl_{}", seq.0), deadlock);
                }
                // Where in the batch a pool was changed is not told.
                (Key::Pool(name), _) => self.open.retain(|_, verdict| !verdict.pools.contains(name)),
                _ => {}
            }
        }
        for line in &batch.history {
            let verdict = line.detail.text("verdict").and_then(|id| told.remove(id));
            match verdict.filter(|_| line.event == HistoryKind::DeadlockDetected) {
                Some(deadlock) => self.begin(deadlock, batch),
                None => self.moved(line)?,
            }
        }
        self.workers_moved = self.workers_moved.saturating_sub(1);
        match told.keys().next() {
            Some(id) => Err(format!("{id} stands in the history of none of its runs")),
            None => Ok(()),
        }
    }

    /// Nobody is told twice that the same stand as they did.
    fn is_news(&self, deadlock: &Deadlock) -> Checked {
        let named = versions(deadlock);
        match self.left.iter().find(|(_, left)| **left == named) {
            Some((seq, _)) => Err(format!("dl_{} tells what dl_{} has told: {named:?}", deadlock.seq.0, seq.0)),
            None => Ok(()),
        }
    }

    fn begin(&mut self, deadlock: &Deadlock, batch: &Batch) {
        self.told_in_all += 1;
        let members: BTreeSet<TaskId> = deadlock.members.iter().map(|member| member.task).collect();
        self.told.extend(&members);
        if deadlock.outcome == Outcome::Reported {
            self.left.retain(|_, named| !named.keys().any(|task| members.contains(task)));
            self.left.insert(deadlock.seq, versions(deadlock));
        }
        let resources = || deadlock.graph.resources.iter().map(|resource| resource.id.as_str());
        let has_slots = resources().any(|id| id.starts_with("slots") || id.ends_with(":slot"));
        let pools: BTreeSet<String> =
            resources().filter_map(|id| id.rsplit_once("pool:")).map(|(_, name)| name.to_owned()).collect();
        let touched = |name: &String| batch.changes.iter().any(|(key, _)| *key == Key::Pool(name.clone()));
        let has_moved = (has_slots && self.workers_moved > 0) || pools.iter().any(touched);
        // What the policy has done about it happened before it was told.
        let is_untouched = deadlock.outcome == Outcome::Reported;
        if is_untouched && !has_moved {
            self.open.insert(deadlock.seq, Open { members, has_slots, pools });
        }
    }

    /// Something happened to a run or a task.
    fn moved(&mut self, line: &HistoryEntry) -> Checked {
        let of_run = |members: &BTreeSet<TaskId>, run: RunId| members.iter().any(|task| task.run == run);
        match (line.event, line.task.map(|index| line.run.task(index))) {
            (HistoryKind::WaitGranted | HistoryKind::TaskGranted, Some(task)) => {
                let of = self.open.iter().find(|(_, verdict)| verdict.members.contains(&task));
                if let Some((seq, verdict)) = of {
                    return Err(format!("dl_{} told that {task} can never move, and it did: {verdict:?}", seq.0));
                }
                self.told.remove(&task);
            }
            (kind, Some(task)) if ends_a_wait(kind) => {
                self.open.retain(|_, verdict| !verdict.members.contains(&task));
                self.told.remove(&task);
            }
            (
                HistoryKind::RunCancelling
                | HistoryKind::SignalReceived
                | HistoryKind::RunPoisoned
                | HistoryKind::RunFailed
                | HistoryKind::RunTimedOut,
                _,
            ) => self.open.retain(|_, verdict| !of_run(&verdict.members, line.run)),
            _ => {}
        }
        Ok(())
    }

    /// Whoever is deadlocked in a state was told of, each cause in its turn.
    ///
    /// # Errors
    /// Who was not.
    pub(super) fn are_complete(&mut self, state: &State, now: Timestamp) -> Result<Option<BTreeSet<TaskId>>, String> {
        if state.volatile.grants_due || !state.continuations.is_empty() {
            return Ok(None);
        }
        let mut graph = snapshot(state, now);
        let dead: BTreeSet<TaskId> = reduce(&graph).deadlocked.iter().filter_map(|id| id.parse().ok()).collect();
        self.remember(&dead);
        let stands = |(task, version): (&TaskId, &u32)| {
            dead.contains(task) && state.task(*task).is_some_and(|task| task.wait_version == *version)
        };
        let left = self.left.values().filter(|named| named.iter().all(stands));
        self.told.extend(left.flat_map(BTreeMap::keys));
        // Whoever waits behind a cause that was told of is none.
        let told: BTreeSet<String> = self.told.iter().map(TaskId::to_string).collect();
        for node in graph.nodes.iter_mut().filter(|node| told.contains(&node.id)) {
            node.state = NodeState::External;
        }
        let core = reduce(&graph).core;
        // Of a run that nobody spawned, a task that holds nothing yet is waited for by nobody.
        let counts = |task: &TaskId| state.volatile.graph.is_deadlocked(Party::Task(*task));
        match core.iter().filter_map(|id| id.parse().ok()).find(counts) {
            Some(task) => Err(format!("{task} is deadlocked and was not told of: {core:?}")),
            None => Ok(Some(dead)),
        }
    }

    /// Whoever lives again is told of again, should it come to that.
    pub(super) fn remember(&mut self, dead: &BTreeSet<TaskId>) {
        self.told.retain(|task| dead.contains(task));
    }
}

/// Whom a verdict names, with the versions of their waits.
fn versions(deadlock: &Deadlock) -> BTreeMap<TaskId, u32> {
    deadlock.members.iter().map(|member| (member.task, member.version)).collect()
}

/// Whether a line says that somebody who waited does so no more, and not because what was waited for came.
fn ends_a_wait(kind: HistoryKind) -> bool {
    matches!(
        kind,
        HistoryKind::WaitEnded
            | HistoryKind::TaskStopping
            | HistoryKind::TaskLost
            | HistoryKind::TaskCompleted
            | HistoryKind::TaskFailed
            | HistoryKind::TaskCancelled
            | HistoryKind::TaskSkipped
            | HistoryKind::TaskRetrying
            | HistoryKind::TaskQueued
            | HistoryKind::TaskWaiting
    )
}

/// What a verdict says of itself.
fn is_sound(deadlock: &Deadlock, mood: Mood) -> Checked {
    let fail = |what: &str| Err(format!("dl_{}: {what}: {:?}", deadlock.seq.0, deadlock.explanation));
    if mood != Mood::Wild {
        return fail("nobody can be deadlocked in this world");
    }
    if deadlock.members.is_empty() || deadlock.explanation.is_empty() {
        return fail("it names nobody, or says nothing");
    }
    let dead = reduce(&deadlock.graph).deadlocked;
    if let Some(member) = deadlock.members.iter().find(|member| !dead.contains(&member.task.to_string())) {
        return fail(&format!("its own graph lets {} move", member.task));
    }
    match (deadlock.kind, deadlock.policy, &deadlock.outcome) {
        (_, Policy::Alert, Outcome::Reported) | (Finding::Orphaned, Policy::Retry, Outcome::Reported) => Ok(()),
        (Finding::Deadlocked, Policy::Retry, Outcome::Retried(tasks)) if !tasks.is_empty() => Ok(()),
        (_, Policy::Retry | Policy::Cancel, Outcome::Cancelled(runs)) if !runs.is_empty() => Ok(()),
        _ => fail(&format!("{:?} under {:?} led to {:?}", deadlock.kind, deadlock.policy, deadlock.outcome)),
    }
}

/// Nobody is stopped to end a deadlock where somebody is only to be told.
///
/// # Errors
/// Who was.
pub(super) fn nobody_is_stopped(batch: &Batch) -> Checked {
    let stopped = |line: &&HistoryEntry| {
        line.event == HistoryKind::TaskStopping && line.detail.text("reason") == Some("deadlock")
            || line.event == HistoryKind::RunCancelling
                && line.detail.text("reason").is_some_and(|reason| reason.starts_with("auto-cancel"))
    };
    match batch.history.iter().find(stopped) {
        Some(line) => Err(format!("somebody is only to be told, and this was done: {line:?}")),
        None => Ok(()),
    }
}
