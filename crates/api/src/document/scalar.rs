//! Single values, as YAML 1.2 (and JSON, a part of it) reads them.
//!
//! By the core schema `no`, `on` and `yes` are text, and so are `60s` and `1:30`. The text of a
//! number is kept, so that a version `1.10` given where text is wanted does not become `1.1`.

use super::Numbers;
use serde_json::Value;
use std::borrow::Cow;

/// Text, a number, true, false or null.
#[derive(Clone, Debug)]
pub struct Scalar<'s> {
    /// Which of them.
    pub kind: ScalarKind,
    /// As it stands in the file, without quotes and escapes.
    pub text: Cow<'s, str>,
}

/// What a single value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarKind {
    /// Nothing.
    Null,
    /// `true`.
    True,
    /// `false`.
    False,
    /// A number; its text says which.
    Number,
    /// Text.
    Text,
}

impl<'s> Scalar<'s> {
    /// Text that was quoted: never anything else.
    pub(super) fn text(text: Cow<'s, str>) -> Self {
        Self { kind: ScalarKind::Text, text }
    }

    /// An unquoted value, by YAML's core schema.
    pub(super) fn plain(text: Cow<'s, str>) -> Self {
        let kind = match &*text {
            "" | "~" | "null" | "Null" | "NULL" => ScalarKind::Null,
            "true" | "True" | "TRUE" => ScalarKind::True,
            "false" | "False" | "FALSE" => ScalarKind::False,
            other if is_number(other) => ScalarKind::Number,
            _ => ScalarKind::Text,
        };
        Self { kind, text }
    }

    /// A whole number, if it is one that fits.
    pub(crate) fn as_whole(&self) -> Option<i128> {
        if self.kind != ScalarKind::Number {
            return None;
        }
        let (sign, digits) = match self.text.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, self.text.strip_prefix('+').unwrap_or(&self.text)),
        };
        let value = if let Some(hex) = digits.strip_prefix("0x") {
            i128::from_str_radix(hex, 16)
        } else if let Some(octal) = digits.strip_prefix("0o") {
            i128::from_str_radix(octal, 8)
        } else {
            digits.parse()
        };
        value.ok().map(|value| sign * value)
    }

    /// A number, if it is a finite one.
    pub(crate) fn as_number(&self) -> Option<f64> {
        match self.as_whole() {
            Some(whole) => Some(whole as f64),
            None if self.kind == ScalarKind::Number => self.text.parse().ok().filter(|number: &f64| number.is_finite()),
            None => None,
        }
    }

    /// The value as JSON; a number that is none there, for its size, becomes text.
    pub(super) fn to_json(&self, numbers: Numbers) -> Value {
        let text = || Value::from(&*self.text);
        match self.kind {
            ScalarKind::Null => Value::Null,
            ScalarKind::True => Value::from(true),
            ScalarKind::False => Value::from(false),
            ScalarKind::Text => text(),
            ScalarKind::Number => {
                let whole = self.as_whole();
                let whole = whole.and_then(|whole| i64::try_from(whole).map(Value::from).ok());
                let number = whole.or_else(|| self.as_number().map(Value::from)).filter(|number| !number.is_null());
                let is_kept = |number: &Value| numbers == Numbers::AsNumbers || number.to_string() == self.text;
                number.filter(is_kept).unwrap_or_else(text)
            }
        }
    }

    pub(crate) fn describe(&self) -> String {
        let text = crate::shape::clip(&self.text);
        match self.kind {
            ScalarKind::Null => "nothing".to_owned(),
            ScalarKind::True | ScalarKind::False => format!("the boolean `{text}`"),
            ScalarKind::Number => format!("the number `{text}`"),
            ScalarKind::Text if text.is_empty() => "empty text".to_owned(),
            ScalarKind::Text => format!("`{text}`"),
        }
    }
}

/// Whether YAML's core schema reads `text` as a number (infinities and NaN are text here: no key of
/// ours can mean them).
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let radix = |prefix: &str, digit: fn(&u8) -> bool| {
        digits.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.as_bytes().iter().all(digit))
    };
    match digits.as_bytes() {
        [] => false,
        [b'0', b'x', ..] => radix("0x", u8::is_ascii_hexdigit),
        [b'0', b'o', ..] => radix("0o", |byte| (b'0'..=b'7').contains(byte)),
        [b'0'..=b'9' | b'.', ..] => is_decimal(digits),
        _ => false,
    }
}

/// `[0-9]*(\.[0-9]*)?([eE][-+]?[0-9]+)?` with at least one digit before the exponent.
fn is_decimal(digits: &str) -> bool {
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (digits, None),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let has_digits = !whole.is_empty() || !part.is_empty();
    let exponent_fits = exponent.is_none_or(|exponent| !exponent.is_empty() && all_digits(exponent));
    has_digits && all_digits(whole) && all_digits(part) && exponent_fits
}
