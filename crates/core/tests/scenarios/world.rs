//! A small world around the brain: virtual time, and rows kept exactly as a store would keep them.
//!
//! After every event all rules of the core are checked, and the rows are loaded (through JSON) and
//! compared with the state in memory.

use crate::coverage::Coverage;
use std::collections::BTreeMap;
use unknot_core::{
    CommitSeq, Decision, Millis, State, Timestamp, apply, check,
    event::{Envelope, Event, Findings},
    monitor::{self, Look},
    row::{Key, Loaded, Meta, Row},
    settings::{Bounds, Settings},
    wait,
};

/// When every story begins.
pub(crate) const BEGIN: Timestamp = Timestamp(1_700_000_000_000);
/// Chance that moves no pause: the middle of what jitter draws from.
pub(crate) const EVEN_CHANCE: u64 = 1 << 63;
/// Unfinished tasks and alerts up to which everything is checked after every single event.
const CHECK_EACH_MAX: usize = 64;
/// Above that, everything is checked after so many events.
const CHECK_EVERY: u64 = 500;

/// One namespace, its clock and its store.
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) now: Timestamp,
    pub(crate) chance: u64,
    pub(crate) settings: Settings,
    /// Everything that was ever written and not deleted.
    pub(crate) rows: BTreeMap<Key, Row>,
    /// Most row changes of a single event so far.
    pub(crate) changes_max: usize,
    pub(crate) coverage: Coverage,
    meta: Meta,
    commit: CommitSeq,
    events: u64,
}

impl Default for World {
    fn default() -> Self {
        let mut state = State::load(Loaded::default(), Bounds::default()).expect("an empty store loads");
        state.meta.high_water = BEGIN;
        Self {
            meta: state.meta,
            state,
            now: BEGIN,
            chance: EVEN_CHANCE,
            settings: Settings::default(),
            rows: BTreeMap::new(),
            changes_max: 0,
            coverage: Coverage::default(),
            commit: CommitSeq::default(),
            events: 0,
        }
    }
}

impl World {
    /// Applies one event as a commit of its own, and checks everything.
    pub(crate) fn apply(&mut self, event: Event) -> Decision {
        let before = self.coverage.before(&self.state, &event);
        let commit = CommitSeq(self.commit.0 + 1);
        let envelope = Envelope { at: self.now, entropy: self.chance, commit, event };
        let decision = apply(&mut self.state, &envelope);
        self.coverage.after(before, &self.state, &decision);
        self.keep(commit, &decision);
        self.events += 1;
        let many = self.state.live_tasks() as usize + self.state.alerts.len();
        if many <= CHECK_EACH_MAX || self.events.is_multiple_of(CHECK_EVERY) {
            self.check();
        }
        decision
    }

    /// What the state itself asks for now, in the driver's order.
    pub(crate) fn due(&self) -> Option<Event> {
        let passed = self.state.volatile.deadlines.first().filter(|(at, _)| *at <= self.now);
        if let Some((_, deadline)) = passed {
            return Some(Event::DeadlinePassed(*deadline));
        }
        if let Some(seq) = self.state.continuations.keys().next() {
            return Some(Event::ContinuationDue(*seq));
        }
        self.state.volatile.grants_due.then_some(Event::GrantsDue)
    }

    /// The next moment that the state waits for, if it comes before `end`.
    pub(crate) fn next_moment(&self, end: Timestamp) -> Option<Timestamp> {
        self.state.volatile.deadlines.first().map(|(at, _)| *at).filter(|at| *at <= end)
    }

    /// Drops the memory and loads what the store has.
    pub(crate) fn reload(&mut self) {
        self.state = State::load(self.loaded(), self.settings.bounds).expect("stored rows load");
        self.check();
    }

    /// Asserts every rule of the core, and that the rows describe the state.
    pub(crate) fn check(&self) {
        check::whole(&self.state);
        check::loads_equal(&self.state, self.loaded());
        // What the live graph calls dead was held against a full reduction above.
        if !self.asks_too_much() && self.state.volatile.graph.deadlocked().next().is_none() {
            let verdict = wait::reduce(&wait::snapshot(&self.state, self.now));
            assert!(verdict.deadlocked.is_empty(), "what the brain allows can always move: {verdict:?}");
        }
    }

