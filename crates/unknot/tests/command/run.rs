//! Runs to their end, and runs that go on where they were.

use super::{
    snapshot::check,
    support::{Bench, ended, exists_process_with, marker, wait_for_file, wait_until_gone},
};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

/// A chain, so that its lines have one order.
const CHAIN: &str = r#"
name: chain
input:
  word: {type: string, default: tides}
  pages: {type: integer, default: 3}
tasks:
  fetch:
    exec: 'test -e tried || { touch tried; echo "not yet"; exit 75; }; echo "{\"lines\": 7}"'
    retry: {attempts: 2, backoff: {first: 10ms, jitter: 0}}
  poster:
    needs: [fetch]
    exec: ["sh", "-c", "echo cannot draw; exit 3"]
    on_failure: {fallback: poster-small}
  poster-small:
    when: fallback
    exec: ["sh", "-c", "echo \"$1 of $2 pages, $3 lines\" > poster; cp poster \"$UNKNOT_ARTIFACTS\"", "sh",
           "{{ input.word }}", "{{ input.pages }}", "{{ tasks.fetch.output.lines }}"]
  spare:
    needs: [poster-small]
    when: "input.pages > 10"
    exec: ["false"]
"#;

#[test]
fn a_run_ends_with_what_it_made() {
    let bench = Bench::with(CHAIN);
    check(&bench, "run_completed", &["run", "flow.yaml", "-i", "pages=5"]);
    assert_eq!(bench.read("poster"), "tides of 5 pages, 7 lines\n");
}

#[test]
fn a_failure_is_told_with_the_end_of_its_log() {
    let bench = Bench::with(
        "name: broken\ntasks:\n  a: {exec: 'seq 1 9; echo \"no such table\"; exit 4'}\n  b: {exec: 'true', needs: [a]}\n",
    );
    check(&bench, "run_failed", &["run", "flow.yaml"]);
}

#[test]
fn a_run_out_of_time_says_so_by_its_exit_status() {
    let bench = Bench::with("name: late\ntimeout: 1s\ntasks:\n  a: {sleep: 700ms}\n  b: {sleep: 700ms, needs: [a]}\n");
    bench.run(&["run", "flow.yaml"]).code(4).says("TIMED_OUT");
}

#[test]
fn what_a_task_leaves_behind_is_told() {
    let marker = marker();
    let bench = Bench::with(&format!(
        "name: untidy\ntasks:\n  a: {{exec: 'sleep 1000.{marker} & true'}}\n  \
         b: {{needs: [a], exec: 'sleep 1000.{marker} > /dev/null & exit 3'}}\n"
    ));
    let ended = bench.run(&["run", "flow.yaml"]).code(1).says("left 1 process behind, now ended");
    assert!(ended.stdout.contains("still held its output"), "{}", ended.stdout);
    assert!(!exists_process_with(&marker));
}

#[test]
fn a_program_that_is_replaced_while_it_runs_goes_on() {
    let flow =
        "name: flow\ntasks:\n  a: {exec: 'test -e tried || { touch tried; rm program; kill -9 $PPID; sleep 100; }'}\n";
    let bench = Bench::with(flow);
    let program = bench.path("program");
    fs::copy(env!("CARGO_BIN_EXE_unknot"), &program).unwrap();
    let mut command = Command::new(&program);
    command.args(["run", "flow.yaml"]).current_dir(bench.path("."));
    ended(command).code(0);
    assert!(!program.exists(), "the second guard was started without its file");
}

