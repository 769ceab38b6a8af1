//! Rules that keep the machine of whoever writes out of the repository.

use super::{
    Finding,
    tree::{Tree, judge_lines},
};

/// Folders that exist on one machine only. In halves, so that this line is no finding.
const PATHS: &[&str] = &[concat!("/ro", "ot/"), concat!("/wo", "rk/")];
/// Hosts of package registries; which one a machine uses is that machine's configuration.
const HOSTS: &[&str] =
    &[concat!("crates", ".io"), concat!("pypi", ".org"), concat!("npmjs", ".org"), concat!("deb.debian", ".org")];
/// Ends of the names of files that are configuration or scripts.
const CONFIGURATION: &[&str] = &[".cfg", ".conf", ".ini", ".json", ".sh", ".toml", ".yaml", ".yml"];

/// Absolute paths that mean something only where they were written.
pub(super) fn paths_of_one_machine(tree: &Tree, findings: &mut Vec<Finding>) {
    let sources = tree.sources().map(|source| (source.path.as_str(), source.text.as_str()));
    for file in tree.texts().chain(sources) {
        judge_lines(findings, file, "machine-path", |line| {
            let path =
                PATHS.iter().find(|path| line.match_indices(**path).any(|(start, _)| begins_a_path(line, start)))?;
            Some(format!("`{path}` is a folder of one machine (use a relative path or a temporary folder)"))
        });
    }
}

/// Registries named in committed configuration.
pub(super) fn registry_hosts(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, text) in tree.texts().filter(|(path, _)| is_configuration(path)) {
        judge_lines(findings, (path, text), "registry-host", |line| {
            let host = HOSTS.iter().find(|host| line.contains(**host))?;
            Some(format!("`{host}` in configuration binds every machine to one registry (leave it to the machine)"))
        });
    }
}

fn begins_a_path(line: &str, start: usize) -> bool {
    let before = line[..start].chars().next_back();
    before.is_none_or(|letter| !letter.is_alphanumeric() && !matches!(letter, '_' | '-' | '.' | '/' | '}' | '$'))
}

fn is_configuration(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    CONFIGURATION.iter().any(|end| name.ends_with(end)) || !name.trim_start_matches('.').contains('.')
}

#[cfg(test)]
mod tests {
    use super::super::tests::found;
    use super::*;

    #[test]
    fn paths_of_a_machine_are_found_in_any_text() {
        let [root, work] = [PATHS[0], PATHS[1]];
        let source = format!("//! a\nlet a = \"{root}b\";\n// see {work}c\nlet d = \"src{work}e\";\n");
        let found = found(paths_of_one_machine, &[("src/a.rs", &source), ("docs/a.md", &format!("`{work}x`\n"))]);
        let starts: Vec<&str> = found.iter().map(|line| line.split(": ").next().unwrap()).collect();
        assert_eq!(starts, ["docs/a.md:1", "src/a.rs:2", "src/a.rs:3"], "{found:?}");
    }

    #[test]
    fn registries_are_found_in_configuration_only() {
        let line = format!("registry = \"https://index.{}/\"\n", HOSTS[0]);
        let files =
            [(".cargo/config.toml", line.as_str()), (".ci/run", &line), ("docs/a.md", &line), ("Cargo.lock", &line)];
        let found = found(registry_hosts, &files);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with(".cargo/config.toml:1: registry-host"), "{found:?}");
    }
}
