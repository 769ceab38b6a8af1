//! The keys of a map, listed once for reading and for describing.

use super::{Reader, Shape, clip, step};
use crate::{
    document::{Entry, Node, Value},
    nearest::nearest,
    report::{Code, Diagnostic, PROBLEMS_MAX},
    source::Span,
};
use serde_json::{Map, json};

/// A map with known keys.
pub(crate) trait Record: Sized {
    /// Its name among the schema's definitions.
    const NAME: &'static str;
    /// What it is, with its article, for messages: `a task`.
    const WHAT: &'static str;

    /// Lists its keys. Runs over a map to read it, and over nothing to describe it.
    fn fields(fields: &mut Fields<'_, '_, '_>) -> Self;
}

/// The schema's named parts.
#[derive(Default)]
pub(crate) struct Definitions(pub(crate) Map<String, serde_json::Value>);

/// The keys of a record, being read or being described.
pub(crate) enum Fields<'f, 'n, 's> {
    /// Values are taken out of a map.
    Reading(Reading<'f, 'n, 's>),
    /// Names and types are written down; every value is none.
    Describing(Describing<'f>),
}

/// A map, and which of its keys somebody asked for.
pub(crate) struct Reading<'f, 'n, 's> {
    span: Span,
    entries: &'n [Entry<'n>],
    used: Vec<bool>,
    /// How many nobody asked for yet; at none the rest of the list costs nothing.
    unused: usize,
    /// Problems with keys that are not there, each with the keys that would do.
    missing: Vec<(&'static [&'static str], Diagnostic)>,
    reader: &'f mut Reader<'s>,
}

/// What a record's list of keys said.
pub(crate) struct Describing<'f> {
    names: Vec<&'static str>,
    properties: Map<String, serde_json::Value>,
    required: Vec<&'static str>,
    definitions: &'f mut Definitions,
}

impl Fields<'_, '_, '_> {
    /// A key that may be left out.
    pub(crate) fn optional<T: Shape>(&mut self, name: &'static str, doc: &'static str) -> Option<T> {
        match self {
            Self::Reading(reading) => {
                let entry = reading.take(name)?;
                reading.reader.below_key(name, &entry.node)
            }
            Self::Describing(describing) => {
                let schema = T::schema(describing.definitions);
                describing.names.push(name);
                describing.properties.insert(name.to_owned(), with_doc(schema, doc));
                None
            }
        }
    }

    /// A key that must be there; `name` is a list of one, so that it can be compared with others.
    pub(crate) fn required<T: Shape>(&mut self, name: &'static [&'static str; 1], doc: &'static str) -> Option<T> {
        match self {
            Self::Reading(_) => {
                self.one_of(name, || Diagnostic::new(Code::MissingKey, format!("`{}` is missing", name[0])))
            }
            Self::Describing(describing) => describing.required.push(name[0]),
        }
        self.optional(name[0], doc)
    }

    /// At least one of these keys must be there.
    pub(crate) fn one_of(&mut self, names: &'static [&'static str], otherwise: impl FnOnce() -> Diagnostic) {
        if let Self::Reading(reading) = self
            && !reading.entries.iter().any(|entry| names.contains(&&*entry.key))
        {
            reading.missing.push((names, otherwise()));
        }
    }

    /// A word of the language that this version cannot do yet. It is no part of the schema.
    pub(crate) fn later(&mut self, name: &'static str, with: &'static str) {
        if let Self::Reading(reading) = self
            && let Some(entry) = reading.take(name)
        {
            reading.reader.tell(entry.key_span, || {
                Diagnostic::new(Code::NotYet, format!("`{name}` is not part of this version"))
                    .help(format!("it comes with {with}"))
            });
        }
    }

    /// Whether a key stands in the map that is read.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Self::Reading(reading) => reading.entries.iter().any(|entry| entry.key == name),
            Self::Describing(_) => false,
        }
    }

    /// Refuses a key that means nothing without another one.
    pub(crate) fn only_beside(&mut self, name: &'static str, other: &'static str, help: &'static str) {
        let Self::Reading(reading) = self else { return };
        let Some(alone) = reading.entries.iter().find(|entry| entry.key == name) else { return };
        if !reading.entries.iter().any(|entry| entry.key == other) {
            reading.reader.tell(alone.key_span, || {
                Diagnostic::new(Code::MissingKey, format!("`{name}` stands only beside `{other}`")).help(help)
            });
        }
    }

    /// Of keys that exclude each other, refuses all but the first.
    pub(crate) fn exclusive(&mut self, names: &[&'static str]) {
        let Self::Reading(reading) = self else { return };
        let mut given = reading.entries.iter().filter(|entry| names.contains(&&*entry.key));
        let Some(first) = given.next() else { return };
        for other in given {
            reading.reader.tell(other.key_span, || {
                Diagnostic::new(Code::Exclusive, format!("`{}` and `{}` exclude each other", first.key, other.key))
                    .help("keep one of them")
            });
        }
    }
}

