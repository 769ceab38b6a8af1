//! `cargo xtask bench`: builds what is measured in release, measures it, and prints a table.
//!
//! The measuring itself is `crates/engine/examples/bench.rs`, which prints one JSON object a line.

use crate::{Repository, Result, child};
use serde_json::Value;
use std::{fs, time::Duration};

/// The whole of it; a measurement that hangs is a failure.
const LIMIT: Duration = Duration::from_secs(900);
/// The build before it.
const BUILD_LIMIT: Duration = Duration::from_secs(1_800);

/// Builds, measures, prints.
pub(crate) fn run(repository: &Repository, arguments: &[String]) -> Result<()> {
    let as_json = arguments.iter().any(|argument| argument == "--json");
    let unknown = arguments.iter().find(|argument| *argument != "--json");
    if let Some(unknown) = unknown {
        return Err(format!("bench takes only `--json`, not `{unknown}`").into());
    }
    child::run(&mut repository.cargo(&["build", "--release", "-p", "unknot"]), BUILD_LIMIT)?;
    let build = ["build", "--release", "-p", "unknot-engine", "--example", "bench"];
    child::run(&mut repository.cargo(&build), BUILD_LIMIT)?;
    let target = repository.target()?;
    let scratch = target.join("bench");
    let text = |path: &std::path::Path| path.display().to_string();
    let (bench, unknot) = (text(&target.join("release/examples/bench")), text(&target.join("release/unknot")));
    let mut lines = String::new();
    for part in ["speed", "memory"] {
        let call = [unknot.as_str(), &text(&scratch), "20000", part];
        lines += &child::capture(&mut repository.command(&bench, &call), LIMIT)?;
    }
    fs::remove_dir_all(&scratch)?;
    let figures: Vec<Value> = lines.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?;
    if as_json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        print!("{}", table(&figures));
    }
    Ok(())
}

fn table(figures: &[Value]) -> String {
    let mut text = format!("{:<24} {:>14}  {:<12} {}\n", "what", "value", "unit", "how");
    for figure in figures {
        let word = |key: &str| figure[key].as_str().unwrap_or_default();
        let with = figure["with"].as_object().into_iter().flatten();
        let how: Vec<String> = with.map(|(key, value)| format!("{key} {}", plain(value))).collect();
        let value = figure["value"].as_f64().unwrap_or_default();
        text += &format!("{:<24} {value:>14.2}  {:<12} {}\n", word("what"), word("unit"), how.join(", "));
    }
    text + "\nSQLite, WAL, synchronous=FULL: every figure is fsynced before it is answered.\n"
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), |float| format!("{float:.2}")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_figure_stands_in_one_line_with_how_it_was_taken() {
        let figure = json!({"what": "spawns", "unit": "per_s", "value": 985.248, "with": {"slots": 16}});
        let table = table(&[figure]);
        assert!(
            table.lines().any(|line| line.contains("spawns") && line.contains("985.25") && line.contains("slots 16"))
        );
    }
}
