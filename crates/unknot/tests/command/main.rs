//! The real command in temporary folders: what it prints, how it ends, and what it leaves behind.

#![expect(clippy::unwrap_used, reason = "tests are free of the bans")]

mod alerts;
mod analyze;
mod attempt;
mod config;
mod deadlocks;
mod disk;
mod follow;
mod hold;
mod http;
mod interrupt;
mod left;
mod lists;
mod look;
mod refuse;
mod reload;
mod run;
mod server;
mod signal;
mod snapshot;
mod support;
mod why;
mod worker;
