//! Messages to any other receiver: a JSON object of our own, described in `docs/alerts.md`.

use super::letter::{Letter, moment};
use serde_json::{Value, json};

/// The version of the message's form: keys are added without another one, none is taken away or means something else.
const VERSION: u32 = 1;

/// The body of a message.
pub(super) fn body(letter: &Letter<'_>) -> Value {
    let (notice, incident) = (letter.notice, &letter.notice.incident);
    json!({
        "version": VERSION,
        "id": notice.id(),
        "event": letter.event(),
        "text": format!("{}{}", if letter.is_over() { "Resolved: " } else { "" }, letter.title()),
        "sent_at": moment(letter.now),
        "source": letter.source,
        "namespace": letter.namespace,
        "incident": {
            "key": incident.key,
            "kind": incident.kind(),
            "severity": incident.severity.word(),
            "summary": incident.summary,
            "raised_at": moment(notice.raised_at),
            "resolved_at": notice.resolved_at.map(moment),
            "details": letter.details(),
        },
        "held_back": notice.held_back,
        "try": notice.tries,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::letter::tests::{backlog, letter, over};

    #[test]
    fn a_message_has_our_form() {
        let expected = json!({
            "version": 1,
            "id": "alert_0000000000000abc",
            "event": "raised",
            "text": "Queue Size Alert: queue default has 1200 tasks, above 1000 for 2m",
            "sent_at": "2024-01-15T10:50:00Z",
            "source": "worker-7",
            "namespace": "default",
            "incident": {
                "key": "rule:backlog:default",
                "kind": "queue_size",
                "severity": "warning",
                "summary": "queue default has 1200 tasks, above 1000 for 2m",
                "raised_at": "2024-01-15T10:49:58Z",
                "resolved_at": null,
                "details": {
                    "rule": "backlog",
                    "metric": "queue_size",
                    "queue": "default",
                    "value": 1200.0,
                    "threshold": 1000.0,
                    "lasting_s": 120.0,
                },
            },
            "held_back": 0,
            "try": 1,
        });
        assert_eq!(body(&letter(&backlog())), expected);
        let ended = over(backlog());
        let told = body(&letter(&ended));
        assert_eq!(
            (&told["event"], &told["incident"]["resolved_at"]),
            (&json!("resolved"), &json!("2024-01-15T10:50:00Z"))
        );
        let text = "Resolved: Queue Size Alert: queue default has 1200 tasks, above 1000 for 2m";
        assert_eq!(told["text"], text);
    }
}
