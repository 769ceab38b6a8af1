//! Alerts by the real command: tested, listed, and told although the server is killed in the middle.

use super::{
    server::{Served, serve},
    support::{Bench, until},
};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A receiver on loopback that keeps what came. One that is deaf takes it and does not answer.
struct Receiver {
    port: u16,
    is_deaf: Arc<AtomicBool>,
    came: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Receiver {
    fn new(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let receiver = Self { port, is_deaf: Arc::default(), came: Arc::default() };
        let (is_deaf, came) = (Arc::clone(&receiver.is_deaf), Arc::clone(&receiver.came));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (is_deaf, came) = (is_deaf.load(Ordering::Relaxed), Arc::clone(&came));
                thread::spawn(move || receive(stream, answer, is_deaf, &came));
            }
        });
        receiver
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/services/hidden-hidden-hidden", self.port)
    }

    /// Waits until so many messages have come.
    #[track_caller]
    fn until(&self, many: usize) -> Vec<(String, Value)> {
        until(&format!("{many} messages"), PATIENCE, || self.came.lock().unwrap().len() >= many);
        self.came.lock().unwrap().clone()
    }
}

fn receive(mut stream: TcpStream, answer: &str, is_deaf: bool, came: &Mutex<Vec<(String, Value)>>) {
    let (mut text, mut part) = (String::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut part).unwrap_or_default();
        if count == 0 {
            return;
        }
        text.push_str(&String::from_utf8_lossy(&part[..count]));
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length: usize =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        if body.len() >= length {
            came.lock().unwrap().push((head.to_owned(), serde_json::from_str(body).unwrap()));
            break;
        }
    }
    match is_deaf {
        true => while stream.read(&mut part).is_ok_and(|count| count > 0) {},
        false => stream.write_all(answer.as_bytes()).unwrap_or_default(),
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const GONE: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 10\r\n\r\nno_service";
const FLOW: &str = "name: flow\ntasks:\n  a: {exec: 'true'}\n";

/// A folder whose server performs nothing, tells `hook` and watches its queues, with its log in a file.
fn bench(url: &str) -> Bench {
    let bench = Bench::with(FLOW);
    bench.write(
        "unknot.yaml",
        &format!(
            "worker: {{slots: 0}}\nlogging: {{file: log}}\nalerts:\n  timeout: 20s\n  targets:\n    \
             hook: {{url: '{url}', secret: signing-key-hidden}}\n  rules:\n    \
             backlog: {{metric: queue_size, threshold: 0, for: 0s, severity: error}}\n"
        ),
    );
    bench
}

fn kill(served: Served) {
    served.running.signal(Signal::KILL);
    assert_eq!(served.running.end().0, None, "it is killed");
}

#[test]
fn an_alert_arrives_although_the_server_is_killed_while_it_tells() {
    let hook = Receiver::new(OK);
    let bench = bench(&hook.url());
    hook.is_deaf.store(true, Ordering::Relaxed);
    let served = serve(&bench);
    bench.run(&["submit", "flow.yaml"]).code(0);
    let (_, first) = hook.until(1)[0].clone();
    kill(served);
    // Nobody serves: the outbox is in the store.
    let listed = bench.run(&["alerts", "--json"]).code(0).stdout;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((&listed["id"], &listed["incident"]), (&first["id"], &json!("rule:backlog:default")));
    assert_eq!(listed["targets"], json!([{"target": "hook", "state": "SENDING", "tries": 1}]));
    hook.is_deaf.store(false, Ordering::Relaxed);
    let served = serve(&bench);
    let (head, again) = hook.until(2)[1].clone();
    assert_eq!((&again["id"], &again["incident"]["severity"]), (&first["id"], &json!("error")));
    assert!(head.contains("\r\nx-unknot-signature: t="), "{head}");
    let told = || bench.run(&["alerts"]).code(0).stdout;
    until("it is listed as told", PATIENCE, || told().contains("hook knows"));
    assert!(told().contains("queue default has 1 task, above 0"), "{}", told());
    // The queue is empty: it is over.
    bench.run(&["cancel", "latest"]).code(0);
    let (_, ended) = hook.until(3)[2].clone();
    assert_eq!((&ended["event"], &ended["id"]), (&json!("resolved"), &first["id"]));
    until("nothing is open", PATIENCE, || told().contains("no alerts: nothing is wrong"));
    served.running.signal(Signal::TERM);
    assert_eq!(served.running.end().0, Some(0));
    let log = bench.read("log");
    assert!(log.contains("INFO  an alert is sent to=hook incident=rule:backlog:default"), "{log}");
    assert!(!log.contains("hidden"), "{log}");
}

#[test]
fn targets_are_tested_with_and_without_a_server() {
    let (fine, gone) = (Receiver::new(OK), Receiver::new(GONE));
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bench = Bench::with(FLOW);
    bench.write(
        "unknot.yaml",
        &format!(
            "alerts:\n  targets:\n    fine: {{kind: slack, url: '{}'}}\n    gone: {{url: '{}'}}\n    \
             oncall: {{kind: pagerduty, url: '{}', routing_key: routing-key-hidden}}\n    \
             nobody: {{url: 'http://{refusing}/hidden-hidden-hidden'}}\n",
            fine.url(),
            gone.url(),
            fine.url(),
        ),
    );
    let test = |with: &str| {
        let before = fine.came.lock().unwrap().len();
        let ended = bench.run(&["alerts", "test"]).code(1).says("webhook answered 404 Not Found: no_service");
        assert!(ended.stdout.contains("200 OK: ok") && ended.stdout.contains("no connection to http://127.0.0.1"));
        assert!(!ended.stdout.contains("hidden"), "{with}: {}", ended.stdout);
        let came = fine.until(before + 3);
        let actions: Vec<&Value> = came[before..].iter().map(|(_, body)| &body["event_action"]).collect();
        assert!(actions.contains(&&json!("trigger")) && actions.contains(&&json!("resolve")), "{with}: {came:?}");
        let lines = bench.run(&["alerts", "test", "fine", "--json"]).code(0).stdout;
        let line: Value = serde_json::from_str(&lines).unwrap();
        assert_eq!(
            (&line["ok"], &line["kind"], &line["answer"]),
            (&json!(true), &json!("slack"), &json!("200 OK: ok"))
        );
        bench
            .run(&["alerts", "test", "oncal"])
            .code(2)
            .says("there is no target of alerts `oncal`; did you mean `oncall`?");
    };
    test("without a server");
    let served = serve(&bench);
    test("with a server");
    drop(served);
    bench.write("unknot.yaml", "{}");
    bench.run(&["alerts", "test"]).code(2).says("no target of alerts is configured");
    bench.run(&["alerts"]).code(0).says("no alerts");
}

#[test]
fn a_server_insists_on_the_variables_of_its_targets_and_takes_others_at_a_reload() {
    let (first, second) = (Receiver::new(OK), Receiver::new(OK));
    let bench = Bench::with(FLOW);
    let config = |more: &str| {
        let rules = "rules: {backlog: {metric: queue_size, threshold: 0, for: 0s}}";
        format!("worker: {{slots: 0}}\nlogging: {{file: log}}\nalerts: {{{rules}, targets: {{{more}}}}}\n")
    };
    bench.write("unknot.yaml", &config("ops: {kind: slack, url_env: UNKNOT_TEST_OPS_URL}"));
    let refused = bench.run(&["serve", "--listen", "127.0.0.1:0"]).code(2);
    refused
        .says("error[UK0335]")
        .says("the variable `UNKNOT_TEST_OPS_URL` is not set, and `alerts.targets.ops.url_env`");
    bench.run(&["config", "check"]).code(0).says("warning: the variable `UNKNOT_TEST_OPS_URL` is not set");
    bench.run(&["alerts", "test"]).code(1).says("`UNKNOT_TEST_OPS_URL` is not set in this");
    let mut command = bench.command(&["alerts", "test", "ops"]);
    command.env("UNKNOT_TEST_OPS_URL", first.url());
    super::support::ended(command).code(0).says("200 OK: ok");

    bench.write("unknot.yaml", &config(&format!("ops: {{kind: slack, url: '{}'}}", first.url())));
    let served = serve(&bench);
    bench.run(&["submit", "flow.yaml"]).code(0);
    first.until(2);
    bench.write("unknot.yaml", &config("ops: {kind: slack, url_env: UNKNOT_TEST_OPS_URL}"));
    served.running.signal(Signal::HUP);
    until("an unsound file changes nothing", PATIENCE, || {
        bench.read("log").contains("ERROR the configuration is not sound: nothing changes")
    });
    bench.write("unknot.yaml", &config(&format!("other: {{kind: webhook, url: '{}'}}", second.url())));
    served.running.signal(Signal::HUP);
    until("it is read anew", PATIENCE, || bench.read("log").contains("the configuration is read anew"));
    bench.run(&["alerts", "test", "other"]).code(0);
    assert_eq!(second.until(1)[0].1["incident"]["kind"], "test");
    let log = bench.read("log");
    assert!(log.contains("changed key=alerts.targets.other.url") && !log.contains("hidden"), "{log}");
}
