//! What cannot be done, and how that is said.

use super::{
    server::serve,
    snapshot::check,
    support::{Bench, ended, until, wait_for_file},
};
use rustix::process::Signal;
use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Command,
    time::Duration,
};
use unknot_engine::{
    core::{
        CommitSeq,
        row::{Batch, Row},
    },
    store::{Namespace, Owner, SqliteOptions, SqliteStore, Store},
};

const SMALL: &str = "name: small\ntasks:\n  a: {exec: 'true'}\n";

#[test]
fn files_that_cannot_be_used_are_told_with_their_places() {
    let bench = Bench::with("name: bad\ntasks:\n  a: {exec: 'true', neds: [b]}\n  b: {exec: 'true', needs: [c]}\n");
    check(&bench, "unknown_key", &["run", "flow.yaml"]);
    check(&bench, "unknown_key_json", &["check", "flow.yaml", "--json"]);
    bench.write("cycle.yaml", "name: c\ntasks:\n  a: {exec: 'true', needs: [b]}\n  b: {exec: 'true', needs: [a]}\n");
    check(&bench, "cycle", &["check", "cycle.yaml"]);
    check(&bench, "missing_file", &["run", "nowhere.yaml"]);
    assert!(!bench.path(".unknot").exists(), "a refused workflow makes no store");
}

#[test]
fn a_sound_file_is_told_with_all_its_bounds() {
    let bench = Bench::with(
        "name: sound\ntimeout: 2h\ninput:\n  topic: {type: string}\ntasks:\n  \
         a: {exec: ['echo', '{{ input.topic }}'], timeout: 30s, retry: {attempts: 3}}\n  \
         b: {exec: 'true', needs: [a]}\n  c: {sleep: 5s, needs: [a]}\n  d: {exec: 'true', needs: [b, c]}\n",
    );
    check(&bench, "check_sound", &["check", "flow.yaml"]);
    let json = bench.run(&["check", "flow.yaml", "--json"]).code(0).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["tasks"], &json["longest_chain"].as_array().unwrap().len()), (&4.into(), &3));
    assert_eq!(json["bounds"]["attempt"][0]["value"], "1h");
}

#[test]
fn runs_that_can_deadlock_are_told_with_what_to_change() {
    let bench = Bench::with("name: nest\ntasks:\n  outer: {workflow: inner, pools: {render: 1}}\n");
    bench.write("unknot.yaml", "pools: {render: {size: 3}}\n");
    let inner = "name: inner\ntasks:\n  step: {exec: 'true', pools: {render: 1}, acquires: {}, spawns: []}\n";
    bench.write("inner.yaml", inner);
    check(&bench, "check_unsafe", &["check", "flow.yaml"]);
    let json = bench.run(&["check", "flow.yaml", "--json"]).code(1).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["sound"], &json["proof"]["verdict"]), (&true.into(), &"unsafe".into()));
    assert_eq!(json["proof"]["scenario"]["runs"][0]["count"], 3);
    bench.run(&["check", "inner.yaml"]).code(0).says("proved safe");
    bench.write("unknot.yaml", "pools: {render: {size: 3, lend: true}}\n");
    bench.run(&["check", "flow.yaml"]).code(0).says("proved safe");
    fs::remove_file(bench.path("inner.yaml")).unwrap();
    bench.run(&["check", "flow.yaml"]).code(0).says("unknown").says("`inner`, which is not known here");
}

#[test]
fn the_configuration_is_found_above_and_checked() {
    let bench = Bench::with(SMALL);
    bench.write("unknot.yaml", "worker: {slots: 2}\nserver: {data: runs, listne: x}\n");
    check(&bench, "unknown_config_key", &["run", "flow.yaml"]);
    bench.write("unknot.yaml", "worker: {slots: 2}\nserver: {data: runs}\n");
    fs::create_dir(bench.path("below")).unwrap();
    bench.write("below/flow.yaml", SMALL);
    bench.run(&["run", "below/flow.yaml"]).code(0).says("runs (owned by this process)");
    bench.run(&["ls"]).code(0).says("small");
}

