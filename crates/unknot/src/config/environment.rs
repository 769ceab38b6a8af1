//! Variables that mean a key.

use super::{
    file::is_name,
    keys::{KEYS, Key, PREFIX, VARIABLES},
    kind::{Kind, Wrong},
    values::{Origin, Place, Setting, Values},
};
use crate::error::Error;

/// Variables of ours that are no keys: what tasks are told, what commands take, what tests say to the program.
const OTHERS: &[&str] = &[
    "ALLOW_NETWORK_STORE",
    "ARTIFACTS",
    "ATTEMPT",
    "BINARY",
    "BLESS",
    "CONFIG",
    "GUARD",
    "IDEMPOTENCY_KEY",
    "NAMESPACE",
    "OUTPUT",
    "RUN",
    "SERVER",
    "STOP",
    "STORY",
    "TASK",
    "TOKEN",
    "TRY",
];

/// The prefix of the seed's variables.
const SEEDS_PREFIX: &str = "DEEPLINE_";
/// How those of them go on that mean something here: they are the monitor's.
const DEADLOCK: &str = "DEADLOCK_";

/// Characters of a value that are shown.
const SHOWN_MAX: usize = 60;

/// Takes over what variables say, and gives back what a person should know about them. An empty variable is as none. Where
/// several mean one key, its own name wins, then another one of ours.
///
/// # Errors
/// If one holds what cannot stand there.
pub(super) fn overlay(
    variables: impl IntoIterator<Item = (String, String)>,
    values: &mut Values,
) -> Result<Vec<String>, Error> {
    let mut variables: Vec<(String, String)> = variables.into_iter().filter(|(_, text)| !text.is_empty()).collect();
    // Whoever comes last wins.
    variables.sort_by_key(|(name, _)| (name.starts_with(PREFIX), key_by_alias(name).is_none(), name.clone()));
    let mut notices = Vec::new();
    for (name, text) in variables {
        let alias = key_by_alias(&name);
        let meant = alias.map(|index| (index, None)).or_else(|| meant(&name, values));
        let Some((index, section_name)) = meant else {
            notices.extend(mistyped(&name));
            continue;
        };
        let key = &KEYS[index];
        let value = key.kind.read(&text).map_err(|wrong| refused(&name, &text, key.kind, wrong))?;
        if let Some(section_name) = section_name.as_ref().filter(|name| !is_name(name)) {
            let problem = format!("`{section_name}` is no name");
            return Err(Error::Variable { name, problem, expected: None, help: None });
        }
        let setting = Setting { value, origin: Origin::Variable(name.clone()) };
        let before = values.set(Place::new(index, section_name), setting.clone());
        // `REDIS_URL` is mostly meant for somebody else.
        if let Some(Setting { value, origin: Origin::Variable(other) }) = before
            && value != setting.value
            && other.contains(DEADLOCK)
        {
            notices
                .push(format!("`{other}` is not obeyed: `{name}` means the same, says something else and comes first"));
        }
    }
    let obeyed = values.iter().filter_map(|(place, setting)| match &setting.origin {
        Origin::Variable(name) if name.starts_with(SEEDS_PREFIX) => {
            Some(format!("`{name}` is obeyed; its name here is `{}`", place.key().variable()))
        }
        _ => None,
    });
    notices.extend(obeyed);
    Ok(notices)
}

/// The key that has a variable as another name.
fn key_by_alias(variable: &str) -> Option<usize> {
    KEYS.iter().position(|key| key.aliases().iter().any(|alias| alias == variable))
}

fn refused(name: &str, text: &str, kind: Kind, wrong: Wrong) -> Error {
    let value = match kind.may_be_secret() {
        true => "this value".to_owned(),
        false => format!("`{}`", text.chars().take(SHOWN_MAX).collect::<String>().escape_debug()),
    };
    let problem = wrong.message.replace("this value", &value).replace("here", "there");
    Error::Variable { name: name.to_owned(), problem, expected: wrong.expected, help: wrong.help }
}

/// The key that a variable means, and the name in it.
fn meant(variable: &str, values: &Values) -> Option<(usize, Option<String>)> {
    let exact = |(index, key): (usize, &Key)| {
        (key.around_name().is_none() && key.variable() == variable).then_some((index, None))
    };
    let named = |(index, key): (usize, &Key)| {
        let (section, _) = key.around_name()?;
        let pattern = key.variable();
        let (before, after) = pattern.split_once("NAME")?;
        let name = variable.strip_prefix(before)?.strip_suffix(after).filter(|name| !name.is_empty())?;
        // A variable has no small letters and no hyphens: the section that the file has comes first.
        let in_capitals = |name: &String| name.replace('-', "_").to_ascii_uppercase();
        let known = values.names(section).into_iter().find(|known| in_capitals(known) == name);
        Some((index, Some(known.unwrap_or_else(|| name.to_ascii_lowercase()))))
    };
    KEYS.iter().enumerate().find_map(exact).or_else(|| KEYS.iter().enumerate().find_map(named))
}

