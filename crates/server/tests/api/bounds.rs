//! How much, how deep, how often.

use crate::support::{Opened, Reply, Served, Setup, sleeps, stands};
use serde_json::json;
use std::{io::Write, net::TcpStream};
use unknot_server::{Changeable, Rate};

#[test]
fn a_body_that_is_too_large_is_refused_with_its_bound() {
    let served = Served::open();
    let run = served.submit(sleeps("one", "1h"));
    let long = json!({"reason": "x".repeat(1_100_000)});
    let problem = served.ask("PUT", &format!("/runs/{run}/cancel")).json(&long).send().problem(413);
    assert!(problem["detail"].as_str().unwrap().contains("1048576"), "{problem}");
    // What announces itself as too large is refused before it is sent.
    let head = format!(
        "POST /runs HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: 99999999999\r\n\r\n",
        served.address
    );
    let mut stream = TcpStream::connect(served.address).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    Reply::read(stream, "POST /runs".to_owned()).problem(413);
}

#[test]
fn a_reason_has_a_bound() {
    let served = Served::open();
    let run = served.submit(sleeps("one", "1h"));
    let cancel = format!("/runs/{run}/cancel");
    served.ask("PUT", &cancel).json(&json!({"reason": "ü".repeat(1_001)})).send().problem(400);
    served.ask("PUT", &cancel).json(&json!({"reason": "ü".repeat(1_000)})).send().is(200);
}

#[test]
fn headers_have_bounds() {
    let served = Served::open();
    let mut many = served.ask("GET", "/health");
    for place in 0..200 {
        many = many.header(&format!("X-{place}"), "1");
    }
    assert_eq!(many.send().status, 431);
    assert_eq!(served.ask("GET", "/health").header("X-Long", &"x".repeat(300_000)).send().status, 431);
    served.ask("GET", &format!("/runs?workflow={}", "x".repeat(30_000))).send().is(200);
    served.ask("GET", "/health").send().is(200);
}

#[test]
fn deep_documents_are_refused_before_they_are_understood() {
    let served = Served::open();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in
        [deep.clone(), format!("{{\"workflow\":{deep}}}"), format!("{{\"workflow\":\"x\",\"input\":{{\"a\":{deep}}}}}")]
    {
        served.ask("POST", "/runs").header("Content-Type", "application/json").body(body).send().problem(400);
    }
    let run = served.submit(sleeps("one", "1h"));
    for path in [format!("/runs/{run}/cancel"), format!("/runs/{run}/cancel?x=1")] {
        for body in ["[]", "[\"reason\", true]", "null", "1"] {
            let told = served.ask("PUT", &path).header("Content-Type", "application/json").body(body);
            told.send().problem(400);
        }
    }
    let listed = json!({"action": "cancel", "filter": ["RUNNING"]});
    served.ask("POST", "/runs/bulk").json(&listed).send().problem(400);
    assert_eq!(served.get(&format!("/runs/{run}/cancel"))["is_cancelled"], false);
    for body in ["", "{", "null", "[]", "\"x\"", "{\"workflow\":1}", "{\"workflow\":\"x\",\"wrong\":1}", "\u{0}"] {
        let told = served.ask("POST", "/runs").header("Content-Type", "application/json").body(body);
        told.send().problem(400);
    }
}

#[test]
fn whoever_asks_too_often_is_told_when_to_ask_again() {
    let rate = Rate { per_second: 1, burst: 5 };
    let base = Setup::default();
    let changeable = Changeable { rate, ..base.changeable.clone() };
    let served = Served::with(Setup { changeable, ..base });
    let statuses: Vec<u16> = (0..7).map(|_| served.ask("GET", "/health").send().status).collect();
    assert_eq!(statuses[..5], [200; 5]);
    let told = served.ask("GET", "/health").send();
    assert_eq!(told.header("retry-after"), Some("1"));
    told.problem(429);
    // Another rate holds from the next request on.
    served.server().change(Setup::default().changeable);
    served.ask("GET", "/health").send().is(200);
}

#[test]
fn a_queue_that_is_full_takes_nothing_more() {
    let mut setup = Setup::default();
    setup.settings.bounds.live_tasks_max = 15;
    let served = Served::with(setup);
    served.submit(stands("ten", 10));
    let told = served.ask("POST", "/runs").json(&json!({"workflow": stands("ten", 10)})).send();
    assert!(told.header("retry-after").is_some());
    told.problem(429);
    served.submit(stands("five", 5));
}

#[test]
fn a_connection_serves_one_request_after_another() {
    let served = Served::open();
    let mut stream = served.ask("GET", "/health").begin();
    for _ in 0..3 {
        let mut opened = Opened::read(stream);
        assert_eq!(opened.status, 200);
        let length = opened.headers.iter().find(|(name, _)| name == "content-length").unwrap().1.parse().unwrap();
        let mut body = vec![0; length];
        std::io::Read::read_exact(&mut opened.rest, &mut body).unwrap();
        stream = opened.rest.into_inner();
        stream.write_all(format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", served.address).as_bytes()).unwrap();
    }
}
