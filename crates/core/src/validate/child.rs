//! Rules of child runs and of what they give back, and of who sends a signal.

use super::{
    Index, Problem,
    draft::{Draft, DraftTask},
    limits, names,
    problem::{Code, Problems, clip, join_key},
    unknown_task, values,
};
use crate::{
    id::TaskIndex,
    template::{TASK_TEXT_MAX, TEMPLATES_MAX, Template, is_template, text_cost},
    workflow::{Child, TaskKind},
};
use serde_json::Value;
use std::collections::BTreeSet;

/// Most runs of one `for_each` that are under way at once.
const CHILDREN_PARALLEL_MAX: u32 = 10_000;

pub(super) fn check(task: &DraftTask, child: &Child, problems: &mut Problems) {
    let path = |rest: &str| format!("{}.{rest}", join_key("tasks", &task.name));
    names::workflow_at(&child.workflow, || path("workflow"), problems);
    let is_one_expression = |text: &str| Template::parse(text).map_or(true, |template| template.is_one_expression());
    match &child.input {
        Value::Object(_) => {}
        Value::String(text) if is_one_expression(text) => {}
        other => problems.add(|| {
            Problem::new(Code::BadText, path("input"), format!("`{}` is no input of a run", clip(&other.to_string())))
                .expected("a map, or one `{{ … }}` that gives a map")
        }),
    }
    let Some(each) = &child.for_each else { return };
    if let Value::String(text) = &each.items
        && !is_one_expression(text)
    {
        problems.add(|| {
            Problem::new(Code::BadText, path("for_each"), format!("`{}` gives no list", clip(text)))
                .expected("a list, or one `{{ … }}` that gives a list")
        });
    }
    if let Some(most) = each.max_parallel.filter(|most| !(1..=CHILDREN_PARALLEL_MAX).contains(most)) {
        problems.add(|| {
            Problem::new(Code::Range, path("max_parallel"), format!("`max_parallel` {most} is out of range"))
                .expected(format!("1 to {CHILDREN_PARALLEL_MAX}"))
        });
    }
}

/// What the brain renders of a run's `output` in one step is bounded as the texts of a task are.
pub(super) fn check_output(draft: &Draft, problems: &mut Problems) {
    let Some(output) = &draft.output else { return };
    let texts = values::texts_of("output", output);
    let bytes = output.to_string().len() + texts.iter().map(|(_, text)| text_cost(text.len())).sum::<usize>();
    if bytes > TASK_TEXT_MAX {
        problems.add(|| {
            Problem::new(Code::Range, "output", format!("`output` has {bytes} bytes"))
                .on_key()
                .expected(format!("at most {TASK_TEXT_MAX}, its texts counted twice and 9 for each"))
        });
    }
    let templates = texts.iter().filter(|(_, text)| is_template(text)).count();
    if templates > TEMPLATES_MAX {
        problems.add(|| {
            Problem::new(Code::Template, "output", format!("`output` has {templates} templates"))
                .on_key()
                .expected(format!("at most {TEMPLATES_MAX}"))
        });
    }
}

/// The lengths that a workflow sets for the monitor.
pub(super) fn check_monitor(draft: &Draft, problems: &mut Problems) {
    for (key, length) in [("pending_stale", draft.pending_stale), ("workflow_stale", draft.workflow_stale)] {
        if let Some(length) = length {
            limits::check_length(key, length, limits::Zero::Refused, problems);
        }
    }
}

/// Finds the tasks that send a signal. Whoever sleeps, or waits for a signal, sends none.
pub(super) fn senders(draft: &Draft, task: &DraftTask, index: &Index<'_>, problems: &mut Problems) -> Vec<TaskIndex> {
    let mut found = Vec::with_capacity(task.senders.len());
    let mut seen = BTreeSet::new();
    for (place, name) in task.senders.iter().enumerate() {
        let at = || format!("{}.signal.from[{place}]", join_key("tasks", &task.name));
        let refused = |why: String| Problem::new(Code::Needs, at(), why);
        let Some(&sender) = index.get(name.as_str()) else {
            problems.add(|| unknown_task(name, index, at()));
            continue;
        };
        if !seen.insert(sender) {
            problems.add(|| refused(format!("task `{}` sends it already", clip(name))).help("name it once"));
        } else if name == &task.name {
            problems.add(|| refused(format!("task `{}` would send itself what it waits for", clip(name))));
        } else if matches!(draft.tasks[sender.0 as usize].kind, TaskKind::Sleep(_) | TaskKind::Signal(_)) {
            problems.add(|| {
                refused(format!("task `{}` only waits and sends nothing", clip(name)))
                    .expected("a task that does something while it runs, such as `exec`")
            });
        } else {
            found.push(sender);
        }
    }
    found
}