/// What to say of a variable that looks like a key and is none.
fn mistyped(variable: &str) -> Option<String> {
    if variable.strip_prefix(SEEDS_PREFIX).is_some_and(|name| name.starts_with(DEADLOCK)) {
        let known: Vec<String> = KEYS.iter().flat_map(Key::aliases).collect();
        let near = unknot_engine::core::validate::nearest(variable, known.iter().map(String::as_str));
        let meant = near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
        return Some(format!("`{variable}` means nothing here{meant}"));
    }
    let name = variable.strip_prefix(PREFIX)?;
    let is_other = OTHERS.contains(&name) || name.starts_with("TEST_") || name.starts_with("FUZZ_");
    if is_other || name.starts_with("KILL_") || name.starts_with("GUARD_") {
        return None;
    }
    let near = unknot_engine::core::validate::nearest(
        name,
        VARIABLES.iter().filter_map(|variable| variable.strip_prefix(PREFIX)),
    )?;
    Some(format!("`{variable}` means nothing (did you mean `{PREFIX}{near}`?)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What some variables do.
    fn told(variables: &[(&str, &str)]) -> String {
        let mut values = Values::default();
        let owned = variables.iter().map(|(name, text)| (name.to_string(), text.to_string()));
        match overlay(owned, &mut values) {
            Ok(notices) => {
                let set = values.iter().map(|(place, setting)| format!("{place}={}", setting.value));
                set.chain(notices).collect::<Vec<_>>().join("; ")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn variables_mean_keys() {
        for (variables, expected) in [
            (&[("UNKNOT_WORKER_SLOTS", "3")][..], "worker.slots=3"),
            (&[("UNKNOT_WORKER_SLOTS", "")], ""),
            (&[("UNKNOT_SERVER_HOSTS", "a.example, b.example")], "server.hosts=[a.example, b.example]"),
            (&[("UNKNOT_QUEUES_BIG_ONE_MAX_RETRIES", "1")], "queues.big_one.max_retries=1"),
            (&[("UNKNOT_DEADLOCK_CHECK_INTERVAL", "30")], "deadlock.check_interval_s=30"),
            (&[("REDIS_URL", "redis://r")], "redis=redis://r"),
            (
                &[("DEEPLINE_DEADLOCK_PENDING_STALE", "600")],
                "deadlock.pending_stale_s=600; `DEEPLINE_DEADLOCK_PENDING_STALE` is obeyed; its name here is `UNKNOT_DEADLOCK_PENDING_STALE`",
            ),
            (
                &[("DEEPLINE_DEADLOCK_CHECK_INTERVAL", "1"), ("UNKNOT_DEADLOCK_CHECK_INTERVAL", "2")],
                "deadlock.check_interval_s=2; `DEEPLINE_DEADLOCK_CHECK_INTERVAL` is not obeyed: `UNKNOT_DEADLOCK_CHECK_INTERVAL` means the same, says something else and comes first",
            ),
            (
                &[("UNKNOT_DEADLOCK_WEBHOOK", "http://b/"), ("UNKNOT_DEADLOCK_ALERT_WEBHOOK", "http://a/")],
                "deadlock.alert_webhook=http://a/…; `UNKNOT_DEADLOCK_WEBHOOK` is not obeyed: `UNKNOT_DEADLOCK_ALERT_WEBHOOK` means the same, says something else and comes first",
            ),
            (
                &[("UNKNOT_DEADLOCK_WEBHOOK", "http://a/"), ("UNKNOT_DEADLOCK_ALERT_WEBHOOK", "http://a/")],
                "deadlock.alert_webhook=http://a/…",
            ),
            (&[("REDIS_URL", "redis://a"), ("UNKNOT_REDIS", "redis://b")], "redis=redis://b"),
            (
                &[("DEEPLINE_DEADLOCK_CHECK_INTERVAL_S", "3")],
                "`DEEPLINE_DEADLOCK_CHECK_INTERVAL_S` means nothing here (did you mean `DEEPLINE_DEADLOCK_CHECK_INTERVAL`?)",
            ),
            (
                &[("DEEPLINE_DEADLOCK_ZZZ", "3"), ("DEEPLINE_OTHER_DEADLOCK", "x")],
                "`DEEPLINE_DEADLOCK_ZZZ` means nothing here (did you mean `DEEPLINE_DEADLOCK_WEBHOOK`?)",
            ),
            (
                &[("UNKNOT_WORKER_SLOT", "3")],
                "`UNKNOT_WORKER_SLOT` means nothing (did you mean `UNKNOT_WORKER_SLOTS`?)",
            ),
            (&[("UNKNOT_STOP", "a"), ("UNKNOT_BLESS", "1"), ("OTHER", "x")], ""),
            (
                &[("UNKNOT_WORKER_SLOTS", "many")],
                "the variable `UNKNOT_WORKER_SLOTS` cannot be used: `many` cannot stand there",
            ),
            (
                &[("UNKNOT_DEADLOCK_WEBHOOK", "example.org/secret")],
                "the variable `UNKNOT_DEADLOCK_WEBHOOK` cannot be used: this value cannot stand there",
            ),
        ] {
            assert_eq!(told(variables), expected);
        }
    }
}
