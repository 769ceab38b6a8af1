//! No alert is lost: whoever was to be told has heard of it before that is forgotten.

use super::Checked;
use std::collections::{BTreeMap, BTreeSet};
use unknot_core::{
    Millis, Timestamp,
    alert::{ASKED_PAUSE_MAX, Alert, Delivery, Due, GIVE_UP_AFTER, News, Notice, REFUSALS_MAX},
    row::{Batch, Key, Row},
};

/// What targets have really heard.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeSet<(u64, String, News)>);

/// What one batch takes together into numbers, by target.
#[derive(Default)]
struct Numbers {
    counted: BTreeMap<String, u32>,
    told: BTreeMap<String, u32>,
}

impl Told {
    /// A target hears something.
    pub(super) fn heard(&mut self, notice: &Notice) {
        self.0.insert((notice.nonce, notice.target.clone(), notice.news));
    }

    /// A batch becomes durable over these rows: who is not to be told any more has heard, or could not for very long.
    pub(super) fn committed(&self, live: &BTreeMap<Key, Row>, batch: &Batch) -> Checked {
        let mut numbers = Numbers::default();
        for (key, row) in batch.changes.iter().filter(|(key, _)| matches!(key, Key::Alert(_))) {
            let of = |row: Option<&Row>| match row {
                Some(Row::Alert(alert)) => Some(Alert::clone(alert)),
                _ => None,
            };
            self.follows(of(live.get(key)), of(row.as_ref()), batch.meta.high_water, &mut numbers)?;
        }
        for (target, counted) in &numbers.counted {
            let told = numbers.told.get(target).copied().unwrap_or_default();
            if told < *counted {
                return Err(format!("{counted} alerts were held back for {target}, and it is told of {told}"));
            }
        }
        Ok(())
    }

    fn follows(&self, before: Option<Alert>, after: Option<Alert>, now: Timestamp, numbers: &mut Numbers) -> Checked {
        let newly = |target: &String| before.as_ref().is_none_or(|before| due(before, target).is_none());
        for (target, delivery) in after.iter().flat_map(|alert| &alert.deliveries) {
            if let Delivery::Due(Due { held_back, .. }) = delivery
                && newly(target)
            {
                *numbers.told.entry(target.clone()).or_default() += held_back;
            }
        }
        let Some(alert) = before else { return Ok(()) };
        for (target, delivery) in &alert.deliveries {
            let next = after.as_ref().and_then(|after| after.deliveries.get(target));
            match (delivery, next) {
                (Delivery::Due(due), Some(Delivery::Due(next))) if due.news == next.news => {}
                (Delivery::Due(due), _) => self.is_heard(&alert, target, due, now)?,
                (Delivery::Held { .. }, Some(Delivery::Counted) | None) => {
                    *numbers.counted.entry(target.clone()).or_default() += 1;
                }
                (Delivery::Held { .. }, Some(Delivery::Held { .. } | Delivery::Due(_))) => {}
                (Delivery::Held { .. }, next) => return Err(format!("{target} waits for room and then {next:?}")),
                (Delivery::Told | Delivery::Counted | Delivery::GivenUp { .. }, _) => {}
            }
        }
        Ok(())
    }

    fn is_heard(&self, alert: &Alert, target: &str, due: &Due, now: Timestamp) -> Checked {
        let longest = Millis(GIVE_UP_AFTER.0 - ASKED_PAUSE_MAX.0);
        let is_given_up = due.tries >= REFUSALS_MAX || now.since(due.since) >= longest;
        match self.0.contains(&(alert.nonce, target.to_owned(), due.news)) || is_given_up {
            true => Ok(()),
            false => Err(format!("{target} never heard that {} is {:?}: {due:?}", alert.incident.key, due.news)),
        }
    }
}

fn due<'a>(alert: &'a Alert, target: &str) -> Option<&'a Due> {
    match alert.deliveries.get(target) {
        Some(Delivery::Due(due)) => Some(due),
        _ => None,
    }
}
