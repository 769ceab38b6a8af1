//! Requests against a server that does what a script says, at every phase at which a request can hang.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use unknot_api::work::{
    Assignment, End, HttpBody, HttpOutput, HttpTimeouts, HttpWork, JsonText, NextTry, Outcome, StatusRange, StopReason,
    Work,
};
use unknot_hands::Phase;

mod post;

use super::support::{Bench, PATIENCE, assignment, failure, output, stop, until};

/// What the server does on a connection, in order; after the last it closes.
#[derive(Clone, Copy)]
enum Act {
    /// Takes a whole request.
    Hear,
    /// Says these bytes.
    Say(&'static str),
    /// Says so many bytes.
    Flood(usize),
    /// Says this again and again until nobody listens.
    Drip(&'static str),
    /// Does nothing until the other side closes.
    Hang,
    /// Ends the connection with a reset.
    Reset,
}
use Act::{Drip, Flood, Hang, Hear, Reset, Say};

/// A server on loopback with a script for each connection; the last serves all later ones.
struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    /// How many connections there have been, and how many of them are over.
    counts: watch::Receiver<(usize, usize)>,
}

impl Server {
    async fn new(scripts: &'static [&'static [Act]]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (counting, counts) = watch::channel((0, 0));
        let heard = requests.clone();
        tokio::spawn(async move {
            let counting = Arc::new(counting);
            for place in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                counting.send_modify(|counts| counts.0 += 1);
                let (heard, counting) = (heard.clone(), counting.clone());
                tokio::spawn(async move {
                    // A connection that breaks in the middle of its script is what some tests want.
                    serve(stream, scripts[place.min(scripts.len() - 1)], port, &heard).await.unwrap_or_default();
                    counting.send_modify(|counts| counts.1 += 1);
                });
            }
        });
        Self { port, requests, counts }
    }

    fn request(&self, method: &str) -> HttpWork {
        request(method, format!("http://127.0.0.1:{}/path?key=hidden", self.port))
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits until so many connections are over; with [`Act::Hang`] only the other side can end one.
    async fn until_over(&mut self, count: usize) {
        let over = self.counts.wait_for(|counts| counts.1 >= count);
        tokio::time::timeout(PATIENCE, over).await.expect("the connections end").unwrap();
    }

    async fn until_connected(&mut self, count: usize) {
        let there = self.counts.wait_for(|counts| counts.0 >= count);
        tokio::time::timeout(PATIENCE, there).await.expect("somebody connects").unwrap();
    }
}

async fn serve(mut stream: TcpStream, script: &[Act], port: u16, heard: &Mutex<Vec<String>>) -> std::io::Result<()> {
    for act in script {
        match act {
            Hear => {
                let request = hear(&mut stream).await?;
                heard.lock().unwrap().push(request);
            }
            Say(text) => stream.write_all(text.replace("PORT", &port.to_string()).as_bytes()).await?,
            Flood(count) => stream.write_all(&vec![b'x'; *count]).await?,
            Drip(text) => loop {
                stream.write_all(text.as_bytes()).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            },
            Hang => while stream.read(&mut [0; 4096]).await? > 0 {},
            Reset => set_socket_linger(&stream, Some(Duration::ZERO))?,
        }
    }
    Ok(())
}

async fn hear(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut text = String::new();
    loop {
        let mut part = [0; 4096];
        let count = stream.read(&mut part).await?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        text.push_str(&String::from_utf8_lossy(&part[..count]));
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return Ok(text);
        }
    }
}

/// A request whose clocks are far beyond what any test waits for.
fn request(method: &str, url: String) -> HttpWork {
    HttpWork {
        method: method.into(),
        url,
        headers: [].into(),
        body: None,
        timeouts: HttpTimeouts { connect_ms: 60_000, headers_ms: 60_000, first_byte_ms: 60_000, gap_ms: 60_000 },
        body_bytes_max: 1 << 20,
        redirects_max: 5,
        expect: Vec::new(),
        output: HttpOutput::Body,
    }
}

fn http(work: HttpWork) -> Assignment {
    assignment(Work::Http(Box::new(work)))
}

fn next_try(end: &End) -> NextTry {
    let Outcome::Failed { next_try, .. } = &end.outcome else { panic!("failure expected: {end:?}") };
    *next_try
}

/// One attempt, with its log.
async fn attempt(bench: &Bench, work: HttpWork) -> (End, String) {
    let assignment = http(work);
    let name = assignment.attempt.clone();
    let end = bench.perform(assignment).await;
    (end, String::from_utf8(bench.log(&name)).unwrap())
}

const SHORT_MS: u64 = 150;

