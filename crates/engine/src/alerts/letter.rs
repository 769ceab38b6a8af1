//! What the messages to all kinds of targets share.

use serde_json::{Map, Value, json};
use unknot_api::Moment;
use unknot_core::{
    Millis, Timestamp,
    alert::{About, Breach, Metric, News, Notice, Stuck},
    deadlock::Finding,
};

/// A notice on its way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Letter<'n> {
    pub(super) notice: &'n Notice,
    /// Now.
    pub(super) now: Timestamp,
    /// The machine that it comes from.
    pub(super) source: &'n str,
    /// The namespace that it is about.
    pub(super) namespace: &'n str,
}

impl Letter<'_> {
    /// Whether it tells of the end.
    pub(super) fn is_over(&self) -> bool {
        self.notice.news == News::Resolved
    }

    /// By it the receiver tells a repetition from another message.
    pub(super) fn idempotency_key(&self) -> String {
        format!("{}-{}", self.notice.id(), self.event())
    }

    /// What has happened to the incident.
    pub(super) fn event(&self) -> &'static str {
        match self.notice.news {
            News::Raised => "raised",
            News::Resolved => "resolved",
        }
    }

    /// `Deadlock Alert: Workflow run_…`.
    pub(super) fn title(&self) -> String {
        let incident = &self.notice.incident;
        match &incident.about {
            About::Stuck(stuck) => format!("{} Alert: Workflow {}", finding(stuck.finding), stuck.run),
            About::Breach(breach) => format!("{} Alert: {}", metric(breach.metric), incident.summary),
            About::Quarantined { .. } => format!("Quarantine Alert: {}", incident.summary),
            About::Test => format!("Test Alert: {}", incident.summary),
        }
    }

    /// What else there is to say: that others were held back.
    pub(super) fn held_back(&self) -> Option<String> {
        let others = match self.notice.held_back {
            0 => return None,
            1 => "1 more alert was".to_owned(),
            many => format!("{many} more alerts were"),
        };
        Some(format!("{others} held back before this one, to send no more than may be sent; see `unknot alerts`"))
    }

    /// What it is about, by name.
    pub(super) fn details(&self) -> Map<String, Value> {
        let details = match &self.notice.incident.about {
            About::Stuck(stuck) => stuck_details(stuck),
            About::Breach(breach) => breach_details(breach),
            About::Quarantined { run } => json!({"run_id": run.map(|run| run.to_string())}),
            About::Test => json!({}),
        };
        match details {
            Value::Object(details) => details,
            _ => Map::new(),
        }
    }
}

fn stuck_details(stuck: &Stuck) -> Value {
    json!({
        "run_id": stuck.run.to_string(),
        "workflow_name": stuck.workflow,
        "finding": finding(stuck.finding).to_lowercase(),
        "verdict": stuck.verdict.map(|seq| format!("dl_{}", seq.0)),
        "stuck_tasks": stuck.tasks,
        "last_update": moment(stuck.last_update),
        "auto_cancel": stuck.auto_cancel,
        "explanation": stuck.explanation,
    })
}

fn breach_details(breach: &Breach) -> Value {
    json!({
        "rule": breach.rule,
        "metric": breach.metric.word(),
        "queue": breach.queue,
        "value": breach.value,
        "threshold": breach.threshold,
        "lasting_s": breach.lasting.0 as f64 / 1_000.0,
    })
}

fn finding(finding: Finding) -> &'static str {
    match finding {
        Finding::Deadlocked | Finding::Orphaned => "Deadlock",
        Finding::Stalled => "Stalled",
        Finding::Starved => "Starved",
    }
}

pub(super) fn metric(metric: Metric) -> &'static str {
    match metric {
        Metric::QueueSize => "Queue Size",
        Metric::OldestAge => "Oldest Age",
        Metric::LatencyP99 => "Latency P99",
        Metric::FailureRate => "Failure Rate",
        Metric::Stall => "Stall",
    }
}

/// By RFC 3339.
pub(super) fn moment(at: Timestamp) -> String {
    Moment { ms: at.0 }.to_string()
}

