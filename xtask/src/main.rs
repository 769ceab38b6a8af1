//! `cargo xtask`: the commands by which Unknot is built, checked and kept in shape.
//!
//! Each command is one line of [`COMMANDS`] and one module. A command that measures or shakes the
//! system lives in the crate that it exercises; its module here starts it by `cargo run --release`
//! and prints what came out, so that this crate stays free of workspace dependencies.

mod bench;
mod check;
mod child;
mod fuzz_api;
mod kill_loop;
mod load;
mod repository;
mod sweep;
mod tidy;

use repository::Repository;
use std::{env, error::Error, process::ExitCode};

/// What every command returns: any error, told to the person at the end of `main`.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// One word that can follow `cargo xtask`.
struct Command {
    /// As typed.
    name: &'static str,
    /// How its arguments look in the menu.
    arguments: &'static str,
    /// One line of the menu.
    summary: &'static str,
    /// Does it, with the arguments that followed the name.
    run: fn(&Repository, &[String]) -> Result<()>,
}

/// The menu, in its order.
const COMMANDS: &[Command] = &[
    Command {
        name: "check",
        arguments: "[--only STEP]…",
        summary: "everything that must hold before a commit; what CI runs",
        run: check::run,
    },
    Command {
        name: "tidy",
        arguments: "",
        summary: "sizes, dependency arrows, docs, error pages, links, bans",
        run: tidy::run,
    },
    Command {
        name: "bench",
        arguments: "[waits] [--json] …",
        summary: "throughput, latency, spawns, memory, recovery; also --peers, --rounds N; waits: verdicts; a release build",
        run: bench::run,
    },
    Command {
        name: "load",
        arguments: "[--json]",
        summary: "a server under load over HTTP: submissions, latencies meanwhile, 1,000 listeners; a release build",
        run: load::run,
    },
    Command {
        name: "sweep",
        arguments: "[--seeds N] [--from S] …",
        summary: "simulated worlds; also --seconds T, --large; a release build",
        run: sweep::run,
    },
    Command {
        name: "fuzz-api",
        arguments: "[--calls N]",
        summary: "a public fuzzer against our own server, 10,000 calls; needs Python and its registry",
        run: fuzz_api::run,
    },
    Command {
        name: "kill-loop",
        arguments: "[ROUNDS]",
        summary: "kill -9 of a working run at random moments, 50 times",
        run: kill_loop::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        print!("{}", menu());
        return ExitCode::SUCCESS;
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        print!("{}", menu());
        return ExitCode::SUCCESS;
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprint!("xtask: no command `{name}`\n\n{}", menu());
        return ExitCode::from(2);
    };
    match (command.run)(&Repository::here(), rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn menu() -> String {
    let mut text = String::from("cargo xtask COMMAND\n\n");
    for Command { name, arguments, summary, .. } in COMMANDS {
        text += &format!("  {:<24} {summary}\n", format!("{name} {arguments}"));
    }
    text + &format!("\nSteps of check: {}\n", check::step_names().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_menu_names_every_command_and_step() {
        let menu = menu();
        for name in COMMANDS.iter().map(|command| command.name).chain(check::step_names()) {
            assert!(menu.contains(name), "{name} is missing in\n{menu}");
        }
    }
}
