//! Pools, locks and queues: whether what a task asks for exists and can ever be granted.

use super::{
    Problem, Rules,
    draft::DraftTask,
    names, nearest,
    problem::{Code, Problems, clip, join_key},
};
use std::collections::{BTreeMap, BTreeSet};

/// Locks that nobody configured and one workflow may use: each becomes a row with its first run, in one step.
pub(super) const LOCKS_MAX: usize = 500;

/// Whether a workflow uses more locks of its own than one step may bring into being.
pub(super) fn check_count(tasks: &[DraftTask], pools: &BTreeMap<String, u32>, problems: &mut Problems) {
    let of_its_own = tasks.iter().flat_map(|task| &task.locks).filter(|lock| !pools.contains_key(*lock));
    let count = of_its_own.collect::<BTreeSet<_>>().len();
    if count > LOCKS_MAX {
        problems.add(|| {
            Problem::new(Code::Resource, "tasks", format!("the tasks use {count} different locks"))
                .expected(format!("at most {LOCKS_MAX}"))
                .help("locks that are declared as pools in `unknot.yaml` do not count")
        });
    }
}

/// Different queues that the tasks of one workflow may name: each is a line of its own, which the brain keeps.
pub(super) const QUEUES_MAX: usize = 1_000;

/// Whether a workflow names more queues than it may.
pub(super) fn check_queues(tasks: &[DraftTask], problems: &mut Problems) {
    let mut queues = BTreeSet::new();
    for task in tasks {
        let Some(queue) = &task.queue else { continue };
        if queues.insert(queue.as_str()) && queues.len() == QUEUES_MAX + 1 {
            let path = format!("{}.queue", join_key("tasks", &task.name));
            problems.add(|| {
                Problem::new(Code::Resource, path, format!("`{}` is one queue too many", clip(queue)))
                    .expected(format!("at most {QUEUES_MAX} different queues in a workflow"))
                    .help("a queue is for many tasks; to run some of them one at a time, give them a lock")
            });
        }
    }
}

pub(super) fn check(task: &DraftTask, rules: &Rules, problems: &mut Problems) {
    let path = |rest: &str| format!("{}.{rest}", join_key("tasks", &task.name));
    check_asked(&task.pools, &task.locks, rules, &path, problems);
}

/// What is asked for at once; `path` is where its `pools` or `locks` stand.
pub(super) fn check_asked(
    asked: &[(String, u32)],
    locks: &[String],
    rules: &Rules,
    path: &impl Fn(&str) -> String,
    problems: &mut Problems,
) {
    let pools = &rules.pools;
    for (pool, units) in asked {
        let at = || join_key(&path("pools"), pool);
        match pools.get(pool) {
            None => problems.add(|| unknown(pool, rules, at()).on_key()),
            Some(size) if units > size => problems.add(|| {
                Problem::new(
                    Code::Resource,
                    at(),
                    format!("{units} units of pool `{pool}` of size {size} can never be granted"),
                )
                .expected(format!("1 to {size}"))
            }),
            Some(size) if *units == 0 => problems.add(|| {
                Problem::new(Code::Range, at(), format!("0 units of pool `{pool}`")).expected(format!("1 to {size}"))
            }),
            Some(_) => {}
        }
    }
    let mut seen: BTreeSet<&str> = asked.iter().map(|(pool, _)| pool.as_str()).collect();
    for (place, lock) in locks.iter().enumerate() {
        let at = || path(&format!("locks[{place}]"));
        names::check_value(lock, "lock", at, problems);
        if !seen.insert(lock) {
            problems.add(|| Problem::new(Code::Resource, at(), format!("`{}` is asked for twice", clip(lock))));
        }
        if let Some(size) = pools.get(lock).filter(|&&size| size > 1) {
            problems.add(|| {
                Problem::new(Code::Resource, at(), format!("`{lock}` is a pool of size {size}, not a lock"))
                    .help(format!("ask for units of it: `pools: {{{lock}: 1}}`"))
            });
        }
    }
}

/// There is no such pool, now or at all.
fn unknown(pool: &str, rules: &Rules, at: String) -> Problem {
    let name = clip(pool);
    if rules.removed_pools.contains(pool) {
        let message = format!("there is no pool `{name}` now: it is declared, and an operator has removed it since");
        let help =
            format!("`unknot pools set {name} N` makes it again, and so does the next start or reload of the server");
        return Problem::new(Code::Resource, at, message).help(help);
    }
    Problem::new(Code::Resource, at, format!("unknown pool `{name}`"))
        .nearest(nearest(pool, rules.pools.keys().map(String::as_str)))
        .help("pools are declared in `unknot.yaml`: `pools: {render: {size: 4}}`")
}
