//! Verdicts: listed, shown, drawn, marked; the manual scan; and who waits.

use crate::support::{Served, Setup, sleeps, until};
use serde_json::{Value, json};
use std::sync::Arc;
use unknot_engine::{
    Submit,
    core::{
        Millis,
        wait::{Class, Snapshot, analyze},
        workflow::{Definition, Stored},
    },
};

/// Submits a run in which each of two tasks waits for a signal that only the other one can send. A file that says so is
/// refused; the brain is not asked twice.
fn submit_ring(served: &Served, name: &str) -> String {
    let stored = json!({"hash": name, "name": name, "timeout": 86_400_000, "tasks": [
        {"name": "a", "kind": {"signal": {"name": "one", "from": [1]}}},
        {"name": "b", "kind": {"signal": {"name": "two", "from": [0]}}},
    ]});
    let submit = Submit::of(Arc::new(Definition::new(serde_json::from_value::<Stored>(stored).unwrap())));
    served.engine().submit(submit).unwrap().run.to_string()
}

/// A server at which nobody resolves a deadlock.
fn told_only() -> Served {
    let mut setup = Setup::default();
    setup.settings.monitor.cancel_on_deadlock = false;
    Served::with(setup)
}

/// The verdict about a run.
fn verdict_of(served: &Served, run: &str) -> Value {
    let mut found = Value::Null;
    until("the verdict is durable", || {
        found = served.get(&format!("/deadlocks?run={run}"))["items"][0].clone();
        !found.is_null()
    });
    found
}

