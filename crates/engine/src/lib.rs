//! The engine: the brain, its store and its hands, put together and kept going.
//!
//! Open first `engine.rs` (what it is made of), then `driver.rs` (how events become commits), then
//! `threads.rs` (what runs where). `convert.rs` and `convert_work.rs` are the only places where the
//! core's types and the wire's meet.

mod asked;
mod beside;
mod callers;
mod clock;
mod command;
pub mod control;
pub mod convert;
mod convert_work;
mod desk;
pub mod driver;
mod engine;
mod inbox;
mod local;
mod monitor;
mod overview;
mod progress;
mod reads;
mod reconcile;
mod remote;
#[cfg(test)]
mod said;
mod stream;
mod threads;
mod upkeep;
mod watcher;
mod witness;
mod worker;

pub use beside::Beside;
pub use clock::Clock;
pub use convert_work::folder as attempt_folder;
pub use engine::{ATTEMPTS, Accepted, CommandError, Engine, Options, StartError, Submit, Submitted};
pub use inbox::LaneFull;
pub use monitor::{MonitorView, TASKS_MAX as MONITOR_TASKS_MAX};
pub use overview::{Overview, QueueView, WorkerView};
pub use progress::Health;
pub use remote::{Claimed, LeaseUnknown, REMOTE_SLOTS_MAX, Registration, WORKERS_MAX, WorkerError};
pub use stream::{Heard, Lines, RunLines, Subscription};
pub use unknot_hands::{
    artifacts,
    removal::remove_whole,
    worker::{Held, Order},
};
pub use watcher::STATUS;

/// The brain's types, for programs that stand on the engine.
pub use unknot_core as core;
/// The stores, for programs that stand on the engine.
pub use unknot_store as store;
