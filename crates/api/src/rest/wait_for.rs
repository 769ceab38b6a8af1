//! What a running attempt waits for: conditions, and how many of them must hold.

use crate::{Duration, nearest::nearest};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// A condition, or an expression over conditions, which may be nested.
///
/// As JSON: `{"lock": "gpu"}`, `{"pool": "render", "units": 2}`, `{"child": "part-1", "until": "success"}`,
/// `{"children": "all"}`, `{"signal": "approve", "from": ["review"]}`, `{"timer": "10s"}`, `{"all": […]}`,
/// `{"any": […]}`, `{"at_least": 2, "of": […]}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitFor {
    /// A lock; it is the attempt's from then on.
    Lock(String),
    /// Units of a pool; they are the attempt's from then on.
    Pool {
        /// Which.
        pool: String,
        /// How many (1).
        units: u32,
    },
    /// The end of a run that its task has spawned.
    Child {
        /// Under which key.
        key: String,
        /// Which end counts.
        until: ChildEnd,
    },
    /// The end, however, of every run that its task has spawned and that is not detached.
    Children,
    /// A signal to its own run. One that has been sent already counts.
    Signal {
        /// Its name.
        name: String,
        /// The tasks of the run that may send it, by name; none: anybody may. It says whom the wait is for: a deadlock
        /// is told once none of them can send it any more.
        from: Vec<String>,
    },
    /// So long from now.
    Timer(Duration),
    /// All of these.
    All(Vec<WaitFor>),
    /// One of these, the first that holds.
    Any(Vec<WaitFor>),
    /// So many of these.
    AtLeast {
        /// How many.
        k: u32,
        /// Of which.
        of: Vec<WaitFor>,
    },
}

/// Which end of a spawned run counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChildEnd {
    /// Only that it has COMPLETED. If it ends otherwise, the wait can not hold any more, and ends at once.
    Success,
    /// Any end.
    #[default]
    Terminal,
}

/// The keys that say what a condition is, each with those that belong to it.
const KINDS: [(&str, &[&str]); 9] = [
    ("lock", &[]),
    ("pool", &["units"]),
    ("child", &["until"]),
    ("children", &[]),
    ("signal", &["from"]),
    ("timer", &[]),
    ("all", &[]),
    ("any", &[]),
    ("at_least", &["of"]),
];

impl WaitFor {
    /// Reads it from JSON; `path` says where that stands, for errors.
    ///
    /// # Errors
    /// What is wrong at which place, in one line.
    pub fn read(value: &Value, path: &str) -> Result<Self, String> {
        let Value::Object(map) = value else {
            return Err(format!("`{path}`: expected an object such as {{\"lock\": \"gpu\"}}, found {}", shown(value)));
        };
        let kind = kind(map, path)?;
        let at = |key: &str| format!("{path}.{key}");
        let text = |key: &str| text(&map[key], &at(key));
        let parts = |key: &str| parts(map.get(key), &at(key));
        Ok(match kind {
            "lock" => Self::Lock(text(kind)?),
            "pool" => Self::Pool { pool: text(kind)?, units: count(map.get("units"), &at("units"))? },
            "child" => Self::Child { key: text(kind)?, until: until(map.get("until"), &at("until"))? },
            "children" if map[kind] == "all" => Self::Children,
            "children" => return Err(format!("`{}`: expected `all`, found {}", at(kind), shown(&map[kind]))),
            "signal" => Self::Signal { name: text(kind)?, from: names(map.get("from"), &at("from"))? },
            "timer" => Self::Timer(length(&map[kind], &at(kind))?),
            "all" => Self::All(parts(kind)?),
            "any" => Self::Any(parts(kind)?),
            _ => {
                let (k, of) = (count(map.get(kind), &at(kind))?, parts("of")?);
                if k as usize > of.len() {
                    let (path, many) = (at(kind), of.len());
                    return Err(format!("`{path}` is {k}, and there are only {many} in `of`"));
                }
                Self::AtLeast { k, of }
            }
        })
    }
}

