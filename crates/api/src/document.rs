//! A file as a tree in which everything knows its place.
//!
//! YAML and JSON become the same tree, so that what follows does not ask which it was. All bounds
//! on size are held while the tree grows, before anything reads it.

mod json;
mod locate;
mod scalar;
mod yaml;

pub use scalar::{Scalar, ScalarKind};

use crate::{
    report::{Code, Diagnostic, Report},
    source::{Source, Span},
};
use std::{borrow::Cow, collections::BTreeSet};

/// Deepest nesting.
pub const DEPTH_MAX: usize = 64;
/// Most values in one file: 40 for each of the 200,000 tasks that one may have.
pub const NODES_MAX: usize = 8_000_000;
/// How many times the file aliases may expand to, and never to more than a file may have.
pub const ALIAS_FACTOR: usize = 10;

/// A value and its place.
#[derive(Clone, Debug)]
pub struct Node<'s> {
    /// Where it stands; for maps and lists where they begin.
    pub span: Span,
    /// What it is.
    pub value: Value<'s>,
}

/// A value of a file.
#[derive(Clone, Debug)]
pub enum Value<'s> {
    /// Text, a number, true, false or null.
    Scalar(Scalar<'s>),
    /// A list.
    List(Vec<Node<'s>>),
    /// A map, in the order of the file; no key twice.
    Map(Vec<Entry<'s>>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub struct Entry<'s> {
    /// The key.
    pub key: Cow<'s, str>,
    /// Where the key stands.
    pub key_span: Span,
    /// The value.
    pub node: Node<'s>,
}

/// A whole file as a tree.
#[derive(Debug)]
pub struct Document<'s> {
    source: &'s Source,
    /// The outermost value.
    pub root: Node<'s>,
}

/// A problem that ends the loading of a tree.
pub(crate) struct LoadError {
    pub(crate) span: Span,
    /// Boxed: it passes through every call of a loader, which mostly succeed.
    pub(crate) problem: Box<Diagnostic>,
}

impl<'s> Document<'s> {
    /// Reads a file: JSON if it is called `.json`, otherwise YAML (of which JSON is a part, and is
    /// tried first where the file begins like it, being faster).
    ///
    /// # Errors
    /// What is wrong with its form: syntax, a key twice, a bound.
    pub fn load(source: &'s Source) -> Result<Self, Report> {
        let root = Self::root(source)?.ok_or_else(|| {
            let problem = Diagnostic::new(Code::Syntax, "the file is empty");
            source.report(vec![(Span::default(), problem.expected("a workflow with `name` and `tasks`"))])
        })?;
        Ok(Self { source, root })
    }

    /// The same for files in which nothing has to stand: one that is empty, comments apart, is a map without keys.
    ///
    /// # Errors
    /// As for [`Document::load`].
    pub fn load_or_empty(source: &'s Source) -> Result<Self, Report> {
        let empty = || Node { value: Value::Map(Vec::new()), span: Span::default() };
        Ok(Self { source, root: Self::root(source)?.unwrap_or_else(empty) })
    }

    fn root(source: &Source) -> Result<Option<Node<'_>>, Report> {
        let text = source.text();
        let is_json = source.name().to_ascii_lowercase().ends_with(".json");
        let loaded = if is_json {
            json::load(text).map(Some)
        } else if text.trim_start().starts_with('{') {
            // What the YAML reader would take a whole file in brackets for is bounded.
            let is_too_long = text.len() > yaml::PIECE_MAX;
            json::load(text).map(Some).or_else(|error| if is_too_long { Err(error) } else { yaml::load(text) })
        } else {
            yaml::load(text)
        };
        loaded.map_err(|error| source.report(vec![(error.span, *error.problem)]))
    }

    /// The source it was read from.
    pub fn source(&self) -> &'s Source {
        self.source
    }

    /// A report on this file; each problem finds its place by its path, and stands at the key
    /// rather than the value if it says so.
    pub fn report(&self, problems: Vec<(Diagnostic, OnKey)>) -> Report {
        let placed = problems.into_iter().map(|(problem, on_key)| (self.locate(&problem.path, on_key), problem));
        self.source.report(placed.collect())
    }
}

/// Whether a problem is about a key itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnKey {
    /// The name left of the colon.
    Yes,
    /// The value.
    No,
}

impl LoadError {
    fn new(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self { span, problem: Box::new(Diagnostic::new(code, message)) }
    }

    fn expected(mut self, expected: impl Into<String>) -> Self {
        self.problem.expected = Some(expected.into());
        self
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.problem.help = Some(help.into());
        self
    }

    fn too_deep(span: Span) -> Self {
        Self::new(Code::TooLarge, span, "the file is nested too deep").expected(format!("at most {DEPTH_MAX} levels"))
    }

    fn too_many(span: Span) -> Self {
        Self::new(Code::TooLarge, span, "the file has too many values").expected(format!("at most {NODES_MAX}"))
    }
}

/// Refuses a map with a key twice, at the second one.
fn check_keys(entries: &[Entry<'_>]) -> Result<(), LoadError> {
    const FEW: usize = 8;
    let twice = if entries.len() <= FEW {
        (1..entries.len()).find(|&place| entries[..place].iter().any(|earlier| earlier.key == entries[place].key))
    } else {
        let mut seen = BTreeSet::new();
        entries.iter().position(|entry| !seen.insert(&*entry.key))
    };
    match twice {
        None => Ok(()),
        Some(place) => {
            let key = crate::shape::clip(&entries[place].key);
            Err(LoadError::new(
                Code::DuplicateKey,
                entries[place].key_span,
                format!("key `{key}` stands twice in this map"),
            )
            .help("keep one of them: the other would be lost"))
        }
    }
}

/// What becomes of numbers that JSON would print in another way than they stand in a file: `1.10`, `0x1F`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// They become numbers: the value is kept, the text is not.
    AsNumbers,
    /// They become text: what wants a number cannot read them any more.
    AsText,
}

impl Node<'_> {
    /// The tree as JSON.
    pub fn to_json(&self, numbers: Numbers) -> serde_json::Value {
        match &self.value {
            Value::Scalar(scalar) => scalar.to_json(numbers),
            Value::List(items) => items.iter().map(|item| item.to_json(numbers)).collect(),
            Value::Map(entries) => {
                let pairs = entries.iter().map(|entry| (entry.key.clone().into_owned(), entry.node.to_json(numbers)));
                serde_json::Value::Object(pairs.collect())
            }
        }
    }
}

impl Value<'_> {
    /// What it is, for messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Scalar(scalar) => scalar.describe(),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a map".to_owned(),
        }
    }
}
