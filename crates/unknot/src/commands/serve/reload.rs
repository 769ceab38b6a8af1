//! SIGHUP: the configuration is read anew, and what can change while a server runs does.

use crate::{
    args::Serve,
    commands::config::warn,
    config::{Change, Config, Value, When, nicer},
    error::{Error, with_causes},
    logging::Journal,
};
use unknot_engine::{
    Engine,
    core::settings::{QueueSettings, Settings},
};
use unknot_server::Server;

/// Reads the configuration anew; an unsound one changes nothing. Says what holds from now on.
pub(super) fn reload(config: &mut Config, serve: &Serve, engine: &Engine, server: &Server, journal: &Journal) {
    let read = Config::of_server(&serve.place, serve.listen);
    let read = match read.and_then(|read| read.insist_on_targets().map(|()| read)) {
        Ok(read) => read,
        Err(error) => {
            log::error!(cause = with_causes(&error).as_str(); "the configuration is not sound: nothing changes");
            return;
        }
    };
    if let (Some(file), None) = (&config.file, &read.file) {
        let file = nicer(file).display().to_string();
        log::error!(file; "the configuration is not there any more: nothing changes");
        return;
    }
    // First, since what the brain is told follows from it.
    engine.alert(read.alerts.clone());
    if let Err(error) = apply(config, &read, engine) {
        engine.alert(config.alerts.clone());
        log::error!(cause = with_causes(&error).as_str(); "the new configuration cannot be applied: nothing changes");
        return;
    }
    engine.retain(read.retention);
    server.change(read.changeable());
    journal.become_like(&read.logging);
    let changes = config.values.changes(&read.values);
    let file = read.file.as_deref().map_or_else(|| "none".to_owned(), |file| nicer(file).display().to_string());
    log::info!(file, changes = changes.len(); "the configuration is read anew");
    for change in &changes {
        tell(change);
    }
    let known = config.all_notices();
    for notice in read.all_notices().iter().filter(|notice| !known.contains(notice)) {
        log::warn!("{notice}");
    }
    // What waits for the next start is told again at each reload until then, so its values stay the old ones.
    config.take_over(read);
}

/// Has the brain decide by the new queues, pools and bounds.
fn apply(config: &Config, read: &Config, engine: &Engine) -> Result<(), Error> {
    let failed = |source| Error::Command { attempt: "apply the new settings".to_owned(), source };
    engine.apply_settings(after(&config.settings, &read.settings)).map_err(failed)
}

/// What the brain has to be told: it keeps what is not named any more, so a queue that is gone from the file is
/// named with its defaults.
fn after(before: &Settings, now: &Settings) -> Settings {
    let gone = before.queues.keys().filter(|name| !now.queues.contains_key(*name));
    let gone = gone.map(|name| (name.clone(), QueueSettings::default()));
    Settings { queues: gone.chain(now.queues.clone()).collect(), ..now.clone() }
}

fn tell(change: &Change) {
    let shown = |value: &Option<Value>| value.as_ref().map_or_else(|| "none".to_owned(), Value::to_string);
    let (key, before, after) = (change.place.to_string(), shown(&change.before), shown(&change.after));
    let is_gone = |section: &str| change.after.is_none() && key.starts_with(section);
    match change.place.key().when {
        When::Reload if is_gone("pools.") => {
            log::warn!(key, before; "a pool that is gone from the file keeps its size: tasks may hold it");
        }
        When::Reload if is_gone("queues.") => {
            log::info!(key, before; "a queue that is gone from the file has the defaults again");
        }
        When::Reload => log::info!(key, before, after; "changed"),
        When::Start => log::warn!(key, before, after; "takes effect at the next start"),
        When::Later => log::warn!(key, before, after; "does nothing yet in this version"),
    }
}

/// What a person should know at the start, also where the log goes into a file.
pub(super) fn warn_at_start(config: &Config) {
    let notices = config.all_notices();
    if config.logging.file.is_some() {
        warn(&notices);
    }
    for notice in &notices {
        log::warn!("{notice}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_is_gone_has_the_defaults_again() {
        let special = QueueSettings { max_retries: 9, ..QueueSettings::default() };
        let before = Settings { queues: [("slow".to_owned(), special)].into(), ..Settings::default() };
        assert_eq!(after(&before, &Settings::default()).queues["slow"], QueueSettings::default());
        assert_eq!(after(&before, &before), before);
    }
}
