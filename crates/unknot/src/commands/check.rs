//! `unknot check FLOW`: what is wrong with a workflow, or which bounds it has.

mod bounds;
mod nesting;

use crate::{
    args::{Check, Place},
    config::Config,
    error::{Error, eprint_quietly},
    exit::Exit,
    output::{Paint, Tone, count, thousands, wrap},
    terminal, workflow,
};
use bounds::{Bound, bounds};
use serde_json::{Value, json};
use std::{collections::BTreeMap, io::Write, path::Path};
use unknot_engine::{
    convert::Checked,
    core::{
        TaskIndex,
        proof::{Proof, Verdict},
        workflow::{Definition, InputDecl, TaskKind},
    },
};

/// Tasks of the longest chain that are named.
const CHAIN_NAMED_MAX: usize = 8;

/// Checks a workflow.
pub(crate) fn perform(check: &Check, out: &mut dyn Write) -> Result<Exit, Error> {
    let config = Config::beside(&check.flow, &Place::default())?;
    let read = workflow::read(&check.flow, &config);
    match read.and_then(|checked| Ok((nesting::prove(&check.flow, &config, &checked)?, checked))) {
        Ok((proof, checked)) => {
            let chain = longest_chain(&checked.definition);
            let bounds = bounds(&checked.definition, &config.settings);
            if check.json {
                writeln!(out, "{}", as_json(&check.flow, &checked, &chain, &bounds, proof.as_ref()))?;
            } else {
                eprint_quietly(&checked.warnings.to_string());
                write(&check.flow, &checked, &chain, &bounds, proof.as_ref(), out)?;
            }
            let is_unsafe = proof.is_some_and(|proof| matches!(proof.verdict, Verdict::Unsafe { .. }));
            Ok(if is_unsafe { Exit::Failed } else { Exit::Success })
        }
        Err(Error::File(report)) if check.json => {
            writeln!(out, "{}", json!({"file": report.file, "sound": false, "problems": report.problems}))?;
            Ok(Exit::Usage)
        }
        Err(error) => Err(error),
    }
}

fn write(
    flow: &Path,
    checked: &Checked,
    chain: &[TaskIndex],
    bounds: &[Bound],
    proof: Option<&Proof>,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let paint = Paint::for_stdout();
    let columns = terminal::size().columns;
    let body = &checked.definition.body;
    let verdict = match checked.warnings.problems.len() {
        _ if proof.is_some_and(|proof| matches!(proof.verdict, Verdict::Unsafe { .. })) => {
            "can be run, and is unsafe: see `waits`".to_owned()
        }
        0 => "is sound".to_owned(),
        warnings => format!("is sound, with {}", count(warnings as u64, "warning")),
    };
    writeln!(out, "{} {verdict}\n", paint.tone(Tone::Strong, &flow.display().to_string()))?;
    let mut line = |label: &str, text: &str| {
        let label = paint.tone(Tone::Faint, &format!("{label:<11}"));
        for (place, text) in wrap(text, columns.saturating_sub(16), 4).iter().enumerate() {
            match place {
                0 => writeln!(out, "{}", format!("  {label}  {text}").trim_end())?,
                _ => writeln!(out, "{}{text}", " ".repeat(15))?,
            }
        }
        std::io::Result::Ok(())
    };
    line("workflow", &body.name)?;
    if let Some(description) = &checked.run.description {
        line("", description)?;
    }
    let kinds: Vec<String> =
        kinds(&checked.definition).iter().map(|(kind, n)| format!("{} {kind}", thousands(*n))).collect();
    line("tasks", &format!("{} ({})", thousands(body.tasks.len() as u64), kinds.join(", ")))?;
    line("chain", &said_chain(&checked.definition, chain))?;
    if !body.inputs.is_empty() {
        let inputs: Vec<String> = body.inputs.iter().map(|(name, input)| said_input(name, input)).collect();
        line("inputs", &inputs.join(", "))?;
    }
    line("", "")?;
    for bound in bounds {
        line(bound.name, &bound.said())?;
    }
    line("", "")?;
    for (place, said) in proof.iter().flat_map(|proof| proof.lines()).enumerate() {
        line(if place == 0 { "waits" } else { "" }, &said)?;
    }
    Ok(())
}

