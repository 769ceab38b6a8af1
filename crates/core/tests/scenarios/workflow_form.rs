//! The small text form of workflows in stories.
//!
//! ```text
//! workflow flow timeout 1h max_parallel 2 pending_stale 1m workflow_stale 10m
//!   task a
//!   task b needs a,c priority low queue slow pools render:2 locks disk retry 3 backoff 2s
//!   task c needs any(a,b) | 2(a,b,d) | a:finished
//!   task d sleep 10s
//!   task e exec "echo {{ tasks.a.output.n }}" when "tasks.a.output.n > 1"
//!   task f http "http://host/{{ input.a }}" header x-run "{{ run.id }}" body {"a":"{{ input.a }}"}
//!   task g worker shape input {"a":"{{ input.a }}"}
//!   task h signal approve timeout 2h
//!   tasks leaf 5000 needs a
//!   tasks lane 100 queue q*
//! ```
//!
//! A task that says nothing is an `exec` of `true`. Everything goes through the core's own check.

use crate::words::{Words, length};
use std::{collections::BTreeMap, sync::Arc};
use unknot_core::{
    Millis,
    validate::{self, Draft, DraftNeed, DraftNeeds, DraftOnFailure, DraftTask, NeedsCount, Rules},
    workflow::{
        Await, Call, Child, Command, Definition, DefinitionHash, ForEach, Http, HttpRules, OnChildFailure, OnLost,
        Priority, TaskKind, Until, When,
    },
};

/// Reads `workflow …` and its task lines.
pub(crate) fn read<'l>(head: &str, tasks: impl Iterator<Item = &'l str>, pools: &[(String, u32)]) -> Arc<Definition> {
    let mut draft = head_of(head);
    for line in tasks {
        tasks_of(line, &mut draft.tasks);
    }
    let rules = Rules { pools: pools.iter().cloned().collect(), ..Rules::default() };
    let hash = format!("hash-of-{}", draft.name);
    let checked = validate::check(draft, &rules).unwrap_or_else(|problems| panic!("{head}: {problems:?}"));
    let mut body = checked.definition.body;
    body.hash = DefinitionHash(hash.into());
    Arc::new(Definition::new(body))
}

fn head_of(line: &str) -> Draft {
    let mut words = Words::of(line);
    assert_eq!(words.word("`workflow`"), "workflow");
    let mut draft = Draft { name: words.word("the workflow's name"), ..Draft::default() };
    while let Some(key) = words.next() {
        match key.as_str() {
            "timeout" => draft.timeout = Some(words.length("timeout")),
            "max_parallel" => draft.max_parallel = Some(words.number("max_parallel")),
            "pending_stale" => draft.pending_stale = Some(words.length("pending_stale")),
            "workflow_stale" => draft.workflow_stale = Some(words.length("workflow_stale")),
            _ => panic!("a workflow has no `{key}`"),
        }
    }
    draft
}

fn tasks_of(line: &str, tasks: &mut Vec<DraftTask>) {
    let mut words = Words::of(line);
    match words.word("`task`").as_str() {
        "task" => {
            let name = words.word("the task's name");
            tasks.push(task(name, words));
        }
        "tasks" => {
            let name = words.word("the tasks' name");
            let count: u32 = words.number("how many");
            let model = task(name.clone(), words);
            tasks.extend((0..count).map(|index| DraftTask {
                name: format!("{name}{index}"),
                // `queue q*`: one for each.
                queue: model.queue.as_ref().map(|queue| queue.replace('*', &index.to_string())),
                ..model.clone()
            }));
        }
        other => panic!("`{other}` is neither `task` nor `tasks`"),
    }
}

