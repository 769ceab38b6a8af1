//! What may stand behind a key, and what it then is.

use std::{borrow::Cow, fmt, net::SocketAddr};
use unknot_api::{Duration, Size, document::ScalarKind, report::Code};
use unknot_engine::{
    alerts::Secret,
    core::{Millis, validate::nearest},
};
use unknot_hands::{AddressError, check_address};

/// What may stand behind a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// A path; in a file relative to that file, else to the current folder.
    Path,
    /// `true` or `false`.
    Truth,
    /// A whole number.
    Whole {
        /// The smallest.
        least: u64,
        /// The largest.
        most: u64,
    },
    /// A number of seconds, possibly with a fraction.
    Seconds,
    /// A length of time.
    Length,
    /// A size.
    Size,
    /// One of some words.
    Word(&'static [&'static str]),
    /// An address and a port.
    Address,
    /// A list of texts; in a variable with commas between them.
    Texts,
    /// An address of a service, by scheme. It may hold a secret.
    Url(&'static [&'static str]),
    /// A text that is shown to nobody.
    Secret,
    /// A number, 0 or more.
    Number,
    /// `sqlite`, or a database that a later version uses.
    Store,
}

/// What stands behind a key.
#[derive(Clone, PartialEq)]
pub(crate) enum Value {
    /// Nothing.
    Nothing,
    /// Text of any kind.
    Text(String),
    /// A service's address.
    Url(Secret),
    /// A text that is shown to nobody.
    Secret(Secret),
    /// A number.
    Number(f64),
    /// Yes or no.
    Truth(bool),
    /// A count.
    Whole(u64),
    /// Seconds.
    Seconds(f64),
    /// A length of time.
    Length(Millis),
    /// A size.
    Bytes(u64),
    /// Several texts.
    Texts(Vec<String>),
    /// Where to listen.
    Address(SocketAddr),
}

/// Why a value cannot stand where it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) code: Code,
    pub(crate) message: Cow<'static, str>,
    pub(crate) expected: Option<String>,
    pub(crate) help: Option<String>,
}

impl Kind {
    /// Reads it from text of any form: a variable's, a default's.
    ///
    /// # Errors
    /// If it is no such thing.
    pub(crate) fn read(self, text: &str) -> Result<Value, Wrong> {
        if self == Self::Store && text.starts_with("postgres") {
            return Err(Wrong {
                code: Code::NotYet,
                message: "this version keeps its state in SQLite only".into(),
                expected: Some("`sqlite`, until Postgres comes".to_owned()),
                help: None,
            });
        }
        let value = self.value(text).ok_or_else(|| self.wrong(text))?;
        if let (Self::Url(WEB), Value::Url(url)) = (self, &value) {
            check_address(url.expose()).map_err(|error| no_address(&error))?;
        }
        Ok(value)
    }

    /// Reads it from a single value of a file, which says itself what it is.
    ///
    /// # Errors
    /// If it is no such thing.
    pub(crate) fn read_scalar(self, kind: ScalarKind, text: &str) -> Result<Value, Wrong> {
        let fits = match self {
            Self::Whole { .. } | Self::Seconds | Self::Number => kind == ScalarKind::Number,
            Self::Truth => matches!(kind, ScalarKind::True | ScalarKind::False),
            Self::Texts => false,
            _ => kind == ScalarKind::Text,
        };
        if fits { self.read(text) } else { Err(self.wrong(text)) }
    }

    /// Whether a value of this kind is better not shown.
    pub(crate) fn may_be_secret(self) -> bool {
        matches!(self, Self::Text | Self::Texts | Self::Url(_) | Self::Secret)
    }

    fn value(self, text: &str) -> Option<Value> {
        Some(match self {
            Self::Text | Self::Path => Value::Text(Some(text).filter(|text| !text.is_empty())?.to_owned()),
            Self::Truth => Value::Truth(text.to_ascii_lowercase().parse().ok()?),
            Self::Whole { least, most } => {
                Value::Whole(text.parse().ok().filter(|number| (least..=most).contains(number))?)
            }
            Self::Seconds => {
                Value::Seconds(text.parse().ok().filter(|number: &f64| *number > 0.0 && number.is_finite())?)
            }
            Self::Length => Value::Length(Millis(Duration::parse(text)?.ms)),
            Self::Size => Value::Bytes(Size::parse(text)?.bytes),
            Self::Word(words) => Value::Text(words.iter().find(|word| **word == text)?.to_string()),
            Self::Address => Value::Address(text.parse().ok()?),
            Self::Texts => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                Value::Texts(parts.map(str::to_owned).collect())
            }
            Self::Url(_) if text.is_empty() => Value::Nothing,
            Self::Url(schemes) => {
                let (scheme, rest) = text.split_once("://")?;
                (schemes.contains(&scheme) && !rest.is_empty()).then(|| Value::Url(Secret::new(text)))?
            }
            Self::Secret => Value::Secret(Some(text).filter(|text| !text.is_empty()).map(Secret::new)?),
            Self::Number => {
                Value::Number(text.parse().ok().filter(|number: &f64| *number >= 0.0 && number.is_finite())?)
            }
            Self::Store => (text == "sqlite").then(|| Value::Text(text.to_owned()))?,
        })
    }

    /// What is wrong with a value that is none of these.
    pub(crate) fn wrong(self, text: &str) -> Wrong {
        let help = match self {
            Self::Word(words) => nearest(text, words.iter().copied()).map(|word| format!("did you mean `{word}`?")),
            Self::Length if text.parse::<u64>().is_ok() => Some(format!("did you mean `{text}s`?")),
            Self::Size if text.parse::<u64>().is_ok() => Some(format!("did you mean `{text}B` or `{text}MiB`?")),
            _ => None,
        };
        let message = "this value cannot stand here".into();
        Wrong { code: Code::WrongType, message, expected: Some(self.to_string()), help }
    }
}

