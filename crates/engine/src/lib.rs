//! The engine: the brain, its store and its hands, put together and kept going.
//!
//! Open first `engine.rs` (what it is made of), then `driver.rs` (how events become commits), then
//! `threads.rs` (what runs where). `convert.rs` and `convert_work.rs` are the only places where the
//! core's types and the wire's meet.

mod callers;
mod clock;
pub mod control;
pub mod convert;
mod convert_work;
pub mod driver;
mod engine;
mod inbox;
mod local;
mod progress;
mod reconcile;
mod stream;
mod threads;
mod upkeep;
mod watcher;
mod worker;

pub use clock::Clock;
pub use engine::{ATTEMPTS, Accepted, CommandError, Engine, Options, StartError, Submit, Submitted};
pub use inbox::LaneFull;
pub use progress::Health;
pub use stream::{Heard, Lines, Subscription};
pub use watcher::STATUS;

/// The brain's types, for programs that stand on the engine.
pub use unknot_core as core;
/// The stores, for programs that stand on the engine.
pub use unknot_store as store;
