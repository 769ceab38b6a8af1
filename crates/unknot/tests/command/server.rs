//! The command against a server on a free port, and against one that comes and goes.

use super::support::{Bench, Running, exists_process_with, marker, until, wait_for_file, wait_until_gone};
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;

/// A server of the bench's data folder.
pub(crate) struct Served {
    pub(crate) running: Running,
    pub(crate) address: String,
}

pub(crate) fn serve(bench: &Bench) -> Served {
    let mut running = bench.start(&["serve", "--listen", "127.0.0.1:0"]);
    let line = running.line("listen  http://");
    let address = line.split_whitespace().nth(1).unwrap().to_owned();
    Served { running, address }
}

impl Served {
    /// The options that lead there from elsewhere.
    pub(crate) fn options(&self) -> [String; 4] {
        let file = ".unknot/admin.token";
        ["--server".to_owned(), self.address.clone(), "--token-file".to_owned(), file.to_owned()]
    }
}

pub(crate) fn with<'a>(arguments: &[&'a str], more: &'a [String]) -> Vec<&'a str> {
    arguments.iter().copied().chain(more.iter().map(String::as_str)).collect()
}

const FLOW: &str = r#"
name: report
input:
  word: {type: string, default: tides}
tasks:
  fetch:
    exec: ["sh", "-c", "echo \"$1 $V\"; test -e tried || { touch tried; exit 75; }", "sh", "{{ input.word }}"]
    env: {V: 1.10}
    retry: {attempts: 2, backoff: {first: 10ms, jitter: 0}}
  poster: {needs: [fetch], exec: 'echo cannot draw; exit 3', on_failure: continue}
  rest: {needs: [fetch], sleep: 10ms}
"#;

/// A task that ends when the file `go` is there.
pub(crate) fn waiting(marker: &str) -> String {
    format!(
        "name: waits\ntasks:\n  a: {{exec: 'echo begins; touch began; while ! test -e go; do sleep 0.01{marker}; done; echo went'}}\n"
    )
}

#[test]
fn a_run_goes_to_the_server_that_owns_the_folder() {
    let bench = Bench::with(FLOW);
    let served = serve(&bench);
    let ended = bench.run(&["run", "flow.yaml", "--key", "monday"]).code(0).says("owned by a server");
    assert!(ended.stdout.contains("COMPLETED  report"), "{}", ended.stdout);
    assert!(bench.path("tried").exists(), "its tasks work in the folder of their file");
    bench.run(&["logs", "latest", "fetch"]).code(0).says("tides 1.10");
    bench.run(&["run", "flow.yaml", "--key", "monday"]).code(0).says("which has ended under this key");
    bench.run(&["run", "flow.yaml", "--key", "monday", "-i", "word=x"]).code(2).says("error[UK0315]");
    let lines = bench.run(&["run", "flow.yaml", "--json"]).code(0).stdout;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.first().unwrap()["start"]["tasks"], 3);
    assert_eq!(lines.last().unwrap()["summary"]["status"], "COMPLETED");
    assert!(lines.iter().any(|line| line["event"] == "TASK_FAILED" && line["name"] == "poster"));
    drop(served);
}

#[test]
fn a_mistake_in_the_configuration_keeps_nobody_from_the_server_that_runs() {
    let bench = Bench::with(&waiting(&marker()));
    bench.write("unknot.yaml", "server: {listen: '127.0.0.1:0', data: elsewhere}\n");
    let served = serve(&bench);
    bench.run(&["submit", "flow.yaml"]).code(0);
    wait_for_file(&bench.path("began"));
    bench.write("unknot.yaml", "server: {data: elsewhere}\npools: {gpu: {sise: 1}}\n");
    let warning = "warning: `unknot.yaml` has a mistake in line 2:";
    bench.run(&["why", "latest"]).code(0).says(warning);
    bench.run(&["pools"]).code(0).says(warning);
    // What would be decided by it is not.
    bench.run(&["submit", "flow.yaml"]).code(2).says("unknown key `sise`");
    bench.run(&["cancel", "latest"]).code(0).says(warning).says("see `unknot config check`");
    served.running.signal(Signal::TERM);
    assert_eq!(served.running.end().0, Some(0));
    // Without a server there is nobody who knows better.
    bench.run(&["ls"]).code(2).says("unknown key `sise`");
}

