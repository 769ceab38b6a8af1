//! What the table, the file and variables make together.

use super::*;
use unknot_api::report::Diagnostic;
use unknot_engine::{
    alerts::{Kind, Rule, Secret, Target},
    core::{
        Millis,
        alert::{Metric, Severity},
        settings::{Monitor, PoolSettings, QueueSettings},
    },
};

fn read(text: &str, variables: &[(&str, &str)]) -> Result<(Values, Vec<String>), Error> {
    let source = Source::new("unknot.yaml", text.as_bytes()).expect("text");
    let variables = variables.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
    let assembled = assemble(Some(&source), variables, Typed::default(), &|_| None)?;
    Ok((assembled.values, assembled.notices))
}

fn config(text: &str, variables: &[(&str, &str)]) -> Config {
    let (values, _) = read(text, variables).expect("sound");
    Config::from_values(values, PathBuf::new(), Logging::default())
}

/// What is wrong with a configuration, as a person sees it.
#[track_caller]
fn check(text: &str, expected: &str) {
    let told = match read(text, &[]) {
        Ok(_) => "sound".to_owned(),
        Err(Error::File(report)) => {
            let line = |problem: &Diagnostic| {
                let help = problem.help.as_deref().or(problem.expected.as_deref()).unwrap_or_default();
                format!("{}:{} {} ({help})", problem.line, problem.column, problem.message)
            };
            report.problems.iter().map(line).collect::<Vec<_>>().join("; ")
        }
        Err(other) => other.to_string(),
    };
    assert_eq!(told, expected);
}

