//! What an attempt is started with, and what happens if it cannot be.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use unknot_api::work::{Assignment, LaunchFault, Outcome, ReportBody};
use unknot_hands::{Order, Phase};

use crate::support::{Bench, argv, assignment, change, launch_failure, output, shell, stop, unique};

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_runs_logs_and_reports() {
    let bench = Bench::new();
    let task = shell("echo hello; echo oops >&2; echo '{\"n\": 1}'");
    let end = bench.perform(task.clone()).await;
    assert_eq!(output(&end), "{\"n\": 1}");
    let log = String::from_utf8(bench.log(&task.attempt)).unwrap();
    assert!(log.contains("hello\n") && log.contains("oops\n"), "{log}");
    let reports = bench.source.reports(&task.attempt);
    assert!(matches!(reports[0].body, ReportBody::Started { pid: Some(_), .. }), "{reports:?}");
    assert_eq!(reports[0].fence, 5);
    assert!(end.usage.unwrap().max_rss_bytes > 0);
    assert!(end.notes.is_empty() && end.rungs.is_empty(), "{end:?}");
    assert!(bench.close(Phase::Stopping).await.unsettled.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn its_surroundings_are_its_own() {
    let bench = Bench::new();
    let script = r#"
        test -c /dev/stdin && test "$(readlink /proc/self/fd/0)" = /dev/null || exit 11
        set -- $(cat /proc/$$/stat); test "$5" = $$ && test "$6" = $$ || exit 12
        (ls /proc/$$/fd > "$UNKNOT_ARTIFACTS/open"); test "$(echo $(cat "$UNKNOT_ARTIFACTS/open"))" = "0 1 2" || exit 13
        for name in SigBlk SigIgn; do grep -q "^$name:.*0000000000000000$" /proc/self/status || exit 14; done
        test -d "$UNKNOT_ARTIFACTS" && test ! -e "$UNKNOT_OUTPUT" || exit 15
        test "$UNKNOT_RUN/$UNKNOT_TASK/$UNKNOT_IDEMPOTENCY_KEY" = run_1/task/key || exit 16
        test "$MINE" = work && test "$OVER" = assignment || exit 17
        test -z "$UNKNOT_GUARD_NO_CGROUP" || exit 18
        printf '"%s"' "$UNKNOT_ATTEMPT" > "$UNKNOT_OUTPUT""#;
    let mut task = change(shell(script), |work| {
        work.env.insert("MINE".into(), "work".into());
        work.env.insert("OVER".into(), "work".into());
        work.env.insert("UNKNOT_RUN".into(), "forged".into());
    });
    task.env.insert("OVER".into(), "assignment".into());
    let end = bench.perform(task.clone()).await;
    assert_eq!(output(&end), format!("\"{}\"", task.attempt));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_that_fails_says_why() {
    let bench = Bench::new();
    let script = bench.dir.path().join("script");
    fs::write(&script, "#!/nonexistent/interpreter\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o644)).unwrap();
    let path = script.display().to_string();

    let end = bench.perform(argv(&["no-such-program-here"])).await;
    assert!(launch_failure(&end).contains("`no-such-program-here`: No such file"), "{end:?}");
    assert!(launch_failure(&end).contains("PATH"), "{end:?}");
    let end = bench.perform(argv(&[&path])).await;
    assert!(launch_failure(&end).contains("Permission denied"), "{end:?}");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let end = bench.perform(argv(&[&path])).await;
    assert!(launch_failure(&end).contains("interpreter"), "{end:?}");
    let busy = bench.dir.path().join("busy");
    fs::copy("/bin/true", &busy).unwrap();
    let writer = fs::File::options().append(true).open(&busy).unwrap();
    let end = bench.perform(argv(&[&busy.display().to_string()])).await;
    assert!(matches!(end.outcome, Outcome::LaunchFailed { fault: LaunchFault::Passing, .. }), "{end:?}");
    drop(writer);
    let end = bench.perform(change(shell("true"), |work| work.cwd = Some("/no/such/folder".into()))).await;
    assert!(launch_failure(&end).contains("working folder `/no/such/folder`"), "{end:?}");
    let end = bench.perform(argv(&[])).await;
    assert!(launch_failure(&end).contains("empty"), "{end:?}");
    let end = bench.perform(argv(&["echo", "a\0b"])).await;
    assert!(launch_failure(&end).contains("nul"), "{end:?}");

    let mut task = shell("true");
    fs::write(bench.dir.path().join("file"), "").unwrap();
    task.folder = "file/below".into();
    let end = bench.perform(task).await;
    assert!(launch_failure(&end).contains("cannot make the folder"), "{end:?}");

    assert_eq!(output(&bench.shell("true").await), "null", "the guard goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_cannot_be_started_is_a_launch_failure() {
    let bench = Bench::with(|config| config.guard.program = "/nonexistent/guard".into());
    let end = bench.shell("true").await;
    assert!(launch_failure(&end).contains("/nonexistent/guard"), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_started_can_be_given_back_or_stopped() {
    let bench = Bench::with(|config| config.slots = 1);
    let gate = bench.dir.path().join(unique());
    let running = shell(&format!("until test -e {}; do sleep 0.01; done", gate.display()));
    let (released, stopped) = (shell("true"), shell("true"));
    bench.source.give([running.clone(), released.clone(), stopped.clone()]);
    bench.source.order(Order::Release { attempt: released.attempt.clone() });
    bench.source.order(stop(&stopped));
    let end = bench.source.end_of(&stopped.attempt).await;
    assert!(matches!(end.outcome, Outcome::Stopped { .. }), "{end:?}");
    assert!(!bench.folder(&stopped.attempt).exists(), "it was never started");
    fs::write(&gate, "").unwrap();
    assert_eq!(output(&bench.source.end_of(&running.attempt).await), "null");
    let end = bench.source.end_of(&released.attempt).await;
    // The release may have come before the claim; then it said nothing about a lease that was not there yet.
    assert!(matches!(end.outcome, Outcome::Released | Outcome::Succeeded { .. }), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_overtakes_its_attempt_is_kept() {
    let bench = Bench::new();
    let task = shell("sleep 1000");
    bench.source.order(stop(&task));
    // The order stream is read in order, so an answer to a later order would prove the first one read; there is none,
    // and a stop of a running attempt ends the same way.
    let end = bench.perform(task).await;
    assert!(matches!(end.outcome, Outcome::Stopped { .. }), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_sent_until_they_are_settled() {
    let bench = Bench::new();
    bench.source.fail_reports(3);
    let task = assignment(unknot_api::work::Work::Noop);
    assert_eq!(output(&bench.perform(task.clone()).await), "null");
    assert_eq!(bench.source.reports(&task.attempt).len(), 1, "a no-op has no `Started`");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_settled_in_the_end_is_given_back() {
    let bench = Bench::with(|config| config.farewell = std::time::Duration::from_millis(50));
    bench.source.fail_reports(u32::MAX);
    let task = shell("true");
    bench.source.give([task.clone()]);
    let folder = bench.folder(&task.attempt);
    crate::support::until("the attempt runs", crate::support::PATIENCE, || folder.join("process.json").exists()).await;
    let summary = bench.close(Phase::Draining).await;
    assert!(matches!(summary.unsettled.last().unwrap().body, ReportBody::Ended(_)), "{summary:?}");
}

/// An attempt in a lent slot runs beside the one that lends it, however few slots there are.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_in_a_lent_slot_is_started_beside_the_workers_own() {
    let bench = Bench::with(|config| config.slots = 1);
    let flag = bench.dir.path().join("go").display().to_string();
    let parent = shell(&format!("while [ ! -e {flag} ]; do sleep 0.01; done"));
    let waiting = shell("true");
    let child = Assignment { in_lent_slot: true, ..shell(&format!("touch {flag}")) };
    bench.source.give([parent.clone(), waiting.clone(), child.clone()]);
    for task in [&child, &parent, &waiting] {
        assert!(
            matches!(bench.source.end_of(&task.attempt).await.outcome, Outcome::Succeeded { .. }),
            "{}",
            task.attempt
        );
    }
}
