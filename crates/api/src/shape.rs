//! How a typed value is read from a tree, and described as JSON Schema, by the same code.
//!
//! A [`Record`] lists its keys once, each with its type and its documentation. Run over a map, the
//! list reads it and tells what is wrong; run over nothing, it writes the schema. So the schema
//! that editors complete from cannot say anything else than what the reader takes.

mod values;

pub use values::{Duration, Moment, Size, Text};
pub(crate) use values::{Table, read_word, word_schema};

use crate::{
    document::{Entry, Node, Value},
    report::{Code, Diagnostic, PROBLEMS_MAX, Report},
    source::{Source, Span},
};
use serde_json::{Map, json};

/// A type that stands in a file.
pub(crate) trait Shape: Sized {
    /// Reads it; if it is not there in the right form, the reader is told and nothing is given.
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self>;

    /// Describes it as JSON Schema.
    fn schema(definitions: &mut Definitions) -> serde_json::Value;
}

/// A map with known keys.
pub(crate) trait Record: Sized {
    /// Its name among the schema's definitions.
    const NAME: &'static str;
    /// What it is, with its article, for messages: `a task`.
    const WHAT: &'static str;

    /// Lists its keys. Runs over a map to read it, and over nothing to describe it.
    fn fields(fields: &mut Fields<'_, '_, '_>) -> Self;
}

/// Collects problems while a tree is read.
pub(crate) struct Reader<'s> {
    source: &'s Source,
    path: Vec<String>,
    problems: Vec<(Span, Diagnostic)>,
}

impl<'s> Reader<'s> {
    pub(crate) fn new(source: &'s Source) -> Self {
        Self { source, path: Vec::new(), problems: Vec::new() }
    }

    /// What was read, or a report if anything was wrong.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Report> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(self.source.report(self.problems)),
        }
    }

    /// Tells a problem at the current path.
    pub(crate) fn tell(&mut self, span: Span, problem: impl FnOnce() -> Diagnostic) {
        if !self.is_full() {
            let problem = problem().at(self.path.concat());
            self.problems.push((span, problem));
        }
    }

    /// Tells that a value is not of the wanted form.
    pub(crate) fn wrong(&mut self, node: &Node<'_>, expected: &str) {
        self.wrong_with(node, expected, None);
    }

    /// The same with advice.
    pub(crate) fn wrong_with(&mut self, node: &Node<'_>, expected: &str, help: Option<String>) {
        self.tell(node.span, || {
            let problem = Diagnostic::new(Code::WrongType, format!("{} cannot stand here", node.value.describe()))
                .expected(expected);
            match help {
                Some(help) => problem.help(help),
                None => problem,
            }
        });
    }

    /// Reads the value of a key.
    pub(crate) fn below_key<T: Shape>(&mut self, key: &str, node: &Node<'_>) -> Option<T> {
        self.below(|path| step(path, key), node)
    }

    /// Reads an item of a list.
    pub(crate) fn below_item<T: Shape>(&mut self, place: usize, node: &Node<'_>) -> Option<T> {
        self.below(|_| format!("[{place}]"), node)
    }

    fn below<T: Shape>(&mut self, step: impl FnOnce(&[String]) -> String, node: &Node<'_>) -> Option<T> {
        let step = step(&self.path);
        self.path.push(step);
        let value = T::read(node, self);
        self.path.pop();
        value
    }

    pub(crate) fn is_full(&self) -> bool {
        self.problems.len() >= PROBLEMS_MAX
    }

    pub(crate) fn problem_count(&self) -> usize {
        self.problems.len()
    }
}

/// How `key` continues a path: as a word, or quoted if it is none.
fn step(path: &[String], key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    match (plain, path.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!(".{key}"),
        (false, _) => format!("[{}]", serde_json::Value::from(key)),
    }
}

/// The schema's named parts.
#[derive(Default)]
pub(crate) struct Definitions(pub(crate) Map<String, serde_json::Value>);

/// The keys of a record, being read or being described.
pub(crate) struct Fields<'f, 'n, 's> {
    mode: Mode<'f, 'n, 's>,
}

enum Mode<'f, 'n, 's> {
    Reading {
        span: Span,
        entries: &'n [Entry<'n>],
        used: Vec<bool>,
        unused: usize,
        reader: &'f mut Reader<'s>,
    },
    Describing {
        names: Vec<&'static str>,
        properties: Map<String, serde_json::Value>,
        required: Vec<&'static str>,
        definitions: &'f mut Definitions,
    },
}