#[test]
fn what_cannot_stand_there_is_told_with_its_place() {
    for (text, expected) in [
        ("{}", "sound"),
        ("", "sound"),
        ("# What holds without it holds.\n\n", "sound"),
        ("queues:\nlogging: {file: null}\nredis: null\n", "sound"),
        ("worker: {slot: 2}\n", "1:10 unknown key `slot` (did you mean `slots`?)"),
        ("gateway:\n  breaker: {timout: 5}\n", "2:13 unknown key `timout` (did you mean `timeout`?)"),
        ("worker: {slots: many}\n", "1:17 this value cannot stand here (a whole number from 0 to 512)"),
        ("worker: {slots: 513}\n", "1:17 this value cannot stand here (a whole number from 0 to 512)"),
        ("worker: {slots: '5'}\n", "1:17 this value cannot stand here (a whole number from 0 to 512)"),
        ("worker: 5\n", "1:9 this value cannot stand here (a map of keys)"),
        ("worker: {slots: null}\n", "1:17 this value cannot stand here (a whole number from 0 to 512)"),
        ("pools: {gpu: {lend: true}}\n", "1:9 `size` of `pools.gpu` is missing ()"),
        (
            "pools: {GPU: {size: 1}}\n",
            "1:9 this is no name (a small letter, then small letters, digits, `_` and `-`, up to 100 in all)",
        ),
        ("server: {drain: 5}\n", "1:17 this value cannot stand here (did you mean `5s`?)"),
        ("server: {hosts: a}\n", "1:17 this value cannot stand here (a list of texts)"),
        ("logging: {level: wran}\n", "1:18 this value cannot stand here (did you mean `warn`?)"),
        (
            "store: postgres://localhost/unknot\n",
            "1:8 this version keeps its state in SQLite only (`sqlite`, until Postgres comes)",
        ),
        (
            "redis: localhost\n",
            "1:8 this value cannot stand here (an address that begins with `redis://` or `rediss://`)",
        ),
        ("alerts: {rules: {slow: {metric: latency_p99}}}\n", "1:18 `threshold` of `alerts.rules.slow` is missing ()"),
        (
            "alerts: {rules: {slow: {metric: p99, threshold: 1}}}\n",
            "1:33 this value cannot stand here (one of `queue_size`, `oldest_age`, `latency_p99`, `failure_rate`, `stall`)",
        ),
        (
            "alerts: {rules: {bad: {metric: failure_rate, threshold: 10}}}\n",
            "1:18 `alerts.rules.bad` is about a share, and no share is above 10 (write a `threshold` below 1, such as `0.1` for one in ten)",
        ),
        (
            "alerts: {rules: {full: {metric: queue_size, threshold: 1, queue: My Queue}}}\n",
            "1:18 `My Queue`, which `alerts.rules.full` watches, is no name of a queue (write a queue's name, or leave it out to watch each)",
        ),
        (
            "alerts: {targets: {ops: {kind: slack}}}\n",
            "1:20 `alerts.targets.ops` has no address (write its `url`, or in `url_env` the variable that holds it)",
        ),
        (
            "alerts: {targets: {ops: {url: 'https://h/x', url_env: X}}}\n",
            "1:20 `alerts.targets.ops` has both `url` and `url_env` (keep one of the two)",
        ),
        (
            "alerts: {targets: {oncall: {kind: pagerduty}}}\n",
            "1:20 `alerts.targets.oncall` is PagerDuty, which wants to know for which of its services alerts are (write the integration key as `routing_key`, in `routing_key_env` the variable that holds it, or behind the address as `?routing_key=…`)",
        ),
        (
            "alerts: {targets: {ops: {url: 'https://hooks.slack.com/services/x', secret: x}}}\n",
            "1:20 `alerts.targets.ops` is of the kind `slack` and has a `secret` (only messages of the kind `webhook` are signed: leave it out, or say `kind: webhook`)",
        ),
        (
            "alerts: {targets: {ops: {url: 'https://h/x', routing_key: x}}}\n",
            "1:20 `alerts.targets.ops` is of the kind `webhook` and has a `routing_key` (only PagerDuty has one: leave it out, or say `kind: pagerduty`)",
        ),
        (
            "deadlock: {alert_webhook: 'https://events.pagerduty.com/v2/enqueue'}\n",
            "1:12 `deadlock.alert_webhook` is PagerDuty, which wants to know for which of its services alerts are (write the integration key behind the address, as `?routing_key=…`, or make it a target below `alerts` with a `routing_key` or a `routing_key_env`)",
        ),
        (
            "deadlock: {alert_webhook: 'https://h/x'}\nalerts: {targets: {alert_webhook: {url: 'https://h/y'}}}\n",
            "2:20 `alerts.targets.alert_webhook` and `deadlock.alert_webhook` are one target (keep one of the two, or give this one another name)",
        ),
        (
            "alerts: {timeout: 2m}\n",
            "1:10 `alerts.timeout` is too short or too long (write a length of time up to `60s`)",
        ),
        ("inboxes: {a: {workflow: f.yaml}}\n", "1:11 `inboxes.a` needs either `file` or `folder` ()"),
        (
            "deadlock: {pending_stale_s: 1}\norchestrator: {deadlock: {pending_stale_s: 2}}\n",
            "2:16 `deadlock` and `orchestrator.deadlock` both stand in this file (keep one of the two: they are the same section)",
        ),
        (
            "deadlock: {pending_stale_s: 1}\norchestrator: {check_interval_s: 2}\n",
            "2:1 `deadlock` and `orchestrator` both stand in this file (keep one of the two: they are the same section)",
        ),
        (
            "orchestrator: {pending_stale_s: 1, deadlock: {pending_stale_s: 2}}\n",
            "1:36 `orchestrator` has keys of the monitor both by itself and below `deadlock` (keep one of the two: they are the same section)",
        ),
        (
            "orchestrator: {check_interval_s: 3, deadlock: {pending_stale_s: 3}}\n",
            "1:37 `orchestrator` has keys of the monitor both by itself and below `deadlock` (keep one of the two: they are the same section)",
        ),
        (
            "deadlock: {check_interval_s: 0}\n",
            "1:30 this value cannot stand here (a whole number from 1 to 4294967295)",
        ),
        ("deadlock: {check_interval: 30}\n", "1:12 unknown key `check_interval` (did you mean `check_interval_s`?)"),
        (
            "deadlock: {alert_webhook: hooks.example.org}\n",
            "1:27 this value cannot stand here (an address that begins with `http://` or `https://`)",
        ),
    ] {
        check(text, expected);
    }
}

