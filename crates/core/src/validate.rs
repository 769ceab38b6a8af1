//! From what somebody wrote to what the brain runs: every rule about the meaning of a workflow.
//!
//! [`check`] takes a [`Draft`] (names and values, nothing else) and gives a [`Definition`] in which
//! nothing can be wrong any more, or the first [`PROBLEMS_MAX`] problems. It is linear in the size
//! of the workflow and does not recurse: 200,000 tasks are one chain of plain passes.
//!
//! Problems carry a path such as `tasks.b.needs[1]`; whoever read the file knows its line.

mod child;
mod declared;
mod draft;
mod graph;
mod http;
mod input;
mod limits;
mod names;
mod nearest;
mod problem;
mod references;
mod resources;
mod task;
#[cfg(test)]
mod tests;
mod values;

pub use draft::{
    Draft, DraftAcquire, DraftAcquires, DraftCancel, DraftNeed, DraftNeeds, DraftOnFailure, DraftRetry, DraftTask,
    NeedsCount,
};
pub use input::check_input;
pub use names::{NAME_EXPECTED, is_name};
pub use problem::{Code, On, PROBLEMS_MAX, Problem};

pub use nearest::nearest;
pub(crate) use problem::clip;

use crate::{
    id::TaskIndex,
    time::Millis,
    workflow::{Definition, DefinitionHash, InputDecl, Need, Needs, OnFailure, Stored, TaskDef, TaskKind, When},
};
use graph::Graph;
use problem::{Problems, join_key};
use std::collections::{BTreeMap, BTreeSet};

/// Most tasks of one workflow.
pub const TASKS_MAX: usize = 200_000;
/// Longest time that a file can ask for anywhere.
pub const LONGEST: Millis = Millis::from_days(365);
/// Bound of a run that says nothing.
pub const RUN_TIMEOUT: Millis = Millis::from_days(7);

/// What a workflow is checked against.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Most tasks in one chain of needs.
    pub max_dependency_depth: u32,
    /// The declared pools and their sizes. A lock that is not among them is a pool of one of its own.
    pub pools: BTreeMap<String, u32>,
    /// Pools that are declared, and that an operator has taken away since.
    pub removed_pools: BTreeSet<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { max_dependency_depth: 50, pools: BTreeMap::new(), removed_pools: BTreeSet::new() }
    }
}

/// A workflow that passed, with what may still surprise its author.
#[derive(Clone, Debug)]
pub struct Check {
    /// The validated form; its hash is still empty, for whoever read the file to fill in.
    pub definition: Definition,
    /// Doubts that do not stop it.
    pub warnings: Vec<Problem>,
}

/// Checks every rule and gives the validated form.
///
/// # Errors
/// The problems found, at most [`PROBLEMS_MAX`], never none.
pub fn check(draft: Draft, rules: &Rules) -> Result<Check, Vec<Problem>> {
    let mut problems = Problems::default();
    let mut warnings = Problems::default();
    check_run(&draft, &mut problems);
    child::check_monitor(&draft, &mut problems);
    child::check_output(&draft, &mut problems);
    let index = index_tasks(&draft, &mut problems);
    let run_timeout = draft.timeout.unwrap_or(RUN_TIMEOUT);
    for task in &draft.tasks {
        task::check(task, &mut problems, &mut warnings);
        limits::check(task, &limits::Run { timeout: run_timeout, is_default: draft.timeout.is_none() }, &mut problems);
        resources::check(task, rules, &mut problems);
        declared::check(task, rules, &mut problems);
    }
    resources::check_count(&draft.tasks, &rules.pools, &mut problems);
    resources::check_queues(&draft.tasks, &mut problems);
    references::check_output(&draft, &index, &mut problems);
    let links = resolve(&draft, &index, &mut problems);
    check_fallbacks(&draft, &links, &mut problems);
    check_graph(&draft, &index, &links, rules, &mut problems);
    drop(index);
    problems.or(|| Check { definition: Definition::new(build(draft, links)), warnings: warnings.list })
}

