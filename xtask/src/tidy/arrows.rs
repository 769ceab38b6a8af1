//! Rule on dependency arrows: which crate of the workspace may use which.

use super::{Finding, tree::Tree};
use serde_json::Value;

/// What one crate may depend on.
struct Allowed {
    name: &'static str,
    /// Crates of the workspace.
    crates: &'static [&'static str],
    /// Crates from outside; none means any that the workspace lists.
    outside: Option<&'static [&'static str]>,
}

const fn uses(name: &'static str, crates: &'static [&'static str]) -> Allowed {
    Allowed { name, crates, outside: None }
}

/// Every arrow there may be. A change here is a decision record in `docs/decisions/`.
const ALLOWED: &[Allowed] = &[
    Allowed { name: "unknot-core", crates: &[], outside: Some(&["minijinja", "serde", "serde_json", "thiserror"]) },
    uses("unknot-store", &["unknot-core"]),
    uses("unknot-api", &[]),
    uses("unknot-hands", &["unknot-api"]),
    uses("unknot-gateway", &["unknot-core", "unknot-api"]),
    uses("unknot-engine", &["unknot-core", "unknot-store", "unknot-hands", "unknot-gateway", "unknot-api"]),
    uses("unknot-server", &["unknot-engine", "unknot-api"]),
    uses("unknot", &["unknot-server", "unknot-engine", "unknot-hands", "unknot-api"]),
    uses("unknot-sim", &["unknot-core", "unknot-store", "unknot-engine"]),
    Allowed { name: "xtask", crates: &[], outside: Some(&["rustix", "serde_json"]) },
];

/// Outside crates that one crate must not have, and why.
const BANNED: &[(&str, &str, &str)] =
    &[("unknot-store", "tokio", "the store's writer is a plain thread; nothing in it awaits")];

/// Arrows that the table does not have. Dev-dependencies may also go where arrows lead in several
/// steps; nothing depends on `xtask`.
pub(super) fn between_crates(tree: &Tree, findings: &mut Vec<Finding>) {
    for package in members(tree) {
        let name = text(&package["name"]);
        let Some(allowed) = allowed(name) else {
            let message = "this crate is not in the table of arrows (add it there with a decision record)".to_owned();
            findings.push(finding(tree, package, name, message));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            if let Some(message) = judge(allowed, dependency) {
                findings.push(finding(tree, package, text(&dependency["name"]), message));
            }
        }
    }
}

/// The packages that `cargo metadata` lists as members of the workspace.
pub(super) fn members(tree: &Tree) -> impl Iterator<Item = &Value> {
    tree.metadata()["packages"].as_array().into_iter().flatten()
}

/// A package's `Cargo.toml`, relative to the root.
pub(super) fn manifest_of<'a>(tree: &'a Tree, package: &'a Value) -> &'a str {
    let path = text(&package["manifest_path"]);
    let root = text(&tree.metadata()["workspace_root"]);
    path.strip_prefix(root).unwrap_or(path).trim_start_matches('/')
}

fn judge(user: &Allowed, dependency: &Value) -> Option<String> {
    let name = text(&dependency["name"]);
    let is_dev = dependency["kind"] == "dev";
    if dependency["path"].is_null() {
        let banned = BANNED.iter().find(|(user_name, banned, _)| *user_name == user.name && *banned == name);
        if let Some((_, _, reason)) = banned {
            return (!is_dev).then(|| format!("`{}` must not use `{name}`: {reason}", user.name));
        }
        let fits = is_dev || user.outside.is_none_or(|outside| outside.contains(&name));
        let message = || format!("`{}` may not use `{name}` (do without, or record the decision)", user.name);
        return (!fits).then(message);
    }
    let fits = user.crates.contains(&name) || (is_dev && leads_to(user.name, name));
    let message = || {
        let list = if user.crates.is_empty() { "none".to_owned() } else { user.crates.join(", ") };
        format!(
            "no arrow may lead from `{}` to `{name}`; allowed: {list} (move the code, or record the decision)",
            user.name
        )
    };
    (!fits).then(message)
}

fn leads_to(from: &str, to: &str) -> bool {
    allowed(from).is_some_and(|allowed| allowed.crates.iter().any(|&step| step == to || leads_to(step, to)))
}

fn allowed(name: &str) -> Option<&'static Allowed> {
    ALLOWED.iter().find(|allowed| allowed.name == name)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn finding(tree: &Tree, package: &Value, dependency: &str, message: String) -> Finding {
    let file = manifest_of(tree, package);
    let manifest = tree.text(file).unwrap_or_default();
    let names =
        |line: &str| line.starts_with(dependency) && line[dependency.len()..].trim_start().starts_with(['=', '.']);
    let line = manifest.lines().position(names).map_or(1, |index| index + 1);
    Finding { file: file.to_owned(), line, rule: "arrow", message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(name: &str, dependencies: Value) -> Vec<String> {
        let metadata = json!({ "workspace_root": "/r", "packages": [
            { "name": name, "manifest_path": "/r/crates/a/Cargo.toml", "dependencies": dependencies },
        ]});
        let manifest = "[dependencies]\nserde = {}\nunknot-store = {}\ntokio.workspace = true\n";
        let tree = Tree::planted_with_metadata(&[("crates/a/Cargo.toml", manifest)], metadata);
        let mut findings = Vec::new();
        between_crates(&tree, &mut findings);
        findings.iter().map(Finding::to_string).collect()
    }

    fn inside(name: &str, kind: Value) -> Value {
        json!({ "name": name, "kind": kind, "path": "/r/crates/b" })
    }

    fn outside(name: &str, kind: Value) -> Value {
        json!({ "name": name, "kind": kind, "path": null })
    }

    #[test]
    fn an_arrow_upwards_is_found_at_its_line() {
        let found = found("unknot-core", json!([outside("serde", Value::Null), inside("unknot-store", Value::Null)]));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("crates/a/Cargo.toml:3: arrow: no arrow may lead from `unknot-core`"),
            "{found:?}"
        );
    }

    #[test]
    fn allowed_arrows_pass() {
        let arrows = json!([inside("unknot-core", Value::Null), outside("rusqlite", Value::Null)]);
        assert_eq!(found("unknot-store", arrows), Vec::<String>::new());
    }

    #[test]
    fn dev_dependencies_may_follow_several_arrows_but_none_backwards() {
        let dev = || json!("dev");
        assert_eq!(found("unknot", json!([inside("unknot-core", dev())])), Vec::<String>::new());
        assert_eq!(found("unknot-core", json!([inside("unknot-engine", dev())])).len(), 1);
        assert_eq!(found("unknot", json!([inside("xtask", dev())])).len(), 1);
    }

    #[test]
    fn outside_crates_are_held_to_the_lists() {
        let found_in_store = found("unknot-store", json!([outside("tokio", Value::Null)]));
        assert!(found_in_store[0].contains("a/Cargo.toml:4: arrow") && found_in_store[0].contains("plain thread"));
        assert_eq!(found("unknot-core", json!([outside("rand", Value::Null)])).len(), 1);
        assert_eq!(found("unknot-core", json!([outside("tempfile", json!("dev"))])), Vec::<String>::new());
    }

    #[test]
    fn a_crate_without_a_row_is_found() {
        assert!(found("unknot-utils", json!([]))[0].contains("not in the table"));
    }
}
