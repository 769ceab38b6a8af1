//! Dead workers, dead guards, dead disks.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use unknot_api::work::{LaunchFault, Note, Outcome};
use unknot_hands::{Fate, Phase, confirm_dead};

use crate::support::{
    Bench, PATIENCE, alive, argv, exec, exists, failure, has_note, kill, launch_failure, output, shell, signal,
    sleep_time, until,
};

const CHILD: &str = "HANDS_TEST_CHILD";
const ESCAPE: &str =
    "(env -i setsid sh -c '(sleep TIME > /dev/null 2>&1 &)' &) ; trap '' TERM; sleep TIME & sleep TIME";

/// Not a test of its own: the worker that another test kills. It runs the line in the variable, for ever.
#[tokio::test(flavor = "multi_thread")]
async fn child_worker() {
    let Ok(line) = std::env::var(CHILD) else { return };
    let bench =
        if std::env::var_os("HANDS_TEST_NO_CGROUPS").is_some() { Bench::without_cgroups() } else { Bench::new() };
    bench.shell(&line).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_leaves_nothing() {
    for no_cgroups in [false, true] {
        let time = sleep_time();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "faults::child_worker"]).env(CHILD, ESCAPE.replace("TIME", &time));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        if no_cgroups {
            command.env("HANDS_TEST_NO_CGROUPS", "1");
        }
        let mut worker = command.spawn().unwrap();
        until("the worker's task runs", PATIENCE, || alive(&time).len() == 3).await;
        worker.kill().unwrap();
        worker.wait().unwrap();
        until("everything is gone", Duration::from_secs(5), || alive(&time).is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_guard_loses_its_attempts_and_no_more() {
    for bench in [Bench::new(), Bench::without_cgroups()] {
        let time = sleep_time();
        let task = shell(&ESCAPE.replace("TIME", &time));
        bench.source.give([task.clone()]);
        until("it runs", PATIENCE, || alive(&time).len() == 3).await;
        kill(bench.guard_pid(&task.attempt));
        let end = bench.source.end_of(&task.attempt).await;
        assert!(matches!(end.outcome, Outcome::Lost { confirmed_dead: true, .. }), "{end:?}");
        assert_eq!(alive(&time), [0; 0], "confirmed dead is dead");
        assert_eq!(output(&bench.shell("true").await), "null", "the next guard works");
        bench.close(Phase::Stopping).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_cannot_be_handed_over_harms_nobody_else() {
    let bench = Bench::new();
    let time = sleep_time();
    let neighbour = argv(&["sleep", &time]);
    bench.source.give([neighbour.clone()]);
    until("the neighbour runs", PATIENCE, || alive(&time).len() == 1).await;
    let before = alive(&time);

    let many = vec!["x".repeat(60 << 10); 150];
    let end = bench.perform(exec(unknot_api::work::Command::Argv(many))).await;
    assert!(matches!(&end.outcome, Outcome::LaunchFailed { fault: LaunchFault::Lasting, .. }), "{end:?}");
    assert!(launch_failure(&end).contains("longer than"), "{end:?}");
    let end = bench.perform(argv(&["echo", &"x".repeat(200 << 10)])).await;
    assert!(launch_failure(&end).contains("128 KiB"), "{end:?}");

    assert_eq!(alive(&time), before, "the neighbour was neither ended nor started again");
    bench.close(Phase::Killing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_that_is_no_text_is_a_launch_failure() {
    let place = tempfile::tempdir().unwrap();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
    let bench = Bench::with(|config| config.data_dir = place.path().join(name));
    let end = bench.shell("true").await;
    assert!(matches!(&end.outcome, Outcome::LaunchFailed { fault: LaunchFault::Lasting, .. }), "{end:?}");
    assert!(launch_failure(&end).contains("UTF-8"), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_is_killed_while_idle_leaves_no_cgroup() {
    let bench = Bench::new();
    let (first, second) = (shell("true"), shell("true"));
    bench.perform(first.clone()).await;
    let Some(cgroup) = bench.guard_cgroup(&first.attempt) else {
        println!("SKIPPED: no cgroup v2 hierarchy may be written here");
        return;
    };
    kill(bench.guard_pid(&first.attempt));
    until("its cgroup is removed", PATIENCE, || !exists(&cgroup)).await;
    bench.perform(second.clone()).await;
    let next = bench.guard_cgroup(&second.attempt);
    assert!(next.is_some() && next != Some(cgroup), "{next:?}");
    bench.close(Phase::Stopping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn survivors_are_found_at_the_next_start() {
    let bench = Bench::without_cgroups();
    let time = sleep_time();
    let task = shell(&ESCAPE.replace("TIME", &time));
    bench.source.give([task.clone()]);
    until("it runs", PATIENCE, || alive(&time).len() == 3).await;
    let folders = [PathBuf::from("attempts").join(&task.attempt), "attempts/att_never".into()];
    let dir = bench.dir.path().to_owned();
    let confirm = move || confirm_dead(&dir, &folders, Duration::from_secs(5));
    let fates = tokio::task::spawn_blocking(confirm).await.unwrap();
    assert!(fates.iter().all(|(_, fate)| *fate == Fate::ConfirmedDead), "{fates:?}");
    assert_eq!(alive(&time), [0; 0]);
    bench.source.end_of(&task.attempt).await;
}

/// A full disk and a power cut leave such records behind; held against the attempt, they closed its locks for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_makes_no_sense_is_none() {
    let bench = Bench::without_cgroups();
    for trap in ["true", ": >", "echo '{' >", "rm {} && mkfifo", "rm {} && ln -s /dev/zero", "rm {} && mkdir"] {
        let time = sleep_time();
        let line = format!(
            "record=${{UNKNOT_OUTPUT%/*}}/process.json; {trap} $record; (setsid sleep {time} &) ; sleep {time}"
        );
        let task = shell(&line.replace("{}", "$record"));
        bench.source.give([task.clone()]);
        until(&format!("`{trap}` runs"), PATIENCE, || alive(&time).len() == 2).await;
        let folders = [PathBuf::from("attempts").join(&task.attempt)];
        let dir = bench.dir.path().to_owned();
        let confirm = move || confirm_dead(&dir, &folders, Duration::from_secs(5));
        let fates = tokio::task::spawn_blocking(confirm).await.unwrap();
        assert_eq!(fates[0].1, Fate::ConfirmedDead, "{trap}");
        assert_eq!(alive(&time), [0; 0], "{trap}: dead is dead");
        bench.source.end_of(&task.attempt).await;
    }
}

#[test]
fn a_record_that_the_disk_does_not_give_proves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let name = "x".repeat(300);
    let fates = confirm_dead(dir.path(), &[name.into()], Duration::from_secs(1));
    assert!(matches!(&fates[0].1, Fate::Unknown { message } if message.contains("process.json")), "{fates:?}");
}

/// Whoever has the number of a process now is not the one that had it in another boot, or before.
#[test]
fn a_number_of_another_time_kills_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", stranger.id())).unwrap();
    let start_ticks: u64 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
    let this_boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned();
    let mut folders = Vec::new();
    for (at, (boot_id, start_ticks)) in [("another", start_ticks), (&*this_boot, start_ticks - 1)].iter().enumerate() {
        let folder = PathBuf::from(format!("att_{at}"));
        fs::create_dir(dir.path().join(&folder)).unwrap();
        let record = serde_json::json!({
            "pid": stranger.id(), "start_ticks": start_ticks, "boot_id": boot_id,
            "attempt": format!("att_{at}"), "mark": (1_u64 << 62) + at as u64, "guard_pid": 1,
        });
        fs::write(dir.path().join(&folder).join("process.json"), record.to_string()).unwrap();
        folders.push(folder);
    }
    let fates = confirm_dead(dir.path(), &folders, Duration::from_secs(5));
    assert!(fates.iter().all(|(_, fate)| *fate == Fate::ConfirmedDead), "{fates:?}");
    assert!(stranger.try_wait().unwrap().is_none(), "it lives");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

/// Runs this test binary's own test again inside a mount namespace, with a small tmpfs at the path in the variable.
fn in_namespace(test: &str, place: &Path, options: &str) -> bool {
    let script = format!(
        "mount --make-rprivate / && mount -t tmpfs -o {options} none {place} || exit 77; exec {exe} --exact {test} --nocapture",
        place = place.display(),
        exe = std::env::current_exe().unwrap().display(),
    );
    let answer = Command::new("unshare").args(["-m", "sh", "-c", &script]).env(CHILD, place).output();
    match answer {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let is_refused = output.status.code() == Some(77) || text.starts_with("unshare:");
            assert!(is_refused, "{}{text}", String::from_utf8_lossy(&output.stdout));
            false
        }
        Err(_) => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_the_log_and_nothing_else() {
    let Ok(place) = std::env::var(CHILD) else {
        let place = tempfile::tempdir().unwrap();
        let is_run = in_namespace("faults::a_full_disk_costs_the_log_and_nothing_else", place.path(), "size=64k");
        if !is_run {
            println!("SKIPPED: mount namespaces are refused here, so no full disk can be had");
        }
        return;
    };
    let bench = Bench::with(|config| config.data_dir = place.clone().into());
    let task = shell("head -c 3000000 /dev/zero; echo; echo '{\"a\":1}'");
    let end = bench.perform(task.clone()).await;
    assert_eq!(output(&end), "{\"a\":1}");
    assert!(has_note(&end, |note| matches!(note, Note::LogFailed { message } if message.contains("space"))), "{end:?}");
    let record = Path::new(&place).join("attempts").join(&task.attempt).join("process.json");
    assert!(exists(&record));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shortage_is_told_as_such_and_slows_the_worker_down() {
    let Ok(place) = std::env::var(CHILD) else {
        let place = tempfile::tempdir().unwrap();
        let test = "faults::a_shortage_is_told_as_such_and_slows_the_worker_down";
        if !in_namespace(test, place.path(), "size=64k,nr_inodes=2") {
            println!("SKIPPED: mount namespaces are refused here, so no full disk can be had");
        }
        return;
    };
    let bench = Bench::with(|config| {
        config.data_dir = place.clone().into();
        config.slots = 1;
    });
    let tasks = [shell("true"), shell("true"), shell("true"), shell("true")];
    let began = std::time::Instant::now();
    bench.source.give(tasks.clone());
    for task in &tasks {
        let end = bench.source.end_of(&task.attempt).await;
        assert!(launch_failure(&end).contains("No space left"), "{end:?}");
        assert!(matches!(end.outcome, Outcome::LaunchFailed { fault: LaunchFault::Shortage, .. }), "{end:?}");
    }
    assert!(began.elapsed() > Duration::from_millis(1_250), "each waits longer than the one before");
    // Whoever waits hears a stop all the same.
    let task = shell("true");
    bench.source.give([task.clone()]);
    bench.close(Phase::Stopping).await;
}

/// A guard with next to no descriptors refuses what it has no room for, and loses nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_guard_without_descriptors_loses_nobody() {
    let bench = Bench::with(|config| {
        let guard = config.guard.program.display().to_string();
        config.guard.program = "/bin/sh".into();
        config.guard.args = ["-c", &format!("ulimit -n 40; exec {guard}")].map(Into::into).into();
        config.slots = 64;
    });
    let time = sleep_time();
    let neighbour = argv(&["sleep", &time]);
    bench.source.give([neighbour.clone()]);
    until("the neighbour runs", PATIENCE, || alive(&time).len() == 1).await;
    let before = alive(&time);
    let guard = bench.guard_pid(&neighbour.attempt);
    signal(guard, Signal::STOP);
    let tasks: Vec<_> = (0..40).map(|_| shell("exit 3")).collect();
    bench.source.give(tasks.clone());
    for task in &tasks {
        let log = bench.folder(&task.attempt).join("log.txt");
        until("it is about to start", PATIENCE, || exists(&log)).await;
    }
    signal(guard, Signal::CONT);
    let mut refused = 0;
    for task in &tasks {
        let end = bench.source.end_of(&task.attempt).await;
        match end.outcome {
            Outcome::LaunchFailed { fault: LaunchFault::Shortage, .. } => refused += 1,
            _ => assert_eq!(failure(&end).0, "exit", "{end:?}"),
        }
    }
    assert!(refused > 0, "it was short indeed");
    assert_eq!(failure(&bench.shell("exit 4").await).1, "exited with status 4", "the guard goes on");
    assert_eq!(alive(&time), before, "the neighbour is the same");
    bench.close(Phase::Killing).await;
    assert_eq!(alive(&time), [0; 0]);
}
