//! The API from outside: a real engine on a real store, a free port, and bytes on a socket. No test needs a process:
//! tasks sleep, or stand in a queue that nobody serves.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests are free of the bans")]

mod access;
mod again;
mod alerts;
mod asks;
mod attempts;
mod bounds;
mod browser;
mod cancel;
mod deadlocks;
mod document;
mod events;
mod files;
mod health;
mod lists;
mod operate;
mod pages;
mod problems;
mod signals;
mod stuck;
mod submit;
mod support;
mod tasks;
mod why;
mod workflows;
