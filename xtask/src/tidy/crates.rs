//! Rule on how each crate is set up: the workspace's lints and its own `clippy.toml`.

use super::{Finding, arrows, tree::Tree};

/// Each member takes the workspace's lints and has a `clippy.toml` (its bans, and leave for tests).
pub(super) fn setup(tree: &Tree, findings: &mut Vec<Finding>) {
    for package in arrows::members(tree) {
        let manifest = arrows::manifest_of(tree, package);
        let mut report = |file: &str, message: &str| {
            findings.push(Finding { file: file.to_owned(), line: 1, rule: "crate-setup", message: message.to_owned() });
        };
        if !tree.text(manifest).unwrap_or_default().contains("[lints]\nworkspace = true\n") {
            report(manifest, "the workspace's lints are not taken over (add `[lints]` with `workspace = true`)");
        }
        let clippy = manifest.replace("Cargo.toml", "clippy.toml");
        match tree.text(&clippy) {
            None => report(&clippy, "missing (add it, with the bans of this crate and a reason for each)"),
            Some(text) if !text.contains("allow-unwrap-in-tests = true") => {
                report(&clippy, "tests may unwrap (add `allow-unwrap-in-tests = true`)");
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let package = json!({ "name": "unknot-a", "manifest_path": "/r/crates/a/Cargo.toml" });
        let metadata = json!({ "workspace_root": "/r", "packages": [package] });
        let mut findings = Vec::new();
        setup(&Tree::planted_with_metadata(files, metadata), &mut findings);
        findings.iter().map(Finding::to_string).collect()
    }

    #[test]
    fn a_complete_crate_passes() {
        let files = [
            ("crates/a/Cargo.toml", "[package]\n[lints]\nworkspace = true\n"),
            ("crates/a/clippy.toml", "allow-unwrap-in-tests = true\n"),
        ];
        assert_eq!(found(&files), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_is_found() {
        let without = found(&[("crates/a/Cargo.toml", "[package]\n")]);
        assert!(without[0].starts_with("crates/a/Cargo.toml:1: crate-setup: the workspace's lints"), "{without:?}");
        assert!(without[1].starts_with("crates/a/clippy.toml:1: crate-setup: missing"), "{without:?}");
        let strict = found(&[("crates/a/Cargo.toml", "[lints]\nworkspace = true\n"), ("crates/a/clippy.toml", "")]);
        assert!(strict[0].contains("tests may unwrap"), "{strict:?}");
    }
}
