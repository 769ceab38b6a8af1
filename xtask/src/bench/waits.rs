//! `cargo xtask bench waits`: how long the verdict of a step takes with 100,000 live waits; `cargo xtask bench asks`: how
//! long a whole step takes while up to 10,000 attempts wait; `cargo xtask bench deadlocks`: from the wait that closes a
//! deadlock to the victim's being told.
//!
//! The measuring itself is `waits.rs` and `asks.rs` in `crates/core/examples`, and `crates/engine/examples/deadlocks.rs`.

use super::{BUILD_LIMIT, LIMIT, figures};
use crate::{Repository, Result, child};

/// An example of the core that measures shapes.
#[derive(Clone, Copy)]
pub(super) enum Measure {
    Waits,
    Asks,
}

impl Measure {
    const fn name(self) -> &'static str {
        match self {
            Self::Waits => "waits",
            Self::Asks => "asks",
        }
    }

    const fn durability(self) -> &'static str {
        match self {
            Self::Waits => "the verdict alone: nothing is stored, nobody is told",
            Self::Asks => "the step alone: nothing is stored, nobody is told",
        }
    }
}

/// Builds, measures, prints; a shape's name among the arguments measures that one alone.
pub(super) fn run(repository: &Repository, measure: Measure, arguments: &[String]) -> Result<()> {
    let name = measure.name();
    let (flags, shape): (Vec<&String>, Vec<&String>) = arguments.iter().partition(|word| word.starts_with("--"));
    let as_json = match (flags.as_slice(), shape.len()) {
        ([], 0 | 1) => false,
        ([flag], 0 | 1) if *flag == "--json" => true,
        _ => return Err(format!("bench {name} takes `--json` and the name of one shape").into()),
    };
    let build = ["build", "--release", "-p", "unknot-core", "--example", name];
    child::run(&mut repository.cargo(&build), BUILD_LIMIT)?;
    let bench = repository.target()?.join("release/examples").join(name);
    let mut command = repository.command(&bench.display().to_string(), &[]);
    let mut figures = figures::parse(&child::capture(command.args(shape), LIMIT)?)?;
    for figure in &mut figures {
        figure["who"] = figures::US.into();
        figure["durability"] = measure.durability().into();
    }
    if as_json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        print!("{}", figures::table(&mut figures));
    }
    Ok(())
}

/// Builds and measures a deadlock through the whole engine, and prints the figures.
pub(super) fn deadlocks(repository: &Repository) -> Result<()> {
    let build = ["build", "--release", "-p", "unknot-engine", "--example", "deadlocks"];
    child::run(&mut repository.cargo(&build), BUILD_LIMIT)?;
    let target = repository.target()?;
    let scratch = target.join("tmp/bench-deadlocks");
    let bench = target.join("release/examples/deadlocks");
    let mut command = repository.command(&bench.display().to_string(), &[]);
    let mut figures = figures::parse(&child::capture(command.arg(&scratch), LIMIT)?)?;
    for figure in &mut figures {
        figure["who"] = figures::US.into();
        figure["durability"] = "SQLite, synchronous=FULL: the verdict is stored before the victim is told".into();
    }
    std::fs::remove_dir_all(&scratch)?;
    print!("{}", figures::table(&mut figures));
    Ok(())
}
