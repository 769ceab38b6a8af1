//! `unknot.yaml`: its keys and values, each with its place.

use super::{
    keys::{self, Fallback, Key},
    kind::{Value, Wrong},
    values::{Origin, Place, Setting, Values},
};
use unknot_api::{
    document::{self, Document, Entry, Node, OnKey},
    report::{Code, Diagnostic, Report},
    source::Source,
};

/// What a file says, and what must be kept to point into it.
pub(super) struct Read<'s> {
    document: Document<'s>,
    line_starts: Vec<usize>,
    problems: Vec<(Diagnostic, OnKey)>,
    pub(super) values: Values,
}

impl<'s> Read<'s> {
    /// Reads all keys. What is wrong with them is told at the end, all at once.
    ///
    /// # Errors
    /// If it is neither YAML nor JSON.
    pub(super) fn new(source: &'s Source) -> Result<Self, Report> {
        let document = Document::load_or_empty(source)?;
        let breaks = source.text().match_indices('\n').map(|(at, _)| at);
        let mut read =
            Self { document, line_starts: breaks.collect(), problems: Vec::new(), values: Values::default() };
        let root = read.document.root.clone();
        read.section(&root, &Spot::default());
        Ok(read)
    }

    /// What was found wrong, with what is missing and what does not fit once variables are counted in.
    ///
    /// # Errors
    /// If that is anything.
    pub(super) fn end(mut self, missing: &[Place], others: Vec<Diagnostic>) -> Result<(), Report> {
        // What stands there and is wrong is not missing.
        let is_told = |other: &Diagnostic| {
            let inside = |(problem, _): &(Diagnostic, OnKey)| {
                problem.path.strip_prefix(&*other.path).is_some_and(|rest| rest.starts_with('.'))
            };
            other.code == Code::MissingKey.as_str() && self.problems.iter().any(inside)
        };
        let others: Vec<Diagnostic> = others.into_iter().filter(|other| !is_told(other)).collect();
        self.problems.extend(others.into_iter().map(|problem| (problem, OnKey::Yes)));
        for path in missing.iter().map(Place::to_string) {
            if self.problems.iter().any(|(problem, _)| problem.path == path) {
                continue;
            }
            let (section, leaf) = path.rsplit_once('.').unwrap_or(("", &path));
            let message = format!("`{leaf}` of `{section}` is missing");
            self.problems.push((Diagnostic::new(Code::MissingKey, message).at(section), OnKey::Yes));
        }
        for inbox in self.values.names("inboxes") {
            let value = |key: &str| {
                let (index, _) = keys::at(&format!("inboxes.*.{key}"))?;
                self.values.at(&Place::new(index, Some(inbox.clone()))).filter(|found| found.value != Value::Nothing)
            };
            if value("file").is_some() == value("folder").is_some() {
                let message = format!("`inboxes.{inbox}` needs either `file` or `folder`");
                self.problems
                    .push((Diagnostic::new(Code::Exclusive, message).at(format!("inboxes.{inbox}")), OnKey::Yes));
            }
        }
        if self.problems.is_empty() { Ok(()) } else { Err(self.document.report(self.problems)) }
    }

    fn section(&mut self, node: &Node<'_>, spot: &Spot) {
        let entries: &[Entry<'_>] = match &node.value {
            document::Value::Map(entries) => entries,
            // A section of which only the heading is left.
            document::Value::Scalar(scalar) if scalar.kind == document::ScalarKind::Null => &[],
            _ => return self.wrong(spot, "this value cannot stand here", Some("a map of keys".to_owned())),
        };
        let known = keys::below(&spot.pattern);
        let has_monitor = spot.path.is_empty() && entries.iter().any(|entry| entry.key == "deadlock");
        for entry in entries {
            // The seed writes the same keys below `orchestrator: {deadlock: …}`.
            let is_seeds = (spot.pattern.is_empty() && entry.key == "orchestrator")
                || (spot.path == "orchestrator" && entry.key == "deadlock");
            if is_seeds && has_monitor {
                self.monitor_twice(entry);
            } else if is_seeds && entries.iter().any(|other| known.contains(&&*other.key) && !spot.path.is_empty()) {
                let message = "`orchestrator` has keys of the monitor both by itself and below `deadlock`";
                self.twice(message.to_owned(), "orchestrator.deadlock");
            } else if is_seeds {
                self.section(&entry.node, &Spot { pattern: "deadlock".to_owned(), ..spot.below("", &entry.key) });
            } else if known == ["*"] {
                self.named(entry, spot);
            } else if known.contains(&&*entry.key) {
                self.value(&entry.node, &spot.below(&entry.key, &entry.key));
            } else {
                let below = spot.below(&entry.key, &entry.key);
                self.problems.push((unknown(entry, &known).at(below.path), OnKey::Yes));
            }
        }
    }

