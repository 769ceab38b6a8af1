//! Messages to an incoming webhook of Slack; that of a deadlock has the seed's fields.

use super::letter::{Letter, ago, figure, metric, moment};
use serde_json::{Value, json};
use unknot_core::alert::{About, Breach, Severity, Stuck};

/// The body of a message.
pub(super) fn body(letter: &Letter<'_>) -> Value {
    let (mark, color) = match (letter.is_over(), letter.notice.incident.severity) {
        (true, _) => ("🟢 Resolved:", "good"),
        (false, Severity::Critical | Severity::Error) => ("🔴", "danger"),
        (false, Severity::Warning) => ("🟠", "warning"),
        (false, Severity::Info) => ("🔵", "#439FE0"),
    };
    let held_back = letter.held_back().map(|told| format!("\n{told}")).unwrap_or_default();
    json!({
        "text": escaped(&format!("{mark} {}{held_back}", letter.title())),
        "attachments": [{"color": color, "fields": fields(letter)}],
    })
}

fn fields(letter: &Letter<'_>) -> Vec<Value> {
    let told = match &letter.notice.incident.about {
        About::Stuck(stuck) => of_stuck(stuck, letter),
        About::Breach(breach) => of_breach(breach),
        About::Quarantined { run } => run.map(|run| ("Workflow ID", run.to_string())).into_iter().collect(),
        About::Test => vec![("Server", letter.source.to_owned()), ("Sent", moment(letter.now))],
    };
    told.into_iter().map(|(title, value)| json!({"title": title, "value": escaped(&value), "short": true})).collect()
}

fn of_stuck(stuck: &Stuck, letter: &Letter<'_>) -> Vec<(&'static str, String)> {
    vec![
        ("Workflow ID", stuck.run.to_string()),
        ("Workflow Name", stuck.workflow.clone()),
        ("Stuck Tasks", stuck.tasks.to_string()),
        ("Last Update", ago(letter.now.since(stuck.last_update))),
        ("Auto-Cancel", stuck.auto_cancel.to_string()),
    ]
}

fn of_breach(breach: &Breach) -> Vec<(&'static str, String)> {
    vec![
        ("Rule", breach.rule.clone()),
        ("Metric", metric(breach.metric).to_owned()),
        ("Queue", breach.queue.clone().unwrap_or_else(|| "all".to_owned())),
        ("Value", figure(breach.metric, breach.value)),
        ("Threshold", figure(breach.metric, breach.threshold)),
        ("Lasting", breach.lasting.to_string()),
    ]
}

/// The three letters that mean something to Slack.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::letter::tests::{backlog, deadlock, letter, notice, over};
    use unknot_core::{RunId, alert::Incident};

    /// Field for field, in the seed's order.
    #[test]
    fn a_deadlock_has_the_seeds_payload() {
        let run = RunId::from_parts(1, 1).to_string();
        let expected = json!({
            "text": format!("🔴 Deadlock Alert: Workflow {run}"),
            "attachments": [{
                "color": "danger",
                "fields": [
                    {"title": "Workflow ID", "value": run, "short": true},
                    {"title": "Workflow Name", "value": "data-analysis", "short": true},
                    {"title": "Stuck Tasks", "value": "5", "short": true},
                    {"title": "Last Update", "value": "20 minutes ago", "short": true},
                    {"title": "Auto-Cancel", "value": "true", "short": true},
                ],
            }],
        });
        let body = body(&letter(&deadlock()));
        assert_eq!(body, expected);
        assert_eq!(body.to_string(), expected.to_string(), "also in their order");
    }

    #[test]
    fn other_incidents_and_their_end_have_fitting_words() {
        let mut notice_of_many = backlog();
        notice_of_many.held_back = 7;
        let told = body(&letter(&notice_of_many));
        assert_eq!(
            told["text"],
            "🟠 Queue Size Alert: queue default has 1200 tasks, above 1000 for 2m\n7 more alerts were held back before \
             this one, to send no more than may be sent; see `unknot alerts`"
        );
        assert_eq!(told["attachments"][0]["color"], "warning");
        let values: Vec<&str> = told["attachments"][0]["fields"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|field| field["value"].as_str())
            .collect();
        assert_eq!(values, ["backlog", "Queue Size", "default", "1200", "1000", "2m"]);
        let ended = over(backlog());
        let told = body(&letter(&ended));
        assert_eq!(told["text"], "🟢 Resolved: Queue Size Alert: queue default has 1200 tasks, above 1000 for 2m");
        assert_eq!(told["attachments"][0]["color"], "good");
        let aside = notice(Incident::quarantined(Some(RunId::from_parts(1, 1)), "a < b & c"));
        let told = body(&letter(&aside));
        let text = told["text"].as_str().unwrap();
        assert!(text.starts_with("🔴 Quarantine Alert: an event of run run_"), "{text}");
        assert!(text.ends_with("a &lt; b &amp; c"), "{text}");
        let told = body(&letter(&notice(Incident::test()))).to_string();
        assert!(told.contains("🔵 Test Alert") && told.contains("worker-7"), "{told}");
    }
}