#[test]
fn whoever_comes_first_in_the_order_wins() {
    let text = "worker: {slots: 2}\nserver: {drain: 5s}\n\nqueues: {big-one: {max_retries: 9}}\n";
    let variables = [("UNKNOT_SERVER_DRAIN", "7s"), ("UNKNOT_QUEUES_BIG_ONE_MAX_RETRIES", "1")];
    let config = config(text, &variables);
    assert_eq!((config.slots, config.drain), (2, Duration::from_secs(7)));
    assert_eq!(config.settings.queues["big-one"].max_retries, 1);
    let origin = |path: &str| config.values.setting(path).expect("there").origin.to_string();
    assert_eq!(origin("worker.slots"), "line 1");
    assert_eq!(origin("server.drain"), "UNKNOT_SERVER_DRAIN");
    assert_eq!(origin("server.listen"), "default");
}

#[test]
fn what_holds_without_a_file_is_what_each_part_has_by_itself() {
    let config = config("{}", &[]);
    let queues = [("default".to_owned(), QueueSettings::default())].into();
    assert_eq!(config.settings, Settings { queues, ..Settings::default() });
    assert_eq!(config.retention, Retention::default());
    assert_eq!(config.alerts, Alerts::default());
    assert_eq!(config.rate, Rate::default());
    assert_eq!(config.max_dependency_depth, Rules::default().max_dependency_depth);
    assert!(config.all_notices().is_empty(), "{:?}", config.all_notices());
}

/// The seed's `config.yaml`, and the same keys in our own place.
#[test]
fn the_seeds_keys_are_read_in_both_places() {
    let keys = "check_interval_s: 30, pending_stale_s: 600, workflow_stale_s: 1800, cancel_on_deadlock: false, \
                alert_webhook: \"\", max_dependency_depth: 7";
    for text in [
        format!("orchestrator: {{deadlock: {{{keys}}}}}"),
        format!("orchestrator: {{{keys}}}"),
        format!("deadlock: {{{keys}}}"),
    ] {
        let config = config(&text, &[]);
        assert_eq!(config.rules().max_dependency_depth, 7, "workflows are checked against it");
        assert_eq!(config.changeable().deadlock.check_interval_s, 30);
        let monitor = Monitor {
            cancel_on_deadlock: false,
            pending_stale: Millis::from_mins(10),
            workflow_stale: Millis::from_mins(30),
            check_interval: Millis::from_secs(30),
        };
        assert_eq!(config.settings.monitor, monitor);
        assert!(config.all_notices().is_empty(), "{:?}", config.all_notices());
    }
}

/// An address to which nothing could ever be sent is found when it is read, not when the first alert is due.
#[test]
fn addresses_that_cannot_be_asked_are_told_without_what_is_secret() {
    let unreadable = "write it as `https://HOST:PORT/PATH`: a space is `%20`, an IPv6 address stands in brackets";
    for (url, what, help) in [
        ("http://h:99999/hidden", "has no valid port", "a port is a number from 1 to 65535"),
        ("http://u:hidden@h/", "has a user or a password in it", "leave them out: they are sent to nobody"),
        ("http://[::1/hidden", "cannot be read: invalid authority", unreadable),
        ("https://hooks.slack.com/services/A hidden", "cannot be read: invalid uri character", unreadable),
    ] {
        check(
            &format!("deadlock: {{alert_webhook: '{url}'}}\n"),
            &format!("1:27 the address in `deadlock.alert_webhook` {what} ({help})"),
        );
        check(
            &format!("alerts: {{targets: {{ops: {{url: '{url}'}}}}}}\n"),
            &format!("1:31 the address in `alerts.targets.ops.url` {what} ({help})"),
        );
        let Err(by_variable) = read("{}", &[("UNKNOT_DEADLOCK_ALERT_WEBHOOK", url)]) else { panic!("{url} is taken") };
        let expected = format!("the variable `UNKNOT_DEADLOCK_ALERT_WEBHOOK` cannot be used: this address {what}");
        assert_eq!(by_variable.to_string(), expected);
        let source = Source::new("unknot.yaml", b"alerts: {targets: {ops: {url_env: OPS}}}").expect("text");
        let set = |name: &str| (name == "OPS").then(|| url.to_owned());
        let Err(Error::File(report)) = assemble(Some(&source), BTreeMap::new(), Typed::default(), &set) else {
            panic!("{url} is taken")
        };
        let expected = format!("the address in the variable `OPS`, which `alerts.targets.ops.url_env` names, {what}");
        assert_eq!(report.problems.iter().map(|problem| &*problem.message).collect::<Vec<_>>(), [expected]);
        assert!(!report.to_string().contains("hidden"), "{report}");
    }
}

