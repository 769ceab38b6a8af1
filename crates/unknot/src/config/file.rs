//! `unknot.yaml`: the keys that this command obeys, read with their places.

use super::known::{self, Placed, join};
use crate::{error::Error, workflow::read_bounded};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use unknot_api::{
    Duration,
    document::{Document, Entry, Node, OnKey, ScalarKind, Value},
    report::{Code, Diagnostic, Report},
    source::Source,
};
use unknot_engine::core::{
    Millis,
    settings::{DEFAULT_QUEUE, PoolSettings, QueueSettings},
    validate::Rules,
};

/// Most attempts at once of one worker: each has a process and places in queues.
const SLOTS_MAX: u32 = 512;

/// What the file says, defaults filled in.
#[derive(Clone, Debug)]
pub(super) struct FileConfig {
    /// `server.data`, relative to the file.
    pub(super) data: Option<PathBuf>,
    /// `worker.slots`.
    pub(super) slots: u32,
    /// `queues`.
    pub(super) queues: BTreeMap<String, QueueSettings>,
    /// `pools`.
    pub(super) pools: BTreeMap<String, PoolSettings>,
    /// `deadlock.max_dependency_depth`.
    pub(super) max_dependency_depth: u32,
}

/// What holds without a file.
impl Default for FileConfig {
    fn default() -> Self {
        Self {
            data: None,
            slots: 8,
            queues: [(DEFAULT_QUEUE.to_owned(), QueueSettings::default())].into(),
            pools: BTreeMap::new(),
            max_dependency_depth: Rules::default().max_dependency_depth,
        }
    }
}

/// Reads a configuration.
///
/// # Errors
/// If the file cannot be read, or anything in it is wrong.
pub(super) fn read(path: &Path) -> Result<FileConfig, Error> {
    let bytes = read_bounded(path).map_err(|source| Error::ConfigUnreadable { path: path.to_path_buf(), source })?;
    parse(&path.display().to_string(), &bytes).map_err(Error::File)
}

fn parse(name: &str, bytes: &[u8]) -> Result<FileConfig, Report> {
    let source = Source::new(name, bytes)?;
    let document = Document::load(&source)?;
    let mut reader = Reader::default();
    known::check(&document, &mut reader.problems);
    let config = reader.config(&document.root);
    if reader.problems.is_empty() { Ok(config) } else { Err(document.report(reader.problems)) }
}

/// A value with its path.
struct At<'n, 's> {
    node: &'n Node<'s>,
    path: String,
}

impl<'n, 's> At<'n, 's> {
    fn entries(&self) -> &'n [Entry<'s>] {
        match &self.node.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    fn get(&self, key: &str) -> Option<Self> {
        let entry = self.entries().iter().find(|entry| entry.key == key)?;
        Some(At { node: &entry.node, path: join(&self.path, key) })
    }

    fn each(&self) -> impl Iterator<Item = (String, Self)> {
        let below = |entry: &'n Entry<'s>| At { node: &entry.node, path: join(&self.path, &entry.key) };
        self.entries().iter().map(move |entry| (entry.key.to_string(), below(entry)))
    }

    /// The text of a single value of some kind.
    fn text(&self, kind: ScalarKind) -> Option<&'n str> {
        match &self.node.value {
            Value::Scalar(scalar) if scalar.kind == kind => Some(&scalar.text),
            _ => None,
        }
    }
}

/// Collects problems while values are read.
#[derive(Default)]
struct Reader {
    problems: Vec<Placed>,
}

impl Reader {
    fn config(&mut self, root: &Node<'_>) -> FileConfig {
        let mut config = FileConfig::default();
        let root = At { node: root, path: String::new() };
        let section = |name: &str| root.get(name);
        if let Some(data) = section("server").and_then(|server| server.get("data")) {
            config.data = self.value(&data, "a folder", |at| at.text(ScalarKind::Text).map(PathBuf::from));
        }
        if let Some(slots) = section("worker").and_then(|worker| worker.get("slots")) {
            config.slots = self.slots(&slots).unwrap_or(config.slots);
        }
        for deadlock in ["orchestrator", "deadlock"].into_iter().filter_map(section) {
            if let Some(depth) = deadlock.get("max_dependency_depth") {
                config.max_dependency_depth = self.count(&depth, 1).unwrap_or(config.max_dependency_depth);
            }
        }
        for (name, queue) in section("queues").iter().flat_map(At::each) {
            config.queues.insert(name, self.queue(&queue));
        }
        for (name, pool) in section("pools").iter().flat_map(At::each) {
            if let Some(pool) = self.pool(&pool) {
                config.pools.insert(name, pool);
            }
        }
        config
    }

