//! The repository as the rules see it: paths and texts in memory.

use super::{Finding, source::Source};
use crate::Result;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

/// Folders that are not part of the repository, wherever they stand.
const SKIPPED_FOLDERS: &[&str] = &[".git", ".unknot", "__pycache__", "target"];

/// All that the rules look at. Paths are relative to the root, with `/` between their parts.
pub(super) struct Tree {
    /// Every file and folder.
    paths: BTreeSet<String>,
    /// Every file that is UTF-8 text, except Rust sources and lock files.
    texts: BTreeMap<String, String>,
    /// Every Rust file.
    sources: Vec<Source>,
    /// What `cargo metadata --no-deps` says of the workspace.
    metadata: Value,
}

impl Tree {
    /// Reads the work tree below `root`.
    ///
    /// # Errors
    /// If a file or folder of it cannot be read.
    pub(super) fn read(root: &Path, metadata: Value) -> Result<Self> {
        let mut tree = Self::empty(metadata);
        tree.read_folder(root, "")?;
        Ok(tree)
    }

    /// A tree of these paths and texts, for the tests of rules.
    #[cfg(test)]
    pub(super) fn planted(files: &[(&str, &str)]) -> Self {
        Self::planted_with_metadata(files, Value::Null)
    }

    /// Like [`Tree::planted`], with the workspace's metadata.
    #[cfg(test)]
    pub(super) fn planted_with_metadata(files: &[(&str, &str)], metadata: Value) -> Self {
        let mut tree = Self::empty(metadata);
        for (path, text) in files {
            for (end, _) in path.match_indices('/') {
                tree.paths.insert(path[..end].to_owned());
            }
            tree.insert(path, Some((*text).to_owned()));
        }
        tree
    }

    /// Every file and folder, by path.
    pub(super) fn contains(&self, path: &str) -> bool {
        path.is_empty() || self.paths.contains(path)
    }

    /// Texts other than Rust, in path order.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The text of one file other than Rust.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Rust files, in path order.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter()
    }

    /// What `cargo metadata --no-deps` says of the workspace.
    pub(super) fn metadata(&self) -> &Value {
        &self.metadata
    }

    fn empty(metadata: Value) -> Self {
        Self { paths: BTreeSet::new(), texts: BTreeMap::new(), sources: Vec::new(), metadata }
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) -> io::Result<()> {
        let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            let kind = entry.file_type()?;
            if kind.is_dir() && !SKIPPED_FOLDERS.contains(&name.as_str()) {
                self.paths.insert(path.clone());
                self.read_folder(&entry.path(), &path)?;
            } else if kind.is_file() {
                self.insert(&path, String::from_utf8(fs::read(entry.path())?).ok());
            }
        }
        Ok(())
    }

    fn insert(&mut self, path: &str, text: Option<String>) {
        self.paths.insert(path.to_owned());
        match text {
            Some(text) if path.ends_with(".rs") => self.sources.push(Source::new(path, text)),
            Some(text) if !path.ends_with(".lock") => drop(self.texts.insert(path.to_owned(), text)),
            _ => {}
        }
    }
}

/// Appends a finding for each line of `text` that `judge` has a message for.
pub(super) fn judge_lines(
    findings: &mut Vec<Finding>,
    (file, text): (&str, &str),
    rule: &'static str,
    judge: impl Fn(&str) -> Option<String>,
) {
    for (index, line) in text.lines().enumerate() {
        if let Some(message) = judge(line) {
            findings.push(Finding { file: file.to_owned(), line: index + 1, rule, message });
        }
    }
}

/// The byte offsets at which `word` stands in `text` with no letter, digit or `_` beside it.
pub(super) fn find_words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let inner = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let bytes = text.as_bytes();
    text.match_indices(word).map(|(start, _)| start).filter(move |&start| {
        let before = start.checked_sub(1).and_then(|index| bytes.get(index));
        let joins = word.as_bytes().last().is_some_and(|byte| byte.is_ascii_alphanumeric());
        !inner(before) && (!joins || !inner(bytes.get(start + word.len())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_borders() {
        assert_eq!(find_words("fn a() { fnord(); my_fn(); fn }", "fn").collect::<Vec<_>>(), [0, 27]);
        assert_eq!(find_words("dbg!(x) mydbg!(y)", "dbg!").collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn a_planted_tree_has_its_folders_and_kinds() {
        let tree = Tree::planted(&[("a/b/c.rs", "//! c"), ("a/d.md", "# d"), ("Cargo.lock", "")]);
        assert!(
            tree.contains("a/b") && tree.contains("a/d.md") && tree.contains("Cargo.lock") && !tree.contains("d.md")
        );
        assert_eq!(tree.sources().count(), 1);
        assert_eq!(tree.texts().count(), 1);
    }

    #[test]
    fn a_real_folder_is_read_without_what_is_built_in_it() {
        let tree = Tree::read(Path::new(env!("CARGO_MANIFEST_DIR")), Value::Null).unwrap();
        assert!(tree.contains("src/tidy/tree.rs") && tree.contains("Cargo.toml") && !tree.contains("target"));
    }
}
