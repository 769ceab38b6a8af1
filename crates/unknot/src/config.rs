//! What was typed and what stands in `unknot.yaml`, as one validated whole.

mod file;
mod known;

use crate::{args::Place, error::Error};
use file::FileConfig;
use std::{
    env,
    path::{Path, PathBuf},
};
use unknot_engine::core::{
    settings::{Bounds, Settings},
    validate::Rules,
};

/// The configuration's file name.
const FILE: &str = "unknot.yaml";
/// The data folder where nobody names one.
const DATA: &str = ".unknot";

/// Everything a command needs to know of its surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The data folder, absolute.
    pub(crate) data: PathBuf,
    /// Attempts at once.
    pub(crate) slots: u32,
    /// Queues and pools.
    pub(crate) settings: Settings,
    /// Most tasks in one chain of needs.
    max_dependency_depth: u32,
}

impl Config {
    /// The configuration for a workflow file: looked for from its folder upwards.
    ///
    /// # Errors
    /// If there is one and it cannot be read, or is not sound.
    pub(crate) fn beside(flow: &Path, place: &Place) -> Result<Self, Error> {
        let flow = absolute(flow);
        Self::from_folder(flow.parent().unwrap_or(Path::new("/")), place)
    }

    /// The configuration for commands that name no workflow: looked for from the current folder upwards.
    ///
    /// # Errors
    /// As for [`Config::beside`].
    pub(crate) fn here(place: &Place) -> Result<Self, Error> {
        Self::from_folder(&absolute(Path::new(".")), place)
    }

    fn from_folder(folder: &Path, place: &Place) -> Result<Self, Error> {
        let found = folder.ancestors().map(|folder| folder.join(FILE)).find(|path| path.is_file());
        let file = match &found {
            Some(path) => file::read(&nicer(path))?,
            None => FileConfig::default(),
        };
        let named_in_file = file.data.as_ref().zip(found.as_deref().and_then(Path::parent));
        let data = match (&place.data, named_in_file) {
            (Some(data), _) => absolute(data),
            (None, Some((data, beside))) => absolute(&beside.join(data)),
            (None, None) => folder.join(DATA),
        };
        Ok(Self {
            data,
            slots: file.slots,
            settings: Settings { queues: file.queues, pools: file.pools, bounds: Bounds::default() },
            max_dependency_depth: file.max_dependency_depth,
        })
    }

    /// What a workflow is checked against.
    pub(crate) fn rules(&self) -> Rules {
        Rules {
            max_dependency_depth: self.max_dependency_depth,
            pools: self.settings.pools.iter().map(|(name, pool)| (name.clone(), pool.size)).collect(),
        }
    }

    /// How the other commands are told of the data folder: nothing, where they find it by themselves.
    pub(crate) fn data_option(&self) -> String {
        self.option_beside(Self::here(&Place::default()))
    }

    /// The command that goes on with a run of a workflow file.
    pub(crate) fn run_again(&self, flow: &Path) -> String {
        let option = self.option_beside(Self::beside(flow, &Place::default()));
        format!("unknot run {}{option}", quoted(&nicer(flow).display().to_string()))
    }

    fn option_beside(&self, found: Result<Self, Error>) -> String {
        match found {
            Ok(found) if found.data == self.data => String::new(),
            _ => format!(" --data {}", quoted(&nicer(&self.data).display().to_string())),
        }
    }
}

/// A path from the root without `.`, `..` and links, so that one file typed in two ways is one file. A
/// path that does not exist yet has one as well.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    let from_root = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    if let Ok(found) = from_root.canonicalize() {
        return found;
    }
    match (from_root.parent(), from_root.file_name()) {
        (Some(parent), Some(name)) => absolute(parent).join(name),
        _ => from_root,
    }
}

/// A path as a person here would write it: relative where it lies below the current folder.
pub(crate) fn nicer(path: &Path) -> PathBuf {
    let here = env::current_dir().map(|here| absolute(&here)).unwrap_or_default();
    match path.strip_prefix(&here) {
        Ok(below) if below.as_os_str().is_empty() => PathBuf::from("."),
        Ok(below) => below.to_path_buf(),
        Err(_) => path.to_path_buf(),
    }
}

/// `text` as a shell takes it for one word.
fn quoted(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+=:@%,".contains(letter);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_the_shell_stay_one_word() {
        for (text, word) in [("a/b.c", "a/b.c"), ("my runs", "'my runs'"), ("it's", r"'it'\''s'")] {
            assert_eq!(quoted(text), word);
        }
    }
}