#[test]
fn what_is_read_is_the_same_from_a_store_and_from_a_server() {
    let bench = Bench::with(FLOW);
    let served = serve(&bench);
    bench.run(&["run", "flow.yaml"]).code(0);
    let options = served.options();
    for arguments in [
        &["ls", "--json"][..],
        &["show", "--json"],
        &["show", "--events", "--json"],
        &["events", "latest"],
        &["logs", "latest"],
        &["logs", "latest", "fetch", "--all"],
        &["ls"],
    ] {
        let (store, server) = (bench.run(arguments).code(0), bench.run(&with(arguments, &options)).code(0));
        assert_eq!(store.stdout, server.stdout, "{arguments:?}");
    }
    let shown = bench.run(&with(&["show"], &options)).code(0).says("exited with status 3");
    assert!(shown.stdout.contains("COMPLETED  report"), "{}", shown.stdout);
    bench.run(&with(&["logs", "latest", "rest"], &options)).code(2).says("error[UK0308]");
    bench.run(&with(&["show", "run_0000"], &options)).code(2).says("error[UK0305]");
    bench.run(&["ls", "--server", &served.address]).code(2).says("error[UK0401]").says("--token-file");
    bench.run(&["ls", "--server", &served.address, "--token", "x"]).code(2).says("error[UK0401]");
    bench.run(&["ls", "--server", "127.0.0.1:8001"]).code(2).says("error[UK0332]");
    bench.run(&with(&["cancel", "latest"], &options)).code(1).says("error[UK0311]");
}

#[test]
fn submitting_hands_over_and_waiting_ends_as_the_run_did() {
    let bench = Bench::with("name: fails\ntasks:\n  a: {exec: 'echo no such table; exit 4'}\n");
    let served = serve(&bench);
    let failed = bench.run(&["submit", "flow.yaml", "--wait"]).code(1).says("a failed").says("│ no such table");
    assert!(failed.stdout.contains("FAILED  fails"), "{}", failed.stdout);
    bench.write("flow.yaml", "name: fine\ntasks:\n  a: {exec: 'pwd'}\n");
    let options = served.options();
    let arguments = ["submit", "flow.yaml", "--json", "--key", "one", "--label", "team=maps"];
    let created: Value = serde_json::from_str(&bench.run(&with(&arguments, &options)).code(0).stdout).unwrap();
    let again: Value = serde_json::from_str(&bench.run(&with(&arguments, &options)).code(0).stdout).unwrap();
    assert_eq!((&created["run"], &again["existing"]), (&again["run"], &Value::from(true)));
    let run = created["run"].as_str().unwrap();
    bench.run(&with(&["events", run, "-f"], &options)).code(0).says("RUN_COMPLETED");
    let listed: Value = serde_json::from_str(&bench.run(&["ls", "--limit", "1", "--json"]).stdout).unwrap();
    assert_eq!(listed["labels"]["team"], "maps");
    bench.run(&["submit", "flow.yaml", "--start-at", "2099-01-01T00:00:00Z"]).code(0).says("is PENDING");
    bench.run(&["submit", "nobody"]).code(2).says("error[UK0404]");
    bench.run(&["submit", "missing.yaml"]).code(2).says("error[UK0301]");
    bench.write("odd.yaml", "name: odd\ntasks:\n  a: {exec: [echo, 1.10], retry: {backoff: {factor: 1.50}}}\n");
    bench.run(&["submit", "odd.yaml"]).code(2).says("error[UK0334]");
}

#[test]
fn ctrl_c_cancels_what_was_run_and_leaves_what_was_submitted() {
    let marker = marker();
    let bench = Bench::with(&waiting(&marker));
    let served = serve(&bench);
    let waits = bench.start(&["submit", "flow.yaml", "--wait"]);
    wait_for_file(&bench.path("began"));
    waits.signal(Signal::INT);
    let (code, printed) = waits.end();
    assert_eq!(code, Some(130), "{printed}");
    assert!(printed.contains("goes on: `unknot show run_"), "{printed}");
    assert!(exists_process_with(&format!("0.01{marker}")));
    // The same again finds it.
    let mut runs = bench.start(&["run", "flow.yaml"]);
    runs.line("resumed where it was");
    runs.line("a  started");
    runs.signal(Signal::INT);
    let (code, printed) = runs.end();
    assert_eq!(code, Some(3), "{printed}");
    assert!(printed.contains("Ctrl-C: cancelling"), "{printed}");
    wait_until_gone(&format!("0.01{marker}"));
    drop(served);
}

