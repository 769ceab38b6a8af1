//! The `unknot` command: runs workflows in this process or at a server, and looks at what ran.
//!
//! Open first: `args.rs` (what can be typed), then the file of a command under `commands/`.
//! `config.rs` turns what was typed into what is meant, `source.rs` is where commands look, `remote.rs` whom they
//! ask, `attempt.rs` the way to the server from inside a task; `error.rs` is everything that can go wrong on the way, with its code and its advice.

mod args;
mod attempt;
mod attempt_folder;
mod calls;
mod commands;
mod config;
mod error;
mod exit;
mod feed;
mod follow;
mod inputs;
mod logging;
mod looking;
mod output;
mod progress;
mod remote;
mod signals;
mod source;
mod summary;
mod table;
mod teller;
mod terminal;
mod time;
mod workflow;

use args::Arguments;
use clap::Parser;
use std::process::ExitCode;

/// The word that turns this program into the guard of a worker. Never typed by a person.
const GUARD_WORD: &str = "__guard";

fn main() -> ExitCode {
    // The guard forks, so it must be asked for before any thread, handler or parser is there.
    if std::env::args_os().nth(1).is_some_and(|word| word == GUARD_WORD) {
        return unknot_hands::guard::main();
    }
    let exit = commands::perform(Arguments::parse()).unwrap_or_else(|error| {
        error::report(&error);
        error.exit()
    });
    exit.into()
}