fn alerts_of(text: &str, variables: &[(&str, &str)], set: &[(&str, &str)]) -> Assembled {
    let source = Source::new("unknot.yaml", text.as_bytes()).expect("text");
    let variables = variables.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
    let variable = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, text)| text.to_string());
    assemble(Some(&source), variables, Typed::default(), &variable).unwrap_or_else(|error| panic!("{error}"))
}

/// The host of the seed's only key for alerts chooses what is there.
#[test]
fn one_webhook_is_enough() {
    let slack = "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX";
    let pagerduty = || Kind::PagerDuty { routing_key: Secret::new("abc") };
    let own = "http://127.0.0.1:9/hooks.slack.com";
    for (url, kind, sent_to) in [
        (slack, Kind::Slack, slack),
        (
            "https://events.pagerduty.com/v2/enqueue?routing_key=abc&x=y",
            pagerduty(),
            "https://events.pagerduty.com/v2/enqueue?x=y",
        ),
        ("https://EVENTS.eu.pagerduty.com:443/?routing_key=abc", pagerduty(), "https://EVENTS.eu.pagerduty.com:443/"),
        (own, Kind::Webhook { secret: None }, own),
    ] {
        let send_resolved = kind != Kind::Slack;
        let target = Target { kind, url: Secret::new(sent_to), least: Severity::Info, send_resolved, unset: None };
        let expected: BTreeMap<String, Target> = [("alert_webhook".to_owned(), target)].into();
        let found = |text: &str, variables: &[(&str, &str)]| alerts_of(text, variables, &[]).alerts.targets;
        assert_eq!(found(&format!("orchestrator: {{deadlock: {{alert_webhook: '{url}'}}}}"), &[]), expected);
        for variable in ["DEEPLINE_DEADLOCK_WEBHOOK", "UNKNOT_DEADLOCK_WEBHOOK", "UNKNOT_DEADLOCK_ALERT_WEBHOOK"] {
            assert_eq!(found("{}", &[(variable, url)]), expected, "{variable}");
        }
    }
}

#[test]
fn secrets_may_stand_in_variables_and_are_missed_if_they_do_not() {
    let text = "alerts:\n  targets:\n    ops: {kind: slack, url_env: OPS_URL}\n    oncall: {routing_key_env: KEY, kind: pagerduty}\n    \
                hook: {url: 'https://h/x', secret_env: HOOK, severity: error, send_resolved: false}\n";
    let set = [("OPS_URL", "https://hooks.slack.com/x"), ("KEY", "abc"), ("HOOK", "s")];
    let found = alerts_of(text, &[], &set);
    let hook = Target {
        kind: Kind::Webhook { secret: Some(Secret::new("s")) },
        url: Secret::new("https://h/x"),
        least: Severity::Error,
        send_resolved: false,
        unset: None,
    };
    assert_eq!(found.alerts.targets["hook"], hook);
    assert_eq!(found.alerts.targets["ops"].url.expose(), "https://hooks.slack.com/x");
    assert_eq!(found.alerts.targets["oncall"].url.expose(), "https://events.pagerduty.com/v2/enqueue");
    assert!(found.unset.is_empty());
    let found = alerts_of(text, &[], &set[1..]);
    assert_eq!(found.unset, ["the variable `OPS_URL` is not set, and `alerts.targets.ops.url_env` names it"]);
    assert_eq!(found.alerts.targets["ops"].unset.as_deref(), Some("OPS_URL"));
    assert_eq!(found.alerts.targets.len(), 3, "what is to be told there is not forgotten");
}

