//! Step `test`: all tests of the workspace, each under a limit that kills it.
//!
//! cargo-nextest holds that limit per test (`.config/nextest.toml`) and is installed if need be.
//! Where that cannot be, plain test binaries run one after the other, each under one limit.

use super::{BUILD_LIMIT, MINUTE, Outcome};
use crate::{Result, child, repository::Repository};
use serde_json::Value;
use std::{path::Path, time::Duration};

/// The budget of the whole default suite is 4 minutes; this is where it counts as hung.
const SUITE_LIMIT: Duration = Duration::from_secs(20 * 60);

/// Builds and runs the tests with the best runner there is.
pub(super) fn check(repository: &Repository) -> Result<Outcome> {
    if has_nextest(repository) || installs_nextest(repository) {
        let arguments = ["nextest", "run", "--workspace", "--profile", "ci"];
        child::run(&mut repository.cargo(&[&arguments[..], &["--no-run"]].concat()), BUILD_LIMIT)?;
        child::run(&mut repository.cargo(&arguments), SUITE_LIMIT)?;
    } else {
        one_binary_at_a_time(repository)?;
    }
    Ok(Outcome::Passed)
}

fn has_nextest(repository: &Repository) -> bool {
    child::succeeds(&mut repository.cargo(&["nextest", "--version"]))
}

fn installs_nextest(repository: &Repository) -> bool {
    println!("cargo-nextest is missing: installing it");
    match child::run(&mut repository.cargo(&["install", "cargo-nextest", "--locked"]), BUILD_LIMIT) {
        Ok(()) => has_nextest(repository),
        Err(error) => {
            println!("{error}");
            false
        }
    }
}

/// A compiled test binary and where cargo would run it.
#[derive(Debug, PartialEq)]
struct TestBinary {
    executable: String,
    folder: String,
    name: String,
}

fn one_binary_at_a_time(repository: &Repository) -> Result<()> {
    println!("!!! cargo-nextest could not be had: a test that hangs stops its whole binary, after 10 minutes.");
    println!("!!! Tests run one after the other, which is slower; nothing is left out.");
    let build = ["test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"];
    let messages = child::capture(&mut repository.cargo(&build), BUILD_LIMIT)?;
    let binaries: Vec<TestBinary> = messages.lines().filter_map(test_binary).collect();
    if binaries.is_empty() {
        return Err("cargo built no test binary".into());
    }
    for TestBinary { executable, folder, name } in binaries {
        println!("--- {name}");
        let mut command = repository.command(&executable, &["--test-threads", "1"]);
        command.current_dir(&folder).env("CARGO_MANIFEST_DIR", &folder);
        child::run(&mut command, 10 * MINUTE)?;
    }
    Ok(())
}

/// The test binary that one line of cargo's messages tells of, if it does.
fn test_binary(line: &str) -> Option<TestBinary> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
    Some(TestBinary {
        executable: message["executable"].as_str()?.to_owned(),
        folder: folder.to_str()?.to_owned(),
        name: message["target"]["name"].as_str()?.to_owned(),
    })
}

#[cfg(test)]
mod messages {
    use super::*;

    #[test]
    fn test_binaries_are_picked_from_cargos_messages() {
        let artifact = r#"{"reason":"compiler-artifact","manifest_path":"/r/crates/core/Cargo.toml","target":{"name":"core"},"profile":{"test":true},"executable":"/t/core-1"}"#;
        let expected =
            TestBinary { executable: "/t/core-1".into(), folder: "/r/crates/core".into(), name: "core".into() };
        assert_eq!(test_binary(artifact), Some(expected));
        assert_eq!(test_binary(&artifact.replace("true", "false")), None);
        assert_eq!(test_binary(&artifact.replace("\"/t/core-1\"", "null")), None);
        assert_eq!(test_binary(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(test_binary("not JSON"), None);
    }
}
