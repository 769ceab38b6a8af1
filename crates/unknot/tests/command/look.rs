//! Commands that only look: at finished runs, and at those that another process runs.

use super::{
    snapshot::check,
    support::{Bench, wait_for_file},
};
use rustix::process::Signal;
use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
};

/// A finished run with a retry, a handled failure and a skip.
fn finished() -> Bench {
    let bench = Bench::with(
        r#"
name: report
tasks:
  fetch:
    exec: 'test -e tried || { touch tried; echo "not yet"; exit 75; }; echo fetched; printf "no end"'
    retry: {attempts: 2, backoff: {first: 10ms, jitter: 0}}
  poster:
    needs: [fetch]
    exec: 'echo cannot draw; exit 3'
    on_failure: continue
  publish: {needs: [poster], exec: 'true'}
  rest: {needs: [fetch], sleep: 10ms}
"#,
    );
    bench.run(&["run", "flow.yaml"]).code(0);
    bench
}

#[test]
fn finished_runs_are_shown() {
    let bench = finished();
    check(&bench, "ls", &["ls"]);
    check(&bench, "show", &["show", "latest"]);
    check(&bench, "logs_all", &["logs", "latest"]);
    check(&bench, "logs_task", &["logs", "latest", "fetch"]);
    check(&bench, "logs_attempts", &["logs", "latest", "fetch", "--all"]);
    check(&bench, "logs_first", &["logs", "latest", "fetch", "--attempt", "1"]);
    check(&bench, "no_such_task", &["logs", "latest", "fecth"]);
    check(&bench, "no_log", &["logs", "latest", "rest"]);
    check(&bench, "ls_nothing", &["ls", "--status", "failed"]);
    for arguments in [&["show", "--json"][..], &["ls", "--json"], &["show", "--events", "--json"]] {
        for line in bench.run(arguments).code(0).stdout.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    }
    bench.run(&["show", "--events"]).code(0).says("TASK_RETRYING").says("fetch#1").says("RUN_COMPLETED");
}

#[test]
fn a_large_run_is_summarised_and_those_that_failed_are_named() {
    let mut flow = "name: large\ntasks:\n".to_owned();
    for task in 0..300 {
        flow += &format!("  t{task}: {{sleep: 0s}}\n");
    }
    flow += "  last: {exec: 'exit 3', on_failure: continue}\n";
    let bench = Bench::with(&flow);
    bench.run(&["run", "flow.yaml"]).code(0);
    let shown = bench.run(&["show"]).code(0).says("300 completed, 1 failed");
    let shown = shown.says("last  FAILED").says("1 task of 301 named");
    assert!(!shown.stdout.contains("t299"), "{}", shown.stdout);
    let all: serde_json::Value = serde_json::from_str(&bench.run(&["show", "--json"]).code(0).stdout).unwrap();
    assert_eq!(all["tasks"].as_array().unwrap().len(), 301);
    assert_eq!(all["counts"], serde_json::json!({"COMPLETED": 300, "FAILED": 1}));
}

#[test]
fn runs_are_found_by_the_beginning_of_their_id() {
    let bench = finished();
    let id = bench.run(&["ls", "--json"]).stdout.split('"').nth(3).unwrap().to_owned();
    for given in [&id[..], &id[..20], &id[4..20], &id[..20].to_ascii_lowercase(), "latest"] {
        bench.run(&["show", given]).code(0).says(&id);
    }
    check(&bench, "no_such_run", &["show", "run_0000"]);
    bench.run(&["show", "nonsense!"]).code(2).says("error[UK0305]");
    bench.run(&["run", "flow.yaml", "--new"]).code(0);
    bench.run(&["show", "run_0"]).code(2).says("error[UK0306]");
}

#[test]
fn a_run_is_seen_while_another_process_runs_it() {
    let bench = Bench::with(
        "name: live\ntasks:\n  a: {exec: 'echo one; touch began; while ! test -e go; do sleep 0.01; done; echo two'}\n  \
         b: {exec: 'true', needs: [a]}\n",
    );
    let mut running = bench.start(&["run", "flow.yaml"]);
    // Once that is printed it is durable, and seen by whoever looks.
    running.line("a  started");
    wait_for_file(&bench.path("began"));
    let mut following = bench.start(&["logs", "latest", "a", "-f"]);
    following.line("one");
    check(&bench, "show_live", &["show"]);
    bench.run(&["ls", "--status", "running"]).code(0).says("RUNNING");
    bench.write("go", "");
    following.line("two");
    assert_eq!(following.end().0, Some(0), "following ends with the task");
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn the_bound_of_an_attempt_that_is_stopped_is_told_in_parts_that_add_up() {
    let flow = "name: deaf\ntasks:\n  a:\n    \
                exec: 'trap \"\" TERM; touch began; while ! test -e go; do sleep 0.01; done'\n    \
                timeout: 1s\n    cancel: {told: 2s, term: 60s, kill: 5s}\n";
    let bench = Bench::with(flow);
    bench.run(&["check", "flow.yaml"]).code(0).says("told 2s + TERM 1m + KILL 5s + 8s to hear of it = 75s");
    let mut running = bench.start(&["run", "flow.yaml"]);
    running.line("is out of time and asked to stop");
    let shown = bench.run(&["show"]).code(0).stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains("is being stopped (out of time); given up in 1m 1"), "{shown}");
    assert!(shown.contains(": 67s of its ladder + 8s to hear of it,"), "{shown}");
    bench.write("go", "");
    running.end();
}

