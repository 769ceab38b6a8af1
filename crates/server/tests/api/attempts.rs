//! What an attempt elsewhere sends under its own token, and what somebody may make of that.

use crate::support::{Ask, Reply, Served, stands};
use serde_json::{Value, json};
use std::{
    fs,
    net::Shutdown,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};
use unknot_engine::ATTEMPTS;

const MIB: usize = 1024 * 1024;

/// A worker elsewhere that was given one attempt.
struct Given {
    served: Served,
    session: String,
    run: String,
    task: String,
    attempt: String,
    fence: u64,
    token: String,
}

fn given() -> Given {
    let served = Served::open();
    let run = served.submit(stands("far", 1));
    let worker = json!({"protocol": 1, "name": "far", "boot": "1", "slots": 1, "kinds": ["exec"]});
    let told = served.ask("POST", "/workers").json(&worker).send().is(201).json();
    let session = told["session"].as_str().unwrap().to_owned();
    let claim = json!({"session": session, "most": 1});
    let claimed = served.ask("POST", "/workers/far/claim").json(&claim).send().is(200).json();
    let (assignment, token) = (&claimed["work"][0]["assignment"], &claimed["work"][0]["token"]);
    let attempt = assignment["attempt"].as_str().unwrap().to_owned();
    let task = served.all(&format!("/runs/{run}/tasks"), 10)[0]["task_id"].as_str().unwrap().to_owned();
    let (fence, token) = (assignment["fence"].as_u64().unwrap(), token.as_str().unwrap().to_owned());
    Given { served, session, run, task, attempt, fence, token }
}

impl Given {
    fn ask(&self, path: &str) -> Ask {
        let asked = self.served.ask("PUT", &format!("/attempts/{}/{path}", self.attempt));
        asked.token(&self.token).header("Content-Type", "application/octet-stream")
    }

    fn part(&self, path: &str, offset: usize, size: usize, bytes: &[u8]) -> Ask {
        self.ask(&format!("artifacts/{path}?offset={offset}&size={size}")).body(bytes)
    }

    fn put(&self, path: &str, offset: usize, size: usize, bytes: &[u8]) -> Reply {
        self.part(path, offset, size, bytes).send()
    }

    fn listed(&self) -> Value {
        self.served.get(&format!("/tasks/{}/artifacts", self.task))
    }

    fn file(&self, path: &str) -> Reply {
        self.served.ask("GET", &format!("/tasks/{}/artifacts/{path}", self.task)).send()
    }

    fn folder(&self) -> PathBuf {
        self.served.data().join(ATTEMPTS).join(&self.run).join("t0").join(&self.attempt)
    }

    fn end(&self) {
        let ended = json!({"ended": {"at_ms": 1, "outcome": {"succeeded": {"output": {"n": 7}}}}});
        let report = json!({"attempt": self.attempt, "fence": self.fence, "body": ended});
        let reports = json!({"session": self.session, "reports": [report]});
        let told = self.served.ask("POST", "/workers/far/report").json(&reports).send().is(200).json();
        assert_eq!(told, json!({"settled": [0]}));
    }
}

/// All files below a folder, with what they hold.
fn files_below(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| if entry.file_type().unwrap().is_dir() { files_below(&entry.path()) } else { 1 }).sum()
}

#[test]
fn a_file_that_comes_in_parts_is_shown_once_it_is_whole() {
    let given = given();
    let whole: Vec<u8> = (0..5 * MIB / 2).map(|byte| (byte % 251) as u8).collect();
    let size = whole.len();
    let told = |reply: Reply| (reply.status, reply.json()["bytes"].as_u64().unwrap() as usize);
    assert_eq!(told(given.put("deep/er/numbers", 0, size, &whole[..MIB])), (200, MIB));
    assert_eq!(given.listed(), json!([]));
    given.file("deep/er/numbers").problem(404);
    // A connection that breaks in the middle of a part costs that part.
    let broken = given.part("deep/er/numbers", MIB, size, &whole[MIB..2 * MIB]).begin_half();
    broken.shutdown(Shutdown::Both).unwrap();
    assert_eq!(told(given.put("deep/er/numbers", 2 * MIB, size, &whole[2 * MIB..])), (409, MIB), "it goes on there");
    assert_eq!(told(given.put("deep/er/numbers", MIB, size, &whole[MIB..2 * MIB])), (200, 2 * MIB));
    assert_eq!(given.listed(), json!([]));
    for _ in ["the first time", "the answer was lost"] {
        assert_eq!(told(given.put("deep/er/numbers", 2 * MIB, size, &whole[2 * MIB..])), (200, size));
        assert_eq!(given.listed(), json!([{"path": "deep/er/numbers", "bytes": size}]));
    }
    assert_eq!(told(given.put("empty", 0, 0, b"")), (200, 0));
    assert_eq!(given.file("deep/er/numbers").is(200).body, whole);
    given.end();
    given.served.until_status(&given.run, "COMPLETED");
    assert_eq!(given.file("empty").is(200).body, b"");
    let task = given.served.get(&format!("/tasks/{}", given.task));
    assert_eq!(task["output"], json!({"n": 7}), "{task}");
}

