//! Lists of runs: every filter, and all parts to the end.

use crate::support::{Served, fails, sleeps};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn ids(items: &[Value]) -> Vec<&str> {
    items.iter().map(|run| run["run_id"].as_str().unwrap()).collect()
}

#[test]
fn each_filter_finds_what_it_says() {
    let served = Served::open();
    let (done, _) = served.complete(sleeps("short", "1ms"));
    let (failed, status) = served.complete(fails("fails"));
    assert_eq!(status, "FAILED");
    let labelled = served.submit_with(json!({
        "workflow": sleeps("long", "1h"), "labels": {"team": "maps", "a": "b=c"}, "client_id": "one",
    }));
    let later = served.submit_with(json!({"workflow": sleeps("long", "1h"), "start_at": "2099-01-01T00:00:00Z"}));
    let cancelled = served.submit(sleeps("long", "1h"));
    served.ask("PUT", &format!("/runs/{cancelled}/cancel")).send().is(200);
    served.until_status(&cancelled, "CANCELLED");
    let find = |query: &str| served.all(&format!("/runs?{query}"), 2);
    let newest_first = [&cancelled, &later, &labelled, &failed, &done];
    assert_eq!(ids(&served.all("/runs", 2)), newest_first);
    for (query, expected) in [
        ("status=COMPLETED", vec![&done]),
        ("status=completed", vec![&done]),
        ("status=FAILED", vec![&failed]),
        ("status=CANCELLED", vec![&cancelled]),
        ("status=PENDING", vec![&later]),
        ("status=RUNNING", vec![&labelled]),
        ("status=TIMED_OUT", vec![]),
        ("status=CANCELLING", vec![]),
        ("workflow=long", vec![&cancelled, &later, &labelled]),
        ("workflow=none", vec![]),
        ("client_id=one", vec![&labelled]),
        ("label=team%3Dmaps", vec![&labelled]),
        ("label=team=maps", vec![&labelled]),
        ("label=a%3Db%3Dc", vec![&labelled]),
        ("label=team%3Dother", vec![]),
        ("workflow=long&status=CANCELLED", vec![&cancelled]),
        ("since=2001-01-01T00:00:00Z", newest_first.to_vec()),
        ("until=2001-01-01T00:00:00Z", vec![]),
    ] {
        assert_eq!(ids(&find(query)), expected, "{query}");
    }
    let at = served.get(&format!("/runs/{labelled}"))["submitted_at"].as_str().unwrap().to_owned();
    assert!(ids(&find(&format!("since={at}"))).contains(&labelled.as_str()), "`since` is meant with its moment");
    assert!(!ids(&find(&format!("until={at}"))).contains(&labelled.as_str()), "`until` without");
}

#[test]
fn what_no_list_has_is_refused() {
    let served = Served::open();
    for query in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=1.5",
        "limit=",
        "status=DONE",
        "label=x",
        "since=yesterday",
        "after=x",
        "after=",
        "what=1",
        "limit=1&limit=2",
        "status=%ff",
    ] {
        let told = served.ask("GET", &format!("/runs?{query}")).send();
        assert_eq!(told.status, 400, "{query}: {}", told.text());
        told.problem(400);
    }
    let problem = served.ask("GET", "/runs?status=DONE").send().problem(400);
    assert!(problem["detail"].as_str().unwrap().contains("TIMED_OUT"), "{problem}");
}

#[test]
fn all_parts_together_are_the_whole_and_nothing_twice() {
    let served = Served::open();
    let made: BTreeSet<String> = (0..60)
        .map(|place| match place % 3 {
            0 => served.complete(sleeps("short", "1ms")).0,
            _ => served.submit(sleeps("long", "1h")),
        })
        .collect();
    for limit in [1, 7, 59, 60, 61, 1000] {
        let items = served.all("/runs", limit);
        assert_eq!(items.len(), 60, "{limit}");
        assert_eq!(items.iter().map(|run| run["run_id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>(), made);
    }
    // What comes between two parts stands before both, and takes nothing away.
    let first = served.get("/runs?limit=10");
    served.submit(sleeps("long", "1h"));
    let next = first["next"].as_str().unwrap();
    let second = served.get(&format!("/runs?limit=1000&after={next}"));
    assert_eq!(second["items"].as_array().unwrap().len(), 50);
}

#[test]
fn a_run_is_told_whole() {
    let served = Served::open();
    let run = served.submit_with(json!({
        "workflow": {"name": "told", "labels": {"own": "1"}, "input": {"word": {"type": "string", "default": "tides"}},
                     "tasks": {"a": {"sleep": "1h"}, "b": {"needs": ["a"], "sleep": "1s"}}},
        "labels": {"team": "maps"},
    }));
    let told = served.get(&format!("/runs/{run}"));
    assert_eq!(told["workflow_name"], "told");
    assert_eq!(told["labels"], json!({"own": "1", "team": "maps"}));
    assert_eq!(told["input"], json!({"word": "tides"}));
    assert_eq!((&told["task_count"], &told["durable"]), (&json!(2), &json!(true)));
    assert_eq!(told["tasks"], json!({"PENDING": 1, "WAITING": 1}));
    served.ask("GET", &format!("/runs/{run}?what=1")).send().problem(400);
    served.ask("GET", "/runs/run_01ARZ3NDEKTSV4RRFFQ69G5FAV").send().problem(404);
}
