//! Cancellation, as its operators know it: paths, fields, words.

use crate::support::{Served, Setup, sleeps, stands};
use serde_json::{Value, json};
use unknot_server::Scope;

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// A moment as it is printed: `2024-01-15T10:30:00Z`.
fn is_printed(moment: &Value) -> bool {
    let text = moment.as_str().unwrap_or_default();
    text.len() == 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T'
}

#[test]
fn cancelling_tells_what_is_printed() {
    let served = Served::open();
    let run = served.submit(json!({"name": "five", "tasks": {
        "a": {"sleep": "1h"}, "b": {"sleep": "1h"}, "c": {"exec": ["true"]}, "d": {"needs": ["c"], "exec": ["true"]},
        "e": {"sleep": "1ms"},
    }}));
    crate::support::until("`e` has ended", || served.get(&format!("/runs/{run}"))["tasks"]["COMPLETED"] == 1);
    let cancel = format!("/runs/{run}/cancel");
    let before = served.get(&cancel);
    assert_eq!(
        before,
        json!({"run_id": run, "is_cancelled": false, "status": "RUNNING", "cancellation_reason": null,
               "cancelled_at": null, "cancelled_by": null})
    );
    let asked = served.ask("PUT", &cancel).json(&json!({"reason": "user requested cancellation", "force": false}));
    let told = asked.clone().send().is(200).json();
    assert_eq!(keys(&told), ["run_id", "status", "message", "cancelled_at", "cancelled_tasks", "reason"]);
    assert_eq!(told["run_id"], run);
    assert_eq!(told["status"], "CANCELLING");
    assert_eq!(told["message"], "Workflow cancellation initiated successfully");
    assert_eq!(told["cancelled_tasks"], 4, "one had ended");
    assert_eq!(told["reason"], "user requested cancellation");
    assert!(is_printed(&told["cancelled_at"]), "{told}");
    served.until_status(&run, "CANCELLED");
    let after = served.get(&cancel);
    assert_eq!(
        keys(&after),
        ["run_id", "is_cancelled", "status", "cancellation_reason", "cancelled_at", "cancelled_by"]
    );
    assert_eq!((&after["is_cancelled"], &after["status"]), (&json!(true), &json!("CANCELLED")));
    assert_eq!(after["cancellation_reason"], "user requested cancellation");
    assert_eq!((&after["cancelled_at"], &after["cancelled_by"]), (&told["cancelled_at"], &json!("loopback")));
    asked.send().problem(409);
}

#[test]
fn asking_again_while_it_ends_changes_nothing() {
    // A worker that never starts anything keeps the run on its way only for moments, so both are sent at once.
    let served = Served::open();
    let run = served.submit(stands("many", 2_000));
    let cancel = format!("/runs/{run}/cancel");
    let first = served.ask("PUT", &cancel).json(&json!({"reason": "first"})).begin();
    let second = served.ask("PUT", &cancel).json(&json!({"reason": "second"})).begin();
    let [first, second] = [first, second].map(|stream| {
        let mut opened = crate::support::Opened::read(stream);
        let length = opened.headers.iter().find(|(name, _)| name == "content-length").unwrap().1.parse().unwrap();
        let mut body = vec![0; length];
        std::io::Read::read_exact(&mut opened.rest, &mut body).unwrap();
        (opened.status, serde_json::from_slice::<Value>(&body).unwrap())
    });
    served.until_status(&run, "CANCELLED");
    let winner = served.get(&cancel)["cancellation_reason"].clone();
    for (status, told) in [first, second] {
        // Whoever came after its end is told so; whoever came before is told what was asked first.
        assert!(status == 409 || (status == 200 && told["reason"] == winner), "{status} {told}");
    }
}

