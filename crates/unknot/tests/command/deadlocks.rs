//! Verdicts and waits, from a server and out of the folder; each answer as wide as a usual terminal.

use super::{
    server::{serve, with},
    support::{Bench, Ended, until},
};
use serde_json::{Value, json};
use std::time::Duration;

/// Two scripts that take two locks in opposite order: each has its first when both go on.
fn script(own: &str, other: &str, name: &str) -> String {
    let unknot = env!("CARGO_BIN_EXE_unknot");
    format!(
        "name: {name}\ntasks:\n  take:\n    exec: ['sh', '-c', '{unknot} lock {own} && touch {own}.taken && \
         while ! test -e {other}.taken; do sleep 0.01; done; {unknot} lock {other}']\n    retry: {{attempts: 1}}\n"
    )
}

const APPROVAL: &str =
    "name: asks\npending_stale: 1ms\ntasks:\n  ask: {signal: approve}\n  ship: {needs: [ask], exec: 'true'}\n";

const CONFIG: &str = "deadlock: {check_interval_s: 1, cancel_on_deadlock: false}\n";

#[track_caller]
fn fits(ended: Ended) -> Ended {
    let wide = ended.stdout.lines().find(|line| line.chars().count() > 80);
    assert_eq!(wide, None, "{}", ended.stdout);
    ended
}

/// The monitor's next look is due in a minute.
#[test]
fn a_deadlock_that_was_resolved_is_soon_told_as_over() {
    let bench = Bench::with(
        "name: two\ntasks:\n  a: {exec: 'unknot lock l; until test -e b; do sleep 0.01; done; touch a; unknot lock m'}\n  b: {exec: 'unknot lock m; touch b; until test -e a; do sleep 0.01; done; unknot lock l'}\n",
    );
    let _served = serve(&bench);
    bench.run(&["submit", "flow.yaml", "--wait"]).code(0);
    bench.run(&["deadlocks"]).code(0).says("retried");
    bench.run(&["top"]).code(0).says("  ok  ");
    let is_over = || bench.run(&["deadlocks", "--open", "--json"]).stdout.is_empty();
    until("it is over", Duration::from_secs(30), is_over);
    bench.run(&["deadlocks"]).code(0).says("over");
}