impl Fields<'_, '_, '_> {
    /// A key that may be left out.
    pub(crate) fn optional<T: Shape>(&mut self, name: &'static str, doc: &'static str) -> Option<T> {
        match &mut self.mode {
            Mode::Reading { entries, used, unused, reader, .. } => {
                if *unused == 0 {
                    return None;
                }
                let place = entries.iter().position(|entry| entry.key == name)?;
                used[place] = true;
                *unused -= 1;
                reader.below_key(name, &entries[place].node)
            }
            Mode::Describing { names, properties, definitions, .. } => {
                names.push(name);
                properties.insert(name.to_owned(), with_doc(T::schema(definitions), doc));
                None
            }
        }
    }

    /// A key that must be there.
    pub(crate) fn required<T: Shape>(&mut self, name: &'static str, doc: &'static str) -> Option<T> {
        match &mut self.mode {
            Mode::Reading { span, entries, reader, .. } => {
                if !entries.iter().any(|entry| entry.key == name) {
                    reader.tell(*span, || Diagnostic::new(Code::MissingKey, format!("`{name}` is missing")));
                }
            }
            Mode::Describing { required, .. } => required.push(name),
        }
        self.optional(name, doc)
    }

    /// A word of the language that this version cannot do yet.
    pub(crate) fn later(&mut self, name: &'static str, with: &'static str) {
        match &mut self.mode {
            Mode::Reading { entries, used, unused, reader, .. } => {
                if *unused == 0 {
                    return;
                }
                let Some(place) = entries.iter().position(|entry| entry.key == name) else { return };
                used[place] = true;
                *unused -= 1;
                reader.tell(entries[place].key_span, || {
                    Diagnostic::new(Code::NotYet, format!("`{name}` is not part of this version"))
                        .help(format!("it comes with {with}"))
                });
            }
            Mode::Describing { .. } => {}
        }
    }

    /// Whether a key stands in the map that is read.
    pub(crate) fn has(&self, name: &str) -> bool {
        match &self.mode {
            Mode::Reading { entries, .. } => entries.iter().any(|entry| entry.key == name),
            Mode::Describing { .. } => false,
        }
    }

    /// Tells a problem with the map as a whole.
    pub(crate) fn tell(&mut self, problem: impl FnOnce() -> Diagnostic) {
        if let Mode::Reading { span, reader, .. } = &mut self.mode {
            reader.tell(*span, problem);
        }
    }

    /// Of keys that exclude each other, refuses all but the first.
    pub(crate) fn exclusive(&mut self, names: &[&'static str]) {
        if let Mode::Reading { entries, reader, .. } = &mut self.mode {
            let mut given = entries.iter().filter(|entry| names.contains(&&*entry.key));
            let Some(first) = given.next() else { return };
            for other in given {
                reader.tell(other.key_span, || {
                    Diagnostic::new(Code::Exclusive, format!("`{}` and `{}` exclude each other", first.key, other.key))
                        .help("keep one of them")
                });
            }
        }
    }
}

impl<T: Record> Shape for T {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            reader.wrong(
                node,
                &format!(
                    "{}, a map with keys such as `{}`",
                    T::WHAT,
                    known_keys::<T>().first().copied().unwrap_or_default()
                ),
            );
            return None;
        };
        let before = reader.problem_count();
        let mode =
            Mode::Reading { span: node.span, entries, used: vec![false; entries.len()], unused: entries.len(), reader };
        let mut fields = Fields { mode };
        let value = T::fields(&mut fields);
        let Mode::Reading { used, unused, reader, .. } = fields.mode else { return None };
        if unused > 0 {
            let known = known_keys::<T>();
            for (entry, _) in entries.iter().zip(used).filter(|(_, used)| !used) {
                reader.path.push(step(&reader.path, &entry.key));
                reader.tell(entry.key_span, || unknown_key(&entry.key, T::WHAT, &known));
                reader.path.pop();
            }
        }
        (reader.problem_count() == before).then_some(value)
    }

    fn schema(definitions: &mut Definitions) -> serde_json::Value {
        if !definitions.0.contains_key(T::NAME) {
            definitions.0.insert(T::NAME.to_owned(), serde_json::Value::Null);
            let schema = record_schema::<T>(definitions);
            definitions.0.insert(T::NAME.to_owned(), schema);
        }
        json!({"$ref": format!("#/$defs/{}", T::NAME)})
    }
}

/// The schema of a record's own map.
pub(crate) fn record_schema<T: Record>(definitions: &mut Definitions) -> serde_json::Value {
    let mode = Mode::Describing { names: Vec::new(), properties: Map::new(), required: Vec::new(), definitions };
    let mut fields = Fields { mode };
    T::fields(&mut fields);
    match fields.mode {
        Mode::Describing { properties, required, .. } if required.is_empty() => {
            json!({"type": "object", "properties": properties, "additionalProperties": false})
        }
        Mode::Describing { properties, required, .. } => {
            json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
        }
        Mode::Reading { .. } => serde_json::Value::Null,
    }
}

fn known_keys<T: Record>() -> Vec<&'static str> {
    let mut definitions = Definitions::default();
    let mode = Mode::Describing {
        names: Vec::new(),
        properties: Map::new(),
        required: Vec::new(),
        definitions: &mut definitions,
    };
    let mut fields = Fields { mode };
    T::fields(&mut fields);
    match fields.mode {
        Mode::Describing { names, .. } => names,
        Mode::Reading { .. } => Vec::new(),
    }
}

fn unknown_key(key: &str, what: &str, known: &[&str]) -> Diagnostic {
    let problem = Diagnostic::new(Code::UnknownKey, format!("unknown key `{}` of {what}", clip(key)));
    match crate::nearest::nearest(key, known.iter().copied()) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem.expected(format!(
            "one of {}",
            known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        )),
    }
}

/// Adds a description; beside a reference it needs a schema that allows one, as drafts since 2019 do.
fn with_doc(mut schema: serde_json::Value, doc: &str) -> serde_json::Value {
    if let serde_json::Value::Object(map) = &mut schema {
        map.insert("description".to_owned(), doc.into());
    }
    schema
}

/// `text` cut to 80 characters, for a message.
pub(crate) fn clip(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
