//! `acquires` of a task: what it may take while it runs.

use crate::{
    document::{Node, Value},
    shape::{Definitions, Fields, Reader, Record, Shape, Table},
};
use serde_json::json;

/// What a task may acquire while it runs, beside what it holds: one step after the other, each all at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcquiresFile {
    /// The steps in their order.
    pub steps: Vec<AcquireFile>,
    /// Whether they were written as a list, and not as one map of single things.
    pub is_list: bool,
}

/// What is acquired in one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcquireFile {
    /// Units of pools.
    pub pools: Vec<(String, u32)>,
    /// Locks.
    pub locks: Vec<String>,
}

impl Shape for AcquiresFile {
    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        if matches!(node.value, Value::List(_)) {
            return Shape::read(node, reader).map(|steps| Self { steps, is_list: true });
        }
        let AcquireFile { pools, locks } = Shape::read(node, reader)?;
        let of_pool = |pool| AcquireFile { pools: vec![pool], ..AcquireFile::default() };
        let of_lock = |lock| AcquireFile { locks: vec![lock], ..AcquireFile::default() };
        let steps = pools.into_iter().map(of_pool).chain(locks.into_iter().map(of_lock)).collect();
        Some(Self { steps, is_list: false })
    }

    fn schema(definitions: &mut Definitions) -> serde_json::Value {
        json!({"anyOf": [AcquireFile::schema(definitions), Vec::<AcquireFile>::schema(definitions)]})
    }
}

impl Record for AcquireFile {
    const NAME: &'static str = "Acquire";
    const WHAT: &'static str = "`acquires`";

    fn fields(fields: &mut Fields<'_, '_, '_>) -> Self {
        Self {
            pools: fields.optional("pools", "Units of pools.").map(|Table(list)| list).unwrap_or_default(),
            locks: fields.optional("locks", "Locks, after the pools.").unwrap_or_default(),
        }
    }
}
