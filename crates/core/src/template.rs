//! Templates: expressions between `{{` and `}}`, nothing else.
//!
//! No statements, loops, macros, comments or functions; a closed list of filters of our own. What a
//! template may cost is bounded in every direction, because it runs on the only thread that
//! decides: the source at [`SOURCE_MAX`] bytes, the nesting and length of an expression (the
//! library recurses), its work and memory by fuel, its result at [`RESULT_MAX`] bytes.
//!
//! What a template names is known before it runs ([`Template::names`]): `tasks` is followed by a
//! task's name and never by a computed one. So a check can tell every wrong name, and a render
//! reads only what is named out of its [`Context`].

mod filters;
mod scan;
#[cfg(test)]
mod tests;
mod write;

pub use scan::{Name, TaskPart};

use minijinja::{Environment, UndefinedBehavior, Value};
use scan::{Expression, Piece};
use std::{borrow::Cow, collections::BTreeMap, sync::LazyLock};

/// Longest source, in bytes.
pub const SOURCE_MAX: usize = 4 * 1024;
/// Longest result, in bytes.
pub const RESULT_MAX: usize = 64 * 1024;
/// What one render may use: a unit is an instruction or 64 bytes made.
const FUEL: u64 = 10_000;

/// A template or condition that cannot be read, or that failed while it ran.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// What kind of failure.
    pub kind: TemplateErrorKind,
    /// What happened, a lowercase fragment.
    pub message: String,
    /// What to do, if there is something.
    pub help: Option<String>,
}

/// The kinds of failure of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateErrorKind {
    /// The source cannot be read; found by a check.
    Syntax,
    /// A name that templates never see; found by a check.
    Name,
    /// A hyphen in a dotted path; found by a check.
    HyphenPath,
    /// A value is missing where it was used.
    Missing,
    /// A bound was hit: source, fuel or result.
    TooLarge,
    /// The expression made no sense of its values.
    Failed,
}

/// What the templates of one task can see. Cheap to make: JSON is given as text, and read only if
/// the template names it.
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

/// A template that was read and passed every check that needs no values.
#[derive(Debug)]
pub struct Template<'s> {
    pieces: Vec<Piece<'s>>,
}

impl<'s> Template<'s> {
    /// Reads `source` and checks all that can be checked without values: syntax, bounds, filters
    /// and names.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(source: &'s str) -> Result<Self, TemplateError> {
        if !is_template(source) {
            return Ok(Self { pieces: vec![Piece::Text(source)] });
        }
        let template = Self { pieces: scan::template(source)? };
        for expression in template.expressions() {
            compile(expression.source)?;
        }
        Ok(template)
    }

    /// Reads a condition: one expression without braces.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse_condition(source: &'s str) -> Result<Self, TemplateError> {
        let expression = scan::condition(source)?;
        compile(expression.source)?;
        Ok(Self { pieces: vec![Piece::Expression(expression)] })
    }

    /// Everything that the template names, in its order.
    pub fn names(&self) -> impl Iterator<Item = &Name<'s>> {
        self.expressions().flat_map(|expression| &expression.names)
    }

    fn expressions(&self) -> impl Iterator<Item = &Expression<'s>> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Expression(expression) => Some(expression),
            Piece::Text(_) => None,
        })
    }
}

/// Whether `source` has anything to render; text without it stands for itself.
pub fn is_template(source: &str) -> bool {
    source.contains("{{") || source.contains("{%")
}

