//! The ladder, and whatever tries to get away from it.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use unknot_api::work::{Outcome, Rung, StopReason};
use unknot_hands::{Order, Phase};

use crate::support::{
    Bench, PATIENCE, alive, exists, has_note, output, shell, signal, sleep_time, stop, until, zombies_of,
};

/// Starts a line in which `TIME` stands for a sleep of its own, waits until so many of these sleeps live, stops it, and
/// expects all of them gone when the end is reported.
async fn stop_all(bench: &Bench, line: &str, count: usize) -> Vec<Rung> {
    let time = sleep_time();
    let task = shell(&line.replace("TIME", &time));
    bench.source.give([task.clone()]);
    until(&format!("`{line}` runs"), PATIENCE, || alive(&time).len() == count).await;
    let began = Instant::now();
    bench.source.order(stop(&task));
    let end = bench.source.end_of(&task.attempt).await;
    assert_eq!(end.outcome, Outcome::Stopped { reason: StopReason::Cancelled }, "{line}: {end:?}");
    assert_eq!(alive(&time), [0; 0], "{line}: all gone when it is said to be");
    assert!(began.elapsed() < Duration::from_secs(6), "{line}: {:?}", began.elapsed());
    end.rungs.into_iter().map(|taken| taken.rung).collect()
}

