//! Proof of progress: what the brain's thread leaves behind at every turn, readable by anybody without
//! asking it.

use crate::{driver::Blocked, overview::Overview};
use serde_json::{Map, Value, json};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};
use unknot_core::Timestamp;

/// Written by the brain's thread, except where something else is said.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    turns: AtomicU64,
    last_turn: AtomicU64,
    durable: AtomicU64,
    backlog: AtomicU64,
    blocked: Mutex<Option<Blocked>>,
    fatal: Mutex<Option<String>>,
    overview: Mutex<Arc<Overview>>,
    /// Zero: the brain is not late. Written by the watcher.
    late_since: AtomicU64,
    parts: [Activity; Part::ALL.len()],
}

/// A part of the engine that says what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The brain's thread.
    Brain,
    /// The store's thread.
    Store,
    /// Pruning and checkpoints.
    Upkeep,
}

impl Part {
    const ALL: [Self; 3] = [Self::Brain, Self::Store, Self::Upkeep];

    fn name(self) -> &'static str {
        match self {
            Self::Brain => "brain",
            Self::Store => "store",
            Self::Upkeep => "upkeep",
        }
    }
}

/// What a part does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// It waits for something to do.
    Waiting,
    /// The brain applies events.
    Deciding,
    /// The brain hands out what it decided.
    Telling,
    /// The store makes a batch durable.
    Committing,
    /// The store finds out which commit is the newest.
    Resolving,
    /// The store reads all rows.
    Loading,
    /// The upkeep prunes or checkpoints.
    Maintaining,
}

impl Doing {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Waiting, "waiting"),
        (Self::Deciding, "deciding"),
        (Self::Telling, "telling"),
        (Self::Committing, "committing"),
        (Self::Resolving, "resolving"),
        (Self::Loading, "loading"),
        (Self::Maintaining, "maintaining"),
    ];
}

/// What one part does, and since when.
#[derive(Debug, Default)]
struct Activity {
    doing: AtomicUsize,
    since: AtomicU64,
}

/// A copy for whoever looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Turns so far.
    pub turns: u64,
    /// When the last one ended.
    pub last_turn: Timestamp,
    /// Since when the brain is late: the end of its last turn, while the next one does not come.
    pub late_since: Option<Timestamp>,
    /// The newest durable commit.
    pub durable: u64,
    /// Events that wait to be applied.
    pub backlog: u64,
    /// Since when the store owes an answer.
    pub store_asked_at: Option<Timestamp>,
    /// Why nothing can be committed, if so.
    pub blocked: Option<Blocked>,
    /// Why the brain stopped for good, if it did.
    pub fatal: Option<String>,
}

impl Progress {
    pub(crate) fn turned(&self, now: Timestamp, durable: u64, backlog: usize, blocked: Option<&Blocked>) {
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.last_turn.store(now.0, Ordering::Relaxed);
        self.durable.store(durable, Ordering::Relaxed);
        self.backlog.store(backlog as u64, Ordering::Relaxed);
        let mut known = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref() != blocked {
            *known = blocked.cloned();
        }
    }

    pub(crate) fn stopped(&self, cause: String) {
        *self.fatal.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause);
    }

    /// Leaves a look at the whole behind.
    pub(crate) fn seen(&self, overview: Overview) {
        *self.overview.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(overview);
    }

    /// The last look at the whole.
    pub(crate) fn overview(&self) -> Arc<Overview> {
        Arc::clone(&self.overview.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The watcher's verdict.
    pub(crate) fn late_since(&self, since: Option<Timestamp>) {
        self.late_since.store(since.map_or(0, |since| since.0), Ordering::Relaxed);
    }

    /// A part begins to do something else.
    pub(crate) fn does(&self, part: Part, doing: Doing, now: Timestamp) {
        let activity = &self.parts[part as usize];
        activity.doing.store(doing as usize, Ordering::Relaxed);
        activity.since.store(now.0, Ordering::Relaxed);
    }

    /// Since when a part is at what it does; none if it waits for something to do.
    fn since_when(&self, part: Part) -> Option<Timestamp> {
        let activity = &self.parts[part as usize];
        let is_busy = activity.doing.load(Ordering::Relaxed) != Doing::Waiting as usize;
        is_busy.then(|| Timestamp(activity.since.load(Ordering::Relaxed)))
    }

    /// Everything that is known now, for people.
    pub(crate) fn status(&self, now: Timestamp) -> Value {
        let health = self.health();
        let parts = Part::ALL.into_iter().map(|part| {
            let activity = &self.parts[part as usize];
            let (_, doing) = Doing::ALL[activity.doing.load(Ordering::Relaxed)];
            (part.name().to_owned(), json!({"doing": doing, "since": activity.since.load(Ordering::Relaxed)}))
        });
        json!({
            "pid": std::process::id(),
            "at": now,
            "turns": health.turns,
            "last_turn": health.last_turn,
            "late_since": health.late_since,
            "commit": health.durable,
            "backlog": health.backlog,
            "blocked": health.blocked.map(|blocked| json!({"since": blocked.since, "cause": blocked.cause})),
            "stopped": health.fatal,
            "parts": parts.collect::<Map<String, Value>>(),
        })
    }

    /// Whether something said that nothing goes on any more.
    pub(crate) fn has_stopped(&self) -> bool {
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// What is known now.
    pub(crate) fn health(&self) -> Health {
        Health {
            turns: self.turns.load(Ordering::Relaxed),
            last_turn: Timestamp(self.last_turn.load(Ordering::Relaxed)),
            late_since: Some(Timestamp(self.late_since.load(Ordering::Relaxed))).filter(|since| since.0 > 0),
            durable: self.durable.load(Ordering::Relaxed),
            backlog: self.backlog.load(Ordering::Relaxed),
            store_asked_at: self.since_when(Part::Store),
            blocked: self.blocked.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            fatal: self.fatal.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