/// Renders `source` to text: strings as they are, numbers plainly, lists and maps as JSON.
///
/// A null is an error, like a missing name: it would hide a mistake in the middle of a text.
///
/// # Errors
/// What is wrong with the template, or what failed.
pub fn render_text(source: &str, context: &Context<'_>) -> Result<String, TemplateError> {
    if !is_template(source) {
        return Ok(source.to_owned());
    }
    let template = Template { pieces: scan::template(source)? };
    let mut values = evaluate(&template, context)?.into_iter();
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

/// Renders `source` to JSON: exactly one `{{ expr }}` keeps its type, anything else is a string.
///
/// # Errors
/// What is wrong with the template, or what failed.
pub fn render_value(source: &str, context: &Context<'_>) -> Result<serde_json::Value, TemplateError> {
    if is_template(source) {
        let template = Template { pieces: scan::template(source)? };
        if let [Piece::Expression(expression)] = template.pieces.as_slice() {
            let value = evaluate(&template, context)?.pop().unwrap_or_default();
            return write::as_json(&value, expression.source);
        }
    }
    render_text(source, context).map(serde_json::Value::String)
}

/// Evaluates a condition, an expression without braces.
///
/// # Errors
/// What is wrong with it, or what failed; also if it gives anything but true or false.
pub fn eval_condition(source: &str, context: &Context<'_>) -> Result<bool, TemplateError> {
    let template = Template { pieces: vec![Piece::Expression(scan::condition(source)?)] };
    let value = evaluate(&template, context)?.pop().unwrap_or_default();
    if value.is_undefined() {
        return Err(TemplateError::missing(source));
    }
    bool::try_from(value.clone()).ok().filter(|_| value.kind() == minijinja::value::ValueKind::Bool).ok_or_else(|| {
        TemplateError::new(
            TemplateErrorKind::Failed,
            format!("condition `{}` gave {}, not true or false", crate::validate::clip(source), article(value.kind())),
        )
        .help("compare it: `… == …`, `… is defined`, `… | length > 0`")
    })
}

/// The values of all expressions of a template, in order.
///
/// They run as one list, so that they share one budget of fuel.
fn evaluate(template: &Template<'_>, context: &Context<'_>) -> Result<Vec<Value>, TemplateError> {
    let mut source = String::with_capacity(64);
    source.push('[');
    for expression in template.expressions() {
        source.push('(');
        source.push_str(expression.source);
        source.push_str("),");
    }
    source.push(']');
    let compiled = LIBRARY.compile_expression_owned(source).map_err(|error| TemplateError::from_library(&error))?;
    let list = compiled.eval(scope(template, context)?).map_err(|error| {
        let only = template.expressions().next().filter(|_| template.expressions().count() == 1);
        TemplateError::from_library(&error).within(only.map(|expression| expression.source))
    })?;
    Ok(list.try_iter().map_err(|error| TemplateError::from_library(&error))?.collect())
}

/// The names that the template uses, with their values.
fn scope(template: &Template<'_>, context: &Context<'_>) -> Result<Value, TemplateError> {
    let mut tasks: BTreeMap<&str, Value> = BTreeMap::new();
    let mut roots: BTreeMap<&'static str, Value> = BTreeMap::new();
    for name in template.names() {
        match name {
            Name::Task { task, .. } => {
                if let (false, Some(facts)) = (tasks.contains_key(&**task), (context.task)(task)) {
                    tasks.insert(task, facts.to_value()?);
                }
                roots.insert("tasks", Value::UNDEFINED);
            }
            Name::Input(_) if !roots.contains_key("input") => {
                roots.insert("input", read_json(Some(context.input))?);
            }
            Name::Item => {
                if let Some(item) = context.item {
                    roots.insert("item", read_json(Some(item))?);
                }
            }
            Name::Run => {
                let labels =
                    Value::from_pairs(context.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())));
                roots.insert("run", Value::from_pairs([("id", Value::from(context.run_id)), ("labels", labels)]));
            }
            Name::Input(_) => {}
        }
    }
    if let Some(value) = roots.get_mut("tasks") {
        *value = Value::from_pairs(tasks);
    }
    Ok(Value::from_pairs(roots))
}

impl TaskFacts<'_> {
    fn to_value(&self) -> Result<Value, TemplateError> {
        Ok(Value::from_pairs([
            ("status", Value::from(self.status)),
            ("output", read_json(self.output)?),
            ("error", read_json(self.error.as_deref())?),
        ]))
    }
}

fn read_json(text: Option<&str>) -> Result<Value, TemplateError> {
    match text {
        None => Ok(Value::from(())),
        Some(text) => serde_json::from_str(text).map_err(|error| {
            TemplateError::new(TemplateErrorKind::Failed, format!("a value of the run is not valid JSON: {error}"))
        }),
    }
}

fn compile(source: &str) -> Result<(), TemplateError> {
    LIBRARY.compile_expression(source).map(|_| ()).map_err(|error| TemplateError::from_library(&error))
}

/// The library, set up once and never changed: nothing of its own is switched on but operators.
static LIBRARY: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut library = Environment::empty();
    library.set_fuel(Some(FUEL));
    library.set_undefined_behavior(UndefinedBehavior::Strict);
    filters::register(&mut library);
    library
});

impl TemplateError {
    fn new(kind: TemplateErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn missing(expression: &str) -> Self {
        Self::new(TemplateErrorKind::Missing, format!("`{}` is missing", crate::validate::clip(expression)))
            .help("`… | default(\"…\")` gives a value for that case")
    }

    fn within(self, expression: Option<&str>) -> Self {
        match (self.kind, expression) {
            (TemplateErrorKind::Missing, Some(expression)) => Self::missing(expression),
            _ => self,
        }
    }

    fn from_library(error: &minijinja::Error) -> Self {
        use minijinja::ErrorKind as Library;
        let detail = error.detail().map(str::to_owned).unwrap_or_else(|| error.kind().to_string());
        match error.kind() {
            Library::OutOfFuel => {
                Self::new(TemplateErrorKind::TooLarge, "the expression does more work than one template may".to_owned())
                    .help("prepare the value in a task of its own")
            }
            Library::UndefinedError => {
                Self::new(TemplateErrorKind::Missing, "a value that the expression uses is missing")
                    .help("`… | default(\"…\")` gives a value for that case")
            }
            Library::SyntaxError | Library::BadEscape => Self::new(TemplateErrorKind::Syntax, detail),
            _ => Self::new(TemplateErrorKind::Failed, detail),
        }
    }
}

/// A kind of value with its article, for messages.
fn article(kind: minijinja::value::ValueKind) -> &'static str {
    use minijinja::value::ValueKind as Kind;
    match kind {
        Kind::Undefined => "nothing",
        Kind::None => "null",
        Kind::Bool => "a boolean",
        Kind::Number => "a number",
        Kind::String => "a string",
        Kind::Seq | Kind::Iterable => "a list",
        Kind::Map => "a map",
        _ => "a value of no JSON type",
    }
}
