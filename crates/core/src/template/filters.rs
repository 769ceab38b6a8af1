//! The closed list of filters and tests.
//!
//! Each charges fuel for what it reads and refuses to make more than a template may return; sorting
//! and the like take only texts, numbers and booleans, whose comparisons have a known price.

use super::{RESULT_MAX, write};
use minijinja::{
    Environment, Error, ErrorKind, State, Value,
    value::{Kwargs, ValueKind},
};
use std::collections::BTreeSet;

/// The filters, in the order of the alphabet.
pub(super) const FILTERS: [&str; 24] = [
    "abs", "default", "first", "float", "int", "items", "join", "json", "keys", "last", "length", "lower", "max",
    "min", "replace", "round", "sort", "split", "string", "tojson", "trim", "unique", "upper", "values",
];

/// The tests behind `is`.
pub(super) const TESTS: [&str; 8] = ["boolean", "defined", "list", "map", "none", "number", "string", "undefined"];

/// The filter, of no template's own, that tells how much fuel was used so far.
pub(super) const FUEL_USED: &str = "fuel_used";

/// Bytes that one unit of fuel pays for.
const BYTES_PER_FUEL: u64 = 64;

/// Adds our filters and tests to a bare library.
pub(super) fn register(library: &mut Environment<'_>) {
    library.add_filter("abs", abs);
    library.add_filter("default", default);
    library.add_filter("first", |state: &State<'_, '_>, list: Value| {
        Ok::<_, Error>(items(state, &list)?.into_iter().next())
    });
    library.add_filter("last", |state: &State<'_, '_>, list: Value| Ok::<_, Error>(items(state, &list)?.pop()));
    library.add_filter("float", |value: Value| number(&value));
    library.add_filter("int", int);
    library.add_filter("items", pairs);
    library.add_filter("join", join);
    library.add_filter("json", json);
    library.add_filter("tojson", json);
    library.add_filter("keys", keys);
    library.add_filter("values", values);
    library.add_filter("length", length);
    library.add_filter("lower", |text: &str| bounded(text.to_lowercase()));
    library.add_filter("upper", |text: &str| bounded(text.to_uppercase()));
    library.add_filter("trim", |text: &str| text.trim().to_owned());
    library.add_filter("max", |state: &State<'_, '_>, list: Value| {
        Ok::<_, Error>(scalars(state, &list)?.into_iter().max())
    });
    library.add_filter("min", |state: &State<'_, '_>, list: Value| {
        Ok::<_, Error>(scalars(state, &list)?.into_iter().min())
    });
    library.add_filter("replace", replace);
    library.add_filter("round", round);
    library.add_filter("sort", sort);
    library.add_filter("split", split);
    library.add_filter("string", |state: &State<'_, '_>, value: Value| text_of(state, &value));
    library.add_filter("unique", unique);
    library.add_filter(FUEL_USED, |state: &State<'_, '_>, _: Value| state.fuel_levels().map(|(used, _)| used));
    library.add_test("boolean", |value: &Value| value.kind() == ValueKind::Bool);
    library.add_test("defined", |value: &Value| !value.is_undefined());
    library.add_test("list", |value: &Value| matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable));
    library.add_test("map", |value: &Value| value.kind() == ValueKind::Map);
    library.add_test("none", |value: &Value| value.is_none());
    library.add_test("number", |value: &Value| value.kind() == ValueKind::Number);
    library.add_test("string", |value: &Value| value.kind() == ValueKind::String);
    library.add_test("undefined", |value: &Value| value.is_undefined());
}

