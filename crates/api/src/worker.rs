//! The wire types of the worker protocol: what a worker of another process sends, and what it is told.
//!
//! `docs/worker-protocol.md` says how they belong together. Work itself is [`crate::work`].

use crate::work::{Assignment, Report, StopReason};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the protocol that this release speaks. A server refuses others.
pub const PROTOCOL: u32 = 1;

/// The longest part of a log or an artifact that is sent at once, in bytes.
pub const PART_BYTES_MAX: usize = 1024 * 1024;
/// Labels of one worker.
pub const LABELS_MAX: usize = 32;
/// Artifacts of one attempt.
pub const ARTIFACTS_MAX: usize = 1_000;
/// Bytes of all artifacts of one attempt together.
pub const ARTIFACTS_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// How many folders deep below `artifacts/` a file may lie.
pub const ARTIFACT_FOLDERS_MAX: usize = 8;
/// Bytes of an artifact's path.
pub const ARTIFACT_PATH_BYTES_MAX: usize = 1_024;

/// The variable by which an attempt's processes know it.
pub const ATTEMPT_VARIABLE: &str = "UNKNOT_ATTEMPT";
/// The variable that has the attempt's own token.
pub const ATTEMPT_TOKEN_VARIABLE: &str = "UNKNOT_ATTEMPT_TOKEN";
/// The variable that has the address at which an attempt can ask for something with its token: `http://HOST:PORT` or
/// `unix:PATH`.
pub const URL_VARIABLE: &str = "UNKNOT_URL";

/// A worker says who it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// The version of the protocol that it speaks.
    #[schemars(range(min = 1, max = 1))]
    pub protocol: u32,
    /// Its name: 1 to 100 letters, digits, `-`, `_` or `.`; whoever has it last has it.
    #[schemars(regex(pattern = "^[A-Za-z0-9_.-]{1,100}$"))]
    pub name: String,
    /// Drawn when its process started: 1 to 16 hexadecimal digits. The same as long as it lives.
    #[schemars(regex(pattern = "^[0-9A-Fa-f]{1,16}$"))]
    pub boot: String,
    /// Attempts that it performs at once.
    #[schemars(range(min = 1, max = 10_000))]
    pub slots: u32,
    /// Tasks of these queues; absent: of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queues: Option<Vec<String>>,
    /// Kinds of work that it knows: `exec`, `http`, `noop`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = "^(exec|http|noop)$")))]
    pub kinds: Vec<String>,
    /// Handlers that it has, for `worker` tasks: names as such tasks have them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = "^[a-z][a-z0-9_-]{0,99}$")))]
    pub handlers: Vec<String>,
    /// What people should know of it: at most 32 names with their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = LABELS_MAX))]
    pub labels: BTreeMap<String, String>,
}

/// A session begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// The version of the protocol that the server speaks.
    pub protocol: u32,
    /// To be named in each call.
    pub session: String,
    /// Without a call for so long, the worker counts as gone, in milliseconds.
    pub session_term_ms: u64,
    /// How often leases are to be renewed at the least, in milliseconds; more often where they are shorter.
    pub renew_every_ms: u64,
    /// How long the server waits for something to say, in milliseconds.
    pub poll_ms: u64,
}

/// A worker asks for work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Its session.
    pub session: String,
    /// The `number` of the last answer that it has had in this session; 0: none.
    #[serde(default)]
    pub received: u64,
    /// How many assignments it takes, at most 1,000 at once.
    pub most: usize,
}

/// Work, or none for now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Claimed {
    /// To be named in the next claim. What the worker does not say that it has had comes again.
    pub number: u64,
    /// How long the server waited until it handed this out, in milliseconds: leases run from then.
    pub waited_ms: u64,
    /// What to do.
    pub work: Vec<Handed>,
}

/// One attempt, handed to a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Handed {
    /// What to do. The same may come twice: it is known by its attempt and fence.
    pub assignment: Assignment,
    /// Lets the attempt itself in, for as long as its lease is its own.
    pub token: String,
}

/// A worker asks what it is to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrdersWanted {
    /// Its session.
    pub session: String,
}

/// What a worker is to do about what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Orders {
    /// Each may come again.
    pub orders: Vec<Order>,
}

/// One order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Order {
    /// About which attempt.
    pub attempt: String,
    /// Under which fence; an order with another one is about another lease.
    pub fence: u64,
    /// What to do.
    pub act: Act,
    /// Why.
    pub reason: StopReason,
}

/// What is to be done with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Stop it by its ladder.
    Stop,
    /// End it at once.
    Kill,
}

/// A worker still performs what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Renew {
    /// Its session.
    pub session: String,
    /// All that it holds, at most 20,000.
    pub held: Vec<Held>,
}

/// An attempt that a worker holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// The attempt.
    pub attempt: String,
    /// Its fence.
    pub fence: u64,
    /// Whether it was started, as opposed to waiting for a slot of the worker.
    #[serde(default)]
    pub is_started: bool,
}

/// A worker tells what became of attempts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reports {
    /// Its session.
    pub session: String,
    /// In order, at most 1,000.
    pub reports: Vec<Report>,
}

/// Which reports were dealt with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Settled {
    /// Their places in what was sent. The others are to be sent again.
    pub settled: Vec<usize>,
}

/// How much of a log or an artifact the server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Uploaded {
    /// Bytes from its beginning. An artifact is whole, and shown, once these are all that it has.
    pub bytes: u64,
}

/// A part of an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactPart {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How many bytes the whole file has; the part that reaches them makes it whole.
    #[schemars(range(max = ARTIFACTS_BYTES_MAX))]
    pub size: u64,
}
