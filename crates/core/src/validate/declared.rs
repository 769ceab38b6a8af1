//! What a task says that it acquires and starts while it runs.

use super::{
    Problem, Rules,
    draft::DraftTask,
    names,
    problem::{Code, Problems, clip, join_key},
    resources,
};
use std::collections::BTreeMap;

/// Most steps of `acquires`.
const STEPS_MAX: usize = 16;
/// Most workflows that one task says it starts.
const SPAWNS_MAX: usize = 100;

pub(super) fn check(task: &DraftTask, rules: &Rules, problems: &mut Problems) {
    let path = |rest: String| format!("{}.{rest}", join_key("tasks", &task.name));
    let too_many = |key: &str, count: usize, most: usize| {
        Problem::new(Code::Range, path(key.to_owned()), format!("{count} entries of `{key}` are too many"))
            .expected(format!("at most {most}"))
    };
    if let Some(acquires) = &task.acquires {
        let count = acquires.steps.len();
        if count > STEPS_MAX {
            problems.add(|| too_many("acquires", count, STEPS_MAX));
        }
        for (place, step) in acquires.steps.iter().enumerate() {
            let at = |rest: &str| match acquires.is_list {
                true => path(format!("acquires[{place}].{rest}")),
                false => path(format!("acquires.{}", in_one_map(task, place, rest))),
            };
            resources::check_asked(&step.pools, &step.locks, rules, &at, problems);
        }
        check_sums(task, &rules.pools, problems);
    }
    let spawns = task.spawns.as_deref().unwrap_or_default();
    if spawns.len() > SPAWNS_MAX {
        problems.add(|| too_many("spawns", spawns.len(), SPAWNS_MAX));
    }
    for (place, workflow) in spawns.iter().enumerate() {
        names::workflow_at(workflow, || path(format!("spawns[{place}]")), problems);
    }
}

/// The path of a single thing: of a lock its place in the list, of a pool the map.
fn in_one_map(task: &DraftTask, place: usize, rest: &str) -> String {
    let steps = task.acquires.iter().flat_map(|acquires| &acquires.steps);
    let pools = steps.filter(|step| !step.pools.is_empty()).count();
    match rest.strip_prefix("locks[0]") {
        Some(_) => format!("locks[{}]", place.saturating_sub(pools)),
        None => rest.to_owned(),
    }
}

/// Who takes more than there is, together with what it holds already, waits for itself.
fn check_sums(task: &DraftTask, pools: &BTreeMap<String, u32>, problems: &mut Problems) {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    let steps = task.acquires.iter().flat_map(|acquires| &acquires.steps);
    let parts = steps.map(|step| (&step.pools, &step.locks)).chain([(&task.pools, &task.locks)]);
    for (asked, locks) in parts {
        for (name, units) in asked.iter().map(|(name, units)| (name, *units)).chain(locks.iter().map(|lock| (lock, 1)))
        {
            *sums.entry(name).or_default() += u64::from(units);
        }
    }
    for (name, sum) in sums {
        let size = pools.get(name).copied().unwrap_or(1);
        if sum > u64::from(size) {
            problems.add(|| {
                let path = format!("{}.acquires", join_key("tasks", &task.name));
                let message = format!(
                    "task `{}` would hold {sum} of `{}`, of which there {}",
                    clip(&task.name),
                    clip(name),
                    if size == 1 { "is 1".to_owned() } else { format!("are {size}") }
                );
                Problem::new(Code::Resource, path, message).on_key().help(
                    "with what it holds it would wait for itself; ask for everything at once under `pools` and `locks`",
                )
            });
        }
    }
}
