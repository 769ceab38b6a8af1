//! The hands of Unknot: they perform attempts, and no attempt can make them hang.
//!
//! - [`Worker`] is the one loop that claims work from a [`WorkSource`], performs it and reports until acknowledged.
//! - An `exec` attempt is started by the worker's [`guard`], a process of its own that kills all it has when its
//!   worker is gone.
//! - An `http` attempt is a request whose every phase has a clock of its own.
//! - [`confirm_dead`] finds and ends what may have survived both.
//!
//! Hands read no wall clock: they are given a [`Clock`]. Each wait in here has a bound.

pub mod artifacts;
mod backoff;
mod clock;
mod confirm;
mod descriptors;
mod exec;
mod files;
pub mod guard;
mod http;
mod identity;
mod lease;
mod log;
mod proc;
mod remote;
pub mod removal;
pub mod worker;

pub use clock::Clock;
pub use confirm::{Fate, confirm_dead};
pub use descriptors::slots_max;
pub use guard::GuardCommand;
pub use http::{AddressError, Post, PostClocks, PostError, Posted, check_address, post};
pub use lease::Moment;
pub use log::{LOG_FILE, LOG_PART_BYTES};
pub use remote::{Premises, Remote, RemoteSource};
pub use worker::{Claimed, Config, Held, Order, Patience, Phase, Room, SourceError, Summary, WorkSource, Worker};