/// The names of a task's needs and fallback, found.
#[derive(Clone, Debug, Default)]
struct Links {
    needs: Vec<Need>,
    fallback: Option<TaskIndex>,
    /// Who sends the signal that it waits for.
    senders: Vec<TaskIndex>,
}

type Index<'d> = BTreeMap<&'d str, TaskIndex>;

fn check_run(draft: &Draft, problems: &mut Problems) {
    names::workflow(&draft.name, problems);
    if let Some(timeout) = draft.timeout {
        limits::check_length("timeout", timeout, limits::Zero::Refused, problems);
    }
    if draft.max_parallel == Some(0) {
        problems.add(|| {
            Problem::new(Code::Range, "max_parallel", "`max_parallel` of 0 would run nothing").expected("1 or more")
        });
    }
    for (name, declared) in &draft.inputs {
        let path = || join_key("input", name);
        names::check(name, "input", path, problems);
        if let InputDecl { type_: Some(wanted), default: Some(default), .. } = declared {
            input::check_type(*wanted, default, || format!("{}.default", path()), problems);
        }
    }
    input::check_defaults(&draft.inputs, problems);
    if draft.tasks.is_empty() {
        problems
            .add(|| Problem::new(Code::TaskCount, "tasks", "a workflow without tasks").expected("at least one task"));
    }
    if draft.tasks.len() > TASKS_MAX {
        let count = draft.tasks.len();
        problems.add(|| {
            Problem::new(Code::TaskCount, "tasks", format!("{count} tasks are more than a workflow may have"))
                .expected(format!("at most {TASKS_MAX}"))
        });
    }
}

fn index_tasks<'d>(draft: &'d Draft, problems: &mut Problems) -> Index<'d> {
    let mut index = BTreeMap::new();
    for (place, task) in (0u32..).map(TaskIndex).zip(&draft.tasks) {
        let path = || join_key("tasks", &task.name);
        names::check(&task.name, "task", path, problems);
        if index.insert(task.name.as_str(), place).is_some() {
            problems
                .add(|| Problem::new(Code::Name, path(), format!("task `{}` exists twice", clip(&task.name))).on_key());
        }
    }
    index
}

/// Finds the tasks that needs and fallbacks name.
fn resolve(draft: &Draft, index: &Index<'_>, problems: &mut Problems) -> Vec<Links> {
    let mut links = Vec::with_capacity(draft.tasks.len());
    for task in &draft.tasks {
        let path = || join_key("tasks", &task.name);
        let needs = resolve_needs(task, index, problems);
        let fallback = match &task.on_failure {
            DraftOnFailure::Fallback(name) => match index.get(name.as_str()) {
                Some(&fallback) => Some(fallback),
                None => {
                    problems.add(|| unknown_task(name, index, format!("{}.on_failure.fallback", path())));
                    None
                }
            },
            _ => None,
        };
        let senders = child::senders(draft, task, index, problems);
        links.push(Links { needs, fallback, senders });
    }
    links
}

