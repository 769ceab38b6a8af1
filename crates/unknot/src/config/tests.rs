//! What the table, the file and variables make together.

use super::*;
use unknot_api::report::Diagnostic;
use unknot_engine::core::{
    Millis,
    settings::{Monitor, PoolSettings, QueueSettings},
};

fn read(text: &str, variables: &[(&str, &str)]) -> Result<(Values, Vec<String>), Error> {
    let source = Source::new("unknot.yaml", text.as_bytes()).expect("text");
    let variables = variables.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
    assemble(Some(&source), variables, Typed::default())
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
            "1:47 `deadlock.pending_stale_s` stands in this file twice (keep one of `orchestrator` and `orchestrator.deadlock`: they are the same section)",
        ),
        ("deadlock: {check_interval_s: 0}\n", "1:30 this value cannot stand here (a whole number, 1 or more)"),
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

#[test]
fn the_documented_example_is_sound() {
    let page = include_str!("../../../../docs/configuration.md");
    let example = page.split_once("```yaml\n").and_then(|(_, rest)| rest.split_once("```")).expect("an example").0;
    let config = config(example, &[]);
    assert_eq!(config.settings.pools["render"], PoolSettings { size: 4, lend: true });
    assert_eq!(config.settings.queues["default"], QueueSettings::default());
}

#[test]
fn changes_are_found_by_their_place() {
    let before = read("pools: {gpu: {size: 1}}\nworker: {slots: 2}", &[]).expect("sound").0;
    let after = read("pools: {gpu: {size: 2}, ram: {size: 8}}\nworker: {slots: 2}", &[]).expect("sound").0;
    let changes = before.changes(&after);
    let told: Vec<String> = changes.iter().map(|change| change.place.to_string()).collect();
    assert_eq!(told, ["pools.gpu.size", "pools.ram.size", "pools.ram.lend"]);
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
