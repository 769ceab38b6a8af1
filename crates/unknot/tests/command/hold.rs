//! Holding what nobody knows: at a server, by the process that owns the folder, and in a store that nobody owns.

use super::{
    server::serve,
    support::{Bench, wait_for_file},
};

const LONG: &str = "name: long\ntasks:\n  a: {exec: 'touch began; while ! test -e go; do sleep 0.01; done'}\n  b: {queue: slow, needs: [a], exec: 'true'}\n";
const CONFIG: &str = "queues: {slow: {max_queue_size: 9}}\n";

/// The same answers, whoever gives them.
fn refuses_what_nobody_knows(bench: &Bench) {
    for verb in ["pause", "resume"] {
        let refused = bench.run(&[verb, "queue", "defualt"]).code(2).says("error[UK0404]");
        refused.says("there is no queue `defualt`; did you mean `default`?");
        bench.run(&[verb, "queue", "nothing-like-it"]).code(2).says("there is no queue `nothing-like-it`\n");
        bench.run(&[verb, "workflow", "lnog"]).code(0).says("note: no run of a workflow `lnog` is known");
        let known = bench.run(&[verb, "workflow", "long"]).code(0);
        assert_eq!(known.stderr, "");
    }
    for queue in ["default", "slow"] {
        bench.run(&["pause", "queue", queue]).code(0).says("is held by");
        bench.run(&["resume", "queue", queue]).code(0).says("goes on");
    }
}

/// Whoever is in a wrong folder does not believe that something is held.
#[test]
fn where_there_is_nothing_to_hold_nothing_is_made() {
    let bench = Bench::new();
    for (verb, kind) in [("pause", "workflow"), ("resume", "workflow"), ("pause", "queue"), ("pause", "run")] {
        let refused = bench.run(&[verb, kind, "default"]).code(2).says("error[UK0305]").says("no workflow has run yet");
        refused.says("`--data DIR`").says("`--server http://HOST:PORT`");
    }
    assert!(!bench.path(".unknot").exists(), "nothing was made");
}

#[test]
fn a_mistyped_queue_is_refused_wherever_it_is_asked_for() {
    let bench = Bench::with(LONG);
    bench.write("unknot.yaml", CONFIG);
    // The first command in a folder knows its configuration as well.
    bench.run(&["pause", "queue", "slow"]).code(0).says("is held by");
    bench.run(&["resume", "queue", "slow"]).code(0);

    let running = bench.start(&["run", "flow.yaml"]);
    wait_for_file(&bench.path("began"));
    refuses_what_nobody_knows(&bench);
    bench.write("go", "");
    let (code, printed) = running.end();
    assert_eq!(code, Some(0), "{printed}");

    refuses_what_nobody_knows(&bench);
    let _served = serve(&bench);
    refuses_what_nobody_knows(&bench);
    let queues = bench.run(&["queues"]).code(0);
    assert!(!queues.stdout.contains("defualt"), "{}", queues.stdout);
}
