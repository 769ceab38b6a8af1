//! Lists: empty ones, and what an operator needs to see in those of waits and dead letters.

use super::{
    server::{serve, with},
    support::{Bench, ended, wait_for_file},
};
use serde_json::Value;

#[test]
fn an_empty_list_says_so_in_one_form_and_is_nothing_for_programs() {
    let bench = Bench::with("name: fine\ntasks:\n  a: {exec: 'true'}\n");
    bench.write("unknot.yaml", "worker: {slots: 0}\n");
    let _served = serve(&bench);
    for (arguments, told) in [
        (&["ls"][..], "no runs\n"),
        (&["ls", "--status", "failed"], "no runs: none has that status or that workflow\n"),
        (&["workers"], "no workers: `unknot worker` starts one\n"),
        (&["pools"], "no pools or locks\n"),
        (&["dead", "ls"], "no dead letters: no task is out of tries\n"),
        (&["workflow", "ls"], "no workflows: `unknot workflow add FLOW` registers one\n"),
    ] {
        let ended = bench.run(arguments).code(0);
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), (told, ""), "{arguments:?}");
        let json = bench.run(&[arguments, &["--json"]].concat()).code(0);
        assert_eq!(json.stdout, "", "{arguments:?}");
    }
    // The queue of tasks that name none is always there.
    bench.run(&["queues"]).code(0).says("default");
    bench.run(&["token", "rm", "admin"]).code(0);
    bench.run(&["token", "ls"]).code(0).says("no tokens: `unknot token new NAME` makes one");
}

/// At a terminal lists are cut to its width; whoever reads them from a pipe gets names whole, and where the list stops.
#[test]
fn a_list_that_goes_elsewhere_is_not_cut() {
    let name = format!("the-{}-end", "long-".repeat(18));
    let bench = Bench::with(&format!("name: {name}\ntasks:\n  a: {{sleep: 0s}}\n"));
    for _ in 0..3 {
        bench.run(&["run", "flow.yaml", "--new"]).code(0);
    }
    let cut = bench.run(&["ls"]).code(0).stdout;
    assert!(!cut.contains(&name) && cut.lines().all(|line| line.chars().count() <= 80), "{cut}");
    let mut elsewhere = bench.command(&["ls", "--limit", "2"]);
    elsewhere.env_remove("COLUMNS");
    let whole = ended(elsewhere).code(0);
    assert_eq!(whole.stdout.lines().filter(|line| line.contains(&name)).count(), 2, "{}", whole.stdout);
    let served = serve(&bench);
    for arguments in [&["top"][..], &["queues"], &["workers"], &["show"], &["events", "latest"], &["why", "latest"]] {
        let mut elsewhere = bench.command(arguments);
        elsewhere.env_remove("COLUMNS");
        let told = ended(elsewhere).stdout;
        assert!(told.lines().all(|line| line.chars().count() < 1_000 && !line.ends_with(' ')), "{arguments:?}: {told}");
    }
    drop(served);
    assert!(!whole.stdout.contains('…') && whole.stderr.contains("`--limit 20` shows more"), "{}", whole.stderr);
}

