//! Alerts over HTTP: which are open and how far each target is, and whether they arrive.

use crate::support::{PATIENCE, Served, Setup, until};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::Duration,
};
use unknot_engine::{
    alerts::{Alerts, Kind, Rule, Secret, Target},
    core::{
        Millis,
        alert::{Metric, Severity},
    },
};
use unknot_server::Scope;

/// A receiver that says the same to everybody; its port.
fn receiver(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // All of it is in one packet.
            if stream.read(&mut [0; 65_536]).is_ok() {
                stream.write_all(answer.as_bytes()).unwrap_or_default();
            }
        }
    });
    port
}

fn alerts() -> Alerts {
    let target = |answer| {
        let url = Secret::new(format!("http://127.0.0.1:{}/hidden-hidden-hidden", receiver(answer)));
        Target { kind: Kind::Slack, url, least: Severity::Info, send_resolved: false, unset: None }
    };
    let fine = target("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let gone = target("HTTP/1.1 410 Gone\r\ncontent-length: 19\r\n\r\nchannel_is_archived");
    let rule = Rule {
        metric: Metric::QueueSize,
        queue: None,
        threshold: 0.0,
        lasting: Millis(0),
        severity: Severity::Warning,
    };
    Alerts {
        targets: [("fine".to_owned(), fine), ("gone".to_owned(), gone)].into(),
        rules: [("backlog".to_owned(), rule)].into(),
        timeout: Duration::from_secs(5),
        ..Alerts::default()
    }
}

#[test]
fn what_is_open_is_listed_and_counted() {
    let served = Served::with(Setup { alerts: alerts(), ..Setup::default() });
    assert_eq!(served.get("/alerts"), json!([]));
    let run = served.submit(json!({"name": "flow", "tasks": {"a": {"exec": "true"}}}));
    let target = |name: &str| {
        let found = served.get("/alerts")[0]["targets"].clone();
        found.as_array().into_iter().flatten().find(|target| target["target"] == name).cloned().unwrap_or_default()
    };
    until("one knows and one is tried again", || {
        target("fine") == json!({"target": "fine", "state": "TOLD"}) && target("gone")["state"] == "RETRYING"
    });
    let told = &served.get("/alerts")[0];
    assert_eq!((&told["incident"], &told["kind"]), (&json!("rule:backlog:default"), &json!("queue_size")));
    assert_eq!((&told["severity"], &told["resolved_at"]), (&json!("warning"), &Value::Null));
    assert_eq!(target("gone")["error"], "webhook answered 410 Gone: channel_is_archived");
    assert!(target("gone")["next_at"].is_string());
    let page = || served.ask("GET", "/metrics").send().is(200).text();
    until("the next look sees it", || page().contains("unknot_incidents_open 1\n"));
    let metrics = page();
    for line in [
        "alerts_sent_total{target=\"fine\"} 1",
        "alerts_failed_total{target=\"gone\"} 1",
        "alerts_given_up_total 0",
        "alert_delivery_seconds_bucket{le=\"+Inf\"} 1",
        "alert_delivery_seconds_count 1",
    ] {
        assert!(metrics.contains(&format!("{line}\n")), "{line}: {metrics}");
    }
    assert_eq!(served.get("/stats")["deadlock_monitor"]["alerts_sent"], 0, "it told of no deadlock");
    served.ask("PUT", &format!("/runs/{run}/cancel")).json(&json!({})).send().is(200);
    until("it is over, and nobody is left to be told", || {
        let left = served.get("/alerts");
        left == json!([]) || left[0]["resolved_at"].is_string()
    });
}

#[test]
fn a_test_tells_what_each_target_answers() {
    let served = Served::with(Setup { alerts: alerts(), ..Setup::default() });
    let tested = served.ask("POST", "/alerts/test").send().is(200).json();
    let told =
        |place: usize| (tested[place]["target"].clone(), tested[place]["ok"].clone(), tested[place]["answer"].clone());
    assert_eq!(told(0), (json!("fine"), json!(true), json!("200 OK: ok")));
    assert_eq!(told(1), (json!("gone"), json!(false), json!("webhook answered 410 Gone: channel_is_archived")));
    assert!(tested[0]["took_ms"].as_u64().is_some_and(|ms| ms < PATIENCE.as_millis() as u64));
    let one = served.ask("POST", "/alerts/test").json(&json!({"target": "gone"})).send().is(200).json();
    assert_eq!(one.as_array().map(Vec::len), Some(1));
    let unknown = served.ask("POST", "/alerts/test").json(&json!({"target": "fin"})).send().is(404).json();
    assert_eq!(unknown["detail"], "there is no target of alerts `fin`; did you mean `fine`?");
    assert_eq!(served.get("/alerts"), json!([]), "a test is no incident");
    let without = Served::open();
    let none = without.ask("POST", "/alerts/test").send().is(404).json();
    assert_eq!(none["detail"], "no target of alerts is configured");
}

#[test]
fn who_may_only_look_sends_nothing() {
    let served = Served::with(Setup { insecure: false, alerts: alerts(), ..Setup::default() });
    let token = served.token(Scope::Read);
    served.ask("GET", "/alerts").token(&token).send().is(200);
    served.ask("POST", "/alerts/test").token(&token).send().is(403);
}
