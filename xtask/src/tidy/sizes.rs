//! Rules on length: a file and a function that a person can hold in mind.

use super::{
    Finding,
    exceptions::{self, Exceptions},
    source::{Source, behind_bracket, body_of},
    tree::{Tree, find_words},
};

/// Lines of a Rust file, its test items not counted.
const FILE_LINES_MAX: usize = 600;
/// Lines of a function from `fn` to its closing brace. The aim is a screen, about 70.
const FUNCTION_LINES_MAX: usize = 100;

/// Rust files of a size that no reason in the list of exceptions excuses.
pub(super) fn files(tree: &Tree, findings: &mut Vec<Finding>) {
    let mut exceptions = Exceptions::parse(tree.text(exceptions::PATH).unwrap_or_default(), findings);
    for source in tree.sources() {
        let lines = source.product_lines();
        if lines > FILE_LINES_MAX && !exceptions.excuse(&source.path) {
            let message = format!(
                "{lines} lines without its tests, {FILE_LINES_MAX} at most (split it by concept, or give a reason in {})",
                exceptions::PATH
            );
            findings.push(Finding { file: source.path.clone(), line: 1, rule: "file-size", message });
        }
    }
    exceptions.report_stale(|subject| !subject.contains('#'), findings);
}

/// Functions of a size that no reason in the list of exceptions excuses; tests are exempt.
pub(super) fn functions(tree: &Tree, findings: &mut Vec<Finding>) {
    // What is malformed in the list is told once, by `files`.
    let mut exceptions = Exceptions::parse(tree.text(exceptions::PATH).unwrap_or_default(), &mut Vec::new());
    for source in tree.sources() {
        for Function { name, offset, lines } in long_functions(source) {
            if !exceptions.excuse(&format!("{}#{name}", source.path)) {
                let message = format!(
                    "`{name}` has {lines} lines, {FUNCTION_LINES_MAX} at most (split it, or give a reason in {})",
                    exceptions::PATH
                );
                let line = source.line_of(offset);
                findings.push(Finding { file: source.path.clone(), line, rule: "function-size", message });
            }
        }
    }
    exceptions.report_stale(|subject| subject.contains('#'), findings);
}

struct Function<'a> {
    name: &'a str,
    offset: usize,
    lines: usize,
}

fn long_functions(source: &Source) -> impl Iterator<Item = Function<'_>> {
    let code = source.code.as_str();
    let functions = find_words(code, "fn").filter(|&offset| !source.is_test(offset)).filter_map(move |offset| {
        let signature = code[offset + 2..].trim_start();
        let name = signature.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()?;
        // A pointer type (`fn(u8)`) has no name, a declaration no body.
        let body = body_of(code, offset).filter(|_| !name.is_empty())?;
        let lines = code[offset..behind_bracket(code, body)].lines().count();
        Some(Function { name, offset, lines })
    });
    functions.filter(|function| function.lines > FUNCTION_LINES_MAX)
}

#[cfg(test)]
mod tests {
    use super::super::tests::found;
    use super::*;

    fn long_function(lines: usize) -> String {
        format!(
            "//! a\ntype F = fn(u8);\nfn long(x: [u8; 3])\nwhere\n    F: Sized,\n{{\n{}}}\n",
            "    step(\"}\");\n".repeat(lines - 5)
        )
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        let long = "//! a\n".repeat(601);
        let mostly_tests = format!("//! a\n#[cfg(test)]\nmod tests {{\n{}}}\n", "    use b;\n".repeat(700));
        let files_of = [
            ("crates/a/src/long.rs", long.as_str()),
            ("crates/a/src/b.rs", &mostly_tests),
            ("crates/a/tests/c.rs", &long),
        ];
        let found = found(files, &files_of);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("crates/a/src/long.rs:1: file-size: 601 lines"), "{found:?}");
    }

    #[test]
    fn a_reason_excuses_and_a_stale_or_missing_reason_is_found() {
        let long = "//! a\n".repeat(601);
        let list = "# a comment\n\nsrc/long.rs: one table\nsrc/short.rs: was long\nsrc/other.rs\n";
        let found = found(files, &[("src/long.rs", &long), (exceptions::PATH, list)]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("xtask/long-files.txt:5: exception: an exception without a reason"));
        assert!(found[1].starts_with("xtask/long-files.txt:4: exception: `src/short.rs` is not too long"));
    }

    #[test]
    fn a_long_function_is_found_at_its_line() {
        let (long, fits) = (long_function(101), long_function(100));
        let list = "src/excused.rs#long: one table\nsrc/fits.rs#long: was long\n";
        let files =
            [("src/a.rs", long.as_str()), ("src/excused.rs", &long), ("src/fits.rs", &fits), (exceptions::PATH, list)];
        let found = found(functions, &files);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("src/a.rs:3: function-size: `long` has 101 lines"), "{found:?}");
        assert!(found[1].starts_with("xtask/long-files.txt:2: exception: `src/fits.rs#long`"), "{found:?}");
    }
}
