//! `unknot alerts` and `unknot alerts test`: who was told of what, and whether alerts arrive.

use super::list;
use crate::{
    args::{Alerts, AlertsCommand, Listing, TestAlerts},
    config::Config,
    error::Error,
    exit::Exit,
    output::Tone,
    remote::{Remote, runtime},
    source::{Source, stamp},
    table::{Cell, Column, Table},
    time,
};
use std::io::Write;
use unknot_api::rest::{Alert, AlertState, AlertTarget, AlertTested};
use unknot_engine::{
    Clock, alerts,
    core::{Millis, Timestamp, effect::Refusal},
};
use unknot_server::view;

/// Does what was asked for.
pub(crate) fn perform(asked: &Alerts, out: &mut dyn Write) -> Result<Exit, Error> {
    match &asked.command {
        None => ls(&asked.listing, out),
        Some(AlertsCommand::Test(asked)) => test(asked, out),
    }
}

fn ls(listing: &Listing, out: &mut dyn Write) -> Result<Exit, Error> {
    let found = match Source::open(&listing.at)? {
        Source::Server(remote) => remote.ask("list the alerts", remote.client().alerts())?,
        Source::Store(mut stored) => stored.alerts()?,
    };
    list::print(listing.json, &found, "alerts: nothing is wrong that somebody should be told of", || table(&found), out)
}

fn table(found: &[Alert]) -> Table {
    let now = Clock::starting_at_least(Timestamp::default()).now();
    let mut table = Table::new(&[
        ("SEVERITY", Column::Whole),
        ("SINCE", Column::Right),
        ("INCIDENT", Column::Shrinks(24)),
        ("TOLD", Column::Wraps(20)),
    ]);
    for alert in found {
        let tone = match (alert.resolved_at, alert.severity.as_str()) {
            (Some(_), _) | (None, "info") => Tone::Faint,
            (None, "warning") => Tone::Warn,
            (None, _) => Tone::Bad,
        };
        let is_over = alert.resolved_at.is_some();
        let over = if is_over { "over: " } else { "" };
        let told: Vec<String> = alert.targets.iter().map(|target| how_far(target, is_over, now)).collect();
        let told = if told.is_empty() { "nobody".to_owned() } else { told.join("; ") };
        table.row(vec![
            Cell::new(tone, alert.severity.as_str()),
            time::ago(now, stamp(alert.raised_at)).into(),
            format!("{over}{}", alert.summary).into(),
            told.into(),
        ]);
    }
    table
}

/// `oncall in 5.0s again, after 2 tries: webhook timeout`.
fn how_far(told: &AlertTarget, is_over: bool, now: Timestamp) -> String {
    let name = &told.target;
    let error = told.error.as_deref().unwrap_or("no answer");
    let next = told.next_at.map_or(Millis(0), |at| stamp(at).since(now));
    match told.state {
        AlertState::Told if is_over => format!("{name} knows that it began, and is not in the configuration now"),
        AlertState::Told => format!("{name} knows"),
        AlertState::Counted => format!("{name} knows that there was one more"),
        AlertState::Sending => format!("{name} is being told"),
        AlertState::Held => format!("{name} was told of too many: room in {}", time::length(next)),
        AlertState::GivenUp => format!("{name} could not be told: {error}"),
        AlertState::Retrying => {
            let tries = told.tries.unwrap_or_default();
            let tries = if tries == 1 { "1 try".to_owned() } else { format!("{tries} tries") };
            format!("{name} again in {}, after {tries}: {error}", time::length(next))
        }
    }
}

fn test(asked: &TestAlerts, out: &mut dyn Write) -> Result<Exit, Error> {
    let target = asked.target.as_deref();
    let tested = match Remote::find(&asked.at) {
        Err(Error::NoServer { .. }) => from_here(&Config::here(&asked.at.place)?, target)?,
        found => {
            let remote = found?;
            remote.ask("test the targets of alerts", remote.client().test_alerts(target))?
        }
    };
    list::print(asked.json, &tested, "targets", || answers(&tested), out)?;
    Ok(if tested.iter().all(|tested| tested.ok) { Exit::Success } else { Exit::Failed })
}

/// Without a server, this process sends: one target after the other.
fn from_here(config: &Config, target: Option<&str>) -> Result<Vec<AlertTested>, Error> {
    let known = &config.alerts.targets;
    let wanted: Vec<&String> = known.keys().filter(|name| target.is_none_or(|target| target == *name)).collect();
    if wanted.is_empty() {
        let names = known.keys().map(String::as_str);
        let message = match target {
            Some(target) => Refusal::unknown_target(target, names).to_string(),
            None => "no target of alerts is configured".to_owned(),
        };
        return Err(Error::Unknown { message });
    }
    let (runtime, clock) = (runtime()?, Clock::starting_at_least(Timestamp::default()));
    let test = |name: &&String| runtime.block_on(alerts::test(&config.alerts, name, &clock));
    let tested = wanted.iter().filter_map(test).map(|tested| view::tested(&tested)).collect();
    runtime.shutdown_background();
    Ok(tested)
}

fn answers(tested: &[AlertTested]) -> Table {
    let mut table = Table::new(&[
        ("TARGET", Column::Whole),
        ("KIND", Column::Whole),
        ("TOOK", Column::Right),
        ("ANSWER", Column::Wraps(20)),
    ]);
    for tested in tested {
        let tone = if tested.ok { Tone::Good } else { Tone::Bad };
        table.row(vec![
            tested.target.as_str().into(),
            tested.kind.as_str().into(),
            time::length(Millis(tested.took_ms)).into(),
            Cell::new(tone, tested.answer.as_str()),
        ]);
    }
    table
}
