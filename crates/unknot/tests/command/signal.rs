//! A person's word, whoever is asked to carry it.

use super::{
    server::serve,
    support::{Bench, wait_for_file},
};

const FLOW: &str = r#"
name: asks
tasks:
  begin: {exec: 'touch began'}
  approve: {signal: approve}
  publish: {needs: [begin, approve], exec: ["sh", "-c", "echo pages $1", "sh", "{{ tasks.approve.output.pages }}"]}
"#;

#[test]
fn an_approval_lets_a_run_go_on_that_this_terminal_follows() {
    let bench = Bench::with(FLOW);
    let mut running = bench.start(&["run", "flow.yaml"]);
    running.line("waits for signal `approve`: `unknot signal send run_");
    bench.run(&["show"]).code(0).says("waits for signal `approve`; ");
    bench.run(&["signal", "send", "latest", "aprove"]).code(0).says("note: no task of that run waits for `aprove`");
    bench.run(&["signal", "send", "latest", "No Name"]).code(2).says("error[UK0404]");
    let sent = bench.run(&["signal", "send", "latest", "approve", r#"{"pages": 7}"#]).code(0);
    assert!(sent.stdout.ends_with(" has signal approve\n") && sent.stderr.is_empty(), "{}", sent.stderr);
    let (code, printed) = running.end();
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("signal `approve`, by tester"), "{printed}");
    bench.run(&["logs", "latest", "publish"]).code(0).says("pages 7");
    bench.run(&["signal", "send", "latest", "approve"]).code(1).says("error[UK0311]");
}

#[test]
fn an_approval_waits_in_the_store_for_a_run_that_nobody_serves() {
    let bench = Bench::with(FLOW);
    let running = bench.start(&["run", "flow.yaml"]);
    wait_for_file(&bench.path("began"));
    running.signal(rustix::process::Signal::KILL);
    running.end();
    bench.run(&["signal", "send", "latest", "approve", r#"{"pages": 8}"#, "--json"]).code(0).says("\"is_named\":true");
    bench.run(&["show"]).code(0).says("COMPLETED");
    bench.run(&["run", "flow.yaml"]).code(0);
    bench.run(&["logs", "latest", "publish"]).code(0).says("pages 8");
}

#[test]
fn an_approval_goes_to_the_server() {
    let bench = Bench::with(FLOW);
    let _served = serve(&bench);
    bench.run(&["submit", "flow.yaml"]).code(0);
    bench.run(&["signal", "send", "latest", "approve", r#"{"pages": 9}"#]).code(0);
    bench.run(&["events", "latest", "-f"]).code(0).says("SIGNAL_RECEIVED").says("RUN_COMPLETED");
    bench.run(&["signal", "send", "latest", "approve"]).code(1).says("error[UK0311]");
}

#[test]
fn an_approval_that_does_not_come_fails_its_task() {
    let bench = Bench::with("name: asks\ntasks:\n  approve: {signal: approve, timeout: 200ms}\n");
    bench.run(&["check", "flow.yaml"]).code(0).says("a signal").says("200ms");
    bench.run(&["run", "flow.yaml"]).code(1).says("its signal did not come within 200ms");
}
