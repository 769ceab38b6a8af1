//! Templates of a task, rendered when it is granted: pending tasks hold no rendered text.

use crate::{
    TaskId,
    apply::attempt::error,
    effect::Work,
    run::{Run, TaskError},
    step::Step,
    template::{self, Context, TaskFacts, TemplateError},
    workflow::{Command, Definition, TaskKind, When},
};
use std::borrow::Cow;

impl Step<'_> {
    /// What a task's attempt is to do, all templates rendered.
    pub(crate) fn render(&self, id: TaskId) -> Result<Work, TaskError> {
        let run = &self.state.runs[&id.run];
        render(run, &self.definition(id.run), id)
    }

    /// Whether a task whose needs are met is to run.
    pub(crate) fn condition(&self, id: TaskId) -> Result<bool, TaskError> {
        let definition = self.definition(id.run);
        match &definition.task(id.index).when {
            When::Always | When::Fallback => Ok(true),
            When::Expr(source) => {
                let run = &self.state.runs[&id.run];
                with_context(run, &definition, |context| template::eval_condition(source, context))
                    .map_err(|problem| template_error("when", &problem))
            }
        }
    }
}

/// What a task's attempt is to do, all templates rendered.
pub(crate) fn render(run: &Run, definition: &Definition, id: TaskId) -> Result<Work, TaskError> {
    let def = definition.task(id.index);
    let TaskKind::Exec(command) = &def.kind else { return Ok(Work::Noop) };
    with_context(run, definition, |context| {
        let text = |key: &str, source: &str| {
            template::render_text(source, context).map_err(|problem| template_error(key, &problem))
        };
        let command = match command {
            Command::Argv(argv) => {
                Command::Argv(argv.iter().map(|source| text("exec", source)).collect::<Result<_, _>>()?)
            }
            Command::Shell(line) => Command::Shell(line.clone()),
        };
        let env = def.env.iter().map(|(name, source)| {
            let key = format!("env.{name}");
            text(&key, source).map(|value| (name.clone(), value))
        });
        Ok(Work::Exec {
            command,
            env: env.collect::<Result<_, _>>()?,
            cwd: def.cwd.as_deref().map(|source| text("cwd", source)).transpose()?,
            limits: def.limits.clone(),
        })
    })
}

fn with_context<T>(run: &Run, definition: &Definition, render: impl FnOnce(&Context<'_>) -> T) -> T {
    let run_id = run.id.to_string();
    let find = |name: &str| {
        let task = run.task(definition.find(name)?);
        Some(TaskFacts {
            status: task.status().word(),
            output: task.output.as_ref().map(|output| &*output.0),
            error: task.error.as_ref().and_then(|error| serde_json::to_string(error).ok()).map(Cow::Owned),
        })
    };
    render(&Context { input: &run.input.0, task: &find, run_id: &run_id, labels: &run.labels, item: None })
}

fn template_error(key: &str, problem: &TemplateError) -> TaskError {
    error("template", &format!("`{key}`: {}", problem.message), None)
}
