//! One sentence about what a task waits for.

use super::{obstacle::Obstacle, parked};
use crate::{
    AttemptId, State, TaskId, TaskIndex, Timestamp,
    deadline::{Deadline, HEARTBEAT_TIMEOUT_DEFAULT, heartbeat_deadline},
    run::{Lease, OnExpiry, Phase, Run, Task, WaitOn},
    workflow::{Definition, Need, TaskDef, TaskKind, Until, When},
};

/// Names that a sentence lists before it only counts.
pub(super) const NAMES_MAX: usize = 3;

/// What a task waits for, since when, until when, and what then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// What it waits for, to be read after the task's name: `waits for …`.
    pub sentence: String,
    /// Since when.
    pub since: Timestamp,
    /// Its bound; none for a frozen run, which only a forced cancellation moves.
    pub bound: Option<Bound>,
}

/// The end of a wait that nothing else ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// When.
    pub at: Timestamp,
    /// What happens then, to be read after `then`.
    pub then: &'static str,
}

/// Says what an unfinished task waits for; nothing for one that has ended.
pub fn describe(state: &State, id: TaskId) -> Option<Described> {
    let run = state.runs.get(&id.run)?;
    let task = state.task(id)?;
    let definition = &state.definitions[&run.definition];
    let described = match &task.phase {
        Phase::Ended(_) => return None,
        Phase::Waiting(wait) => {
            let sentence = match wait.on {
                WaitOn::Needs => needs(run, definition, id.index),
                WaitOn::Grant => Obstacle::of(state, run, definition, id).sentence(state),
                WaitOn::Backoff => backoff(task),
                WaitOn::Sleep => "sleeps".to_owned(),
                WaitOn::Signal => match definition.task(id.index).kind.awaits() {
                    Some((name, from)) => {
                        format!("waits for {}", parked::signal(run, definition, name, from))
                    }
                    None => "waits for a signal".to_owned(),
                },
                WaitOn::Confirmation => confirmation(task),
                WaitOn::Decision => "waits for somebody to decide: how its last attempt ended is unknown".to_owned(),
            };
            let then = match wait.on_expiry {
                OnExpiry::RunTimesOut => "the run times out",
                OnExpiry::FailTask => "the task fails",
                OnExpiry::Requeue => "it is queued again",
                OnExpiry::Complete => "it is done",
            };
            Described { sentence, since: wait.since, bound: Some(Bound { at: wait.deadline, then }) }
        }
        Phase::Leased(lease) => match (&lease.stopping, &lease.parked) {
            (None, Some(wait)) => parked::describe(state, run, id, lease, wait),
            (None, None) => Described {
                sentence: match (lease.started_at, lease.prefetched) {
                    _ if lease.worker.is_brain() => "begins its runs".to_owned(),
                    (Some(_), _) => performed(state, id.attempt(task.attempts), lease, definition.task(id.index)),
                    (None, false) => format!("waits for worker `{}` to start it", lease.worker.name),
                    (None, true) => {
                        format!("waits for a slot of worker `{}`, which has fetched it ahead", lease.worker.name)
                    }
                },
                since: lease.started_at.unwrap_or(lease.granted_at),
                bound: Some(Bound { at: lease.deadline, then: "it is stopped" }),
            },
            (Some(stopping), _) => Described {
                sentence: match lease.worker.is_brain() {
                    true => "waits for its runs to end, which are cancelled".to_owned(),
                    false => format!("waits for worker `{}` to stop it", lease.worker.name),
                },
                since: stopping.since,
                bound: Some(Bound { at: stopping.fenced_at, then: "it is given up" }),
            },
        },
    };
    Some(match &run.poisoned {
        None => described,
        Some(error) => Described {
            sentence: format!("is frozen with its run until that is cancelled by force: {error}"),
            since: described.since,
            bound: None,
        },
    })
}

