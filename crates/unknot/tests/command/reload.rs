//! What a running server obeys of a configuration that changes, and what its log says.

use super::support::{Bench, Running, ended, until, wait_for_file};
use rustix::process::Signal;
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A server in a folder, with a log in `log`.
struct Served<'b> {
    bench: &'b Bench,
    running: Running,
    address: String,
}

impl<'b> Served<'b> {
    fn start(bench: &'b Bench, more: &str) -> Self {
        write(bench, more);
        let mut running = bench.start(&["serve", "--insecure-loopback"]);
        let line = running.line("listen  http://");
        let address = line.split("http://").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        Self { bench, running, address }
    }

    /// Has it read a new configuration, and waits until its log says what is expected.
    #[track_caller]
    fn reload(&self, more: &str, expected: &str) {
        let before = self.bench.read("log").len();
        write(self.bench, more);
        self.running.signal(Signal::HUP);
        self.says_after(before, expected);
    }

    #[track_caller]
    fn says_after(&self, before: usize, expected: &str) {
        until(&format!("`{expected}` in the log"), PATIENCE, || {
            self.bench.read("log").get(before..).is_some_and(|new| new.contains(expected))
        });
    }

    /// The status of the answer to a request, asked under a name.
    fn ask(&self, host: &str, request: &str, body: &str) -> u16 {
        self.answer(host, request, body).split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn answer(&self, host: &str, request: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let head = format!(
            "{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

fn write(bench: &Bench, more: &str) {
    bench.write("unknot.yaml", &format!("logging: {{file: log, level: debug}}\n{more}"));
}

const LISTEN: &str = "server: {listen: '127.0.0.1:0'}\n";

#[test]
fn what_can_change_does_and_an_unsound_file_changes_nothing() {
    let bench = Bench::new();
    let served = Served::start(&bench, &format!("{LISTEN}pools: {{gpu: {{size: 1}}}}\n"));
    let workflow = |name: &str| {
        let exec = format!(
            "touch {}; while ! test -e {}; do sleep 0.01; done",
            bench.path(name).display(),
            bench.path("go").display()
        );
        let definition = serde_json::json!({"name": name, "tasks": {"a": {"exec": exec, "pools": {"gpu": 1}}}});
        serde_json::json!({"workflow": definition}).to_string()
    };
    assert_eq!(served.ask("localhost", "POST /runs", &workflow("one")), 201);
    assert_eq!(served.ask("localhost", "POST /runs", &workflow("two")), 201);
    wait_for_file(&bench.path("one"));
    assert!(!bench.path("two").exists(), "the pool has one unit");
    assert_eq!(served.ask("unknot.example", "GET /health", ""), 421);

    served.reload(&format!("{LISTEN}pools: {{gpu: {{sise: 2}}}}\n"), "unknown key `sise`");
    assert_eq!(served.ask("localhost", "GET /health", ""), 200);
    assert!(bench.read("log").contains("ERROR the configuration is not sound: nothing changes"));

    let hosts = "server: {listen: '127.0.0.1:0', hosts: [unknot.example]}\n";
    served.reload(&format!("{hosts}pools: {{gpu: {{size: 2}}}}\n"), "changed key=pools.gpu.size before=1 after=2");
    wait_for_file(&bench.path("two"));
    assert_eq!(served.ask("unknot.example", "GET /health", ""), 200);

    served.reload(
        &format!("{hosts}pools: {{gpu: {{size: 2}}}}\nworker: {{slots: 3}}\n"),
        "takes effect at the next start key=worker.slots before=8 after=3",
    );
    served.reload(&format!("{hosts}worker: {{slots: 3}}\n"), "keeps its size");
    let before = bench.read("log").len();
    std::fs::rename(bench.path("unknot.yaml"), bench.path("away.yaml")).unwrap();
    served.running.signal(Signal::HUP);
    served.says_after(before, "the configuration is not there any more: nothing changes");
    std::fs::rename(bench.path("away.yaml"), bench.path("unknot.yaml")).unwrap();
    bench.write("go", "");
    served.says_after(0, "a run is COMPLETED");
    served.reload(&format!("{hosts}retention: {{keep: 1ms}}\n"), "ended runs are removed");
    served.running.signal(Signal::TERM);
    let (code, _) = served.running.end();
    assert_eq!(code, Some(0));
}

#[test]
fn the_log_says_what_matters_and_gives_its_file_up_at_a_reload() {
    let bench = Bench::new();
    let served = Served::start(&bench, LISTEN);
    served.says_after(0, "listening address=127.0.0.1:");
    assert_eq!(served.ask("foreign.example", "GET /runs", ""), 421);
    served.says_after(0, "a request is refused client=127.0.0.1 method=GET path=/runs status=421");
    std::fs::rename(bench.path("log"), bench.path("moved")).unwrap();
    served.running.signal(Signal::HUP);
    until("the log is opened anew", PATIENCE, || bench.read("log").contains("the configuration is read anew"));
    let terse = "worker: {slots: 3}\nlogging: {file: log, format: json, level: warn}\n";
    bench.write("unknot.yaml", &format!("{LISTEN}{terse}"));
    served.running.signal(Signal::HUP);
    served.says_after(0, r#""message":"takes effect at the next start","key":"worker.slots""#);
    served.running.signal(Signal::TERM);
    assert_eq!(served.running.end().0, Some(0));
    assert!(bench.read("moved").contains(" INFO  ready\n"));
    assert!(!bench.read("log").contains("no more requests"), "that is below `warn`");
}

/// Whoever opens a FIFO that nobody reads hangs: here the thread that writes the log does.
#[test]
fn a_log_that_cannot_be_written_holds_up_nothing() {
    let bench = Bench::new();
    ended({
        let mut command = std::process::Command::new("mkfifo");
        command.arg(bench.path("log"));
        command
    })
    .code(0);
    let served = Served::start(&bench, LISTEN);
    for _ in 0..10 {
        assert_eq!(served.ask("localhost", "GET /health", ""), 200);
    }
    served.running.signal(Signal::TERM);
    assert_eq!(served.running.end().0, Some(0));
}

#[test]
fn a_queue_that_is_gone_from_the_file_has_the_defaults_again() {
    let bench = Bench::new();
    let retries = |served: &Served<'_>| {
        let answer = served.answer("localhost", "GET /queues", "");
        let slow = answer.split("\"slow\"").nth(1)?;
        Some(slow.split("\"max_retries\":").nth(1)?.split([',', '}']).next()?.to_owned())
    };
    let has = |served: &Served<'_>, wanted: &str| {
        until(&format!("{wanted} retries"), PATIENCE, || retries(served).as_deref() == Some(wanted));
    };
    let special = format!("{LISTEN}queues: {{slow: {{max_retries: 9}}}}\n");
    let served = Served::start(&bench, &special);
    has(&served, "9");
    served.reload(LISTEN, "a queue that is gone from the file has the defaults again");
    has(&served, "3");
    served.reload(&special, "changed key=queues.slow.max_retries");
    has(&served, "9");
    served.running.signal(Signal::TERM);
    assert_eq!(served.running.end().0, Some(0));
    let served = Served::start(&bench, LISTEN);
    has(&served, "3");
}
