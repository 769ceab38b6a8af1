//! Whether work makes progress, and how much there is.

use super::{Params, json, ok, runs::Nothing};
use crate::{
    app::{App, Deadlock},
    operation::{Access, Operation, get},
    problem::Answer,
    view,
};
use axum::{extract::State, http::StatusCode, response::Response};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use unknot_api::rest;
use unknot_engine::{Health, MonitorView, core::Timestamp};

/// A commit that takes longer is told.
const COMMIT_LATE_AFTER_MS: u64 = 2_000;
/// How long the store's own counts may take.
const COUNTS_WITHIN: Duration = Duration::from_millis(500);

pub(super) fn operations() -> Vec<Operation> {
    vec![
        get("/health", health)
            .open(Access::Open)
            .is("getHealth", "Say whether work makes progress")
            .note("Asks nobody: it answers whatever hangs. 503 with the same document when something is wrong.")
            .gives::<rest::Health>(200, "It does.")
            .gives::<rest::Health>(503, "It does not, or not durably."),
        get("/stats", stats)
            .open(Access::OpenOnLoopback)
            .is("getStats", "Count what there is")
            .gives::<rest::Stats>(200, "The counts."),
    ]
}

async fn health(State(app): State<Arc<App>>) -> Answer<Response> {
    let seen = app.engine.monitor();
    let mut told = judge(&app.engine.health(), &seen, app.engine.now());
    told.deadlock_monitor = monitor(app.now().deadlock, &seen);
    let status = match told.status {
        rest::HealthState::Ok => StatusCode::OK,
        rest::HealthState::Failing => StatusCode::SERVICE_UNAVAILABLE,
    };
    Ok(json(status, &told))
}

/// What the traces that the brain leaves mean.
pub(super) fn judge(health: &Health, monitor: &MonitorView, now: Timestamp) -> rest::Health {
    let silent = now.since(health.last_turn).0;
    let mut reasons = Vec::new();
    if let Some(fatal) = &health.fatal {
        reasons.push(format!("the brain has stopped: {fatal}"));
    } else if health.late_since.is_some() {
        reasons.push(format!("the brain took its last turn {silent} ms ago"));
    }
    if let Some(blocked) = &health.blocked {
        let since = view::moment(blocked.since);
        reasons.push(format!("cannot commit since {since}: {}", blocked.cause));
    }
    let waiting = health.store_asked_at.map(|at| (at, now.since(at).0));
    let late = waiting.filter(|(_, ms)| *ms > COMMIT_LATE_AFTER_MS && health.blocked.is_none());
    if let Some((_, ms)) = late {
        reasons.push(format!("the store has not answered for {ms} ms"));
    }
    // While nothing can be committed, it does not look.
    if let Some(overdue) = monitor.overdue.filter(|_| reasons.is_empty()) {
        let last = monitor.last_scan.map_or_else(|| "never".to_owned(), |at| view::moment(at).to_string());
        let late = overdue.as_secs();
        reasons.push(format!("the deadlock monitor is {late} s late with its look; its last one was: {last}"));
    }
    let since = health.blocked.as_ref().map(|blocked| blocked.since).or(late.map(|(at, _)| at));
    rest::Health {
        status: if reasons.is_empty() { rest::HealthState::Ok } else { rest::HealthState::Failing },
        reasons,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        last_turn_ms_ago: silent,
        late_since: health.late_since.map(view::moment),
        durable_commit: health.durable,
        backlog: health.backlog,
        cannot_commit_since: since.map(view::moment),
        deadlock_monitor: rest::DeadlockMonitor::default(),
    }
}

/// The monitor as it is configured, and how it gets on.
fn monitor(configured: Deadlock, seen: &MonitorView) -> rest::DeadlockMonitor {
    rest::DeadlockMonitor {
        running: seen.running,
        check_interval_s: configured.check_interval_s,
        pending_stale_s: configured.pending_stale_s,
        cancel_on_deadlock: configured.cancel,
        alert_webhook_configured: configured.has_webhook,
        last_scan: seen.last_scan.map(view::moment),
    }
}

