//! Holding and letting go, queues, pools, workers.

use crate::support::{Served, Setup, sleeps, stands, until};
use serde_json::json;
use unknot_engine::core::settings::PoolSettings;

#[test]
fn a_queue_is_held_until_it_is_let_go() {
    let served = Served::open();
    let told = served.ask("PUT", "/queues/default/pause").send().is(200).json();
    assert_eq!(told["by"], "loopback");
    let again = served.ask("PUT", "/queues/default/pause").send().is(200).json();
    assert_eq!(again, told, "who was first stays");
    assert_eq!(served.get("/queues/default")["paused"], told);
    served.ask("DELETE", "/queues/default/pause").send().is(204);
    served.ask("DELETE", "/queues/default/pause").send().is(204);
    assert_eq!(served.get("/queues/default").get("paused"), None);
    for method in ["PUT", "DELETE"] {
        served.ask(method, "/queues/none/pause").send().problem(404);
    }
    served.ask("GET", "/queues/none").send().problem(404);
    let told = served.ask("PUT", "/queues/defualt/pause").send().problem(404);
    assert_eq!(told["detail"], "there is no queue `defualt`; did you mean `default`?");
    let listed = served.ask("GET", "/queues").send().is(200).json();
    assert_eq!(listed.as_array().expect("a list").len(), 1, "a mistyped name makes no queue: {listed}");
}

#[test]
fn a_run_is_held_until_it_is_let_go() {
    let served = Served::open();
    let run = served.submit(sleeps("one", "1h"));
    let pause = format!("/runs/{run}/pause");
    served.ask("PUT", &pause).send().is(200);
    assert_eq!(served.get(&format!("/runs/{run}"))["paused"], true);
    assert_eq!(served.all("/runs", 10)[0]["paused"], true);
    served.ask("DELETE", &pause).send().is(204);
    assert_eq!(served.get(&format!("/runs/{run}"))["paused"], false);
    let (done, _) = served.complete(sleeps("short", "1ms"));
    let ended = served.ask("PUT", &format!("/runs/{done}/pause")).send();
    assert!(matches!(ended.status, 404 | 409), "{}", ended.status);
    served.ask("PUT", "/runs/run_01ARZ3NDEKTSV4RRFFQ69G5FAV/pause").send().problem(404);
    served.ask("PUT", "/runs/x/pause").send().problem(404);
}

#[test]
fn a_workflow_is_held_also_for_runs_to_come() {
    // There is no guard: a task that is started fails.
    let mut setup = Setup { slots: 1, ..Setup::default() };
    setup.settings.bounds.launch_failures_max = 1;
    let served = Served::with(setup);
    served.ask("PUT", "/workflows/held/pause").send().is(200);
    let run = served.submit(stands("held", 1));
    let told = served.ask("POST", "/runs?wait=20s").json(&json!({"workflow": stands("other", 1)})).send().is(201);
    assert_eq!(told.json()["status"], "FAILED");
    assert_eq!(served.get(&format!("/runs/{run}/tasks"))["items"][0]["status"], "QUEUED");
    served.ask("DELETE", "/workflows/held/pause").send().is(204);
    served.until_status(&run, "FAILED");
    for name in ["No", "a_b", "%20", &"x".repeat(101)] {
        served.ask("PUT", &format!("/workflows/{name}/pause")).send().problem(404);
    }
}

#[test]
fn pools_and_workers_are_listed() {
    let mut setup = Setup { slots: 3, ..Setup::default() };
    setup.settings.pools.insert("render".to_owned(), PoolSettings { size: 4, lend: false, on_deadlock: None });
    let served = Served::with(setup);
    until("the worker is there", || served.get("/workers")[0]["slots"] == 3);
    let pools = served.get("/pools");
    assert_eq!((&pools[0]["name"], &pools[0]["size"], &pools[0]["held"]), (&json!("render"), &json!(4), &json!(0)));
    for path in ["/pools", "/workers", "/queues", "/queues/default"] {
        served.ask("GET", &format!("{path}?what=1")).send().problem(400);
    }
}
