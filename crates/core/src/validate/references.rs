//! Templates and conditions: whether each can be read, and names only what it can see.
//!
//! A template sees a task only if that task stands before its own, through `needs` or as the task
//! whose fallback it is; otherwise what it reads would depend on who was faster.

use super::{
    Index, Problem,
    draft::{Draft, DraftTask},
    graph::Graph,
    problem::{Code, Problems, clip, join_key},
    values,
};
use crate::{
    template::{Name, Template, TemplateError, TemplateErrorKind, is_template},
    validate::nearest,
    workflow::{Command, TaskKind, When},
};
use std::collections::BTreeMap;

/// Most tasks that templates may name from farther than their direct needs; each 64 of them cost a
/// pass over the workflow.
const FAR_NAMES_MAX: usize = 4_096;

/// A template of task `from` names task `to`, which is no direct need of its.
struct Far<'d> {
    from: u32,
    to: u32,
    place: Place<'d>,
}

/// Where in a task a template stands.
#[derive(Clone, Copy)]
enum Place<'d> {
    When,
    Argument(usize),
    /// One of the texts of a request or call, counted as [`values::texts`] lists them.
    Value(usize),
    /// One of the texts of a `for_each`, counted as [`values::item_texts`] lists them.
    Item(usize),
    Env(&'d str),
    Cwd,
}

pub(super) fn check(draft: &Draft, index: &Index<'_>, graph: &Graph, order: &[u32], problems: &mut Problems) {
    let mut far = Vec::new();
    for (from, task) in (0u32..).zip(&draft.tasks) {
        each_template(task, |place, source| {
            let parsed = match place {
                Place::When => Template::parse_condition(source),
                _ => Template::parse(source),
            };
            let template = match parsed {
                Ok(template) => template,
                Err(error) => return problems.add(|| from_template(error, place.path(task))),
            };
            for name in template.names() {
                match name {
                    Name::Task { task: named, .. } => match index.get(&**named) {
                        None => problems.add(|| unknown_task(named, index, place.path(task))),
                        Some(to) if graph.directly_before(to.0, from) => {}
                        Some(to) => far.push(Far { from, to: to.0, place }),
                    },
                    Name::Input(Some(named)) => check_input_name(draft, named, || place.path(task), problems),
                    Name::Item if matches!(place, Place::Value(_)) && values::for_each(task).is_some() => {}
                    Name::Item => problems.add(|| no_item(place.path(task))),
                    Name::Input(None) | Name::Run => {}
                }
            }
        });
    }
    check_far(draft, graph, order, &far, problems);
}

/// Calls `visit` with each text of a task that is a template or condition.
fn each_template<'d>(task: &'d DraftTask, mut visit: impl FnMut(Place<'d>, &'d str)) {
    if let When::Expr(condition) = &task.when {
        visit(Place::When, condition);
    }
    if let TaskKind::Exec(Command::Argv(arguments)) = &task.kind {
        for (place, argument) in arguments.iter().enumerate().filter(|(_, argument)| is_template(argument)) {
            visit(Place::Argument(place), argument);
        }
    }
    for (place, text) in values::templates(task) {
        visit(Place::Value(place), text);
    }
    for (place, (_, text)) in
        values::item_texts(task).into_iter().enumerate().filter(|(_, (_, text))| is_template(text))
    {
        visit(Place::Item(place), text);
    }
    for (name, value) in task.env.iter().filter(|(_, value)| is_template(value)) {
        visit(Place::Env(name), value);
    }
    if let Some(cwd) = task.cwd.as_deref().filter(|cwd| is_template(cwd)) {
        visit(Place::Cwd, cwd);
    }
}

