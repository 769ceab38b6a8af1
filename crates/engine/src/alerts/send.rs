//! One try to tell one target.

use super::{Alerts, Kind, Target, letter::Letter, pagerduty, sign, slack, webhook};
use crate::Clock;
use serde_json::Value;
use std::time::Duration;
use unknot_api::work as api;
use unknot_core::{
    Millis, Seq, Timestamp,
    alert::{Incident, News, Notice},
    event::NextTry,
};
use unknot_hands::{Post, PostClocks, PostError, Posted, post};

/// How long a connection may take at most.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long the answer may take from then on at most.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Characters of an answer's body that are shown.
const EXCERPT_MAX: usize = 120;

/// Why a try failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unsent {
    /// A sentence without secrets.
    pub(super) error: String,
    /// What that says of another try.
    pub(super) next_try: NextTry,
}

/// What came of a test of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tested {
    /// The target.
    pub target: String,
    /// What is there, as the configuration says.
    pub kind: &'static str,
    /// What it answered, as `200 OK: ok`; or why there was no answer.
    pub answer: String,
    /// Whether it took the alert.
    pub is_success: bool,
    /// How long it took.
    pub took: Millis,
}

/// Sends a target an alert now, outside of the outbox, and tells what it answered. What a test begins at PagerDuty is
/// ended right away. `None` if there is no such target.
pub async fn test(alerts: &Alerts, target: &str, clock: &Clock) -> Option<Tested> {
    let found = alerts.targets.get(target)?;
    let now = clock.now();
    let mut notice = Notice {
        alert: Seq(0),
        nonce: crate::threads::chance(),
        target: target.to_owned(),
        news: News::Raised,
        tries: 1,
        incident: Incident::test(),
        raised_at: now,
        resolved_at: None,
        held_back: 0,
    };
    let source = source();
    let mut answered = send(found, &letter(&notice, now, &source), alerts.timeout).await;
    if answered.is_ok() && matches!(found.kind, Kind::PagerDuty { .. }) {
        (notice.news, notice.resolved_at) = (News::Resolved, Some(now));
        answered = send(found, &letter(&notice, clock.now(), &source), alerts.timeout).await;
    }
    let is_success = answered.is_ok();
    let answer = answered.unwrap_or_else(|unsent| unsent.error);
    Some(Tested {
        target: target.to_owned(),
        kind: found.kind.word(),
        answer,
        is_success,
        took: clock.now().since(now),
    })
}

fn letter<'n>(notice: &'n Notice, now: Timestamp, source: &'n str) -> Letter<'n> {
    Letter { notice, now, source, namespace: "default" }
}

/// The name of this machine.
pub(super) fn source() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Sends a letter once; says what was answered if it was taken.
pub(super) async fn send(target: &Target, letter: &Letter<'_>, timeout: Duration) -> Result<String, Unsent> {
    if let Some(variable) = &target.unset {
        let error =
            format!("the variable `{variable}` is not set in this process, and should hold a part of the target");
        return Err(Unsent { error, next_try: NextTry::AsUsual });
    }
    let body = match &target.kind {
        Kind::Slack => slack::body(letter),
        Kind::PagerDuty { routing_key } => pagerduty::body(letter, routing_key),
        Kind::Webhook { .. } => webhook::body(letter),
    };
    let clocks = PostClocks { connect: timeout.min(CONNECT_MAX), answer: timeout.min(ANSWER_MAX), whole: timeout };
    let answered = post(&message(target, letter, &body), clocks, letter.now.0).await;
    outcome(target, answered)
}

fn message(target: &Target, letter: &Letter<'_>, body: &Value) -> Post {
    let body = body.to_string().into_bytes();
    let signed = match &target.kind {
        Kind::Webhook { secret: Some(secret) } => {
            Some((sign::HEADER, sign::signature(secret.expose().as_bytes(), letter.now.0 / 1_000, &body)))
        }
        Kind::Webhook { secret: None } | Kind::Slack | Kind::PagerDuty { .. } => None,
    };
    Post {
        url: target.url.expose().to_owned(),
        headers: signed.into_iter().collect(),
        idempotency_key: letter.idempotency_key(),
        body,
    }
}

