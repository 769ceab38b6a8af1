//! `unknot-sim sweep` runs many worlds, `unknot-sim replay` shows one.

use std::{env, process::ExitCode, time::Duration};
use unknot_sim::{simulate, trace::Keep, world::Scale};

const USAGE: &str = "unknot-sim sweep [--seeds N] [--from S] [--seconds T] [--large]
unknot-sim replay SEED [--until STEP] [--large]";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<ExitCode, String> {
    let scale = if arguments.iter().any(|word| word == "--large") { Scale::Large } else { Scale::Small };
    match arguments.first().map(String::as_str) {
        Some("sweep") => {
            let (from, seeds) = (number(arguments, "--from")?.unwrap_or(0), number(arguments, "--seeds")?);
            let seconds = number(arguments, "--seconds")?;
            let seeds = seeds.unwrap_or(if seconds.is_some() { u64::MAX - from } else { 1_000 });
            Ok(sweep(from, seeds, seconds.map(Duration::from_secs), scale))
        }
        Some("replay") => {
            let seed = arguments.get(1).and_then(|word| word.parse().ok()).ok_or("which seed?")?;
            Ok(replay(seed, number(arguments, "--until")?, scale))
        }
        _ => Err("sweep or replay?".to_owned()),
    }
}

fn number(arguments: &[String], name: &str) -> Result<Option<u64>, String> {
    let Some(place) = arguments.iter().position(|word| word == name) else { return Ok(None) };
    let value = arguments.get(place + 1).and_then(|word| word.parse().ok());
    value.map(Some).ok_or(format!("`{name}` wants a number"))
}

#[expect(clippy::disallowed_methods, reason = "how long a sweep goes on is the user's time, not a world's")]
fn sweep(from: u64, seeds: u64, bound: Option<Duration>, scale: Scale) -> ExitCode {
    let begun = std::time::Instant::now();
    let (mut worlds, mut steps, mut failed) = (0u64, 0u64, 0u64);
    let mut counts = std::collections::BTreeMap::<String, u64>::new();
    for seed in from..from + seeds {
        if bound.is_some_and(|bound| begun.elapsed() >= bound) {
            break;
        }
        worlds += 1;
        match simulate(seed, scale, Keep::Tail, None) {
            Ok((report, _)) => {
                steps += report.steps;
                for (status, many) in report.ends {
                    *counts.entry(status.to_string()).or_default() += many as u64;
                }
                *counts.entry("verdicts".to_owned()).or_default() += report.verdicts;
                for (kind, many) in report.plants {
                    *counts.entry(format!("planted: {kind}")).or_default() += many;
                }
                for (what, many) in report.counts {
                    *counts.entry(what.to_owned()).or_default() += many;
                }
            }
            Err(failure) => {
                failed += 1;
                println!("seed {} step {}: {:.600}", failure.seed, failure.step, failure.message);
            }
        }
    }
    println!("{worlds} worlds, {steps} steps, {failed} failed, {:.1} s", begun.elapsed().as_secs_f64());
    for (what, many) in counts {
        println!("  {what:<22} {many}");
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(seed: u64, until: Option<u64>, scale: Scale) -> ExitCode {
    match simulate(seed, scale, Keep::All, until) {
        Ok((report, trace)) => {
            trace.iter().for_each(|line| println!("{line}"));
            println!("{report:#?}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}
