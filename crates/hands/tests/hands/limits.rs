//! Limits, as this machine can enforce them.

use unknot_api::work::{Note, Rung};

use crate::support::{Bench, change, failure, has_note, output, shell};

/// Tells the test that it is the one in a process of its own.
const CHILD: &str = "HANDS_TEST_OPEN_FILES";

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_sampled() {
    let bench = Bench::without_cgroups();
    // `tail` keeps a line without an end in memory.
    let task = change(shell("tail /dev/zero"), |work| work.limits.memory_bytes = Some(40 << 20));
    let end = bench.perform(task).await;
    assert_eq!(failure(&end).0, "limit");
    assert!(failure(&end).1.starts_with("limit memory, sampled"), "{end:?}");
    assert_eq!(end.rungs[0].rung, Rung::Term);
    let task = change(shell("sleep 0.6"), |work| work.limits.memory_bytes = Some(40 << 20));
    assert_eq!(output(&bench.perform(task).await), "null");
}

#[tokio::test(flavor = "multi_thread")]
async fn processor_time_and_processes_are_sampled() {
    let bench = Bench::new();
    let task = change(shell("while :; do :; done"), |work| work.limits.cpu_time_ms = Some(300));
    let end = bench.perform(task).await;
    assert!(failure(&end).1.contains("limit cpu_time"), "{end:?}");
    let line = "for i in 1 2 3 4 5 6; do sleep 1000 & done; wait";
    let task = change(shell(line), |work| work.limits.processes = Some(4));
    let end = bench.perform(task).await;
    assert!(failure(&end).1.contains("limit processes") || failure(&end).0 == "exit", "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_limited_by_the_kernel() {
    let bench = Bench::new();
    let task = change(shell("ulimit -n"), |work| work.limits.open_files = Some(17));
    let end = bench.perform(task.clone()).await;
    assert_eq!(output(&end), "null");
    assert_eq!(bench.log(&task.attempt), b"17\n");
    let task = change(shell("exec head -c 100000 /dev/zero > $UNKNOT_ARTIFACTS/big"), |work| {
        work.limits.file_size_bytes = Some(10_000);
    });
    let end = bench.perform(task).await;
    assert!(failure(&end).0 == "limit" && failure(&end).1.contains("file_size"), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_cannot_be_had_is_a_note() {
    let bench = Bench::without_cgroups();
    let end = bench.perform(change(shell("true"), |work| work.limits.cpu_share = Some(0.5))).await;
    assert_eq!(output(&end), "null");
    assert!(has_note(&end, |note| matches!(note, Note::LimitNotEnforced { limit, .. } if limit == "cpu")), "{end:?}");
}

/// A worker takes as many descriptors as it may; a task starts with the limit that there was before.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_has_the_limit_of_open_files_that_its_worker_was_started_with() {
    let Some(before) = std::env::var_os(CHILD) else {
        let soft = "300";
        let mut again = std::process::Command::new("sh");
        again.args(["-c", &format!("ulimit -S -n {soft}; exec \"$0\" --exact $1 --nocapture")]);
        again.arg(std::env::current_exe().unwrap());
        again.arg("limits::a_task_has_the_limit_of_open_files_that_its_worker_was_started_with").env(CHILD, soft);
        let ended = again.output().unwrap();
        let printed = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && printed.contains("1 passed"), "{printed}");
        return;
    };
    let bench = Bench::new();
    let task = shell("ulimit -S -n; ulimit -H -n");
    bench.perform(task.clone()).await;
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    assert_eq!(hard.current, hard.maximum, "the worker itself has all there is");
    let hard = hard.maximum.map_or("unlimited".to_owned(), |hard| hard.to_string());
    let printed = String::from_utf8(bench.log(&task.attempt)).unwrap();
    assert_eq!(printed, format!("{}\n{hard}\n", before.display()));
    let record = bench.guard_pid(&task.attempt);
    let limits = std::fs::read_to_string(format!("/proc/{record}/limits")).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap().split_whitespace().nth(3);
    assert_eq!(files, Some(&*hard), "and so has its guard");
}

/// Twenty burners, one after the other, that lose their parent at once; whoever waits for them burns nothing.
const ORPHANS: &str = r#"mkfifo "$UNKNOT_ARTIFACTS/done"; i=0; while test $i -lt 20; do i=$((i+1));
    (setsid sh -c 'j=0; while test $j -lt 40000; do j=$((j+1)); done; echo > "$UNKNOT_ARTIFACTS/done"' &) > /dev/null 2>&1
    read x < "$UNKNOT_ARTIFACTS/done"; done"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_orphans_used_counts() {
    for bench in [Bench::new(), Bench::without_cgroups()] {
        let one = bench.shell("j=0; while test $j -lt 40000; do j=$((j+1)); done").await.usage.unwrap();
        let one_ms = one.user_ms + one.system_ms;
        let all = bench.shell(ORPHANS).await.usage.unwrap();
        let all_ms = all.user_ms + all.system_ms;
        assert!(all_ms > 10 * one_ms, "twenty burners used {all_ms} ms, one {one_ms} ms");
        let limit_ms = 6 * one_ms;
        let task = change(shell(ORPHANS), |work| work.limits.cpu_time_ms = Some(limit_ms));
        let end = bench.perform(task).await;
        assert!(failure(&end).1.contains("limit cpu_time, sampled"), "{end:?}");
    }
}
