//! The driver when the brain panics, or the store finds a contradiction, or a worker comes back after a restart:
//! nothing is lost, done twice or turned round, and nobody waits behind it.
//!
//! Panics are planted, which takes the feature `plant`: a run over the whole workspace has it, by way of the
//! simulator.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests are free of the bans")]

mod pace;
#[cfg(feature = "plant")]
mod planted;
mod repeated;
mod violated;
mod world;
