//! Logs and artifacts: what an attempt left, whatever it left.

use crate::support::{Served, Setup};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::symlink, path::PathBuf};

/// A task whose one attempt could not be started; its folder is filled as if it had.
struct Tried {
    served: Served,
    task: String,
    folder: PathBuf,
}

fn tried() -> Tried {
    let mut setup = Setup { slots: 1, ..Setup::default() };
    setup.settings.bounds.launch_failures_max = 1;
    let served = Served::with(setup);
    let (run, status) = served.complete(json!({"name": "tried", "tasks": {"a": {"exec": ["true"]}}}));
    assert_eq!(status, "FAILED");
    let told = served.all(&format!("/runs/{run}/tasks"), 10).remove(0);
    assert_eq!(told["attempts"], 1, "{told}");
    let task = told["task_id"].as_str().unwrap().to_owned();
    let attempt = format!("{}.1", task.replacen("task_", "att_", 1));
    let folder = served.data().join("attempts").join(&run).join("a").join(attempt);
    fs::create_dir_all(folder.join("artifacts/deep/er")).unwrap();
    fs::write(folder.join("log.txt"), "0123456789").unwrap();
    fs::write(folder.join("artifacts/page.html"), "<script>alert(1)</script>").unwrap();
    fs::write(folder.join("artifacts/deep/er/numbers"), vec![7; 300_000]).unwrap();
    fs::write(folder.join("artifacts/empty"), "").unwrap();
    Tried { served, task, folder }
}

#[test]
fn a_log_is_sent_whole_or_in_parts() {
    let tried = tried();
    let path = format!("/tasks/{}/log", tried.task);
    let whole = tried.served.ask("GET", &path).send().is(200);
    assert_eq!((whole.text().as_str(), whole.header("accept-ranges")), ("0123456789", Some("bytes")));
    for (range, status, body, content_range) in [
        ("bytes=0-3", 206, "0123", Some("bytes 0-3/10")),
        ("bytes=8-", 206, "89", Some("bytes 8-9/10")),
        ("bytes=-3", 206, "789", Some("bytes 7-9/10")),
        ("bytes=0-0", 206, "0", Some("bytes 0-0/10")),
        ("bytes=5-99", 206, "56789", Some("bytes 5-9/10")),
        ("bytes=0-1,3-4", 200, "0123456789", None),
        ("pages=1", 200, "0123456789", None),
    ] {
        let told = tried.served.ask("GET", &path).header("Range", range).send().is(status);
        assert_eq!((told.text().as_str(), told.header("content-range")), (body, content_range), "{range}");
    }
    let beyond = tried.served.ask("GET", &path).header("Range", "bytes=10-").send();
    assert_eq!(beyond.header("content-range"), Some("bytes */10"));
    beyond.problem(416);
    let head = tried.served.ask("HEAD", &path).send().is(200);
    assert_eq!((head.header("content-length"), head.body.len()), (Some("10"), 0));
    // Nothing more comes of a run that has ended, so following it ends.
    let followed = tried.served.ask("GET", &format!("{path}?follow=true")).send().is(200);
    assert_eq!(followed.text(), "0123456789");
    tried.served.ask("GET", &format!("{path}?attempt=1")).send().is(200);
    for attempt in ["0", "2"] {
        tried.served.ask("GET", &format!("{path}?attempt={attempt}")).send().problem(404);
    }
    tried.served.ask("GET", &format!("{path}?attempt=-1")).send().problem(400);
}

#[test]
fn artifacts_are_listed_and_sent() {
    let tried = tried();
    let path = format!("/tasks/{}/artifacts", tried.task);
    symlink("/etc/passwd", tried.folder.join("artifacts/link")).unwrap();
    let listed: Value = tried.served.get(&path);
    let expected = json!([
        {"path": "deep/er/numbers", "bytes": 300_000}, {"path": "empty", "bytes": 0}, {"path": "page.html", "bytes": 25},
    ]);
    assert_eq!(listed, expected);
    let page = tried.served.ask("GET", &format!("{path}/page.html")).send().is(200);
    assert_eq!(page.header("content-type"), Some("application/octet-stream"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("content-security-policy"), Some("sandbox"));
    let numbers = tried.served.ask("GET", &format!("{path}/deep/er/numbers")).send().is(200);
    assert_eq!(numbers.body, vec![7; 300_000]);
    let part = tried.served.ask("GET", &format!("{path}/deep/er/numbers")).header("Range", "bytes=-1").send().is(206);
    assert_eq!(part.body, [7]);
    assert!(tried.served.ask("GET", &format!("{path}/empty")).send().is(200).body.is_empty());
}

#[test]
fn no_path_leaves_its_folder_and_nothing_odd_is_opened() {
    let tried = tried();
    let artifacts = tried.folder.join("artifacts");
    fs::write(tried.folder.join("secret"), "secret").unwrap();
    symlink("../secret", artifacts.join("link")).unwrap();
    symlink("..", artifacts.join("up")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, artifacts.join("fifo"), fifo, 0o600.into(), 0).unwrap();
    for path in [
        "../secret",
        "..%2fsecret",
        "%2e%2e/secret",
        "%2e%2e%2fsecret",
        "deep/../../secret",
        "link",
        "up/secret",
        "fifo",
        "deep",
        "deep/",
        "%2fetc%2fpasswd",
        "/etc/passwd",
        "x%00y",
        "missing",
        ".",
        "%2e",
        "x".repeat(5_000).as_str(),
    ] {
        let told = tried.served.ask("GET", &format!("/tasks/{}/artifacts/{path}", tried.task)).send();
        assert_eq!(told.status, 404, "{path}: {}", told.text());
        assert!(!told.text().contains("root:"));
    }
    // The log itself may be replaced by its task.
    fs::remove_file(tried.folder.join("log.txt")).unwrap();
    symlink("/etc/passwd", tried.folder.join("log.txt")).unwrap();
    let log = format!("/tasks/{}/log", tried.task);
    tried.served.ask("GET", &log).send().problem(404);
    assert_eq!(tried.served.ask("GET", &format!("{log}?follow=true")).send().is(200).text(), "");
    fs::remove_file(tried.folder.join("log.txt")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, tried.folder.join("log.txt"), fifo, 0o600.into(), 0).unwrap();
    tried.served.ask("GET", &log).send().problem(404);
}
