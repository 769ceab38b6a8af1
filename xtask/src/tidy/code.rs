//! Rules on Rust texts: module files and their docs, unfinished work, silenced lints, channels.

use super::{
    Finding,
    source::{Source, behind_bracket},
    tree::{Tree, find_words, judge_lines},
};

/// Words of work that was put off.
const UNFINISHED_WORDS: &[&str] = &["TODO", "FIXME", "XXX"];
/// Macros of work that was put off, or of a look inside.
const UNFINISHED_MACROS: &[&str] = &["todo!", "unimplemented!", "dbg!"];
/// The one `allow` there may be, at the head of a crate or of a test file: tests are free of the bans.
const TESTS_ARE_FREE: &str = "#![cfg_attr(test, allow(clippy::disallowed_methods, clippy::disallowed_types";

/// A module is `foo.rs` beside `foo/`, so that a file's name says what it is.
pub(super) fn module_files(tree: &Tree, findings: &mut Vec<Finding>) {
    for source in tree.sources().filter(|source| source.path.ends_with("/mod.rs")) {
        let better = source.path.replace("/mod.rs", ".rs");
        report(findings, source, 0, "mod-rs", format!("a module's file has its module's name (move it to `{better}`)"));
    }
}

/// Every file of a library or a binary says first what it is.
pub(super) fn module_docs(tree: &Tree, findings: &mut Vec<Finding>) {
    for source in tree.sources().filter(|source| source.is_product) {
        if !source.text.trim_start().starts_with("//!") {
            report(
                findings,
                source,
                0,
                "module-docs",
                "does not start with `//!` (say in a sentence what it is)".to_owned(),
            );
        }
    }
}

/// Nothing is put off in the tree: work that remains belongs into an issue.
pub(super) fn unfinished_work(tree: &Tree, findings: &mut Vec<Finding>) {
    let message = |word: &str| format!("`{word}` puts work off (finish it, or open an issue)");
    for source in tree.sources() {
        for word in UNFINISHED_WORDS {
            for offset in find_words(&source.comments, word).chain(find_words(&source.code, word)) {
                report(findings, source, offset, "unfinished", message(word));
            }
        }
        for word in UNFINISHED_MACROS {
            for offset in find_words(&source.code, word) {
                report(findings, source, offset, "unfinished", message(word));
            }
        }
    }
    for file in tree.texts() {
        judge_lines(findings, file, "unfinished", |line| {
            UNFINISHED_WORDS.iter().find(|word| find_words(line, word).next().is_some()).map(|word| message(word))
        });
    }
}

/// Lints are expected, with a reason, where they cannot be obeyed: an `allow` outlives its cause.
pub(super) fn silenced_lints(tree: &Tree, findings: &mut Vec<Finding>) {
    for source in tree.sources() {
        for (offset, _) in source.code.match_indices("#[").chain(source.code.match_indices("#![")) {
            let open = offset + source.code[offset..].find('[').unwrap_or_default();
            let attribute = &source.code[offset..behind_bracket(&source.code, open)];
            let is_in_tests = attribute.starts_with("#![") && source.is_test(offset);
            if find_words(attribute, "allow(").next().is_some()
                && !attribute.starts_with(TESTS_ARE_FREE)
                && !is_in_tests
            {
                let message = "`allow` stays when its cause is gone (use `expect` with a reason)".to_owned();
                report(findings, source, offset, "allow", message);
            }
            if find_words(attribute, "expect(").next().is_some() && !attribute.contains("reason =") {
                report(findings, source, offset, "expect", "`expect` without a reason (add `reason = …`)".to_owned());
            }
        }
    }
}

/// No test is switched off.
pub(super) fn ignored_tests(tree: &Tree, findings: &mut Vec<Finding>) {
    for source in tree.sources() {
        for (offset, _) in source.code.match_indices("#[ignore") {
            let message =
                "an ignored test tests nothing (run it, or remove it; long runs are xtask commands)".to_owned();
            report(findings, source, offset, "ignore", message);
        }
    }
}

/// Every queue has a bound; tests are exempt.
pub(super) fn unbounded_channels(tree: &Tree, findings: &mut Vec<Finding>) {
    for source in tree.sources() {
        let named =
            ["unbounded_channel", "mpsc::unbounded"].into_iter().flat_map(|word| find_words(&source.code, word));
        let std = find_words(&source.code, "channel").filter(|&offset| is_std_channel(&source.code, offset));
        for offset in named.chain(std).filter(|&offset| !source.is_test(offset)) {
            let message = "a channel without a bound (use `sync_channel(n)` or tokio's `channel(n)`)".to_owned();
            report(findings, source, offset, "unbounded-channel", message);
        }
    }
}