const ESCAPES: [(&str, usize); 7] = [
    ("sleep TIME & sleep TIME", 2),
    ("setsid sleep TIME & sleep TIME", 2),
    ("(setsid sh -c 'sleep TIME & sleep TIME' &) ; sleep TIME", 3),
    ("(sleep TIME &) ; sleep TIME", 2),
    ("env -i sleep TIME & sleep TIME", 2),
    ("(env -i setsid sh -c '(sleep TIME > /dev/null 2>&1 &)' &) ; sleep TIME", 2),
    ("env -i setsid setsid sh -c 'cd /; (setsid sleep TIME &) > /dev/null 2>&1'; sleep TIME", 2),
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_gets_away() {
    let bench = Bench::new();
    for (line, count) in ESCAPES {
        stop_all(&bench, line, count).await;
    }
    bench.close(Phase::Stopping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_gets_away_without_cgroups_either() {
    let bench = Bench::without_cgroups();
    for (line, count) in ESCAPES {
        stop_all(&bench, line, count).await;
    }
    bench.close(Phase::Stopping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ignores_term_gets_kill() {
    let bench = Bench::new();
    let rungs = stop_all(&bench, "trap '' TERM; sleep TIME & sleep TIME; sleep TIME", 2).await;
    assert_eq!(rungs, [Rung::Term, Rung::Kill]);
    let rungs = stop_all(&bench, "sleep TIME", 1).await;
    assert_eq!(rungs, [Rung::Term]);
    // The group is stopped once the `sleep` is one: stopped before, it would never become it.
    let line = "sleep TIME & until [ \"$(cat /proc/$!/comm)\" = sleep ]; do :; done; kill -STOP 0; wait";
    let rungs = stop_all(&bench, line, 1).await;
    assert_eq!(rungs[0], Rung::Term, "a stopped group hears TERM");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_neighbour_is_left_alone() {
    let bench = Bench::without_cgroups();
    let time = sleep_time();
    let neighbour = shell(&format!("(env -i setsid sh -c '(sleep {time} >/dev/null 2>&1 &)' &); sleep {time}"));
    bench.source.give([neighbour.clone()]);
    until("the neighbour runs", PATIENCE, || alive(&time).len() == 2).await;
    stop_all(&bench, "(env -i setsid sh -c '(sleep TIME >/dev/null 2>&1 &)' &) ; sleep TIME", 2).await;
    assert_eq!(alive(&time).len(), 2, "the neighbour's are untouched, the escaped one as well");
    bench.source.order(stop(&neighbour));
    bench.source.end_of(&neighbour.attempt).await;
    assert_eq!(alive(&time), [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_task_is_the_end_of_all_it_started() {
    for bench in [Bench::new(), Bench::without_cgroups()] {
        let time = sleep_time();
        let line =
            format!("(env -i setsid sh -c '(sleep {time} > /dev/null 2>&1 &)') ; sleep {time} > /dev/null 2>&1 &");
        let task = shell(&line);
        let end = bench.perform(task.clone()).await;
        assert_eq!(output(&end), "null");
        assert!(has_note(&end, |note| matches!(note, unknot_api::work::Note::LeftBehind { .. })), "{end:?}");
        assert_eq!(alive(&time), [0; 0]);
        let guard = bench.guard_pid(&task.attempt);
        until("all are reaped", PATIENCE, || zombies_of(guard).is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_moves_to_another_cgroup_ends_with_its_task() {
    let bench = Bench::new();
    let first = shell("true");
    bench.perform(first.clone()).await;
    let Some(cgroup) = bench.guard_cgroup(&first.attempt) else {
        println!("SKIPPED: no cgroup v2 hierarchy may be written here");
        return;
    };
    let time = sleep_time();
    let line = "sh -c 'echo $$ > PROCS; touch \"$UNKNOT_ARTIFACTS/moved\"; exec sleep TIME' > /dev/null 2>&1 &
        until test -e \"$UNKNOT_ARTIFACTS/moved\"; do sleep 0.01; done";
    let procs = cgroup.parent().unwrap().join("cgroup.procs");
    let end = bench.shell(&line.replace("PROCS", &procs.display().to_string()).replace("TIME", &time)).await;
    assert_eq!(alive(&time), [0; 0]);
    assert!(has_note(&end, |note| matches!(note, unknot_api::work::Note::LeftBehind { .. })), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_may_be_told_first() {
    let bench = Bench::new();
    let time = sleep_time();
    let line = "sleep TIME & until test -e \"$UNKNOT_STOP\"; do sleep 0.01; done; kill $!".replace("TIME", &time);
    let mut task = shell(&line);
    task.ladder.told_ms = Some(20_000);
    bench.source.give([task.clone()]);
    until("it runs", PATIENCE, || alive(&time).len() == 1).await;
    bench.source.order(stop(&task));
    let end = bench.source.end_of(&task.attempt).await;
    assert_eq!(end.rungs.iter().map(|taken| taken.rung).collect::<Vec<_>>(), [Rung::Told]);
    assert!(matches!(end.outcome, Outcome::Stopped { .. }), "{end:?}");
}

/// A call that waits for ever is felt at the end of the runtime, which waits for all that have begun.
#[test]
fn what_stands_where_a_task_is_told_to_stop_holds_nobody_up() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let stranger = runtime.block_on(async {
        let bench = Bench::new();
        let stranger = bench.dir.path().join("stranger");
        std::fs::write(&stranger, "precious").unwrap();
        for trap in ["mkfifo $UNKNOT_STOP", "ln -s ../../stranger $UNKNOT_STOP", "mkdir $UNKNOT_STOP"] {
            let mut task = shell(&format!("{trap}; sleep 1000"));
            task.ladder.told_ms = Some(50);
            task.hard_deadline_ms_from_start = 300;
            let end = bench.perform(task).await;
            assert_eq!(end.outcome, Outcome::Stopped { reason: StopReason::TimedOut }, "{trap}: {end:?}");
            assert_eq!(end.rungs[0].rung, Rung::Told, "{trap}");
        }
        let text = std::fs::read_to_string(stranger).unwrap();
        bench.close(Phase::Stopping).await;
        text
    });
    assert_eq!(stranger, "precious");
    let (ended, ends) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        drop(runtime);
        ended.send(()).unwrap();
    });
    ends.recv_timeout(PATIENCE).expect("no call is left that waits");
}

/// A guard that gets both frames at once sends TERM before its child has a group, or any chance to run.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_comes_with_the_start_is_felt() {
    let bench = Bench::new();
    let first = shell("true");
    bench.perform(first.clone()).await;
    let guard = bench.guard_pid(&first.attempt);
    for _ in 0..10 {
        let task = shell("sleep 1000");
        signal(guard, Signal::STOP);
        bench.source.give([task.clone()]);
        let log = bench.folder(&task.attempt).join("log.txt");
        until("it is about to start", PATIENCE, || exists(&log)).await;
        bench.source.order(stop(&task));
        bench.source.until_ordered().await;
        signal(guard, Signal::CONT);
        let end = bench.source.end_of(&task.attempt).await;
        assert!(matches!(end.outcome, Outcome::Stopped { .. }), "{end:?}");
        assert!(end.rungs.iter().all(|taken| taken.rung == Rung::Term), "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_skips_the_rungs_between() {
    let bench = Bench::new();
    let time = sleep_time();
    let mut task = shell(&format!("trap '' TERM; sleep {time} & wait; sleep {time}"));
    task.ladder.term_ms = 60_000;
    bench.source.give([task.clone()]);
    until("it runs", PATIENCE, || alive(&time).len() == 1).await;
    bench.source.order(stop(&task));
    let (attempt, fence) = (task.attempt.clone(), task.fence);
    bench.source.order(Order::Kill { attempt, fence, reason: StopReason::Cancelled });
    // It comes with the one before, or after it; it takes nothing back.
    bench.source.order(stop(&task));
    let end = bench.source.end_of(&task.attempt).await;
    assert_eq!(end.rungs.last().unwrap().rung, Rung::Kill);
    assert_eq!(alive(&time), [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_about_another_lease_is_left_alone() {
    let bench = Bench::new();
    let gate = bench.dir.path().join("gate");
    let task = shell(&format!("until test -e {}; do sleep 0.01; done", gate.display()));
    bench.source.give([task.clone()]);
    let record = bench.folder(&task.attempt).join("process.json");
    until("it runs", PATIENCE, || exists(&record)).await;
    bench.source.order(Order::Stop { attempt: task.attempt.clone(), fence: 4, reason: StopReason::Cancelled });
    std::fs::write(&gate, "").unwrap();
    assert_eq!(output(&bench.source.end_of(&task.attempt).await), "null");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hand_keeps_its_deadlines_by_itself() {
    let bench = Bench::new();
    let mut task = shell("sleep 1000");
    task.hard_deadline_ms_from_start = 200;
    let end = bench.perform(task).await;
    assert_eq!(end.outcome, Outcome::Stopped { reason: StopReason::TimedOut });
    let mut task = shell("echo one; sleep 1000");
    task.heartbeat_timeout_ms = Some(300);
    let end = bench.perform(task).await;
    assert_eq!(end.outcome, Outcome::Stopped { reason: StopReason::Heartbeat });
    let mut task = shell("for i in 1 2 3 4 5 6 7 8 9 10; do echo $i; sleep 0.1; done");
    task.heartbeat_timeout_ms = Some(900);
    assert_eq!(output(&bench.perform(task).await), "null", "any output is a sign of life");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_walks_the_ladder() {
    let bench = Bench::new();
    let time = sleep_time();
    let task = shell(&format!("trap '' TERM; sleep {time} & sleep {time}; sleep {time}"));
    bench.source.give([task.clone()]);
    until("it runs", PATIENCE, || alive(&time).len() == 2).await;
    let source = bench.source.clone();
    assert!(bench.close(Phase::Stopping).await.unsettled.is_empty());
    let end = source.end_of(&task.attempt).await;
    assert_eq!(end.outcome, Outcome::Stopped { reason: StopReason::Shutdown });
    assert_eq!(alive(&time), [0; 0]);
}
