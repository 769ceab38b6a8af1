//! All values of the configuration, each with where it came from.

use super::{
    keys::{self, Fallback, KEYS, Key, When},
    kind::Value,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was typed.
    CommandLine,
    /// The variable with this name.
    Variable(String),
    /// This line of the file.
    File { line: usize },
    /// Nobody said anything.
    Default,
}

impl Origin {
    /// Whether nobody said anything.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::Default
    }

    /// As JSON: one word, or an object with the line or the variable.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::CommandLine => "command line".into(),
            Self::Variable(name) => serde_json::json!({"variable": name}),
            Self::File { line } => serde_json::json!({"line": line}),
            Self::Default => "default".into(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Variable(name) => f.write_str(name),
            Self::File { line } => write!(f, "line {line}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Setting {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// A key, with the name of its section where its author chose one; sections stay together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Where the section begins in the table.
    section: usize,
    name: Option<String>,
    index: usize,
}

impl Place {
    pub(super) fn new(index: usize, name: Option<String>) -> Self {
        let around = KEYS[index].around_name().map(|(section, _)| section);
        let first = |section| KEYS.iter().position(|key| key.around_name().is_some_and(|(other, _)| other == section));
        Self { section: around.and_then(first).unwrap_or(index), name, index }
    }

    /// Its key.
    pub(crate) fn key(&self) -> &'static Key {
        &KEYS[self.index]
    }

    /// The name that its author chose.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

/// Its path, name and all.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key().path_of(self.name()))
    }
}

/// A value that has changed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) place: Place,
    /// What held before; nothing where the section is new.
    pub(crate) before: Option<Value>,
    /// What holds now; nothing where the section is gone.
    pub(crate) after: Option<Value>,
}

/// All values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Values {
    settings: BTreeMap<Place, Setting>,
    /// Sections with names of their authors' choice, also those in which nothing stands.
    named: BTreeSet<(String, String)>,
}

impl Values {
    /// Takes a value; what was there before gives way. Says what that was.
    pub(super) fn set(&mut self, place: Place, setting: Setting) -> Option<Setting> {
        self.settings.insert(place, setting)
    }

    /// Takes note of a section with a name, even if nothing stands in it.
    pub(super) fn name(&mut self, section: &str, name: &str) {
        self.named.insert((section.to_owned(), name.to_owned()));
    }

    /// What somebody said at a place, if anybody did.
    pub(super) fn at(&self, place: &Place) -> Option<&Setting> {
        self.settings.get(place)
    }

    /// Fills in what nobody said; what must be there and is not is given back.
    pub(super) fn fill(&mut self) -> Vec<Place> {
        let mut missing = Vec::new();
        for (index, key) in KEYS.iter().enumerate() {
            let names: Vec<Option<String>> = match key.around_name() {
                Some((section, _)) => self.names(section).into_iter().map(Some).collect(),
                None => vec![None],
            };
            for place in names.into_iter().map(|name| Place::new(index, name)) {
                let value = match key.default {
                    Fallback::Is(text) => key.kind.read(text).unwrap_or(Value::Nothing),
                    Fallback::Nothing => Value::Nothing,
                    Fallback::Required if self.settings.contains_key(&place) => continue,
                    Fallback::Required => {
                        missing.push(place);
                        continue;
                    }
                };
                self.settings.entry(place).or_insert(Setting { value, origin: Origin::Default });
            }
        }
        missing
    }

    /// What holds at a path without names.
    pub(super) fn setting(&self, path: &str) -> Option<&Setting> {
        self.settings.get(&Place::new(keys::at(path)?.0, None))
    }

    /// Shows a path as it was found out, wherever it came from.
    pub(super) fn show_path(&mut self, path: &str, found: &Path) {
        let place = keys::at(path).map(|(index, _)| Place::new(index, None));
        if let Some(setting) = place.and_then(|place| self.settings.get_mut(&place)) {
            setting.value = Value::Text(found.display().to_string());
        }
    }

    /// The names below a section whose authors choose them.
    pub(crate) fn names(&self, section: &str) -> BTreeSet<String> {
        let is_there = |place: &&Place| place.key().around_name().is_some_and(|(prefix, _)| prefix == section);
        // The queue of tasks that name none is always there.
        let always = (section == "queues").then(|| unknot_engine::core::settings::DEFAULT_QUEUE.to_owned());
        let empty = self.named.iter().filter(|(prefix, _)| prefix == section).map(|(_, name)| name.clone());
        let filled = self.settings.keys().filter(is_there).filter_map(|place| place.name.clone());
        filled.chain(empty).chain(always).collect()
    }

    /// All of them, in the order of the table.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Place, &Setting)> {
        self.settings.iter()
    }

    /// What holds at a path of the table. A path that is not in it is a bug.
    pub(crate) fn get(&self, path: &str, name: Option<&str>) -> &Value {
        let found =
            keys::at(path).and_then(|(index, _)| self.settings.get(&Place::new(index, name.map(str::to_owned))));
        debug_assert!(found.is_some(), "no `{path}` for {name:?}");
        found.map_or(&Value::Nothing, |setting| &setting.value)
    }

    /// What somebody wrote and this version does not obey, section by section.
    pub(crate) fn idle(&self) -> BTreeSet<String> {
        let is_idle = |(place, setting): &(&Place, &Setting)| {
            // Whoever writes down the default expects nothing of it.
            let is_default = matches!(place.key().default, Fallback::Is(text)
                if place.key().kind.read(text).as_ref() == Ok(&setting.value));
            place.key().when == When::Later && setting.value != Value::Nothing && !is_default
        };
        let section = |(place, _): (&Place, &Setting)| match (place.key().around_name(), place.name()) {
            (Some((section, rest)), Some(name)) if !rest.is_empty() => format!("{section}.{name}"),
            _ => place.to_string(),
        };
        self.settings.iter().filter(is_idle).map(section).collect()
    }

    /// These, with everything of `later` that is obeyed at a reload.
    pub(crate) fn with_reloaded(&self, later: &Self) -> Self {
        let waits = |place: &Place| place.key().when == When::Start;
        let kept = self.settings.iter().filter(|(place, _)| waits(place));
        let taken = later.settings.iter().filter(|(place, _)| !waits(place));
        let settings = kept.chain(taken).map(|(place, setting)| (place.clone(), setting.clone())).collect();
        Self { settings, named: later.named.clone() }
    }

    /// What is different in `after`.
    pub(crate) fn changes(&self, after: &Self) -> Vec<Change> {
        let places: BTreeSet<&Place> = self.settings.keys().chain(after.settings.keys()).collect();
        let value = |values: &Self, place: &Place| values.settings.get(place).map(|setting| setting.value.clone());
        let change = |place: &Place| {
            let (before, after) = (value(self, place), value(after, place));
            (before != after).then(|| Change { place: place.clone(), before, after })
        };
        places.into_iter().filter_map(change).collect()
    }
}