/// A figure with its unit.
pub(super) fn figure(metric: Metric, value: f64) -> String {
    match metric {
        Metric::QueueSize => format!("{value:.0}"),
        Metric::OldestAge | Metric::LatencyP99 | Metric::Stall => format!("{} s", rounded(value)),
        Metric::FailureRate => format!("{} %", rounded(value * 100.0)),
    }
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// `20 minutes ago`.
pub(super) fn ago(length: Millis) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let seconds = length.0 / 1_000;
    let Some((size, unit)) = UNITS.into_iter().find(|(size, _)| seconds >= *size) else { return "just now".to_owned() };
    let many = seconds / size;
    format!("{many} {unit}{} ago", if many == 1 { "" } else { "s" })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::alerts::{Secret, pagerduty, slack, webhook};
    use unknot_core::{
        RunId, Seq,
        alert::{Incident, Severity},
    };

    /// The moment of all letters in tests: 2024-01-15T10:50:00Z.
    pub(crate) const NOW: Timestamp = Timestamp(1_705_315_800_000);

    pub(crate) fn notice(incident: Incident) -> Notice {
        Notice {
            alert: Seq(7),
            nonce: 0xabc,
            target: "ops".to_owned(),
            news: News::Raised,
            tries: 1,
            incident,
            raised_at: NOW.minus(Millis::from_secs(2)),
            resolved_at: None,
            held_back: 0,
        }
    }

    pub(crate) fn deadlock() -> Notice {
        notice(Incident::stuck(Stuck {
            finding: Finding::Deadlocked,
            verdict: Some(Seq(13)),
            run: RunId::from_parts(1, 1),
            workflow: "data-analysis".to_owned(),
            tasks: 5,
            last_update: NOW.minus(Millis::from_mins(20)),
            auto_cancel: true,
            explanation: vec!["`a` waits for lock `x`, which `b` holds".to_owned()],
        }))
    }

    pub(crate) fn backlog() -> Notice {
        let breach = Breach {
            rule: "backlog".to_owned(),
            metric: Metric::QueueSize,
            queue: Some("default".to_owned()),
            value: 1_200.0,
            threshold: 1_000.0,
            lasting: Millis::from_mins(2),
        };
        notice(Incident {
            key: "rule:backlog:default".to_owned(),
            severity: Severity::Warning,
            summary: "queue default has 1200 tasks, above 1000 for 2m".to_owned(),
            about: About::Breach(Box::new(breach)),
            is_momentary: false,
        })
    }

    pub(crate) fn letter(notice: &Notice) -> Letter<'_> {
        Letter { notice, now: NOW, source: "worker-7", namespace: "default" }
    }

    pub(crate) fn over(mut notice: Notice) -> Notice {
        (notice.news, notice.resolved_at) = (News::Resolved, Some(NOW));
        notice
    }

    /// The keys of an object, with those below them.
    fn keys(value: &Value) -> Vec<String> {
        match value {
            Value::Object(object) => {
                let below = |(key, value): (&String, &Value)| {
                    let deeper = keys(value).into_iter().map(|deeper| format!("{key}.{deeper}")).collect::<Vec<_>>();
                    std::iter::once(key.clone()).chain(deeper).collect::<Vec<_>>()
                };
                object.iter().flat_map(below).collect()
            }
            Value::Array(items) => items.iter().flat_map(keys).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        }
    }

    /// What the documentation shows has the keys of what is sent, in their order.
    #[test]
    fn messages_are_as_documented() {
        let page = include_str!("../../../../docs/alerts.md");
        let blocks = page.split("```json\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0));
        let shown: Vec<Value> = blocks.map(|json| serde_json::from_str(json).expect("JSON")).collect();
        let (deadlock, backlog) = (deadlock(), backlog());
        let sent = [
            slack::body(&letter(&deadlock)),
            pagerduty::body(&letter(&backlog), &Secret::new("0123456789abcdef0123456789abcdef")),
            webhook::body(&letter(&deadlock)),
        ];
        assert_eq!(shown.iter().map(keys).collect::<Vec<_>>(), sent.iter().map(keys).collect::<Vec<_>>());
    }

    #[test]
    fn lengths_are_told_as_people_do() {
        for (seconds, text) in [
            (0, "just now"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (60, "1 minute ago"),
            (1_200, "20 minutes ago"),
            (7_199, "1 hour ago"),
            (200_000, "2 days ago"),
        ] {
            assert_eq!(ago(Millis::from_secs(seconds)), text);
        }
    }

    #[test]
    fn figures_have_their_units() {
        assert_eq!(figure(Metric::QueueSize, 1_200.0), "1200");
        assert_eq!(figure(Metric::LatencyP99, 2.3456), "2.35 s");
        assert_eq!(figure(Metric::FailureRate, 0.25), "25 %");
    }
}
