//! The configuration, seen from outside: who said what, and what is not sound.

use super::{
    snapshot::check,
    support::{Bench, ended},
};
use serde_json::Value;

const SOUND: &str = "server: {listen: '127.0.0.1:0', data: runs}\n\
                     pools: {gpu: {size: 2}}\n\
                     deadlock: {alert_webhook: 'https://hooks.example.org/secret', cancel_on_deadlock: false}\n";

/// What `config show --json` says of a key.
fn shown(bench: &Bench, variables: &[(&str, &str)], arguments: &[&str], key: &str) -> (Value, Value) {
    let mut command = bench.command(&[&["config", "show", "--json"], arguments].concat());
    command.envs(variables.iter().copied());
    let json: Value = serde_json::from_str(&ended(command).code(0).stdout).unwrap();
    let values = json["values"].as_array().unwrap();
    let value = values.iter().find(|value| value["key"] == key).unwrap_or_else(|| panic!("no `{key}` in {json}"));
    (value["value"].clone(), value["from"].clone())
}

#[test]
fn each_value_is_shown_with_where_it_came_from() {
    let bench = Bench::new();
    bench.write("unknot.yaml", SOUND);
    check(&bench, "config_show", &["config", "show"]);
    let told = |variables: &[(&str, &str)], arguments: &[&str]| {
        let (value, from) = shown(&bench, variables, arguments, "server.data");
        let value = value.as_str().unwrap().rsplit_once('/').unwrap().1.to_owned();
        (value, from.to_string())
    };
    assert_eq!(told(&[], &[]), ("runs".into(), r#"{"line":1}"#.into()));
    let variable = [("UNKNOT_SERVER_DATA", "elsewhere")];
    assert_eq!(told(&variable, &[]), ("elsewhere".into(), r#"{"variable":"UNKNOT_SERVER_DATA"}"#.into()));
    assert_eq!(told(&variable, &["--data", "typed"]), ("typed".into(), r#""command line""#.into()));
    let (value, from) = shown(&bench, &[("DEEPLINE_DEADLOCK_CHECK_INTERVAL", "30")], &[], "deadlock.check_interval_s");
    assert_eq!((value, from["variable"].clone()), (30.into(), "DEEPLINE_DEADLOCK_CHECK_INTERVAL".into()));
}

#[test]
fn a_file_is_checked_before_anybody_obeys_it() {
    let bench = Bench::new();
    bench.write("unknot.yaml", SOUND);
    check(&bench, "config_check", &["config", "check"]);
    bench.write("new.yaml", "server:\n  rate: {per_sec: 5}\nlogging: {level: loud}\npools: {gpu: {lend: true}}\n");
    check(&bench, "config_check_unsound", &["config", "check", "new.yaml"]);
    bench.run(&["config", "check", "nowhere.yaml"]).code(2).says("error[UK0302]");
    bench.write("postgres.yaml", "store: postgres://localhost/unknot\n");
    bench.run(&["config", "check", "postgres.yaml"]).code(2).says("error[UK0108]").says("SQLite only");
}

#[test]
fn variables_are_checked_as_well() {
    let bench = Bench::with("name: small\ntasks:\n  a: {exec: 'true'}\n");
    let run = |name: &str, text: &str| {
        let mut command = bench.command(&["run", "flow.yaml"]);
        command.env(name, text);
        ended(command)
    };
    run("UNKNOT_WORKER_SLOTS", "many")
        .code(2)
        .says("error[UK0335]")
        .says("`UNKNOT_WORKER_SLOTS`")
        .says("from 0 to 512");
    assert!(!bench.path(".unknot").exists(), "nothing was started");
    run("UNKNOT_WORKER_SLOT", "2").code(0).says("did you mean `UNKNOT_WORKER_SLOTS`?");
    run("UNKNOT_DEADLOCK_MAX_DEPENDENCY_DEPTH", "1").code(0);
}

/// Many programs have a `config.yaml`: it is ours only if it is sound, or if a server is to obey it.
#[test]
fn a_config_yaml_is_taken_where_there_is_no_unknot_yaml() {
    let bench = Bench::with("name: small\ntasks:\n  a: {exec: 'true'}\n  b: {exec: 'true', needs: [a]}\n");
    bench.write("config.yaml", "orchestrator: {deadlock: {max_dependency_depth: 1}}\nserver: {data: seeds}\n");
    bench.run(&["run", "flow.yaml"]).code(2).says("error[UK01");
    bench.write("config.yaml", "orchestrator: {deadlock: {max_dependency_depth: 2}}\nserver: {data: seeds}\n");
    bench.run(&["run", "flow.yaml"]).code(0).says("seeds (owned by this process)");
    bench.write("config.yaml", "database: {port: 5432}\n");
    bench.run(&["run", "flow.yaml"]).code(0).says("`config.yaml` here is passed over").says(".unknot (owned");
    bench.run(&["serve"]).code(2).says("unknown key `database`");
    bench.write("unknot.yaml", "server: {data: ours}\n");
    bench.run(&["store", "path"]).code(0).says("/ours");
    bench.write("named.yaml", "server: {data: named}\n");
    bench.run(&["store", "path", "--config", "named.yaml"]).code(0).says("/named");
    let mut command = bench.command(&["store", "path"]);
    command.env("UNKNOT_CONFIG", "named.yaml");
    ended(command).code(0).says("/named");
    let told = bench.run(&["run", "flow.yaml", "--config", "named.yaml"]).code(0);
    told.says("named (owned by this process)").says(" --config named.yaml");
}
