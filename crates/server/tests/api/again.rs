//! Retry, redrive, bulk, dead letters.

use crate::support::{Served, Setup, fails, sleeps};
use serde_json::{Value, json};

/// A server on which each attempt ends as one that cannot be started, and leaves a dead letter.
fn without_guard() -> Served {
    let mut setup = Setup { slots: 2, ..Setup::default() };
    setup.settings.bounds.launch_failures_max = 1;
    Served::with(setup)
}

fn doomed() -> Value {
    json!({"name": "doomed", "tasks": {"a": {"sleep": "1ms"}, "b": {"needs": ["a"], "exec": ["true"]}}})
}

#[test]
fn a_run_that_failed_is_taken_further() {
    let served = without_guard();
    let (run, status) = served.complete(doomed());
    assert_eq!(status, "FAILED");
    let again = served.ask("POST", &format!("/runs/{run}/retry")).send().is(201).json();
    let new = again["run_id"].as_str().unwrap();
    assert_eq!(served.get(&format!("/runs/{new}"))["retry_of"], run);
    served.until_status(new, "FAILED");
    let tasks = served.all(&format!("/runs/{new}/tasks"), 10);
    assert_eq!((&tasks[0]["status"], &tasks[1]["status"]), (&json!("COMPLETED"), &json!("FAILED")));
    let scratch = served.ask("POST", &format!("/runs/{run}/retry")).json(&json!({"from_scratch": true}));
    scratch.send().is(201);
    let (done, _) = served.complete(sleeps("short", "1ms"));
    let path = format!("/runs/{done}/retry");
    served.ask("POST", &path).send().problem(409);
    served.ask("POST", &path).json(&json!({"from_scratch": true})).send().is(201);
    let live = served.submit(sleeps("long", "1h"));
    served.ask("POST", &format!("/runs/{live}/retry")).send().problem(409);
    served.ask("POST", "/runs/run_01ARZ3NDEKTSV4RRFFQ69G5FAV/retry").send().problem(404);
    served.ask("POST", "/runs/x/retry").send().problem(404);
    served.ask("POST", &path).json(&json!({"what": 1})).send().problem(400);
}

#[test]
fn dead_letters_are_listed_redriven_and_dropped() {
    let served = without_guard();
    let runs: Vec<String> = (0..5).map(|_| served.complete(doomed()).0).collect();
    let letters = served.all("/dead-letters", 2);
    assert_eq!(letters.len(), 5);
    let first = &letters[0];
    assert_eq!((&first["run_id"], &first["task"], &first["attempts"]), (&json!(runs[4]), &json!("b"), &json!(1)));
    assert!(first["error"]["message"].as_str().unwrap().len() > 3, "{first}");
    let id = first["task_id"].as_str().unwrap();
    let new = served.ask("POST", &format!("/dead-letters/{id}/redrive")).send().is(201).json();
    assert_eq!(served.get(&format!("/runs/{}", new["run_id"].as_str().unwrap()))["retry_of"], runs[4]);
    served.until_status(new["run_id"].as_str().unwrap(), "FAILED");
    served.ask("POST", &format!("/dead-letters/{id}/redrive")).send().problem(404);
    let id = letters[1]["task_id"].as_str().unwrap();
    served.ask("DELETE", &format!("/dead-letters/{id}")).send().is(204);
    served.ask("DELETE", &format!("/dead-letters/{id}")).send().problem(404);
    assert_eq!(served.get("/stats")["dead_letters"], 4);
    for id in ["x", "task_01ARZ3NDEKTSV4RRFFQ69G5FAV.0"] {
        served.ask("DELETE", &format!("/dead-letters/{id}")).send().problem(404);
        served.ask("POST", &format!("/dead-letters/{id}/redrive")).send().problem(404);
    }
    served.ask("GET", "/dead-letters?after=x").send().problem(400);
}

#[test]
fn bulk_says_what_it_would_do_and_then_does_it() {
    let served = Served::open();
    let live: Vec<String> = (0..20).map(|_| served.submit(sleeps("long", "1h"))).collect();
    served.submit(sleeps("other", "1h"));
    let (failed, _) = served.complete(fails("fails"));
    let ask = |body: &Value| served.ask("POST", "/runs/bulk").json(body).send();
    let cancel = json!({"action": "cancel", "filter": {"workflow": "long"}, "dry_run": true, "reason": "tidy"});
    let dry = ask(&cancel).is(200).json();
    assert_eq!((&dry["dry_run"], dry["matched"].as_array().unwrap().len()), (&json!(true), 20));
    assert!(live.iter().all(|run| served.get(&format!("/runs/{run}/cancel"))["is_cancelled"] == false));
    let mut wet = cancel.clone();
    wet["dry_run"] = json!(false);
    let done = ask(&wet).is(200).json();
    assert_eq!((done["matched"].as_array().unwrap().len(), &done["failed"]), (20, &json!({})));
    for run in &live {
        served.until_status(run, "CANCELLED");
        assert_eq!(served.get(&format!("/runs/{run}/cancel"))["cancellation_reason"], "tidy");
    }
    assert_eq!(served.all("/runs?status=RUNNING", 10).len(), 1);
    assert!(ask(&wet).is(200).json()["matched"].as_array().unwrap().is_empty());
    let retried = ask(&json!({"action": "retry", "filter": {"status": "FAILED"}})).is(200).json();
    assert_eq!(retried["matched"], json!([failed]));
    assert_eq!(retried["created"].as_object().unwrap().len(), 1);
    for wrong in [
        json!({"action": "cancel", "filter": {}}),
        json!({"action": "burn", "filter": {"workflow": "x"}}),
        json!({"action": "cancel"}),
        json!({"action": "cancel", "filter": {"status": "DONE"}}),
        json!({"action": "cancel", "filter": {"what": "x"}}),
        json!({"action": "cancel", "filter": {"workflow": "x"}, "after": "x"}),
        json!({"action": "cancel", "filter": {"workflow": "x"}, "reason": "x".repeat(1_001)}),
    ] {
        let told = ask(&wrong);
        assert_eq!(told.status, 400, "{wrong}: {}", told.text());
        told.problem(400);
    }
}

#[test]
fn bulk_redrives_what_left_dead_letters() {
    let served = without_guard();
    let (run, _) = served.complete(doomed());
    let told = served.ask("POST", "/runs/bulk").json(&json!({"action": "redrive", "filter": {"workflow": "doomed"}}));
    let told = told.send().is(200).json();
    assert_eq!(told["matched"], json!([run]));
    served.until_status(told["created"][&run].as_str().unwrap(), "FAILED");
    assert_eq!(served.all("/dead-letters", 10).len(), 1, "the new run answers for the old one's letters");
}
