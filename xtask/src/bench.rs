//! `cargo xtask bench`: builds what is measured in release, measures it, and prints a table.
//!
//! The measuring itself is `crates/engine/examples/bench.rs`, which prints one JSON object a line;
//! `cargo xtask bench waits` measures the verdicts on the wait graph instead, `cargo xtask bench asks` whole steps while
//! attempts wait, and `cargo xtask bench deadlocks` a deadlock through the whole engine (see [`waits`]);
//! with `--peers` the scripts in `bench/peers` print theirs in between (see [`peers`]).

mod figures;
mod peers;
mod waits;

use crate::{Repository, Result, child};
use peers::Peers;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use waits::Measure;

/// One call of what measures; one that hangs is a failure.
const LIMIT: Duration = Duration::from_secs(900);
/// The build before it.
const BUILD_LIMIT: Duration = Duration::from_secs(1_800);
/// Runs of each throughput, ours and the peers'.
const TASKS: &str = "20000";
/// Rounds beside peers unless asked otherwise: the least of which the middle one says something.
const ROUNDS_WITH_PEERS: usize = 3;

/// Builds, measures, prints.
pub(crate) fn run(repository: &Repository, arguments: &[String]) -> Result<()> {
    match arguments.split_first().map(|(word, rest)| (word.as_str(), rest)) {
        Some(("waits", rest)) => return waits::run(repository, Measure::Waits, rest),
        Some(("asks", rest)) => return waits::run(repository, Measure::Asks, rest),
        Some(("deadlocks", [])) => return waits::deadlocks(repository),
        _ => {}
    }
    let Asked { as_json, with_peers, rounds } = Asked::parse(arguments)?;
    let target = repository.target()?;
    let peers = if with_peers { Some(Peers::prepare(repository, &target)?) } else { None };
    let ours = Ours::build(repository, &target)?;
    let mut taken = Vec::new();
    for _ in 0..rounds {
        let mut round = ours.measure(None)?;
        if let Some(peers) = &peers {
            round.extend(figures::parse(&peers.measure()?)?);
        }
        taken.push(round);
    }
    let mut figures = figures::middle(taken)?;
    figures.extend(ours.measure(Some("memory"))?);
    figures::compare(&mut figures);
    fs::remove_dir_all(&ours.scratch)?;
    if as_json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        print!("{}", figures::table(&mut figures));
    }
    Ok(())
}

/// What the command line asks for.
#[derive(Debug, PartialEq)]
struct Asked {
    /// JSON instead of a table.
    as_json: bool,
    /// Peers are measured too.
    with_peers: bool,
    /// How often everything but memory is measured; what is told of each figure is its middle one.
    rounds: usize,
}

impl Asked {
    fn parse(arguments: &[String]) -> Result<Self> {
        let (mut as_json, mut with_peers, mut rounds) = (false, false, None);
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--json" => as_json = true,
                "--peers" => with_peers = true,
                "--rounds" => {
                    let number = words.next().and_then(|number| number.parse().ok()).filter(|&number| number > 0);
                    rounds = Some(number.ok_or("`--rounds` needs a number from 1 on")?);
                }
                other => {
                    return Err(
                        format!("bench takes `waits`, `asks`, `deadlocks`, or `--json`, `--peers` and `--rounds N`, not `{other}`").into()
                    );
                }
            }
        }
        let rounds = rounds.unwrap_or(if with_peers { ROUNDS_WITH_PEERS } else { 1 });
        Ok(Self { as_json, with_peers, rounds })
    }
}

/// Our own bench, built.
struct Ours<'a> {
    repository: &'a Repository,
    bench: PathBuf,
    unknot: PathBuf,
    /// Where its stores are while it runs: below the target folder, on the disk that the peers' are on.
    scratch: PathBuf,
}

impl<'a> Ours<'a> {
    fn build(repository: &'a Repository, target: &Path) -> Result<Self> {
        child::run(&mut repository.cargo(&["build", "--release", "-p", "unknot"]), BUILD_LIMIT)?;
        let build = ["build", "--release", "-p", "unknot-engine", "--example", "bench"];
        child::run(&mut repository.cargo(&build), BUILD_LIMIT)?;
        let (bench, unknot) = (target.join("release/examples/bench"), target.join("release/unknot"));
        Ok(Self { repository, bench, unknot, scratch: target.join("bench") })
    }

    /// The figures of one part of the bench; of all but memory if none is named.
    fn measure(&self, part: Option<&str>) -> Result<Vec<Value>> {
        let mut command = self.repository.command(&self.bench.display().to_string(), &[]);
        command.arg(&self.unknot).arg(&self.scratch).arg(TASKS).args(part);
        let mut figures = figures::parse(&child::capture(&mut command, LIMIT)?)?;
        for figure in &mut figures {
            figure["who"] = figures::US.into();
            figure["durability"] = "SQLite WAL, synchronous=FULL; all of it fsynced before it is answered".into();
        }
        Ok(figures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &[&str]) -> Result<Asked> {
        Asked::parse(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn beside_peers_there_are_rounds_of_which_one_can_be_the_middle() {
        assert_eq!(asked(&[]).unwrap(), Asked { as_json: false, with_peers: false, rounds: 1 });
        assert_eq!(asked(&["--peers"]).unwrap(), Asked { as_json: false, with_peers: true, rounds: 3 });
        let short = asked(&["--rounds", "1", "--peers", "--json"]).unwrap();
        assert_eq!(short, Asked { as_json: true, with_peers: true, rounds: 1 });
    }

    #[test]
    fn what_is_not_understood_is_told() {
        assert!(asked(&["--peer"]).unwrap_err().to_string().contains("not `--peer`"));
        for words in [&["--rounds"][..], &["--rounds", "0"], &["--rounds", "few"]] {
            assert!(asked(words).unwrap_err().to_string().contains("a number from 1 on"), "{words:?}");
        }
    }
}
