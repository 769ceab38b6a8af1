//! The single values of workflow files: text, counts, lengths of time, sizes, words, moments.

use super::{Definitions, Reader, Shape, clip};
use crate::{
    document::{Node, Scalar, ScalarKind, Value},
    report::{Code, Diagnostic},
};
use serde_json::json;

/// A length of time, written `500ms`, `30s`, `10m`, `2h`, `7d`, or combined: `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration {
    /// Milliseconds.
    pub ms: u64,
}

/// A size, written `64KiB`, `2GiB` (powers of 1024) or `10MB` (powers of 1000).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    /// Bytes.
    pub bytes: u64,
}

/// A moment, written by RFC 3339: `2031-05-01T08:00:00Z`, `2031-05-01T10:00:00+02:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Milliseconds since the Unix epoch.
    pub ms: u64,
}

/// Text for a process: numbers and booleans count as the text that stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(pub String);

/// A map with keys of its author's choice, in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Table<T>(pub(crate) Vec<(String, T)>);

const DURATION: &str = "a length of time such as `500ms`, `30s`, `10m`, `2h`, `7d` or `1h30m`";
const SIZE: &str = "a size such as `64KiB`, `512MiB`, `2GiB` or `10MB`";
const MOMENT: &str = "a moment such as `2031-05-01T08:00:00Z`";

fn scalar<'n, 's>(node: &'n Node<'s>) -> Option<&'n Scalar<'s>> {
    match &node.value {
        Value::Scalar(scalar) => Some(scalar),
        _ => None,
    }
}

fn text_of<'n>(node: &'n Node<'_>) -> Option<&'n str> {
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

impl Shape for Duration {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let read = text_of(node).and_then(Self::parse);
        if read.is_none() {
            let help = scalar(node).and_then(|scalar| match scalar.as_whole() {
                Some(number) if number >= 0 => Some(format!("did you mean `{number}s`?")),
                _ => fraction_in_ms(&scalar.text).map(|ms| format!("write `{ms}ms`")),
            });
            reader.wrong_with(node, DURATION, help);
        }
        read
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        json!({"type": "string", "pattern": "^(?=[0-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$", "examples": ["500ms", "30s", "10m", "2h", "7d"]})
    }
}

impl Duration {
    const UNITS: [(&'static str, u64); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

    /// Reads whole numbers with units, the larger unit first, each at most once. A length beyond
    /// what 64 bits hold becomes the longest: whoever checks bounds refuses it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim();
        let mut units = Self::UNITS.iter();
        let mut ms: u64 = 0;
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
            let (number, unit) = (&rest[..digits], &rest[digits..digits + letters]);
            if number.is_empty() {
                return None;
            }
            let (_, factor) = units.by_ref().find(|(name, _)| *name == unit)?;
            let number: u64 = number.parse().unwrap_or(u64::MAX);
            ms = ms.saturating_add(number.saturating_mul(*factor));
            rest = &rest[digits + letters..];
        }
        Some(Self { ms })
    }
}

/// `1.5s` in milliseconds, to be shown to whoever wrote it.
fn fraction_in_ms(text: &str) -> Option<u64> {
    let unit_at = text.find(|letter: char| letter.is_ascii_alphabetic())?;
    let (_, factor) = Duration::UNITS.iter().find(|(name, _)| *name == &text[unit_at..])?;
    let ms = text[..unit_at].trim().parse::<f64>().ok()? * *factor as f64;
    (ms.fract() == 0.0 && (0.0..1e15).contains(&ms)).then_some(ms as u64)
}

impl Shape for Size {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let read = text_of(node).and_then(Self::parse);
        if read.is_none() {
            let bare = scalar(node).and_then(Scalar::as_whole).filter(|&number| number >= 0);
            reader.wrong_with(node, SIZE, bare.map(|number| format!("did you mean `{number}B` or `{number}MiB`?")));
        }
        read
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        json!({"type": "string", "pattern": "^[0-9]+ ?([KMGT]i?)?B$", "examples": ["64KiB", "512MiB", "2GiB"]})
    }
}

impl Size {
    /// Reads a whole number with a unit.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let factor: u64 = match text[digits..].trim() {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            _ => return None,
        };
        Some(Self { bytes: text[..digits].parse::<u64>().ok()?.checked_mul(factor)? })
    }
}

impl Shape for Moment {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let read = text_of(node).and_then(Self::parse);
        if read.is_none() {
            reader.wrong(node, MOMENT);
        }
        read
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        json!({"type": "string", "format": "date-time"})
    }
}

impl Moment {
    /// Reads an RFC 3339 moment from 1970 on.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.split_once(['T', 't', ' '])?;
        let zone_at = time.find(['Z', 'z', '+', '-'])?;
        let (time, zone) = time.split_at(zone_at);
        let [year, month, day] = parts(date, '-', [4, 2, 2])?;
        let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
        let [hour, minute, second] = parts(time, ':', [2, 2, 2])?;
        let valid = (1..=12).contains(&month) && (1..=days_of_month(year, month)).contains(&day);
        if !valid
            || hour > 23
            || minute > 59
            || second > 60
            || fraction.is_empty()
            || !fraction.bytes().all(|byte| byte.is_ascii_digit())
        {
            return None;
        }
        let millis: i64 = format!("{fraction:0<3}")[..3].parse().ok()?;
        let offset_minutes = match zone {
            "Z" | "z" => 0,
            _ => {
                let [hours, minutes] = parts(&zone[1..], ':', [2, 2])?;
                if hours > 23 || minutes > 59 {
                    return None;
                }
                (hours * 60 + minutes) * if zone.starts_with('-') { -1 } else { 1 }
            }
        };
        let minutes = (days_since_epoch(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
        u64::try_from((minutes * 60 + second) * 1_000 + millis).ok().map(|ms| Self { ms })
    }
}

/// Exactly `N` numbers of so many digits.
fn parts<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    let mut given = text.split(between);
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part =
            given.next().filter(|part| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    given.next().is_none().then_some(numbers)
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar (H. Hinnant, "chrono-compatible low-level date
/// algorithms": years begin in March, so that the leap day is the last).
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

impl<T: Shape> Shape for Vec<T> {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::List(items) = &node.value else {
            let single = scalar(node).filter(|scalar| scalar.kind != ScalarKind::Null);
            reader.wrong_with(node, "a list", single.map(|scalar| format!("write `[{}]`", clip(&scalar.text))));
            return None;
        };
        let read: Vec<T> =
            items.iter().enumerate().filter_map(|(place, item)| reader.below_item(place, item)).collect();
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