#[test]
fn rules_are_what_they_say() {
    let text = "alerts: {rules: {backlog: {metric: queue_size, threshold: 1000}, \
                slow: {metric: latency_p99, queue: web, threshold: 2.5, for: 5m, severity: critical}}, \
                rate_limit: {alerts: 3, window: 1m}, timeout: 2s}";
    let found = alerts_of(text, &[("UNKNOT_ALERTS_RULES_BACKLOG_THRESHOLD", "7")], &[]).alerts;
    let rule = |metric, queue: Option<&str>, threshold, minutes, severity| Rule {
        metric,
        queue: queue.map(str::to_owned),
        threshold,
        lasting: Millis::from_mins(minutes),
        severity,
    };
    assert_eq!(found.rules["backlog"], rule(Metric::QueueSize, None, 7.0, 2, Severity::Warning));
    assert_eq!(found.rules["slow"], rule(Metric::LatencyP99, Some("web"), 2.5, 5, Severity::Critical));
    assert_eq!((found.alerts_max, found.window, found.timeout), (3, Millis::from_mins(1), Duration::from_secs(2)));
}

/// What a variable says wrong is told also where the file says nothing.
#[test]
fn variables_beside_an_empty_file_are_judged() {
    let Err(Error::File(report)) = read("# nothing\n", &[("UNKNOT_ALERTS_TIMEOUT", "2m")]) else {
        panic!("it is wrong")
    };
    assert_eq!(report.problems[0].message, "`alerts.timeout` is too short or too long");
    assert_eq!(config("", &[("UNKNOT_WORKER_SLOTS", "3")]).slots, 3);
}

/// Neither what is printed for people nor for programmers shows one.
#[test]
fn secrets_are_shown_nowhere() {
    let text = "deadlock: {alert_webhook: 'https://h.example.org/hidden'}\nalerts: {targets: {\
                a: {url: 'https://h.example.org/hidden?key=hidden', secret: hidden}, b: {kind: pagerduty, routing_key: hidden}}}";
    let found = alerts_of(text, &[], &[]);
    assert_eq!(found.alerts.targets.len(), 3);
    let mut config = Config::from_values(found.values, PathBuf::new(), Logging::default());
    config.alerts = found.alerts;
    let shown =
        config.values.iter().map(|(place, setting)| format!("{place} {} {}", setting.value, setting.value.to_json()));
    let shown = shown.collect::<Vec<_>>().join("\n") + &format!("{config:?}");
    assert!(
        shown.contains("https://h.example.org/…") && shown.contains("alerts.targets.a.secret *** \"***\""),
        "{shown}"
    );
    assert!(!shown.contains("hidden"), "{shown}");
}

/// An error that shows the line shows it without what is secret there.
#[test]
fn errors_show_lines_without_their_secrets() {
    let text = "alerts: {targets: {a: {knd: slack, url: 'https://h.example.org/hidden', secret: 5}}}\n";
    let source = Source::new("unknot.yaml", text.as_bytes()).expect("text").showing(mask::masked(text));
    let Err(error) = assemble(Some(&source), BTreeMap::new(), Typed::default(), &|_| None) else {
        panic!("it is wrong")
    };
    let Error::File(report) = error else { panic!("{error}") };
    let told = report.to_string();
    assert!(told.contains("unknown key `knd`") && told.contains("https://h.example.org*"), "{told}");
    assert!(!told.contains("hidden") && !told.contains("secret: 5"), "{told}");
}

#[test]
fn the_documented_example_is_sound() {
    let page = include_str!("../../../../docs/configuration.md");
    let example = page.split_once("```yaml\n").and_then(|(_, rest)| rest.split_once("```")).expect("an example").0;
    let config = config(example, &[]);
    assert_eq!(config.settings.pools["render"], PoolSettings { size: 4, lend: true, on_deadlock: None });
    assert_eq!(config.settings.queues["default"], QueueSettings::default());
}

