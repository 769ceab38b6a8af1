//! `xtask/long-files.txt`: the files and functions that may be long, each with its reason.

use super::Finding;
use std::collections::BTreeMap;

/// Where the list stands.
pub(super) const PATH: &str = "xtask/long-files.txt";

/// The list, by what it excuses: a path, or `path#function`.
pub(super) struct Exceptions {
    lines: BTreeMap<String, usize>,
}

impl Exceptions {
    /// Reads `path: reason` lines; empty ones and those that start with `#` do not count.
    pub(super) fn parse(text: &str, findings: &mut Vec<Finding>) -> Self {
        let mut lines = BTreeMap::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            match line.split_once(": ") {
                Some((subject, reason)) if !reason.trim().is_empty() => {
                    lines.insert(subject.to_owned(), index + 1);
                }
                _ => {
                    findings.push(finding(index + 1, "an exception without a reason (write `path: reason`)".to_owned()))
                }
            }
        }
        Self { lines }
    }

    /// Whether `subject` is excused; what stays in the list at the end is stale.
    pub(super) fn excuse(&mut self, subject: &str) -> bool {
        self.lines.remove(subject).is_some()
    }

    /// Reports the exceptions among `of_this_kind` that excused nothing.
    pub(super) fn report_stale(&self, of_this_kind: impl Fn(&str) -> bool, findings: &mut Vec<Finding>) {
        for (subject, &line) in self.lines.iter().filter(|(subject, _)| of_this_kind(subject)) {
            findings.push(finding(line, format!("`{subject}` is not too long any more (remove its line)")));
        }
    }
}

fn finding(line: usize, message: String) -> Finding {
    Finding { file: PATH.to_owned(), line, rule: "exception", message }
}