fn said_input(name: &str, input: &InputDecl) -> String {
    let kind = json!(input.type_);
    let kind = kind.as_str().unwrap_or("any");
    match &input.default {
        Some(default) => format!("{name} ({kind}, {default} if not given)"),
        None => format!("{name} ({kind}, required)"),
    }
}

fn said_chain(definition: &Definition, chain: &[TaskIndex]) -> String {
    let name = |index: &TaskIndex| definition.task(*index).name.as_ref();
    let names: Vec<&str> = match chain.len() {
        0..=CHAIN_NAMED_MAX => chain.iter().map(name).collect(),
        length => {
            let half = CHAIN_NAMED_MAX / 2;
            let (first, last) = (chain[..half].iter().map(name), chain[length - half..].iter().map(name));
            first.chain(["…"]).chain(last).collect()
        }
    };
    format!("{}: {}", count(chain.len() as u64, "task"), names.join(" → "))
}

fn as_json(flow: &Path, checked: &Checked, chain: &[TaskIndex], bounds: &[Bound], proof: Option<&Proof>) -> Value {
    let body = &checked.definition.body;
    json!({
        "file": flow,
        "sound": true,
        "problems": checked.warnings.problems,
        "workflow": body.name,
        "description": checked.run.description,
        "hash": body.hash,
        "tasks": body.tasks.len(),
        "kinds": kinds(&checked.definition),
        "longest_chain": chain.iter().map(|index| &checked.definition.task(*index).name).collect::<Vec<_>>(),
        "inputs": body.inputs,
        "bounds": bounds.iter().map(|bound| (bound.name, bound.as_json())).collect::<BTreeMap<_, _>>(),
        "proof": proof,
    })
}

fn kinds(definition: &Definition) -> BTreeMap<&'static str, u64> {
    let mut kinds = BTreeMap::new();
    for task in &definition.body.tasks {
        let kind = match task.kind {
            TaskKind::Exec(_) => "exec",
            TaskKind::Http(_) => "http",
            TaskKind::Worker(_) => "worker",
            TaskKind::Sleep(_) => "sleep",
            TaskKind::Signal(_) => "signal",
            TaskKind::Workflow(_) => "workflow",
            TaskKind::Noop => "noop",
        };
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

/// The longest chain of needs, first task first. Linear, without recursion: a definition has no cycle.
fn longest_chain(definition: &Definition) -> Vec<TaskIndex> {
    let tasks = &definition.body.tasks;
    let mut open: Vec<usize> = tasks.iter().map(|task| task.needs.of.len()).collect();
    let mut length = vec![1_u32; tasks.len()];
    let mut before: Vec<Option<TaskIndex>> = vec![None; tasks.len()];
    let indexed = || definition.body.indexed();
    let mut ready: Vec<TaskIndex> =
        indexed().filter(|(_, task)| task.needs.of.is_empty()).map(|(index, _)| index).collect();
    while let Some(task) = ready.pop() {
        let at = task.0 as usize;
        for &(dependent, _) in &definition.dependents[at] {
            let dependent_at = dependent.0 as usize;
            if length[dependent_at] <= length[at] {
                length[dependent_at] = length[at] + 1;
                before[dependent_at] = Some(task);
            }
            open[dependent_at] -= 1;
            if open[dependent_at] == 0 {
                ready.push(dependent);
            }
        }
    }
    // The first of equals, so that the same file always shows the same chain.
    let last =
        indexed().map(|(index, _)| index).max_by_key(|index| (length[index.0 as usize], std::cmp::Reverse(*index)));
    let mut chain: Vec<TaskIndex> = std::iter::successors(last, |index| before[index.0 as usize]).collect();
    chain.reverse();
    chain
}