#[test]
fn a_body_may_be_missing_and_runs_that_are_unknown_are_not_found() {
    let served = Served::closed();
    let admin = served.token(Scope::Admin);
    let submit = served.ask("POST", "/runs").token(&admin).json(&json!({"workflow": sleeps("one", "1h")}));
    let run = submit.send().is(201).json()["run_id"].as_str().unwrap().to_owned();
    let told = served.ask("PUT", &format!("/runs/{run}/cancel")).token(&admin).send().is(200).json();
    assert_eq!(told["reason"], "cancelled by t-Admin");
    for id in ["run_01ARZ3NDEKTSV4RRFFQ69G5FAV", "workflow_abc123", "%00", "..%2f..", "x"] {
        let path = format!("/runs/{id}/cancel");
        served.ask("GET", &path).send().problem(404);
        served.ask("PUT", &path).token(&admin).send().problem(404);
        served.ask("DELETE", &path).token(&admin).send().problem(404);
    }
}

#[test]
fn forcing_ends_it_at_once_and_again_changes_nothing() {
    let served = Served::open();
    let run = served.submit(sleeps("one", "1h"));
    let cancel = format!("/runs/{run}/cancel");
    let told = served.ask("DELETE", &cancel).send().is(204);
    assert!(told.body.is_empty() && told.header("content-type").is_none(), "{:?}", told.headers);
    served.until_status(&run, "CANCELLED");
    served.ask("DELETE", &cancel).send().is(204);
    assert_eq!(served.get(&cancel)["cancellation_reason"], "forced to its end by loopback");
    let (done, status) = served.complete(sleeps("short", "1ms"));
    assert_eq!(status, "COMPLETED");
    served.ask("DELETE", &format!("/runs/{done}/cancel")).send().problem(409);
    served.ask("PUT", &format!("/runs/{done}/cancel")).send().problem(409);
}

#[test]
fn cancelled_runs_are_a_bare_list() {
    let served = Served::open();
    assert_eq!(served.get("/runs/cancelled"), json!([]));
    let mut runs = Vec::new();
    for place in 0..7 {
        let client = if place % 2 == 0 { "analytics_team" } else { "others" };
        let run = served.submit_with(json!({"workflow": sleeps("data-analysis", "1h"), "client_id": client}));
        served.ask("PUT", &format!("/runs/{run}/cancel")).json(&json!({"reason": "auto-cancel"})).send().is(200);
        served.until_status(&run, "CANCELLED");
        runs.push(run);
    }
    served.submit(sleeps("data-analysis", "1h"));
    served.complete(sleeps("short", "1ms"));
    runs.reverse();
    let ids = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap().to_owned()).collect()
    };
    let all = served.get("/runs/cancelled?limit=50&offset=0");
    assert_eq!(ids(&all), runs);
    let team = served.get("/runs/cancelled?limit=50&offset=0&client_id=analytics_team");
    assert_eq!(team.as_array().unwrap().len(), 4);
    let first = &team[0];
    let printed = [
        "run_id",
        "workflow_name",
        "status",
        "cancelled_at",
        "cancellation_reason",
        "cancelled_by",
        "task_count",
        "client_id",
    ];
    assert_eq!(keys(first), printed);
    assert!(is_printed(&first["cancelled_at"]), "{first}");
    assert_eq!((&first["workflow_name"], &first["status"]), (&json!("data-analysis"), &json!("CANCELLED")));
    assert_eq!((&first["task_count"], &first["client_id"]), (&json!(1), &json!("analytics_team")));
    let pieces: Vec<String> = (0..8)
        .step_by(3)
        .flat_map(|offset| ids(&served.get(&format!("/runs/cancelled?limit=3&offset={offset}"))))
        .collect();
    assert_eq!(pieces, runs);
    assert_eq!(served.get("/runs/cancelled?offset=100000"), json!([]));
    for wrong in ["limit=0", "limit=1001", "limit=-1", "limit=x", "offset=100001", "offset=-1", "what=1"] {
        served.ask("GET", &format!("/runs/cancelled?{wrong}")).send().problem(400);
    }
}

#[test]
fn the_printed_reads_need_no_token_on_this_machine() {
    let served = Served::with(Setup { insecure: false, ..Setup::default() });
    for path in ["/health", "/stats", "/runs/cancelled?limit=5"] {
        served.ask("GET", path).send().is(200);
    }
    served.ask("GET", "/runs/run_01ARZ3NDEKTSV4RRFFQ69G5FAV/cancel").send().problem(404);
}