#[test]
fn events_and_summary_are_json_lines() {
    let bench = Bench::with(CHAIN);
    let ended = bench.run(&["run", "flow.yaml", "--json"]).code(0);
    assert_eq!(ended.stderr, "");
    let lines: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.first().unwrap()["start"]["tasks"], 4);
    let summary = &lines.last().unwrap()["summary"];
    assert_eq!(summary["status"], "COMPLETED");
    assert_eq!(summary["exit_status"], 0);
    assert_eq!(summary["failures"][0]["exit"], 3);
    let names = |event: &str| -> Vec<String> {
        let of_kind = lines.iter().filter(|line| line["event"] == event);
        of_kind.map(|line| line["name"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names("TASK_COMPLETED"), ["fetch", "poster-small"]);
    assert_eq!(names("TASK_RETRYING"), ["fetch"]);
    assert_eq!(names("TASK_SKIPPED"), ["spare"]);
    assert_eq!(names("RUN_COMPLETED"), [""]);
}

#[test]
fn the_variables_of_a_process_are_documented() {
    let bench = Bench::with("name: told\ntasks:\n  a: {exec: 'env | grep -o ^UNKNOT_[A-Z_]* > variables'}\n");
    bench.run(&["run", "flow.yaml"]).code(0);
    let documented = include_str!("../../../../docs/workflow-files.md");
    let variables = bench.read("variables");
    assert!(variables.contains("UNKNOT_OUTPUT"), "{variables}");
    // The guard's own: by it a later guard knows the processes of an earlier one.
    for variable in variables.lines().filter(|variable| *variable != "UNKNOT_GUARD") {
        assert!(documented.contains(&format!("`{variable}`")), "{variable} stands in no table");
    }
}

#[test]
fn an_output_that_cannot_be_written_does_not_end_the_run() {
    let bench = Bench::with(CHAIN);
    let mut command = bench.command(&["run", "flow.yaml"]);
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let child = command.stdout(full()).stderr(Stdio::piped()).spawn().unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("error[UK0300]"));
    bench.run(&["ls"]).code(0).says("COMPLETED");
}

