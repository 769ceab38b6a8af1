//! Namespaces, and the right of one brain to decide for one.

use std::{fmt, str::FromStr, sync::Arc};

/// The unit that one brain decides for; part of every stored key. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Arc<str>);

/// A name that no namespace can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a namespace (a lower-case letter or digit, then up to 99 of a-z, 0-9, `-`, `_`)")]
pub struct ParseNamespaceError {
    /// What was given, cut to 80 characters.
    pub text: String,
}

/// A number that grows each time a namespace is acquired; commits under an older one are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// Who acquires a namespace: a name for people, kept beside the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner(pub String);

impl Namespace {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `default`, the namespace of whoever names none.
impl Default for Namespace {
    fn default() -> Self {
        Self("default".into())
    }
}

impl FromStr for Namespace {
    type Err = ParseNamespaceError;

    fn from_str(text: &str) -> Result<Self, ParseNamespaceError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let first_is_plain = text.bytes().next().is_some_and(plain);
        let rest_is_allowed = text.bytes().all(|byte| plain(byte) || byte == b'-' || byte == b'_');
        if first_is_plain && rest_is_allowed && text.len() <= 100 {
            Ok(Self(text.into()))
        } else {
            Err(ParseNamespaceError { text: text.chars().take(80).collect() })
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_bounded() {
        for good in ["default", "a", "9-lives", "team_a", &"x".repeat(100)] {
            assert_eq!(good.parse::<Namespace>().expect(good).as_str(), good);
        }
        for bad in ["", "-a", "A", "a b", "a/b", "../x", "é", &"x".repeat(101)] {
            assert!(bad.parse::<Namespace>().is_err(), "{bad}");
        }
    }
}
