//! Every bound of a workflow, those that its file sets and those that follow from others.

use crate::output::{count, thousands};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use unknot_api::work::{HttpTimeouts, HttpWork};
use unknot_engine::core::{
    Millis,
    deadline::{ATTEMPT_TIMEOUT_DEFAULT, HEARTBEAT_TIMEOUT_DEFAULT, reserve},
    run::Lease,
    settings::Settings,
    validate::RUN_TIMEOUT,
    workflow::{Backoff, Definition, HttpRules, Ladder, OnLost, TaskDef, TaskKind},
};

/// Values of one bound that are told apart; the rest is counted.
const VALUES_MAX: usize = 4;

/// One bound, with its values and how many tasks have each.
#[derive(Debug)]
pub(super) struct Bound {
    /// What is bounded.
    pub(super) name: &'static str,
    values: BTreeMap<String, Share>,
}

/// The tasks that share a value.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    tasks: u64,
    /// How many of them do not say so themselves.
    derived: u64,
}

impl Bound {
    fn of<'t>(
        name: &'static str,
        tasks: impl Iterator<Item = &'t TaskDef>,
        value: impl Fn(&TaskDef) -> (String, bool),
    ) -> Self {
        let mut values: BTreeMap<String, Share> = BTreeMap::new();
        for task in tasks {
            let (value, is_derived) = value(task);
            let share = values.entry(value).or_default();
            share.tasks += 1;
            share.derived += u64::from(is_derived);
        }
        Self { name, values }
    }

    fn whole(name: &'static str, value: String, is_derived: bool) -> Self {
        Self { name, values: [(value, Share { tasks: 0, derived: u64::from(is_derived) })].into() }
    }

    /// `30s (6 tasks), 1h (1 task, default)`.
    pub(super) fn said(&self) -> String {
        let mut shares: Vec<(&String, &Share)> = self.values.iter().collect();
        shares.sort_by_key(|(_, share)| std::cmp::Reverse(share.tasks));
        let is_only = shares.len() == 1;
        let said = |(value, share): &(&String, &Share)| {
            let default =
                if share.derived > 0 && share.derived >= share.tasks { Some("default".to_owned()) } else { None };
            let tasks = (!is_only).then(|| count(share.tasks, "task"));
            let notes: Vec<String> = tasks.into_iter().chain(default).collect();
            if notes.is_empty() { (*value).clone() } else { format!("{value} ({})", notes.join(", ")) }
        };
        let mut parts: Vec<String> = shares.iter().take(VALUES_MAX).map(said).collect();
        if shares.len() > VALUES_MAX {
            parts.push(format!("and {} other values", thousands((shares.len() - VALUES_MAX) as u64)));
        }
        parts.join(", ")
    }

    /// For programs: each value with its tasks.
    pub(super) fn as_json(&self) -> Value {
        let share = |(value, share): (&String, &Share)| json!({"value": value, "tasks": share.tasks, "default": share.derived > 0 && share.derived >= share.tasks});
        self.values.iter().map(share).collect()
    }
}

