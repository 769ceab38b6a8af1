//! Real engines that tell real receivers on loopback: some listen, some refuse, some never answer.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests are free of the bans")]

use super::{dispatch::Lines, send::Unsent, *};
use crate::{
    engine::{Engine, Options},
    said::said,
    submit::Submit,
    until::until,
};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Instant,
};
use unknot_core::{
    RunId, Timestamp,
    alert::{Incident, Stuck},
    deadlock::Finding,
    event::{Event, NextTry},
    settings::Settings,
    workflow::{Definition, Stored},
};
use unknot_hands::GuardCommand;
use unknot_store::{MemoryStore, Namespace, Retention};

/// Longer than anything takes that works: a first pause between two tries has up to six seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a receiver does with a request.
#[derive(Clone, Copy)]
enum Act {
    /// Answers so.
    Say(&'static str),
    /// Never answers, and holds the connection until the other side gives up.
    Hang,
}

const OK: Act = Act::Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");

/// A request that came.
#[derive(Clone, Debug)]
struct Came {
    after: Duration,
    head: String,
    body: String,
}

impl Came {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        let found = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.unwrap_or_else(|| panic!("no `{name}` in {}", self.head))
    }
}

/// What came, and a signal for each that comes.
#[derive(Default)]
struct Kept(Mutex<Vec<Came>>, Condvar);

/// A receiver that does one thing after the other, the last one for ever, and keeps what came.
struct Receiver {
    port: u16,
    came: Arc<Kept>,
}

impl Receiver {
    fn new(acts: &'static [Act]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (came, began) = (Arc::new(Kept::default()), Instant::now());
        let kept = Arc::clone(&came);
        thread::spawn(move || {
            for (place, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let (act, kept) = (acts[place.min(acts.len() - 1)], Arc::clone(&kept));
                thread::spawn(move || receive(stream, act, began, &kept));
            }
        });
        Self { port, came }
    }

    fn url(&self) -> Secret {
        Secret::new(format!("http://127.0.0.1:{}/services/hidden-hidden-hidden?key=hidden-hidden-hidden", self.port))
    }

    /// Waits until so many requests have come.
    #[track_caller]
    fn until(&self, many: usize) -> Vec<Came> {
        let Kept(came, comes) = &*self.came;
        let (came, waited) =
            comes.wait_timeout_while(came.lock().unwrap(), PATIENCE, |came| came.len() < many).unwrap();
        assert!(!waited.timed_out(), "{many} requests, and there came {came:?}");
        came.clone()
    }
}

fn receive(mut stream: TcpStream, act: Act, began: Instant, kept: &Kept) {
    let (mut text, mut part) = (String::new(), [0; 4096]);
    let (head, body) = loop {
        let count = stream.read(&mut part).unwrap_or_default();
        if count == 0 {
            return;
        }
        text.push_str(&String::from_utf8_lossy(&part[..count]));
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        if body.len() >= length {
            break (head.to_owned(), body.to_owned());
        }
    };
    kept.0.lock().unwrap().push(Came { after: began.elapsed(), head, body });
    kept.1.notify_all();
    match act {
        Act::Say(answer) => stream.write_all(answer.as_bytes()).unwrap_or_default(),
        Act::Hang => while stream.read(&mut part).is_ok_and(|count| count > 0) {},
    }
}

struct Bench {
    store: MemoryStore,
    data: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { store: MemoryStore::new(), data: tempfile::tempdir().unwrap() }
    }

    /// An engine that performs nothing and tells others of it.
    fn engine(&self, alerts: Alerts) -> Engine {
        let options = Options {
            data: self.data.path().to_path_buf(),
            namespace: Namespace::default(),
            slots: 0,
            settings: Settings::default(),
            guard: GuardCommand { program: "/nonexistent".into(), args: Vec::new() },
            retention: Retention::default(),
            alerts,
            focus: None,
            door: None,
        };
        Engine::start(Box::new(self.store.clone()), options).unwrap()
    }
}

fn target(kind: Kind, url: Secret) -> Target {
    let send_resolved = kind != Kind::Slack;
    Target { kind, url, least: Severity::Info, send_resolved, unset: None }
}

fn alerts<const N: usize>(targets: [(&str, Target); N]) -> Alerts {
    let targets = targets.into_iter().map(|(name, target)| (name.to_owned(), target)).collect();
    Alerts { targets, timeout: Duration::from_millis(400), ..Alerts::default() }
}

