//! Every example is run by the real command, and its outcome compared with what it promises.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests are free of the bans")]

use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// The repository's folder of examples.
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");

fn unknot(data: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unknot"));
    // Scripts of examples call it by its name.
    let ours = Path::new(env!("CARGO_BIN_EXE_unknot")).parent().expect("a folder").to_owned();
    let others = std::env::var_os("PATH").unwrap_or_default();
    let all = std::env::join_paths([ours].into_iter().chain(std::env::split_paths(&others))).expect("folders");
    let output = command
        .env("PATH", all)
        .args(arguments)
        .arg("--data")
        .arg(data)
        .stdin(Stdio::null())
        .output()
        .expect("unknot runs");
    let text = String::from_utf8(output.stdout).expect("its output is text");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

#[test]
fn each_example_is_tested_here() {
    let names = fs::read_dir(EXAMPLES).expect("there are examples").flatten().map(|entry| entry.file_name());
    assert_eq!(names.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>(), ["locks", "quickstart"]);
}

#[test]
fn the_quickstart_retries_falls_back_and_leaves_a_page_to_open() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let flow = format!("{EXAMPLES}/quickstart/flow.yaml");
    let (code, _) = unknot(data.path(), &["run", &flow, "-i", "pace=0.05"]);
    assert_eq!(code, Some(0));

    let (_, shown) = unknot(data.path(), &["show", "latest", "--json"]);
    let shown: Value = serde_json::from_str(&shown).expect("`show --json` prints JSON");
    // Four paced steps follow upon each other: the README promises that `pace` makes room for a Ctrl-C.
    let moment = |key: &str| shown[key].as_u64().expect("a moment");
    assert!(moment("ended_at") - moment("submitted_at") >= 4 * 50, "{shown}");
    let outcome: Vec<Value> = shown["tasks"].as_array().expect("tasks").iter().map(summary).collect();
    let expected = [
        json!(["inventory", "COMPLETED", 1, null]),
        json!(["code", "COMPLETED", 1, null]),
        json!(["words", "COMPLETED", 1, null]),
        json!(["history", "COMPLETED", 2, null]),
        json!(["poster", "FAILED", 1, "exit"]),
        json!(["poster-small", "COMPLETED", 1, null]),
        json!(["report", "COMPLETED", 1, null]),
    ];
    assert_eq!(outcome, expected);

    let page = shown["tasks"][6]["output"]["page"].as_str().expect("the report says where its page is");
    let page = fs::read_to_string(page).expect("the page is there");
    assert!(page.contains("<svg") && page.contains("lines of Rust") && page.contains(">core</text>"), "{page}");
}

#[test]
fn two_scripts_with_two_locks_are_never_at_work_together() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let flow = format!("{EXAMPLES}/locks/flow.yaml");
    let (code, printed) = unknot(data.path(), &["run", &flow, "-i", "pace=0.05"]);
    assert_eq!(code, Some(0), "{printed}");
    let (_, shown) = unknot(data.path(), &["show", "latest", "--json"]);
    let shown: Value = serde_json::from_str(&shown).expect("`show --json` prints JSON");
    let moment = |task: usize, key: &str| shown["tasks"][task]["output"][key].as_u64().expect("a moment");
    let (first, second) = if moment(0, "began") < moment(1, "began") { (0, 1) } else { (1, 0) };
    assert!(moment(first, "ended") <= moment(second, "began"), "{shown}");
}

fn summary(task: &Value) -> Value {
    json!([task["task"], task["status"], task["attempts"], task["error"]["reason"]])
}