#[test]
fn a_deadlock_of_two_scripts_is_told_by_name() {
    let bench = Bench::with(&script("gpu", "disk", "deploy"));
    bench.write("other.yaml", &script("disk", "gpu", "report"));
    bench.write("unknot.yaml", CONFIG);
    let served = serve(&bench);
    bench.run(&["submit", "flow.yaml"]).code(0);
    bench.run(&["submit", "other.yaml"]).code(0);
    until("the verdict is there", Duration::from_secs(30), || !bench.run(&["deadlocks", "--json"]).stdout.is_empty());
    let options = served.options();
    let top = fits(bench.run(&["top"]).code(0));
    top.says("  STUCK  ").says("stuck  1 deadlocked").says("deploy, report").says("`unknot deadlocks show dl_");
    let seen: Value = serde_json::from_str(&bench.run(&["top", "--json"]).code(0).stdout).unwrap();
    assert_eq!(
        (&seen["verdicts"][0]["kind"], &seen["verdicts"][0]["runs"].as_array().unwrap().len()),
        (&"deadlocked".into(), &2)
    );
    let mut told: Vec<_> =
        seen["waits"].as_array().unwrap().iter().map(|wait| wait["sentence"].as_str().unwrap()).collect();
    told.sort_unstable();
    assert_eq!(told, ["waits for lock `disk`", "waits for lock `gpu`"], "as `unknot waits` says it");
    let waits = fits(bench.run(&["waits"]).code(0));
    assert!(waits.stdout.contains("deploy/take") && waits.stdout.contains("waits for lock `disk`"), "{}", waits.stdout);
    assert!(waits.stdout.contains("nobody"), "{}", waits.stdout);
    for place in [&[][..], &options[..]] {
        let listed = fits(bench.run(&with(&["deadlocks", "--kind", "deadlocked", "--open", "--run", "latest"], place)));
        listed.code(0).says("deadlocked").says("deploy, report").says("reported  open");
        let shown = fits(bench.run(&with(&["deadlocks", "show"], place)).code(0)).stdout;
        let sentences = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        for text in [
            "`deploy/take`",
            "`report/take`",
            "holds lock `gpu`",
            "waits for lock `disk`",
            "it is told",
            "lets the others go on",
        ] {
            assert!(sentences.contains(text), "no {text}:\n{shown}");
        }
        bench.run(&with(&["show"], place)).code(0).says("found").says("(reported): `unknot deadlocks show dl_");
        bench.run(&with(&["show", "--json"], place)).code(0).says(r#""verdicts":[{"id":"dl_"#);
        bench.run(&with(&["deadlocks", "show", "latest", "--format", "mermaid"], place)).code(0).says("flowchart");
        bench.run(&with(&["deadlocks", "show", "latest", "--format", "dot"], place)).code(0).says("digraph");
        fits(bench.run(&with(&["deadlocks", "scan"], place)).code(1)).says("2 runs stand still (2 deadlocked)");
        let graph = bench.run(&with(&["waits", "--run", "latest", "--format", "json"], place)).code(0).stdout;
        bench.write("graph.json", &graph);
        bench.run(&["analyze", "graph.json"]).code(1).says("\"verdict\":\"deadlocked\"");
        let why = fits(bench.run(&with(&["why"], place)).code(0));
        let why = why.says("nobody can move it").says("its run was found deadlocked").stdout;
        let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(why.contains("the cause is the deadlock of `deploy/take` (task_"), "{why}");
        assert!(why.contains("lets the others go on") && !why.contains("ends all of them"), "{why}");
        bench.run(&with(&["show"], place)).code(0).says("waits for lock `gpu`; ");
        bench.run(&with(&["deadlocks", "show", "dl_99999"], place)).code(2).says("error[UK0404]");
        bench.run(&with(&["waits", "--run", "run_0000"], place)).code(2).says("error[UK0305]");
    }
    let shown: Value = serde_json::from_str(&bench.run(&["deadlocks", "show", "--format", "json"]).stdout).unwrap();
    let id = shown["id"].as_str().unwrap();
    let marked = bench.run(&["deadlocks", "mark", id, "false-positive", "--note", "only a test"]).code(0);
    marked.says("is marked as wrong");
    fits(bench.run(&["deadlocks", "show", id]).code(0)).says("only a test");
    bench.run(&["deadlocks", "mark", id, "none"]).code(0).says("is not marked any more");
    bench.run(&["cancel", "latest", "--force"]).code(0);
    let metrics = bench.run(&["deadlocks", "--json"]).code(0).stdout;
    assert!(metrics.lines().count() == 1, "{metrics}");
}

#[test]
fn what_stands_still_is_read_from_a_folder_that_nobody_serves() {
    let bench = Bench::with(APPROVAL);
    bench.write("unknot.yaml", CONFIG);
    let served = serve(&bench);
    bench.run(&["submit", "flow.yaml"]).code(0);
    until("it is found", Duration::from_secs(30), || !bench.run(&["deadlocks", "--json"]).stdout.is_empty());
    drop(served);
    fits(bench.run(&["deadlocks"]).code(0)).says("stalled").says("asks").says("open");
    fits(bench.run(&["deadlocks", "show"]).code(0))
        .says("waits for signal `approve`")
        .says("after its bound had passed");
    let waits = fits(bench.run(&["waits"]).code(0));
    waits.says("asks/ask").says("signal approve").says("asks/ship").says("note: no process serves this folder now");
    let scanned = fits(bench.run(&["deadlocks", "scan"]).code(3));
    scanned.says("1 run stands still (1 stalled)").says("note: no process serves this folder now");
    for arguments in [&["deadlocks", "scan", "--json"][..], &["waits", "--format", "json"]] {
        let ended = bench.run(arguments);
        assert_eq!(ended.stderr.matches("note: no process serves this folder now").count(), 1, "{}", ended.stderr);
        assert_eq!(ended.stdout.lines().count(), 1, "{}", ended.stdout);
    }
    let id = bench.run(&["deadlocks", "show", "--format", "json"]).stdout;
    let id = serde_json::from_str::<Value>(&id).unwrap()["id"].as_str().unwrap().to_owned();
    bench.run(&["deadlocks", "mark", &id, "false-positive"]).code(0);
    fits(bench.run(&["deadlocks"]).code(0)).says("marked wrong");
    bench.run(&["deadlocks", "mark", "dl_99999", "none"]).code(2).says("error[UK0404]");
    bench.run(&["deadlocks", "mark", "seven", "none"]).code(2).says("error[UK0404]");
}

#[test]
fn whoever_started_a_run_that_stands_still_is_told_of_it() {
    let bench = Bench::with("name: outer\ntasks:\n  a: {workflow: middle}\n");
    bench.write("middle.yaml", "name: middle\ntasks:\n  b: {workflow: asks}\n");
    bench.write("asks.yaml", APPROVAL);
    bench.write("unknot.yaml", CONFIG);
    let served = serve(&bench);
    bench.run(&["submit", "flow.yaml"]).code(0);
    let of_latest = ["deadlocks", "--run", "latest", "--open", "--json"];
    until("it is found", Duration::from_secs(30), || !bench.run(&of_latest).stdout.is_empty());
    let verdict: Value = serde_json::from_str(&bench.run(&of_latest).stdout).unwrap();
    assert_eq!((&verdict["workflows"], verdict["above"].as_array().unwrap().len()), (&json!(["asks"]), 2), "{verdict}");
    bench.run(&["why"]).code(0).says("a run that it started was found stalled");
    drop(served);
    assert_eq!(bench.run(&of_latest).stdout.lines().count(), 1);
}

#[test]
fn the_process_that_runs_it_is_asked_who_works_and_marks() {
    let bench = Bench::with(APPROVAL);
    bench.write("unknot.yaml", CONFIG);
    let mut running = bench.start(&["run", "flow.yaml"]);
    running.line("is stalled: `unknot deadlocks show dl_");
    let waits = bench.run(&["waits"]).code(0);
    assert_eq!(waits.stderr, "", "somebody serves it");
    let id = bench.run(&["deadlocks", "show", "--format", "json"]).stdout;
    let id = serde_json::from_str::<Value>(&id).unwrap()["id"].as_str().unwrap().to_owned();
    bench.run(&["deadlocks", "mark", &id, "false-positive"]).code(0);
    bench.run(&["deadlocks", "mark", "dl_99999", "none"]).code(2).says("error[UK0404]");
    bench.run(&["signal", "send", "latest", "approve"]).code(0);
    let (code, printed) = running.end();
    assert_eq!(code, Some(0), "{printed}");
    bench.run(&["why"]).code(1).says("error[UK0311]").says("note: its run was found stalled");
    bench.run(&["waits", "--run", "latest"]).code(1).says("error[UK0311]");
    fits(bench.run(&["deadlocks", "scan"]).code(0)).says("no run is deadlocked");
    bench.run(&["waits"]).code(0).says("nobody waits");
}

/// Lines of the blocks of one language.
fn blocks<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    let begin = format!("```{language}\n");
    page.split(begin.as_str()).skip(1).map(|rest| rest.split_once("```").expect("an end").0).collect()
}

