//! Scripts that are tasks: they lock, wait, spawn and send, wherever they run and whatever becomes of the server.

use super::{
    server::serve,
    support::{Bench, Running, until, wait_for_file},
};
use rustix::process::Signal;
use std::time::Duration;

/// Longer than anything takes that works, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two tasks of one workflow, each a script.
fn two(first: &str, second: &str) -> Bench {
    let bench = Bench::with("name: two\ntasks:\n  a: {exec: 'sh a.sh'}\n  b: {exec: 'sh b.sh'}\n");
    bench.write("a.sh", first);
    bench.write("b.sh", second);
    bench
}

/// One task that is a script; its log.
fn one(script: &str) -> (Bench, String) {
    let bench = Bench::with("name: one\ntasks:\n  a: {exec: 'sh a.sh'}\n");
    bench.write("a.sh", script);
    bench.run(&["run", "flow.yaml"]).code(0);
    let log = bench.run(&["logs", "latest", "a"]).code(0).stdout;
    (bench, log)
}

/// What each did, when nobody was in the way: its two lines stand together.
fn assert_apart(told: &str) {
    let lines: Vec<&str> = told.lines().collect();
    let (first, second) = (["a begins", "a ends"], ["b begins", "b ends"]);
    assert!(lines == [first, second].concat() || lines == [second, first].concat(), "{told}");
}

/// Each does its part only if nobody else is at it; that would be seen.
fn critical(name: &str) -> String {
    format!(
        "unknot lock gpu -- sh -c 'mkdir busy && echo {name} begins >> told && sleep 0.1 && echo {name} ends >> told && rmdir busy'\n"
    )
}