#[test]
fn a_closed_terminal_and_a_second_signal_leave_the_run_to_the_server() {
    let marker = marker();
    let flow = waiting(&marker).replace("'echo", "'trap \"\" TERM; echo");
    let flow = flow.replace("went'}", "went', cancel: {term: 60s, kill: 5s}}");
    let bench = Bench::with(&flow);
    let served = serve(&bench);
    let mut runs = bench.start(&["run", "flow.yaml"]);
    runs.line("a  started");
    wait_for_file(&bench.path("began"));
    runs.signal(Signal::HUP);
    let (code, printed) = runs.end();
    assert_eq!(code, Some(130), "{printed}");
    bench.run(&["show"]).code(0).says("RUNNING");
    let mut runs = bench.start(&["run", "flow.yaml"]);
    runs.line("a  started");
    runs.signal(Signal::INT);
    runs.line("nothing new starts");
    runs.signal(Signal::TERM);
    let (code, printed) = runs.end();
    assert_eq!(code, Some(130), "{printed}");
    assert!(printed.contains("is left to the server"), "{printed}");
    bench.run(&["show"]).code(0).says("CANCELLING");
    let options = served.options();
    bench
        .run(&with(&["cancel", "latest", "--force"], &options))
        .code(0)
        .says("is cancelled; what it still had is killed");
}

/// A forced end waits for no ladder: what had minutes to stop is gone at once, and so is the doubt about its lock.
#[test]
fn a_forced_cancellation_kills_what_is_left() {
    let marker = marker();
    let task = format!("trap '' TERM; touch began; while :; do sleep 0.01{marker}; done");
    let flow = format!("name: stays\ntasks:\n  a: {{exec: \"{task}\", locks: [door], cancel: {{term: 5m}}}}\n");
    let bench = Bench::with(&flow);
    let _served = serve(&bench);
    bench.run(&["submit", "flow.yaml"]).code(0);
    wait_for_file(&bench.path("began"));
    bench.run(&["cancel", "latest"]).code(0).says("is being cancelled");
    bench.run(&["cancel", "latest", "--force"]).code(0).says("is cancelled");
    wait_until_gone(&format!("0.01{marker}"));
    bench.run(&["show"]).code(0).says("CANCELLED");
    until("the lock is free again", Duration::from_secs(20), || !bench.run(&["pools"]).stdout.contains("closed"));
}

#[test]
fn following_goes_on_when_the_server_comes_back() {
    let marker = marker();
    let bench = Bench::with(&waiting(&marker));
    let served = serve(&bench);
    bench.run(&["submit", "flow.yaml"]).code(0);
    let mut following = bench.start(&["events", "latest", "-f"]);
    following.line("TASK_STARTED");
    let socket = format!("unix:{}", bench.path(".unknot/api.sock").display());
    let mut logs = bench.start(&["logs", "latest", "a", "-f", "--server", &socket]);
    logs.line("begins");
    served.running.signal(Signal::KILL);
    drop(served);
    wait_until_gone(&format!("0.01{marker}"));
    // A socket at which nobody listens is no server.
    bench.run(&["queues"]).code(2).says("error[UK0330]");
    bench.run(&["ls"]).code(0).says("RUNNING");
    bench.write("go", "");
    let served = serve(&bench);
    let (code, printed) = following.end();
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(printed.matches("RUN_SUBMITTED").count(), 1, "{printed}");
    assert!(printed.contains("RUN_COMPLETED"), "{printed}");
    let (code, printed) = logs.end();
    assert_eq!((code, printed.as_str()), (Some(0), "begins\n── attempt 2 ──\nbegins\nwent"));
    drop(served);
    bench.run(&["run", "flow.yaml"]).code(0).says("owned by this process");
}

