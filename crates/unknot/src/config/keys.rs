//! Every key of the configuration: one table, from which the file, the variables, `config show` and
//! `docs/configuration.md` are read, written and checked.

use super::kind::{Kind, WEB};
use std::{fmt, sync::LazyLock};

/// A key and all that is to be known of it.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its path in the file; `*` is a name of the author's choice.
    pub(crate) path: &'static str,
    /// What may stand there.
    pub(crate) kind: Kind,
    /// What holds where nobody says anything.
    pub(crate) default: Fallback,
    /// When a change of it is obeyed.
    pub(crate) when: When,
    /// What it does, in a sentence.
    pub(crate) about: &'static str,
}

/// What holds where nobody says anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// This, as a person would write it.
    Is(&'static str),
    /// Nothing; a file may say so with `null`.
    Nothing,
    /// Whoever writes the section has to write it.
    Required,
}

/// When a change is obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// At once, when a running server gets SIGHUP.
    Reload,
    /// At the next start.
    Start,
    /// In a later version: this one checks its form and says that it does nothing yet.
    Later,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reload => "at a reload",
            Self::Start => "at the next start",
            Self::Later => "not yet",
        })
    }
}

use Fallback::{Is, Nothing, Required};
use When::{Later, Reload, Start};

const fn key(path: &'static str, kind: Kind, default: Fallback, when: When, about: &'static str) -> Key {
    Key { path, kind, default, when, about }
}

const fn whole(least: u64, most: u64) -> Kind {
    Kind::Whole { least, most }
}

/// Counts of the brain have 32 bits.
const MANY: u64 = u32::MAX as u64;
/// Most attempts at once of one worker: each has a process and places in queues.
const SLOTS_MAX: u64 = 512;

/// How bad an incident can be, the mildest first.
const SEVERITIES: &[&str] = &["info", "warning", "error", "critical"];

