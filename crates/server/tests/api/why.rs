//! Why something does not go on.

use crate::support::{Served, sleeps};
use serde_json::json;
use unknot_engine::core::wait::{Class, Snapshot, analyze};

#[test]
fn the_reasons_of_a_run_are_followed_to_who_can_move_it() {
    let served = Served::open();
    let flow = json!({"name": "asks", "tasks": {
        "a": {"signal": "approve", "timeout": "2h"}, "b": {"needs": ["a"], "sleep": "1h"}, "c": {"exec": ["true"]},
    }});
    let run = served.submit(flow);
    let why = served.get(&format!("/runs/{run}/why"));
    assert_eq!((&why["id"], &why["name"], &why["mover"]), (&json!(run), &json!("asks"), &json!("causes")));
    let causes = why["causes"].as_array().unwrap();
    let told: Vec<_> =
        causes.iter().map(|cause| (cause["name"].as_str().unwrap(), cause["mover"].as_str().unwrap())).collect();
    assert_eq!(told, [("a", "signal"), ("c", "new_worker")], "{why}");
    assert_eq!((&causes[0]["mover_name"], &causes[0]["then"]), (&json!("approve"), &json!("the task fails")));

    let task = served.get(&format!("/runs/{run}/tasks"))["items"][1]["task_id"].as_str().unwrap().to_owned();
    let why = served.get(&format!("/tasks/{task}/why"));
    assert_eq!(why["sentence"], "waits for `a` to succeed");
    assert_eq!(why["causes"][0]["sentence"], "waits for signal `approve`");
}

#[test]
fn what_has_ended_waits_for_nothing() {
    let served = Served::open();
    let over = served.submit(sleeps("short", "1ms"));
    served.ask("GET", &format!("/runs/{over}/events")).header("Accept", "text/event-stream").send().is(200);
    served.ask("GET", &format!("/runs/{over}/why")).send().problem(409);
    let task = over.replace("run_", "task_") + ".0";
    served.ask("GET", &format!("/tasks/{task}/why")).send().problem(409);
    served.ask("GET", &format!("/tasks/{task}9/why")).send().problem(404);
    served.ask("GET", "/runs/run_01J00000000000000000000000/why").send().problem(404);
    served.ask("GET", "/runs/nonsense/why").send().problem(404);
}

#[test]
fn the_wait_graph_is_told_in_the_exchange_format() {
    let served = Served::open();
    let asks = served
        .submit(json!({"name": "asks", "tasks": {"a": {"signal": "approve"}, "b": {"needs": ["a"], "sleep": "1h"}}}));
    let other = served.submit(json!({"name": "locks", "tasks": {"a": {"exec": ["true"], "locks": ["gpu"]}}}));
    let graph = served.get("/waits");
    let whole: Snapshot = serde_json::from_value(graph.clone()).unwrap();
    assert_eq!(whole.nodes.len(), 5, "two runs and their tasks: {graph}");
    assert!(graph["as_of"].as_u64().unwrap() > 0);
    let judged = analyze(&whole);
    assert_eq!(judged.verdict.verdict, Class::Stalled, "a person and a worker are missing: {judged:?}");
    let part: Snapshot = serde_json::from_value(served.get(&format!("/waits?run={asks}"))).unwrap();
    assert!(part.nodes.iter().all(|node| !node.id.contains(&other[4..])), "{part:?}");
    assert_eq!((part.nodes.len(), part.waits.len()), (3, 3));
    assert_eq!(part.consumables[0].id, format!("signal:{asks}:approve"));
    served.ask("GET", "/waits?run=run_01J00000000000000000000000").send().problem(404);
    served.ask("GET", "/waits?run=nonsense").send().problem(404);
}
