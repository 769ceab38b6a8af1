//! Paths as the program uses them and as people read them.

use std::{
    env,
    path::{Path, PathBuf},
};

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
pub(super) fn quoted(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+=:@%,".contains(letter);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
