//! Rules over figures: what has been above its threshold for long enough is an incident, and over by itself.
//!
//! Which incidents are open is read from the brain's last look, so nothing is remembered that could be wrong after a
//! restart: what should be open and is not is raised, what is open and should not be is ended.

use super::{Alerts, Rule, letter::figure, recent::Recent};
use crate::{
    overview::Overview,
    stream::{Heard, Subscription},
    threads::Shared,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use unknot_core::{
    Timestamp,
    alert::{About, Breach, Incident, Metric},
    event::Event,
};

/// Pause between two looks: as long as a look of the brain is at most old.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long lines are waited for before it is looked whether the thread is to end.
const HEAR_FOR: Duration = Duration::from_millis(100);
/// Queues that one rule watches at most.
const QUEUES_MAX: usize = 1_000;

/// The thread that watches; it ends when this is stopped.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(crate) fn start(shared: &Arc<Shared>) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(1);
        let watcher = Watcher::new(Arc::clone(shared));
        let thread = thread::Builder::new().name("unknot-rules".to_owned()).spawn(move || watcher.go(&stopped))?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread.
    pub(crate) fn stop(self) {
        drop(self.stop);
        // A thread that panicked has said so on standard error already.
        self.thread.join().unwrap_or_default();
    }
}

struct Watcher {
    shared: Arc<Shared>,
    heard: Option<Subscription>,
    recent: Recent,
    judge: Judge,
}

impl Watcher {
    fn new(shared: Arc<Shared>) -> Self {
        let judge = Judge { began: shared.clock.now(), standing: BTreeMap::new() };
        Self { shared, heard: None, recent: Recent::default(), judge }
    }

    fn go(mut self, stopped: &Receiver<()>) {
        let mut next_look = Duration::ZERO;
        loop {
            let pause = next_look.saturating_sub(self.shared.clock.elapsed());
            let pause = if self.heard.is_some() { pause.min(HEAR_FOR) } else { pause };
            let is_over = match &self.heard {
                Some(_) => !matches!(stopped.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty)),
                None => !matches!(stopped.recv_timeout(pause), Err(RecvTimeoutError::Timeout)),
            };
            if is_over {
                return;
            }
            self.hear(pause);
            if self.shared.clock.elapsed() >= next_look {
                next_look = self.shared.clock.elapsed() + LOOK_EVERY;
                self.look();
            }
        }
    }

    /// Takes what became durable, if any rule wants to know.
    fn hear(&mut self, at_most: Duration) {
        let Some(heard) = &self.heard else { return };
        match heard.next(at_most) {
            Heard::Lines(lines) => lines.entries.iter().for_each(|line| self.recent.take(line)),
            Heard::Nothing => {}
            Heard::CutOff => {
                self.heard = Some(self.shared.stream.subscribe());
                self.recent.missed();
            }
        }
    }

    fn look(&mut self) {
        let alerts = self.shared.alerts.alerts();
        let wants_lines = alerts
            .rules
            .values()
            .any(|rule| matches!(rule.metric, Metric::LatencyP99 | Metric::FailureRate | Metric::Stall));
        if wants_lines != self.heard.is_some() {
            self.heard = wants_lines.then(|| self.shared.stream.subscribe());
            self.recent = Recent::default();
        }
        let (overview, now) = (self.shared.progress.overview(), self.shared.clock.now());
        for event in self.judge.look(&alerts, &overview, &self.recent, now) {
            // A brain that has too much before it hears of it at the next look.
            self.shared.inbox.control(event).unwrap_or_default();
        }
    }
}

/// A rule and the queue that it is about; none: all of them.
type Place = (String, Option<String>);

/// Since when what is so.
#[derive(Debug, Default)]
struct Standing {
    above: Option<Timestamp>,
    fine: Option<Timestamp>,
}

/// Judges figures by rules.
#[derive(Debug)]
struct Judge {
    /// When it began to look.
    began: Timestamp,
    standing: BTreeMap<Place, Standing>,
}

