//! Cancellation, with the names that its operators know.

use crate::Moment;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A wish to end a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CancelRequest {
    /// Why, for people; at most 1,000 characters.
    #[schemars(length(max = 1_000))]
    pub reason: Option<String>,
    /// Whether its attempts are given up at once. Needs the scope `admin`.
    pub force: bool,
}

/// A run that is on its way to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cancelling {
    /// Which run.
    pub run_id: String,
    /// `CANCELLING`.
    #[schemars(extend("enum" = super::RUN_STATUSES))]
    pub status: String,
    /// For people.
    pub message: String,
    /// When it was first asked.
    pub cancelled_at: Moment,
    /// Tasks that were not at their end then.
    pub cancelled_tasks: u32,
    /// Why, as first asked.
    pub reason: String,
}

/// Whether and why a run is cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CancelStatus {
    /// Which run.
    pub run_id: String,
    /// Whether somebody cancelled it, ended or not.
    pub is_cancelled: bool,
    /// The run's status.
    #[schemars(extend("enum" = super::RUN_STATUSES))]
    pub status: String,
    /// Why.
    pub cancellation_reason: Option<String>,
    /// Since when.
    pub cancelled_at: Option<Moment>,
    /// Who asked.
    pub cancelled_by: Option<String>,
}

/// A cancelled run in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cancelled {
    /// Which run.
    pub run_id: String,
    /// Its workflow's name.
    pub workflow_name: String,
    /// Its status.
    #[schemars(extend("enum" = super::RUN_STATUSES))]
    pub status: String,
    /// When it was asked to end.
    pub cancelled_at: Moment,
    /// Why.
    pub cancellation_reason: String,
    /// Who asked.
    pub cancelled_by: String,
    /// How many tasks it has.
    pub task_count: u64,
    /// On whose behalf it was submitted.
    pub client_id: Option<String>,
}
