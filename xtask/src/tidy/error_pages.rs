//! Rule on error codes: each has a page, and each page a code.

use super::{Finding, tree::Tree};
use std::collections::BTreeMap;

/// Where the pages stand, one per code.
const FOLDER: &str = "docs/errors";
/// The parts of a page, in their order.
const HEADINGS: [&str; 3] = ["## Meaning", "## Likely causes", "## What to do"];

/// Codes without a page, pages without a code, and pages that lack a part.
pub(super) fn complete(tree: &Tree, findings: &mut Vec<Finding>) {
    let codes = codes_in_use(tree);
    for (code, (file, line)) in &codes {
        if tree.text(&format!("{FOLDER}/{code}.md")).is_none() {
            let message = format!("`{code}` has no page (write {FOLDER}/{code}.md, see {FOLDER}/README.md)");
            findings.push(Finding { file: file.clone(), line: *line, rule: "error-page", message });
        }
    }
    for (path, text) in tree.texts() {
        let page = path.strip_prefix(FOLDER).and_then(|name| name.strip_prefix('/')?.strip_suffix(".md"));
        let Some(name) = page.filter(|&name| name != "README") else { continue };
        for message in faults(name, text, codes.contains_key(name)) {
            findings.push(Finding { file: path.to_owned(), line: 1, rule: "error-page", message });
        }
    }
}

fn faults(name: &str, text: &str, is_used: bool) -> Vec<String> {
    let mut faults = Vec::new();
    if !is_used {
        faults.push(format!("no error has the code `{name}` (remove the page; codes are never used again)"));
    }
    if !text.starts_with(&format!("# {name}: ")) {
        faults.push(format!("the page does not start with `# {name}: ` and the error in a few words"));
    }
    let headings: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
    if headings != HEADINGS {
        faults.push(format!("the headings are not exactly: {}", HEADINGS.join(", ")));
    }
    for part in text.split("\n## ").skip(1).filter(|part| part.lines().skip(1).all(|line| line.trim().is_empty())) {
        faults.push(format!("nothing stands under `{}`", part.trim()));
    }
    faults
}

/// Each code in the product's sources, with the first place where it stands.
fn codes_in_use(tree: &Tree) -> BTreeMap<String, (String, usize)> {
    let mut codes = BTreeMap::new();
    for source in tree.sources().filter(|source| source.path.starts_with("crates/")) {
        for (offset, _) in source.text.match_indices("UK").filter(|&(offset, _)| !source.is_test(offset)) {
            if let Some(code) = code_at(&source.text, offset) {
                codes.entry(code.to_owned()).or_insert_with(|| (source.path.clone(), source.line_of(offset)));
            }
        }
    }
    codes
}

fn code_at(text: &str, offset: usize) -> Option<&str> {
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let bytes = text.as_bytes();
    let digits = bytes.get(offset + 2..offset + 6)?.iter().all(u8::is_ascii_digit);
    let bordered = !bytes[..offset].last().is_some_and(inner) && !bytes.get(offset + 6).is_some_and(inner);
    (digits && bordered).then(|| &text[offset..offset + 6])
}

#[cfg(test)]
mod tests {
    use super::super::tests::found;
    use super::*;

    const PAGE: &str =
        "# UK0007: a name is taken\n\n## Meaning\n\nA.\n\n## Likely causes\n\nB.\n\n## What to do\n\nC.\n";
    const USE: (&str, &str) = ("crates/a/src/b.rs", "//! b\nconst A: &str = \"UK0007\"; // BUK0008 UK00099 UK\n");

    fn found_with(page: &str) -> Vec<String> {
        found(complete, &[USE, ("docs/errors/README.md", "# Errors"), ("docs/errors/UK0007.md", page)])
    }

    #[test]
    fn a_code_with_a_full_page_passes() {
        assert_eq!(found_with(PAGE), Vec::<String>::new());
    }

    #[test]
    fn a_code_without_a_page_is_found_where_it_stands() {
        let found = found(complete, &[USE]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("crates/a/src/b.rs:2: error-page: `UK0007` has no page"), "{found:?}");
    }

    #[test]
    fn a_page_without_a_code_is_found() {
        let found = found(complete, &[("docs/errors/UK0007.md", PAGE), ("xtask/src/a.rs", "//! UK0007")]);
        assert!(found[0].starts_with("docs/errors/UK0007.md:1: error-page: no error has the code"), "{found:?}");
    }

    #[test]
    fn a_page_that_lacks_a_part_is_found() {
        assert!(found_with(&PAGE.replace("# UK0007: ", "# ")).concat().contains("does not start with"));
        assert!(found_with(&PAGE.replace("## Meaning\n", "")).concat().contains("headings are not exactly"));
        assert!(found_with(&PAGE.replace("C.\n", "")).concat().contains("nothing stands under `What to do`"));
    }
}
