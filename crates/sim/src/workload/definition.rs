//! Random workflows: every shape and every key that the brain reads.

use crate::chance::Chance;
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};
use unknot_core::{
    Millis, TaskIndex,
    workflow::{
        Await, Backoff, Call, Command, Definition, DefinitionHash, Ladder, Limits, Need, Needs, OnFailure, OnLost,
        Priority, Retry, Stored, TaskDef, TaskKind, Until, When,
    },
};

/// Pools that the settings configure. Locks come into being with their first use.
pub const POOLS: [&str; 3] = ["gpu", "licence", "disk"];
/// The most units of a pool that a task asks for.
pub const UNITS_MAX: u32 = 2;
/// Queues that tasks stand in.
pub const QUEUES: [&str; 3] = ["default", "slow", "express"];
/// Signals that some tasks wait for.
pub const SIGNALS: [&str; 2] = ["go", "on"];
/// The handler that some tasks call.
pub const HANDLER: &str = "shape";
const LOCKS: [&str; 2] = ["ledger", "door"];

/// How the tasks of a workflow need each other.
#[derive(Clone, Copy)]
enum Shape {
    Loose,
    Chain,
    Fan,
    Graph,
}

/// A workflow of up to `tasks_max` tasks. Tasks need only earlier ones, so there is no cycle.
pub fn definition(chance: &mut Chance, number: usize, tasks_max: u64) -> Arc<Definition> {
    let count = chance.between(1, tasks_max) as u32;
    let shape = *chance.weighted(&[(1, Shape::Loose), (1, Shape::Chain), (2, Shape::Fan), (4, Shape::Graph)]);
    let is_plain = chance.permille(200);
    let mut tasks: Vec<TaskDef> = Vec::new();
    for index in 0..count {
        let mut task = if is_plain { plain(index) } else { task(chance, index) };
        task.needs = needs(chance, shape, index, count);
        tasks.push(task);
    }
    name_fallbacks(chance, &mut tasks);
    let timeout = Millis::from_secs(*chance.pick(&[20, 120, 600, 1_800, 3_600]));
    let max_parallel = chance.permille(250).then(|| chance.between(1, 3) as u32);
    Arc::new(Definition::new(Stored {
        hash: DefinitionHash(format!("{number:08x}").into()),
        name: format!("flow-{}", number % 3).into(),
        timeout,
        max_parallel,
        inputs: BTreeMap::new(),
        output: None,
        on_deadlock: None,
        pending_stale: None,
        workflow_stale: None,
        tasks,
    }))
}

fn plain(index: u32) -> TaskDef {
    TaskDef {
        name: format!("t{index}").into(),
        kind: TaskKind::Noop,
        needs: Needs::default(),
        when: When::Always,
        priority: Priority::Medium,
        queue: None,
        timeout: None,
        queue_timeout: None,
        heartbeat_timeout: None,
        retry: Retry::default(),
        on_lost: OnLost::Retry,
        on_failure: OnFailure::Fail,
        cancel: Ladder::default(),
        env: BTreeMap::new(),
        cwd: None,
        resources: BTreeMap::new(),
        acquires: None,
        spawns: None,
        limits: Limits::default(),
    }
}

fn task(chance: &mut Chance, index: u32) -> TaskDef {
    let exec = TaskKind::Exec(Command::Argv(vec!["work".to_owned(), "{{ input.word }}".to_owned()]));
    let sleep = TaskKind::Sleep(Millis(chance.between(0, 20_000)));
    let call = TaskKind::Worker(Call { handler: HANDLER.into(), input: json!({"word": "{{ input.word }}"}) });
    let signal = TaskKind::Signal(Await::anybodys(*chance.pick(&SIGNALS)));
    TaskDef {
        kind: chance.weighted(&[(6, exec), (2, call), (3, TaskKind::Noop), (2, sleep), (1, signal)]).clone(),
        when: when(chance),
        priority: *chance.pick(&[Priority::High, Priority::Medium, Priority::Low]),
        queue: chance.permille(500).then(|| (*chance.pick(&QUEUES)).into()),
        timeout: chance.permille(400).then(|| Millis::from_secs(chance.between(1, 60))),
        queue_timeout: chance.permille(100).then(|| Millis::from_secs(chance.between(1, 120))),
        // Above the pause between two renewals: one that is lost is a silence, now and then.
        heartbeat_timeout: chance.permille(200).then(|| Millis::from_secs(chance.between(8, 40))),
        retry: retry(chance),
        on_lost: *chance.weighted(&[(4, OnLost::Retry), (1, OnLost::Fail), (1, OnLost::Hold)]),
        on_failure: if chance.permille(300) { OnFailure::Continue } else { OnFailure::Fail },
        cancel: ladder(chance),
        resources: resources(chance),
        ..plain(index)
    }
}