#[test]
fn no_path_leaves_the_folder() {
    let given = given();
    fs::create_dir_all(given.folder().join("artifacts")).unwrap();
    symlink(given.served.data(), given.folder().join("artifacts/way")).unwrap();
    let before = files_below(given.served.data());
    for path in [
        "../log.txt",
        "..%2flog.txt",
        "%2e%2e/log.txt",
        "%2e%2e%2flog.txt",
        "a/../../log.txt",
        "%2ftmp%2fx",
        "/tmp/x",
        "a//b",
        "a/",
        ".",
        "a/./b",
        "x%00y",
        "way/secret",
        "%ff",
        &"d/".repeat(9),
        &format!("{}x", "d/".repeat(9)),
        &"x".repeat(256),
        &"x/".repeat(600),
    ] {
        given.put(path, 0, 1, b"x").problem(400);
    }
    assert_eq!(files_below(given.served.data()), before, "nothing is left of any");
    given.put("%61/b%2fc", 0, 1, b"x").is(200);
    assert_eq!(given.listed(), json!([{"path": "a/b/c", "bytes": 1}]));
    given.put("a/b", 0, 1, b"x").problem(400);
    given.put("a/b/c/d", 0, 1, b"x").problem(400);
}

#[test]
fn what_is_too_much_or_makes_no_sense_is_refused() {
    let given = given();
    given.put("x", 0, 1024 * MIB + 1, b"x").problem(413);
    given.put("x", 0, 2 * MIB, &vec![0; MIB + 1]).problem(413);
    given.put("x", 0, 1, b"xy").problem(400);
    given.put("x", usize::MAX, usize::MAX, b"x").problem(413);
    for query in ["", "?offset=0", "?size=1", "?offset=-1&size=1", "?offset=0&size=1&more=1"] {
        given.ask(&format!("artifacts/x{query}")).body("x").send().problem(400);
    }
    let form = given.part("x", 0, 1, b"x").without("Content-Type").header("Content-Type", "text/plain");
    form.send().problem(415);
    fs::create_dir_all(given.folder().join("artifacts")).unwrap();
    for file in 0..1_000 {
        fs::write(given.folder().join(format!("artifacts/{file}")), "").unwrap();
    }
    given.put("one-more", 0, 1, b"x").problem(413);
    given.put("7", 0, 1, b"x").is(200);
    assert_eq!(given.file("7").is(200).text(), "x");
}

#[test]
fn only_the_attempt_itself_may_while_it_has_its_lease() {
    let given = given();
    let path = format!("/attempts/{}/artifacts/x?offset=0&size=1", given.attempt);
    let other = path.replace(".1/artifacts", ".2/artifacts");
    let bytes = |path: &str| given.served.ask("PUT", path).header("Content-Type", "application/octet-stream").body("x");
    bytes(&path).send().problem(401);
    bytes(&path).token("uka_wrong").send().problem(401);
    bytes(&other).token(&given.token).send().problem(403);
    bytes("/attempts/none/artifacts/x?offset=0&size=1").token(&given.token).send().problem(404);
    let (admin, log) = (given.served.token(unknot_server::Scope::Admin), given.ask("log?offset=0").body("printed"));
    assert!([401, 403].contains(&bytes(&path).token(&admin).send().status));
    given.put("half", 0, 2, b"x").is(200);
    log.clone().send().is(200);
    given.end();
    // Fenced: somebody else may have the task by now.
    given.put("half", 1, 2, b"y").problem(401);
    given.put("new", 0, 1, b"x").problem(401);
    log.send().problem(401);
    assert_eq!(given.listed(), json!([]), "what was never completed is not shown");
}

#[test]
fn workers_are_listed_with_what_they_take_and_their_labels() {
    let served = Served::open();
    let worker = json!({"protocol": 1, "name": "far", "boot": "a1", "slots": 2, "kinds": ["http", "exec"],
                        "queues": ["slow", "gpu"], "handlers": ["resize"], "labels": {"zone": "b"}});
    served.ask("POST", "/workers").json(&worker).send().is(201);
    let all = json!({"protocol": 1, "name": "near", "boot": "b2", "slots": 1, "kinds": ["exec", "http", "noop"]});
    served.ask("POST", "/workers").json(&all).send().is(201);
    for (key, wrong) in
        [("queues", json!(["x\u{1b}[2J"])), ("labels", json!({"x": "y\n"})), ("labels", json!({"x".repeat(201): ""}))]
    {
        let mut worker = worker.clone();
        worker[key] = wrong;
        served.ask("POST", "/workers").json(&worker).send().problem(400);
    }
    let expected = json!([
        {"name": "far", "boot": "a1", "slots": 2, "leases": 0, "queues": ["gpu", "slow"], "kinds": ["exec", "http"], "handlers": ["resize"],
         "labels": {"zone": "b"}},
        {"name": "near", "boot": "b2", "slots": 1, "leases": 0, "kinds": ["exec", "http", "noop"]},
    ]);
    crate::support::until("both are there", || served.get("/workers") == expected);
    assert_eq!(served.get("/stats")["workers"], expected);
}
