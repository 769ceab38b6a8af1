//! What would make an unsafe workflow safe: small changes, each tried by the same rules.

use super::{Declared, Scenario, StepKind, rule::is_safe_by_rule, system::Spawned};
use crate::workflow::{Definition, TaskDef, TaskKind};
use std::{collections::BTreeSet, sync::Arc};

/// Most changes that are tried, and told.
const TRIED_MAX: usize = 40;
const TOLD_MAX: usize = 5;

/// The same scenario with the changes that help.
pub(super) fn with_changes(declared: &Declared, workflow: &str, mut scenario: Scenario) -> Scenario {
    let changes = changes(declared, &scenario).into_iter().take(TRIED_MAX);
    let mut settled = BTreeSet::new();
    for change in changes {
        // Of several of the same kind, the first that helps is the smallest.
        let is_settled = change.kind.as_ref().is_some_and(|kind| settled.contains(kind));
        if !is_settled && is_safe_by_rule(&change.declared, workflow, Spawned::Awaited) {
            settled.extend(change.kind);
            scenario.changes.push(change.told);
        }
    }
    scenario.changes.truncate(TOLD_MAX);
    scenario
}

/// Something that could be declared instead.
struct Change {
    declared: Declared,
    told: String,
    /// What it has in common with others of which one is enough.
    kind: Option<String>,
}

fn changes(declared: &Declared, scenario: &Scenario) -> Vec<Change> {
    let mut changes = Vec::new();
    let steps = || scenario.steps.iter().flat_map(|step| step.units.iter().map(move |unit| (step, unit)));
    let pools: BTreeSet<&str> = steps().map(|(_, unit)| &*unit.resource).collect();
    let pools: Vec<&str> = pools.into_iter().filter(|pool| declared.pools.contains_key(*pool)).collect();
    changes.extend(pools.iter().filter_map(|pool| lend(declared, pool)));
    let tasks: BTreeSet<(&str, &str)> = scenario.steps.iter().map(|step| place(&step.workflow, &step.task)).collect();
    changes.extend(tasks.iter().flat_map(|task| of_task(declared, *task)));
    let held: BTreeSet<(&str, &str, &str)> = steps()
        .filter(|(step, unit)| step.kind == StepKind::Gets && unit.kind != "slots")
        .map(|(step, unit)| {
            let (workflow, task) = place(&step.workflow, &step.task);
            (workflow, task, &*unit.resource)
        })
        .collect();
    changes.extend(held.into_iter().filter_map(|(workflow, task, held)| hold_not(declared, (workflow, task), held)));
    changes.extend(pools.iter().flat_map(|pool| larger(declared, pool)));
    changes
}

/// The workflow and the name of the last task of a path.
fn place<'s>(workflow: &'s str, task: &'s str) -> (&'s str, &'s str) {
    let last = task.rsplit(" > ").next().unwrap_or(task);
    if last.len() == task.len() { (workflow, task) } else { last.split_once('.').unwrap_or((workflow, last)) }
}

fn lend(declared: &Declared, name: &str) -> Option<Change> {
    let mut declared = declared.clone();
    let pool = declared.pools.get_mut(name).filter(|pool| !pool.lends)?;
    pool.lends = true;
    let size = pool.size;
    let told = format!(
        "let `{name}` lend what a waiting task holds to those below it: `pools: {{{name}: {{size: {size}, lend: true}}}}`"
    );
    Some(Change { declared, told, kind: None })
}

/// Larger pools help only where the number of holders has a bound.
fn larger(declared: &Declared, name: &str) -> Vec<Change> {
    let size = declared.pools.get(name).map_or(1, |pool| pool.size);
    let larger = |size: u32| {
        let mut declared = declared.clone();
        if let Some(pool) = declared.pools.get_mut(name) {
            pool.size = size;
        }
        let told = format!("make `{name}` larger: `size: {size}`");
        Change { declared, told, kind: Some(format!("larger {name}")) }
    };
    [size.saturating_add(1), size.saturating_mul(2), size.saturating_mul(4)].into_iter().map(larger).collect()
}

/// The same with one task changed.
fn changed(declared: &Declared, (workflow, task): (&str, &str), change: impl FnOnce(&mut TaskDef)) -> Option<Declared> {
    let mut declared = declared.clone();
    let definition = declared.workflows.get_mut(workflow)?;
    let mut body = definition.body.clone();
    change(body.tasks.iter_mut().find(|def| &*def.name == task)?);
    *definition = Arc::new(Definition::new(body));
    Some(declared)
}

fn find<'d>(declared: &'d Declared, (workflow, task): (&str, &str)) -> Option<&'d TaskDef> {
    declared.workflows.get(workflow)?.body.tasks.iter().find(|def| &*def.name == task)
}

/// A task that starts runs holds something no longer while they go on.
fn hold_not(declared: &Declared, task: (&str, &str), held: &str) -> Option<Change> {
    let def = find(declared, task)?;
    if !matches!(def.kind, TaskKind::Workflow(_)) || !def.resources.contains_key(held) {
        return None;
    }
    let declared = changed(declared, task, |def| {
        def.resources.remove(held);
    })?;
    let told = format!(
        "do not hold `{held}` in `{}.{}` while its runs go on: let the tasks below that use it ask for it",
        task.0, task.1
    );
    Some(Change { declared, told, kind: None })
}

/// What else a task could do: ask for everything at once, in another order, or for fewer runs at once.
fn of_task(declared: &Declared, task: (&str, &str)) -> Vec<Change> {
    let Some(def) = find(declared, task) else { return Vec::new() };
    let name = format!("`{}.{}`", task.0, task.1);
    let mut changes = Vec::new();
    let mut add = |declared: Option<Declared>, told: String, kind: Option<String>| {
        changes.extend(declared.map(|declared| Change { declared, told, kind }));
    };
    let steps = def.acquires.as_deref().unwrap_or_default();
    if !steps.is_empty() {
        let at_once = changed(declared, task, |def| {
            for (name, units) in def.acquires.replace(Vec::new()).into_iter().flatten().flatten() {
                *def.resources.entry(name).or_default() += units;
            }
        });
        let told = "ask for all that it acquires at once, before it starts, under `pools` and `locks`";
        add(at_once, format!("let {name} {told}"), None);
    }
    if steps.len() > 1 {
        let reversed = changed(declared, task, |def| def.acquires.iter_mut().for_each(|steps| steps.reverse()));
        let order: Vec<String> =
            steps.iter().rev().flat_map(|step| step.keys()).map(|name| format!("`{name}`")).collect();
        add(reversed, format!("let {name} acquire in this order: {}", order.join(", ")), None);
    }
    if let TaskKind::Workflow(child) = &def.kind
        && let Some(each) = &child.for_each
    {
        for most in [2, 1].into_iter().filter(|most| each.max_parallel.is_none_or(|now| now > *most)) {
            let fewer = changed(declared, task, |def| {
                if let TaskKind::Workflow(child) = &mut def.kind {
                    child.for_each.iter_mut().for_each(|each| each.max_parallel = Some(most));
                }
            });
            let told = format!("let {name} have fewer runs at once: `max_parallel: {most}`");
            add(fewer, told, Some(format!("fewer {name}")));
        }
    }
    changes
}
