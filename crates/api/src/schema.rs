//! The JSON Schema of workflow files, written by the code that reads them.

use crate::{
    shape::{Definitions, record_schema},
    workflow::WorkflowFile,
};
use serde_json::{Value, json};

/// The schema of a workflow file (draft 2020-12), published as `docs/workflow.schema.json`.
pub fn workflow_schema() -> Value {
    let mut definitions = Definitions::default();
    let root = record_schema::<WorkflowFile>(&mut definitions);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Unknot workflow",
        "description": "A workflow: tasks, what they need, and the bound of every wait.",
    });
    if let (Value::Object(schema), Value::Object(root)) = (&mut schema, root) {
        schema.extend(root);
        schema.insert("$defs".to_owned(), Value::Object(definitions.0));
    }
    schema
}
