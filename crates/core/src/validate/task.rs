//! Rules that one task keeps by itself: its command, environment, folder and queue.

use super::{
    Problem, child,
    draft::DraftTask,
    http, names,
    problem::{Code, Problems, clip, join_key},
    values,
};
use crate::{
    template::{TASK_TEXT_MAX, TEMPLATES_MAX, is_template, text_cost},
    workflow::{Command, TaskKind},
};

pub(super) fn check(task: &DraftTask, problems: &mut Problems, warnings: &mut Problems) {
    let path = |rest: &str| format!("{}.{rest}", join_key("tasks", &task.name));
    match &task.kind {
        TaskKind::Exec(Command::Argv(arguments)) => check_arguments(task, arguments, problems),
        TaskKind::Exec(Command::Shell(line)) => check_line(task, line, problems),
        TaskKind::Http(request) => http::check(task, request, problems),
        TaskKind::Worker(call) => names::check_value(&call.handler, "handler", || path("worker"), problems),
        TaskKind::Signal(signal) => {
            let at = || path(if task.senders.is_empty() { "signal" } else { "signal.name" });
            names::check_value(&signal.name, "signal", at, problems);
        }
        TaskKind::Workflow(started) => child::check(task, started, problems),
        TaskKind::Sleep(_) | TaskKind::Noop => {}
    }
    for (name, value) in &task.env {
        let at = || join_key(&path("env"), name);
        if !is_variable(name) {
            problems.add(|| {
                Problem::new(Code::Name, at(), format!("`{}` is no name for a variable", clip(name)))
                    .on_key()
                    .expected("letters, digits and `_`, not beginning with a digit")
            });
        }
        no_nul(value, at, problems);
    }
    if let Some(cwd) = &task.cwd {
        no_nul(cwd, || path("cwd"), problems);
        if cwd.is_empty() {
            problems.add(|| {
                Problem::new(Code::BadText, path("cwd"), "an empty folder name").expected("a path, such as `./work`")
            });
        }
    }
    check_amount(task, problems);
    if let Some(queue) = &task.queue {
        names::check_value(queue, "queue", || path("queue"), problems);
    }
    if task.limits.cpu_cores.is_some() {
        warnings.add(|| {
            Problem::new(
                Code::MayNotHold,
                path("limits.cpu"),
                "`cpu` holds only where control groups (cgroup v2) are delegated",
            )
            .help("elsewhere the attempt runs and records `limit not enforced`")
        });
    }
}

/// What the brain renders of a task in one step, and the kernel takes in one call, is bounded.
fn check_amount(task: &DraftTask, problems: &mut Problems) {
    let command: &[String] = match &task.kind {
        TaskKind::Exec(Command::Argv(arguments)) => arguments,
        TaskKind::Exec(Command::Shell(line)) => std::slice::from_ref(line),
        TaskKind::Http(_)
        | TaskKind::Worker(_)
        | TaskKind::Workflow(_)
        | TaskKind::Sleep(_)
        | TaskKind::Signal(_)
        | TaskKind::Noop => &[],
    };
    let mut values = values::texts(task);
    values.extend(values::item_texts(task));
    let own = || command.iter().chain(task.env.values()).chain(&task.cwd).map(String::as_str);
    let texts = || own().chain(values.iter().map(|(_, text)| *text));
    let names: usize = task.env.keys().map(String::len).sum();
    let bytes = names + values::other_bytes(task) + texts().map(|text| text_cost(text.len())).sum::<usize>();
    let path = || join_key("tasks", &task.name);
    if bytes > TASK_TEXT_MAX {
        problems.add(|| {
            let message = format!("the texts of task `{}` have {bytes} bytes together", clip(&task.name));
            Problem::new(Code::Range, path(), message)
                .on_key()
                .expected(format!(
                    "at most {TASK_TEXT_MAX} in `exec`, `http`, `input`, `for_each`, `env` and `cwd`, 9 for each text included"
                ))
                .help("put long text into a file that the task reads")
        });
    }
    let templates = texts().filter(|text| is_template(text)).count();
    if templates > TEMPLATES_MAX {
        problems.add(|| {
            let message = format!("task `{}` has {templates} templates", clip(&task.name));
            Problem::new(Code::Template, path(), message).on_key().expected(format!("at most {TEMPLATES_MAX}"))
        });
    }
}

fn check_arguments(task: &DraftTask, arguments: &[String], problems: &mut Problems) {
    let path = || format!("{}.exec", join_key("tasks", &task.name));
    if arguments.first().is_none_or(|program| program.is_empty()) {
        problems.add(|| {
            Problem::new(Code::BadText, path(), "no program to run")
                .expected("a list such as `[\"python3\", \"fetch.py\"]`")
        });
    }
    for (place, argument) in arguments.iter().enumerate() {
        no_nul(argument, || format!("{}[{place}]", path()), problems);
    }
}

/// A line for the shell never has templates: what a value contains would be run.
fn check_line(task: &DraftTask, line: &str, problems: &mut Problems) {
    let path = || format!("{}.exec", join_key("tasks", &task.name));
    if line.trim().is_empty() {
        problems.add(|| {
            Problem::new(Code::BadText, path(), "an empty command").expected("a line for the shell, or a list")
        });
    }
    if is_template(line) {
        problems.add(|| {
            Problem::new(Code::ShellTemplate, path(), "a template in a line for the shell would run whatever its value contains")
                .help("pass it as a variable: `env: {VALUE: \"{{ … }}\"}` and `\"$VALUE\"` in the line; or write the command as a list")
        });
    }
    no_nul(line, path, problems);
}

fn no_nul(text: &str, path: impl FnOnce() -> String, problems: &mut Problems) {
    if text.contains('\0') {
        problems.add(|| Problem::new(Code::BadText, path(), "text with a zero byte cannot be given to a process"));
    }
}

fn is_variable(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && name.bytes().all(plain) && !name.as_bytes()[0].is_ascii_digit()
}