#[test]
fn what_is_held_and_what_is_out_of_tries_is_told() {
    let bench = Bench::with("name: fails\ntasks:\n  a: {exec: 'echo no such table; exit 3'}\n");
    let served = serve(&bench);
    bench.run(&["submit", "flow.yaml", "--wait"]).code(1);
    let letter: Value = serde_json::from_str(&bench.run(&["dead", "ls", "--json"]).code(0).stdout).unwrap();
    let task = letter["task_id"].as_str().unwrap();
    bench.run(&["dead", "ls"]).code(0).says(task);
    bench.run(&["dead", "show", task]).code(0).says("exited with status 3").says("│ no such table");
    bench.run(&["dead", "drop", task]).code(0);
    bench.run(&["dead", "show", task]).code(2).says("error[UK0404]");
    bench.run(&["dead", "ls"]).code(0).says("no dead letters: no task is out of tries");

    bench.run(&["pause", "queue", "default"]).code(0).says("unknot resume queue default");
    bench.run(&["queues"]).code(0).says("held by local");
    bench.run(&["pause", "queue", "defualt"]).code(2).says("there is no queue `defualt`; did you mean `default`?");
    bench.run(&["pause", "workflow", "fails", "--json"]).code(0).says("\"workflow\":\"fails\"");
    bench.run(&["submit", "flow.yaml"]).code(0);
    bench.run(&["pause", "run", "latest"]).code(0).says("is held by local");
    bench.run(&["ls", "--limit", "1"]).code(0).says("RUNNING (held)");
    bench.run(&["resume", "run", "latest"]).code(0);
    bench.run(&["resume", "workflow", "fails"]).code(0);
    bench.run(&["resume", "queue", "default"]).code(0).says("goes on");
    bench.run(&["events", "latest", "-f"]).code(0).says("RUN_FAILED");
    bench.run(&["workers", "--json"]).code(0).says("\"slots\":8");
    bench.run(&["pools"]).code(0).says("no pools or locks");
    drop(served);
}

#[test]
fn what_is_held_is_named_as_the_cause_and_let_go_without_a_server() {
    let bench = Bench::with("name: fine\ntasks:\n  a: {exec: 'true'}\n  b: {needs: [a], exec: 'true'}\n");
    let served = serve(&bench);
    bench.run(&["pause", "workflow", "fine"]).code(0);
    bench.run(&["submit", "flow.yaml"]).code(0);
    let options = served.options();
    for place in [&[][..], &options[..]] {
        let shown = bench.run(&with(&["show"], place)).code(0).says("workflow `fine` is held by local");
        assert!(shown.stdout.contains("lets it go on"), "{}", shown.stdout);
        assert!(shown.stdout.contains("held, see above"), "{}", shown.stdout);
        assert!(!shown.stdout.contains("for a slot"), "{}", shown.stdout);
    }
    bench.run(&["top"]).code(0).says("workflow fine (by local)");
    bench.run(&["resume", "workflow", "fine"]).code(0);
    bench.run(&["events", "latest", "-f"]).code(0).says("RUN_COMPLETED");
    bench.run(&["pause", "queue", "default"]).code(0);
    bench.run(&["submit", "flow.yaml"]).code(0);
    bench
        .run(&["show"])
        .code(0)
        .says("queue `default` is held by local")
        .says("is held: queue `default` is paused by local");
    drop(served);

    // What is held stays held; the process that owns the folder lets it go.
    let mut runs = bench.start(&["run", "flow.yaml"]);
    runs.line("queue `default` is held by local");
    bench.run(&["resume", "queue", "default"]).code(0).says("goes on");
    let (code, printed) = runs.end();
    assert_eq!(code, Some(0), "{printed}");

    // Nobody owns it.
    bench.run(&["pause", "queue", "default", "--json"]).code(0).says("\"paused\":true");
    bench.run(&["resume", "queue", "default"]).code(0);
    bench.run(&["run", "flow.yaml", "--new"]).code(0);
}

#[test]
fn a_server_that_ends_lets_what_runs_finish_and_starts_nothing() {
    let flow = "name: chain\ntasks:\n  a: {exec: 'touch began; while ! test -e go; do sleep 0.01; done'}\n  b: {needs: [a], exec: 'true'}\n";
    let bench = Bench::with(flow);
    let served = serve(&bench);
    bench.run(&["submit", "flow.yaml"]).code(0);
    // As soon as it has begun, while the last overview may be of before.
    wait_for_file(&bench.path("began"));
    let mut ending = served.running;
    ending.signal(Signal::INT);
    ending.line("nothing new starts");
    bench.write("go", "");
    let (code, printed) = ending.end();
    assert_eq!(code, Some(0), "{printed}");
    let shown: Value = serde_json::from_str(&bench.run(&["show", "--json"]).code(0).stdout).unwrap();
    let tried = |place: usize| {
        let task = &shown["tasks"][place];
        (task["status"].as_str().unwrap().to_owned(), task["attempts"].as_u64().unwrap())
    };
    assert_eq!((tried(0), tried(1)), (("COMPLETED".to_owned(), 1), ("QUEUED".to_owned(), 0)), "{shown}");
}