/// Each example of the pages about deadlocks and alerts can be taken as it stands.
#[test]
fn documented_alerts_and_deadlocks_are_sound() {
    let set =
        [("SLACK_WEBHOOK", "https://hooks.slack.com/services/x"), ("PAGERDUTY_KEY", "k"), ("WAREHOUSE_SECRET", "s")];
    let examples = |page: &'static str| {
        let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```"));
        blocks.map(|(example, _)| example).filter(|example| !example.starts_with("name:")).collect::<Vec<_>>()
    };
    let kinds = |example: &str| {
        let found = alerts_of(example, &[], &set);
        assert!(found.unset.is_empty(), "{:?}", found.unset);
        let kind = |(name, target): (&String, &Target)| format!("{name} {}", target.kind.word());
        (found.alerts.targets.iter().map(kind).collect::<Vec<_>>().join(", "), found.alerts.rules.len())
    };
    let told: Vec<_> = examples(include_str!("../../../../docs/alerts.md")).into_iter().map(kinds).collect();
    let several = || "chat slack, on_call pagerduty, warehouse webhook".to_owned();
    let expected = [
        ("alert_webhook slack".to_owned(), 0),
        ("alert_webhook pagerduty".to_owned(), 0),
        (several(), 0),
        (several(), 0),
        ("chat slack".to_owned(), 5),
        ("chat slack".to_owned(), 0),
    ];
    assert_eq!(told, expected);
    let monitors = examples(include_str!("../../../../docs/deadlocks.md"));
    assert!(monitors.len() >= 3, "{monitors:?}");
    monitors.into_iter().for_each(|example| drop(config(example, &[])));
}

#[test]
fn changes_are_found_by_their_place() {
    let before = read("pools: {gpu: {size: 1}}\nworker: {slots: 2}", &[]).expect("sound").0;
    let after = read("pools: {gpu: {size: 2}, ram: {size: 8}}\nworker: {slots: 2}", &[]).expect("sound").0;
    let changes = before.changes(&after);
    let told: Vec<String> = changes.iter().map(|change| change.place.to_string()).collect();
    assert_eq!(told, ["pools.gpu.size", "pools.ram.size", "pools.ram.lend", "pools.ram.on_deadlock"]);
    assert!(changes.iter().all(|change| change.place.key().when == When::Reload));
}

/// Whatever stands behind whichever key: it is taken, or told with its place.
#[test]
fn nothing_that_can_be_written_is_too_odd() {
    let odd = [
        "",
        "~",
        "true",
        "-1",
        "0",
        "1.5",
        "1e400",
        "99999999999999999999",
        "text",
        "''",
        "[]",
        "[a, [b]]",
        "{}",
        "{a: {b: 1}}",
        "7d",
        "2GiB",
        "http://x",
        "18446744073709551615",
    ];
    for key in keys::KEYS {
        for value in odd {
            let path = key.path_of(Some("name"));
            let depth = path.matches('.').count();
            let text = format!("{}: {value}{}", path.replace('.', ": {"), "}".repeat(depth));
            match read(&text, &[]) {
                Ok((values, _)) => drop(Config::from_values(values, PathBuf::new(), Logging::default())),
                Err(Error::File(report)) => assert!(report.problems.iter().all(|problem| problem.line == 1), "{text}"),
                Err(other) => panic!("{text}: {other}"),
            }
        }
    }
}

/// What somebody wrote and nobody obeys yet is said once for each section.
#[test]
fn what_does_nothing_yet_is_said() {
    let text =
        "inboxes: {ideas: {file: a.json, workflow: b.yaml}}\ngateway: {max_depth: 1}\nworker: {labels: {zone: a}}\n";
    let told: Vec<String> = read(text, &[]).expect("sound").0.idle().into_iter().collect();
    assert_eq!(told, ["inboxes.ideas", "worker.labels.zone"]);
}

/// The table in `docs/configuration.md` is this one; `UNKNOT_BLESS=1` writes it anew.
#[test]
fn the_page_has_every_key() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = std::fs::read_to_string(&file).expect("the page");
    let (head, _) = page.split_once("\n## All keys\n").expect("the heading");
    let found = format!("{head}\n## All keys\n{}", keys::as_markdown());
    if env::var_os("UNKNOT_BLESS").is_some() {
        std::fs::write(&file, &found).expect("written");
    }
    assert!(page == found || env::var_os("UNKNOT_BLESS").is_some(), "bless docs/configuration.md with UNKNOT_BLESS=1");
}

#[test]
fn words_for_the_shell_stay_one_word() {
    for (text, word) in [("a/b.c", "a/b.c"), ("my runs", "'my runs'"), ("it's", r"'it'\''s'")] {
        assert_eq!(quoted(text), word);
    }
}