#[test]
fn inputs_come_from_the_command_line_and_from_files() {
    let bench = Bench::with(CHAIN);
    bench.write("inputs.json", r#"{"pages": 8, "word": "rain"}"#);
    bench.run(&["run", "flow.yaml", "-i", "@inputs.json", "-i", "pages=9"]).code(0);
    assert_eq!(bench.read("poster"), "rain of 9 pages, 7 lines\n");
    check(&bench, "inputs_refused", &["run", "flow.yaml", "-i", "pages=many", "-i", "wrod=x"]);
    bench.run(&["run", "flow.yaml", "-i", "pages"]).code(2).says("error[UK0303]").says("no `=`");
    bench.run(&["run", "flow.yaml", "-i", "@nowhere.json"]).code(2).says("cannot be read");
}

/// Two short tasks, then one that waits for a file that the test makes.
fn interrupted(marker: &str) -> Bench {
    Bench::with(&format!(
        r#"
name: interrupted
tasks:
  first: {{exec: 'echo first >> done'}}
  second: {{exec: 'echo second >> done', needs: [first]}}
  third: {{exec: 'echo third >> tries; while ! test -e go; do sleep 0.01{marker}; done; echo third >> done', needs: [second]}}
"#
    ))
}

#[test]
fn a_killed_run_goes_on_where_it_was() {
    let marker = marker();
    let bench = interrupted(&marker);
    let mut running = bench.start(&["run", "flow.yaml"]);
    running.line("second  completed");
    wait_for_file(&bench.path("tries"));
    assert!(exists_process_with(&format!("0.01{marker}")));
    running.signal(Signal::KILL);
    drop(running);
    // Before anything is started again.
    wait_until_gone(&format!("0.01{marker}"));
    let shown = bench.run(&["show"]).code(0).says("no process runs it now: `unknot run flow.yaml` goes on with it");
    assert!(shown.stdout.contains("was on local, whose process is gone"), "{}", shown.stdout);
    bench.write("go", "");
    let ended = bench.run(&["run", "flow.yaml"]).code(0).says("resumed where it was (2 of 3 tasks done)");
    assert!(!ended.stdout.contains("first"), "a recorded completion was repeated:\n{}", ended.stdout);
    assert_eq!(bench.read("done"), "first\nsecond\nthird\n");
    assert_eq!(bench.read("tries"), "third\nthird\n");
    let list = bench.run(&["ls", "--json"]).code(0);
    assert_eq!(list.stdout.lines().count(), 1, "one run, not two: {}", list.stdout);
}

#[test]
fn under_a_key_there_is_one_run() {
    let marker = marker();
    let bench = interrupted(&marker);
    let keyed = ["run", "flow.yaml", "--key", "monday"];
    let mut running = bench.start(&keyed);
    running.line("second  completed");
    running.signal(Signal::KILL);
    drop(running);
    wait_until_gone(&format!("0.01{marker}"));
    bench.write("go", "");
    let other = bench.run(&["run", "flow.yaml", "--key", "tuesday"]).code(0);
    other.says("under no key or another one");
    // Whatever the file is called.
    bench.write("copy.yaml", &bench.read("flow.yaml"));
    bench.run(&["run", "copy.yaml", "--key", "monday"]).code(0);
    assert_eq!(bench.read("done").matches("first").count(), 2, "nothing was repeated");
    let again = bench.run(&keyed).code(0).says("which has ended under this key");
    assert!(again.stdout.contains("COMPLETED  interrupted"), "{}", again.stdout);
    let lines = bench.run(&[&keyed[..], &["--json"]].concat()).code(0).stdout;
    assert_eq!(lines.lines().count(), 2, "start and summary: {lines}");
    assert_eq!(bench.run(&["ls", "--json"]).stdout.lines().count(), 2, "one run for each key");
    let flow = bench.read("flow.yaml").replace("third: {", "third: {priority: high, ");
    bench.write("flow.yaml", &flow);
    bench.run(&keyed).code(2).says("error[UK0315]");
    bench.run(&["run", "flow.yaml", "--key", ""]).code(2).says("1 to 200 letters");
}

#[test]
fn how_a_run_goes_on_is_told_with_its_folder_and_inputs() {
    let bench = Bench::with(
        "name: asks\ninput:\n  word: {type: string}\ntasks:\n  \
         a: {exec: 'echo here; touch began; while ! test -e go; do sleep 0.01; done'}\n",
    );
    let running = bench.start(&["run", "flow.yaml", "--data", "else where", "-i", "word=x"]);
    wait_for_file(&bench.path("began"));
    running.signal(Signal::KILL);
    drop(running);
    let advice = "no process runs it now: `unknot run flow.yaml --data 'else where'` with the same inputs";
    let shown = bench.run(&["show", "--json", "--data", "else where"]).code(0);
    shown.says("was on local, whose process is gone");
    let mut following = bench.command(&["logs", "-f", "--data", "else where"]);
    let mut following = following.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    BufReader::new(following.stderr.take().unwrap()).read_line(&mut told).unwrap();
    assert!(told.contains(advice), "{told}");
    bench.write("go", "");
    let again = ["run", "flow.yaml", "--data", "else where", "-i", "word=x"];
    bench.run(&again).code(0).says("resumed where it was");
    assert_eq!(following.wait().unwrap().code(), Some(0));
}

#[test]
fn unfinished_runs_of_another_kind_are_told_and_left_alone() {
    let marker = marker();
    let bench = interrupted(&marker);
    let mut running = bench.start(&["run", "flow.yaml"]);
    running.line("second  completed");
    running.signal(Signal::KILL);
    drop(running);
    wait_until_gone(&format!("0.01{marker}"));
    bench.write("go", "");

    let afresh = bench.run(&["run", "flow.yaml", "--new"]).code(0);
    afresh.says("left alone because of `--new`").says("unknot cancel run_");
    let flow = bench.read("flow.yaml").replace("third: {", "third: {priority: high, ");
    bench.write("flow.yaml", &flow);
    bench.run(&["run", "flow.yaml"]).code(0).says("of an older content of this file");
    bench.write("other.yaml", "name: other\ntasks:\n  a: {exec: 'true'}\n");
    bench.run(&["run", "other.yaml"]).code(0).says("1 unfinished run of another file waits meanwhile");
    let list = bench.run(&["ls", "--status", "running", "--json"]).code(0);
    assert_eq!(list.stdout.lines().count(), 1, "the first one still waits: {}", list.stdout);
}

/// More slots than descriptors would fail launches one after the other.
#[test]
fn slots_that_the_limit_of_open_files_does_not_allow_are_told() {
    let tasks: String = (0..60).map(|number| format!("  t{number}: {{exec: 'sleep 0.05'}}\n")).collect();
    let bench = Bench::with(&format!("name: many\ntasks:\n{tasks}"));
    bench.write("unknot.yaml", "worker: {slots: 512}\n");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 256; exec \"$0\" run flow.yaml", env!("CARGO_BIN_EXE_unknot")]);
    command.current_dir(bench.path("."));
    let ended = ended(command).code(0).says("`worker.slots` is 512").says("more than 31");
    assert!(!ended.stdout.contains("tries again"), "{}", ended.stdout);
}

/// The server's own call must not wait for a reader that never comes, at the latest when the command is to end.
#[test]
fn a_pipe_where_a_task_is_told_to_stop_keeps_no_command_from_ending() {
    let bench = Bench::with(
        "name: pipe\ntasks:\n  a:\n    exec: 'mkfifo $UNKNOT_STOP; sleep 1000'\n    timeout: 300ms\n    \
         cancel: {told: 50ms, term: 1s, kill: 1s}\n",
    );
    bench.run(&["run", "flow.yaml"]).code(1).says("it took longer than");
}