fn deadlock(number: u128) -> Incident {
    Incident::stuck(Stuck {
        finding: Finding::Deadlocked,
        verdict: None,
        run: RunId::from_parts(1, number),
        workflow: "flow".to_owned(),
        tasks: 2,
        last_update: Timestamp(0),
        auto_cancel: true,
        explanation: Vec::new(),
    })
}

fn raise(engine: &Engine, incident: &Incident) {
    engine.shared.inbox.control(Event::AlertRaised(Box::new(incident.clone()))).unwrap();
}

/// How far the targets of the only alert are, as the brain has it.
fn deliveries(engine: &Engine) -> Value {
    let found = engine.peek_now(PATIENCE, |driver| {
        driver.state().alerts.values().map(|alert| json!(alert.deliveries)).collect::<Vec<_>>()
    });
    json!(found.unwrap())
}

#[test]
fn each_target_is_told_by_itself_and_those_that_fail_are_told_again() {
    let fine = Receiver::new(&[OK]);
    let flaky = Receiver::new(&[Act::Say("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n"), OK]);
    let busy = Receiver::new(&[
        Act::Say("HTTP/1.1 429 Slower\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n"),
        Act::Say("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"),
    ]);
    let deaf = Receiver::new(&[Act::Hang]);
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let key = || Secret::new("routing-key-that-is-hidden");
    let bench = Bench::new();
    let engine = bench.engine(alerts([
        ("fine", target(Kind::Slack, fine.url())),
        ("flaky", target(Kind::Webhook { secret: Some(Secret::new("signing-key-hidden")) }, flaky.url())),
        ("busy", target(Kind::PagerDuty { routing_key: key() }, busy.url())),
        ("deaf", target(Kind::Webhook { secret: None }, deaf.url())),
        ("nobody", target(Kind::Slack, Secret::new(format!("http://{refusing}/hidden-hidden-hidden")))),
    ]));
    let incident = deadlock(1);
    raise(&engine, &incident);
    raise(&engine, &incident);
    let told = fine.until(1);
    assert!(told[0].json()["text"].as_str().unwrap().starts_with("🔴 Deadlock Alert: Workflow run_"));
    until("each that failed says why", || {
        let told = deliveries(&engine)[0].clone();
        let error = |target: &str| told[target]["due"]["error"].as_str().unwrap_or_default().to_owned();
        error("deaf") == "webhook timeout"
            && error("flaky") == "webhook answered 500 Internal Server Error"
            && error("busy") == "webhook answered 429 Too Many Requests"
            && error("nobody").starts_with(&format!("no connection to http://{refusing} "))
    });
    // The first pause of one that failed is five seconds, a fifth more or less.
    let tries = flaky.until(2);
    assert!(tries[1].after - tries[0].after >= Duration::from_secs(4), "{tries:?}");
    assert_eq!((tries[0].json()["try"].clone(), tries[1].json()["try"].clone()), (json!(1), json!(2)));
    assert_eq!(tries[0].json()["id"], tries[1].json()["id"]);
    for try_ in &tries {
        assert_eq!(try_.header("idempotency-key"), format!("{}-raised", try_.json()["id"].as_str().unwrap()));
        let signature = try_.header("x-unknot-signature");
        let moment = signature.strip_prefix("t=").unwrap().split(',').next().unwrap().parse().unwrap();
        assert_eq!(signature, sign::signature(b"signing-key-hidden", moment, try_.body.as_bytes()));
    }
    let tries = busy.until(2);
    assert!(tries[1].after - tries[0].after >= Duration::from_secs(7), "it asked for seven seconds: {tries:?}");
    let event = tries[1].json();
    assert_eq!((&event["event_action"], &event["routing_key"]), (&json!("trigger"), &json!(key().expose())));
    until("three know", || engine.alert_figures().sent.len() == 3);
    let figures = engine.alert_figures();
    assert_eq!((figures.deadlocks_sent, figures.delivery_count), (3, 3));
    assert!(
        figures.failed["deaf"] >= 1 && figures.failed["nobody"] >= 1 && figures.failed["flaky"] == 1,
        "{figures:?}"
    );
    // It is over: those who know and want to hear of it do.
    engine.shared.inbox.control(Event::AlertResolved { key: incident.key.clone() }).unwrap();
    let event = busy.until(3)[2].json();
    let dedup_key = busy.until(3)[1].json()["dedup_key"].clone();
    assert_eq!(event, json!({"routing_key": key().expose(), "event_action": "resolve", "dedup_key": dedup_key}));
    assert_eq!(flaky.until(3)[2].json()["event"], "resolved");
    assert_eq!(fine.until(1).len(), 1, "people see that by themselves");
    let told = deliveries(&engine).to_string();
    assert!(told.contains("webhook timeout") && !told.contains("hidden"), "{told}");
    engine.stop();
}

