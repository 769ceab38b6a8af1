//! The plain values of workflow files: text, numbers, words, lists and maps.

use super::{Definitions, Reader, Shape, clip};
use crate::{
    document::{Node, Scalar, ScalarKind, Value},
    report::{Code, Diagnostic},
};
use serde_json::json;

/// Text for a process: numbers and booleans count as the text that stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(pub String);

/// A map with keys of its author's choice, in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Table<T>(pub(crate) Vec<(String, T)>);

pub(super) fn scalar<'n, 's>(node: &'n Node<'s>) -> Option<&'n Scalar<'s>> {
    match &node.value {
        Value::Scalar(scalar) => Some(scalar),
        _ => None,
    }
}

pub(crate) fn text_of<'n>(node: &'n Node<'_>) -> Option<&'n str> {
    scalar(node).filter(|scalar| scalar.kind == ScalarKind::Text).map(|scalar| &*scalar.text)
}

impl Shape for String {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match text_of(node) {
            Some(text) => Some(text.to_owned()),
            None => {
                let quoted = scalar(node).filter(|scalar| scalar.kind != ScalarKind::Null);
                let help = quoted.map(|scalar| format!("put it in quotes: `\"{}\"`", clip(&scalar.text)));
                reader.wrong_with(node, "text", help);
                None
            }
        }
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        json!({"type": "string"})
    }
}

impl Shape for Text {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match scalar(node).filter(|scalar| scalar.kind != ScalarKind::Null) {
            Some(scalar) => Some(Self(scalar.text.clone().into_owned())),
            None => {
                let template =
                    matches!(&node.value, Value::Map(_)).then(|| "a template needs quotes: `\"{{ … }}\"`".to_owned());
                reader.wrong_with(node, "text", template);
                None
            }
        }
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        json!({"type": ["string", "number", "boolean"]})
    }
}

impl Shape for bool {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match scalar(node).map(|scalar| scalar.kind) {
            Some(ScalarKind::True) => Some(true),
            Some(ScalarKind::False) => Some(false),
            _ => {
                let help = text_of(node)
                    .filter(|text| matches!(*text, "true" | "false"))
                    .map(|text| format!("write `{text}` without quotes"));
                reader.wrong_with(node, "`true` or `false`", help);
                None
            }
        }
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        json!({"type": "boolean"})
    }
}

impl Shape for u64 {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        whole(node, reader, Self::MAX)
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        json!({"type": "integer", "minimum": 0})
    }
}

impl Shape for u32 {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        whole(node, reader, u64::from(Self::MAX)).and_then(|number| number.try_into().ok())
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        json!({"type": "integer", "minimum": 0, "maximum": Self::MAX})
    }
}

fn whole(node: &Node<'_>, reader: &mut Reader<'_>, most: u64) -> Option<u64> {
    let number = scalar(node).and_then(Scalar::as_whole).and_then(|number| u64::try_from(number).ok());
    let fits = number.filter(|&number| number <= most);
    if fits.is_none() {
        let is_number = scalar(node).is_some_and(|scalar| scalar.kind == ScalarKind::Number);
        let help = text_of(node)
            .filter(|text| text.parse::<u64>().is_ok())
            .map(|text| format!("write `{text}` without quotes"));
        let expected = if is_number {
            format!("a whole number from 0 to {most}")
        } else {
            "a whole number, such as `3`".to_owned()
        };
        reader.wrong_with(node, &expected, help);
    }
    fits
}

impl Shape for f64 {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let number = scalar(node).and_then(Scalar::as_number);
        if number.is_none() {
            reader.wrong(node, "a number, such as `1.5`");
        }
        number
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        json!({"type": "number"})
    }
}

impl<T: Shape> Shape for Vec<T> {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::List(items) = &node.value else {
            let single = scalar(node).filter(|scalar| scalar.kind != ScalarKind::Null);
            reader.wrong_with(node, "a list", single.map(|scalar| format!("write `[{}]`", clip(&scalar.text))));
            return None;
        };
        let mut read = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            if reader.is_full() {
                break;
            }
            read.extend(reader.below_item(place, item));
        }
        (read.len() == items.len()).then_some(read)
    }

    fn schema(definitions: &mut Definitions) -> serde_json::Value {
        json!({"type": "array", "items": T::schema(definitions)})
    }
}

impl<T: Shape> Shape for Table<T> {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            reader.wrong(node, "a map");
            return None;
        };
        let mut table = Vec::with_capacity(entries.len());
        for entry in entries {
            if reader.is_full() {
                break;
            }
            if let Some(value) = reader.below_key(&entry.key, &entry.node) {
                table.push((entry.key.clone().into_owned(), value));
            }
        }
        (table.len() == entries.len()).then_some(Self(table))
    }

    fn schema(definitions: &mut Definitions) -> serde_json::Value {
        json!({"type": "object", "additionalProperties": T::schema(definitions)})
    }
}

/// Any value: what `default` of an input may be.
impl Shape for serde_json::Value {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Scalar(scalar) => match scalar.kind {
                ScalarKind::Null => Some(Self::Null),
                ScalarKind::True => Some(Self::Bool(true)),
                ScalarKind::False => Some(Self::Bool(false)),
                ScalarKind::Text => Some(Self::String(scalar.text.clone().into_owned())),
                ScalarKind::Number => any_number(scalar, node, reader),
            },
            Value::List(_) => Vec::<Self>::read(node, reader).map(Self::Array),
            Value::Map(_) => Table::<Self>::read(node, reader).map(|table| Self::Object(table.0.into_iter().collect())),
        }
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        json!({})
    }
}

/// A number that JSON's readers agree on: a whole one of 64 bits, or a finite one with a fraction or
/// an exponent. A larger whole number would lose digits without a word.
fn any_number(scalar: &Scalar<'_>, node: &Node<'_>, reader: &mut Reader<'_>) -> Option<serde_json::Value> {
    let is_whole = !scalar.text.contains(['.', 'e', 'E']) || scalar.text.contains('x');
    let number = if is_whole {
        let whole = scalar.as_whole();
        let signed = whole.and_then(|whole| i64::try_from(whole).ok()).map(serde_json::Value::from);
        signed.or_else(|| whole.and_then(|whole| u64::try_from(whole).ok()).map(serde_json::Value::from))
    } else {
        scalar.as_number().and_then(serde_json::Number::from_f64).map(serde_json::Value::Number)
    };
    if number.is_none() {
        reader.tell(node.span, || {
            Diagnostic::new(Code::WrongType, format!("the number `{}` is too large", clip(&scalar.text)))
                .help("put it in quotes to keep it as text")
        });
    }
    number
}

/// Reads one of a few words.
pub(crate) fn read_word<T: Copy>(words: &[(&'static str, T)], node: &Node<'_>, reader: &mut Reader<'_>) -> Option<T> {
    let given = scalar(node).map(|scalar| &*scalar.text);
    if let Some((_, value)) = words.iter().find(|(word, _)| Some(*word) == given) {
        return Some(*value);
    }
    let known = words.iter().map(|(word, _)| *word);
    let near = given.and_then(|given| crate::nearest::nearest(given, known.clone()));
    let list: Vec<String> = known.map(|word| format!("`{word}`")).collect();
    reader.wrong_with(node, &format!("one of {}", list.join(", ")), near.map(|near| format!("did you mean `{near}`?")));
    None
}

/// Describes one of a few words.
pub(crate) fn word_schema<T>(words: &[(&'static str, T)]) -> serde_json::Value {
    json!({"enum": words.iter().map(|(word, _)| *word).collect::<Vec<_>>()})
}