impl Judge {
    /// What has to be raised or ended by what is seen now.
    fn look(&mut self, alerts: &Alerts, overview: &Overview, recent: &Recent, now: Timestamp) -> Vec<Event> {
        let mut events = Vec::new();
        let mut seen: BTreeSet<Place> = BTreeSet::new();
        for (name, rule) in &alerts.rules {
            let mut figures = self.figures(rule, overview, recent, now);
            // What is open and cannot be measured any more is fine.
            let prefix = key_of(name, None);
            for rest in overview.incidents.iter().filter_map(|key| key.strip_prefix(&prefix)) {
                match rest.strip_prefix(':') {
                    Some(queue) => figures.entry(Some(queue.to_owned())).or_insert(0.0),
                    None if rest.is_empty() => figures.entry(None).or_insert(0.0),
                    // Of a rule whose name only begins so.
                    None => continue,
                };
            }
            for (queue, value) in figures.into_iter().take(QUEUES_MAX) {
                let place = (name.clone(), queue);
                let key = key_of(name, place.1.as_deref());
                let standing = self.standing.entry(place.clone()).or_default();
                let is_open = overview.incidents.contains(&key);
                match standing.judge(rule, value, is_open, now) {
                    Some(Judged::Begins) => {
                        let incident = incident(key, name, rule, place.1.clone(), value);
                        events.push(Event::AlertRaised(Box::new(incident)));
                    }
                    Some(Judged::IsOver) => events.push(Event::AlertResolved { key }),
                    None => {}
                }
                seen.insert(place);
            }
        }
        self.standing.retain(|place, _| seen.contains(place));
        events
    }

    /// What a rule measures now, by queue.
    fn figures(
        &self,
        rule: &Rule,
        overview: &Overview,
        recent: &Recent,
        now: Timestamp,
    ) -> BTreeMap<Option<String>, f64> {
        let queues: BTreeSet<String> = match (&rule.queue, rule.metric) {
            (Some(queue), _) => [queue.clone()].into(),
            (None, Metric::Stall) => return [(None, self.stall(None, overview, recent, now))].into(),
            (None, Metric::QueueSize | Metric::OldestAge) => overview.queues.keys().cloned().collect(),
            (None, Metric::LatencyP99 | Metric::FailureRate) => recent.queues().map(ToString::to_string).collect(),
        };
        let figure = |queue: &str| {
            let seen = overview.queues.get(queue);
            match rule.metric {
                Metric::QueueSize => seen.map_or(0.0, |queue| f64::from(queue.size)),
                Metric::OldestAge => seen.and_then(|queue| queue.oldest_since).map_or(0.0, |at| seconds(at, now)),
                Metric::LatencyP99 => recent.latency_p99(queue, now).unwrap_or_default(),
                Metric::FailureRate => recent.failure_rate(queue, now).unwrap_or_default(),
                Metric::Stall => self.stall(Some(queue), overview, recent, now),
            }
        };
        queues.into_iter().map(|queue| (Some(queue.clone()), figure(&queue))).collect()
    }

    /// For how long nothing has moved although there was work to do: seconds since the last move, or since the oldest task
    /// that stands in a queue which nobody holds came there, whatever is later.
    fn stall(&self, queue: Option<&str>, overview: &Overview, recent: &Recent, now: Timestamp) -> f64 {
        let of_rule = overview.queues.iter().filter(|(name, _)| queue.is_none_or(|queue| queue == *name));
        let standing = of_rule.filter(|(_, queue)| queue.paused.is_none()).filter_map(|(_, queue)| queue.oldest_since);
        let moved = recent.moved(queue).unwrap_or(self.began);
        standing.min().map_or(0.0, |oldest| seconds(oldest.max(moved), now))
    }
}

fn seconds(since: Timestamp, now: Timestamp) -> f64 {
    now.since(since).0 as f64 / 1_000.0
}

/// What follows from a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    Begins,
    IsOver,
}