/// The seed's line, word for word.
#[test]
fn what_failed_stands_in_the_log() {
    let bench = Bench::new();
    let engine = bench.engine(Alerts::default());
    let lines = Lines::new(Arc::clone(&engine.shared));
    said();
    let failed = |error: &str| Err(Unsent { error: error.to_owned(), next_try: NextTry::AsUsual });
    lines.report(&letter::tests::deadlock(), failed("webhook timeout"));
    lines.report(&letter::tests::backlog(), failed("webhook answered 500 Internal Server Error"));
    lines.report(&letter::tests::deadlock(), Ok("200 OK: ok".to_owned()));
    assert_eq!(
        said(),
        [
            "ERROR Failed to send deadlock alert: webhook timeout",
            "ERROR Failed to send queue_size alert: webhook answered 500 Internal Server Error",
            "INFO an alert is sent",
        ]
    );
    engine.stop();
}

#[test]
fn what_was_being_told_when_the_engine_ended_is_told_by_the_next() {
    let (deaf, fine) = (Receiver::new(&[Act::Hang]), Receiver::new(&[OK]));
    let bench = Bench::new();
    let hook = |url| alerts([("hook", target(Kind::Webhook { secret: None }, url))]);
    let engine = bench.engine(Alerts { timeout: PATIENCE, ..hook(deaf.url()) });
    raise(&engine, &deadlock(2));
    let first = deaf.until(1)[0].json();
    // Settings that come again have the brain ask again: what is under way is not begun twice.
    engine.apply_settings(Settings::default()).unwrap();
    until("they were applied", || engine.health().backlog == 0 && engine.health().durable >= 2);
    assert_eq!(deaf.until(1).len(), 1);
    engine.kill();
    let engine = bench.engine(hook(fine.url()));
    let again = fine.until(1)[0].json();
    assert_eq!((&again["id"], &again["incident"]["key"]), (&first["id"], &first["incident"]["key"]));
    until("it knows", || deliveries(&engine) == json!([{"hook": "told"}]));
    engine.stop();
}

#[test]
fn a_target_that_is_mended_by_a_reload_is_told_at_once() {
    let (refusing, fine) = (
        Receiver::new(&[Act::Say("HTTP/1.1 404 Not Found\r\ncontent-length: 10\r\n\r\nno_service")]),
        Receiver::new(&[OK]),
    );
    let bench = Bench::new();
    let hook = |url| alerts([("hook", target(Kind::Slack, url))]);
    let engine = bench.engine(hook(refusing.url()));
    raise(&engine, &deadlock(3));
    until("it is refused", || {
        deliveries(&engine)[0]["hook"]["due"]["error"] == "webhook answered 404 Not Found: no_service"
    });
    engine.alert(hook(fine.url()));
    engine.apply_settings(Settings::default()).unwrap();
    fine.until(1);
    until("it knows", || deliveries(&engine) == json!([{"hook": "told"}]));
    engine.stop();
}

/// A queue that is too full is an incident, and over by itself when it is not any more.
#[test]
fn a_rule_begins_and_ends_an_incident() {
    let hook = Receiver::new(&[OK]);
    let rule = Rule {
        metric: Metric::QueueSize,
        queue: None,
        threshold: 0.0,
        lasting: Millis(0),
        severity: Severity::Warning,
    };
    let bench = Bench::new();
    let with_rule = Alerts {
        rules: [("backlog".to_owned(), rule)].into(),
        ..alerts([("hook", target(Kind::Webhook { secret: None }, hook.url()))])
    };
    let engine = bench.engine(with_rule);
    let workflow =
        json!({"hash": "flow", "name": "flow", "timeout": 86_400_000, "tasks": [{"name": "a", "kind": "noop"}]});
    let stored: Stored = serde_json::from_value(workflow).unwrap();
    let submit = Submit::of(Arc::new(Definition::new(stored)));
    let run = engine.submit(submit).unwrap().run;
    let raised = hook.until(1)[0].json();
    assert_eq!(raised["incident"]["details"]["rule"], "backlog");
    assert_eq!(raised["incident"]["summary"], "queue default has 1 task, above 0");
    engine.cancel(run, "enough", "ann", false).unwrap();
    let ended = hook.until(2)[1].json();
    assert_eq!((&ended["event"], &ended["id"]), (&json!("resolved"), &raised["id"]));
    until("nothing is left of it", || deliveries(&engine) == json!([]));
    engine.stop();
}
