//! What may be a name. Names become parts of paths, metrics and commands, so they are plain words.

use super::problem::{Code, Problem, Problems, clip};

/// Longest name.
const NAME_LEN_MAX: usize = 100;

/// A workflow's name: small letters, digits and hyphens.
pub(super) fn workflow(name: &str, problems: &mut Problems) {
    workflow_at(name, || "name".to_owned(), problems);
}

/// The same where another workflow is named.
pub(super) fn workflow_at(name: &str, path: impl FnOnce() -> String, problems: &mut Problems) {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.len() > NAME_LEN_MAX || !name.bytes().all(plain) || name.is_empty() || name.starts_with('-') {
        problems.add(|| {
            Problem::new(Code::Name, path(), format!("`{}` is no name for a workflow", clip(name)))
                .expected("up to 100 small letters, digits and hyphens, such as `daily-report`")
        });
    }
}

/// The name of a task, input, queue, pool, lock, handler or signal: `[a-z][a-z0-9_-]*`.
pub(super) fn check(name: &str, what: &str, path: impl FnOnce() -> String, problems: &mut Problems) {
    if !is_name(name) {
        problems.add(|| bad(name, what, path()).on_key());
    }
}

/// The same for a name that stands as a value.
pub(super) fn check_value(name: &str, what: &str, path: impl FnOnce() -> String, problems: &mut Problems) {
    if !is_name(name) {
        problems.add(|| bad(name, what, path()));
    }
}

fn bad(name: &str, what: &str, path: String) -> Problem {
    let article = if what.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    Problem::new(Code::Name, path, format!("`{}` is no name for {article} {what}", clip(name))).expected(NAME_EXPECTED)
}

/// What a name is, for whoever wrote something else.
pub const NAME_EXPECTED: &str = "a small letter, then small letters, digits, `_` and `-`, up to 100 in all";

/// Whether that is a name that a task, input, queue, pool, lock, handler or signal can have.
pub fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= NAME_LEN_MAX
        && bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-'))
}
