//! Incidents begin and end, and targets are told of them: see [`crate::alert`].

use crate::{
    Seq,
    alert::{
        ABSENT_MAX, ALERTS_MAX, ASKED_PAUSE_MAX, About, Alert, BACKOFF, Delivery, Due, FailedDelivery, GIVE_UP_AFTER,
        Incident, News, REFUSALS_MAX, TEXT_BYTES_MAX, UNDER_WAY_MAX, shorten,
    },
    effect::Effect,
    event::NextTry,
    retry::pause,
    row::Key,
    settings::AlertSettings,
    step::Step,
};
use std::collections::BTreeMap;

impl Step<'_> {
    /// An incident begins: every target that wants to know is told, once this step is durable. One that is open already
    /// is not raised again.
    pub(crate) fn raise(&mut self, incident: Incident) {
        let incident = incident.bounded();
        let alerting = &self.state.volatile.alerting;
        let targets: Vec<String> = alerting.settings.told_of(incident.severity).cloned().collect();
        let is_for_nobody = incident.is_momentary && targets.is_empty();
        if is_for_nobody || alerting.open.contains_key(&incident.key) {
            return;
        }
        if !self.has_room_for_an_alert() {
            let why = format!("{ALERTS_MAX} incidents are open, and more are not kept");
            return self.give_up(incident.key, None, why);
        }
        let seq = self.next_seq();
        let alert = Alert {
            nonce: mixed(self.entropy, seq),
            incident,
            raised_at: self.now,
            resolved_at: None,
            deliveries: BTreeMap::new(),
        };
        self.state.volatile.index_alert(seq, &alert);
        self.state.alerts.insert(seq, alert);
        self.touch(Key::Alert(seq));
        for target in targets {
            self.tell(seq, &target);
        }
    }

    /// An incident is over: whoever knows of it is told, if it wants to be. Who is not in the configuration now may want to
    /// once it is again.
    pub(crate) fn end_incident(&mut self, key: &str) {
        let Some(seq) = self.state.volatile.alerting.open.get(key).copied() else { return };
        let (now, settings) = (self.now, self.state.volatile.alerting.settings.clone());
        let mut told = Vec::new();
        self.update_alert(seq, |alert| {
            alert.resolved_at = Some(now);
            alert.deliveries.retain(|target, delivery| {
                if *delivery == Delivery::Told && settings.wants_end(target) {
                    *delivery = Delivery::Due(Due::begin(News::Resolved, now, 0));
                    told.push(target.clone());
                }
                match delivery {
                    Delivery::Due(_) | Delivery::Held { .. } => true,
                    Delivery::Told => !settings.targets.contains_key(target),
                    Delivery::Counted | Delivery::GivenUp { .. } => false,
                }
            });
        });
        told.iter().for_each(|target| self.notify(seq, target));
    }

    /// A target knows.
    pub(crate) fn alert_delivered(&mut self, seq: Seq, target: &str, news: News) {
        if self.due(seq, target).is_none_or(|due| due.news != news) {
            return;
        }
        let (now, wants_end) = (self.now, self.state.volatile.alerting.settings.wants_end(target));
        self.update_alert(seq, |alert| {
            let next = match news {
                News::Raised if alert.is_open() => Some(Delivery::Told),
                News::Raised if alert.resolved_at.is_some() && wants_end => {
                    Some(Delivery::Due(Due::begin(News::Resolved, now, 0)))
                }
                News::Raised | News::Resolved => None,
            };
            match next {
                Some(next) => drop(alert.deliveries.insert(target.to_owned(), next)),
                None => drop(alert.deliveries.remove(target)),
            }
        });
        self.notify(seq, target);
    }

    /// A target could not be told. What is said of a try before the newest says nothing.
    pub(crate) fn alert_failed(&mut self, failed: &FailedDelivery) {
        let is_newest = |due: &Due| due.under_way && due.news == failed.news && due.tries == failed.tries;
        if self.due(failed.alert, &failed.target).is_some_and(is_newest) {
            self.try_later(failed.alert, &failed.target, &failed.error, failed.next_try);
        }
    }

    /// The moment has come for which an alert's deliveries waited.
    pub(crate) fn alert_due(&mut self, seq: Seq) {
        let Some(alert) = self.state.alerts.get(&seq) else { return };
        let is_due = |delivery: &Delivery| match delivery {
            Delivery::Due(due) => due.at <= self.now,
            Delivery::Held { until } => *until <= self.now,
            Delivery::Told => alert.forgets_at().is_some_and(|at| at <= self.now),
            Delivery::Counted | Delivery::GivenUp { .. } => false,
        };
        let due: Vec<String> = alert
            .deliveries
            .iter()
            .filter(|(_, delivery)| is_due(delivery))
            .map(|(target, _)| target.clone())
            .collect();
        for target in due {
            match self.delivery(seq, &target) {
                Some(Delivery::Due(Due { under_way: false, .. })) => self.tell_again(seq, &target),
                Some(Delivery::Due(_)) => {
                    let error = format!("nothing was heard of it for {UNDER_WAY_MAX}");
                    self.try_later(seq, &target, &error, NextTry::AsUsual);
                }
                Some(Delivery::Told) => {
                    let why = format!("there was no such target for {GIVE_UP_AFTER} after the end");
                    self.forget_target(seq, &target, Some(why));
                }
                _ => self.tell(seq, &target),
            }
        }
    }

    /// Others are to be told from now on. Who is gone is told no more, and what it knows is kept in case that it comes back;
    /// whoever could not be told is tried again at once, since that may be mended; incidents of rules that are gone are over.
    pub(crate) fn apply_alerts(&mut self, settings: &AlertSettings) {
        self.state.volatile.alerting.settings = settings.clone();
        self.state.volatile.alerting.forget_gone();
        let of_alert = |(seq, alert): (&Seq, &Alert)| {
            alert.deliveries.keys().map(|target| (*seq, target.clone())).collect::<Vec<_>>()
        };
        for (seq, target) in self.state.alerts.iter().flat_map(of_alert).collect::<Vec<_>>() {
            match settings.targets.contains_key(&target) {
                true => self.mended(seq, &target),
                false => self.target_gone(seq, &target),
            }
        }
        let is_gone = |alert: &&Alert| match &alert.incident.about {
            About::Breach(breach) => alert.is_open() && !settings.rules.contains(&breach.rule),
            About::Stuck(_) | About::Quarantined { .. } | About::Test => false,
        };
        let gone: Vec<String> =
            self.state.alerts.values().filter(is_gone).map(|alert| alert.incident.key.clone()).collect();
        gone.iter().for_each(|key| self.end_incident(key));
    }

    fn mended(&mut self, seq: Seq, target: &str) {
        let Some(alert) = self.state.alerts.get(&seq) else { return };
        let is_over = alert.resolved_at.is_some();
        match alert.deliveries.get(target) {
            Some(Delivery::Due(due)) if due.under_way => self.notify(seq, target),
            Some(Delivery::Due(_)) => self.tell_again(seq, target),
            Some(Delivery::GivenUp { .. }) => self.tell(seq, target),
            // It was not there when the incident ended.
            Some(Delivery::Told) if is_over && self.state.volatile.alerting.settings.wants_end(target) => {
                let due = Delivery::Due(Due::begin(News::Resolved, self.now, 0));
                self.update_alert(seq, |alert| drop(alert.deliveries.insert(target.to_owned(), due)));
                self.notify(seq, target);
            }
            Some(Delivery::Told) if is_over => self.forget_target(seq, target, None),
            Some(Delivery::Held { .. } | Delivery::Told | Delivery::Counted) | None => {}
        }
    }

    /// A target is not in the configuration any more, for now or for good: what it knows is kept, what it was still to be
    /// told is not.
    fn target_gone(&mut self, seq: Seq, target: &str) {
        let Some(alert) = self.state.alerts.get(&seq) else { return };
        let targets = &self.state.volatile.alerting.settings.targets;
        let absent = alert.deliveries.keys().filter(|name| !targets.contains_key(*name)).count();
        let why = || "there is no such target any more".to_owned();
        match alert.deliveries.get(target) {
            Some(Delivery::Counted | Delivery::GivenUp { .. }) if absent > ABSENT_MAX => {
                self.forget_target(seq, target, None);
            }
            _ if absent > ABSENT_MAX => self.forget_target(seq, target, Some(why())),
            Some(Delivery::Due(Due { news: News::Resolved, .. })) => self.update_alert(seq, |alert| {
                alert.deliveries.insert(target.to_owned(), Delivery::Told);
            }),
            Some(Delivery::Due(_) | Delivery::Held { .. }) if alert.is_open() => {
                let key = alert.incident.key.clone();
                let given_up = Delivery::GivenUp { error: why() };
                self.update_alert(seq, |alert| drop(alert.deliveries.insert(target.to_owned(), given_up)));
                self.give_up(key, Some(target.to_owned()), why());
            }
            Some(Delivery::Due(_) | Delivery::Held { .. }) => self.forget_target(seq, target, Some(why())),
            Some(Delivery::Told | Delivery::Counted | Delivery::GivenUp { .. }) | None => {}
        }
    }

    /// What a target knows of an alert is kept no longer. `why`: it will not be told what it should be.
    fn forget_target(&mut self, seq: Seq, target: &str, why: Option<String>) {
        let Some(alert) = self.state.alerts.get(&seq) else { return };
        let key = alert.incident.key.clone();
        self.update_alert(seq, |alert| drop(alert.deliveries.remove(target)));
        why.into_iter().for_each(|why| self.give_up(key.clone(), Some(target.to_owned()), why));
    }

    /// Tells a target of an alert, or holds it back if that was told of too many lately.
    fn tell(&mut self, seq: Seq, target: &str) {
        let now = self.now;
        let delivery = match self.state.volatile.alerting.admit(target, now) {
            Ok(()) => Delivery::Due(Due::begin(News::Raised, now, self.count_held(seq, target))),
            Err(until) => Delivery::Held { until },
        };
        self.update_alert(seq, |alert| drop(alert.deliveries.insert(target.to_owned(), delivery)));
        self.notify(seq, target);
    }

    /// Takes what is held back for a target together into one number, which the alert `beside` tells of. What this step
    /// has no room for is told of by a later one.
    fn count_held(&mut self, beside: Seq, target: &str) -> u32 {
        let is_held = |alert: &Alert| matches!(alert.deliveries.get(target), Some(Delivery::Held { .. }));
        let held = self.state.alerts.iter().filter(|(seq, alert)| **seq != beside && is_held(alert));
        let mut counted = 0;
        for seq in held.map(|(seq, _)| *seq).collect::<Vec<_>>() {
            if self.is_full() {
                break;
            }
            counted += 1;
            self.update_alert(seq, |alert| match alert.is_open() {
                true => drop(alert.deliveries.insert(target.to_owned(), Delivery::Counted)),
                false => drop(alert.deliveries.remove(target)),
            });
        }
        counted
    }

    fn tell_again(&mut self, seq: Seq, target: &str) {
        let now = self.now;
        self.update_alert(seq, |alert| {
            if let Some(Delivery::Due(due)) = alert.deliveries.get_mut(target) {
                due.again(now);
            }
        });
        self.notify(seq, target);
    }

    /// A try came to nothing: another one follows, unless there were enough.
    fn try_later(&mut self, seq: Seq, target: &str, error: &str, next_try: NextTry) {
        let Some(due) = self.due(seq, target) else { return };
        let usual = pause(&BACKOFF, due.tries, self.entropy);
        let pause = match next_try {
            NextTry::AsUsual => usual,
            NextTry::NotBefore(asked) => usual.max(asked.min(ASKED_PAUSE_MAX)),
            NextTry::Useless => BACKOFF.max,
        };
        let at = self.now.plus(pause);
        let is_refused = next_try == NextTry::Useless && due.tries >= REFUSALS_MAX;
        let is_last = is_refused || at > due.since.plus(GIVE_UP_AFTER);
        let mut error = error.to_owned();
        shorten(&mut error, TEXT_BYTES_MAX);
        let Some(alert) = self.state.alerts.get(&seq) else { return };
        let (is_open, key, tries) = (alert.is_open(), alert.incident.key.clone(), due.tries);
        if is_last {
            self.give_up(key, Some(target.to_owned()), format!("{error} (after {tries} tries)"));
        }
        self.update_alert(seq, |alert| match alert.deliveries.get_mut(target) {
            Some(Delivery::Due(due)) if !is_last => {
                (due.under_way, due.at, due.error) = (false, at, Some(error));
            }
            Some(delivery) if is_open => *delivery = Delivery::GivenUp { error },
            Some(_) | None => drop(alert.deliveries.remove(target)),
        });
    }

    /// What a target is still to be told, if it is.
    fn due(&self, seq: Seq, target: &str) -> Option<&Due> {
        match self.delivery(seq, target)? {
            Delivery::Due(due) => Some(due),
            _ => None,
        }
    }

    fn delivery(&self, seq: Seq, target: &str) -> Option<&Delivery> {
        self.state.alerts.get(&seq)?.deliveries.get(target)
    }

    /// Asks for what a target is being told now.
    fn notify(&mut self, seq: Seq, target: &str) {
        let notice = self.state.alerts.get(&seq).and_then(|alert| alert.notice(seq, target));
        self.decision.effects.extend(notice.map(|notice| Effect::Notify(Box::new(notice))));
    }

    /// Changes an alert; one with nothing left to do goes.
    fn update_alert(&mut self, seq: Seq, change: impl FnOnce(&mut Alert)) {
        let Some(mut alert) = self.state.alerts.remove(&seq) else { return };
        self.state.volatile.unindex_alert(seq, &alert);
        change(&mut alert);
        if !alert.is_finished() {
            self.state.volatile.index_alert(seq, &alert);
            self.state.alerts.insert(seq, alert);
        }
        self.touch(Key::Alert(seq));
    }

    /// Whether one more alert may be kept; the oldest that is over makes room.
    fn has_room_for_an_alert(&mut self) -> bool {
        if self.state.alerts.len() < ALERTS_MAX {
            return true;
        }
        let oldest = self.state.alerts.iter().find(|(_, alert)| !alert.is_open()).map(|(seq, _)| *seq);
        let Some(alert) = oldest.and_then(|seq| self.state.alerts.remove(&seq).map(|alert| (seq, alert))) else {
            return false;
        };
        let (seq, alert) = alert;
        self.state.volatile.unindex_alert(seq, &alert);
        self.touch(Key::Alert(seq));
        let why = format!("more than {ALERTS_MAX} alerts wait, and it is the oldest that is over");
        self.give_up(alert.incident.key, None, why);
        true
    }

    fn give_up(&mut self, key: String, target: Option<String>, why: String) {
        self.decision.effects.push(Effect::GiveUpAlert { key, target, why });
    }
}

/// A number of its own for each alert, also of those that one step raises (SplitMix64's finish).
fn mixed(entropy: u64, seq: Seq) -> u64 {
    let mut mixed = entropy.wrapping_add(seq.0.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
