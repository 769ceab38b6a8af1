//! Planted deadlocks: each is told in the batch whose event closes it, with all who play in it.

use super::Checked;
use crate::workload::plant::{self, Kind, Plant, Stands};
use std::collections::{BTreeMap, BTreeSet};
use unknot_core::{
    CommitSeq, TaskId,
    deadlock::{Deadlock, Outcome},
    row::{Batch, HistoryEntry, HistoryKind, Key, Row},
};

/// All plants of a world.
#[derive(Clone, Debug, Default)]
pub(super) struct Plants {
    plants: Vec<Watched>,
}

/// A plant, and who stands where now.
#[derive(Clone, Debug)]
struct Watched {
    plant: Plant,
    standing: BTreeMap<String, TaskId>,
    is_shrunk: bool,
    /// Since the verdict was told, or while it is not closed: nothing is owed.
    owed_since: Option<CommitSeq>,
    was_closed: bool,
    /// Whether a verdict has named all of it and left it as it was: then it is not told again.
    is_left: bool,
    told: u64,
}

/// What of a brain's state at the close of a batch decides whether a plant is one.
#[derive(Clone, Debug, Default)]
pub(super) struct Moment {
    /// Whether the brain had more to do by itself.
    pub(super) is_busy: bool,
    /// Slots of all workers that have the handler.
    pub(super) handler_slots: u32,
    /// Who has one of these slots.
    pub(super) at_handlers: BTreeSet<TaskId>,
    /// Whose worker is not here: its lease runs out, or the worker comes again.
    pub(super) cut_off: BTreeSet<TaskId>,
    /// Who was deadlocked, if that was looked at.
    pub(super) dead: Option<BTreeSet<TaskId>>,
}

impl Plants {
    /// Of these plants.
    pub(super) fn new(plants: &[Plant]) -> Self {
        let watched = |plant: &Plant| Watched {
            plant: plant.clone(),
            standing: BTreeMap::new(),
            is_shrunk: false,
            owed_since: None,
            was_closed: false,
            is_left: false,
            told: 0,
        };
        Self { plants: plants.iter().map(watched).collect() }
    }

    /// How many of each kind were told of.
    pub(super) fn told(&self) -> impl Iterator<Item = (Kind, u64)> + '_ {
        self.plants.iter().map(|watched| (watched.plant.kind, watched.told))
    }

    /// Goes through a batch in its order.
    ///
    /// # Errors
    /// The plant that is closed and was not told of.
    pub(super) fn take(&mut self, batch: &Batch, moment: &Moment) -> Checked {
        let told: Vec<&Deadlock> = batch
            .changes
            .iter()
            .filter_map(|(_, row)| match row {
                Some(Row::Deadlock(deadlock)) => Some(&**deadlock),
                _ => None,
            })
            .collect();
        for (key, row) in &batch.changes {
            let (Key::Pool(name), Some(Row::Pool(pool))) = (key, row) else { continue };
            for watched in &mut self.plants {
                let own = watched.plant.pool.as_ref().is_some_and(|(own, _)| own == name);
                watched.is_shrunk |= own && watched.plant.shrinks.is_some_and(|(size, _)| pool.size <= size);
            }
        }
        for line in &batch.history {
            for watched in &mut self.plants {
                watched.see(line);
                watched.close(moment, batch.commit);
            }
        }
        for watched in &mut self.plants {
            // A pool that was made smaller has no line of its own.
            watched.close(moment, batch.commit);
            watched.settle(&told);
            watched.is_paid(batch, moment)?;
        }
        Ok(())
    }
}