fn task(name: String, mut words: Words) -> DraftTask {
    let mut task = DraftTask::new(name, TaskKind::Exec(Command::Argv(vec!["true".to_owned()])));
    while let Some(key) = words.next() {
        match key.as_str() {
            "exec" => task.kind = TaskKind::Exec(Command::Argv(vec![words.word("a command")])),
            "http" => task.kind = TaskKind::Http(Box::new(request(words.word("an address")))),
            "body" => {
                let TaskKind::Http(http) = &mut task.kind else { panic!("a `body` follows an `http`") };
                http.body = Some(serde_json::from_str(&words.word("JSON")).expect("JSON"));
            }
            "header" => {
                let TaskKind::Http(http) = &mut task.kind else { panic!("a `header` follows an `http`") };
                let name = words.word("a header");
                http.headers.insert(name, words.word("its value"));
            }
            "worker" => {
                let (handler, input) = (words.word("a handler").into(), serde_json::json!({}));
                task.kind = TaskKind::Worker(Call { handler, input });
            }
            "input" => {
                let input = serde_json::from_str(&words.word("JSON")).expect("JSON");
                match &mut task.kind {
                    TaskKind::Worker(call) => call.input = input,
                    TaskKind::Workflow(child) => child.input = input,
                    _ => panic!("an `input` follows a `worker` or a `workflow`"),
                }
            }
            "noop" => task.kind = TaskKind::Noop,
            "signal" => task.kind = TaskKind::Signal(Await { name: words.word("a signal").into(), from: Vec::new() }),
            "from" => task.senders = list(&words.word("tasks")).map(str::to_owned).collect(),
            "workflow" => {
                task.kind = TaskKind::Workflow(Box::new(Child {
                    workflow: words.word("a workflow").into(),
                    input: serde_json::json!({}),
                    detached: false,
                    on_child_failure: OnChildFailure::Fail,
                    for_each: None,
                }))
            }
            "each" | "parallel" | "detached" | "goes_on" => {
                let TaskKind::Workflow(child) = &mut task.kind else { panic!("`{key}` follows a `workflow`") };
                match key.as_str() {
                    "detached" => child.detached = true,
                    "goes_on" => child.on_child_failure = OnChildFailure::Continue,
                    "each" => {
                        let items = serde_json::from_str(&words.word("a list")).expect("JSON");
                        child.for_each = Some(ForEach { items, max_parallel: None });
                    }
                    _ => {
                        let each = child.for_each.as_mut().expect("`parallel` follows `each`");
                        each.max_parallel = Some(words.number("how many"));
                    }
                }
            }
            "sleep" => task.kind = TaskKind::Sleep(words.length("sleep")),
            "needs" => task.needs = needs(&words.word("needs")),
            "when" => task.when = When::Expr(words.word("an expression")),
            "fallback" => task.when = When::Fallback,
            "priority" => task.priority = priority(&words.word("priority")),
            "queue" => task.queue = Some(words.word("queue")),
            "timeout" => task.timeout = Some(words.length("timeout")),
            "heartbeat" => task.heartbeat_timeout = Some(words.length("heartbeat")),
            "queue_timeout" => task.queue_timeout = Some(words.length("queue_timeout")),
            "retry" => task.retry.attempts = Some(words.number("retry")),
            "backoff" => task.retry.first = Some(words.length("backoff")),
            "factor" => task.retry.factor = Some(words.number("factor")),
            "cap" => task.retry.max = Some(words.length("cap")),
            "jitter" => task.retry.jitter = Some(words.number("jitter")),
            "on_exits" => task.retry.on_exits = Some(list(&words.word("exits")).map(number).collect()),
            "on_lost" => task.on_lost = on_lost(&words.word("on_lost")),
            "on_failure" => task.on_failure = on_failure(&words.word("on_failure")),
            "pools" => task.pools = list(&words.word("pools")).map(units).collect(),
            "locks" => task.locks = list(&words.word("locks")).map(str::to_owned).collect(),
            "told" => task.cancel.told = Some(length(&words.word("told"))),
            "env" => {
                let name = words.word("a variable");
                task.env.insert(name, words.word("its value"));
            }
            _ => panic!("a task has no `{key}`"),
        }
    }
    task
}

fn request(url: String) -> Http {
    let rules = HttpRules {
        connect: Millis(1_000),
        headers: Millis(1_000),
        first_byte: Millis(1_000),
        gap: Millis(1_000),
        body_bytes_max: 1_000,
        redirects_max: 5,
        expect: Vec::new(),
        describes: false,
    };
    Http { method: "POST".to_owned(), url, headers: BTreeMap::new(), body: None, rules }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|entry| !entry.is_empty())
}

fn number(text: &str) -> i32 {
    text.parse().unwrap_or_else(|_| panic!("not a number: `{text}`"))
}

fn units(text: &str) -> (String, u32) {
    let (name, units) = text.split_once(':').unwrap_or((text, "1"));
    (name.to_owned(), units.parse().unwrap_or_else(|_| panic!("not a number of units: `{text}`")))
}

fn needs(text: &str) -> DraftNeeds {
    let (count, inside) = match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        None => (NeedsCount::All, text),
        Some(("any", inside)) => (NeedsCount::Any, inside),
        Some((least, inside)) => (NeedsCount::AtLeast(units(&format!("x:{least}")).1), inside),
    };
    let need = |entry: &str| match entry.split_once(':') {
        None => DraftNeed { task: entry.to_owned(), until: Until::Succeeded },
        Some((task, "finished")) => DraftNeed { task: task.to_owned(), until: Until::Finished },
        Some((_, until)) => panic!("a need is until `finished`, not `{until}`"),
    };
    DraftNeeds { count, of: list(inside).map(need).collect() }
}

fn priority(word: &str) -> Priority {
    match word {
        "high" => Priority::High,
        "medium" => Priority::Medium,
        "low" => Priority::Low,
        _ => panic!("no priority: `{word}`"),
    }
}

fn on_lost(word: &str) -> OnLost {
    match word {
        "retry" => OnLost::Retry,
        "fail" => OnLost::Fail,
        "hold" => OnLost::Hold,
        _ => panic!("no policy for losses: `{word}`"),
    }
}

fn on_failure(word: &str) -> DraftOnFailure {
    match word {
        "fail" => DraftOnFailure::Fail,
        "continue" => DraftOnFailure::Continue,
        task => DraftOnFailure::Fallback(task.to_owned()),
    }
}
