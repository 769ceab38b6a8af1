//! Alerts: what people outside are told, and how far that has come. The rows here are the durable outbox.
//!
//! An [`Incident`] is raised in the step that finds it, so its [`Alert`] is in the same commit. Each target then has a
//! [`Delivery`] of its own, tried until it succeeds or is given up. While an incident is open it is not raised again; once
//! it is resolved and nobody is left to be told, its row goes.
//!
//! What a target knows outlives its name in the configuration: one that is back there, after a mistake say, is told how
//! what it knows of has ended.

use crate::{
    Millis, RunId, Seq, Timestamp,
    deadlock::Finding,
    event::NextTry,
    settings::{AlertSettings, AlertTarget},
    workflow::Backoff,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// Alerts that are kept at once. Beyond it the oldest resolved one is dropped, or the new one if none is resolved.
pub const ALERTS_MAX: usize = 500;
/// Bytes of an incident's key.
pub const KEY_BYTES_MAX: usize = 200;
/// Bytes of an incident's summary, and of what a target said last.
pub const TEXT_BYTES_MAX: usize = 500;
/// Sentences that explain an incident.
pub const SENTENCES_MAX: usize = 10;
/// Targets that alerts are sent to.
pub const TARGETS_MAX: usize = 20;
/// An alert that its target could not be told of for so long is given up.
pub const GIVE_UP_AFTER: Millis = Millis::from_hours(24);
/// How often a target may say that it never takes an alert before it is given up.
pub const REFUSALS_MAX: u32 = 6;
/// What a target knows that is not in the configuration is kept for so many such targets of one alert.
pub const ABSENT_MAX: usize = 20;
/// A delivery under way that nothing is heard of for so long has failed: longer than the engine tries at most.
pub const UNDER_WAY_MAX: Millis = Millis::from_mins(5);
/// The longest pause that a target may ask for; what is longer counts as this.
pub const ASKED_PAUSE_MAX: Millis = Millis::from_hours(1);
/// Pauses between two tries of one delivery.
pub const BACKOFF: Backoff =
    Backoff { first: Millis::from_secs(5), factor: 2.0, max: Millis::from_mins(10), jitter: 0.2 };

/// Something that people outside should know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// What makes it the same incident when it is found again, such as `deadlock:run_…`. Up to [`KEY_BYTES_MAX`] bytes.
    pub key: String,
    /// How bad it is.
    pub severity: Severity,
    /// One sentence. Up to [`TEXT_BYTES_MAX`] bytes.
    pub summary: String,
    /// What it is about.
    pub about: About,
    /// Whether it is over as soon as it has happened: nobody will say that it is resolved, and the next one of its key
    /// is another.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_momentary: bool,
}

/// How bad an incident is; the words are PagerDuty's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    #[default]
    Info,
    /// Somebody should look at it in time.
    Warning,
    /// Something does not work.
    Error,
    /// Somebody should get up for it.
    Critical,
}

/// What an incident is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// A run that does not move.
    Stuck(Box<Stuck>),
    /// A figure beyond its threshold.
    Breach(Box<Breach>),
    /// An event that failed alone and was put aside.
    Quarantined {
        /// The run that it belonged to.
        run: Option<RunId>,
    },
    /// Nothing: somebody wants to see whether alerts arrive.
    Test,
}

/// A run that does not move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stuck {
    /// What was found.
    pub finding: Finding,
    /// The verdict that is kept of it.
    pub verdict: Option<Seq>,
    /// The run.
    pub run: RunId,
    /// Its workflow's name.
    pub workflow: String,
    /// How many of its tasks are stuck.
    pub tasks: u32,
    /// When anything last changed in it.
    pub last_update: Timestamp,
    /// Whether something was done about it without asking.
    pub auto_cancel: bool,
    /// Sentences for people. Up to [`SENTENCES_MAX`].
    pub explanation: Vec<String>,
}

/// A figure beyond its threshold, for as long as its rule says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Breach {
    /// The rule's name.
    pub rule: String,
    /// What is measured.
    pub metric: Metric,
    /// Of which queue; none: of all.
    pub queue: Option<String>,
    /// What it was when it was raised: a count, seconds, or a share from 0 to 1.
    pub value: f64,
    /// What it should not be above.
    pub threshold: f64,
    /// For how long it was above.
    pub lasting: Millis,
}

/// What a rule measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Tasks that stand in a queue.
    QueueSize,
    /// Seconds that the oldest task has stood in a queue.
    OldestAge,
    /// Seconds from standing in a queue to the end of the attempt, which 99 in 100 that ended lately did not exceed.
    LatencyP99,
    /// The share of attempts that ended lately and did not succeed.
    FailureRate,
    /// Seconds without any progress although there is work to do.
    Stall,
}

