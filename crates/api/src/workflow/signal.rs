//! The `signal` of a task: what it waits for, and who sends it.

use crate::{
    document::{Node, Value},
    report::{Code, Diagnostic},
    shape::{Definitions, Fields, Reader, Record, Shape},
};
use serde_json::json;

/// A signal, as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalFile {
    /// Its name.
    pub name: String,
    /// The tasks of the run that send it; none: anybody.
    pub from: Vec<String>,
}

impl Shape for SignalFile {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        if matches!(node.value, Value::Scalar(_)) {
            return Shape::read(node, reader).map(|name| Self { name, from: Vec::new() });
        }
        let sent: SentSignal = Shape::read(node, reader)?;
        if sent.from.as_ref().is_some_and(Vec::is_empty) {
            reader.tell(node.span, || {
                Diagnostic::new(Code::WrongType, "a signal from nobody would never come")
                    .expected("at least one task in `from`")
                    .help("leave `from` out to take it from anybody")
            });
            return None;
        }
        Some(Self { name: sent.name, from: sent.from.unwrap_or_default() })
    }

    fn schema(definitions: &mut Definitions) -> serde_json::Value {
        json!({"anyOf": [{"type": "string"}, SentSignal::schema(definitions)]})
    }
}

/// The map form of `signal`.
struct SentSignal {
    name: String,
    from: Option<Vec<String>>,
}

impl Record for SentSignal {
    const NAME: &'static str = "Signal";
    const WHAT: &'static str = "`signal`";

    fn fields(fields: &mut Fields<'_, '_, '_>) -> Self {
        Self {
            name: fields.required(&["name"], "The signal's name.").unwrap_or_default(),
            from: fields.optional(
                "from",
                "The tasks of the same run that send it; nobody else may. Without this key anybody may.",
            ),
        }
    }
}