/// What an answer, or none, means.
fn outcome(target: &Target, answered: Result<Posted, PostError>) -> Result<String, Unsent> {
    match answered {
        Ok(posted) => {
            let excerpt = excerpt(target, &posted.body);
            match posted.is_success {
                true => Ok(format!("{}{excerpt}", posted.status_text)),
                false => Err(Unsent {
                    error: format!("webhook answered {}{excerpt}", posted.status_text),
                    next_try: next_try(posted.next_try),
                }),
            }
        }
        Err(PostError::Timeout) => Err(Unsent { error: "webhook timeout".to_owned(), next_try: NextTry::AsUsual }),
        Err(PostError::Failed { message, next_try: next }) => {
            Err(Unsent { error: target.without_secrets(&message), next_try: next_try(next) })
        }
    }
}

/// The beginning of what it said, in one line, without what it must not show.
fn excerpt(target: &Target, body: &str) -> String {
    let line: String = body.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let line = target.without_secrets(line.trim());
    match line.chars().take(EXCERPT_MAX).collect::<String>() {
        nothing if nothing.is_empty() => String::new(),
        some => format!(": {some}"),
    }
}

fn next_try(next: api::NextTry) -> NextTry {
    match next {
        api::NextTry::AsUsual => NextTry::AsUsual,
        api::NextTry::NotBefore(ms) => NextTry::NotBefore(Millis(ms)),
        api::NextTry::Useless => NextTry::Useless,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::{
        Secret,
        letter::tests::{backlog, letter},
    };
    use unknot_core::alert::Severity;

    fn target(kind: Kind) -> Target {
        let url = Secret::new("https://hooks.example.org/services/T0000/B0000/hidden-hidden-hidden");
        Target { kind, url, least: Severity::Info, send_resolved: false, unset: None }
    }

    #[test]
    fn nothing_secret_is_in_what_is_told() {
        let key = Secret::new("0123456789abcdef0123456789abcdef");
        let target = target(Kind::PagerDuty { routing_key: key });
        let body = "bad key 0123456789abcdef0123456789abcdef\nat /services/T0000/B0000/hidden-hidden-hidden";
        let posted = Posted {
            status: 400,
            status_text: "400 Bad Request".to_owned(),
            is_success: false,
            next_try: api::NextTry::Useless,
            body: body.to_owned(),
        };
        let unsent = outcome(&target, Ok(posted)).unwrap_err();
        assert_eq!(unsent.error, "webhook answered 400 Bad Request: bad key … at …");
        assert_eq!(unsent.next_try, NextTry::Useless);
        let url = Secret::new("https://hooks.example.org/hook/hooksecret");
        let nested = Target { url, ..target.clone() };
        assert_eq!(nested.without_secrets("no hooksecret here, and no hook"), "no … here, and no …");
        let told = format!("{target:?}");
        assert!(!told.contains("hidden") && !told.contains("0123456789abcdef"), "{told}");
        assert_eq!(outcome(&target, Err(PostError::Timeout)).unwrap_err().error, "webhook timeout");
    }

    #[test]
    fn a_webhook_with_a_secret_is_signed_over_what_is_sent() {
        let notice = backlog();
        let letter = letter(&notice);
        let body = webhook::body(&letter);
        let signed = message(&target(Kind::Webhook { secret: Some(Secret::new("key")) }), &letter, &body);
        let expected = sign::signature(b"key", letter.now.0 / 1_000, &signed.body);
        assert_eq!(signed.headers, [("x-unknot-signature", expected)]);
        assert_eq!(signed.idempotency_key, "alert_0000000000000abc-raised");
        assert_eq!(signed.body, body.to_string().into_bytes());
        for kind in [Kind::Webhook { secret: None }, Kind::Slack] {
            assert!(message(&target(kind), &letter, &body).headers.is_empty());
        }
    }
}
