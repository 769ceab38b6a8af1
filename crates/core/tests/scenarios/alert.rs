//! The commands of a story that are about alerts.
//!
//! * settings: `target NAME [resolved] [least SEVERITY] | gone`, `rate N TIME`, `rules A,B | none`;
//! * incidents: `raise KEY [severity SEVERITY] [once] [rule NAME] [times N]`, `over KEY`;
//! * what becomes of telling the newest alert of a key: `sent KEY TARGET`, `unsent KEY TARGET [useless] [not_before TIME]
//!   [try N]`; both may end with `resolved`, which is what was told then;
//! * a question: `alerts`, all that is kept and how far it is.

use crate::{print::moment, story::Story, words::Words};
use unknot_core::{
    Millis, Seq,
    alert::{About, Breach, Delivery, Due, FailedDelivery, Incident, Metric, News, Notice, Severity},
    event::{Event, NextTry},
    settings::AlertTarget,
};

/// Lets one command happen.
pub(crate) fn obey(story: &mut Story, command: &str, mut words: Words) {
    match command {
        "target" | "rate" | "rules" => return settings(story, command, words),
        "raise" => return raise(story, words),
        "over" => {
            let key = words.word("a key");
            story.happen(Event::AlertResolved { key });
        }
        "sent" => {
            let (alert, target) = told_of(story, &mut words);
            let news = news(&mut words);
            story.happen(Event::AlertDelivered { alert, target, news });
        }
        "unsent" => unsent(story, &mut words),
        _ => show(story),
    }
    words.end();
}

fn settings(story: &mut Story, command: &str, mut words: Words) {
    let settings = &mut story.world.settings.alerts;
    match command {
        "target" => {
            let name = words.word("its name");
            if words.take("gone") {
                settings.targets.remove(&name);
            } else {
                let send_resolved = words.take("resolved");
                let least = if words.take("least") { severity(&words.word("how bad")) } else { Severity::Info };
                settings.targets.insert(name, AlertTarget { send_resolved, least });
            }
        }
        "rate" => {
            settings.alerts_max = words.number("how many");
            settings.window = words.length("within what time");
        }
        _ => settings.rules = words.word("rules").split(',').map(str::to_owned).collect(),
    }
    words.end();
    let settings = story.world.settings.clone();
    story.happen(Event::SettingsApplied(Box::new(settings)));
}

fn raise(story: &mut Story, mut words: Words) {
    let key = words.word("a key");
    let severity = if words.take("severity") { severity(&words.word("how bad")) } else { Severity::Warning };
    let is_momentary = words.take("once");
    let rule = words.take("rule").then(|| words.word("a rule"));
    let times: u32 = if words.take("times") { words.number("how often") } else { 1 };
    words.end();
    let about = rule.map_or(About::Quarantined { run: None }, breach);
    let mut lines = Vec::new();
    for number in 0..times {
        let key = if times == 1 { key.clone() } else { format!("{key}{number}") };
        let (summary, about) = ("as the story goes".to_owned(), about.clone());
        let incident = Incident { key, severity, summary, about, is_momentary };
        lines.extend(story.take_place(Event::AlertRaised(Box::new(incident))));
    }
    match times {
        1 => lines.iter().for_each(|line| story.note(line)),
        _ => story.note(format!("{times} incidents, {} lines of what came of them", lines.len())),
    }
}

fn breach(rule: String) -> About {
    let (metric, queue, lasting) = (Metric::QueueSize, None, Millis(0));
    About::Breach(Box::new(Breach { rule, metric, queue, value: 9.0, threshold: 1.0, lasting }))
}

fn unsent(story: &mut Story, words: &mut Words) {
    let (alert, target) = told_of(story, words);
    let newest = story.world.state.alerts.get(&alert).and_then(|alert| match alert.deliveries.get(&target)? {
        Delivery::Due(due) => Some(due.tries),
        _ => None,
    });
    let next_try = match (words.take("useless"), words.take("not_before")) {
        (true, _) => NextTry::Useless,
        (_, true) => NextTry::NotBefore(words.length("how long")),
        _ => NextTry::AsUsual,
    };
    let tries = if words.take("try") { words.number("which") } else { newest.unwrap_or(1) };
    let (news, error) = (news(words), "webhook timeout".to_owned());
    story.happen(Event::AlertFailed(Box::new(FailedDelivery { alert, target, news, tries, error, next_try })));
}

/// The newest alert of a key, or one that never was; and a target.
fn told_of(story: &Story, words: &mut Words) -> (Seq, String) {
    let key = words.word("a key");
    let alert = story.world.state.alerts.iter().rev().find(|(_, alert)| alert.incident.key == key);
    (alert.map_or(Seq(u64::MAX), |(seq, _)| *seq), words.word("a target"))
}

fn news(words: &mut Words) -> News {
    if words.take("resolved") { News::Resolved } else { News::Raised }
}

fn severity(word: &str) -> Severity {
    Severity::of_word(word).unwrap_or_else(|| panic!("no severity `{word}`"))
}

/// What a target is told.
pub(crate) fn told(notice: &Notice) -> String {
    let Notice { target, news, tries, incident, held_back, .. } = notice;
    let held = if *held_back > 0 { format!(", {held_back} held back before it") } else { String::new() };
    format!("tell {target} of {} {}, try {tries}{held}", incident.key, what(*news))
}

fn what(news: News) -> &'static str {
    match news {
        News::Raised => "raised",
        News::Resolved => "resolved",
    }
}

fn show(story: &mut Story) {
    let mut lines = Vec::new();
    for alert in story.world.state.alerts.values() {
        let over = alert.resolved_at.map(|at| format!(", over at {}", moment(story, at))).unwrap_or_default();
        lines.push(format!(
            "{} {} since {}{over}",
            alert.incident.key,
            alert.incident.severity,
            moment(story, alert.raised_at)
        ));
        for (target, delivery) in &alert.deliveries {
            lines.push(format!("  {target} {}", far(story, delivery)));
        }
    }
    if lines.is_empty() {
        lines.push("no alerts".to_owned());
    }
    lines.iter().for_each(|line| story.note(line));
}

fn far(story: &Story, delivery: &Delivery) -> String {
    match delivery {
        Delivery::Due(Due { news, tries, under_way: true, at, .. }) => {
            format!("is being told that it is {}, try {tries}, until {}", what(*news), moment(story, *at))
        }
        Delivery::Due(Due { news, tries, at, error, .. }) => {
            let error = error.as_deref().unwrap_or("nothing");
            format!("is told that it is {} at {}, after {tries} tries: {error}", what(*news), moment(story, *at))
        }
        Delivery::Held { until } => format!("waits for room until {}", moment(story, *until)),
        Delivery::Told => "knows".to_owned(),
        Delivery::Counted => "knows that it was one more".to_owned(),
        Delivery::GivenUp { error } => format!("is given up: {error}"),
    }
}
