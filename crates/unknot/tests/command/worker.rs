//! Workers of other processes: what they do is told once, whatever becomes of them and of the server.

use super::support::{Bench, Running, marker, until, wait_for_file, wait_until_gone};
use rustix::process::Signal;
use std::{fs, time::Duration};

/// Short terms, so that what waits for their end need not wait long; the server works for nobody itself.
const CONFIG: &str = "worker: {slots: 0}\nworkers: {session: 3s}\nqueues: {default: {visibility_timeout: 3s}}\n";
/// Longer than all terms together.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server with its address, at which it can be started again.
fn serve(bench: &Bench, listen: &str) -> (Running, String) {
    let mut running = bench.start(&["serve", "--listen", listen]);
    let line = running.line("listen  http://");
    let address = line.split_whitespace().nth(1).unwrap().to_owned();
    (running, address)
}

/// A worker of that server, known by the admin's token.
fn work(bench: &Bench, address: &str, name: &str) -> Running {
    let token = ".unknot/admin.token";
    let arguments = ["worker", "--server", address, "--token-file", token, "--name", name, "--slots", "1"];
    let mut running = bench.start(&arguments);
    running.line("ready");
    running
}

fn lines(bench: &Bench, name: &str) -> usize {
    bench.read(name).lines().count()
}

/// A task that says that it began, and waits for the file `go` to say that it is done.
fn waiting(marker: &str) -> Bench {
    let wait = format!(
        "echo $UNKNOT_TRY >> began; while ! test -e go; do sleep 0.01{marker}; done; echo x >> done; echo went"
    );
    let bench = Bench::with(&format!("name: waits\ntasks:\n  a: {{exec: '{wait}'}}\n"));
    bench.write("unknot.yaml", CONFIG);
    bench
}

#[test]
fn a_run_is_done_by_a_remote_worker_and_its_log_is_here() {
    let flow = "name: far\ntasks:\n  a: {exec: 'echo hello from $UNKNOT_SERVER; test -n \"$UNKNOT_TOKEN\"; echo 7 > \"$UNKNOT_OUTPUT\"'}\n  b: {needs: [a], exec: [echo, \"{{ tasks.a.output }}\", again], queue: other}\n";
    let bench = Bench::with(flow);
    bench.write("unknot.yaml", CONFIG);
    let (_server, address) = serve(&bench, "127.0.0.1:0");
    let worker = work(&bench, &address, "far-1");
    bench.run(&["submit", "flow.yaml", "--wait"]).code(0).says("COMPLETED");
    bench.run(&["logs", "latest", "a"]).code(0).says(&format!("hello from {address}"));
    bench.run(&["logs", "latest", "b"]).code(0).says("7 again");
    bench.run(&["events", "latest"]).code(0).says("far-1");
    worker.signal(Signal::TERM);
    let (code, printed) = worker.end();
    assert_eq!(code, Some(0), "{printed}");
    let workers = bench.run(&["workers", "--json"]).code(0).stdout;
    assert!(!workers.contains("far-1"), "it took leave: {workers}");
}

