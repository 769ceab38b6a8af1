//! How a typed value is read from a tree, and described as JSON Schema, by the same code.
//!
//! A [`Record`] lists its keys once, each with its type and its documentation. Run over a map, the
//! list reads it and tells what is wrong; run over nothing, it writes the schema. So the schema
//! that editors complete from cannot say anything else than what the reader takes.

mod fields;
mod units;
mod values;

pub(crate) use fields::{Definitions, Fields, Record, record_schema};
pub use units::{Duration, Moment, Size};
pub use values::Text;
pub(crate) use values::{Table, read_word, text_of, word_schema};

use crate::{
    document::{Node, ScalarKind, Value},
    report::{Code, Diagnostic, PROBLEMS_MAX, Report},
    source::{Source, Span},
};

/// A type that stands in a file.
pub(crate) trait Shape: Sized {
    /// Reads it; if it is not there in the right form, the reader is told and nothing is given.
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self>;

    /// Describes it as JSON Schema.
    fn schema(definitions: &mut Definitions) -> serde_json::Value;
}

/// Collects problems while a tree is read.
pub(crate) struct Reader<'s> {
    source: &'s Source,
    path: Vec<String>,
    problems: Vec<(Span, Diagnostic)>,
}

impl<'s> Reader<'s> {
    pub(crate) fn new(source: &'s Source) -> Self {
        Self { source, path: Vec::new(), problems: Vec::new() }
    }

    /// What was read, or a report if anything was wrong.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Report> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(self.source.report(self.problems)),
        }
    }

    /// Tells a problem at the current path.
    pub(crate) fn tell(&mut self, span: Span, problem: impl FnOnce() -> Diagnostic) {
        if !self.is_full() {
            let problem = problem().at(self.path.concat());
            self.problems.push((span, problem));
        }
    }

    /// Tells that a value is not of the wanted form.
    pub(crate) fn wrong(&mut self, node: &Node<'_>, expected: &str) {
        self.wrong_with(node, expected, None);
    }

    /// The same with advice.
    pub(crate) fn wrong_with(&mut self, node: &Node<'_>, expected: &str, help: Option<String>) {
        self.tell(node.span, || {
            let message = match &node.value {
                Value::Scalar(scalar) if scalar.kind == ScalarKind::Null => "the value is missing".to_owned(),
                value => format!("{} cannot stand here", value.describe()),
            };
            let problem = Diagnostic::new(Code::WrongType, message).expected(expected);
            match help {
                Some(help) => problem.help(help),
                None => problem,
            }
        });
    }

    /// Reads the value of a key.
    pub(crate) fn below_key<T: Shape>(&mut self, key: &str, node: &Node<'_>) -> Option<T> {
        self.below(|path| step(path, key), node)
    }

    /// Reads an item of a list.
    pub(crate) fn below_item<T: Shape>(&mut self, place: usize, node: &Node<'_>) -> Option<T> {
        self.below(|_| format!("[{place}]"), node)
    }

    fn below<T: Shape>(&mut self, step: impl FnOnce(&[String]) -> String, node: &Node<'_>) -> Option<T> {
        let step = step(&self.path);
        self.path.push(step);
        let value = T::read(node, self);
        self.path.pop();
        value
    }

    pub(crate) fn is_full(&self) -> bool {
        self.problems.len() >= PROBLEMS_MAX
    }

    pub(crate) fn problem_count(&self) -> usize {
        self.problems.len()
    }
}

/// How `key` continues a path: as a word, or quoted if it is none.
fn step(path: &[String], key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    match (plain, path.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!(".{key}"),
        (false, _) => format!("[{}]", serde_json::Value::from(key)),
    }
}

/// `text` cut to 80 characters, for a message.
pub(crate) fn clip(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
