//! Systems in words, each with all that is said of it: `tests/proof/cases.txt`.
//!
//! ```text
//! pool render 5 lend | pool render 5
//! slots 8
//! root outer | root outer 3            (at most 3 runs at once)
//! workflow outer | workflow outer max_parallel 2
//!   a runs holds render:2,lock acquires one two,three:2 spawns inner needs x
//!   b starts inner each 3 | starts inner each any at_once 2
//!   c waits
//!   d starts inner detached
//! ```
//!
//! A task that says neither `acquires` nor `spawns` declares that there is nothing, unless it is `silent`.
//! `UNKNOT_BLESS=1 cargo test -p unknot-core --test proof` writes the answers anew; read the difference before you commit it.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path, sync::Arc};
use unknot_core::{
    Millis,
    proof::{Declared, Effort, Pool, Root, Verdict, prove},
    validate::{self, Draft, DraftAcquire, DraftAcquires, DraftNeed, DraftOnFailure, DraftTask, Rules},
    wait::{Class, analyze},
    workflow::{Child, Command, ForEach, OnChildFailure, TaskKind, Until, When},
};

#[test]
fn each_system_gets_its_answer() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proof/cases.txt");
    let text = fs::read_to_string(&path).expect("the cases are there");
    let mut blessed = text.split(">>> ").next().unwrap_or_default().to_owned();
    let mut wrong = String::new();
    let mut count = 0;
    for case in text.split(">>> ").skip(1) {
        let (name, rest) = case.split_once('\n').expect("a name ends its line");
        let (system, expected) = rest.split_once("<<<\n").expect("`<<<` ends the system");
        let given = answer(system);
        if given.trim_end() != expected.trim_end() {
            write!(wrong, "{name}\n--- expected\n{expected}\n--- given\n{given}\n").expect("a string takes everything");
        }
        write!(blessed, ">>> {name}\n{system}<<<\n{}\n\n", given.trim_end()).expect("a string takes everything");
        count += 1;
    }
    assert!(count > 20, "the cases are gone");
    if std::env::var_os("UNKNOT_BLESS").is_some() {
        return fs::write(path, blessed.trim_end().to_owned() + "\n").expect("the cases can be written");
    }
    assert!(wrong.is_empty(), "{wrong}UNKNOT_BLESS=1 accepts the answers");
}

/// All that is said of each root; what is unsafe is confirmed by the wait graph.
fn answer(system: &str) -> String {
    let mut text = String::new();
    for proof in prove(&read(system), Effort::default()) {
        writeln!(text, "{}", proof.workflow).expect("a string takes everything");
        for line in proof.lines() {
            writeln!(text, "  {line}").expect("a string takes everything");
        }
        if let Verdict::Unsafe { scenario } = &proof.verdict {
            let analysis = analyze(&scenario.graph);
            assert_eq!(analysis.verdict.verdict, Class::Deadlocked, "{system}");
        }
    }
    text
}

/// Reads a system.
pub(crate) fn read(text: &str) -> Declared {
    let mut declared = Declared::default();
    let mut drafts: Vec<Draft> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["pool", name, size, rest @ ..] => {
                let pool = Pool { size: number(size), lends: *rest == ["lend"] };
                declared.pools.insert((*name).to_owned(), pool);
            }
            ["slots", slots] => declared.slots = Some(number(slots)),
            ["root", name, rest @ ..] => {
                let runs_max = rest.first().map(|most| number(most));
                declared.roots.push(Root { workflow: (*name).into(), runs_max });
            }
            ["workflow", name, rest @ ..] => {
                let max_parallel = rest.get(1).map(|most| number(most));
                drafts.push(Draft { name: (*name).to_owned(), max_parallel, ..Draft::default() });
            }
            [name, words @ ..] => drafts.last_mut().expect("a workflow").tasks.push(task(name, words)),
            [] => {}
        }
    }
    let pools: BTreeMap<String, u32> = declared.pools.iter().map(|(name, pool)| (name.clone(), pool.size)).collect();
    for draft in drafts {
        let rules = Rules { pools: pools.clone(), ..Rules::default() };
        let checked = validate::check(draft, &rules).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
        declared.workflows.insert(Arc::clone(&checked.definition.body.name), Arc::new(checked.definition));
    }
    declared
}