/// All bounds, the outermost first.
pub(super) fn bounds(definition: &Definition, settings: &Settings) -> Vec<Bound> {
    let run = definition.body.timeout;
    let tasks = || definition.body.tasks.iter();
    let attempts = || {
        tasks().filter(|task| !matches!(task.kind, TaskKind::Sleep(_) | TaskKind::Signal(_) | TaskKind::Workflow(_)))
    };
    // A request has clocks of its own instead of a longest silence, and stops at once.
    let processes = || attempts().filter(|task| !matches!(task.kind, TaskKind::Http(_)));
    let mut bounds = vec![
        Bound::whole("run", run.to_string(), run == RUN_TIMEOUT),
        Bound::whole(
            "at once",
            definition.body.max_parallel.map_or("as many as the worker has slots".to_owned(), |most| most.to_string()),
            definition.body.max_parallel.is_none(),
        ),
    ];
    if attempts().next().is_some() {
        bounds.extend([
            Bound::of("attempt", attempts(), |task| attempt(task, run)),
            Bound::of("in a queue", attempts(), |task| match task.queue_timeout {
                Some(limit) => (limit.to_string(), false),
                None => ("what the run has left".to_owned(), true),
            }),
        ]);
        if processes().next().is_some() {
            bounds.push(Bound::of("silence", processes(), |task| match (task.heartbeat_timeout, &task.kind) {
                (Some(limit), _) => (limit.to_string(), false),
                (None, TaskKind::Worker(_)) => (HEARTBEAT_TIMEOUT_DEFAULT.to_string(), true),
                (None, _) => ("not bounded".to_owned(), true),
            }));
        }
        bounds.push(Bound::of("tries", attempts(), |task| tries(task, settings)));
        if attempts().any(|task| tries(task, settings).0 != "1") {
            let retried = attempts().filter(|task| tries(task, settings).0 != "1");
            bounds.push(Bound::of("pauses", retried, pauses));
        }
        bounds.push(Bound::of("if lost", attempts(), |task| {
            let word = match task.on_lost {
                OnLost::Retry => "tried again",
                OnLost::Fail => "failed",
                OnLost::Hold => "held for a person",
            };
            (word.to_owned(), task.on_lost == OnLost::default())
        }));
        if processes().next().is_some() {
            bounds.push(Bound::of("stopping", processes(), |task| ladder(&task.cancel)));
        }
    }
    if tasks().any(|task| matches!(task.kind, TaskKind::Http(_))) {
        let requests = || tasks().filter(|task| matches!(task.kind, TaskKind::Http(_)));
        bounds.push(Bound::of("request", requests(), |task| of_request(task, clocks)));
        bounds.push(Bound::of("answer", requests(), |task| of_request(task, answer)));
    }
    if tasks().any(|task| matches!(task.kind, TaskKind::Sleep(_))) {
        let sleeps = tasks().filter(|task| matches!(task.kind, TaskKind::Sleep(_)));
        bounds.push(Bound::of("sleep", sleeps, |task| match task.kind {
            TaskKind::Sleep(length) => (length.to_string(), false),
            _ => (String::new(), true),
        }));
    }
    if tasks().any(|task| matches!(task.kind, TaskKind::Signal(_))) {
        let awaiting = tasks().filter(|task| matches!(task.kind, TaskKind::Signal(_)));
        bounds.push(Bound::of("a signal", awaiting, |task| match task.timeout {
            Some(limit) => (limit.to_string(), false),
            None => ("what the run has left".to_owned(), true),
        }));
    }
    if tasks().any(|task| matches!(task.kind, TaskKind::Workflow(_))) {
        let parents = tasks().filter(|task| matches!(task.kind, TaskKind::Workflow(_)));
        bounds.push(Bound::of("child runs", parents, |task| match task.timeout {
            Some(limit) => (limit.to_string(), false),
            None => ("what the run has left".to_owned(), true),
        }));
    }
    bounds
}

/// The bound of an attempt that starts with the run; one that starts later has what is left of it.
fn attempt(task: &TaskDef, run: Millis) -> (String, bool) {
    let room = Millis(run.0.saturating_sub(reserve(run, task.cancel.total()).0));
    let limit = task.timeout.unwrap_or(ATTEMPT_TIMEOUT_DEFAULT).min(room);
    (limit.to_string(), task.timeout.is_none())
}

fn tries(task: &TaskDef, settings: &Settings) -> (String, bool) {
    let own = task.retry.attempts;
    let queue = settings.queues.get(task.queue_name());
    let default = match (task.kind.default_attempts(), queue) {
        (1, _) | (_, None) => task.kind.default_attempts(),
        (_, Some(queue)) => queue.max_retries.saturating_add(1),
    };
    (own.unwrap_or(default).to_string(), own.is_none())
}

fn pauses(task: &TaskDef) -> (String, bool) {
    let Backoff { first, factor, max, jitter } = task.retry.backoff;
    let said = format!("{first}, then ×{factor} up to {max}, ±{:.0} %", jitter * 100.0);
    (said, task.retry.backoff == Backoff::default())
}

fn of_request(task: &TaskDef, said: impl Fn(&TaskDef, &HttpRules) -> (String, bool)) -> (String, bool) {
    match &task.kind {
        TaskKind::Http(http) => said(task, &http.rules),
        _ => (String::new(), true),
    }
}

fn clocks(task: &TaskDef, rules: &HttpRules) -> (String, bool) {
    let HttpRules { connect, headers, first_byte, gap, .. } = rules;
    let usual = HttpTimeouts::default();
    let own_ms = [connect.0, headers.0, first_byte.0, gap.0];
    let usual_ms = [usual.connect_ms, usual.headers_ms, usual.first_byte_ms, usual.gap_ms];
    let longest_ms = task.timeout.map_or(u64::MAX, |timeout| timeout.0);
    let is_usual = own_ms == usual_ms.map(|ms| ms.min(longest_ms));
    (format!("connect {connect}, headers {headers}, first byte {first_byte}, gap {gap}"), is_usual)
}

fn answer(_: &TaskDef, rules: &HttpRules) -> (String, bool) {
    let (bytes, redirects) = (rules.body_bytes_max, rules.redirects_max);
    let is_usual = (bytes, redirects) == (HttpWork::body_bytes_max_default(), HttpWork::redirects_max_default());
    (format!("{} bytes, after {}", thousands(bytes), count(u64::from(redirects), "redirect")), is_usual)
}

fn ladder(ladder: &Ladder) -> (String, bool) {
    let told = ladder.told.map(|told| format!("told {told} + ")).unwrap_or_default();
    let (margin, whole) = (Lease::REPORT_MARGIN, ladder.total().plus(Lease::REPORT_MARGIN));
    let said = format!("{told}TERM {} + KILL {} + {margin} to hear of it = {whole}", ladder.term, ladder.kill);
    (said, *ladder == Ladder::default())
}