impl Watched {
    fn see(&mut self, line: &HistoryEntry) {
        if line.event == HistoryKind::RunCancelling {
            return self.leave(|task| task.run == line.run);
        }
        let (Some(name), Some(index)) = (&line.name, line.task) else { return };
        if plant::number_of(name) != Some(self.plant.number) {
            return;
        }
        let task = line.run.task(index);
        let Some(stands) = self.plant.players.get(&**name) else { return };
        let begins = match (stands, line.event) {
            (Stands::Waits(wait), HistoryKind::WaitBegan) => line.detail.text("wait") == Some(wait),
            (Stands::Queued, HistoryKind::TaskQueued) => true,
            (Stands::Ended, HistoryKind::TaskCompleted | HistoryKind::TaskFailed) => true,
            _ => false,
        };
        let leaves = matches!(
            line.event,
            HistoryKind::WaitGranted
                | HistoryKind::WaitEnded
                | HistoryKind::TaskGranted
                | HistoryKind::TaskStopping
                | HistoryKind::TaskLost
                | HistoryKind::TaskCompleted
                | HistoryKind::TaskFailed
                | HistoryKind::TaskCancelled
                | HistoryKind::TaskRetrying
        );
        self.is_left &= !begins && !leaves;
        if begins {
            self.standing.insert(name.to_string(), task);
        } else if leaves && *stands != Stands::Ended {
            self.standing.remove(&**name);
        }
    }

    fn leave(&mut self, which: impl Fn(&TaskId) -> bool) {
        self.is_left &= !self.standing.values().any(&which);
        self.standing.retain(|_, task| !which(task));
    }

    /// If it is closed now and was not before, it is to be told of.
    fn close(&mut self, moment: &Moment, commit: CommitSeq) {
        let is_closed = self.is_closed(moment);
        let was_closed = std::mem::replace(&mut self.was_closed, is_closed);
        if is_closed && !was_closed && !self.is_left {
            self.owed_since = Some(commit);
        }
    }

    /// Whether all stand where they are meant to.
    fn is_closed(&self, moment: &Moment) -> bool {
        let all = self.plant.players.keys().all(|name| self.standing.contains_key(name));
        let is_shrunk = self.plant.shrinks.is_none() || self.is_shrunk;
        // A waiter whose lease is of a boot that is gone leaves a slot to a stranger, and then it is up to that one.
        let at_handler = |name: &String| self.standing.get(name).is_some_and(|task| moment.at_handlers.contains(task));
        let are_taken = || {
            let mut players = self.plant.players.iter();
            players.all(|(name, stands)| !matches!(stands, Stands::Waits(_)) || at_handler(name))
        };
        let has_slots = self.plant.slots.is_none_or(|slots| slots == moment.handler_slots && are_taken());
        let are_here = || self.standing.values().all(|task| !moment.cut_off.contains(task));
        all && is_shrunk && has_slots && are_here()
    }

    /// A verdict that names all who play in it.
    fn settle(&mut self, told: &[&Deadlock]) {
        let players = self.plant.players.iter().filter(|(_, stands)| **stands != Stands::Ended);
        let names: BTreeSet<&str> = players.map(|(name, _)| name.as_str()).collect();
        let is_it = |deadlock: &&&Deadlock| {
            let members: BTreeSet<&str> = deadlock.members.iter().map(|member| &*member.name).collect();
            names.is_subset(&members)
        };
        if self.owed_since.is_some()
            && let Some(deadlock) = told.iter().find(is_it)
        {
            self.is_left = deadlock.outcome == Outcome::Reported;
            self.owed_since = None;
            self.told += 1;
        }
    }

    /// Nothing is owed where the brain has done all that there was to do.
    fn is_paid(&mut self, batch: &Batch, moment: &Moment) -> Checked {
        let is_player = |line: &&HistoryEntry| {
            line.name.as_ref().is_some_and(|name| self.plant.players.contains_key(&**name))
                && line.event == HistoryKind::TaskStopping
                && line.detail.text("reason") == Some("deadlock")
        };
        match self.owed_since {
            Some(_) if !self.is_closed(moment) => {
                if let Some(line) = batch.history.iter().find(is_player) {
                    return Err(format!("a verdict on {:?} does not name all of it: {line:?}", self.plant.kind));
                }
                self.owed_since = None;
            }
            Some(since) if !moment.is_busy => {
                return Err(format!(
                    "the planted deadlock {:?} was closed in {since:?} and is not told of in {:?}: {:?}",
                    self.plant.kind, batch.commit, self.standing
                ));
            }
            _ => {}
        }
        Ok(())
    }
}