#[tokio::test]
async fn an_object_is_the_output_and_the_log_shows_the_hop() {
    let bench = Bench::new();
    let server = Server::new(&[&[Hear, Say("HTTP/1.1 201 Created\r\ncontent-length: 11\r\n\r\n{\"id\":1.50}")]]).await;
    let body = Some(HttpBody::Json(JsonText::parse(r#"{"run":"run_1"}"#).unwrap()));
    let headers = [("Authorization".to_owned(), "Bearer hidden".to_owned())].into();
    let (end, log) = attempt(&bench, HttpWork { body, headers, ..server.request("POST") }).await;
    assert_eq!(output(&end), r#"{"id":1.50}"#);
    let request = &server.requests()[0];
    assert!(request.starts_with("POST /path?key=hidden HTTP/1.1\r\n"), "{request}");
    for line in ["idempotency-key: key", "content-type: application/json", "authorization: Bearer hidden"] {
        assert!(request.contains(&format!("{line}\r\n")), "{line}: {request}");
    }
    assert!(request.contains(&format!("host: 127.0.0.1:{}\r\n", server.port)), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"run\":\"run_1\"}"), "{request}");
    assert!(log.starts_with(&format!("POST http://127.0.0.1:{}/path?…: name ", server.port)), "{log}");
    assert!(log.ends_with(" ms, 201 Created, 11 bytes\n"), "{log}");
    assert!(!log.contains("hidden"), "{log}");
    bench.close(Phase::Stopping).await;
}

#[tokio::test]
async fn what_is_no_object_is_described() {
    let bench = Bench::new();
    let server = Server::new(&[
        &[Hear, Say("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nset-cookie: hidden\r\n\r\n[1,\"a\"]")],
        &[Hear, Say("HTTP/1.1 200 OK\r\netag: \"e\"\r\n\r\nplain")],
        &[Hear, Say("HTTP/1.1 204 No Content\r\n\r\n")],
        &[Hear, Say("HTTP/1.1 200 OK\r\n\r\n{\"a\":1}")],
    ])
    .await;
    for (form, expected) in [
        (HttpOutput::Body, r#"{"status":200,"headers":{"content-type":"application/json"},"bytes":7,"body":[1,"a"]}"#),
        (HttpOutput::Body, r#"{"status":200,"headers":{"etag":"\"e\""},"bytes":5,"body":"plain"}"#),
        (HttpOutput::Body, r#"{"status":204,"headers":{},"bytes":0,"body":null}"#),
        (HttpOutput::Response, r#"{"status":200,"headers":{},"bytes":7,"body":{"a":1}}"#),
    ] {
        let (end, _) = attempt(&bench, HttpWork { output: form, ..server.request("GET") }).await;
        assert_eq!(output(&end), expected);
    }
    assert!(!server.requests()[0].contains("idempotency-key"), "reading needs none");
    bench.close(Phase::Stopping).await;
}

#[tokio::test]
async fn a_long_body_is_an_artifact_and_one_that_is_too_long_fails() {
    let bench = Bench::new();
    let server = Server::new(&[
        &[Hear, Say("HTTP/1.1 200 OK\r\n\r\n"), Flood(700_000)],
        &[Hear, Say("HTTP/1.1 200 OK\r\n\r\n"), Flood(8 << 20)],
        &[Hear, Say("HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n"), Hang],
    ])
    .await;
    let assignment = http(server.request("GET"));
    let name = assignment.attempt.clone();
    let end = bench.perform(assignment).await;
    assert_eq!(output(&end), r#"{"status":200,"headers":{},"bytes":700000,"file":"artifacts/body"}"#);
    let file = std::fs::read(bench.folder(&name).join("artifacts/body")).unwrap();
    assert!(file.len() == 700_000 && file.iter().all(|byte| *byte == b'x'));
    for _ in 0..2 {
        let (end, _) = attempt(&bench, server.request("GET")).await;
        let (code, message) = failure(&end);
        assert!(code == "output" && message.contains("more than 1048576 bytes"), "{message}");
        assert_eq!(next_try(&end), NextTry::Useless);
    }
    bench.close(Phase::Stopping).await;
}

/// A server that hangs at one phase: which clock ends it, and what is said.
struct Stall {
    script: &'static [&'static [Act]],
    clocks: fn(&mut HttpTimeouts),
    code: &'static str,
    says: &'static str,
}

const STALLS: [Stall; 7] = [
    Stall {
        script: &[&[Hang]],
        clocks: |clocks| clocks.headers_ms = SHORT_MS,
        code: "answer",
        says: "sent no headers within 150 ms",
    },
    Stall {
        script: &[&[Hear, Say("HTTP/1.1 200 OK\r\nx-half"), Hang]],
        clocks: |clocks| clocks.headers_ms = SHORT_MS,
        code: "answer",
        says: "sent no headers within 150 ms",
    },
    Stall {
        script: &[&[Hear, Drip("HTTP/1.1 103 Early Hints\r\n\r\n")]],
        clocks: |clocks| clocks.headers_ms = SHORT_MS,
        code: "answer",
        says: "sent no headers within 150 ms",
    },
    Stall {
        script: &[&[Hear, Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"), Hang]],
        clocks: |clocks| clocks.first_byte_ms = SHORT_MS,
        code: "answer",
        says: "sent headers and then nothing for 150 ms",
    },
    Stall {
        script: &[&[Hear, Say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"), Hang]],
        clocks: |clocks| clocks.first_byte_ms = SHORT_MS,
        code: "answer",
        says: "sent headers and then nothing for 150 ms",
    },
    Stall {
        script: &[&[Hear, Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"), Hang]],
        clocks: |clocks| clocks.gap_ms = SHORT_MS,
        code: "answer",
        says: "sent 4 bytes and then nothing for 150 ms",
    },
    Stall {
        script: &[&[Hear, Say("HTTP/1.1 503 Slow\r\ncontent-length: 9\r\n\r\nhalf"), Hang]],
        clocks: |clocks| clocks.gap_ms = SHORT_MS,
        code: "status",
        says: "answered 503 Service Unavailable",
    },
];

#[tokio::test]
async fn each_phase_that_hangs_ends_by_its_own_clock() {
    let bench = Bench::new();
    for Stall { script, clocks, code, says } in STALLS {
        let mut server = Server::new(script).await;
        let mut work = server.request("GET");
        clocks(&mut work.timeouts);
        let (end, log) = attempt(&bench, work).await;
        let (found, message) = failure(&end);
        assert!(found == code && message.contains(says), "{says}: {end:?}");
        assert_eq!(next_try(&end), NextTry::AsUsual, "{says}");
        assert!(log.contains(" ms, "), "{log}");
        server.until_over(1).await;
    }
    bench.close(Phase::Stopping).await;
}

#[tokio::test]
async fn a_tls_handshake_that_nobody_answers_ends_by_the_clock_of_connecting() {
    let bench = Bench::new();
    let mut server = Server::new(&[&[Hear, Hang], &[Say("no TLS at all\r\n\r\n"), Hang]]).await;
    let mut work = request("GET", format!("https://127.0.0.1:{}/", server.port));
    work.timeouts.connect_ms = SHORT_MS;
    let (end, log) = attempt(&bench, work.clone()).await;
    let (code, message) = failure(&end);
    assert!(code == "connect" && message.contains("/ within 150 ms"), "{message}");
    assert!(log.contains("tls "), "{log}");
    server.until_connected(1).await;
    work.timeouts.connect_ms = 60_000;
    let (end, _) = attempt(&bench, work).await;
    assert!(failure(&end).1.contains("no TLS with https://127.0.0.1"), "{end:?}");
    bench.close(Phase::Stopping).await;
}

#[tokio::test]
async fn nobody_who_listens_and_nobody_of_that_name_are_failures_to_connect() {
    let bench = Bench::new();
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let mut work = request("GET", format!("http://127.0.0.1:{port}/"));
    let (end, _) = attempt(&bench, work.clone()).await;
    assert!(failure(&end).0 == "connect" && failure(&end).1.contains("refused"), "{end:?}");
    assert_eq!(next_try(&end), NextTry::AsUsual);
    // No resolver asks the network for a label of this length.
    work.url = format!("http://{}.invalid/", "x".repeat(64));
    work.timeouts.connect_ms = 5_000;
    let (end, _) = attempt(&bench, work).await;
    assert_eq!(failure(&end).0, "connect", "{end:?}");
    bench.close(Phase::Stopping).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_is_none_is_a_failure() {
    let bench = Bench::new();
    let server = Server::new(&[
        &[Hear],
        &[Hear, Reset],
        &[Hear, Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")],
        &[Hear, Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"), Reset],
        &[Hear, Say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")],
        &[Hear, Say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhalf\r\n"), Hang],
        &[Hear, Say("HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\nhalf"), Hang],
        &[Hear, Say("SSH-2.0-something\r\n"), Hang],
        &[Hear, Say("HTTP/1.1 200 OK\r\nx: "), Flood(1 << 20), Hang],
    ])
    .await;
    for place in 0..9 {
        let (end, _) = attempt(&bench, server.request("PUT")).await;
        assert_eq!((failure(&end).0, next_try(&end)), ("answer", NextTry::AsUsual), "{place}: {end:?}");
    }
    bench.close(Phase::Stopping).await;
}

#[tokio::test]
async fn a_status_says_whether_another_try_is_of_use() {
    let bench = Bench::new();
    let server = Server::new(&[
        &[Hear, Say("HTTP/1.1 400 No\r\n\r\nthe reason\n")],
        &[Hear, Say("HTTP/1.1 404 No\r\nretry-after: 7\r\n\r\n")],
        &[Hear, Say("HTTP/1.1 408 Later\r\n\r\n")],
        &[Hear, Say("HTTP/1.1 425 Later\r\n\r\n")],
        &[Hear, Say("HTTP/1.1 429 Later\r\nretry-after: 7\r\n\r\n")],
        &[Hear, Say("HTTP/1.1 503 Later\r\nretry-after: 86400\r\n\r\n")],
        // The bench's clock stands shortly after the epoch.
        &[Hear, Say("HTTP/1.1 503 Later\r\nretry-after: Thu, 01 Jan 1970 00:01:00 GMT\r\n\r\n")],
        &[Hear, Say("HTTP/1.1 500 Later\r\nretry-after: soon\r\n\r\n")],
        &[Hear, Say("HTTP/1.1 304 Not Modified\r\n\r\n")],
    ])
    .await;
    let mut found = Vec::new();
    let mut logs = String::new();
    for _ in 0..9 {
        let (end, log) = attempt(&bench, server.request("GET")).await;
        assert_eq!(failure(&end).0, "status");
        logs.push_str(&log);
        found.push(next_try(&end));
    }
    let NextTry::NotBefore(pause_ms) = found.remove(6) else { panic!("{found:?}") };
    assert!((50_000..60_000).contains(&pause_ms), "{pause_ms}");
    let (useless, usual) = (NextTry::Useless, NextTry::AsUsual);
    let after = |ms| NextTry::NotBefore(ms);
    assert_eq!(found, [useless, useless, usual, usual, after(7_000), after(300_000), usual, useless]);
    assert!(logs.contains("400 Bad Request\nthe reason\n"), "{logs}");
    bench.close(Phase::Stopping).await;
}

#[tokio::test]
async fn what_counts_as_success_is_the_tasks_to_say() {
    let bench = Bench::new();
    let server = Server::new(&[
        &[Hear, Say("HTTP/1.1 404 Gone\r\n\r\n{}")],
        &[Hear, Say("HTTP/1.1 302 There\r\nlocation: /there\r\n\r\n{}")],
        &[Hear, Say("HTTP/1.1 200 OK\r\n\r\n{}")],
    ])
    .await;
    let expect = vec![StatusRange { first: 404, last: 404 }, StatusRange { first: 300, last: 399 }];
    let work = HttpWork { expect, ..server.request("DELETE") };
    assert_eq!(output(&attempt(&bench, work.clone()).await.0), "{}");
    assert_eq!(output(&attempt(&bench, work.clone()).await.0), "{}", "a redirect that is expected is not followed");
    assert_eq!(next_try(&attempt(&bench, work).await.0), NextTry::Useless);
    bench.close(Phase::Stopping).await;
}

#[tokio::test]
async fn redirects_are_followed_within_bounds_and_without_secrets() {
    let bench = Bench::new();
    let server = Server::new(&[
        &[Hear, Say("HTTP/1.1 307 There\r\nlocation: two?x\r\n\r\n")],
        &[Hear, Say("HTTP/1.1 303 There\r\nlocation: http://localhost:PORT/three\r\n\r\n")],
        &[Hear, Say("HTTP/1.1 200 OK\r\n\r\n{}")],
        &[Hear, Say("HTTP/1.1 302 Round\r\nlocation: /round\r\n\r\n")],
    ])
    .await;
    let headers = [("x-api-key".to_owned(), "hidden".to_owned()), ("x-kept".to_owned(), "kept".to_owned())].into();
    let body = Some(HttpBody::Text("words".into()));
    let (end, log) = attempt(&bench, HttpWork { headers, body, ..server.request("POST") }).await;
    assert_eq!(output(&end), "{}");
    let requests = server.requests();
    assert!(requests[1].starts_with("POST /two?x HTTP/1.1") && requests[1].ends_with("\r\n\r\nwords"), "{requests:?}");
    assert!(requests[1].contains("x-api-key: hidden"), "the same server: {requests:?}");
    assert!(requests[2].starts_with("GET /three HTTP/1.1") && requests[2].ends_with("\r\n\r\n"), "{requests:?}");
    assert!(!requests[2].contains("hidden") && requests[2].contains("x-kept: kept"), "{requests:?}");
    assert!(requests[2].contains(&format!("host: localhost:{}", server.port)), "{requests:?}");
    assert_eq!(log.lines().count(), 3, "{log}");

    let (end, log) = attempt(&bench, server.request("GET")).await;
    assert!(failure(&end) == ("redirect", "more than 5 redirects"), "{end:?}");
    assert_eq!((next_try(&end), server.requests().len(), log.lines().count()), (NextTry::Useless, 9, 7));
    let (end, _) = attempt(&bench, HttpWork { redirects_max: 0, ..server.request("GET") }).await;
    assert_eq!((failure(&end).0, next_try(&end)), ("status", NextTry::Useless));
    bench.close(Phase::Stopping).await;
}

#[tokio::test]
async fn redirects_to_elsewhere_than_http_are_not_followed() {
    let bench = Bench::new();
    let server = Server::new(&[&[Hear, Say("HTTP/1.1 302 There\r\nlocation: file:///etc/passwd\r\n\r\n")]]).await;
    let (end, _) = attempt(&bench, server.request("GET")).await;
    assert_eq!((failure(&end).0, next_try(&end)), ("redirect", NextTry::Useless), "{end:?}");
    bench.close(Phase::Stopping).await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_for_good() {
    let bench = Bench::new();
    let sound = request("GET", "http://127.0.0.1:1/".into());
    let header =
        |name: &str, value: &str| HttpWork { headers: [(name.to_owned(), value.to_owned())].into(), ..sound.clone() };
    for work in [
        HttpWork { url: "ftp://host/".into(), ..sound.clone() },
        HttpWork { method: "BAD METHOD".into(), ..sound.clone() },
        HttpWork { method: "CONNECT".into(), ..sound.clone() },
        header("no name", "x"),
        header("x-injected", "a\r\nb: hidden"),
        header("Content-Length", "3"),
    ] {
        let (end, log) = attempt(&bench, work).await;
        assert_eq!((failure(&end).0, next_try(&end)), ("request", NextTry::Useless), "{end:?}");
        assert!(!log.contains("hidden"), "{log}");
    }
    bench.close(Phase::Stopping).await;
}

#[tokio::test]
async fn a_stop_drops_the_connection_at_once() {
    let bench = Bench::new();
    let mut server = Server::new(&[&[Hear, Hang]]).await;
    let assignment = http(server.request("POST"));
    let (name, order) = (assignment.attempt.clone(), stop(&assignment));
    bench.source.give([assignment]);
    server.until_connected(1).await;
    bench.source.order(order);
    let end = bench.source.end_of(&name).await;
    assert_eq!(end.outcome, Outcome::Stopped { reason: StopReason::Cancelled });
    server.until_over(1).await;
    assert!(String::from_utf8(bench.log(&name)).unwrap().ends_with(" ms, stopped\n"));
    bench.close(Phase::Stopping).await;
}

#[tokio::test]
async fn the_attempts_own_time_bounds_a_server_that_drips() {
    let bench = Bench::new();
    let mut server = Server::new(&[&[Hear, Say("HTTP/1.1 200 OK\r\n\r\n"), Drip("x")]]).await;
    let mut assignment = http(server.request("GET"));
    assignment.hard_deadline_ms_from_start = 400;
    let end = bench.perform(assignment).await;
    assert_eq!(end.outcome, Outcome::Stopped { reason: StopReason::TimedOut });
    server.until_over(1).await;
    bench.close(Phase::Stopping).await;
}

#[tokio::test]
async fn many_requests_leave_no_descriptor_behind() {
    let bench = Bench::new();
    let mut server = Server::new(&[
        &[Hear, Say("HTTP/1.1 200 OK\r\n\r\n"), Flood(100_000)],
        &[Hear, Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"), Reset],
        &[Hear, Hang],
    ])
    .await;
    let mut work = server.request("GET");
    work.timeouts.headers_ms = SHORT_MS;
    attempt(&bench, work.clone()).await;
    attempt(&bench, work.clone()).await;
    attempt(&bench, work.clone()).await;
    server.until_over(3).await;
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = count();
    let many: Vec<Assignment> = (0..24).map(|_| http(work.clone())).collect();
    let names: Vec<String> = many.iter().map(|assignment| assignment.attempt.clone()).collect();
    bench.source.give(many);
    for name in names {
        assert_eq!(failure(&bench.source.end_of(&name).await).0, "answer");
    }
    server.until_over(27).await;
    until("all descriptors are closed", PATIENCE, || count() <= before).await;
    bench.close(Phase::Stopping).await;
}
