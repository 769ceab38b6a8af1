//! Ctrl-C, a second one, TERM, and cancellations from elsewhere.

use super::support::{Bench, Running, exists_process_with, marker, until, wait_for_file, wait_until_gone};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
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
    for (signal, word) in [(Signal::INT, "Ctrl-C"), (Signal::TERM, "TERM"), (Signal::HUP, "HUP")] {
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
    running.signal(Signal::TERM);
    let (code, printed) = running.end();
    assert_eq!(code, Some(130), "{printed}");
    // How the command ends, and how its run stands, are told apart.
    assert!(printed.contains("CUT SHORT  endless; the run is CANCEL"), "{printed}");
    assert!(printed.contains("note  killed, exit status 130"), "{printed}");
    assert!(!printed.lines().any(|line| line.starts_with("CANCEL")), "{printed}");
    wait_until_gone(&format!("0.1{marker}"));
    // Its cancellation is completed, whoever comes next.
    bench.write("flow.yaml", "name: endless\ntasks:\n  a: {exec: 'true'}\n");
    bench.run(&["run", "flow.yaml"]).code(0);
    let list = bench.run(&["ls", "--json"]).code(0).stdout;
    assert_eq!(list.lines().filter(|line| line.contains("\"CANCELLED\"")).count(), 1, "{list}");
}

#[test]
fn beside_json_a_person_is_told_on_standard_error() {
    let bench = Bench::with("name: long\ntasks:\n  a: {exec: 'touch began; while true; do sleep 0.1; done'}\n");
    let mut command = bench.command(&["run", "flow.yaml", "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_file(&bench.path("began"));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "note: TERM: cancelling; once more kills at once\n");
    let last = String::from_utf8_lossy(&ended.stdout).lines().last().unwrap().to_owned();
    assert!(last.starts_with("{\"summary\":") && last.contains("\"cut_short\":false"), "{last}");
}

#[test]
fn two_signals_at_once_are_one_wish() {
    let marker = marker();
    let (_bench, mut running) = endless(&marker, false);
    running.line("started");
    // As `timeout` does: to its child, and to the group that the child is in.
    running.signal(Signal::TERM);
    running.signal(Signal::TERM);
    let (code, printed) = running.end();
    assert_eq!(code, Some(3), "{printed}");
}

#[test]
fn who_must_not_hear_of_a_closed_terminal_does_not() {
    let bench =
        Bench::with("name: long\ntasks:\n  a: {exec: 'touch began; while ! test -e go; do sleep 0.01; done'}\n");
    let mut command = Command::new("nohup");
    command.args([env!("CARGO_BIN_EXE_unknot"), "run", "flow.yaml"]).current_dir(bench.path("."));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for_file(&bench.path("began"));
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    bench.write("go", "");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Nobody empties the pipe, so the command is stuck in the middle of a line.
#[test]
fn a_second_signal_ends_a_command_that_hangs() {
    let tasks: String = (0..500).map(|number| format!("  t{number}: {{sleep: 0s}}\n")).collect();
    let bench = Bench::with(&format!("name: chatty\ntasks:\n{tasks}"));
    let mut child = bench.command(&["run", "flow.yaml", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let completed = || bench.run(&["ls", "--status", "completed", "--json"]).stdout.contains("COMPLETED");
    until("the run is completed", Duration::from_secs(40), completed);
    assert_eq!(child.try_wait().unwrap(), None, "more was said than a pipe holds");
    until("the command has ended", Duration::from_secs(40), || {
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        child.try_wait().unwrap().is_some()
    });
    assert_eq!(child.wait().unwrap().code(), Some(130));
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

/// Stopped with its engine, an attempt is nobody's loss: it is neither given out again to the worker that stops,
/// nor found as lost by the next engine.
#[test]
fn a_task_that_ends_with_its_engine_is_as_if_it_had_never_been_given() {
    let bench = Bench::with(
        "name: long\ntasks:\n  a:\n    exec: 'touch began; echo x >> tries; while ! test -e go; do sleep 0.01; done'\n    \
         on_lost: fail\n  b: {exec: 'while ! test -e tell; do sleep 0.01; done'}\n",
    );
    let mut child = bench.command(&["run", "flow.yaml"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut first).unwrap();
    wait_for_file(&bench.path("began"));
    drop(stdout);
    // Something to tell, so that it is found that nobody listens.
    bench.write("tell", "");
    until("the command has ended", Duration::from_secs(40), || child.try_wait().unwrap().is_some());
    assert_eq!(bench.read("tries"), "x\n", "it was given to nobody else meanwhile");
    bench.write("go", "");
    let again = bench.run(&["run", "flow.yaml", "--json"]).code(0).stdout;
    let completed = again.lines().find(|line| line.contains("TASK_COMPLETED")).unwrap();
    assert!(completed.contains("\"attempt\":2"), "{again}");
}