fn refuse(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

fn too_large() -> Error {
    refuse(format!("the result is longer than {RESULT_MAX} bytes"))
}

fn bounded(text: String) -> Result<String, Error> {
    if text.len() > RESULT_MAX { Err(too_large()) } else { Ok(text) }
}

/// Pays for reading `bytes`.
fn charge(state: &State<'_, '_>, bytes: usize) -> Result<(), Error> {
    state.consume_fuel(bytes as u64 / BYTES_PER_FUEL + 1)
}

/// The items of a list, paid for one by one so that an endless one stops.
fn items(state: &State<'_, '_>, list: &Value) -> Result<Vec<Value>, Error> {
    if !matches!(list.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return Err(refuse(format!("expected a list, got {}", super::article(list.kind()))));
    }
    let mut items = Vec::new();
    for item in list.try_iter()? {
        charge(state, size_of::<Value>())?;
        items.push(item);
    }
    Ok(items)
}

/// The items of a list that can be compared at a known price, paid for as if sorted.
fn scalars(state: &State<'_, '_>, list: &Value) -> Result<Vec<Value>, Error> {
    let items = items(state, list)?;
    let kind = items.first().map(Value::kind);
    let mut bytes = 0;
    for item in &items {
        let comparable = matches!(item.kind(), ValueKind::Number | ValueKind::String | ValueKind::Bool);
        if !comparable || Some(item.kind()) != kind {
            return Err(refuse("expected a list of texts, of numbers or of booleans, not a mixed one"));
        }
        bytes += item.as_str().map_or(0, str::len) + size_of::<Value>();
    }
    charge(state, bytes.saturating_mul(1 + items.len().checked_ilog2().unwrap_or(0) as usize))?;
    Ok(items)
}

/// A value as the text that a template would show.
fn text_of(state: &State<'_, '_>, value: &Value) -> Result<String, Error> {
    let mut text = write::Bounded::new();
    write::as_text(value, "the value", &mut text).map_err(|error| refuse(error.message))?;
    charge(state, text.len())?;
    Ok(text.into_string())
}

/// The value, or `other` if it is missing or null.
fn default(value: Value, other: Value) -> Result<Value, Error> {
    if other.is_undefined() {
        return Err(refuse("`default` needs a value: `… | default(\"…\")`"));
    }
    Ok(if value.is_undefined() || value.is_none() { other } else { value })
}

fn json(state: &State<'_, '_>, value: Value) -> Result<String, Error> {
    let mut text = write::Bounded::new();
    write::json(&value, &mut text).map_err(|error| refuse(error.message))?;
    charge(state, text.len())?;
    Ok(text.into_string())
}

fn length(state: &State<'_, '_>, value: Value) -> Result<usize, Error> {
    match value.as_str() {
        Some(text) => {
            charge(state, text.len())?;
            Ok(text.chars().count())
        }
        None => value.len().ok_or_else(|| refuse(format!("{} has no length", super::article(value.kind())))),
    }
}

fn number(value: &Value) -> Result<f64, Error> {
    let number = match value.as_str() {
        Some(text) => text.trim().parse().ok(),
        None => f64::try_from(value.clone()).ok(),
    };
    number
        .filter(|number: &f64| number.is_finite())
        .ok_or_else(|| refuse(format!("{} is no number", super::article(value.kind()))))
}

fn int(value: Value) -> Result<i64, Error> {
    if let Some(whole) = value.as_str().map_or_else(|| value.as_i64(), |text| text.trim().parse().ok()) {
        return Ok(whole);
    }
    let number = number(&value)?.trunc();
    if number.abs() < 9e18 { Ok(number as i64) } else { Err(refuse("the number is too large for a whole one")) }
}

fn abs(value: Value) -> Result<Value, Error> {
    match value.as_i64() {
        Some(whole) => whole.checked_abs().map(Value::from).ok_or_else(|| refuse("the number is too large")),
        None => Ok(Value::from(number(&value)?.abs())),
    }
}

fn round(value: Value, digits: Option<i32>) -> Result<f64, Error> {
    let digits = digits.unwrap_or(0);
    if !(0..=15).contains(&digits) {
        return Err(refuse("`round` takes 0 to 15 digits"));
    }
    let scale = 10f64.powi(digits);
    let rounded = (number(&value)? * scale).round() / scale;
    if rounded.is_finite() { Ok(rounded) } else { Err(refuse("the number is too large to be rounded")) }
}

fn join(state: &State<'_, '_>, list: Value, between: Option<String>) -> Result<String, Error> {
    let between = between.unwrap_or_default();
    let mut text = write::Bounded::new();
    for (place, item) in items(state, &list)?.iter().enumerate() {
        let written = (if place > 0 { text.push(&between) } else { Ok(()) })
            .and_then(|()| write::as_text(item, "an item of the list", &mut text));
        written.map_err(|error| refuse(error.message))?;
    }
    charge(state, text.len())?;
    Ok(text.into_string())
}

fn replace(state: &State<'_, '_>, text: &str, old: &str, new: &str) -> Result<String, Error> {
    charge(state, text.len())?;
    if old.is_empty() {
        return Err(refuse("`replace` cannot replace nothing"));
    }
    let mut result = write::Bounded::new();
    let mut rest = text;
    while let Some(at) = rest.find(old) {
        result.push(&rest[..at]).and_then(|()| result.push(new)).map_err(|error| refuse(error.message))?;
        rest = &rest[at + old.len()..];
    }
    result.push(rest).map_err(|error| refuse(error.message))?;
    Ok(result.into_string())
}

fn split(state: &State<'_, '_>, text: &str, between: Option<&str>) -> Result<Vec<String>, Error> {
    charge(state, text.len())?;
    let mut parts = Vec::new();
    let mut push = |part: &str| {
        charge(state, part.len() + size_of::<String>())?;
        parts.push(part.to_owned());
        Ok::<_, Error>(())
    };
    match between {
        Some("") => return Err(refuse("`split` cannot split at nothing")),
        Some(between) => text.split(between).try_for_each(&mut push)?,
        None => text.split_whitespace().try_for_each(&mut push)?,
    }
    Ok(parts)
}

fn sort(state: &State<'_, '_>, list: Value, options: Kwargs) -> Result<Vec<Value>, Error> {
    let reverse: Option<bool> = options.get("reverse")?;
    options.assert_all_used()?;
    let mut items = scalars(state, &list)?;
    items.sort();
    if reverse == Some(true) {
        items.reverse();
    }
    Ok(items)
}

fn unique(state: &State<'_, '_>, list: Value) -> Result<Vec<Value>, Error> {
    let mut seen = BTreeSet::new();
    let mut items = scalars(state, &list)?;
    items.retain(|item| seen.insert(item.clone()));
    Ok(items)
}

fn keys(state: &State<'_, '_>, map: Value) -> Result<Vec<Value>, Error> {
    if map.kind() != ValueKind::Map {
        return Err(refuse(format!("expected a map, got {}", super::article(map.kind()))));
    }
    let mut keys = Vec::new();
    for key in map.try_iter()? {
        charge(state, size_of::<Value>())?;
        keys.push(key);
    }
    Ok(keys)
}

fn values(state: &State<'_, '_>, map: Value) -> Result<Vec<Value>, Error> {
    keys(state, map.clone())?.iter().map(|key| map.get_item(key)).collect()
}

fn pairs(state: &State<'_, '_>, map: Value) -> Result<Vec<Value>, Error> {
    let keys = keys(state, map.clone())?;
    keys.into_iter().map(|key| Ok(Value::from(vec![key.clone(), map.get_item(&key)?]))).collect()
}