fn resolve_needs(task: &DraftTask, index: &Index<'_>, problems: &mut Problems) -> Vec<Need> {
    let path = |rest: &str| format!("{}.needs{rest}", join_key("tasks", &task.name));
    let list = match task.needs.count {
        NeedsCount::All => "",
        NeedsCount::Any => ".any",
        NeedsCount::AtLeast(_) => ".of",
    };
    let mut found: Vec<Need> = Vec::with_capacity(task.needs.of.len());
    let mut seen = BTreeMap::new();
    for (place, need) in task.needs.of.iter().enumerate() {
        let at = || path(&format!("{list}[{place}]"));
        if need.task == task.name {
            problems.add(|| Problem::new(Code::Needs, at(), format!("task `{}` needs itself", clip(&task.name))));
            continue;
        }
        let Some(&target) = index.get(need.task.as_str()) else {
            problems.add(|| unknown_task(&need.task, index, at()));
            continue;
        };
        if let Some(first) = seen.insert(target, place) {
            problems.add(|| {
                Problem::new(Code::Needs, at(), format!("task `{}` is needed twice", need.task))
                    .help(format!("it already stands at place {} of the list", first + 1))
            });
            continue;
        }
        found.push(Need { task: target, until: need.until });
    }
    let total = task.needs.of.len();
    match task.needs.count {
        NeedsCount::AtLeast(count) if count == 0 || count as usize > total => problems.add(|| {
            Problem::new(Code::Needs, path(".at_least"), format!("`at_least` {count} of {total} entries")).expected(
                match total {
                    0 => "entries in `of`".to_owned(),
                    1 => "1".to_owned(),
                    _ => format!("1 to {total}"),
                },
            )
        }),
        NeedsCount::Any if total == 0 => problems.add(|| {
            Problem::new(Code::Needs, path(".any"), "one of no tasks can never end").expected("at least one task")
        }),
        _ => {}
    }
    found
}

fn unknown_task(name: &str, index: &Index<'_>, path: String) -> Problem {
    Problem::new(Code::UnknownTask, path, format!("unknown task `{}`", clip(name)))
        .expected("the name of a task of this workflow")
        .nearest(nearest(name, index.keys().copied()))
}

/// A fallback is marked as one, named by somebody, and not its own.
fn check_fallbacks(draft: &Draft, links: &[Links], problems: &mut Problems) {
    let mut named = vec![false; draft.tasks.len()];
    for (task, links) in draft.tasks.iter().zip(links) {
        let Some(fallback) = links.fallback else { continue };
        let path = || format!("{}.on_failure.fallback", join_key("tasks", &task.name));
        let target = &draft.tasks[fallback.0 as usize];
        named[fallback.0 as usize] = true;
        if target.name == task.name {
            problems.add(|| Problem::new(Code::Fallback, path(), format!("task `{}` is its own fallback", task.name)));
        } else if target.when != When::Fallback {
            problems.add(|| {
                Problem::new(Code::Fallback, path(), format!("task `{}` is not marked as a fallback", target.name))
                    .help(format!("add `when: fallback` to task `{}`", target.name))
            });
        }
    }
    let all_resolved = problems.is_empty();
    for (task, named) in draft.tasks.iter().zip(named) {
        if task.when == When::Fallback && !named && all_resolved {
            problems.add(|| {
                let path = format!("{}.when", join_key("tasks", &task.name));
                Problem::new(
                    Code::Fallback,
                    path,
                    format!("task `{}` is nobody's fallback and would never run", task.name),
                )
                .help(format!("name it in another task: `on_failure: {{fallback: {}}}`", task.name))
            });
        }
    }
}

fn check_graph(draft: &Draft, index: &Index<'_>, links: &[Links], rules: &Rules, problems: &mut Problems) {
    let graph = Graph::new(links);
    let name = |task: u32| draft.tasks[task as usize].name.as_str();
    let chain = |tasks: &[u32]| {
        const SHOWN: usize = 6;
        let names: Vec<&str> = tasks.iter().map(|&task| name(task)).collect();
        match names.len() {
            0..=13 => names.join(" → "),
            length => [names[..SHOWN].join(" → "), "…".to_owned(), names[length - SHOWN..].join(" → ")].join(" → "),
        }
    };
    match graph.order() {
        Err(cycle) => problems.add(|| {
            let path = format!("{}.needs", join_key("tasks", name(cycle[0])));
            Problem::new(Code::Cycle, path, format!("tasks wait for each other in a circle: {}", chain(&cycle)))
                .on_key()
                .help("each arrow reads \"waits for\"; remove one of them")
        }),
        Ok(order) => {
            check_senders(links, &chain, name, problems);
            let deepest = graph.longest_chain(&order);
            if deepest.len() > rules.max_dependency_depth as usize {
                problems.add(|| {
                    let last = deepest.last().copied().unwrap_or_default();
                    let message = format!(
                        "a chain of {} tasks is longer than `max_dependency_depth` {}: {}",
                        deepest.len(),
                        rules.max_dependency_depth,
                        chain(&deepest)
                    );
                    Problem::new(Code::TooDeep, join_key("tasks", name(last)), message).on_key().help(
                        "let tasks that do not need each other run side by side, or raise the bound in `unknot.yaml`",
                    )
                });
            }
            references::check(draft, index, &graph, &order, problems);
        }
    }
}