/// What it has done.
fn deadlocks(seen: &MonitorView, alerts_sent: u64) -> rest::DeadlockCounts {
    rest::DeadlockCounts {
        deadlocks_detected: seen.deadlocks,
        workflows_cancelled: seen.runs_cancelled,
        alerts_sent,
        avg_detection_time_s: seen.detection_s,
        scan_errors: seen.scan_errors,
    }
}

/// What the brain and its watcher left behind.
fn progress(health: &Health, monitor: &MonitorView, now: Timestamp) -> rest::Progress {
    let judged = judge(health, monitor, now);
    rest::Progress {
        turns: health.turns,
        last_turn_ms_ago: judged.last_turn_ms_ago,
        late_since: judged.late_since,
        durable_commit: judged.durable_commit,
        backlog: judged.backlog,
        store_asked_at: health.store_asked_at.map(view::moment),
        cannot_commit_since: judged.cannot_commit_since,
    }
}

async fn stats(State(app): State<Arc<App>>, Params(Nothing {}): Params<Nothing>) -> Answer<Response> {
    let overview = app.engine.look().await;
    // Counts of what has ended are in the store alone; a stuck one leaves them out.
    let counted = timeout(COUNTS_WITHIN, app.read(|reader, namespace| reader.counts(namespace))).await;
    let counts = counted.ok().and_then(Result::ok).map(|counts| counts.value);
    let seen = app.engine.monitor();
    let finished = counts.as_ref().map(|counts| &counts.finished);
    ok(&rest::Stats {
        unfinished_runs: overview.runs as u64,
        unfinished_tasks: u64::from(overview.tasks),
        finished_runs: finished.map(|runs| runs.iter().map(|(status, runs)| (view::word(status), *runs)).collect()),
        dead_letters: counts.as_ref().map(|counts| counts.dead_letters),
        handled_dead_letters: counts.as_ref().map(|counts| counts.handled_letters),
        quarantined: counts.as_ref().map(|counts| counts.quarantined),
        paused_workflows: overview.paused_workflows.iter().map(|(name, by)| (name.clone(), view::paused(by))).collect(),
        queues: overview.queues.iter().map(|(name, queue)| (name.clone(), view::queue(name, queue))).collect(),
        pools: overview.pools.iter().map(|(name, pool)| (name.clone(), view::pool(name, pool))).collect(),
        workers: overview.workers.iter().map(|(worker, seen)| view::worker(worker, seen)).collect(),
        refused_reports: overview.refused_reports,
        progress: progress(&app.engine.health(), &seen, app.engine.now()),
        deadlock_monitor: deadlocks(&seen, app.engine.alert_figures().deadlocks_sent),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_is_overdue_is_red_unless_something_else_holds_it_up() {
        let now = Timestamp(1_000_000);
        let mut health = Health {
            turns: 1,
            last_turn: now,
            late_since: None,
            durable: 1,
            backlog: 0,
            store_asked_at: None,
            blocked: None,
            fatal: None,
        };
        let mut seen = MonitorView { running: true, last_scan: Some(Timestamp(0)), ..MonitorView::default() };
        assert_eq!(judge(&health, &seen, now).status, rest::HealthState::Ok);
        seen.overdue = Some(Duration::from_secs(7));
        let judged = judge(&health, &seen, now);
        let reason = "the deadlock monitor is 7 s late with its look; its last one was: 1970-01-01T00:00:00Z";
        assert_eq!((judged.status, judged.reasons), (rest::HealthState::Failing, vec![reason.to_owned()]));
        health.late_since = Some(Timestamp(5));
        assert_eq!(judge(&health, &seen, now).reasons.len(), 1, "the brain is late: that is why");
    }
}
