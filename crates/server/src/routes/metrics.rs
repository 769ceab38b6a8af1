//! `/metrics`, in the text format of Prometheus. Out of the brain's last look: it asks nobody.

use super::health::judge;
use crate::{
    app::App,
    operation::{Access, Operation, get},
    tally::{BOUNDS, Figures, Histogram, Tally},
};
use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};
use unknot_api::rest::HealthState;
use unknot_engine::{
    MonitorView,
    alerts::{DELIVERY_BOUNDS, Figures as AlertFigures},
    core::{Timestamp, deadlock::Finding},
};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        get("/metrics", metrics)
            .open(Access::OpenOnLoopback)
            .is("getMetrics", "Measure it, in the text format of Prometheus")
            .gives_as::<String>(200, "The figures.", "text/plain; version=0.0.4"),
    ]
}

/// A page of figures.
#[derive(Default)]
struct Page(String);

impl Page {
    /// A metric with its values: each with its labels, and a number.
    fn metric(&mut self, name: &str, kind: &str, help: &str, values: impl IntoIterator<Item = (String, f64)>) {
        // Writing to a text cannot fail.
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").unwrap_or_default();
        for (labels, value) in values {
            writeln!(self.0, "{name}{labels} {value}").unwrap_or_default();
        }
    }

    /// What became of tasks, by queue.
    fn tally(&mut self, tally: &Tally) {
        let (queues, missed) = tally.figures();
        type Count = fn(&Figures) -> u64;
        let counters: [(&str, &str, Count); 5] = [
            ("unknot_tasks_completed_total", "Tasks that completed", |figures| figures.completed),
            ("unknot_failures_total", "Attempts that did not succeed", |figures| figures.failures),
            ("unknot_retries_total", "Attempts after which another one follows", |figures| figures.retries),
            ("unknot_dead_letters_total", "Tasks that failed for good", |figures| figures.dead_letters),
            ("unknot_tasks_cancelled_total", "Tasks that were cancelled", |figures| figures.cancelled),
        ];
        for (name, help, count) in counters {
            let values = queues.iter().map(|(queue, figures)| (label("queue", queue), count(figures) as f64));
            self.metric(name, "counter", help, values);
        }
        let waits = queues.iter().map(|(queue, figures)| (&**queue, &figures.wait));
        self.histogram("unknot_wait_seconds", "From standing in a queue to being given to a worker", waits);
        let processing = queues.iter().map(|(queue, figures)| (&**queue, &figures.processing));
        self.histogram("unknot_processing_seconds", "From the start of an attempt to its end", processing);
        self.metric(
            "unknot_tally_missed_total",
            "counter",
            "How often the figures by queue missed something",
            alone(missed as f64),
        );
    }

    /// What the deadlock monitor did, and what became of verdicts and cancellations. The names without a prefix are those that
    /// operators have in their dashboards.
    fn monitor(&mut self, seen: &MonitorView, now: Timestamp) {
        self.gauge(
            "deadlock_detection_duration_seconds",
            "From the wait that closes a deadlock to its durable verdict, on average since the start",
            alone(seen.detection_s),
        );
        let verdicts = Finding::ALL.iter().zip(seen.verdicts);
        let verdicts = verdicts.map(|(kind, many)| (label("kind", kind.word()), many as f64));
        let help = "Verdicts about work that stands still, by kind";
        self.metric("unknot_verdicts_total", "counter", help, verdicts);
        for (name, help, many) in [
            ("deadlock_detected_total", "Deadlocks that were proved", seen.deadlocks),
            ("deadlock_scan_errors_total", "Looks of the deadlock monitor that failed", seen.scan_errors),
            ("deadlock_false_positives_total", "Verdicts that were marked as wrong", seen.false_positives),
            (
                "deadlock_audit_differences_total",
                "How often the live wait graph and a full reduction differed: a defect",
                seen.audit_differences,
            ),
            ("deadlock_runs_cancelled_total", "Runs that were cancelled to end a deadlock", seen.runs_cancelled),
            ("task_cancelled_total", "Tasks that were cancelled", seen.tasks_cancelled),
            ("unknot_cancellations_asked_total", "Cancellations of runs that were asked for", seen.cancellations_asked),
            (
                "unknot_cancellations_completed_total",
                "Runs that came to their end as CANCELLED",
                seen.cancellations_completed,
            ),
        ] {
            self.metric(name, "counter", help, alone(many as f64));
        }
        let age = seen.last_scan.map(|at| (String::new(), now.since(at).0 as f64 / 1_000.0));
        self.gauge("deadlock_last_scan_seconds", "Time since the deadlock monitor last looked", age);
    }

