//! How long a file of 100,000 tasks takes to be checked. Printed, never asserted: figures depend on
//! the machine (`cargo test -p unknot-engine --release --test workflow_speed -- --nocapture`).
#![expect(clippy::disallowed_methods, reason = "tests are free of the bans")]

use std::{fmt::Write as _, path::Path, time::Instant};
use unknot_core::validate::Rules;
use unknot_engine::convert::read_workflow;

const TASKS: usize = 100_000;

fn yaml() -> String {
    let mut text = "name: large\ninput: {topic: {type: string}}\ntasks:\n".to_owned();
    for task in 0..TASKS {
        let needs =
            if task >= 1_000 { format!(", needs: [t{}]", task - 1_000 * (1 + task / 30_000)) } else { String::new() };
        match task % 50 {
            0 => writeln!(
                text,
                "  t{task}: {{exec: [echo, \"{{{{ input.topic }}}}\", \"{task}\"], timeout: 60s{needs}}}"
            ),
            _ => writeln!(text, "  t{task}: {{sleep: 0s{needs}}}"),
        }
        .expect("a string takes everything");
    }
    text
}

fn json() -> String {
    let mut text = r#"{"name": "large", "input": {"topic": {"type": "string"}}, "tasks": {"#.to_owned();
    for task in 0..TASKS {
        let between = if task > 0 { "," } else { "" };
        let needs = if task >= 1_000 {
            format!(r#", "needs": ["t{}"]"#, task - 1_000 * (1 + task / 30_000))
        } else {
            String::new()
        };
        match task % 50 {
            0 => writeln!(text, r#"{between}"t{task}": {{"exec": ["echo", "{{{{ input.topic }}}}", "{task}"], "timeout": "60s"{needs}}}"#),
            _ => writeln!(text, r#"{between}"t{task}": {{"sleep": "0s"{needs}}}"#),
        }
        .expect("a string takes everything");
    }
    text + "}}"
}

#[test]
fn a_hundred_thousand_tasks_are_checked() {
    let rules = Rules { max_dependency_depth: 200, ..Rules::default() };
    let mut hashes = Vec::new();
    for (name, text) in [("large.json", json()), ("large.yaml", yaml())] {
        let start = Instant::now();
        let checked = read_workflow(Path::new(name), text.as_bytes(), &rules).expect("a good file");
        println!("{name}: {TASKS} tasks, {} KiB, checked in {:?}", text.len() / 1024, start.elapsed());
        assert_eq!(checked.definition.body.tasks.len(), TASKS);
        hashes.push(checked.definition.body.hash.clone());
    }
    assert_eq!(hashes[0], hashes[1], "one meaning, two hashes");
}
