//! The brain of Unknot: pure decisions about runs, queues, leases, pools, waits and cancellation.
//!
//! Read `event.rs` first (what can happen) and `effect.rs` second (what is asked of the world).
//! Everything here is synchronous and deterministic: no I/O, no clock, no randomness.

pub mod continuation;
pub mod id;
pub mod row;
pub mod run;
pub mod settings;
pub mod template;
pub mod time;
pub mod validate;
pub mod workflow;

pub use id::{AttemptId, CommitSeq, Fence, RunId, Seq, TaskId, TaskIndex};
pub use time::{Millis, Timestamp};
