//! `needs`: what must have ended before a task.

use crate::{
    document::{Node, ScalarKind, Value},
    shape::{Definitions, Fields, Reader, Record, Shape, read_word, word_schema},
};
use serde_json::json;

/// What must have ended before a task.
#[derive(Clone, Debug, PartialEq)]
pub enum NeedsFile {
    /// All of a list.
    All(Vec<NeedFile>),
    /// One of a list.
    Any(Vec<NeedFile>),
    /// So many of a list.
    AtLeast(u32, Vec<NeedFile>),
}

/// One entry of `needs`.
#[derive(Clone, Debug, PartialEq)]
pub struct NeedFile {
    /// The task waited for.
    pub task: String,
    /// Which end counts.
    pub until: UntilFile,
}

/// Which end of a task counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UntilFile {
    /// Only success.
    Succeeded,
    /// Any.
    Finished,
}

impl Shape for NeedsFile {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::List(_) => Shape::read(node, reader).map(Self::All),
            Value::Map(_) => {
                let counted: CountedNeeds = Shape::read(node, reader)?;
                match (counted.any, counted.at_least, counted.of) {
                    (Some(any), None, None) => Some(Self::Any(any)),
                    (None, Some(count), Some(of)) => Some(Self::AtLeast(count, of)),
                    _ => {
                        reader.wrong(node, "`{any: […]}` or `{at_least: 2, of: […]}`");
                        None
                    }
                }
            }
            Value::Scalar(_) => Vec::<NeedFile>::read(node, reader).map(Self::All),
        }
    }

    fn schema(definitions: &mut Definitions) -> serde_json::Value {
        json!({"anyOf": [Vec::<NeedFile>::schema(definitions), CountedNeeds::schema(definitions)]})
    }
}

/// The map forms of `needs`.
struct CountedNeeds {
    any: Option<Vec<NeedFile>>,
    at_least: Option<u32>,
    of: Option<Vec<NeedFile>>,
}

impl Record for CountedNeeds {
    const NAME: &'static str = "CountedNeeds";
    const WHAT: &'static str = "needs";

    fn fields(fields: &mut Fields<'_, '_, '_>) -> Self {
        Self {
            any: fields.optional("any", "One of these is enough."),
            at_least: fields.optional("at_least", "How many of `of`."),
            of: fields.optional("of", "The tasks of which `at_least` so many are needed."),
        }
    }
}

impl Shape for NeedFile {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Scalar(scalar) if scalar.kind != ScalarKind::Null => {
                Some(Self { task: scalar.text.clone().into_owned(), until: UntilFile::Succeeded })
            }
            Value::Map(_) => {
                let need: NeedUntil = Shape::read(node, reader)?;
                Some(Self { task: need.task, until: need.until.unwrap_or(UntilFile::Succeeded) })
            }
            _ => {
                reader.wrong(node, "the name of a task, or `{task: NAME, until: finished}`");
                None
            }
        }
    }

    fn schema(definitions: &mut Definitions) -> serde_json::Value {
        json!({"anyOf": [{"type": "string"}, NeedUntil::schema(definitions)]})
    }
}

/// The map form of an entry of `needs`.
struct NeedUntil {
    task: String,
    until: Option<UntilFile>,
}

impl Record for NeedUntil {
    const NAME: &'static str = "Need";
    const WHAT: &'static str = "an entry of `needs`";

    fn fields(fields: &mut Fields<'_, '_, '_>) -> Self {
        Self {
            task: fields.required(&["task"], "The task waited for.").unwrap_or_default(),
            until: fields.optional("until", "Which end counts: `succeeded` (default) or `finished`."),
        }
    }
}

impl Shape for UntilFile {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        read_word(&Self::WORDS, node, reader)
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        word_schema(&Self::WORDS)
    }
}

impl UntilFile {
    const WORDS: [(&'static str, Self); 2] = [("succeeded", Self::Succeeded), ("finished", Self::Finished)];
}
