//! The workflow file that was named on the command line.

use crate::{config::Config, error::Error};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::Path,
    slice,
};
use unknot_api::{
    document::{Document, Numbers},
    source::{SOURCE_MAX, Source},
};
use unknot_engine::{
    convert::{self, Checked},
    core::validate::Rules,
};

/// What stands for standard input where a file is named.
const STANDARD_INPUT: &str = "-";

/// Reads and checks a workflow file by the rules of the configuration beside it.
///
/// # Errors
/// If it cannot be read, or is not sound.
pub(crate) fn read(flow: &Path, config: &Config) -> Result<Checked, Error> {
    let unreadable = |source| Error::WorkflowUnreadable { path: flow.to_path_buf(), source };
    let bytes = read_bounded(flow).map_err(unreadable)?;
    convert::read_workflow(flow, &bytes, &rules(flow, &bytes, config)).map_err(Error::File)
}

/// What a file is checked against. Pools that are for somebody else to judge are as large as it asks for.
fn rules(flow: &Path, bytes: &[u8], config: &Config) -> Rules {
    let mut rules = config.rules();
    let source = Source::new(flow.display().to_string(), bytes).ok().filter(|_| config.any_pools);
    let document = source.as_ref().and_then(|source| Document::load(source).ok());
    let Some(document) = document.map(|document| document.root.to_json(Numbers::AsNumbers)) else { return rules };
    for task in document["tasks"].as_object().into_iter().flat_map(|tasks| tasks.values()) {
        for (pool, units) in asked(task) {
            let size = rules.pools.entry(pool).or_insert(1);
            *size = units.max(*size);
        }
    }
    rules
}

/// Units of pools that a task holds while it runs, and those that it says it acquires then, together.
fn asked(task: &Value) -> BTreeMap<String, u32> {
    let steps = match &task["acquires"] {
        Value::Array(steps) => steps.as_slice(),
        step => slice::from_ref(step),
    };
    let mut sums = BTreeMap::new();
    for (pool, units) in steps.iter().chain([task]).flat_map(|part| part["pools"].as_object()).flatten() {
        let units = units.as_u64().and_then(|units| u32::try_from(units).ok()).unwrap_or(1);
        let sum: &mut u32 = sums.entry(pool.clone()).or_default();
        *sum = sum.saturating_add(units);
    }
    sums
}

/// A workflow file as a server is given it: JSON that means the same.
///
/// # Errors
/// If it cannot be read, or JSON cannot say what it says.
pub(crate) fn as_json(flow: &Path, config: &Config, checked: &Checked) -> Result<Map<String, Value>, Error> {
    let unreadable = |source| Error::WorkflowUnreadable { path: flow.to_path_buf(), source };
    let bytes = read_bounded(flow).map_err(unreadable)?;
    let source = Source::new(flow.display().to_string(), &bytes).map_err(Error::File)?;
    let document = Document::load(&source).map_err(Error::File)?;
    let means_the_same = |value: &Value| {
        let again = serde_json::to_vec(value).ok()?;
        let again = convert::read_workflow(Path::new("workflow.json"), &again, &rules(flow, &bytes, config)).ok()?;
        let is_same = again.definition.body.hash == checked.definition.body.hash && again.run == checked.run;
        is_same.then_some(())
    };
    // Where a number stands for text (`1.10` in a command), only its text is what was written.
    let tried = [Numbers::AsNumbers, Numbers::AsText].map(|numbers| document.root.to_json(numbers));
    match tried.into_iter().find(|value| means_the_same(value).is_some()) {
        Some(Value::Object(map)) => Ok(map),
        _ => Err(Error::Unsendable { path: flow.to_path_buf() }),
    }
}

/// The bytes of a file that a person names, up to one more than any file may have: whoever reads them
/// refuses the rest. `-` is standard input; anything else must be a file: to open a pipe is to wait for whoever
/// may never write into it.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = SOURCE_MAX as u64 + 1;
    if path == Path::new(STANDARD_INPUT) {
        io::stdin().lock().take(most).read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    let kind = path.metadata()?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        let message = "it is a pipe or a device; `-` reads standard input";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
