//! Who is told of incidents: targets and rules, and what must hold among their keys.

use super::{kind::Value, values::Values};
use std::time::Duration;
use unknot_api::report::{Code, Diagnostic};
use unknot_engine::{
    alerts::{Alerts, Kind, PAGERDUTY_URL, Rule, Secret, Target},
    core::{
        alert::{Metric, Severity, TARGETS_MAX},
        validate::is_name,
    },
};
use unknot_hands::check_address;

/// The target that `deadlock.alert_webhook` is.
pub(super) const WEBHOOK: &str = "alert_webhook";
/// Longest try to send an alert.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Hosts of Slack's incoming webhooks.
const SLACK_HOSTS: [&str; 2] = ["hooks.slack.com", "hooks.slack-gov.com"];
/// Hosts of PagerDuty's Events API.
const PAGERDUTY_HOSTS: [&str; 2] = ["events.pagerduty.com", "events.eu.pagerduty.com"];

/// What the values say of alerts.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Who is told.
    pub(super) alerts: Alerts,
    /// What cannot be so, each at its path.
    pub(super) problems: Vec<Diagnostic>,
    /// Variables that are named and not set, in sentences.
    pub(super) unset: Vec<String>,
}

/// Reads them; `variable` says what a variable holds.
pub(super) fn read(values: &Values, variable: &dyn Fn(&str) -> Option<String>) -> Read {
    let mut reader = Reader { values, variable, read: Read::default(), unset: None };
    reader.bounds();
    for name in values.names("alerts.targets") {
        let target = reader.target(&name);
        reader.read.alerts.targets.extend(target.map(|target| (name, target)));
    }
    reader.webhook();
    for name in values.names("alerts.rules") {
        let rule = reader.rule(&name);
        reader.read.alerts.rules.extend(rule.map(|rule| (name, rule)));
    }
    reader.read
}

struct Reader<'v> {
    values: &'v Values,
    variable: &'v dyn Fn(&str) -> Option<String>,
    read: Read,
    /// A variable of the target that is being read, which is not set.
    unset: Option<String>,
}