/// All of them. The keys of one section stand together.
#[rustfmt::skip]
pub(crate) static KEYS: &[Key] = &[
    key("server.listen", Kind::Address, Is("127.0.0.1:8001"), Start, "Where the API listens."),
    key("server.data", Kind::Path, Nothing, Start, "The data folder; without it `.unknot` beside the workflow, or in the current folder."),
    key("server.hosts", Kind::Texts, Is(""), Reload, "Names, beside its address and `localhost`, under which the server may be asked."),
    key("server.rate.per_second", whole(1, 1_000_000), Is("1000"), Reload, "Requests a second that one client may send in the long run."),
    key("server.rate.burst", whole(1, 1_000_000), Is("5000"), Reload, "Requests that one client may send at once."),
    key("server.drain", Kind::Length, Is("30s"), Reload, "How long what runs may go on after the first TERM."),

    key("logging.level", Kind::Word(&["off", "error", "warn", "info", "debug", "trace"]), Is("info"), Reload, "What the server's log says, and all that is worse."),
    key("logging.format", Kind::Word(&["text", "json"]), Is("text"), Reload, "Lines for people, or a JSON object a line."),
    key("logging.file", Kind::Path, Nothing, Reload, "The file of the log; without it standard error."),
    key("logging.rotation.size", Kind::Size, Is("16MiB"), Reload, "Beyond this size the file gets the ending `.1`, and a new one begins."),
    key("logging.rotation.keep", whole(0, 1_000), Is("5"), Reload, "How many older files stay: `.1` is the newest."),

    key("store", Kind::Store, Is("sqlite"), Start, "Where the state is kept."),
    key("redis", Kind::Url(&["redis", "rediss"]), Nothing, Later, "What wakes workers on other machines; also `REDIS_URL`."),

    key("worker.slots", whole(0, SLOTS_MAX), Is("8"), Start, "Attempts that the server's own worker performs at once; 0: all work is done by others (`unknot worker`)."),
    key("worker.labels.*", Kind::Text, Required, Later, "What tasks may ask of a worker."),

    key("workers.session", Kind::Length, Is("30s"), Start, "How long a worker of another process may be silent before it counts as gone."),

    key("queues.*.max_queue_size", whole(0, MANY), Is("1000000"), Reload, "Tasks that may stand in the queue; a run that would go beyond is refused."),
    key("queues.*.visibility_timeout", Kind::Length, Is("5m"), Reload, "How long a remote worker's lease is."),
    key("queues.*.max_retries", whole(0, MANY), Is("3"), Reload, "Retries of tasks that say nothing and whose kind retries."),
    key("queues.*.low_counts_as_high_after", Kind::Length, Is("10m"), Reload, "A task that has waited so long counts as high."),

    key("pools.*.size", whole(1, MANY), Required, Reload, "Units that tasks may hold at once."),
    key("pools.*.lend", Kind::Truth, Is("false"), Reload, "Whether a task that waits for its children lends them what it holds."),
    key("pools.*.on_deadlock", Kind::Word(&["retry", "cancel", "alert"]), Nothing, Reload, "What is done about a deadlock whose victim holds units of the pool, unless its workflow says that itself; without it as `deadlock.cancel_on_deadlock` says."),

    key("workflows.unsafe", Kind::Word(&["allow", "warn", "refuse"]), Is("warn"), Reload, "What is done about a workflow whose runs can deadlock, when it is registered at a server: it is kept, kept with a warning, or refused."),

    key("limits.live_tasks_max", whole(1, MANY), Is("1000000"), Reload, "Unfinished tasks at once; a run that would go beyond is refused."),
    key("limits.lost_max", whole(1, MANY), Is("10"), Reload, "Attempts with an unknown end before a task is given up."),
    key("limits.launch_failures_max", whole(1, MANY), Is("5"), Reload, "Attempts that could not be started before a task is given up."),
    key("limits.run_output_bytes_max", Kind::Size, Is("1MiB"), Reload, "All outputs of one run together."),

    key("retention.keep", Kind::Length, Is("7d"), Reload, "Runs that ended longer ago go."),
    key("retention.verdicts", Kind::Length, Is("365d"), Reload, "Verdicts about work that stood still that are older go."),
    key("retention.size", Kind::Size, Is("2GiB"), Reload, "Above this size of the store, the runs that ended first go."),

    key("deadlock.check_interval_s", whole(1, MANY), Is("60"), Reload, "Seconds between two looks for work that is stuck."),
    key("deadlock.pending_stale_s", whole(1, MANY), Is("900"), Reload, "Seconds after which a task that only the outside can move, or that is not served, is reported."),
    key("deadlock.workflow_stale_s", whole(1, MANY), Is("3600"), Reload, "Seconds after which a run in which nothing happens is reported."),
    key("deadlock.cancel_on_deadlock", Kind::Truth, Is("true"), Reload, "Whether a deadlock is resolved without asking."),
    key("deadlock.alert_webhook", Kind::Url(WEB), Nothing, Reload, "Where findings are sent; its host says whether that is Slack, PagerDuty or any other receiver. See `alerts` for more than one."),
    key("deadlock.max_dependency_depth", whole(1, MANY), Is("50"), Reload, "The longest chain of needs that a workflow may have."),

    key("alerts.targets.*.kind", Kind::Word(&["slack", "pagerduty", "webhook"]), Nothing, Reload, "What takes alerts there; without it the host of its address says that."),
    key("alerts.targets.*.url", Kind::Url(WEB), Nothing, Reload, "Its address."),
    key("alerts.targets.*.url_env", Kind::Text, Nothing, Reload, "The variable that holds its address."),
    key("alerts.targets.*.routing_key", Kind::Secret, Nothing, Reload, "Which service of PagerDuty: its integration key."),
    key("alerts.targets.*.routing_key_env", Kind::Text, Nothing, Reload, "The variable that holds that key."),
    key("alerts.targets.*.secret", Kind::Secret, Nothing, Reload, "What messages to a webhook are signed with."),
    key("alerts.targets.*.secret_env", Kind::Text, Nothing, Reload, "The variable that holds that secret."),
    key("alerts.targets.*.severity", Kind::Word(SEVERITIES), Is("info"), Reload, "It is told only of what is so bad, or worse."),
    key("alerts.targets.*.send_resolved", Kind::Truth, Nothing, Reload, "Whether it is told that an incident is over; without it, all but Slack are."),
    key("alerts.rules.*.metric", Kind::Word(&["queue_size", "oldest_age", "latency_p99", "failure_rate", "stall"]), Required, Reload, "What is measured: tasks in a queue; seconds that the oldest has stood there; seconds from standing there to the end, of 99 in 100 attempts; the share of attempts that do not succeed, from 0 to 1; seconds without progress although there is work."),
    key("alerts.rules.*.queue", Kind::Text, Nothing, Reload, "Of which queue; without it of each by itself."),
    key("alerts.rules.*.threshold", Kind::Number, Required, Reload, "What it should not be above."),
    key("alerts.rules.*.for", Kind::Length, Is("2m"), Reload, "How long it must be above before somebody is told, and not above before that is over."),
    key("alerts.rules.*.severity", Kind::Word(SEVERITIES), Is("warning"), Reload, "How bad that is."),
    key("alerts.rate_limit.alerts", whole(1, 100), Is("20"), Reload, "Alerts that one target gets within the window; what is more waits, and is told of as a number."),
    key("alerts.rate_limit.window", Kind::Length, Is("10m"), Reload, "The window of the limit."),
    key("alerts.timeout", Kind::Length, Is("15s"), Reload, "How long one try to send an alert may take, up to a minute."),

    key("inboxes.*.file", Kind::Path, Nothing, Later, "A file whose new entries become runs."),
    key("inboxes.*.folder", Kind::Path, Nothing, Later, "A folder whose new files become runs."),
    key("inboxes.*.workflow", Kind::Path, Required, Later, "What each of them runs."),
    key("inboxes.*.poll", Kind::Length, Is("2s"), Later, "How often it is looked at."),

    key("providers.*.base_url", Kind::Url(WEB), Required, Later, "The address of a provider's API."),
    key("providers.*.keys", Kind::Texts, Required, Later, "The variables that hold its keys."),
    key("gateway.pools.*.keys", Kind::Texts, Required, Later, "The variables of the keys that the pool has."),
    key("gateway.pools.*.max_concurrent", whole(1, MANY), Is("8"), Later, "Calls at once with each key."),
    key("gateway.pools.*.depth", whole(0, 64), Is("0"), Later, "The depth of the calls that it serves."),
    key("gateway.max_depth", whole(0, 64), Is("1"), Later, "How deep calls may nest."),
    key("gateway.timeouts.connect_timeout", Kind::Seconds, Is("5"), Later, "Seconds until a connection stands."),
    key("gateway.timeouts.http_timeout", Kind::Seconds, Is("10"), Later, "Seconds until an answer begins."),
    key("gateway.timeouts.read_timeout", Kind::Seconds, Is("15"), Later, "Seconds between two pieces of an answer."),
    key("gateway.timeouts.nested_timeout", Kind::Seconds, Is("20"), Later, "Seconds of a nested call in all."),
    key("gateway.timeouts.user_timeout", Kind::Seconds, Is("30"), Later, "Seconds of a user's call in all."),
    key("gateway.breaker.failure_threshold", whole(1, MANY), Is("5"), Later, "Failures in a row that open a breaker."),
    key("gateway.breaker.success_threshold", whole(1, MANY), Is("2"), Later, "Successes that close it again."),
    key("gateway.breaker.timeout", Kind::Seconds, Is("60"), Later, "Seconds that it stays open."),
    key("gateway.breaker.half_open_max_calls", whole(1, MANY), Is("3"), Later, "Calls that may try it meanwhile."),
];

