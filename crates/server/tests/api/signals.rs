//! Signals: sent, kept, refused.

use crate::support::{Served, sleeps};
use serde_json::json;

#[test]
fn a_task_waits_for_its_signal_and_its_output_is_what_that_says() {
    let served = Served::open();
    let flow = json!({"name": "asks", "tasks": {"a": {"signal": "approve"}, "b": {"sleep": "1h"}}});
    let run = served.submit(flow);
    let tasks = served.get(&format!("/runs/{run}/tasks"));
    assert_eq!(tasks["items"][0]["status"], "WAITING");
    assert_eq!(tasks["items"][0]["wait"]["on"], "signal");
    assert_eq!(tasks["items"][0]["wait"]["signal"], "approve");

    let path = format!("/runs/{run}/signals");
    let sent = served.ask("PUT", &format!("{path}/aprove")).send().is(200).json();
    assert_eq!(sent, json!({"run_id": run, "signal": "aprove", "is_named": false}));
    let said = json!({"pages": [1, 4]});
    for _ in 0..2 {
        let sent = served.ask("PUT", &format!("{path}/approve")).json(&json!({"payload": said})).send().is(200).json();
        assert_eq!(sent["is_named"], true);
    }
    let task = served.get(&format!("/runs/{run}/tasks"))["items"][0].clone();
    assert_eq!((&task["status"], &task["output"]), (&json!("COMPLETED"), &said));
    let shown = served.get(&format!("/runs/{run}"));
    assert_eq!(shown["signals"]["approve"]["payload"], said);
    assert_eq!(shown["signals"]["aprove"]["payload"], json!(null));
}

#[test]
fn signals_that_cannot_be_are_refused() {
    let served = Served::open();
    let run = served.submit(json!({"name": "asks", "tasks": {"a": {"signal": "approve"}}}));
    let put = |name: &str| served.ask("PUT", &format!("/runs/{run}/signals/{name}"));
    put("Approve").send().problem(404);
    put("a%2Fb").send().problem(404);
    put(&"a".repeat(101)).send().problem(404);
    put("approve").header("Content-Type", "application/json").body("{\"a\":").send().problem(400);
    put("approve").header("Content-Type", "text/plain").body("yes").send().problem(415);
    let long = json!({"payload": "x".repeat(70_000)});
    put("approve").json(&json!({"paylod": 1})).send().problem(400);
    assert!(put("approve").json(&long).send().problem(422)["detail"].as_str().unwrap().contains("65536 bytes each"));
    served.ask("PUT", "/runs/run_01J00000000000000000000000/signals/approve").send().problem(404);
    served.ask("PUT", "/runs/nonsense/signals/approve").send().problem(404);

    let over = served.submit(sleeps("short", "1ms"));
    served.ask("GET", &format!("/runs/{over}/events")).header("Accept", "text/event-stream").send().is(200);
    served.ask("PUT", &format!("/runs/{over}/signals/approve")).send().problem(409);
    let closed = Served::closed();
    closed.ask("PUT", &format!("/runs/{run}/signals/approve")).send().problem(401);
}

/// Whoever lost the answer asks again, and finds that it was carried out, also where that ended the run.
#[test]
fn a_signal_that_ended_its_run_can_be_sent_again() {
    let served = Served::open();
    let run = served.submit(json!({"name": "asks", "tasks": {"a": {"signal": "approve"}}}));
    let send = |payload: u64| {
        served.ask("PUT", &format!("/runs/{run}/signals/approve")).json(&json!({"payload": payload})).send()
    };
    send(1).is(200);
    served.ask("GET", &format!("/runs/{run}/events")).header("Accept", "text/event-stream").send().is(200);
    send(1).is(200);
    send(2).problem(409);
}