    /// The monitor's keys stand in both places where they may.
    fn monitor_twice(&mut self, orchestrator: &Entry<'_>) {
        let below = match &orchestrator.node.value {
            document::Value::Map(entries) if entries.iter().any(|entry| entry.key == "deadlock") => ".deadlock",
            _ => "",
        };
        let path = format!("orchestrator{below}");
        self.twice(format!("`deadlock` and `{path}` both stand in this file"), &path);
    }

    /// A section is begun in two places, the second of which is at `path`: whichever won would surprise somebody.
    fn twice(&mut self, message: String, path: &str) {
        let problem = Diagnostic::new(Code::Exclusive, message).help("keep one of the two: they are the same section");
        self.problems.push((problem.at(path), OnKey::Yes));
    }

    fn named(&mut self, entry: &Entry<'_>, spot: &Spot) {
        let below = Spot { name: Some(entry.key.to_string()), ..spot.below("*", &entry.key) };
        if is_name(&entry.key) {
            if keys::at(&below.pattern).is_none() {
                self.values.name(&spot.pattern, &entry.key);
            }
            return self.value(&entry.node, &below);
        }
        let problem = Diagnostic::new(Code::WrongType, "this is no name")
            .expected("a small letter, then small letters, digits, `_` and `-`, up to 100 in all");
        self.problems.push((problem.at(below.path), OnKey::Yes));
    }

    fn value(&mut self, node: &Node<'_>, spot: &Spot) {
        let Some((index, key)) = keys::at(&spot.pattern) else { return self.section(node, spot) };
        let value = match read(node, key) {
            Ok(value) => value,
            Err(wrong) => {
                let message = wrong.message.replace("this address", &format!("the address in `{}`", spot.path));
                let problem =
                    Diagnostic { expected: wrong.expected, help: wrong.help, ..Diagnostic::new(wrong.code, message) };
                return self.problems.push((problem.at(&*spot.path), OnKey::No));
            }
        };
        let line = self.line_starts.partition_point(|&at| at < node.span.start as usize) + 1;
        let setting = Setting { value, origin: Origin::File { line } };
        self.values.set(Place::new(index, spot.name.clone()), setting);
    }

    fn wrong(&mut self, spot: &Spot, message: &str, expected: Option<String>) {
        let problem = Diagnostic { expected, ..Diagnostic::new(Code::WrongType, message) };
        self.problems.push((problem.at(&*spot.path), OnKey::No));
    }
}

/// Where a reader of the file is.
#[derive(Clone, Debug, Default)]
struct Spot {
    /// In the table.
    pattern: String,
    /// In the file.
    path: String,
    /// The name on the way.
    name: Option<String>,
}

impl Spot {
    fn below(&self, pattern: &str, key: &str) -> Self {
        let dot = if self.pattern.is_empty() { "" } else { "." };
        Self {
            pattern: format!("{}{dot}{pattern}", self.pattern),
            path: join(&self.path, key),
            name: self.name.clone(),
        }
    }
}

fn read(node: &Node<'_>, key: &Key) -> Result<Value, Wrong> {
    match &node.value {
        document::Value::Scalar(scalar) if scalar.kind == document::ScalarKind::Null => match key.default {
            Fallback::Nothing => Ok(Value::Nothing),
            Fallback::Is(_) | Fallback::Required => Err(key.kind.wrong("")),
        },
        document::Value::Scalar(scalar) => key.kind.read_scalar(scalar.kind, &scalar.text),
        document::Value::List(items) if key.kind == super::kind::Kind::Texts => {
            let text = |item: &Node<'_>| match &item.value {
                document::Value::Scalar(scalar) if scalar.kind == document::ScalarKind::Text => {
                    Ok(scalar.text.to_string())
                }
                _ => Err(key.kind.wrong("")),
            };
            items.iter().map(text).collect::<Result<_, _>>().map(Value::Texts)
        }
        document::Value::List(_) | document::Value::Map(_) => Err(key.kind.wrong("")),
    }
}

fn unknown(entry: &Entry<'_>, known: &[&str]) -> Diagnostic {
    let problem = Diagnostic::new(Code::UnknownKey, format!("unknown key `{}`", entry.key));
    match unknot_engine::core::validate::nearest(&entry.key, known.iter().copied()) {
        Some(nearest) => problem.help(format!("did you mean `{nearest}`?")),
        None => problem.expected(format!("one of `{}`", known.join("`, `"))),
    }
}

/// What may be a name: the same as in workflow files.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    name.len() <= 100 && name.starts_with(|first: char| first.is_ascii_lowercase()) && name.bytes().all(plain)
}

/// How `key` continues a path.
fn join(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    match (plain, path.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{path}.{key}"),
        (false, _) => format!("{path}[{}]", serde_json::Value::from(key)),
    }
}
