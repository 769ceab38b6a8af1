//! The workflows that a workflow file calls: files beside it, each by the `name:` in it, and what is registered.

use crate::{
    config::Config,
    error::Error,
    workflow::{self, read_bounded},
};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use unknot_api::{
    document::{Document, Numbers},
    source::Source,
};
use unknot_engine::{
    calls::{CALLS_MAX, Called, Calls},
    convert::{self, Checked},
    core::{
        validate::Problem,
        workflow::{Definition, DefinitionHash, TaskDef},
    },
    store::{Namespace, PageSize, Reader},
};

/// Files beside a workflow file that are looked at.
const FILES_MAX: usize = 1_000;
/// A larger file beside it is not looked at: nobody calls a workflow of so many tasks by its name.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A workflow file, and the folder in which those that it calls are looked for.
pub(crate) struct Beside<'f> {
    flow: &'f Path,
    config: &'f Config,
    checked: &'f Checked,
}

impl<'f> Beside<'f> {
    pub(crate) fn new(flow: &'f Path, config: &'f Config, checked: &'f Checked) -> Self {
        Self { flow, config, checked }
    }

    /// All that it calls, for a run in this process; what no file beside it has is looked for in the store. Of what its
    /// attempts may spawn, as much as files beside it have.
    ///
    /// # Errors
    /// If something is called that nobody has, or that is not sound.
    pub(crate) fn definitions(&self, reader: &mut dyn Reader) -> Result<Called, Error> {
        let mut calls = Calls::of(&self.checked.definition);
        while let Some(name) = calls.wanted() {
            let found = match self.file(&name)? {
                Some(file) => Some(workflow::read(&file, self.config)?.definition),
                // What is registered when it is spawned is what is spawned.
                None if calls.may_be_left() => {
                    calls.leave();
                    continue;
                }
                None => self.registered(reader, &name)?,
            };
            let outcome = match found {
                Some(found) => calls.found(found),
                None => Err(calls.unknown(self.known(reader)?.iter().map(String::as_str))),
            };
            outcome.map_err(|problem| self.report(*problem))?;
        }
        Ok(calls.end())
    }

    /// Those that it starts and files beside it have, as a server is given them; the others are the server's to find.
    ///
    /// # Errors
    /// If one of them is not sound, or JSON cannot say what it says.
    pub(crate) fn documents(&self) -> Result<BTreeMap<String, Map<String, Value>>, Error> {
        let mut documents = BTreeMap::new();
        let mut calls = Calls::of(&self.checked.definition);
        while let Some(name) = calls.wanted() {
            let Some(file) = self.file(&name)? else {
                calls.leave();
                continue;
            };
            let checked = workflow::read(&file, self.config)?;
            documents.insert(name.to_string(), workflow::as_json(&file, self.config, &checked)?);
            calls.found(checked.definition).map_err(|problem| self.report(*problem))?;
        }
        Ok(documents)
    }

    /// It and all that it starts, directly or by others, those included that its tasks only say that they may spawn: as
    /// far as files beside it have them.
    ///
    /// # Errors
    /// If one of them is not sound, or two files have the same name.
    pub(crate) fn known_definitions(&self) -> Result<Called, Error> {
        let root = &self.checked.definition;
        let mut known = Called::from([(Arc::clone(&root.body.name), Arc::clone(root))]);
        let mut open = vec![Arc::clone(root)];
        while let Some(definition) = open.pop() {
            for name in definition.body.tasks.iter().flat_map(TaskDef::starts) {
                if known.contains_key(name) || known.len() > CALLS_MAX {
                    continue;
                }
                let Some(file) = self.file(name)? else { continue };
                let found = workflow::read(&file, self.config)?.definition;
                known.insert(Arc::clone(name), Arc::clone(&found));
                open.push(found);
            }
        }
        Ok(known)
    }

    /// A problem with what is called, at its line of the file.
    fn report(&self, problem: Problem) -> Error {
        let bytes = read_bounded(self.flow).unwrap_or_default();
        Error::File(convert::workflow_report(self.flow, &bytes, vec![problem]))
    }

    /// The file that has the workflow of this name.
    fn file(&self, name: &str) -> Result<Option<PathBuf>, Error> {
        let mut found: Vec<PathBuf> = Vec::new();
        for file in self.files()? {
            let is_it = name_of(&file, Some(name)).is_some_and(|known| known == name);
            if is_it && !is_same_file(&file, self.flow) {
                found.push(file);
            }
        }
        match &found[..] {
            [first, second, ..] => {
                Err(Error::CalledTwice { name: name.to_owned(), first: first.clone(), second: second.clone() })
            }
            _ => Ok(found.pop()),
        }
    }

    /// What may be workflow files beside it, in order.
    fn files(&self) -> Result<Vec<PathBuf>, Error> {
        let folder = self.flow.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let unreadable = |source: io::Error| Error::WorkflowUnreadable { path: folder.to_path_buf(), source };
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let is_named =
                path.extension().is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|one| ending == *one));
            let is_small = || path.metadata().is_ok_and(|data| data.is_file() && data.len() <= FILE_BYTES_MAX);
            if is_named && is_small() {
                files.push(path);
            }
        }
        files.sort();
        files.truncate(FILES_MAX);
        Ok(files)
    }

    /// The newest version that is registered in the store.
    fn registered(&self, reader: &mut dyn Reader, name: &str) -> Result<Option<Arc<Definition>>, Error> {
        let failed = Error::store("look for a registered workflow");
        let found = reader.workflow(&Namespace::default(), name, None).map_err(failed)?.value;
        let Some(found) = found else { return Ok(None) };
        let title = format!("{name} (registered, {}).json", short(&found.hash));
        let read = convert::read_workflow(Path::new(&title), found.document.0.as_bytes(), &self.config.rules());
        read.map(|checked| Some(checked.definition)).map_err(Error::File)
    }

    /// Names that may have been meant.
    fn known(&self, reader: &mut dyn Reader) -> Result<Vec<String>, Error> {
        let failed = Error::store("list the registered workflows");
        let page = reader.workflows(&Namespace::default(), None, PageSize::MAX).map_err(failed)?.value;
        let registered = page.items.into_iter().map(|version| version.name);
        Ok(self.files()?.iter().filter_map(|file| name_of(file, None)).chain(registered).collect())
    }
}

fn short(hash: &DefinitionHash) -> String {
    hash.0.chars().take(8).collect()
}

fn is_same_file(left: &Path, right: &Path) -> bool {
    matches!((left.canonicalize(), right.canonicalize()), (Ok(left), Ok(right)) if left == right)
}

/// The name of the workflow in a file; none: it is no workflow file. One in which the word that is looked for does not
/// stand is not read whole.
fn name_of(file: &Path, wanted: Option<&str>) -> Option<String> {
    let bytes = read_bounded(file).ok()?;
    let text = str::from_utf8(&bytes).ok()?;
    if wanted.is_some_and(|wanted| !text.contains(wanted)) {
        return None;
    }
    let source = Source::new(file.display().to_string(), &bytes).ok()?;
    let root = Document::load(&source).ok()?.root.to_json(Numbers::AsText);
    let is_workflow = root.get("tasks").is_some();
    root.get("name").filter(|_| is_workflow)?.as_str().map(str::to_owned)
}