/// Whether `channel` at `offset` is called without a bound: `channel()`, `channel::<T>()`. A channel
/// for one message has the bound in its name.
fn is_std_channel(code: &str, offset: usize) -> bool {
    let before = code[..offset].trim_end();
    let mut behind = &code[offset + "channel".len()..];
    if let Some(types) = behind.strip_prefix("::<") {
        behind = types.find(">(").map_or("", |end| &types[end + 1..]);
    }
    let called_without_bound =
        behind.strip_prefix('(').is_some_and(|arguments| arguments.trim_start().starts_with(')'));
    called_without_bound && ![".", "fn", "oneshot::"].iter().any(|end| before.ends_with(end))
}

fn report(findings: &mut Vec<Finding>, source: &Source, offset: usize, rule: &'static str, message: String) {
    findings.push(Finding { file: source.path.clone(), line: source.line_of(offset), rule, message });
}

#[cfg(test)]
mod tests {
    use super::super::tests::found;
    use super::*;

    /// Plants `text` in a product file and expects findings of `rule` at exactly these lines.
    fn check(rule: super::super::Rule, text: &str, lines: &[usize]) {
        let found = found(rule, &[("crates/a/src/b.rs", text)]);
        let found_lines: Vec<usize> =
            found.iter().map(|line| line.split(':').nth(1).unwrap().parse().unwrap()).collect();
        assert_eq!(found_lines, lines, "{found:?} in\n{text}");
    }

    #[test]
    fn mod_rs_is_found() {
        let found = found(module_files, &[("crates/a/src/b/mod.rs", "//! b"), ("crates/a/src/model.rs", "//! model")]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("crates/a/src/b.rs"), "{found:?}");
    }

    #[test]
    fn files_without_module_docs_are_found() {
        check(module_docs, "use a;\n", &[1]);
        check(module_docs, "", &[1]);
        check(module_docs, "//! What it is.\nuse a;\n", &[]);
        assert!(found(module_docs, &[("crates/a/tests/b.rs", "use a;")]).is_empty());
    }

    #[test]
    fn unfinished_work_is_found_in_code_and_comments_but_not_in_strings() {
        check(
            unfinished_work,
            "// TODO: later\nlet a = \"TODO\";\n/* FIXME */ todo!()\ndbg!(a); my_dbg!(a);\n",
            &[1, 3, 3, 4],
        );
        check(unfinished_work, "let todo = TODOS; // a todo list, XXXL\n", &[]);
        let found = found(unfinished_work, &[("docs/a.md", "fine\nXXX here\n"), ("a.sh", "mktemp a.XXXXXX\n")]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("docs/a.md:2: unfinished"), "{found:?}");
    }

    #[test]
    fn allow_and_expect_without_a_reason_are_found() {
        check(
            silenced_lints,
            "#[allow(dead_code)]\nfn a() {}\n#![allow(b)]\n#[cfg_attr(test, allow(c))]\n",
            &[1, 4, 3],
        );
        check(silenced_lints, "#[expect(dead_code)]\nfn a() {}\n", &[1]);
        check(
            silenced_lints,
            "#[expect(\n    dead_code,\n    reason = \"of this\",\n)]\nfn a() { b.allow(c); d.expect(\"e\"); }\n",
            &[],
        );
        check(silenced_lints, &format!("{TESTS_ARE_FREE}))]\n"), &[]);
        let head = "#![allow(clippy::disallowed_methods, reason = \"tests are free of the bans\")]\n";
        assert!(found(silenced_lints, &[("crates/a/tests/b.rs", head)]).is_empty());
    }

    #[test]
    fn ignored_tests_are_found() {
        check(ignored_tests, "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n", &[2]);
    }

    #[test]
    fn unbounded_channels_are_found_outside_tests() {
        check(
            unbounded_channels,
            "let a = mpsc::channel();\nlet b = mpsc::channel::<Vec<(u8)>>();\nlet c = channel( );\n",
            &[1, 2, 3],
        );
        check(unbounded_channels, "tokio::sync::mpsc::unbounded_channel();\n", &[1]);
        check(
            unbounded_channels,
            "mpsc::channel(8); mpsc::sync_channel(8); self.channel();\noneshot::channel(); fn channel() {}\n",
            &[],
        );
        check(unbounded_channels, "#[cfg(test)]\nmod tests {\n    let a = mpsc::channel();\n}\n", &[]);
    }
}
