//! `cargo xtask tidy`: what a compiler and a linter do not see, told as `file:line: rule: message`.
//!
//! A rule is a function of [`RULES`] from a [`Tree`] to [`Finding`]s. It reads no file and runs no
//! program, so that its tests plant violations in a tree of a few lines.

mod arrows;
mod code;
mod crates;
mod error_pages;
mod exceptions;
mod machines;
mod markdown;
mod sizes;
mod source;
mod tree;

use crate::{Result, child, repository::Repository};
use std::{fmt, time::Duration};
use tree::Tree;

/// Where something is wrong, against which rule, and what to do.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    file: String,
    line: usize,
    rule: &'static str,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file, self.line, self.rule, self.message)
    }
}

/// A look at the whole tree that appends what it finds.
type Rule = fn(&Tree, &mut Vec<Finding>);

/// Every rule, by what it looks at.
///
/// Generated files (schema, state diagrams) are compared with their source by tests beside it.
const RULES: &[Rule] = &[
    sizes::files,
    sizes::functions,
    arrows::between_crates,
    crates::setup,
    code::module_files,
    code::module_docs,
    code::unfinished_work,
    code::silenced_lints,
    code::ignored_tests,
    code::unbounded_channels,
    machines::paths_of_one_machine,
    machines::registry_hosts,
    error_pages::complete,
    markdown::links,
];

/// Prints every finding of every rule.
///
/// # Errors
/// If there is a finding, or the repository cannot be read.
pub(crate) fn run(repository: &Repository, arguments: &[String]) -> Result<()> {
    if let Some(argument) = arguments.first() {
        return Err(format!("unknown argument `{argument}`; tidy takes none").into());
    }
    let findings = findings(repository)?;
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => Err("1 finding".into()),
        count => Err(format!("{count} findings").into()),
    }
}

fn findings(repository: &Repository) -> Result<Vec<Finding>> {
    let arguments = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let metadata = child::capture(&mut repository.cargo(&arguments), Duration::from_secs(60))?;
    let tree = Tree::read(repository.root(), serde_json::from_str(&metadata)?)?;
    let mut findings = Vec::new();
    for rule in RULES {
        rule(&tree, &mut findings);
    }
    findings.sort();
    findings.dedup();
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `rule` finds in a planted tree, as printed.
    pub(super) fn found(rule: Rule, files: &[(&str, &str)]) -> Vec<String> {
        let mut findings = Vec::new();
        rule(&Tree::planted(files), &mut findings);
        findings.iter().map(Finding::to_string).collect()
    }

    #[test]
    fn this_repository_is_tidy() {
        let findings = findings(&Repository::here()).unwrap();
        let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
        assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
    }

    #[test]
    fn a_finding_prints_as_editors_and_people_read_it() {
        let finding = Finding { file: "a.rs".into(), line: 7, rule: "size", message: "too long (split it)".into() };
        assert_eq!(finding.to_string(), "a.rs:7: size: too long (split it)");
    }
}
