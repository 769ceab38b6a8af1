//! Rendering: the texts of one task, with what they share and what they may cost together.

use super::{
    Expression, LIBRARY, Name, Piece, TaskPart, Template, TemplateError, TemplateErrorKind, article, filters,
    is_template, scan, write,
};
use minijinja::{Value, value::ValueKind};
use std::{borrow::Cow, collections::BTreeMap};

/// Most bytes that the texts of one task may have together, counted by [`text_cost`]: half of what
/// Linux gives a new process for its arguments and variables, so nothing that could run is lost.
pub const TASK_TEXT_MAX: usize = 1024 * 1024;
/// Most templates of one task.
pub const TEMPLATES_MAX: usize = 1_000;
/// What all templates of a task may use together, ten times what one may.
const TASK_FUEL: u64 = 100_000;

/// What one text of a task counts: its bytes, the zero behind them and the pointer to them, as the
/// kernel counts it.
pub const fn text_cost(bytes: usize) -> usize {
    bytes + 9
}

/// What the templates of one task can see. Cheap to make: JSON is given as text, and read only if
/// a template names it.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The run's input, as JSON text.
    pub input: &'a str,
    /// Finds a task of the run by name.
    pub task: &'a dyn Fn(&str) -> Option<TaskFacts<'a>>,
    /// The run's id as printed.
    pub run_id: &'a str,
    /// The run's labels.
    pub labels: &'a BTreeMap<String, String>,
    /// The item that a task of a `for_each` stands for, as JSON text.
    pub item: Option<&'a str>,
}

/// What a template sees of a task.
#[derive(Clone, Debug)]
pub struct TaskFacts<'a> {
    /// Its status as the API prints it.
    pub status: &'a str,
    /// Its output as JSON text; none is null.
    pub output: Option<&'a str>,
    /// Why it failed, as JSON text; none is null.
    pub error: Option<Cow<'a, str>>,
}

/// Renders the templates of one task: reads what they name once, and holds them to one budget.
pub struct Renderer<'a> {
    context: Context<'a>,
    text_left: usize,
    fuel_left: u64,
    input: Option<Value>,
    item: Option<Value>,
    parts: BTreeMap<(String, &'static str), Value>,
}

impl<'a> Renderer<'a> {
    /// Begins to render the templates of a task.
    pub fn new(context: Context<'a>) -> Self {
        let (text_left, fuel_left) = (TASK_TEXT_MAX, TASK_FUEL);
        Self { context, text_left, fuel_left, input: None, item: None, parts: BTreeMap::new() }
    }

    /// Renders `source` to text: strings as they are, numbers plainly, lists and maps as JSON.
    ///
    /// A null is an error, like a missing name: it would hide a mistake in the middle of a text.
    ///
    /// # Errors
    /// What is wrong with the template, what failed, or that the texts of the task became too much.
    pub fn text(&mut self, source: &str) -> Result<String, TemplateError> {
        let text = if is_template(source) { self.rendered(source)? } else { source.to_owned() };
        self.charge(text.len())?;
        Ok(text)
    }

    /// Counts a text against what those of the task may have together.
    fn charge(&mut self, bytes: usize) -> Result<(), TemplateError> {
        self.text_left = self.text_left.checked_sub(text_cost(bytes)).ok_or_else(|| {
            let message = format!("the texts of the task are longer than {TASK_TEXT_MAX} bytes together");
            TemplateError::new(TemplateErrorKind::TooLarge, message).help("pass large values by a file")
        })?;
        Ok(())
    }

    /// Renders `source` to a JSON value: what is exactly one expression keeps the type of its value, null included;
    /// everything else is text.
    ///
    /// # Errors
    /// What is wrong with the template, what failed, or that the texts of the task became too much.
    pub fn value(&mut self, source: &str) -> Result<serde_json::Value, TemplateError> {
        if !is_template(source) {
            return self.text(source).map(serde_json::Value::String);
        }
        let template = Template { pieces: scan::template(source)? };
        let [Piece::Expression(expression)] = &template.pieces[..] else {
            return self.text(source).map(serde_json::Value::String);
        };
        let value = self.evaluate(&template, source.len())?.pop().unwrap_or_default();
        if value.is_undefined() {
            return Err(TemplateError::missing(expression.source));
        }
        let mut text = write::Bounded::new();
        write::json(&value, &mut text)?;
        let text = text.into_string();
        self.charge(text.len())?;
        read_value(&text)
    }

    /// Evaluates a condition, an expression without braces.
    ///
    /// # Errors
    /// What is wrong with it, or what failed; also if it gives anything but true or false.
    pub fn condition(&mut self, source: &str) -> Result<bool, TemplateError> {
        let template = Template { pieces: vec![Piece::Expression(scan::condition(source)?)] };
        let value = self.evaluate(&template, source.len())?.pop().unwrap_or_default();
        if value.is_undefined() {
            return Err(TemplateError::missing(source));
        }
        bool::try_from(value.clone()).ok().filter(|_| value.kind() == ValueKind::Bool).ok_or_else(|| {
            let given = article(value.kind());
            let message = format!("condition `{}` gave {given}, not true or false", crate::validate::clip(source));
            TemplateError::new(TemplateErrorKind::Failed, message)
                .help("compare it: `… == …`, `… is defined`, `… | length > 0`")
        })
    }

