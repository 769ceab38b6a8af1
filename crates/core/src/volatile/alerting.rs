//! What is known of alerts beside their rows: who is told, which incidents are open, who was told when.

use super::Volatile;
use crate::{Seq, Timestamp, alert::Alert, deadline::Deadline, settings::AlertSettings};
use std::collections::{BTreeMap, VecDeque};

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub struct Alerting {
    /// Who is told; from the settings.
    pub settings: AlertSettings,
    /// Incidents that are open, by key.
    pub open: BTreeMap<String, Seq>,
    /// When each target was told of its latest alerts, within the window. May be lost: then it may get some more.
    paces: BTreeMap<String, VecDeque<Timestamp>>,
}

impl Alerting {
    /// What is not derived from rows, taken over from the state before a load.
    pub fn carry_over(&mut self, before: &mut Self) {
        self.settings = std::mem::take(&mut before.settings);
        self.paces = std::mem::take(&mut before.paces);
    }

    /// Whether a target may be told of one more alert now; counts it if so.
    ///
    /// # Errors
    /// When there may be room.
    pub(crate) fn admit(&mut self, target: &str, now: Timestamp) -> Result<(), Timestamp> {
        let window = self.settings.window;
        let pace = self.paces.entry(target.to_owned()).or_default();
        while pace.front().is_some_and(|at| at.plus(window) <= now) {
            pace.pop_front();
        }
        match pace.front() {
            Some(first) if pace.len() >= self.settings.alerts_max.max(1) as usize => Err(first.plus(window)),
            _ => {
                pace.push_back(now);
                Ok(())
            }
        }
    }

    /// Forgets targets that are gone.
    pub(crate) fn forget_gone(&mut self) {
        let targets = &self.settings.targets;
        self.paces.retain(|target, _| targets.contains_key(target));
    }
}

impl Volatile {
    /// Takes an alert into the indices.
    pub(crate) fn index_alert(&mut self, seq: Seq, alert: &Alert) {
        self.deadlines.extend(alert.next_moment().map(|at| (at, Deadline::AlertDelivery(seq))));
        if alert.is_open() {
            self.alerting.open.insert(alert.incident.key.clone(), seq);
        }
    }

    /// Takes an alert out of the indices, before it changes.
    pub(crate) fn unindex_alert(&mut self, seq: Seq, alert: &Alert) {
        if let Some(at) = alert.next_moment() {
            self.deadlines.remove(&(at, Deadline::AlertDelivery(seq)));
        }
        if alert.is_open() {
            self.alerting.open.remove(&alert.incident.key);
        }
    }
}
