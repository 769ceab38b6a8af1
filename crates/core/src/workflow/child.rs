//! What a task starts (`workflow`) and what it waits for (`signal`).

use crate::id::TaskIndex;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The runs that a task starts and waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Child {
    /// The name of the workflow; which definition that is, is known only when a run starts.
    pub workflow: Arc<str>,
    /// What each run is given: a map, or text that is one expression. Texts in it are templates and see the item.
    pub input: serde_json::Value,
    /// Whether the runs go on when the task ends before them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detached: bool,
    /// What a run that does not complete means for the task.
    #[serde(default, skip_serializing_if = "OnChildFailure::is_fail")]
    pub on_child_failure: OnChildFailure,
    /// One run for each item; none: one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_each: Option<ForEach>,
}

/// What a child run that ends otherwise than COMPLETED means for its task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnChildFailure {
    /// The task fails.
    #[default]
    Fail,
    /// The task completes; its output says how each run ended.
    Continue,
}

/// One run for each of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForEach {
    /// A list, whose texts are templates, or text that is one expression and gives a list.
    pub items: serde_json::Value,
    /// How many runs are under way at once, 1 to 10,000; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
}

/// The signal that a task waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredAwait", into = "StoredAwait")]
pub struct Await {
    /// Its name.
    pub name: Arc<str>,
    /// The tasks of the run that send it, and nobody else may; none: anybody may.
    pub from: Vec<TaskIndex>,
}

impl Await {
    /// A signal that anybody may send.
    pub fn anybodys(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), from: Vec::new() }
    }
}

/// A signal from anybody is stored as its name: so were all, before tasks could be named.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StoredAwait {
    Anybodys(Arc<str>),
    Sent { name: Arc<str>, from: Vec<TaskIndex> },
}

impl From<StoredAwait> for Await {
    fn from(stored: StoredAwait) -> Self {
        match stored {
            StoredAwait::Anybodys(name) => Self::anybodys(name),
            StoredAwait::Sent { name, from } => Self { name, from },
        }
    }
}

impl From<Await> for StoredAwait {
    fn from(signal: Await) -> Self {
        match signal {
            Await { name, from } if from.is_empty() => Self::Anybodys(name),
            Await { name, from } => Self::Sent { name, from },
        }
    }
}

impl OnChildFailure {
    fn is_fail(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use crate::workflow::{Definition, Stored};

    fn read(text: &str) -> Stored {
        serde_json::from_str(text).expect("a stored definition")
    }

    #[test]
    fn a_definition_of_before_there_were_child_runs_is_stored_as_it_was() {
        let text = r#"{"hash":"h","name":"a","timeout":604800000,"tasks":[{"name":"go","kind":{"signal":"go"}}]}"#;
        let stored = read(text);
        assert_eq!(serde_json::to_string(&stored).expect("JSON"), text);
        assert_eq!(Definition::new(stored).awaiting.len(), 1);
    }

    #[test]
    fn what_is_said_of_child_runs_is_kept() {
        let text = r#"{"hash":"h","name":"a","timeout":1,"output":null,"on_deadlock":"alert","pending_stale":2,"workflow_stale":3,"tasks":[{"name":"a","kind":{"workflow":{"workflow":"b","input":"{{ item }}","detached":true,"on_child_failure":"continue","for_each":{"items":[1],"max_parallel":2}}}},{"name":"b","kind":{"signal":{"name":"go","from":[0]}}}]}"#;
        let stored = read(text);
        assert_eq!(stored.output, Some(serde_json::Value::Null));
        assert_eq!(serde_json::to_string(&stored).expect("JSON"), text);
    }

    #[test]
    fn a_sender_that_is_not_there_is_a_damaged_definition() {
        let text =
            r#"{"hash":"h","name":"a","timeout":1,"tasks":[{"name":"b","kind":{"signal":{"name":"go","from":[1]}}}]}"#;
        assert!(serde_json::from_str::<Definition>(text).is_err());
    }
}
