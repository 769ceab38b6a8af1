//! Templates of a task, rendered when it is granted: pending tasks hold no rendered text.

use crate::{
    TaskId,
    apply::{attempt::error, child::CHILDREN_MAX},
    effect::{HttpCall, Work},
    run::{Run, TaskError},
    step::Step,
    template::{Context, Renderer, TaskFacts, TemplateError},
    workflow::{Call, Child, Command, Definition, Http, TaskKind, When},
};
use serde_json::Value;
use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

/// What a task is to do, all templates rendered.
pub(crate) enum Rendered {
    /// A hand's work.
    Hand(Work),
    /// The brain's own: runs of another workflow, with what each is given.
    Runs(Vec<Value>),
}

impl Step<'_> {
    /// What a task's attempt is to do, all templates rendered.
    pub(crate) fn render(&self, id: TaskId) -> Result<Rendered, TaskError> {
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
                with_renderer(run, &definition, |renderer| renderer.condition(source))
                    .map_err(|problem| template_error("when", &problem))
            }
        }
    }
}

/// What a task's attempt is to do, all templates rendered.
pub(crate) fn render(run: &Run, definition: &Definition, id: TaskId) -> Result<Rendered, TaskError> {
    match &definition.task(id.index).kind {
        TaskKind::Workflow(child) => runs(child, run, definition).map(Rendered::Runs),
        _ => work(run, definition, id).map(Rendered::Hand),
    }
}

fn work(run: &Run, definition: &Definition, id: TaskId) -> Result<Work, TaskError> {
    let def = definition.task(id.index);
    let command = match &def.kind {
        TaskKind::Exec(command) => command,
        TaskKind::Http(http) => return with_renderer(run, definition, |renderer| request(http, renderer)),
        TaskKind::Worker(call) => {
            let input = with_renderer(run, definition, |renderer| value("input", &call.input, renderer))?;
            return Ok(Work::Handler(Call { handler: Arc::clone(&call.handler), input }));
        }
        TaskKind::Workflow(_) | TaskKind::Sleep(_) | TaskKind::Signal(_) | TaskKind::Noop => return Ok(Work::Noop),
    };
    with_renderer(run, definition, |renderer| {
        let mut text = |key: &dyn Fn() -> String, source: &str| {
            renderer.text(source).map_err(|problem| template_error(&key(), &problem))
        };
        let command = match command {
            Command::Argv(argv) => {
                let words = argv.iter().enumerate();
                let words = words.map(|(place, source)| text(&|| format!("exec[{place}]"), source));
                Command::Argv(words.collect::<Result<_, _>>()?)
            }
            Command::Shell(line) => Command::Shell(line.clone()),
        };
        let env = def
            .env
            .iter()
            .map(|(name, source)| text(&|| format!("env.{name}"), source).map(|value| (name.clone(), value)));
        Ok(Work::Exec {
            command,
            env: env.collect::<Result<_, _>>()?,
            cwd: def.cwd.as_deref().map(|source| text(&|| "cwd".to_owned(), source)).transpose()?,
            limits: def.limits.clone(),
        })
    })
}

/// What each run of a workflow task is given.
fn runs(child: &Child, run: &Run, definition: &Definition) -> Result<Vec<Value>, TaskError> {
    let Some(each) = &child.for_each else {
        return with_renderer(run, definition, |renderer| value("input", &child.input, renderer))
            .map(|input| vec![input]);
    };
    let items = with_renderer(run, definition, |renderer| value("for_each", &each.items, renderer))?;
    let Value::Array(items) = items else {
        return Err(error("template", &format!("`for_each` gives {}, expected a list", kind_of(&items)), None));
    };
    if items.len() > CHILDREN_MAX {
        let text = format!("`for_each` gives {} items; a task spawns {CHILDREN_MAX} runs at most", items.len());
        return Err(error("limit", &text, None));
    }
    let input = |item: &Value| {
        let item = item.to_string();
        with_item(run, definition, Some(&item), |renderer| value("input", &child.input, renderer))
    };
    items.iter().map(input).collect()
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// What a run that has ended gives the task that spawned it.
pub(crate) fn output(run: &Run, definition: &Definition) -> Result<Value, TaskError> {
    if let Some(source) = &definition.body.output {
        return with_renderer(run, definition, |renderer| value("output", source, renderer));
    }
    let told = run.indexed_tasks().filter_map(|(index, task)| {
        let output = task.output.as_ref().map(|output| output.value()).filter(|output| !output.is_null())?;
        Some((definition.task(index).name.to_string(), output))
    });
    Ok(Value::Object(told.collect()))
}

/// A request, rendered.
fn request(http: &Http, renderer: &mut Renderer<'_>) -> Result<Work, TaskError> {
    let mut headers = BTreeMap::new();
    let url = renderer.text(&http.url).map_err(|problem| template_error("http.url", &problem))?;
    for (name, source) in &http.headers {
        let value = renderer.text(source);
        headers
            .insert(name.clone(), value.map_err(|problem| template_error(&format!("http.headers.{name}"), &problem))?);
    }
    let body = http.body.as_ref().map(|body| value("http.body", body, renderer)).transpose()?;
    let (method, rules) = (http.method.clone(), http.rules.clone());
    Ok(Work::Http(Box::new(HttpCall { method, url, headers, body, rules })))
}

/// A value with all texts in it rendered; as deep as the workflow file may be.
fn value(key: &str, source: &Value, renderer: &mut Renderer<'_>) -> Result<Value, TaskError> {
    match source {
        Value::String(text) => renderer.value(text).map_err(|problem| template_error(key, &problem)),
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.map(|(place, item)| value(&format!("{key}[{place}]"), item, renderer)).collect()
        }
        Value::Object(map) => {
            let rendered =
                |(name, item): (&String, &Value)| Ok((name.clone(), value(&format!("{key}.{name}"), item, renderer)?));
            map.iter().map(rendered).collect::<Result<_, _>>().map(Value::Object)
        }
        plain => Ok(plain.clone()),
    }
}

fn with_renderer<T>(run: &Run, definition: &Definition, render: impl FnOnce(&mut Renderer<'_>) -> T) -> T {
    with_item(run, definition, None, render)
}

fn with_item<T>(
    run: &Run,
    definition: &Definition,
    item: Option<&str>,
    render: impl FnOnce(&mut Renderer<'_>) -> T,
) -> T {
    let run_id = run.id.to_string();
    let find = |name: &str| {
        let task = run.task(definition.find(name)?);
        Some(TaskFacts {
            status: task.status().word(),
            output: task.output.as_ref().map(|output| &*output.0),
            error: task.error.as_ref().and_then(|error| serde_json::to_string(error).ok()).map(Cow::Owned),
        })
    };
    let context = Context { input: &run.input.0, task: &find, run_id: &run_id, labels: &run.labels, item };
    render(&mut Renderer::new(context))
}

fn template_error(key: &str, problem: &TemplateError) -> TaskError {
    let help = problem.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
    error("template", &format!("`{key}`: {}{help}", problem.message), None)
}
