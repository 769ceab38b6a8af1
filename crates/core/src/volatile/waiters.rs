//! Running attempts that wait: who is to be looked at when something comes.

use crate::{
    RunId, Seq, TaskId,
    run::{Awaited, Parked},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

/// A wait's place in the line for units.
pub(crate) type Place = (Seq, TaskId);

/// The waits of running attempts, by what they wait for.
#[derive(Clone, Debug, Default)]
pub struct Waiters {
    places: BTreeMap<TaskId, Seq>,
    /// For units of a pool, by how many are asked for.
    units: BTreeMap<String, BTreeMap<u32, BTreeSet<Place>>>,
    signals: BTreeMap<(RunId, Arc<str>), BTreeSet<TaskId>>,
    /// Pools that have more free units than before, each with the place up to which its line was asked.
    freed: BTreeMap<String, Option<Place>>,
    /// Those that may go on, whatever it is that came: the first first.
    due: BTreeSet<Place>,
}

impl Waiters {
    /// An attempt waits.
    pub(crate) fn add(&mut self, task: TaskId, parked: &Parked) {
        for (pool, units) in parked.on.units() {
            let line = self.units.entry(pool.to_owned()).or_default();
            line.entry(units).or_default().insert((parked.seq, task));
        }
        for name in signals(&parked.on) {
            self.signals.entry((task.run, name.into())).or_default().insert(task);
        }
        self.places.insert(task, parked.seq);
        self.due.insert((parked.seq, task));
    }

    /// It waits no more.
    pub(crate) fn remove(&mut self, task: TaskId, parked: &Parked) {
        for (pool, units) in parked.on.units() {
            let Some(line) = self.units.get_mut(pool) else { continue };
            if let Some(places) = line.get_mut(&units) {
                places.remove(&(parked.seq, task));
                if places.is_empty() {
                    line.remove(&units);
                }
            }
            if line.is_empty() {
                self.units.remove(pool);
                self.freed.remove(pool);
            } else {
                // Whoever stood behind it may go on.
                self.freed.insert(pool.to_owned(), None);
            }
        }
        for name in signals(&parked.on) {
            let key = (task.run, name.into());
            if let Some(tasks) = self.signals.get_mut(&key) {
                tasks.remove(&task);
                if tasks.is_empty() {
                    self.signals.remove(&key);
                }
            }
        }
        self.places.remove(&task);
        self.due.remove(&(parked.seq, task));
    }

    /// A pool may have more free units.
    pub(crate) fn freed(&mut self, pool: &str) {
        if self.units.contains_key(pool) {
            self.freed.insert(pool.to_owned(), None);
        }
    }

    /// A run was sent a signal.
    pub(crate) fn signalled(&mut self, run: RunId, name: &str) {
        for task in self.signals.get(&(run, name.into())).into_iter().flatten() {
            self.due.extend(self.places.get(task).map(|seq| (*seq, *task)));
        }
    }

    /// Whether an attempt waits for a signal to its run.
    pub(crate) fn awaits_signal(&self, run: RunId, name: &str) -> bool {
        self.signals.contains_key(&(run, name.into()))
    }

    /// Whether an attempt waits for units of a pool.
    pub(crate) fn awaits_units(&self, pool: &str) -> bool {
        self.units.contains_key(pool)
    }

    /// Something else came that a task's attempt may wait for.
    pub(crate) fn look_at(&mut self, task: TaskId) {
        self.due.extend(self.places.get(&task).map(|seq| (*seq, task)));
    }

    /// Something came that the attempts of a run may wait for.
    pub(crate) fn look_at_run(&mut self, run: RunId) {
        let of_run = run.all_tasks();
        self.due.extend(self.places.range(of_run).map(|(task, seq)| (*seq, *task)));
    }

    /// A pool may serve others than before.
    pub(crate) fn look_at_line(&mut self, pool: &str) {
        self.due.extend(self.units.get(pool).into_iter().flat_map(BTreeMap::values).flatten());
    }

    /// Those that are still to be looked at, whatever it is that came.
    pub(crate) fn due(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.due.iter().map(|(_, task)| *task)
    }

    /// The next to be looked at; `free` says how many units of a pool there are. Whoever is given is not given again
    /// before something comes.
    pub(crate) fn next(&mut self, free: impl Fn(&str) -> u32) -> Option<TaskId> {
        if let Some((_, task)) = self.due.pop_first() {
            return Some(task);
        }
        while let Some(mut first) = self.freed.first_entry() {
            let after = *first.get();
            let next = self.units.get(first.key()).and_then(|line| first_within(line, after, free(first.key())));
            match next {
                Some(place) => {
                    *first.get_mut() = Some(place);
                    return Some(place.1);
                }
                None => {
                    first.remove();
                }
            }
        }
        None
    }

    /// Whether somebody is still to be looked at.
    pub(crate) fn is_due(&self) -> bool {
        !self.due.is_empty() || !self.freed.is_empty()
    }

    /// Whether an attempt waits for more units of a pool than are free, and came before that place; none: whenever. Who
    /// asks for more than there are at all, as after a pool was made smaller, holds up nobody.
    pub(crate) fn is_claimed(&self, pool: &str, free: u32, size: u32, before: Option<Seq>) -> bool {
        let Some(line) = self.units.get(pool) else { return false };
        let larger = (free < size).then(|| line.range(free + 1..=size)).into_iter().flatten();
        larger.filter_map(|(_, places)| places.first()).any(|(seq, _)| before.is_none_or(|before| *seq < before))
    }

    /// Who waits for units of a pool, the first first.
    pub(crate) fn line(&self, pool: &str) -> BTreeSet<Place> {
        self.units.get(pool).into_iter().flat_map(BTreeMap::values).flatten().copied().collect()
    }

    /// What the index says, without what is only to be done.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.places == other.places && self.units == other.units && self.signals == other.signals
    }
}

