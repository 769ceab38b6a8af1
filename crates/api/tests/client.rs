//! The client against a server that answers by a script: refusals, broken streams, silence.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests are free of the bans")]

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixListener,
    thread::{self, JoinHandle},
    time::Duration,
};
use unknot_api::client::{Address, Client, ClientError, Limits, PauseTarget, RunQuery, Told};

/// Answers one connection after the other with what the script says; gives the heads of the requests.
fn script(answers: Vec<&'static str>) -> (Client, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("bound")).parse().expect("an address");
    let serve = move || answers.into_iter().map(|answer| serve(&listener, answer)).collect();
    let limits = Limits { answer: Duration::from_millis(300), ..Limits::default() };
    let client = Client::new(address, Some("ukt_x".to_owned())).expect("a plain token").with_limits(limits);
    (client, thread::spawn(serve))
}

fn serve(listener: &TcpListener, answer: &str) -> String {
    let (stream, _) = listener.accept().expect("a caller");
    let head = head(&stream);
    (&stream).write_all(answer.as_bytes()).expect("the caller is there");
    if answer.is_empty() {
        // Silence: until the caller has enough.
        BufReader::new(&stream).read_line(&mut String::new()).expect("the caller went away");
    }
    head
}

fn head(stream: &TcpStream) -> String {
    let mut head = String::new();
    let mut lines = BufReader::new(stream);
    while lines.read_line(&mut head).expect("a line") > 2 {}
    head
}

fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

#[test]
fn what_is_refused_says_so_in_the_words_of_the_server() {
    let problem =
        r#"{"type":"/errors/UK0404","title":"none","status":404,"code":"UK0404","detail":"there is no queue"}"#;
    let answers = [("404 Not Found", problem), ("502 Bad Gateway", "<h1>bad</h1>"), ("200 OK", "hello")];
    let answers = answers.map(|(status, body)| {
        let text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        &*text.leak()
    });
    let (client, served) = script(answers.into_iter().chain([""]).collect());
    now(async {
        let error = client.pause(PauseTarget::Queue("a/b")).await.expect_err("refused");
        let ClientError::Refused { problem, .. } = &error else { panic!("{error:?}") };
        assert_eq!((problem.code.as_str(), error.to_string().as_str()), ("UK0404", "there is no queue"));
        let error = client.queues().await.expect_err("a proxy answers");
        assert_eq!(error.to_string(), "it answers with status 502: <h1>bad</h1>");
        assert!(error.is_passing());
        let error = client.runs(&RunQuery::default()).await.expect_err("somebody else answers");
        assert!(matches!(error, ClientError::Strange { status: 200, .. }), "{error}");
        let error = client.stats().await.expect_err("nobody answers");
        assert!(matches!(error, ClientError::Late { .. }), "{error}");
    });
    let heads = served.join().expect("served");
    assert!(heads[0].starts_with("PUT /queues/a%2Fb/pause HTTP/1.1\r\n"), "{}", heads[0]);
    assert!(heads[0].to_ascii_lowercase().contains("authorization: bearer ukt_x\r\n"), "{}", heads[0]);
    assert!(!format!("{client:?}").contains("ukt_x"), "a token is printed nowhere");
}

#[test]
fn a_stream_that_breaks_goes_on_behind_the_last_event() {
    let first = [HEAD, "id: 1.0\nevent: RUN_SUBMITTED\ndata: {\"id\":\"1.0\",\"at\":\"2026-11-03T14:02:11Z\",\"event\":\"RUN_SUBMITTED\"}\n\nid: 2.0\nev"].concat();
    let second = [HEAD, ": still here\n\nid: 2.0\nevent: RUN_COMPLETED\ndata: {\"id\":\"2.0\",\"at\":\"2026-11-03T14:02:12Z\",\"event\":\"RUN_COMPLETED\"}\n\nevent: end\ndata: {}\n\n"].concat();
    let ending = [HEAD, "event: server_ended\ndata: {}\n\n"].concat();
    let (client, served) = script(vec![first.leak(), ending.leak(), second.leak()]);
    let told = now(async {
        let mut events = client.follow("run_x", None);
        let mut told = Vec::new();
        loop {
            match events.next().await.expect("it goes on") {
                Told::Event(event) => told.push(event.event),
                Told::Lost(_) => told.push("lost".to_owned()),
                Told::ServerEnded => told.push("ended".to_owned()),
                Told::Found => told.push("found".to_owned()),
                Told::End => return told,
                other => panic!("{other:?}"),
            }
        }
    });
    assert_eq!(told, ["RUN_SUBMITTED", "lost", "found", "ended", "lost", "found", "RUN_COMPLETED"]);
    let heads = served.join().expect("served");
    assert!(!heads[0].contains("last-event-id"), "{}", heads[0]);
    for head in &heads[1..] {
        assert!(head.contains("last-event-id: 1.0\r\n"), "{head}");
    }
}

#[test]
fn a_stream_that_nobody_mends_is_an_error_in_the_end() {
    let limits = Limits { patience: Duration::ZERO, ..Limits::default() };
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("http://{}", listener.local_addr().expect("bound"))
    };
    let client = Client::new(address.parse().expect("an address"), None).expect("no token").with_limits(limits);
    now(async {
        let mut events = client.follow("run_x", None);
        assert!(matches!(events.next().await, Ok(Told::Lost(_)) | Err(_)));
        assert!(events.next().await.is_err(), "its patience is over");
    });
}

#[test]
fn a_stale_socket_is_nobody() {
    let folder = std::env::temp_dir().join(format!("unknot-client-{}-{}", std::process::id(), "x".repeat(100)));
    std::fs::create_dir_all(&folder).expect("made");
    let socket = folder.join("api.sock");
    let draft = std::env::temp_dir().join(format!("unknot-client-{}.sock", std::process::id()));
    drop(UnixListener::bind(&draft).expect("bound"));
    std::fs::rename(&draft, &socket).expect("moved");
    let client = Client::new(Address::Local(socket), None).expect("no token");
    let error = now(client.health()).expect_err("nobody listens");
    assert!(error.is_nobody_there(), "{error:?}");
    std::fs::remove_dir_all(&folder).expect("removed");
}