    fn rendered(&mut self, source: &str) -> Result<String, TemplateError> {
        let template = Template { pieces: scan::template(source)? };
        let mut values = self.evaluate(&template, source.len())?.into_iter();
        let mut text = write::Bounded::new();
        for piece in &template.pieces {
            match piece {
                Piece::Text(literal) => text.push(literal)?,
                Piece::Expression(expression) => {
                    let value = values.next().unwrap_or_default();
                    write::as_text(&value, expression.source, &mut text)?;
                }
            }
        }
        Ok(text.into_string())
    }

    /// The values of all expressions of a template, in order.
    ///
    /// They run as one list, so that they share one budget of fuel; the list's last item says how much
    /// of it they used.
    fn evaluate(&mut self, template: &Template<'_>, source_len: usize) -> Result<Vec<Value>, TemplateError> {
        let scope = self.scope(template)?;
        let mut values = match run(template.expressions(), &scope) {
            Ok(values) => values,
            Err(error) => return Err(blame(template, &scope, error)),
        };
        let used = values.pop().and_then(|used| u64::try_from(used).ok()).unwrap_or_default();
        self.fuel_left = self.fuel_left.checked_sub(used + reading_cost(source_len)).ok_or_else(|| {
            let message = "the templates of the task do more work together than one task may";
            TemplateError::new(TemplateErrorKind::TooLarge, message).help("prepare the values in a task of its own")
        })?;
        Ok(values)
    }

    /// The names that the template uses, with their values.
    fn scope(&mut self, template: &Template<'_>) -> Result<Value, TemplateError> {
        let mut tasks: BTreeMap<&str, BTreeMap<&'static str, Value>> = BTreeMap::new();
        let mut roots: BTreeMap<&'static str, Value> = BTreeMap::new();
        for name in template.names() {
            match name {
                Name::Task { task, part } => {
                    self.add_parts(&mut tasks, task, *part)?;
                    roots.insert("tasks", Value::UNDEFINED);
                }
                Name::Input(_) => {
                    roots.insert("input", once(&mut self.input, || read_json(Some(self.context.input)))?);
                }
                Name::Item if self.context.item.is_some() => {
                    roots.insert("item", once(&mut self.item, || read_json(self.context.item))?);
                }
                Name::Item => {}
                Name::Run => {
                    let labels = self.context.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
                    let id = Value::from(self.context.run_id);
                    roots.insert("run", Value::from_pairs([("id", id), ("labels", Value::from_pairs(labels))]));
                }
            }
        }
        if let Some(value) = roots.get_mut("tasks") {
            *value = Value::from_pairs(tasks.into_iter().map(|(task, parts)| (task, Value::from_pairs(parts))));
        }
        Ok(Value::from_pairs(roots))
    }

    /// Adds the named part of a task, read once however many templates name it.
    fn add_parts<'t>(
        &mut self,
        tasks: &mut BTreeMap<&'t str, BTreeMap<&'static str, Value>>,
        task: &'t str,
        part: TaskPart,
    ) -> Result<(), TemplateError> {
        for &word in part.words() {
            let key = (task.to_owned(), word);
            if !self.parts.contains_key(&key) {
                let Some(facts) = (self.context.task)(task) else { return Ok(()) };
                let value = match word {
                    "status" => Value::from(facts.status),
                    "output" => read_json(facts.output)?,
                    _ => read_json(facts.error.as_deref())?,
                };
                self.parts.insert(key.clone(), value);
            }
            tasks.entry(task).or_default().insert(word, self.parts[&key].clone());
        }
        Ok(())
    }
}

/// Runs expressions as one list, with the fuel that they used behind their values.
fn run<'t, 's: 't>(
    expressions: impl Iterator<Item = &'t Expression<'s>>,
    scope: &Value,
) -> Result<Vec<Value>, TemplateError> {
    let mut source = String::with_capacity(64);
    source.push('[');
    for expression in expressions {
        source.push('(');
        source.push_str(expression.source);
        source.push_str("),");
    }
    source.push_str("0|");
    source.push_str(filters::FUEL_USED);
    source.push(']');
    let from_library = |error| TemplateError::from_library(&error);
    let compiled = LIBRARY.compile_expression_owned(source).map_err(from_library)?;
    let list = compiled.eval(scope.clone()).map_err(from_library)?;
    Ok(list.try_iter().map_err(from_library)?.collect())
}

/// Finds the expression that failed. Those before it ran within the fuel of one template, so they
/// may run again; if the fuel itself ran out, nobody in particular is to blame.
fn blame(template: &Template<'_>, scope: &Value, error: TemplateError) -> TemplateError {
    let is_only_one = template.expressions().count() == 1;
    if error.kind == TemplateErrorKind::TooLarge {
        return error;
    }
    let failed = template.expressions().find_map(|expression| {
        let error = run(std::iter::once(expression), scope).err()?;
        Some(error.of(expression.source, is_only_one))
    });
    failed.unwrap_or(error)
}

/// What it takes to read a template, in units of fuel.
const fn reading_cost(source_len: usize) -> u64 {
    16 + source_len as u64 / 16
}

/// The value in `place`, made if there is none yet.
fn once(
    place: &mut Option<Value>,
    make: impl FnOnce() -> Result<Value, TemplateError>,
) -> Result<Value, TemplateError> {
    match place {
        Some(value) => Ok(value.clone()),
        None => make().map(|value| place.insert(value).clone()),
    }
}

fn read_json(text: Option<&str>) -> Result<Value, TemplateError> {
    match text {
        None => Ok(Value::from(())),
        Some(text) => read_value(text),
    }
}

fn read_value<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, TemplateError> {
    serde_json::from_str(text).map_err(|error| {
        TemplateError::new(TemplateErrorKind::Failed, format!("a value of the run is not valid JSON: {error}"))
    })
}