/// Schemes of addresses that are asked as those of `http` tasks are.
pub(crate) const WEB: &[&str] = &["http", "https"];

/// What is wrong with an address that nothing could ever be sent to; what of it may be secret is not said.
fn no_address(error: &AddressError) -> Wrong {
    let help = Some(error.help().to_owned());
    Wrong { code: Code::WrongType, message: format!("this address {error}").into(), expected: None, help }
}

/// What is expected there.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Path => f.write_str("a path"),
            Self::Truth => f.write_str("`true` or `false`"),
            Self::Whole { least, most } => write!(f, "a whole number from {least} to {most}"),
            Self::Seconds => f.write_str("a number of seconds above 0"),
            Self::Length => f.write_str("a length of time such as `30s` or `10m`"),
            Self::Size => f.write_str("a size such as `512MiB` or `2GiB`"),
            Self::Word(words) => write!(f, "one of `{}`", words.join("`, `")),
            Self::Address => f.write_str("an address and a port such as `127.0.0.1:8001`"),
            Self::Texts => f.write_str("a list of texts"),
            Self::Url(schemes) => write!(f, "an address that begins with `{}://`", schemes.join("://` or `")),
            Self::Secret => f.write_str("text"),
            Self::Number => f.write_str("a number, 0 or more"),
            Self::Store => f.write_str("`sqlite`"),
        }
    }
}

/// As a person would write it. Of a service's address only the service: the rest may be a secret.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("null"),
            Self::Text(text) => f.write_str(text),
            Self::Url(url) => f.write_str(&without_secrets(url.expose())),
            Self::Secret(_) => f.write_str("***"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Truth(truth) => write!(f, "{truth}"),
            Self::Whole(number) => write!(f, "{number}"),
            Self::Seconds(seconds) => write!(f, "{seconds}"),
            Self::Length(Millis(ms)) => f.write_str(&in_units(*ms, LENGTHS)),
            Self::Bytes(bytes) => f.write_str(&in_units(*bytes, SIZES)),
            Self::Texts(texts) => write!(f, "[{}]", texts.join(", ")),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

/// As it is shown: a secret is none's business.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Value {
    /// As JSON; lengths and sizes as they are written.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Nothing => serde_json::Value::Null,
            Self::Truth(truth) => (*truth).into(),
            Self::Whole(number) => (*number).into(),
            Self::Seconds(seconds) => (*seconds).into(),
            Self::Number(number) => (*number).into(),
            Self::Texts(texts) => texts.clone().into(),
            other => other.to_string().into(),
        }
    }
}

const LENGTHS: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZES: &[(&str, u64)] = &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// The number with the largest unit that leaves no rest.
fn in_units(number: u64, units: &[(&str, u64)]) -> String {
    let fits = units.iter().find(|(_, factor)| number >= *factor && number.is_multiple_of(*factor));
    let (unit, factor) = fits.or(units.last()).copied().unwrap_or(("", 1));
    format!("{}{unit}", number / factor)
}

/// Scheme and host: names, passwords and paths are left out.
fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest[..end].rsplit('@').next().unwrap_or_default();
    let is_whole = host.len() == rest.len();
    format!("{scheme}://{host}{}", if is_whole { "" } else { "/…" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_they_are_written() {
        for (kind, text) in [
            (Kind::Length, "7d"),
            (Kind::Length, "90s"),
            (Kind::Length, "1500ms"),
            (Kind::Size, "2GiB"),
            (Kind::Size, "1000B"),
            (Kind::Truth, "true"),
            (Kind::Seconds, "2.5"),
        ] {
            assert_eq!(kind.read(text).expect("sound").to_string(), text);
        }
        assert_eq!(Kind::Length.read("0s").expect("sound").to_string(), "0ms");
    }

    #[test]
    fn secrets_are_not_shown() {
        for (url, shown) in [
            ("https://hooks.example.org/services/T0/B0/secret", "https://hooks.example.org/…"),
            ("redis://:secret@localhost:6379", "redis://localhost:6379/…"),
            ("http://localhost:8080", "http://localhost:8080"),
        ] {
            assert_eq!(Value::Url(Secret::new(url)).to_string(), shown);
            assert_eq!(format!("{:?}", Value::Url(Secret::new(url))), shown);
        }
        assert_eq!(format!("{:?} {}", Value::Secret(Secret::new("x")), Value::Secret(Secret::new("x"))), "*** ***");
    }
}
