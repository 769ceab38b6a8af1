//! `unknot analyze`: the same graphs for people, for programs and for tickets.

use super::{
    snapshot::check,
    support::{Bench, ended},
};
use serde_json::Value;
use std::fs;

/// The worked examples of the format, each as a file of its own.
fn examples(bench: &Bench) -> Vec<(String, Value)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/tests/data/wait-graph-examples.json");
    let all: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let write = |example: &Value| {
        let id = example["id"].as_str().unwrap().to_owned();
        bench.write(&format!("{id}.json"), &example.to_string());
        (id, example["expected"].clone())
    };
    all["scenarios"].as_array().unwrap().iter().map(write).collect()
}

#[test]
fn every_example_ends_with_the_status_of_its_verdict() {
    let bench = Bench::new();
    for (id, expected) in examples(&bench) {
        let found = bench.run(&["analyze", &format!("{id}.json"), "--format", "json"]);
        let verdict: Value = serde_json::from_str(&found.stdout).unwrap();
        let keys: Vec<&str> = verdict.as_object().unwrap().keys().map(String::as_str).collect();
        let told = "verdict deadlocked core needs_external soft victims exact repairs explanation";
        assert_eq!(keys.join(" "), told, "{id}");
        let is_dead = expected["deadlocked"] != Value::Array(Vec::new());
        let needs_outside = expected["needs_external"].as_array().is_some_and(|ids| !ids.is_empty());
        let (status, word) = match (is_dead, &expected["soft"], needs_outside) {
            (true, Value::Bool(false), _) => (1, "deadlocked"),
            (true, _, _) => (1, "soft"),
            (false, _, true) => (3, "stalled"),
            (false, _, false) => (0, "moving"),
        };
        assert_eq!((found.code, &verdict["verdict"]), (Some(status), &word.into()), "{id}");
        // Where nobody sits, JSON is what is printed; people get sentences.
        let piped = bench.run(&["analyze", &format!("{id}.json")]).code(status);
        assert_eq!(piped.stdout, found.stdout, "{id}");
        bench.run(&["analyze", &format!("{id}.json"), "--format", "text"]).code(status).says(&format!("{word}: "));
    }
}

#[test]
fn people_read_sentences() {
    let bench = Bench::new();
    examples(&bench);
    for (name, file) in [
        ("analyze_ring", "tail-is-dead-not-core"),
        ("analyze_soft", "pg-deadlock-soft"),
        ("analyze_orphan", "wait-success-of-failed"),
        ("analyze_capacity", "request-over-capacity"),
        ("analyze_outside", "signal-external"),
        ("analyze_upgrade", "pg-deadlock-simple"),
        ("analyze_alternatives", "or-knot"),
        ("analyze_pool", "nested-saturation-4"),
        ("analyze_long", "chain-10k-closed"),
        ("analyze_moving", "rag-cycle-no-deadlock"),
    ] {
        check(&bench, name, &["analyze", &format!("{file}.json"), "--format", "text"]);
    }
    check(&bench, "analyze_dot", &["analyze", "opposite-pools-1-1.json", "--dot"]);
    check(&bench, "analyze_mermaid", &["analyze", "opposite-pools-1-1.json", "--mermaid"]);
    check(&bench, "analyze_json", &["analyze", "opposite-pools-1-1.json", "--json"]);
}

#[test]
fn what_is_no_graph_is_refused() {
    let bench = Bench::new();
    bench.write(
        "typo.json",
        r#"{"nodes": [{"id": "build", "state": "waiting"}],
 "waits": [{"node": "biuld", "expr": {"mode": "all", "of": []}}]}"#,
    );
    check(&bench, "analyze_typo", &["analyze", "typo.json"]);
    bench.write("cut.json", "{\"nodes\": [\n{\"id\": 7}");
    bench.run(&["analyze", "cut.json"]).code(2).says("error[UK0351]").says("line 2 column");
    for (text, told) in [
        (r#"{"nodes": [{"id": "a", "state": "asleep"}]}"#, "graph: nodes[0].state: unknown variant `asleep`"),
        (r#"{"nodes": [], "holds": [{"units": -1}]}"#, "holds[0].units: invalid value: integer `-1`, expected a whole"),
        (
            r#"{"nodes": [], "waits": [{"expr": {"of": 3}}]}"#,
            "waits[0].expr.of: invalid type: integer `3`, expected a list",
        ),
        (r#"{"nodes": [] }, {}"#, "graph: trailing characters at line 1 column 15"),
        (&format!(r#"{{"nodes": [{{"state": "{}"}}]}}"#, "x".repeat(5_000)), "xxx … xxx"),
    ] {
        bench.write("form.json", text);
        bench.run(&["analyze", "form.json"]).code(2).says("error[UK0351]").says(told);
    }
    bench.write("empty.json", "");
    bench.run(&["analyze", "empty.json"]).code(2).says("error[UK0351]");
    bench.run(&["analyze", "nowhere.json"]).code(2).says("error[UK0350]");
    bench.run(&["analyze", "typo.json", "--json", "--dot"]).code(2).says("cannot be used with");
    bench.run(&["help", "analyze"]).code(0).says("Exit status").says("unknot analyze -");
}

#[test]
fn standard_input_is_a_file_too() {
    let bench = Bench::new();
    bench.write("rule.json", r#"{"generate": {"kind": "pool_saturation", "n": 3, "spare": 1}}"#);
    let mut piped = bench.command(&["analyze", "-"]);
    piped.stdin(fs::File::open(bench.path("rule.json")).unwrap());
    ended(piped).code(0).says("\"verdict\":\"moving\"");
}
