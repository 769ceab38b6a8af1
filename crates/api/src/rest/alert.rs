//! Alerts: what people outside are told, and how far that is.

use crate::Moment;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An incident that is open, or that somebody is still to be told of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// Its id, as in what is sent.
    pub id: String,
    /// What makes it the same incident when it is found again: `deadlock:run_…`, `rule:NAME:QUEUE`.
    pub incident: String,
    /// What kind of incident it is: `deadlock`, `stalled`, `starved`, `quarantine`, or what a rule measures.
    pub kind: String,
    /// How bad it is.
    #[schemars(extend("enum" = ["info", "warning", "error", "critical"]))]
    pub severity: String,
    /// One sentence.
    pub summary: String,
    /// The run that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// When it was found.
    pub raised_at: Moment,
    /// When it was over; absent: it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Moment>,
    /// How far those are who are told of it.
    pub targets: Vec<AlertTarget>,
}

/// How far a target has been told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertTarget {
    /// Its name in the configuration.
    pub target: String,
    /// How far it is.
    pub state: AlertState,
    /// Tries so far to tell it, the one under way counted in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tries: Option<u32>,
    /// When it is told next, or looked whether there is room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Moment>,
    /// Why the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How far a target has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AlertState {
    /// It is being told.
    Sending,
    /// It could not be told, and will be tried again.
    Retrying,
    /// It was told of too many lately: this one waits.
    Held,
    /// It knows. Of an incident that is over: it is not in the configuration; once it is, it may be told of the end.
    Told,
    /// It knows only that one more was held back.
    Counted,
    /// It could not be told.
    GivenUp,
}

/// A wish to see whether alerts arrive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertTestRequest {
    /// Which target is told; absent: each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// What came of a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertTested {
    /// The target.
    pub target: String,
    /// What takes alerts there.
    #[schemars(extend("enum" = ["slack", "pagerduty", "webhook"]))]
    pub kind: String,
    /// Whether it took the alert.
    pub ok: bool,
    /// What it answered, or why there was no answer.
    pub answer: String,
    /// How long that took, in milliseconds.
    pub took_ms: u64,
}