/// The prefix of all our variables.
pub(crate) const PREFIX: &str = "UNKNOT_";

impl Key {
    /// Its variable, `NAME` standing for a name of the author's choice: the path in capitals, without a unit.
    pub(crate) fn variable(&self) -> String {
        let path = match self.path.strip_prefix("deadlock.") {
            Some(_) => self.path.strip_suffix("_s").unwrap_or(self.path),
            None => self.path,
        };
        format!("{PREFIX}{}", path.replace('*', "NAME").replace('.', "_").to_ascii_uppercase())
    }

    /// Its path with a name put in.
    pub(crate) fn path_of(&self, name: Option<&str>) -> String {
        self.path.replace('*', name.unwrap_or("*"))
    }

    /// The part of the path before the author's name, and whatever follows it.
    pub(crate) fn around_name(&self) -> Option<(&'static str, &'static str)> {
        self.path.split_once(".*").map(|(section, rest)| (section, rest.trim_start_matches('.')))
    }

    /// Variables of other programs and of the seed that mean it as well.
    pub(crate) fn aliases(&self) -> Vec<String> {
        let Some(_) = self.path.strip_prefix("deadlock.") else {
            return if self.path == "redis" { vec!["REDIS_URL".to_owned()] } else { Vec::new() };
        };
        let ours = self.variable();
        let mut aliases = vec![ours.replace(PREFIX, "DEEPLINE_")];
        if self.path == "deadlock.alert_webhook" {
            aliases.extend(["DEEPLINE_DEADLOCK_WEBHOOK".to_owned(), "UNKNOT_DEADLOCK_WEBHOOK".to_owned()]);
        }
        aliases
    }
}