/// Refuses a signal whose sender can start only after it has come.
fn check_senders<'d>(
    links: &[Links],
    chain: &impl Fn(&[u32]) -> String,
    name: impl Fn(u32) -> &'d str,
    problems: &mut Problems,
) {
    if links.iter().all(|links| links.senders.is_empty()) {
        return;
    }
    let Err(cycle) = Graph::with_senders(links).order() else { return };
    // Without senders there is no circle, so one of its arrows is from a signal to a sender.
    let is_sent = |pair: &&[u32]| links[pair[0] as usize].senders.contains(&TaskIndex(pair[1]));
    let waiting = cycle.windows(2).find(is_sent).map_or(cycle[0], |pair| pair[0]);
    problems.add(|| {
        let path = format!("{}.signal.from", join_key("tasks", name(waiting)));
        let message = format!("a signal is waited for by those who send it, in a circle: {}", chain(&cycle));
        Problem::new(Code::Cycle, path, message)
            .on_key()
            .help("each arrow reads \"waits for\"; let a task send it that does not need it, or remove a need")
    });
}

/// The validated form of a draft that passed every check.
fn build(draft: Draft, links: Vec<Links>) -> Stored {
    let tasks = draft.tasks.into_iter().zip(links).map(|(task, links)| build_task(task, links)).collect();
    Stored {
        hash: DefinitionHash("".into()),
        name: draft.name.into(),
        timeout: draft.timeout.unwrap_or(RUN_TIMEOUT),
        max_parallel: draft.max_parallel,
        inputs: draft.inputs,
        output: draft.output,
        on_deadlock: draft.on_deadlock,
        pending_stale: draft.pending_stale,
        workflow_stale: draft.workflow_stale,
        tasks,
    }
}

fn build_task(task: DraftTask, links: Links) -> TaskDef {
    let at_least = match task.needs.count {
        NeedsCount::All => links.needs.len() as u32,
        NeedsCount::Any => 1,
        NeedsCount::AtLeast(count) => count,
    };
    let on_failure = match (task.on_failure, links.fallback) {
        (DraftOnFailure::Fallback(_), Some(fallback)) => OnFailure::Fallback(fallback),
        (DraftOnFailure::Continue, _) => OnFailure::Continue,
        _ => OnFailure::Fail,
    };
    let mut kind = task.kind;
    if let TaskKind::Signal(signal) = &mut kind {
        signal.from = links.senders;
    }
    TaskDef {
        name: task.name.into(),
        kind,
        needs: Needs { at_least, of: links.needs },
        when: task.when,
        priority: task.priority,
        queue: task.queue.map(Into::into),
        timeout: task.timeout,
        queue_timeout: task.queue_timeout,
        heartbeat_timeout: task.heartbeat_timeout,
        retry: limits::retry(&task.retry),
        on_lost: task.on_lost,
        on_failure,
        cancel: limits::ladder(&task.cancel),
        env: task.env,
        cwd: task.cwd,
        resources: task.pools.into_iter().chain(task.locks.into_iter().map(|lock| (lock, 1))).collect(),
        acquires: task.acquires.map(|acquires| acquires.steps.into_iter().map(acquire).collect()),
        spawns: task.spawns.map(|spawns| spawns.into_iter().map(Into::into).collect()),
        limits: task.limits,
    }
}

fn acquire(step: DraftAcquire) -> BTreeMap<String, u32> {
    step.pools.into_iter().chain(step.locks.into_iter().map(|lock| (lock, 1))).collect()
}
