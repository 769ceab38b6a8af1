//! A wish to execute a workflow, on its way to the brain.

use std::{collections::BTreeMap, sync::Arc};
use unknot_core::{
    RunId, Timestamp,
    event::{Caller, Event, Facts, Submission, TakeOver},
    run::{Idempotency, JsonText},
    workflow::Definition,
};

/// A wish to execute a workflow.
#[derive(Clone, Debug)]
pub struct Submit {
    /// The workflow.
    pub definition: Arc<Definition>,
    /// The input, checked, defaults filled in.
    pub input: serde_json::Value,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Who submits.
    pub client_id: Option<String>,
    /// Set if a repetition must find the same run.
    pub idempotency: Option<Idempotency>,
    /// Path of the workflow file, absolute.
    pub source: Option<String>,
    /// Not before this moment.
    pub start_at: Option<Timestamp>,
    /// What is taken over from a run that ended, of the same definition.
    pub takes_over: Option<TakeOver>,
    /// The workflows that it calls, and those that these call, by name.
    pub calls: BTreeMap<Arc<str>, Arc<Definition>>,
}

impl Submit {
    /// A workflow without calls, with an empty input, to be started at once.
    pub fn of(definition: Arc<Definition>) -> Self {
        Self {
            definition,
            input: serde_json::json!({}),
            labels: BTreeMap::new(),
            client_id: None,
            idempotency: None,
            source: None,
            start_at: None,
            takes_over: None,
            calls: BTreeMap::new(),
        }
    }

    /// The event that has it executed.
    pub(crate) fn event(self, run: RunId, facts: Facts, caller: Caller) -> Event {
        Event::RunSubmitted(Box::new(self.submission(run, facts, caller)))
    }

    /// The same, for the brain.
    pub(crate) fn submission(self, run: RunId, facts: Facts, caller: Caller) -> Submission {
        Submission {
            run,
            definition: self.definition,
            input: JsonText::of(&self.input),
            labels: self.labels,
            client_id: self.client_id,
            idempotency: self.idempotency,
            source: self.source,
            start_at: self.start_at,
            takes_over: self.takes_over,
            calls: self.calls,
            facts,
            caller,
        }
    }
}

/// A run that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its id.
    pub run: RunId,
    /// Whether it did so before, under the same idempotency key.
    pub existing: bool,
}
