//! What becomes of what a task prints.

use unknot_api::work::{Note, OUTPUT_BYTES_MAX};

use crate::support::{Bench, alive, failure, has_note, output, shell, sleep_time};

/// The resident memory of this process, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn the_output_is_the_last_object_or_the_file() {
    let bench = Bench::new();
    assert_eq!(output(&bench.shell("echo '{\"a\":1}'; echo '{\"a\":2}'; echo bye").await), "{\"a\":2}");
    assert_eq!(output(&bench.shell("echo '{\"a\":1}' >&2").await), "null", "stderr is no output");
    assert_eq!(output(&bench.shell("printf '{\"a\":1}'").await), "{\"a\":1}");
    assert_eq!(output(&bench.shell("echo '{\"a\":1}'; echo '[1]' > $UNKNOT_OUTPUT").await), "[1]");
    let end = bench.shell("echo '{' > $UNKNOT_OUTPUT").await;
    assert!(failure(&end).0 == "output" && failure(&end).1.contains("UNKNOT_OUTPUT"), "{end:?}");
    let end = bench.shell("mkfifo $UNKNOT_OUTPUT").await;
    assert!(failure(&end).1.contains("not a regular file"), "{end:?}");
    let end = bench.shell("folder=${UNKNOT_OUTPUT%/*}; rm -r $folder && mkfifo $folder").await;
    assert!(failure(&end).1.contains("not a regular file"), "{end:?}");
    assert_eq!(failure(&bench.shell("echo '{\"a\":1}'; exit 3").await), ("exit", "exited with status 3"));
    assert_eq!(failure(&bench.shell("kill -SEGV $$").await).0, "signal");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_too_long_fails_with_the_way_out() {
    let bench = Bench::new();
    let filler = 65 * 1024;
    let end = bench.shell(&format!("printf '{{\"a\":\"'; head -c {filler} /dev/zero | tr '\\0' x; echo '\"}}'")).await;
    assert!(filler > OUTPUT_BYTES_MAX);
    assert!(failure(&end).0 == "output" && failure(&end).1.contains("UNKNOT_OUTPUT"), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_utf8_is_logged_as_it_is() {
    let bench = Bench::new();
    let task = shell(r#"printf '\377\376\n{"a":"\377"}\n'"#);
    assert_eq!(output(&bench.perform(task.clone()).await), "null");
    assert_eq!(bench.log(&task.attempt), b"\xff\xfe\n{\"a\":\"\xff\"}\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_grows_neither_memory_nor_disk() {
    let bench = Bench::new();
    bench.shell("true").await;
    let before = resident();
    let task = shell("echo first; head -c 200000000 /dev/zero | tr '\\0' 'x'; echo; echo '{\"done\":true}'");
    let end = bench.perform(task.clone()).await;
    assert_eq!(output(&end), "{\"done\":true}");
    let grown = resident().saturating_sub(before);
    println!("memory grew by {} KiB while 200 MB were printed", grown / 1024);
    assert!(grown < 48 << 20, "{grown} bytes");
    assert!(has_note(&end, |note| matches!(note, Note::LogCut { omitted_bytes } if *omitted_bytes > 150_000_000)));
    let log = bench.log(&task.attempt);
    assert!(log.len() < (16 << 20) + 200, "{} bytes", log.len());
    assert!(log.starts_with(b"first\nxxx") && log.ends_with(b"x\n{\"done\":true}\n"));
}

/// 1 GB here, to stay within seconds on a debug build; the bound on memory is the same for any length.
#[tokio::test(flavor = "multi_thread")]
async fn heavy_a_flood_of_a_gigabyte_in_one_line_grows_nothing() {
    let bench = Bench::new();
    bench.shell("true").await;
    let before = resident();
    let (growing, mut most) = (shell("head -c 1000000000 /dev/zero"), before);
    bench.source.give([growing.clone()]);
    let end = tokio::select! {
        end = bench.source.end_of(&growing.attempt) => end,
        () = async {
            loop {
                most = most.max(resident());
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        } => unreachable!("it never ends"),
    };
    assert_eq!(output(&end), "null");
    let grown = most.saturating_sub(before);
    println!("memory grew by {} KiB at most while 1 GB was printed", grown / 1024);
    assert!(grown < 48 << 20, "{grown} bytes");
    assert!(has_note(&end, |note| matches!(note, Note::LogCut { omitted_bytes } if *omitted_bytes > 980_000_000)));
    assert!(bench.log(&growing.attempt).len() < (16 << 20) + 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_holds_the_output_does_not_hold_the_attempt() {
    for bench in [Bench::new(), Bench::without_cgroups()] {
        let time = sleep_time();
        let began = std::time::Instant::now();
        let end = bench.shell(&format!("setsid sleep {time} & echo '{{\"a\":1}}'")).await;
        assert_eq!(output(&end), "{\"a\":1}");
        let took = began.elapsed();
        assert!(took < std::time::Duration::from_secs(8), "{took:?}");
        let names = |note: &Note| matches!(note, Note::PipeHeld { holder } if holder.command.contains(&time));
        assert!(has_note(&end, names), "{end:?}");
        assert!(has_note(&end, |note| matches!(note, Note::LeftBehind { count: 1, .. })), "{end:?}");
        assert!(alive(&time).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finishes_right_after_the_exit_is_heard() {
    let bench = Bench::new();
    let task = shell("(sleep 0.2; echo '{\"late\":1}') & true");
    assert_eq!(output(&bench.perform(task).await), "{\"late\":1}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_prints_for_ever_after_the_exit_is_cut_off() {
    let bench = Bench::new();
    let time = sleep_time();
    let end = bench.shell(&format!("(while :; do echo y; sleep 0.01; done; sleep {time}) & true")).await;
    assert!(has_note(&end, |note| matches!(note, Note::OutputCutOff)), "{end:?}");
}