#[test]
fn logs_say_that_there_were_other_attempts() {
    let bench = finished();
    let id = bench.run(&["ls", "--json"]).stdout.split('"').nth(3).unwrap().to_owned();
    let one = format!(
        "note: this is attempt 2 of `fetch`; `unknot logs {id} fetch --attempt 1` shows the one before, `--all` all of them\n"
    );
    for arguments in [&["logs", "latest", "fetch"][..], &["logs", "latest", "fetch", "-f"], &["logs", "latest"]] {
        assert_eq!(bench.run(arguments).code(0).stderr, one, "{arguments:?}");
    }
    for arguments in [
        &["logs", "latest", "poster"][..],
        &["logs", "latest", "fetch", "--all"],
        &["logs", "latest", "fetch", "--attempt", "1"],
    ] {
        assert_eq!(bench.run(arguments).code(0).stderr, "", "{arguments:?}");
    }
}

#[test]
fn following_misses_nothing_of_an_attempt_that_is_tried_again() {
    let bench = Bench::with(
        r#"
name: again
tasks:
  a:
    exec: |
      if test "$UNKNOT_TRY" = 2; then echo three; touch second; while ! test -e end; do sleep 0.01; done; exit; fi
      echo one; while ! test -e go; do sleep 0.01; done; echo two; exit 75
    retry: {attempts: 2, backoff: {first: 10ms, jitter: 0}}
"#,
    );
    let mut running = bench.start(&["run", "flow.yaml"]);
    running.line("a  started");
    let mut following = bench.start(&["logs", "latest", "a", "-f"]);
    following.line("one");
    // It looks away while the first attempt ends and the second one begins.
    following.signal(Signal::STOP);
    bench.write("go", "");
    wait_for_file(&bench.path("second"));
    following.signal(Signal::CONT);
    following.line("three");
    bench.write("end", "");
    let (code, printed) = following.end();
    assert_eq!((code, printed.as_str()), (Some(0), "one\ntwo\n── attempt 2 ──\nthree"));
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn following_says_where_a_long_log_stops() {
    let bench = Bench::with(
        "name: long\ntasks:\n  \
         a: {exec: 'yes $(printf %0200d 0) | head -c 9m; touch printed; while ! test -e go; do sleep 0.01; done; echo; echo end'}\n",
    );
    let running = bench.start(&["run", "flow.yaml"]);
    wait_for_file(&bench.path("printed"));
    let mut command = bench.command(&["logs", "latest", "a", "-f"]);
    let mut following =
        command.stdout(fs::File::create(bench.path("seen")).unwrap()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    BufReader::new(following.stderr.take().unwrap()).read_line(&mut told).unwrap();
    assert_eq!(told, "note: `a` has printed 8 MiB; the last 8 MiB follow when it ends\n");
    bench.write("go", "");
    assert_eq!(following.wait().unwrap().code(), Some(0));
    assert!(bench.read("seen").ends_with("\nend\n"));
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn the_store_is_looked_after() {
    let bench = finished();
    bench.run(&["store", "check"]).code(0).says("sound");
    bench.run(&["store", "backup", "copy.db"]).code(0).says("complete");
    bench.run(&["store", "backup", "copy.db"]).code(5).says("error[UK0232]");
    let data = bench.path(".unknot").display().to_string();
    assert_eq!(bench.run(&["store", "path"]).code(0).stdout.trim(), data);
    bench.run(&["store", "prune", "--older-than", "7"]).code(2).says("error[UK0304]");
    bench.run(&["store", "prune", "--older-than", "0s"]).code(0).says("1 run removed");
    bench.run(&["ls"]).code(0).says("no runs");
    assert_eq!(fs::read_dir(bench.path(".unknot/attempts")).unwrap().count(), 0, "logs go with their run");
}

/// The folder of an attempt is its own as well, and whoever looks into it must not be caught there.
#[test]
fn a_pipe_in_place_of_a_log_holds_nobody_up() {
    let bench = Bench::with(
        "name: trap\ntasks:\n  a: {exec: 'cd ${UNKNOT_OUTPUT%/*}; until rm log.txt; do sleep 0.01; done; mkfifo log.txt; exit 3'}\n",
    );
    bench.run(&["run", "flow.yaml"]).code(1).says("exited with status 3");
    bench.run(&["logs", "latest", "a"]).says("it is not a regular file");
}
