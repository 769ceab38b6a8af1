//! Who holds units of pools, and who waits for some: told to people.

use crate::{Seq, State, TaskId, Timestamp, run::Task, settings::Pool};
use std::collections::BTreeMap;

/// A pool or lock at one look.
#[derive(Clone, Debug, PartialEq)]
pub struct AtPool {
    /// As it is stored.
    pub pool: Pool,
    /// Units that attempts hold. What an ancestor lends is held by that alone.
    pub held: u32,
    /// Who holds some, the longest first; cut.
    pub holders: Vec<Share>,
    /// Who waits for some, the first first; cut.
    pub waiters: Vec<Share>,
    /// How many wait for some.
    pub waiting: u64,
}

/// What somebody holds of a pool, or waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Whose task.
    pub task: TaskId,
    /// Its newest attempt; 0: it was not tried yet.
    pub attempt: u32,
    /// The task's name.
    pub name: String,
    /// The name of its workflow.
    pub workflow: String,
    /// How many units.
    pub units: u32,
    /// Since when: of a holder, since its attempt was granted.
    pub since: Timestamp,
}

/// Looks at all pools, or at one; names at most so many of those who hold and wait at each.
///
/// It looks at all leases, and at the beginning of each line of the queues.
pub fn at_pools(state: &State, only: Option<&str>, most: usize) -> BTreeMap<String, AtPool> {
    let asked = state.pools.iter().filter(|(name, _)| only.is_none_or(|only| only == *name));
    let mut looks: BTreeMap<&str, Look> = asked.map(|(name, _)| (name.as_str(), Look::default())).collect();
    for id in state.volatile.leases.values().flatten() {
        let Some(lease) = state.task(*id).and_then(Task::lease) else { continue };
        for (pool, units) in &lease.holds {
            if let Some(look) = looks.get_mut(pool.as_str()) {
                look.holders.extend(share(state, *id, *units, lease.granted_at));
            }
        }
        let Some(parked) = &lease.parked else { continue };
        for (pool, units) in parked.on.units() {
            if let Some(look) = looks.get_mut(pool) {
                look.waiting += 1;
                look.line.extend(share(state, *id, units, parked.since).map(|share| (parked.seq, share)));
            }
        }
    }
    for (request, line) in state.volatile.ready.lines() {
        for (pool, units) in &request.demand.resources {
            let Some(look) = looks.get_mut(pool.as_str()) else { continue };
            look.waiting += line.len() as u64;
            let first = line.iter().take(most);
            look.line.extend(first.filter_map(|(seq, (id, since))| Some((*seq, share(state, *id, *units, *since)?))));
        }
    }
    looks.into_iter().map(|(name, look)| (name.to_owned(), look.end(state, name, most))).collect()
}

/// What was seen of a pool so far.
#[derive(Default)]
struct Look {
    holders: Vec<Share>,
    line: Vec<(Seq, Share)>,
    waiting: u64,
}

impl Look {
    fn end(mut self, state: &State, name: &str, most: usize) -> AtPool {
        self.holders.sort_by_key(|share| (share.since, share.task));
        self.holders.truncate(most);
        self.line.sort_by_key(|(seq, _)| *seq);
        AtPool {
            pool: state.pools[name].clone(),
            held: state.volatile.held.get(name).copied().unwrap_or_default(),
            holders: self.holders,
            waiters: self.line.into_iter().map(|(_, share)| share).take(most).collect(),
            waiting: self.waiting,
        }
    }
}

fn share(state: &State, task: TaskId, units: u32, since: Timestamp) -> Option<Share> {
    let run = state.runs.get(&task.run)?;
    let name = state.definitions[&run.definition].task(task.index).name.to_string();
    let attempt = run.task(task.index).attempts;
    Some(Share { task, attempt, name, workflow: run.workflow.to_string(), units, since })
}
