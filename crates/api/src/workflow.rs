//! The workflow file: what people write, key by key.
//!
//! [`WorkflowFile::read`] takes a [`Document`] and checks its form: which keys there are, of which
//! type. What the keys mean together is checked elsewhere, by the rules of the core. Each key is
//! listed once, in a `fields` function, for the reader and the schema alike.

mod child;
mod declared;
mod http;
mod needs;
mod signal;
mod task;

pub use child::{ChildFile, ItemsFile, OnChildFailureFile};
pub use declared::{AcquireFile, AcquiresFile};
pub use http::{HttpFile, HttpTimeoutsFile, MethodFile};
pub use needs::{NeedFile, NeedsFile, UntilFile};
pub use signal::SignalFile;
pub use task::{
    BackoffFile, CancelFile, CommandFile, KindFile, LimitsFile, OnFailureFile, OnLostFile, PriorityFile, RetryFile,
    TaskFile, WhenFile,
};

use crate::{
    document::{Document, Node},
    report::{Code, Diagnostic, Report},
    shape::{Definitions, Duration, Fields, Moment, Reader, Record, Shape, Table, Text, read_word, word_schema},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A workflow file of the right form.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkflowFile {
    /// The workflow's name.
    pub name: String,
    /// A sentence for people.
    pub description: Option<String>,
    /// Bound of a run.
    pub timeout: Option<Duration>,
    /// How many tasks of a run may run at once.
    pub max_parallel: Option<u32>,
    /// Not before this moment.
    pub start_at: Option<Moment>,
    /// Not before so long after the submission.
    pub delay: Option<Duration>,
    /// Who the runs are for.
    pub client_id: Option<String>,
    /// Labels of every run.
    pub labels: Vec<(String, Text)>,
    /// Declared inputs.
    pub input: Vec<(String, InputFile)>,
    /// What a run gives whoever started it: a value whose texts are templates.
    pub output: Option<serde_json::Value>,
    /// What is done about a deadlock in which a run is the victim.
    pub on_deadlock: Option<OnDeadlock>,
    /// When a pending task counts as stale.
    pub pending_stale: Option<Duration>,
    /// When a run counts as stale.
    pub workflow_stale: Option<Duration>,
    /// The tasks.
    pub tasks: Vec<(String, TaskFile)>,
}

/// What is done about a proved deadlock in which a run of the workflow, or a holder of the pool, is the victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDeadlock {
    /// The victim is tried again, where that may be.
    Retry,
    /// Its run is cancelled.
    Cancel,
    /// Somebody is told.
    Alert,
}

/// A declared input.
#[derive(Clone, Debug, PartialEq)]
pub struct InputFile {
    /// The type word of JSON Schema; none takes any.
    pub type_: Option<InputTypeFile>,
    /// The value if none is given; without it the input is required.
    pub default: Option<serde_json::Value>,
    /// A sentence for people.
    pub description: Option<String>,
}

/// The types of inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputTypeFile {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A list.
    Array,
    /// A map.
    Object,
}

impl WorkflowFile {
    /// Reads a workflow out of a document.
    ///
    /// # Errors
    /// Everything that is wrong with its form, up to the bound of a report.
    pub fn read(document: &Document<'_>) -> Result<Self, Report> {
        let mut reader = Reader::new(document.source());
        let workflow = <Self as Shape>::read(&document.root, &mut reader);
        reader.finish(workflow)
    }
}

impl Record for WorkflowFile {
    const NAME: &'static str = "Workflow";
    const WHAT: &'static str = "a workflow";

    fn fields(fields: &mut Fields<'_, '_, '_>) -> Self {
        fields.exclusive(&["start_at", "delay"]);
        Self {
            name: fields
                .required(&["name"], "The workflow's name: small letters, digits and hyphens.")
                .unwrap_or_default(),
            description: fields.optional("description", "A sentence for people."),
            timeout: fields.optional("timeout", "Bound of a run (default 7d). Every limit below must fit in it."),
            max_parallel: fields.optional(
                "max_parallel",
                "How many tasks of one run may run at once (default: as many as the workers have slots).",
            ),
            start_at: fields.optional("start_at", "Runs do not start before this moment."),
            delay: fields.optional("delay", "Runs do not start before so long after their submission."),
            client_id: fields.optional("client_id", "Who the runs are for."),
            labels: fields
                .optional("labels", "Labels of every run; templates see them as `run.labels`.")
                .map(|Table(list)| list)
                .unwrap_or_default(),
            input: fields
                .optional("input", "Declared inputs by name, at least one. Without this key a run takes any.")
                .map(|Inputs(list)| list)
                .unwrap_or_default(),
            output: fields.optional("output", "What a run gives the task that started it: any value, its texts are templates (default: the outputs of its tasks by name)."),
            on_deadlock: fields.optional("on_deadlock", "What is done about a proved deadlock in which a run is the victim: `retry`, `cancel` or `alert` (default: as `deadlock.cancel_on_deadlock` of the configuration says)."),
            pending_stale: fields.optional("pending_stale", "After so long without any progress a pending task is called stale (default: `deadlock.pending_stale_s` of the configuration)."),
            workflow_stale: fields.optional("workflow_stale", "After so long without any progress a run is called stale (default: `deadlock.workflow_stale_s` of the configuration)."),
            tasks: fields
                .required(&["tasks"], "The tasks by name: small letters, digits, `_` and `-`, beginning with a letter.")
                .map(|Table(list)| list)
                .unwrap_or_default(),
        }
    }
}

/// The declared inputs. None at all would read as if none were taken, and is what a run takes any by.
struct Inputs(Vec<(String, InputFile)>);

impl Shape for Inputs {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let Table(list) = Shape::read(node, reader)?;
        if list.is_empty() {
            reader.tell(node.span, || {
                Diagnostic::new(Code::WrongType, "`input` declares nothing")
                    .expected("at least one input")
                    .help("leave the key out to take any input")
            });
        }
        Some(Self(list))
    }

    fn schema(definitions: &mut Definitions) -> serde_json::Value {
        let mut schema = Table::<InputFile>::schema(definitions);
        schema["minProperties"] = 1.into();
        schema
    }
}

impl Record for InputFile {
    const NAME: &'static str = "Input";
    const WHAT: &'static str = "an input";

    fn fields(fields: &mut Fields<'_, '_, '_>) -> Self {
        Self {
            type_: fields.optional("type", "JSON Schema's word for its type; without it any value is taken."),
            default: fields.optional("default", "The value if none is given; without it the input is required."),
            description: fields.optional("description", "A sentence for people."),
        }
    }
}

impl InputTypeFile {
    const WORDS: [(&'static str, Self); 6] = [
        ("string", Self::String),
        ("integer", Self::Integer),
        ("number", Self::Number),
        ("boolean", Self::Boolean),
        ("array", Self::Array),
        ("object", Self::Object),
    ];
}

impl Shape for InputTypeFile {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        read_word(&Self::WORDS, node, reader)
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        word_schema(&Self::WORDS)
    }
}

impl OnDeadlock {
    const WORDS: [(&'static str, Self); 3] = [("retry", Self::Retry), ("cancel", Self::Cancel), ("alert", Self::Alert)];
}

impl Shape for OnDeadlock {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        read_word(&Self::WORDS, node, reader)
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        word_schema(&Self::WORDS)
    }
}
