//! Ctrl-C, a second one, TERM, and cancellations from elsewhere.

use super::support::{Bench, Running, exists_process_with, marker, wait_for_file, wait_until_gone};
use rustix::process::Signal;
use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

/// A run whose one task never ends by itself; with `deaf` it does not even hear TERM.
fn endless(marker: &str, deaf: bool) -> (Bench, Running) {
    let trap = if deaf { "trap \"\" TERM; " } else { "" };
    let bench = Bench::with(&format!(
        "name: endless\ntasks:\n  a:\n    exec: '{trap}touch began; while true; do sleep 0.1{marker}; done'\n    \
         cancel: {{term: 30s, kill: 5s}}\n  b: {{exec: 'touch b', needs: [a]}}\n"
    ));
    let running = bench.start(&["run", "flow.yaml"]);
    wait_for_file(&bench.path("began"));
    (bench, running)
}

#[test]
fn the_first_signal_cancels() {
    for (signal, word) in [(Signal::INT, "Ctrl-C"), (Signal::TERM, "TERM")] {
        let marker = marker();
        let (bench, mut running) = endless(&marker, false);
        running.line("started");
        running.signal(signal);
        running.line(&format!("{word}: cancelling; once more kills at once"));
        let (code, printed) = running.end();
        assert_eq!(code, Some(3), "{printed}");
        assert!(printed.contains("CANCELLED  endless"), "{printed}");
        assert!(!bench.path("b").exists(), "nothing new starts");
        assert!(!exists_process_with(&format!("0.1{marker}")), "what ran is gone when the command ends");
    }
}

#[test]
fn the_second_signal_kills() {
    let marker = marker();
    let (bench, mut running) = endless(&marker, true);
    running.signal(Signal::INT);
    running.line("cancelling");
    running.line("nothing new starts");
    running.signal(Signal::INT);
    let (code, printed) = running.end();
    assert_eq!(code, Some(130), "{printed}");
    assert!(printed.contains("killed"), "{printed}");
    wait_until_gone(&format!("0.1{marker}"));
    // Its cancellation is completed, whoever comes next.
    bench.write("flow.yaml", "name: endless\ntasks:\n  a: {exec: 'true'}\n");
    bench.run(&["run", "flow.yaml"]).code(0);
    let list = bench.run(&["ls", "--json"]).code(0).stdout;
    assert_eq!(list.lines().filter(|line| line.contains("\"CANCELLED\"")).count(), 1, "{list}");
}

#[test]
fn a_run_is_cancelled_from_another_terminal() {
    let marker = marker();
    let (bench, running) = endless(&marker, false);
    bench.run(&["cancel", "latest", "--reason", "wrong inputs"]).code(0).says("is being cancelled");
    let (code, printed) = running.end();
    assert_eq!(code, Some(3), "{printed}");
    assert!(printed.contains("wrong inputs"), "{printed}");
    bench.run(&["show"]).code(0).says("wrong inputs (by tester)");
    assert!(!bench.path(".unknot/control.sock").exists(), "the socket goes with its engine");
    bench.run(&["cancel", "latest"]).code(1).says("error[UK0311]").says("already ended as CANCELLED");
}

#[test]
fn a_run_that_nobody_runs_is_cancelled_all_the_same() {
    let marker = marker();
    let (bench, running) = endless(&marker, true);
    running.signal(Signal::KILL);
    drop(running);
    bench.run(&["cancel", "latest"]).code(0).says("CANCELLED");
    wait_until_gone(&format!("0.1{marker}"));
    bench.run(&["ls"]).code(0).says("CANCELLED");
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let bench = Bench::with("name: long\ntasks:\n  a: {exec: 'while ! test -e go; do sleep 0.01; done'}\n");
    let mut child = bench.command(&["run", "flow.yaml"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut first).unwrap();
    drop(stdout);
    bench.write("go", "");
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130));
    assert!(first.starts_with("data"), "{first}");
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}