/// Which kind of condition it is; checks its keys.
fn kind(map: &Map<String, Value>, path: &str) -> Result<&'static str, String> {
    let named = || KINDS.map(|(kind, _)| format!("`{kind}`")).join(", ");
    let found: Vec<&(&str, &[&str])> = KINDS.iter().filter(|(kind, _)| map.contains_key(*kind)).collect();
    let (kind, others) = match found[..] {
        [(kind, others)] => (*kind, *others),
        [] => {
            let meant = map.keys().find_map(|key| nearest(key, KINDS.map(|(kind, _)| kind)));
            let meant = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
            return Err(format!("`{path}` does not say what is waited for; expected one of {}{meant}", named()));
        }
        [(first, _), (second, _), ..] => {
            return Err(format!(
                "`{path}` has both `{first}` and `{second}`: a condition is one thing; `{{\"all\": […]}}` waits for several"
            ));
        }
    };
    match map.keys().find(|key| *key != kind && !others.contains(&key.as_str())) {
        None => Ok(kind),
        Some(key) => {
            let key: String = key.chars().take(80).collect();
            let meant = nearest(&key, others.iter().copied());
            let meant = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
            Err(format!("`{path}.{key}` is no key beside `{kind}`{meant}"))
        }
    }
}

fn text(value: &Value, path: &str) -> Result<String, String> {
    match value {
        Value::String(text) if !text.is_empty() => Ok(text.clone()),
        other => Err(format!("`{path}`: expected a name, found {}", shown(other))),
    }
}

fn count(value: Option<&Value>, path: &str) -> Result<u32, String> {
    let Some(value) = value else { return Ok(1) };
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0);
    number.ok_or_else(|| format!("`{path}`: expected a whole number from 1, found {}", shown(value)))
}

fn until(value: Option<&Value>, path: &str) -> Result<ChildEnd, String> {
    match value.map(|value| (value.as_str(), value)) {
        None | Some((Some("terminal"), _)) => Ok(ChildEnd::Terminal),
        Some((Some("success"), _)) => Ok(ChildEnd::Success),
        Some((_, value)) => Err(format!("`{path}`: expected `success` or `terminal`, found {}", shown(value))),
    }
}

fn names(value: Option<&Value>, path: &str) -> Result<Vec<String>, String> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) if !items.is_empty() => {
            items.iter().enumerate().map(|(place, item)| text(item, &format!("{path}[{place}]"))).collect()
        }
        Some(other) => Err(format!("`{path}`: expected a list of names of tasks, found {}", shown(other))),
    }
}

fn length(value: &Value, path: &str) -> Result<Duration, String> {
    let read = value.as_str().and_then(Duration::parse);
    read.ok_or_else(|| format!("`{path}`: expected a length of time such as `10s`, found {}", shown(value)))
}

fn parts(value: Option<&Value>, path: &str) -> Result<Vec<WaitFor>, String> {
    match value {
        Some(Value::Array(items)) if !items.is_empty() => {
            items.iter().enumerate().map(|(place, item)| WaitFor::read(item, &format!("{path}[{place}]"))).collect()
        }
        Some(other) => Err(format!("`{path}`: expected a list of conditions, found {}", shown(other))),
        None => Err(format!("`{path}` is missing: the conditions")),
    }
}

/// A value in an error, cut.
fn shown(value: &Value) -> String {
    const SHOWN_MAX: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}

impl Serialize for WaitFor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = match self {
            Self::Lock(lock) => json!({"lock": lock}),
            Self::Pool { pool, units } => json!({"pool": pool, "units": units}),
            Self::Child { key, until } => json!({"child": key, "until": until}),
            Self::Children => json!({"children": "all"}),
            Self::Signal { name, from } if from.is_empty() => json!({"signal": name}),
            Self::Signal { name, from } => json!({"signal": name, "from": from}),
            Self::Timer(length) => json!({"timer": length}),
            Self::All(of) => json!({"all": of}),
            Self::Any(of) => json!({"any": of}),
            Self::AtLeast { k, of } => json!({"at_least": k, "of": of}),
        };
        value.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for WaitFor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(&Value::deserialize(deserializer)?, "for").map_err(de::Error::custom)
    }
}

