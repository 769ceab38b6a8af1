//! The brain of Unknot: pure decisions about runs, queues, leases, pools, waits and cancellation.
//!
//! Read `event.rs` first (what can happen) and `effect.rs` second (what is asked of the world).
//! Everything here is synchronous and deterministic: no I/O, no clock, no randomness.

pub mod alert;
pub mod apply;
pub mod check;
pub mod continuation;
pub mod deadline;
pub mod deadlock;
pub mod decision;
pub mod due;
pub mod effect;
pub mod event;
pub mod id;
pub mod monitor;
pub mod proof;
pub mod ready;
pub mod retry;
pub mod row;
pub mod run;
pub mod settings;
pub mod state;
mod step;
pub mod template;
pub mod time;
pub mod validate;
pub mod volatile;
pub mod wait;
pub mod worker;
pub mod workflow;

pub use apply::{ANCESTORS_MAX, CHILDREN_MAX, apply};
pub use decision::Decision;
pub use id::{AttemptId, CommitSeq, Fence, RunId, Seq, TaskId, TaskIndex};
pub use state::State;
pub use time::{Millis, Timestamp};