    fn queue(&mut self, at: &At<'_, '_>) -> QueueSettings {
        let mut queue = QueueSettings::default();
        let mut count = |key: &str, target: &mut u32| {
            if let Some(value) = at.get(key) {
                *target = self.count(&value, 0).unwrap_or(*target);
            }
        };
        count("max_queue_size", &mut queue.max_queue_size);
        count("max_retries", &mut queue.max_retries);
        let mut length = |key: &str, target: &mut Millis| {
            if let Some(value) = at.get(key) {
                *target = self.length(&value).unwrap_or(*target);
            }
        };
        length("visibility_timeout", &mut queue.visibility_timeout);
        length("low_counts_as_high_after", &mut queue.low_counts_as_high_after);
        queue
    }

    fn pool(&mut self, at: &At<'_, '_>) -> Option<PoolSettings> {
        let Some(size) = at.get("size") else {
            let problem = Diagnostic::new(Code::MissingKey, "`size` of the pool is missing");
            self.problems.push((problem.at(&*at.path), OnKey::Yes));
            return None;
        };
        let size = self.count(&size, 1)?;
        let lend = match at.get("lend") {
            Some(lend) => self.value(&lend, "`true` or `false`", truth)?,
            None => false,
        };
        Some(PoolSettings { size, lend })
    }

    fn slots(&mut self, at: &At<'_, '_>) -> Option<u32> {
        let read = |at: &At<'_, '_>| whole(at).filter(|slots| (1..=SLOTS_MAX).contains(slots));
        self.value(at, &format!("a whole number from 1 to {SLOTS_MAX}"), read)
    }

    fn count(&mut self, at: &At<'_, '_>, least: u32) -> Option<u32> {
        let read = |at: &At<'_, '_>| whole(at).filter(|&number| number >= least);
        self.value(at, &format!("a whole number, {least} or more"), read)
    }

    fn length(&mut self, at: &At<'_, '_>) -> Option<Millis> {
        let read = |at: &At<'_, '_>| Duration::parse(at.text(ScalarKind::Text)?).map(|length| Millis(length.ms));
        self.value(at, "a length of time such as `30s` or `10m`", read)
    }

    fn value<T>(&mut self, at: &At<'_, '_>, expected: &str, read: impl FnOnce(&At<'_, '_>) -> Option<T>) -> Option<T> {
        let value = read(at);
        if value.is_none() {
            let problem = Diagnostic::new(Code::WrongType, "this value cannot stand here").expected(expected);
            self.problems.push((problem.at(&*at.path), OnKey::No));
        }
        value
    }
}

fn whole(at: &At<'_, '_>) -> Option<u32> {
    at.text(ScalarKind::Number)?.parse().ok()
}

fn truth(at: &At<'_, '_>) -> Option<bool> {
    match (at.text(ScalarKind::True), at.text(ScalarKind::False)) {
        (Some(_), _) => Some(true),
        (_, Some(_)) => Some(false),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a configuration, as a person sees it; or `sound` with what is obeyed.
    fn check(text: &str, expected: &str) {
        let told = match parse("unknot.yaml", text.as_bytes()) {
            Ok(config) => {
                format!("{:?} {} {} {:?}", config.data, config.slots, config.max_dependency_depth, config.pools)
            }
            Err(report) => {
                let line = |problem: &Diagnostic| {
                    let help = problem.help.as_deref().or(problem.expected.as_deref()).unwrap_or_default();
                    format!("{}:{} {} ({help})", problem.line, problem.column, problem.message)
                };
                report.problems.iter().map(line).collect::<Vec<_>>().join("; ")
            }
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn known_keys_are_read_and_others_are_told() {
        check("{}", "None 8 50 {}");
        check(
            "server: {data: runs, listen: x}\nworker: {slots: 2}\norchestrator: {max_dependency_depth: 7}\npools: {gpu: {size: 1}}\n",
            "Some(\"runs\") 2 7 {\"gpu\": PoolSettings { size: 1, lend: false }}",
        );
        check("worker: {slot: 2}\n", "1:10 unknown key `slot` (did you mean `slots`?)");
        check("gateway:\n  breaker: {timout: 5}\n", "2:13 unknown key `timout` (did you mean `timeout`?)");
        check("worker: {slots: many}\n", "1:17 this value cannot stand here (a whole number from 1 to 512)");
        check("worker: {slots: 513}\n", "1:17 this value cannot stand here (a whole number from 1 to 512)");
        check("pools: {gpu: {lend: true}}\n", "1:9 `size` of the pool is missing ()");
        check(
            "queues: {default: {visibility_timeout: 5}}\n",
            "1:40 this value cannot stand here (a length of time such as `30s` or `10m`)",
        );
    }

    #[test]
    fn the_documented_example_is_obeyed() {
        let page = include_str!("../../../../docs/cli.md");
        let example = page.split_once("```yaml\n").and_then(|(_, rest)| rest.split_once("```")).expect("an example").0;
        check(example, "Some(\".unknot\") 8 50 {\"gpu\": PoolSettings { size: 2, lend: false }}");
    }
}