/// Who performs an attempt, and what is heard of it.
fn performed(state: &State, attempt: AttemptId, lease: &Lease, def: &TaskDef) -> String {
    let name = &lease.worker.name;
    let by = match &def.kind {
        // The rest of the address may be a secret.
        TaskKind::Http(http) => match http.server() {
            Some(server) => format!("waits for the answer of `{server}` to its request, sent by worker `{name}`"),
            None => format!("waits for the answer to its request, sent by worker `{name}`"),
        },
        _ => format!("is performed by worker `{name}`"),
    };
    let Some(stored) = lease.expires_at else { return by };
    let volatile = &state.volatile;
    if !volatile.workers.contains_key(&lease.worker) {
        let until = volatile.moment_of(Deadline::LeaseExpiry(attempt), stored).calendar();
        return format!("was performed by worker `{name}`, which is not here: it is given to another one at {until}");
    }
    let bound = def.heartbeat_timeout.unwrap_or(HEARTBEAT_TIMEOUT_DEFAULT);
    let silent_at = heartbeat_deadline(lease, def).map(|at| volatile.moment_of(Deadline::Heartbeat(attempt), at));
    match silent_at.filter(|at| at.minus(bound) > lease.started_at.unwrap_or(lease.granted_at)) {
        Some(at) => format!("{by}, last heard of at {}", at.minus(bound).calendar()),
        None => by,
    }
}

/// The tasks whose ends a task waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenNeeds<'d> {
    /// The names of those that have not ended, in the order of its `needs`.
    pub names: Vec<&'d str>,
    /// How many of them have still to end as it needs them to.
    pub missing: usize,
    /// How.
    pub until: Awaited,
}

/// Which end of others is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// A good one.
    Success,
    /// Any.
    End,
    /// A failure: it is their fallback.
    Failure,
}

impl Awaited {
    /// A word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::End => "end",
            Self::Failure => "failure",
        }
    }
}

/// What a task whose wait is for its needs still waits for: `met` of them are met, and `has_ended` tells of the other
/// tasks of its run. Looks at each need once.
pub fn open_needs<'d>(
    definition: &'d Definition,
    index: TaskIndex,
    met: u32,
    has_ended: impl Fn(TaskIndex) -> bool,
) -> OpenNeeds<'d> {
    let def = definition.task(index);
    let name = |index: TaskIndex| definition.task(index).name.as_ref();
    let missing = def.needs.at_least.saturating_sub(met) as usize;
    if missing == 0 && def.when == When::Fallback {
        let primaries = definition.primaries.get(&index).into_iter().flatten().copied();
        let names: Vec<&str> = primaries.filter(|primary| !has_ended(*primary)).map(name).collect();
        return OpenNeeds { missing: names.len().min(1), names, until: Awaited::Failure };
    }
    let open: Vec<&Need> = def.needs.of.iter().filter(|need| !has_ended(need.task)).collect();
    let is_any_end = open.iter().all(|need| need.until == Until::Finished);
    let until = if is_any_end { Awaited::End } else { Awaited::Success };
    OpenNeeds { names: open.iter().map(|need| name(need.task)).collect(), missing, until }
}

fn needs(run: &Run, definition: &Definition, index: TaskIndex) -> String {
    if !run.started {
        return "waits for the start of its run".to_owned();
    }
    let has_ended = |other: TaskIndex| run.task(other).end().is_some();
    let OpenNeeds { names, missing, until } = open_needs(definition, index, run.task(index).met, has_ended);
    let verb = match until {
        Awaited::Success => "succeed",
        Awaited::End => "end",
        Awaited::Failure => return format!("stands by in case {} fails", listed(&names, "or")),
    };
    match (missing, names.len()) {
        (0, _) => "goes on in the next step".to_owned(),
        (missing, open) if missing == open => format!("waits for {} to {verb}", listed(&names, "and")),
        (1, _) => format!("waits for {} to {verb}", listed(&names, "or")),
        (missing, _) => format!("waits for {missing} of {} to {verb}", listed(&names, "and")),
    }
}

/// `a`, `b` and `c`; `a`, `b`, `c` and 7 more.
pub(super) fn listed(names: &[&str], word: &str) -> String {
    let quoted: Vec<String> = names.iter().take(NAMES_MAX).map(|name| format!("`{name}`")).collect();
    match (names.len().saturating_sub(NAMES_MAX), quoted.split_last()) {
        (_, None) => "nothing".to_owned(),
        (0, Some((last, []))) => last.clone(),
        (0, Some((last, rest))) => format!("{} {word} {last}", rest.join(", ")),
        (more, Some(_)) => format!("{} {word} {more} more", quoted.join(", ")),
    }
}

fn backoff(task: &Task) -> String {
    let next = task.attempts + 1;
    match &task.error {
        Some(error) => format!("waits before try {next} ({}: {})", error.reason, error.message),
        None => format!("waits before try {next}"),
    }
}

fn confirmation(task: &Task) -> String {
    let worker =
        task.suspect.as_ref().map_or_else(String::new, |suspect| format!(" on worker `{}`", suspect.worker.name));
    format!("waits for word that try {}{worker} is gone, which may still be alive", task.attempts)
}