impl Standing {
    fn judge(&mut self, rule: &Rule, value: f64, is_open: bool, now: Timestamp) -> Option<Judged> {
        let is_above = value > rule.threshold;
        let (same, other) =
            if is_above { (&mut self.above, &mut self.fine) } else { (&mut self.fine, &mut self.above) };
        *other = None;
        let since = *same.get_or_insert(now);
        let judged = if is_above { Judged::Begins } else { Judged::IsOver };
        let is_news = is_above != is_open;
        (is_news && now.since(since) >= rule.lasting).then_some(judged)
    }
}

fn key_of(rule: &str, queue: Option<&str>) -> String {
    match queue {
        Some(queue) => format!("rule:{rule}:{queue}"),
        None => format!("rule:{rule}"),
    }
}

fn incident(key: String, name: &str, rule: &Rule, queue: Option<String>, value: f64) -> Incident {
    let shown = |value: f64| figure(rule.metric, value);
    let (is, at_most, lasting) = (shown(value), shown(rule.threshold), rule.lasting);
    let of = queue.as_deref().map_or_else(String::new, |queue| format!("queue {queue}"));
    let what = match (rule.metric, &queue) {
        (Metric::QueueSize, _) if value == 1.0 => format!("{of} has 1 task"),
        (Metric::QueueSize, _) => format!("{of} has {is} tasks"),
        (Metric::OldestAge, _) => format!("the oldest task in {of} has waited for {is}"),
        (Metric::LatencyP99, _) => format!("1 in 100 attempts in {of} takes {is} or more, waiting included"),
        (Metric::FailureRate, _) => format!("{is} of the attempts in {of} do not succeed"),
        (Metric::Stall, Some(_)) => format!("nothing has moved in {of} for {is} although there is work"),
        (Metric::Stall, None) => format!("nothing has moved for {is} although there is work"),
    };
    let for_long = if lasting.0 > 0 { format!(" for {lasting}") } else { String::new() };
    let (metric, threshold) = (rule.metric, rule.threshold);
    let breach = Breach { rule: name.to_owned(), metric, queue, value, threshold, lasting };
    Incident {
        key,
        severity: rule.severity,
        summary: format!("{what}, above {at_most}{for_long}"),
        about: About::Breach(Box::new(breach)),
        is_momentary: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overview::QueueView;
    use unknot_core::{Millis, alert::Severity, row::Pause};

    fn rule(metric: Metric, queue: Option<&str>, threshold: f64, lasting: u64) -> Alerts {
        let queue = queue.map(str::to_owned);
        let lasting = Millis::from_secs(lasting);
        let rule = Rule { metric, queue, threshold, lasting, severity: Severity::Warning };
        Alerts { rules: [("r".to_owned(), rule)].into(), ..Alerts::default() }
    }

    fn overview(queues: &[(&str, u32, u64)], incidents: &[&str]) -> Overview {
        let queue = |(name, size, since): &(&str, u32, u64)| {
            let oldest_since = (*size > 0).then(|| Timestamp(since * 1_000));
            ((*name).to_owned(), QueueView { size: *size, oldest_since, ..QueueView::default() })
        };
        Overview {
            queues: queues.iter().map(queue).collect(),
            incidents: incidents.iter().map(|key| (*key).to_owned()).collect(),
            ..Overview::default()
        }
    }

    fn judge() -> Judge {
        Judge { began: Timestamp(0), standing: BTreeMap::new() }
    }

    /// What a look leads to, in words.
    fn told(judge: &mut Judge, alerts: &Alerts, overview: &Overview, second: u64) -> Vec<String> {
        let events = judge.look(alerts, overview, &Recent::default(), Timestamp(second * 1_000));
        let told = |event| match event {
            Event::AlertRaised(incident) => format!("{} begins: {}", incident.key, incident.summary),
            Event::AlertResolved { key } => format!("{key} is over"),
            other => panic!("{other:?}"),
        };
        events.into_iter().map(told).collect()
    }

    #[test]
    fn what_is_above_for_long_enough_begins_and_is_over_by_itself() {
        let (alerts, mut judge) = (rule(Metric::QueueSize, None, 10.0, 5), judge());
        let (full, empty) = (overview(&[("a", 11, 0), ("b", 10, 0)], &[]), overview(&[("a", 3, 0), ("b", 0, 0)], &[]));
        let open = ["rule:r:a"];
        assert!(told(&mut judge, &alerts, &full, 0).is_empty());
        assert!(told(&mut judge, &alerts, &empty, 3).is_empty(), "only for a while");
        assert!(told(&mut judge, &alerts, &full, 4).is_empty());
        assert!(told(&mut judge, &alerts, &full, 8).is_empty());
        let begins = ["rule:r:a begins: queue a has 11 tasks, above 10 for 5s"];
        assert_eq!(told(&mut judge, &alerts, &full, 9), begins);
        assert_eq!(told(&mut judge, &alerts, &full, 10), begins, "until the brain has heard of it");
        let full = overview(&[("a", 11, 0), ("b", 10, 0)], &open);
        assert!(told(&mut judge, &alerts, &full, 11).is_empty(), "it is open");
        let empty = overview(&[("a", 3, 0)], &open);
        assert!(told(&mut judge, &alerts, &empty, 12).is_empty());
        assert_eq!(told(&mut judge, &alerts, &empty, 17), ["rule:r:a is over"]);
    }

    #[test]
    fn what_was_open_before_a_restart_is_over_once_it_has_been_fine_for_long_enough() {
        let (alerts, mut judge) = (rule(Metric::QueueSize, None, 10.0, 5), judge());
        let seen = overview(&[], &["rule:r:gone", "rule:other:a", "deadlock:run"]);
        assert!(told(&mut judge, &alerts, &seen, 0).is_empty());
        assert_eq!(told(&mut judge, &alerts, &seen, 5), ["rule:r:gone is over"]);
    }

    #[test]
    fn ages_and_stalls_are_counted_in_seconds() {
        let seen = overview(&[("a", 1, 100), ("b", 1, 150)], &[]);
        let alerts = rule(Metric::OldestAge, None, 60.0, 0);
        let expected = "rule:r:a begins: the oldest task in queue a has waited for 70 s, above 60 s";
        assert_eq!(told(&mut judge(), &alerts, &seen, 170), [expected]);
        let alerts = rule(Metric::Stall, None, 60.0, 0);
        let expected = "rule:r begins: nothing has moved for 70 s although there is work, above 60 s";
        assert_eq!(told(&mut judge(), &alerts, &seen, 170), [expected]);
        let alerts = rule(Metric::Stall, Some("b"), 10.0, 0);
        let expected = "rule:r:b begins: nothing has moved in queue b for 20 s although there is work, above 10 s";
        assert_eq!(told(&mut judge(), &alerts, &seen, 170), [expected]);
        let mut held = overview(&[("b", 1, 150)], &[]);
        held.queues.values_mut().for_each(|queue| {
            queue.paused = Some(Pause { by: "ann".to_owned(), since: Timestamp(0) });
        });
        assert!(told(&mut judge(), &alerts, &held, 170).is_empty(), "an operator holds it");
        assert!(told(&mut judge(), &alerts, &overview(&[("b", 0, 0)], &[]), 170).is_empty(), "there is no work");
    }

    #[test]
    fn a_rule_over_all_does_not_take_anothers_incident_for_its_own() {
        // `rule:r` is a prefix of the other's key as well.
        let (alerts, mut judge) = (rule(Metric::Stall, None, 60.0, 0), judge());
        let seen = overview(&[], &["rule:r2", "rule:r2:a"]);
        assert!(told(&mut judge, &alerts, &seen, 5).is_empty());
        assert_eq!(told(&mut judge, &alerts, &overview(&[], &["rule:r"]), 6), ["rule:r is over"]);
    }
}
