//! Events for PagerDuty, by its Events API version 2.

use super::{
    Secret,
    letter::{Letter, moment},
};
use serde_json::{Value, json};

/// The longest summary that it takes, in characters.
const SUMMARY_MAX: usize = 1_024;

/// The body of an event: `trigger`, or `resolve` for the same `dedup_key`.
pub(super) fn body(letter: &Letter<'_>, routing_key: &Secret) -> Value {
    let (notice, incident) = (letter.notice, &letter.notice.incident);
    // Each time that an incident is found it is an incident of its own there as well: the end of an earlier one may
    // arrive later than the begin of the next.
    let dedup_key = format!("{}:{}", incident.key, notice.id());
    if letter.is_over() {
        return json!({"routing_key": routing_key.expose(), "event_action": "resolve", "dedup_key": dedup_key});
    }
    let mut details = letter.details();
    details.insert("incident".to_owned(), incident.key.as_str().into());
    if let Some(told) = letter.held_back() {
        details.insert("held_back".to_owned(), told.into());
    }
    json!({
        "routing_key": routing_key.expose(),
        "event_action": "trigger",
        "dedup_key": dedup_key,
        "client": "Unknot",
        "payload": {
            "summary": incident.summary.chars().take(SUMMARY_MAX).collect::<String>(),
            "source": letter.source,
            "severity": incident.severity.word(),
            "timestamp": moment(notice.raised_at),
            "component": "unknot",
            "group": letter.namespace,
            "class": incident.kind(),
            "custom_details": details,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::letter::tests::{backlog, deadlock, letter, over};
    use unknot_core::RunId;

    const ROUTING_KEY: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn an_incident_is_triggered_and_resolved_under_one_key() {
        let (key, run) = (Secret::new(ROUTING_KEY), RunId::from_parts(1, 1).to_string());
        let dedup_key = format!("deadlock:{run}:alert_0000000000000abc");
        let expected = json!({
            "routing_key": ROUTING_KEY,
            "event_action": "trigger",
            "dedup_key": dedup_key,
            "client": "Unknot",
            "payload": {
                "summary": format!("run {run} of workflow data-analysis is deadlocked, with 5 stuck tasks"),
                "source": "worker-7",
                "severity": "critical",
                "timestamp": "2024-01-15T10:49:58Z",
                "component": "unknot",
                "group": "default",
                "class": "deadlock",
                "custom_details": {
                    "run_id": run,
                    "workflow_name": "data-analysis",
                    "finding": "deadlock",
                    "verdict": "dl_13",
                    "stuck_tasks": 5,
                    "last_update": "2024-01-15T10:30:00Z",
                    "auto_cancel": true,
                    "explanation": ["`a` waits for lock `x`, which `b` holds"],
                    "incident": format!("deadlock:{run}"),
                },
            },
        });
        assert_eq!(body(&letter(&deadlock()), &key), expected);
        let ended = over(deadlock());
        let resolved = body(&letter(&ended), &key);
        assert_eq!(resolved, json!({"routing_key": ROUTING_KEY, "event_action": "resolve", "dedup_key": dedup_key}));
        assert!(dedup_key.len() <= 255);
    }

    #[test]
    fn a_summary_is_not_too_long_and_what_was_held_back_is_told() {
        let mut long = backlog();
        long.incident.summary = "ü".repeat(2_000);
        long.held_back = 1;
        let told = body(&letter(&long), &Secret::new(ROUTING_KEY));
        assert_eq!(told["payload"]["summary"].as_str().map(|summary| summary.chars().count()), Some(1_024));
        let held_back = told["payload"]["custom_details"]["held_back"].as_str().unwrap();
        assert!(held_back.starts_with("1 more alert was held back"), "{held_back}");
    }
}
