//! Why something does not go on.

use crate::support::{Served, sleeps};
use serde_json::json;

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
