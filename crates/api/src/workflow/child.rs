//! The `workflow` of a task: the runs that it starts and waits for.

use crate::{
    document::{Node, Value},
    shape::{Definitions, Fields, Reader, Shape, read_word, text_of, word_schema},
};
use serde_json::json;

/// What a task starts, as it stands in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct ChildFile {
    /// The name of the workflow.
    pub workflow: String,
    /// What each run is given; none is an empty object.
    pub input: Option<serde_json::Value>,
    /// Whether the runs go on without the task.
    pub detached: Option<bool>,
    /// What a run that does not complete means for the task.
    pub on_child_failure: Option<OnChildFailureFile>,
    /// One run for each of these.
    pub for_each: Option<ItemsFile>,
    /// How many of them at once.
    pub max_parallel: Option<u32>,
}

/// What a child run that does not complete means for its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnChildFailureFile {
    /// The task fails.
    Fail,
    /// The task completes, and its output says how each run ended.
    Continue,
}

/// The items of a `for_each`: a list, or text with a template that gives one.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemsFile(pub serde_json::Value);

/// Reads the keys of child runs. `input` is shared with `worker`, so its reader gives it.
pub(super) fn child(fields: &mut Fields<'_, '_, '_>, input: Option<serde_json::Value>) -> Option<ChildFile> {
    fields.only_beside(
        "for_each",
        "workflow",
        "move the work into a workflow of its own and start that for each item: `workflow: NAME`",
    );
    fields.only_beside(
        "max_parallel",
        "for_each",
        "`max_parallel` of a task bounds the runs of its `for_each`; that of the workflow bounds its tasks",
    );
    fields.only_beside("detached", "workflow", "only a run that a task starts can go on without it");
    fields.only_beside("on_child_failure", "workflow", "`on_failure` says what a failure of the task itself means");
    let workflow = fields.optional("workflow", "A workflow that is started as a run of its own, and waited for; the run's output is the task's. Needs no worker.");
    let detached = fields.optional(
        "detached",
        "Whether the runs that it starts go on when the task ends before them (default `false`).",
    );
    let on_child_failure = fields.optional("on_child_failure", "What a run that does not complete means: `fail` the task (the default), or `continue`: the output says how each run ended.");
    let for_each = fields.optional(
        "for_each",
        "One run for each item: a list, or one `{{ … }}` that gives one. `input` sees the `item`.",
    );
    let max_parallel =
        fields.optional("max_parallel", "How many of these runs are under way at once, 1 to 10000 (default: all).");
    Some(ChildFile { workflow: workflow?, input, detached, on_child_failure, for_each, max_parallel })
}

impl Shape for OnChildFailureFile {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        read_word(&Self::WORDS, node, reader)
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        word_schema(&Self::WORDS)
    }
}

impl OnChildFailureFile {
    const WORDS: [(&'static str, Self); 2] = [("fail", Self::Fail), ("continue", Self::Continue)];
}

impl Shape for ItemsFile {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        if matches!(node.value, Value::List(_)) || text_of(node).is_some() {
            return Shape::read(node, reader).map(Self);
        }
        reader.wrong(node, "a list, or a template that gives one: `\"{{ tasks.split.output }}\"`");
        None
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        json!({"type": ["array", "string"]})
    }
}