fn when(chance: &mut Chance) -> When {
    let condition = |source: &str| When::Expr(source.to_owned());
    let choices = [
        (20, When::Always),
        (2, condition("input.yes")),
        (1, condition("not input.yes")),
        // No true or false: the task fails.
        (1, condition("input.word")),
    ];
    chance.weighted(&choices).clone()
}

fn retry(chance: &mut Chance) -> Retry {
    let backoff = Backoff { first: Millis(chance.between(1, 2_000)), ..Backoff::default() };
    let on_exits = chance.permille(100).then(|| vec![1]);
    Retry { attempts: chance.permille(500).then(|| chance.between(1, 4) as u32), backoff, on_exits }
}

fn ladder(chance: &mut Chance) -> Ladder {
    let told = chance.permille(200).then_some(Millis::from_secs(2));
    Ladder { told, term: Millis::from_secs(chance.between(0, 10)), kill: Millis::from_secs(chance.between(1, 5)) }
}

fn resources(chance: &mut Chance) -> BTreeMap<String, u32> {
    let mut resources = BTreeMap::new();
    if chance.permille(250) {
        resources.insert((*chance.pick(&POOLS)).to_owned(), chance.between(1, UNITS_MAX.into()) as u32);
    }
    if chance.permille(100) {
        resources.insert((*chance.pick(&POOLS)).to_owned(), 1);
    }
    if chance.permille(150) {
        resources.insert((*chance.pick(&LOCKS)).to_owned(), 1);
    }
    resources
}

fn needs(chance: &mut Chance, shape: Shape, index: u32, count: u32) -> Needs {
    let earlier: Vec<u32> = match shape {
        _ if index == 0 => Vec::new(),
        Shape::Loose => Vec::new(),
        Shape::Chain => vec![index - 1],
        Shape::Fan if index + 1 == count => (1..index).collect(),
        Shape::Fan => vec![0],
        Shape::Graph => (index.saturating_sub(6)..index).filter(|_| chance.permille(350)).collect(),
    };
    let until = |chance: &mut Chance| if chance.permille(250) { Until::Finished } else { Until::Succeeded };
    let of: Vec<Need> = earlier.into_iter().map(|task| Need { task: TaskIndex(task), until: until(chance) }).collect();
    let all = of.len() as u32;
    let at_least = if all > 0 && chance.permille(300) { chance.between(1, u64::from(all)) as u32 } else { all };
    Needs { at_least, of }
}

/// Makes some tasks the fallback of earlier ones.
fn name_fallbacks(chance: &mut Chance, tasks: &mut [TaskDef]) {
    for fallback in 1..tasks.len() {
        if !chance.permille(120) {
            continue;
        }
        for primary in tasks.iter_mut().take(fallback).rev().take(1 + chance.between(0, 1) as usize) {
            primary.on_failure = OnFailure::Fallback(TaskIndex(fallback as u32));
        }
        tasks[fallback].when = When::Fallback;
    }
    // A later task may have taken a primary over; whoever is left without one is an ordinary task.
    for index in 0..tasks.len() {
        let named = OnFailure::Fallback(TaskIndex(index as u32));
        if tasks[index].when == When::Fallback && tasks.iter().all(|task| task.on_failure != named) {
            tasks[index].when = When::Always;
        }
    }
}
