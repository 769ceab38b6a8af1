//! Rule on links: what a document points to within the repository is there.

use super::{Finding, tree::Tree};

/// Links of Markdown files whose target is not in the tree.
pub(super) fn links(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, text) in tree.texts().filter(|(path, _)| path.ends_with(".md")) {
        let mut in_code = false;
        for (index, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                in_code = !in_code;
            } else if !in_code {
                for target in targets(line).into_iter().filter(|target| !resolves(tree, path, target)) {
                    let message =
                        format!("`{target}` is not in the repository (links are relative to the file's folder)");
                    findings.push(Finding { file: path.to_owned(), line: index + 1, rule: "link", message });
                }
            }
        }
    }
}

/// The targets of the links and link definitions of a line.
fn targets(line: &str) -> Vec<&str> {
    let in_text = |start: usize| line[..start].matches('`').count().is_multiple_of(2);
    let inline = line.match_indices("](").filter(|&(start, _)| in_text(start)).map(|(start, open)| start + open.len());
    let definition = line.find("]: ").filter(|_| line.starts_with('[')).map(|start| start + "]: ".len());
    let end = |letter: char| letter.is_whitespace() || letter == ')';
    inline.chain(definition).filter_map(|start| line[start..].split(end).next()).collect()
}

fn resolves(tree: &Tree, from: &str, target: &str) -> bool {
    let file = target.split('#').next().unwrap_or_default();
    let is_elsewhere = file.contains("://") || file.starts_with("mailto:");
    if file.is_empty() || is_elsewhere {
        return true;
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in file.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." if parts.pop().is_none() => return false,
            ".." => {}
            name => parts.push(name),
        }
    }
    !file.starts_with('/') && tree.contains(&parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::found;
    use super::*;

    fn found_in(text: &str) -> Vec<String> {
        found(links, &[("docs/a.md", text), ("docs/errors/b.md", ""), ("README.md", "")])
    }

    #[test]
    fn links_to_what_is_there_pass() {
        let text = "[a](errors/b.md#part) [b](../README.md) [c](errors/) [d](#here) [e](https://example.org/x) ![f](./a.md \"t\")\n[g]: errors/b.md\n";
        assert_eq!(found_in(text), Vec::<String>::new());
    }

    #[test]
    fn links_to_what_is_not_there_are_found() {
        for target in ["b.md", "../docs/c.md", "../../README.md", "/README.md", "errors/b.rs"] {
            let found = found_in(&format!("text\n[a]({target})\n"));
            assert_eq!(found.len(), 1, "{target}");
            assert!(found[0].starts_with("docs/a.md:2: link: "), "{found:?}");
        }
        assert_eq!(found_in("[a]: gone.md\n").len(), 1);
    }

    #[test]
    fn code_has_no_links() {
        assert_eq!(found_in("```\n[a](gone.md)\n```\n`[a](gone.md)` and `x[i](y)`\n"), Vec::<String>::new());
    }
}