/// An incident, and whom it is still to be told to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Drawn when it was raised: by it a receiver tells a repetition from another alert.
    pub nonce: u64,
    /// What happened.
    pub incident: Incident,
    /// When it was found.
    pub raised_at: Timestamp,
    /// When it was over; none: it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Timestamp>,
    /// How far each target is, by name. Whoever need not be told any more is not in it.
    pub deliveries: BTreeMap<String, Delivery>,
}

/// How far a target has been told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// It is being told, or will be.
    Due(Due),
    /// It was told of too many lately: this one waits.
    Held {
        /// Until there may be room for it.
        until: Timestamp,
    },
    /// It knows, and would be told of the end. Of an incident that is over: it is not in the configuration, and is told
    /// of the end once it is again, within [`GIVE_UP_AFTER`].
    Told,
    /// It knows only that one more was held back.
    Counted,
    /// It could not be told, or is not in the configuration any more. Once that changes it is tried again.
    GivenUp {
        /// Why, in a sentence.
        error: String,
    },
}

/// A delivery that is under way, or waits for its next try.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Due {
    /// What the target is told.
    pub news: News,
    /// Tries so far, the one under way counted in.
    pub tries: u32,
    /// Whether one is under way.
    pub under_way: bool,
    /// When the next try is made; of one under way, when it counts as failed.
    pub at: Timestamp,
    /// Since when this is tried.
    pub since: Timestamp,
    /// How many alerts were held back before it, which it tells of as well.
    #[serde(default)]
    pub held_back: u32,
    /// Why the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a target is told of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// It has begun.
    Raised,
    /// It is over.
    Resolved,
}

/// What a target is to be told now: everything that its message is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// Which alert.
    pub alert: Seq,
    /// Its own number.
    pub nonce: u64,
    /// Whom.
    pub target: String,
    /// What.
    pub news: News,
    /// Which try this is, from 1.
    pub tries: u32,
    /// What happened.
    pub incident: Incident,
    /// When it was found.
    pub raised_at: Timestamp,
    /// When it was over.
    pub resolved_at: Option<Timestamp>,
    /// How many alerts to this target were held back before it.
    pub held_back: u32,
}

/// What became of a try to tell a target.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedDelivery {
    /// Of which alert.
    pub alert: Seq,
    /// Whom.
    pub target: String,
    /// What it was told.
    pub news: News,
    /// Which try it was.
    pub tries: u32,
    /// Why it failed, in a sentence without secrets.
    pub error: String,
    /// What that says of another try. [`NextTry::Useless`]: it would fail the same way, unless somebody mends the
    /// configuration, so there are only [`REFUSALS_MAX`] of them.
    pub next_try: NextTry,
}

impl Incident {
    /// That a run does not move.
    pub fn stuck(stuck: Stuck) -> Self {
        let severity = match stuck.finding {
            Finding::Deadlocked | Finding::Orphaned => Severity::Critical,
            Finding::Stalled | Finding::Starved => Severity::Warning,
        };
        let what = match stuck.finding {
            Finding::Deadlocked => "is deadlocked",
            Finding::Orphaned => "waits for what nobody can give it any more",
            Finding::Stalled => "is stalled",
            Finding::Starved => "is starved",
        };
        let tasks = if stuck.tasks == 1 { "1 stuck task".to_owned() } else { format!("{} stuck tasks", stuck.tasks) };
        let summary = format!("run {} of workflow {} {what}, with {tasks}", stuck.run, stuck.workflow);
        let key = Self::stuck_key(stuck.finding, stuck.run);
        Self { key, severity, summary, about: About::Stuck(Box::new(stuck)), is_momentary: false }
    }

    /// The key of the incident that a run does not move.
    pub fn stuck_key(finding: Finding, run: RunId) -> String {
        format!("{}:{run}", stuck_word(finding))
    }

    /// That an event was put aside.
    pub fn quarantined(run: Option<RunId>, error: &str) -> Self {
        let of = run.map(|run| format!(" of run {run}, which is frozen")).unwrap_or_default();
        let summary = format!("an event{of} failed alone and is in quarantine: {error}");
        let (key, severity) = ("quarantine".to_owned(), Severity::Error);
        Self { key, severity, summary, about: About::Quarantined { run }, is_momentary: true }
    }

    /// That somebody wants to see whether alerts arrive.
    pub fn test() -> Self {
        Self {
            key: "test".to_owned(),
            severity: Severity::Info,
            summary: "somebody asked for this alert, to see whether alerts arrive".to_owned(),
            about: About::Test,
            is_momentary: true,
        }
    }

    /// The run that it is about.
    pub fn run(&self) -> Option<RunId> {
        match &self.about {
            About::Stuck(stuck) => Some(stuck.run),
            About::Quarantined { run } => *run,
            About::Breach(_) | About::Test => None,
        }
    }