#[test]
fn each_command_of_the_page_does_what_it_is_for() {
    let page = include_str!("../../../../docs/deadlocks.md");
    let bench = Bench::with(APPROVAL);
    bench.write("unknot.yaml", CONFIG);
    let _served = serve(&bench);
    bench.run(&["submit", "flow.yaml"]).code(0);
    until("it is found", Duration::from_secs(30), || !bench.run(&["deadlocks", "--json"]).stdout.is_empty());
    let newest = bench.run(&["deadlocks", "show", "--format", "json"]).stdout;
    let newest: Value = serde_json::from_str(&newest).unwrap();
    let program = env!("CARGO_BIN_EXE_unknot");
    let lines = blocks(page, "sh").into_iter().flat_map(str::lines).filter(|line| line.starts_with("unknot "));
    let mut ran = 0;
    for line in lines {
        let line = line.replace("unknot ", &format!("{program} ")).replace("dl_18", newest["id"].as_str().unwrap());
        let ended = bench.shell(&line);
        // What judges says what it found by its status.
        let is_judged = line.contains(" scan") || line.contains(" analyze ");
        let fine = if is_judged { vec![Some(0), Some(1), Some(3)] } else { vec![Some(0)] };
        assert!(fine.contains(&ended.code), "`{line}`: {ended:?}");
        ran += 1;
    }
    assert!(ran > 15, "{ran}");
}

#[test]
fn each_configuration_of_the_page_is_sound() {
    let page = include_str!("../../../../docs/deadlocks.md");
    let bench = Bench::new();
    let mut kinds = [0, 0];
    for text in blocks(page, "yaml") {
        let is_flow = text.starts_with("name:");
        bench.write(if is_flow { "flow.yaml" } else { "unknot.yaml" }, text);
        let arguments = if is_flow { ["check", "flow.yaml"] } else { ["config", "check"] };
        let told = bench.run(&arguments).code(0);
        assert!(!told.stderr.contains("does nothing"), "{text}: {}", told.stderr);
        kinds[usize::from(is_flow)] += 1;
    }
    assert!(kinds[0] > 6 && kinds[1] > 0, "{kinds:?}");
}
