//! What attempts ask for, in a story's words.
//!
//! An expression is one word: `lock:gpu`, `pool:render:2`, `child:KEY`, `child:KEY:success`, `children`, `signal:go`,
//! `signal:go:a+b` (only those tasks send it), `timer:10s`, `all(X,Y)`, `any(X,Y)`, `2of(X,Y,Z)`.

use crate::{
    story::Story,
    words::{Words, length},
};
use std::{collections::BTreeMap, sync::Arc};
use unknot_core::{
    RunId, TaskId, Timestamp,
    event::{Ask, Event, Submission},
    run::{AtDeadline, Awaited},
    workflow::{Definition, TaskKind, Until},
};

/// `ask A wait NAME EXPR [within TIME] [stop]`, `ask A withdraw NAME`, `ask A release POOL[:N],…`,
/// `ask A spawn RUN WORKFLOW [detached] [key KEY]` (else the run's name is its key).
pub(crate) fn ask(story: &mut Story, mut words: Words) {
    let name = words.word("an attempt");
    let (attempt, fence) = story.attempt(&name);
    let ask = match words.word("what is asked").as_str() {
        "wait" => {
            let (name, expr) = (words.word("the wait's name"), words.word("an expression"));
            let on = expression(story, attempt.task, &expr);
            let within = words.take("within").then(|| words.length("how long"));
            let then = if words.take("stop") { AtDeadline::Stop } else { AtDeadline::GiveUp };
            Ask::Wait { name, on, within, then }
        }
        "withdraw" => Ask::Withdraw { name: words.word("the wait's name") },
        "release" => Ask::Release { units: words.word("units").split(',').map(units).collect() },
        "spawn" => {
            let (run, workflow) = (words.word("the run's name"), words.word("a workflow"));
            let detached = words.take("detached");
            let key = if words.take("key") { words.word("a key") } else { run.clone() };
            let submission = child(story, &run, &workflow);
            Ask::Spawn { key, submission: Box::new(submission), detached }
        }
        other => panic!("nobody asks for `{other}`"),
    };
    words.end();
    let caller = story.caller();
    story.happen(Event::AttemptAsked { attempt, fence, ask: Box::new(ask), caller });
}

pub(crate) fn child(story: &mut Story, name: &str, workflow: &str) -> Submission {
    let definition = story.workflows.get(workflow).unwrap_or_else(|| panic!("no workflow `{workflow}`")).clone();
    let run = RunId::from_parts(crate::world::BEGIN.0, story.runs.len() as u128 + 1);
    let calls = calls(story, &definition);
    story.runs.entry(name.to_owned()).or_insert((run, definition.clone()));
    Submission { calls, caller: story.caller(), ..Submission::of(run, definition) }
}

/// The workflows that a definition calls, and those that these call.
pub(crate) fn calls(story: &Story, definition: &Definition) -> BTreeMap<Arc<str>, Arc<Definition>> {
    let mut found: BTreeMap<Arc<str>, Arc<Definition>> = BTreeMap::new();
    let mut open = called(definition);
    while let Some(name) = open.pop() {
        let Some(definition) = story.workflows.get(&*name).filter(|_| !found.contains_key(&name)) else { continue };
        open.extend(called(definition));
        found.insert(name, Arc::clone(definition));
    }
    found
}

fn called(definition: &Definition) -> Vec<Arc<str>> {
    let name = |kind: &TaskKind| match kind {
        TaskKind::Workflow(child) => Some(Arc::clone(&child.workflow)),
        _ => None,
    };
    definition.body.tasks.iter().filter_map(|task| name(&task.kind)).collect()
}

fn units(text: &str) -> (String, u32) {
    let (name, units) = text.split_once(':').unwrap_or((text, "1"));
    (name.to_owned(), units.parse().unwrap_or_else(|_| panic!("not a number of units: `{text}`")))
}

fn expression(story: &Story, task: TaskId, text: &str) -> Awaited {
    if let Some((head, inside)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        let of: Vec<Awaited> = parts(inside).iter().map(|part| expression(story, task, part)).collect();
        return match head {
            "all" => Awaited::all(of),
            "any" => Awaited::any(of),
            least => {
                let k = least.strip_suffix("of").and_then(|k| k.parse().ok());
                Awaited::AtLeast { k: k.unwrap_or_else(|| panic!("no expression `{head}`")), of }
            }
        };
    }
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    match kind {
        "lock" => Awaited::Units { pool: rest.to_owned(), units: 1 },
        "pool" => {
            let (pool, units) = units(rest);
            Awaited::Units { pool, units }
        }
        "child" => match rest.split_once(':') {
            None => Awaited::Child { key: rest.to_owned(), until: Until::Finished },
            Some((key, _)) => Awaited::Child { key: key.to_owned(), until: Until::Succeeded },
        },
        "children" => Awaited::Children,
        "signal" => {
            let (name, from) = rest.split_once(':').unwrap_or((rest, ""));
            let definition = story.world.state.definition(task.run);
            let sender = |name: &str| definition.find(name).unwrap_or_else(|| panic!("no task `{name}`"));
            let from = from.split('+').filter(|name| !name.is_empty()).map(sender).collect();
            Awaited::Signal { name: name.to_owned(), from }
        }
        "timer" => Awaited::Timer { at: Timestamp(story.world.now.0 + length(rest).0) },
        other => panic!("no condition `{other}`"),
    }
}

/// The parts between commas that stand in no parentheses.
fn parts(text: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for letter in text.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("there is one").push(letter);
    }
    parts
}