fn task(name: &str, words: &[&str]) -> DraftTask {
    let mut task = DraftTask::new(name, TaskKind::Exec(Command::Argv(vec!["true".to_owned()])));
    task.acquires = Some(DraftAcquires { steps: Vec::new(), is_list: true });
    task.spawns = Some(Vec::new());
    let mut words = words.iter().copied().peekable();
    while let Some(word) = words.next() {
        let mut next = || words.next().expect("another word");
        match word {
            "runs" => {}
            "waits" => (task.kind, task.acquires, task.spawns) = (TaskKind::Sleep(Millis(1)), None, None),
            "silent" => (task.acquires, task.spawns) = (None, None),
            "calls" => {
                task.kind = TaskKind::Worker(unknot_core::workflow::Call {
                    handler: next().into(),
                    input: serde_json::Value::Null,
                })
            }
            "starts" => (task.kind, task.acquires, task.spawns) = (child(next()), None, None),
            "detached" => each(&mut task, |task| task.detached = true),
            "each" => {
                let items = match next() {
                    "any" => "{{ input.items }}".into(),
                    count => vec![serde_json::Value::Null; number(count) as usize].into(),
                };
                each(&mut task, |task| task.for_each = Some(ForEach { items, max_parallel: None }));
            }
            "at_once" => {
                let most = number(next());
                each(&mut task, |task| task.for_each.as_mut().expect("`each` first").max_parallel = Some(most));
            }
            "holds" => task.pools = list(next()).collect(),
            "acquires" => {
                let mut steps = Vec::new();
                while let Some(step) = words.next_if(|word| !KEYS.contains(word)) {
                    steps.push(DraftAcquire { pools: Vec::new(), locks: Vec::new() });
                    let last = steps.last_mut().expect("a step");
                    last.pools = list(step).collect();
                }
                task.acquires = Some(DraftAcquires { steps, is_list: true });
            }
            "spawns" => task.spawns = Some(next().split(',').map(str::to_owned).collect()),
            "needs" => {
                let need = |task: &str| DraftNeed { task: task.to_owned(), until: Until::Succeeded };
                task.needs.of = next().split(',').map(need).collect();
            }
            "fallback" => task.when = When::Fallback,
            "or" => task.on_failure = DraftOnFailure::Fallback(next().to_owned()),
            other => panic!("a task has no `{other}`"),
        }
    }
    // What is not a pool is a lock: the names of locks begin with `l`.
    let is_lock = |(name, _): &(String, u32)| name.starts_with('l');
    task.locks = task.pools.extract_if(.., |pool| is_lock(pool)).map(|(name, _)| name).collect();
    for step in task.acquires.iter_mut().flat_map(|acquires| &mut acquires.steps) {
        step.locks = step.pools.extract_if(.., |pool| is_lock(pool)).map(|(name, _)| name).collect();
    }
    task
}

const KEYS: [&str; 5] = ["spawns", "needs", "fallback", "or", "holds"];

fn child(workflow: &str) -> TaskKind {
    TaskKind::Workflow(Box::new(Child {
        workflow: workflow.into(),
        input: serde_json::json!({}),
        detached: false,
        on_child_failure: OnChildFailure::Fail,
        for_each: None,
    }))
}

fn each(task: &mut DraftTask, change: impl FnOnce(&mut Child)) {
    let TaskKind::Workflow(child) = &mut task.kind else { panic!("`starts` comes first") };
    change(child);
}

fn list(words: &str) -> impl Iterator<Item = (String, u32)> {
    words.split(',').map(|word| match word.split_once(':') {
        Some((name, units)) => (name.to_owned(), number(units)),
        None => (word.to_owned(), 1),
    })
}

fn number(word: &str) -> u32 {
    word.parse().unwrap_or_else(|_| panic!("not a number: `{word}`"))
}
