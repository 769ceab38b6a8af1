//! What Unknot promises to programs and people outside: the form of its files and of its wire.
//!
//! A workflow file is read in three steps, each of which knows the place of everything: text
//! ([`source`]), tree ([`document`]), types ([`workflow`]). What is wrong is a [`report`] with line
//! and column. This crate knows the form only; what a workflow means is checked by the core.
//!
//! With the feature `client` there is a client of the HTTP API (`client`), the one thing here that reads and writes.

#[cfg(feature = "client")]
pub mod client;
pub mod document;
pub mod report;
pub mod rest;
pub mod schema;
pub mod source;
pub mod work;
pub mod worker;
pub mod workflow;

mod causes;
mod nearest;
mod plain;
mod shape;

pub use causes::with_causes;
pub use plain::in_plain_words;
pub use shape::{Duration, Moment, Size, Text};
