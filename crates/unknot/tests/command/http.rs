//! Workflows that ask over HTTP, against a server on loopback.

use super::support::Bench;
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// A server that gives one answer after another, the last one for ever, and keeps what it was asked.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = asked.clone();
        thread::spawn(move || {
            for (place, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                answer(stream, answers[place.min(answers.len() - 1)], &kept);
            }
        });
        Self { port, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Takes a request whole and answers it.
fn answer(mut stream: TcpStream, text: &str, asked: &Mutex<Vec<String>>) {
    let mut request = String::new();
    let mut part = [0; 4096];
    loop {
        let count = stream.read(&mut part).unwrap();
        request.push_str(std::str::from_utf8(&part[..count]).unwrap());
        let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            break;
        }
    }
    asked.lock().unwrap().push(request);
    stream.write_all(text.as_bytes()).unwrap();
}

fn flow(port: u16) -> String {
    format!(
        r#"
name: requests
input: {{who: {{default: ann}}, n: {{default: 3}}}}
tasks:
  ask:
    http:
      url: "http://127.0.0.1:{port}/ask?key=hidden"
      headers: {{authorization: "Bearer hidden"}}
      body: {{who: "{{{{ input.who }}}}", n: "{{{{ input.n }}}}", run: "{{{{ run.id }}}}"}}
    retry: {{backoff: {{first: 10ms, jitter: 0}}}}
  use:
    needs: [ask]
    exec: ["sh", "-c", "echo $1 > used", "sh", "{{{{ tasks.ask.output.id }}}}"]
"#
    )
}

#[test]
fn an_answer_becomes_the_output_after_a_try_that_failed() {
    let server = Server::new(&["HTTP/1.1 503 Busy\r\n\r\nbusy", "HTTP/1.1 200 OK\r\n\r\n{\"id\": 7}"]);
    let bench = Bench::with(&flow(server.port));
    bench.run(&["run", "flow.yaml"]).code(0);
    assert_eq!(bench.read("used"), "7\n");
    let asked = server.asked();
    let key = |request: &str| request.lines().find(|line| line.starts_with("idempotency-key: ")).unwrap().to_owned();
    assert_eq!((asked.len(), key(&asked[0])), (2, key(&asked[1])), "both tries carry one key");
    let body: Value = serde_json::from_str(asked[1].split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((&body["who"], &body["n"]), (&json!("ann"), &json!(3)));
    assert!(body["run"].as_str().unwrap().starts_with("run_"), "{body}");
    let logs = bench.run(&["logs", "latest", "ask", "--attempt", "1"]);
    assert!(logs.stdout.contains("503 Service Unavailable\nbusy") && !logs.stdout.contains("hidden"), "{logs:?}");
}

#[test]
fn a_status_that_stays_the_same_is_not_asked_for_again() {
    let server = Server::new(&["HTTP/1.1 404 Nothing\r\n\r\nno such page\n"]);
    let bench = Bench::with(&flow(server.port));
    let ended = bench.run(&["run", "flow.yaml"]).code(1).says("answered 404 Not Found");
    assert!(ended.stdout.contains("no such page") && !ended.stdout.contains("hidden"), "{}", ended.stdout);
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn check_shows_the_bounds_of_requests() {
    let bench = Bench::with(
        "name: ask\ntasks:\n  a: {http: {url: 'http://localhost/'}, timeout: 20s}\n  \
         b: {http: {url: 'http://localhost/', timeouts: {gap: 1s}, max_body: 1MiB, redirects: 1}}\n",
    );
    let checked = bench.run(&["check", "flow.yaml"]).code(0);
    let shown = checked.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "connect 10s, headers 20s, first byte 20s, gap 20s (1 task, default)",
        "connect 10s, headers 1m, first byte 30s, gap 1s (1 task)",
        "16,777,216 bytes, after 5 redirects (1 task, default)",
        "1,048,576 bytes, after 1 redirect (1 task)",
        "tries 4 (default)",
    ] {
        assert!(shown.contains(words), "{words}:\n{}", checked.stdout);
    }
    assert!(!shown.contains("silence") && !shown.contains("TERM"), "a request has clocks, and stops at once: {shown}");
}