#[test]
fn a_store_has_one_owner() {
    let bench =
        Bench::with("name: long\ntasks:\n  a: {exec: 'touch began; while ! test -e go; do sleep 0.01; done'}\n");
    bench.write("small.yaml", SMALL);
    let running = bench.start(&["run", "flow.yaml"]);
    wait_for_file(&bench.path("began"));
    check(&bench, "owned", &["run", "small.yaml"]);
    bench.run(&["run", "small.yaml"]).code(5).says(&format!("process {}", running.pid()));
    bench.run(&["run", "small.yaml", "--data", "elsewhere"]).code(0);
    bench.write("go", "");
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn whoever_owns_what_is_wanted_is_named() {
    let bench =
        Bench::with("name: long\ntasks:\n  a: {exec: 'touch began; while ! test -e go; do sleep 0.01; done'}\n");
    bench.write("small.yaml", SMALL);
    let running = bench.start(&["run", "flow.yaml"]);
    wait_for_file(&bench.path("began"));
    running.signal(Signal::STOP);
    let pid = running.pid();
    let state = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    until("it stands still", Duration::from_secs(10), || state().contains(") T "));
    let told = format!("`unknot run flow.yaml`, which is stopped (Ctrl-Z; `kill -CONT {pid}` lets it go on)");
    bench.run(&["run", "small.yaml"]).code(5).says("error[UK0200]").says(&told);
    running.signal(Signal::CONT);
    bench.write("go", "");
    assert_eq!(running.end().0, Some(0));

    let taken = serve(&bench);
    let address = taken.address.trim_start_matches("http://");
    let ended = bench.run(&["serve", "--data", "other", "--listen", address]).code(5).says("error[UK0309]");
    ended.says("somebody listens there already");
}

/// As another user, whom the owner of a folder does not let in.
#[test]
fn a_data_folder_of_another_user_is_told_as_such() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can start a command as another user");
        return;
    }
    let bench = Bench::with(SMALL);
    bench.run(&["run", "flow.yaml"]).code(0);
    let open = |name: &str| fs::set_permissions(bench.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    open(".");
    let as_other = |arguments: &[&str]| {
        let mut command = bench.command(arguments);
        command.uid(65_534).gid(65_534);
        command
    };
    if as_other(&["--version"]).status().is_err() {
        eprintln!("SKIPPED: another user cannot start the command where it stands");
        return;
    }
    let refused = |arguments: &[&str]| {
        let ended = ended(as_other(arguments)).code(5).says("error[UK0316]").says("belongs to another user (uid 0)");
        ended.says("sudo -u '#0'").says("ermission denied");
    };
    for arguments in [&["ls"][..], &["run", "flow.yaml"], &["cancel", "latest"], &["pause", "queue", "default"]] {
        refused(arguments);
    }
    // A server's folder may be looked into; its socket is its user's all the same.
    let _served = serve(&bench);
    open(".unknot");
    refused(&["queues"]);
}

#[test]
fn a_damaged_store_is_left_as_it_is() {
    let bench = Bench::with(SMALL);
    bench.run(&["run", "flow.yaml"]).code(0);
    for file in ["unknot.db-wal", "unknot.db-shm"] {
        fs::remove_file(bench.path(&format!(".unknot/{file}"))).unwrap_or_default();
    }
    bench.write(".unknot/unknot.db", &"not a database ".repeat(1_000));
    let before = bench.read(".unknot/unknot.db");
    check(&bench, "damaged", &["run", "flow.yaml"]);
    check(&bench, "damaged_ls", &["ls"]);
    assert_eq!(bench.read(".unknot/unknot.db"), before);
}

#[test]
fn a_data_folder_that_cannot_be_made_is_told() {
    let bench = Bench::with(SMALL);
    bench.run(&["run", "flow.yaml", "--data", "/proc/nowhere/data"]).code(5).says("error[UK02").says("--data DIR");
    bench.write("file", "");
    bench.run(&["run", "flow.yaml", "--data", "file"]).code(5).says("error[UK02");
}