    /// Whether a task asks for more than a pool has since the pool was made smaller: that is dead indeed.
    fn asks_too_much(&self) -> bool {
        let definitions = self.state.definitions.values();
        let mut asked = definitions.flat_map(|definition| &definition.body.tasks).flat_map(|task| &task.resources);
        asked.any(|(name, units)| self.state.pools.get(name).is_some_and(|pool| pool.size < *units))
    }

    /// Writes a decision's rows as one transaction.
    fn keep(&mut self, commit: CommitSeq, decision: &Decision) {
        if decision.is_volatile() {
            let kept = Meta { high_water: self.meta.high_water, ..self.state.meta };
            assert_eq!(kept, self.meta, "a counter moved and nothing is written");
            self.meta = self.state.meta;
            return;
        }
        let mut changes: BTreeMap<Key, Option<Row>> = BTreeMap::new();
        for key in &decision.touched {
            changes.insert(key.clone(), self.state.row(key));
        }
        changes.extend(decision.written.iter().cloned());
        self.changes_max = self.changes_max.max(changes.len());
        for (key, row) in changes {
            match row {
                Some(row) => self.rows.insert(key, through_json(&row)),
                None => self.rows.remove(&key),
            };
        }
        self.meta = self.state.meta;
        self.commit = commit;
    }

    /// What the monitor sees, and what it would tell; it watches since the story's begin.
    pub(crate) fn look(&self) -> (Look, Findings) {
        let verdicts = || {
            self.rows.values().filter_map(|row| match row {
                Row::Deadlock(verdict) => Some(&**verdict),
                _ => None,
            })
        };
        let open: Vec<_> = verdicts().filter(|verdict| verdict.ended_at.is_none()).cloned().collect();
        let graph = wait::snapshot(&self.state, self.now);
        let watched = wait::Watched { now: self.now, since: BEGIN };
        let seen = monitor::look(&self.state, &graph, &wait::reduce(&graph), &open, watched);
        let over = open.into_iter().filter(|open| seen.over.contains(&open.seq)).collect();
        let findings = Findings { found: seen.found.clone(), over, calm: seen.calm.clone() };
        (seen, findings)
    }

    /// What a store's `load` returns: of runs that ended, nothing.
    pub(crate) fn loaded(&self) -> Loaded {
        let live = |key: &Key, row: &Row| match (key, row) {
            (Key::Finished(_) | Key::DeadLetter(_) | Key::Quarantine(_) | Key::Deadlock(_), _) => false,
            (Key::Task(id), _) => self.rows.contains_key(&Key::Run(id.run)),
            (Key::Definition(hash), _) => self
                .rows
                .values()
                .any(|row| matches!(row, Row::Run(run) if run.definitions().any(|named| named == hash))),
            _ => true,
        };
        let rows = self.rows.iter().filter(|(key, row)| live(key, row));
        Loaded {
            commit: self.commit,
            meta: self.meta,
            rows: rows.map(|(key, row)| (key.clone(), row.clone())).collect(),
        }
    }

    /// How long the story has gone on.
    pub(crate) fn elapsed(&self, at: Timestamp) -> Millis {
        at.since(BEGIN)
    }
}

/// What a row is after it was written as JSON and read back.
fn through_json(row: &Row) -> Row {
    fn again<T: serde::Serialize + serde::de::DeserializeOwned>(content: &T) -> T {
        let text = serde_json::to_string(content).expect("a row can be written as JSON");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("a row can not be read back: {error}: {text}"))
    }
    match row {
        Row::Definition(content) => Row::Definition(again(content)),
        Row::Run(content) => Row::Run(again(content)),
        Row::Task(content) => Row::Task(again(content)),
        Row::Finished(content) => Row::Finished(again(content)),
        Row::Pool(content) => Row::Pool(again(content)),
        Row::Queue(content) => Row::Queue(again(content)),
        Row::PausedWorkflow(content) => Row::PausedWorkflow(again(content)),
        Row::Continuation(content) => Row::Continuation(again(content)),
        Row::DeadLetter(content) => Row::DeadLetter(again(content)),
        Row::Workflow(content) => Row::Workflow(again(content)),
        Row::Quarantine(content) => Row::Quarantine(again(content)),
        Row::Child(content) => Row::Child(again(content)),
        Row::Deadlock(content) => Row::Deadlock(again(content)),
        Row::Alert(content) => Row::Alert(again(content)),
    }
}
