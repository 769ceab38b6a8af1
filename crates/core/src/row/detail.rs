//! What else a line of history says: short facts by name.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::MapAccess, de::Visitor};
use serde_json::Value;
use std::{borrow::Cow, fmt, sync::Arc};

/// Facts by name, in the order in which they were said; the text of it is a JSON object.
///
/// A list, not a map: lines are made, copied and dropped for every change of a task, and few have
/// more than two facts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detail(Vec<(Cow<'static, str>, Fact)>);

/// One fact.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// A name or a sentence.
    Text(Arc<str>),
    /// A count, a number of milliseconds, a moment.
    Number(u64),
    /// Anything else.
    Json(Box<Value>),
}

impl Detail {
    /// Nothing else.
    pub const NONE: Self = Self(Vec::new());

    /// One fact.
    pub fn of(name: &'static str, fact: impl Into<Fact>) -> Self {
        Self::NONE.with(name, fact)
    }

    /// This and one fact more. A name said twice stands twice.
    #[must_use]
    pub fn with(mut self, name: &'static str, fact: impl Into<Fact>) -> Self {
        self.0.push((Cow::Borrowed(name), fact.into()));
        self
    }

    /// This and all that `other` says.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        if self.0.is_empty() {
            return other;
        }
        self.0.extend(other.0);
        self
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fact called `name`.
    pub fn get(&self, name: &str) -> Option<&Fact> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, fact)| fact)
    }

    /// The fact called `name`, if it is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Fact::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The fact called `name`, if it is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.get(name) {
            Some(Fact::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// All facts with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Fact)> {
        self.0.iter().map(|(name, fact)| (&**name, fact))
    }
}

impl From<&str> for Fact {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Fact {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<&Arc<str>> for Fact {
    fn from(text: &Arc<str>) -> Self {
        Self::Text(Arc::clone(text))
    }
}

impl From<u64> for Fact {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<Value> for Fact {
    fn from(value: Value) -> Self {
        match (value.as_u64(), value) {
            (Some(number), _) => Self::Number(number),
            (None, Value::String(text)) => Self::Text(text.into()),
            (None, value) => Self::Json(Box::new(value)),
        }
    }
}

impl From<&Fact> for Value {
    fn from(fact: &Fact) -> Self {
        match fact {
            Fact::Text(text) => Self::from(&**text),
            Fact::Number(number) => Self::from(*number),
            Fact::Json(value) => (**value).clone(),
        }
    }
}

/// As JSON.
impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Value::from(self).fmt(f)
    }
}

impl Serialize for Fact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Json(value) => value.serialize(serializer),
        }
    }
}

impl Serialize for Detail {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Detail {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Facts;

        impl<'de> Visitor<'de> for Facts {
            type Value = Detail;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut facts: A) -> Result<Detail, A::Error> {
                let mut detail = Detail::NONE;
                while let Some((name, fact)) = facts.next_entry::<String, Value>()? {
                    detail.0.push((name.into(), fact.into()));
                }
                Ok(detail)
            }
        }

        deserializer.deserialize_map(Facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_back_what_it_wrote() {
        let detail = Detail::of("reason", "exit").with("pause_ms", 250).with("rungs", json!([{"at": 1}]));
        let text = serde_json::to_string(&detail).expect("facts are JSON");
        assert_eq!(text, r#"{"reason":"exit","pause_ms":250,"rungs":[{"at":1}]}"#);
        assert_eq!(serde_json::from_str::<Detail>(&text).expect("it was written so"), detail);
        assert_eq!((detail.text("reason"), detail.number("pause_ms")), (Some("exit"), Some(250)));
    }
}
