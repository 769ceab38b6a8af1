//! Alerts on their way out: the brain says who is told of what, this is how.
//!
//! * `dispatch`: a thread of its own takes what the brain asks for, tries it once, and reports what came of it. When and
//!   how often is the brain's to say ([`unknot_core::alert`]); a target that hangs holds up nobody else.
//! * `send`: one try. `slack`, `pagerduty`, `webhook`: what is sent; `letter` what they share; `sign` who sent it.
//! * `rules`: another thread that looks at figures, and raises and ends the incidents that are no verdicts.
//! * `figures`: what `/metrics` tells of it.
//!
//! What is secret about a target lives in [`Secret`]s here and nowhere else: no message, error or `Debug` shows one.

mod dispatch;
mod figures;
mod letter;
mod pagerduty;
mod recent;
mod rules;
mod secret;
mod send;
mod sign;
mod slack;
#[cfg(test)]
mod tests;
mod webhook;

pub(crate) use dispatch::{Desk, Dispatch};
pub use figures::{DELIVERY_BOUNDS, Figures};
pub(crate) use rules::Watch;
pub use secret::Secret;
pub use send::{Tested, test};

use std::{collections::BTreeMap, time::Duration};
use unknot_core::{
    Millis,
    alert::{Metric, Severity},
    settings::{AlertSettings, AlertTarget},
};

/// Where PagerDuty takes events, unless a target says otherwise.
pub const PAGERDUTY_URL: &str = "https://events.pagerduty.com/v2/enqueue";

/// Who is told of incidents and how, and which figures are watched.
#[derive(Clone, Debug, PartialEq)]
pub struct Alerts {
    /// Targets by name.
    pub targets: BTreeMap<String, Target>,
    /// Rules by name.
    pub rules: BTreeMap<String, Rule>,
    /// Alerts that one target gets within the window at most.
    pub alerts_max: u32,
    /// See above.
    pub window: Millis,
    /// How long one try may take in all.
    pub timeout: Duration,
}

/// Where alerts are sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// What is there.
    pub kind: Kind,
    /// Its address.
    pub url: Secret,
    /// It is told only of what is so bad, or worse.
    pub least: Severity,
    /// Whether it is told that an incident is over.
    pub send_resolved: bool,
    /// The variable that should hold something of it and is not set in this process: nothing can be sent.
    pub unset: Option<String>,
}

/// What takes alerts at a target.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// An incoming webhook of Slack.
    Slack,
    /// PagerDuty's Events API, version 2.
    PagerDuty {
        /// Which of its services.
        routing_key: Secret,
    },
    /// Anything else that takes JSON.
    Webhook {
        /// What our messages are signed with.
        secret: Option<Secret>,
    },
}

/// A figure that should not be above its threshold for long.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// What is measured.
    pub metric: Metric,
    /// Of which queue; none: of each by itself.
    pub queue: Option<String>,
    /// A count, seconds, or a share from 0 to 1.
    pub threshold: f64,
    /// How long it must be above before that is an incident, and not above before it is over.
    pub lasting: Millis,
    /// How bad that is.
    pub severity: Severity,
}

impl Default for Alerts {
    fn default() -> Self {
        let AlertSettings { alerts_max, window, .. } = AlertSettings::default();
        let (targets, rules) = (BTreeMap::new(), BTreeMap::new());
        Self { targets, rules, alerts_max, window, timeout: Duration::from_secs(15) }
    }
}

impl Alerts {
    /// What the brain has to know of it.
    pub fn settings(&self) -> AlertSettings {
        let target = |(name, target): (&String, &Target)| {
            (name.clone(), AlertTarget { send_resolved: target.send_resolved, least: target.least })
        };
        AlertSettings {
            targets: self.targets.iter().map(target).collect(),
            rules: self.rules.keys().cloned().collect(),
            alerts_max: self.alerts_max,
            window: self.window,
        }
    }
}

impl Kind {
    /// Its word in the configuration.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Slack => "slack",
            Self::PagerDuty { .. } => "pagerduty",
            Self::Webhook { .. } => "webhook",
        }
    }
}

impl Target {
    /// Takes everything secret out of a text that came from elsewhere.
    fn without_secrets(&self, text: &str) -> String {
        let own = match &self.kind {
            Kind::Slack => None,
            Kind::PagerDuty { routing_key } => Some(routing_key),
            Kind::Webhook { secret } => secret.as_ref(),
        };
        // Of the address, also what is behind the host: a receiver may repeat it, or a part of it alone.
        let behind = self.url.expose().split_once("://").map_or("", |(_, rest)| rest);
        let behind = &behind[behind.find(['/', '?']).unwrap_or(behind.len())..];
        let parts = behind.split(['/', '?', '&', '=']).filter(|part| part.len() >= SECRET_PART_LEN);
        let path = behind.split('?').next().unwrap_or_default();
        let whole = [self.url.expose(), behind, path].into_iter().filter(|part| part.len() >= SECRET_PART_LEN);
        let mut secrets: Vec<&str> = whole.chain(own.map(Secret::expose)).chain(parts).collect();
        secrets.retain(|secret| !secret.is_empty());
        // The longest first: without a short one that it begins with, the rest of it would be left.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret, "…"))
    }
}

/// Parts of an address that are so long may be secrets: rather a word too many is left out.
const SECRET_PART_LEN: usize = 4;