#[test]
fn a_deadlock_is_told_with_all_that_is_known_of_it() {
    let served = told_only();
    let run = submit_ring(&served, "ring");
    let listed = verdict_of(&served, &run);
    let id = listed["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("dl_"), "{listed}");
    assert_eq!(
        (&listed["kind"], &listed["outcome"], &listed["policy"]),
        (&json!("deadlocked"), &json!("reported"), &json!("alert"))
    );
    assert_eq!((&listed["runs"], &listed["workflows"], &listed["tasks"]), (&json!([run]), &json!(["ring"]), &json!(2)));
    assert_eq!(listed.get("graph"), None, "lists do without");

    let verdict = served.get(&format!("/deadlocks/{id}"));
    let members = verdict["members"].as_array().unwrap();
    let told: Vec<_> =
        members.iter().map(|one| (one["name"].as_str().unwrap(), one["sentence"].as_str().unwrap())).collect();
    assert_eq!(
        told,
        [
            ("a", "waits for signal `one`, which only `b` can send"),
            ("b", "waits for signal `two`, which only `a` can send"),
        ]
    );
    assert!(verdict["explanation"][0].as_str().unwrap().contains("`ring/a`"), "{verdict}");
    let graph: Snapshot = serde_json::from_value(verdict["graph"].clone()).unwrap();
    assert_eq!(analyze(&graph).verdict.verdict, Class::Deadlocked, "{verdict}");
    assert_eq!(served.get(&format!("/deadlocks/{id}/graph")), verdict["graph"]);

    let dot = served.ask("GET", &format!("/deadlocks/{id}/graph?format=dot")).send().is(200);
    assert!(dot.text().starts_with("digraph"), "{}", dot.text());
    assert_eq!(dot.header("content-type"), Some("text/vnd.graphviz; charset=utf-8"));
    let mermaid = served.ask("GET", &format!("/deadlocks/{id}/graph?format=mermaid")).send().is(200).text();
    assert!(mermaid.contains("flowchart"), "{mermaid}");
    for (path, status) in [
        (format!("/deadlocks/{id}/graph?format=svg"), 400),
        ("/deadlocks/dl_999999".to_owned(), 404),
        ("/deadlocks/7".to_owned(), 404),
        ("/deadlocks?kind=odd".to_owned(), 400),
        ("/deadlocks?outcome=odd".to_owned(), 400),
        ("/deadlocks?run=odd".to_owned(), 404),
        ("/deadlocks?after=odd".to_owned(), 400),
        ("/deadlocks?limit=0".to_owned(), 400),
    ] {
        served.ask("GET", &path).send().problem(status);
    }
}

#[test]
fn verdicts_are_found_by_what_they_say() {
    let served = told_only();
    let runs: Vec<String> = (0..5).map(|number| submit_ring(&served, &format!("ring-{number}"))).collect();
    runs.iter().for_each(|run| drop(verdict_of(&served, run)));
    let of = |path: &str| -> Vec<String> {
        let found = served.all(path, 2);
        found.iter().map(|verdict| verdict["runs"][0].as_str().unwrap().to_owned()).collect()
    };
    let newest: Vec<String> = runs.iter().rev().cloned().collect();
    assert_eq!(of("/deadlocks"), newest);
    assert_eq!(of("/deadlocks?kind=deadlocked&outcome=reported&open=true&since=2020-01-01T00:00:00Z"), newest);
    assert_eq!(of("/deadlocks?kind=stalled"), [""; 0]);
    assert_eq!(of("/deadlocks?outcome=cancelled"), [""; 0]);
    assert_eq!(of("/deadlocks?since=2120-01-01T00:00:00Z"), [""; 0]);
    assert_eq!(of(&format!("/deadlocks?run={}", runs[2])), [runs[2].clone()]);
}

#[test]
fn a_deadlock_that_is_resolved_cancels_its_victim_in_the_systems_name() {
    let served = Served::open();
    let run = submit_ring(&served, "ring");
    served.until_status(&run, "CANCELLED");
    let verdict = verdict_of(&served, &run);
    assert_eq!(verdict["outcome"], "cancelled");
    let whole = served.get(&format!("/deadlocks/{}", verdict["id"].as_str().unwrap()));
    assert_eq!(whole["cancelled"], json!([run]));
    let cancel = served.get(&format!("/runs/{run}/cancel"));
    assert_eq!((&cancel["is_cancelled"], &cancel["status"]), (&json!(true), &json!("CANCELLED")));
    assert_eq!(cancel["cancellation_reason"], "auto-cancel: deadlock detected");
    assert_eq!(cancel["cancelled_by"], "system");
    let listed = served.get("/runs/cancelled?limit=50&offset=0");
    assert_eq!(listed[0]["cancellation_reason"], "auto-cancel: deadlock detected");
    let problem = served.ask("GET", &format!("/runs/{run}/why")).send().problem(409);
    assert!(problem["detail"].as_str().unwrap().contains(verdict["id"].as_str().unwrap()), "{problem}");

    until("it is counted", || served.get("/stats")["deadlock_monitor"]["workflows_cancelled"] == 1);
    let counts = &served.get("/stats")["deadlock_monitor"];
    assert_eq!((&counts["deadlocks_detected"], &counts["scan_errors"]), (&json!(1), &json!(0)));
    assert!(counts["avg_detection_time_s"].as_f64().unwrap() < 20.0, "{counts}");
    let metrics = served.ask("GET", "/metrics").send().is(200).text();
    for line in [
        "deadlock_detected_total 1\n",
        "unknot_verdicts_total{kind=\"deadlocked\"} 1\n",
        "deadlock_runs_cancelled_total 1\n",
        "task_cancelled_total 2\n",
        "unknot_cancellations_asked_total 1\n",
        "unknot_cancellations_completed_total 1\n",
        "deadlock_detection_duration_seconds ",
        "deadlock_scan_errors_total 0\n",
    ] {
        assert!(metrics.contains(line), "no `{line}` in\n{metrics}");
    }
}

#[test]
fn a_verdict_is_marked_as_wrong_and_that_is_taken_back() {
    let served = told_only();
    let run = submit_ring(&served, "ring");
    let id = verdict_of(&served, &run)["id"].as_str().unwrap().to_owned();
    let mark = |body: Value| served.ask("PUT", &format!("/deadlocks/{id}/mark")).json(&body).send();
    let marked = mark(json!({"mark": "false-positive", "note": "it was let go by hand"})).is(200).json();
    assert_eq!(marked["false_positive"]["note"], "it was let go by hand");
    assert_eq!(served.get(&format!("/deadlocks/{id}")), marked, "graph and all");
    assert!(served.ask("GET", "/metrics").send().is(200).text().contains("deadlock_false_positives_total 1\n"));
    let back = mark(json!({"mark": "none"})).is(200).json();
    assert_eq!(back.get("false_positive"), None);
    mark(json!({"mark": "right"})).problem(400);
    mark(json!({"mark": "none", "note": "x".repeat(1_001)})).problem(400);
    mark(json!({"note": "x"})).problem(400);
    let other = served.ask("PUT", "/deadlocks/dl_99999/mark").json(&json!({"mark": "none"})).send();
    other.problem(404);
}

#[test]
fn a_manual_scan_reports_and_does_nothing() {
    let served = told_only();
    let dead = submit_ring(&served, "ring");
    let asks = served.submit(json!({"name": "asks", "pending_stale": "1ms", "tasks": {"a": {"signal": "approve"}}}));
    let calm = served.submit(sleeps("calm", "1h"));
    let scan = || served.ask("POST", "/deadlocks/scan").send().is(200).json();
    let mut report = Value::Null;
    until("both are found", || {
        report = scan();
        report["found"].as_array().unwrap().len() == 2
    });
    assert_eq!(report["verdict"], "deadlocked");
    let found = |place: usize| {
        (&report["found"][place]["run_id"], &report["found"][place]["kind"], &report["found"][place]["tasks"])
    };
    assert_eq!(found(0), (&json!(dead), &json!("deadlocked"), &json!(2)));
    assert_eq!(found(1), (&json!(asks), &json!("stalled"), &json!(1)));
    assert!(report["found"][1]["explanation"][1].as_str().unwrap().contains("waits for signal `approve`"), "{report}");
    assert!(!report.to_string().contains(&calm), "time moves it");
    assert_eq!(served.all("/deadlocks", 10).len(), 1, "the proved one; the scan has kept none");
    served.until_status(&asks, "RUNNING");
}

#[test]
fn the_monitor_finds_what_stands_still_and_says_when_it_is_over() {
    let mut setup = Setup::default();
    setup.settings.monitor.check_interval = Millis(1);
    setup.settings.monitor.pending_stale = Millis(1);
    let served = Served::with(setup);
    let run = served.submit(json!({"name": "asks", "tasks": {"a": {"signal": "approve"}, "b": {"signal": "go"}}}));
    let verdict = verdict_of(&served, &run);
    assert_eq!((&verdict["kind"], &verdict["tasks"], verdict.get("ended_at")), (&json!("stalled"), &json!(2), None));
    assert!(served.get("/health")["deadlock_monitor"]["last_scan"].is_string());
    let why = served.get(&format!("/runs/{run}/why"));
    assert_eq!((&why["verdicts"][0]["id"], &why["verdicts"][0]["kind"]), (&verdict["id"], &json!("stalled")));
    assert_eq!(why["causes"][0].get("verdicts"), None, "only of what was asked about");
    for signal in ["approve", "go"] {
        served.ask("PUT", &format!("/runs/{run}/signals/{signal}")).send().is(200);
    }
    until("it is over", || served.get(&format!("/deadlocks?run={run}"))["items"][0].get("ended_at").is_some());
    let events = served.get(&format!("/runs/{run}/events"));
    assert!(events.to_string().contains("STALL_DETECTED"), "{events}");
}

#[test]
fn a_run_and_its_tasks_say_when_they_last_changed() {
    let served = Served::open();
    let run = served.submit(json!({"name": "asks", "tasks": {"a": {"signal": "approve"}, "b": {"signal": "go"}}}));
    let moments = || {
        let tasks = served.get(&format!("/runs/{run}/tasks"));
        let of = |place: usize| tasks["items"][place]["updated_at"].as_str().unwrap().to_owned();
        (served.get(&format!("/runs/{run}"))["updated_at"].as_str().unwrap().to_owned(), of(0), of(1))
    };
    let (before, ..) = moments();
    served.ask("PUT", &format!("/runs/{run}/signals/go")).send().is(200);
    let (after, waits, done) = moments();
    assert!(after >= before && after == done && waits <= done, "{before} {after} {waits} {done}");
}

#[test]
fn who_waits_is_listed_with_who_can_move_it() {
    let served = Served::open();
    let asks = served
        .submit(json!({"name": "asks", "tasks": {"a": {"signal": "approve"}, "b": {"needs": ["a"], "sleep": "1h"}}}));
    served.submit(json!({"name": "locks", "tasks": {"use": {"exec": ["true"], "locks": ["gpu"]}}}));
    let told = served.get("/waits/list");
    assert_eq!(told["total"], 3, "{told}");
    let waits: Vec<_> = told["waits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|wait| {
            (wait["name"].as_str().unwrap(), wait["sentence"].as_str().unwrap(), wait["mover"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        waits,
        [
            ("a", "waits for signal `approve`", "signal"),
            ("b", "waits for `a` to succeed", "causes"),
            ("use", "waits for a worker: none is here", "new_worker"),
        ]
    );
    let part = served.get(&format!("/waits/list?run={asks}&limit=1"));
    assert_eq!((&part["total"], part["waits"].as_array().unwrap().len()), (&json!(2), 1), "{part}");
    served.ask("GET", "/waits/list?run=run_01J00000000000000000000000").send().problem(404);
    served.ask("GET", "/waits/list?limit=0").send().problem(400);
}
