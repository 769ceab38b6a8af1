//! What a running attempt asks under its own token, and what it is told.

use super::{WaitFor, WorkflowChoice};
use crate::{Duration, Moment};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A wish to wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitRequest {
    /// Chosen by the attempt, 1 to 100 characters: asked again under the same name, it is the same wait.
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// What must hold.
    #[serde(rename = "for")]
    pub awaited: WaitFor,
    /// How long at most; absent: as long as the attempt may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Duration>,
    /// What happens then.
    #[serde(default)]
    pub then: AtDeadline,
}

/// What happens when a wait is not over in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AtDeadline {
    /// The attempt is told, and goes on without.
    #[default]
    GiveUp,
    /// The attempt is stopped, as if it had been out of time.
    Stop,
}

/// What became of a wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WaitResult {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub outcome: WaitOutcome,
    /// Until when it goes on at the latest, while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Moment>,
    /// Units that are the attempt's from now on, by pool or lock.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub granted: BTreeMap<String, u32>,
    /// What the signals in it said that were sent, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub signals: BTreeMap<String, Value>,
    /// The spawned runs in it that have ended, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub children: BTreeMap<String, EndedChild>,
}

impl WaitResult {
    /// One with which nothing has come.
    pub fn bare(name: String, outcome: WaitOutcome) -> Self {
        let (granted, signals, children) = Default::default();
        Self { name, outcome, deadline: None, granted, signals, children }
    }
}

/// How a wait stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitOutcome {
    /// It goes on: ask again under the same name.
    Waiting,
    /// It holds.
    Met,
    /// Its deadline came first.
    TimedOut,
    /// It can not hold any more: a run in it did not end as it was to.
    Impossible,
    /// It was withdrawn.
    Withdrawn,
}

/// A spawned run that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EndedChild {
    /// Which.
    pub run_id: String,
    /// How it ended.
    #[schemars(extend("enum" = super::RUN_STATUSES))]
    pub status: String,
    /// What it gives: what its workflow says under `output`, or the outputs of its tasks by name.
    pub output: Value,
}

/// Units to give back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// How many, by pool or lock.
    pub units: BTreeMap<String, u32>,
}

/// A wish to spawn a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpawnRequest {
    /// Chosen by the attempt, 1 to 100 characters: the same key finds the same run, also for the next try of the task.
    #[schemars(length(min = 1, max = 100))]
    pub key: String,
    /// The name of a workflow, or a definition with the keys of a workflow file. By a name that its own run may call, it
    /// is the version that the run is pinned to; else the one that is registered.
    pub workflow: WorkflowChoice,
    /// Definitions of workflows that it calls, directly or not, or that its tasks say they may spawn, by name; others are looked up in the same way.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub calls: BTreeMap<String, Map<String, Value>>,
    /// Inputs by name; those that are absent take their defaults.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub input: Map<String, Value>,
    /// Whether it goes on when the attempt's task ends before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detached: bool,
    /// Labels, beside those of the workflow and of the attempt's own run.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The workflow file that the definition was read from, an absolute path: its tasks work in that file's folder.
    /// Absent: where those of the attempt's run do. Over the local socket only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// A spawned run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spawned {
    /// Its id.
    pub run_id: String,
    /// Its key.
    pub key: String,
    /// Whether it had been spawned before, under the same key.
    pub existing: bool,
}

/// A run that the attempt's task has spawned, in this try or an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChildRun {
    /// Its key.
    pub key: String,
    /// Its id.
    pub run_id: String,
    /// Its status.
    #[schemars(extend("enum" = super::RUN_STATUSES))]
    pub status: String,
    /// Whether it goes on when the task ends before it.
    pub detached: bool,
}
