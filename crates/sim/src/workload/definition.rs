//! Random workflows: every shape and every key that the brain reads.

use super::code;
use crate::{chance::Chance, hands::script::Style};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};
use unknot_core::{
    Millis, TaskIndex,
    workflow::{
        Await, Backoff, Call, Child, Command, Definition, DefinitionHash, ForEach, Ladder, Limits, Need, Needs,
        OnChildFailure, OnFailure, OnLost, Priority, Retry, Stored, TaskDef, TaskKind, Until, When,
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
/// Levels of workflows that attempts and tasks can call: each calls those below it alone.
pub const LEVELS: u32 = 3;

/// How the tasks of a workflow need each other.
#[derive(Clone, Copy)]
enum Shape {
    Loose,
    Chain,
    Fan,
    Graph,
}

/// How the attempts of a workflow ask for things while they run, and how many levels of workflows are below it.
#[derive(Clone, Copy, Debug)]
pub struct Asks {
    /// How they go about it.
    pub style: Style,
    /// Levels below.
    pub level: u32,
}

/// The workflows that others call, each of those below it alone.
pub fn library(chance: &mut Chance, style: Style) -> Vec<Arc<Definition>> {
    let one = |level: u32| {
        let count = chance.between(1, 3) as u32;
        let tasks = (0..count).map(|index| asking(chance, Asks { style, level }, index));
        let tasks = tasks.collect();
        stored(&format!("lib-{level}"), Millis::from_secs(*chance.pick(&[60, 300, 900])), tasks)
    };
    (0..LEVELS).map(one).collect()
}

/// A workflow of these tasks, with its name as its hash.
pub fn stored(name: &str, timeout: Millis, tasks: Vec<TaskDef>) -> Arc<Definition> {
    Arc::new(Definition::new(Stored {
        hash: DefinitionHash(name.into()),
        name: name.into(),
        timeout,
        max_parallel: None,
        inputs: BTreeMap::new(),
        output: None,
        on_deadlock: None,
        pending_stale: None,
        workflow_stale: None,
        tasks,
    }))
}

/// A workflow of up to `tasks_max` tasks. Tasks need only earlier ones, so there is no cycle.
pub fn definition(chance: &mut Chance, number: usize, tasks_max: u64, asks: Option<Asks>) -> Arc<Definition> {
    let count = chance.between(1, tasks_max) as u32;
    let shape = *chance.weighted(&[(1, Shape::Loose), (1, Shape::Chain), (2, Shape::Fan), (4, Shape::Graph)]);
    let is_plain = chance.permille(200);
    let mut tasks: Vec<TaskDef> = Vec::new();
    for index in 0..count {
        let mut task = match asks {
            Some(asks) if asks.style == Style::Careful || chance.permille(600) => asking(chance, asks, index),
            _ if is_plain => plain(index),
            _ => task(chance, index),
        };
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

/// A task that asks for things while it runs, or calls other workflows.
fn asking(chance: &mut Chance, asks: Asks, index: u32) -> TaskDef {
    let calls = if asks.level > 0 { 2 } else { 0 };
    let kind = match *chance.weighted(&[(5, 0), (calls, 1), (1, 2)]) {
        0 => code::asks(asks.style, asks.level, chance.bits() >> 16),
        1 => TaskKind::Workflow(Box::new(call(chance, asks.level))),
        _ => TaskKind::Noop,
    };
    let is_wild = asks.style == Style::Wild;
    TaskDef {
        kind,
        timeout: chance.permille(300).then(|| Millis::from_secs(chance.between(5, 120))),
        retry: retry(chance),
        on_failure: if chance.permille(300) { OnFailure::Continue } else { OnFailure::Fail },
        cancel: ladder(chance),
        resources: if is_wild { resources(chance) } else { BTreeMap::new() },
        ..plain(index)
    }
}

fn call(chance: &mut Chance, level: u32) -> Child {
    let for_each = chance.permille(400).then(|| ForEach {
        items: json!((0..chance.between(0, 6)).collect::<Vec<u64>>()),
        max_parallel: chance.permille(500).then(|| chance.between(1, 3) as u32),
    });
    Child {
        workflow: format!("lib-{}", chance.between(0, u64::from(level) - 1)).into(),
        input: json!({}),
        detached: chance.permille(150),
        on_child_failure: *chance.pick(&[OnChildFailure::Fail, OnChildFailure::Continue]),
        for_each,
    }
}

/// A task that does nothing, at once.
pub fn plain(index: u32) -> TaskDef {
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
