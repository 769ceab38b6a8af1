//! The hands with real processes. Each test has a bound of its own on every wait, and looks for a condition, never for
//! a time to have passed.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests are free of the bans")]

mod delivery;
mod faults;
mod http;
mod lease;
mod lent;
mod limits;
mod output;
mod speed;
mod start;
mod stop;
mod support;