    fn histogram<'h>(&mut self, name: &str, help: &str, queues: impl Iterator<Item = (&'h str, &'h Histogram)>) {
        self.metric(name, "histogram", help, []);
        for (queue, histogram) in queues {
            let mut below = 0;
            for (bound, many) in BOUNDS.iter().zip(histogram.buckets) {
                below += many;
                self.bucket(name, queue, &bound.to_string(), below);
            }
            self.bucket(name, queue, "+Inf", histogram.count);
            let labels = label("queue", queue);
            let (sum, count) = (histogram.sum, histogram.count);
            // Writing to a text cannot fail.
            writeln!(self.0, "{name}_sum{labels} {sum}\n{name}_count{labels} {count}").unwrap_or_default();
        }
    }

    /// Who was told of what.
    fn alerts(&mut self, figures: &AlertFigures, open: usize) {
        self.gauge("unknot_incidents_open", "Incidents that people are told of and that go on", alone(open as f64));
        let by_target = |counts: &BTreeMap<String, u64>| {
            counts.iter().map(|(target, count)| (label("target", target), *count as f64)).collect::<Vec<_>>()
        };
        self.metric("alerts_sent_total", "counter", "Alerts that a target took", by_target(&figures.sent));
        self.metric("alerts_failed_total", "counter", "Tries to send an alert that failed", by_target(&figures.failed));
        let given_up = alone(figures.given_up as f64);
        self.metric("alerts_given_up_total", "counter", "Alerts that somebody was not told of", given_up);
        let name = "alert_delivery_seconds";
        self.metric(name, "histogram", "From finding an incident until a target has taken its alert", []);
        let mut below = 0;
        for (bound, many) in DELIVERY_BOUNDS.iter().zip(figures.delivery) {
            below += many;
            writeln!(self.0, "{name}_bucket{{le=\"{bound}\"}} {below}").unwrap_or_default();
        }
        let (sum, count) = (figures.delivery_sum, figures.delivery_count);
        writeln!(self.0, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}")
            .unwrap_or_default();
    }

    fn bucket(&mut self, name: &str, queue: &str, bound: &str, below: u64) {
        let labels = label("queue", queue);
        let labels = labels.trim_end_matches('}');
        writeln!(self.0, "{name}_bucket{labels},le=\"{bound}\"}} {below}").unwrap_or_default();
    }

    fn gauge(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (String, f64)>) {
        self.metric(name, "gauge", help, values);
    }
}

/// `{name="value"}`, with the value as the format wants it.
fn label(name: &str, value: &str) -> String {
    let escaped = value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
    format!("{{{name}=\"{escaped}\"}}")
}

fn alone(value: f64) -> [(String, f64); 1] {
    [(String::new(), value)]
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let (overview, health, now) = (app.engine.overview(), app.engine.health(), app.engine.now());
    let monitor = app.engine.monitor();
    let judged = judge(&health, &monitor, now);
    let seconds = |since: Option<Timestamp>| since.map_or(0.0, |since| now.since(since).0 as f64 / 1_000.0);
    let mut page = Page::default();
    let queues = || overview.queues.iter();
    page.gauge(
        "unknot_up",
        "Whether work makes progress, as /health says",
        alone(f64::from(judged.status == HealthState::Ok)),
    );
    page.gauge("unknot_runs_unfinished", "Runs that have not ended", alone(overview.runs as f64));
    page.gauge(
        "unknot_tasks_unfinished",
        "Tasks of unfinished runs that have not ended",
        alone(f64::from(overview.tasks)),
    );
    page.gauge(
        "unknot_queue_size",
        "Tasks that stand in a queue",
        queues().map(|(name, queue)| (label("queue", name), f64::from(queue.size))),
    );
    page.gauge(
        "unknot_queue_oldest_seconds",
        "How long the oldest task has stood in a queue",
        queues().map(|(name, queue)| {
            let age = queue.oldest_since.map_or(0, |since| now.since(since).0);
            (label("queue", name), age as f64 / 1_000.0)
        }),
    );
    page.gauge(
        "unknot_queue_paused",
        "Whether an operator holds a queue",
        queues().map(|(name, queue)| (label("queue", name), f64::from(queue.paused.is_some()))),
    );
    let pools = || overview.pools.iter();
    page.gauge(
        "unknot_pool_size",
        "Units of a pool",
        pools().map(|(name, (pool, _))| (label("pool", name), f64::from(pool.size))),
    );
    page.gauge(
        "unknot_pool_held",
        "Units of a pool that attempts hold",
        pools().map(|(name, (_, held))| (label("pool", name), f64::from(*held))),
    );
    page.gauge(
        "unknot_pool_poisoned",
        "Whether a pool is closed because a holder may still be alive",
        pools().map(|(name, (pool, _))| (label("pool", name), f64::from(pool.poisoned.is_some()))),
    );
    page.tally(&app.tally);
    page.monitor(&monitor, now);
    page.alerts(&app.engine.alert_figures(), overview.incidents.len());
    let workers = || overview.workers.iter();
    page.gauge(
        "unknot_worker_slots",
        "Attempts that a worker performs at once",
        workers().map(|(worker, seen)| (label("worker", &worker.name), f64::from(seen.slots))),
    );
    page.gauge(
        "unknot_worker_leases",
        "Leases that a worker has",
        workers().map(|(worker, seen)| (label("worker", &worker.name), f64::from(seen.leases))),
    );
    page.metric(
        "unknot_reports_refused_total",
        "counter",
        "Reports that came under an old fence",
        alone(overview.refused_reports as f64),
    );
    page.metric("unknot_turns_total", "counter", "Turns of the brain", alone(health.turns as f64));
    page.gauge(
        "unknot_last_turn_seconds",
        "Time since the brain's last turn",
        alone(judged.last_turn_ms_ago as f64 / 1_000.0),
    );
    page.gauge(
        "unknot_late_seconds",
        "How long the brain has been late, as the watcher sees it",
        alone(seconds(health.late_since)),
    );
    page.gauge(
        "unknot_commit_waiting_seconds",
        "How long the store has owed an answer",
        alone(seconds(health.store_asked_at)),
    );
    page.gauge(
        "unknot_commit_blocked_seconds",
        "How long nothing can be committed",
        alone(seconds(health.blocked.as_ref().map(|blocked| blocked.since))),
    );
    page.gauge("unknot_durable_commit", "The newest durable commit", alone(health.durable as f64));
    page.gauge("unknot_backlog", "Events that wait for the brain", alone(health.backlog as f64));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.0).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        assert_eq!(label("queue", "a\"b\\c\nd"), r#"{queue="a\"b\\c\nd"}"#);
    }
}
