//! Inputs as they are typed: `key=value`, or `@file.json`.

use crate::{error::Error, workflow::read_bounded};
use serde_json::{Map, Value};
use std::path::Path;
use unknot_engine::{
    convert,
    core::{
        validate::{self, Problem},
        workflow::{Definition, InputType},
    },
};

/// The inputs of a run, checked against what the workflow declares, defaults filled in and keys in order.
///
/// # Errors
/// What cannot be read, and inputs that are unknown, missing or of another type.
pub(crate) fn read(given: &[String], definition: &Definition) -> Result<Value, Error> {
    let inputs = read_partly(given, definition)?;
    let mut checked = validate::check_input(definition, inputs)
        .map_err(|problems| Error::File(convert::input_report("inputs", problems.into_iter().map(named).collect())))?;
    checked.sort_all_objects();
    Ok(checked)
}

/// Some of the inputs of a run, read by the types that the workflow declares and not checked: others come besides.
///
/// # Errors
/// What cannot be read.
pub(crate) fn read_partly(given: &[String], definition: &Definition) -> Result<Map<String, Value>, Error> {
    let mut inputs = Map::new();
    for text in given {
        match text.strip_prefix('@') {
            Some(path) => inputs.extend(from_file(text, Path::new(path))?),
            None => {
                let (name, value) = pair(text, definition)?;
                inputs.insert(name, value);
            }
        }
    }
    Ok(inputs)
}

/// The inputs of a workflow that only the server knows: what is JSON is taken for that, all else is text.
///
/// # Errors
/// What cannot be read.
pub(crate) fn read_unchecked(given: &[String]) -> Result<Map<String, Value>, Error> {
    let mut inputs = Map::new();
    for text in given {
        match text.strip_prefix('@') {
            Some(path) => inputs.extend(from_file(text, Path::new(path))?),
            None => {
                let (name, value) = split(text)?;
                inputs.insert(name.to_owned(), as_json(value));
            }
        }
    }
    Ok(inputs)
}

/// The problem with its path in front: an input that was typed has no line to point at.
fn named(problem: Problem) -> Problem {
    Problem { message: format!("{}: {}", problem.path, problem.message), ..problem }
}

fn wrong(given: &str, problem: impl Into<String>) -> Error {
    Error::Input { given: given.to_owned(), problem: problem.into() }
}

fn from_file(given: &str, path: &Path) -> Result<Map<String, Value>, Error> {
    let bytes = read_bounded(path).map_err(|error| wrong(given, format!("the file cannot be read: {error}")))?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(wrong(given, "the file holds no JSON object")),
        Err(error) => Err(wrong(given, format!("the file is not JSON: {error}"))),
    }
}

fn pair(given: &str, definition: &Definition) -> Result<(String, Value), Error> {
    let (name, text) = split(given)?;
    let declared = definition.body.inputs.get(name).and_then(|input| input.type_);
    Ok((name.to_owned(), value(text, declared)))
}

fn split(given: &str) -> Result<(&str, &str), Error> {
    match given.split_once('=') {
        None => Err(wrong(given, "there is no `=` in it")),
        Some(("", _)) => Err(wrong(given, "there is no name before the `=`")),
        Some(pair) => Ok(pair),
    }
}

/// What is typed for an input of some type. Text that cannot be read as that type stays text, so that
/// the check can say what was expected.
fn value(text: &str, declared: Option<InputType>) -> Value {
    match declared {
        Some(InputType::String) | None => Value::from(text),
        Some(_) => as_json(text),
    }
}

/// What is JSON, as that; all else as text. So is a whole number that would be rounded.
fn as_json(text: &str) -> Value {
    let is_whole = text.bytes().all(|letter| letter.is_ascii_digit() || letter == b'-');
    match serde_json::from_str(text) {
        Ok(Value::Number(number)) if is_whole && number.is_f64() => Value::from(text),
        Ok(value) => value,
        Err(_) => Value::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_typed_is_read_by_its_declared_type() {
        for (text, declared, expected) in [
            ("5", Some(InputType::String), json!("5")),
            ("5", Some(InputType::Integer), json!(5)),
            ("5.5", Some(InputType::Number), json!(5.5)),
            ("true", Some(InputType::Boolean), json!(true)),
            ("[1, 2]", Some(InputType::Array), json!([1, 2])),
            (r#"{"a": 1}"#, Some(InputType::Object), json!({"a": 1})),
            ("five", Some(InputType::Integer), json!("five")),
            ("12345678901234567890123", Some(InputType::Integer), json!("12345678901234567890123")),
            ("18446744073709551615", Some(InputType::Integer), json!(18_446_744_073_709_551_615_u64)),
            ("1e3", Some(InputType::Number), json!(1e3)),
            ("5", None, json!("5")),
        ] {
            assert_eq!(value(text, declared), expected, "{text}");
        }
    }
}
