//! `POST /runs`.

use crate::support::{Served, sleeps};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};
use unknot_server::Server;

#[test]
fn a_run_that_is_answered_for_exists() {
    let served = Served::open();
    let told = served.ask("POST", "/runs").json(&json!({"workflow": sleeps("one", "1h")})).send().is(201);
    let created = told.json();
    let run = created["run_id"].as_str().unwrap();
    assert_eq!(told.header("location"), Some(format!("/runs/{run}").as_str()));
    assert_eq!((&created["status"], &created["existing"]), (&json!("RUNNING"), &json!(false)));
    assert_eq!(served.get(&format!("/runs/{run}"))["run_id"], run);
}

#[test]
fn a_registered_workflow_is_run_by_its_name_or_one_version_of_it() {
    let served = Served::open();
    let register = |length: &str| {
        let told = served.ask("POST", "/workflows").json(&json!({"workflow": sleeps("kept", length)})).send();
        told.json()["hash"].as_str().unwrap().to_owned()
    };
    let (old, new) = (register("1h"), register("2h"));
    let hash_of = |workflow: &str| {
        let run = served.submit_with(json!({"workflow": workflow}));
        served.get(&format!("/runs/{run}"))["workflow_hash"].as_str().unwrap().to_owned()
    };
    assert_eq!(hash_of("kept"), new);
    assert_eq!(hash_of(&format!("kept@{old}")), old);
    assert_eq!(hash_of(&format!("kept@{}", &old[..12])), old);
    for unknown in ["none", "kept@0000", "kept@", "", "kept@%", "../kept"] {
        let told = served.ask("POST", "/runs").json(&json!({"workflow": unknown})).send();
        assert!(matches!(told.status, 400 | 404), "`{unknown}`: {} {}", told.status, told.text());
    }
}

#[test]
fn under_one_key_there_is_one_run() {
    let served = Served::open();
    let ask = |body: &Value| served.ask("POST", "/runs").header("Idempotency-Key", "monday").json(body).send();
    let body = json!({"workflow": sleeps("one", "1h"), "input": {"a": 1}});
    let first = ask(&body).is(201).json();
    let again = ask(&body).is(200).json();
    assert_eq!(again["run_id"], first["run_id"]);
    assert_eq!((&first["existing"], &again["existing"]), (&json!(false), &json!(true)));
    for other in [
        json!({"workflow": sleeps("one", "2h"), "input": {"a": 1}}),
        json!({"workflow": sleeps("one", "1h"), "input": {"a": 2}}),
    ] {
        ask(&other).problem(409);
    }
    served.ask("DELETE", &format!("/runs/{}/cancel", first["run_id"].as_str().unwrap())).send().is(204);
    served.until_status(first["run_id"].as_str().unwrap(), "CANCELLED");
    assert_eq!(ask(&body).is(200).json()["run_id"], first["run_id"], "also after its end");
    for key in ["", &"x".repeat(201), "\u{e4}"] {
        served.ask("POST", "/runs").header("Idempotency-Key", key).json(&body).send().problem(400);
    }
    assert_eq!(served.all("/runs", 10).len(), 1);
}

#[test]
fn many_at_once_under_one_key_are_one() {
    let served = Served::open();
    let body = json!({"workflow": sleeps("one", "1h")});
    let asked: Vec<_> = (0..20)
        .map(|_| {
            served.ask("POST", "/runs").header("Idempotency-Key", "k").header("Connection", "close").json(&body).begin()
        })
        .collect();
    let told: Vec<_> =
        asked.into_iter().map(|stream| crate::support::Reply::read(stream, "POST /runs".into())).collect();
    assert_eq!(told.iter().filter(|told| told.status == 201).count(), 1);
    assert_eq!(told.iter().filter(|told| told.status == 200).count(), 19);
    assert_eq!(served.all("/runs", 10).len(), 1);
}

#[test]
fn waiting_ends_with_the_run_or_with_the_time() {
    let served = Served::open();
    let ask = |query: &str, length: &str| {
        served.ask("POST", &format!("/runs?{query}")).json(&json!({"workflow": sleeps("one", length)})).send()
    };
    assert_eq!(ask("wait=20s", "5ms").is(201).json()["status"], "COMPLETED");
    let begun = Instant::now();
    assert_eq!(ask("wait=50ms", "1h").is(201).json()["status"], "RUNNING");
    assert!(begun.elapsed() < Duration::from_secs(10));
    for wrong in ["wait=61s", "wait=x", "wait=", "wait=1", "wait=-1s", "other=1"] {
        ask(wrong, "1ms").problem(400);
    }
}

#[test]
fn unsound_ones_are_told_place_by_place() {
    let served = Served::open();
    let ask = |workflow: Value| served.ask("POST", "/runs").json(&json!({"workflow": workflow})).send();
    let problem = ask(json!({"name": "odd", "tasks": {"a": {"sleep": "1s", "timeuot": "3s", "needs": ["b"]}}}));
    let problem = problem.problem(422);
    let found: Vec<(&str, &str)> = problem["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["code"].as_str().unwrap(), one["path"].as_str().unwrap()))
        .collect();
    assert!(found.iter().any(|(code, path)| *code == "UK0106" && path.starts_with("tasks.a")), "{problem}");
    assert!(problem["problems"].as_array().unwrap().iter().all(|one| one["line"].as_u64().unwrap() > 0), "{problem}");
    ask(json!({})).problem(422);
    ask(
        json!({"name": "cycle", "tasks": {"a": {"needs": ["b"], "sleep": "1s"}, "b": {"needs": ["a"], "sleep": "1s"}}}),
    )
    .problem(422);
    let typed = json!({"name": "typed", "input": {"n": {"type": "integer"}}, "tasks": {"a": {"sleep": "1s"}}});
    for input in [json!({}), json!({"n": "x"}), json!({"n": 1, "m": 2})] {
        let told = served.ask("POST", "/runs").json(&json!({"workflow": typed, "input": input})).send();
        assert!(!told.problem(422)["problems"].as_array().unwrap().is_empty());
    }
    assert_eq!(served.all("/runs", 10).len(), 0);
}

#[test]
fn a_folder_is_believed_over_the_local_socket_only() {
    let served = Served::open();
    let body = json!({"workflow": sleeps("one", "1h"), "source": "/srv/flows/one.yaml"});
    served.ask("POST", "/runs").json(&body).send().problem(403);
    let local = |body: &Value| {
        let body = body.to_string();
        let mut stream = UnixStream::connect(Server::socket(served.data())).unwrap();
        write!(
            stream,
            "POST /runs HTTP/1.1\r\nHost: unknot\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(local(&body).starts_with("HTTP/1.1 201 "));
    assert!(local(&json!({"workflow": sleeps("one", "1h"), "source": "one.yaml"})).starts_with("HTTP/1.1 400 "));
    assert_eq!(served.all("/runs", 10)[0]["source"], "/srv/flows/one.yaml");
}