/// Calls go to the worker that has the handler, with their input as a file; a workflow's own commands do not.
#[test]
fn a_worker_runs_its_handlers_and_nothing_that_a_workflow_brings() {
    let flow = "name: far\ninput: {n: {type: integer}}\ntasks:\n  a: {worker: double, input: {n: \"{{ input.n }}\"}}\n  b: {exec: 'touch ran'}\n";
    let bench = Bench::with(flow);
    bench.write("unknot.yaml", CONFIG);
    bench.write(
        "double.sh",
        r#"n=$(tr -dc 0-9 < "$UNKNOT_INPUT"); cp "$UNKNOT_INPUT" input; echo "{\"n\": $((n * 2))}""#,
    );
    let (_server, address) = serve(&bench, "127.0.0.1:0");
    bench.run(&["submit", "flow.yaml", "-i", "n=21"]).code(0);
    let token = ".unknot/admin.token";
    let mut worker = bench.start(&[
        "worker",
        "--server",
        &address,
        "--token-file",
        token,
        "--name",
        "h",
        "--handlers-only",
        "--handler",
        "double=sh double.sh",
    ]);
    worker.line("ready");
    until("the call is done", PATIENCE, || bench.run(&["events", "latest"]).stdout.contains("TASK_COMPLETED"));
    assert_eq!(bench.read("input"), r#"{"n":21}"#);
    assert!(!bench.path("ran").exists());
}

#[test]
fn a_worker_that_is_killed_loses_its_lease_and_the_task_is_done_once_more() {
    let marker = marker();
    let bench = waiting(&marker);
    let (_server, address) = serve(&bench, "127.0.0.1:0");
    let first = work(&bench, &address, "w1");
    bench.run(&["submit", "flow.yaml"]).code(0);
    wait_for_file(&bench.path("began"));
    first.signal(Signal::KILL);
    assert_eq!(first.end().0, None);
    wait_until_gone(&marker);
    let _second = work(&bench, &address, "w2");
    until("the second has begun", PATIENCE, || lines(&bench, "began") == 2);
    bench.write("go", "");
    bench.run(&["events", "latest", "-f"]).code(0).says("TASK_LOST").says("RUN_COMPLETED");
    assert_eq!(lines(&bench, "done"), 1);
}

#[test]
fn a_worker_that_stands_still_is_fenced_and_its_late_result_is_refused() {
    let marker = marker();
    let bench = waiting(&marker);
    let (_server, address) = serve(&bench, "127.0.0.1:0");
    let first = work(&bench, &address, "w1");
    bench.run(&["submit", "flow.yaml"]).code(0);
    wait_for_file(&bench.path("began"));
    first.signal(Signal::STOP);
    // Its guard ends what it had, before anybody else has it.
    until("the first is gone", PATIENCE, || {
        !super::support::exists_process_with(&marker) || lines(&bench, "began") == 2
    });
    assert_eq!(lines(&bench, "began"), 1, "the lease was still its own");
    let _second = work(&bench, &address, "w2");
    until("the second has begun", PATIENCE, || lines(&bench, "began") == 2);
    bench.write("go", "");
    bench.run(&["events", "latest", "-f"]).code(0).says("RUN_COMPLETED");
    first.signal(Signal::CONT);
    let token = ["--server", &address, "--token-file", ".unknot/admin.token"];
    let refused = || {
        let stats = bench.run(&[&["top", "--json"], &token[..]].concat()).stdout;
        let stats: serde_json::Value = serde_json::from_str(&stats).unwrap_or_default();
        stats["stats"]["refused_reports"].as_u64().or(stats["refused_reports"].as_u64()).unwrap_or_default()
    };
    until("its late report is refused and counted", PATIENCE, || refused() > 0);
    assert_eq!((lines(&bench, "began"), lines(&bench, "done")), (2, 1), "once more exactly");
    drop(first);
}

#[test]
fn an_attempt_survives_a_restart_of_the_server() {
    let marker = marker();
    let bench = waiting(&marker);
    let (server, address) = serve(&bench, "127.0.0.1:0");
    let mut worker = work(&bench, &address, "w1");
    bench.run(&["submit", "flow.yaml"]).code(0);
    wait_for_file(&bench.path("began"));
    server.signal(Signal::KILL);
    assert_eq!(server.end().0, None);
    let (_server, again) = serve(&bench, address.trim_start_matches("http://"));
    assert_eq!(again, address);
    worker.line("ready   again");
    bench.write("go", "");
    bench.run(&["events", "latest", "-f"]).code(0).says("RUN_COMPLETED");
    assert_eq!((lines(&bench, "began"), lines(&bench, "done")), (1, 1), "the same attempt");
    bench.run(&["logs", "latest", "a"]).code(0).says("went");
}

#[test]
fn a_worker_whose_name_is_taken_ends_and_says_why() {
    let bench = waiting(&marker());
    let (_server, address) = serve(&bench, "127.0.0.1:0");
    let first = work(&bench, &address, "w");
    let _second = work(&bench, &address, "w");
    let (code, _) = first.end();
    assert_eq!(code, Some(5));
    bench.run(&["worker", "--server", &address, "--token", "x", "--name", "v"]).code(5).says("error[UK0336]");
    fs::metadata(bench.path(".unknot/worker-w")).unwrap();
}
