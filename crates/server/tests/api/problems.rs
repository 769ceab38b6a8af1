//! Refusals: one form, codes, and a page for each.

use crate::support::{Served, sleeps};
use serde_json::json;
use std::collections::BTreeSet;

#[test]
fn every_refusal_is_a_problem_with_a_page() {
    let served = Served::closed();
    let token = served.token(unknot_server::Scope::Admin);
    let run = served.ask("POST", "/runs").token(&token).json(&json!({"workflow": sleeps("one", "1ms")}));
    let run = run.send().is(201).json()["run_id"].as_str().unwrap().to_owned();
    let ask = |method: &str, path: &str| served.ask(method, path).token(&token);
    let problems = [
        (400, ask("GET", "/runs?what=1")),
        (401, served.ask("GET", "/runs")),
        (403, ask("GET", "/runs").header("Origin", "http://evil.example")),
        (404, ask("GET", "/nothing")),
        (404, ask("GET", "/runs/")),
        (404, ask("GET", "//runs")),
        (405, ask("POST", "/health")),
        (405, ask("DELETE", "/runs")),
        (405, ask("PATCH", &format!("/runs/{run}/cancel"))),
        (413, ask("PUT", &format!("/runs/{run}/cancel")).json(&json!({"reason": "x".repeat(1_100_000)}))),
        (415, ask("POST", "/runs").body("x")),
        (421, ask("GET", "/runs").without("Host").header("Host", "evil.example")),
        (422, ask("POST", "/runs").json(&json!({"workflow": {}}))),
    ];
    for (status, asked) in problems {
        let problem = asked.send().problem(status);
        let page = served.ask("GET", problem["type"].as_str().unwrap()).send().is(200);
        assert_eq!(page.header("content-type"), Some("text/markdown; charset=utf-8"));
        assert!(page.text().starts_with(&format!("# UK0{status}")), "{}", page.text());
    }
    served.ask("GET", "/errors/UK9999").send().problem(404);
}

#[test]
fn what_is_not_allowed_says_what_is() {
    let served = Served::open();
    for (method, path) in [("POST", "/health"), ("DELETE", "/runs"), ("TRACE", "/runs")] {
        let told = served.ask(method, path).send();
        assert!(told.header("allow").is_some_and(|allowed| allowed.contains("GET")), "{:?}", told.headers);
        told.problem(405);
    }
}

#[test]
fn each_status_that_can_be_told_has_a_page() {
    let served = Served::open();
    let source = include_str!("../../src/problem.rs");
    let titles = source.split("fn title").nth(1).unwrap().split("_ =>").next().unwrap();
    let statuses: BTreeSet<&str> =
        titles.lines().filter_map(|line| line.trim().split_once(" => ")).map(|(status, _)| status).collect();
    assert!(statuses.len() > 10);
    for status in statuses {
        served.ask("GET", &format!("/errors/UK0{status}")).send().is(200);
    }
    served.ask("GET", "/errors/UK0500").send().is(200);
}