impl JsonSchema for WaitFor {
    fn schema_name() -> Cow<'static, str> {
        "WaitFor".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let part = generator.subschema_for::<Self>();
        let (length, end) = (generator.subschema_for::<Duration>(), generator.subschema_for::<ChildEnd>());
        let name = json!({"type": "string", "minLength": 1});
        let count = json!({"type": "integer", "minimum": 1, "maximum": u32::MAX});
        let list = json!({"type": "array", "items": part, "minItems": 1});
        let one = |says: &str, required: &str, fields: Value| json!({"type": "object", "description": says, "properties": fields, "required": [required], "additionalProperties": false});
        let names = json!({"type": "array", "items": name, "minItems": 1});
        let mut least = one("So many of these.", "at_least", json!({"at_least": count, "of": list}));
        least["required"] = json!(["at_least", "of"]);
        json_schema!({
            "description": "A condition, or an expression over conditions, at most 8 deep and 1,000 in all.",
            "oneOf": [
                one("A lock.", "lock", json!({"lock": name})),
                one("Units of a pool.", "pool", json!({"pool": name, "units": count})),
                one("The end of a run that the task has spawned.", "child", json!({"child": name, "until": end})),
                one("The end of every run that the task has spawned.", "children", json!({"children": {"const": "all"}})),
                one("A signal to the attempt's own run.", "signal", json!({"signal": name, "from": names})),
                one("So long from now.", "timer", json!({"timer": length})),
                one("All of these.", "all", json!({"all": list})),
                one("The first of these that holds.", "any", json!({"any": list})),
                least,
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<WaitFor, String> {
        WaitFor::read(&serde_json::from_str(text).expect("JSON"), "for")
    }

    #[test]
    fn an_expression_is_read_as_it_is_written() {
        for text in [
            r#"{"lock":"gpu"}"#,
            r#"{"pool":"render","units":2}"#,
            r#"{"child":"part-1","until":"success"}"#,
            r#"{"children":"all"}"#,
            r#"{"signal":"approve"}"#,
            r#"{"signal":"approve","from":["review","boss"]}"#,
            r#"{"timer":"1m30s"}"#,
            r#"{"all":[{"lock":"a"},{"any":[{"lock":"b"},{"at_least":2,"of":[{"lock":"c"},{"lock":"d"},{"timer":"1s"}]}]}]}"#,
        ] {
            let read = read(text).expect(text);
            assert_eq!(serde_json::to_value(&read).expect("JSON"), serde_json::from_str::<Value>(text).expect("JSON"));
        }
        let defaults = [read(r#"{"pool":"a"}"#), read(r#"{"child":"a"}"#)];
        assert_eq!(defaults[0], Ok(WaitFor::Pool { pool: "a".into(), units: 1 }));
        assert_eq!(defaults[1], Ok(WaitFor::Child { key: "a".into(), until: ChildEnd::Terminal }));
    }

    #[test]
    fn what_is_wrong_is_told_at_its_place() {
        for (text, told) in [
            ("7", "`for`: expected an object such as {\"lock\": \"gpu\"}, found `7`"),
            (
                "{}",
                "`for` does not say what is waited for; expected one of `lock`, `pool`, `child`, `children`, `signal`, `timer`, `all`, `any`, `at_least`",
            ),
            (r#"{"lok":"gpu"}"#, "`timer`, `all`, `any`, `at_least`; did you mean `lock`?"),
            (r#"{"lock":"a","pool":"b"}"#, "`for` has both `lock` and `pool`: a condition is one thing"),
            (r#"{"pool":"a","unit":2}"#, "`for.unit` is no key beside `pool`; did you mean `units`?"),
            (r#"{"lock":"a","units":2}"#, "`for.units` is no key beside `lock`"),
            (r#"{"lock":7}"#, "`for.lock`: expected a name, found `7`"),
            (r#"{"pool":"a","units":0}"#, "`for.units`: expected a whole number from 1, found `0`"),
            (r#"{"pool":"a","units":-1}"#, "`for.units`: expected a whole number from 1, found `-1`"),
            (r#"{"pool":"a","units":"2"}"#, "`for.units`: expected a whole number from 1, found `\"2\"`"),
            (r#"{"child":"a","until":"done"}"#, "`for.until`: expected `success` or `terminal`, found `\"done\"`"),
            (r#"{"children":["a"]}"#, "`for.children`: expected `all`, found `[\"a\"]`"),
            (r#"{"signal":"a","from":"b"}"#, "`for.from`: expected a list of names of tasks, found `\"b\"`"),
            (r#"{"timer":10}"#, "`for.timer`: expected a length of time such as `10s`, found `10`"),
            (r#"{"all":[]}"#, "`for.all`: expected a list of conditions, found `[]`"),
            (r#"{"all":[{"lock":"a"},{"timer":"soon"}]}"#, "`for.all[1].timer`: expected a length of time"),
            (r#"{"at_least":2}"#, "`for.of` is missing: the conditions"),
            (r#"{"at_least":3,"of":[{"lock":"a"}]}"#, "`for.at_least` is 3, and there are only 1 in `of`"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