    /// A short word for its kind.
    pub fn kind(&self) -> &'static str {
        match &self.about {
            About::Stuck(stuck) => stuck_word(stuck.finding),
            About::Breach(breach) => breach.metric.word(),
            About::Quarantined { .. } => "quarantine",
            About::Test => "test",
        }
    }

    /// Holds its texts to their bounds.
    pub(crate) fn bounded(mut self) -> Self {
        shorten(&mut self.key, KEY_BYTES_MAX);
        shorten(&mut self.summary, TEXT_BYTES_MAX);
        if let About::Stuck(stuck) = &mut self.about {
            stuck.explanation.truncate(SENTENCES_MAX);
            stuck.explanation.iter_mut().for_each(|sentence| shorten(sentence, TEXT_BYTES_MAX));
        }
        self
    }
}

/// A word for runs that do not move. Those that are proved dead are one kind for whoever is told.
fn stuck_word(finding: Finding) -> &'static str {
    match finding {
        Finding::Deadlocked | Finding::Orphaned => "deadlock",
        Finding::Stalled => "stalled",
        Finding::Starved => "starved",
    }
}

impl Alert {
    /// What a receiver knows it by: equal over all tries, other than any other's.
    pub fn id(&self) -> String {
        id_of(self.nonce)
    }

    /// Whether it goes on: nobody said that it is over, and somebody may.
    pub fn is_open(&self) -> bool {
        self.resolved_at.is_none() && !self.incident.is_momentary
    }

    /// Whether nothing is left to do about it.
    pub(crate) fn is_finished(&self) -> bool {
        let is_left =
            |delivery: &Delivery| matches!(delivery, Delivery::Due(_) | Delivery::Held { .. } | Delivery::Told);
        !self.is_open() && !self.deliveries.values().any(is_left)
    }

    /// When something is next to be done about it.
    pub(crate) fn next_moment(&self) -> Option<Timestamp> {
        let moment = |delivery: &Delivery| match delivery {
            Delivery::Due(due) => Some(due.at),
            Delivery::Held { until } => Some(*until),
            Delivery::Told => self.forgets_at(),
            Delivery::Counted | Delivery::GivenUp { .. } => None,
        };
        self.deliveries.values().filter_map(moment).min()
    }

    /// Until when it is remembered which of those that are not in the configuration know of it; none: as long as it is open.
    pub(crate) fn forgets_at(&self) -> Option<Timestamp> {
        self.resolved_at.map(|at| at.plus(GIVE_UP_AFTER))
    }

    /// What a target is to be told, if it is being told now.
    pub(crate) fn notice(&self, alert: Seq, target: &str) -> Option<Notice> {
        let Some(Delivery::Due(due)) = self.deliveries.get(target) else { return None };
        due.under_way.then(|| Notice {
            alert,
            nonce: self.nonce,
            target: target.to_owned(),
            news: due.news,
            tries: due.tries,
            incident: self.incident.clone(),
            raised_at: self.raised_at,
            resolved_at: self.resolved_at,
            held_back: due.held_back,
        })
    }
}

impl Notice {
    /// See [`Alert::id`].
    pub fn id(&self) -> String {
        id_of(self.nonce)
    }
}

fn id_of(nonce: u64) -> String {
    format!("alert_{nonce:016x}")
}

impl Due {
    /// The first try, which is under way from `now` on.
    pub(crate) fn begin(news: News, now: Timestamp, held_back: u32) -> Self {
        Self { news, tries: 1, under_way: true, at: now.plus(UNDER_WAY_MAX), since: now, held_back, error: None }
    }

    /// The next try is under way from `now` on.
    pub(crate) fn again(&mut self, now: Timestamp) {
        (self.tries, self.under_way, self.at) = (self.tries.saturating_add(1), true, now.plus(UNDER_WAY_MAX));
    }
}

impl AlertSettings {
    /// Those who are to be told of an incident so bad.
    pub(crate) fn told_of(&self, severity: Severity) -> impl Iterator<Item = &String> {
        let wants = move |(_, target): &(&String, &AlertTarget)| severity >= target.least;
        self.targets.iter().filter(wants).map(|(name, _)| name)
    }

    /// Whether a target is told that an incident is over.
    pub(crate) fn wants_end(&self, target: &str) -> bool {
        self.targets.get(target).is_some_and(|target| target.send_resolved)
    }
}

impl Severity {
    /// All of them, the mildest first.
    pub const ALL: [Self; 4] = [Self::Info, Self::Warning, Self::Error, Self::Critical];

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }

    /// The one that has this word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.word() == word)
    }
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::QueueSize, Self::OldestAge, Self::LatencyP99, Self::FailureRate, Self::Stall];

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::QueueSize => "queue_size",
            Self::OldestAge => "oldest_age",
            Self::LatencyP99 => "latency_p99",
            Self::FailureRate => "failure_rate",
            Self::Stall => "stall",
        }
    }

    /// The one that has this word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.word() == word)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Cuts a text at a letter's end so that it has at most so many bytes.
pub(crate) fn shorten(text: &mut String, bytes_max: usize) {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}
