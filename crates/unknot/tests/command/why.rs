//! Why a run does not go on, whoever is asked.

use super::{
    server::{serve, with},
    support::{Bench, wait_for_file},
};

const HOLDS: &str =
    "name: holds\ntasks:\n  long: {exec: 'touch began; while ! test -e go; do sleep 0.01; done', locks: [gpu]}\n";
const WANTS: &str = "name: wants\ntasks:\n  use: {exec: 'true', locks: [gpu]}\n  ask: {signal: approve}\n  last: {needs: [use, ask], exec: 'true'}\n";

#[test]
fn a_run_that_waits_for_another_names_it_and_what_a_person_can_do() {
    let bench = Bench::with(HOLDS);
    bench.write("wants.yaml", WANTS);
    let served = serve(&bench);
    bench.run(&["submit", "flow.yaml"]).code(0);
    wait_for_file(&bench.path("began"));
    bench.run(&["submit", "wants.yaml"]).code(0);
    let options = served.options();
    for place in [&[][..], &options[..]] {
        let told = bench.run(&with(&["why"], place)).code(0);
        told.says("waits for 3 of its 3 tasks to end")
            .says("├ use\n")
            .says("└ long  run_")
            .says("waits for lock `gpu`");
        let told = bench.run(&with(&["why"], place)).code(0);
        told.says("is performed by worker `local`")
            .says("`unknot signal send run_")
            .says("in 6d 23h the run times out");
        let lines = bench.run(&with(&["why"], place)).code(0).stdout;
        assert!(lines.lines().all(|line| line.chars().count() <= 80), "{lines}");
    }
    bench.write("go", "");
    bench.run(&["signal", "send", "latest", "approve"]).code(0);
    bench.run(&["events", "latest", "-f"]).code(0);
    bench.run(&["why"]).code(1).says("error[UK0311]");
    for place in [&[][..], &options[..]] {
        let vague = bench.run(&with(&["why", "run_"], place)).code(2).says("error[UK0306]");
        vague.says("`run_` is the beginning of more than one run: every id begins so");
    }
}

#[test]
fn a_task_that_starts_runs_waits_for_its_lock_and_for_no_worker() {
    let bench = Bench::with(HOLDS);
    bench.write("starts.yaml", "name: starts\ntasks:\n  call: {workflow: none, locks: [gpu]}\n");
    bench.write("none.yaml", "name: none\ntasks:\n  nothing: {sleep: 1ms}\n");
    let _served = serve(&bench);
    bench.run(&["submit", "flow.yaml"]).code(0);
    wait_for_file(&bench.path("began"));
    bench.run(&["submit", "starts.yaml"]).code(0);
    let told = bench.run(&["why", "latest"]).code(0).says("waits for lock `gpu`").stdout;
    assert!(!told.contains("none that is here"), "{told}");
    bench.write("go", "");
    bench.run(&["events", "latest", "-f"]).code(0);
}

#[test]
fn the_process_that_runs_it_is_asked_where_there_is_no_server() {
    let bench = Bench::with(WANTS);
    let mut running = bench.start(&["run", "flow.yaml"]);
    running.line("waits for signal `approve`");
    bench.run(&["why", "--json"]).code(0).says(r#""mover":"signal","mover_name":"approve""#);
    bench.run(&["why", "run_0000"]).code(2).says("error[UK0305]");
    bench.run(&["signal", "send", "latest", "approve"]).code(0);
    let (code, printed) = running.end();
    assert_eq!(code, Some(0), "{printed}");
    bench.run(&["why"]).code(1).says("error[UK0311]");
}
