//! Small systems, drawn at random.

use crate::chance::Random;
use std::{collections::BTreeMap, sync::Arc};
use unknot_core::{
    Millis,
    proof::{Declared, Pool, Root},
    validate::{self, Draft, DraftAcquire, DraftAcquires, DraftNeed, DraftOnFailure, DraftTask, NeedsCount, Rules},
    workflow::{Child, Command, Definition, ForEach, OnChildFailure, TaskKind, Until, When},
};

/// A system of few workflows that hold, acquire and start each other.
pub(crate) fn system(seed: u64) -> Declared {
    let mut random = Random(seed);
    let mut pools = BTreeMap::new();
    for number in 0..random.below(3) {
        let pool = Pool { size: 1 + random.below(3) as u32, lends: random.one_in(2) };
        pools.insert(format!("p{number}"), pool);
    }
    let flows = 1 + random.below(3);
    let recursive = random.one_in(8);
    let mut workflows = BTreeMap::new();
    for number in 0..flows {
        let definition = flow(&mut random, number, flows, recursive, &pools);
        workflows.insert(Arc::clone(&definition.body.name), definition);
    }
    let slots = random.one_in(2).then(|| 1 + random.below(3) as u32);
    let roots = if random.one_in(3) { flows.min(2) } else { 1 };
    let roots = (0..roots).map(|number| Root {
        workflow: format!("f{number}").into(),
        runs_max: random.one_in(4).then(|| 1 + random.below(2) as u32),
    });
    Declared { pools, slots, workflows, roots: roots.collect() }
}

fn flow(
    random: &mut Random,
    number: usize,
    flows: usize,
    recursive: bool,
    pools: &BTreeMap<String, Pool>,
) -> Arc<Definition> {
    let count = 1 + random.below(3);
    let mut tasks: Vec<DraftTask> = Vec::new();
    for place in 0..count {
        let mut task = DraftTask::new(format!("t{place}"), TaskKind::Sleep(Millis(1)));
        let first_callable = if recursive { number } else { number + 1 };
        let callable: Vec<usize> = (first_callable..flows).collect();
        match random.below(8) {
            0..=2 if !callable.is_empty() => {
                let flow = callable[random.below(callable.len())];
                task.kind = child(random, flow);
                hold(random, &mut task, pools);
            }
            _ => {
                task.kind = TaskKind::Exec(Command::Argv(vec!["true".to_owned()]));
                hold(random, &mut task, pools);
                declare(random, &mut task, pools, &callable);
            }
        }
        for earlier in 0..place {
            if random.one_in(3) {
                let until = if random.one_in(3) { Until::Finished } else { Until::Succeeded };
                task.needs.of.push(DraftNeed { task: format!("t{earlier}"), until });
            }
        }
        if task.needs.of.len() == 2 && random.one_in(2) {
            task.needs.count = NeedsCount::Any;
        }
        tasks.push(task);
    }
    if count > 1 && random.one_in(8) {
        let last = &mut tasks[count - 1];
        last.when = When::Fallback;
        last.needs.of.clear();
        last.needs.count = NeedsCount::All;
        tasks[0].on_failure = DraftOnFailure::Fallback(format!("t{}", count - 1));
    }
    let max_parallel = random.one_in(6).then_some(1);
    let draft = Draft { name: format!("f{number}"), max_parallel, tasks, ..Draft::default() };
    let rules =
        Rules { pools: pools.iter().map(|(name, pool)| (name.clone(), pool.size)).collect(), ..Rules::default() };
    Arc::new(validate::check(draft, &rules).expect("a sound workflow").definition)
}

fn child(random: &mut Random, flow: usize) -> TaskKind {
    let items = vec![serde_json::Value::Null; 1 + random.below(3)];
    let for_each = random
        .one_in(3)
        .then(|| ForEach { items: items.into(), max_parallel: random.one_in(2).then(|| 1 + random.below(2) as u32) });
    TaskKind::Workflow(Box::new(Child {
        workflow: format!("f{flow}").into(),
        input: serde_json::json!({}),
        detached: false,
        on_child_failure: OnChildFailure::Fail,
        for_each,
    }))
}

/// Lets a task hold something, mostly.
fn hold(random: &mut Random, task: &mut DraftTask, pools: &BTreeMap<String, Pool>) {
    for (name, pool) in pools {
        if random.one_in(2) {
            task.pools.push((name.clone(), 1 + random.below(pool.size.min(2) as usize) as u32));
        }
    }
    for lock in ["l0", "l1"] {
        if random.one_in(4) {
            task.locks.push(lock.to_owned());
        }
    }
}

/// Lets a task say what it does while it runs, within what there is.
fn declare(random: &mut Random, task: &mut DraftTask, pools: &BTreeMap<String, Pool>, callable: &[usize]) {
    let mut steps = Vec::new();
    let held = |name: &String| task.pools.iter().find(|(held, _)| held == name).map_or(0, |(_, units)| *units);
    if random.one_in(3) {
        for (name, _) in pools.iter().filter(|(name, pool)| held(name) < pool.size) {
            if random.one_in(2) {
                steps.push(DraftAcquire { pools: vec![(name.clone(), 1)], locks: Vec::new() });
            }
        }
        for lock in ["l1", "l0"] {
            if random.one_in(3) && !task.locks.iter().any(|held| held == lock) {
                steps.push(DraftAcquire { pools: Vec::new(), locks: vec![lock.to_owned()] });
            }
        }
        if steps.len() > 1 && random.one_in(2) {
            steps.reverse();
        }
        steps.truncate(2);
    }
    task.acquires = Some(DraftAcquires { steps, is_list: true });
    let spawned = callable.iter().filter(|_| random.one_in(6)).map(|flow| format!("f{flow}"));
    task.spawns = Some(spawned.collect());
}

/// A system in a few lines.
pub(crate) fn say(declared: &Declared) -> String {
    let mut text = format!("slots {:?}, roots {:?}\n", declared.slots, declared.roots);
    text += &format!("pools {:?}\n", declared.pools);
    for definition in declared.workflows.values() {
        text += &format!("{} max_parallel {:?}\n", definition.body.name, definition.body.max_parallel);
        for task in &definition.body.tasks {
            let kind = match &task.kind {
                TaskKind::Workflow(child) => format!("starts {} {:?}", child.workflow, child.for_each),
                _ => "runs".to_owned(),
            };
            let needs: Vec<String> =
                task.needs.of.iter().map(|need| format!("{} {:?}", need.task.0, need.until)).collect();
            text += &format!(
                "  {} {kind}, holds {:?}, acquires {:?}, spawns {:?}, needs {} of {needs:?}, {:?} {:?}\n",
                task.name, task.resources, task.acquires, task.spawns, task.needs.at_least, task.when, task.on_failure
            );
        }
    }
    text
}