#[test]
fn a_dead_letter_says_whether_its_run_went_on_without_it() {
    let bench = Bench::with(
        "name: goes-on\ntasks:\n  a: {exec: 'exit 3', on_failure: continue}\n  b: {exec: 'exit 4', on_failure: {fallback: c}}\n  c: {when: fallback, exec: 'true'}\n",
    );
    bench.write(
        "fails.yaml",
        "name: fails\ntasks:\n  a: {exec: 'exit 5', retry: {attempts: 2, backoff: {first: 1ms}}}\n",
    );
    let _served = serve(&bench);
    bench.run(&["submit", "flow.yaml", "--wait"]).code(0);
    let lines = bench.run(&["dead", "ls", "--json"]).code(0).stdout;
    for line in lines.lines() {
        let letter: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&letter["handled"], &letter["run_status"]), (&true.into(), &"COMPLETED".into()), "{letter}");
    }
    bench.run(&["top"]).code(0).says("2 out of tries, all handled");
    bench.run(&["submit", "fails.yaml", "--wait"]).code(1);
    let listed = bench.run(&["dead", "ls"]).code(0).says("2 of 3 handled: their workflows say what follows").stdout;
    for line in listed.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let listed = listed.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(listed.contains("run FAILED, 2 tries: exited with"), "{listed}");
    assert!(listed.contains("handled, run COMPLETED: exited with"), "{listed}");
    bench.run(&["top"]).code(0).says("3 out of tries, 2 handled: `unknot dead ls`");
    let task = serde_json::from_str::<Value>(lines.lines().next().unwrap()).unwrap()["task_id"].clone();
    bench.run(&["dead", "show", task.as_str().unwrap()]).code(0).says("(COMPLETED)").says("handled    yes");
}

#[test]
fn whom_a_task_waits_for_is_named_by_a_store_and_by_a_server() {
    let mut flow = "name: waits\ntasks:\n".to_owned();
    for task in 0..20 {
        flow += &format!(
            "  t{task}: {{exec: 'touch began; while ! test -e go; do sleep 0.01; done', on_failure: {{fallback: f{task}}}}}\n"
        );
        flow += &format!("  f{task}: {{when: fallback, exec: 'true'}}\n");
    }
    let all: Vec<String> = (0..20).map(|task| format!("t{task}")).collect();
    flow += &format!("  all: {{needs: [{}], exec: 'true'}}\n", all.join(", "));
    flow += "  some: {needs: {at_least: 2, of: [t0, t1, t2]}, exec: 'true'}\n  after: {needs: [all], exec: 'true'}\n";
    let bench = Bench::with(&flow);
    let served = serve(&bench);
    bench.run(&["submit", "flow.yaml"]).code(0);
    wait_for_file(&bench.path("began"));
    let options = served.options();
    let of = |text: &str, name: &str| {
        let start = text.lines().position(|line| line.trim_start().starts_with(&format!("{name} "))).unwrap();
        let lines: Vec<&str> = text.lines().skip(start).take(2).collect();
        lines.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for place in [&[][..], &options[..]] {
        let shown = bench.run(&with(&["show"], place)).code(0).stdout;
        assert!(of(&shown, "all").contains("waits for t0, t1, t2, 17 more;"), "{shown}");
        assert!(of(&shown, "some").contains("waits for 2 of t0, t1, t2;"), "{shown}");
        assert!(of(&shown, "after").contains("waits for all;"), "{shown}");
        assert!(of(&shown, "f0").contains("runs if t0 fails;"), "{shown}");
        let json: Value = serde_json::from_str(&bench.run(&with(&["show", "--json"], place)).code(0).stdout).unwrap();
        let tasks = json["tasks"].as_array().unwrap();
        let all = tasks.iter().find(|task| task["task"] == "all").unwrap();
        assert_eq!(all["waits_for"]["names"].as_array().unwrap().len(), 8, "{all}");
        assert_eq!((&all["waits_for"]["open"], &all["waits_for"]["until"]), (&20.into(), &"success".into()));
    }
    bench.write("go", "");
    bench.run(&["events", "latest", "-f"]).code(0).says("RUN_COMPLETED");
}

#[test]
fn top_says_which_runs_its_waits_are_of() {
    let bench = Bench::with("name: naps\ntasks:\n  a: {sleep: 1h}\n");
    let _served = serve(&bench);
    for _ in 0..12 {
        bench.run(&["submit", "flow.yaml"]).code(0);
    }
    let told = bench.run(&["top"]).code(0).stdout;
    assert!(!told.contains("oldest waits, of"), "{told}");
    bench.run(&["submit", "flow.yaml"]).code(0);
    bench.run(&["top"]).code(0).says("oldest waits, of the 12 newest of 13 runs alone");
}
