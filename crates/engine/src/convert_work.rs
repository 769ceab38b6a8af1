//! Between the core's words for work and those of the wire.

use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use unknot_api::work as api;
use unknot_core::{
    AttemptId, Fence, Millis,
    effect::{Assignment, HttpCall, Work},
    event::{AttemptEnd, Event, LaunchFault, NextTry, Outcome},
    row::Detail,
    run::{JsonText, StopReason},
    workflow::{Command, HttpRules, Ladder, Limits},
};

/// The folder of an attempt below the one of all attempts: `run_…/fetch/att_….0.1`.
pub fn folder(attempts: &Path, attempt: AttemptId, task_name: &str) -> PathBuf {
    attempts.join(attempt.task.run.to_string()).join(task_name).join(attempt.to_string())
}

/// What a hand is given.
pub(crate) fn assignment(given: Assignment, attempts: &Path) -> api::Assignment {
    let folder = folder(attempts, given.attempt, &given.task_name);
    let base = given.source.as_deref().and_then(|source| Path::new(source).parent()).map(Path::to_path_buf);
    let ladder = ladder(given.ladder);
    api::Assignment {
        attempt: given.attempt.to_string(),
        run: given.attempt.task.run.to_string(),
        task: given.task_name.to_string(),
        number: given.attempt.number,
        fence: given.fence.0,
        folder: folder.display().to_string(),
        work: work(given.work, base),
        heartbeat_timeout_ms: given.heartbeat.map(|bound| bound.0),
        // The brain starts the ladder at the deadline; the hand does so by itself a little later, should
        // no word come.
        hard_deadline_ms_from_start: given.time.0.saturating_add(HARD_DEADLINE_MARGIN_MS),
        ladder,
        idempotency_key: given.attempt.task.to_string(),
        env: BTreeMap::new(),
        lease_ms: given.lease.map(|term| term.0),
        in_lent_slot: given.in_lent_slot,
    }
}

/// How long after the brain's deadline the hand acts by itself.
const HARD_DEADLINE_MARGIN_MS: u64 = 2_000;

fn work(work: Work, base: Option<PathBuf>) -> api::Work {
    match work {
        Work::Noop => api::Work::Noop,
        Work::Http(call) => api::Work::Http(Box::new(http(*call))),
        Work::Handler(call) => {
            let (name, input) = (call.handler.to_string(), json_text(&call.input));
            api::Work::Handler(api::HandlerWork { name, input })
        }
        Work::Exec { command, env, cwd, limits } => api::Work::Exec(api::ExecWork {
            command: match command {
                Command::Argv(argv) => api::Command::Argv(argv),
                Command::Shell(line) => api::Command::Shell(line),
            },
            env,
            cwd: match (base, cwd) {
                (Some(base), Some(cwd)) => Some(base.join(cwd)),
                (Some(base), None) => Some(base),
                (None, cwd) => cwd.map(PathBuf::from),
            }
            .map(|cwd| cwd.display().to_string()),
            limits: self::limits(&limits),
        }),
    }
}

fn http(call: HttpCall) -> api::HttpWork {
    let HttpRules { connect, headers, first_byte, gap, body_bytes_max, redirects_max, expect, describes } = call.rules;
    api::HttpWork {
        method: call.method,
        url: call.url,
        headers: call.headers,
        body: call.body.map(|body| match body {
            Value::String(text) => api::HttpBody::Text(text),
            value => api::HttpBody::Json(json_text(&value)),
        }),
        timeouts: api::HttpTimeouts {
            connect_ms: connect.0,
            headers_ms: headers.0,
            first_byte_ms: first_byte.0,
            gap_ms: gap.0,
        },
        body_bytes_max,
        redirects_max,
        expect: expect.into_iter().map(|(first, last)| api::StatusRange { first, last }).collect(),
        output: if describes { api::HttpOutput::Response } else { api::HttpOutput::Body },
    }
}

fn json_text(value: &Value) -> api::JsonText {
    // What a value is printed as is always one.
    api::JsonText::parse(&value.to_string()).unwrap_or_else(|_| api::JsonText::null())
}

fn limits(limits: &Limits) -> api::Limits {
    api::Limits {
        memory_bytes: limits.memory_bytes,
        cpu_time_ms: limits.cpu_time.map(|time| time.0),
        processes: limits.processes.map(u64::from),
        open_files: limits.open_files,
        file_size_bytes: limits.file_size_bytes,
        cpu_share: limits.cpu_cores,
    }
}

