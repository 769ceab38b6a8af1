//! Values as what obeys them takes them.

use super::{kind::Value, values::Values};
use std::collections::BTreeMap;
use unknot_engine::core::{
    Millis,
    deadlock::Policy,
    settings::{Bounds, Monitor, PoolSettings, QueueSettings},
};

pub(super) fn queues(values: &Values) -> BTreeMap<String, QueueSettings> {
    let queue = |name: String| {
        let settings = QueueSettings {
            max_queue_size: values.count("queues.*.max_queue_size", Some(&name)),
            visibility_timeout: values.length("queues.*.visibility_timeout", Some(&name)),
            max_retries: values.count("queues.*.max_retries", Some(&name)),
            low_counts_as_high_after: values.length("queues.*.low_counts_as_high_after", Some(&name)),
        };
        (name, settings)
    };
    values.names("queues").into_iter().map(queue).collect()
}

pub(super) fn pools(values: &Values) -> BTreeMap<String, PoolSettings> {
    let pool = |name: String| {
        let lend = values.truth("pools.*.lend", Some(&name));
        let size = values.count("pools.*.size", Some(&name));
        let on_deadlock = match values.get("pools.*.on_deadlock", Some(&name)) {
            Value::Text(word) if word == "retry" => Some(Policy::Retry),
            Value::Text(word) if word == "cancel" => Some(Policy::Cancel),
            Value::Text(word) if word == "alert" => Some(Policy::Alert),
            _ => None,
        };
        (name, PoolSettings { size, lend, on_deadlock })
    };
    values.names("pools").into_iter().map(pool).collect()
}

pub(super) fn bounds(values: &Values) -> Bounds {
    Bounds {
        live_tasks_max: values.count("limits.live_tasks_max", None),
        lost_max: values.count("limits.lost_max", None),
        launch_failures_max: values.count("limits.launch_failures_max", None),
        run_output_bytes_max: values.number("limits.run_output_bytes_max", None),
        ..Bounds::default()
    }
}

pub(super) fn monitor(values: &Values) -> Monitor {
    Monitor {
        cancel_on_deadlock: values.truth("deadlock.cancel_on_deadlock", None),
        pending_stale: Millis::from_secs(values.number("deadlock.pending_stale_s", None)),
        workflow_stale: Millis::from_secs(values.number("deadlock.workflow_stale_s", None)),
        check_interval: Millis::from_secs(values.number("deadlock.check_interval_s", None)),
    }
}

impl Values {
    /// A whole number or a size, as the table has it.
    pub(crate) fn number(&self, path: &str, name: Option<&str>) -> u64 {
        match self.get(path, name) {
            Value::Whole(number) | Value::Bytes(number) => *number,
            other => unreachable!("`{path}` is {other:?}"),
        }
    }

    pub(super) fn count(&self, path: &str, name: Option<&str>) -> u32 {
        // Each key's bound is in the table.
        u32::try_from(self.number(path, name)).unwrap_or(u32::MAX)
    }

    /// Yes or no.
    pub(super) fn truth(&self, path: &str, name: Option<&str>) -> bool {
        *self.get(path, name) == Value::Truth(true)
    }

    pub(super) fn length(&self, path: &str, name: Option<&str>) -> Millis {
        match self.get(path, name) {
            Value::Length(length) => *length,
            other => unreachable!("`{path}` is {other:?}"),
        }
    }
}
