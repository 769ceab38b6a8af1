//! `cargo xtask check`: every step that must pass before a commit, cheapest first.
//!
//! It stops at the first step that fails. CI runs exactly this, and nothing beside it.

mod packages;
mod tests;

use crate::{Result, child, repository::Repository, tidy};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);
/// For whatever may compile the whole workspace and its dependencies on a slow machine.
const BUILD_LIMIT: Duration = Duration::from_secs(45 * 60);

/// How a step that did not fail ended.
enum Outcome {
    Passed,
    /// Nothing was checked, and why.
    Skipped(String),
}

struct Step {
    name: &'static str,
    what: &'static str,
    run: fn(&Repository) -> Result<Outcome>,
}

const STEPS: &[Step] = &[
    Step { name: "packages", what: "the programs that the build and the tests need", run: packages::check },
    Step { name: "fmt", what: "formatting", run: fmt },
    Step { name: "tidy", what: "the shape of the repository", run: tidy },
    Step { name: "clippy", what: "lints and bans, warnings denied", run: clippy },
    Step { name: "test", what: "build and tests", run: tests::check },
    Step { name: "doctest", what: "examples in the documentation", run: doctest },
    Step { name: "docs", what: "the documentation, warnings denied", run: docs },
    Step { name: "deny", what: "licences, bans and sources of dependencies", run: deny },
];

/// The names that `--only` takes, in the order of the steps.
pub(crate) fn step_names() -> Vec<&'static str> {
    STEPS.iter().map(|step| step.name).collect()
}

/// Runs all steps, or those named by `--only`.
///
/// # Errors
/// Wrong arguments, or the first step that fails.
pub(crate) fn run(repository: &Repository, arguments: &[String]) -> Result<()> {
    let chosen = chosen_steps(arguments)?;
    let started = Instant::now();
    let mut summary = String::new();
    for (place, step) in chosen.iter().enumerate() {
        println!("\n=== [{}/{}] {}: {}", place + 1, chosen.len(), step.name, step.what);
        let step_started = Instant::now();
        let outcome = (step.run)(repository).map_err(|error| {
            let name = step.name;
            let seconds = step_started.elapsed().as_secs_f64();
            format!(
                "step `{name}` FAILED after {seconds:.1} s: {error}\n{summary}  {name:<10} {seconds:>7.1} s  FAILED\n\
                 to repeat this step alone: cargo xtask check --only {name}"
            )
        })?;
        let seconds = step_started.elapsed().as_secs_f64();
        let end = match outcome {
            Outcome::Passed => "passed".to_owned(),
            Outcome::Skipped(reason) => format!("SKIPPED: {reason}"),
        };
        println!("=== {}: {end} ({seconds:.1} s)", step.name);
        summary += &format!("  {:<10} {seconds:>7.1} s  {end}\n", step.name);
    }
    println!("\n{summary}check: no step failed ({:.1} s)", started.elapsed().as_secs_f64());
    Ok(())
}

fn chosen_steps(arguments: &[String]) -> Result<Vec<&'static Step>> {
    let mut names = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let name = match argument.as_str() {
            "--only" => rest.next().ok_or("`--only` needs the name of a step")?,
            other => return Err(format!("unknown argument `{other}`; the only option is `--only STEP`").into()),
        };
        if !STEPS.iter().any(|step| step.name == name) {
            return Err(format!("no step `{name}`; the steps are: {}", step_names().join(" ")).into());
        }
        names.push(name.as_str());
    }
    Ok(STEPS.iter().filter(|step| names.is_empty() || names.contains(&step.name)).collect())
}

fn fmt(repository: &Repository) -> Result<Outcome> {
    child::run(&mut repository.cargo(&["fmt", "--all", "--check"]), 5 * MINUTE).map_err(|error| {
        format!("{error}\n`cargo fmt` puts it right; `rustup component add rustfmt` if it is missing")
    })?;
    Ok(Outcome::Passed)
}

fn tidy(repository: &Repository) -> Result<Outcome> {
    tidy::run(repository, &[])?;
    Ok(Outcome::Passed)
}

fn clippy(repository: &Repository) -> Result<Outcome> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    child::run(&mut repository.cargo(&arguments), BUILD_LIMIT)
        .map_err(|error| format!("{error}\n`rustup component add clippy` if it is missing"))?;
    Ok(Outcome::Passed)
}

fn doctest(repository: &Repository) -> Result<Outcome> {
    child::run(&mut repository.cargo(&["test", "--doc", "--workspace"]), BUILD_LIMIT)?;
    Ok(Outcome::Passed)
}

fn docs(repository: &Repository) -> Result<Outcome> {
    let mut command = repository.cargo(&["doc", "--workspace", "--no-deps"]);
    child::run(command.env("RUSTDOCFLAGS", "-D warnings"), BUILD_LIMIT)?;
    Ok(Outcome::Passed)
}

fn deny(repository: &Repository) -> Result<Outcome> {
    if !child::succeeds(&mut repository.cargo(&["deny", "--version"])) {
        return Ok(Outcome::Skipped("cargo-deny is not installed".to_owned()));
    }
    child::run(&mut repository.cargo(&["deny", "check", "licenses", "bans", "sources"]), 10 * MINUTE)?;
    Ok(Outcome::Passed)
}

#[cfg(test)]
mod choice {
    use super::*;

    fn names(arguments: &[&str]) -> std::result::Result<Vec<&'static str>, String> {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let steps = chosen_steps(&arguments).map_err(|error| error.to_string())?;
        Ok(steps.iter().map(|step| step.name).collect())
    }

    #[test]
    fn without_arguments_all_steps_run_in_order() {
        assert_eq!(names(&[]).unwrap(), step_names());
    }

    #[test]
    fn only_picks_steps_and_keeps_their_order() {
        assert_eq!(names(&["--only", "docs", "--only", "fmt"]).unwrap(), ["fmt", "docs"]);
    }

    #[test]
    fn wrong_arguments_say_what_would_be_right() {
        assert!(names(&["--only"]).unwrap_err().contains("needs the name"));
        assert!(names(&["--only", "nope"]).unwrap_err().contains("the steps are: packages"));
        assert!(names(&["nope"]).unwrap_err().contains("--only STEP"));
    }
}