fn ladder(ladder: Ladder) -> api::Ladder {
    api::Ladder { told_ms: ladder.told.map(|told| told.0), term_ms: ladder.term.0, kill_ms: ladder.kill.0 }
}

/// Why a hand is told to stop.
pub(crate) fn stop_reason(reason: StopReason) -> api::StopReason {
    match reason {
        StopReason::Cancelled | StopReason::RunEnding => api::StopReason::Cancelled,
        StopReason::TimedOut => api::StopReason::TimedOut,
        StopReason::Heartbeat => api::StopReason::Heartbeat,
        StopReason::Deadlock => api::StopReason::Deadlock,
    }
}

/// What a report means to the brain. `None`: it is about progress, or names an attempt that cannot exist.
pub(crate) fn event(report: &api::Report) -> Option<Event> {
    let attempt: AttemptId = report.attempt.parse().ok()?;
    let fence = Fence(report.fence);
    match &report.body {
        api::ReportBody::Started { .. } => Some(Event::AttemptStarted { attempt, fence }),
        api::ReportBody::Progress { .. } => Some(Event::AttemptRenewed { attempt, fence }),
        api::ReportBody::Ended(end) => {
            let outcome = outcome(&end.outcome);
            Some(Event::AttemptEnded(Box::new(AttemptEnd { attempt, fence, outcome, detail: detail(end) })))
        }
    }
}

fn outcome(outcome: &api::Outcome) -> Outcome {
    match outcome {
        api::Outcome::Succeeded { output } => Outcome::Succeeded { output: JsonText(output.as_str().into()) },
        api::Outcome::Failed { code, message, exit, next_try, .. } => Outcome::Failed {
            reason: code.as_str().to_owned(),
            message: message.clone(),
            exit: *exit,
            next_try: match next_try {
                api::NextTry::AsUsual => NextTry::AsUsual,
                api::NextTry::NotBefore(ms) => NextTry::NotBefore(Millis(*ms)),
                api::NextTry::Useless => NextTry::Useless,
            },
        },
        api::Outcome::Stopped { reason } => stopped(*reason),
        api::Outcome::LaunchFailed { message, fault } => {
            let fault = match fault {
                api::LaunchFault::Lasting => LaunchFault::Lasting,
                api::LaunchFault::Passing => LaunchFault::Passing,
                api::LaunchFault::Shortage => LaunchFault::Shortage,
            };
            Outcome::LaunchFailed { message: message.clone(), fault }
        }
        api::Outcome::Lost { message, confirmed_dead } => {
            Outcome::Lost { message: message.clone(), confirmed_dead: *confirmed_dead }
        }
        api::Outcome::Unkillable { message, .. } => Outcome::Unkillable { message: message.clone() },
        api::Outcome::Released => Outcome::Released,
    }
}

/// An attempt that its hand stopped. Where the brain did not ask for it, the hand's reason decides.
fn stopped(reason: api::StopReason) -> Outcome {
    let failed = |reason: &str, message: &str| Outcome::Failed {
        reason: reason.to_owned(),
        message: message.to_owned(),
        exit: None,
        next_try: NextTry::AsUsual,
    };
    match reason {
        api::StopReason::Heartbeat => failed("heartbeat", "it was silent for longer than its heartbeat_timeout"),
        api::StopReason::TimedOut => failed("timed_out", "it took longer than its time-out"),
        api::StopReason::Limit => failed("limit", "it went beyond one of its limits"),
        _ => Outcome::Stopped,
    }
}

/// What else a hand knows, for the history.
fn detail(end: &api::End) -> Detail {
    let rungs = (!end.rungs.is_empty()).then(|| ("rungs", serde_json::to_value(&end.rungs)));
    let usage = end.usage.as_ref().map(|usage| ("usage", serde_json::to_value(usage)));
    let notes = (!end.notes.is_empty()).then(|| ("notes", serde_json::to_value(&end.notes)));
    let known = [rungs, usage, notes].into_iter().flatten();
    let written = known.filter_map(|(name, value)| Some((name, value.ok()?)));
    written.fold(Detail::NONE, |detail, (name, value)| detail.with(name, value))
}
