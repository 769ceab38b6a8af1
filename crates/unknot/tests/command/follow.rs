//! Followers of a server that ends.

use super::{
    server::{serve, waiting},
    support::{Bench, marker, until, wait_for_file, wait_until_gone},
};
use rustix::process::Signal;
use std::{fs::File, process::Child, time::Duration};

/// Starts a command whose output and notes go to files.
fn following(bench: &Bench, name: &str, arguments: &[&str]) -> Child {
    let file = |kind: &str| File::create(bench.path(&format!("{name}.{kind}"))).unwrap();
    bench.command(arguments).stdout(file("out")).stderr(file("err")).spawn().unwrap()
}

#[test]
fn who_follows_is_told_that_the_server_has_ended_and_for_how_long_it_is_tried_again() {
    let marker = marker();
    let bench = Bench::with(&waiting(&marker));
    let served = serve(&bench);
    let socket = format!("unix:{}", bench.path(".unknot/api.sock").display());
    let mut waits = following(&bench, "submit", &["submit", "flow.yaml", "--wait"]);
    wait_for_file(&bench.path("began"));
    let mut events = following(&bench, "events", &["events", "latest", "-f"]);
    let mut logs = following(&bench, "logs", &["logs", "latest", "a", "-f", "--server", &socket]);
    let seen = |file: &str, text: &str| {
        until(&format!("`{text}` in {file}"), Duration::from_secs(40), || bench.read(file).contains(text));
    };
    seen("submit.out", "started");
    seen("events.out", "TASK_STARTED");
    seen("logs.out", "begins");

    let mut ending = served.running;
    ending.signal(Signal::INT);
    ending.line("nothing new starts");
    ending.signal(Signal::INT);
    assert_eq!(ending.end().0, Some(130));
    let ended = "the server has ended; tried again for 2m, in case it is started anew";
    seen("submit.out", ended);
    seen("events.err", ended);
    seen("logs.err", ended);
    wait_until_gone(&format!("0.01{marker}"));

    bench.write("go", "");
    let _served = serve(&bench);
    for (name, child) in [("submit", &mut waits), ("events", &mut events), ("logs", &mut logs)] {
        until("it has ended", Duration::from_secs(40), || child.try_wait().unwrap().is_some());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{name}: {}", bench.read(&format!("{name}.err")));
    }
    assert_eq!(bench.read("events.err").matches("note:").count(), 2, "once that it ended, once that it is there again");
    assert!(bench.read("events.err").contains("the server is there again; nothing was missed"));
}