#[test]
fn two_scripts_have_a_lock_one_after_the_other() {
    let bench = two(&critical("a"), &critical("b"));
    bench.run(&["run", "flow.yaml"]).code(0);
    assert_apart(&bench.read("told"));
    let served = two(&critical("a"), &critical("b"));
    let _server = serve(&served);
    served.run(&["submit", "flow.yaml", "--wait"]).code(0);
    assert_apart(&served.read("told"));
    let pools = served.run(&["pools"]).code(0).stdout;
    assert!(pools.contains("no pools or locks are in use") && pools.contains("nobody's now: 1 ("), "{pools}");
    served.run(&["pools", "--json"]).code(0).says(r#""name":"gpu","size":1,"held":0,"by_first_use":true"#);
}

/// Taken one by one in opposite order, they would wait for each other.
#[test]
fn two_locks_at_once_in_either_order() {
    let part = |name: &str, locks: &str| {
        format!(
            "for i in 1 2 3 4 5; do unknot lock {locks} -- sh -c 'mkdir busy && rmdir busy && echo {name} >> told' || exit 1; done\n"
        )
    };
    let bench = two(&part("a", "left right"), &part("b", "right left"));
    bench.run(&["run", "flow.yaml"]).code(0);
    assert_eq!(bench.read("told").lines().count(), 10);
}

/// The verdict comes with the wait that closes the ring; one of the two is stopped and made again, and both do their part.
#[test]
fn two_locks_one_by_one_in_opposite_order_are_a_deadlock_that_is_resolved() {
    let part = |name: &str, other: &str, first: &str, second: &str| {
        format!(
            "unknot lock {first} && touch {name}-has; until test -e {other}-has; do sleep 0.01; done
unknot lock {second} -- sh -c 'echo {name} >> told'\n"
        )
    };
    let bench = two(&part("a", "b", "left", "right"), &part("b", "a", "right", "left"));
    let watched = bench.run(&["run", "flow.yaml"]).code(0);
    watched.says("waits for lock `left`, held by `two/").says("waits for lock `right`, held by `two/");
    let told = bench.read("told");
    assert!(told == "a\nb\n" || told == "b\na\n", "{told}");
    bench.run(&["show", "--events"]).code(0).says("DEADLOCK_DETECTED").says(r#"reason="deadlock""#);
}

/// A script that does not look at what `unknot lock` says does not go on without the lock either.
#[test]
fn whoever_is_stopped_in_a_wait_does_not_go_on_without_what_it_waited_for() {
    let part = |name: &str, other: &str, first: &str, second: &str| {
        format!(
            "unknot lock {first}; touch {name}-has; until test -e {other}-has; do sleep 0.01; done
unknot lock {second}; echo {name} >> told; unknot unlock {second}; unknot unlock {first}\n"
        )
    };
    let bench = two(&part("a", "b", "left", "right"), &part("b", "a", "right", "left"));
    bench.run(&["run", "flow.yaml"]).code(0);
    let told = bench.read("told");
    assert!(told == "a\nb\n" || told == "b\na\n", "{told}");
    bench.run(&["show", "--events"]).code(0).says(r#"reason="deadlock""#).says("#2");
}

/// One who holds something waits no longer than is said, and one waits for the end of the other.
#[test]
fn time_is_bounded_and_what_is_held_ends_with_its_attempt() {
    let bench = two(
        "unknot lock gpu && touch held && until test -e spared; do sleep 0.01; done\n",
        "until test -e held; do sleep 0.01; done
unknot lock gpu --within 50ms -- touch ran; echo $? > late
unknot lock gpu --any spare; unknot unlock spare; touch spared
unknot lock gpu && echo mine > end\n",
    );
    bench.run(&["run", "flow.yaml"]).code(0);
    assert_eq!((bench.read("late").trim(), bench.read("end").trim()), ("75", "mine"));
    assert!(!bench.path("ran").exists(), "nothing is run without the lock");
    bench.run(&["logs", "latest", "b"]).code(0).says("gpu not acquired within 50ms").says("spare\n");
}

#[test]
fn a_command_has_its_lock_and_its_end_is_ours() {
    let (_bench, log) = one(r#"
unknot lock a b --units 1 -- sh -c 'echo "held: $UNKNOT_LOCK"; exit 7'; echo "ended: $?"
unknot lock a -- sh -c 'kill -KILL $$'; echo "killed: $?"
unknot lock a -- ./nothing-there; echo "nothing: $?"
unknot lock a -- sh -c 'trap "exit 9" USR1; touch up; while :; do sleep 0.01; done' & child=$!
until test -e up; do sleep 0.01; done; kill -USR1 $child; wait $child; echo "told: $?"
unknot lock a && echo "given back each time"
unknot lock a; echo "twice: $?"
unknot unlock a; unknot unlock a; echo "not held: $?"
"#);
    for line in [
        "held: a b",
        "ended: 7",
        "killed: 137",
        "cannot start `./nothing-there`",
        "nothing: 127",
        "told: 9",
        "given back each time",
        "of which the attempt itself holds 1",
        "twice: 2",
        "the attempt holds 0 of `a`",
        "not held: 2",
    ] {
        assert!(log.contains(line), "no `{line}` in:\n{log}");
    }
}

/// One process of a task waits while a command of another one ends: its lock is given back then, and not at the end.
#[test]
fn what_a_command_had_is_given_back_while_another_process_of_the_task_waits() {
    let bench = two(
        "unknot lock gpu -- sh -c 'touch held; until test -e waits; do sleep 0.01; done' & child=$!
until test -e held; do sleep 0.01; done
(until unknot why \"$UNKNOT_RUN\" | grep -q 'signal `has-it`'; do sleep 0.05; done; touch waits) &
unknot wait --signal has-it; wait $child; echo \"ended: $?\" > told\n",
        "until test -e held; do sleep 0.01; done
unknot lock gpu -- unknot signal send has-it\n",
    );
    bench.run(&["run", "flow.yaml"]).code(0);
    assert_eq!(bench.read("told"), "ended: 0\n");
}

/// A wait that a signal ends is withdrawn: it would be in the way of the next one, and take the lock for nobody.
#[test]
fn a_wait_that_is_cut_short_is_withdrawn() {
    let bench = two(
        "unknot lock gpu && touch held && until test -e cut; do sleep 0.01; done; unknot unlock gpu; unknot wait --signal end\n",
        "until test -e held; do sleep 0.01; done
timeout --preserve-status 1 unknot lock gpu; echo $? > status
unknot wait --timer 1ms && touch cut
unknot lock gpu --within 20s && unknot signal send end && echo then >> status\n",
    );
    bench.run(&["run", "flow.yaml"]).code(0);
    assert_eq!(bench.read("status"), "143\nthen\n");
}

#[test]
fn what_came_is_printed_as_json() {
    let (_bench, log) = one(r#"
unknot signal send go '{"n": 7}'
unknot wait --signal go --timer 1h --any
unknot wait --lock a --pool b=1 --timer 1ms --at-least 3
unknot wait --for '{"any": [{"all": [{"lock": "c"}, {"timer": "1h"}]}, {"lock": "d"}]}'
unknot wait --signal never --within 20ms; echo "late: $?"
unknot wait --for '{"lok": "a"}'; echo "wrong: $?"
unknot wait --for 'lock'; echo "no json: $?"
unknot wait --child none; echo "nobody: $?"
unknot wait; echo "nothing: $?"
unknot wait --lock x --at-least 2; echo "least: $?"
unknot lock many=0; echo "none: $?"
unknot wait --signal mine:b --within 1ms; echo "from: $?"
"#);
    for line in [
        r#"{"outcome":"met","granted":{},"signals":{"go":{"n":7}},"children":{}}"#,
        r#"{"outcome":"met","granted":{"a":1,"b":1},"signals":{},"children":{}}"#,
        r#"{"outcome":"met","granted":{"d":1},"signals":{},"children":{}}"#,
        r#"{"outcome":"timed_out","granted":{},"signals":{},"children":{}}"#,
        "late: 75",
        "did you mean `lock`?",
        "wrong: 2",
        "it is not JSON",
        "no json: 2",
        "has spawned no run under the key `none`",
        "nobody: 2",
        "nothing: 2",
        "least: 2",
        "none: 2",
        "and the run has no such task",
        "from: 2",
    ] {
        assert!(log.contains(line), "no `{line}` in:\n{log}");
    }
}

#[test]
fn runs_are_spawned_from_files_and_found_again_by_the_next_try() {
    let bench = Bench::with(
        "name: parent\ntasks:\n  a: {exec: 'sh a.sh', retry: {attempts: 2, backoff: {first: 10ms, jitter: 0}}}\n",
    );
    bench.write("part.yaml", "name: part\ninput: {n: {type: integer}}\noutput: {twice: \"{{ input.n * 2 }}\"}\ntasks:\n  a: {exec: 'pwd; test $n != 3', env: {n: '{{ input.n }}'}}\n  deep: {workflow: leaf}\n");
    bench.write("leaf.yaml", "name: leaf\ntasks:\n  a: {sleep: 1ms}\n");
    bench.write(
        "a.sh",
        r#"
unknot spawn part.yaml -i n=1 --key one >> ids
unknot spawn part.yaml -i n=2 --key one > again 2>> note
test "$UNKNOT_TRY" = 1 && exit 1
unknot spawn part.yaml --input-json '{"n": 2}' --wait
unknot spawn part.yaml -i n=3 --wait; echo "failed: $?"
unknot wait --child one:success
echo "all: $(unknot wait --children)"
unknot spawn leaf --wait; echo "leaf: $?"
unknot spawn leaf.yaml --detach --label team=maps > detached
unknot spawn part.yaml -i n=many; echo "wrong: $?"
"#,
    );
    bench.run(&["run", "flow.yaml"]).code(0);
    assert_eq!(bench.read("note").matches("has the key `one` and is found again").count(), 1);
    let ids = bench.read("ids");
    let ids: Vec<&str> = ids.lines().collect();
    assert!(ids.len() == 2 && ids[0] == ids[1], "{ids:?}");
    let log = bench.run(&["logs", "latest", "a"]).code(0).stdout;
    for line in [
        r#"{"twice":4}"#,
        "ended as FAILED",
        "failed: 1",
        r#""status":"COMPLETED""#,
        r#""output":{"twice":2}"#,
        r#"all: {"outcome":"met","granted":{},"signals":{},"children":{"one":{"#,
        "no workflow `leaf` is registered",
        "leaf: 2",
        "wrong: 2",
    ] {
        assert!(log.contains(line), "no `{line}` in:\n{log}");
    }
    let folder = bench.path(".").canonicalize().unwrap();
    bench.run(&["logs", ids[0], "a"]).code(0).says(folder.to_str().unwrap());
    bench.run(&["show", bench.read("detached").trim()]).code(0).says("leaf").says("spawned    by task_");
    bench.run(&["ls", "--workflow", "leaf", "--json"]).code(0).says(r#""labels":{"team":"maps"}"#);
}

/// What a task says that it may spawn, and a file beside has, is found by its name as `workflow` would find it, here and at
/// a server, whatever becomes of the file.
#[test]
fn what_a_task_may_spawn_is_found_beside_by_its_name() {
    let bench = Bench::with("name: parent\ntasks:\n  a: {exec: 'sh a.sh', spawns: [child, elsewhere]}\n");
    bench
        .write("other-name.yaml", "name: child\ntasks:\n  a: {exec: 'echo child in $PWD'}\n  deep: {workflow: leaf}\n");
    bench.write("leaf.yaml", "name: leaf\ntasks:\n  a: {sleep: 1ms}\n");
    bench.write("a.sh", "rm -f leaf.yaml; unknot spawn child --wait\nunknot spawn elsewhere; echo \"elsewhere: $?\"\n");
    let told = |bench: &Bench| {
        let log = bench.run(&["logs", "latest", "a"]).code(0).stdout;
        for line in [
            "{\"deep\":",
            "elsewhere: 2",
            "no workflow `elsewhere` is registered",
            "unknot spawn ./FILE",
            "spawns: [NAME]",
        ] {
            assert!(log.contains(line), "no `{line}` in:\n{log}");
        }
        bench.run(&["ls", "--workflow", "leaf", "--json"]).code(0).stdout.matches("COMPLETED").count()
    };
    bench.run(&["run", "flow.yaml"]).code(0);
    assert_eq!(told(&bench), 1);
    bench.write("leaf.yaml", "name: leaf\ntasks:\n  a: {sleep: 1ms}\n");
    let _served = serve(&bench);
    bench.run(&["submit", "flow.yaml", "--wait"]).code(0);
    assert_eq!(told(&bench), 2);
}

/// Whoever took the end of another workflow's run for its own would go on as if its own had been done.
#[test]
fn a_key_is_that_of_one_workflow() {
    let bench = Bench::with("name: one\ntasks:\n  a: {exec: 'sh a.sh'}\n");
    bench.write("good.yaml", "name: good\ntasks:\n  a: {exec: 'true'}\n");
    bench.write("bad.yaml", "name: bad\ntasks:\n  a: {exec: 'false'}\n");
    bench.write("a.sh", "for w in good bad good; do unknot spawn $w.yaml --key k --wait; echo \"$w: $?\"; done\n");
    bench.run(&["run", "flow.yaml"]).code(0);
    let log = bench.run(&["logs", "latest", "a"]).code(0).stdout;
    let codes: Vec<&str> = log.lines().filter(|line| line.contains("good: ") || line.contains("bad: ")).collect();
    assert_eq!(codes, ["good: 0", "bad: 1", "good: 0"], "{log}");
    assert!(log.contains("a run of `good`: one of `bad` needs another"), "{log}");
}

/// An attempt has one wait at a time: several processes of it stand in line, each within its own time.
#[test]
fn processes_of_a_task_wait_one_after_the_other() {
    let bench = Bench::with("name: one\ntasks:\n  a: {exec: 'sh a.sh'}\n");
    bench.write("part.yaml", "name: part\ninput: {n: {}}\noutput: \"{{ input.n }}\"\ntasks:\n  a: {exec: 'true'}\n");
    bench.write(
        "a.sh",
        r#"
for n in 1 2 3; do { unknot spawn part.yaml -i n=$n --wait > part-$n; echo "part $n: $?"; } & done; wait
cat part-1 part-2 part-3
unknot wait --signal go & first=$!
until unknot why "$UNKNOT_RUN" | grep -q 'signal `go`'; do sleep 0.05; done
unknot lock gpu --within 200ms -- touch ran; echo "late: $?"
unknot lock gpu --within 1m -- echo mine & second=$!
unknot signal send go; wait $first; echo "first: $?"; wait $second; echo "second: $?"
"#,
    );
    bench.run(&["run", "flow.yaml"]).code(0);
    let log = bench.run(&["logs", "latest", "a"]).code(0).stdout;
    for line in [
        "part 1: 0",
        "part 2: 0",
        "part 3: 0",
        "\n\"1\"\n\"2\"\n\"3\"\n",
        "late: 75",
        "first: 0",
        "mine\n",
        "second: 0",
    ] {
        assert!(log.contains(line), "no `{line}` in:\n{log}");
    }
    assert!(log.contains("waits already") && log.contains("this one begins when that is over"), "{log}");
    assert!(!bench.path("ran").exists(), "nothing is run without the lock");
}

/// Trying again would be in vain if the run that failed was found again each time.
#[test]
fn a_run_that_failed_for_the_try_before_is_made_anew() {
    let bench = Bench::with(
        "name: parent\ntasks:\n  a: {exec: 'sh a.sh', retry: {attempts: 3, backoff: {first: 10ms, jitter: 0}}}\n",
    );
    bench.write("part.yaml", "name: part\ntasks:\n  a: {exec: 'echo x >> tries; test $(wc -l < tries) = 3'}\n");
    bench.write("a.sh", "unknot spawn part.yaml --wait && exit 0; unknot spawn part.yaml --wait; exit 1\n");
    bench.run(&["run", "flow.yaml"]).code(0);
    assert_eq!(bench.read("tries").lines().count(), 3, "once for each try");
}

/// The slot of whoever waits, and what it holds of a pool that lends, serve those that it waits for.
#[test]
fn work_nested_in_one_slot_and_one_unit_just_runs() {
    let flow = "name: nest\ninput: {deep: {type: integer}}\noutput: \"{{ tasks.a.output }}\"\ntasks:\n  a:\n    pools: {render: 1}\n    env: {deep: '{{ input.deep }}'}\n    exec: 'if test $deep -gt 0; then unknot spawn flow.yaml -i deep=$((deep - 1)) --wait; fi; echo \"{\\\"deep\\\": $deep}\"'\n";
    let bench = Bench::with(flow);
    bench.write("unknot.yaml", "worker: {slots: 1}\npools: {render: {size: 1, lend: true}}\n");
    bench.run(&["run", "flow.yaml", "-i", "deep=4"]).code(0);
    assert_eq!(bench.run(&["ls", "--status", "completed", "--json"]).stdout.lines().count(), 5);
    bench.write("unknot.yaml", "worker: {slots: 0}\npools: {render: {size: 1, lend: true}}\n");
    let served = serve(&bench);
    let _worker = worker(&bench, &served.address, "1");
    bench.run(&["submit", "flow.yaml", "-i", "deep=4", "--wait"]).code(0);
}

/// A worker of the server, known by its admin's token.
fn worker(bench: &Bench, address: &str, slots: &str) -> Running {
    let token = ".unknot/admin.token";
    let mut worker =
        bench.start(&["worker", "--server", address, "--token-file", token, "--name", "far", "--slots", slots]);
    worker.line("ready");
    worker
}

/// `b` waits for `a`, which holds the lock until the file `go` is there.
fn waits_for_each_other() -> Bench {
    two(
        "unknot lock gpu -- sh -c 'echo x >> began; until test -e go; do sleep 0.01; done; echo a >> told'\n",
        "until test -e began; do sleep 0.01; done; touch waits; unknot lock gpu -- sh -c 'echo b >> told'\n",
    )
}

/// What the server's own worker had ends with it, and is begun anew; nothing is held by those that are no more.
#[test]
fn a_server_that_is_killed_in_the_middle_of_a_wait_goes_on_with_it() {
    let bench = waits_for_each_other();
    let server = serve(&bench);
    bench.run(&["submit", "flow.yaml"]).code(0);
    until("b waits", PATIENCE, || bench.run(&["pools", "--json"]).stdout.contains("\"waiting\":1"));
    server.running.signal(Signal::KILL);
    server.running.end();
    bench.write("go", "");
    let _server = serve(&bench);
    bench.run(&["events", "latest", "-f"]).code(0).says("RUN_COMPLETED");
    assert_eq!(bench.read("told").lines().filter(|line| *line == "b").count(), 1);
}

/// What a worker elsewhere has goes on, and its questions with it: who holds the lock holds it, and who waits for it keeps
/// its place.
#[test]
fn an_attempt_elsewhere_asks_on_until_the_server_is_there_again() {
    let bench = waits_for_each_other();
    bench.write("unknot.yaml", "worker: {slots: 0}\n");
    let server = serve(&bench);
    let _worker = worker(&bench, &server.address, "2");
    bench.run(&["submit", "flow.yaml"]).code(0);
    until("b waits", PATIENCE, || bench.run(&["pools", "--json"]).stdout.contains("\"waiting\":1"));
    server.running.signal(Signal::KILL);
    server.running.end();
    bench.write("go", "");
    let listen = server.address.trim_start_matches("http://");
    until("a has done its part", PATIENCE, || bench.read("told") == "a\n");
    let mut again = bench.start(&["serve", "--listen", listen]);
    again.line("listen  http://");
    bench.run(&["events", "latest", "-f"]).code(0).says("RUN_COMPLETED");
    assert_eq!(bench.read("told"), "a\nb\n");
    assert_eq!(bench.read("began").lines().count(), 1, "nothing was tried again");
    let asked = bench.run(&["logs", "latest", "b"]).code(0).stdout;
    assert_eq!(asked.matches("asking on until it does").count(), 1, "{asked}");
}

#[test]
fn outside_of_a_task_it_is_said_what_to_do_instead() {
    let bench = Bench::new();
    for (arguments, instead) in [
        (&["lock", "gpu"][..], "put it into the `exec` of a task"),
        (&["lock", "gpu", "--", "touch", "ran"], "put it into the `exec` of a task"),
        (&["unlock", "gpu"], "`unknot cancel RUN` ends it"),
        (&["wait", "--signal", "go"], "`unknot submit --wait`"),
        (&["spawn", "flow.yaml"], "`unknot run FILE` and `unknot submit FILE|NAME`"),
        (&["signal", "send", "go"], "`unknot signal send RUN NAME`"),
    ] {
        bench
            .run(arguments)
            .code(2)
            .says("error[UK0337]")
            .says("is for use inside a task, and this is none")
            .says(instead);
    }
    assert!(!bench.path("ran").exists());
}

#[test]
fn a_script_sends_signals_to_its_own_run_and_to_others() {
    let bench = Bench::with(
        "name: one\ntasks:\n  a: {exec: 'sh a.sh'}\n  b: {signal: ready}\n  c: {needs: [b], exec: [echo, '{{ tasks.b.output.rows }}', rows]}\n",
    );
    bench.write("other.yaml", "name: other\ntasks:\n  a: {signal: go}\n");
    bench.write("a.sh", r#"
unknot signal send ready '{"rows": 7}'
child=$(unknot spawn other.yaml) && unknot signal send "$child" go yes && unknot wait --child "$(unknot spawn other.yaml >/dev/null; echo other-44136fa355b3678a1146ad16f7e8649e)"
unknot signal send run_01J00000000000000000000000 go; echo "stranger: $?"
"#);
    bench.run(&["run", "flow.yaml"]).code(0).says("by task a");
    bench.run(&["logs", "latest", "c"]).code(0).says("7 rows");
    bench.run(&["logs", "latest", "a"]).code(0).says(r#""output":{"a":"yes"}"#).says("stranger: 2");
}

#[test]
fn pools_are_set_and_removed_and_say_who_holds_them() {
    let bench = Bench::with(
        "name: holds\ntasks:\n  a: {exec: 'unknot lock render=2 && touch held; unknot wait --signal end'}\n",
    );
    bench.write("unknot.yaml", "pools: {known: {size: 2}}\n");
    let _server = serve(&bench);
    bench
        .run(&["pools", "set", "render", "2", "--lend"])
        .code(0)
        .says("render has 2 units, 0 held, lent by those who wait");
    bench.write("uses.yaml", "name: uses\ntasks:\n  a: {sleep: 1ms}\n  b: {exec: 'true', pools: {render: 1}}\n");
    bench.run(&["submit", "uses.yaml", "--wait"]).code(0);
    // What may be acquired is judged by the size that the pool has now, wherever it is said.
    let asks = |units: u32| {
        let step = format!("acquires: [{{pools: {{render: {units}}}}}], spawns: []");
        bench.write("asks.yaml", &format!("name: asks\ntasks:\n  a: {{exec: 'true', pools: {{known: 1}}, {step}}}\n"));
    };
    asks(2);
    bench.run(&["submit", "asks.yaml", "--wait"]).code(0);
    bench.run(&["workflow", "add", "asks.yaml"]).code(0);
    asks(3);
    bench.run(&["submit", "asks.yaml"]).code(2).says("3 units of pool `render` of size 2");
    bench.run(&["pools", "set", "render", "3"]).code(0);
    bench.run(&["submit", "asks.yaml", "--wait"]).code(0);
    bench.run(&["pools", "set", "render", "2"]).code(0);
    bench.run(&["submit", "flow.yaml"]).code(0);
    wait_for_file(&bench.path("held"));
    bench.run(&["pools"]).code(0).says("holds/a holds 2 for");
    // What is not said stays.
    bench.run(&["pools", "set", "render", "1"]).code(0).says("render has 1 unit, 2 held, lent by those who wait");
    bench
        .run(&["pools", "set", "render", "1", "--lend=false", "--on-deadlock", "alert"])
        .code(0)
        .says("1 unit, 2 held\n");
    bench.run(&["pools", "set", "render", "1"]).code(0);
    bench.run(&["pools", "--json"]).code(0).says(r#""on_deadlock":"alert""#);
    bench
        .run(&["pools", "set", "render", "1", "--on-deadlock", "pray"])
        .code(2)
        .says("possible values: retry, cancel, alert");
    bench.run(&["pools", "remove", "render"]).code(1).says("error[UK0409]").says("held by `holds/a`");
    bench.run(&["pools", "remove", "rendr"]).code(2).says("did you mean `render`?");
    bench.run(&["pools", "set", "Render", "1"]).code(2).says("error[UK0422]");
    bench.run(&["pools", "set", "render", "0"]).code(2);
    bench.run(&["signal", "send", "latest", "end"]).code(0);
    bench.run(&["events", "latest", "-f"]).code(0);
    bench.run(&["pools", "remove", "render"]).code(0).says("render is removed");
    bench.run(&["pools", "remove", "known"]).code(0).says("it comes back at the next start or reload");
    // Until then there is none: no lock is made in its place.
    bench.write("known.yaml", "name: known\ntasks:\n  a: {exec: 'true', pools: {known: 1}}\n");
    bench.run(&["submit", "known.yaml"]).code(2).says("removed it since").says("`unknot pools set known N`");
}
