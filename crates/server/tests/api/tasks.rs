//! Tasks of small and large runs.

use crate::support::{Served, fails, sleeps, stands};
use serde_json::{Value, json};

fn names(items: &[Value]) -> Vec<&str> {
    items.iter().map(|task| task["name"].as_str().unwrap()).collect()
}

#[test]
fn a_hundred_tasks_in_the_order_of_their_workflow() {
    let served = Served::open();
    let run = served.submit(stands("hundred", 100));
    let expected: Vec<String> = (0..100).map(|place| format!("t{place}")).collect();
    for limit in [1, 33, 100, 1000] {
        assert_eq!(names(&served.all(&format!("/runs/{run}/tasks"), limit)), expected, "{limit}");
    }
    let queued = served.all(&format!("/runs/{run}/tasks?status=QUEUED"), 7);
    assert_eq!(queued.len(), 100);
    let wait = &queued[0]["wait"];
    assert_eq!((&wait["on"], wait["deadline"].is_string()), (&json!("grant"), true), "{wait}");
    assert!(served.all(&format!("/runs/{run}/tasks?status=FAILED"), 7).is_empty());
}

#[test]
fn five_thousand_tasks_those_untouched_as_well() {
    let served = Served::open();
    // The first holds back all others, for which nothing is stored.
    let mut tasks = serde_json::Map::from_iter([("first".to_owned(), json!({"sleep": "1h"}))]);
    tasks.extend((1..5_000).map(|place| (format!("t{place}"), json!({"needs": ["first"], "sleep": "1s"}))));
    let run = served.submit(json!({"name": "large", "tasks": tasks}));
    let told = served.get(&format!("/runs/{run}"));
    assert_eq!((&told["task_count"], &told["tasks"]), (&json!(5_000), &json!({"PENDING": 4_999, "WAITING": 1})));
    let path = format!("/runs/{run}/tasks");
    for limit in [999, 1_000] {
        let items = served.all(&path, limit);
        assert_eq!(items.len(), 5_000);
        assert_eq!(names(&items)[..3], ["first", "t1", "t2"]);
        assert_eq!(names(&items)[4_999], "t4999");
        assert!(items[1..].iter().all(|task| task["status"] == "PENDING" && task["wait"]["on"] == "needs"));
    }
    assert_eq!(names(&served.all(&format!("{path}?status=WAITING"), 1)), ["first"]);
    assert_eq!(served.all(&format!("{path}?status=PENDING"), 1_000).len(), 4_999);
    let last = served.all(&path, 1_000)[4_999]["task_id"].as_str().unwrap().to_owned();
    assert_eq!(served.get(&format!("/tasks/{last}"))["name"], "t4999");
    let beyond = format!("{}.5000", last.rsplit_once('.').unwrap().0);
    served.ask("GET", &format!("/tasks/{beyond}")).send().problem(404);
    served.ask("PUT", &format!("/runs/{run}/cancel")).send().is(200);
    served.until_status(&run, "CANCELLED");
    assert_eq!(served.all(&format!("{path}?status=CANCELLED"), 1_000).len(), 5_000);
}

#[test]
fn a_task_that_failed_says_why() {
    let served = Served::open();
    let (run, status) = served.complete(fails("fails"));
    assert_eq!(status, "FAILED");
    let task = served.all(&format!("/runs/{run}/tasks"), 10).remove(0);
    assert_eq!((&task["status"], &task["attempts"]), (&json!("FAILED"), &json!(0)));
    assert!(task["error"]["message"].as_str().unwrap_or_default().len() > 5 || task["reason"].is_string(), "{task}");
    let id = task["task_id"].as_str().unwrap();
    let log = served.ask("GET", &format!("/tasks/{id}/log")).send().problem(404);
    assert!(log["detail"].as_str().unwrap().contains("has not been tried"), "{log}");
}

#[test]
fn what_no_list_of_tasks_has_is_refused() {
    let served = Served::open();
    let run = served.submit(sleeps("one", "1h"));
    for query in ["status=DONE", "limit=0", "after=x", "after=-1", "after=99999999999", "what=1"] {
        served.ask("GET", &format!("/runs/{run}/tasks?{query}")).send().problem(400);
    }
    assert_eq!(served.get(&format!("/runs/{run}/tasks?after=4294967295")), json!({"items": []}));
    served.ask("GET", "/runs/run_01ARZ3NDEKTSV4RRFFQ69G5FAV/tasks").send().problem(404);
    for id in ["x", "run_01ARZ3NDEKTSV4RRFFQ69G5FAV", "task_01ARZ3NDEKTSV4RRFFQ69G5FAV.0", "task_x.0", "%2e%2e"] {
        served.ask("GET", &format!("/tasks/{id}")).send().problem(404);
    }
}

#[test]
fn a_wait_for_other_tasks_names_them() {
    let served = Served::open();
    let mut tasks: serde_json::Map<String, Value> =
        (0..30).map(|task| (format!("t{task}"), json!({"sleep": "1h"}))).collect();
    let needs: Vec<String> = (0..30).map(|task| format!("t{task}")).collect();
    tasks.insert("all".to_owned(), json!({"needs": needs, "sleep": "1ms"}));
    tasks.insert(
        "any".to_owned(),
        json!({"needs": {"any": ["all", {"task": "t1", "until": "finished"}]}, "sleep": "1ms"}),
    );
    let run = served.submit(json!({"name": "fan-in", "tasks": tasks}));
    let listed = served.all(&format!("/runs/{run}/tasks?status=PENDING"), 100);
    let all = &listed[0]["wait"]["needs"];
    assert_eq!(all["names"], json!(["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7"]), "{all}");
    assert_eq!((&all["open"], &all["missing"], &all["until"]), (&json!(30), &json!(30), &json!("success")));
    let id = listed[1]["task_id"].as_str().unwrap();
    let any = served.get(&format!("/tasks/{id}"))["wait"]["needs"].clone();
    assert_eq!((&any["names"], &any["missing"]), (&json!(["all", "t1"]), &json!(1)), "{any}");
    let sleeping = served.all(&format!("/runs/{run}/tasks?status=WAITING"), 1);
    assert_eq!(sleeping[0]["wait"].get("needs"), None, "it waits for nobody");
}