/// A disk that is really read-only, in a mount namespace of its own.
#[test]
fn runs_on_a_read_only_disk_can_be_looked_at_and_nothing_else() {
    let bench = Bench::with(SMALL);
    bench.run(&["run", "flow.yaml"]).code(0);
    let script = "mount --bind . . && mount -o remount,ro,bind . && cd . && \
                  { cd \"$PWD\"; \"$0\" ls && \"$0\" show && ! \"$0\" run flow.yaml --new; }";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", script, env!("CARGO_BIN_EXE_unknot")]);
    command.current_dir(bench.path("."));
    let probe = ended({
        let mut probe = Command::new("unshare");
        probe.args(["--mount", "--map-root-user", "true"]);
        probe
    });
    if probe.code != Some(0) {
        eprintln!("SKIPPED: this machine gives no mount namespaces: {}", probe.stderr);
        return;
    }
    ended(command).code(0).says("COMPLETED").says("error[UK02");
}

#[test]
fn what_is_typed_wrongly_is_refused_by_example() {
    let bench = Bench::new();
    bench.run(&[]).code(2).says("unknot run flow.yaml");
    bench.run(&["rum"]).code(2).says("run");
    bench.run(&["help", "run"]).code(0).says("Exit status").says("-i topic=tides");
    bench.run(&["ls"]).code(2).says("error[UK0305]");
    bench.run(&["store", "prune"]).code(2).says("error[UK0305]");
    assert!(!bench.path(".unknot").exists(), "whoever looks makes no store");
    bench.run(&["completions", "bash"]).code(0).says("_unknot");
    bench.run(&["--version"]).code(0).says("unknot ");
}

/// Every row can be read, and together they say what no decision leads to.
#[test]
fn rows_that_break_a_rule_are_damage_and_no_crash() {
    let bench = Bench::with("name: long\ntasks:\n  a: {exec: 'touch began; while true; do sleep 0.1; done'}\n");
    let running = bench.start(&["run", "flow.yaml"]);
    wait_for_file(&bench.path("began"));
    running.signal(Signal::KILL);
    running.end();
    bench.run(&["store", "check"]).code(0).says("sound");

    let mut store = SqliteStore::open(&bench.path(".unknot"), &SqliteOptions::default()).unwrap();
    let namespace = Namespace::default();
    let epoch = store.acquire(&namespace, &Owner("a test".to_owned())).unwrap();
    let mut loaded = store.load(&namespace).unwrap();
    loaded.rows.retain(|(_, row)| matches!(row, Row::Run(_)));
    for (_, row) in &mut loaded.rows {
        let Row::Run(run) = row else { continue };
        run.tasks[0].met = 7;
    }
    let changes = loaded.rows.into_iter().map(|(key, row)| (key, Some(row))).collect();
    let commit = CommitSeq(loaded.commit.0 + 1);
    store.commit(&namespace, epoch, &Batch { commit, meta: loaded.meta, changes, history: Vec::new() }).unwrap();
    drop(store);

    let checked = bench.run(&["store", "check"]).code(1).says("error[UK0204]").says("counts its needs wrongly");
    assert!(!checked.stderr.contains("panicked"), "{}", checked.stderr);
    bench.run(&["run", "flow.yaml"]).code(5).says("error[UK0204]").says("counts its needs wrongly");
}

#[test]
fn a_pipe_that_nobody_writes_into_is_not_waited_for() {
    let bench = Bench::with(SMALL);
    ended({
        let mut mkfifo = Command::new("mkfifo");
        mkfifo.arg(bench.path("pipe.yaml"));
        mkfifo
    })
    .code(0);
    bench.run(&["check", "pipe.yaml"]).code(2).says("error[UK0301]").says("`-` reads standard input");
    bench.run(&["run", "flow.yaml", "-i", "@pipe.yaml"]).code(2).says("it is a pipe or a device");
    let mut piped = bench.command(&["check", "-"]);
    piped.stdin(fs::File::open(bench.path("flow.yaml")).unwrap());
    ended(piped).code(0).says("- is sound");
}
