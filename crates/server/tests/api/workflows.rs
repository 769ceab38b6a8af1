//! Registered workflows and their versions.

use crate::support::{Served, Setup, sleeps};
use serde_json::{Value, json};
use unknot_server::{Changeable, UnsafeWorkflows};

#[test]
fn versions_are_kept_by_their_hashes() {
    let served = Served::open();
    let register =
        |length: &str| served.ask("POST", "/workflows").json(&json!({"workflow": sleeps("kept", length)})).send();
    let first = register("1h").is(201).json();
    let second = register("2h").is(201).json();
    register("2h").is(200);
    let (old, new) = (first["hash"].as_str().unwrap(), second["hash"].as_str().unwrap());
    let told = served.get("/workflows/kept");
    assert_eq!(told["hash"], new);
    let hashes: Vec<&str> =
        told["versions"].as_array().unwrap().iter().map(|one| one["hash"].as_str().unwrap()).collect();
    assert_eq!(hashes, [new, old]);
    assert_eq!(told["versions"][0]["by"], "loopback");
    assert_eq!(served.get("/workflows/kept/latest"), sleeps("kept", "2h"));
    assert_eq!(served.get(&format!("/workflows/kept/{old}")), sleeps("kept", "1h"));
    assert_eq!(served.get(&format!("/workflows/kept/{}", &old[..12])), sleeps("kept", "1h"));
    for path in ["/workflows/none", "/workflows/none/latest", "/workflows/kept/0000000", "/workflows/kept/%25"] {
        served.ask("GET", path).send().problem(404);
    }
    served.ask("POST", "/workflows").json(&json!({"workflow": {"name": "x"}})).send().problem(422);
    served.ask("POST", "/workflows").json(&json!({"workflow": "kept"})).send().problem(400);
}

#[test]
fn they_are_listed_in_parts_and_forgotten_whole() {
    let served = Served::open();
    for place in 0..9 {
        let body = json!({"workflow": sleeps(&format!("flow-{place}"), "1h")});
        served.ask("POST", "/workflows").json(&body).send().is(201);
    }
    let all = served.all("/workflows", 2);
    let names: Vec<&str> = all.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, (0..9).map(|place| format!("flow-{place}")).collect::<Vec<_>>());
    let run = served.submit_with(json!({"workflow": "flow-3"}));
    served.ask("DELETE", "/workflows/flow-3").send().is(204);
    served.ask("DELETE", "/workflows/flow-3").send().problem(404);
    served.ask("POST", "/runs").json(&json!({"workflow": "flow-3"})).send().problem(404);
    assert_eq!(served.all("/workflows", 100).len(), 8);
    assert_eq!(served.get(&format!("/runs/{run}"))["status"], "RUNNING", "its runs are not touched");
}

#[test]
fn of_many_versions_a_hundred_stay() {
    let served = Served::open();
    for length in 1..=103 {
        let body = json!({"workflow": sleeps("kept", &format!("{length}s"))});
        served.ask("POST", "/workflows").json(&body).send().is(201);
    }
    let told = served.get("/workflows/kept");
    assert_eq!(told["versions"].as_array().unwrap().len(), 100);
    assert_eq!(served.get("/workflows/kept/latest"), sleeps("kept", "103s"));
}

/// Two workflows that take the same two locks, each by itself free of deadlocks.
fn takes(name: &str, first: &str, then: &str) -> Value {
    let step = json!({"exec": "true", "locks": [first], "acquires": {"locks": [then]}, "spawns": []});
    json!({"workflow": {"name": name, "tasks": {"a": step}}})
}

#[test]
fn a_registration_says_whether_runs_can_deadlock() {
    let served = Served::open();
    let register = |document: &Value| served.ask("POST", "/workflows").json(document).send();
    let safe = register(&takes("there", "x", "y")).is(201).json();
    assert_eq!((&safe["proof"]["verdict"], &safe["warnings"]), (&json!("safe"), &Value::Null));
    let told = register(&takes("back", "y", "x")).is(201).json();
    assert_eq!((&told["proof"]["verdict"], &told["warnings"][0]["code"]), (&json!("unsafe"), &json!("UK0430")));
    assert_eq!(told["proof"]["said"][0], "unsafe: 2 runs can come to wait for each other for ever");
    assert_eq!(served.get("/workflows/back")["proof"], Value::Null, "it is of the moment");
}

#[test]
fn a_workflow_whose_runs_can_deadlock_is_refused_by_configuration() {
    for (unsafe_workflows, status) in [(UnsafeWorkflows::Refuse, 422), (UnsafeWorkflows::Allow, 201)] {
        let base = Setup::default();
        let changeable = Changeable { unsafe_workflows, ..base.changeable.clone() };
        let served = Served::with(Setup { changeable, ..base });
        let register = |document: &Value| served.ask("POST", "/workflows").json(document).send();
        register(&takes("there", "x", "y")).is(201);
        let told = register(&takes("back", "y", "x")).is(status).json();
        match unsafe_workflows {
            UnsafeWorkflows::Refuse => {
                assert_eq!(told["code"], "UK0430");
                assert!(told["detail"].as_str().is_some_and(|detail| detail.contains("waits for lock")), "{told}");
                served.ask("GET", "/workflows/back").send().problem(404);
                served.ask("GET", "/errors/UK0430").send().is(200);
            }
            _ => assert_eq!((&told["proof"]["verdict"], &told["warnings"]), (&json!("unsafe"), &Value::Null)),
        }
    }
}
