//! Templates: expressions between `{{` and `}}`, nothing else.
//!
//! No statements, loops, macros, comments or functions; a closed list of filters of our own. What a
//! template may cost is bounded in every direction, because it runs on the only thread that
//! decides: the source at [`SOURCE_MAX`] bytes, the nesting and length of an expression (the
//! library recurses), its work and memory by fuel, its result at [`RESULT_MAX`] bytes. What all
//! templates of one task may cost together is bounded by its [`Renderer`].
//!
//! What a template names is known before it runs ([`Template::names`]): `tasks` is followed by a
//! task's name and never by a computed one. So a check can tell every wrong name, and a render
//! reads only what is named out of its [`Context`], each part once for the whole task.

mod filters;
mod render;
mod scan;
#[cfg(test)]
mod tests;
mod write;

pub use render::{Context, Renderer, TASK_TEXT_MAX, TEMPLATES_MAX, TaskFacts, text_cost};
pub use scan::{Name, TaskPart};

use minijinja::{Environment, UndefinedBehavior};
use scan::{Expression, Piece};
use std::sync::LazyLock;

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

    /// Whether it is one expression and nothing else, so that what it gives keeps its type.
    pub(crate) fn is_one_expression(&self) -> bool {
        matches!(self.pieces[..], [Piece::Expression(_)])
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

    /// The same, saying which expression of its text it was.
    fn of(self, expression: &str, is_only_one: bool) -> Self {
        match self.kind {
            TemplateErrorKind::Missing => Self::missing(expression),
            _ if is_only_one => self,
            _ => Self { message: format!("`{}`: {}", crate::validate::clip(expression), self.message), ..self },
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
