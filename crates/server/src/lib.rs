//! The server: one engine, seen over HTTP.
//!
//! ```text
//!   TCP, Unix socket ──► rim (who, how much, from where) ──► table of operations ──► handlers
//!                                                                │                     │ commands: the brain's control lane
//!                                                                ▼                     │ lists: readers of the store
//!                                                        OpenAPI document              │ health: atomics
//! ```
//!
//! Open first `operation.rs` (what an operation says of itself; router and document are made from it), then
//! `routes.rs` (all of them), then `rim.rs` (what every request must pass).
//!
//! Nothing here runs on the brain's thread, and no request waits for another one's disk: what reads the store does so on
//! threads of its own, within a bound, and what must answer although the store is stuck is told from memory.

mod app;
mod auth;
mod files;
mod listen;
mod openapi;
mod operation;
mod problem;
mod rim;
mod routes;
mod seldom;
mod tally;
mod tokens;
mod upload;
pub mod view;

pub use app::{Changeable, Deadlock, Options, Rate, UnsafeWorkflows};
pub use files::artifacts;
pub use listen::{Door, Server, StartError};
pub use openapi::document;
pub use tokens::{Scope, TokenError, Tokens};
