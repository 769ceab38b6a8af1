//! Values of the library to text and JSON, never past the bound of a result.

use super::{RESULT_MAX, TemplateError, TemplateErrorKind as Kind, article};
use crate::validate::clip;
use minijinja::{Value, value::ValueKind};

/// Deepest nesting of a result; values read from JSON cannot be deeper than the reader allows.
const DEPTH_MAX: usize = 160;

/// Text that refuses to grow past [`RESULT_MAX`].
pub(super) struct Bounded(String);

impl Bounded {
    pub(super) const fn new() -> Self {
        Self(String::new())
    }

    pub(super) fn push(&mut self, text: &str) -> Result<(), TemplateError> {
        if self.0.len() + text.len() > RESULT_MAX {
            let message = format!("the result is longer than {RESULT_MAX} bytes");
            return Err(TemplateError::new(Kind::TooLarge, message).help("pass large values by a file"));
        }
        self.0.push_str(text);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// Writes a value into a text: strings as they are, the rest as JSON; missing and null are errors.
pub(super) fn as_text(value: &Value, expression: &str, text: &mut Bounded) -> Result<(), TemplateError> {
    if value.is_undefined() {
        return Err(TemplateError::missing(expression));
    }
    if value.is_none() {
        return Err(TemplateError::new(Kind::Missing, format!("`{}` is null", clip(expression)))
            .help("`… | default(\"…\")` gives a text for null, `… | json` writes `null`"));
    }
    match value.as_str() {
        Some(string) => text.push(string),
        None => json(value, text),
    }
}

/// Writes a value as JSON.
pub(super) fn json(value: &Value, text: &mut Bounded) -> Result<(), TemplateError> {
    nested_json(value, text, DEPTH_MAX)
}

fn nested_json(value: &Value, text: &mut Bounded, depth: usize) -> Result<(), TemplateError> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(TemplateError::new(Kind::TooLarge, format!("the result is nested deeper than {DEPTH_MAX}")));
    };
    match value.kind() {
        ValueKind::None => text.push("null"),
        ValueKind::Bool => text.push(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => number(value, text),
        ValueKind::String => string(value.as_str().unwrap_or_default(), text),
        ValueKind::Seq | ValueKind::Iterable => {
            text.push("[")?;
            for (place, item) in iterate(value)?.enumerate() {
                text.push(if place > 0 { "," } else { "" })?;
                nested_json(&item, text, depth)?;
            }
            text.push("]")
        }
        ValueKind::Map => {
            text.push("{")?;
            for (place, key) in iterate(value)?.enumerate() {
                text.push(if place > 0 { "," } else { "" })?;
                match key.as_str() {
                    Some(key) => string(key, text)?,
                    None => return Err(no_json(&key)),
                }
                text.push(":")?;
                let item = value.get_item(&key).map_err(|error| TemplateError::from_library(&error))?;
                nested_json(&item, text, depth)?;
            }
            text.push("}")
        }
        _ => Err(no_json(value)),
    }
}

fn iterate(value: &Value) -> Result<impl Iterator<Item = Value>, TemplateError> {
    value.try_iter().map_err(|error| TemplateError::from_library(&error))
}

fn string(string: &str, text: &mut Bounded) -> Result<(), TemplateError> {
    if string.len() > RESULT_MAX {
        return text.push(string);
    }
    text.push(&serde_json::Value::from(string).to_string())
}

fn number(value: &Value, text: &mut Bounded) -> Result<(), TemplateError> {
    if value.is_integer() {
        let whole = i64::try_from(value.clone()).map(serde_json::Number::from);
        let whole = whole.or_else(|_| u64::try_from(value.clone()).map(serde_json::Number::from));
        return match whole {
            Ok(whole) => text.push(&whole.to_string()),
            Err(_) => Err(TemplateError::new(Kind::Failed, "the number does not fit in 64 bits")),
        };
    }
    match f64::try_from(value.clone()).ok().and_then(serde_json::Number::from_f64) {
        Some(number) => text.push(&number.to_string()),
        None => Err(TemplateError::new(Kind::Failed, "the number is not finite")),
    }
}

fn no_json(value: &Value) -> TemplateError {
    TemplateError::new(Kind::Failed, format!("{} cannot stand in a result", article(value.kind())))
}