impl Reader<'_> {
    fn wrong(&mut self, path: impl Into<String>, code: Code, message: String, help: &str) {
        self.read.problems.push(Diagnostic::new(code, message).help(help).at(path));
    }

    fn bounds(&mut self) {
        let alerts = &mut self.read.alerts;
        alerts.alerts_max = self.values.count("alerts.rate_limit.alerts", None);
        alerts.window = self.values.length("alerts.rate_limit.window", None);
        alerts.timeout = Duration::from_millis(self.values.length("alerts.timeout", None).0);
        if !(Duration::from_millis(1)..=TIMEOUT_MAX).contains(&alerts.timeout) {
            let message = "`alerts.timeout` is too short or too long".to_owned();
            self.wrong("alerts.timeout", Code::WrongType, message, "write a length of time up to `60s`");
        }
        let targets = self.values.names("alerts.targets").len();
        if targets >= TARGETS_MAX {
            let message = format!("there are {targets} targets of alerts");
            self.wrong("alerts.targets", Code::TooLarge, message, "at most 19 may be named");
        }
    }

    fn target(&mut self, name: &str) -> Option<Target> {
        let path = format!("alerts.targets.{name}");
        if name == WEBHOOK && *self.values.get("deadlock.alert_webhook", None) != Value::Nothing {
            let message = format!("`{path}` and `deadlock.alert_webhook` are one target");
            self.wrong(&path, Code::Exclusive, message, "keep one of the two, or give this one another name");
            return None;
        }
        self.unset = None;
        let url = self.secret(name, "url");
        let routing_key = self.secret(name, "routing_key");
        let secret = self.secret(name, "secret");
        let kind = match self.values.get("alerts.targets.*.kind", Some(name)) {
            Value::Text(word) => word.as_str(),
            // Where the address is not known, its host is not either.
            _ if self.unset.is_some() && routing_key.is_some() => "pagerduty",
            _ => url.as_ref().map_or("webhook", |url| kind_by_host(url.expose())),
        };
        let is_pagerduty = kind == "pagerduty";
        let url = url.or_else(|| is_pagerduty.then(|| Secret::new(PAGERDUTY_URL)));
        let Some(url) = url else {
            let message = format!("`{path}` has no address");
            self.wrong(&path, Code::MissingKey, message, "write its `url`, or in `url_env` the variable that holds it");
            return None;
        };
        for (key, is_there, fits) in
            [("routing_key", routing_key.is_some(), is_pagerduty), ("secret", secret.is_some(), kind == "webhook")]
        {
            if is_there && !fits {
                let message = format!("`{path}` is of the kind `{kind}` and has a `{key}`");
                let help = match key {
                    "secret" => "only messages of the kind `webhook` are signed: leave it out, or say `kind: webhook`",
                    _ => "only PagerDuty has one: leave it out, or say `kind: pagerduty`",
                };
                self.wrong(&path, Code::Exclusive, message, help);
                return None;
            }
        }
        let (kind, url) = self.kind(&path, kind, url, routing_key, secret)?;
        let send_resolved = match self.values.get("alerts.targets.*.send_resolved", Some(name)) {
            Value::Truth(truth) => *truth,
            _ => sends_resolved(&kind),
        };
        let least = severity(self.values.get("alerts.targets.*.severity", Some(name)));
        Some(Target { kind, url, least, send_resolved, unset: self.unset.take() })
    }

    /// What is at an address, and the address without what is no part of it.
    fn kind(
        &mut self,
        path: &str,
        kind: &str,
        url: Secret,
        routing_key: Option<Secret>,
        secret: Option<Secret>,
    ) -> Option<(Kind, Secret)> {
        match kind {
            "slack" => Some((Kind::Slack, url)),
            "pagerduty" => {
                let (in_query, url) = without_routing_key(url);
                let Some(routing_key) = routing_key.or(in_query) else {
                    let message =
                        format!("`{path}` is PagerDuty, which wants to know for which of its services alerts are");
                    let help = match path {
                        "deadlock.alert_webhook" => {
                            "write the integration key behind the address, as `?routing_key=…`, or make it a target below \
                             `alerts` with a `routing_key` or a `routing_key_env`"
                        }
                        _ => {
                            "write the integration key as `routing_key`, in `routing_key_env` the variable that holds it, or \
                             behind the address as `?routing_key=…`"
                        }
                    };
                    self.wrong(path, Code::MissingKey, message, help);
                    return None;
                };
                Some((Kind::PagerDuty { routing_key }, url))
            }
            _ => Some((Kind::Webhook { secret }, url)),
        }
    }

    /// The seed's only target.
    fn webhook(&mut self) {
        let Value::Url(url) = self.values.get("deadlock.alert_webhook", None) else { return };
        let kind = kind_by_host(url.expose());
        if let Some((kind, url)) = self.kind("deadlock.alert_webhook", kind, url.clone(), None, None) {
            let send_resolved = sends_resolved(&kind);
            let target = Target { kind, url, least: Severity::Info, send_resolved, unset: None };
            self.read.alerts.targets.insert(WEBHOOK.to_owned(), target);
        }
    }

    /// A value that may also stand in a variable.
    fn secret(&mut self, name: &str, key: &str) -> Option<Secret> {
        let path = format!("alerts.targets.{name}");
        let own = match self.values.get(&format!("alerts.targets.*.{key}"), Some(name)) {
            Value::Url(secret) | Value::Secret(secret) => Some(secret.clone()),
            _ => None,
        };
        let Value::Text(variable) = self.values.get(&format!("alerts.targets.*.{key}_env"), Some(name)) else {
            return own;
        };
        if own.is_some() {
            let message = format!("`{path}` has both `{key}` and `{key}_env`");
            self.wrong(&path, Code::Exclusive, message, "keep one of the two");
            return own;
        }
        match (self.variable)(variable).filter(|text| !text.is_empty()) {
            Some(text) => match check_address(&text) {
                Err(error) if key == "url" => {
                    let message =
                        format!("the address in the variable `{variable}`, which `{path}.url_env` names, {error}");
                    self.wrong(&path, Code::WrongType, message, error.help());
                    Some(Secret::new(text))
                }
                _ => Some(Secret::new(text)),
            },
            None => {
                self.read.unset.push(format!("the variable `{variable}` is not set, and `{path}.{key}_env` names it"));
                self.unset = Some(variable.clone());
                Some(Secret::new(""))
            }
        }
    }

    fn rule(&mut self, name: &str) -> Option<Rule> {
        let path = format!("alerts.rules.{name}");
        let (metric, threshold) = match (
            self.values.get("alerts.rules.*.metric", Some(name)),
            self.values.get("alerts.rules.*.threshold", Some(name)),
        ) {
            (Value::Text(word), Value::Number(threshold)) => (Metric::of_word(word)?, *threshold),
            _ => return None,
        };
        if metric == Metric::FailureRate && threshold >= 1.0 {
            let message = format!("`{path}` is about a share, and no share is above {threshold}");
            self.wrong(&path, Code::WrongType, message, "write a `threshold` below 1, such as `0.1` for one in ten");
            return None;
        }
        let queue = match self.values.get("alerts.rules.*.queue", Some(name)) {
            Value::Text(queue) if is_name(queue) => Some(queue.clone()),
            Value::Text(queue) => {
                let message = format!("`{queue}`, which `{path}` watches, is no name of a queue");
                self.wrong(&path, Code::WrongType, message, "write a queue's name, or leave it out to watch each");
                return None;
            }
            _ => None,
        };
        let lasting = self.values.length("alerts.rules.*.for", Some(name));
        let severity = severity(self.values.get("alerts.rules.*.severity", Some(name)));
        Some(Rule { metric, queue, threshold, lasting, severity })
    }
}

fn severity(value: &Value) -> Severity {
    match value {
        Value::Text(word) => Severity::of_word(word).unwrap_or_default(),
        _ => Severity::default(),
    }
}

/// Slack's channels are read by people, who see that something is over by themselves; others close what was opened.
fn sends_resolved(kind: &Kind) -> bool {
    *kind != Kind::Slack
}

/// What takes alerts at an address, by its host.
fn kind_by_host(url: &str) -> &'static str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#', ':']).next().unwrap_or_default().to_ascii_lowercase();
    match host.as_str() {
        host if SLACK_HOSTS.contains(&host) => "slack",
        host if PAGERDUTY_HOSTS.contains(&host) => "pagerduty",
        _ => "webhook",
    }
}

/// Takes `routing_key=…` out of the query of an address.
fn without_routing_key(url: Secret) -> (Option<Secret>, Secret) {
    let Some((before, query)) = url.expose().split_once('?') else { return (None, url) };
    let (keys, others): (Vec<&str>, Vec<&str>) = query.split('&').partition(|part| part.starts_with("routing_key="));
    let key = keys.first().and_then(|part| part.strip_prefix("routing_key=")).filter(|key| !key.is_empty());
    let rest = if others.is_empty() { before.to_owned() } else { format!("{before}?{}", others.join("&")) };
    (key.map(Secret::new), Secret::new(rest))
}