/// Checks names that are no direct needs, 64 tasks to a pass.
fn check_far(draft: &Draft, graph: &Graph, order: &[u32], far: &[Far<'_>], problems: &mut Problems) {
    let mut uses: BTreeMap<u32, Vec<&Far<'_>>> = BTreeMap::new();
    for name in far {
        uses.entry(name.to).or_default().push(name);
    }
    let targets: Vec<u32> = uses.keys().copied().collect();
    for (group, batch) in targets.chunks(64).enumerate() {
        let decided = group * 64 < FAR_NAMES_MAX;
        let reached = if decided { graph.stand_before(batch, order) } else { Vec::new() };
        for (bit, target) in batch.iter().enumerate() {
            for name in &uses[target] {
                if !decided || reached[name.from as usize] >> bit & 1 == 0 {
                    problems.add(|| not_before(draft, name, decided));
                }
            }
        }
    }
}

fn not_before(draft: &Draft, name: &Far<'_>, decided: bool) -> Problem {
    let (task, named) = (&draft.tasks[name.from as usize], &draft.tasks[name.to as usize].name);
    let why = match decided {
        _ if name.from == name.to => format!("task `{named}` names itself"),
        true => format!("task `{named}` may still be running when `{}` starts", task.name),
        false => format!("more than {FAR_NAMES_MAX} tasks are named from farther than their direct needs"),
    };
    let problem = Problem::new(Code::TemplateName, name.place.path(task), why);
    if name.from == name.to {
        problem
    } else {
        problem.help(format!("add `{named}` to the `needs` of `{}`", task.name))
    }
}

fn check_input_name(draft: &Draft, named: &str, path: impl FnOnce() -> String, problems: &mut Problems) {
    if draft.inputs.is_empty() || draft.inputs.contains_key(named) {
        return;
    }
    problems.add(|| {
        Problem::new(Code::TemplateName, path(), format!("unknown input `{}`", clip(named)))
            .expected("an input that the workflow declares under `input`")
            .nearest(nearest(named, draft.inputs.keys().map(String::as_str)))
    });
}

fn no_item(path: String) -> Problem {
    Problem::new(Code::TemplateName, path, "`item` is seen only by the `input` of a task with `for_each`")
}

fn unknown_task(named: &str, index: &Index<'_>, path: String) -> Problem {
    Problem::new(Code::TemplateName, path, format!("the template names an unknown task `{}`", clip(named)))
        .expected("the name of a task of this workflow")
        .nearest(nearest(named, index.keys().copied()))
}

fn from_template(error: TemplateError, path: String) -> Problem {
    let code = match error.kind {
        TemplateErrorKind::Name => Code::TemplateName,
        TemplateErrorKind::HyphenPath => Code::HyphenPath,
        _ => Code::Template,
    };
    let problem = Problem::new(code, path, error.message);
    match error.help {
        Some(help) => problem.help(help),
        None => problem,
    }
}

fn below(parent: String, text: Option<&(String, &str)>) -> String {
    match text {
        Some((path, _)) => format!("{parent}.{path}"),
        None => parent,
    }
}

/// Checks the texts of what a run gives back: rendered when all tasks have ended, they see each of them.
pub(super) fn check_output(draft: &Draft, index: &Index<'_>, problems: &mut Problems) {
    let Some(output) = &draft.output else { return };
    for (path, text) in values::texts_of("output", output).into_iter().filter(|(_, text)| is_template(text)) {
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(error) => {
                problems.add(|| from_template(error, path));
                continue;
            }
        };
        for name in template.names() {
            match name {
                Name::Task { task, .. } if !index.contains_key(&**task) => {
                    problems.add(|| unknown_task(task, index, path.clone()));
                }
                Name::Input(Some(named)) => check_input_name(draft, named, || path.clone(), problems),
                Name::Item => problems.add(|| no_item(path.clone())),
                Name::Task { .. } | Name::Input(None) | Name::Run => {}
            }
        }
    }
}

impl Place<'_> {
    fn path(self, task: &DraftTask) -> String {
        let parent = join_key("tasks", &task.name);
        match self {
            Self::When => format!("{parent}.when"),
            Self::Argument(place) => format!("{parent}.exec[{place}]"),
            Self::Value(place) => below(parent, values::texts(task).get(place)),
            Self::Item(place) => below(parent, values::item_texts(task).get(place)),
            Self::Env(name) => join_key(&format!("{parent}.env"), name),
            Self::Cwd => format!("{parent}.cwd"),
        }
    }
}
