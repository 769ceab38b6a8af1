//! What tasks left: outputs and artifacts, from a store and from a server.

use super::{
    server::{serve, with},
    support::Bench,
};
use serde_json::Value;

#[test]
fn a_run_is_shown_with_its_outputs_and_its_artifacts() {
    let long = "x".repeat(200);
    let bench = Bench::with(&format!(
        r#"
name: leaves
tasks:
  page:
    exec: 'test -e once || {{ touch once; echo old > $UNKNOT_ARTIFACTS/old; exit 75; }}; mkdir $UNKNOT_ARTIFACTS/below; printf 12345 > $UNKNOT_ARTIFACTS/below/page.html; head -c 4250 /dev/zero > $UNKNOT_ARTIFACTS/big; ln -s /etc/passwd $UNKNOT_ARTIFACTS/link; echo "{{\"lines\": 7, \"long\": \"{long}\"}}"'
    retry: {{attempts: 2, backoff: {{first: 10ms, jitter: 0}}}}
  quiet: {{exec: 'true'}}
"#
    ));
    let served = serve(&bench);
    bench.run(&["submit", "flow.yaml", "--wait"]).code(0);
    let options = served.options();

    let there = bench.run(&with(&["show"], &options)).code(0).stdout;
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let there_json = json(&bench.run(&with(&["show", "--json"], &options)).code(0).stdout);
    // The server owns the folder and would be asked.
    drop(served);
    let here = bench.run(&["show"]).code(0).stdout;
    let here_json = json(&bench.run(&["show", "--json"]).code(0).stdout);
    for shown in [&here, &there] {
        let output = shown.lines().find(|line| line.contains("\"lines\":7")).unwrap();
        assert!(output.chars().count() <= 80 && output.ends_with('…'), "{output}");
        assert!(shown.contains("  whole: `unknot show run_"), "{shown}");
        assert!(shown.contains("page  4.1 KiB  ") && shown.contains("page      5 B  "), "{shown}");
        assert!(!shown.contains("link") && !shown.contains("/old"), "neither links nor what earlier attempts left");
        assert!(!shown.contains("quiet  {}"), "{shown}");
    }
    let file = here.lines().find(|line| line.ends_with("page.html")).unwrap().split_whitespace().last().unwrap();
    assert_eq!(bench.read(file), "12345", "it is there to be copied");
    let place = there.lines().find(|line| line.ends_with("page.html")).unwrap().split_whitespace().last().unwrap();
    assert!(place.starts_with("/tasks/task_") && place.ends_with(".0/artifacts/below/page.html"), "{place}");

    for shown in [&here_json, &there_json] {
        assert_eq!(shown["tasks"][0]["output"]["long"], Value::from(long.as_str()), "whole");
        let artifacts = &shown["tasks"][0]["artifacts"];
        assert_eq!((&artifacts[0]["path"], &artifacts[0]["bytes"]), (&"below/page.html".into(), &5.into()));
        assert_eq!((&artifacts[1]["path"], artifacts.as_array().unwrap().len()), (&"big".into(), 2));
        assert_eq!(shown["tasks"][1]["artifacts"], serde_json::json!([]));
    }
    let file = here_json["tasks"][0]["artifacts"][0]["file"].as_str().unwrap();
    assert_eq!(std::fs::read_to_string(file).unwrap(), "12345");
    assert_eq!(there_json["tasks"][0]["artifacts"][0].get("file"), None);
}
