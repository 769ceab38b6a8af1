//! The engine: the brain, its store and its hands, put together and kept going.
//!
//! Open first `engine.rs` (what it is made of), then `driver.rs` (how events become commits), then
//! `threads.rs` (what runs where). `convert.rs` and `convert_work.rs` are the only places where the
//! core's types and the wire's meet.

pub mod alerts;
mod asked;
mod attempt_tokens;
mod beside;
mod callers;
pub mod calls;
mod clock;
mod command;
pub mod control;
pub mod convert;
mod convert_work;
mod desk;
mod door;
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
pub mod secrets;
pub mod spans;
mod stream;
mod submit;
mod threads;
#[cfg(test)]
mod until;
mod upkeep;
mod watcher;
mod witness;
mod worker;

pub use attempt_tokens::{AttemptTokens, Right as AttemptRight};
pub use beside::Beside;
pub use clock::Clock;
pub use convert_work::folder as attempt_folder;
pub use door::{Kin, KnownChild, WAIT_MAX, WaitWish};
pub use engine::{ATTEMPTS, CommandError, Engine, Options, StartError, Submitted};
pub use inbox::LaneFull;
pub use monitor::{MonitorView, TASKS_MAX as MONITOR_TASKS_MAX};
pub use overview::{Overview, QueueView, WorkerView};
pub use progress::Health;
pub use remote::{Claimed, LeaseUnknown, REMOTE_SLOTS_MAX, Registration, WORKERS_MAX, WorkerError};
pub use stream::{Heard, Lines, RunLines, Subscription};
pub use submit::{Accepted, Submit};
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
