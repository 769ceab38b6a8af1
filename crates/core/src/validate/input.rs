//! The input of a run against what its workflow declares.

use super::{
    nearest,
    problem::{Code, Problem, Problems, clip, join_key},
};
use crate::{
    settings::INPUT_BYTES_MAX,
    workflow::{Definition, InputDecl, InputType},
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Checks the values given to a run and adds the defaults of the others.
///
/// A workflow that declares nothing takes any values.
///
/// # Errors
/// Unknown inputs, missing ones and those of another type.
pub fn check_input(definition: &Definition, mut given: Map<String, Value>) -> Result<Value, Vec<Problem>> {
    let declared = &definition.body.inputs;
    let mut problems = Problems::default();
    for name in given.keys().filter(|name| !declared.is_empty() && !declared.contains_key(*name)) {
        problems.add(|| {
            Problem::new(Code::Input, join_key("input", name), format!("unknown input `{}`", clip(name)))
                .on_key()
                .expected(format!("one of {}", list(declared.keys())))
                .nearest(nearest(name, declared.keys().map(String::as_str)))
        });
    }
    for (name, input) in declared {
        let path = || join_key("input", name);
        match (given.get(name), &input.default) {
            (Some(value), _) => {
                if let Some(wanted) = input.type_ {
                    check_type(wanted, value, path, &mut problems);
                }
            }
            (None, Some(default)) => {
                given.insert(name.clone(), default.clone());
            }
            (None, None) => problems.add(|| {
                let problem = Problem::new(Code::Input, path(), format!("input `{name}` is missing"))
                    .help(format!("give it: `-i {name}=…`"));
                match input.type_ {
                    Some(wanted) => problem.expected(wanted.article()),
                    None => problem,
                }
            }),
        }
    }
    let whole = Value::Object(given);
    let bytes = whole.to_string().len();
    if bytes > INPUT_BYTES_MAX {
        problems.add(|| too_large("input".to_owned(), bytes));
    }
    problems.or(|| whole)
}

/// Refuses defaults that together are larger than a run's input may be, at the one that goes beyond.
pub(super) fn check_defaults(inputs: &BTreeMap<String, InputDecl>, problems: &mut Problems) {
    // `{"name":value,…}`
    let mut bytes = 1;
    for (name, default) in inputs.iter().filter_map(|(name, input)| Some((name, input.default.as_ref()?))) {
        bytes += name.len() + default.to_string().len() + 4;
        if bytes > INPUT_BYTES_MAX {
            let path = format!("{}.default", join_key("input", name));
            return problems.add(|| too_large(path, bytes));
        }
    }
}

fn too_large(path: String, bytes: usize) -> Problem {
    Problem::new(Code::Input, path, format!("{bytes} bytes as JSON are more than a run's input may have"))
        .expected(format!("at most {INPUT_BYTES_MAX} bytes"))
        .help("write it into a file and give the file's path")
}

/// Refuses a value that is not of the wanted type.
pub(super) fn check_type(wanted: InputType, value: &Value, path: impl FnOnce() -> String, problems: &mut Problems) {
    let fits = match wanted {
        InputType::String => value.is_string(),
        InputType::Integer => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        InputType::Number => value.is_number(),
        InputType::Boolean => value.is_boolean(),
        InputType::Array => value.is_array(),
        InputType::Object => value.is_object(),
    };
    if !fits {
        problems.add(|| {
            Problem::new(Code::Input, path(), format!("`{}` is {}", clip(&value.to_string()), kind(value)))
                .expected(wanted.article())
        });
    }
}

fn list<'n>(names: impl Iterator<Item = &'n String>) -> String {
    const SHOWN: usize = 12;
    let names: Vec<String> = names.take(SHOWN).map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

impl InputType {
    fn article(self) -> &'static str {
        match self {
            Self::String => "text",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Boolean => "`true` or `false`",
            Self::Array => "a list",
            Self::Object => "a map",
        }
    }
}