#[test]
fn a_server_whose_data_folder_is_removed_ends_and_says_so() {
    let bench = Bench::with("name: fine\ntasks:\n  a: {exec: 'true'}\n");
    let served = serve(&bench);
    std::fs::remove_dir_all(bench.path(".unknot")).expect("ours");
    let (code, printed) = served.running.end();
    assert_eq!(code, Some(5), "{printed}");
    drop(serve(&bench));
}

#[test]
fn tokens_let_in_as_far_as_their_scope() {
    let bench = Bench::with("name: fine\ntasks:\n  a: {exec: 'true'}\n");
    let served = serve(&bench);
    let token = bench.run(&["token", "new", "grafana"]).code(0).stdout.trim().to_owned();
    bench.run(&["token", "new", "grafana"]).code(2).says("error[UK0333]");
    bench.run(&["token", "ls"]).code(0).says("grafana  read");
    let there = ["--server", &served.address, "--token", &token];
    bench.run(&[&["queues"][..], &there].concat()).code(0);
    bench.run(&[&["submit", "flow.yaml"][..], &there].concat()).code(1).says("error[UK0403]");
    bench.run(&["token", "rm", "grafana"]).code(0);
    bench.run(&[&["queues"][..], &there].concat()).code(2).says("error[UK0401]");
    bench.run(&["token", "rm", "grafana"]).code(2).says("there is no token");
}

#[test]
fn top_into_a_file_says_once_what_goes_on() {
    let marker = marker();
    let bench = Bench::with(&waiting(&marker));
    let served = serve(&bench);
    let mut waiting = "name: crowd\ntasks:\n  sleeper: {sleep: 60s}\n".to_owned();
    waiting.extend(
        (0..20).map(|task| format!("  a-task-with-a-long-name-{task}: {{exec: 'sleep 0.01{marker}; false'}}\n")),
    );
    bench.write("crowd.yaml", &waiting);
    bench.run(&["submit", "flow.yaml"]).code(0);
    bench.run(&["pause", "queue", "default"]).code(0);
    bench.run(&["submit", "crowd.yaml"]).code(0);
    let told = bench.run(&["top"]).code(0).says("2 unfinished").says("held by local").says("crowd/sleeper").stdout;
    assert!(told.lines().any(|line| line.contains("crowd/sleeper") && line.ends_with("sleeps")), "{told}");
    assert!(told.contains("is held: queue `default`"), "{told}");
    for line in told.lines() {
        assert!(line.chars().count() <= 80, "{line}");
        assert!(!line.contains('\x1b'), "{line}");
    }
    let seen: Value = serde_json::from_str(&bench.run(&["top", "--json"]).code(0).stdout).unwrap();
    assert_eq!(seen["stats"]["unfinished_runs"], 2);
    assert_eq!(seen["runs"].as_array().unwrap().len(), 2);
    let options = served.options();
    bench.run(&with(&["top"], &options)).code(0).says(&served.address);
}

#[test]
fn what_failed_is_taken_further_and_what_is_registered_is_run_by_name() {
    let bench = Bench::with(
        "name: fails\ntasks:\n  a: {exec: 'echo once >> ran'}\n  b: {needs: [a], exec: 'test -e mended'}\n",
    );
    let _served = serve(&bench);
    bench.run(&["submit", "flow.yaml", "--wait"]).code(1);
    bench.run(&["bulk", "retry", "--status", "failed", "--dry-run"]).code(0).says("1 run found; nothing was done");
    bench.write("mended", "");
    bench.run(&["retry", "latest"]).code(0).says("takes run_");
    let events = bench.run(&["events", "latest", "-f"]).code(0).says("RUN_COMPLETED");
    assert!(events.stdout.contains("retry_of"), "{}", events.stdout);
    assert_eq!(bench.read("ran"), "once\n", "what COMPLETED is not repeated");
    bench.run(&["retry", "latest"]).code(1).says("error[UK0409]");
    bench.run(&["dead", "ls"]).code(0).says("no task is out of tries");

    bench.run(&["workflow", "ls"]).code(0).says("no workflows: `unknot workflow add FLOW` registers one");
    bench.run(&["workflow", "add", "flow.yaml"]).code(0).says("fails is registered as");
    bench.run(&["workflow", "ls"]).code(0).says("fails").says("local");
    bench.run(&["submit", "fails", "--wait"]).code(0);
    bench.run(&["workflow", "rm", "fails"]).code(0);
    bench.run(&["submit", "fails"]).code(2).says("error[UK0404]");
    bench.run(&["decide", "task_01JBX000000000000000000000.3", "retry"]).code(1).says("error[UK0409]");
}