/// The first place behind `after` of those who ask for no more than is free.
fn first_within(line: &BTreeMap<u32, BTreeSet<Place>>, after: Option<Place>, free: u32) -> Option<Place> {
    let from = after.map_or(Unbounded, Excluded);
    line.range(..=free).filter_map(|(_, places)| places.range((from, Unbounded)).next()).min().copied()
}

fn signals(on: &Awaited) -> impl Iterator<Item = &str> {
    on.terms().into_iter().filter_map(|term| match term {
        Awaited::Signal { name, .. } => Some(name.as_str()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Timestamp, run::AtDeadline};

    fn parked(seq: u64, pool: &str, units: u32) -> Parked {
        let on = Awaited::all(vec![Awaited::Units { pool: pool.into(), units }]);
        let (since, deadline) = (Timestamp(0), Timestamp(9));
        Parked {
            name: "w".into(),
            on,
            seq: Seq(seq),
            since,
            deadline,
            timer: None,
            then: AtDeadline::GiveUp,
            over: None,
        }
    }

    #[test]
    fn a_line_is_asked_in_order_and_only_those_who_fit() {
        let [big, small, last] = [1, 2, 3].map(|chance| RunId::from_parts(1, chance).task(crate::TaskIndex(0)));
        let mut waiters = Waiters::default();
        waiters.add(big, &parked(1, "gpu", 3));
        waiters.add(small, &parked(2, "gpu", 1));
        waiters.add(last, &parked(3, "gpu", 1));
        let mut next = |free: u32| waiters.next(|_| free);
        assert_eq!([next(0), next(0), next(0), next(0)], [Some(big), Some(small), Some(last), None]);
        waiters.freed("gpu");
        assert_eq!([1, 1, 1].map(|free| waiters.next(|_| free)), [Some(small), Some(last), None]);
        assert!(waiters.is_claimed("gpu", 2, 3, Some(Seq(2))) && !waiters.is_claimed("gpu", 3, 3, None));
        assert!(!waiters.is_claimed("gpu", 1, 2, None), "nobody can have 3 of 2");
        waiters.remove(big, &parked(1, "gpu", 3));
        assert!(waiters.is_due() && !waiters.is_claimed("gpu", 2, 3, None), "those behind it are asked again");
    }
}
