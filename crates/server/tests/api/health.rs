//! Whether work makes progress, and how much there is.

use crate::support::{Served, Setup, fails, sleeps, stands, until};
use serde_json::{Value, json};
use unknot_server::{Changeable, Deadlock};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn health_shows_the_monitor_field_for_field() {
    let base = Setup::default();
    let deadlock = Deadlock { check_interval_s: 30, pending_stale_s: 600, cancel: false, has_webhook: true };
    let changeable = Changeable { deadlock, ..base.changeable.clone() };
    let served = Served::with(Setup { changeable, ..base });
    let health = served.get("/health");
    assert_eq!(health["status"], "ok");
    assert_eq!(health["reasons"], json!([]));
    assert_eq!(
        health["deadlock_monitor"],
        json!({
            "running": true,
            "check_interval_s": 30,
            "pending_stale_s": 600,
            "cancel_on_deadlock": false,
            "alert_webhook_configured": true,
            "last_scan": null,
        })
    );
    served.server().change(Setup::default().changeable);
    assert_eq!(served.get("/health")["deadlock_monitor"]["pending_stale_s"], 900);
}

#[test]
fn stats_count_what_there_is_and_what_the_monitor_did() {
    let served = Served::open();
    served.submit(stands("stands", 3));
    served.complete(sleeps("short", "1ms"));
    served.complete(fails("fails"));
    let stats = served.get("/stats");
    let monitor = ["deadlocks_detected", "workflows_cancelled", "alerts_sent", "avg_detection_time_s", "scan_errors"];
    assert_eq!(keys(&stats["deadlock_monitor"]), monitor);
    assert_eq!((&stats["unfinished_runs"], &stats["unfinished_tasks"]), (&json!(1), &json!(3)));
    assert_eq!(stats["finished_runs"], json!({"COMPLETED": 1, "FAILED": 1}));
    assert_eq!(stats["queues"]["default"]["size"], 3);
    let progress = &stats["progress"];
    assert!(progress["turns"].as_u64().unwrap() > 0 && progress["durable_commit"].as_u64().unwrap() > 0, "{progress}");
    assert_eq!(progress.get("late_since"), None, "{progress}");
}

#[test]
fn metrics_count_by_queue_what_became_of_tasks() {
    // There is no guard: each attempt fails as it is started.
    let mut setup = Setup { slots: 1, ..Setup::default() };
    setup.settings.bounds.launch_failures_max = 2;
    let served = Served::with(setup);
    let task = json!({"exec": ["true"], "queue": "big", "retry": {"attempts": 1}});
    let (_, status) = served.complete(json!({"name": "big", "tasks": {"a": task}}));
    assert_eq!(status, "FAILED");
    served.complete(sleeps("short", "1ms"));
    let line = |name: &str, value: u64| format!("{name}{{queue=\"big\"}} {value}\n");
    let expected = [
        line("unknot_dead_letters_total", 1),
        line("unknot_failures_total", 2),
        line("unknot_retries_total", 1),
        line("unknot_tasks_completed_total", 0),
        line("unknot_wait_seconds_count", 2),
        "unknot_wait_seconds_bucket{queue=\"big\",le=\"+Inf\"} 2\n".to_owned(),
        "unknot_tasks_completed_total{queue=\"\"} 1\n".to_owned(),
    ];
    let mut text = String::new();
    until("all is counted", || {
        text = served.ask("GET", "/metrics").send().is(200).text();
        expected.iter().all(|line| text.contains(line))
    });
}

#[test]
fn metrics_are_read_by_a_plain_parser() {
    let served = Served::open();
    served.submit(stands("stands", 3));
    until("the last look has seen the queue", || {
        served.ask("GET", "/metrics").send().is(200).text().contains("unknot_queue_size{queue=\"default\"} 3\n")
    });
    let told = served.ask("GET", "/metrics").send().is(200);
    assert_eq!(told.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = told.text();
    let mut helped = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            helped.push(rest.split(' ').next().unwrap().to_owned());
        } else if !line.starts_with("# TYPE ") {
            let (name, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap();
            let name = name.split('{').next().unwrap();
            // A histogram's lines end otherwise than its name.
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(helped.iter().any(|known| known == name || known == base), "{line}");
        }
    }
    let mut unique = helped.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), helped.len(), "each metric is introduced once");
    for name in ["unknot_up", "unknot_late_seconds", "unknot_commit_waiting_seconds", "unknot_commit_blocked_seconds"] {
        assert!(helped.iter().any(|known| known == name), "{name}");
    }
}