impl<'n> Reading<'_, 'n, '_> {
    fn take(&mut self, name: &str) -> Option<&'n Entry<'n>> {
        if self.unused == 0 {
            return None;
        }
        let place = self.entries.iter().position(|entry| entry.key == name)?;
        if !self.used[place] {
            self.used[place] = true;
            self.unused -= 1;
        }
        Some(&self.entries[place])
    }

    /// Tells of keys that nobody asked for, and of those that are missing, unless a misspelt one
    /// stands for them.
    fn finish(self, what: &str, known: impl FnOnce() -> Vec<&'static str>) {
        if self.unused == 0 && self.missing.is_empty() {
            return;
        }
        let known = known();
        let unknown = self.entries.iter().zip(&self.used).filter(|(_, used)| !**used).map(|(entry, _)| entry);
        let unknown: Vec<&Entry<'_>> = unknown.take(PROBLEMS_MAX).collect();
        let meant: Vec<Option<&str>> = unknown.iter().map(|entry| nearest(&entry.key, known.iter().copied())).collect();
        for (names, problem) in self.missing {
            if !meant.iter().flatten().any(|near| names.contains(near)) {
                self.reader.tell(self.span, || problem);
            }
        }
        for (entry, near) in unknown.into_iter().zip(meant) {
            self.reader.path.push(step(&self.reader.path, &entry.key));
            self.reader.tell(entry.key_span, || unknown_key(&entry.key, what, near, &known));
            self.reader.path.pop();
        }
    }
}

impl<T: Record> Shape for T {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            let first = known_keys::<T>().first().copied().unwrap_or_default();
            reader.wrong(node, &format!("{}, a map with keys such as `{first}`", T::WHAT));
            return None;
        };
        let before = reader.problem_count();
        let mut fields = Fields::Reading(Reading {
            span: node.span,
            entries,
            used: vec![false; entries.len()],
            unused: entries.len(),
            missing: Vec::new(),
            reader: &mut *reader,
        });
        let value = T::fields(&mut fields);
        if let Fields::Reading(reading) = fields {
            reading.finish(T::WHAT, known_keys::<T>);
        }
        (reader.problem_count() == before).then_some(value)
    }

    fn schema(definitions: &mut Definitions) -> serde_json::Value {
        if !definitions.0.contains_key(T::NAME) {
            // The name first: a record that contains itself must not describe itself for ever.
            definitions.0.insert(T::NAME.to_owned(), serde_json::Value::Null);
            let schema = record_schema::<T>(definitions);
            definitions.0.insert(T::NAME.to_owned(), schema);
        }
        json!({"$ref": format!("#/$defs/{}", T::NAME)})
    }
}

fn describe<T: Record>(definitions: &mut Definitions) -> Describing<'_> {
    let describing = Describing { names: Vec::new(), properties: Map::new(), required: Vec::new(), definitions };
    let mut fields = Fields::Describing(describing);
    T::fields(&mut fields);
    match fields {
        Fields::Describing(describing) => describing,
        Fields::Reading(_) => unreachable!("nothing turns a description into a reading"),
    }
}

/// The schema of a record's own map.
pub(crate) fn record_schema<T: Record>(definitions: &mut Definitions) -> serde_json::Value {
    let Describing { properties, required, .. } = describe::<T>(definitions);
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

fn known_keys<T: Record>() -> Vec<&'static str> {
    describe::<T>(&mut Definitions::default()).names
}

fn unknown_key(key: &str, what: &str, near: Option<&str>, known: &[&str]) -> Diagnostic {
    let problem = Diagnostic::new(Code::UnknownKey, format!("unknown key `{}` of {what}", clip(key)));
    match near {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => {
            let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            problem.expected(format!("one of {}", known.join(", ")))
        }
    }
}

fn with_doc(mut schema: serde_json::Value, doc: &str) -> serde_json::Value {
    if let serde_json::Value::Object(map) = &mut schema {
        map.insert("description".to_owned(), doc.into());
    }
    schema
}