/// The key with this path, and its place in the table.
pub(crate) fn at(path: &str) -> Option<(usize, &'static Key)> {
    KEYS.iter().enumerate().find(|(_, key)| key.path == path)
}

/// What may follow a path, in the order of the table.
pub(crate) fn below(path: &str) -> Vec<&'static str> {
    let rest = |key: &'static Key| match path {
        "" => Some(key.path),
        _ => key.path.strip_prefix(path)?.strip_prefix('.'),
    };
    let mut next: Vec<&str> = KEYS.iter().filter_map(rest).filter_map(|rest| rest.split('.').next()).collect();
    next.dedup();
    next
}

/// All variables that mean a key, without those of named sections.
pub(crate) static VARIABLES: LazyLock<Vec<String>> = LazyLock::new(|| KEYS.iter().map(Key::variable).collect());

/// All keys as the page about them lists them.
#[cfg(test)]
pub(super) fn as_markdown() -> String {
    let mut text = String::new();
    let mut section = "";
    for key in KEYS {
        let top = key.path.split('.').next().unwrap_or_default();
        if top != section {
            section = top;
            text.push_str(&format!(
                "\n### `{section}`\n\n| key | what | default | variable | changes |\n|---|---|---|---|---|\n"
            ));
        }
        let default = match key.default {
            Is("") => "none".to_owned(),
            Is(default) => format!("`{default}`"),
            Nothing => "none".to_owned(),
            Required => "must be written".to_owned(),
        };
        let path = key.path_of(Some("NAME"));
        let (kind, variable) = (key.kind.to_string().replace('|', "\\|"), key.variable());
        text.push_str(&format!(
            "| `{path}` | {} {} | {default} | `{variable}` | {} |\n",
            key.about,
            sentence(&kind),
            key.when
        ));
    }
    text
}

#[cfg(test)]
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_key_is_whole() {
        let mut seen = BTreeSet::new();
        for key in KEYS {
            assert!(seen.insert(key.path), "`{}` stands twice", key.path);
            assert!(key.about.ends_with('.'), "`{}` needs a sentence", key.path);
            if let Is(default) = key.default {
                assert!(key.kind.read(default).is_ok(), "the default of `{}`", key.path);
            }
        }
        assert_eq!(VARIABLES.iter().collect::<BTreeSet<_>>().len(), KEYS.len(), "each has a variable of its own");
    }

    #[test]
    fn variables_follow_the_pattern() {
        let variable = |path: &str| at(path).expect("a key").1.variable();
        assert_eq!(variable("server.listen"), "UNKNOT_SERVER_LISTEN");
        assert_eq!(variable("deadlock.check_interval_s"), "UNKNOT_DEADLOCK_CHECK_INTERVAL");
        assert_eq!(variable("queues.*.max_retries"), "UNKNOT_QUEUES_NAME_MAX_RETRIES");
    }
}
